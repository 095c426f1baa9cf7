-- What cannot be watched, by whom, and what may not happen to a watched table.
\pset format unaligned
\pset tuples_only on
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE ROLE wr_owner;
CREATE SCHEMA wr;
GRANT USAGE, CREATE ON SCHEMA wr TO wr_owner;
GRANT USAGE ON SCHEMA sopflow TO wr_owner;
GRANT EXECUTE ON FUNCTION sopflow.watch, sopflow.unwatch TO wr_owner;
SET search_path = wr, public;
CREATE TABLE clients (id bigint, name text, amount numeric, at time, tags text[]);
CREATE VIEW v AS SELECT * FROM clients;
CREATE MATERIALIZED VIEW m AS SELECT * FROM clients;
CREATE TEMP TABLE temporary (id bigint);
CREATE SEQUENCE s;
CREATE TABLE other (id bigint);

\echo --- relations
SELECT sopflow.watch('v', 'E', 'id');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.watch('m', 'E', 'id');
SELECT sopflow.watch('s', 'E', 'id');
SELECT sopflow.watch('temporary', 'E', 'id');
SELECT sopflow.watch('sopflow.sop', 'E', 'sop_id');
SELECT sopflow.watch('pg_class', 'E', 'oid');
SELECT sopflow.watch('nothing', 'E', 'id');
SELECT sopflow.watch(4000000000, 'E', 'id');
SELECT sopflow.place_watch(4000000000);
SELECT sopflow.unwatch('v', 'E');
SET ROLE wr_owner;
SELECT sopflow.watch('clients', 'E', 'id');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.unwatch('clients', 'E');
RESET ROLE;

\echo --- arguments
SELECT sopflow.watch(NULL, 'E', 'id');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.watch('clients', NULL, 'id');
SELECT sopflow.watch('clients', 'E', NULL);
SELECT sopflow.watch('clients', '', 'id');
SELECT sopflow.watch('clients', 'E', 'nothing');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.watch('clients', 'E', 'ctid');
SELECT sopflow.watch('clients', 'E', 'id', '{name,nothing}');
SELECT sopflow.watch('clients', 'E', 'id', '{name,NULL}');
SELECT sopflow.watch('clients', 'E', 'id', time_column => 'nothing');
SELECT sopflow.watch('clients', 'E', 'id', time_column => 'at');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.watch('clients', 'E', 'id', time_column => 'name');
SELECT sopflow.watch('clients', 'E', 'id', on_error => 'ignore');
\echo :LAST_ERROR_SQLSTATE

\echo --- conditions
CREATE FUNCTION fickle(bigint) RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT true';
CREATE FUNCTION many(bigint) RETURNS SETOF bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION refused(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	state text;
BEGIN
	PERFORM sopflow.watch('wr.clients', 'E', 'id', condition => condition);
	RETURN 'accepted: ' || condition;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message := MESSAGE_TEXT, state := RETURNED_SQLSTATE;
	RETURN state || ' ' || message;
END $$;
SELECT refused(c) FROM unnest(ARRAY['fickle(id)', 'random() > 0.5', 'clock_timestamp() > now()', 'nextval(''s'') > 0',
	'(select true)', 'id in (select id from other)', 'exists (select from other)', 'count(*) > 1', 'max(amount) > 1',
	'row_number() over () = 1', 'many(id)', 'generate_series(1, 2) = 1', 'amount', 'name', '1', 'nothing > 1', 'other.id = 1', 'new.id = 1',
	'amount >', '', 'true, false', 'true; select true', 'true as x', 'true from other', 'true where true', 'true limit 1', '$1', 'true) or (true',
	'unknown_function(id)', 'name + 1 > 0', 'xmin::text = ''1''', 'grouping(id) = 1', 'true /* ; */', 'clients.amount > 1 -- a comment',
	'amount between 1 and 2 and name ~ ''^a'' or tags @> ''{x}''', 'clients is not null', 'case when amount > 0 then 10 / amount > 1 end']) c;
-- with the cursor in the condition
SELECT sopflow.watch('clients', 'E', 'id', condition => 'amount > 1 and nothing > 1');
SELECT sopflow.watch('clients', 'E', 'id', condition => 'amount > 1 and (select true)');
SELECT sopflow.watch('clients', 'E', 'id', condition => 'amount > 1 and or');
-- a refused one leaves the watch as it was
SELECT sopflow.unwatch('clients', 'E');
SELECT sopflow.watch('clients', 'E', 'id', condition => 'amount > 1');
SELECT refused('random() > 1');
SELECT event, condition FROM sopflow.watched WHERE relation = 'clients'::regclass;

\echo --- columns that are used
DROP VIEW v;
DROP MATERIALIZED VIEW m;
\set SHOW_CONTEXT never
ALTER TABLE clients DROP COLUMN id;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE clients DROP COLUMN amount;
ALTER TABLE clients DROP COLUMN at;
SELECT sopflow.watch('clients', 'E2', 'name', '{tags}', time_column => NULL);
ALTER TABLE clients DROP COLUMN tags;
ALTER TABLE clients DROP COLUMN name;
SELECT sopflow.unwatch('clients', 'E2');
ALTER TABLE clients DROP COLUMN tags;
CREATE DOMAIN d AS int;
CREATE TABLE domains (id d);
SELECT sopflow.watch('domains', 'E', 'id');
DROP DOMAIN d CASCADE;
-- renamed columns and tables are followed, in the condition too
ALTER TABLE clients RENAME COLUMN id TO client_id;
ALTER TABLE clients RENAME COLUMN amount TO "Total amount";
ALTER TABLE clients RENAME TO customers;
ALTER TABLE customers SET SCHEMA public;
SELECT relation, subject_key, condition FROM sopflow.watched WHERE event = 'E' ORDER BY relation::text;
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('wr', 'E');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('wr', 'n1', '1h');
COMMIT;
INSERT INTO customers (client_id, "Total amount") VALUES (1, 1), (2, 2);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wr';
ALTER TABLE customers DROP COLUMN "Total amount";
-- a new type for a column of the condition, which goes on as it was written
SELECT sopflow.watch('customers', 'E', 'client_id', condition => '"Total amount" > 5');
ALTER TABLE customers ALTER COLUMN "Total amount" TYPE int;
INSERT INTO customers (client_id, "Total amount") VALUES (3, 5), (4, 6);
ALTER TABLE customers ALTER COLUMN client_id TYPE text;
INSERT INTO customers (client_id, "Total amount") VALUES ('five', 6);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wr' ORDER BY run_id;
-- rolled back
BEGIN;
ALTER TABLE customers RENAME COLUMN client_id TO k;
INSERT INTO customers (k, "Total amount") VALUES ('six', 6);
ROLLBACK;
INSERT INTO customers (client_id, "Total amount") VALUES ('seven', 6);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wr' ORDER BY run_id;

\echo --- dropped tables
DROP TABLE customers CASCADE;
SELECT count(*) FROM sopflow.watched WHERE event = 'E';
ALTER TABLE other OWNER TO wr_owner;
SET ROLE wr_owner;
SELECT sopflow.watch('other', 'E', 'id');
CREATE TABLE mine (id bigint);
SELECT sopflow.watch('mine', 'E', 'id');
RESET ROLE;
-- an owner who may do nothing in sopflow any more
REVOKE USAGE ON SCHEMA sopflow FROM wr_owner;
SET ROLE wr_owner;
ALTER TABLE other RENAME COLUMN id TO key;
INSERT INTO other VALUES (9);
DROP TABLE other;
RESET ROLE;
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wr' ORDER BY run_id DESC LIMIT 1;
DROP SCHEMA wr CASCADE;
SELECT count(*) FROM sopflow.watched WHERE event IN ('E', 'E2');
-- a dropped subject_relation disables its SOP
CREATE TABLE public.wr_subjects (id bigint);
UPDATE sopflow.sop SET subject_relation = 'public.wr_subjects', subject_key = 'id' WHERE sop_id = 'wr';
DROP TABLE public.wr_subjects;
SELECT enabled FROM sopflow.sop WHERE sop_id = 'wr';

SELECT sopflow.cancel(sop_id => 'wr') > 0;
DELETE FROM sopflow.sop WHERE sop_id = 'wr';
DROP OWNED BY wr_owner;
DROP ROLE wr_owner;
