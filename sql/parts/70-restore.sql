-- ---------------------------------------------------------------------------
-- Dump and restore, rights.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.restored() RETURNS TABLE (sop_id text, message text)
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	-- that of pg_dump's scripts, which would begin another hold
	SET check_function_bodies = on
AS $$
#variable_conflict use_column
DECLARE
	s record;
	w record;
BEGIN
	PERFORM set_config('sopflow.restoring', 'off', true);
	-- leases died with their consumers' connections
	WITH o AS (DELETE FROM sopflow.offer RETURNING *)
		INSERT INTO sopflow.task (task_id, due_at, version_id, node, shard, attempt, error)
		SELECT o.task_id, o.due_at, o.version_id, o.node, o.shard, o.attempt, o.error FROM o;
	-- column numbers, the OIDs in conditions and the triggers are made anew
	DELETE FROM sopflow.watched x WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = x.relation);
	FOR w IN SELECT x.relation, x.event, x.subject_key, x.context, x.condition, x.time_column, x.on_error, x.on_replica, x.search_path
		FROM sopflow.watched x ORDER BY x.relation::text, x.event
	LOOP
		BEGIN
			-- the path that the condition was written under, for this call only
			PERFORM pg_catalog.set_config('search_path', w.search_path, true);
			PERFORM sopflow.watch(w.relation, w.event, w.subject_key, w.context, w.condition, w.time_column, w.on_error, w.on_replica);
			PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
		EXCEPTION WHEN OTHERS THEN
			DELETE FROM sopflow.watched x WHERE x.relation = w.relation AND x.event = w.event;
			PERFORM sopflow.place_watch(w.relation);
			sop_id := NULL;
			message := format('watch of table %s for event "%s" was taken back: %s', w.relation, w.event, SQLERRM);
			RETURN NEXT;
		END;
	END LOOP;
	-- whose SOP or action did not come along
	FOR s IN DELETE FROM sopflow.sop_node n WHERE NOT EXISTS (SELECT FROM sopflow.sop x WHERE x.sop_id = n.sop_id) RETURNING n.sop_id, n.node_id LOOP
		sop_id := s.sop_id;
		message := format('SOP "%s" does not exist, its node "%s" was deleted', s.sop_id, s.node_id);
		RETURN NEXT;
	END LOOP;
	DELETE FROM sopflow.sop_link l WHERE NOT EXISTS (SELECT FROM sopflow.sop x WHERE x.sop_id = l.sop_id);
	DELETE FROM sopflow.run_state s WHERE NOT EXISTS (SELECT FROM sopflow.run r WHERE r.run_id = s.run_id)
		AND NOT EXISTS (SELECT FROM sopflow.run_history h WHERE h.run_id = s.run_id);
	DELETE FROM sopflow.action_grant g WHERE NOT EXISTS (SELECT FROM sopflow.action a WHERE a.action = g.action);
	FOR s IN WITH gone AS (DELETE FROM sopflow.holiday h WHERE NOT EXISTS (SELECT FROM sopflow.calendar c WHERE c.calendar = h.calendar)
			RETURNING h.calendar)
		SELECT g.calendar, count(*) AS holidays FROM gone g GROUP BY 1 ORDER BY 1
	LOOP
		sop_id := NULL;
		message := format('calendar "%s" does not exist, its holidays were deleted: %s', s.calendar, s.holidays);
		RETURN NEXT;
	END LOOP;
	-- and whose rule set or parameter; a set that loses something is not checked
	-- for it at commit, but below
	PERFORM set_config('sopflow.restoring', 'on', true);
	FOR s IN SELECT 'fact' AS kind, x.rule_set, x.fact::text AS name FROM sopflow.rule_fact x
		UNION ALL SELECT 'quota', x.rule_set, x.quota FROM sopflow.rule_quota x
		UNION ALL SELECT 'parameter', x.rule_set, x.param FROM sopflow.rule_param x
		UNION ALL SELECT 'group', x.rule_set, x.rule_group FROM sopflow.rule_group x
		UNION ALL SELECT 'rule', x.rule_set, x.rule FROM sopflow.rule x
		ORDER BY 2, 1, 3
	LOOP
		CONTINUE WHEN EXISTS (SELECT FROM sopflow.rule_set x WHERE x.rule_set = s.rule_set);
		sop_id := NULL;
		message := format('rule set "%s" does not exist, its %s "%s" was deleted', s.rule_set, s.kind, s.name);
		RETURN NEXT;
	END LOOP;
	DELETE FROM sopflow.rule_fact x WHERE NOT EXISTS (SELECT FROM sopflow.rule_set y WHERE y.rule_set = x.rule_set);
	DELETE FROM sopflow.rule_quota x WHERE NOT EXISTS (SELECT FROM sopflow.rule_set y WHERE y.rule_set = x.rule_set);
	DELETE FROM sopflow.rule_param x WHERE NOT EXISTS (SELECT FROM sopflow.rule_set y WHERE y.rule_set = x.rule_set);
	DELETE FROM sopflow.rule_group x WHERE NOT EXISTS (SELECT FROM sopflow.rule_set y WHERE y.rule_set = x.rule_set);
	DELETE FROM sopflow.rule x WHERE NOT EXISTS (SELECT FROM sopflow.rule_set y WHERE y.rule_set = x.rule_set);
	DELETE FROM sopflow.rule_grant x WHERE NOT EXISTS (SELECT FROM sopflow.rule_set y WHERE y.rule_set = x.rule_set);
	FOR s IN DELETE FROM sopflow.rule_param_override x
		WHERE NOT EXISTS (SELECT FROM sopflow.rule_param y WHERE (y.rule_set, y.param) = (x.rule_set, x.param))
		RETURNING x.rule_set, x.param, x.scope
	LOOP
		sop_id := NULL;
		message := format('parameter "%s" of rule set "%s" does not exist, its override for "%s" was deleted', s.param, s.rule_set, s.scope);
		RETURN NEXT;
	END LOOP;
	PERFORM set_config('sopflow.restoring', 'off', true);
	DELETE FROM sopflow.guarded x WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = x.relation);
	DELETE FROM sopflow.hold;
	PERFORM sopflow.hold_changed();
	FOR s IN SELECT x.sop_id FROM sopflow.sop x WHERE x.enabled ORDER BY x.sop_id LOOP
		BEGIN
			PERFORM sopflow.check_sop(s.sop_id);
		EXCEPTION WHEN OTHERS THEN
			UPDATE sopflow.sop x SET enabled = false WHERE x.sop_id = s.sop_id;
			sop_id := s.sop_id;
			message := SQLERRM;
			RETURN NEXT;
		END;
	END LOOP;
	-- these stay, as open as can be where they are wrong
	FOR s IN SELECT x.calendar FROM sopflow.calendar x ORDER BY x.calendar LOOP
		BEGIN
			PERFORM sopflow.check_calendar(s.calendar);
		EXCEPTION WHEN OTHERS THEN
			sop_id := NULL;
			message := SQLERRM;
			RETURN NEXT;
		END;
	END LOOP;
	-- these stay enabled: what they guard is refused until they are right again
	FOR s IN SELECT x.rule_set FROM sopflow.rule_set x WHERE x.enabled ORDER BY x.rule_set LOOP
		BEGIN
			PERFORM sopflow.check_rule_set(s.rule_set);
		EXCEPTION WHEN OTHERS THEN
			sop_id := NULL;
			message := SQLERRM;
			RETURN NEXT;
		END;
	END LOOP;
	FOR s IN SELECT x.relation, x.rule_set FROM sopflow.guarded x
		WHERE NOT EXISTS (SELECT FROM sopflow.rule_set y WHERE y.rule_set = x.rule_set)
		ORDER BY x.relation::text, x.rule_set
	LOOP
		sop_id := NULL;
		message := format('rule set "%s" does not exist, but table %s is guarded by it', s.rule_set, s.relation);
		RETURN NEXT;
	END LOOP;
	PERFORM sopflow.wake();
END
$$;
COMMENT ON FUNCTION sopflow.restored() IS 'Ends the hold after a restore: checks every SOP and watch, disables and lists those that are not valid, lists rule sets that are not valid, makes leased tasks pending, lets the worker go on';

CREATE FUNCTION sopflow.wake() RETURNS void LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_wake';
COMMENT ON FUNCTION sopflow.wake() IS 'Wakes the worker when this transaction commits, to look at everything that is due';

SELECT pg_catalog.pg_extension_config_dump('sopflow.action', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.action_action_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_node', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_node_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_link', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.calendar', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.holiday', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_version', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_version_version_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.action_grant', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.watched', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_set', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_fact', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_quota', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_param', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_param_override', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_group', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_rule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.rule_grant', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.guarded', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.run', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.task', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.held', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.offer', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.lease_token_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.dead', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.run_state', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.ingest_offset', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.action_state', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.alert', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.alert_alert_id_seq', '');

-- Nothing is granted to PUBLIC: see grant_author, grant_action, grant_consumer
-- and the role recipes of the README.
REVOKE ALL ON ALL TABLES IN SCHEMA sopflow FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA sopflow FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sopflow FROM PUBLIC;
REVOKE ALL ON SCHEMA sopflow FROM PUBLIC;
-- The owner of a watched partitioned table makes its trigger anew with every
-- partition; without a watch it does nothing, and the schema stays closed.
GRANT EXECUTE ON FUNCTION sopflow.intake() TO PUBLIC;
-- Functions of the CRM pack have no rights but their caller's, and everybody
-- may know the time.
GRANT EXECUTE ON FUNCTION sopflow.now() TO PUBLIC;
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
		WHERE p.pronamespace = 'sopflow'::regnamespace AND p.proname LIKE E'crm\\_%'
			AND p.proname NOT LIKE E'crm\\_make\\_%' AND p.proname <> 'crm_prefix'
	LOOP
		EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f);
	END LOOP;
END
$$;
