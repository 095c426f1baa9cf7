-- ---------------------------------------------------------------------------
-- Storage, by temperature: rows move from table to table and carry no status.
-- All of these are written by the module itself; see doc/design.md.  Ids are
-- compared by their bytes, whatever the collation of the database.
-- task_id = run_id * 65536 + step, so the tasks of a run are a range of the key.
-- ---------------------------------------------------------------------------

CREATE SEQUENCE sopflow.run_id_seq MAXVALUE 140737488355327 CACHE 32;
COMMENT ON SEQUENCE sopflow.run_id_seq IS 'Run ids';
CREATE SEQUENCE sopflow.lease_token_seq CACHE 32;
COMMENT ON SEQUENCE sopflow.lease_token_seq IS 'Lease tokens, one for each fetch';

-- Active runs.  The row lock of a run guards everything that belongs to it.
-- slot is 0 where reentry allows one active run, minus the task of the sop node
-- that has started the run, else the run id.
CREATE TABLE sopflow.run (
	run_id			bigint NOT NULL,
	event_at		timestamptz NOT NULL,
	started_at		timestamptz NOT NULL,
	slot			bigint NOT NULL,
	version_id		int NOT NULL,
	sop_id			text COLLATE "C" NOT NULL,
	subject_id		text COLLATE "C" NOT NULL,
	context			jsonb,
	CONSTRAINT run_pkey PRIMARY KEY (run_id)
) USING heap;
CREATE UNIQUE INDEX run_subject ON sopflow.run (subject_id, sop_id, slot);

-- Tasks that wait for their time, and nothing else.
CREATE TABLE sopflow.task (
	task_id			bigint NOT NULL,
	due_at			timestamptz NOT NULL,
	version_id		int NOT NULL,
	node			smallint NOT NULL,
	shard			smallint NOT NULL,
	attempt			smallint NOT NULL,
	error			text,
	CONSTRAINT task_pkey PRIMARY KEY (task_id)
) USING heap WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX task_due ON sopflow.task (due_at, task_id);

-- Due tasks that may not go: their SOP or action is paused, or another task
-- of their run is under way.
CREATE TABLE sopflow.held (
	task_id			bigint NOT NULL,
	due_at			timestamptz NOT NULL,
	version_id		int NOT NULL,
	node			smallint NOT NULL,
	shard			smallint NOT NULL,
	attempt			smallint NOT NULL,
	error			text,
	held_by			text NOT NULL,
	CONSTRAINT held_pkey PRIMARY KEY (task_id)
) USING heap;

-- Tasks offered to consumers (lease_token 0) or leased by one.  The lease
-- columns are in no index, and a page has room for the leases of all its
-- offers, so that a lease is a HOT update.
CREATE TABLE sopflow.offer (
	task_id			bigint NOT NULL,
	due_at			timestamptz NOT NULL,
	lease_token		bigint NOT NULL,
	lease_until		timestamptz,
	action_id		int NOT NULL,
	version_id		int NOT NULL,
	node			smallint NOT NULL,
	shard			smallint NOT NULL,
	attempt			smallint NOT NULL,
	error			text,
	CONSTRAINT offer_pkey PRIMARY KEY (task_id)
) USING heap WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX offer_fetch ON sopflow.offer (action_id, due_at, task_id);

-- Tasks that failed for good.
CREATE TABLE sopflow.dead (
	task_id			bigint NOT NULL,
	due_at			timestamptz NOT NULL,
	finished_at		timestamptz NOT NULL,
	version_id		int NOT NULL,
	node			smallint NOT NULL,
	shard			smallint NOT NULL,
	attempt			smallint NOT NULL,
	error			text,
	CONSTRAINT dead_pkey PRIMARY KEY (task_id)
) USING heap;

-- Finished tasks and ended runs: append-only, weekly partitions made ahead
-- and dropped by the worker, which also makes their indexes: see src/history.c.
-- status: d done, c cancelled, s skipped.
CREATE TABLE sopflow.history (
	task_id			bigint NOT NULL,
	due_at			timestamptz NOT NULL,
	finished_at		timestamptz NOT NULL,
	version_id		int NOT NULL,
	node			smallint NOT NULL,
	attempt			smallint NOT NULL,
	status			"char" NOT NULL,
	error			text,
	result			jsonb
) PARTITION BY RANGE (finished_at);

CREATE TABLE sopflow.run_history (
	run_id			bigint NOT NULL,
	event_at		timestamptz NOT NULL,
	started_at		timestamptz NOT NULL,
	ended_at		timestamptz NOT NULL,
	version_id		int NOT NULL,
	state			text NOT NULL,
	sop_id			text COLLATE "C" NOT NULL,
	subject_id		text COLLATE "C" NOT NULL,
	context			jsonb,
	reason			text,
	parent_task		bigint
) PARTITION BY RANGE (ended_at);

-- What an active run has to remember beside its tasks: written for graphs that
-- fork, join or wait only.
CREATE TABLE sopflow.run_state (
	run_id			bigint NOT NULL,
	state			jsonb NOT NULL,
	CONSTRAINT run_state_pkey PRIMARY KEY (run_id)
) USING heap;

-- How far a source of events has been read; see the client's ingest.
CREATE TABLE sopflow.ingest_offset (
	source			text NOT NULL PRIMARY KEY CHECK (source <> ''),
	position		bigint NOT NULL
);
COMMENT ON TABLE sopflow.ingest_offset IS 'How far each source of events has been read';
COMMENT ON COLUMN sopflow.ingest_offset.source IS 'Name of the source';
COMMENT ON COLUMN sopflow.ingest_offset.position IS 'Position of the last event that was taken in';

-- Failures in a row by action; touched only when an attempt fails or ends a streak.
CREATE TABLE sopflow.action_state (
	action_id		int NOT NULL PRIMARY KEY,
	failures		int NOT NULL,
	alerted			bool NOT NULL
) USING heap;

CREATE TABLE sopflow.alert (
	alert_id		bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	raised_at		timestamptz NOT NULL,
	kind			text NOT NULL,
	action			text,
	sop_id			text,
	task_id			bigint,
	message			text NOT NULL,
	sent_at			timestamptz
);
COMMENT ON SEQUENCE sopflow.alert_alert_id_seq IS 'Numbers of alerts';
CREATE INDEX alert_unsent ON sopflow.alert (alert_id) WHERE sent_at IS NULL;

-- One row while the database is held, after a restore until restored().
CREATE TABLE sopflow.hold (
	held_since		timestamptz NOT NULL,
	reason			text NOT NULL
);

-- Crash markers: not transactional on purpose, see src/marker.c.
CREATE SEQUENCE sopflow.marker_0;
CREATE SEQUENCE sopflow.marker_1;
CREATE SEQUENCE sopflow.marker_2;
CREATE SEQUENCE sopflow.marker_3;
CREATE SEQUENCE sopflow.marker_4;
CREATE SEQUENCE sopflow.marker_5;
CREATE SEQUENCE sopflow.marker_6;
CREATE SEQUENCE sopflow.marker_7;
CREATE SEQUENCE sopflow.marker_8;
CREATE SEQUENCE sopflow.marker_9;
CREATE SEQUENCE sopflow.marker_10;
CREATE SEQUENCE sopflow.marker_11;
CREATE SEQUENCE sopflow.marker_12;
CREATE SEQUENCE sopflow.marker_13;
CREATE SEQUENCE sopflow.marker_14;
CREATE SEQUENCE sopflow.marker_15;

DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT * FROM (VALUES
		('run', 'Active runs'), ('task', 'Tasks that wait for their time'),
		('held', 'Due tasks held by a pause or by another task of their run'),
		('offer', 'Tasks offered to or leased by consumers'),
		('dead', 'Tasks that failed for good'),
		('run_state', 'What active runs remember beside their tasks'),
		('history', 'Finished tasks'), ('run_history', 'Ended runs'),
		('action_state', 'Failures in a row by action'),
		('alert', 'Alerts raised and when they were sent'),
		('hold', 'One row while the database is held after a restore')) AS t(rel, what)
	LOOP
		EXECUTE format('COMMENT ON TABLE sopflow.%I IS %L', r.rel, r.what || ' (storage; see the views)');
	END LOOP;
	FOR r IN SELECT c.relname, a.attname, t.what
		FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		JOIN (VALUES ('run_id', 'Run'), ('event_at', 'Time of the event'),
			('started_at', 'When the run was written'), ('ended_at', 'When the run ended'),
			('slot', '0 where one active run is allowed; of a run that a sop node has started, minus the task of that node; else the run id'),
			('version_id', 'SOP version'), ('sop_id', 'SOP'), ('subject_id', 'Subject'),
			('context', 'Context of the event'), ('state', 'completed, failed, cancelled or exited'),
			('reason', 'Why the run ended so'), ('parent_task', 'Of a run that a sop node has started: the task of that node'), ('task_id', 'Task: run_id * 65536 + step'),
			('due_at', 'When the task is due'), ('node', 'Number of the node in its version, from 0'),
			('shard', 'Hash of the subject, 0 to 63'), ('attempt', 'Attempts begun'),
			('error', 'Error of the last attempt'), ('held_by', 'run, sop, action, join or child'),
			('lease_token', '0: offered; else the token of the lease'),
			('lease_until', 'End of the lease'), ('action_id', 'Action'),
			('finished_at', 'When the task ended'),
			('status', 'd done, c cancelled, s skipped'), ('result', 'Result given by the handler or consumer'),
			('failures', 'Failures since the last success'), ('alerted', 'Whether this streak raised its alert'),
			('alert_id', 'Alert'), ('raised_at', 'When it was raised'),
			('kind', 'failures, dead, run or intake'), ('action', 'Action concerned'),
			('message', 'What happened'), ('sent_at', 'When it was notified; null: not yet'),
			('held_since', 'Since when'))
			AS t(att, what) ON t.att = a.attname
		WHERE c.relnamespace = 'sopflow'::pg_catalog.regnamespace
			AND c.relname IN ('run', 'run_state', 'task', 'held', 'offer', 'dead', 'history', 'run_history', 'action_state', 'alert', 'hold')
	LOOP
		EXECUTE format('COMMENT ON COLUMN sopflow.%I.%I IS %L', r.relname, r.attname, r.what);
	END LOOP;
	COMMENT ON COLUMN sopflow.hold.reason IS 'How it came about';
	COMMENT ON COLUMN sopflow.run_state.state IS 'Greatest step, events that came and what they answered, steps passed by; see doc/reference.md';
	FOR i IN 0..15 LOOP
		EXECUTE format('COMMENT ON SEQUENCE sopflow.marker_%s IS %L', i,
			'Crash marker of worker or pass ' || i || ': 1 idle, 2 a batch of handlers runs, else the task whose handler runs');
	END LOOP;
END
$$;
