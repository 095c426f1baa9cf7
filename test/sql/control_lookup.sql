-- Access by task, run, subject, SOP and subject: of the tables that grow, none
-- is ever scanned.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, delivery) VALUES ('SHOUT', 'broadcast'), ('MAIL', 'queue');
BEGIN;
INSERT INTO sopflow.sop (sop_id, reentry, trigger_event) VALUES ('care', 'allow', 'E'), ('other', 'allow', NULL);
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay)
	VALUES ('care', 'a', 'SHOUT', '1h'), ('care', 'b', 'MAIL', '2h'), ('care', 'c', 'SHOUT', '3h'), ('other', 'a', 'SHOUT', '1h');
COMMIT;
CREATE TABLE client (id int);
SELECT sopflow.watch('client', 'E', 'id');
SET sopflow.clock = '2030-01-07 09:00+00';
INSERT INTO client SELECT generate_series(1, 5000);
SELECT count(sopflow.start('other', i)) FROM generate_series(1, 5000) i;
SET sopflow.clock = '2030-01-07 10:00+00';
SELECT sopflow.run_due(20000) > 0 AS dispatched WHERE true;
DO $$ BEGIN WHILE sopflow.run_due(20000) > 0 LOOP NULL; END LOOP; END $$;
SET sopflow.clock = '2030-01-07 11:00+00';
DO $$ BEGIN WHILE sopflow.run_due(20000) > 0 LOOP NULL; END LOOP; END $$;
SELECT sopflow.pause('care');
SELECT status, count(*) FROM sopflow.tasks GROUP BY status ORDER BY status;
ANALYZE sopflow.run, sopflow.task, sopflow.held, sopflow.offer, sopflow.dead, sopflow.history, sopflow.run_history, sopflow.sop_version;

-- The relations of which a plan reads every row, empty ones aside.
CREATE FUNCTION scanned(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
	found text;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	SELECT string_agg(DISTINCT n->>'Relation Name', ', ') INTO found
	FROM jsonb_path_query(plan, 'strict $.**') AS n
	WHERE jsonb_typeof(n) = 'object' AND n->>'Node Type' = 'Seq Scan'
		AND (SELECT c.relpages FROM pg_class c WHERE c.relname = n->>'Relation Name' AND c.relnamespace = 'sopflow'::regnamespace) > 5;
	RETURN coalesce(found, 'none');
END
$$;
SELECT relname, relpages > 5 AS large FROM pg_class
WHERE oid IN ('sopflow.run'::regclass, 'sopflow.task'::regclass, 'sopflow.held'::regclass)
	OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('sopflow.history'::regclass, 'sopflow.run_history'::regclass)) AND relpages > 0
ORDER BY relname;
SELECT scanned('SELECT count(*) FROM sopflow.tasks') <> 'none' AS control;
SELECT name, scanned(query) FROM (VALUES
	('task', 'SELECT * FROM sopflow.tasks WHERE task_id = 6553600'),
	('tasks', 'SELECT * FROM sopflow.tasks WHERE task_id = ANY (''{6553600,6553601,6619136}'')'),
	('task of a run', 'SELECT * FROM sopflow.tasks WHERE run_id = 100'),
	('tasks of a subject', 'SELECT * FROM sopflow.tasks WHERE subject_id = ''77'''),
	('tasks of SOP and subject', 'SELECT * FROM sopflow.tasks WHERE sop_id = ''care'' AND subject_id = ''77'''),
	('open tasks of a subject', 'SELECT * FROM sopflow.tasks WHERE subject_id = ''77'' AND status = ''pending'' ORDER BY due_at'),
	('run', 'SELECT * FROM sopflow.runs WHERE run_id = 100'),
	('runs of a subject', 'SELECT * FROM sopflow.runs WHERE subject_id = ''77'''),
	('run of SOP and subject', 'SELECT * FROM sopflow.runs WHERE sop_id = ''care'' AND subject_id = ''77'''),
	('dead task', 'SELECT * FROM sopflow.dead_tasks WHERE task_id = 6553600'),
	('dead tasks of a subject', 'SELECT * FROM sopflow.dead_tasks WHERE subject_id = ''77''')) AS q(name, query);
-- they find what there is
SELECT node_id, status, held_by FROM sopflow.tasks WHERE subject_id = '77' ORDER BY task_id;
SELECT sop_id, state FROM sopflow.runs WHERE subject_id = '77' ORDER BY run_id;

-- What the functions do: none of them adds to the sequential scans.
CREATE FUNCTION seq_scans(OUT relation text, OUT scans bigint) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT c.relname::text, pg_stat_get_xact_numscans(c.oid) FROM pg_class c
	WHERE c.relnamespace = 'sopflow'::regnamespace AND c.relkind = 'r' AND c.relpages > 5
$$;
CREATE TEMP TABLE before AS SELECT * FROM seq_scans() WITH NO DATA;
BEGIN;
INSERT INTO before SELECT * FROM seq_scans();
SELECT sopflow.reschedule(run_id * 65536 + 2, '2030-02-01 00:00+00') FROM sopflow.runs WHERE sop_id = 'care' AND subject_id = '77';
SELECT sopflow.task_params(6553600) IS NOT NULL AS params;
-- more often than the plans of the module stay custom ones
SELECT sum(sopflow.cancel(subject_id => i::text)) FROM generate_series(100, 120) i;
SELECT sum(sopflow.cancel(subject_id => i::text, sop_id => 'care')) FROM generate_series(200, 220) i;
SELECT count(sopflow.emit('E', i)) FROM generate_series(300, 320) i;
SELECT s.relation, s.scans - b.scans AS scans FROM seq_scans() s JOIN before b USING (relation) WHERE s.scans <> b.scans;
ROLLBACK;
DROP TABLE client, before;
DROP FUNCTION scanned, seq_scans;
