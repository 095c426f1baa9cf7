-- reschedule: whatever waits gets another due time; what is leased or finished
-- does not.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, jitter, max_attempts) VALUES ('MAIL', 0, 2);
BEGIN;
INSERT INTO sopflow.sop (sop_id, reentry) VALUES ('one', 'allow'), ('two', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay) VALUES ('one', 'a', 'MAIL', '1h'), ('two', 'a', 'MAIL', '1h'), ('two', 'b', 'MAIL', '1h');
COMMIT;
CREATE VIEW shown AS SELECT subject_id, node_id, status, held_by, due_at, attempt, last_error FROM sopflow.tasks ORDER BY task_id;
CREATE FUNCTION move(subject text, at timestamptz, node text DEFAULT 'a') RETURNS bool LANGUAGE sql AS $$
	SELECT sopflow.reschedule(task_id, at) FROM sopflow.tasks WHERE subject_id = subject AND node_id = node
$$;
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.start('one', s) FROM unnest('{pending,earlier,ready,leased,done,dead}'::text[]) s;
SELECT sopflow.start('two', 'held') AS run;

-- Pending: later, and earlier than now.
SELECT move('pending', '2031-01-01 00:00+00'), move('earlier', '2029-01-01 00:00+00'), move('ready', '2030-01-07 09:00+00');
SELECT sopflow.run_due();
SELECT * FROM shown WHERE subject_id IN ('pending', 'earlier', 'ready');
SELECT subject_id, due_at, sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{MAIL}', 1);
-- Ready: it is not there until its new time.
SELECT move('ready', '2030-01-07 09:30+00');
SELECT * FROM sopflow.fetch('{MAIL}');
SET sopflow.clock = '2030-01-07 09:30+00';
SELECT subject_id, due_at, attempt, sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{MAIL}');
-- Leased, done, dead, unknown: no.
SET sopflow.clock = '2030-01-07 10:00+00';
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{MAIL}');
SELECT subject_id, CASE subject_id WHEN 'done' THEN sopflow.ack(task_id, lease_token)
	WHEN 'dead' THEN sopflow.nack(task_id, lease_token, 'no', retry => false) END AS settled FROM work ORDER BY task_id;
SELECT subject_id, sopflow.reschedule(task_id, '2030-01-08 00:00+00') FROM work ORDER BY task_id;
SELECT sopflow.reschedule(77, '2030-01-08 00:00+00'), sopflow.reschedule(-1, '2030-01-08 00:00+00');
SELECT * FROM shown WHERE subject_id IN ('leased', 'done', 'dead');
-- Held by its run, and by a pause, where it stays held when it comes due again.
SELECT * FROM shown WHERE subject_id = 'held';
SELECT move('held', '2030-01-07 11:00+00', 'b');
SELECT * FROM shown WHERE subject_id = 'held';
SELECT sopflow.pause('one');
SELECT sopflow.start('one', 'paused', occurred_at => '2030-01-07 09:00+00') > 0 AS started;
SELECT sopflow.run_due();
SELECT move('paused', '2030-01-07 10:30+00');
SELECT * FROM shown WHERE subject_id = 'paused';
SET sopflow.clock = '2030-01-07 10:30+00';
SELECT sopflow.run_due();
SELECT * FROM shown WHERE subject_id IN ('paused', 'held');
SELECT sopflow.resume('one');
SELECT subject_id, node_id, due_at FROM sopflow.fetch('{MAIL}', 1);
-- Waiting for a retry: the attempts stay.
SELECT move('held', '2031-01-01 00:00+00');
SELECT * FROM shown WHERE subject_id = 'held';

-- Refusals.
SELECT sopflow.reschedule(NULL, '2030-01-08 00:00+00');
SELECT sopflow.reschedule(1, NULL);
SELECT sopflow.reschedule(1, 'infinity');
SELECT sopflow.reschedule(1, '-infinity');
\set VERBOSITY sqlstate
SELECT sopflow.reschedule(1, NULL);
SELECT sopflow.reschedule(1, 'infinity');
\set VERBOSITY default
DROP VIEW shown;
DROP FUNCTION move;
DROP TABLE work;
