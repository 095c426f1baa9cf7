-- emit() and start(): subjects as text and bigint, nulls, what they return, and
-- what a second event does while a run is active (reentry), and exit events.
\pset format unaligned
\pset tuples_only on
\pset null null
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry, exit_events) VALUES
	('es_ignore', 'ES', 'ignore', '{ES_EXIT,ES_ALL}'), ('es_restart', 'ES', 'restart', '{ES_ALL}'), ('es_allow', 'ES', 'allow', '{ES_ALL}'),
	('es_manual', NULL, 'ignore', '{}'), ('es_self', 'ES_SELF', 'ignore', '{ES_SELF}');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) SELECT s, 'n1', '1h' FROM unnest('{es_ignore,es_restart,es_allow,es_manual,es_self}'::text[]) s;
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('es_restart', 'n2', '2h');
COMMIT;
CREATE VIEW es AS SELECT r.sop_id, r.subject_id, r.state, r.reason, r.event_at, r.context,
		(SELECT string_agg(t.node_id || ' ' || t.status, ', ' ORDER BY t.task_id) FROM sopflow.tasks t WHERE t.run_id = r.run_id) AS tasks
	FROM sopflow.runs r WHERE r.sop_id LIKE 'es%' ORDER BY r.subject_id, r.sop_id, r.run_id;

\echo --- arguments
SELECT sopflow.emit('NOBODY_LISTENS', '1');
SELECT sopflow.emit(NULL, '1');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.emit('', '1');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.emit('ES', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.emit('ES', NULL::bigint);
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.emit('ES', '');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.emit('ES', repeat('x', 1001));
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.emit('ES', '1', '[]');
SELECT sopflow.emit('ES', '1', 'null');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.emit('ES', '1', occurred_at => 'infinity');
-- no due time of it could be had: that would come out in a dispatch pass
SELECT sopflow.emit('ES', '1', occurred_at => '294276-01-01 00:00+00');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.start(NULL, '1');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.start('es_manual', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.start('es_manual', NULL::bigint);
SELECT sopflow.start('es_none', '1');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.start('es_manual', '');
SELECT count(*) FROM es;
-- null context and time are the defaults; the event's time may lie in the past
SELECT sopflow.emit('ES_SELF', 'defaults', NULL, NULL);
SELECT sopflow.emit('ES_SELF', 'past', '{"k": [1, null]}', '2020-01-01 00:00+00');
SELECT sop_id, subject_id, event_at, context FROM es;
SELECT due_at FROM sopflow.tasks WHERE subject_id = 'past' AND sop_id = 'es_self';
-- untyped parameters, as drivers send them
PREPARE p AS SELECT sopflow.emit('ES_SELF', $1, $2);
EXECUTE p('driver', '{"a": 1}');
SELECT sopflow.cancel(sop_id => 'es_self');

\echo --- reentry
SELECT sopflow.emit('ES', 1, '{"n": 1}'), sopflow.emit('ES', '1', '{"n": 2}');
SELECT sopflow.emit('ES', 1, '{"n": 3}', '2030-01-08 00:00+00');
SELECT sop_id, subject_id, state, reason, event_at, context, tasks FROM es WHERE subject_id = '1';
-- other subjects are others
SELECT sopflow.emit('ES', ' 1'), sopflow.emit('ES', '01');
SELECT sopflow.cancel(' 1'), sopflow.cancel('01');
-- several rows of a subject in one statement go in their order
CREATE TABLE es_clients (id bigint, n int);
SELECT sopflow.watch('es_clients', 'ES', 'id', '{n}');
INSERT INTO es_clients VALUES (2, 1), (3, 1), (2, 2), (2, 3), (3, 2);
SELECT sop_id, subject_id, state, context->>'n' AS n, tasks FROM es WHERE subject_id IN ('2', '3');

\echo --- exit events
SELECT sopflow.emit('ES_EXIT', 2);
SELECT sopflow.emit('ES_EXIT', 2), sopflow.emit('ES_EXIT', 'nobody');
SELECT sopflow.emit('ES_ALL', 2);
SELECT sop_id, subject_id, state, reason, tasks FROM es WHERE subject_id = '2';
-- an event that ends and starts the same: first the end
SELECT sopflow.emit('ES_SELF', 5), sopflow.emit('ES_SELF', 5);
SELECT sop_id, state, reason, tasks FROM es WHERE subject_id = '5';
SELECT sopflow.watch('es_clients', 'ES_SELF', 'n', condition => 'n > 100');
INSERT INTO es_clients VALUES (NULL, 101), (NULL, 102), (NULL, 101), (NULL, 101);
SELECT subject_id, state, tasks FROM es WHERE subject_id IN ('101', '102');
-- the run's version counts: an exit event of a later one ends later runs only
UPDATE sopflow.sop SET exit_events = '{ES_LATER}' WHERE sop_id = 'es_ignore';
SELECT sopflow.emit('ES', 7);
SELECT sopflow.emit('ES_LATER', 3), sopflow.emit('ES_LATER', 7);
SELECT sopflow.emit('ES_EXIT', 7), sopflow.emit('ES_EXIT', 3);

\echo --- start
SELECT sopflow.start('es_manual', 8, '{"a": 1}') = sopflow.start('es_manual', '8', '{"a": 2}') AS same;
SELECT sop_id, state, context, tasks FROM es WHERE subject_id = '8';
SELECT sopflow.start('es_allow', 8) <> sopflow.start('es_allow', 8) AS differ;
SELECT sopflow.start('es_restart', 8) <> sopflow.start('es_restart', 8) AS differ;
SELECT run_id = sopflow.start('es_manual', 8) FROM sopflow.runs WHERE sop_id = 'es_manual' AND subject_id = '8';
SELECT sop_id, state, tasks FROM es WHERE subject_id = '8';
-- a completed run makes room
SET sopflow.clock = '2030-01-07 12:00:00+00';
SELECT sopflow.run_due() > 0;
SELECT sopflow.start('es_manual', 8, '{"a": 3}') > 0;
SELECT state, context, tasks FROM es WHERE subject_id = '8' AND sop_id = 'es_manual';
-- disabled: neither events nor start()
UPDATE sopflow.sop SET enabled = false WHERE sop_id = 'es_manual';
SELECT sopflow.start('es_manual', 9);
\echo :LAST_ERROR_SQLSTATE
-- rolled back
BEGIN;
SELECT sopflow.emit('ES', 10);
ROLLBACK;
SELECT count(*) FROM es WHERE subject_id = '10';
DO $$
BEGIN
	PERFORM sopflow.emit('ES', 11);
	BEGIN
		PERFORM sopflow.emit('ES', 12);
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
END $$;
SELECT subject_id, count(*) FROM es WHERE subject_id IN ('11', '12') GROUP BY 1;

SELECT sum(sopflow.cancel(sop_id => sop_id)) > 0 FROM sopflow.sop WHERE sop_id LIKE 'es%';
DELETE FROM sopflow.sop WHERE sop_id LIKE 'es%';
DROP VIEW es;
SET client_min_messages = error;
DROP TABLE es_clients;
