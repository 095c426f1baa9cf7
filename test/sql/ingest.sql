-- ingest(): events of a source beyond its position, each once; and the views
-- that the client's top reads.
CREATE EXTENSION IF NOT EXISTS sopflow;
SET timezone = 'UTC';
SET sopflow.clock = '2026-05-01 12:00:00+00';
BEGIN;
INSERT INTO sopflow.action (action) VALUES ('INGEST_CALL');
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('ingest_sop', 'INGESTED', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('ingest_sop', 'n1', '1 h', 'INGEST_CALL');
COMMIT;

-- the position of a source that is not known
SELECT * FROM sopflow.ingest('ingest_a');
SELECT count(*) FROM sopflow.ingest_offset WHERE source LIKE 'ingest\_%';

-- text, seconds and no time; an event that starts nothing counts as taken
SELECT * FROM sopflow.ingest('ingest_a', '[
	{"position": 3, "event": "INGESTED", "subject": "a", "context": {"k": 1}, "at": "2026-05-01 10:00:00+00"},
	{"position": 5, "event": "INGESTED", "subject": "b", "at": 1777629600.5},
	{"position": 6, "event": "NOTHING", "subject": "c"},
	{"position": 7, "event": "INGESTED", "subject": "d"}]');
SELECT subject_id, event_at, context FROM sopflow.runs WHERE sop_id = 'ingest_sop' ORDER BY run_id;

-- what lies at or below the position is passed over, also within a call
SELECT * FROM sopflow.ingest('ingest_a', '[
	{"position": 7, "event": "INGESTED", "subject": "d"},
	{"position": 9, "event": "INGESTED", "subject": "e"},
	{"position": 8, "event": "INGESTED", "subject": "late"}]');
SELECT * FROM sopflow.ingest('ingest_a');
-- only the position moves, and never back
SELECT * FROM sopflow.ingest('ingest_a', '[]', 20);
SELECT * FROM sopflow.ingest('ingest_a', '[]', 15);
SELECT source, position FROM sopflow.ingest_offset WHERE source = 'ingest_a';
-- sources do not know of each other; positions may begin at 0
SELECT * FROM sopflow.ingest('ingest_b', '[{"position": 0, "event": "INGESTED", "subject": "f"}]');
SELECT string_agg(subject_id, ' ' ORDER BY run_id) FROM sopflow.runs WHERE sop_id = 'ingest_sop';

-- an error takes all of the call back
\set VERBOSITY terse
SELECT sopflow.ingest('ingest_b', '[{"position": 1, "event": "INGESTED", "subject": "g"}, {"position": 2, "event": "INGESTED"}]');
SELECT sopflow.ingest('ingest_b', '[{"position": 1, "event": "INGESTED", "subject": "g"}, {"position": 2, "subject": "h"}]');
SELECT sopflow.ingest('ingest_b', '[{"position": 1, "event": "INGESTED", "subject": "g", "at": "never"}]');
SELECT sopflow.ingest('ingest_b', '[{"position": 1, "event": "INGESTED", "subject": "g", "context": 1}]');
SELECT sopflow.ingest('ingest_b', '[{"position": -1, "event": "INGESTED", "subject": "g"}]');
SELECT sopflow.ingest('ingest_b', '[{"event": "INGESTED", "subject": "g"}]');
SELECT sopflow.ingest('ingest_b', '[{"position": 1.5, "event": "INGESTED", "subject": "g"}]');
SELECT sopflow.ingest('ingest_b', '[7]');
SELECT sopflow.ingest('ingest_b', '{}');
SELECT sopflow.ingest('ingest_b', NULL);
SELECT sopflow.ingest(NULL);
SELECT sopflow.ingest('');
SELECT source, position FROM sopflow.ingest_offset WHERE source LIKE 'ingest\_%' ORDER BY source;
SELECT count(*) FROM sopflow.runs WHERE sop_id = 'ingest_sop' AND subject_id IN ('g', 'h');

-- a role needs the right to ingest and nothing else, and objects of its own
-- names change nothing
CREATE ROLE ingest_shop;
GRANT USAGE ON SCHEMA sopflow TO ingest_shop;
CREATE SCHEMA ingest_evil AUTHORIZATION ingest_shop;
SET ROLE ingest_shop;
SELECT sopflow.ingest('ingest_c');
RESET ROLE;
GRANT EXECUTE ON FUNCTION sopflow.ingest TO ingest_shop;
SET ROLE ingest_shop;
CREATE FUNCTION ingest_evil.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS $$SELECT 'evil'$$;
SET search_path = ingest_evil, pg_catalog;
SELECT * FROM sopflow.ingest('ingest_c', '[{"position": 1, "event": "INGESTED", "subject": "i"}]');
SELECT * FROM sopflow.ingest_offset;
RESET search_path;
RESET ROLE;

-- what is due first, and what waits for consumers
SELECT due_at, node_id, subject_id, action, attempt FROM sopflow.next_tasks WHERE sop_id = 'ingest_sop' ORDER BY task_id;
SET sopflow.clock = '2026-05-01 13:00:00+00';
SELECT count(*) FROM sopflow.fetch('{INGEST_CALL}', 2);
SELECT * FROM sopflow.backlog WHERE action = 'INGEST_CALL';

DROP SCHEMA ingest_evil CASCADE;
DROP OWNED BY ingest_shop;
DROP ROLE ingest_shop;
SELECT sopflow.cancel(sop_id => 'ingest_sop');
DELETE FROM sopflow.sop WHERE sop_id = 'ingest_sop';
DELETE FROM sopflow.action WHERE action = 'INGEST_CALL';
DELETE FROM sopflow.ingest_offset WHERE source LIKE 'ingest\_%';
