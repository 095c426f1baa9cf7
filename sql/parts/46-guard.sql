-- ---------------------------------------------------------------------------
-- Guards: tables whose rows are held to a rule set.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.guard(relation regclass, rule_set text, columns name[] DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_guard';
COMMENT ON FUNCTION sopflow.guard(regclass, text, name[]) IS
	'Holds every write to a table, or those that change the columns, to a rule set; for the table''s owner who is a member of the rule set''s owner. Called again, it changes the columns';

CREATE FUNCTION sopflow.unguard(relation regclass, rule_set text) RETURNS bool LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_unguard';
COMMENT ON FUNCTION sopflow.unguard(regclass, text) IS 'Takes a guard back; for the table''s owner. False where there was none';

-- The triggers that guards should have, and those that they have.
CREATE VIEW sopflow.guard_trigger AS
	SELECT g.relation, g.rule_set, e.event, e.bit, t.oid AS trigger_id, t.tgname AS trigger_name
	FROM sopflow.guarded g
	JOIN pg_catalog.pg_class c ON c.oid = g.relation
	CROSS JOIN (VALUES ('INSERT', 4), ('DELETE', 8), ('UPDATE', 16)) AS e(event, bit)
	LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = g.relation AND (t.tgtype & (3 | e.bit)) = (3 | e.bit)
		AND t.tgfoid = 'sopflow.enforce()'::regprocedure AND t.tgparentid = 0
		AND t.tgargs = pg_catalog.convert_to(g.rule_set, pg_catalog.getdatabaseencoding()) || E'\\x00'::bytea;
COMMENT ON VIEW sopflow.guard_trigger IS 'Triggers of guarded tables';
COMMENT ON COLUMN sopflow.guard_trigger.relation IS 'Guarded table';
COMMENT ON COLUMN sopflow.guard_trigger.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.guard_trigger.event IS 'INSERT, UPDATE or DELETE';
COMMENT ON COLUMN sopflow.guard_trigger.bit IS 'The event in pg_trigger.tgtype';
COMMENT ON COLUMN sopflow.guard_trigger.trigger_id IS 'OID of the trigger; null: it is missing';
COMMENT ON COLUMN sopflow.guard_trigger.trigger_name IS 'Its name';

-- Guarded tables and their partitions, without the locks of pg_partition_tree().
CREATE VIEW sopflow.guard_part AS
	WITH RECURSIVE part(relation, part) AS (
		SELECT g.relation, g.relation::oid FROM sopflow.guarded g
	UNION
		SELECT p.relation, i.inhrelid FROM part p
		JOIN pg_catalog.pg_inherits i ON i.inhparent = p.part
		JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
	)
	SELECT p.relation, p.part FROM part p;
COMMENT ON VIEW sopflow.guard_part IS 'Guarded tables, each with itself and its partitions';
COMMENT ON COLUMN sopflow.guard_part.relation IS 'Guarded table';
COMMENT ON COLUMN sopflow.guard_part.part IS 'OID of the table or of a partition';

-- On DELETE a later trigger has nothing to change, and another guard only
-- where its rules set a column that the first one looks at.  They name it with
-- or without the fact; other spellings than of plain or quoted names may mean
-- any column.  A clone stands for the trigger that it was made
-- from, if that is of a guarded table too.
CREATE VIEW sopflow.guard_later AS
	SELECT g.relation, g.rule_set, t.oid AS later_id, t.tgname AS later, t.tgrelid::regclass AS later_relation,
		o.rule_set AS later_rule_set, pg_catalog.string_agg(g.event, ', ' ORDER BY g.event) AS events
	FROM sopflow.guard_trigger g
	JOIN sopflow.guard_part p ON p.relation = g.relation
	JOIN pg_catalog.pg_trigger t ON t.tgrelid = p.part AND (t.tgtype & (3 | g.bit)) = (3 | g.bit)
		AND t.tgname > g.trigger_name AND t.tgenabled <> 'D'
	LEFT JOIN sopflow.guard_trigger o ON o.trigger_id = t.oid
	WHERE g.event <> 'DELETE'
		AND (t.tgfoid <> 'sopflow.enforce()'::regprocedure
			OR EXISTS (SELECT FROM sopflow.rule r
				JOIN sopflow.guarded e ON e.relation = g.relation AND e.rule_set = g.rule_set
				JOIN pg_catalog.pg_attribute a ON a.attrelid = g.relation AND a.attnum > 0 AND NOT a.attisdropped
					AND (e.columns IS NULL OR a.attname = ANY (e.columns))
				CROSS JOIN LATERAL pg_catalog.jsonb_path_query(r.actions, '$[*].set ? (@.type() == "object")') AS s(fields)
				CROSS JOIN LATERAL pg_catalog.jsonb_object_keys(s.fields) AS k(key)
				WHERE r.rule_set = o.rule_set AND r.enabled
					AND CASE WHEN k.key !~ E'^[ \\t\\n\\r\\f]*(?:"(?:[^"]|"")+"|[^\\u0001-\\u0040\\u005B-\\u005E\\u0060\\u007B-\\u007F][^\\u0001-\\u0023\\u0025-\\u002F\\u003A-\\u0040\\u005B-\\u005E\\u0060\\u007B-\\u007F]*)(?:[ \\t\\n\\r\\f]*\\.[ \\t\\n\\r\\f]*(?:"(?:[^"]|"")+"|[^\\u0001-\\u0040\\u005B-\\u005E\\u0060\\u007B-\\u007F][^\\u0001-\\u0023\\u0025-\\u002F\\u003A-\\u0040\\u005B-\\u005E\\u0060\\u007B-\\u007F]*))?[ \\t\\n\\r\\f]*$'
						THEN true
						ELSE pg_catalog.parse_ident(k.key)::name[] = ARRAY['new', a.attname]
							OR pg_catalog.parse_ident(k.key)::name[] = ARRAY[a.attname]
								AND NOT EXISTS (SELECT FROM sopflow.rule_fact f WHERE f.rule_set = r.rule_set AND f.fact = a.attname)
						END))
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger f
			JOIN sopflow.guard_part fp ON fp.relation = g.relation AND fp.part = f.tgrelid
			WHERE f.oid = t.tgparentid)
	GROUP BY g.relation, g.rule_set, t.oid, t.tgname, t.tgrelid, o.rule_set;
COMMENT ON VIEW sopflow.guard_later IS 'Triggers that fire after a guard and may change what it let pass';
COMMENT ON COLUMN sopflow.guard_later.relation IS 'Guarded table';
COMMENT ON COLUMN sopflow.guard_later.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.guard_later.later_id IS 'OID of the trigger that fires later';
COMMENT ON COLUMN sopflow.guard_later.later IS 'Its name';
COMMENT ON COLUMN sopflow.guard_later.later_relation IS 'Its table: the guarded one or a partition';
COMMENT ON COLUMN sopflow.guard_later.later_rule_set IS 'Its rule set, where it is of a guard too';
COMMENT ON COLUMN sopflow.guard_later.events IS 'INSERT, UPDATE or both';

-- PostgreSQL makes a partitioned table's triggers anew for each partition, with
-- the rights of who attaches it.
CREATE FUNCTION sopflow.open_guards() RETURNS void LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	closed regrole[];
	role regrole;
BEGIN
	FOR i IN 1..2 LOOP
		SELECT array_agg(DISTINCT c.relowner::regrole) INTO closed
			FROM sopflow.guard_part p JOIN pg_class c ON c.oid = p.part
			WHERE c.relkind = 'p' AND NOT has_function_privilege(c.relowner, 'sopflow.enforce()', 'EXECUTE');
		IF closed IS NULL THEN
			RETURN;
		END IF;
		-- two at a time would fail, so look again when the other one is through
		LOCK TABLE sopflow.guarded IN SHARE UPDATE EXCLUSIVE MODE;
	END LOOP;
	FOREACH role IN ARRAY closed LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION sopflow.enforce() TO %s', role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.open_guards() IS 'Lets the owners of guarded partitioned tables attach partitions';

CREATE FUNCTION sopflow.follow_guarded() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l record;
BEGIN
	-- a dump brings names, triggers and rights as they were
	IF NOT EXISTS (SELECT FROM sopflow.guarded) OR EXISTS (SELECT FROM sopflow.hold) THEN
		RETURN;
	END IF;
	-- the trigger's WHEN has followed a renamed column, which takes the place
	-- of the name that is gone
	UPDATE sopflow.guarded g SET columns = ARRAY(
			SELECT CASE WHEN o.col = ANY (n.names) THEN o.col
				ELSE (ARRAY(SELECT x FROM unnest(n.names) x WHERE x <> ALL (g.columns)))[
					count(*) FILTER (WHERE o.col <> ALL (n.names)) OVER (ORDER BY o.ord)] END
			FROM unnest(g.columns) WITH ORDINALITY AS o(col, ord) ORDER BY o.ord)
		FROM (SELECT t.relation, t.rule_set, array_agg(a.attname ORDER BY a.attnum) AS names
			FROM sopflow.guard_trigger t
			CROSS JOIN LATERAL (SELECT DISTINCT d.refobjsubid AS attnum FROM pg_depend d
				WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.trigger_id
					AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.relation AND d.refobjsubid > 0) d
			JOIN pg_attribute a ON a.attrelid = t.relation AND a.attnum = d.attnum
			WHERE t.event = 'UPDATE'
			GROUP BY t.relation, t.rule_set) n
		WHERE g.relation = n.relation AND g.rule_set = n.rule_set
			AND cardinality(g.columns) = cardinality(n.names) AND NOT g.columns <@ n.names;
	PERFORM sopflow.open_guards();
	FOR l IN SELECT t.relation, t.rule_set, t.trigger_name
		FROM pg_event_trigger_ddl_commands() e
		JOIN sopflow.guard_trigger t ON t.trigger_id = e.objid
		WHERE e.classid = 'pg_trigger'::regclass AND e.command_tag = 'ALTER TRIGGER'
			AND NOT starts_with(t.trigger_name, '~sopflow_guard_')
	LOOP
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('cannot rename a trigger of table %s to "%s": it is of the guard by rule set "%s"',
				l.relation, l.trigger_name, l.rule_set),
			HINT = 'By its name it fires after the other triggers, and is found again.';
	END LOOP;
	FOR l IN SELECT t.later, t.later_relation, t.rule_set, t.events
		FROM pg_event_trigger_ddl_commands() e
		JOIN sopflow.guard_later t ON t.later_id = e.objid
		WHERE e.classid = 'pg_trigger'::regclass AND t.later_rule_set IS NULL
		ORDER BY t.rule_set
	LOOP
		RAISE WARNING USING
			MESSAGE = format('trigger "%s" of table %s fires after the guard by rule set "%s" on %s and may change what it let pass',
				l.later, l.later_relation, l.rule_set, l.events),
			HINT = 'Give it a name that sorts before "~sopflow_guard_".';
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.follow_guarded() IS 'Event trigger: guards follow renamed columns and new owners, later triggers are warned of';

CREATE FUNCTION sopflow.keep_guards() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	d record;
	g record;
BEGIN
	-- the extension itself is going
	IF to_regclass('sopflow.guard_trigger') IS NULL THEN
		RETURN;
	END IF;
	FOR d IN SELECT o.original, to_regclass(format('%I.%I', o.address_names[1], o.address_names[2])) AS relation,
			(SELECT format('%s %s', replace(c.object_type, 'table column', 'column'), c.object_identity) FROM pg_event_trigger_dropped_objects() c
				WHERE c.original ORDER BY c.object_identity LIMIT 1) AS what
		FROM pg_event_trigger_dropped_objects() o
		WHERE o.classid = 'pg_trigger'::regclass AND starts_with(o.address_names[3], '~sopflow_guard_')
	LOOP
		FOR g IN SELECT t.rule_set, string_agg(t.event, ', ' ORDER BY t.event) AS events
			FROM sopflow.guard_trigger t
			WHERE t.relation = d.relation AND t.trigger_id IS NULL
			GROUP BY t.rule_set ORDER BY t.rule_set
		LOOP
			IF d.original THEN
				RAISE WARNING USING
					MESSAGE = format('table %s is no longer held to rule set "%s" on %s', d.relation, g.rule_set, g.events),
					HINT = format('Use SELECT sopflow.unguard(%L, %L), or guard() to have the trigger again.', d.relation, g.rule_set);
			ELSE
				RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
					MESSAGE = format('cannot drop %s: the guard of table %s by rule set "%s" looks at it', d.what, d.relation, g.rule_set),
					HINT = format('Use SELECT sopflow.guard(%L, %L, ...) without the column, or sopflow.unguard(), first.',
						d.relation, g.rule_set);
			END IF;
		END LOOP;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.keep_guards() IS 'Event trigger: a column that a guard looks at is not dropped, a guard that lost a trigger is warned of';

CREATE EVENT TRIGGER sopflow_follow_guarded ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER TRIGGER', 'CREATE TRIGGER')
	EXECUTE FUNCTION sopflow.follow_guarded();
COMMENT ON EVENT TRIGGER sopflow_follow_guarded IS 'Lets guards follow changes of their tables';
CREATE EVENT TRIGGER sopflow_keep_guards ON sql_drop
	EXECUTE FUNCTION sopflow.keep_guards();
COMMENT ON EVENT TRIGGER sopflow_keep_guards IS 'Keeps guards from losing their triggers unseen';

-- ---------------------------------------------------------------------------
-- Health of guards
-- ---------------------------------------------------------------------------

CREATE VIEW sopflow.health_guards AS
	SELECT 'error' AS severity, 'guard_missing' AS code,
		pg_catalog.format('table %s is not held to rule set "%s" on %s: its trigger is missing', t.relation, t.rule_set,
			pg_catalog.string_agg(t.event, ', ' ORDER BY t.event)) AS message,
		pg_catalog.format('SELECT sopflow.guard(%L, %L%s) makes it again; unguard() takes the guard back.', t.relation, t.rule_set,
			(SELECT ', ' || pg_catalog.quote_literal(g.columns) FROM sopflow.guarded g
				WHERE g.relation = t.relation AND g.rule_set = t.rule_set)) AS hint
	FROM sopflow.guard_trigger t
	WHERE t.trigger_id IS NULL
	GROUP BY t.relation, t.rule_set
UNION ALL
	SELECT 'error', 'guard_disabled',
		pg_catalog.format('trigger "%s" of table %s is disabled: its rows are not held to rule set "%s"', t.tgname, t.tgrelid::regclass, g.rule_set),
		pg_catalog.format('ALTER TABLE %s ENABLE TRIGGER %I.', t.tgrelid::regclass, t.tgname)
	FROM sopflow.guarded g
	JOIN sopflow.guard_part p ON p.relation = g.relation
	JOIN pg_catalog.pg_trigger t ON t.tgrelid = p.part AND t.tgfoid = 'sopflow.enforce()'::regprocedure
		AND t.tgargs = pg_catalog.convert_to(g.rule_set, pg_catalog.getdatabaseencoding()) || E'\\x00'::bytea
	WHERE t.tgenabled NOT IN ('O', 'A')
UNION ALL
	SELECT 'warning', 'guard_later',
		pg_catalog.format('trigger "%s" of table %s fires after the guard by rule set "%s" on %s and may change what it let pass',
			l.later, l.later_relation, l.rule_set, l.events),
		CASE WHEN l.later_rule_set IS NULL THEN 'Give it a name that sorts before "~sopflow_guard_".'
			ELSE 'Rule sets of one table fire in the order of their names; those that set fields belong first, or into one set with the others.' END
	FROM sopflow.guard_later l
UNION ALL
	SELECT 'warning', 'guard_owner',
		pg_catalog.format('table %s now belongs to %s and rule set "%s", which it is held to, to %s', g.relation,
			c.relowner::regrole, g.rule_set, s.owner),
		pg_catalog.format('Neither role is a member of the other. SELECT sopflow.guard(%L, %L%s), by a member of both, confirms the guard; unguard() takes it back.',
			g.relation, g.rule_set, ', ' || pg_catalog.quote_literal(g.columns))
	FROM sopflow.guarded g
	JOIN sopflow.rule_set s USING (rule_set)
	JOIN pg_catalog.pg_class c ON c.oid = g.relation
	WHERE (c.relowner, s.owner::oid) <> (g.relation_owner::oid, g.rule_set_owner::oid)
		AND NOT coalesce(pg_catalog.pg_has_role(c.relowner, s.owner::oid, 'MEMBER'), false)
		AND NOT coalesce(pg_catalog.pg_has_role(s.owner::oid, c.relowner, 'MEMBER'), false)
UNION ALL
	SELECT 'error', 'guard_rule_set',
		pg_catalog.format('table %s is held to rule set "%s", which does not exist: every write fails', g.relation, g.rule_set),
		pg_catalog.format('SELECT sopflow.unguard(%L, %L) takes the guard back.', g.relation, g.rule_set)
	FROM sopflow.guarded g
	JOIN pg_catalog.pg_class c ON c.oid = g.relation
	WHERE NOT EXISTS (SELECT FROM sopflow.rule_set s WHERE s.rule_set = g.rule_set)
UNION ALL
	SELECT 'info', 'guard_draft',
		pg_catalog.format('rule set "%s", which table %s is held to, is disabled', g.rule_set, g.relation),
		pg_catalog.format('UPDATE sopflow.rule_set SET enabled = true WHERE rule_set = %L puts it in force.', g.rule_set)
	FROM sopflow.guarded g
	JOIN sopflow.rule_set s USING (rule_set)
	WHERE NOT s.enabled;
COMMENT ON VIEW sopflow.health_guards IS 'The part of health about guarded tables';
COMMENT ON COLUMN sopflow.health_guards.severity IS 'error, warning or info';
COMMENT ON COLUMN sopflow.health_guards.code IS 'A word for programs';
COMMENT ON COLUMN sopflow.health_guards.message IS 'What is wrong';
COMMENT ON COLUMN sopflow.health_guards.hint IS 'What to do about it';
