-- A refused edit leaves the old version in force; drafts are taken as they are
-- and checked by validate(); edits raise the revision.
\pset format unaligned
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET sopflow.clock = '2030-01-07 10:00:00+00';
INSERT INTO sopflow.action (action) VALUES ('de_a'), ('de_b');
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('de', 'DE_EVENT');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, params) VALUES ('de', 'n1', '1h', 'de_a', '{"k": 1}');
COMMIT;
SELECT version, definition FROM sopflow.sop_version WHERE sop_id = 'de';
SELECT sopflow.emit('DE_EVENT', 'before');

-- Refused, and the old one stays in force, for this session and for its events.
UPDATE sopflow.sop_node SET action = 'de_missing' WHERE sop_id = 'de';
UPDATE sopflow.sop_node SET delay = '-1h' WHERE sop_id = 'de';
DELETE FROM sopflow.sop_node WHERE sop_id = 'de';
BEGIN;
UPDATE sopflow.sop_node SET delay = '2h', next = 'nowhere' WHERE sop_id = 'de';
-- the first event checks it already
SELECT sopflow.emit('DE_EVENT', 'refused');
ROLLBACK;
SELECT version FROM sopflow.sop_version WHERE sop_id = 'de';
SELECT sopflow.emit('DE_EVENT', 'after');
SELECT subject_id, action, due_at - sopflow.now() AS due FROM sopflow.tasks WHERE sop_id = 'de' ORDER BY task_id;

-- Each edit raises the revision: of the SOP, and of the SOP by its nodes.
SELECT revision FROM sopflow.sop WHERE sop_id = 'de';
UPDATE sopflow.sop SET description = 'x' WHERE sop_id = 'de';
SELECT revision FROM sopflow.sop WHERE sop_id = 'de';
UPDATE sopflow.sop_node SET delay = '3h' WHERE sop_id = 'de';
SELECT revision FROM sopflow.sop WHERE sop_id = 'de';
-- not what the writer says
UPDATE sopflow.sop SET revision = 0 WHERE sop_id = 'de';
SELECT revision FROM sopflow.sop WHERE sop_id = 'de';
SELECT action, revision FROM sopflow.action WHERE action = 'de_a';
UPDATE sopflow.action SET max_attempts = 3 WHERE action = 'de_a';
SELECT action, revision FROM sopflow.action WHERE action = 'de_a';

-- Drafts, one statement at a time.
INSERT INTO sopflow.sop (sop_id, trigger_event, enabled) VALUES ('de_draft', 'DE_DRAFT', false);
SELECT * FROM sopflow.validate('de_draft');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, next) VALUES ('de_draft', 'n1', 'de_nothing', 'n2');
SELECT * FROM sopflow.validate('de_draft');
-- drafts start nothing and have no version
SELECT sopflow.emit('DE_DRAFT', 's'), count(*) FROM sopflow.sop_version WHERE sop_id = 'de_draft';
SELECT sopflow.start('de_draft', 's');
UPDATE sopflow.sop SET enabled = true WHERE sop_id = 'de_draft';
INSERT INTO sopflow.sop_node (sop_id, node_id, type) VALUES ('de_draft', 'n2', 'end');
UPDATE sopflow.sop_node SET action = 'de_b' WHERE (sop_id, node_id) = ('de_draft', 'n1');
SELECT * FROM sopflow.validate('de_draft');
UPDATE sopflow.sop SET enabled = true WHERE sop_id = 'de_draft';
SELECT sopflow.emit('DE_DRAFT', 's');
SELECT version FROM sopflow.sop_version WHERE sop_id = 'de_draft';
-- back to a draft: no new runs, the running one goes on, edits are not checked
UPDATE sopflow.sop SET enabled = false WHERE sop_id = 'de_draft';
UPDATE sopflow.sop_node SET action = 'de_nothing' WHERE (sop_id, node_id) = ('de_draft', 'n1');
SELECT sopflow.emit('DE_DRAFT', 's2');
SELECT count(*) FROM sopflow.runs WHERE sop_id = 'de_draft' AND state = 'active';
SELECT sopflow.run_due() > 0;
SELECT action, status FROM sopflow.tasks WHERE sop_id = 'de_draft';
SELECT * FROM sopflow.validate('de_none');
SELECT * FROM sopflow.validate(NULL);

-- Renames are refused; display names are free.
UPDATE sopflow.sop SET sop_id = 'de2' WHERE sop_id = 'de';
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.sop SET name = 'Another name' WHERE sop_id = 'de';
UPDATE sopflow.action SET action = 'de_c' WHERE action = 'de_a';
\echo :LAST_ERROR_SQLSTATE
-- A node that moves to another SOP is an edit of both.
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('de_to');
UPDATE sopflow.sop_node SET sop_id = 'de_to' WHERE sop_id = 'de';
COMMIT;
-- A node may be renamed; next goes with it or the edit is refused.
UPDATE sopflow.sop_node SET node_id = 'm1' WHERE sop_id = 'de';
SELECT max(version) FROM sopflow.sop_version WHERE sop_id = 'de';

-- What is in use is not deleted.
DELETE FROM sopflow.action WHERE action = 'de_a';
\echo :LAST_ERROR_SQLSTATE
DELETE FROM sopflow.sop WHERE sop_id = 'de';
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.cancel(sop_id => 'de');
DELETE FROM sopflow.sop WHERE sop_id = 'de';
SELECT count(*) FROM sopflow.sop_node WHERE sop_id = 'de';
SELECT sopflow.emit('DE_EVENT', 'gone');
-- action and SOP in one transaction, in this order
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('de');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('de', 'n1', 'de_a');
COMMIT;
BEGIN;
DELETE FROM sopflow.action WHERE action = 'de_a';
DELETE FROM sopflow.sop WHERE sop_id = 'de';
COMMIT;
-- an action is replaced under the same name
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('de');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('de', 'n1', 'de_b');
DELETE FROM sopflow.action WHERE action = 'de_b';
INSERT INTO sopflow.action (action) VALUES ('de_b');
COMMIT;
-- the versions of an SOP that came back count on
SELECT version FROM sopflow.sop_version WHERE sop_id = 'de' ORDER BY version;

SELECT sopflow.cancel(sop_id => 'de_draft');
DELETE FROM sopflow.sop WHERE sop_id LIKE 'de%';
DELETE FROM sopflow.action WHERE action LIKE 'de%';
