-- ---------------------------------------------------------------------------
-- What the client's top shows beside statistics: views whose cost does not grow
-- with the number of tasks.
-- ---------------------------------------------------------------------------

CREATE VIEW sopflow.next_tasks AS
	SELECT t.due_at, r.sop_id, v.definition->'nodes'->t.node::int->>'node_id' AS node_id, r.subject_id,
		v.definition->'nodes'->t.node::int->>'action' AS action, t.task_id, t.attempt::int AS attempt
	FROM (SELECT n.* FROM sopflow.task n ORDER BY n.due_at, n.task_id LIMIT 20) t
	LEFT JOIN sopflow.run r ON r.run_id = t.task_id >> 16
	LEFT JOIN sopflow.sop_version v ON v.version_id = t.version_id
	ORDER BY t.due_at, t.task_id;
COMMENT ON VIEW sopflow.next_tasks IS 'The 20 pending tasks that are due first';
COMMENT ON COLUMN sopflow.next_tasks.due_at IS 'When the task is due; while it waits for a retry, when that is';
COMMENT ON COLUMN sopflow.next_tasks.sop_id IS 'SOP';
COMMENT ON COLUMN sopflow.next_tasks.node_id IS 'Node';
COMMENT ON COLUMN sopflow.next_tasks.subject_id IS 'Subject';
COMMENT ON COLUMN sopflow.next_tasks.action IS 'Action; null for a node that only waits';
COMMENT ON COLUMN sopflow.next_tasks.task_id IS 'Task';
COMMENT ON COLUMN sopflow.next_tasks.attempt IS 'Attempts begun';

CREATE VIEW sopflow.backlog AS
	SELECT a.action, o.ready, o.leased
	FROM sopflow.action a
	CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE c.lease_token = 0) AS ready,
			count(*) FILTER (WHERE c.lease_token <> 0) AS leased
		FROM (SELECT f.lease_token FROM sopflow.offer f WHERE f.action_id = a.action_id
			ORDER BY f.due_at, f.task_id LIMIT 10000) c) o
	WHERE o.ready > 0 OR o.leased > 0;
COMMENT ON VIEW sopflow.backlog IS 'How many tasks of each action are ready for consumers or leased by them; of an action with more than 10000, only so many are counted';
COMMENT ON COLUMN sopflow.backlog.action IS 'Action';
COMMENT ON COLUMN sopflow.backlog.ready IS 'Tasks that nobody has fetched';
COMMENT ON COLUMN sopflow.backlog.leased IS 'Tasks that a consumer has fetched';
