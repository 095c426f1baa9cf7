-- ---------------------------------------------------------------------------
-- Rules: asking them, and holding tables to them.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.fire(rule_set text, facts jsonb) RETURNS sopflow.verdict
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_fire';
COMMENT ON FUNCTION sopflow.fire(text, jsonb) IS 'Fires a rule set over facts, an object with one key per fact';

CREATE FUNCTION sopflow.fire_rows(rule_set text, VARIADIC facts "any") RETURNS sopflow.verdict
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_fire_rows';
COMMENT ON FUNCTION sopflow.fire_rows(text, "any") IS 'Fires a rule set over typed facts, in the order of rule_fact.seq';

CREATE FUNCTION sopflow.check_rules(rule_set text, facts jsonb)
	RETURNS TABLE (rule text, triggered bool, error text) LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_check_rules';
COMMENT ON FUNCTION sopflow.check_rules(text, jsonb) IS 'Evaluates the condition of every rule and carries out nothing';

CREATE FUNCTION sopflow.explain(rule_set text, facts jsonb DEFAULT NULL) RETURNS SETOF text
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_explain';
COMMENT ON FUNCTION sopflow.explain(text, jsonb) IS 'The compiled network of a rule set; with facts also the value of each atom and why rules do not fire';

CREATE FUNCTION sopflow.prove(rule_set text, goal text, facts jsonb)
	RETURNS TABLE (proved bool, value jsonb, proof jsonb) LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_prove';
COMMENT ON FUNCTION sopflow.prove(text, text, jsonb) IS 'Backward chaining: whether the rules give the goal from the facts, and how';

CREATE FUNCTION sopflow.validate_rules(rule_set text)
	RETURNS TABLE (rule text, column_name text, message text) LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_validate_rules';
COMMENT ON FUNCTION sopflow.validate_rules(text) IS 'What is wrong with a rule set; no row: nothing is';

CREATE FUNCTION sopflow.enforce() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_enforce';
COMMENT ON FUNCTION sopflow.enforce() IS 'BEFORE ROW trigger that holds rows to the rule set named by its argument';
