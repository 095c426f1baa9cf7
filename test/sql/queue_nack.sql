-- nack: the wait before the next attempt, exactly; attempts and errors; dead at
-- the last one or at once.
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
-- 30 s, 60 s, 120 s ... and never above the cap.
UPDATE sopflow.action SET max_attempts = 10, alert_after = NULL, backoff_cap = '10 min' WHERE action = 'MAIL';
SELECT sopflow.start('mail', 1) AS run;
CREATE FUNCTION fail(name text, times int, OUT attempt int, OUT wait interval) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	w sopflow.work;
	due timestamptz;
BEGIN
	FOR i IN 1..times LOOP
		SELECT * INTO w FROM sopflow.fetch(ARRAY[name], 1);
		CONTINUE WHEN w.task_id IS NULL;
		attempt := w.attempt;
		PERFORM sopflow.nack(w.task_id, w.lease_token, 'error ' || w.attempt);
		SELECT due_at INTO due FROM sopflow.task WHERE task_id = w.task_id;
		wait := due - sopflow.now();
		RETURN NEXT;
		PERFORM set_config('sopflow.clock', coalesce(due, sopflow.now())::text, false);
	END LOOP;
END
$$;
SELECT * FROM fail('MAIL', 12);
SELECT status, attempt, last_error, due_at FROM shown;
SELECT state, reason FROM sopflow.runs;
-- a factor of one, and one beyond what a number can hold
UPDATE sopflow.action SET backoff_factor = 1, max_attempts = 4 WHERE action = 'MAIL';
SELECT sopflow.start('mail', 2) AS run;
SELECT * FROM fail('MAIL', 4);
UPDATE sopflow.action SET backoff_factor = 1000, max_attempts = 200 WHERE action = 'MAIL';
SELECT sopflow.start('mail', 3) AS run;
SELECT DISTINCT wait FROM fail('MAIL', 150);
SELECT sopflow.cancel('3');

-- With jitter: within its share of the wait, not all alike, never above the cap.
UPDATE sopflow.action SET backoff_base = '100s', backoff_factor = 1, backoff_cap = '110s', jitter = 0.2, max_attempts = 1000 WHERE action = 'MAIL';
SELECT sopflow.start('mail', 4) AS run;
SELECT min(wait) BETWEEN '80s' AND '90s' AS least, max(wait) BETWEEN '105s' AND '110s' AS greatest,
	count(DISTINCT wait) > 50 AS various FROM fail('MAIL', 200);
SELECT sopflow.cancel('4');

-- retry_in and retry.
SET sopflow.clock = '2030-02-04 09:00+00';
SELECT count(sopflow.start('phone', i)) FROM generate_series(1, 7) i;
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{PHONE}');
CREATE FUNCTION task(subject int, OUT task_id bigint, OUT lease_token bigint) LANGUAGE sql
	AS $$ SELECT task_id, lease_token FROM work WHERE subject_id = subject::text $$;
SELECT sopflow.nack(task_id, lease_token, 'call later', retry_in => '1 day 1 microsecond') FROM task(1);
SELECT sopflow.nack(task_id, lease_token, 'now', '0') FROM task(2);
SELECT sopflow.nack(task_id, lease_token, 'never', retry => false) FROM task(3);
SELECT sopflow.nack(task_id, lease_token, NULL, NULL, NULL) FROM task(4);
SELECT sopflow.nack(task_id, lease_token + 1, 'wrong token'), sopflow.nack(task_id, NULL, ''), sopflow.nack(NULL, NULL, NULL) FROM task(5);
SELECT sopflow.nack(task_id, lease_token, 'x', '-1s') FROM task(5);
SELECT sopflow.nack(task_id, lease_token, 'x', '213503983 days') FROM task(5);
SELECT subject_id, status, due_at, attempt, last_error FROM shown WHERE action = 'PHONE';
SELECT sopflow.nack(task_id, lease_token, 'again') FROM task(1);
-- many, with an element of each for each; NULL is the default
SELECT w.subject_id FROM sopflow.nack_many(
	ARRAY[(SELECT task_id FROM task(7)), (SELECT task_id FROM task(6)), (SELECT task_id FROM task(5)), (SELECT task_id FROM task(4))],
	ARRAY[(SELECT lease_token FROM task(7)), (SELECT lease_token FROM task(6)), (SELECT lease_token FROM task(5)), (SELECT lease_token FROM task(4))],
	ARRAY['seven', 'six', NULL, 'four'], ARRAY[NULL, '10s', NULL, '20s']::interval[], ARRAY[false, NULL, true, true])
	WITH ORDINALITY AS accepted(task_id, ord) JOIN work w USING (task_id) ORDER BY ord;
SELECT subject_id, status, due_at, attempt, last_error FROM shown WHERE action = 'PHONE';
SELECT task_id = (SELECT task_id FROM task(3)) AS third, sop_id, node_id, subject_id, action, due_at, attempt, last_error, finished_at
FROM sopflow.dead_tasks WHERE action = 'PHONE' ORDER BY subject_id;
SELECT sopflow.ack_many((SELECT array_agg(task_id) FROM work), (SELECT array_agg(lease_token) FROM work));

DROP VIEW shown;
DROP FUNCTION task, fail;
DROP TABLE work;
