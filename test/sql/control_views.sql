-- The views show every task and run, whatever its state; and who may not see the
-- storage tables may be given the views.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_operator;
RESET client_min_messages;
CREATE ROLE regress_operator;
INSERT INTO sopflow.action (action, jitter, max_attempts) VALUES ('MAIL', 0, 1);
BEGIN;
INSERT INTO sopflow.sop (sop_id, skip_late_after, exit_events, reentry)
	VALUES ('one', '1 day', '{LEFT}', 'allow'), ('two', NULL, '{}', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay, params) VALUES ('one', 'a', 'MAIL', '1h', '{"n": 1}'),
	('two', 'a', 'MAIL', '1h', '{"n": 2}'), ('two', 'b', 'MAIL', '1h', '{"n": 3}'), ('two', 'c', NULL, '2h', '{"n": 4}');
COMMIT;
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.start('one', s, jsonb_build_object('who', s)) FROM unnest('{done,dead,cancelled,exited,leased,ready,pending}'::text[]) s;
SELECT sopflow.start('one', 'skipped', occurred_at => '2029-01-07 09:00+00'), sopflow.start('two', 'held'), sopflow.start('two', 'other');
SELECT sopflow.reschedule(task_id, '2030-01-07 11:00+00') FROM sopflow.tasks WHERE subject_id IN ('pending', 'ready');
SET sopflow.clock = '2030-01-07 10:00+00';
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{MAIL}', 5);
SELECT subject_id, CASE subject_id WHEN 'done' THEN sopflow.ack(task_id, lease_token, '{"sent": 1}')
	WHEN 'dead' THEN sopflow.nack(task_id, lease_token, 'refused') END AS settled,
	CASE subject_id WHEN 'cancelled' THEN sopflow.cancel('cancelled') WHEN 'exited' THEN sopflow.emit('LEFT', 'exited') END AS ended
FROM work ORDER BY task_id;
SET sopflow.clock = '2030-01-07 10:00:30+00';
SELECT sopflow.reschedule(task_id, '2030-01-07 10:00+00') FROM sopflow.tasks WHERE subject_id = 'ready';
SELECT sopflow.run_due();
-- an edit: runs keep their version, new ones have the new
UPDATE sopflow.sop_node SET node_id = 'renamed' WHERE sop_id = 'one';
SELECT sopflow.start('one', 'newer');
SELECT task_id, run_id, sop_id, node_id, subject_id, action, status, due_at, attempt, last_error, finished_at, result, held_by, lease_until
FROM sopflow.tasks ORDER BY task_id;
SELECT run_id, sop_id, version, subject_id, state, event_at, started_at, ended_at, reason, context FROM sopflow.runs ORDER BY run_id;
SELECT * FROM sopflow.dead_tasks;
SELECT * FROM sopflow.alerts;
-- each task once
SELECT count(*), count(DISTINCT task_id) FROM sopflow.tasks;
SELECT count(*), count(DISTINCT run_id) FROM sopflow.runs;

-- task_params: of the version of the run, in every state.
SELECT subject_id, node_id, status, sopflow.task_params(task_id) FROM sopflow.tasks ORDER BY task_id;
SELECT sopflow.task_params(77), sopflow.task_params(NULL);

-- Rights: none by themselves.
SET ROLE regress_operator;
SELECT * FROM sopflow.tasks;
RESET ROLE;
GRANT USAGE ON SCHEMA sopflow TO regress_operator;
SET ROLE regress_operator;
SELECT count(*) FROM sopflow.tasks;
SELECT count(*) FROM sopflow.runs;
SELECT count(*) FROM sopflow.history;
SELECT sopflow.task_params(65536);
RESET ROLE;
GRANT SELECT ON sopflow.tasks, sopflow.runs, sopflow.dead_tasks, sopflow.alerts TO regress_operator;
SET ROLE regress_operator;
SELECT status, count(*) FROM sopflow.tasks GROUP BY status ORDER BY status;
SELECT state, count(*) FROM sopflow.runs GROUP BY state ORDER BY state;
SELECT (SELECT count(*) FROM sopflow.dead_tasks) AS dead, (SELECT count(*) FROM sopflow.alerts) AS alerts;
RESET ROLE;
DROP TABLE work;
DROP OWNED BY regress_operator;
DROP ROLE regress_operator;
