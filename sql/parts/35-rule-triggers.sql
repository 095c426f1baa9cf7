-- ---------------------------------------------------------------------------
-- Triggers of the tables of rule sets: rights at once, news to all sessions,
-- the check of the whole set at commit.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.ruledef_row() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_ruledef_row';
COMMENT ON FUNCTION sopflow.ruledef_row() IS 'Row trigger of the tables of rule sets: demands that the writer is a member of the set''s owner, locks the set and raises its revision';
CREATE FUNCTION sopflow.ruledef_after() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_ruledef_after';
COMMENT ON FUNCTION sopflow.ruledef_after() IS 'Row trigger of the tables of rule sets: tells all sessions, deletes what belongs to a deleted row';
CREATE FUNCTION sopflow.ruledef_check() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_ruledef_check';
COMMENT ON FUNCTION sopflow.ruledef_check() IS 'Deferred trigger of the tables of rule sets: checks the whole set';
CREATE FUNCTION sopflow.check_rule_set(rule_set text) RETURNS void LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_check_rule_set';
COMMENT ON FUNCTION sopflow.check_rule_set(text) IS 'Checks a rule set now; an error (SF001) where it is not valid';

CREATE TRIGGER ruledef_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.rule_set
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_row();
CREATE TRIGGER ruledef_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_set
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_after();
CREATE CONSTRAINT TRIGGER ruledef_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_set
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_check();

CREATE TRIGGER ruledef_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.rule_fact
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_row();
CREATE TRIGGER ruledef_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_fact
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_after();
CREATE CONSTRAINT TRIGGER ruledef_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_fact
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_check();

CREATE TRIGGER ruledef_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.rule_quota
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_row();
CREATE TRIGGER ruledef_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_quota
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_after();
CREATE CONSTRAINT TRIGGER ruledef_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_quota
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_check();

CREATE TRIGGER ruledef_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.rule_param
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_row();
CREATE TRIGGER ruledef_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_param
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_after();
CREATE CONSTRAINT TRIGGER ruledef_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_param
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_check();

CREATE TRIGGER ruledef_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.rule_param_override
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_row();
CREATE TRIGGER ruledef_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_param_override
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_after();
CREATE CONSTRAINT TRIGGER ruledef_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_param_override
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_check();

CREATE TRIGGER ruledef_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.rule_group
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_row();
CREATE TRIGGER ruledef_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_group
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_after();
CREATE CONSTRAINT TRIGGER ruledef_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_group
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_check();

CREATE TRIGGER ruledef_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.rule
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_row();
CREATE TRIGGER ruledef_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_after();
CREATE CONSTRAINT TRIGGER ruledef_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_check();

CREATE TRIGGER ruledef_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.rule_grant
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_row();
CREATE TRIGGER ruledef_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_grant
	FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_after();
CREATE CONSTRAINT TRIGGER ruledef_check AFTER INSERT OR UPDATE OR DELETE ON sopflow.rule_grant
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.ruledef_check();

CREATE TRIGGER storage_restored BEFORE INSERT ON sopflow.guarded
	FOR EACH STATEMENT EXECUTE FUNCTION sopflow.storage_restored();

-- Authors see and change what belongs to a role that they are a member of.
ALTER TABLE sopflow.rule_set ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.rule_set USING (pg_catalog.pg_has_role(owner::oid, 'MEMBER'));
ALTER TABLE sopflow.rule_fact ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.rule_fact USING (EXISTS (SELECT FROM sopflow.rule_set s
	WHERE s.rule_set = rule_fact.rule_set));
ALTER TABLE sopflow.rule_quota ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.rule_quota USING (EXISTS (SELECT FROM sopflow.rule_set s
	WHERE s.rule_set = rule_quota.rule_set));
ALTER TABLE sopflow.rule_param ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.rule_param USING (EXISTS (SELECT FROM sopflow.rule_set s
	WHERE s.rule_set = rule_param.rule_set));
ALTER TABLE sopflow.rule_param_override ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.rule_param_override USING (EXISTS (SELECT FROM sopflow.rule_set s
	WHERE s.rule_set = rule_param_override.rule_set));
ALTER TABLE sopflow.rule_group ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.rule_group USING (EXISTS (SELECT FROM sopflow.rule_set s
	WHERE s.rule_set = rule_group.rule_set));
ALTER TABLE sopflow.rule ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.rule USING (EXISTS (SELECT FROM sopflow.rule_set s
	WHERE s.rule_set = rule.rule_set));
ALTER TABLE sopflow.rule_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.rule_grant USING (EXISTS (SELECT FROM sopflow.rule_set s
	WHERE s.rule_set = rule_grant.rule_set));
CREATE POLICY grantee ON sopflow.rule_grant FOR SELECT
	USING (pg_catalog.pg_has_role(grantee::oid, 'MEMBER'));

CREATE FUNCTION sopflow.grant_rules(rule_set text, role regrole) RETURNS void LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_grant_rules';
COMMENT ON FUNCTION sopflow.grant_rules(text, regrole) IS 'Lets a role fire a rule set; for the set''s owner';
CREATE FUNCTION sopflow.revoke_rules(rule_set text, role regrole) RETURNS bool LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_revoke_rules';
COMMENT ON FUNCTION sopflow.revoke_rules(text, regrole) IS 'Takes grant_rules back; false where there was no such grant';

CREATE FUNCTION sopflow.follow_drop_of_facts() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
BEGIN
	-- the extension itself is going
	IF to_regclass('sopflow.guarded') IS NULL OR to_regclass('sopflow.rule_fact') IS NULL
			OR to_regclass('sopflow.rule_param') IS NULL THEN
		RETURN;
	END IF;
	FOR r IN DELETE FROM sopflow.guarded g USING pg_event_trigger_dropped_objects() o
		WHERE o.classid = 'pg_class'::regclass AND o.objsubid = 0 AND g.relation = o.objid
		RETURNING o.object_identity, g.rule_set
	LOOP
		RAISE WARNING 'table % was dropped with its guard, rule set "%"', r.object_identity, r.rule_set;
	END LOOP;
	FOR r IN SELECT x.rule_set, x.what, o.object_identity FROM pg_event_trigger_dropped_objects() o
		JOIN (SELECT f.rule_set, format('fact "%s"', f.fact) AS what, f.type FROM sopflow.rule_fact f
			UNION ALL SELECT p.rule_set, format('parameter "%s"', p.param), p.type FROM sopflow.rule_param p) x ON x.type = o.objid
		WHERE o.classid = 'pg_type'::regclass
		ORDER BY x.rule_set, x.what
	LOOP
		RAISE WARNING 'rule set "%" cannot be fired any more: type % of its % was dropped', r.rule_set, r.object_identity, r.what;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.follow_drop_of_facts() IS 'Event trigger: guards of dropped tables go, rule sets whose facts or parameters have a dropped type are named';
CREATE EVENT TRIGGER sopflow_follow_drop_of_facts ON sql_drop
	EXECUTE FUNCTION sopflow.follow_drop_of_facts();
COMMENT ON EVENT TRIGGER sopflow_follow_drop_of_facts IS 'Tells what rule sets lose with dropped tables and types';
