-- redrive() of what failed in an SOP that another one runs: its work is done
-- once, and the runs that failed with it go on.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-01 00:00:00+00';
CREATE TABLE fr_done (subject text, node text);
CREATE TABLE fr_fault (node text);
CREATE FUNCTION fr_do(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM public.fr_fault f WHERE f.node = w.node_id) THEN
		RAISE EXCEPTION 'not now';
	END IF;
	INSERT INTO public.fr_done VALUES (w.subject_id, w.node_id);
	RETURN '{}';
END $$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts) VALUES ('FR', 'call', 'public.fr_do', 1);
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('fr c'), ('fr p'), ('fr g');
INSERT INTO sopflow.sop_node (sop_id, node_id, type, action, next, sop_ref) VALUES
	('fr c', 'c1', 'delay', 'FR', 'c2', NULL), ('fr c', 'c2', 'delay', 'FR', NULL, NULL),
	('fr p', 'p1', 'delay', 'FR', 'p2', NULL), ('fr p', 'p2', 'sop', NULL, 'p3', 'fr c'), ('fr p', 'p3', 'delay', 'FR', NULL, NULL),
	('fr g', 'g1', 'sop', NULL, 'g2', 'fr p'), ('fr g', 'g2', 'delay', 'FR', NULL, NULL);
COMMIT;
CREATE FUNCTION fr_show(s text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('run %s: %s', r.sop_id, r.state) FROM sopflow.runs r WHERE r.subject_id = s AND r.sop_id LIKE 'fr %'
	UNION ALL SELECT format('task %s: %s%s', t.node_id, t.status, ' ' || t.held_by)
		FROM sopflow.tasks t WHERE t.subject_id = s AND t.sop_id LIKE 'fr %' AND t.status <> 'done'
	UNION ALL SELECT format('did %s %s times', d.node, count(*)) FROM public.fr_done d WHERE d.subject = s GROUP BY d.node
	ORDER BY 1
$$;
INSERT INTO fr_fault VALUES ('c2');

-- all dead tasks: the innermost goes on, and those around it with it
SELECT sopflow.start('fr g', 'all') > 0;
SELECT sopflow.run_due();
SELECT fr_show('all');
SELECT sopflow.redrive();
SELECT fr_show('all');
-- it fails once more: all as before
SELECT sopflow.run_due();
SELECT fr_show('all');
DELETE FROM fr_fault;
SELECT sopflow.redrive();
SELECT sopflow.run_due();
SELECT fr_show('all');

-- by its action, which the nodes that run SOPs have none of
INSERT INTO fr_fault VALUES ('c1');
SELECT sopflow.start('fr p', 'action') > 0;
SELECT sopflow.run_due();
DELETE FROM fr_fault;
SELECT sopflow.redrive(action => 'FR');
SELECT sopflow.run_due();
SELECT fr_show('action');

-- the node that runs it, by its id: a new run from its beginning
INSERT INTO fr_fault VALUES ('c2');
SELECT sopflow.start('fr p', 'anew') > 0;
SELECT sopflow.run_due();
DELETE FROM fr_fault;
SELECT sopflow.redrive(task_ids => ARRAY(SELECT task_id FROM sopflow.dead_tasks WHERE subject_id = 'anew' AND node_id = 'p2'));
SELECT sopflow.run_due();
SELECT fr_show('anew');
-- what is left dead of the first one then stands for itself
SELECT sopflow.redrive();
SELECT sopflow.run_due();
SELECT fr_show('anew');

-- a run that went on without it: what follows is not done twice
UPDATE sopflow.sop_node SET on_failure = 'continue' WHERE sop_id = 'fr p' AND node_id = 'p2';
INSERT INTO fr_fault VALUES ('c2');
SELECT sopflow.start('fr p', 'on') > 0;
SELECT sopflow.run_due();
SELECT fr_show('on');
DELETE FROM fr_fault;
SELECT sopflow.redrive();
SELECT sopflow.run_due();
SELECT fr_show('on');

DELETE FROM sopflow.sop WHERE sop_id LIKE 'fr %';
DELETE FROM sopflow.action WHERE action = 'FR';
DROP FUNCTION fr_show, fr_do;
DROP TABLE fr_done, fr_fault;
