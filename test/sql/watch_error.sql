-- on_error: an error of the intake fails the INSERT, or, where the watch says
-- skip, costs that row its event and leaves an alert. And a database that is
-- being restored takes nothing in.
\pset format unaligned
\pset tuples_only on
SET sopflow.clock = '2030-01-07 10:00:00+00';
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('we', 'WE');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('we', 'n1', '1h'), ('we', 'n2', '2h');
COMMIT;
CREATE TABLE we_clients (id text, n int, at timestamptz);
CREATE VIEW we_subjects AS SELECT string_agg(r.subject_id || ':' || (SELECT count(*) FROM sopflow.task t WHERE t.task_id BETWEEN r.run_id << 16 AND (r.run_id << 16) + 65535), ', ' ORDER BY r.run_id)
	FROM sopflow.runs r WHERE r.sop_id = 'we' AND r.state = 'active';
SELECT sopflow.watch('we_clients', 'WE', 'id', condition => '10 / n > 0', time_column => 'at');
INSERT INTO we_clients VALUES ('a', 1), ('b', 0), ('c', 1);
SELECT * FROM we_subjects;
SELECT sopflow.watch('we_clients', 'WE', 'id', condition => '10 / n > 0', time_column => 'at', on_error => 'skip');
INSERT INTO we_clients VALUES ('a', 1, NULL), ('b', 0, NULL), ('c', 1, NULL), ('', 1, NULL),
	(repeat('x', 1001), 1, NULL), ('d', 1, 'infinity'), ('e', 1, NULL);
SELECT count(*) FROM we_clients;
SELECT * FROM we_subjects;
SELECT kind, message FROM sopflow.alerts WHERE kind = 'intake' ORDER BY alert_id;
-- by row too
CREATE TABLE we_parts (id text, n int) PARTITION BY LIST (n);
CREATE TABLE we_parts_rest PARTITION OF we_parts DEFAULT;
SELECT sopflow.watch('we_parts', 'WE', 'id', condition => '10 / n > 0', on_error => 'skip');
INSERT INTO we_parts VALUES ('f', 1), ('g', 0), ('h', 1);
SELECT * FROM we_subjects;
SELECT count(*) FROM sopflow.alerts WHERE kind = 'intake';
-- gone with the transaction, as the rows are
BEGIN;
INSERT INTO we_clients VALUES ('i', 1), ('j', 0);
ROLLBACK;
SELECT * FROM we_subjects;
SELECT count(*) FROM sopflow.alerts WHERE kind = 'intake';
-- what the transaction is to be tried again for is no fault of the row
CREATE FUNCTION we_again(n int) RETURNS bool STABLE LANGUAGE plpgsql AS $$ BEGIN RAISE 'again' USING ERRCODE = 'serialization_failure'; END $$;
CREATE TABLE we_again (id text, n int);
SELECT sopflow.watch('we_again', 'WE', 'id', condition => 'we_again(n)', on_error => 'skip');
INSERT INTO we_again VALUES ('k', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM we_again;
SET client_min_messages = error;
DROP TABLE we_again;
RESET client_min_messages;
DROP FUNCTION we_again;
-- an SOP that is not valid in this transaction is an error like another
BEGIN;
UPDATE sopflow.sop_node SET action = 'we_none' WHERE sop_id = 'we';
INSERT INTO we_clients VALUES ('k', 1);
COMMIT;
SELECT * FROM we_subjects;
DELETE FROM sopflow.alert WHERE kind = 'intake';
-- the identity and the settings of the session are as before
SELECT current_user, current_setting('search_path');

-- restoring: nothing is taken in, nothing started
SET sopflow.restoring = on;
INSERT INTO we_clients VALUES ('l', 1);
RESET sopflow.restoring;
SET check_function_bodies = off;
INSERT INTO we_clients VALUES ('m', 1);
RESET check_function_bodies;
SELECT * FROM we_subjects;
INSERT INTO we_clients VALUES ('n', 1);
SELECT * FROM we_subjects;

SELECT sopflow.cancel(sop_id => 'we') > 0;
DELETE FROM sopflow.sop WHERE sop_id = 'we';
DROP VIEW we_subjects;
SET client_min_messages = error;
DROP TABLE we_clients, we_parts;
