-- ---------------------------------------------------------------------------
-- Copies of rule sets, for other tables with other names of columns.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.copy_rules_text(text text, columns jsonb, template bool DEFAULT false) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_copy_rules_text';
COMMENT ON FUNCTION sopflow.copy_rules_text(text, jsonb, bool) IS 'SQL text, or a text with {{expressions}}, with other names for columns of new and old, or, in arrays, expressions in their place';

CREATE FUNCTION sopflow.copy_rules_json(value jsonb, columns jsonb) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN CASE jsonb_typeof(value)
		WHEN 'string' THEN to_jsonb(sopflow.copy_rules_text(value #>> '{}', columns, true))
		WHEN 'array' THEN (SELECT coalesce(jsonb_agg(sopflow.copy_rules_json(e.value, columns) ORDER BY e.n), '[]')
			FROM jsonb_array_elements(value) WITH ORDINALITY e(value, n))
		WHEN 'object' THEN (SELECT coalesce(jsonb_object_agg(e.key, sopflow.copy_rules_json(e.value, columns)), '{}')
			FROM jsonb_each(value) e)
		ELSE value END;
END
$$;
COMMENT ON FUNCTION sopflow.copy_rules_json(jsonb, jsonb) IS 'copy_rules_text() of all strings of a value';

CREATE FUNCTION sopflow.copy_rules_set(fields jsonb, columns jsonb) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- what is no column there is not set
	absent CONSTANT text := E'^\\s*\\(NULL::';
	twice record;
BEGIN
	SELECT c.field, array_agg(c.key ORDER BY c.key COLLATE "C") AS keys INTO twice
		FROM (SELECT e.key, sopflow.copy_rules_text(e.key, columns) AS field FROM jsonb_each(fields) e) c
		WHERE c.field !~ absent
		GROUP BY c.field HAVING count(*) > 1 ORDER BY c.field COLLATE "C" LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'duplicate_column',
			MESSAGE = format('"%s" and "%s", which one rule sets, would both be "%s"', twice.keys[1], twice.keys[2], twice.field);
	END IF;
	RETURN (SELECT coalesce(jsonb_object_agg(sopflow.copy_rules_text(e.key, columns),
			CASE jsonb_typeof(e.value) WHEN 'string' THEN to_jsonb(sopflow.copy_rules_text(e.value #>> '{}', columns)) ELSE e.value END), '{}')
		FROM jsonb_each(fields) e WHERE sopflow.copy_rules_text(e.key, columns) !~ absent);
END
$$;
COMMENT ON FUNCTION sopflow.copy_rules_set(jsonb, jsonb) IS 'What a set action sets, with other names for columns';

-- Of a draft anything may be there that is no action.
CREATE FUNCTION sopflow.copy_rules_actions(actions jsonb, columns jsonb) RETURNS jsonb
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF columns = '{}' OR jsonb_typeof(actions) <> 'array' THEN
		RETURN actions;
	END IF;
	RETURN (
		SELECT coalesce(jsonb_agg(CASE WHEN jsonb_typeof(a.action) <> 'object' THEN a.action ELSE
			(SELECT coalesce(jsonb_object_agg(e.key, CASE
					WHEN e.key IN ('result', 'context') THEN sopflow.copy_rules_json(e.value, columns)
					WHEN e.key = 'set' AND jsonb_typeof(e.value) = 'object' THEN sopflow.copy_rules_set(e.value, columns)
					WHEN e.key IN ('deny', 'message', 'subject', 'at') AND jsonb_typeof(e.value) = 'string' THEN
						to_jsonb(sopflow.copy_rules_text(e.value #>> '{}', columns, e.key IN ('deny', 'message')))
					ELSE e.value END), '{}')
				FROM jsonb_each(a.action) e)
			END ORDER BY a.n), '[]')
		FROM jsonb_array_elements(actions) WITH ORDINALITY a(action, n)
		-- one that sets nothing any more
		WHERE (jsonb_typeof(a.action) = 'object' AND jsonb_typeof(a.action->'set') = 'object' AND a.action->'set' <> '{}'
			AND a.action - 'set' = '{}' AND sopflow.copy_rules_set(a.action->'set', columns) = '{}') IS NOT TRUE);
END
$$;
COMMENT ON FUNCTION sopflow.copy_rules_actions(jsonb, jsonb) IS 'Actions of a rule with other names for columns';

CREATE FUNCTION sopflow.copy_rules_check(facts sopflow.rule_fact[], relation regclass, columns jsonb) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad text;
BEGIN
	IF jsonb_typeof($3) <> 'object' OR jsonb_path_exists($3, 'strict $.* ? (@.type() != "string" && @.type() != "null")') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'columns must be an object of names in strings, or null',
			HINT = 'It maps columns of the table that the rule set is for to those of the other one, or to null where that has none: {"owner_id": "sales_id", "level": null}.';
	END IF;
	IF $2 IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = $2 AND c.reltype <> 0) THEN
		RAISE EXCEPTION USING ERRCODE = 'wrong_object_type', MESSAGE = format('%s is no relation with rows', $2);
	END IF;
	SELECT k INTO bad FROM jsonb_object_keys($3) k
		WHERE NOT EXISTS (SELECT FROM unnest($1) f WHERE f.fact IN ('new', 'old') AND f.type = 'jsonb'::regtype)
			AND NOT EXISTS (SELECT FROM unnest($1) f
				JOIN pg_type t ON t.oid = f.type
				JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
				WHERE f.fact IN ('new', 'old') AND a.attname = k)
		ORDER BY k COLLATE "C" LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_column',
			MESSAGE = format('facts new and old of the rule set have no field "%s"', bad);
	END IF;
	SELECT e.value INTO bad FROM jsonb_each_text($3) e
		WHERE $2 IS NOT NULL AND e.value IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = $2 AND a.attname = e.value AND a.attnum > 0 AND NOT a.attisdropped)
		ORDER BY e.value COLLATE "C" LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_column',
			MESSAGE = format('column "%s" of relation %s does not exist', bad, $2);
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.copy_rules_check(sopflow.rule_fact[], regclass, jsonb) IS 'Demands that a map of columns fits a rule set and a relation';

CREATE FUNCTION sopflow.copy_rules_columns(facts sopflow.rule_fact[], columns jsonb) RETURNS jsonb
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(jsonb_object_agg(e.key, CASE WHEN e.value <> 'null' THEN e.value ELSE
			jsonb_build_array(format('(NULL::%s)', coalesce(
				(SELECT format_type(a.atttypid, NULL) FROM unnest($1) f
					JOIN pg_type t ON t.oid = f.type
					JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attname = e.key AND a.attnum > 0 AND NOT a.attisdropped
					WHERE f.fact IN ('new', 'old') ORDER BY f.fact LIMIT 1), 'jsonb')))
			END), '{}')
		FROM jsonb_each($2) e
$$;
COMMENT ON FUNCTION sopflow.copy_rules_columns(sopflow.rule_fact[], jsonb) IS 'A map of columns with nulls of their type in the place of those that are not there';

CREATE FUNCTION sopflow.copy_rules(rule_set text, new_name text, relation regclass DEFAULT NULL, columns jsonb DEFAULT '{}') RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	source record;
	map jsonb;
BEGIN
	IF $1 IS NULL OR $2 IS NULL OR $4 IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = format('argument "%s" must not be null', CASE WHEN $1 IS NULL THEN 'rule_set' WHEN $2 IS NULL THEN 'new_name' ELSE 'columns' END);
	END IF;
	IF length($2) NOT BETWEEN 1 AND 200 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the name of a rule set must have 1 to 200 characters';
	END IF;
	-- in one statement, so as it was at one time
	SELECT s AS settings,
			ARRAY(SELECT f FROM sopflow.rule_fact f WHERE f.rule_set = $1 ORDER BY f.seq, f.fact) AS facts,
			ARRAY(SELECT q FROM sopflow.rule_quota q WHERE q.rule_set = $1) AS quotas,
			ARRAY(SELECT p FROM sopflow.rule_param p WHERE p.rule_set = $1) AS params,
			ARRAY(SELECT o FROM sopflow.rule_param_override o WHERE o.rule_set = $1) AS overrides,
			ARRAY(SELECT g FROM sopflow.rule_group g WHERE g.rule_set = $1) AS groups,
			ARRAY(SELECT r FROM sopflow.rule r WHERE r.rule_set = $1 ORDER BY r.seq) AS rules
		INTO source FROM sopflow.rule_set s WHERE s.rule_set = $1;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('rule set "%s" does not exist', $1);
	END IF;
	PERFORM sopflow.copy_rules_check(source.facts, $3, $4);
	map := sopflow.copy_rules_columns(source.facts, $4);
	INSERT INTO sopflow.rule_set (rule_set, description, skip_on_first_applied, skip_on_first_failed, skip_on_first_non_triggered,
			priority_threshold, denials, on_error, param_scopes, inference, max_steps, trace, order_by, before_fire, after_fire,
			before_evaluate, after_evaluate, on_success, on_failure, enabled, search_path)
		SELECT $2, s.description, s.skip_on_first_applied, s.skip_on_first_failed, s.skip_on_first_non_triggered,
			s.priority_threshold, s.denials, s.on_error,
			ARRAY(SELECT sopflow.copy_rules_text(p.scope, map) FROM unnest(s.param_scopes) WITH ORDINALITY p(scope, n) ORDER BY p.n),
			s.inference, s.max_steps, s.trace, s.order_by, s.before_fire, s.after_fire,
			s.before_evaluate, s.after_evaluate, s.on_success, s.on_failure, s.enabled, s.search_path
		FROM (SELECT (source.settings).*) s
		ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = format('rule set "%s" already exists', $2);
	END IF;
	INSERT INTO sopflow.rule_fact (rule_set, fact, type, query, missing)
		SELECT $2, f.fact, coalesce((SELECT c.reltype FROM pg_class c WHERE c.oid = $3 AND f.fact IN ('new', 'old')), f.type),
			sopflow.copy_rules_text(f.query, map), f.missing
		FROM unnest(source.facts) f ORDER BY f.seq, f.fact;
	INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key)
		SELECT $2, q.quota, sopflow.copy_rules_text(q.query, map), sopflow.copy_rules_text(q.lock_key, map) FROM unnest(source.quotas) q;
	INSERT INTO sopflow.rule_param (rule_set, param, type, value, description)
		SELECT $2, p.param, p.type, p.value, p.description FROM unnest(source.params) p;
	INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value)
		SELECT $2, o.param, o.scope, o.value FROM unnest(source.overrides) o;
	INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority, parent, description)
		SELECT $2, g.rule_group, g.kind, g.priority, g.parent, g.description FROM unnest(source.groups) g;
	INSERT INTO sopflow.rule (rule_set, rule, description, priority, condition, actions, rule_group, enabled, valid)
		SELECT $2, r.rule, r.description, r.priority, sopflow.copy_rules_text(r.condition, map), sopflow.copy_rules_actions(r.actions, map),
			r.rule_group, r.enabled, r.valid
		FROM unnest(source.rules) r ORDER BY r.seq;
END
$$;
COMMENT ON FUNCTION sopflow.copy_rules(text, text, regclass, jsonb) IS 'Copies a rule set under another name, for another table whose columns may have other names; it belongs to the caller';
