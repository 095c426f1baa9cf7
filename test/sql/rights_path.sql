-- A hostile search_path changes nothing: not for the INSERT, not for dispatch,
-- consumers and views, and what is planted is never called.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE SCHEMA evil;
CREATE TABLE evil.called (what text);
CREATE FUNCTION evil.trap(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '% was called', what;
END $$;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap('now'); RETURN NULL; END $$;
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.trap('lower'); RETURN NULL; END $$;
CREATE FUNCTION evil.coalesce_eq(bigint, bigint) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.trap('='); RETURN false; END $$;
CREATE FUNCTION evil.int_eq(int, int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.trap('='); RETURN false; END $$;
CREATE FUNCTION evil.text_eq(text, text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.trap('='); RETURN false; END $$;
CREATE FUNCTION evil.timestamptz_lt(timestamptz, timestamptz) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.trap('<'); RETURN false; END $$;
CREATE FUNCTION evil.jsonb_arrow(jsonb, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.trap('->>'); RETURN ''; END $$;
CREATE FUNCTION evil.shift(bigint, int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.trap('>>'); RETURN 0; END $$;
CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.coalesce_eq);
CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.int_eq);
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.text_eq);
CREATE OPERATOR evil.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.timestamptz_lt);
CREATE OPERATOR evil.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = evil.jsonb_arrow);
CREATE OPERATOR evil.>> (LEFTARG = bigint, RIGHTARG = int, FUNCTION = evil.shift);
CREATE TABLE evil.run (LIKE sopflow.run);
CREATE TABLE evil.task (LIKE sopflow.task);
CREATE TABLE evil.action (LIKE sopflow.action);
CREATE TABLE evil.pg_class (oid oid);
CREATE TABLE evil.pg_attribute (attrelid oid);
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (VALUE = 'trap');
CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb CHECK (false);
CREATE ROLE rp_app;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE public.rp_clients (id bigint, name pg_catalog.text);
GRANT INSERT ON public.rp_clients TO rp_app;

SET search_path = evil, public, pg_catalog;
BEGIN;
INSERT INTO sopflow.action (action, delivery) VALUES ('rp_q', 'queue'), ('rp_b', 'broadcast');
INSERT INTO sopflow.sop (sop_id, trigger_event, exit_events) VALUES ('rp', 'RP', '{RP_EXIT}');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, next) VALUES ('rp', 'n1', 'rp_b', 'n2'), ('rp', 'n2', 'rp_q', NULL);
COMMIT;
UPDATE sopflow.sop_node SET params = '{"a": 1}' WHERE sop_id LIKE 'rp';
-- the key of the table is compared by nobody; the watch is written here too
SELECT sopflow.watch('rp_clients', 'RP', 'id', '{name}');
SET ROLE rp_app;
INSERT INTO rp_clients VALUES (1, 'one');
INSERT INTO rp_clients SELECT i, 'n' FROM pg_catalog.generate_series(2, 3) i;
RESET ROLE;
SELECT sopflow.run_due() > 0;
SELECT sopflow.emit('RP_EXIT', 3);
SELECT sopflow.cancel('2');
SELECT w.subject_id, w.action, w.params, sopflow.ack(w.task_id, w.lease_token, '{}') FROM sopflow.fetch('{rp_q}') w;
SELECT t.subject_id, t.node_id, t.status FROM sopflow.tasks t ORDER BY t.task_id DESC LIMIT 6;
SELECT r.subject_id, r.state, r.reason FROM sopflow.runs r ORDER BY r.run_id DESC LIMIT 3;
SELECT pg_catalog.count(*) FROM sopflow.dead_tasks t WHERE t.sop_id LIKE 'rp';
SELECT pg_catalog.count(*) FROM sopflow.alerts a WHERE a.sop_id LIKE 'rp';
SELECT pg_catalog.count(*) >= 0 FROM sopflow.health;
SELECT sopflow.metrics() LIKE '%sopflow_events_total%';
ALTER TABLE rp_clients RENAME COLUMN id TO client_id;
INSERT INTO rp_clients VALUES (4, 'four');
SELECT pg_catalog.count(*) FROM sopflow.runs r WHERE r.subject_id LIKE '4' AND r.sop_id LIKE 'rp';
CREATE TABLE rp_dropped (id bigint);
SELECT sopflow.watch('rp_dropped', 'RP', 'id');
DROP TABLE rp_dropped;
SELECT sopflow.cancel(sop_id => 'rp');
-- a condition means what it meant where it was written, whatever the path of the INSERT
RESET search_path;
SELECT sopflow.watch('rp_clients', 'RP', 'client_id', condition => 'lower(name) = ''yes''');
SET search_path = evil, public, pg_catalog;
INSERT INTO rp_clients VALUES (5, 'YES'), (6, 'no');
SELECT r.subject_id FROM sopflow.runs r WHERE r.state LIKE 'active' AND r.sop_id LIKE 'rp';
-- also beside another watch of the table that was written under another path
SELECT sopflow.watch('rp_clients', 'A_RP', 'client_id', condition => 'lower(name) is null');
RESET search_path;
INSERT INTO rp_clients VALUES (7, 'Yes');
SELECT sopflow.unwatch('rp_clients', 'A_RP');
INSERT INTO rp_clients VALUES (7, 'Yes');
SELECT r.subject_id FROM sopflow.runs r WHERE r.state = 'active' AND r.sop_id = 'rp' ORDER BY 1;

SELECT sopflow.cancel(sop_id => 'rp');
DELETE FROM sopflow.sop WHERE sop_id = 'rp';
DELETE FROM sopflow.action WHERE action LIKE 'rp%';
SET client_min_messages = error;
DROP TABLE rp_clients;
DROP SCHEMA evil CASCADE;
DROP ROLE rp_app;
