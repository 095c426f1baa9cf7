-- call: whose rights and which search_path a handler has, and what happens when
-- it, its owner or its action is no longer there.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_handler, regress_other;
RESET client_min_messages;
CREATE ROLE regress_handler;
CREATE ROLE regress_other;
CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE TABLE one.answer (text) AS SELECT 'one'::text;
CREATE TABLE two.answer (text) AS SELECT 'two'::text;
GRANT USAGE ON SCHEMA one, two, sopflow TO regress_handler, regress_other;
GRANT SELECT ON one.answer, two.answer TO regress_handler;
GRANT CREATE ON SCHEMA one TO regress_handler, regress_other;
CREATE TABLE secret (n int);
CREATE FUNCTION one.handle(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	found text;
BEGIN
	IF w.params ? 'query' THEN
		EXECUTE w.params->>'query';
		RETURN '{}';
	END IF;
	SELECT text INTO found FROM answer;
	RETURN jsonb_build_object('user', current_user, 'search_path', current_setting('search_path'), 'answer', found);
END
$$;
CREATE VIEW shown AS
	SELECT sop_id, node_id, status, attempt, regexp_replace(last_error, 'role \d+', 'role N') AS last_error, result
	FROM sopflow.tasks ORDER BY task_id;

-- The path is that of the session that wrote the action, and the name is kept
-- qualified; resuming does not change either.
SET search_path = one, public;
INSERT INTO sopflow.action (action, delivery, handler, owner, jitter, backoff_base, max_attempts)
	VALUES ('HANDLE', 'call', 'handle', 'regress_handler', 0, '1 min', 2);
SET search_path = two, public;
SELECT sopflow.pause_action('HANDLE');
SELECT sopflow.resume_action('HANDLE');
UPDATE sopflow.action SET description = 'another' WHERE action = 'HANDLE';
SELECT handler, search_path FROM sopflow.action;
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('path'), ('rights'), ('late');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, params) VALUES ('path', 'a', 'HANDLE', '{}'),
	('rights', '1', 'HANDLE', '{"query": "SELECT FROM public.secret"}'),
	('rights', '2', 'HANDLE', '{"query": "SET ROLE regress_other"}'),
	('rights', '3', 'HANDLE', '{"query": "RESET ROLE"}'),
	('rights', '4', 'HANDLE', '{"query": "RESET SESSION AUTHORIZATION"}'),
	('rights', '5', 'HANDLE', '{"query": "CREATE TEMP TABLE t ()"}'),
	('rights', '6', 'HANDLE', '{"query": "LISTEN x"}'),
	('rights', '7', 'HANDLE', '{"query": "SELECT sopflow.run_due()"}'),
	('late', 'a', 'HANDLE', '{}');
COMMIT;
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.start('path', 1) AS run, sopflow.start('rights', 1) AS run;
SELECT sopflow.run_due();
SELECT * FROM shown;
SELECT current_user = session_user AS myself;
SHOW search_path;
RESET search_path;
SELECT sopflow.cancel('1');

-- The right to execute it is checked at each call.
SELECT sopflow.start('late', 2) AS run \gset
REVOKE EXECUTE ON FUNCTION one.handle FROM PUBLIC;
SELECT sopflow.run_due();
SELECT status, attempt, last_error FROM shown WHERE sop_id = 'late';
GRANT EXECUTE ON FUNCTION one.handle TO regress_handler;
SET sopflow.clock = '2030-01-07 09:01+00';
SELECT sopflow.run_due();
SELECT status, attempt, last_error, result->'answer' AS answer FROM shown WHERE sop_id = 'late';

-- Another body is in force at the next call.
CREATE OR REPLACE FUNCTION one.handle(w sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"another body"'::jsonb $$;
SELECT sopflow.start('late', 3) AS run \gset
SELECT sopflow.run_due();
SELECT status, attempt, last_error, result FROM shown WHERE sop_id = 'late' AND result::text LIKE '%body%';
-- Another signature is none, and neither is no function.
DROP FUNCTION one.handle;
CREATE FUNCTION one.handle(w sopflow.work, more int) RETURNS jsonb LANGUAGE sql AS $$ SELECT '1'::jsonb $$;
SELECT sopflow.start('late', 4) AS run \gset
SELECT sopflow.run_due();
SELECT status, attempt, last_error, result FROM shown WHERE sop_id = 'late' AND status = 'pending';
DROP FUNCTION one.handle;
CREATE FUNCTION one.handle(w sopflow.work) RETURNS text LANGUAGE sql AS $$ SELECT 'text' $$;
SET sopflow.clock = '2030-01-07 09:02+00';
SELECT sopflow.run_due();
SELECT status, attempt, last_error, result FROM shown WHERE sop_id = 'late' AND status = 'dead';

-- A superuser's action calls no function of somebody else, also when it gets
-- that owner later.
DROP FUNCTION one.handle;
CREATE FUNCTION one.handle(w sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(current_user::text) $$;
ALTER FUNCTION one.handle OWNER TO regress_other;
\set VERBOSITY sqlstate
UPDATE sopflow.action SET owner = quote_ident(current_user)::regrole;
\set VERBOSITY default
ALTER FUNCTION one.handle OWNER TO CURRENT_USER;
UPDATE sopflow.action SET owner = quote_ident(current_user)::regrole;
ALTER FUNCTION one.handle OWNER TO regress_other;
SELECT sopflow.start('late', 5) AS run \gset
SELECT sopflow.run_due();
SELECT status, attempt, regexp_replace(last_error, 'superuser "\w+"', 'superuser "S"') AS last_error FROM shown
	WHERE sop_id = 'late' AND status = 'pending';
SELECT sopflow.cancel('5');

-- The owner is gone.
ALTER FUNCTION one.handle OWNER TO CURRENT_USER;
UPDATE sopflow.action SET owner = 'regress_handler';
SELECT sopflow.start('late', 6) AS run \gset
DROP OWNED BY regress_handler;
DROP ROLE regress_handler;
SELECT sopflow.run_due();
SELECT status, attempt, last_error FROM shown WHERE sop_id = 'late' AND status = 'pending';
UPDATE sopflow.action SET owner = quote_ident(current_user)::regrole;
SET sopflow.clock = '2030-01-07 09:03+00';
SELECT sopflow.run_due();
SELECT status, attempt, last_error FROM shown WHERE sop_id = 'late' AND attempt = 2 AND status = 'done';

-- What the caller has deferred until his commit is his, and fires as himself.
CREATE ROLE regress_operator;
GRANT USAGE ON SCHEMA sopflow TO regress_operator;
GRANT EXECUTE ON FUNCTION sopflow.run_due TO regress_operator;
CREATE TABLE fired_as (role name);
GRANT INSERT ON fired_as TO PUBLIC;
CREATE TABLE deferred (checked bool);
GRANT INSERT ON deferred TO regress_operator;
CREATE FUNCTION note_role() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NOT NEW.checked THEN
		RAISE EXCEPTION 'checked as %', current_user;
	END IF;
	INSERT INTO public.fired_as VALUES (current_user);
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER note_role AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION note_role();
SELECT sopflow.start('late', 6) AS run \gset
SET ROLE regress_operator;
BEGIN;
INSERT INTO deferred VALUES (true);
SELECT sopflow.run_due();
INSERT INTO deferred VALUES (true);
COMMIT;
RESET ROLE;
SELECT * FROM fired_as;
SELECT sopflow.start('late', 6) AS run \gset
SET ROLE regress_operator;
BEGIN;
INSERT INTO deferred VALUES (false);
SELECT sopflow.run_due();
ROLLBACK;
RESET ROLE;
SELECT sopflow.run_due();
DROP TABLE deferred, fired_as;
DROP FUNCTION note_role;
DROP OWNED BY regress_operator;
DROP ROLE regress_operator;

-- The first handler of a session may be one that is not there.
\c -
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-07 09:04+00';
SELECT sopflow.start('late', 8) AS run \gset
ALTER FUNCTION one.handle RENAME TO away;
SELECT sopflow.run_due();
SELECT status, attempt, last_error FROM sopflow.tasks WHERE run_id = :run;
ALTER FUNCTION one.away RENAME TO handle;
SELECT sopflow.cancel('8');

-- An action that is in use cannot go, save where the SOP is a draft; its tasks
-- die of it.
SELECT sopflow.start('late', 7) AS run \gset
DELETE FROM sopflow.action;
UPDATE sopflow.sop SET enabled = false;
DELETE FROM sopflow.action;
SELECT sopflow.run_due();
SELECT status, attempt, last_error FROM sopflow.tasks WHERE run_id = :run;
SELECT state, reason FROM sopflow.runs WHERE run_id = :run;

DROP VIEW shown;
SET client_min_messages = warning;
DROP SCHEMA one CASCADE;
DROP SCHEMA two CASCADE;
DROP TABLE secret;
DROP OWNED BY regress_other;
DROP ROLE regress_other;
