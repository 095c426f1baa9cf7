-- skip_late_after: a task that would first be carried out later than this after
-- its due time is skipped, and its run goes on.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, delivery) VALUES ('GREET', 'broadcast');
INSERT INTO sopflow.action (action, jitter, backoff_base) VALUES ('PHONE', 0, '2h');
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, skip_late_after, delay_from)
	VALUES ('graph', 'IMPORT', '1h', 'previous'), ('parallel', 'IMPORT', '1h', 'event'), ('however', 'IMPORT', NULL, 'event');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, next)
	VALUES ('graph', 'a', '1 day', 'GREET', 'b'), ('graph', 'b', '30 min', 'GREET', NULL),
		('parallel', 'a', '1 day', 'GREET', NULL), ('parallel', 'b', '2 days', 'GREET', NULL),
		('however', 'a', '1 day', 'GREET', NULL);
COMMIT;
CREATE VIEW shown AS SELECT sop_id, node_id, status, due_at, finished_at, attempt, last_error FROM sopflow.tasks;

-- Exactly the interval late is not too late.
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.emit('IMPORT', 1);
SET sopflow.clock = '2030-01-08 10:00+00';
SELECT sopflow.run_due();
SELECT * FROM shown ORDER BY sop_id, due_at;
SELECT sopflow.cancel(subject_id => '1');

-- A microsecond more is; the node behind counts from the skipping.
SET sopflow.clock = '2030-02-04 09:00+00';
SELECT sopflow.emit('IMPORT', 2);
SET sopflow.clock = '2030-02-05 10:00:00.000001+00';
SELECT sopflow.run_due();
SELECT * FROM shown WHERE due_at > '2030-02-01' ORDER BY sop_id, due_at;

-- A client imported from years ago gets nothing late, and its runs end.
SELECT sopflow.cancel(subject_id => '2');
SET sopflow.clock = '2030-03-04 09:00+00';
SELECT sopflow.emit('IMPORT', 3, occurred_at => '2010-01-01 00:00+00');
SELECT sopflow.run_due();
SELECT * FROM shown WHERE due_at < '2030-01-01' OR due_at > '2030-03-01' ORDER BY sop_id, due_at;
SET sopflow.clock = '2030-03-04 09:30+00';
SELECT sopflow.run_due();
SELECT sop_id, state, ended_at, reason FROM sopflow.runs WHERE subject_id = '3' ORDER BY sop_id;

-- A retry is not skipped: the first attempt was in time.
BEGIN;
INSERT INTO sopflow.sop (sop_id, skip_late_after) VALUES ('retried', '1h');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('retried', 'a', 'PHONE');
COMMIT;
SET sopflow.clock = '2030-04-01 09:00+00';
SELECT sopflow.start('retried', 4) > 0 AS started;
SELECT sopflow.nack(task_id, lease_token, 'busy') FROM sopflow.fetch('{PHONE}');
SELECT node_id, status, due_at, attempt, last_error FROM shown WHERE sop_id = 'retried';
SET sopflow.clock = '2030-04-01 13:00+00';
SELECT node_id, attempt, sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{PHONE}');
SELECT node_id, status, due_at, attempt, last_error FROM shown WHERE sop_id = 'retried';
DROP VIEW shown;
