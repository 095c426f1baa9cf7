-- Versions: made when something changed, kept by runs that started with them,
-- used at once by new events, also within the transaction that makes them, and
-- taken back with it.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE TABLE ver_clients (id bigint PRIMARY KEY);
SELECT sopflow.watch('ver_clients', 'VER', 'id');
CREATE VIEW ver AS SELECT subject_id, version, node_id, due_at - event_at AS after
	FROM sopflow.tasks JOIN sopflow.runs USING (run_id, sop_id, subject_id) WHERE sop_id = 'ver' ORDER BY task_id;
CREATE VIEW ver_versions AS SELECT version, definition->'nodes'->0->>'delay' AS delay
	FROM sopflow.sop_version WHERE sop_id = 'ver' ORDER BY version;
INSERT INTO sopflow.action (action) VALUES ('ver_a');

-- BEGIN; define; INSERT; COMMIT
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('ver', 'VER');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('ver', 'n1', '1h', 'ver_a');
INSERT INTO ver_clients VALUES (1);
SELECT * FROM ver;
COMMIT;
SELECT * FROM ver;
SELECT * FROM ver_versions;

-- No change, no version: same values, live columns, text only.
UPDATE sopflow.sop_node SET delay = '60 minutes' WHERE sop_id = 'ver';
UPDATE sopflow.sop SET name = 'n', description = 'd' WHERE sop_id = 'ver';
UPDATE sopflow.sop SET enabled = false WHERE sop_id = 'ver';
UPDATE sopflow.sop SET enabled = true WHERE sop_id = 'ver';
BEGIN;
DELETE FROM sopflow.sop_node WHERE sop_id = 'ver';
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('ver', 'n1', '1h', 'ver_a');
COMMIT;
SELECT * FROM ver_versions;

-- A change: a new version, used by new events; the run of client 1 keeps its own.
UPDATE sopflow.sop_node SET delay = '2h' WHERE sop_id = 'ver';
INSERT INTO ver_clients VALUES (2);
SELECT * FROM ver;

-- Several changes with uses between them, in one transaction.
BEGIN;
UPDATE sopflow.sop_node SET delay = '3h' WHERE sop_id = 'ver';
INSERT INTO ver_clients VALUES (3);
UPDATE sopflow.sop_node SET delay = '4h' WHERE sop_id = 'ver';
INSERT INTO ver_clients VALUES (4);
COMMIT;
SELECT * FROM ver;
SELECT * FROM ver_versions;

-- ROLLBACK takes it all back.
BEGIN;
UPDATE sopflow.sop_node SET delay = '5h' WHERE sop_id = 'ver';
INSERT INTO ver_clients VALUES (5);
SELECT * FROM ver WHERE subject_id = '5';
ROLLBACK;
SELECT max(version) FROM ver_versions;
INSERT INTO ver_clients VALUES (5);
SELECT * FROM ver WHERE subject_id = '5';

-- ROLLBACK TO a savepoint set before the change.
BEGIN;
SAVEPOINT s;
UPDATE sopflow.sop_node SET delay = '6h' WHERE sop_id = 'ver';
INSERT INTO ver_clients VALUES (6);
ROLLBACK TO s;
INSERT INTO ver_clients VALUES (6);
COMMIT;
SELECT * FROM ver WHERE subject_id = '6';

-- Changed outside, used and so made inside: the version goes, the change stays.
BEGIN;
UPDATE sopflow.sop_node SET delay = '7h' WHERE sop_id = 'ver';
SAVEPOINT s;
INSERT INTO ver_clients VALUES (7);
ROLLBACK TO s;
SELECT max(version) FROM ver_versions;
INSERT INTO ver_clients VALUES (7);
COMMIT;
SELECT * FROM ver WHERE subject_id = '7';
-- the same with nothing after it but the commit
BEGIN;
UPDATE sopflow.sop_node SET delay = '8h' WHERE sop_id = 'ver';
SAVEPOINT s;
INSERT INTO ver_clients VALUES (8);
ROLLBACK TO s;
COMMIT;
INSERT INTO ver_clients VALUES (8);
SELECT * FROM ver WHERE subject_id = '8';
-- made outside, changed again inside and taken back
BEGIN;
UPDATE sopflow.sop_node SET delay = '9h' WHERE sop_id = 'ver';
INSERT INTO ver_clients VALUES (9);
SAVEPOINT s;
UPDATE sopflow.sop_node SET delay = '10h' WHERE sop_id = 'ver';
INSERT INTO ver_clients VALUES (10);
ROLLBACK TO s;
INSERT INTO ver_clients VALUES (10);
RELEASE s;
INSERT INTO ver_clients VALUES (11);
COMMIT;
SELECT * FROM ver WHERE subject_id IN ('9', '10', '11');
-- a fault inside a savepoint does not stick
BEGIN;
SAVEPOINT s;
UPDATE sopflow.sop_node SET action = 'ver_none' WHERE sop_id = 'ver';
INSERT INTO ver_clients VALUES (12);
ROLLBACK TO s;
INSERT INTO ver_clients VALUES (12);
COMMIT;
SELECT * FROM ver WHERE subject_id = '12';
-- one that is mended before the commit is no fault
BEGIN;
UPDATE sopflow.sop_node SET next = 'n2' WHERE sop_id = 'ver';
INSERT INTO sopflow.sop_node (sop_id, node_id, type) VALUES ('ver', 'n2', 'end');
COMMIT;
-- SET CONSTRAINTS checks earlier
BEGIN;
UPDATE sopflow.sop_node SET next = 'n3' WHERE (sop_id, node_id) = ('ver', 'n1');
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
-- an SOP made and dropped in one transaction
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('ver_x', 'VER');
DELETE FROM sopflow.sop WHERE sop_id = 'ver_x';
COMMIT;
SELECT count(*) FROM sopflow.sop_version WHERE sop_id = 'ver_x';

-- A run keeps its version to the end: the old graph's next node, the old params.
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, delay_from) VALUES ('ver_g', 'VER_G', 'previous');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, next) VALUES ('ver_g', 'a', '1h', NULL, 'b'), ('ver_g', 'b', '1h', NULL, NULL);
COMMIT;
SELECT sopflow.emit('VER_G', 1);
BEGIN;
DELETE FROM sopflow.sop_node WHERE (sop_id, node_id) = ('ver_g', 'b');
UPDATE sopflow.sop_node SET next = 'c' WHERE (sop_id, node_id) = ('ver_g', 'a');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('ver_g', 'c', '5h');
COMMIT;
SELECT sopflow.emit('VER_G', 2);
SET sopflow.clock = '2030-01-07 11:00:00+00';
SELECT sopflow.run_due() > 0;
SELECT subject_id, node_id, status, due_at FROM sopflow.tasks WHERE sop_id = 'ver_g' ORDER BY subject_id, task_id;

SELECT sopflow.cancel(sop_id => 'ver') > 0, sopflow.cancel(sop_id => 'ver_g');
DELETE FROM sopflow.sop WHERE sop_id LIKE 'ver%';
DELETE FROM sopflow.action WHERE action LIKE 'ver%';
DROP VIEW ver, ver_versions;
DROP TABLE ver_clients;
