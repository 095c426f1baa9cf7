-- ---------------------------------------------------------------------------
-- Dump and restore, rights.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.restored() RETURNS TABLE (sop_id text, message text)
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
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
	FOR w IN SELECT x.relation, x.event, x.subject_key, x.context, x.condition, x.time_column, x.on_error, x.on_replica
		FROM sopflow.watched x WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = x.relation)
	LOOP
		PERFORM sopflow.watch(w.relation, w.event, w.subject_key, w.context, w.condition, w.time_column, w.on_error, w.on_replica);
	END LOOP;
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
COMMENT ON FUNCTION sopflow.restored() IS 'Ends the hold after a restore: checks every SOP, disables and lists those that are not valid, makes leased tasks pending, lets the worker go on';

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
