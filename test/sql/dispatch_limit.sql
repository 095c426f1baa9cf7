-- max_tasks and max_time bound what one call of run_due() carries out; the rest
-- of a batch stays as it was.
SET TimeZone = 'UTC';
SET sopflow.clock = '2030-06-01 12:00+00';
CREATE TABLE limited (task_id bigint, subject text);
CREATE FUNCTION limited(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.limited VALUES (w.task_id, w.subject_id);
	RETURN '{}';
END $$;
BEGIN;
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('LIMITED', 'call', 'public.limited');
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('limited', 'LIMITED');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('limited', 'n', '1h', 'LIMITED');
COMMIT;
SELECT count(sopflow.emit('LIMITED', g)) FROM generate_series(1, 6) g;
SET sopflow.clock = '2030-06-01 13:00+00';

-- the first handler takes longer than this
SELECT sopflow.run_due(max_time => '1 microsecond');
SELECT subject_id, status, due_at, attempt FROM sopflow.tasks WHERE sop_id = 'limited' ORDER BY task_id;
SELECT sopflow.run_due(max_tasks => 2);
SELECT sopflow.run_due(max_tasks => 0);
SELECT subject, count(*) FROM limited GROUP BY 1 ORDER BY 1;
SELECT sopflow.run_due();
SELECT count(*), count(DISTINCT task_id) FROM limited;
SELECT state, count(*) FROM sopflow.runs WHERE sop_id = 'limited' GROUP BY 1;
SELECT sopflow.run_due(max_tasks => -1);
SELECT sopflow.run_due(max_time => '-1 s');

DELETE FROM sopflow.sop WHERE sop_id = 'limited';
DELETE FROM sopflow.action WHERE action = 'LIMITED';
DROP TABLE limited;
DROP FUNCTION limited;
