-- One INSERT and one COPY of 100,000 clients is one call of the trigger: every
-- task is there, none twice, and a rollback leaves none.
\pset format unaligned
\pset tuples_only on
SET sopflow.clock = '2030-01-07 10:00:00+00';
SET track_functions = 'all';
CREATE TABLE wb_clients (id bigint PRIMARY KEY, name text, at timestamptz);
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('wb', 'WB', 'allow'), ('wb_one', 'WB', 'ignore');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('wb', 'n1', '24h'), ('wb', 'n2', '72h'), ('wb_one', 'n1', '1h');
COMMIT;
SELECT sopflow.watch('wb_clients', 'WB', 'id', '{name}', time_column => 'at');
CREATE FUNCTION wb_calls() RETURNS bigint LANGUAGE sql AS $$
	SELECT coalesce(sum(calls), 0) FROM (SELECT pg_stat_get_function_calls('sopflow.intake'::regproc) + coalesce(pg_stat_get_xact_function_calls('sopflow.intake'::regproc), 0)) c(calls) $$;
CREATE FUNCTION wb_check() RETURNS TABLE (sop text, runs bigint, subjects bigint, tasks bigint, ids bigint, wrong bigint) LANGUAGE sql AS $$
	SELECT r.sop_id, count(DISTINCT r.run_id), count(DISTINCT r.subject_id), count(t.task_id), count(DISTINCT t.task_id),
		count(*) FILTER (WHERE c.id IS NULL OR r.event_at <> c.at OR r.context->>'name' <> c.name OR t.task_id IS NULL
			OR t.due_at <> c.at + CASE WHEN r.sop_id = 'wb_one' THEN '1h' ELSE ('{24h,72h}'::interval[])[t.node + 1] END)
	FROM sopflow.run r LEFT JOIN sopflow.task t ON t.task_id >> 16 = r.run_id LEFT JOIN wb_clients c ON c.id::text = r.subject_id
	WHERE r.sop_id LIKE 'wb%' GROUP BY r.sop_id ORDER BY r.sop_id $$;
BEGIN;
INSERT INTO wb_clients SELECT i, 'name ' || i, '2030-01-01 00:00+00'::timestamptz + i * interval '1 second' FROM generate_series(1, 100000) i;
SELECT wb_calls();
COMMIT;
\copy (SELECT i, 'name ' || i, '2030-02-01 00:00+00'::timestamptz + i * interval '1 second' FROM generate_series(100001, 200000) i) TO 'results/watch_bulk.data'
BEGIN;
\copy wb_clients FROM 'results/watch_bulk.data'
SELECT wb_calls();
COMMIT;
SELECT * FROM wb_check();
BEGIN;
INSERT INTO wb_clients SELECT i + 1000000, '', now() FROM generate_series(1, 20000) i;
SELECT count(*) FROM sopflow.run WHERE sop_id LIKE 'wb%';
ROLLBACK;
SELECT count(*) FROM sopflow.run WHERE sop_id LIKE 'wb%';
-- quicker than cancel(), and no history for later tests to read
DELETE FROM sopflow.task t USING sopflow.sop_version v WHERE v.version_id = t.version_id AND v.sop_id LIKE 'wb%';
DELETE FROM sopflow.run WHERE sop_id LIKE 'wb%';
VACUUM sopflow.run, sopflow.task;
DELETE FROM sopflow.sop WHERE sop_id LIKE 'wb%';
SET client_min_messages = error;
DROP TABLE wb_clients;
DROP FUNCTION wb_calls, wb_check;
