-- ack: the holder of the lease ends the task, nobody else does, and never twice;
-- ack_many accepts what is right and leaves the rest.
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
	SELECT run_id, subject_id, action, status, due_at, attempt, last_error, result FROM sopflow.tasks ORDER BY task_id;
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT count(sopflow.start('mail', i)) FROM generate_series(1, 6) i;
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{MAIL}');
CREATE FUNCTION task(subject int, OUT task_id bigint, OUT lease_token bigint) LANGUAGE sql
	AS $$ SELECT task_id, lease_token FROM work WHERE subject_id = subject::text $$;

-- One.
SELECT sopflow.ack(task_id, lease_token + 1) FROM task(1);
SELECT sopflow.ack(task_id, 0) FROM task(1);
SELECT sopflow.ack(task_id + 1, lease_token) FROM task(1);
SELECT sopflow.ack(-1, lease_token), sopflow.ack(9223372036854775807, lease_token), sopflow.ack(0, 0) FROM task(1);
SELECT sopflow.ack(NULL, lease_token), sopflow.ack(task_id, NULL) FROM task(1);
SELECT * FROM shown WHERE subject_id = '1';
SELECT sopflow.ack(task_id, lease_token, '{"sent": true}') FROM task(1);
SELECT * FROM shown WHERE subject_id = '1';
SELECT sopflow.ack(task_id, lease_token, '{"sent": "again"}'), sopflow.nack(task_id, lease_token, 'late'),
	sopflow.extend(task_id, lease_token, '1h') FROM task(1);
SELECT * FROM shown WHERE subject_id = '1';
SELECT state, ended_at FROM sopflow.runs WHERE subject_id = '1';
-- rolled back, it is still leased
BEGIN;
SELECT sopflow.ack(task_id, lease_token) FROM task(2);
ROLLBACK;
SELECT status FROM shown WHERE subject_id = '2';

-- Many: a wrong token, an unknown task, NULLs and one that is done already are
-- left out; the accepted come back in the order given, each once.
SELECT w.subject_id FROM sopflow.ack_many(
	ARRAY[(SELECT task_id FROM task(3)), (SELECT task_id FROM task(2)), (SELECT task_id FROM task(1)),
		(SELECT task_id FROM task(4)), 77, NULL, (SELECT task_id FROM task(2)), (SELECT task_id FROM task(5))],
	ARRAY[(SELECT lease_token FROM task(3)), (SELECT lease_token FROM task(2)), (SELECT lease_token FROM task(1)),
		(SELECT lease_token + 1 FROM task(4)), 1, 1, (SELECT lease_token FROM task(2)), NULL],
	ARRAY['{"n": 3}', '{"n": 2}', '{"n": 1}', '{"n": 4}', NULL, NULL, NULL, NULL]::jsonb[])
	WITH ORDINALITY AS accepted(task_id, ord) JOIN work w USING (task_id) ORDER BY ord;
SELECT * FROM shown;
-- without results; the empty array
SELECT w.subject_id FROM sopflow.ack_many((SELECT array_agg(task_id) FROM work), (SELECT array_agg(lease_token) FROM work))
	AS accepted(task_id) JOIN work w USING (task_id) ORDER BY 1;
SELECT * FROM sopflow.ack_many('{}', '{}');
SELECT * FROM sopflow.ack_many('{}', '{}', '{}');
SELECT * FROM sopflow.ack_many('{1,2}', '{1}');
SELECT * FROM sopflow.ack_many('{1}', '{1}', '{}');
SELECT * FROM sopflow.ack_many(NULL, '{}');
SELECT * FROM sopflow.ack_many('{}', NULL);
SELECT * FROM sopflow.nack_many('{1}', '{1}', '{a,b}');
SELECT * FROM sopflow.nack_many('{1}', '{1}', '{a}', '{1s,2s}');
SELECT * FROM sopflow.nack_many('{1}', '{1}', '{a}', NULL, '{}');
\set VERBOSITY sqlstate
SELECT * FROM sopflow.ack_many('{1,2}', '{1}');
SELECT * FROM sopflow.ack_many(NULL, '{}');
\set VERBOSITY default
SELECT state, count(*) FROM sopflow.runs GROUP BY state;
DROP VIEW shown;
DROP FUNCTION task;
DROP TABLE work;
