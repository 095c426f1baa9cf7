-- What the tables of rule sets hold together: revisions, parents and children,
-- hooks, drafts, the check at commit, and what a dropped table or type takes.
\pset format unaligned
\pset tuples_only on

-- Every edit raises the set's revision, a parameter's value only its other one.
CREATE TEMP TABLE seen (revision bigint, param_revision bigint);
INSERT INTO seen VALUES (-1, -1);
CREATE FUNCTION pg_temp.raised() RETURNS text LANGUAGE sql AS $$
	WITH now AS (SELECT revision, param_revision FROM sopflow.rule_set WHERE rule_set = 'rd'),
		was AS (SELECT * FROM seen),
		note AS (UPDATE seen SET (revision, param_revision) = (SELECT revision, param_revision FROM now))
	SELECT concat_ws(' ', CASE WHEN now.revision > was.revision THEN 'revision' WHEN now.revision < was.revision THEN 'LESS' END,
		CASE WHEN now.param_revision > was.param_revision THEN 'param_revision' WHEN now.param_revision < was.param_revision THEN 'LESS' END)
	FROM now, was
$$;
-- what belongs to the sets of this test
CREATE FUNCTION pg_temp.children() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(kind || ' ' || n, ', ' ORDER BY kind) FROM (
		SELECT 'facts' AS kind, count(*) AS n FROM sopflow.rule_fact WHERE rule_set LIKE 'rd%'
		UNION ALL SELECT 'quotas', count(*) FROM sopflow.rule_quota WHERE rule_set LIKE 'rd%'
		UNION ALL SELECT 'params', count(*) FROM sopflow.rule_param WHERE rule_set LIKE 'rd%'
		UNION ALL SELECT 'overrides', count(*) FROM sopflow.rule_param_override WHERE rule_set LIKE 'rd%'
		UNION ALL SELECT 'groups', count(*) FROM sopflow.rule_group WHERE rule_set LIKE 'rd%'
		UNION ALL SELECT 'rules', count(*) FROM sopflow.rule WHERE rule_set LIKE 'rd%'
		UNION ALL SELECT 'grants', count(*) FROM sopflow.rule_grant WHERE rule_set LIKE 'rd%') c
$$;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rd');
SELECT pg_temp.raised();
UPDATE sopflow.rule_set SET description = 'x' WHERE rule_set = 'rd';
SELECT pg_temp.raised();
-- not what the writer says
UPDATE sopflow.rule_set SET revision = 0, param_revision = 0 WHERE rule_set = 'rd';
SELECT pg_temp.raised();
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rd', 'x', 'int');
SELECT pg_temp.raised();
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rd', 'q', 'SELECT 1', '1');
SELECT pg_temp.raised();
UPDATE sopflow.rule_quota SET query = 'SELECT 2' WHERE rule_set = 'rd';
SELECT pg_temp.raised();
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rd', 'p', 'int', '1');
SELECT pg_temp.raised();
UPDATE sopflow.rule_param SET value = '2', description = 'd' WHERE rule_set = 'rd';
SELECT pg_temp.raised();
UPDATE sopflow.rule_param SET type = 'bigint' WHERE rule_set = 'rd';
SELECT pg_temp.raised();
INSERT INTO sopflow.rule_param_override VALUES ('rd', 'p', 's', '3');
SELECT pg_temp.raised();
UPDATE sopflow.rule_param_override SET value = '4' WHERE rule_set = 'rd';
SELECT pg_temp.raised();
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('rd', 'g', 'unit');
SELECT pg_temp.raised();
INSERT INTO sopflow.rule (rule_set, rule, condition, rule_group) VALUES ('rd', 'r', 'x > 1', 'g');
SELECT pg_temp.raised();
UPDATE sopflow.rule SET condition = 'x > 2' WHERE rule_set = 'rd';
SELECT pg_temp.raised();
INSERT INTO sopflow.rule_grant VALUES ('rd', 'pg_monitor');
SELECT pg_temp.raised();
-- both kinds in one transaction, and what a savepoint takes back
BEGIN;
UPDATE sopflow.rule_param SET value = '5' WHERE rule_set = 'rd';
UPDATE sopflow.rule SET priority = 1 WHERE rule_set = 'rd';
SELECT pg_temp.raised();
COMMIT;
BEGIN;
SAVEPOINT s;
UPDATE sopflow.rule SET priority = 2 WHERE rule_set = 'rd';
ROLLBACK TO s;
UPDATE sopflow.rule SET priority = 3 WHERE rule_set = 'rd';
COMMIT;
SELECT pg_temp.raised();
-- a set that is deleted and made anew has no revision twice
BEGIN;
SELECT pg_temp.children();
DELETE FROM sopflow.rule_set WHERE rule_set = 'rd';
SELECT pg_temp.children();
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rd');
SELECT pg_temp.raised();
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rd', 'r');
SELECT pg_temp.raised();
COMMIT;

-- The search_path is that of the session that inserted the set, or what it wrote.
SET search_path = pg_catalog, public;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rd_path');
INSERT INTO sopflow.rule_set (rule_set, search_path) VALUES ('rd_path2', 'public');
RESET search_path;
UPDATE sopflow.rule_set SET description = 'x' WHERE rule_set LIKE 'rd_path%';
SELECT rule_set, search_path FROM sopflow.rule_set WHERE rule_set LIKE 'rd_path%' ORDER BY 1;
UPDATE sopflow.rule_set SET search_path = NULL WHERE rule_set = 'rd_path';
SELECT search_path FROM sopflow.rule_set WHERE rule_set = 'rd_path';

-- Parents: of all, and of overrides.
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rd_none', 'r');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.rule_param_override VALUES ('rd', 'none', 's', '1');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule SET rule_set = 'rd_none' WHERE rule_set = 'rd';
\set VERBOSITY terse
INSERT INTO sopflow.rule (rule_set, rule) VALUES (NULL, 'r');
\set VERBOSITY default
UPDATE sopflow.rule_set SET rule_set = 'rd2' WHERE rule_set = 'rd';
\echo :LAST_ERROR_SQLSTATE
-- overrides go where their parameter goes
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rd', 'p', 'int', '1'), ('rd', 'p2', 'int', '1');
INSERT INTO sopflow.rule_param_override VALUES ('rd', 'p', 's', '2'), ('rd', 'p2', 's', '2');
UPDATE sopflow.rule_param SET param = 'p3' WHERE rule_set = 'rd' AND param = 'p';
SELECT param, scope FROM sopflow.rule_param_override WHERE rule_set = 'rd' ORDER BY 1;
DELETE FROM sopflow.rule_param WHERE rule_set = 'rd' AND param = 'p2';
SELECT param, scope FROM sopflow.rule_param_override WHERE rule_set = 'rd' ORDER BY 1;
-- a rule that moves is an edit of both sets
SELECT pg_temp.raised();
UPDATE sopflow.rule SET rule_set = 'rd_path' WHERE rule_set = 'rd';
SELECT pg_temp.raised();
SELECT count(*) FROM sopflow.rule WHERE rule_set = 'rd_path';

-- Hooks are looked up when they are written, and kept with their schema.
CREATE FUNCTION rd_hook(sopflow.rule_event) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION rd_wrong(sopflow.rule_event) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION rd_set(sopflow.rule_event) RETURNS SETOF bool LANGUAGE sql AS 'SELECT true';
CREATE ROLE rd_author;
CREATE FUNCTION rd_others(sopflow.rule_event) RETURNS bool LANGUAGE sql AS 'SELECT true';
ALTER FUNCTION rd_others OWNER TO rd_author;
UPDATE sopflow.rule_set SET before_fire = 'rd_hook', on_failure = 'public."rd_hook"' WHERE rule_set = 'rd';
SELECT before_fire, on_failure, after_fire FROM sopflow.rule_set WHERE rule_set = 'rd';
UPDATE sopflow.rule_set SET after_fire = 'rd_none' WHERE rule_set = 'rd';
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_set SET before_evaluate = 'rd_wrong' WHERE rule_set = 'rd';
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.rule_set (rule_set, after_evaluate) VALUES ('rd_hook', 'rd_set');
UPDATE sopflow.rule_set SET on_success = 'not a name(' WHERE rule_set = 'rd';
-- a superuser's set calls no other role's function
UPDATE sopflow.rule_set SET on_success = 'rd_others' WHERE rule_set = 'rd';
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.rule_set (rule_set, on_success, owner) VALUES ('rd_hook', 'rd_others', 'rd_author');
UPDATE sopflow.rule_set SET owner = 'postgres' WHERE rule_set = 'rd_hook';
REVOKE EXECUTE ON FUNCTION rd_hook FROM PUBLIC;
UPDATE sopflow.rule_set SET before_fire = 'rd_hook' WHERE rule_set = 'rd_hook';
-- a set whose function is gone can still be disabled
DROP FUNCTION rd_others;
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'rd_hook';
UPDATE sopflow.rule_set SET on_success = NULL WHERE rule_set = 'rd_hook';

-- Drafts are taken as they are; an enabled set is checked at commit, as a whole.
INSERT INTO sopflow.rule_set (rule_set, enabled) VALUES ('rd_draft', false);
INSERT INTO sopflow.rule (rule_set, rule, condition) VALUES ('rd_draft', 'r', 'y > 1');
UPDATE sopflow.rule_set SET enabled = true WHERE rule_set = 'rd_draft';
\echo :LAST_ERROR_SQLSTATE
BEGIN;
UPDATE sopflow.rule_set SET enabled = true WHERE rule_set = 'rd_draft';
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rd_draft', 'y', 'int');
COMMIT;
SELECT enabled FROM sopflow.rule_set WHERE rule_set = 'rd_draft';
UPDATE sopflow.rule SET condition = 'z > 1' WHERE rule_set = 'rd_draft';
DELETE FROM sopflow.rule_fact WHERE rule_set = 'rd_draft';
-- the first use in the transaction checks it already, and each after another edit
BEGIN;
UPDATE sopflow.rule SET condition = 'y > 2' WHERE rule_set = 'rd_draft';
SELECT (sopflow.fire('rd_draft', '{"y": 2}')).fired;
UPDATE sopflow.rule SET condition = 'y > 1' WHERE rule_set = 'rd_draft';
SELECT (sopflow.fire('rd_draft', '{"y": 2}')).fired;
SAVEPOINT s;
UPDATE sopflow.rule SET condition = 'y > 3' WHERE rule_set = 'rd_draft';
SELECT (sopflow.fire('rd_draft', '{"y": 2}')).fired;
ROLLBACK TO s;
SELECT (sopflow.fire('rd_draft', '{"y": 2}')).fired;
UPDATE sopflow.rule SET condition = 'z > 1' WHERE rule_set = 'rd_draft';
SELECT (sopflow.fire('rd_draft', '{"y": 2}')).fired;
ROLLBACK;
SELECT (sopflow.fire('rd_draft', '{"y": 2}')).fired, (sopflow.fire('rd_draft', '{"y": 1}')).fired;

-- A set that guards a table stays until unguard.
CREATE TABLE rd_guarded (y int);
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'rd_draft';
DELETE FROM sopflow.rule WHERE rule_set = 'rd_draft';
UPDATE sopflow.rule_fact SET fact = 'new', type = 'rd_guarded' WHERE rule_set = 'rd_draft';
UPDATE sopflow.rule_set SET enabled = true WHERE rule_set = 'rd_draft';
SELECT sopflow.guard('rd_guarded', 'rd_draft');
DELETE FROM sopflow.rule_set WHERE rule_set = 'rd_draft';
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.unguard('rd_guarded', 'rd_draft');
BEGIN;
DELETE FROM sopflow.rule_set WHERE rule_set = 'rd_draft';
ROLLBACK;

-- What is lost with a dropped table or type is said.
SELECT sopflow.guard('rd_guarded', 'rd_draft');
CREATE DOMAIN rd_domain AS int;
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rd', 'p5', 'rd_domain', '1');
DROP DOMAIN rd_domain;
DROP TABLE rd_guarded;
SELECT count(*) FROM sopflow.guarded WHERE rule_set LIKE 'rd%';
\set VERBOSITY sqlstate
SELECT (sopflow.fire_rows('rd_draft', 1)).allowed;
\set VERBOSITY default

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'rd%';
SELECT pg_temp.children();
DROP FUNCTION rd_hook, rd_wrong, rd_set;
DROP ROLE rd_author;
