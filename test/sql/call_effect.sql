-- call: the handler's effect and the end of its task are one, and a handler
-- that fails leaves nothing but its error.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
CREATE TABLE effect (n int GENERATED ALWAYS AS IDENTITY, subject text UNIQUE, attempt int);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION handle(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF w.params->>'do' <> 'nothing' THEN
		INSERT INTO effect (subject, attempt) VALUES (w.subject_id || '/' || w.node_id, w.attempt);
	END IF;
	CASE w.params->>'do'
		WHEN 'succeed', 'nothing' THEN RETURN to_jsonb(w) - '{task_id,run_id}'::text[];
		WHEN 'null' THEN RETURN NULL;
		WHEN 'json_null' THEN RETURN 'null';
		WHEN 'divide' THEN RETURN to_jsonb(1 / (w.attempt - w.attempt));
		WHEN 'raise' THEN RAISE EXCEPTION USING ERRCODE = 'ZZ123', MESSAGE = 'no credit', DETAIL = 'Balance is 0.';
		WHEN 'recover' THEN
			IF w.attempt < 3 THEN
				RAISE EXCEPTION 'not yet';
			END IF;
			RETURN jsonb_build_object('attempt', w.attempt);
		WHEN 'commit' THEN COMMIT; RETURN '{}';
		WHEN 'orphan' THEN INSERT INTO child VALUES (-1); RETURN '{}';
		WHEN 'child_first' THEN INSERT INTO child VALUES (1); INSERT INTO parent VALUES (1); RETURN '{}';
		WHEN 'sleep' THEN PERFORM pg_sleep(600); RETURN '{}';
		WHEN 'sleep_on' THEN
			BEGIN
				PERFORM pg_sleep(600);
			EXCEPTION WHEN query_canceled THEN
				RAISE NOTICE 'not stopped by this';
			END;
			RETURN '{}';
		WHEN 'sleep_for_ever' THEN
			FOR i IN 1..3 LOOP
				BEGIN
					PERFORM pg_sleep(600);
				EXCEPTION WHEN query_canceled THEN
					RAISE NOTICE 'stopped % times', i;
				END;
			END LOOP;
			RETURN '{}';
		WHEN 'set' THEN
			PERFORM set_config('work_mem', '77MB', false), set_config('search_path', 'nowhere', false),
				set_config('my.setting', 'theirs', false);
			RETURN '{}';
		WHEN 'delete_sop' THEN DELETE FROM sopflow.sop WHERE sop_id = w.sop_id; RETURN '{}';
	END CASE;
END
$$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts, jitter, backoff_base, timeout)
	VALUES ('HANDLE', 'call', 'handle', 5, 0, '1 min', '100ms');
CREATE VIEW shown AS
	SELECT node_id, status, due_at, attempt, last_error, result FROM sopflow.tasks;
CREATE FUNCTION define(name text, VARIADIC what text[]) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO sopflow.sop (sop_id) VALUES (name);
	INSERT INTO sopflow.sop_node (sop_id, node_id, action, params)
		SELECT name, w, 'HANDLE', jsonb_build_object('do', w) FROM unnest(what) w;
	RETURN sopflow.start(name, 'client', '{"channel": "web"}');
END
$$;

-- What it is given, and its result.
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT define('good', 'succeed', 'nothing', 'json_null') > 0 AS started;
SELECT sopflow.run_due();
SELECT node_id, status, attempt, last_error, jsonb_pretty(result) AS result FROM shown ORDER BY node_id;
SELECT * FROM effect;
SELECT sopflow.run_due();
SELECT count(*) FROM effect;
-- all of it goes with the transaction
BEGIN;
SELECT define('undone', 'succeed') > 0 AS started;
SAVEPOINT s;
SELECT sopflow.run_due();
SELECT subject FROM effect WHERE subject LIKE 'client/s%';
ROLLBACK TO s;
SELECT node_id, status FROM shown WHERE result IS NULL;
ROLLBACK;

-- Failures, each with its error; nothing of the effect remains.  Deferrable
-- constraints are checked at once while a handler runs.
TRUNCATE effect;
SELECT define('bad', 'null', 'divide', 'raise', 'recover', 'commit', 'orphan', 'child_first', 'delete_sop') > 0 AS started;
SELECT sopflow.run_due();
SELECT node_id, status, attempt, due_at, last_error FROM shown WHERE node_id NOT IN ('succeed', 'nothing', 'json_null') ORDER BY node_id;
SELECT subject, attempt FROM effect ORDER BY subject;
SELECT (SELECT count(*) FROM parent) AS parents, (SELECT count(*) FROM child) AS children;
-- others of the batch are not concerned, and the third attempt recovers
SET sopflow.clock = '2030-01-07 09:01+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-07 09:03+00';
SELECT sopflow.run_due();
SELECT node_id, status, attempt, last_error, result FROM shown WHERE node_id = 'recover';
SELECT subject, attempt FROM effect ORDER BY subject;
SELECT sopflow.cancel('client');

-- Deferred constraints stay deferred for the caller: an SOP can still be
-- written in two statements.
BEGIN;
SELECT define('some', 'succeed') > 0 AS started;
TRUNCATE effect;
SELECT sopflow.run_due();
INSERT INTO sopflow.sop (sop_id) VALUES ('two_statements');
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('two_statements', 'a');
COMMIT;

-- The timeout, also for a handler that would rather go on.
SELECT define('slow', 'sleep', 'sleep_on', 'sleep_for_ever') > 0 AS started;
SELECT sopflow.run_due();
SELECT node_id, status, attempt, last_error FROM shown WHERE node_id LIKE 'sleep%' ORDER BY node_id;
SELECT sopflow.cancel('client');
-- a cancel that is not the timeout is not the handler's failure
UPDATE sopflow.action SET timeout = '1h';
SELECT define('cancelled', 'sleep') > 0 AS started;
SET statement_timeout = '100ms';
SELECT sopflow.run_due();
RESET statement_timeout;
SELECT status, attempt, last_error FROM sopflow.tasks WHERE sop_id = 'cancelled';
SELECT sopflow.cancel('client');

-- Settings are put back.
SET my.setting = 'mine';
SELECT define('settings', 'set') > 0 AS started;
SELECT sopflow.run_due();
SELECT status FROM sopflow.tasks WHERE sop_id = 'settings';
SHOW work_mem;
SHOW search_path;
SHOW my.setting;

DROP TABLE effect, child, parent;
DROP VIEW shown;
DROP FUNCTION handle, define;
