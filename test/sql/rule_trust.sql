-- Code that comes with types and queries runs with the rights of the rule
-- set's owner, so it runs under the set's path, and a superuser's set runs
-- nobody else's.  A session's settings let no rule be passed by.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
SET sopflow.clock = '2026-03-02 09:00+00';
CREATE ROLE rt_owner;
CREATE ROLE rt_mallory;
SELECT sopflow.grant_author('rt_owner');
GRANT EXECUTE ON FUNCTION sopflow.guard TO rt_owner;
CREATE SCHEMA rt AUTHORIZATION rt_owner;
GRANT USAGE ON SCHEMA rt TO rt_mallory;
CREATE SCHEMA rt_mallory AUTHORIZATION rt_mallory;
GRANT USAGE ON SCHEMA rt_mallory TO rt_owner;
SET ROLE rt_mallory;
CREATE FUNCTION rt_mallory.evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'evil runs as %', current_user; RETURN 1; END $$;
CREATE VIEW rt_mallory.leads AS SELECT rt_mallory.evil() AS x;
GRANT SELECT ON rt_mallory.leads TO rt_owner;

SET ROLE rt_owner;
SET search_path = rt;
CREATE TABLE leads (id int, phone text);
GRANT ALL ON leads TO rt_mallory;
CREATE FUNCTION known() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT count(*) FROM leads); END $$;
CREATE FUNCTION is_phone(text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM x.* FROM leads x; RETURN true; END $$;
CREATE DOMAIN phone AS text CHECK (is_phone(VALUE));
CREATE TYPE contact AS (phones phone[]);
-- a constraint of a column's element
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rt_column');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rt_column', 'c', 'contact');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_column', 'r', 'c.phones IS NULL', '[{"deny": "no phone"}]');
COMMIT;
-- a constraint of the type of a path
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rt_path');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rt_path', 'c', 'jsonb');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_path', 'r', 'c.phone::phone = ''1''', '[{"message": "one"}]');
COMMIT;
-- a function of a query
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rt_query');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rt_query', 'n', 'int', 'SELECT known()');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_query', 'r', 'true', '[{"message": "{{n}} leads"}]');
COMMIT;
SELECT sopflow.grant_rules(s, 'rt_mallory') FROM unnest(ARRAY['rt_column', 'rt_path', 'rt_query']) s;
RESET search_path;
SET ROLE rt_mallory;
SET search_path = rt_mallory;
SELECT (sopflow.fire('rt_column', '{"c": {"phones": ["1"]}}')).allowed;
SELECT (sopflow.fire('rt_path', '{"c": {"phone": "1"}}')).messages;
SELECT (sopflow.fire('rt_query', '{}')).messages;
RESET search_path;

-- a superuser's set over the types of others: what they check and cast
RESET ROLE;
SET ROLE rt_mallory;
CREATE FUNCTION rt_mallory.is_fine(text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'is_fine runs as %', current_user; RETURN true; END $$;
CREATE DOMAIN rt_mallory.fine AS text;
CREATE TYPE rt_mallory.mood AS ENUM ('sad', 'happy');
CREATE TABLE rt_mallory.people (person int, word rt_mallory.fine, mood rt_mallory.mood);
RESET ROLE;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rt_super');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rt_super', 'p', 'rt_mallory.people');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_super', 'r', 'p.person = 1', '[{"message": "one"}]');
COMMIT;
SELECT (sopflow.fire('rt_super', '{"p": {"person": 1, "word": "w", "mood": "sad"}}')).messages;
SET ROLE rt_mallory;
ALTER DOMAIN rt_mallory.fine ADD CONSTRAINT is_fine CHECK (rt_mallory.is_fine(VALUE));
RESET ROLE;
SELECT (sopflow.fire('rt_super', '{"p": {"person": 1, "word": "w", "mood": "sad"}}')).messages;
\echo :LAST_ERROR_SQLSTATE
SET ROLE rt_mallory;
ALTER DOMAIN rt_mallory.fine DROP CONSTRAINT is_fine;
CREATE FUNCTION rt_mallory.mood_json(rt_mallory.mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'mood_json runs as %', current_user; RETURN '1'; END $$;
CREATE CAST (rt_mallory.mood AS json) WITH FUNCTION rt_mallory.mood_json(rt_mallory.mood);
RESET ROLE;
SELECT (sopflow.fire('rt_super', '{"p": {"person": 1, "word": "w", "mood": "sad"}}')).messages;
DROP CAST (rt_mallory.mood AS json);
SELECT (sopflow.fire('rt_super', '{"p": {"person": 1, "word": "w", "mood": "sad"}}')).messages;

-- scopes of parameters that need a parameter
SET ROLE rt_owner;
SET search_path = rt;
CREATE TABLE rep (id int, team text);
INSERT INTO rep VALUES (7, 'blue');
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, param_scopes) VALUES ('rt_scope', '{"''a''", param.p}');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, seq) VALUES ('rt_scope', 'x', 'int', 1);
INSERT INTO sopflow.rule_fact (rule_set, fact, type, seq, query) VALUES ('rt_scope', 'rep', 'rep', 2, 'SELECT r FROM rep r WHERE r.id = x AND param.p IS NOT NULL');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rt_scope', 'held', 'SELECT 1', 'param.p');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rt_scope', 'p', 'text', 'base');
INSERT INTO sopflow.rule_param_override VALUES ('rt_scope', 'p', 'blue', 'of blue');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_scope', 'r', 'true', '[{"message": "{{param.p}}"}]');
SELECT column_name, message FROM sopflow.validate_rules('rt_scope');
UPDATE sopflow.rule_set SET param_scopes = '{"''a''", rep.team}' WHERE rule_set = 'rt_scope';
SELECT column_name, message FROM sopflow.validate_rules('rt_scope');
UPDATE sopflow.rule_set SET param_scopes = '{held::text}' WHERE rule_set = 'rt_scope';
SELECT column_name, message FROM sopflow.validate_rules('rt_scope');
UPDATE sopflow.rule_set SET param_scopes = '{"''a''", rep.team}' WHERE rule_set = 'rt_scope';
UPDATE sopflow.rule_fact SET query = 'SELECT r FROM rep r WHERE r.id = x' WHERE rule_set = 'rt_scope' AND fact = 'rep';
COMMIT;
SELECT (sopflow.fire('rt_scope', '{"x": 7}')).messages, (sopflow.fire('rt_scope', '{"x": 8}')).messages;

-- on_error = 'false' does not make a rule fail that the caller has let fail:
-- by the depth from which it is called, by a lock it does not wait for
CREATE FUNCTION deep(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN CASE WHEN n = 0 THEN 0 ELSE deep(n - 1) END; END $$;
CREATE FUNCTION busy() RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN RAISE lock_not_available; END $$;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, on_error) VALUES ('rt_error', 'false');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rt_error', 'x', 'int');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_error', 'a', 'x = 1 AND deep(x * 1000000) = 0', '[{"deny": "deep"}]');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_error', 'b', 'x = 2 AND busy()', '[{"deny": "busy"}]');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_error', 'c', 'x = 3 AND 1 / (x - 3) = 1', '[{"deny": "zero"}]');
COMMIT;
SELECT (sopflow.fire('rt_error', '{"x": 1}')).allowed;
\echo :LAST_ERROR_SQLSTATE
SELECT (sopflow.fire('rt_error', '{"x": 2}')).allowed;
\echo :LAST_ERROR_SQLSTATE
SELECT (sopflow.fire('rt_error', '{"x": 3}')).allowed;

-- and by row_security, which makes queries of guarded rows an error
RESET ROLE;
CREATE TABLE rt.banned (id int);
INSERT INTO rt.banned VALUES (1);
ALTER TABLE rt.banned ENABLE ROW LEVEL SECURITY;
CREATE POLICY to_see ON rt.banned USING (true);
GRANT SELECT ON rt.banned TO rt_owner;
SET ROLE rt_owner;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, on_error) VALUES ('rt_rows', 'false');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, seq) VALUES ('rt_rows', 'x', 'int', 1);
INSERT INTO sopflow.rule_fact (rule_set, fact, type, seq, query) VALUES ('rt_rows', 'banned', 'banned', 2, 'SELECT b FROM banned b WHERE b.id = x');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt_rows', 'r', 'banned.id IS NOT NULL', '[{"deny": "banned"}]');
COMMIT;
SET row_security = off;
SELECT (sopflow.fire('rt_rows', '{"x": 1}')).allowed, (sopflow.fire('rt_rows', '{"x": 2}')).allowed;
SHOW row_security;
RESET row_security;

RESET ROLE;
RESET search_path;
\set VERBOSITY default
SET client_min_messages = warning;
DELETE FROM sopflow.rule_set WHERE rule_set ^@ 'rt_';
DROP SCHEMA rt, rt_mallory CASCADE;
DROP OWNED BY rt_owner, rt_mallory;
DROP ROLE rt_owner, rt_mallory;
