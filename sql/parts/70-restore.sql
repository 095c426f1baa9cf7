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
	DELETE FROM sopflow.action_grant g WHERE NOT EXISTS (SELECT FROM sopflow.action a WHERE a.action = g.action);
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
	PERFORM sopflow.wake();
END
$$;
COMMENT ON FUNCTION sopflow.restored() IS 'Ends the hold after a restore: checks every SOP and watch, disables and lists those that are not valid, makes leased tasks pending, lets the worker go on';

CREATE FUNCTION sopflow.wake() RETURNS void LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_wake';
COMMENT ON FUNCTION sopflow.wake() IS 'Wakes the worker when this transaction commits, to look at everything that is due';

SELECT pg_catalog.pg_extension_config_dump('sopflow.action', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.action_action_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_node', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_node_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_version', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.sop_version_version_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.action_grant', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.watched', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.run', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.task', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.held', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.offer', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.lease_token_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sopflow.dead', '');
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
