-- subject_relation: at dispatch the subject must still be there, as the SOP's
-- owner sees it.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_owner;
RESET client_min_messages;
CREATE ROLE regress_owner;
GRANT USAGE ON SCHEMA sopflow TO regress_owner;
CREATE TABLE client (id int PRIMARY KEY, name text);
CREATE TABLE "Odd Client" ("the key" text);
GRANT SELECT ON client, "Odd Client" TO regress_owner;
INSERT INTO client SELECT i, 'client ' || i FROM generate_series(1, 5) i;
INSERT INTO "Odd Client" VALUES ('a''b');
INSERT INTO sopflow.action (action, delivery, jitter, owner) VALUES ('SHOUT', 'broadcast', 0, 'regress_owner'), ('MAIL', 'queue', 0, 'regress_owner');
BEGIN;
INSERT INTO sopflow.sop (sop_id, subject_relation, subject_key, owner)
	VALUES ('care', 'client', 'id', 'regress_owner'), ('odd', '"Odd Client"', 'the key', 'regress_owner');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay)
	VALUES ('care', 'a', 'SHOUT', '1h'), ('care', 'b', 'MAIL', '2h'), ('odd', 'a', 'SHOUT', '1h');
COMMIT;
CREATE VIEW shown AS
	SELECT sop_id, subject_id, node_id, status, due_at, attempt, last_error
	FROM sopflow.tasks ORDER BY task_id;

-- Gone: the run is cancelled and says so; text that is no key is an error.
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.start('care', 1) AS one, sopflow.start('care', 2) AS two, sopflow.start('care', 99) AS none, sopflow.start('care', 'x') AS x;
SELECT sopflow.start('odd', 'a''b') AS there, sopflow.start('odd', 'gone') AS gone;
DELETE FROM client WHERE id = 2;
SET sopflow.clock = '2030-01-07 10:00+00';
SELECT sopflow.run_due();
SELECT * FROM shown;
SELECT subject_id, state, reason FROM sopflow.runs ORDER BY run_id;
DELETE FROM client WHERE id = 1;
SET sopflow.clock = '2030-01-07 11:00+00';
SELECT * FROM sopflow.fetch('{MAIL}');
SELECT node_id, status FROM shown WHERE subject_id = '1';
SELECT state, reason FROM sopflow.runs WHERE subject_id = '1';
SELECT sopflow.cancel('x');

-- Not visible for the owner is gone; not readable is an error.
ALTER TABLE client ENABLE ROW LEVEL SECURITY;
SELECT sopflow.start('care', 3) AS run \gset
SET sopflow.clock = '2030-01-07 12:00+00';
SELECT sopflow.run_due();
SELECT state, reason FROM sopflow.runs WHERE subject_id = '3';
ALTER TABLE client DISABLE ROW LEVEL SECURITY;
REVOKE SELECT ON client FROM regress_owner;
SELECT sopflow.start('care', 4, occurred_at => '2030-01-07 11:00+00') AS run \gset
SELECT sopflow.run_due();
SELECT node_id, status, due_at, attempt, last_error FROM shown WHERE subject_id = '4';
GRANT SELECT (id) ON client TO regress_owner;
SET sopflow.clock = '2030-01-07 12:00:30+00';
SELECT sopflow.run_due();
SELECT node_id, status, attempt, last_error FROM shown WHERE subject_id = '4';
SELECT sopflow.cancel('4');

-- The key's column is renamed or the table dropped: errors, not the end of the run.
SELECT sopflow.start('care', 5, occurred_at => '2030-01-07 11:00+00') AS run \gset
ALTER TABLE client RENAME id TO client_id;
SELECT sopflow.run_due();
SELECT node_id, status, attempt, last_error FROM shown WHERE subject_id = '5';
DROP TABLE client;
SET sopflow.clock = '2030-01-07 12:05+00';
SELECT sopflow.run_due();
SELECT node_id, status, attempt, last_error FROM shown WHERE subject_id = '5';
SELECT sop_id, enabled FROM sopflow.sop ORDER BY sop_id;

-- The SOP's owner is gone: it is not run, and says so; with another owner it goes on.
SELECT sopflow.start('odd', 'a''b') AS run \gset
SET sopflow.clock = '2030-01-07 13:05+00';
UPDATE sopflow.action SET owner = quote_ident(current_user)::regrole;
SELECT sopflow.cancel(sop_id => 'care');
DROP OWNED BY regress_owner;
DROP ROLE regress_owner;
SELECT sopflow.run_due();
SELECT status, held_by FROM sopflow.tasks WHERE run_id = :run;
SELECT node_id, column_name, regexp_replace(message, '\d+', 'N') AS message FROM sopflow.validate('odd');
UPDATE sopflow.sop SET owner = quote_ident(current_user)::regrole;
SELECT sopflow.run_due();
SELECT status, held_by FROM sopflow.tasks WHERE run_id = :run;

-- Of partitions only the subject's is locked.
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
INSERT INTO parted VALUES (1), (2);
UPDATE sopflow.sop SET subject_relation = 'parted', subject_key = 'id' WHERE sop_id = 'odd';
SELECT sopflow.start('odd', 2) > 0 AS started;
SET sopflow.clock = '2030-01-07 15:05+00';
BEGIN;
SELECT sopflow.run_due();
SELECT relation::regclass FROM pg_locks WHERE relation::regclass::text ~ '^parted_[12]$';
COMMIT;
SELECT subject_id, status FROM shown WHERE subject_id = '2' AND sop_id = 'odd';
DROP VIEW shown;
DROP TABLE parted, "Odd Client";
