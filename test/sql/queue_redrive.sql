-- dead_tasks and redrive: dead tasks go back, due now, with all attempts, and
-- their runs are active again.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, jitter, max_attempts) VALUES ('MAIL', 0, 1), ('PHONE', 0, 1), ('FAX', 0, 1);
BEGIN;
INSERT INTO sopflow.sop (sop_id, reentry, delay_from)
	VALUES ('mail', 'ignore', 'event'), ('phone', 'ignore', 'event'), ('chain', 'allow', 'previous'), ('pair', 'allow', 'event');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay, next, on_failure)
	VALUES ('mail', 'a', 'MAIL', '0', NULL, 'stop'), ('phone', 'a', 'PHONE', '0', NULL, 'stop'),
		('chain', 'a', 'FAX', '0', 'b', 'continue'), ('chain', 'b', 'FAX', '1h', NULL, 'stop'),
		('pair', 'a', 'FAX', '0', NULL, 'stop'), ('pair', 'b', 'FAX', '1h', NULL, 'stop');
COMMIT;
CREATE FUNCTION fail(VARIADIC names text[]) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM sopflow.fetch(names, 100) w, sopflow.nack(w.task_id, w.lease_token, 'failed at ' || w.attempt)
$$;
CREATE VIEW shown AS
	SELECT sop_id, subject_id, node_id, status, due_at, attempt, last_error, finished_at FROM sopflow.tasks ORDER BY task_id;
CREATE VIEW runs AS SELECT sop_id, subject_id, state, ended_at, reason FROM sopflow.runs ORDER BY run_id;
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT count(sopflow.start(s, i)) FROM unnest('{mail,phone}'::text[]) s, generate_series(1, 3) i;
SELECT fail('MAIL', 'PHONE');
SELECT sop_id, node_id, subject_id, action, due_at, attempt, last_error, finished_at FROM sopflow.dead_tasks ORDER BY task_id;
SELECT state, count(*) FROM runs GROUP BY state;

-- By action, by ids, by both, all; NULL, unknown and living ones count for nothing.
SET sopflow.clock = '2030-01-07 10:00+00';
SELECT sopflow.redrive(action => 'NONE'), sopflow.redrive(task_ids => '{}'), sopflow.redrive(task_ids => '{1,NULL}');
SELECT task_id AS mail FROM sopflow.dead_tasks WHERE action = 'MAIL' ORDER BY 1 LIMIT 1 \gset
SELECT sopflow.redrive('PHONE', ARRAY[:mail]);
SELECT sopflow.redrive('MAIL', ARRAY[:mail, :mail, 77]);
SELECT sopflow.redrive(task_ids => ARRAY[:mail]);
SELECT * FROM shown WHERE sop_id = 'mail';
SELECT * FROM runs WHERE sop_id = 'mail';
-- it is the one active run again: an event of its subject is ignored
SELECT sopflow.start('mail', 1) = :mail / 65536 AS same, sopflow.start('mail', 1) = :mail / 65536 AS same;
SELECT sopflow.redrive('PHONE');
SELECT status, count(*) FROM shown GROUP BY status;
-- they fail and die anew, or are done
SELECT fail('PHONE');
SELECT sopflow.redrive();
SELECT sopflow.redrive();
SELECT count(*) FROM sopflow.fetch('{MAIL,PHONE}') w, sopflow.ack(w.task_id, w.lease_token);
SELECT * FROM shown;
SELECT state, count(*), min(ended_at) FROM runs GROUP BY state;
-- a new run began meanwhile: both are active
SELECT sopflow.start('mail', 9) AS first \gset
SELECT fail('MAIL');
SELECT sopflow.start('mail', 9) AS second \gset
SELECT sopflow.redrive('MAIL');
SELECT subject_id, status FROM shown WHERE subject_id = '9';
SELECT count(*) FROM sopflow.fetch('{MAIL}') w, sopflow.ack(w.task_id, w.lease_token);
SELECT state FROM runs WHERE subject_id = '9';

-- A graph that went on without the task: it does not go on twice from there,
-- whether what follows is still pending, done or dead.
SET sopflow.clock = '2030-02-04 09:00+00';
SELECT sopflow.start('chain', 20) AS run \gset
SELECT fail('FAX');
SELECT sopflow.redrive('FAX');
SELECT fail('FAX');
SELECT sopflow.redrive('FAX');
SELECT sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{FAX}');
SELECT * FROM shown WHERE subject_id = '20';
SET sopflow.clock = '2030-02-04 10:00+00';
SELECT sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{FAX}');
SELECT * FROM runs WHERE subject_id = '20';
SELECT sopflow.start('chain', 21) AS run \gset
SELECT fail('FAX');
SET sopflow.clock = '2030-02-04 11:00+00';
SELECT sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{FAX}');
SELECT sopflow.redrive('FAX');
SELECT * FROM runs WHERE subject_id = '21';
SELECT sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{FAX}');
SELECT * FROM shown WHERE subject_id = '21';
SELECT * FROM runs WHERE subject_id = '21';
SELECT sopflow.start('chain', 22) AS run \gset
SELECT fail('FAX');
SET sopflow.clock = '2030-02-04 12:00+00';
SELECT fail('FAX');
SELECT sopflow.redrive('FAX');
-- one after the other, as any tasks of a run
SELECT node_id, sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{FAX}');
SELECT node_id, sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{FAX}');
SELECT node_id, status, attempt, last_error FROM shown WHERE subject_id = '22';
SELECT * FROM runs WHERE subject_id = '22';

-- A run that was stopped: what was cancelled with it stays cancelled.
SELECT sopflow.start('pair', 30) AS run \gset
SELECT fail('FAX');
SELECT * FROM runs WHERE subject_id = '30';
SELECT sopflow.redrive('FAX');
SELECT * FROM runs WHERE subject_id = '30';
SELECT node_id, sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{FAX}');
SELECT node_id, status, attempt, last_error FROM shown WHERE subject_id = '30';
SELECT * FROM runs WHERE subject_id = '30';
DROP VIEW shown, runs;
DROP FUNCTION fail;
