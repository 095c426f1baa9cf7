-- A handler ends a run whose task was offered to consumers just before: nothing
-- of it is left.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
CREATE FUNCTION ends_bye(task sopflow.work) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('ended', sopflow.emit('ENDS_GONE', (task).subject_id))
$$;
BEGIN;
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('ENDS_MAIL', 'queue', NULL), ('ENDS_BYE', 'call', 'public.ends_bye');
INSERT INTO sopflow.sop (sop_id, trigger_event, exit_events) VALUES ('ends_a', 'ENDS_HELLO', '{ENDS_GONE}'), ('ends_b', 'ENDS_HELLO', '{}');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay) VALUES ('ends_a', 'mail', 'ENDS_MAIL', '1h'), ('ends_b', 'bye', 'ENDS_BYE', '2h');
COMMIT;
SET sopflow.clock = '2030-01-01 00:00:00+00';
SELECT sopflow.emit('ENDS_HELLO', 's');
SET sopflow.clock = '2030-01-01 03:00:00+00';
SELECT sopflow.run_due();
SELECT action, status, result FROM sopflow.tasks WHERE sop_id LIKE 'ends%' ORDER BY 1;
SELECT sop_id, state, reason FROM sopflow.runs WHERE sop_id LIKE 'ends%' ORDER BY 1;
SELECT count(*) FROM sopflow.offer o JOIN sopflow.sop_version v USING (version_id) WHERE v.sop_id LIKE 'ends%';
SELECT count(*) FROM sopflow.fetch('{ENDS_MAIL}');

DELETE FROM sopflow.sop WHERE sop_id LIKE 'ends%';
DELETE FROM sopflow.action WHERE action LIKE 'ENDS%';
DROP FUNCTION ends_bye;
