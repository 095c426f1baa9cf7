-- What carrying out a task takes of memory is free again for the next one of the
-- batch: no subtransaction leaves its context behind.
CREATE TABLE remembered (id int PRIMARY KEY);
INSERT INTO remembered SELECT generate_series(1, 100);
CREATE TABLE context (task_id bigint, contexts int);
CREATE FUNCTION remember(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.context SELECT w.task_id, count(*) FROM pg_backend_memory_contexts WHERE name = 'CurTransactionContext';
	RETURN '{}';
END $$;
BEGIN;
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('REMEMBER', 'call', 'public.remember');
INSERT INTO sopflow.sop (sop_id, trigger_event, subject_relation, subject_key) VALUES ('remember', 'REMEMBER', 'remembered', 'id');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, params) VALUES ('remember', 'n', 'REMEMBER', '{"id": "{{subject.id}}"}');
COMMIT;
SELECT count(sopflow.emit('REMEMBER', id)) FROM remembered;
SELECT sopflow.run_due();
SELECT count(*), max(contexts) - min(contexts) AS more FROM context;

-- Nor does a subject that cannot be looked up leave its error there.
SELECT count(sopflow.emit('REMEMBER', 'x' || g)) FROM generate_series(1, 1000) g;
BEGIN;
SELECT sopflow.run_due();
SELECT used_bytes < 500000 AS little FROM pg_backend_memory_contexts WHERE name = 'TopTransactionContext';
COMMIT;
SELECT sopflow.cancel(sop_id => 'remember');

DELETE FROM sopflow.sop WHERE sop_id = 'remember';
DELETE FROM sopflow.action WHERE action = 'REMEMBER';
DROP TABLE remembered, context;
DROP FUNCTION remember;
