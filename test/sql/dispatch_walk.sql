-- The walk of a graph: nodes without an action, end nodes, the order of nodes,
-- cycles, and max_steps.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, delivery) VALUES ('GREET', 'broadcast');
CREATE VIEW shown AS
	SELECT run_id, task_id % 65536 AS step, node_id, action, status, due_at, finished_at FROM sopflow.tasks;

-- A node without an action is carried out as a no-op, at its time; an end node
-- completes the run at once and is no task.
BEGIN;
INSERT INTO sopflow.sop (sop_id, delay_from) VALUES ('walk', 'previous');
-- the graph starts at the lowest seq, not at the first row
INSERT INTO sopflow.sop_node (sop_id, node_id, seq, type, delay, action, next)
	VALUES ('walk', 'finish', 3, 'end', '0', NULL, NULL),
		('walk', 'second', 2, 'delay', '0', 'GREET', 'finish'),
		('walk', 'first', 1, 'delay', '1h', NULL, 'second');
COMMIT;
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.start('walk', 1) AS run;
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-07 10:00+00';
-- the second is written by the first, due at once, and taken in the same call
SELECT sopflow.run_due();
SELECT * FROM shown ORDER BY step;
SELECT state, ended_at, reason FROM sopflow.runs;

-- An end node ends a run of which nothing else is left; a lone node is parallel.
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('short'), ('lone');
INSERT INTO sopflow.sop_node (sop_id, node_id, type, next)
	VALUES ('short', 'a', 'delay', 'z'), ('short', 'z', 'end', NULL), ('lone', 'a', 'delay', NULL);
COMMIT;
SELECT sopflow.start('short', 1) AS short, sopflow.start('lone', 1) AS lone;
SELECT sopflow.run_due();
SELECT sop_id, state, ended_at, reason FROM sopflow.runs WHERE sop_id <> 'walk' ORDER BY sop_id;

-- A cycle: each lap counts from the one before; the run ends with max_steps.
BEGIN;
INSERT INTO sopflow.sop (sop_id, delay_from, max_steps) VALUES ('weekly', 'previous', 4);
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, next)
	VALUES ('weekly', 'call', '7 days', 'GREET', 'note'), ('weekly', 'note', '0', NULL, 'call');
COMMIT;
SET sopflow.clock = '2030-02-04 09:00+00';
SELECT sopflow.start('weekly', 2) AS run \gset
SET sopflow.clock = '2030-02-11 09:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-02-18 09:00+00';
SELECT sopflow.run_due();
SELECT step, node_id, action, status, due_at, finished_at FROM shown WHERE run_id = :run ORDER BY step;
SELECT state, ended_at, reason FROM sopflow.runs WHERE run_id = :run;

-- run_due() takes as many as it is told, earliest first.
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('many');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action)
	SELECT 'many', 'n' || i, make_interval(mins => 10 - i), 'GREET' FROM generate_series(1, 9) i;
COMMIT;
SET sopflow.clock = '2030-03-04 09:00+00';
SELECT sopflow.start('many', 3) AS run \gset
SET sopflow.clock = '2030-03-04 10:00+00';
SELECT sopflow.run_due(max_tasks => 0);
SELECT sopflow.run_due(max_tasks => 2);
SELECT node_id, status FROM shown WHERE run_id = :run ORDER BY due_at LIMIT 3;
SELECT sopflow.run_due(max_tasks => 2, max_time => '0');
SELECT sopflow.run_due();
SELECT status, count(*) FROM shown WHERE run_id = :run GROUP BY status;
SELECT sopflow.run_due();
\set VERBOSITY sqlstate
SELECT sopflow.run_due(max_tasks => -1);
SELECT sopflow.run_due(max_time => '-1s');
\set VERBOSITY default
DROP VIEW shown;
