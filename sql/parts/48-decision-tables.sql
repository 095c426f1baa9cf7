-- ---------------------------------------------------------------------------
-- Decision tables: the rows of a relation as rules.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.table_conditions(relation text, columns text[], column_types oid[], fields text[],
	field_types oid[], collations oid[], rows text[], is_unique bool) RETURNS text[] LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_table_conditions';
COMMENT ON FUNCTION sopflow.table_conditions(text, text[], oid[], text[], oid[], oid[], text[], bool) IS
	'Conditions of the rows of a decision table, each given as the rule''s name and its cells; part of load_decision_table()';

-- Fields of facts that a name may stand for: a scalar fact and a full name go
-- before the bare name of a field.
CREATE FUNCTION sopflow.table_fields(rule_set text, name text, OUT field text, OUT type oid, OUT collation_id oid)
	RETURNS SETOF record LANGUAGE sql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH fact AS (
		SELECT f.fact, t.oid AS type, t.typrelid, t.typcollation
		FROM sopflow.rule_fact f JOIN pg_type t ON t.oid = f.type
		WHERE f.rule_set = $1
	), named AS (
		SELECT 1 AS rank, format('%I', f.fact) AS field, f.type, f.typcollation AS collation_id
		FROM fact f
		WHERE f.typrelid = 0 AND f.type <> 'jsonb'::regtype AND f.fact::text = $2
	UNION ALL
		SELECT CASE WHEN a.attname::text = $2 THEN 2 ELSE 1 END, format('%I.%I', f.fact, a.attname), a.atttypid, a.attcollation
		FROM fact f JOIN pg_attribute a ON a.attrelid = f.typrelid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE a.attname::text = $2 OR f.fact || '.' || a.attname = $2
	UNION ALL
		SELECT 1, (SELECT string_agg(quote_ident(p.part), '.' ORDER BY p.n) FROM string_to_table($2, '.') WITH ORDINALITY AS p(part, n)), 0, 0
		FROM fact f
		WHERE f.type = 'jsonb'::regtype AND $2 LIKE '%.%' AND split_part($2, '.', 1) = f.fact
			AND '' <> ALL (string_to_array($2, '.'))
	)
	SELECT n.field, n.type, n.collation_id FROM named n WHERE n.rank = (SELECT min(m.rank) FROM named m)
$$;
COMMENT ON FUNCTION sopflow.table_fields(text, text) IS 'Fields that a column of a decision table may mean; part of load_decision_table()';

-- `name` is that of the column, or what follows "set." in it.
CREATE FUNCTION sopflow.table_field(rule_set text, relation regclass, column_name text, name text,
	OUT field text, OUT type oid, OUT collation_id oid) RETURNS record LANGUAGE plpgsql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_fields text[];
BEGIN
	SELECT array_agg(f.field ORDER BY f.field), min(f.field), min(f.type), min(f.collation_id)
		INTO found_fields, field, type, collation_id
		FROM sopflow.table_fields($1, $4) f;
	IF cardinality(found_fields) = 1 THEN
		RETURN;
	ELSIF cardinality(found_fields) > 1 THEN
		RAISE EXCEPTION USING ERRCODE = 'ambiguous_column',
			MESSAGE = format('column "%s" of decision table "%s" may mean %s', $3, $2, array_to_string(found_fields, ' or ')),
			HINT = 'Name the fact too, as in fact.field.';
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'undefined_column',
		MESSAGE = format('column "%s" of decision table "%s" names no field of a fact, and no output', $3, $2),
		DETAIL = (SELECT CASE count(*) WHEN 0 THEN format('Rule set "%s" has no facts.', $1)
				ELSE format('Rule set "%s" has the facts %s.', $1, string_agg(format('"%s" of type %s', f.fact, f.type), ', ' ORDER BY f.seq, f.fact)) END
			FROM sopflow.rule_fact f WHERE f.rule_set = $1),
		HINT = 'Tests are named fact.field, or after a field that one fact has, or a scalar fact. Outputs are rule, priority, description, deny, code, message, emit, subject, set.fact.field and result.key.';
END
$$;
COMMENT ON FUNCTION sopflow.table_field(text, regclass, text, text) IS 'The field that a column of a decision table means, or an error; part of load_decision_table()';

-- What the columns are for, as arguments of the functions below.
CREATE FUNCTION sopflow.table_columns(rule_set text, relation regclass,
	OUT tests text[], OUT test_types oid[], OUT fields text[], OUT field_types oid[], OUT collations oid[],
	OUT set_columns text[], OUT set_fields text[], OUT set_values bool[], OUT result_columns text[], OUT has_priority bool)
	RETURNS record LANGUAGE plpgsql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c record;
	f record;
BEGIN
	tests := '{}'; test_types := '{}'; fields := '{}'; field_types := '{}'; collations := '{}';
	set_columns := '{}'; set_fields := '{}'; set_values := '{}'; result_columns := '{}'; has_priority := false;
	FOR c IN SELECT a.attname::text AS name, a.atttypid AS type, t.typcategory = 'S' AS is_text,
			a.attnum = ANY (i.indkey) AS is_key,
			a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false) AS is_numbered
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
	LOOP
		IF c.name IN ('rule', 'priority', 'description', 'deny', 'code', 'message', 'emit', 'subject') THEN
			IF c.name = 'priority' AND c.type NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN
				RAISE EXCEPTION USING ERRCODE = 'datatype_mismatch',
					MESSAGE = format('column "priority" of decision table "%s" is of type %s, not an integer', relation, c.type::regtype);
			END IF;
			has_priority := has_priority OR c.name = 'priority';
		ELSIF c.name LIKE 'result._%' THEN
			result_columns := result_columns || c.name;
		ELSIF c.name LIKE 'set._%' THEN
			f := sopflow.table_field($1, relation, c.name, substr(c.name, 5));
			set_columns := set_columns || c.name;
			set_fields := set_fields || f.field;
			set_values := set_values || NOT c.is_text;
		ELSIF c.is_key AND ((c.is_numbered AND strpos(c.name, '.') = 0)
				OR NOT EXISTS (SELECT FROM sopflow.table_fields($1, c.name))) THEN
			-- a key that only numbers the rows
			CONTINUE;
		ELSE
			f := sopflow.table_field($1, relation, c.name, c.name);
			IF f.field = ANY (fields) THEN
				RAISE EXCEPTION USING ERRCODE = 'duplicate_column',
					MESSAGE = format('columns "%s" and "%s" of decision table "%s" both test %s',
						tests[array_position(fields, f.field)], c.name, relation, f.field);
			END IF;
			tests := tests || c.name;
			test_types := test_types || c.type;
			fields := fields || f.field;
			field_types := field_types || f.type;
			collations := collations || f.collation_id;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.table_columns(text, regclass) IS 'What the columns of a decision table are for; part of load_decision_table()';

-- ORDER BY of the rows: priority, then the primary key, then what makes the order sure.
CREATE FUNCTION sopflow.table_order(relation regclass, has_priority bool, descending bool, order_matters bool)
	RETURNS text LANGUAGE plpgsql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	keys text;
BEGIN
	SELECT string_agg(format('t.%I', a.attname), ', ' ORDER BY k.n) INTO keys
		FROM pg_index i
		CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		WHERE i.indrelid = relation AND i.indisprimary AND k.n <= i.indnkeyatts;
	IF order_matters AND NOT has_priority AND keys IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_object_definition',
			MESSAGE = format('the rows of decision table "%s" have no order', relation),
			DETAIL = 'With hit policy "first", the first row that is true counts, and the relation has no primary key.',
			HINT = 'Give it a column named priority.';
	END IF;
	RETURN concat_ws(', ', CASE WHEN has_priority THEN 't.priority' || CASE WHEN descending THEN ' DESC' ELSE '' END END,
		keys, 'row(t.*)::text');
END
$$;
COMMENT ON FUNCTION sopflow.table_order(regclass, bool, bool, bool) IS 'Order of the rows of a decision table; part of load_decision_table()';

-- An error about the first row whose outputs do not fit together, or which
-- cannot be a rule of that name.
CREATE FUNCTION sopflow.table_refuse(rule_set text, relation regclass, rule_group text, names text[], cells jsonb[], has_priority bool)
	RETURNS void LANGUAGE plpgsql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
	SET enable_nestloop = off
AS $$
DECLARE
	fault record;
BEGIN
	SELECT r.n, f.name, f.message INTO fault
	FROM (SELECT u.n, u.rule, u.cell, first_value(u.n) OVER (PARTITION BY u.rule ORDER BY u.n) AS first,
			coalesce(u.cell ->> 'deny', u.cell ->> 'message', '') <> '' AS speaks,
			coalesce(u.cell ->> 'code', '') <> '' AS has_code,
			coalesce(u.cell ->> 'emit', '') <> '' AS emits,
			coalesce(u.cell ->> 'subject', '') <> '' AS has_subject
		FROM unnest(names, cells) WITH ORDINALITY AS u(rule, cell, n)) r
	LEFT JOIN sopflow.rule x ON x.rule_set = $1 AND x.rule = r.rule AND x.rule_group IS DISTINCT FROM $3
	CROSS JOIN LATERAL (VALUES
		(1, length(r.rule) > 200, 'rule', 'the name is longer than 200 characters'),
		(2, r.first < r.n, 'rule', format('row %s is named "%s" too', r.first, r.rule)),
		(3, x.rule IS NOT NULL, 'rule', format('a rule "%s" exists %s', r.rule,
			CASE WHEN x.rule_group IS NULL THEN 'outside of groups' ELSE format('in group "%s"', x.rule_group) END)),
		(4, has_priority AND r.cell ->> 'priority' IS NULL, 'priority', 'must not be null'),
		(5, has_priority AND (r.cell ->> 'priority')::numeric NOT BETWEEN -2147483648 AND 2147483647, 'priority', 'is out of range'),
		(6, r.has_code AND NOT r.speaks, 'code', 'there is no deny or message that it belongs to'),
		(7, r.has_subject AND NOT r.emits, 'subject', 'there is no emit that it belongs to'),
		(8, r.emits AND NOT r.has_subject, 'emit', 'there is no subject for it')
	) AS f(i, applies, name, message)
	WHERE f.applies ORDER BY r.n, f.i LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SF001',
			MESSAGE = format('decision table "%s" is not valid: row %s, column "%s": %s', relation, fault.n, fault.name, fault.message);
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.table_refuse(text, regclass, text, text[], jsonb[], bool) IS 'Refuses rows of a decision table; part of load_decision_table()';

-- Actions of each row, in this order: what denies comes last, since it may end
-- the firing.  A set column that is no text holds a value, not an expression.
CREATE FUNCTION sopflow.table_actions(cells jsonb[], set_columns text[], set_fields text[], set_values bool[], result_columns text[])
	RETURNS jsonb[] LANGUAGE sql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(jsonb_path_query_array(jsonb_build_array(
			(SELECT jsonb_build_object('set', jsonb_object_agg(s.field,
					CASE WHEN s.is_value THEN quote_literal(r.cell ->> s.name) ELSE r.cell ->> s.name END))
				FROM unnest(set_columns, set_fields, set_values) AS s(name, field, is_value)
				WHERE r.cell ->> s.name <> '' HAVING count(*) > 0),
			(SELECT jsonb_build_object('result', jsonb_object_agg(substr(k.name, 8), r.cell -> k.name))
				FROM unnest(result_columns) AS k(name)
				WHERE r.cell -> k.name <> 'null' HAVING count(*) > 0),
			CASE WHEN r.cell ->> 'emit' <> '' THEN jsonb_build_object('emit', r.cell ->> 'emit', 'subject', r.cell ->> 'subject') END,
			CASE WHEN r.cell ->> 'message' <> '' THEN jsonb_build_object('message', r.cell ->> 'message') || c.code END,
			CASE WHEN r.cell ->> 'deny' <> '' THEN jsonb_build_object('deny', r.cell ->> 'deny') || c.code END),
		'$[*] ? (@ != null)') ORDER BY r.n), '{}')
	FROM unnest(cells) WITH ORDINALITY AS r(cell, n)
	CROSS JOIN LATERAL (SELECT CASE WHEN r.cell ->> 'code' <> ''
		THEN jsonb_build_object('code', r.cell ->> 'code') ELSE '{}'::jsonb END) AS c(code)
$$;
COMMENT ON FUNCTION sopflow.table_actions(jsonb[], text[], text[], bool[], text[]) IS 'Actions of the rows of a decision table; part of load_decision_table()';

-- What must be done to the rules of the group, in this order; nothing for a
-- rule that is as it was.
CREATE FUNCTION sopflow.table_changes(rule_set text, rule_group text, names text[], priorities int[], conditions text[],
	actions jsonb[], cells jsonb[], OUT change text, OUT rule text, OUT priority int, OUT condition text, OUT action jsonb, OUT description text)
	RETURNS SETOF record LANGUAGE sql STABLE STRICT
	SET search_path = pg_catalog, pg_temp
	-- many rules may be joined before their table has statistics
	SET enable_nestloop = off
AS $$
	SELECT CASE WHEN v.rule IS NULL THEN 'delete' WHEN r.rule IS NULL THEN 'insert' ELSE 'update' END,
		coalesce(v.rule, r.rule), v.priority, v.condition, v.actions, v.cell ->> 'description'
	FROM (SELECT x.rule, x.priority, x.condition, x.actions, x.description FROM sopflow.rule x
		WHERE x.rule_set = $1 AND x.rule_group = $2) r
	FULL JOIN unnest($3, $4, $5, $6, $7) WITH ORDINALITY AS v(rule, priority, condition, actions, cell, n) ON v.rule = r.rule
	WHERE (r.rule, r.priority, r.condition, r.actions, r.description)
		IS DISTINCT FROM (v.rule, v.priority, v.condition, v.actions, v.cell ->> 'description')
	ORDER BY v.n NULLS FIRST, r.rule
$$;
COMMENT ON FUNCTION sopflow.table_changes(text, text, text[], int[], text[], jsonb[], jsonb[]) IS 'Differences between a decision table and its rules; part of load_decision_table()';

-- Where rules go by the order of their insertion, that must be the order of the rows.
CREATE FUNCTION sopflow.table_sequence(rule_set text, names text[]) RETURNS void LANGUAGE plpgsql VOLATILE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text;
	this bigint;
	last bigint := 0;
BEGIN
	FOREACH name IN ARRAY names LOOP
		SELECT r.seq INTO this FROM sopflow.rule r WHERE r.rule_set = $1 AND r.rule = name;
		IF this <= last THEN
			UPDATE sopflow.rule r SET seq = nextval('sopflow.rule_seq')
				WHERE r.rule_set = $1 AND r.rule = name RETURNING r.seq INTO this;
		END IF;
		last := this;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.table_sequence(text, text[]) IS 'Puts rules of a decision table into the order of its rows; part of load_decision_table()';

CREATE FUNCTION sopflow.load_decision_table(rule_set text, relation regclass, hit_policy text DEFAULT 'first')
	RETURNS int LANGUAGE plpgsql VOLATILE
	-- cells are read, and written into conditions, alike whoever loads them
	SET search_path = pg_catalog, pg_temp
	SET timezone = 'UTC'
	SET datestyle = 'ISO, YMD'
	SET intervalstyle = 'postgres'
	SET extra_float_digits = 1
	SET bytea_output = 'hex'
	-- the queries below are costly by estimate only
	SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	group_kind text := CASE $3 WHEN 'first' THEN 'activation' WHEN 'unique' THEN 'unique' WHEN 'any' THEN 'any' WHEN 'collect' THEN 'collect' END;
	group_name text;
	origin text;
	other text;
	set_order text;
	relation_kind "char";
	c record;
	d record;
	names text[];
	cells jsonb[];
	tests text[];
	priorities int[];
	conditions text[];
BEGIN
	IF $1 IS NULL OR $2 IS NULL OR $3 IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = format('%s must not be null', CASE WHEN $1 IS NULL THEN 'rule_set' WHEN $2 IS NULL THEN 'relation' ELSE 'hit_policy' END);
	END IF;
	IF group_kind IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('there is no hit policy "%s"', $3), HINT = 'Hit policies are first, unique, any and collect.';
	END IF;
	SELECT s.order_by INTO set_order FROM sopflow.rule_set s WHERE s.rule_set = $1 FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('rule set "%s" does not exist', $1);
	END IF;
	SELECT r.relname, r.relkind, format('Decision table %I.%I', n.nspname, r.relname) INTO group_name, relation_kind, origin
		FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = $2;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_table', MESSAGE = format('relation with OID %s does not exist', $2::oid);
	ELSIF relation_kind NOT IN ('r', 'p', 'v', 'm', 'f') THEN
		RAISE EXCEPTION USING ERRCODE = 'wrong_object_type', MESSAGE = format('"%s" is not a table or view', $2);
	END IF;
	-- the rules of a group that was made otherwise are not ours to delete
	SELECT g.description INTO other FROM sopflow.rule_group g
		WHERE g.rule_set = $1 AND g.rule_group = group_name AND g.description IS DISTINCT FROM origin;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
			MESSAGE = format('group "%s" of rule set "%s" exists and was not loaded from "%s"', group_name, $1, $2),
			DETAIL = format('Its description is %s, not "%s".', coalesce('"' || other || '"', 'null'), origin),
			HINT = 'Delete the group and its rules, or load the table through a view of another name.';
	END IF;

	c := sopflow.table_columns($1, $2);
	EXECUTE format('SELECT coalesce(array_agg(x.name ORDER BY x.n), ''{}''), coalesce(array_agg(x.cells ORDER BY x.n), ''{}''),'
			' coalesce(array_agg(array_prepend(x.name, x.tests) ORDER BY x.n), ''{}'')'
			' FROM (SELECT y.n, y.cells, y.tests, coalesce(nullif(y.cells ->> ''rule'', ''''), %L || ''_'' || y.n) AS name'
			' FROM (SELECT row_number() OVER (ORDER BY %s) AS n, to_jsonb(t.*) AS cells, ARRAY[%s]::text[] AS tests FROM %s t) y) x',
			group_name, sopflow.table_order($2, c.has_priority, set_order = 'desc', $3 = 'first'),
			(SELECT string_agg(format('t.%I::text', u.name), ', ' ORDER BY u.n) FROM unnest(c.tests) WITH ORDINALITY AS u(name, n)), $2)
		INTO names, cells, tests;
	PERFORM sopflow.table_refuse($1, $2, group_name, names, cells, c.has_priority);
	conditions := sopflow.table_conditions($2::text, c.tests, c.test_types, c.fields, c.field_types, c.collations, tests, $3 = 'unique');
	-- where rows have no priority, the first one goes first in either direction
	SELECT coalesce(array_agg(CASE WHEN c.has_priority THEN (r.cell ->> 'priority')::int WHEN set_order = 'desc' THEN -r.n ELSE r.n END ORDER BY r.n), '{}')
		INTO priorities FROM unnest(cells) WITH ORDINALITY AS r(cell, n);

	UPDATE sopflow.rule_group g SET kind = group_kind
		WHERE g.rule_set = $1 AND g.rule_group = group_name AND g.kind <> group_kind;
	IF NOT EXISTS (SELECT FROM sopflow.rule_group g WHERE g.rule_set = $1 AND g.rule_group = group_name) THEN
		INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, description) VALUES ($1, group_name, group_kind, origin);
	END IF;
	FOR d IN SELECT x.change, x.rule, x.priority, x.condition, x.action, x.description
		FROM sopflow.table_changes($1, group_name, names, priorities, conditions,
			sopflow.table_actions(cells, c.set_columns, c.set_fields, c.set_values, c.result_columns), cells) x
	LOOP
		IF d.change = 'delete' THEN
			DELETE FROM sopflow.rule r WHERE r.rule_set = $1 AND r.rule = d.rule;
		ELSIF d.change = 'update' THEN
			UPDATE sopflow.rule r SET priority = d.priority, condition = d.condition, actions = d.action, description = d.description
				WHERE r.rule_set = $1 AND r.rule = d.rule;
		ELSE
			INSERT INTO sopflow.rule (rule_set, rule, description, priority, condition, actions, rule_group)
				VALUES ($1, d.rule, d.description, d.priority, d.condition, d.action, group_name);
		END IF;
	END LOOP;
	IF set_order = 'seq' THEN
		PERFORM sopflow.table_sequence($1, names);
	END IF;
	RETURN cardinality(names);
END
$$;
COMMENT ON FUNCTION sopflow.load_decision_table(text, regclass, text) IS
	'Makes the rows of a table or view rules of a group named after it, in place of those it was given before; returns their number';
