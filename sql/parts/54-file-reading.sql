-- ---------------------------------------------------------------------------
-- Files: SOPs, and with them actions, calendars and rule sets, as one JSON value.
--
-- Every fault is an error whose DETAIL begins with a line
--     Path: $.sops[0].nodes[2].delay.
-- It is the place in the file: $ is the file, .key a key, ["a key"] one that is
-- no name (a JSON string), [n] an element of an array, counted from 0.  A key
-- that is missing is named as if it were there, so who looks a path up takes the
-- longest beginning of it that exists.  More faults of one SOP or rule set are
-- lines "Also at PATH: what." behind it.  The fault itself is in the message.
--
-- A jsonb has each key of an object once: who reads a file as text has to refuse
-- keys that stand in it twice.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.sop_file_path(place text, key text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT place || CASE WHEN key ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN '.' || key ELSE format('[%s]', to_json(key)) END;
END;
COMMENT ON FUNCTION sopflow.sop_file_path(text, text) IS 'Path of a key in a file';

CREATE FUNCTION sopflow.sop_file_fault(place text, what text, hint text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF hint IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SF001', MESSAGE = 'file is not valid: ' || what, DETAIL = format('Path: %s.', place);
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'SF001', MESSAGE = 'file is not valid: ' || what, DETAIL = format('Path: %s.', place), HINT = hint;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_fault(text, text, text) IS 'Raises the error that a file is not valid, with the path of the fault';

CREATE FUNCTION sopflow.sop_file_word(kind text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE kind WHEN 'sop' THEN 'SOP' ELSE replace(kind, '_', ' ') END;
END;
COMMENT ON FUNCTION sopflow.sop_file_word(text) IS 'A kind of item in messages';

-- Letters to change, add or leave out.
CREATE FUNCTION sopflow.sop_file_distance(a text, b text) RETURNS int
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	above int[] := ARRAY(SELECT generate_series(0, length(b)));
	here int[];
BEGIN
	FOR i IN 1..length(a) LOOP
		here := ARRAY[i];
		FOR j IN 1..length(b) LOOP
			here[j + 1] := least(here[j] + 1, above[j + 1] + 1, above[j] + (substr(a, i, 1) <> substr(b, j, 1))::int);
		END LOOP;
		above := here;
	END LOOP;
	RETURN above[length(b) + 1];
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_distance(text, text) IS 'Edits between two words';

CREATE FUNCTION sopflow.sop_file_hint(word text, words text[]) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT format('Did you mean "%s"?', w.word)
		FROM (SELECT u.word, sopflow.sop_file_distance(lower(left(sop_file_hint.word, 40)), lower(u.word)) AS distance,
				lower(translate(sop_file_hint.word, '_- ', '')) = lower(translate(u.word, '_- ', '')) AS same, u.n
			FROM unnest(words) WITH ORDINALITY u(word, n)) w
		WHERE w.same OR w.distance <= greatest(1, (length(w.word) + 1) / 3)
		ORDER BY w.same DESC, w.distance, w.n LIMIT 1;
END;
COMMENT ON FUNCTION sopflow.sop_file_hint(text, text[]) IS 'Asks for the word that may be meant; null: none is near';

-- The keys of the objects of a file.  Of several keys of one column the first is
-- the one that is exported.  `presence`: required; nullable: null may be given
-- and is what an absent one means, unless it has a default; optional.
CREATE FUNCTION sopflow.sop_file_keys(kind text)
	RETURNS TABLE (key text, column_name text, type text, presence text, default_value jsonb, n bigint)
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT k.key, k.column_name, k.type, k.presence, k.default_value::jsonb, row_number() OVER ()
	FROM (VALUES
		('file', 'actions', NULL, 'array', 'optional', NULL),
		('file', 'calendars', NULL, 'array', 'optional', NULL),
		('file', 'rule_sets', NULL, 'array', 'optional', NULL),
		('file', 'sops', NULL, 'array', 'optional', NULL),
		('action', 'name', 'action', 'name', 'required', NULL),
		('action', 'description', 'description', 'text', 'nullable', NULL),
		('action', 'delivery', 'delivery', 'words queue|broadcast|call', 'optional', '"queue"'),
		('action', 'channel', 'channel', 'identifier', 'optional', '"sopflow"'),
		('action', 'handler', 'handler', 'function', 'nullable', NULL),
		('action', 'lease', 'lease', 'interval', 'optional', '"1min"'),
		('action', 'timeout', 'timeout', 'interval', 'optional', '"30s"'),
		('action', 'max_attempts', 'max_attempts', 'integer 1 10000', 'optional', '5'),
		('action', 'backoff_base', 'backoff_base', 'interval', 'optional', '"30s"'),
		('action', 'backoff_factor', 'backoff_factor', 'number 1 1000', 'optional', '2'),
		('action', 'backoff_cap', 'backoff_cap', 'interval', 'optional', '"1h"'),
		('action', 'jitter', 'jitter', 'number 0 1', 'optional', '0.2'),
		('action', 'alert_after', 'alert_after', 'integer 1 2147483647', 'nullable', '3'),
		('action', 'enabled', 'enabled', 'boolean', 'optional', 'true'),
		('calendar', 'name', 'calendar', 'name', 'required', NULL),
		('calendar', 'description', 'description', 'text', 'nullable', NULL),
		('calendar', 'time_zone', 'time_zone', 'text', 'optional', '"UTC"'),
		('calendar', 'weekdays', 'weekdays', 'weekdays', 'optional', '[1, 2, 3, 4, 5]'),
		('calendar', 'opens', 'opens', 'time', 'optional', '"00:00"'),
		('calendar', 'closes', 'closes', 'time', 'optional', '"24:00"'),
		('calendar', 'holidays', NULL, 'array', 'optional', NULL),
		('holiday', 'day', 'day', 'date', 'required', NULL),
		('holiday', 'name', 'name', 'text', 'nullable', NULL),
		('sop', 'id', 'sop_id', 'name', 'required', NULL),
		('sop', 'sopId', 'sop_id', 'name', 'required', NULL),
		('sop', 'name', 'name', 'text', 'nullable', NULL),
		('sop', 'description', 'description', 'text', 'nullable', NULL),
		('sop', 'trigger_event', 'trigger_event', 'event', 'nullable', NULL),
		('sop', 'triggerEvent', 'trigger_event', 'event', 'nullable', NULL),
		('sop', 'enabled', 'enabled', 'boolean', 'optional', 'true'),
		('sop', 'delay_from', 'delay_from', 'words event|previous', 'optional', '"event"'),
		('sop', 'reentry', 'reentry', 'words ignore|restart|allow', 'optional', '"ignore"'),
		('sop', 'skip_late_after', 'skip_late_after', 'interval', 'nullable', NULL),
		('sop', 'exit_events', 'exit_events', 'texts', 'optional', '[]'),
		('sop', 'calendar', 'calendar', 'text', 'nullable', NULL),
		('sop', 'subject_relation', 'subject_relation', 'relation', 'nullable', NULL),
		('sop', 'subject_key', 'subject_key', 'identifier', 'nullable', NULL),
		('sop', 'time_zone_column', 'time_zone_column', 'identifier', 'nullable', NULL),
		('sop', 'max_steps', 'max_steps', 'integer 1 60000', 'optional', '10000'),
		('sop', 'nodes', NULL, 'array', 'optional', NULL),
		('sop', 'links', NULL, 'array', 'optional', NULL),
		('node', 'id', 'node_id', 'name', 'required', NULL),
		('node', 'nodeId', 'node_id', 'name', 'required', NULL),
		('node', 'type', 'type', 'text', 'optional', '"delay"'),
		('node', 'delay', 'delay', 'interval', 'optional', '"0"'),
		('node', 'delayHours', 'delay', 'hours', 'optional', '"0"'),
		('node', 'action', 'action', 'text', 'nullable', NULL),
		('node', 'actionType', 'action', 'text', 'nullable', NULL),
		('node', 'params', 'params', 'json', 'optional', '{}'),
		('node', 'actionParams', 'params', 'json', 'optional', '{}'),
		('node', 'condition', 'condition', 'text', 'nullable', NULL),
		('node', 'condition_rules', 'condition_rules', 'text', 'nullable', NULL),
		('node', 'wait_event', 'wait_event', 'text', 'nullable', NULL),
		('node', 'sop_ref', 'sop_ref', 'text', 'nullable', NULL),
		('node', 'next', 'next', 'text', 'nullable', NULL),
		('node', 'otherwise', 'otherwise', 'text', 'nullable', NULL),
		('node', 'max_attempts', 'max_attempts', 'integer 1 10000', 'nullable', NULL),
		('node', 'retryCount', 'max_attempts', 'retries', 'nullable', NULL),
		('node', 'on_failure', 'on_failure', 'words stop|continue', 'optional', '"stop"'),
		('link', 'from', 'from_node', 'text', 'required', NULL),
		('link', 'to', 'to_node', 'text', 'required', NULL),
		('link', 'condition', 'condition', 'text', 'nullable', NULL))
		AS k(kind, key, column_name, type, presence, default_value)
	WHERE k.kind = sop_file_keys.kind;
END;
COMMENT ON FUNCTION sopflow.sop_file_keys(text) IS 'Keys of the objects of one kind in a file';

-- ---------------------------------------------------------------------------
-- Reading.  A file means the same in every session: settings that say how texts
-- are read are fixed, and names of relations and functions, which are read under
-- the search_path of the caller, are made whole.
-- ---------------------------------------------------------------------------

-- 24h, 90min, 30s, or PostgreSQL's own form.
CREATE FUNCTION sopflow.sop_file_interval(value interval) RETURNS text
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp SET IntervalStyle = 'postgres'
AS $$
DECLARE
	part text[] := regexp_match(value::text, '^([0-9]+):([0-9]{2}):([0-9]{2})$');
	hours bigint := part[1];
	minutes int := part[2];
	seconds int := part[3];
BEGIN
	RETURN CASE
		WHEN part IS NULL THEN value::text
		WHEN hours = 0 AND minutes = 0 AND seconds = 0 THEN '0'
		WHEN seconds > 0 AND (hours > 0 OR minutes > 0) THEN value::text
		WHEN seconds > 0 THEN seconds || 's'
		WHEN minutes > 0 THEN hours * 60 + minutes || 'min'
		ELSE hours || 'h'
		END;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_interval(interval) IS 'An interval as files have it';

CREATE FUNCTION sopflow.sop_file_relation(name text, search text) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation oid;
BEGIN
	BEGIN
		PERFORM pg_catalog.set_config('search_path', search, true);
		relation := pg_catalog.to_regclass(name);
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	EXCEPTION WHEN syntax_error OR invalid_name THEN
		RETURN NULL;
	END;
	-- a number is no name, though some versions take it for an OID
	RETURN (SELECT format('%I.%I', n.nspname, c.relname)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation AND name !~ '^[[:space:]]*[0-9]+[[:space:]]*$');
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_relation(text, text) IS 'Name of a relation with its schema; null: there is none';

CREATE FUNCTION sopflow.sop_file_function(name text, argument text, search text) RETURNS text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	function oid;
BEGIN
	BEGIN
		PERFORM pg_catalog.set_config('search_path', search, true);
		function := pg_catalog.to_regprocedure(pg_catalog.concat(name, '(', argument, ')'));
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	EXCEPTION WHEN syntax_error OR invalid_name OR invalid_parameter_value OR insufficient_privilege THEN
		function := NULL;
	END;
	RETURN coalesce((SELECT format('%I.%I', n.nspname, p.proname)
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = function), name);
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_function(text, text, text) IS 'Name of a function with its schema; as it is where there is none';

-- `type` is one of those of sop_file_keys(); `search` the caller's search_path.
CREATE FUNCTION sopflow.sop_file_value(value jsonb, place text, key text, type text, search text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp SET IntervalStyle = 'postgres' SET DateStyle = 'ISO, YMD'
	SET extra_float_digits = 1
AS $$
DECLARE
	word text := split_part(type, ' ', 1);
	given text := jsonb_typeof(value);
	v text := value #>> '{}';
	fault text;
	hint text;
BEGIN
	fault := CASE
		WHEN word = 'json' THEN CASE WHEN given = 'null' THEN 'must not be null' END
		WHEN word = 'boolean' THEN CASE WHEN given <> 'boolean' THEN 'must be true or false' END
		WHEN word = 'array' THEN CASE WHEN given <> 'array' THEN 'must be an array' END
		WHEN word = 'texts' THEN
			CASE WHEN given <> 'array' OR jsonb_path_exists(value, 'strict $[*] ? (@.type() != "string")') THEN 'must be an array of strings' END
		WHEN word = 'weekdays' THEN
			CASE WHEN given <> 'array' OR jsonb_path_exists(value, 'strict $[*] ? (!(@.type() == "number" && @ >= 1 && @ <= 7 && @.floor() == @))')
				THEN 'must be an array of numbers from 1 (Monday) to 7 (Sunday)' END
		WHEN word IN ('integer', 'hours', 'retries') THEN
			CASE WHEN given <> 'number' THEN 'must be an integer'
				WHEN v::numeric <> trunc(v::numeric) THEN 'must be an integer'
				WHEN word = 'integer' AND v::numeric NOT BETWEEN split_part(type, ' ', 2)::int AND split_part(type, ' ', 3)::int
					THEN format('must be from %s to %s', split_part(type, ' ', 2), split_part(type, ' ', 3))
				WHEN word = 'hours' AND v::numeric NOT BETWEEN 0 AND 878400 THEN 'must be from 0 to 878400'
				WHEN word = 'retries' AND v::numeric NOT BETWEEN 0 AND 9999 THEN 'must be from 0 to 9999' END
		WHEN word = 'number' THEN
			CASE WHEN given <> 'number' THEN 'must be a number'
				WHEN v::numeric NOT BETWEEN split_part(type, ' ', 2)::int AND split_part(type, ' ', 3)::int
					THEN format('must be from %s to %s', split_part(type, ' ', 2), split_part(type, ' ', 3)) END
		WHEN word = 'interval' AND given = 'number' THEN CASE WHEN v::numeric <> 0 THEN 'needs a unit' END
		WHEN given <> 'string' THEN 'must be a string'
		WHEN word = 'name' THEN CASE WHEN length(v) NOT BETWEEN 1 AND 200 THEN 'must have 1 to 200 characters' END
		WHEN word = 'event' THEN CASE WHEN v = '' THEN 'must not be empty' END
		WHEN word = 'identifier' THEN CASE WHEN octet_length(v) NOT BETWEEN 1 AND 63 THEN 'must have 1 to 63 bytes' END
		WHEN word = 'words' THEN
			CASE WHEN v <> ALL (string_to_array(split_part(type, ' ', 2), '|'))
				THEN format('is "%s", and must be %s', v, regexp_replace(replace(split_part(type, ' ', 2), '|', ', '), ', ([^,]*)$', E' or \\1')) END
		WHEN word = 'time' THEN
			CASE WHEN v !~ '^(([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?|24:00(:00)?)$' THEN format('is "%s", and must be a time of the form HH:MM', v) END
		WHEN word = 'date' THEN CASE WHEN v !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN format('is "%s", and must be a day of the form YYYY-MM-DD', v) END
		WHEN word = 'interval' THEN CASE WHEN v ~ '^[[:space:]]*[+-]?[0-9.]+[[:space:]]*$' AND v !~ '^[[:space:]]*0+[[:space:]]*$' THEN 'needs a unit' END
		END;
	hint := CASE
		WHEN fault = 'needs a unit' THEN 'Write "24h", "3 days" or "1 day 2 hours", for example.'
		WHEN word = 'words' AND given = 'string' THEN sopflow.sop_file_hint(v, string_to_array(split_part(type, ' ', 2), '|'))
		END;
	IF fault IS NOT NULL THEN
		PERFORM sopflow.sop_file_fault(place, format('"%s" %s', key, fault), hint);
	END IF;
	IF word NOT IN ('interval', 'date', 'function', 'relation') THEN
		RETURN CASE word
			WHEN 'integer' THEN to_jsonb(v::numeric::int)
			WHEN 'retries' THEN to_jsonb(v::numeric::int + 1)
			WHEN 'hours' THEN to_jsonb(make_interval(hours => v::numeric::int)::text)
			WHEN 'number' THEN to_jsonb(v::float8)
			WHEN 'weekdays' THEN to_jsonb(ARRAY(SELECT e.d::numeric::int FROM jsonb_array_elements_text(value) WITH ORDINALITY e(d, n) ORDER BY e.n))
			WHEN 'time' THEN to_jsonb(v::time::text)
			ELSE value
			END;
	END IF;
	BEGIN
		IF word = 'function' THEN
			PERFORM parse_ident(v);
			RETURN value;
		ELSIF word = 'relation' THEN
			IF sopflow.sop_file_relation(v, search) IS NULL THEN
				PERFORM sopflow.sop_file_fault(place, format('"%s": relation "%s" does not exist', key, v));
			END IF;
			RETURN to_jsonb(sopflow.sop_file_relation(v, search));
		END IF;
		RETURN CASE word WHEN 'interval' THEN to_jsonb(v::interval::text) ELSE to_jsonb(v::date::text) END;
	EXCEPTION WHEN data_exception THEN
		PERFORM sopflow.sop_file_fault(place, format('"%s" is "%s", and must be %s', key, v,
			CASE word WHEN 'interval' THEN 'an interval such as "24h" or "3 days"'
				WHEN 'date' THEN 'a day of the form YYYY-MM-DD' ELSE 'the name of a function' END));
		WHEN insufficient_privilege THEN
			RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = SQLERRM, DETAIL = format('Path: %s.', place);
	END;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_value(jsonb, text, text, text, text) IS 'A value of a file, checked, in the form of its column';

-- Columns that the object gives; what it does not name is not in the result.
CREATE FUNCTION sopflow.sop_file_record(object jsonb, place text, kind text, search text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	record jsonb := '{}';
	taken jsonb := '{}';
	unknown text;
	k record;
BEGIN
	IF jsonb_typeof(object) <> 'object' THEN
		PERFORM sopflow.sop_file_fault(place, format('%s %s must be an object', CASE WHEN kind IN ('action', 'sop') THEN 'an' ELSE 'a' END,
			sopflow.sop_file_word(kind)));
	END IF;
	SELECT o.key INTO unknown FROM jsonb_object_keys(object) o(key)
		WHERE o.key NOT IN (SELECT x.key FROM sopflow.sop_file_keys(kind) x) ORDER BY o.key COLLATE "C" LIMIT 1;
	IF FOUND THEN
		PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, unknown), format('unknown key "%s"', unknown),
			sopflow.sop_file_hint(unknown, ARRAY(SELECT x.key FROM sopflow.sop_file_keys(kind) x ORDER BY x.n)));
	END IF;
	FOR k IN SELECT x.* FROM sopflow.sop_file_keys(kind) x ORDER BY x.n LOOP
		IF k.presence = 'required' AND NOT object ?| ARRAY(SELECT x.key FROM sopflow.sop_file_keys(kind) x WHERE x.column_name = k.column_name) THEN
			PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, k.key), format('"%s" is missing', k.key));
		END IF;
		CONTINUE WHEN NOT object ? k.key;
		IF taken ? k.column_name THEN
			PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, k.key), format('"%s" means the same as "%s"', k.key, taken->>k.column_name));
		END IF;
		IF k.presence <> 'nullable' OR jsonb_typeof(object->k.key) <> 'null' THEN
			record := record || jsonb_build_object(coalesce(k.column_name, k.key),
				sopflow.sop_file_value(object->k.key, sopflow.sop_file_path(place, k.key), k.key, k.type, search));
		ELSE
			record := record || jsonb_build_object(k.column_name, NULL);
		END IF;
		IF k.column_name IS NOT NULL THEN
			taken := taken || jsonb_build_object(k.column_name, k.key);
		END IF;
	END LOOP;
	RETURN record;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_record(jsonb, text, text, text) IS 'Columns of an object of a file, checked';

CREATE FUNCTION sopflow.sop_file_defaults(kind text) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT jsonb_object_agg(k.column_name, k.default_value ORDER BY k.n DESC)
		FROM sopflow.sop_file_keys(kind) k WHERE k.column_name IS NOT NULL AND k.presence <> 'required';
END;
COMMENT ON FUNCTION sopflow.sop_file_defaults(text) IS 'Columns of what a file does not say';

CREATE FUNCTION sopflow.sop_file_unique(names text[], places text[], what text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	d record;
BEGIN
	SELECT u.name, array_agg(u.place ORDER BY u.n) AS places INTO d
		FROM unnest(names, places) WITH ORDINALITY u(name, place, n)
		GROUP BY u.name HAVING count(*) > 1 ORDER BY min(u.n) LIMIT 1;
	IF FOUND THEN
		PERFORM sopflow.sop_file_fault(d.places[2], format('%s %s is there twice', what, d.name), format('The first is at %s.', d.places[1]));
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_unique(text[], text[], text) IS 'Demands that names are used once';

CREATE TYPE sopflow.sop_file_item AS (
	kind			text,
	name			text,
	place			text,
	object			jsonb,
	given			jsonb,
	nodes			jsonb,
	links			jsonb
);
COMMENT ON TYPE sopflow.sop_file_item IS 'An action, a calendar, a rule set or an SOP of a file';
COMMENT ON COLUMN sopflow.sop_file_item.kind IS 'Which of these';
COMMENT ON COLUMN sopflow.sop_file_item.name IS 'Name';
COMMENT ON COLUMN sopflow.sop_file_item.place IS 'Its path in the file';
COMMENT ON COLUMN sopflow.sop_file_item.object IS 'What stands there';
COMMENT ON COLUMN sopflow.sop_file_item.given IS 'Columns that it gives; of a rule set what rule_file_load() takes';
COMMENT ON COLUMN sopflow.sop_file_item.nodes IS 'Columns of the nodes of an SOP or the holidays of a calendar';
COMMENT ON COLUMN sopflow.sop_file_item.links IS 'Columns of the links of an SOP';

-- What the keys of a rule set stand for that are not there.
CREATE FUNCTION sopflow.sop_file_rule_defaults() RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '{"description": null, "priority_threshold": 2147483647, "skip_on_first_applied": false, "skip_on_first_failed": false,
		"skip_on_first_non_triggered": false, "denials": "first", "on_error": "abort", "param_scopes": [], "inference": false,
		"max_steps": 1000, "trace": "off", "order_by": "asc", "before_fire": null, "after_fire": null, "before_evaluate": null,
		"after_evaluate": null, "on_success": null, "on_failure": null, "enabled": true}'::jsonb;
END;
COMMENT ON FUNCTION sopflow.sop_file_rule_defaults() IS 'Columns of a rule set that a file says nothing about';

CREATE FUNCTION sopflow.sop_file_rule_set(object jsonb, place text, search text) RETURNS sopflow.sop_file_item
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	keys text[] := (SELECT array_agg(s.key) FROM sopflow.rule_file_settings() s)
		|| '{name,rule-id,rule-file-location,rule-config-type,rule-factory-type,facts,params,quotas,groups,rules}';
	lists constant jsonb := '{"facts": [], "params": [], "quotas": [], "rules": []}';
	item sopflow.sop_file_item;
	unknown text;
	s record;
BEGIN
	IF jsonb_typeof(object) <> 'object' THEN
		PERFORM sopflow.sop_file_fault(place, 'a rule set must be an object');
	END IF;
	SELECT o.key INTO unknown FROM jsonb_object_keys(object) o(key) WHERE o.key <> ALL (keys) ORDER BY o.key COLLATE "C" LIMIT 1;
	IF FOUND THEN
		PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, unknown), format('unknown key "%s"', unknown),
			sopflow.sop_file_hint(unknown, keys));
	END IF;
	IF object ?& '{name,rule-id}' THEN
		PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, 'rule-id'), '"rule-id" means the same as "name"');
	END IF;
	unknown := CASE WHEN object ? 'rule-id' THEN 'rule-id' ELSE 'name' END;
	IF NOT object ? unknown THEN
		PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, 'name'), '"name" is missing');
	END IF;
	item.kind := 'rule_set';
	item.name := sopflow.sop_file_value(object->unknown, sopflow.sop_file_path(place, unknown), unknown, 'name', search) #>> '{}';
	item.place := place;
	item.object := object;
	item.given := lists || (object - 'name');
	FOR s IN SELECT x.column_name, min(x.kind) AS kind, array_agg(x.key ORDER BY x.n) AS keys
		FROM sopflow.rule_file_settings() WITH ORDINALITY x(key, column_name, kind, n) GROUP BY x.column_name
	LOOP
		IF NOT object ?| s.keys AND s.column_name <> 'enabled' THEN
			item.given := item.given || jsonb_build_object(s.keys[1], sopflow.sop_file_rule_defaults()->s.column_name);
		ELSIF s.kind = 'text' AND s.column_name <> 'description' AND jsonb_typeof(object->s.keys[1]) = 'string' THEN
			PERFORM sopflow.sop_file_value(object->s.keys[1], sopflow.sop_file_path(place, s.keys[1]), s.keys[1], 'function', search);
			item.given := item.given || jsonb_build_object(s.keys[1],
				sopflow.sop_file_function(object->>s.keys[1], 'sopflow.rule_event', search));
		END IF;
	END LOOP;
	RETURN item;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_rule_set(jsonb, text, text) IS 'A rule set of a file';

CREATE FUNCTION sopflow.sop_file_action(object jsonb, place text, search text) RETURNS sopflow.sop_file_item
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := sopflow.sop_file_record(object, place, 'action', search);
BEGIN
	IF given->>'handler' IS NULL AND given->>'delivery' = 'call' THEN
		PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, 'handler'), '"handler" is missing',
			'An action whose delivery is call needs a function.');
	ELSIF given->>'handler' IS NOT NULL AND given->>'delivery' IS DISTINCT FROM 'call' THEN
		PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, 'handler'), 'only an action whose delivery is call has a "handler"');
	ELSIF given->>'handler' IS NOT NULL THEN
		given := given || jsonb_build_object('handler', sopflow.sop_file_function(given->>'handler', 'sopflow.work', search));
	END IF;
	RETURN ROW('action', given->>'action', place, object, given, NULL, NULL)::sopflow.sop_file_item;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_action(jsonb, text, text) IS 'An action of a file';

CREATE FUNCTION sopflow.sop_file_calendar(object jsonb, place text, search text) RETURNS sopflow.sop_file_item
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := sopflow.sop_file_record(object, place, 'calendar', search);
	holidays jsonb;
	places text[];
BEGIN
	SELECT coalesce(jsonb_agg(sopflow.sop_file_defaults('holiday') || sopflow.sop_file_record(
				CASE jsonb_typeof(e.object) WHEN 'string' THEN jsonb_build_object('day', e.object) ELSE e.object END,
				format('%s.holidays[%s]', place, e.n - 1), 'holiday', search) ORDER BY e.n), '[]'),
			array_agg(format('%s.holidays[%s]', place, e.n - 1) ORDER BY e.n)
		INTO holidays, places
		FROM jsonb_array_elements(given->'holidays') WITH ORDINALITY e(object, n);
	PERFORM sopflow.sop_file_unique(ARRAY(SELECT e.h->>'day' FROM jsonb_array_elements(holidays) WITH ORDINALITY e(h, n) ORDER BY e.n), places, 'holiday');
	SELECT coalesce(jsonb_agg(e.h ORDER BY e.h->>'day'), '[]') INTO holidays FROM jsonb_array_elements(holidays) e(h);
	RETURN ROW('calendar', given->>'calendar', place, object, given - 'holidays', holidays, NULL)::sopflow.sop_file_item;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_calendar(jsonb, text, text) IS 'A calendar of a file';

CREATE FUNCTION sopflow.sop_file_sop(object jsonb, place text, search text) RETURNS sopflow.sop_file_item
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := sopflow.sop_file_record(object, place, 'sop', search);
	nodes jsonb;
	links jsonb;
	objects jsonb;
	places text[];
	p record;
BEGIN
	IF given->>'subject_key' IS NULL AND given->>'subject_relation' IS NOT NULL THEN
		PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, 'subject_key'), '"subject_key" is missing', 'It goes with subject_relation.');
	ELSIF given->>'subject_relation' IS NULL AND (given->>'subject_key' IS NOT NULL OR given->>'time_zone_column' IS NOT NULL) THEN
		PERFORM sopflow.sop_file_fault(sopflow.sop_file_path(place, 'subject_relation'), '"subject_relation" is missing',
			'It goes with subject_key and time_zone_column.');
	END IF;
	FOR p IN SELECT * FROM (VALUES ('nodes', 'node'), ('links', 'link')) x(key, kind) LOOP
		SELECT coalesce(jsonb_agg(defaults || sopflow.sop_file_record(a.object, format('%s.%s[%s]', place, p.key, a.n - 1), p.kind, search)
					ORDER BY a.n), '[]'),
				array_agg(format('%s.%s[%s]', place, p.key, a.n - 1) ORDER BY a.n)
			INTO objects, places
			FROM sopflow.sop_file_defaults(p.kind) defaults, jsonb_array_elements(given->p.key) WITH ORDINALITY a(object, n);
		IF p.kind = 'node' THEN
			nodes := objects;
			PERFORM sopflow.sop_file_unique(ARRAY(SELECT format('"%s"', a.o->>'node_id')
				FROM jsonb_array_elements(nodes) WITH ORDINALITY a(o, n) ORDER BY a.n), places, 'node');
		ELSE
			links := objects;
			PERFORM sopflow.sop_file_unique(ARRAY(SELECT format('from "%s" to "%s"', a.o->>'from_node', a.o->>'to_node')
				FROM jsonb_array_elements(links) WITH ORDINALITY a(o, n) ORDER BY a.n), places, 'link');
		END IF;
	END LOOP;
	RETURN ROW('sop', given->>'sop_id', place, object, given - '{nodes,links}'::text[], nodes, links)::sopflow.sop_file_item;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_sop(jsonb, text, text) IS 'An SOP of a file';

-- A file is an SOP, an object of arrays of everything, or an array of these.
CREATE FUNCTION sopflow.sop_file_items(file jsonb, search text) RETURNS SETOF sopflow.sop_file_item
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
	e record;
BEGIN
	FOR r IN SELECT a.object, format('$[%s]', a.n - 1) AS place
			FROM jsonb_array_elements(CASE jsonb_typeof(file) WHEN 'array' THEN file ELSE '[]' END) WITH ORDINALITY a(object, n)
		UNION ALL SELECT file, '$' WHERE jsonb_typeof(file) <> 'array'
	LOOP
		IF jsonb_typeof(r.object) <> 'object' THEN
			PERFORM sopflow.sop_file_fault(r.place, CASE r.place WHEN '$' THEN 'it must be an object or an array of objects' ELSE 'it must be an object' END);
		END IF;
		IF NOT r.object ?| ARRAY(SELECT k.key FROM sopflow.sop_file_keys('file') k)
			AND (r.object = '{}' OR r.object ?| ARRAY(SELECT k.key FROM sopflow.sop_file_keys('sop') k))
		THEN
			RETURN NEXT sopflow.sop_file_sop(r.object, r.place, search);
			CONTINUE;
		END IF;
		FOR e IN SELECT k.key, a.object, format('%s.%s[%s]', r.place, k.key, a.n - 1) AS place
			FROM sopflow.sop_file_keys('file') k,
				jsonb_array_elements(sopflow.sop_file_record(r.object, r.place, 'file', search)->k.key) WITH ORDINALITY a(object, n)
			ORDER BY k.n, a.n
		LOOP
			RETURN NEXT CASE e.key
				WHEN 'actions' THEN sopflow.sop_file_action(e.object, e.place, search)
				WHEN 'calendars' THEN sopflow.sop_file_calendar(e.object, e.place, search)
				WHEN 'rule_sets' THEN sopflow.sop_file_rule_set(e.object, e.place, search)
				ELSE sopflow.sop_file_sop(e.object, e.place, search) END;
		END LOOP;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_items(jsonb, text) IS 'What a file has, in its order';

-- ---------------------------------------------------------------------------
-- What is stored, in the form of a file.
-- ---------------------------------------------------------------------------

-- `row` has the columns of one row; what is as it is by default is left out.
CREATE FUNCTION sopflow.sop_file_object(kind text, row_value jsonb) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp SET IntervalStyle = 'postgres'
AS $$
BEGIN
	RETURN (SELECT coalesce(jsonb_object_agg(k.key, k.value) FILTER (WHERE k.value <> k.default_value
		AND (kind, k.key) IS DISTINCT FROM ('sop', 'name') OR kind = 'sop' AND k.key = 'name' AND k.value NOT IN ('null', row_value->'sop_id')), '{}')
	FROM (SELECT DISTINCT ON (x.column_name) x.key, coalesce(x.default_value, 'null') AS default_value,
			CASE
				WHEN row_value->>x.column_name IS NULL THEN 'null'
				WHEN x.type = 'interval' THEN to_jsonb(sopflow.sop_file_interval((row_value->>x.column_name)::interval))
				WHEN x.type = 'time' THEN to_jsonb(regexp_replace(row_value->>x.column_name, '^([0-9]{2}:[0-9]{2}):00$', E'\\1'))
				WHEN x.type = 'relation' THEN coalesce((SELECT to_jsonb(format('%I.%I', n.nspname, c.relname))
					FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
					WHERE c.oid = CASE WHEN row_value->>x.column_name !~ '^[0-9]+$' THEN (row_value->>x.column_name)::regclass END), row_value->x.column_name)
				ELSE row_value->x.column_name
			END AS value
		FROM sopflow.sop_file_keys($1) x WHERE x.column_name IS NOT NULL ORDER BY x.column_name, x.n) k);
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_object(text, jsonb) IS 'A row as the object of a file';

CREATE FUNCTION sopflow.sop_file_canonical(kind text, stored jsonb) RETURNS jsonb
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT sopflow.sop_file_object(kind, stored->'row') || coalesce((SELECT jsonb_object_agg(p.key, p.objects)
		FROM (SELECT x.key, jsonb_agg(CASE WHEN x.part = 'holiday' AND NOT o.object ? 'name' THEN o.object->'day' ELSE o.object END ORDER BY e.n) AS objects
			FROM (VALUES ('sop', 'nodes', 'nodes', 'node'), ('sop', 'links', 'links', 'link'), ('calendar', 'nodes', 'holidays', 'holiday'))
					x(kind, place, key, part),
				jsonb_array_elements(stored->x.place) WITH ORDINALITY e(row_value, n),
				sopflow.sop_file_object(x.part, e.row_value) o(object)
			WHERE x.kind = sop_file_canonical.kind
			GROUP BY x.key) p), '{}')
$$;
COMMENT ON FUNCTION sopflow.sop_file_canonical(text, jsonb) IS 'What sop_file_stored() gives as the object of a file';

-- All of it as it is at one time; null where the caller sees none.
CREATE FUNCTION sopflow.sop_file_stored(kind text, name text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp SET IntervalStyle = 'postgres' SET DateStyle = 'ISO, YMD'
	SET extra_float_digits = 1
AS $$
BEGIN
	RETURN CASE kind
		WHEN 'action' THEN (SELECT jsonb_build_object('row', to_jsonb(a)) FROM sopflow.action a WHERE a.action = $2)
		WHEN 'calendar' THEN (SELECT jsonb_build_object('row', to_jsonb(c),
				'nodes', (SELECT coalesce(jsonb_agg(to_jsonb(h) ORDER BY h.day), '[]') FROM sopflow.holiday h WHERE h.calendar = c.calendar))
			FROM sopflow.calendar c WHERE c.calendar = $2)
		WHEN 'sop' THEN (SELECT jsonb_build_object('row', to_jsonb(s),
				'nodes', (SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.seq, n.node_id), '[]') FROM sopflow.sop_node n WHERE n.sop_id = s.sop_id),
				'links', (SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.seq, l.from_node, l.to_node), '[]')
					FROM sopflow.sop_link l WHERE l.sop_id = s.sop_id))
			FROM sopflow.sop s WHERE s.sop_id = $2)
		END;
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_stored(text, text) IS 'Rows of an action, a calendar or an SOP';

-- null where the caller sees none
CREATE FUNCTION sopflow.sop_file_stored_rules(name text) RETURNS jsonb
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	file jsonb;
	s record;
BEGIN
	IF NOT EXISTS (SELECT FROM sopflow.rule_set r WHERE r.rule_set = name) THEN
		RETURN NULL;
	END IF;
	file := sopflow.export_rules(name) - 'rule-factory-type';
	FOR s IN SELECT DISTINCT ON (x.column_name) x.key, x.column_name
		FROM sopflow.rule_file_settings() WITH ORDINALITY x(key, column_name, kind, n) ORDER BY x.column_name, x.n
	LOOP
		IF file->s.key = sopflow.sop_file_rule_defaults()->s.column_name THEN
			file := file - s.key;
		END IF;
	END LOOP;
	FOR s IN SELECT x.key FROM jsonb_each(file) x(key, value) WHERE x.value = '[]' LOOP
		file := file - s.key;
	END LOOP;
	RETURN file || jsonb_build_object('name', name);
END
$$;
COMMENT ON FUNCTION sopflow.sop_file_stored_rules(text) IS 'A rule set as files have it';
