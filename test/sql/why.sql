-- Why a task is what it is: tasks with actions, in every state.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
RESET client_min_messages;
SET sopflow.clock = '2030-01-01 12:00:00+00';
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never

-- the sentences about the task of a node, with ids that stay the same
CREATE FUNCTION why_of(sop text, subject text, node text, run bigint DEFAULT NULL) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	l text;
	t record;
BEGIN
	FOR l IN SELECT sopflow.why(x.task_id) FROM (SELECT * FROM sopflow.tasks x
		WHERE x.sop_id = sop AND x.subject_id = subject AND x.node_id = node AND x.run_id = coalesce(run, x.run_id)
		ORDER BY x.task_id DESC LIMIT 1) x
	LOOP
		FOR t IN SELECT x.task_id, x.run_id FROM sopflow.tasks x LOOP
			l := regexp_replace(l, '([Tt]ask |\{)' || t.task_id || '\M', '\1r:' || (t.task_id & 65535));
			l := regexp_replace(l, '\mRun ' || t.run_id || '\M', 'Run r');
		END LOOP;
		RETURN NEXT l;
	END LOOP;
END $$;
CREATE FUNCTION why_ok(w sopflow.work) RETURNS jsonb LANGUAGE sql AS 'SELECT ''{"sent": true}''::jsonb';
CREATE FUNCTION why_bad(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the gateway is down'; END $$;

BEGIN;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts, backoff_base, jitter, channel) VALUES
	('WHY_OK', 'call', 'public.why_ok', 5, '1 min', 0, 'sopflow'),
	('WHY_BAD', 'call', 'public.why_bad', 2, '1 min', 0, 'sopflow'),
	('WHY_QUEUE', 'queue', NULL, 3, '1 min', 0, 'why_channel');
INSERT INTO sopflow.sop (sop_id, trigger_event, delay_from, skip_late_after, exit_events) VALUES
	('why parallel', 'WHY_ADD', 'event', NULL, '{WHY_SIGN,WHY_LOST}'),
	('why chain', 'WHY_CHAIN', 'previous', '10 days', '{}');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, next, on_failure) VALUES
	('why parallel', 'now', '0', 'WHY_QUEUE', NULL, 'continue'),
	('why parallel', 'day', '24h', 'WHY_QUEUE', NULL, 'stop'),
	('why parallel', 'bad', '24h', 'WHY_BAD', NULL, 'stop'),
	('why chain', 'first', '1 day', 'WHY_OK', 'second', 'stop'),
	('why chain', 'second', '2 days 03:00', 'WHY_BAD', 'third', 'continue'),
	('why chain', 'third', '0', NULL, 'fourth', 'stop'),
	('why chain', 'fourth', '1 month', 'WHY_OK', NULL, 'stop');
COMMIT;

-- not due; due; ready; leased; the lease ended
SELECT sopflow.emit('WHY_ADD', 'ann', '{"name": "Ann"}');
SELECT * FROM why_of('why parallel', 'ann', 'day');
SELECT * FROM why_of('why parallel', 'ann', 'now');
SELECT sopflow.run_due();
SELECT * FROM why_of('why parallel', 'ann', 'now');
SELECT task_id > 0 FROM sopflow.fetch('{WHY_QUEUE}');
SELECT * FROM why_of('why parallel', 'ann', 'now');
SET sopflow.clock = '2030-01-01 12:02:00+00';
SELECT * FROM why_of('why parallel', 'ann', 'now');
SELECT sopflow.run_due();
SELECT * FROM why_of('why parallel', 'ann', 'now');
SET sopflow.clock = '2030-01-01 12:05:00+00';
SELECT sopflow.ack(task_id, lease_token, '{"id": 17}') FROM sopflow.fetch('{WHY_QUEUE}');
SELECT * FROM why_of('why parallel', 'ann', 'now');

-- behind another task of its run; held by the pause of its SOP, of its action
SET sopflow.clock = '2030-01-02 12:00:00+00';
SELECT sopflow.run_due();
SELECT * FROM why_of('why parallel', 'ann', 'bad');
SELECT sopflow.pause('why parallel');
SELECT * FROM why_of('why parallel', 'ann', 'day');
SELECT sopflow.resume('why parallel'), sopflow.pause_action('WHY_QUEUE');
SELECT * FROM why_of('why parallel', 'ann', 'day');
SELECT sopflow.resume_action('WHY_QUEUE');
UPDATE sopflow.action SET enabled = false WHERE action = 'WHY_QUEUE';
SELECT sopflow.run_due();
SELECT * FROM why_of('why parallel', 'ann', 'day');
UPDATE sopflow.action SET enabled = true WHERE action = 'WHY_QUEUE';

-- an event ends the run
SELECT sopflow.reschedule(task_id, '2030-01-03 00:00:00+00') FROM sopflow.tasks WHERE sop_id = 'why parallel' AND node_id = 'day';
SELECT * FROM why_of('why parallel', 'ann', 'day');
SELECT sopflow.emit('WHY_SIGN', 'ann');
SELECT * FROM why_of('why parallel', 'ann', 'day');

-- a chain: each step counts from the end of the one before; a newer version
SELECT sopflow.emit('WHY_CHAIN', 'bob');
SELECT * FROM why_of('why chain', 'bob', 'first');
SET sopflow.clock = '2030-01-03 12:00:03+00';
SELECT sopflow.run_due();
SELECT * FROM why_of('why chain', 'bob', 'first');
SELECT * FROM why_of('why chain', 'bob', 'second');
UPDATE sopflow.sop_node SET delay = '2 months' WHERE sop_id = 'why chain' AND node_id = 'fourth';
SET sopflow.clock = '2030-01-05 15:00:03+00';
SELECT sopflow.run_due();
SELECT * FROM why_of('why chain', 'bob', 'second');
SET sopflow.clock = '2030-01-05 15:01:03+00';
SELECT sopflow.run_due();
SELECT * FROM why_of('why chain', 'bob', 'second');
SELECT * FROM why_of('why chain', 'bob', 'third');
SELECT sopflow.run_due();
SELECT * FROM why_of('why chain', 'bob', 'fourth');
-- too late
SET sopflow.clock = '2030-03-05 15:01:03+00';
SELECT sopflow.run_due();
SELECT * FROM why_of('why chain', 'bob', 'fourth');
-- started in the past: due at once, in the order of their times
SELECT sopflow.start('why chain', 'cid', occurred_at => '2030-03-01 00:00:00+00') > 0;
SELECT sopflow.run_due();
SELECT * FROM why_of('why chain', 'cid', 'second');

-- of a deleted SOP
SELECT sopflow.cancel(sop_id => 'why chain');
DELETE FROM sopflow.sop WHERE sop_id = 'why chain';
SELECT * FROM why_of('why chain', 'cid', 'second');

-- a long run is cut
SELECT sopflow.emit('WHY_ADD', 'dora', jsonb_build_object('text', repeat('long ', 100)));
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('why many', 'WHY_MANY');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) SELECT 'why many', 'n' || i, i * interval '1 day' FROM generate_series(1, 50) AS i;
COMMIT;
SELECT sopflow.emit('WHY_MANY', 'eve');
SELECT * FROM why_of('why many', 'eve', 'n25');
SELECT left(l, 120) FROM why_of('why parallel', 'dora', 'now') AS l WHERE l LIKE 'The run was started%';

-- no such task
SELECT sopflow.why(0);
SELECT sopflow.why(-1);
SELECT sopflow.why(9223372036854775807);
SELECT count(*) FROM sopflow.why(NULL);

-- rights: EXECUTE on why, and nothing else
CREATE ROLE regress_why_operator;
GRANT USAGE ON SCHEMA sopflow TO regress_why_operator;
SET ROLE regress_why_operator;
SELECT sopflow.why(1);
RESET ROLE;
GRANT EXECUTE ON FUNCTION sopflow.why TO regress_why_operator;
SELECT max(task_id) AS task_id FROM sopflow.tasks WHERE sop_id = 'why parallel' \gset
SET ROLE regress_why_operator;
SELECT count(*) > 5 FROM sopflow.why(:task_id);
SELECT sopflow.why_ways('{}');
SELECT count(*) FROM sopflow.tasks;
CREATE TEMPORARY TABLE sop_version (sop_id text, version int, definition jsonb);
CREATE FUNCTION pg_temp.format(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine' $$;
SET search_path = pg_temp, sopflow;
SELECT count(*) > 5 AND bool_and(l <> 'mine') FROM sopflow.why(:task_id) AS l;
RESET search_path;
RESET ROLE;

SELECT sopflow.cancel(sop_id => 'why parallel') > 0, sopflow.cancel(sop_id => 'why many') > 0;
DELETE FROM sopflow.dead;
DELETE FROM sopflow.alert WHERE action LIKE 'WHY%';
DELETE FROM sopflow.sop WHERE sop_id LIKE 'why%';
DELETE FROM sopflow.action WHERE action LIKE 'WHY%';
DROP FUNCTION why_ok, why_bad, why_of;
DROP OWNED BY regress_why_operator;
DROP ROLE regress_why_operator;
