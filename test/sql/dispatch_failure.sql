-- What a dead task does to its run: on_failure, and the attempts that a node
-- may take.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
CREATE FUNCTION refuse(sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'no answer to attempt %', $1.attempt;
END
$$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts, jitter, alert_after)
	VALUES ('REFUSE', 'call', 'refuse', 1, 0, NULL);
INSERT INTO sopflow.action (action, delivery) VALUES ('GREET', 'broadcast');
CREATE VIEW shown AS
	SELECT sop_id, node_id, status, due_at, attempt, last_error, finished_at FROM sopflow.tasks;
SET sopflow.clock = '2030-01-07 09:00+00';

-- Graph: stop fails the run and nothing follows; continue goes on from the
-- failure.  A run whose last task is dead with continue is complete.
BEGIN;
INSERT INTO sopflow.sop (sop_id, delay_from)
	VALUES ('graph_stop', 'previous'), ('graph_continue', 'previous'), ('graph_last', 'previous');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay, next, on_failure)
	VALUES ('graph_stop', 'a', 'REFUSE', '1h', 'b', 'stop'), ('graph_stop', 'b', 'GREET', '1h', NULL, 'stop'),
		('graph_continue', 'a', 'REFUSE', '1h', 'b', 'continue'), ('graph_continue', 'b', 'GREET', '1h', NULL, 'stop'),
		('graph_last', 'a', 'GREET', '1h', 'b', 'stop'), ('graph_last', 'b', 'REFUSE', '1h', NULL, 'continue');
COMMIT;
SELECT sopflow.start(sop_id, 1) > 0 AS started FROM unnest('{graph_stop,graph_continue,graph_last}'::text[]) sop_id;
SET sopflow.clock = '2030-01-07 10:00+00';
SELECT sopflow.run_due();
SELECT * FROM shown ORDER BY sop_id, due_at;
SET sopflow.clock = '2030-01-07 11:00+00';
SELECT sopflow.run_due();
SELECT * FROM shown WHERE sop_id <> 'graph_stop' ORDER BY sop_id, due_at;
SELECT sop_id, state, ended_at, reason FROM sopflow.runs ORDER BY sop_id;

-- Parallel: stop cancels the other tasks, also those due in the same batch.
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('parallel_stop'), ('parallel_continue');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay, on_failure)
	SELECT s, n.node_id, n.action, n.delay, CASE s WHEN 'parallel_stop' THEN 'stop' ELSE 'continue' END
	FROM unnest('{parallel_stop,parallel_continue}'::text[]) s,
		(VALUES ('a', 'GREET', interval '1h'), ('b', 'REFUSE', '2h'), ('c', 'GREET', '3h'), ('d', 'GREET', '4h'))
			AS n(node_id, action, delay);
COMMIT;
SELECT sopflow.start(sop_id, 2) > 0 AS started FROM unnest('{parallel_stop,parallel_continue}'::text[]) sop_id;
SET sopflow.clock = '2030-01-07 14:00+00';
SELECT sopflow.run_due();
SELECT sop_id, node_id, status, attempt, last_error FROM shown WHERE sop_id LIKE 'parallel%' ORDER BY sop_id, due_at;
SELECT sop_id, state, reason FROM sopflow.runs WHERE subject_id = '2' ORDER BY sop_id;
SET sopflow.clock = '2030-01-07 15:00+00';
SELECT sopflow.run_due();
SELECT sop_id, state, ended_at, reason FROM sopflow.runs WHERE subject_id = '2' ORDER BY sop_id;

-- A node's max_attempts overrides the action's, up and down.
UPDATE sopflow.action SET max_attempts = 2, backoff_base = '1 min' WHERE action = 'REFUSE';
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('attempts');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, max_attempts, on_failure)
	VALUES ('attempts', 'one', 'REFUSE', 1, 'continue'), ('attempts', 'two', 'REFUSE', NULL, 'continue'),
		('attempts', 'three', 'REFUSE', 3, 'continue');
COMMIT;
SET sopflow.clock = '2030-02-04 09:00+00';
SELECT sopflow.start('attempts', 3) > 0 AS started;
SELECT sopflow.run_due();
SELECT node_id, status, due_at, attempt, last_error FROM shown WHERE sop_id = 'attempts' ORDER BY attempt, status, node_id;
SET sopflow.clock = '2030-02-04 09:01+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-02-04 09:03+00';
SELECT sopflow.run_due();
SELECT node_id, status, due_at, attempt, last_error, finished_at FROM shown WHERE sop_id = 'attempts' ORDER BY attempt;
SELECT state, ended_at FROM sopflow.runs WHERE sop_id = 'attempts';

-- One that was dead is redriven, and what the run went on with is due in the
-- same pass: it is carried out once, before or after the other.
CREATE TABLE mended ();
CREATE FUNCTION until_mended(w sopflow.work) RETURNS jsonb LANGUAGE sql AS
	'SELECT to_jsonb(1 / (SELECT count(*) FROM public.mended))';
INSERT INTO sopflow.action (action, delivery, handler, max_attempts)
	VALUES ('MEND', 'call', 'public.until_mended', 1);
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('mend');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay, next, on_failure)
	VALUES ('mend', 'one', 'MEND', '0', 'two', 'continue'), ('mend', 'two', 'MEND', '1h', NULL, 'stop');
COMMIT;
SET sopflow.clock = '2030-02-11 09:00+00';
SELECT count(sopflow.start('mend', i)) FROM generate_series(1, 2) i;
SELECT sopflow.run_due();
INSERT INTO mended DEFAULT VALUES;
SET sopflow.clock = '2030-02-11 10:00+00';
SELECT sopflow.redrive('MEND');
SELECT sopflow.reschedule(task_id, '2030-02-11 09:30+00') FROM sopflow.tasks
	WHERE sop_id = 'mend' AND subject_id = '2' AND node_id = 'two';
SELECT sopflow.run_due();
SELECT sopflow.run_due();
SELECT subject_id, node_id, status, due_at, finished_at FROM sopflow.tasks WHERE sop_id = 'mend' ORDER BY task_id;
SELECT state FROM sopflow.runs WHERE sop_id = 'mend';
DROP VIEW shown;
DROP FUNCTION refuse CASCADE;
DROP FUNCTION until_mended CASCADE;
DROP TABLE mended;
