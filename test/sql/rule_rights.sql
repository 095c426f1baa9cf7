-- Authors see and change rule sets of roles that they are members of, and
-- nothing else; who may fire a set needs grant_rules.
\pset format unaligned
\pset tuples_only on
CREATE ROLE rr_ann;
CREATE ROLE rr_bob;
CREATE ROLE rr_team;
CREATE ROLE rr_app;
GRANT rr_team TO rr_ann;
SELECT sopflow.grant_author('rr_ann');
SELECT sopflow.grant_author('rr_bob');

SET ROLE rr_ann;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rr_ann') RETURNING owner;
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rr_ann', 'x', 'int');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rr_ann', 'q', 'SELECT 1', '1');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rr_ann', 'p', 'int', '10');
INSERT INTO sopflow.rule_param_override VALUES ('rr_ann', 'p', 's', '20');
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('rr_ann', 'g', 'activation');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions, rule_group) VALUES ('rr_ann', 'r', 'x > param.p', '[{"deny": "secret of ann"}]', 'g');
COMMIT;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rr_team', 'rr_team') RETURNING owner;
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rr_team', 'r');
COMMIT;
SELECT rule_set, owner FROM sopflow.rule_set ORDER BY 1;
SELECT (sopflow.fire('rr_ann', '{"x": 11}')).messages;
-- not to another owner, when made or later
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rr_x', 'rr_bob');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rr_x', 'postgres');
UPDATE sopflow.rule_set SET owner = 'rr_bob' WHERE rule_set = 'rr_ann';

SET ROLE rr_bob;
-- nothing of ann's is there
SELECT (SELECT count(*) FROM sopflow.rule_set), (SELECT count(*) FROM sopflow.rule_fact), (SELECT count(*) FROM sopflow.rule_quota),
	(SELECT count(*) FROM sopflow.rule_param), (SELECT count(*) FROM sopflow.rule_param_override),
	(SELECT count(*) FROM sopflow.rule_group), (SELECT count(*) FROM sopflow.rule), (SELECT count(*) FROM sopflow.rule_grant);
UPDATE sopflow.rule_set SET denials = 'all';
UPDATE sopflow.rule SET condition = 'true';
UPDATE sopflow.rule_param SET value = '0';
DELETE FROM sopflow.rule_param_override;
DELETE FROM sopflow.rule_group;
DELETE FROM sopflow.rule_quota;
DELETE FROM sopflow.rule_set;
\set VERBOSITY terse
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rr_ann');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rr_ann', 'y', 'int');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rr_ann', 'q2', 'SELECT 1', '1');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rr_ann', 'p2', 'int', '1');
INSERT INTO sopflow.rule_param_override VALUES ('rr_ann', 'p', 't', '1');
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('rr_ann', 'h', 'unit');
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rr_ann', 's');
INSERT INTO sopflow.rule_grant VALUES ('rr_ann', 'rr_bob');
SELECT sopflow.grant_rules('rr_ann', 'rr_bob');
SELECT sopflow.revoke_rules('rr_ann', 'rr_bob');
SELECT * FROM sopflow.validate_rules('rr_ann');
SELECT (sopflow.fire('rr_ann', '{"x": 11}')).messages;
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.check_rule_set('rr_ann');
-- a rule that is taken along into another's set
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rr_bob');
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rr_bob', 'own');
UPDATE sopflow.rule SET rule_set = 'rr_ann' WHERE rule_set = 'rr_bob';
-- neither the guards nor the counters
SELECT * FROM sopflow.guarded;
SELECT * FROM sopflow.rule_stats;
-- pg_restore's setting opens nothing
RESET ROLE;
SET SESSION AUTHORIZATION rr_bob;
SET check_function_bodies = off;
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('rr_x', 'rr_ann');
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rr_ann', 's');
INSERT INTO sopflow.rule_grant VALUES ('rr_ann', 'rr_bob');
RESET check_function_bodies;
RESET SESSION AUTHORIZATION;
\set VERBOSITY default
SELECT count(*) FROM sopflow.hold;
SELECT rule_set, rule, condition FROM sopflow.rule WHERE rule_set LIKE 'rr%' ORDER BY 1;

-- A role that may fire: granted by the owner, seen by both, taken back.
SET ROLE rr_app;
SELECT (sopflow.fire('rr_ann', '{"x": 11}')).messages;
SET ROLE rr_ann;
SELECT sopflow.grant_rules('rr_ann', 'rr_app');
SELECT sopflow.grant_rules('rr_ann', 'rr_app');
SELECT * FROM sopflow.rule_grant;
SELECT sopflow.grant_rules('rr_none', 'rr_app');
\echo :LAST_ERROR_SQLSTATE
SET ROLE rr_app;
SELECT (sopflow.fire('rr_ann', '{"x": 11}')).messages;
SELECT * FROM sopflow.rule;
SELECT sopflow.grant_rules('rr_ann', 'rr_bob');
SELECT (sopflow.fire('rr_team', '{}')).messages;
\echo :LAST_ERROR_SQLSTATE
SET ROLE rr_ann;
SELECT sopflow.revoke_rules('rr_ann', 'rr_app');
SELECT sopflow.revoke_rules('rr_ann', 'rr_app');
SET ROLE rr_app;
SELECT (sopflow.fire('rr_ann', '{"x": 11}')).messages;
\echo :LAST_ERROR_SQLSTATE
-- in the transaction that grants, too
SET ROLE rr_ann;
BEGIN;
SELECT sopflow.grant_rules('rr_ann', 'rr_app');
SET LOCAL ROLE rr_app;
SELECT (sopflow.fire('rr_ann', '{"x": 11}')).messages;
ROLLBACK;
SET ROLE rr_app;
SELECT (sopflow.fire('rr_ann', '{"x": 11}')).messages;
RESET ROLE;

-- An owner who is gone: the set is not fired, and a superuser gives it on.
CREATE ROLE rr_gone;
UPDATE sopflow.rule_set SET owner = 'rr_gone' WHERE rule_set = 'rr_team';
DROP ROLE rr_gone;
SELECT message, hint FROM sopflow.health WHERE code = 'owner_gone' AND message LIKE '%rr_team%';
\set VERBOSITY sqlstate
SELECT (sopflow.fire('rr_team', '{}')).fired;
\set VERBOSITY default
UPDATE sopflow.rule_set SET owner = 'rr_ann' WHERE rule_set = 'rr_team';
SELECT (sopflow.fire('rr_team', '{}')).fired;

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'rr_%';
DROP OWNED BY rr_ann, rr_bob, rr_app, rr_team;
DROP ROLE rr_ann, rr_bob, rr_app, rr_team;

-- who may not fire a set is not told what is wrong with it
RESET ROLE;
CREATE ROLE rr_stranger;
CREATE TABLE rr_secrets (secret int);
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rr_broken'), ('rr_open');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rr_broken', 's', 'rr_secrets');
INSERT INTO sopflow.rule (rule_set, rule, condition) VALUES ('rr_broken', 'r', 's.secret = 1');
SELECT sopflow.grant_rules('rr_open', 'rr_stranger');
ALTER TABLE rr_secrets RENAME secret TO other;
SET ROLE rr_stranger;
SELECT sopflow.fire('rr_broken', '{}');
SELECT * FROM sopflow.explain('rr_broken');
SELECT * FROM sopflow.check_rules('rr_broken', '{}');
SELECT * FROM sopflow.prove('rr_broken', 's.secret', '{}');
SELECT allowed FROM sopflow.fire('rr_open', '{}');
RESET ROLE;
SELECT sopflow.fire('rr_broken', '{}');
DELETE FROM sopflow.rule_set WHERE rule_set IN ('rr_broken', 'rr_open');
DROP TABLE rr_secrets;
DROP OWNED BY rr_stranger;
DROP ROLE rr_stranger;
