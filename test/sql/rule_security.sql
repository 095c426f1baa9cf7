-- Who may write and fire a rule set, and as whom its texts run: as its owner,
-- restricted, under its own search_path, whoever fires it.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
CREATE ROLE rs_ann;
CREATE ROLE rs_bob;
CREATE ROLE rs_app;
CREATE ROLE rs_team;
GRANT rs_team TO rs_ann;
CREATE SCHEMA rs;
GRANT USAGE ON SCHEMA rs TO PUBLIC;
GRANT CREATE ON SCHEMA rs TO rs_ann;
CREATE SCHEMA evil;
GRANT USAGE, CREATE ON SCHEMA evil TO PUBLIC;
CREATE TABLE rs.of_postgres (i int);
INSERT INTO rs.of_postgres VALUES (42);
CREATE FUNCTION rs.who() RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN current_user; END';

\echo --- who may write
SET ROLE rs_ann;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rs_ann');
SELECT * FROM sopflow.rule_set;
SELECT sopflow.fire('rs_ann', '{}');
RESET ROLE;
SELECT sopflow.grant_author('rs_ann');
SELECT sopflow.grant_author('rs_bob');
SET ROLE rs_ann;
CREATE TABLE rs.secret (rep_id int, note text);
INSERT INTO rs.secret VALUES (1, 'of ann'), (2, 'two');
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rs_ann') RETURNING owner;
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rs_ann', 'n', 'int');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rs_ann', 'secret', 'rs.secret', 'select s from rs.secret s where s.rep_id = n');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rs_ann', 'max', 'int', '1');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES
	('rs_ann', 'r', 'n >= param.max', '[{"result": {"condition": "{{current_user}}", "who": "{{rs.who()}}", "session": "{{session_user}}", "note": "{{secret.note}}"}}]');
COMMIT;
SELECT fired, facts->'result' FROM sopflow.fire('rs_ann', '{"n": 1}');
-- for a role that she is a member of, and for no other
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rs_team', 'rs_team') RETURNING owner;
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rs_x', 'postgres');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rs_x', 'rs_bob');
UPDATE sopflow.rule_set SET owner = 'postgres' WHERE rule_set = 'rs_ann';
SET ROLE rs_bob;
SELECT count(*) FROM sopflow.rule_set;
SELECT (SELECT count(*) FROM sopflow.rule), (SELECT count(*) FROM sopflow.rule_fact), (SELECT count(*) FROM sopflow.rule_param);
UPDATE sopflow.rule_set SET enabled = false;
UPDATE sopflow.rule SET condition = 'true';
UPDATE sopflow.rule_param SET value = '0';
DELETE FROM sopflow.rule;
DELETE FROM sopflow.rule_set;
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rs_ann', 'of bob');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rs_ann', 'of_bob', 'int');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rs_ann', 'of_bob', 'int', '1');
INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('rs_ann', 'max', 'x', '1');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rs_ann', 'of_bob', 'select 1', '''x''');
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('rs_ann', 'of bob', 'unit');
INSERT INTO sopflow.rule_grant (rule_set, grantee) VALUES ('rs_ann', 'rs_bob');
-- one of his own, that he gives to her set
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rs_bob');
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rs_bob', 'r');
COMMIT;
UPDATE sopflow.rule SET rule_set = 'rs_ann', rule = 'of bob' WHERE rule_set = 'rs_bob';
UPDATE sopflow.rule_set SET rule_set = 'rs_team' WHERE rule_set = 'rs_bob';
-- pg_restore's setting opens nothing
SET check_function_bodies = off;
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rs_ann', 'of bob');
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rs_x', 'postgres');
RESET check_function_bodies;

\echo --- who may fire
SELECT * FROM sopflow.fire('rs_ann', '{"n": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.fire_rows('rs_ann', 1);
SELECT * FROM sopflow.check_rules('rs_ann', '{"n": 1}');
SELECT * FROM sopflow.explain('rs_ann');
SELECT * FROM sopflow.prove('rs_ann', 'n', '{"n": 1}');
SELECT * FROM sopflow.validate_rules('rs_ann');
SELECT sopflow.grant_rules('rs_ann', 'rs_bob');
SET ROLE rs_ann;
SELECT sopflow.grant_rules('rs_ann', 'rs_bob');
SET ROLE rs_bob;
-- as its owner
SELECT fired, facts->'result' FROM sopflow.fire('rs_ann', '{"n": 1}');
SELECT fired, facts->'result' FROM sopflow.fire_rows('rs_ann', 2);
SELECT * FROM rs.secret;
-- to fire is not to write
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rs_ann', 'of bob');
RESET ROLE;
SELECT fired, facts->'result' FROM sopflow.fire('rs_ann', '{"n": 1}');
SET ROLE rs_ann;
DELETE FROM sopflow.rule_grant WHERE rule_set = 'rs_ann';
SET ROLE rs_bob;
SELECT * FROM sopflow.fire('rs_ann', '{"n": 1}');
RESET ROLE;

\echo --- what the owner may not read, his rules do not read
SET ROLE rs_ann;
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rs_ann', 'theirs', 'int', 'select i from rs.of_postgres');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rs_ann', 'their_count', 'select count(*) from rs.of_postgres', '''x''');
UPDATE sopflow.rule SET condition = 'theirs = 42', actions = '[]' WHERE rule_set = 'rs_ann';
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule SET condition = 'their_count = 1', actions = '[]' WHERE rule_set = 'rs_ann';
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
UPDATE sopflow.rule SET condition = 'theirs = 42', actions = '[]' WHERE rule_set = 'rs_ann';
RESET ROLE;
-- nor when a superuser fires them
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
GRANT SELECT ON rs.of_postgres TO rs_ann;
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
REVOKE SELECT ON rs.of_postgres FROM rs_ann;
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
\echo :LAST_ERROR_SQLSTATE
-- row by row
GRANT SELECT ON rs.of_postgres TO rs_ann;
ALTER TABLE rs.of_postgres ENABLE ROW LEVEL SECURITY;
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
CREATE POLICY readable ON rs.of_postgres FOR SELECT TO rs_ann USING (true);
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
SET row_security = off;
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
RESET row_security;
-- functions that the owner may not execute
RESET ROLE;
CREATE FUNCTION rs.closed(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
REVOKE ALL ON FUNCTION rs.closed FROM PUBLIC;
SET ROLE rs_ann;
BEGIN;
DELETE FROM sopflow.rule_fact WHERE rule_set = 'rs_ann' AND fact = 'theirs';
UPDATE sopflow.rule SET condition = 'rs.closed(n)' WHERE rule_set = 'rs_ann';
COMMIT;
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');
RESET ROLE;
SELECT fired FROM sopflow.fire('rs_ann', '{"n": 1}');

\echo --- names mean what they meant to the author
RESET ROLE;
CREATE FUNCTION rs.vip(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT ''real''';
CREATE TABLE rs.plain (i int);
INSERT INTO rs.plain VALUES (1);
GRANT SELECT ON rs.plain TO rs_ann;
SET ROLE rs_ann;
SET search_path = rs;
CREATE FUNCTION inner_name() RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN vip(1) || (SELECT count(*) FROM plain) || '' '' || pg_catalog.current_setting(''search_path''); END';
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rs_path');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rs_path', 'n', 'int');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rs_path', 'rows', 'bigint', 'select count(*) from plain where i = n');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES
	('rs_path', 'r', 'n = 1', '[{"result": {"vip": "{{vip(n)}}", "length": "{{length(''abc'')}}", "inner": "{{inner_name()}}", "rows": "{{rows}}"}}]');
COMMIT;
RESET search_path;
RESET ROLE;
SELECT sopflow.grant_rules('rs_path', 'rs_bob');
SET ROLE rs_bob;
CREATE FUNCTION evil.vip(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT ''evil''';
CREATE FUNCTION evil.length(text) RETURNS int LANGUAGE sql STABLE AS 'SELECT -1';
CREATE FUNCTION evil.eq(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = int, RIGHTARG = int);
CREATE TABLE evil.plain (i int);
CREATE TEMP TABLE plain (i int);
INSERT INTO plain VALUES (1), (1), (1);
GRANT SELECT ON evil.plain, plain TO PUBLIC;
SET search_path = evil, pg_catalog;
SELECT fired, facts OPERATOR(pg_catalog.->) 'result' FROM sopflow.fire('rs_path', '{"n": 1}');
SET search_path = pg_temp, evil, pg_catalog;
SELECT fired, facts OPERATOR(pg_catalog.->) 'result' FROM sopflow.fire_rows('rs_path', 1);
SHOW search_path;
-- compiled anew under it
RESET ROLE;
RESET search_path;
UPDATE sopflow.rule SET description = 'changed' WHERE rule_set = 'rs_path';
SET ROLE rs_bob;
SET search_path = pg_temp, evil, pg_catalog;
SELECT fired, facts OPERATOR(pg_catalog.->) 'result' FROM sopflow.fire('rs_path', '{"n": 1}');
RESET search_path;
RESET ROLE;

\echo --- a superuser who fires an author''s rules lends nothing
SET ROLE rs_ann;
CREATE FUNCTION rs.try(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE what;
	RETURN 'done by ' || current_user;
EXCEPTION WHEN OTHERS THEN
	RETURN current_user || ': ' || SQLSTATE;
END $$;
CREATE FUNCTION rs.act(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('act', rs.try(facts->>'what'))
$$;
CREATE FUNCTION rs.try_stable(what text) RETURNS text LANGUAGE sql STABLE AS 'SELECT rs.try(what)';
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rs_try');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rs_try', 'what', 'text'), ('rs_try', 'out', 'text');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rs_try', 'r1', 1, 'true', '[{"set": {"out": "rs.try(what)"}}]'),
	('rs_try', 'r2', 2, 'true', '[{"call": "rs.act"}]'),
	('rs_try', 'r3', 3, 'rs.try_stable(what) is not null', '[{"message": "{{rs.try_stable(what)}}"}]');
COMMIT;
RESET ROLE;
-- under the very path of the author, so that it is not switched
SHOW search_path;
SELECT what, facts->'out', facts->'result'->'act', messages FROM unnest(ARRAY['ALTER ROLE rs_ann SUPERUSER', 'SET ROLE postgres', 'RESET ROLE', 'SET SESSION AUTHORIZATION postgres', 'CREATE TEMP TABLE t (i int)',
	'DELETE FROM rs.of_postgres', 'DELETE FROM sopflow.rule_set', 'SET search_path = evil', 'SET work_mem = 123', 'COMMIT', 'SELECT pg_advisory_lock(1)', 'INSERT INTO rs.secret VALUES (3, ''by rule'')']) what,
	LATERAL sopflow.fire('rs_try', jsonb_build_object('what', what, 'out', ''));
SELECT rolsuper FROM pg_roles WHERE rolname = 'rs_ann';
SELECT current_user, session_user, current_setting('search_path'), current_setting('work_mem') <> '123kB', (SELECT count(*) FROM rs.of_postgres), (SELECT count(*) FROM rs.secret);
SELECT pg_advisory_unlock_all();
-- a quota or looked-up fact whose function writes
SET ROLE rs_ann;
CREATE FUNCTION rs.writes(i int) RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO rs.secret VALUES ($1, ''by query'') RETURNING rep_id';
BEGIN;
DELETE FROM sopflow.rule WHERE rule_set = 'rs_try';
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rs_try', 'q', 'select rs.writes(7)', '''rs''');
INSERT INTO sopflow.rule (rule_set, rule, condition) VALUES ('rs_try', 'r', 'q = 7');
COMMIT;
RESET ROLE;
SELECT count(*) FROM rs.secret WHERE note = 'by query';
SELECT current_user;

\echo --- a superuser''s rules call no one else''s functions
SET ROLE rs_ann;
CREATE FUNCTION rs.of_ann(int) RETURNS bool LANGUAGE sql STABLE AS 'SELECT true';
CREATE FUNCTION rs.act_of_ann(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION rs.hook_of_ann(sopflow.rule_event) RETURNS bool LANGUAGE sql AS 'SELECT true';
RESET ROLE;
CREATE FUNCTION rs.of_super(int) RETURNS bool LANGUAGE sql STABLE AS 'SELECT true';
CREATE FUNCTION rs.act_of_super(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rs_super') RETURNING owner;
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rs_super', 'n', 'int');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rs_super', 'r', 'rs.of_super(n)', '[{"call": "rs.act_of_super"}]');
COMMIT;
SELECT fired FROM sopflow.fire('rs_super', '{"n": 1}');
UPDATE sopflow.rule SET condition = 'rs.of_ann(n)' WHERE rule_set = 'rs_super';
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule SET actions = '[{"call": "rs.act_of_ann"}]' WHERE rule_set = 'rs_super';
UPDATE sopflow.rule SET actions = '[{"set": {"n": "rs.of_ann(n)::int"}}]' WHERE rule_set = 'rs_super';
UPDATE sopflow.rule SET actions = '[{"message": "{{rs.of_ann(n)}}"}]' WHERE rule_set = 'rs_super';
UPDATE sopflow.rule_set SET before_fire = 'rs.hook_of_ann' WHERE rule_set = 'rs_super';
SELECT fired FROM sopflow.fire('rs_super', '{"n": 1}');
-- handed over later: refused at the next call
ALTER FUNCTION rs.of_super(int) OWNER TO rs_ann;
SELECT fired FROM sopflow.fire('rs_super', '{"n": 1}');
\echo :LAST_ERROR_SQLSTATE
ALTER FUNCTION rs.of_super(int) OWNER TO postgres;
ALTER FUNCTION rs.act_of_super OWNER TO rs_ann;
SET ROLE rs_ann;
CREATE OR REPLACE FUNCTION rs.act_of_super(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS
	'BEGIN ALTER ROLE rs_ann SUPERUSER; RETURN NULL; END';
RESET ROLE;
SELECT fired FROM sopflow.fire('rs_super', '{"n": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT rolsuper FROM pg_roles WHERE rolname = 'rs_ann';
ALTER FUNCTION rs.act_of_super OWNER TO postgres;
-- the set itself in other hands: with a superuser''s functions, or not
UPDATE sopflow.rule_set SET owner = 'rs_ann' WHERE rule_set = 'rs_super';
\set VERBOSITY sqlstate
SELECT fired FROM sopflow.fire('rs_super', '{"n": 1}');
\set VERBOSITY default
UPDATE sopflow.rule SET condition = 'rs.of_ann(n)' WHERE rule_set = 'rs_super';
UPDATE sopflow.rule_set SET owner = 'postgres' WHERE rule_set = 'rs_super';
\echo :LAST_ERROR_SQLSTATE
SELECT owner FROM sopflow.rule_set WHERE rule_set = 'rs_super';

\echo --- who may only write the table
SET ROLE rs_ann;
CREATE TABLE rs.leads (id int PRIMARY KEY, qty int, by_whom text);
GRANT SELECT, INSERT, UPDATE ON rs.leads TO rs_app, rs_bob;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rs_leads');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rs_leads', 'new', 'rs.leads'), ('rs_leads', 'old', 'rs.leads');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rs_leads', 'secret', 'rs.secret', 'select s from rs.secret s where s.rep_id = new.id');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rs_leads', 'held', 'select count(*) from rs.leads', '''rs_leads''');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rs_leads', 'who', 1, 'true', '[{"set": {"new.by_whom": "current_user::text"}}]'),
	('rs_leads', 'secret', 2, 'secret.note = ''of ann'' and new.qty > 5', '[{"deny": "no more than 5"}]'),
	('rs_leads', 'held', 3, 'held >= 2 and old.id is null', '[{"deny": "no more than two"}]');
COMMIT;
CREATE TRIGGER t BEFORE INSERT ON rs.leads FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('rs_leads');
SELECT sopflow.guard('rs.leads', 'rs_leads');
RESET ROLE;
GRANT EXECUTE ON FUNCTION sopflow.guard, sopflow.unguard TO rs_ann, rs_bob;
SET ROLE rs_ann;
SELECT sopflow.guard('rs.leads', 'rs_leads');
-- neither another's table, nor by another's rules
SET ROLE rs_bob;
SELECT sopflow.guard('rs.leads', 'rs_bob');
CREATE TABLE evil.leads (LIKE rs.leads);
SELECT sopflow.guard('evil.leads', 'rs_leads');
RESET ROLE;
SET ROLE rs_app;
INSERT INTO rs.leads VALUES (1, 5), (2, 10) RETURNING *;
INSERT INTO rs.leads VALUES (4, 5);
UPDATE rs.leads SET qty = 6 WHERE id = 1;
UPDATE rs.leads SET qty = 11 WHERE id = 2 RETURNING *;
SELECT * FROM sopflow.rule;
SELECT sopflow.fire('rs_leads', '{}');
RESET ROLE;
UPDATE rs.leads SET qty = 12 WHERE id = 2 RETURNING *;
-- the type of new is that of its table, and of no other
CREATE TABLE rs.other (id int, qty int, by_whom text);
SELECT sopflow.guard('rs.other', 'rs_leads');
CREATE TRIGGER t BEFORE INSERT ON rs.other FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('rs_leads');
INSERT INTO rs.other VALUES (1, 1);
\echo :LAST_ERROR_SQLSTATE
CREATE TRIGGER late AFTER UPDATE ON rs.leads FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('rs_leads');
CREATE TRIGGER st BEFORE UPDATE ON rs.leads FOR EACH STATEMENT EXECUTE FUNCTION sopflow.enforce('rs_leads');
UPDATE rs.leads SET qty = 1 WHERE id = 1;
DROP TRIGGER st ON rs.leads;
UPDATE rs.leads SET qty = 1 WHERE id = 1;
DROP TRIGGER late ON rs.leads;
CREATE TRIGGER none BEFORE UPDATE ON rs.leads FOR EACH ROW EXECUTE FUNCTION sopflow.enforce();
UPDATE rs.leads SET qty = 1 WHERE id = 1;
DROP TRIGGER none ON rs.leads;
SELECT sopflow.enforce();

\echo --- an owner who is gone
SET ROLE rs_ann;
SELECT sopflow.unguard('rs.leads', 'rs_leads');
RESET ROLE;
CREATE ROLE rs_gone;
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rs_gone', 'rs_gone');
DROP ROLE rs_gone;
DO $$
BEGIN
	PERFORM sopflow.fire('rs_gone', '{}');
EXCEPTION WHEN OTHERS THEN
	RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, '\d+', 'N');
END $$;
UPDATE sopflow.rule_set SET owner = 'rs_ann' WHERE rule_set = 'rs_gone';
SELECT * FROM sopflow.fire('rs_gone', '{}');

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'rs\_%';
SET client_min_messages = error;
DROP OWNED BY rs_ann, rs_bob, rs_app, rs_team CASCADE;
DROP SCHEMA rs, evil CASCADE;
DROP ROLE rs_ann, rs_bob, rs_app, rs_team;
