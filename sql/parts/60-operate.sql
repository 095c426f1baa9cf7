-- ---------------------------------------------------------------------------
-- Operation: what the workers do, what is wrong, and pg_cron in their place.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.stats_values(OUT name text, OUT value float8)
	RETURNS SETOF record LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_stats_values';
COMMENT ON FUNCTION sopflow.stats_values() IS 'Counters of this database, behind the view stats';
REVOKE ALL ON FUNCTION sopflow.stats_values() FROM PUBLIC;

CREATE FUNCTION sopflow.action_stats_values(OUT action_id int, OUT done bigint, OUT failed bigint,
		OUT dead bigint, OUT timed bigint, OUT total_ms float8, OUT p50_ms float8, OUT p99_ms float8)
	RETURNS SETOF record LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_action_stats_values';
COMMENT ON FUNCTION sopflow.action_stats_values() IS 'Counters of the actions of this database, behind the view action_stats';
REVOKE ALL ON FUNCTION sopflow.action_stats_values() FROM PUBLIC;

CREATE FUNCTION sopflow.rule_stats_values(OUT rule_id int, OUT evaluated bigint, OUT fired bigint,
		OUT denied bigint, OUT failed bigint)
	RETURNS SETOF record LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_rule_stats_values';
COMMENT ON FUNCTION sopflow.rule_stats_values() IS 'Counters of the rules of this database, behind the view rule_stats';
REVOKE ALL ON FUNCTION sopflow.rule_stats_values() FROM PUBLIC;

CREATE FUNCTION sopflow.worker_status_values(OUT dboid oid, OUT worker int, OUT pid int, OUT state text,
		OUT started_at timestamptz, OUT next_wakeup timestamptz, OUT low_water timestamptz,
		OUT passes bigint, OUT tasks bigint, OUT last_error text, OUT last_error_at timestamptz)
	RETURNS SETOF record LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_worker_status_values';
COMMENT ON FUNCTION sopflow.worker_status_values() IS 'Workers of all databases, behind the view worker_status';
REVOKE ALL ON FUNCTION sopflow.worker_status_values() FROM PUBLIC;

CREATE FUNCTION sopflow.dispatcher(OUT preloaded bool, OUT launcher_pid int, OUT workers int,
		OUT workers_wanted int, OUT worker_shortage bool, OUT database_shortage bool)
	RETURNS record LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_dispatcher';
COMMENT ON FUNCTION sopflow.dispatcher() IS 'Whether the launcher runs, how many workers serve this database, and what keeps it from starting more';
REVOKE ALL ON FUNCTION sopflow.dispatcher() FROM PUBLIC;

CREATE FUNCTION sopflow.reset_stats() RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_reset_stats';
COMMENT ON FUNCTION sopflow.reset_stats() IS 'Set the counters and histograms of this database back to zero';
REVOKE ALL ON FUNCTION sopflow.reset_stats() FROM PUBLIC;

CREATE VIEW sopflow.stats AS
	SELECT s.name, s.value FROM sopflow.stats_values() s;
COMMENT ON VIEW sopflow.stats IS 'Counters of this database since the server started or reset_stats()';
COMMENT ON COLUMN sopflow.stats.name IS 'Name of the counter; dispatch_delay_* say how long after its due time a task was taken up';
COMMENT ON COLUMN sopflow.stats.value IS 'Its value; names ending in _ms are milliseconds, the others counts';

CREATE VIEW sopflow.action_stats AS
	SELECT a.action, s.done, s.failed, s.dead,
		s.done / NULLIF(s.done + s.failed + s.dead, 0)::float8 AS success_ratio,
		s.total_ms / NULLIF(s.timed, 0) AS avg_ms, s.p50_ms, s.p99_ms
	FROM sopflow.action_stats_values() s
	JOIN sopflow.action a USING (action_id);
COMMENT ON VIEW sopflow.action_stats IS 'Attempts by action since the server started or reset_stats(), for up to 512 actions of the server';
COMMENT ON COLUMN sopflow.action_stats.action IS 'Action';
COMMENT ON COLUMN sopflow.action_stats.done IS 'Attempts that succeeded';
COMMENT ON COLUMN sopflow.action_stats.failed IS 'Attempts that failed and are tried again';
COMMENT ON COLUMN sopflow.action_stats.dead IS 'Attempts that failed and were the last';
COMMENT ON COLUMN sopflow.action_stats.success_ratio IS 'Share of the attempts that succeeded';
COMMENT ON COLUMN sopflow.action_stats.avg_ms IS 'Mean duration of an attempt, where it is known';
COMMENT ON COLUMN sopflow.action_stats.p50_ms IS 'Median duration, to about an eighth of its value';
COMMENT ON COLUMN sopflow.action_stats.p99_ms IS '99th percentile of the duration, to about an eighth of its value';

CREATE VIEW sopflow.rule_stats AS
	SELECT r.rule_set, r.rule, s.evaluated, s.fired, s.denied, s.failed
	FROM sopflow.rule_stats_values() s
	JOIN sopflow.rule r USING (rule_id);
COMMENT ON VIEW sopflow.rule_stats IS 'What rules did in ended transactions since the server started or reset_stats(), for up to about 8000 rules of the server';
COMMENT ON COLUMN sopflow.rule_stats.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule_stats.rule IS 'Rule';
COMMENT ON COLUMN sopflow.rule_stats.evaluated IS 'Times that its condition was evaluated; not those where an index left it out';
COMMENT ON COLUMN sopflow.rule_stats.fired IS 'Times that its actions were carried out';
COMMENT ON COLUMN sopflow.rule_stats.denied IS 'Times that it denied';
COMMENT ON COLUMN sopflow.rule_stats.failed IS 'Errors in its condition or actions';

CREATE VIEW sopflow.worker_status AS
	SELECT d.datname AS database, s.worker, s.pid, s.state, s.started_at, s.next_wakeup, s.low_water,
		s.passes, s.tasks, s.last_error, s.last_error_at
	FROM sopflow.worker_status_values() s
	JOIN pg_catalog.pg_database d ON d.oid = s.dboid;
COMMENT ON VIEW sopflow.worker_status IS 'Workers of all databases of this server';
COMMENT ON COLUMN sopflow.worker_status.database IS 'Database that the worker serves';
COMMENT ON COLUMN sopflow.worker_status.worker IS 'Number of the worker, from 0; it owns the shards whose number modulo sopflow.workers is this';
COMMENT ON COLUMN sopflow.worker_status.pid IS 'Process';
COMMENT ON COLUMN sopflow.worker_status.state IS 'starting, working, waiting, held (after a restore), locked (the extension is being dropped) or backoff (after an error)';
COMMENT ON COLUMN sopflow.worker_status.started_at IS 'When the process started';
COMMENT ON COLUMN sopflow.worker_status.next_wakeup IS 'When it wakes by itself; null while it works';
COMMENT ON COLUMN sopflow.worker_status.low_water IS 'No pending task of its shards is due earlier; null: not known yet';
COMMENT ON COLUMN sopflow.worker_status.passes IS 'Dispatch transactions since it started';
COMMENT ON COLUMN sopflow.worker_status.tasks IS 'Tasks that it has taken up since it started';
COMMENT ON COLUMN sopflow.worker_status.last_error IS 'Its last error that was not a task''s';
COMMENT ON COLUMN sopflow.worker_status.last_error_at IS 'When that was';

-- ---------------------------------------------------------------------------
-- Health: one row for each thing that is wrong, none when all is well.
-- ---------------------------------------------------------------------------

-- Who dispatches, and who does not.
CREATE VIEW sopflow.health_dispatch AS
	SELECT h.severity, h.code, h.message, h.hint
	FROM sopflow.dispatcher() d
	CROSS JOIN LATERAL (VALUES
		(NOT d.preloaded, 'warning', 'not_preloaded',
			'sopflow is not preloaded, so no worker carries out due tasks',
			'Add sopflow to shared_preload_libraries and restart, or have a scheduler call sopflow.run_due(); see sopflow.use_pg_cron().'),
		(d.preloaded AND pg_catalog.pg_is_in_recovery(), 'info', 'standby',
			'this server is a standby; workers start when it is promoted', NULL),
		(d.preloaded AND d.launcher_pid IS NULL AND NOT pg_catalog.pg_is_in_recovery(), 'error', 'no_launcher',
			'the sopflow launcher is not running',
			'The server restarts it within seconds; if this stays, raise max_worker_processes and look at the server log.'),
		(d.preloaded AND d.launcher_pid IS NOT NULL AND d.workers = 0, 'error', 'no_worker',
			'no worker serves this database',
			pg_catalog.format('sopflow.databases is %L. Look at worker_slots and database_slots here, and at the server log.',
				pg_catalog.current_setting('sopflow.databases', true))),
		(d.workers > 0 AND d.workers < d.workers_wanted, 'warning', 'few_workers',
			pg_catalog.format('%s of %s workers serve this database', d.workers, d.workers_wanted),
			'The tasks of the missing workers'' shards wait. The launcher starts them as soon as it can.'),
		(d.worker_shortage, 'error', 'worker_slots',
			'the server has no free slot for another worker', 'Raise max_worker_processes and restart.'),
		(d.database_shortage, 'error', 'database_slots',
			'more databases have the extension than sopflow.max_databases allows for',
			'Raise sopflow.max_databases and restart, or name the databases to serve in sopflow.databases.'))
		AS h(applies, severity, code, message, hint)
	WHERE h.applies
UNION ALL
	SELECT 'error', 'held',
		pg_catalog.format('the database is held since %s (%s): nothing is dispatched', h.held_since, h.reason),
		'When all data is restored, run SELECT sopflow.restored().'
	FROM sopflow.hold h
UNION ALL
	SELECT CASE s.state WHEN 'backoff' THEN 'error' ELSE 'warning' END,
		CASE s.state WHEN 'backoff' THEN 'worker_backoff' ELSE 'worker_error' END,
		pg_catalog.format('worker %s had an error at %s: %s', s.worker, s.last_error_at, s.last_error),
		'The server log has the whole error.'
	FROM sopflow.dispatcher() d
	CROSS JOIN LATERAL sopflow.worker_status_values() s
	WHERE d.preloaded
		AND s.dboid = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())
		AND (s.state = 'backoff' OR s.last_error_at > pg_catalog.clock_timestamp() - interval '10 minutes');
COMMENT ON VIEW sopflow.health_dispatch IS 'The part of health about the launcher and the workers';
COMMENT ON COLUMN sopflow.health_dispatch.severity IS 'error, warning or info';
COMMENT ON COLUMN sopflow.health_dispatch.code IS 'A word for programs';
COMMENT ON COLUMN sopflow.health_dispatch.message IS 'What is wrong';
COMMENT ON COLUMN sopflow.health_dispatch.hint IS 'What to do about it';

-- Tasks that do not move, and why.
CREATE VIEW sopflow.health_tasks AS
	SELECT 'warning' AS severity, 'overdue' AS code,
		pg_catalog.format('the oldest pending task has been due since %s', t.due_at) AS message,
		'Workers are behind, or none runs. The lines about workers, locks and snapshots say which.' AS hint
	FROM (SELECT t.due_at FROM sopflow.task t ORDER BY t.due_at, t.task_id LIMIT 1) t
	WHERE t.due_at < sopflow.now() - interval '1 minute'
UNION ALL
	SELECT 'warning', 'no_consumer',
		pg_catalog.format('tasks of action "%s" are ready since %s and nobody has fetched them', a.action, o.due_at),
		pg_catalog.format('Start a consumer: it listens on channel "%s" and calls sopflow.fetch(array[%L]).', a.channel, a.action)
	FROM sopflow.action a
	CROSS JOIN LATERAL (SELECT o.due_at FROM sopflow.offer o
		WHERE o.action_id = a.action_id AND o.lease_token = 0
		ORDER BY o.due_at, o.task_id LIMIT 1) o
	WHERE o.due_at < sopflow.now() - interval '1 minute'
UNION ALL
	SELECT 'warning', 'dead_tasks',
		pg_catalog.format('%s dead', CASE d.n WHEN 1 THEN '1 task is' WHEN 1001 THEN 'more than 1000 tasks are' ELSE d.n || ' tasks are' END),
		'sopflow.dead_tasks shows their errors; sopflow.redrive() puts them back.'
	FROM (SELECT pg_catalog.count(*) AS n FROM (SELECT FROM sopflow.dead LIMIT 1001) d) d
	WHERE d.n > 0
UNION ALL
	SELECT 'info', 'sop_paused', pg_catalog.format('SOP "%s" is paused', s.sop_id),
		pg_catalog.format('SELECT sopflow.resume(%L) lets its due tasks go.', s.sop_id)
	FROM sopflow.sop s
	WHERE s.paused
UNION ALL
	SELECT CASE WHEN h.since IS NULL THEN 'info' ELSE 'warning' END,
		CASE WHEN a.paused THEN 'action_paused' ELSE 'action_disabled' END,
		pg_catalog.format('action "%s" is %s', a.action, CASE WHEN a.paused THEN 'paused' ELSE 'disabled' END)
			|| CASE WHEN h.since IS NULL THEN '' ELSE pg_catalog.format(' and holds tasks due since %s', h.since) END,
		CASE WHEN a.paused THEN pg_catalog.format('SELECT sopflow.resume_action(%L) lets them go.', a.action)
			ELSE pg_catalog.format('UPDATE sopflow.action SET enabled = true WHERE action = %L lets them go.', a.action) END
	FROM sopflow.action a
	LEFT JOIN LATERAL (SELECT min(h.due_at) AS since
		FROM sopflow.held h
		JOIN sopflow.sop_version v USING (version_id)
		WHERE h.held_by = 'action' AND v.definition->'nodes'->h.node::int->>'action' = a.action) h ON true
	WHERE a.paused OR NOT a.enabled
UNION ALL
	SELECT 'error', 'owner_gone', pg_catalog.format('the owner of %s "%s" is gone, so it is not run', pg_catalog.replace(o.kind, '_', ' '), o.name),
		pg_catalog.format('UPDATE sopflow.%I SET owner = ... WHERE %I = %L gives it another one.', o.kind, o.key, o.name)
	FROM (SELECT 'sop' AS kind, 'sop_id' AS key, s.sop_id AS name, s.owner FROM sopflow.sop s
		UNION ALL SELECT 'action', 'action', a.action, a.owner FROM sopflow.action a
		UNION ALL SELECT 'rule_set', 'rule_set', r.rule_set, r.owner FROM sopflow.rule_set r) o
	WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = o.owner)
UNION ALL
	SELECT 'warning', 'alerts_unsent',
		pg_catalog.format('an alert raised at %s has not been sent', a.raised_at),
		'Alerts are sent by the worker or by sopflow.run_due().'
	FROM (SELECT a.raised_at FROM sopflow.alert a WHERE a.sent_at IS NULL ORDER BY a.alert_id LIMIT 1) a
	WHERE a.raised_at < sopflow.now() - interval '1 minute';
COMMENT ON VIEW sopflow.health_tasks IS 'The part of health about tasks that do not move';
COMMENT ON COLUMN sopflow.health_tasks.severity IS 'error, warning or info';
COMMENT ON COLUMN sopflow.health_tasks.code IS 'A word for programs';
COMMENT ON COLUMN sopflow.health_tasks.message IS 'What is wrong';
COMMENT ON COLUMN sopflow.health_tasks.hint IS 'What to do about it';

-- What in the server slows dispatch down.  Other users' sessions are named to
-- members of pg_read_all_stats only.
CREATE VIEW sopflow.health_server AS
	SELECT 'warning' AS severity, 'snapshot_session' AS code,
		pg_catalog.format('session %s of %s (%s, %s) has kept old rows from being cleaned up since %s',
			s.pid, coalesce(s.usename, 'nobody'), coalesce(NULLIF(s.application_name, ''), s.backend_type), s.state, s.xact_start) AS message,
		pg_catalog.format('End its transaction, or SELECT pg_terminate_backend(%s).', s.pid) AS hint
	FROM pg_catalog.pg_stat_activity s
	WHERE s.backend_xmin IS NOT NULL AND s.xact_start < pg_catalog.clock_timestamp() - interval '5 minutes'
		AND s.backend_type <> 'walsender'
UNION ALL
	SELECT 'warning', 'snapshot_prepared',
		pg_catalog.format('prepared transaction %L of %s has kept old rows from being cleaned up since %s', p.gid, p.owner, p.prepared),
		pg_catalog.format('COMMIT PREPARED %L or ROLLBACK PREPARED %L in database %I.', p.gid, p.gid, p.database)
	FROM pg_catalog.pg_prepared_xacts p
	WHERE p.prepared < pg_catalog.clock_timestamp() - interval '5 minutes'
UNION ALL
	SELECT 'warning', 'snapshot_slot',
		pg_catalog.format('replication slot %I (%s) keeps the rows of %s transactions from being cleaned up',
			r.slot_name, CASE WHEN r.active THEN 'active' ELSE 'inactive' END, x.age),
		CASE WHEN r.active THEN 'Look for long queries on the standby that has hot_standby_feedback on, or a subscriber that lags.'
			ELSE pg_catalog.format('Start its consumer, or SELECT pg_drop_replication_slot(%L).', r.slot_name) END
	FROM pg_catalog.pg_replication_slots r
	CROSS JOIN LATERAL (SELECT greatest(pg_catalog.age(r.xmin), pg_catalog.age(r.catalog_xmin)) AS age) x
	WHERE x.age > 100000
UNION ALL
	SELECT 'error', 'notify_queue',
		pg_catalog.format('the NOTIFY queue is %s%% full', pg_catalog.round((u.usage * 100)::numeric)),
		'A session that listens has a transaction open and does not read; the server log names it. When the queue is full, doorbells and broadcasts wait.'
	FROM (SELECT pg_catalog.pg_notification_queue_usage() AS usage) u
	WHERE u.usage > 0.5;
COMMENT ON VIEW sopflow.health_server IS 'The part of health about what in the server slows dispatch down';
COMMENT ON COLUMN sopflow.health_server.severity IS 'error, warning or info';
COMMENT ON COLUMN sopflow.health_server.code IS 'A word for programs';
COMMENT ON COLUMN sopflow.health_server.message IS 'What is wrong';
COMMENT ON COLUMN sopflow.health_server.hint IS 'What to do about it';

CREATE VIEW sopflow.health AS
	SELECT h.severity, h.code, h.message, h.hint
	FROM (SELECT * FROM sopflow.health_dispatch
		UNION ALL SELECT * FROM sopflow.health_tasks
		UNION ALL SELECT * FROM sopflow.health_server
		UNION ALL SELECT * FROM sopflow.health_guards) h
	ORDER BY pg_catalog.array_position(ARRAY['error', 'warning', 'info'], h.severity), h.code, h.message;
COMMENT ON VIEW sopflow.health IS 'What is wrong, in words; no row when all is well';
COMMENT ON COLUMN sopflow.health.severity IS 'error: tasks are not carried out, or tables not held to their rules; warning: tasks may be late, or rules passed by; info: as somebody has asked for';
COMMENT ON COLUMN sopflow.health.code IS 'A word for programs';
COMMENT ON COLUMN sopflow.health.message IS 'What is wrong';
COMMENT ON COLUMN sopflow.health.hint IS 'What to do about it';

-- ---------------------------------------------------------------------------
-- Prometheus
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.metric_labels(VARIADIC pairs text[]) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '{' || pg_catalog.string_agg(pairs[i] || '="' ||
		pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pairs[i + 1],
			E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') || '"', ',' ORDER BY i) || '}'
	FROM pg_catalog.generate_series(1, pg_catalog.array_length(pairs, 1), 2) AS i;
END;
COMMENT ON FUNCTION sopflow.metric_labels(text[]) IS 'Names and values, in turn, as the labels of a metric';
REVOKE ALL ON FUNCTION sopflow.metric_labels(text[]) FROM PUBLIC;

CREATE FUNCTION sopflow.metrics() RETURNS text
	LANGUAGE sql VOLATILE PARALLEL RESTRICTED
BEGIN ATOMIC
	WITH db AS MATERIALIZED (
		SELECT pg_catalog.current_database()::text AS name, d.* FROM sopflow.dispatcher() d
	), stats AS MATERIALIZED (
		SELECT s.name, s.value FROM db CROSS JOIN LATERAL sopflow.stats_values() s WHERE db.preloaded
	), actions AS MATERIALIZED (
		SELECT a.action, s.* FROM db CROSS JOIN LATERAL sopflow.action_stats_values() s
		JOIN sopflow.action a USING (action_id) WHERE db.preloaded
	), rules AS MATERIALIZED (
		SELECT r.rule_set, r.rule, s.* FROM db CROSS JOIN LATERAL sopflow.rule_stats_values() s
		JOIN sopflow.rule r USING (rule_id) WHERE db.preloaded
	), family (family, type, help) AS (VALUES
		('events_total', 'counter', 'Events taken in'),
		('events_null_subject_total', 'counter', 'Watched rows whose subject key is null'),
		('intake_errors_total', 'counter', 'Watched rows that were inserted without their event'),
		('runs_started_total', 'counter', 'Runs started'),
		('runs_ended_total', 'counter', 'Runs ended'),
		('tasks_created_total', 'counter', 'Tasks created'),
		('tasks_done_total', 'counter', 'Tasks done'),
		('tasks_skipped_total', 'counter', 'Tasks skipped because they were too late'),
		('tasks_cancelled_total', 'counter', 'Tasks cancelled'),
		('tasks_dead_total', 'counter', 'Tasks that failed for good'),
		('attempts_failed_total', 'counter', 'Attempts that failed'),
		('leases_total', 'counter', 'Tasks leased to consumers'),
		('leases_expired_total', 'counter', 'Leases that ended without an acknowledgement'),
		('notifications_total', 'counter', 'Notifications sent'),
		('wakeups_commit_total', 'counter', 'Wake-ups of workers by a commit'),
		('wakeups_timer_total', 'counter', 'Wake-ups of workers by a due time'),
		('wakeups_reconcile_total', 'counter', 'Wake-ups of workers by the reconcile'),
		('wakeups_other_total', 'counter', 'Wake-ups of workers by anything else'),
		('passes_total', 'counter', 'Dispatch transactions of workers'),
		('dispatch_delay_seconds', 'summary', 'From the due time of a task to its being taken up'),
		('dispatch_delay_max_seconds', 'gauge', 'Longest dispatch delay since the counters were reset'),
		('action_attempts_total', 'counter', 'Attempts by action and outcome'),
		('action_duration_seconds', 'summary', 'Duration of attempts by action'),
		('rule_evaluated_total', 'counter', 'Evaluations of conditions by rule'),
		('rule_fired_total', 'counter', 'Rules whose actions were carried out'),
		('rule_denied_total', 'counter', 'Denials by rule'),
		('rule_failed_total', 'counter', 'Errors in conditions and actions by rule'),
		('launcher_up', 'gauge', 'Whether the launcher runs'),
		('workers', 'gauge', 'Workers that serve this database'),
		('overdue_seconds', 'gauge', 'How long the oldest pending task is overdue'),
		('health_findings', 'gauge', 'Rows of the view health by severity')
	), sample (family, suffix, labels, value) AS (
		SELECT s.name || '_total', '', sopflow.metric_labels('database', db.name), s.value
		FROM stats s CROSS JOIN db
		WHERE s.name NOT LIKE E'dispatch\\_delay\\_%'
	UNION ALL
		SELECT 'dispatch_delay_seconds', m.suffix,
			CASE WHEN m.quantile IS NULL THEN sopflow.metric_labels('database', db.name)
				ELSE sopflow.metric_labels('database', db.name, 'quantile', m.quantile) END,
			s.value / m.divisor
		FROM stats s CROSS JOIN db
		JOIN (VALUES ('dispatch_delay_p50_ms', '', '0.5', 1000.0::float8),
			('dispatch_delay_p99_ms', '', '0.99', 1000.0),
			('dispatch_delay_sum_ms', '_sum', NULL, 1000.0),
			('dispatch_delay_count', '_count', NULL, 1.0)) AS m(name, suffix, quantile, divisor) ON m.name = s.name
	UNION ALL
		SELECT 'dispatch_delay_max_seconds', '', sopflow.metric_labels('database', db.name), s.value / 1000
		FROM stats s CROSS JOIN db
		WHERE s.name = 'dispatch_delay_max_ms'
	UNION ALL
		SELECT 'action_attempts_total', '',
			sopflow.metric_labels('database', db.name, 'action', a.action, 'outcome', o.outcome), o.n::float8
		FROM actions a CROSS JOIN db
		CROSS JOIN LATERAL (VALUES ('done', a.done), ('failed', a.failed), ('dead', a.dead)) AS o(outcome, n)
	UNION ALL
		SELECT 'action_duration_seconds', m.suffix,
			CASE WHEN m.quantile IS NULL THEN sopflow.metric_labels('database', db.name, 'action', a.action)
				ELSE sopflow.metric_labels('database', db.name, 'action', a.action, 'quantile', m.quantile) END,
			m.value
		FROM actions a CROSS JOIN db
		CROSS JOIN LATERAL (VALUES ('', '0.5', a.p50_ms / 1000), ('', '0.99', a.p99_ms / 1000),
			('_sum', NULL, a.total_ms / 1000), ('_count', NULL, a.timed::float8)) AS m(suffix, quantile, value)
		WHERE a.timed > 0
	UNION ALL
		SELECT m.family, '', sopflow.metric_labels('database', db.name, 'rule_set', r.rule_set, 'rule', r.rule), m.n::float8
		FROM rules r CROSS JOIN db
		CROSS JOIN LATERAL (VALUES ('rule_evaluated_total', r.evaluated), ('rule_fired_total', r.fired),
			('rule_denied_total', r.denied), ('rule_failed_total', r.failed)) AS m(family, n)
	UNION ALL
		SELECT 'launcher_up', '', sopflow.metric_labels('database', db.name), (db.launcher_pid IS NOT NULL)::int::float8
		FROM db
	UNION ALL
		SELECT 'workers', '', sopflow.metric_labels('database', db.name), db.workers::float8
		FROM db
	UNION ALL
		SELECT 'overdue_seconds', '', sopflow.metric_labels('database', db.name),
			greatest(0, extract(epoch FROM sopflow.now() - (SELECT t.due_at FROM sopflow.task t
				WHERE t.due_at < sopflow.now() ORDER BY t.due_at, t.task_id LIMIT 1))::float8)
		FROM db
	UNION ALL
		SELECT 'health_findings', '', sopflow.metric_labels('database', db.name, 'severity', v.severity),
			(SELECT pg_catalog.count(*) FROM sopflow.health h WHERE h.severity = v.severity)::float8
		FROM db CROSS JOIN (VALUES ('error'), ('warning'), ('info')) AS v(severity)
	)
	SELECT pg_catalog.string_agg(block.text, '' ORDER BY block.ordinality)
	FROM (SELECT f.ordinality, pg_catalog.format(E'# HELP sopflow_%s %s\n# TYPE sopflow_%s %s\n', f.family, f.help, f.family, f.type)
			|| pg_catalog.string_agg(pg_catalog.format(E'sopflow_%s%s%s %s\n', s.family, s.suffix, s.labels, s.value), ''
				ORDER BY s.suffix, s.labels COLLATE "C") AS text
		FROM (SELECT family.*, pg_catalog.row_number() OVER () AS ordinality FROM family) f
		JOIN sample s ON s.family = f.family
		GROUP BY f.ordinality, f.family, f.help, f.type) block;
END;
COMMENT ON FUNCTION sopflow.metrics() IS 'Counters and gauges of this database in Prometheus'' text form';
REVOKE ALL ON FUNCTION sopflow.metrics() FROM PUBLIC;

-- ---------------------------------------------------------------------------
-- pg_cron in place of a worker
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.use_pg_cron(schedule text DEFAULT '* * * * *') RETURNS bigint
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	job bigint;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'SF004',
			MESSAGE = 'pg_cron is not installed in this database',
			HINT = format('In the database that has pg_cron%s, run: SELECT cron.schedule_in_database(%L, %L, %L, %L)',
				coalesce(' (' || quote_ident(NULLIF(current_setting('cron.database_name', true), '')) || ')', ''),
				'sopflow in ' || current_database(), schedule, 'SELECT sopflow.run_due()', current_database());
	END IF;
	EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO job
		USING 'sopflow', schedule, 'SELECT sopflow.run_due()';
	RETURN job;
END
$$;
COMMENT ON FUNCTION sopflow.use_pg_cron(text) IS 'Have pg_cron call run_due() on this schedule; returns the number of its job';
REVOKE ALL ON FUNCTION sopflow.use_pg_cron(text) FROM PUBLIC;

CREATE FUNCTION sopflow.stop_pg_cron() RETURNS bool
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stopped bool := false;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'SF004',
			MESSAGE = 'pg_cron is not installed in this database',
			HINT = format('In the database that has pg_cron%s, run: SELECT cron.unschedule(%L)',
				coalesce(' (' || quote_ident(NULLIF(current_setting('cron.database_name', true), '')) || ')', ''),
				'sopflow in ' || current_database());
	END IF;
	EXECUTE 'SELECT pg_catalog.bool_or(cron.unschedule(j.jobid)) FROM cron.job j WHERE j.jobname = $1 AND j.username = current_user'
		INTO stopped USING 'sopflow';
	RETURN coalesce(stopped, false);
END
$$;
COMMENT ON FUNCTION sopflow.stop_pg_cron() IS 'Take back use_pg_cron(); false: there was no such job of this user';
REVOKE ALL ON FUNCTION sopflow.stop_pg_cron() FROM PUBLIC;
