-- ---------------------------------------------------------------------------
-- Dispatch by hand, the consumer protocol, control, and what can be seen.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.run_due(max_tasks int DEFAULT 1000, max_time interval DEFAULT '10s')
	RETURNS bigint LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_run_due';
COMMENT ON FUNCTION sopflow.run_due(int, interval) IS 'Carries out due tasks in this transaction; returns how many were taken up';

CREATE TYPE sopflow.work AS (
	task_id			bigint,
	lease_token		bigint,
	run_id			bigint,
	sop_id			text,
	node_id			text,
	subject_id		text,
	action			text,
	params			jsonb,
	context			jsonb,
	attempt			int,
	due_at			timestamptz,
	lease_until		timestamptz
);
COMMENT ON TYPE sopflow.work IS 'A task as handlers and consumers are given it';
COMMENT ON COLUMN sopflow.work.task_id IS 'Task';
COMMENT ON COLUMN sopflow.work.lease_token IS 'Token to acknowledge it with; null for handlers';
COMMENT ON COLUMN sopflow.work.run_id IS 'Run';
COMMENT ON COLUMN sopflow.work.sop_id IS 'SOP';
COMMENT ON COLUMN sopflow.work.node_id IS 'Node';
COMMENT ON COLUMN sopflow.work.subject_id IS 'Subject';
COMMENT ON COLUMN sopflow.work.action IS 'Action';
COMMENT ON COLUMN sopflow.work.params IS 'Parameters of the node';
COMMENT ON COLUMN sopflow.work.context IS 'Context of the event that started the run';
COMMENT ON COLUMN sopflow.work.attempt IS 'Attempt, from 1';
COMMENT ON COLUMN sopflow.work.due_at IS 'When it was due';
COMMENT ON COLUMN sopflow.work.lease_until IS 'End of the lease; null for handlers';

CREATE FUNCTION sopflow.fetch(actions text[], max_tasks int DEFAULT 10, lease interval DEFAULT NULL)
	RETURNS SETOF sopflow.work LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_fetch';
COMMENT ON FUNCTION sopflow.fetch(text[], int, interval) IS 'Leases due tasks of the actions, earliest first';
CREATE FUNCTION sopflow.ack(task_id bigint, lease_token bigint, result jsonb DEFAULT NULL)
	RETURNS bool LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_ack';
COMMENT ON FUNCTION sopflow.ack(bigint, bigint, jsonb) IS 'The task is done; false where the lease was lost, and nothing changed';
CREATE FUNCTION sopflow.ack_many(task_ids bigint[], lease_tokens bigint[], results jsonb[] DEFAULT NULL)
	RETURNS SETOF bigint LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_ack_many';
COMMENT ON FUNCTION sopflow.ack_many(bigint[], bigint[], jsonb[]) IS 'The tasks are done; returns the ids that were accepted';
CREATE FUNCTION sopflow.nack(task_id bigint, lease_token bigint, error text,
	retry_in interval DEFAULT NULL, retry bool DEFAULT true) RETURNS bool LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_nack';
COMMENT ON FUNCTION sopflow.nack(bigint, bigint, text, interval, bool) IS 'The attempt failed; retry => false makes the task dead; false where the lease was lost';
CREATE FUNCTION sopflow.nack_many(task_ids bigint[], lease_tokens bigint[], errors text[],
	retry_in interval[] DEFAULT NULL, retry bool[] DEFAULT NULL) RETURNS SETOF bigint LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_nack_many';
COMMENT ON FUNCTION sopflow.nack_many(bigint[], bigint[], text[], interval[], bool[]) IS 'The attempts failed; returns the ids that were accepted';
CREATE FUNCTION sopflow.extend(task_id bigint, lease_token bigint, lease interval)
	RETURNS timestamptz LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_extend';
COMMENT ON FUNCTION sopflow.extend(bigint, bigint, interval) IS 'Makes the lease end so long from now; null where it was lost';
CREATE FUNCTION sopflow.task_params(task_id bigint) RETURNS jsonb LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_task_params';
COMMENT ON FUNCTION sopflow.task_params(bigint) IS 'Parameters of a task, for broadcasts that had to leave them out; null for an unknown task';

CREATE FUNCTION sopflow.cancel(subject_id text DEFAULT NULL, sop_id text DEFAULT NULL, run_id bigint DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_cancel';
COMMENT ON FUNCTION sopflow.cancel(text, text, bigint) IS 'Ends the active runs that match all that is given; returns the number of tasks cancelled';
CREATE FUNCTION sopflow.reschedule(task_id bigint, due_at timestamptz) RETURNS bool LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_reschedule';
COMMENT ON FUNCTION sopflow.reschedule(bigint, timestamptz) IS 'Gives a task that is not leased or finished another due time; false where there is none such';
CREATE FUNCTION sopflow.redrive(action text DEFAULT NULL, task_ids bigint[] DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_redrive';
COMMENT ON FUNCTION sopflow.redrive(text, bigint[]) IS 'Puts dead tasks back, due now, and their runs with them, save those of cancelled and exited runs that are not named by id; returns how many';
CREATE FUNCTION sopflow.pause(sop_id text) RETURNS void LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_pause';
COMMENT ON FUNCTION sopflow.pause(text) IS 'Holds the tasks of an SOP; their due times stay';
CREATE FUNCTION sopflow.resume(sop_id text) RETURNS void LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_resume';
COMMENT ON FUNCTION sopflow.resume(text) IS 'Lets the tasks of a paused SOP go; overdue ones at once';
CREATE FUNCTION sopflow.pause_action(action text) RETURNS void LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_pause_action';
COMMENT ON FUNCTION sopflow.pause_action(text) IS 'Holds the tasks of an action; their due times stay';
CREATE FUNCTION sopflow.resume_action(action text) RETURNS void LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_resume_action';
COMMENT ON FUNCTION sopflow.resume_action(text) IS 'Lets the tasks of a paused action go; overdue ones at once';

-- The condition on the key range lets the planner go from a run to its tasks
-- by index; that on the shift lets it hash.
CREATE VIEW sopflow.runs AS
	SELECT r.run_id, r.sop_id, v.version, r.subject_id, 'active'::text AS state, r.event_at,
		r.started_at, NULL::timestamptz AS ended_at, NULL::text AS reason, coalesce(r.context, '{}') AS context
	FROM sopflow.run r LEFT JOIN sopflow.sop_version v USING (version_id)
	UNION ALL
	SELECT r.run_id, r.sop_id, v.version, r.subject_id, r.state, r.event_at,
		r.started_at, r.ended_at, r.reason, coalesce(r.context, '{}')
	FROM sopflow.run_history r LEFT JOIN sopflow.sop_version v USING (version_id);
COMMENT ON VIEW sopflow.runs IS 'Every run: active, and ended within the retention';

CREATE VIEW sopflow.tasks AS
	SELECT t.task_id, r.run_id, r.sop_id, v.definition->'nodes'->t.node::int->>'node_id' AS node_id, r.subject_id,
		v.definition->'nodes'->t.node::int->>'action' AS action, 'pending'::text AS status, t.due_at,
		t.attempt::int, t.error AS last_error, NULL::timestamptz AS finished_at, NULL::jsonb AS result,
		NULL::text AS held_by, NULL::timestamptz AS lease_until
	FROM sopflow.run r JOIN sopflow.task t
		ON (t.task_id >> 16) = r.run_id AND t.task_id BETWEEN r.run_id << 16 AND (r.run_id << 16) + 65535
		LEFT JOIN sopflow.sop_version v ON v.version_id = t.version_id
	-- that the SOP of a sop node has ended is a second row of its task, for a moment
	WHERE t.error IS NULL OR t.error NOT LIKE '{%' OR v.definition->'nodes'->t.node::int->>'type' IS DISTINCT FROM 'sop'
	UNION ALL
	SELECT t.task_id, r.run_id, r.sop_id, v.definition->'nodes'->t.node::int->>'node_id', r.subject_id,
		v.definition->'nodes'->t.node::int->>'action', 'pending', t.due_at, t.attempt, t.error, NULL, NULL,
		t.held_by, NULL
	FROM sopflow.run r JOIN sopflow.held t
		ON (t.task_id >> 16) = r.run_id AND t.task_id BETWEEN r.run_id << 16 AND (r.run_id << 16) + 65535
		LEFT JOIN sopflow.sop_version v ON v.version_id = t.version_id
	UNION ALL
	SELECT t.task_id, r.run_id, r.sop_id, v.definition->'nodes'->t.node::int->>'node_id', r.subject_id,
		v.definition->'nodes'->t.node::int->>'action', CASE WHEN t.lease_token = 0 THEN 'ready' ELSE 'leased' END,
		t.due_at, t.attempt, t.error, NULL, NULL, NULL, t.lease_until
	FROM sopflow.run r JOIN sopflow.offer t
		ON (t.task_id >> 16) = r.run_id AND t.task_id BETWEEN r.run_id << 16 AND (r.run_id << 16) + 65535
		LEFT JOIN sopflow.sop_version v ON v.version_id = t.version_id
	UNION ALL
	SELECT t.task_id, r.run_id, r.sop_id, v.definition->'nodes'->t.node::int->>'node_id', r.subject_id,
		v.definition->'nodes'->t.node::int->>'action', 'dead', t.due_at, t.attempt, t.error, t.finished_at, NULL,
		NULL, NULL
	FROM (SELECT run_id, sop_id, subject_id FROM sopflow.run
			UNION ALL SELECT run_id, sop_id, subject_id FROM sopflow.run_history) r
		JOIN sopflow.dead t
		ON (t.task_id >> 16) = r.run_id AND t.task_id BETWEEN r.run_id << 16 AND (r.run_id << 16) + 65535
		LEFT JOIN sopflow.sop_version v ON v.version_id = t.version_id
	UNION ALL
	SELECT t.task_id, r.run_id, r.sop_id, v.definition->'nodes'->t.node::int->>'node_id', r.subject_id,
		v.definition->'nodes'->t.node::int->>'action',
		CASE t.status WHEN 'd' THEN 'done' WHEN 'c' THEN 'cancelled' ELSE 'skipped' END, t.due_at,
		t.attempt, t.error, t.finished_at, t.result, NULL, NULL
	FROM (SELECT run_id, sop_id, subject_id FROM sopflow.run
			UNION ALL SELECT run_id, sop_id, subject_id FROM sopflow.run_history) r
		JOIN sopflow.history t
		ON (t.task_id >> 16) = r.run_id AND t.task_id BETWEEN r.run_id << 16 AND (r.run_id << 16) + 65535
		LEFT JOIN sopflow.sop_version v ON v.version_id = t.version_id;
COMMENT ON VIEW sopflow.tasks IS 'Every task whatever its state: pending, ready, leased, done, dead, cancelled, skipped';

CREATE VIEW sopflow.dead_tasks AS
	SELECT t.task_id, t.run_id, t.sop_id, t.node_id, t.subject_id, t.action, t.due_at, t.attempt,
		t.last_error, t.finished_at
	FROM sopflow.tasks t WHERE t.status = 'dead';
COMMENT ON VIEW sopflow.dead_tasks IS 'Tasks that failed for good; redrive() puts them back';

CREATE VIEW sopflow.alerts AS
	SELECT a.alert_id, a.raised_at, a.kind, a.action, a.sop_id, a.task_id, a.message, a.sent_at
	FROM sopflow.alert a;
COMMENT ON VIEW sopflow.alerts IS 'Alerts: failures in a row, dead tasks, runs failed by a link, rows inserted without their event';

DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT c.relname, a.attname, t.what
		FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		JOIN (VALUES ('run_id', 'Run'), ('event_at', 'Time of the event'),
			('started_at', 'When the run was written'), ('ended_at', 'When the run ended; null while it is active'),
			('version', 'Version of the SOP that the run follows'), ('sop_id', 'SOP'), ('subject_id', 'Subject'),
			('context', 'Context of the event'),
			('state', 'active, completed, failed, cancelled or exited'),
			('reason', 'Why the run ended so'), ('task_id', 'Task'),
			('due_at', 'When the task is due; while it waits for a retry, when that is'),
			('node_id', 'Node'), ('action', 'Action; null for a node that only waits'),
			('status', 'pending, ready, leased, done, dead, cancelled or skipped'),
			('attempt', 'Attempts begun'), ('last_error', 'Error of the last attempt that failed'),
			('held_by', 'Why a pending task does not go when due: run, sop, action, join or child'),
			('lease_until', 'End of the lease'), ('finished_at', 'When the task ended'),
			('result', 'Result given by the handler or consumer'),
			('alert_id', 'Alert'), ('raised_at', 'When it was raised'),
			('kind', 'failures, dead, run or intake'),
			('message', 'What happened'), ('sent_at', 'When it was notified; null: not yet'))
			AS t(att, what) ON t.att = a.attname
		WHERE c.relnamespace = 'sopflow'::pg_catalog.regnamespace
			AND c.relname IN ('runs', 'tasks', 'dead_tasks', 'alerts')
	LOOP
		EXECUTE format('COMMENT ON COLUMN sopflow.%I.%I IS %L', r.relname, r.attname, r.what);
	END LOOP;
END
$$;
