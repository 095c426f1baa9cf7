-- A role that may INSERT clients and nothing else can insert, and can neither
-- see nor do anything in sopflow, nor come round it.
\pset format unaligned
\pset tuples_only on
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE ROLE ri_app;
CREATE TABLE ri_clients (id bigint, name text);
GRANT INSERT ON ri_clients TO ri_app;
SELECT sopflow.watch('ri_clients', 'RI', 'id', '{name}', 'name <> ''nobody''');
BEGIN;
INSERT INTO sopflow.action (action) VALUES ('ri_a');
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('ri', 'RI', 'restart');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('ri', 'n1', '0', 'ri_a'), ('ri', 'n2', '1h', 'ri_a');
COMMIT;

SET ROLE ri_app;
INSERT INTO ri_clients VALUES (1, 'one'), (2, 'nobody');
COPY ri_clients FROM stdin;
3	three
1	one again
\.
-- functions by their names, tables, views, sequences, types: the schema is closed
SELECT sopflow.now();
SELECT * FROM sopflow.tasks;
SELECT 'sopflow.task'::regclass;
-- and what is reached by OID is closed too
RESET ROLE;
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'sopflow'::regnamespace
	AND has_function_privilege('ri_app', p.oid, 'EXECUTE') ORDER BY 1;
SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'sopflow'::regnamespace AND c.relkind IN ('r', 'p', 'v')
	AND (has_table_privilege('ri_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		OR has_any_column_privilege('ri_app', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'));
SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'sopflow'::regnamespace AND c.relkind = 'S'
	AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('ri_app', c.oid, 'SELECT, USAGE, UPDATE') END;
SELECT has_schema_privilege('ri_app', 'sopflow', 'USAGE'), has_schema_privilege('ri_app', 'sopflow', 'CREATE');
-- with the schema open, all of it stays closed
GRANT USAGE ON SCHEMA sopflow TO ri_app;
SET ROLE ri_app;
SELECT count(*) FROM sopflow.tasks;
SELECT count(*) FROM sopflow.health;
SELECT count(*) FROM sopflow.sop;
INSERT INTO sopflow.task VALUES (1, now(), 1, 0, 0, 0);
SELECT sopflow.run_due();
SELECT sopflow.emit('RI', 'x');
SELECT sopflow.fetch('{ri_a}');
SELECT sopflow.ack(1, 1);
SELECT sopflow.cancel('1');
SELECT sopflow.pause('ri');
SELECT sopflow.watch('ri_clients', 'X', 'id');
SELECT sopflow.unwatch('ri_clients', 'RI');
SELECT sopflow.restored();
SELECT sopflow.metrics();
SELECT sopflow.grant_author('ri_app');
-- settings that would let it
SET sopflow.clock = '2040-01-01';
SET sopflow.restoring = on;
SET session_replication_role = replica;
-- what pg_dump's scripts set is anybody's to set, and changes nothing
RESET ROLE;
SET SESSION AUTHORIZATION ri_app;
SET check_function_bodies = off;
INSERT INTO ri_clients VALUES (4, 'four');
RESET check_function_bodies;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM sopflow.hold;
SELECT subject_id, node_id, status, context FROM sopflow.tasks JOIN sopflow.runs USING (run_id, sop_id, subject_id)
	WHERE sop_id = 'ri' ORDER BY task_id;
-- the trigger's function, on a table of its own: it does nothing there
GRANT CREATE ON SCHEMA public TO ri_app;
SET ROLE ri_app;
CREATE TABLE ri_own (id bigint);
CREATE TRIGGER t AFTER INSERT ON ri_own FOR EACH ROW EXECUTE FUNCTION sopflow.intake();
INSERT INTO ri_own VALUES (1);
CREATE TRIGGER t2 BEFORE INSERT ON ri_own FOR EACH ROW EXECUTE FUNCTION sopflow.intake();
INSERT INTO ri_own VALUES (1);
DROP TABLE ri_own;
RESET ROLE;
SELECT count(*) FROM sopflow.runs WHERE sop_id = 'ri';

SELECT sopflow.cancel(sop_id => 'ri');
DELETE FROM sopflow.sop WHERE sop_id = 'ri';
DELETE FROM sopflow.action WHERE action = 'ri_a';
SET client_min_messages = error;
DROP TABLE ri_clients;
DROP OWNED BY ri_app;
DROP ROLE ri_app;
