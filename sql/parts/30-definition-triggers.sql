-- ---------------------------------------------------------------------------
-- Triggers of the definition tables: rights at once, news to all sessions,
-- the check of the whole at commit.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.definition_row() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_definition_row';
COMMENT ON FUNCTION sopflow.definition_row() IS 'Row trigger of definition tables: demands that the writer is a member of the owner';
CREATE FUNCTION sopflow.definition_after() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_definition_after';
COMMENT ON FUNCTION sopflow.definition_after() IS 'Row trigger of definition tables: tells all sessions, releases held tasks';
CREATE FUNCTION sopflow.definition_check() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_definition_check';
COMMENT ON FUNCTION sopflow.definition_check() IS 'Deferred trigger of definition tables: checks the whole SOP and makes its version';
CREATE FUNCTION sopflow.storage_restored() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_storage_restored';
COMMENT ON FUNCTION sopflow.storage_restored() IS 'Statement trigger of storage tables: holds the database while a dump is restored';
CREATE FUNCTION sopflow.check_sop(sop_id text) RETURNS void LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_check_sop';
COMMENT ON FUNCTION sopflow.check_sop(text) IS 'Checks an SOP now and makes its version; an error (SF001) where it is not valid';
CREATE FUNCTION sopflow.hold_changed() RETURNS void LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_hold_changed';
COMMENT ON FUNCTION sopflow.hold_changed() IS 'Tells all sessions that the hold after a restore began or ended';
CREATE FUNCTION sopflow.validate(sop_id text)
	RETURNS TABLE (node_id text, column_name text, message text) LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_validate';
COMMENT ON FUNCTION sopflow.validate(text) IS 'Everything that is wrong with an SOP; no row: nothing is';

CREATE TRIGGER definition_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.action
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_row();
CREATE TRIGGER definition_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.action
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_after();
CREATE CONSTRAINT TRIGGER definition_check AFTER DELETE ON sopflow.action
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.definition_check();

CREATE TRIGGER definition_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.sop
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_row();
CREATE TRIGGER definition_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.sop
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_after();
CREATE CONSTRAINT TRIGGER definition_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.sop
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.definition_check();

CREATE TRIGGER definition_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.sop_node
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_row();
CREATE TRIGGER definition_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.sop_node
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_after();
CREATE CONSTRAINT TRIGGER definition_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.sop_node
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.definition_check();

CREATE TRIGGER definition_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.sop_link
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_row();
CREATE TRIGGER definition_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.sop_link
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_after();
CREATE CONSTRAINT TRIGGER definition_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.sop_link
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.definition_check();

CREATE TRIGGER definition_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.action_grant
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_row();
CREATE TRIGGER definition_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.action_grant
	FOR EACH ROW EXECUTE FUNCTION sopflow.definition_after();

CREATE TRIGGER storage_restored BEFORE INSERT ON sopflow.run
	FOR EACH STATEMENT EXECUTE FUNCTION sopflow.storage_restored();
CREATE TRIGGER storage_restored BEFORE INSERT ON sopflow.task
	FOR EACH STATEMENT EXECUTE FUNCTION sopflow.storage_restored();
CREATE TRIGGER storage_restored BEFORE INSERT ON sopflow.offer
	FOR EACH STATEMENT EXECUTE FUNCTION sopflow.storage_restored();
CREATE TRIGGER storage_restored BEFORE INSERT ON sopflow.watched
	FOR EACH STATEMENT EXECUTE FUNCTION sopflow.storage_restored();

-- The owner of an action, also for those who may not see it: for policies, where
-- a look into sopflow.action would come back to its own.
CREATE FUNCTION sopflow.action_owner(action text) RETURNS oid LANGUAGE sql STABLE STRICT SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT a.owner::oid FROM sopflow.action a WHERE a.action = $1
$$;
COMMENT ON FUNCTION sopflow.action_owner(text) IS 'Owner of an action';

-- Authors see and change what belongs to a role that they are a member of.
ALTER TABLE sopflow.action ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.action USING (pg_catalog.pg_has_role(owner::oid, 'MEMBER'));
CREATE POLICY usable ON sopflow.action FOR SELECT USING (EXISTS (SELECT FROM sopflow.action_grant g
	WHERE g.action = action.action AND g.privilege = 'use' AND pg_catalog.pg_has_role(g.grantee::oid, 'MEMBER')));
ALTER TABLE sopflow.sop ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.sop USING (pg_catalog.pg_has_role(owner::oid, 'MEMBER'));
ALTER TABLE sopflow.sop_node ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.sop_node USING (EXISTS (SELECT FROM sopflow.sop s
	WHERE s.sop_id = sop_node.sop_id));
ALTER TABLE sopflow.sop_link ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.sop_link USING (EXISTS (SELECT FROM sopflow.sop s
	WHERE s.sop_id = sop_link.sop_id));
ALTER TABLE sopflow.sop_version ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.sop_version FOR SELECT USING (EXISTS (SELECT FROM sopflow.sop s
	WHERE s.sop_id = sop_version.sop_id));
ALTER TABLE sopflow.action_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.action_grant
	USING (pg_catalog.pg_has_role(sopflow.action_owner(action), 'MEMBER'));
CREATE POLICY grantee ON sopflow.action_grant FOR SELECT
	USING (pg_catalog.pg_has_role(grantee::oid, 'MEMBER'));

CREATE FUNCTION sopflow.grant_author(role regrole) RETURNS void LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	f regprocedure;
BEGIN
	EXECUTE format('GRANT USAGE ON SCHEMA sopflow TO %s', role);
	EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sopflow.action, sopflow.calendar, sopflow.holiday, sopflow.sop, sopflow.sop_node, sopflow.sop_link, sopflow.action_grant TO %s', role);
	EXECUTE format('GRANT SELECT ON sopflow.sop_version, sopflow.sops, sopflow.node_tasks TO %s', role);
	EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sopflow.rule_set, sopflow.rule_fact, sopflow.rule_quota, sopflow.rule_param, sopflow.rule_param_override, sopflow.rule_group, sopflow.rule, sopflow.rule_grant TO %s', role);
	EXECUTE format('GRANT USAGE ON SEQUENCE sopflow.sop_node_seq, sopflow.rule_seq TO %s', role);
	EXECUTE format('GRANT EXECUTE ON FUNCTION sopflow.validate(text), sopflow.action_owner(text), sopflow.simulate, sopflow.grant_action(text, regrole), sopflow.grant_consumer(text, regrole), sopflow.next_opening(text, timestamptz, text), sopflow.now() TO %s', role);
	EXECUTE format('GRANT EXECUTE ON FUNCTION sopflow.validate_rules(text), sopflow.grant_rules(text, regrole), sopflow.revoke_rules(text, regrole), sopflow.fire, sopflow.fire_rows, sopflow.check_rules, sopflow.explain, sopflow.prove TO %s', role);
	-- these read and write with the rights of their caller
	FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'sopflow'::regnamespace
		AND (p.proname IN ('load_rules', 'export_rules', 'load_sop', 'export_sop', 'export_file', 'convert_expression', 'convert_action', 'create_crm', 'crm_prefix')
			OR starts_with(p.proname, 'rule_file_') OR starts_with(p.proname, 'sop_file_') OR starts_with(p.proname, 'copy_rules') OR starts_with(p.proname, 'crm_make_')
			OR starts_with(p.proname, 'diagram'))
	LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', f, role);
	END LOOP;
	EXECUTE format('GRANT EXECUTE ON FUNCTION sopflow.load_decision_table, sopflow.table_actions, sopflow.table_changes, sopflow.table_columns, sopflow.table_conditions, sopflow.table_field, sopflow.table_fields, sopflow.table_order, sopflow.table_refuse, sopflow.table_sequence TO %s', role);
END
$$;
COMMENT ON FUNCTION sopflow.grant_author(regrole) IS 'Lets a role write actions, SOPs, calendars and rule sets of its own';

CREATE FUNCTION sopflow.grant_action(action text, role regrole) RETURNS void LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO sopflow.action_grant (action, grantee, privilege) VALUES ($1, $2, 'use') ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION sopflow.grant_action(text, regrole) IS 'Lets SOPs of a role use an action; for the action''s owner';

CREATE FUNCTION sopflow.grant_consumer(action text, role regrole) RETURNS void LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_grant_consumer';
COMMENT ON FUNCTION sopflow.grant_consumer(text, regrole) IS 'Lets a role fetch and acknowledge the tasks of an action; for the action''s owner';
