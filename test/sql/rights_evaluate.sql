-- What of a user's code is part of a watch runs as the owner of the watched
-- table, restricted; a handler as the owner of its action, restricted.
\pset format unaligned
\pset tuples_only on
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE ROLE re_owner;
CREATE ROLE re_app;
CREATE ROLE re_part;
CREATE SCHEMA re;
GRANT USAGE ON SCHEMA re TO PUBLIC;
GRANT CREATE ON SCHEMA re TO re_owner, re_part;
GRANT USAGE ON SCHEMA sopflow TO re_owner;
GRANT EXECUTE ON FUNCTION sopflow.watch, sopflow.unwatch TO re_owner;
BEGIN;
INSERT INTO sopflow.action (action) VALUES ('re_q');
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('re', 'RE', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('re', 'n1', '1h', 're_q');
COMMIT;

SET ROLE re_owner;
-- who evaluates: written down by notices, since the context is restricted
CREATE FUNCTION re.who(what text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE NOTICE '% as %', what, current_user;
	RETURN current_user::text;
END $$;
CREATE TYPE re.kind AS ENUM ('one', 'two', 'reset role', 'set role postgres', 'reset session authorization',
	'create temp table t (i int)', 'alter role re_owner superuser', 'select 1 from sopflow.task', 'listen x', 'set work_mem = 123');
CREATE FUNCTION re.kind_json(re.kind) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'cast as %', current_user;
	RETURN to_json($1::text);
END $$;
CREATE CAST (re.kind AS json) WITH FUNCTION re.kind_json(re.kind);
CREATE DOMAIN re.name AS text CHECK (re.who('domain') IS NOT NULL);
CREATE TABLE re.clients (id bigint, kind re.kind, name re.name);
GRANT INSERT ON re.clients TO re_app;
SELECT sopflow.watch('re.clients', 'RE', 'id', '{kind,name}', 're.who(''condition '' || name) is not null');
RESET ROLE;

-- inserted by the application and by a superuser: the same
SET ROLE re_app;
INSERT INTO re.clients VALUES (1, 'one', 'x');
RESET ROLE;
INSERT INTO re.clients VALUES (2, 'two', 'y');
SELECT subject_id, context FROM sopflow.runs WHERE sop_id = 're' ORDER BY run_id;

-- restricted: it cannot become somebody else, nor make things
SET ROLE re_owner;
CREATE OR REPLACE FUNCTION re.kind_json(re.kind) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE $1::text;
	RETURN to_json(current_user);
END $$;
SELECT sopflow.watch('re.clients', 'RE', 'id', '{kind}');
RESET ROLE;
INSERT INTO re.clients VALUES (3, 'reset role');
INSERT INTO re.clients VALUES (3, 'set role postgres');
INSERT INTO re.clients VALUES (3, 'reset session authorization');
INSERT INTO re.clients VALUES (3, 'create temp table t (i int)');
-- in other words from 16 on
\set VERBOSITY sqlstate
INSERT INTO re.clients VALUES (3, 'alter role re_owner superuser');
\set VERBOSITY default
INSERT INTO re.clients VALUES (3, 'select 1 from sopflow.task');
INSERT INTO re.clients VALUES (3, 'listen x');
SELECT current_user, count(*) FROM sopflow.runs WHERE sop_id = 're' AND subject_id = '3';
-- a setting that it changes is put back
INSERT INTO re.clients VALUES (4, 'set work_mem = 123');
SELECT current_setting('work_mem') <> '123kB', context FROM sopflow.runs WHERE sop_id = 're' AND subject_id = '4';

-- A partition of another owner: still as the owner of the table that is watched.
SET ROLE re_owner;
CREATE TABLE re.parts (id bigint, name text) PARTITION BY LIST (id);
CREATE TABLE re.parts_1 PARTITION OF re.parts FOR VALUES IN (1);
SELECT sopflow.watch('re.parts', 'RE', 'id', condition => 're.who(''partition '' || id) is not null');
-- its owner can make more of them
CREATE TABLE re.parts_2 PARTITION OF re.parts FOR VALUES IN (2);
RESET ROLE;
ALTER TABLE re.parts_1 OWNER TO re_part;
INSERT INTO re.parts VALUES (1), (2);
SET ROLE re_part;
INSERT INTO re.parts_1 VALUES (1);
RESET ROLE;
-- when the owner changes, so does the role
ALTER TABLE re.parts OWNER TO re_part;
INSERT INTO re.parts VALUES (1);

-- Functions that the owner of the table may not execute.
CREATE FUNCTION re.secret(bigint) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
REVOKE ALL ON FUNCTION re.secret FROM PUBLIC;
ALTER TABLE re.parts OWNER TO re_owner;
SET ROLE re_owner;
SELECT sopflow.watch('re.parts', 'RE', 'id', condition => 're.secret(id)');
RESET ROLE;
INSERT INTO re.parts VALUES (1);

-- Handlers: as the action's owner, under its saved path, restricted.
SET ROLE re_owner;
CREATE FUNCTION re.handler(sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF ($1).params ? 'do' THEN
		EXECUTE ($1).params->>'do';
	END IF;
	RETURN jsonb_build_object('user', current_user, 'path', current_setting('search_path'));
END $$;
RESET ROLE;
SELECT sopflow.grant_author('re_owner');
SET ROLE re_owner;
SET search_path = re;
BEGIN;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts) VALUES ('re_call', 'call', 'handler', 1);
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('re_call', 'RE_CALL');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, params, on_failure) VALUES
	('re_call', 'plain', 're_call', '{}', 'continue'),
	('re_call', 'set role', 're_call', '{"do": "set role postgres"}', 'continue'),
	('re_call', 'reset role', 're_call', '{"do": "reset role"}', 'continue'),
	('re_call', 'temp', 're_call', '{"do": "create temp table t (i int)"}', 'continue'),
	('re_call', 'tasks', 're_call', '{"do": "delete from sopflow.task"}', 'continue'),
	('re_call', 'setting', 're_call', '{"do": "set sopflow.clock = ''2040-01-01''"}', 'continue'),
	('re_call', 'work_mem', 're_call', '{"do": "set work_mem = 123"}', 'continue'),
	('re_call', 'commit', 're_call', '{"do": "commit"}', 'continue');
COMMIT;
RESET search_path;
RESET ROLE;
SELECT sopflow.emit('RE_CALL', 'x');
SELECT sopflow.run_due() > 0;
SELECT node_id, status, result, last_error FROM sopflow.tasks WHERE sop_id = 're_call' ORDER BY task_id;
SELECT current_user, current_setting('search_path'), current_setting('work_mem') <> '123kB';

SELECT sopflow.cancel(sop_id => 're') > 0;
DELETE FROM sopflow.dead d USING sopflow.sop_version v WHERE v.version_id = d.version_id AND v.sop_id = 're_call';
DELETE FROM sopflow.alert WHERE sop_id = 're_call' OR action = 're_call';
DELETE FROM sopflow.sop WHERE sop_id LIKE 're%';
DELETE FROM sopflow.action WHERE action LIKE 're%';
SET client_min_messages = error;
DROP OWNED BY re_owner, re_part, re_app CASCADE;
DROP SCHEMA re CASCADE;
DROP ROLE re_owner, re_part, re_app;
