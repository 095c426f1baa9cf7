-- ---------------------------------------------------------------------------
-- Writing.  The triggers keep the search_path of the session: these functions
-- are called under that of the caller, so their bodies are bound to what they
-- name when they are created.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.sop_file_insert_action(a sopflow.action) RETURNS bool
	LANGUAGE sql VOLATILE
BEGIN ATOMIC
	INSERT INTO sopflow.action (action, delivery, channel, handler, lease, timeout, max_attempts, backoff_base, backoff_factor,
			backoff_cap, jitter, alert_after, enabled, description)
		VALUES ((a).action, (a).delivery, (a).channel, (a).handler, (a).lease, (a).timeout, (a).max_attempts, (a).backoff_base,
			(a).backoff_factor, (a).backoff_cap, (a).jitter, (a).alert_after, (a).enabled, (a).description)
		ON CONFLICT DO NOTHING RETURNING true;
END;
COMMENT ON FUNCTION sopflow.sop_file_insert_action(sopflow.action) IS 'Makes an action; null where there is one';

CREATE FUNCTION sopflow.sop_file_update_action(a sopflow.action) RETURNS void
	LANGUAGE sql VOLATILE
BEGIN ATOMIC
	UPDATE sopflow.action r SET (delivery, channel, handler, lease, timeout, max_attempts, backoff_base, backoff_factor,
			backoff_cap, jitter, alert_after, enabled, description)
		= ((a).delivery, (a).channel, (a).handler, (a).lease, (a).timeout, (a).max_attempts, (a).backoff_base,
			(a).backoff_factor, (a).backoff_cap, (a).jitter, (a).alert_after, (a).enabled, (a).description)
		WHERE r.action = (a).action;
END;
COMMENT ON FUNCTION sopflow.sop_file_update_action(sopflow.action) IS 'Gives an action the columns of a file';

CREATE FUNCTION sopflow.sop_file_insert_calendar(c sopflow.calendar) RETURNS bool
	LANGUAGE sql VOLATILE
BEGIN ATOMIC
	INSERT INTO sopflow.calendar (calendar, time_zone, weekdays, opens, closes, description)
		VALUES ((c).calendar, (c).time_zone, (c).weekdays, (c).opens, (c).closes, (c).description)
		ON CONFLICT DO NOTHING RETURNING true;
END;
COMMENT ON FUNCTION sopflow.sop_file_insert_calendar(sopflow.calendar) IS 'Makes a calendar; null where there is one';

CREATE FUNCTION sopflow.sop_file_update_calendar(c sopflow.calendar, holidays sopflow.holiday[]) RETURNS void
	LANGUAGE sql VOLATILE
BEGIN ATOMIC
	UPDATE sopflow.calendar r SET (time_zone, weekdays, opens, closes, description)
		= ((c).time_zone, (c).weekdays, (c).opens, (c).closes, (c).description)
		WHERE r.calendar = (c).calendar
			AND (r.time_zone, r.weekdays, r.opens, r.closes, r.description)
				IS DISTINCT FROM ((c).time_zone, (c).weekdays, (c).opens, (c).closes, (c).description);
	DELETE FROM sopflow.holiday r WHERE r.calendar = (c).calendar AND NOT EXISTS (SELECT FROM unnest(holidays) n WHERE n.day = r.day);
	UPDATE sopflow.holiday r SET name = n.name FROM unnest(holidays) n
		WHERE r.calendar = (c).calendar AND r.day = n.day AND r.name IS DISTINCT FROM n.name;
	INSERT INTO sopflow.holiday (calendar, day, name)
		SELECT (c).calendar, n.day, n.name FROM unnest(holidays) n
		WHERE NOT EXISTS (SELECT FROM sopflow.holiday r WHERE r.calendar = (c).calendar AND r.day = n.day);
END;
COMMENT ON FUNCTION sopflow.sop_file_update_calendar(sopflow.calendar, sopflow.holiday[]) IS 'Gives a calendar the columns and holidays of a file';

CREATE FUNCTION sopflow.sop_file_insert_sop(s sopflow.sop) RETURNS bool
	LANGUAGE sql VOLATILE
BEGIN ATOMIC
	INSERT INTO sopflow.sop (sop_id, name, description, trigger_event, enabled, delay_from, reentry, skip_late_after, exit_events,
			calendar, subject_relation, subject_key, time_zone_column, max_steps)
		VALUES ((s).sop_id, (s).name, (s).description, (s).trigger_event, (s).enabled, (s).delay_from, (s).reentry, (s).skip_late_after,
			(s).exit_events, (s).calendar, (s).subject_relation, (s).subject_key, (s).time_zone_column, (s).max_steps)
		ON CONFLICT DO NOTHING RETURNING true;
END;
COMMENT ON FUNCTION sopflow.sop_file_insert_sop(sopflow.sop) IS 'Makes an SOP; null where there is one';

CREATE FUNCTION sopflow.sop_file_update_sop(s sopflow.sop) RETURNS void
	LANGUAGE sql VOLATILE
BEGIN ATOMIC
	UPDATE sopflow.sop r SET (name, description, trigger_event, enabled, delay_from, reentry, skip_late_after, exit_events,
			calendar, subject_relation, subject_key, time_zone_column, max_steps)
		= ((s).name, (s).description, (s).trigger_event, (s).enabled, (s).delay_from, (s).reentry, (s).skip_late_after, (s).exit_events,
			(s).calendar, (s).subject_relation, (s).subject_key, (s).time_zone_column, (s).max_steps)
		WHERE r.sop_id = (s).sop_id;
END;
COMMENT ON FUNCTION sopflow.sop_file_update_sop(sopflow.sop) IS 'Gives an SOP the columns of a file';

CREATE FUNCTION sopflow.sop_file_write_nodes(id text, gone sopflow.sop_node[], changed sopflow.sop_node[], added sopflow.sop_node[])
	RETURNS void LANGUAGE sql VOLATILE
BEGIN ATOMIC
	DELETE FROM sopflow.sop_node r WHERE r.sop_id = id AND r.node_id IN (SELECT n.node_id FROM unnest(gone) n);
	UPDATE sopflow.sop_node r SET (seq, type, delay, action, params, next, condition, condition_rules, otherwise, wait_event, sop_ref,
			max_attempts, on_failure)
		= (n.seq, n.type, n.delay, n.action, n.params, n.next, n.condition, n.condition_rules, n.otherwise, n.wait_event, n.sop_ref,
			n.max_attempts, n.on_failure)
		FROM unnest(changed) n WHERE r.sop_id = id AND r.node_id = n.node_id;
	INSERT INTO sopflow.sop_node (sop_id, node_id, seq, type, delay, action, params, next, condition, condition_rules, otherwise,
			wait_event, sop_ref, max_attempts, on_failure)
		SELECT id, n.node_id, n.seq, n.type, n.delay, n.action, n.params, n.next, n.condition, n.condition_rules, n.otherwise,
			n.wait_event, n.sop_ref, n.max_attempts, n.on_failure
		FROM unnest(added) n;
END;
COMMENT ON FUNCTION sopflow.sop_file_write_nodes(text, sopflow.sop_node[], sopflow.sop_node[], sopflow.sop_node[]) IS 'Gives an SOP the nodes of a file';

CREATE FUNCTION sopflow.sop_file_write_links(id text, gone sopflow.sop_link[], changed sopflow.sop_link[], added sopflow.sop_link[])
	RETURNS void LANGUAGE sql VOLATILE
BEGIN ATOMIC
	DELETE FROM sopflow.sop_link r WHERE r.sop_id = id
		AND (r.from_node, r.to_node) IN (SELECT n.from_node, n.to_node FROM unnest(gone) n);
	UPDATE sopflow.sop_link r SET (seq, condition) = (n.seq, n.condition)
		FROM unnest(changed) n WHERE r.sop_id = id AND r.from_node = n.from_node AND r.to_node = n.to_node;
	INSERT INTO sopflow.sop_link (sop_id, from_node, to_node, seq, condition)
		SELECT id, n.from_node, n.to_node, n.seq, n.condition FROM unnest(added) n;
END;
COMMENT ON FUNCTION sopflow.sop_file_write_links(text, sopflow.sop_link[], sopflow.sop_link[], sopflow.sop_link[]) IS 'Gives an SOP the links of a file';

-- Nodes, or links, of a file beside those that are stored.  The first that are
-- in the same order in both keep their numbers, the others go behind them.
CREATE FUNCTION sopflow.sop_file_changes(kind text, stored jsonb, wanted jsonb)
	RETURNS TABLE (change text, row_value jsonb) LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
	last_place bigint := 0;
	last_seq int := -1;
	seq int;
BEGIN
	FOR r IN SELECT o.row_value AS old, n.row_value AS new, o.place
		FROM jsonb_array_elements(wanted) WITH ORDINALITY n(row_value, place)
		FULL JOIN jsonb_array_elements(stored) WITH ORDINALITY o(row_value, place)
			ON jsonb_build_array(o.row_value->'node_id', o.row_value->'from_node', o.row_value->'to_node')
				= jsonb_build_array(n.row_value->'node_id', n.row_value->'from_node', n.row_value->'to_node')
		ORDER BY n.place
	LOOP
		IF r.new IS NULL THEN
			RETURN QUERY SELECT 'gone', r.old;
			CONTINUE;
		END IF;
		IF r.place > last_place THEN
			last_place := r.place;
			seq := r.old->'seq';
		ELSE
			last_place := NULL;
			seq := greatest(nextval('sopflow.sop_node_seq'), last_seq + 1);
		END IF;
		last_seq := seq;
		IF r.old IS NULL THEN
			RETURN QUERY SELECT 'added', r.new || jsonb_build_object('seq', seq);
		ELSIF (r.old->'seq')::int <> seq
			OR sopflow.sop_file_object(kind, r.old)::text <> sopflow.sop_file_object(kind, r.new)::text
		THEN
			RETURN QUERY SELECT 'changed', r.new || jsonb_build_object('seq', seq);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_changes(text, jsonb, jsonb) IS 'Rows of nodes or links that a file changes';

CREATE FUNCTION sopflow.sop_file_write_flow(item sopflow.sop_file_item, stored jsonb, search text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp SET IntervalStyle = 'postgres'
AS $$
DECLARE
	nodes_gone sopflow.sop_node[];
	nodes_changed sopflow.sop_node[];
	nodes_added sopflow.sop_node[];
	links_gone sopflow.sop_link[];
	links_changed sopflow.sop_link[];
	links_added sopflow.sop_link[];
BEGIN
	SELECT array_agg(jsonb_populate_record(NULL::sopflow.sop_node, c.row_value)) FILTER (WHERE c.change = 'gone'),
			array_agg(jsonb_populate_record(NULL::sopflow.sop_node, c.row_value)) FILTER (WHERE c.change = 'changed'),
			array_agg(jsonb_populate_record(NULL::sopflow.sop_node, c.row_value)) FILTER (WHERE c.change = 'added')
		INTO nodes_gone, nodes_changed, nodes_added
		FROM sopflow.sop_file_changes('node', stored->'nodes', item.nodes) c;
	SELECT array_agg(jsonb_populate_record(NULL::sopflow.sop_link, c.row_value)) FILTER (WHERE c.change = 'gone'),
			array_agg(jsonb_populate_record(NULL::sopflow.sop_link, c.row_value)) FILTER (WHERE c.change = 'changed'),
			array_agg(jsonb_populate_record(NULL::sopflow.sop_link, c.row_value)) FILTER (WHERE c.change = 'added')
		INTO links_gone, links_changed, links_added
		FROM sopflow.sop_file_changes('link', stored->'links', item.links) c;
	PERFORM pg_catalog.set_config('search_path', search, true);
	PERFORM sopflow.sop_file_write_nodes(item.name, nodes_gone, nodes_changed, nodes_added);
	PERFORM sopflow.sop_file_write_links(item.name, links_gone, links_changed, links_added);
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_write_flow(sopflow.sop_file_item, jsonb, text) IS 'Gives an SOP the nodes and links of a file';

-- Columns that a file says nothing about are as by default, but for what
-- operators decide, and for the event of an SOP.
CREATE FUNCTION sopflow.sop_file_wanted(item sopflow.sop_file_item, stored jsonb) RETURNS jsonb
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object('nodes', item.nodes, 'links', item.links, 'row', CASE
		WHEN stored IS NULL THEN sopflow.sop_file_defaults(item.kind)
		ELSE (stored->'row') || (sopflow.sop_file_defaults(item.kind) - '{enabled,trigger_event}'::text[])
		END || item.given)
$$;
COMMENT ON FUNCTION sopflow.sop_file_wanted(sopflow.sop_file_item, jsonb) IS 'What is to be stored of an item of a file, in the form of sop_file_stored()';

CREATE FUNCTION sopflow.sop_file_insert(item sopflow.sop_file_item, search text) RETURNS bool
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp SET IntervalStyle = 'postgres' SET DateStyle = 'ISO, YMD'
AS $$
DECLARE
	row_value jsonb := sopflow.sop_file_wanted(item, NULL)->'row';
	action sopflow.action := jsonb_populate_record(NULL::sopflow.action, row_value);
	calendar sopflow.calendar := jsonb_populate_record(NULL::sopflow.calendar, row_value);
	sop sopflow.sop := jsonb_populate_record(NULL::sopflow.sop, row_value);
	kind text := item.kind;
	is_new bool;
BEGIN
	PERFORM pg_catalog.set_config('search_path', search, true);
	CASE
		WHEN kind OPERATOR(pg_catalog.=) 'action' THEN is_new := sopflow.sop_file_insert_action(action);
		WHEN kind OPERATOR(pg_catalog.=) 'calendar' THEN is_new := sopflow.sop_file_insert_calendar(calendar);
		ELSE is_new := sopflow.sop_file_insert_sop(sop);
	END CASE;
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	IF is_new IS NULL THEN
		RETURN false;
	ELSIF kind = 'calendar' THEN
		PERFORM sopflow.sop_file_update_calendar(calendar, ARRAY(SELECT jsonb_populate_recordset(NULL::sopflow.holiday, item.nodes)));
	ELSIF kind = 'sop' THEN
		PERFORM sopflow.sop_file_write_flow(item, '{"nodes": [], "links": []}', search);
	END IF;
	RETURN true;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_insert(sopflow.sop_file_item, text) IS 'Makes an action, a calendar or an SOP of a file; false where there is one';

CREATE FUNCTION sopflow.sop_file_update(item sopflow.sop_file_item, stored jsonb, search text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp SET IntervalStyle = 'postgres' SET DateStyle = 'ISO, YMD'
AS $$
DECLARE
	row_value jsonb := sopflow.sop_file_wanted(item, stored)->'row';
	action sopflow.action;
	sop sopflow.sop;
BEGIN
	IF item.kind = 'calendar' THEN
		PERFORM sopflow.sop_file_update_calendar(jsonb_populate_record(NULL::sopflow.calendar, row_value),
			ARRAY(SELECT jsonb_populate_recordset(NULL::sopflow.holiday, item.nodes)));
	ELSIF sopflow.sop_file_object(item.kind, row_value)::text <> sopflow.sop_file_object(item.kind, stored->'row')::text THEN
		IF item.kind = 'action' THEN
			action := jsonb_populate_record(NULL::sopflow.action, row_value);
			PERFORM pg_catalog.set_config('search_path', search, true);
			PERFORM sopflow.sop_file_update_action(action);
		ELSE
			sop := jsonb_populate_record(NULL::sopflow.sop, row_value);
			PERFORM pg_catalog.set_config('search_path', search, true);
			PERFORM sopflow.sop_file_update_sop(sop);
		END IF;
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	END IF;
	IF item.kind = 'sop' THEN
		PERFORM sopflow.sop_file_write_flow(item, stored, search);
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_update(sopflow.sop_file_item, jsonb, text) IS 'Makes an action, a calendar or an SOP what a file says';

CREATE FUNCTION sopflow.sop_file_lock(kind text, name text) RETURNS bool
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	CASE kind
		WHEN 'action' THEN PERFORM FROM sopflow.action a WHERE a.action = $2 FOR NO KEY UPDATE;
		WHEN 'calendar' THEN PERFORM FROM sopflow.calendar c WHERE c.calendar = $2 FOR NO KEY UPDATE;
		WHEN 'rule_set' THEN PERFORM FROM sopflow.rule_set r WHERE r.rule_set = $2 FOR NO KEY UPDATE;
		ELSE PERFORM FROM sopflow.sop s WHERE s.sop_id = $2 FOR NO KEY UPDATE;
	END CASE;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_lock(text, text) IS 'Locks what a file changes; false where there is none that the caller may change';

-- An item that the caller may not change is no fault where it is as the file says.
CREATE FUNCTION sopflow.sop_file_load_item(item sopflow.sop_file_item, search text) RETURNS text
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	locked bool;
	stored jsonb;
BEGIN
	FOR attempt IN 1..3 LOOP
		locked := sopflow.sop_file_lock(item.kind, item.name);
		stored := sopflow.sop_file_stored(item.kind, item.name);
		IF sopflow.sop_file_canonical(item.kind, stored)::text
			= sopflow.sop_file_canonical(item.kind, sopflow.sop_file_wanted(item, stored))::text
		THEN
			RETURN 'unchanged';
		ELSIF locked THEN
			PERFORM sopflow.sop_file_update(item, stored, search);
			RETURN 'changed';
		ELSIF sopflow.sop_file_insert(item, search) THEN
			RETURN 'created';
		END IF;
	END LOOP;
	RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
		MESSAGE = format('permission denied for %s "%s"', sopflow.sop_file_word(item.kind), item.name),
		HINT = 'It belongs to another role: load it as a member of that, or give it another name.';
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_load_item(sopflow.sop_file_item, text) IS 'Makes an action, a calendar or an SOP what a file says; tells whether it was created, changed or left unchanged';

CREATE FUNCTION sopflow.sop_file_load_rules(item sopflow.sop_file_item, search text) RETURNS text
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp SET DateStyle = 'ISO, YMD' SET TimeZone = 'UTC'
AS $$
DECLARE
	stored jsonb;
BEGIN
	IF sopflow.sop_file_lock('rule_set', item.name) THEN
		stored := sopflow.sop_file_stored_rules(item.name);
	END IF;
	PERFORM sopflow.rule_file_load(item.name, item.given, search);
	RETURN CASE
		WHEN stored IS NULL THEN 'created'
		WHEN stored::text = sopflow.sop_file_stored_rules(item.name)::text THEN 'unchanged'
		ELSE 'changed'
		END;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_load_rules(sopflow.sop_file_item, text) IS 'Makes a rule set what a file says; tells whether it was created, changed or left unchanged';

-- ---------------------------------------------------------------------------
-- Faults that come to light behind the reading, with their paths.
-- ---------------------------------------------------------------------------

-- A fault names the node that a link leaves, and in its message the one that it
-- leads to, or neither where it has but one.
CREATE FUNCTION sopflow.sop_file_link_place(item sopflow.sop_file_item, from_node text, column_name text, message text) RETURNS text
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH link AS (
		SELECT e.n - 1 AS n, strpos(message, format('"%s"', e.link->>'to_node')) > 0 AS is_named
		FROM jsonb_array_elements(item.links) WITH ORDINALITY e(link, n)
		WHERE e.link->>'from_node' = $2 AND (column_name <> 'condition' OR e.link->>'condition' IS NOT NULL)
	)
	SELECT item.place || '.links' || coalesce((SELECT format('[%s].%s', min(l.n), CASE column_name WHEN 'condition' THEN 'condition'
			WHEN 'from_node' THEN 'from' ELSE 'to' END)
		FROM link l WHERE l.is_named = (SELECT bool_or(m.is_named) FROM link m) HAVING count(*) = 1), '')
$$;
COMMENT ON FUNCTION sopflow.sop_file_link_place(sopflow.sop_file_item, text, text, text) IS 'Path of a link in a file';

-- `part` is a node of an SOP or a rule of a set; null: the item itself.
CREATE FUNCTION sopflow.sop_file_place(item sopflow.sop_file_item, part text, column_name text, message text) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	base text := item.place;
	object jsonb := item.object;
	kind text := item.kind;
	key text;
BEGIN
	IF kind = 'rule_set' THEN
		IF part IS NOT NULL THEN
			RETURN coalesce((SELECT base || '.' || i.place || CASE WHEN i.kind IS NULL AND column_name IN ('condition', 'actions', 'valid', 'priority')
					THEN '.' || column_name ELSE '' END
				FROM sopflow.rule_file_items(coalesce(object->'rules', '[]'), 'rules', NULL,
					lower(coalesce(object->>'rule-factory-type', 'sql'))) i
				WHERE i.name = part ORDER BY i.kind NULLS FIRST LIMIT 1),
				(SELECT format('%s.%s[%s].%s', base, l.list, e.n - 1, column_name)
					FROM unnest('{facts,params,quotas}'::text[]) l(list), jsonb_array_elements(item.given->l.list) WITH ORDINALITY e(object, n)
					WHERE e.object->>'name' = part AND e.object ? column_name LIMIT 1), base);
		END IF;
		SELECT s.key INTO key FROM sopflow.rule_file_settings() s
			WHERE s.column_name = sop_file_place.column_name AND object ? s.key LIMIT 1;
		RETURN CASE WHEN key IS NULL THEN base ELSE sopflow.sop_file_path(base, key) END;
	END IF;
	IF part IS NULL AND kind = 'sop' AND column_name = 'sop_ref' THEN
		-- an SOP that would run itself, if by one node only
		part := (SELECT min(e.node->>'node_id') FROM jsonb_array_elements(item.nodes) e(node) WHERE e.node->>'sop_ref' IS NOT NULL HAVING count(*) = 1);
	END IF;
	IF part IS NOT NULL THEN
		SELECT format('%s.nodes[%s]', base, e.n - 1), object->'nodes'->(e.n - 1)::int INTO base, object
			FROM jsonb_array_elements(item.nodes) WITH ORDINALITY e(node, n) WHERE e.node->>'node_id' = part;
		kind := 'node';
		IF column_name IN ('from_node', 'to_node') OR column_name = 'condition' AND object->>'condition' IS NULL
			AND jsonb_path_exists(item.links, '$[*] ? (@.from_node == $from)', jsonb_build_object('from', part))
		THEN
			RETURN sopflow.sop_file_link_place(item, part, column_name, message);
		END IF;
	ELSIF kind = 'sop' AND column_name = 'node_id' THEN
		RETURN base || '.nodes';
	END IF;
	SELECT k.key INTO key FROM sopflow.sop_file_keys(kind) k
		WHERE k.column_name = sop_file_place.column_name ORDER BY object ? k.key DESC, k.n LIMIT 1;
	RETURN CASE WHEN key IS NULL THEN coalesce(base, item.place) ELSE sopflow.sop_file_path(base, key) END;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_place(sopflow.sop_file_item, text, text, text) IS 'Path of a column in a file';

CREATE FUNCTION sopflow.sop_file_check(item sopflow.sop_file_item) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	f record;
	message text;
	detail text := '';
	what text;
	first_table text;
	first_column text;
BEGIN
	FOR f IN
		SELECT v.node_id AS part, v.column_name, v.message, 'sop_node' AS table_name, 'node' AS word
			FROM sopflow.validate(CASE item.kind WHEN 'sop' THEN item.name END) v
			WHERE EXISTS (SELECT FROM sopflow.sop s WHERE s.sop_id = item.name AND s.enabled)
		UNION ALL SELECT v.rule, v.column_name, v.message, 'rule', 'rule'
			FROM sopflow.validate_rules(CASE item.kind WHEN 'rule_set' THEN item.name END) v
			WHERE EXISTS (SELECT FROM sopflow.rule_set r WHERE r.rule_set = item.name AND r.enabled)
	LOOP
		-- a fault is a line
		what := replace(format('%scolumn "%s": %s', CASE WHEN f.part IS NULL THEN '' ELSE format('%s "%s", ', f.word, f.part) END, f.column_name, f.message),
			E'\n', E'\\n');
		IF message IS NULL THEN
			message := format('%s "%s" is not valid: %s', sopflow.sop_file_word(item.kind), item.name, what);
			detail := format('Path: %s.', sopflow.sop_file_place(item, f.part, f.column_name, f.message));
			first_table := CASE WHEN f.part IS NULL THEN item.kind ELSE f.table_name END;
			first_column := f.column_name;
		ELSE
			detail := format(E'%s\nAlso at %s: %s.', detail, sopflow.sop_file_place(item, f.part, f.column_name, f.message), what);
		END IF;
	END LOOP;
	IF message IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SF001', MESSAGE = message, DETAIL = detail,
			SCHEMA = 'sopflow', TABLE = first_table, COLUMN = first_column;
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_check(sopflow.sop_file_item) IS 'Demands that what a file made is valid; drafts need not be';

-- Errors of others get the path of the item that they came up with.
CREATE FUNCTION sopflow.sop_file_rethrow(item sopflow.sop_file_item, state text, message text, detail text, hint text, column_name text)
	RETURNS void LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rules text[] := regexp_match(message, '^rule file is not valid: (.*?): (.*)$');
	place text := item.place;
	rest text := '.' || rules[1];
	part text[];
BEGIN
	IF item.kind = 'rule_set' AND rules IS NOT NULL THEN
		state := 'SF001';
		message := format('file is not valid: rule set "%s", %s: %s', item.name, rules[1], rules[2]);
		WHILE rest <> '' LOOP
			part := regexp_match(rest, '^[.]([A-Za-z_][A-Za-z0-9_]*)((?:[[][0-9]+[]])*)([.].*)?$');
			place := coalesce(place || '.' || part[1] || part[2], sopflow.sop_file_path(place, substr(rest, 2)));
			rest := coalesce(part[3], '');
		END LOOP;
	ELSE
		place := sopflow.sop_file_place(item, NULL, coalesce(nullif(column_name, ''), substring(message from 'column "([[:alnum:]_]+)"'), ''), message);
	END IF;
	-- only sop_file_check() tells of more places
	detail := concat_ws(E'\n', format('Path: %s.', place), regexp_replace(nullif(detail, ''), '^Also at ', ' Also at ', 'gn'));
	IF hint = '' THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail;
	END IF;
	RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail, HINT = hint;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_rethrow(sopflow.sop_file_item, text, text, text, text, text) IS 'Raises an error again, with a path';

CREATE FUNCTION sopflow.sop_file_load(file jsonb, search text)
	RETURNS TABLE (kind text, name text, change text) LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kinds constant text[] := '{action,calendar,rule_set,sop}';
	items sopflow.sop_file_item[];
	changes text[];
	item sopflow.sop_file_item;
	i int;
	state text;
	message text;
	detail text;
	hint text;
	column_name text;
BEGIN
	IF file IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument "file" must not be null';
	END IF;
	items := ARRAY(SELECT x FROM sopflow.sop_file_items(file, search) x);
	PERFORM sopflow.sop_file_unique(ARRAY(SELECT format('%s "%s"', sopflow.sop_file_word(u.kind), u.name) FROM unnest(items) u),
		ARRAY(SELECT u.place FROM unnest(items) u), 'the');
	BEGIN
		-- in one order, whatever that of the file, so that no two loads wait for each other
		FOR i IN SELECT u.n FROM unnest(items) WITH ORDINALITY u(kind, name, place, object, given, nodes, links, n)
			ORDER BY array_position(kinds, u.kind), u.name COLLATE "C"
		LOOP
			item := items[i];
			changes[i] := CASE item.kind WHEN 'rule_set' THEN sopflow.sop_file_load_rules(item, search)
				ELSE sopflow.sop_file_load_item(item, search) END;
		END LOOP;
		FOR i IN SELECT u.n FROM unnest(items) WITH ORDINALITY u(kind, name, place, object, given, nodes, links, n)
			WHERE changes[u.n] <> 'unchanged' AND u.kind IN ('rule_set', 'sop')
			ORDER BY array_position(kinds, u.kind), u.n
		LOOP
			item := items[i];
			PERFORM sopflow.sop_file_check(item);
		END LOOP;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
			hint = PG_EXCEPTION_HINT, column_name = COLUMN_NAME;
		-- those that concern the transaction or the server stay as they are
		IF detail NOT LIKE 'Path: $%' AND left(state, 2) NOT IN ('25', '40', '53', '57', '58', 'XX') AND state NOT IN ('54001', '55P03') THEN
			PERFORM sopflow.sop_file_rethrow(item, state, message, detail, hint, column_name);
		END IF;
		RAISE;
	END;
	RETURN QUERY SELECT u.kind, u.name, changes[u.n]
		FROM unnest(items) WITH ORDINALITY u(kind, name, place, object, given, nodes, links, n)
		ORDER BY array_position(kinds, u.kind), u.n;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_load(jsonb, text) IS 'load_sop() under a search_path';

CREATE FUNCTION sopflow.load_sop(file jsonb) RETURNS TABLE (kind text, name text, change text)
	LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT l.kind, l.name, l.change FROM sopflow.sop_file_load(file, pg_catalog.current_setting('search_path')) l;
END;
COMMENT ON FUNCTION sopflow.load_sop(jsonb) IS 'Makes SOPs, and the actions, calendars and rule sets that stand beside them, what a file says; tells of each whether it was created, changed or left unchanged';

CREATE FUNCTION sopflow.export_sop(sop_id text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stored jsonb := sopflow.sop_file_stored('sop', sop_id);
BEGIN
	IF sop_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument "sop_id" must not be null';
	ELSIF stored IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('SOP "%s" does not exist', sop_id);
	END IF;
	RETURN sopflow.sop_file_canonical('sop', stored);
END
$$;
COMMENT ON FUNCTION sopflow.export_sop(text) IS 'An SOP as load_sop() takes it';

CREATE FUNCTION sopflow.sop_file_export(kind text, name text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stored jsonb := sopflow.sop_file_stored(kind, name);
BEGIN
	IF kind = 'rule_set' THEN
		RETURN sopflow.sop_file_stored_rules(name);
	END IF;
	RETURN CASE WHEN stored IS NOT NULL THEN sopflow.sop_file_canonical(kind, stored) END;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_export(text, text) IS 'An action, a calendar, a rule set or an SOP as files have it; null where the caller sees none';

CREATE FUNCTION sopflow.export_file(sop_ids text[] DEFAULT NULL) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ids text[] := sop_ids;
	id text;
	sops jsonb;
	actions jsonb;
	calendars jsonb;
	rule_sets jsonb;
BEGIN
	FOREACH id IN ARRAY coalesce(ids, '{}') LOOP
		PERFORM sopflow.export_sop(id);
	END LOOP;
	IF ids IS NOT NULL THEN
		WITH RECURSIVE used (id) AS (
			SELECT unnest(sop_ids)
			UNION
			SELECT n.sop_ref FROM used u JOIN sopflow.sop_node n ON n.sop_id = u.id JOIN sopflow.sop s ON s.sop_id = n.sop_ref
		)
		SELECT array_agg(u.id) INTO ids FROM used u;
	END IF;
	SELECT coalesce(jsonb_agg(sopflow.export_sop(s.sop_id) ORDER BY s.sop_id COLLATE "C"), '[]') INTO sops
		FROM sopflow.sop s WHERE sop_ids IS NULL OR s.sop_id = ANY (ids);
	SELECT jsonb_agg(sopflow.sop_file_canonical('action', sopflow.sop_file_stored('action', a.action)) ORDER BY a.action COLLATE "C") INTO actions
		FROM sopflow.action a
		WHERE sop_ids IS NULL OR a.action IN (SELECT n.action FROM sopflow.sop_node n WHERE n.sop_id = ANY (ids));
	SELECT jsonb_agg(sopflow.sop_file_canonical('calendar', sopflow.sop_file_stored('calendar', c.calendar)) ORDER BY c.calendar COLLATE "C")
		INTO calendars FROM sopflow.calendar c
		WHERE sop_ids IS NULL OR c.calendar IN (SELECT s.calendar FROM sopflow.sop s WHERE s.sop_id = ANY (ids));
	SELECT jsonb_agg(sopflow.sop_file_stored_rules(r.rule_set) ORDER BY r.rule_set COLLATE "C") INTO rule_sets
		FROM sopflow.rule_set r
		WHERE sop_ids IS NULL OR r.rule_set IN (SELECT n.condition_rules FROM sopflow.sop_node n WHERE n.sop_id = ANY (ids));
	RETURN jsonb_build_object('sops', sops)
		|| CASE WHEN actions IS NULL THEN '{}' ELSE jsonb_build_object('actions', actions) END
		|| CASE WHEN calendars IS NULL THEN '{}' ELSE jsonb_build_object('calendars', calendars) END
		|| CASE WHEN rule_sets IS NULL THEN '{}' ELSE jsonb_build_object('rule_sets', rule_sets) END;
END
$$;
COMMENT ON FUNCTION sopflow.export_file(text[]) IS 'SOPs with the actions, calendars, rule sets and SOPs that they use, as load_sop() takes them; null: everything that the caller sees';
