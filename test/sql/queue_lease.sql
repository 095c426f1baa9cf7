-- Leases: they end by the clock, as a failed attempt; they can be extended; who
-- lost one changes nothing.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, jitter) VALUES ('MAIL', 0), ('PHONE', 0);
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('mail'), ('phone');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('mail', 'a', 'MAIL'), ('phone', 'a', 'PHONE');
COMMIT;
CREATE VIEW shown AS
	SELECT run_id, subject_id, action, status, due_at, attempt, last_error, lease_until FROM sopflow.tasks ORDER BY task_id;
SET sopflow.clock = '2030-01-07 09:00+00';
UPDATE sopflow.action SET lease = '2 min', max_attempts = 2;
SELECT count(sopflow.start('mail', i)) FROM generate_series(1, 3) i;
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{MAIL}', 2);
CREATE FUNCTION task(subject int, OUT task_id bigint, OUT lease_token bigint) LANGUAGE sql
	AS $$ SELECT task_id, lease_token FROM work WHERE subject_id = subject::text ORDER BY work.lease_token DESC LIMIT 1 $$;

-- A microsecond before its end a lease stands; at its end it is taken back, and
-- waits as after any failure.
SET sopflow.clock = '2030-01-07 09:01:59.999999+00';
SELECT sopflow.run_due();
SELECT * FROM shown;
SET sopflow.clock = '2030-01-07 09:02+00';
SELECT sopflow.run_due();
SELECT * FROM shown;
SELECT sopflow.ack(task_id, lease_token), sopflow.nack(task_id, lease_token, 'late'), sopflow.extend(task_id, lease_token, '1h') FROM task(1);
SELECT * FROM shown WHERE subject_id = '1';
-- taken up anew: the old token is no good, the new one is
SET sopflow.clock = '2030-01-07 09:02:30+00';
INSERT INTO work SELECT * FROM sopflow.fetch('{MAIL}') ;
SELECT subject_id, attempt, due_at, lease_until FROM work ORDER BY lease_token, task_id;
SELECT sopflow.ack(task_id, lease_token) FROM work ORDER BY lease_token, task_id LIMIT 1;
SELECT * FROM shown WHERE subject_id = '1';
SELECT sopflow.ack(task_id, lease_token) FROM task(1);
-- the second attempt was the last; fetch takes leases back too
SET sopflow.clock = '2030-01-07 10:00+00';
SELECT subject_id FROM sopflow.fetch('{MAIL}');
SELECT * FROM shown;
SELECT state, reason FROM sopflow.runs ORDER BY run_id;

-- extend: from now on, longer or shorter.
SELECT sopflow.start('phone', 4) AS run;
INSERT INTO work SELECT * FROM sopflow.fetch('{PHONE}');
SET sopflow.clock = '2030-01-07 10:01+00';
SELECT sopflow.extend(task_id, lease_token, '1 hour') FROM task(4);
SELECT lease_until FROM shown WHERE subject_id = '4';
SELECT sopflow.extend(task_id, lease_token, '10s') FROM task(4);
SELECT sopflow.extend(task_id, lease_token + 1, '1h'), sopflow.extend(task_id + 1, lease_token, '1h'), sopflow.extend(NULL, 1, '1h') FROM task(4);
SELECT lease_until FROM shown WHERE subject_id = '4';
SELECT sopflow.extend(task_id, lease_token, NULL) FROM task(4);
SELECT sopflow.extend(task_id, lease_token, '0') FROM task(4);
SELECT sopflow.extend(task_id, lease_token, '-1 day') FROM task(4);
-- past its end, but not taken back yet, it can still be extended and acknowledged
SET sopflow.clock = '2030-01-07 10:05+00';
SELECT sopflow.extend(task_id, lease_token, '1 min') FROM task(4);
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-07 10:07+00';
SELECT sopflow.ack(task_id, lease_token) FROM task(4);
SELECT * FROM shown WHERE subject_id = '4';

-- Whoever may not fetch a task may not settle it, whatever he knows of it.
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_consumer;
RESET client_min_messages;
CREATE ROLE regress_consumer;
GRANT USAGE ON SCHEMA sopflow TO regress_consumer;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sopflow TO regress_consumer;
SELECT sopflow.start('phone', 5) AS run;
INSERT INTO work SELECT * FROM sopflow.fetch('{PHONE}');
SELECT task_id, lease_token FROM task(5) \gset
SET ROLE regress_consumer;
SELECT sopflow.ack(:task_id, :lease_token);
SELECT sopflow.nack(:task_id, :lease_token, 'x');
SELECT sopflow.ack_many(ARRAY[:task_id], ARRAY[:lease_token]);
SELECT sopflow.extend(:task_id, :lease_token, '1h');
SELECT sopflow.ack(:task_id, :lease_token + 1);
RESET ROLE;
SELECT status, lease_until FROM shown WHERE subject_id = '5';
SELECT sopflow.grant_consumer('PHONE', 'regress_consumer');
SET ROLE regress_consumer;
SELECT sopflow.ack(:task_id, :lease_token);
RESET ROLE;
DROP VIEW shown;
DROP FUNCTION task;
DROP TABLE work;
DROP OWNED BY regress_consumer;
DROP ROLE regress_consumer;
