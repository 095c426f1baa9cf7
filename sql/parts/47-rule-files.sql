-- ---------------------------------------------------------------------------
-- Rule files: a set of rules as one JSON value in Easy Rules' field names, and
-- conditions and actions in its expression languages.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.convert_expression(text text, language text) RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_convert_expression';
COMMENT ON FUNCTION sopflow.convert_expression(text, text) IS 'A condition in MVEL or SpEL (language mvel, spel or sql) as an SQL expression; an error with the place where it has none of the same meaning';

CREATE FUNCTION sopflow.convert_action(text text, language text) RETURNS jsonb
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_convert_action';
COMMENT ON FUNCTION sopflow.convert_action(text, text) IS 'Statements in MVEL or SpEL as an array of actions of a rule';

-- ---------------------------------------------------------------------------
-- Reading: every fault is an error with its path in the file.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.rule_file_condition(text text, language text, place text) RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_convert_expression';
COMMENT ON FUNCTION sopflow.rule_file_condition(text, text, text) IS 'convert_expression() of a text of a rule file';

CREATE FUNCTION sopflow.rule_file_action(text text, language text, place text) RETURNS jsonb
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_convert_action';
COMMENT ON FUNCTION sopflow.rule_file_action(text, text, text) IS 'convert_action() of a text of a rule file';

CREATE FUNCTION sopflow.rule_file_fault(place text, what text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION USING
		ERRCODE = 'invalid_parameter_value',
		MESSAGE = format('rule file is not valid: %s: %s', place, what);
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_fault(text, text) IS 'Raises the error that a rule file is not valid';

CREATE FUNCTION sopflow.rule_file_keys(object jsonb, place text, keys text[]) RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unknown text;
BEGIN
	IF jsonb_typeof(object) <> 'object' THEN
		PERFORM sopflow.rule_file_fault(place, 'must be an object');
	END IF;
	SELECT k INTO unknown FROM jsonb_object_keys(object) k WHERE k <> ALL (keys) ORDER BY k COLLATE "C" LIMIT 1;
	IF FOUND THEN
		PERFORM sopflow.rule_file_fault(concat_ws('.', nullif(place, 'rules'), CASE unknown WHEN '' THEN '""' ELSE unknown END), 'unknown key');
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_keys(jsonb, text, text[]) IS 'Demands an object that has no other keys';

-- `kind` is text, name (of a rule, a group or a set), identifier, integer,
-- positive, boolean, texts, array, any, or the words that may stand here with |
-- between them.
CREATE FUNCTION sopflow.rule_file_value(object jsonb, place text, key text, kind text, needed bool DEFAULT true)
	RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	value jsonb := object->key;
	type text := jsonb_typeof(object->key);
	fault text;
BEGIN
	IF value IS NULL THEN
		IF needed THEN
			PERFORM sopflow.rule_file_fault(concat_ws('.', nullif(place, ''), key), 'is missing');
		END IF;
		RETURN NULL;
	END IF;
	IF type = 'null' AND NOT needed AND kind IN ('text', 'any') THEN
		RETURN NULL;
	END IF;
	fault := CASE
		WHEN kind = 'any' THEN NULL
		WHEN kind = 'array' THEN CASE WHEN type <> 'array' THEN 'must be an array' END
		WHEN kind = 'boolean' THEN CASE WHEN type <> 'boolean' THEN 'must be true or false' END
		WHEN kind = 'texts' THEN
			CASE WHEN type <> 'array' OR jsonb_path_exists(value, 'strict $[*] ? (@.type() != "string")')
				THEN 'must be an array of strings' END
		WHEN kind IN ('integer', 'positive') THEN
			CASE WHEN type <> 'number' THEN 'must be an integer'
				WHEN value::numeric <> trunc(value::numeric) OR abs(value::numeric) > 2147483647 THEN 'must be an integer of 32 bits'
				WHEN kind = 'positive' AND value::numeric <= 0 THEN 'must be positive' END
		WHEN type <> 'string' THEN 'must be a string'
		WHEN kind = 'name' THEN
			CASE WHEN length(value #>> '{}') NOT BETWEEN 1 AND 200 THEN 'must have 1 to 200 characters' END
		WHEN kind = 'identifier' THEN
			CASE WHEN octet_length(value #>> '{}') NOT BETWEEN 1 AND 63 THEN 'must have 1 to 63 bytes' END
		WHEN kind <> 'text' THEN
			CASE WHEN value #>> '{}' <> ALL (string_to_array(kind, '|'))
				THEN format('"%s" is none of %s', value #>> '{}', replace(kind, '|', ', ')) END
		END;
	IF fault IS NOT NULL THEN
		PERFORM sopflow.rule_file_fault(concat_ws('.', nullif(place, ''), key), fault);
	END IF;
	RETURN value;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_value(jsonb, text, text, text, bool) IS 'Value of a key of a rule file, of the kind that belongs there; null where it is absent';

CREATE FUNCTION sopflow.rule_file_text(object jsonb, place text, key text, kind text, needed bool DEFAULT true)
	RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT sopflow.rule_file_value(object, place, key, kind, needed) #>> '{}';
END;
COMMENT ON FUNCTION sopflow.rule_file_text(jsonb, text, text, text, bool) IS 'rule_file_value() as text';

-- A type's name means what it means to the caller.
CREATE FUNCTION sopflow.rule_file_type(object jsonb, place text, path text) RETURNS regtype
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text := sopflow.rule_file_text(object, place, 'type', 'text');
	type regtype;
BEGIN
	BEGIN
		PERFORM pg_catalog.set_config('search_path', path, true);
		type := pg_catalog.to_regtype(name);
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	EXCEPTION WHEN syntax_error OR invalid_name THEN
		type := NULL;
	END;
	IF type IS NULL THEN
		PERFORM sopflow.rule_file_fault(place || '.type', format('type "%s" does not exist', name));
	END IF;
	RETURN type;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_type(jsonb, text, text) IS 'Type named in a rule file';

CREATE FUNCTION sopflow.rule_file_group_kind(object jsonb, place text, key text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kind text := sopflow.rule_file_text(object, place, key,
		'UnitRuleGroup|ActivationRuleGroup|ConditionalRuleGroup|unit|activation|conditional|unique|any|collect');
BEGIN
	RETURN lower(regexp_replace(kind, 'RuleGroup$', ''));
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_group_kind(jsonb, text, text) IS 'Kind of a group named in a rule file';

CREATE FUNCTION sopflow.rule_file_unique(names text[], places text[], what text, key text DEFAULT 'name') RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	d record;
BEGIN
	SELECT u.name, array_agg(u.place ORDER BY u.n) AS places INTO d
		FROM unnest(names, places) WITH ORDINALITY u(name, place, n)
		GROUP BY u.name HAVING count(*) > 1 ORDER BY min(u.n) LIMIT 1;
	IF FOUND THEN
		PERFORM sopflow.rule_file_fault(concat_ws('.', d.places[2], key), format('%s "%s" is at %s already', what, d.name, d.places[1]));
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_unique(text[], text[], text, text) IS 'Demands that names are used once';

CREATE TYPE sopflow.rule_file_item AS (
	place			text,
	kind			text,
	name			text,
	description		text,
	priority		int,
	condition		text,
	actions			jsonb,
	parent			text,
	enabled			bool,
	valid			tstzrange
);
COMMENT ON TYPE sopflow.rule_file_item IS 'A rule or a group of a rule file';
COMMENT ON COLUMN sopflow.rule_file_item.place IS 'Its path in the file';
COMMENT ON COLUMN sopflow.rule_file_item.kind IS 'Kind of the group; null: a rule';
COMMENT ON COLUMN sopflow.rule_file_item.name IS 'Name';
COMMENT ON COLUMN sopflow.rule_file_item.description IS 'Free text';
COMMENT ON COLUMN sopflow.rule_file_item.priority IS 'Priority';
COMMENT ON COLUMN sopflow.rule_file_item.condition IS 'Condition in SQL';
COMMENT ON COLUMN sopflow.rule_file_item.actions IS 'Actions';
COMMENT ON COLUMN sopflow.rule_file_item.parent IS 'Group that it is a member of';
COMMENT ON COLUMN sopflow.rule_file_item.enabled IS 'Whether the rule is enabled';
COMMENT ON COLUMN sopflow.rule_file_item.valid IS 'When the rule is in force';

CREATE FUNCTION sopflow.rule_file_actions(object jsonb, place text, language text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	actions jsonb := '[]';
	a record;
	here text;
BEGIN
	FOR a IN SELECT e.action, e.n - 1 AS n
		FROM jsonb_array_elements(sopflow.rule_file_value(object, place, 'actions', 'array')) WITH ORDINALITY e(action, n)
	LOOP
		here := format('%s.actions[%s]', place, a.n);
		IF jsonb_typeof(a.action) = 'string' THEN
			actions := actions || sopflow.rule_file_action(a.action #>> '{}', language, here);
		ELSIF jsonb_typeof(a.action) = 'object' THEN
			actions := actions || jsonb_build_array(a.action);
		ELSE
			PERFORM sopflow.rule_file_fault(here, 'must be an object or a string');
		END IF;
	END LOOP;
	RETURN actions;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_actions(jsonb, text, text) IS 'Actions of a rule of a rule file';

CREATE FUNCTION sopflow.rule_file_rule(object jsonb, place text, parent text, language text)
	RETURNS sopflow.rule_file_item LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	item sopflow.rule_file_item;
	range text;
BEGIN
	PERFORM sopflow.rule_file_keys(object, place, ARRAY['name', 'description', 'priority', 'condition', 'actions', 'enabled', 'valid']
		|| CASE WHEN parent IS NULL THEN '{rule_group}' ELSE '{}' END::text[]);
	item.place := place;
	item.name := sopflow.rule_file_text(object, place, 'name', 'name');
	item.description := sopflow.rule_file_text(object, place, 'description', 'text', false);
	item.priority := coalesce(sopflow.rule_file_text(object, place, 'priority', 'integer', false)::numeric, 2147483646);
	item.condition := sopflow.rule_file_text(object, place, 'condition', 'text');
	IF language <> 'sql' THEN
		item.condition := sopflow.rule_file_condition(item.condition, language, place || '.condition');
	END IF;
	item.actions := sopflow.rule_file_actions(object, place, language);
	item.parent := coalesce(parent, sopflow.rule_file_text(object, place, 'rule_group', 'name', false));
	item.enabled := coalesce(sopflow.rule_file_text(object, place, 'enabled', 'boolean', false)::bool, true);
	IF object ? 'valid' THEN
		range := sopflow.rule_file_text(object, place, 'valid', 'text', false);
		BEGIN
			item.valid := range::tstzrange;
		EXCEPTION WHEN data_exception THEN
			PERFORM sopflow.rule_file_fault(place || '.valid', SQLERRM);
		END;
	END IF;
	RETURN item;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_rule(jsonb, text, text, text) IS 'A simple rule of a rule file';

-- Rules and groups, those of a group behind it.
CREATE FUNCTION sopflow.rule_file_items(items jsonb, place text, parent text, language text)
	RETURNS SETOF sopflow.rule_file_item LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	e record;
	item sopflow.rule_file_item;
	here text;
BEGIN
	FOR e IN SELECT x.object, x.n - 1 AS n FROM jsonb_array_elements(items) WITH ORDINALITY x(object, n) LOOP
		here := format('%s[%s]', place, e.n);
		IF NOT coalesce(e.object ?| ARRAY['compositeRuleType', 'composingRules'], false) THEN
			RETURN NEXT sopflow.rule_file_rule(e.object, here, parent, language);
			CONTINUE;
		END IF;
		IF e.object ?| ARRAY['condition', 'actions'] THEN
			PERFORM sopflow.rule_file_fault(concat_ws('.', here, CASE WHEN e.object ? 'condition' THEN 'condition' ELSE 'actions' END),
				'a composite rule has none of its own');
		END IF;
		PERFORM sopflow.rule_file_keys(e.object, here, ARRAY['name', 'description', 'priority', 'compositeRuleType', 'composingRules']);
		item.place := here;
		item.kind := sopflow.rule_file_group_kind(e.object, here, 'compositeRuleType');
		item.name := sopflow.rule_file_text(e.object, here, 'name', 'name');
		item.description := sopflow.rule_file_text(e.object, here, 'description', 'text', false);
		item.priority := coalesce(sopflow.rule_file_text(e.object, here, 'priority', 'integer', false)::numeric, 2147483646);
		item.parent := parent;
		RETURN NEXT item;
		RETURN QUERY SELECT * FROM sopflow.rule_file_items(sopflow.rule_file_value(e.object, here, 'composingRules', 'array'),
			here || '.composingRules', item.name, language);
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_items(jsonb, text, text, text) IS 'Rules and groups of a rule file, in its order';

-- The keys of a file that stand for columns of rule_set; the first of a column
-- is the one that export_rules() writes.
CREATE FUNCTION sopflow.rule_file_settings() RETURNS TABLE (key text, column_name text, kind text)
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT * FROM (VALUES
		('description', 'description', 'text'),
		('priority-threshold', 'priority_threshold', 'integer'),
		('rulePriorityThreshold', 'priority_threshold', 'integer'),
		('priority_threshold', 'priority_threshold', 'integer'),
		('skip-on-first-applied-rule', 'skip_on_first_applied', 'boolean'),
		('skipOnFirstAppliedRule', 'skip_on_first_applied', 'boolean'),
		('skip_on_first_applied', 'skip_on_first_applied', 'boolean'),
		('skip-on-first-failed-rule', 'skip_on_first_failed', 'boolean'),
		('skipOnFirstFailedRule', 'skip_on_first_failed', 'boolean'),
		('skip_on_first_failed', 'skip_on_first_failed', 'boolean'),
		('skip-on-first-non-triggered-rule', 'skip_on_first_non_triggered', 'boolean'),
		('skipOnFirstNonTriggeredRule', 'skip_on_first_non_triggered', 'boolean'),
		('skip_on_first_non_triggered', 'skip_on_first_non_triggered', 'boolean'),
		('denials', 'denials', 'first|all'),
		('on_error', 'on_error', 'abort|false'),
		('param_scopes', 'param_scopes', 'texts'),
		('inference', 'inference', 'boolean'),
		('max_steps', 'max_steps', 'positive'),
		('trace', 'trace', 'off|fired|full'),
		('order_by', 'order_by', 'asc|desc|seq'),
		('before_fire', 'before_fire', 'text'),
		('after_fire', 'after_fire', 'text'),
		('before_evaluate', 'before_evaluate', 'text'),
		('after_evaluate', 'after_evaluate', 'text'),
		('on_success', 'on_success', 'text'),
		('on_failure', 'on_failure', 'text'),
		('enabled', 'enabled', 'boolean')) AS v(key, column_name, kind);
END;
COMMENT ON FUNCTION sopflow.rule_file_settings() IS 'Keys of a rule file that are columns of rule_set';

-- ---------------------------------------------------------------------------
-- Writing: a row that is as the file says is not touched.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.rule_file_load_settings(set_name text, file jsonb, path text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	settings jsonb := '{}';
	stored sopflow.rule_set;
	wanted sopflow.rule_set;
	s record;
BEGIN
	FOR s IN SELECT x.column_name, array_agg(x.key ORDER BY x.key COLLATE "C") AS keys, min(x.kind) AS kind
		FROM sopflow.rule_file_settings() x WHERE file ? x.key GROUP BY x.column_name ORDER BY min(x.key COLLATE "C")
	LOOP
		IF cardinality(s.keys) > 1 THEN
			PERFORM sopflow.rule_file_fault(s.keys[2], format('means the same as "%s"', s.keys[1]));
		END IF;
		settings := settings || jsonb_build_object(s.column_name, sopflow.rule_file_value(file, '', s.keys[1], s.kind, s.kind <> 'text'));
	END LOOP;
	FOR attempt IN 1..2 LOOP
		SELECT * INTO stored FROM sopflow.rule_set r WHERE r.rule_set = set_name FOR NO KEY UPDATE;
		EXIT WHEN FOUND;
		INSERT INTO sopflow.rule_set (rule_set, search_path) VALUES (set_name, path) ON CONFLICT DO NOTHING;
		IF NOT FOUND AND attempt = 2 THEN
			RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('permission denied for rule set "%s"', set_name);
		END IF;
	END LOOP;
	IF stored.rule_set IS NULL THEN
		SELECT * INTO STRICT stored FROM sopflow.rule_set r WHERE r.rule_set = set_name FOR NO KEY UPDATE;
	END IF;
	wanted := jsonb_populate_record(stored, settings);
	IF wanted IS DISTINCT FROM stored THEN
		-- the names of hooks mean what they mean to the caller
		PERFORM pg_catalog.set_config('search_path', path, true);
		UPDATE sopflow.rule_set r SET description = wanted.description, priority_threshold = wanted.priority_threshold,
			skip_on_first_applied = wanted.skip_on_first_applied, skip_on_first_failed = wanted.skip_on_first_failed,
			skip_on_first_non_triggered = wanted.skip_on_first_non_triggered, denials = wanted.denials, on_error = wanted.on_error,
			param_scopes = wanted.param_scopes, inference = wanted.inference, max_steps = wanted.max_steps, trace = wanted.trace,
			order_by = wanted.order_by, before_fire = wanted.before_fire, after_fire = wanted.after_fire,
			before_evaluate = wanted.before_evaluate, after_evaluate = wanted.after_evaluate, on_success = wanted.on_success,
			on_failure = wanted.on_failure, enabled = wanted.enabled
			WHERE r.rule_set OPERATOR(pg_catalog.=) set_name;
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_load_settings(text, jsonb, text) IS 'Makes the rule set if need be, locks it and gives it the settings of a rule file';

CREATE FUNCTION sopflow.rule_file_load_facts(set_name text, file jsonb, path text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	facts sopflow.rule_fact[] := '{}';
	places text[] := '{}';
	f record;
BEGIN
	FOR f IN SELECT x.object, format('facts[%s]', x.n - 1) AS place
		FROM jsonb_array_elements(sopflow.rule_file_value(file, '', 'facts', 'array')) WITH ORDINALITY x(object, n)
	LOOP
		PERFORM sopflow.rule_file_keys(f.object, f.place, '{name,type,query,missing}');
		places := places || f.place;
		facts := facts || ROW(set_name, sopflow.rule_file_text(f.object, f.place, 'name', 'identifier'),
			sopflow.rule_file_type(f.object, f.place, path), NULL, sopflow.rule_file_text(f.object, f.place, 'query', 'text', false),
			coalesce(sopflow.rule_file_text(f.object, f.place, 'missing', 'error|null', false), 'error'))::sopflow.rule_fact;
	END LOOP;
	PERFORM sopflow.rule_file_unique((SELECT array_agg(n.fact::text ORDER BY n.ord)
		FROM unnest(facts) WITH ORDINALITY n(rule_set, fact, type, seq, query, missing, ord)), places, 'fact');
	DELETE FROM sopflow.rule_fact r WHERE r.rule_set = set_name AND NOT EXISTS (SELECT FROM unnest(facts) n WHERE n.fact = r.fact);
	UPDATE sopflow.rule_fact r SET type = n.type, query = n.query, missing = n.missing
		FROM unnest(facts) n
		WHERE r.rule_set = set_name AND r.fact = n.fact AND (r.type, r.query, r.missing) IS DISTINCT FROM (n.type, n.query, n.missing);
	INSERT INTO sopflow.rule_fact (rule_set, fact, type, query, missing)
		SELECT set_name, n.fact, n.type, n.query, n.missing
		FROM unnest(facts) WITH ORDINALITY n(rule_set, fact, type, seq, query, missing, ord)
		WHERE NOT EXISTS (SELECT FROM sopflow.rule_fact r WHERE r.rule_set = set_name AND r.fact = n.fact) ORDER BY n.ord;
	-- their order is that of the arguments of fire_rows
	IF (SELECT array_agg(r.fact ORDER BY r.seq, r.fact) FROM sopflow.rule_fact r WHERE r.rule_set = set_name)
		<> (SELECT array_agg(n.fact ORDER BY n.ord) FROM unnest(facts) WITH ORDINALITY n(rule_set, fact, type, seq, query, missing, ord))
	THEN
		FOR f IN SELECT n.fact FROM unnest(facts) WITH ORDINALITY n(rule_set, fact, type, seq, query, missing, ord) ORDER BY n.ord LOOP
			UPDATE sopflow.rule_fact r SET seq = nextval('sopflow.rule_seq') WHERE r.rule_set = set_name AND r.fact = f.fact;
		END LOOP;
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_load_facts(text, jsonb, text) IS 'Gives a rule set the facts of a rule file';

CREATE FUNCTION sopflow.rule_file_load_quotas(set_name text, file jsonb) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	quotas sopflow.rule_quota[] := '{}';
	places text[] := '{}';
	q record;
BEGIN
	FOR q IN SELECT x.object, format('quotas[%s]', x.n - 1) AS place
		FROM jsonb_array_elements(sopflow.rule_file_value(file, '', 'quotas', 'array')) WITH ORDINALITY x(object, n)
	LOOP
		PERFORM sopflow.rule_file_keys(q.object, q.place, '{name,query,lock_key}');
		places := places || q.place;
		quotas := quotas || ROW(set_name, sopflow.rule_file_text(q.object, q.place, 'name', 'identifier'),
			sopflow.rule_file_text(q.object, q.place, 'query', 'text'),
			sopflow.rule_file_text(q.object, q.place, 'lock_key', 'text'))::sopflow.rule_quota;
	END LOOP;
	PERFORM sopflow.rule_file_unique((SELECT array_agg(n.quota::text ORDER BY n.ord)
		FROM unnest(quotas) WITH ORDINALITY n(rule_set, quota, query, lock_key, ord)), places, 'quota');
	DELETE FROM sopflow.rule_quota r WHERE r.rule_set = set_name AND NOT EXISTS (SELECT FROM unnest(quotas) n WHERE n.quota = r.quota);
	UPDATE sopflow.rule_quota r SET query = n.query, lock_key = n.lock_key
		FROM unnest(quotas) n
		WHERE r.rule_set = set_name AND r.quota = n.quota AND (r.query, r.lock_key) IS DISTINCT FROM (n.query, n.lock_key);
	INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key)
		SELECT set_name, n.quota, n.query, n.lock_key FROM unnest(quotas) n
		WHERE NOT EXISTS (SELECT FROM sopflow.rule_quota r WHERE r.rule_set = set_name AND r.quota = n.quota);
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_load_quotas(text, jsonb) IS 'Gives a rule set the quotas of a rule file';

CREATE FUNCTION sopflow.rule_file_load_params(set_name text, file jsonb, path text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	params sopflow.rule_param[] := '{}';
	overrides sopflow.rule_param_override[] := '{}';
	places text[] := '{}';
	scopes text[];
	scope_places text[];
	name text;
	p record;
	o record;
BEGIN
	FOR p IN SELECT x.object, format('params[%s]', x.n - 1) AS place
		FROM jsonb_array_elements(sopflow.rule_file_value(file, '', 'params', 'array')) WITH ORDINALITY x(object, n)
	LOOP
		PERFORM sopflow.rule_file_keys(p.object, p.place, '{name,type,value,description,overrides}');
		places := places || p.place;
		name := sopflow.rule_file_text(p.object, p.place, 'name', 'identifier');
		params := params || ROW(set_name, name, sopflow.rule_file_type(p.object, p.place, path),
			sopflow.rule_file_text(p.object, p.place, 'value', 'any', false),
			sopflow.rule_file_text(p.object, p.place, 'description', 'text', false))::sopflow.rule_param;
		scopes := '{}';
		scope_places := '{}';
		FOR o IN SELECT x.object, format('%s.overrides[%s]', p.place, x.n - 1) AS place
			FROM jsonb_array_elements(coalesce(sopflow.rule_file_value(p.object, p.place, 'overrides', 'array', false), '[]'))
				WITH ORDINALITY x(object, n)
		LOOP
			PERFORM sopflow.rule_file_keys(o.object, o.place, '{scope,value}');
			scopes := scopes || sopflow.rule_file_text(o.object, o.place, 'scope', 'text');
			scope_places := scope_places || o.place;
			IF scopes[cardinality(scopes)] = '' THEN
				PERFORM sopflow.rule_file_fault(o.place || '.scope', 'must not be empty');
			END IF;
			overrides := overrides || ROW(set_name, name, scopes[cardinality(scopes)],
				sopflow.rule_file_text(o.object, o.place, 'value', 'any', false))::sopflow.rule_param_override;
		END LOOP;
		PERFORM sopflow.rule_file_unique(scopes, scope_places, 'scope', 'scope');
	END LOOP;
	PERFORM sopflow.rule_file_unique((SELECT array_agg(n.param::text ORDER BY n.ord)
		FROM unnest(params) WITH ORDINALITY n(rule_set, param, type, value, description, ord)), places, 'parameter');
	DELETE FROM sopflow.rule_param_override r WHERE r.rule_set = set_name
		AND NOT EXISTS (SELECT FROM unnest(overrides) n WHERE n.param = r.param AND n.scope = r.scope);
	DELETE FROM sopflow.rule_param r WHERE r.rule_set = set_name AND NOT EXISTS (SELECT FROM unnest(params) n WHERE n.param = r.param);
	UPDATE sopflow.rule_param r SET type = n.type, value = n.value, description = n.description
		FROM unnest(params) n
		WHERE r.rule_set = set_name AND r.param = n.param
			AND (r.type, r.value, r.description) IS DISTINCT FROM (n.type, n.value, n.description);
	INSERT INTO sopflow.rule_param (rule_set, param, type, value, description)
		SELECT set_name, n.param, n.type, n.value, n.description FROM unnest(params) n
		WHERE NOT EXISTS (SELECT FROM sopflow.rule_param r WHERE r.rule_set = set_name AND r.param = n.param);
	UPDATE sopflow.rule_param_override r SET value = n.value
		FROM unnest(overrides) n
		WHERE r.rule_set = set_name AND r.param = n.param AND r.scope = n.scope AND r.value IS DISTINCT FROM n.value;
	INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value)
		SELECT set_name, n.param, n.scope, n.value FROM unnest(overrides) n
		WHERE NOT EXISTS (SELECT FROM sopflow.rule_param_override r
			WHERE r.rule_set = set_name AND r.param = n.param AND r.scope = n.scope);
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_load_params(text, jsonb, text) IS 'Gives a rule set the parameters of a rule file, with their overrides';

CREATE FUNCTION sopflow.rule_file_groups(file jsonb) RETURNS SETOF sopflow.rule_file_item
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	g record;
	item sopflow.rule_file_item;
BEGIN
	FOR g IN SELECT x.object, format('groups[%s]', x.n - 1) AS place
		FROM jsonb_array_elements(sopflow.rule_file_value(file, '', 'groups', 'array')) WITH ORDINALITY x(object, n)
	LOOP
		PERFORM sopflow.rule_file_keys(g.object, g.place, '{name,kind,priority,parent,description}');
		item.place := g.place;
		item.kind := sopflow.rule_file_group_kind(g.object, g.place, 'kind');
		item.name := sopflow.rule_file_text(g.object, g.place, 'name', 'name');
		item.description := sopflow.rule_file_text(g.object, g.place, 'description', 'text', false);
		item.priority := coalesce(sopflow.rule_file_text(g.object, g.place, 'priority', 'integer', false)::numeric, 2147483646);
		item.parent := sopflow.rule_file_text(g.object, g.place, 'parent', 'name', false);
		RETURN NEXT item;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_groups(jsonb) IS 'Groups of a rule file that are listed without their members';

CREATE FUNCTION sopflow.rule_file_load_groups(set_name text, groups sopflow.rule_file_item[]) RETURNS void
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	DELETE FROM sopflow.rule_group r WHERE r.rule_set = set_name AND NOT EXISTS (SELECT FROM unnest(groups) n WHERE n.name = r.rule_group);
	UPDATE sopflow.rule_group r SET kind = n.kind, priority = n.priority, parent = n.parent, description = n.description
		FROM unnest(groups) n
		WHERE r.rule_set = set_name AND r.rule_group = n.name
			AND (r.kind, r.priority, r.parent, r.description) IS DISTINCT FROM (n.kind, n.priority, n.parent, n.description);
	INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority, parent, description)
		SELECT set_name, n.name, n.kind, n.priority, n.parent, n.description FROM unnest(groups) n
		WHERE NOT EXISTS (SELECT FROM sopflow.rule_group r WHERE r.rule_set = set_name AND r.rule_group = n.name);
$$;
COMMENT ON FUNCTION sopflow.rule_file_load_groups(text, sopflow.rule_file_item[]) IS 'Gives a rule set the groups of a rule file';

CREATE FUNCTION sopflow.rule_file_load_rules(set_name text, rules sopflow.rule_file_item[]) RETURNS void
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
	DELETE FROM sopflow.rule r WHERE r.rule_set = set_name AND NOT EXISTS (SELECT FROM unnest(rules) n WHERE n.name = r.rule);
	UPDATE sopflow.rule r SET description = n.description, priority = n.priority, condition = n.condition, actions = n.actions,
		rule_group = n.parent, enabled = n.enabled, valid = n.valid
		FROM unnest(rules) n
		WHERE r.rule_set = set_name AND r.rule = n.name
			AND (r.description, r.priority, r.condition, r.actions, r.rule_group, r.enabled, r.valid)
				IS DISTINCT FROM (n.description, n.priority, n.condition, n.actions, n.parent, n.enabled, n.valid);
	INSERT INTO sopflow.rule (rule_set, rule, description, priority, condition, actions, rule_group, enabled, valid)
		SELECT set_name, n.name, n.description, n.priority, n.condition, n.actions, n.parent, n.enabled, n.valid
		FROM unnest(rules) WITH ORDINALITY n(place, kind, name, description, priority, condition, actions, parent, enabled, valid, ord)
		WHERE NOT EXISTS (SELECT FROM sopflow.rule r WHERE r.rule_set = set_name AND r.rule = n.name)
		ORDER BY n.ord;
$$;
COMMENT ON FUNCTION sopflow.rule_file_load_rules(text, sopflow.rule_file_item[]) IS 'Gives a rule set the rules of a rule file';

-- Rules and groups of one level, as rule files have them.
CREATE FUNCTION sopflow.rule_file_members(set_name text, parent text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	SET DateStyle = 'ISO, YMD' SET TimeZone = 'UTC'
AS $$
BEGIN
	RETURN (
		WITH RECURSIVE below (top, name) AS (
			SELECT g.rule_group, g.rule_group FROM sopflow.rule_group g
				WHERE g.rule_set = set_name AND g.parent IS NOT DISTINCT FROM rule_file_members.parent
			UNION
			SELECT b.top, g.rule_group FROM below b
				JOIN sopflow.rule_group g ON g.rule_set = set_name AND g.parent = b.name
		), member (object, seq, priority, name, is_group) AS (
			SELECT jsonb_build_object('name', r.rule, 'priority', r.priority, 'condition', r.condition, 'actions', r.actions)
				|| CASE WHEN r.description IS NULL THEN '{}' ELSE jsonb_build_object('description', r.description) END
				|| CASE WHEN r.enabled THEN '{}' ELSE '{"enabled": false}' END::jsonb
				|| CASE WHEN r.valid IS NULL THEN '{}' ELSE jsonb_build_object('valid', r.valid::text) END
				|| CASE WHEN r.rule_group IS NOT DISTINCT FROM rule_file_members.parent THEN '{}' ELSE jsonb_build_object('rule_group', r.rule_group) END,
				r.seq, r.priority, r.rule, 0
			FROM sopflow.rule r
			WHERE r.rule_set = set_name AND (r.rule_group IS NOT DISTINCT FROM rule_file_members.parent
				OR rule_file_members.parent IS NULL AND NOT EXISTS (SELECT FROM below b WHERE b.name = r.rule_group))
			UNION ALL
			SELECT jsonb_build_object('name', g.rule_group, 'priority', g.priority,
					'compositeRuleType', CASE WHEN g.kind IN ('unit', 'activation', 'conditional') THEN initcap(g.kind) || 'RuleGroup' ELSE g.kind END,
					'composingRules', sopflow.rule_file_members(set_name, g.rule_group))
				|| CASE WHEN g.description IS NULL THEN '{}' ELSE jsonb_build_object('description', g.description) END,
				(SELECT min(r.seq) FROM below b JOIN sopflow.rule r ON r.rule_set = set_name AND r.rule_group = b.name WHERE b.top = g.rule_group),
				g.priority, g.rule_group, 1
			FROM sopflow.rule_group g
			WHERE g.rule_set = set_name AND g.parent IS NOT DISTINCT FROM rule_file_members.parent
		)
		SELECT coalesce(jsonb_agg(m.object ORDER BY CASE s.order_by WHEN 'seq' THEN m.seq END,
			CASE s.order_by WHEN 'desc' THEN -m.priority::bigint ELSE m.priority END, m.name COLLATE "C", m.is_group), '[]')
		FROM member m CROSS JOIN sopflow.rule_set s
		WHERE s.rule_set = set_name);
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_members(text, text) IS 'Members of a group, or of the set itself, as a rule file has them';

-- Where rules go in the order of their insertion, that is the order of the file.
CREATE FUNCTION sopflow.rule_file_order_rules(set_name text, names text[]) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text;
BEGIN
	IF (SELECT s.order_by FROM sopflow.rule_set s WHERE s.rule_set = set_name) <> 'seq'
		OR names = ARRAY(SELECT r.rule FROM sopflow.rule r WHERE r.rule_set = set_name ORDER BY r.seq)
		OR names = ARRAY(SELECT m.name FROM sopflow.rule_file_items(sopflow.rule_file_members(set_name, NULL), '', NULL, 'sql')
			WITH ORDINALITY m(place, kind, name, description, priority, condition, actions, parent, enabled, valid, n)
			WHERE m.kind IS NULL ORDER BY m.n)
	THEN
		RETURN;
	END IF;
	FOREACH name IN ARRAY names LOOP
		UPDATE sopflow.rule r SET seq = nextval('sopflow.rule_seq') WHERE r.rule_set = set_name AND r.rule = name;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_order_rules(text, text[]) IS 'Gives rules the order of a rule file';

-- `path` is the search_path of who loads the file.
CREATE FUNCTION sopflow.rule_file_load(set_name text, file jsonb, path text) RETURNS int
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	language text;
	rules sopflow.rule_file_item[];
	groups sopflow.rule_file_item[] := '{}';
BEGIN
	IF set_name IS NULL OR file IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = format('argument "%s" must not be null', CASE WHEN set_name IS NULL THEN 'rule_set' ELSE 'rules' END);
	END IF;
	IF length(set_name) NOT BETWEEN 1 AND 200 THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the name of a rule set must have 1 to 200 characters';
	END IF;
	IF jsonb_typeof(file) = 'array' THEN
		file := jsonb_build_object('rules', file);
	ELSIF jsonb_typeof(file) <> 'object' THEN
		PERFORM sopflow.rule_file_fault('rules', 'must be an array or an object');
	END IF;
	PERFORM sopflow.rule_file_keys(file, 'rules', (SELECT array_agg(s.key) FROM sopflow.rule_file_settings() s)
		|| '{rule-id,rule-file-location,rule-config-type,rule-factory-type,facts,params,quotas,groups,rules}');
	IF sopflow.rule_file_text(file, '', 'rule-id', 'name', false) <> set_name THEN
		PERFORM sopflow.rule_file_fault('rule-id', format('"%s" is not the rule set "%s"', file->>'rule-id', set_name));
	END IF;
	PERFORM sopflow.rule_file_text(file, '', 'rule-file-location', 'text', false);
	PERFORM sopflow.rule_file_text(file, '', 'rule-config-type', 'JSON|YAML|YML', false);
	language := lower(coalesce(sopflow.rule_file_text(file, '', 'rule-factory-type', 'MVEL|SPEL|SQL', false), 'sql'));
	PERFORM sopflow.rule_file_load_settings(set_name, file, path);
	IF file ? 'facts' THEN
		PERFORM sopflow.rule_file_load_facts(set_name, file, path);
	END IF;
	IF file ? 'params' THEN
		PERFORM sopflow.rule_file_load_params(set_name, file, path);
	END IF;
	IF file ? 'quotas' THEN
		PERFORM sopflow.rule_file_load_quotas(set_name, file);
	END IF;
	IF file ? 'groups' THEN
		groups := ARRAY(SELECT g FROM sopflow.rule_file_groups(file) g);
	END IF;
	IF file ? 'rules' THEN
		rules := ARRAY(SELECT r FROM sopflow.rule_file_items(sopflow.rule_file_value(file, '', 'rules', 'array'), 'rules', NULL, language) r);
		groups := groups || ARRAY(SELECT r FROM unnest(rules) r WHERE r.kind IS NOT NULL);
		rules := ARRAY(SELECT r FROM unnest(rules) r WHERE r.kind IS NULL);
		PERFORM sopflow.rule_file_unique(ARRAY(SELECT r.name FROM unnest(rules) r), ARRAY(SELECT r.place FROM unnest(rules) r), 'rule');
	END IF;
	IF file ?| '{groups,rules}' THEN
		PERFORM sopflow.rule_file_unique(ARRAY(SELECT g.name FROM unnest(groups) g), ARRAY(SELECT g.place FROM unnest(groups) g), 'group');
		PERFORM sopflow.rule_file_load_groups(set_name, groups);
	END IF;
	IF file ? 'rules' THEN
		PERFORM sopflow.rule_file_load_rules(set_name, rules);
		PERFORM sopflow.rule_file_order_rules(set_name, ARRAY(SELECT r.name FROM unnest(rules) r));
	END IF;
	RETURN (SELECT count(*) FROM sopflow.rule r WHERE r.rule_set = set_name);
END
$$;
COMMENT ON FUNCTION sopflow.rule_file_load(text, jsonb, text) IS 'load_rules() under a search_path';

CREATE FUNCTION sopflow.load_rules(rule_set text, rules jsonb) RETURNS int
	LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT sopflow.rule_file_load(rule_set, rules, pg_catalog.current_setting('search_path'));
END;
COMMENT ON FUNCTION sopflow.load_rules(text, jsonb) IS 'Makes a rule set what a rule file says, an array of rules or an object of settings, facts, params, quotas and rules; returns the number of its rules';

CREATE FUNCTION sopflow.export_rules(rule_set text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	file jsonb;
	groups jsonb;
BEGIN
	IF $1 IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument "rule_set" must not be null';
	END IF;
	SELECT jsonb_object_agg(x.key, to_jsonb(s)->x.column_name) INTO file
		FROM sopflow.rule_set s
		CROSS JOIN (SELECT DISTINCT ON (k.column_name) k.key, k.column_name
			FROM sopflow.rule_file_settings() WITH ORDINALITY k(key, column_name, kind, n) ORDER BY k.column_name, k.n) x
		WHERE s.rule_set = $1;
	IF file IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('rule set "%s" does not exist', $1);
	END IF;
	file := file || jsonb_build_object('rule-factory-type', 'SQL',
		'facts', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', f.fact, 'type', f.type::text)
				|| CASE WHEN f.query IS NULL THEN '{}' ELSE jsonb_build_object('query', f.query) END
				|| CASE f.missing WHEN 'error' THEN '{}' ELSE jsonb_build_object('missing', f.missing) END
				ORDER BY f.seq, f.fact), '[]')
			FROM sopflow.rule_fact f WHERE f.rule_set = $1),
		'params', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.param, 'type', p.type::text, 'value', p.value)
				|| CASE WHEN p.description IS NULL THEN '{}' ELSE jsonb_build_object('description', p.description) END
				|| coalesce((SELECT jsonb_build_object('overrides', jsonb_agg(jsonb_build_object('scope', o.scope, 'value', o.value)
						ORDER BY o.scope COLLATE "C"))
					FROM sopflow.rule_param_override o WHERE o.rule_set = $1 AND o.param = p.param HAVING count(*) > 0), '{}')
				ORDER BY p.param), '[]')
			FROM sopflow.rule_param p WHERE p.rule_set = $1),
		'quotas', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', q.quota, 'query', q.query, 'lock_key', q.lock_key)
				ORDER BY q.quota), '[]')
			FROM sopflow.rule_quota q WHERE q.rule_set = $1),
		'rules', sopflow.rule_file_members($1, NULL));
	-- of a draft: groups whose parent is not there, or a member of their own
	WITH RECURSIVE placed (name) AS (
		SELECT g.rule_group FROM sopflow.rule_group g WHERE g.rule_set = $1 AND g.parent IS NULL
		UNION
		SELECT g.rule_group FROM placed p JOIN sopflow.rule_group g ON g.rule_set = $1 AND g.parent = p.name
	)
	SELECT jsonb_agg(jsonb_build_object('name', g.rule_group, 'kind', g.kind, 'priority', g.priority, 'parent', g.parent)
			|| CASE WHEN g.description IS NULL THEN '{}' ELSE jsonb_build_object('description', g.description) END
			ORDER BY g.rule_group COLLATE "C") INTO groups
		FROM sopflow.rule_group g WHERE g.rule_set = $1 AND g.rule_group NOT IN (SELECT p.name FROM placed p);
	RETURN file || CASE WHEN groups IS NULL THEN '{}' ELSE jsonb_build_object('groups', groups) END;
END
$$;
COMMENT ON FUNCTION sopflow.export_rules(text) IS 'A rule set as load_rules() takes it';
