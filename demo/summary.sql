-- What became of it. The variable "began" is the time when the load had committed.
\pset footer off
\pset border 1
\pset null ''

\echo
\echo Runs
SELECT sop_id AS sop, state, count(*) AS runs
FROM sopflow.runs GROUP BY 1, 2 ORDER BY 1, 2;

\echo Tasks
SELECT sop_id AS sop, node_id AS node, action,
       count(*) FILTER (WHERE status = 'done') AS done,
       count(*) FILTER (WHERE status IN ('ready', 'leased')) AS in_hand,
       count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status IN ('dead', 'cancelled', 'skipped')) AS other
FROM sopflow.tasks GROUP BY 1, 2, 3 ORDER BY 1, 2;

\echo Tasks that came due while running: milliseconds from the due time until done
SELECT a.delivery, t.action, count(*) AS tasks,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY t.ms)::numeric, 1) AS p50,
       round(percentile_cont(0.99) WITHIN GROUP (ORDER BY t.ms)::numeric, 1) AS p99
FROM (SELECT action, extract(epoch FROM finished_at - due_at) * 1000 AS ms
      FROM sopflow.tasks
      WHERE status = 'done' AND due_at > :'began'::timestamptz) AS t
JOIN sopflow.action AS a USING (action)
GROUP BY 1, 2 ORDER BY 1, 2;
