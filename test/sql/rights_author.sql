-- Authors see and change what belongs to a role that they are a member of, and
-- nothing else; actions of others need grant_action, tasks grant_consumer.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE ROLE ra_ann;
CREATE ROLE ra_bob;
CREATE ROLE ra_team;
CREATE ROLE ra_consumer;
GRANT ra_team TO ra_ann;
SELECT sopflow.grant_author('ra_ann');
SELECT sopflow.grant_author('ra_bob');

SET ROLE ra_ann;
INSERT INTO sopflow.action (action) VALUES ('ra_ann') RETURNING owner;
INSERT INTO sopflow.action (action, owner) VALUES ('ra_team', 'ra_team') RETURNING owner;
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('ra_ann', 'RA');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, params) VALUES ('ra_ann', 'n1', 'ra_ann', '{"secret": "of ann"}');
COMMIT;
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, owner) VALUES ('ra_team', 'RA', 'ra_team');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('ra_team', 'n1', 'ra_team');
COMMIT;
SELECT sop_id, owner FROM sopflow.sop ORDER BY sop_id;
SELECT sop_id, version FROM sopflow.sop_version ORDER BY sop_id;
-- not to another owner, when made or later
INSERT INTO sopflow.sop (sop_id, owner, enabled) VALUES ('ra_x', 'ra_bob', false);
INSERT INTO sopflow.action (action, owner) VALUES ('ra_x', 'postgres');
UPDATE sopflow.sop SET owner = 'ra_bob' WHERE sop_id = 'ra_ann';
UPDATE sopflow.action SET owner = 'postgres' WHERE action = 'ra_ann';

SET ROLE ra_bob;
-- nothing of ann's is there
SELECT (SELECT count(*) FROM sopflow.sop), (SELECT count(*) FROM sopflow.sop_node), (SELECT count(*) FROM sopflow.action),
	(SELECT count(*) FROM sopflow.sop_version), (SELECT count(*) FROM sopflow.action_grant);
UPDATE sopflow.sop SET trigger_event = 'X';
DELETE FROM sopflow.sop_node;
DELETE FROM sopflow.sop;
DELETE FROM sopflow.action;
UPDATE sopflow.sop_version SET version = 2;
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('ra_ann', 'n2');
SELECT * FROM sopflow.validate('ra_ann');
-- pg_restore's setting opens nothing
RESET ROLE;
SET SESSION AUTHORIZATION ra_bob;
SET check_function_bodies = off;
INSERT INTO sopflow.sop (sop_id, owner) VALUES ('ra_x', 'ra_ann');
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('ra_ann', 'n2');
INSERT INTO sopflow.action_grant VALUES ('ra_ann', 'ra_bob', 'use');
INSERT INTO sopflow.sop (sop_id) VALUES ('ra_x');
RESET check_function_bodies;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM sopflow.hold;

-- Another's action: not before it is granted.
SET ROLE ra_bob;
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('ra_bob', 'RA');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('ra_bob', 'n1', 'ra_ann');
COMMIT;
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.grant_action('ra_ann', 'ra_bob');
INSERT INTO sopflow.action_grant VALUES ('ra_ann', 'ra_bob', 'use');
SELECT sopflow.grant_consumer('ra_ann', 'ra_bob');
SET ROLE ra_ann;
SELECT sopflow.grant_action('ra_ann', 'ra_bob');
SELECT sopflow.grant_action('ra_ann', 'ra_bob');
SELECT * FROM sopflow.action_grant;
SET ROLE ra_bob;
SELECT * FROM sopflow.action_grant;
SELECT action FROM sopflow.action;
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('ra_bob', 'RA');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('ra_bob', 'n1', 'ra_ann');
COMMIT;
SELECT sop_id, owner FROM sopflow.sop;
-- to see it is not to change it
UPDATE sopflow.action SET channel = 'of_bob';
DELETE FROM sopflow.action_grant;
SET ROLE ra_ann;
SELECT channel FROM sopflow.action WHERE action = 'ra_ann';
-- a right through a role
DELETE FROM sopflow.action_grant;
RESET ROLE;
GRANT ra_team TO ra_bob;
SET ROLE ra_bob;
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('ra_bob2');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('ra_bob2', 'n1', 'ra_team');
COMMIT;
SELECT sop_id, owner FROM sopflow.sop ORDER BY sop_id;

-- Authors dispatch nothing, start nothing, see no tasks.
SELECT sopflow.emit('RA', '1');
SELECT sopflow.run_due();
SELECT * FROM sopflow.tasks;
SELECT sopflow.pause('ra_ann');

-- Consumers reach the tasks of their actions only.
RESET ROLE;
SELECT sopflow.emit('RA', '1');
SET ROLE ra_ann;
SELECT sopflow.grant_consumer('ra_ann', 'ra_consumer');
SET ROLE ra_consumer;
SELECT action, sop_id, attempt FROM sopflow.fetch('{ra_ann}') ORDER BY sop_id;
SELECT action FROM sopflow.fetch('{ra_team}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.sop;
SELECT sopflow.run_due();
RESET ROLE;

-- An owner who is gone: his SOPs are not run, and a superuser gives them on.
CREATE ROLE ra_gone;
UPDATE sopflow.sop SET owner = 'ra_gone' WHERE sop_id = 'ra_team';
UPDATE sopflow.action SET owner = 'ra_gone' WHERE action = 'ra_team';
UPDATE sopflow.sop SET owner = 'ra_gone' WHERE sop_id = 'ra_team';
DROP ROLE ra_gone;
SELECT code, regexp_replace(message, '\d+', 'N') FROM sopflow.health WHERE code = 'owner_gone';
UPDATE sopflow.sop SET owner = 'ra_ann' WHERE sop_id = 'ra_team';
UPDATE sopflow.action SET owner = 'ra_ann' WHERE action = 'ra_team';
UPDATE sopflow.sop SET owner = 'ra_ann' WHERE sop_id = 'ra_team';

SELECT sopflow.cancel('1') > 0;
DELETE FROM sopflow.sop WHERE sop_id LIKE 'ra_%';
DELETE FROM sopflow.action WHERE action LIKE 'ra_%';
DROP OWNED BY ra_ann, ra_bob, ra_consumer, ra_team;
DROP ROLE ra_ann, ra_bob, ra_consumer, ra_team;
