-- ---------------------------------------------------------------------------
-- Seeing it: SOPs as diagrams, and why a task is what it is.
-- ---------------------------------------------------------------------------

-- Authors see the SOPs that they may change, and whoever may see all tasks sees
-- all SOPs: current_user is here the role that reads the view.
CREATE VIEW sopflow.sops WITH (security_barrier) AS
	SELECT s.sop_id, s.name,
		(SELECT max(v.version) FROM sopflow.sop_version v WHERE v.sop_id = s.sop_id) AS version,
		s.enabled, s.paused, s.trigger_event, s.delay_from, s.exit_events, s.calendar, s.owner,
		NOT EXISTS (SELECT FROM sopflow.sop_node n WHERE n.sop_id = s.sop_id
			AND (n.type <> 'delay' OR n.next IS NOT NULL OR n.otherwise IS NOT NULL))
			AND NOT EXISTS (SELECT FROM sopflow.sop_link l WHERE l.sop_id = s.sop_id) AS parallel,
		coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(n) - '{sop_id,seq}'::text[] ORDER BY n.seq, n.node_id)
			FROM sopflow.sop_node n WHERE n.sop_id = s.sop_id), '[]') AS nodes,
		coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(l) - '{sop_id,seq}'::text[] ORDER BY l.seq, l.from_node, l.to_node)
			FROM sopflow.sop_link l WHERE l.sop_id = s.sop_id), '[]') AS links
	FROM sopflow.sop s
	WHERE pg_catalog.pg_has_role(s.owner::oid, 'MEMBER')
		OR pg_catalog.has_table_privilege('sopflow.tasks'::regclass, 'SELECT');
COMMENT ON VIEW sopflow.sops IS 'SOPs as they are defined now, drafts too: to authors their own, to those who may see tasks all';
COMMENT ON COLUMN sopflow.sops.sop_id IS 'SOP';
COMMENT ON COLUMN sopflow.sops.name IS 'Display name';
COMMENT ON COLUMN sopflow.sops.version IS 'Newest version; null: none has been made yet';
COMMENT ON COLUMN sopflow.sops.enabled IS 'false: a draft, no new runs';
COMMENT ON COLUMN sopflow.sops.paused IS 'Whether its tasks are held';
COMMENT ON COLUMN sopflow.sops.trigger_event IS 'Event that starts a run; null: only start() does';
COMMENT ON COLUMN sopflow.sops.delay_from IS 'event or previous';
COMMENT ON COLUMN sopflow.sops.exit_events IS 'Events that end an active run';
COMMENT ON COLUMN sopflow.sops.calendar IS 'Calendar that tasks with an action keep to; null: any time';
COMMENT ON COLUMN sopflow.sops.owner IS 'Role that the SOP belongs to';
COMMENT ON COLUMN sopflow.sops.parallel IS 'Whether all nodes start at the event; else they are walked from the first';
COMMENT ON COLUMN sopflow.sops.nodes IS 'Its nodes in their order, with the columns of sop_node';
COMMENT ON COLUMN sopflow.sops.links IS 'Its links in their order, with the columns of sop_link';

-- Each table is counted by its own columns first: a version is looked into once
-- for each of its nodes and not for each task.
CREATE VIEW sopflow.node_tasks WITH (security_barrier) AS
	SELECT v.sop_id, v.definition->'nodes'->t.node::int->>'node_id' AS node_id, t.status, t.held_by,
		sum(t.n)::bigint AS tasks
	FROM (SELECT t.version_id, t.node, 'pending' AS status, NULL::text AS held_by, pg_catalog.count(*) AS n,
				t.error LIKE '{%' AS odd
			FROM sopflow.task t GROUP BY t.version_id, t.node, odd
		UNION ALL SELECT h.version_id, h.node, 'pending', h.held_by, pg_catalog.count(*), NULL
			FROM sopflow.held h GROUP BY h.version_id, h.node, h.held_by
		UNION ALL SELECT o.version_id, o.node, CASE WHEN o.lease_token = 0 THEN 'ready' ELSE 'leased' END, NULL, pg_catalog.count(*), NULL
			FROM sopflow.offer o GROUP BY o.version_id, o.node, o.lease_token = 0
		UNION ALL SELECT d.version_id, d.node, 'dead', NULL, pg_catalog.count(*), NULL
			FROM sopflow.dead d GROUP BY d.version_id, d.node) t
	JOIN sopflow.sop_version v USING (version_id)
	-- that the SOP of a sop node has ended is no task: see the view tasks
	WHERE (t.odd IS NOT TRUE OR v.definition->'nodes'->t.node::int->>'type' IS DISTINCT FROM 'sop')
		AND (pg_catalog.has_table_privilege('sopflow.tasks'::regclass, 'SELECT')
		OR EXISTS (SELECT FROM sopflow.sop s WHERE s.sop_id = v.sop_id AND pg_catalog.pg_has_role(s.owner::oid, 'MEMBER')))
	GROUP BY 1, 2, 3, 4;
COMMENT ON VIEW sopflow.node_tasks IS 'How many tasks that are not finished, or dead, each node has, over all versions of its SOP: to authors of their own SOPs, to those who may see tasks of all';
COMMENT ON COLUMN sopflow.node_tasks.sop_id IS 'SOP';
COMMENT ON COLUMN sopflow.node_tasks.node_id IS 'Node';
COMMENT ON COLUMN sopflow.node_tasks.status IS 'pending, ready, leased or dead';
COMMENT ON COLUMN sopflow.node_tasks.held_by IS 'Why pending tasks do not go when due: run, sop, action, join or child; null: they are not held';
COMMENT ON COLUMN sopflow.node_tasks.tasks IS 'How many';

-- ---------------------------------------------------------------------------
-- Diagrams
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.diagram_interval(i interval) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(pg_catalog.string_agg(pg_catalog.trim_scale(p.n) || CASE p.n WHEN 1 THEN p.one ELSE p.many END, ' ' ORDER BY p.ord), '0 s')
	FROM (VALUES (1, EXTRACT(year FROM i), ' year', ' years'), (2, EXTRACT(month FROM i), ' month', ' months'),
		(3, EXTRACT(day FROM i), ' day', ' days'), (4, EXTRACT(hour FROM i), ' h', ' h'),
		(5, EXTRACT(minute FROM i), ' min', ' min'), (6, EXTRACT(second FROM i), ' s', ' s')) AS p(ord, n, one, many)
	WHERE p.n <> 0;
END;
COMMENT ON FUNCTION sopflow.diagram_interval(interval) IS 'An interval in words, whatever IntervalStyle says';

-- Of Mermaid every character is written as a number that means something to one
-- of its grammars: the flowchart's, Markdown's, that of directives and styles.
-- It takes a line with "direction TB" in it, also between quotes, for a statement.
-- Graphviz reads character entities in labels, so & is one itself.  Where the
-- database has no encoding no half of a character is left at the cut.
CREATE FUNCTION sopflow.diagram_label(lines text[], format text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT pg_catalog.string_agg(CASE format
			WHEN 'dot' THEN pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(c.line, E'\\', E'\\\\'), '"', E'\\"'), '&', '&amp;')
			ELSE pg_catalog.replace((SELECT pg_catalog.string_agg(CASE WHEN pg_catalog.strpos(E'"#<>&`\\%{}[]|;:$*~@', x.c) > 0
					THEN '#' || pg_catalog.ascii(x.c) || ';' ELSE x.c END, '' ORDER BY x.ordinality)
				FROM pg_catalog.string_to_table(c.line, NULL) WITH ORDINALITY AS x(c, ordinality)),
				'direction', 'directio#110;') END,
		CASE format WHEN 'dot' THEN E'\\n' ELSE '<br/>' END ORDER BY l.ordinality)
	FROM pg_catalog.unnest(lines) WITH ORDINALITY AS l(line, ordinality)
	CROSS JOIN LATERAL (SELECT pg_catalog.btrim(pg_catalog.regexp_replace(l.line COLLATE "C", E'[\\u0001-\\u0020\\u007f]+', ' ', 'g')) AS line) b
	CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.length(b.line) > 60 THEN pg_catalog.regexp_replace(pg_catalog.left(b.line, 57),
		E'[\\u00c0-\\u00ff]?[\\u0080-\\u00bf]*$', '') || '...' ELSE b.line END AS line) c
	WHERE c.line <> '';
END;
COMMENT ON FUNCTION sopflow.diagram_label(text[], text) IS 'Lines as a label of a diagram: shortened, and with nothing in them that the format would take for its own';

-- Nodes of the diagram (target null) and its edges.  Number 0 is the start, 1 to
-- n are the nodes; after them come what is named and not there, ends of branches,
-- and exits.
CREATE FUNCTION sopflow.diagram_parts(sop jsonb, counts jsonb,
		OUT origin int, OUT target int, OUT shape text, OUT lines text[], OUT joins bool)
	RETURNS SETOF record LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
WITH node AS MATERIALIZED (
	SELECT x.ordinality::int AS num, n.*, n.delay > '0' AS delayed,
		CASE WHEN n.type = 'wait' THEN
				CASE sop->>'delay_from' WHEN 'event' THEN 'until ' || d.words || ' after the event' ELSE 'at most ' || d.words END
			WHEN n.delay = '0' THEN 'at once'
			ELSE CASE sop->>'delay_from' WHEN 'event' THEN d.words || ' after the event' ELSE 'after ' || d.words END
		END AS due
	FROM jsonb_array_elements(sop->'nodes') WITH ORDINALITY AS x(node, ordinality)
	CROSS JOIN LATERAL jsonb_to_record(x.node) AS n(node_id text, type text, delay interval, action text,
		next text, otherwise text, condition text, condition_rules text, wait_event text, sop_ref text)
	CROSS JOIN LATERAL sopflow.diagram_interval(n.delay) AS d(words)
), link AS MATERIALIZED (
	SELECT n.num, n.type, x.ordinality::int AS rank, l.to_node, l.condition,
		row_number() OVER (PARTITION BY n.num ORDER BY x.ordinality) AS nth
	FROM jsonb_array_elements(sop->'links') WITH ORDINALITY AS x(link, ordinality)
	CROSS JOIN LATERAL jsonb_to_record(x.link) AS l(from_node text, to_node text, condition text)
	JOIN node n ON n.node_id = l.from_node
), linked AS (
	SELECT l.num, bool_or(l.condition IS NULL) AS always FROM link l GROUP BY l.num
), way AS MATERIALIZED (
	SELECT n.num, 0 AS rank, n.next AS node_id,
		CASE n.type WHEN 'condition' THEN 'yes' WHEN 'wait' THEN n.wait_event END AS label
	FROM node n LEFT JOIN linked l USING (num)
	WHERE n.next IS NOT NULL OR n.type = 'wait' OR (n.type = 'condition' AND l.num IS NULL)
UNION ALL
	SELECT l.num, l.rank, l.to_node,
		CASE l.type WHEN 'condition' THEN format('(%s) %s', l.nth, coalesce(l.condition, 'always')) ELSE l.condition END
	FROM link l
UNION ALL
	SELECT n.num, 1000000, n.otherwise,
		CASE WHEN n.type = 'wait' THEN 'time-out' WHEN l.num IS NOT NULL THEN 'otherwise' ELSE 'no' END
	FROM node n LEFT JOIN linked l USING (num)
	WHERE n.otherwise IS NOT NULL OR (n.type = 'wait' AND n.delayed)
		OR (n.type = 'condition' AND l.num IS NULL) OR NOT l.always
), other AS MATERIALIZED (
	SELECT (SELECT count(*) FROM node)::int + row_number() OVER (ORDER BY o.kind, o.num, o.rank, o.node_id COLLATE "C")::int AS num,
		o.kind, o.num AS origin, o.rank, o.node_id
	FROM (SELECT DISTINCT 1 AS kind, NULL::int AS num, NULL::int AS rank, w.node_id FROM way w
			WHERE w.node_id IS NOT NULL AND NOT EXISTS (SELECT FROM node n WHERE n.node_id = w.node_id)
		UNION ALL SELECT 2, w.num, w.rank, NULL FROM way w WHERE w.node_id IS NULL
		UNION ALL SELECT 3, NULL, NULL, k.key FROM jsonb_object_keys(counts) AS k(key)
			WHERE NOT EXISTS (SELECT FROM node n WHERE n.node_id = k.key)
		UNION ALL SELECT k.kind, NULL, NULL, NULL FROM (VALUES (4), (5)) AS k(kind)
			WHERE sop->'exit_events' <> '[]') o
), edge AS MATERIALIZED (
	SELECT w.num, w.rank, w.label, coalesce(n.num, o.num) AS target
	FROM way w LEFT JOIN node n USING (node_id)
	LEFT JOIN other o ON (o.kind = 1 AND o.node_id = w.node_id)
		OR (o.kind = 2 AND o.origin = w.num AND o.rank = w.rank)
), met AS (
	SELECT e.target AS num, count(*) AS ways FROM edge e GROUP BY e.target HAVING count(*) > 1
), part AS (
	SELECT 0 AS origin, NULL::int AS target, 0 AS rank, 'start' AS shape, ARRAY[sop->>'sop_id',
		coalesce('on ' || (sop->>'trigger_event'), 'by start() only'), 'calendar ' || (sop->>'calendar'),
		CASE WHEN NOT (sop->>'enabled')::bool THEN 'draft' END, CASE WHEN (sop->>'paused')::bool THEN 'paused' END] AS lines, false AS joins
UNION ALL
	SELECT n.num, NULL, 0, n.type, ARRAY[n.node_id] || CASE n.type
			WHEN 'delay' THEN ARRAY[n.due, n.action]
			WHEN 'condition' THEN ARRAY[CASE WHEN n.delayed THEN n.due END, coalesce(n.condition, 'rules ' || n.condition_rules)]
			WHEN 'wait' THEN ARRAY['wait for ' || n.wait_event, CASE WHEN n.delayed THEN n.due END]
			WHEN 'sop' THEN ARRAY[CASE WHEN n.delayed THEN n.due END, 'SOP ' || n.sop_ref]
			WHEN 'end' THEN '{}' ELSE ARRAY['type ' || n.type] END
		|| CASE WHEN n.type <> 'end' THEN 'joins ' || m.ways || ' ways' END || (counts->>n.node_id),
		n.type <> 'end' AND m.ways IS NOT NULL
	FROM node n LEFT JOIN met m USING (num)
UNION ALL
	SELECT o.num, NULL, 0, (ARRAY['absent', 'stop', 'absent', 'any', 'exited'])[o.kind], CASE o.kind
		WHEN 1 THEN ARRAY[o.node_id, 'does not exist'] WHEN 2 THEN ARRAY['branch ends']
		WHEN 3 THEN ARRAY[o.node_id, 'of an earlier version', counts->>o.node_id]
		WHEN 4 THEN ARRAY['at any time'] ELSE ARRAY['exited'] END, false
	FROM other o
UNION ALL
	SELECT 0, n.num, n.num, 'way', NULL, NULL FROM node n WHERE n.num = 1 OR (sop->>'parallel')::bool
UNION ALL
	SELECT e.num, e.target, e.rank, 'way', ARRAY[e.label], NULL FROM edge e
UNION ALL
	SELECT a.num, b.num, x.ordinality::int, 'exit', ARRAY[x.event], NULL
	FROM other a JOIN other b ON a.kind = 4 AND b.kind = 5
	CROSS JOIN jsonb_array_elements_text(sop->'exit_events') WITH ORDINALITY AS x(event, ordinality)
)
SELECT p.origin, p.target, p.shape, p.lines, p.joins FROM part p
ORDER BY p.target IS NOT NULL, p.origin, p.rank, p.target
$$;
COMMENT ON FUNCTION sopflow.diagram_parts(jsonb, jsonb) IS 'Nodes and edges of the diagram of an SOP, given as a row of the view sops, and tasks by node';

CREATE FUNCTION sopflow.diagram(sop_id text, format text DEFAULT 'mermaid', counts bool DEFAULT false) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	sop jsonb;
	tasks jsonb;
	form constant text := diagram.format;
	diagram text;
BEGIN
	IF form IS NULL OR form NOT IN ('mermaid', 'dot') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = coalesce('diagram format "' || form || '" is not known', 'diagram format must not be null'),
			HINT = 'It is mermaid or dot.';
	END IF;
	SELECT to_jsonb(s) INTO sop FROM sopflow.sops s WHERE s.sop_id = diagram.sop_id;
	IF sop IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = coalesce('SOP "' || diagram.sop_id || '" does not exist', 'SOP null does not exist'),
			HINT = 'sopflow.sops shows the SOPs that you may see.';
	END IF;
	IF counts THEN
		SELECT jsonb_object_agg(c.node_id, c.line) INTO tasks
		FROM (SELECT t.node_id, string_agg(t.tasks || ' ' || s.word, ', ' ORDER BY s.ord) AS line
			FROM sopflow.node_tasks t
			JOIN (VALUES (1, 'pending', NULL, 'pending'), (2, 'pending', 'run', 'behind another task'),
				(3, 'pending', 'sop', 'held by the pause'), (4, 'pending', 'action', 'held by their action'),
				(5, 'pending', 'join', 'at the join'), (6, 'pending', 'child', 'in their SOP'),
				(7, 'ready', NULL, 'ready'), (8, 'leased', NULL, 'leased'), (9, 'dead', NULL, 'dead')) AS s(ord, status, held_by, word)
				ON s.status = t.status AND s.held_by IS NOT DISTINCT FROM t.held_by
			WHERE t.sop_id = diagram.sop_id AND t.node_id IS NOT NULL
			GROUP BY t.node_id) c;
	END IF;
	WITH part AS MATERIALIZED (
		SELECT p.*, sopflow.diagram_label(p.lines, form) AS label, row_number() OVER () AS ord
		FROM sopflow.diagram_parts(sop, coalesce(tasks, '{}')) p
	), style (shape, opens, closes, attributes) AS (VALUES
		('start', '([', '])', 'shape=box, style=rounded'), ('delay', '[', ']', 'shape=box'),
		('condition', '{', '}', 'shape=diamond'), ('wait', '{{', '}}', 'shape=hexagon'),
		('sop', '[[', ']]', 'shape=box, peripheries=2'), ('end', '((', '))', 'shape=circle'),
		('absent', '[', ']', 'shape=box, style=dashed'), ('stop', '([', '])', 'shape=plaintext'),
		('any', '([', '])', 'shape=box, style=rounded'), ('exited', '(((', ')))', 'shape=doublecircle')
	), line AS (
		SELECT p.ord, CASE form WHEN 'dot'
			THEN pg_catalog.format('n%s [%s%s, label="%s"];', p.origin, coalesce(s.attributes, 'shape=box'),
				CASE WHEN p.joins THEN ', penwidth=3' END, p.label)
			ELSE pg_catalog.format('n%s%s"%s"%s%s', p.origin, coalesce(s.opens, '['), coalesce(p.label, ' '), coalesce(s.closes, ']'),
				CASE WHEN p.joins THEN ':::join' WHEN p.shape = 'absent' THEN ':::absent' END) END AS line
		FROM part p LEFT JOIN style s USING (shape)
		WHERE p.target IS NULL
	UNION ALL
		SELECT p.ord, CASE form WHEN 'dot'
			THEN pg_catalog.format('n%s -> n%s%s;', p.origin, p.target, CASE
				WHEN p.shape = 'exit' THEN pg_catalog.format(' [style=dashed, label="%s"]', p.label)
				WHEN p.label IS NOT NULL THEN pg_catalog.format(' [label="%s"]', p.label) END)
			ELSE pg_catalog.format('n%s %s%s n%s', p.origin, CASE p.shape WHEN 'exit' THEN '-.->' ELSE '-->' END,
				'|"' || p.label || '"|', p.target) END
		FROM part p
		WHERE p.target IS NOT NULL
	UNION ALL
		SELECT 1000000, c.line
		FROM (VALUES (1, 'classDef join stroke-width:3px', EXISTS (SELECT FROM part p WHERE p.joins)),
			(2, 'classDef absent stroke-dasharray:4', EXISTS (SELECT FROM part p WHERE p.shape = 'absent'))) AS c(ord, line, used)
		WHERE c.used AND form = 'mermaid'
	)
	SELECT CASE form WHEN 'dot' THEN E'digraph sop {\n' ELSE E'flowchart TD\n' END
		|| string_agg('    ' || l.line || E'\n', '' ORDER BY l.ord, l.line COLLATE "C")
		|| CASE form WHEN 'dot' THEN E'}\n' ELSE '' END
	INTO diagram FROM line l;
	RETURN diagram;
END
$$;
COMMENT ON FUNCTION sopflow.diagram(text, text, bool) IS 'An SOP as a Mermaid or Graphviz (dot) diagram, on request with its tasks that wait counted by node';

-- ---------------------------------------------------------------------------
-- Why a task is what it is.  These read everything, as the extension's owner:
-- to be allowed to execute why() is to be allowed to see all tasks.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.why_ways(definition jsonb, OUT origin text, OUT target text, OUT condition text, OUT kind text)
	RETURNS SETOF record LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT n->>'node_id', w.target, NULL, w.kind
	FROM jsonb_array_elements(definition->'nodes') n
	CROSS JOIN LATERAL (VALUES (n->>'next', 'next'), (n->>'otherwise', 'otherwise')) AS w(target, kind)
	WHERE w.target IS NOT NULL
UNION ALL
	SELECT l->>'from', l->>'to', l->>'condition', 'link'
	FROM jsonb_array_elements(definition->'links') l
$$;
COMMENT ON FUNCTION sopflow.why_ways(jsonb) IS 'Ways from node to node of an SOP version';

CREATE FUNCTION sopflow.why_short(value text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	-- no half of a character, where the database has no encoding
	SELECT CASE WHEN pg_catalog.length(value) > 200 THEN pg_catalog.regexp_replace(pg_catalog.left(value, 197) COLLATE "C",
		E'[\\u00c0-\\u00ff]?[\\u0080-\\u00bf]*$', '') || '...' ELSE value END;
END;
COMMENT ON FUNCTION sopflow.why_short(text) IS 'A text as it is put into a sentence';

-- What a node does, as a part of a sentence.
CREATE FUNCTION sopflow.why_node(definition jsonb, node_id text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN n->>'type' = 'end' THEN format('the end of the run, node "%s"', why_node.node_id)
		ELSE format('node "%s"', why_node.node_id) || coalesce(' (' || NULLIF(concat_ws(', ',
			CASE n->>'type' WHEN 'condition' THEN 'a condition' WHEN 'wait' THEN 'a wait for event "' || (n->>'wait_event') || '"'
				WHEN 'sop' THEN 'SOP "' || (n->>'sop_ref') || '"' ELSE 'action "' || (n->>'action') || '"' END,
			CASE WHEN d.delay > '0' AND n->>'type' <> 'wait' THEN sopflow.diagram_interval(d.delay)
				|| CASE definition->>'delay_from' WHEN 'event' THEN ' after the event' ELSE ' later' END END), '') || ')', '') END
	FROM jsonb_array_elements(definition->'nodes') n
	CROSS JOIN LATERAL (SELECT (n->>'delay')::interval AS delay) d
	WHERE n->>'node_id' = why_node.node_id
$$;
COMMENT ON FUNCTION sopflow.why_node(jsonb, text) IS 'A node of an SOP version, as a part of a sentence';

-- What became of a task, as a part of a sentence.
CREATE FUNCTION sopflow.why_task(t sopflow.tasks) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE t.status
		WHEN 'pending' THEN CASE t.held_by WHEN 'join' THEN 'parked at the join' WHEN 'child' THEN 'its SOP runs'
			ELSE 'pending' || CASE WHEN t.due_at < 'infinity' THEN ', due ' || t.due_at ELSE '' END END
		WHEN 'ready' THEN 'ready for a consumer since it was due ' || t.due_at
		WHEN 'leased' THEN 'leased by a consumer until ' || t.lease_until
		ELSE t.status || ' at ' || t.finished_at || CASE WHEN t.due_at < 'infinity' THEN ', due ' || t.due_at ELSE '' END
		END || CASE WHEN t.attempt > 1 THEN ', attempt ' || t.attempt ELSE '' END
		|| coalesce(', result ' || sopflow.why_short(t.result::text), ', error: ' || sopflow.why_short(t.last_error), '')
$$;
COMMENT ON FUNCTION sopflow.why_task(sopflow.tasks) IS 'What became of a task, as a part of a sentence';

-- The other tasks of the run, as far as they are near.
CREATE FUNCTION sopflow.why_others(t sopflow.tasks, later bool) RETURNS SETOF text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	most constant int := 20;
	o record;
	n int := 0;
	lines text[] := '{}';
BEGIN
	FOR o IN SELECT x.task_id, x.node_id, sopflow.why_task(x) AS what FROM sopflow.tasks x
		WHERE x.run_id = t.run_id AND CASE WHEN later THEN x.task_id > t.task_id ELSE x.task_id < t.task_id END
		ORDER BY abs(x.task_id - t.task_id) LIMIT most + 1
	LOOP
		n := n + 1;
		EXIT WHEN n > most;
		lines := lines || format('    task %s, node "%s": %s', o.task_id, o.node_id, o.what);
	END LOOP;
	IF n = 0 THEN
		RETURN;
	END IF;
	IF later THEN
		RETURN NEXT CASE WHEN n > most THEN format('The %s tasks of the run that were written next:', most)
			ELSE 'Tasks of the run that were written after it:' END;
		RETURN QUERY SELECT l FROM unnest(lines) WITH ORDINALITY AS x(l, ord) ORDER BY ord;
	ELSE
		RETURN NEXT CASE WHEN n > most THEN format('The %s tasks of the run that were written before it:', most)
			ELSE 'Tasks of the run that were written before it:' END;
		RETURN QUERY SELECT l FROM unnest(lines) WITH ORDINALITY AS x(l, ord) ORDER BY ord DESC;
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.why_others(sopflow.tasks, bool) IS 'The other tasks of the run of a task, those written before or after it, in sentences';

-- How its due time comes about.
CREATE FUNCTION sopflow.why_due(t sopflow.tasks, r sopflow.runs, definition jsonb, node jsonb) RETURNS SETOF text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	delay constant interval := coalesce(node->>'delay', '0')::interval;
	words constant text := sopflow.diagram_interval(delay);
	from_event constant bool := definition->>'delay_from' = 'event';
	be constant text := CASE WHEN t.finished_at IS NULL THEN 'is' ELSE 'was' END;
	base timestamptz := r.event_at;
	due timestamptz;
	came record;
BEGIN
	IF t.held_by = 'join' THEN
		RETURN;
	END IF;
	IF node->>'type' = 'wait' AND delay = '0' THEN
		RETURN NEXT 'Its wait has no time-out.';
		RETURN;
	END IF;
	IF from_event OR t.task_id & 65535 = 0 THEN
		RETURN NEXT format(CASE WHEN delay > '0' THEN 'Its delay of %s counts from the event, %s.' ELSE 'It has no delay: it was due with the event, %2$s.' END,
			words, base);
	ELSE
		-- months are counted in UTC, days are 24 hours
		SELECT x.node_id, x.finished_at INTO came
		FROM sopflow.tasks x
		WHERE x.run_id = t.run_id AND x.task_id <> t.task_id AND x.finished_at IS NOT NULL
			AND (x.finished_at AT TIME ZONE 'UTC' + delay) AT TIME ZONE 'UTC' <= t.due_at
		ORDER BY x.finished_at DESC, x.task_id DESC LIMIT 1;
		IF NOT FOUND THEN
			RETURN NEXT format('Its delay of %s counts from when the run came to it.', words);
			base := NULL;
		ELSE
			base := came.finished_at;
			RETURN NEXT format(CASE WHEN delay > '0' THEN 'Its delay of %s counts from when the run came to it, %s, with the end of node "%s".'
				ELSE 'It has no delay: it was due when the run came to it, %2$s, with the end of node "%3$s".' END, words, base, came.node_id);
		END IF;
	END IF;
	due := (base AT TIME ZONE 'UTC' + delay) AT TIME ZONE 'UTC';
	IF t.attempt > 0 AND t.due_at > due AND (t.status = 'pending' OR t.attempt > 1) THEN
		RETURN NEXT format('So it was first due %s; its attempt %s %s due %s.', due,
			t.attempt + CASE WHEN t.status IN ('pending', 'ready') THEN 1 ELSE 0 END, be, t.due_at);
	ELSIF t.due_at = due THEN
		IF delay > '0' THEN
			RETURN NEXT format('So it %s due %s.', be, due);
		END IF;
	ELSIF definition->>'calendar' IS NOT NULL AND node->>'action' IS NOT NULL AND t.due_at > due THEN
		RETURN NEXT format('That is %s, which calendar "%s" or reschedule() moved to %s.', due, definition->>'calendar', t.due_at);
	ELSE
		RETURN NEXT format(CASE WHEN node->>'type' = 'wait' THEN 'It %s due %s, as an event answered it or reschedule() said.'
			ELSE 'It %s due %s, as reschedule() or redrive() said.' END, be, t.due_at);
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.why_due(sopflow.tasks, sopflow.runs, jsonb, jsonb) IS 'How the due time of a task comes about, in sentences';

-- Why a task that is not finished has not gone yet.
CREATE FUNCTION sopflow.why_waits(t sopflow.tasks, r sopflow.runs, definition jsonb, node jsonb) RETURNS SETOF text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	at constant timestamptz := sopflow.now();
	a sopflow.action;
	s sopflow.sop;
	o record;
BEGIN
	SELECT x.* INTO a FROM sopflow.action x WHERE x.action = t.action;
	SELECT x.* INTO s FROM sopflow.sop x WHERE x.sop_id = t.sop_id;
	IF t.last_error IS NOT NULL THEN
		RETURN NEXT format('Attempt %s of %s failed: %s', t.attempt - CASE t.status WHEN 'leased' THEN 1 ELSE 0 END,
			coalesce((node->>'max_attempts')::int, a.max_attempts, 5), sopflow.why_short(t.last_error));
	END IF;
	IF t.status = 'leased' THEN
		RETURN NEXT CASE WHEN t.lease_until > at
			THEN format('A consumer has it until %s: it acknowledges it, or the attempt has failed then.', t.lease_until)
			ELSE format('The lease of a consumer ended %s without an answer: the next dispatch pass takes it back as a failed attempt.', t.lease_until) END;
		RETURN;
	ELSIF t.status = 'ready' THEN
		RETURN NEXT format('It is offered to the consumers of action "%s", and none has fetched it: they listen on channel "%s" and call sopflow.fetch().',
			t.action, a.channel);
	ELSIF t.held_by = 'join' THEN
		RETURN NEXT 'It is parked: several ways lead to its node, and it goes on when no other task of the run can come there any more.';
		FOR o IN
			WITH RECURSIVE way AS (SELECT * FROM sopflow.why_ways(definition)),
			back(node_id) AS (SELECT w.origin FROM way w WHERE w.target = t.node_id
				UNION SELECT w.origin FROM back b JOIN way w ON w.target = b.node_id)
			SELECT x.task_id, x.node_id, sopflow.why_task(x) AS what FROM sopflow.tasks x
			WHERE x.run_id = t.run_id AND x.task_id <> t.task_id AND x.finished_at IS NULL
				AND x.node_id IN (SELECT b.node_id FROM back b)
			ORDER BY x.task_id LIMIT 20
		LOOP
			RETURN NEXT format('    it waits for task %s, node "%s": %s', o.task_id, o.node_id, o.what);
		END LOOP;
		RETURN;
	ELSIF t.held_by = 'child' THEN
		-- see sopflow.run: of a run that a task has started, slot is that task
		RETURN NEXT coalesce((SELECT format('It waits for run %s of SOP "%s", which it has started.', x.run_id, x.sop_id)
			FROM sopflow.run x WHERE x.subject_id = t.subject_id AND x.sop_id = node->>'sop_ref' AND x.slot = - t.task_id),
			format('The run of SOP "%s" that it has started is over: the next dispatch pass takes that up.', node->>'sop_ref'));
		RETURN;
	ELSIF t.held_by = 'run' THEN
		RETURN NEXT 'It is due, and goes when the task of its run that is under way is done: two tasks of a run never go at once.';
		FOR o IN SELECT x.task_id, x.node_id, sopflow.why_task(x) AS what FROM sopflow.tasks x
			WHERE x.run_id = t.run_id AND x.status IN ('ready', 'leased') ORDER BY x.task_id LIMIT 20
		LOOP
			RETURN NEXT format('    task %s, node "%s": %s', o.task_id, o.node_id, o.what);
		END LOOP;
		RETURN;
	ELSIF t.due_at > at THEN
		RETURN NEXT CASE WHEN node->>'type' = 'wait' THEN format('It waits for event "%s" of subject "%s"', node->>'wait_event', t.subject_id)
				|| CASE WHEN t.due_at < 'infinity' THEN format(' and times out %s, in %s.', t.due_at, sopflow.diagram_interval(date_trunc('second', t.due_at - at)))
				ELSE '.' END
			ELSE format('It is not due yet: that is in %s.', sopflow.diagram_interval(date_trunc('second', t.due_at - at))) END;
	END IF;
	-- what holds it now, or will when it is due
	IF EXISTS (SELECT FROM sopflow.hold) THEN
		RETURN NEXT 'The database is held after a restore, so nothing is dispatched: sopflow.restored() ends that.';
	ELSIF s.paused THEN
		RETURN NEXT format('SOP "%s" is paused, so it is held when it is due: sopflow.resume(%L) lets it go.', t.sop_id, t.sop_id);
	ELSIF a.paused THEN
		RETURN NEXT format('Action "%s" is paused, so it is held when it is due: sopflow.resume_action(%L) lets it go.', t.action, t.action);
	ELSIF NOT a.enabled THEN
		RETURN NEXT format('Action "%s" is disabled, so it is held when it is due, until the action is enabled again.', t.action);
	ELSIF t.action IS NOT NULL AND a.action IS NULL THEN
		RETURN NEXT format('Action "%s" does not exist any more: its attempts fail.', t.action);
	ELSIF t.status = 'pending' AND t.due_at <= at THEN
		RETURN NEXT CASE WHEN (SELECT d.workers FROM sopflow.dispatcher() d) > 0
			THEN 'It is due: the next dispatch pass takes it up.'
			ELSE 'It is due, and no worker serves this database: sopflow.run_due() or a worker takes it up. See sopflow.health.' END;
	END IF;
	RETURN;
END
$$;
COMMENT ON FUNCTION sopflow.why_waits(sopflow.tasks, sopflow.runs, jsonb, jsonb) IS 'Why a task that is not finished has not gone yet, in sentences';

-- What became of a task that is finished.
CREATE FUNCTION sopflow.why_ended(t sopflow.tasks, r sopflow.runs, definition jsonb, node jsonb) RETURNS SETOF text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	late constant text := CASE WHEN t.finished_at > t.due_at
		THEN format(', %s after it was due', sopflow.diagram_interval(date_trunc('milliseconds', t.finished_at - t.due_at))) ELSE '' END;
	child record;
BEGIN
	IF t.status = 'done' THEN
		CASE node->>'type'
		WHEN 'condition' THEN
			RETURN NEXT format('Its condition was evaluated at %s%s', t.finished_at, late)
				|| CASE WHEN t.result ? 'to' THEN coalesce(format(': the way to node "%s" was taken.', t.result->>'to'), ': no way was open.')
				ELSE format(' and was %s.', CASE WHEN t.result->>'condition' IS NULL THEN 'NULL, which counts as false' ELSE t.result->>'condition' END) END;
		WHEN 'wait' THEN
			RETURN NEXT CASE WHEN t.result->>'event' IS NULL THEN format('No event "%s" came: it timed out at %s.', node->>'wait_event', t.finished_at)
				ELSE format('Event "%s" answered it at %s, with the context %s.', t.result->>'event', t.finished_at,
					sopflow.why_short(coalesce(t.result->>'context', '{}'))) END;
		WHEN 'sop' THEN
			RETURN NEXT format('Run %s of SOP "%s" ended as %s at %s.', t.result->>'run_id', node->>'sop_ref', t.result->>'state', t.finished_at);
		ELSE
			RETURN NEXT format('It was done at %s%s%s%s', t.finished_at, late, CASE WHEN t.attempt > 1 THEN format(', on attempt %s', t.attempt) END,
				coalesce(', with the result ' || sopflow.why_short(t.result::text), '') || '.');
			IF t.last_error IS NOT NULL THEN
				RETURN NEXT format('The attempt before had failed: %s', sopflow.why_short(t.last_error));
			END IF;
		END CASE;
	ELSIF t.status = 'dead' THEN
		RETURN NEXT format('It failed for good at %s, on attempt %s: %s', t.finished_at, t.attempt, sopflow.why_short(t.last_error));
		RETURN NEXT CASE WHEN node->>'on_failure' = 'continue' THEN 'The run went on without it (on_failure is continue).'
			ELSE 'That failed the run (on_failure is stop).' END || format(' sopflow.redrive(task_ids => ''{%s}'') puts it back.', t.task_id);
	ELSIF t.status = 'skipped' THEN
		RETURN NEXT format('It was skipped at %s%s: the SOP skips what is late by more than %s.', t.finished_at, late,
			sopflow.diagram_interval((definition->>'skip_late_after')::interval));
	ELSE
		RETURN NEXT format('It was cancelled at %s%s.', t.finished_at, CASE r.state WHEN 'active' THEN ''
			ELSE format(', when the run ended as %s%s', r.state, coalesce(' (' || r.reason || ')', '')) END);
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.why_ended(sopflow.tasks, sopflow.runs, jsonb, jsonb) IS 'What became of a task that is finished, in sentences';

-- What follows a task, of a run that goes on.
CREATE FUNCTION sopflow.why_next(t sopflow.tasks, definition jsonb, node jsonb) RETURNS SETOF text
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	nothing constant text := 'nothing: its branch ends';
	next constant text := coalesce(sopflow.why_node(definition, node->>'next'), nothing);
	otherwise constant text := coalesce(sopflow.why_node(definition, node->>'otherwise'), nothing);
	ways text[];
BEGIN
	IF (definition->>'parallel')::bool THEN
		RETURN NEXT 'Nothing follows it: the tasks of this SOP do not wait for each other, and the run is completed when all have ended.';
		RETURN;
	END IF;
	SELECT array_agg(sopflow.why_node(definition, l->>'to') || coalesce(' if ' || sopflow.why_short(l->>'condition'), '') ORDER BY x.ordinality) INTO ways
	FROM jsonb_array_elements(definition->'links') WITH ORDINALITY AS x(l, ordinality)
	WHERE l->>'from' = t.node_id;
	IF node->>'type' = 'condition' AND ways IS NULL THEN
		RETURN NEXT format('If %s is true, then follows %s.', coalesce('the verdict of rule set "' || (node->>'condition_rules') || '"',
			sopflow.why_short(node->>'condition')), next);
		RETURN NEXT format('If it is false or NULL, then follows %s.', otherwise);
	ELSIF node->>'type' = 'wait' THEN
		RETURN NEXT format('When event "%s" comes, then follows %s.', node->>'wait_event', next);
		IF (node->>'delay')::interval > '0' THEN
			RETURN NEXT format('When it times out, then follows %s.', otherwise);
		END IF;
	ELSIF ways IS NULL THEN
		RETURN NEXT format('Then follows %s.', next);
	ELSE
		RETURN NEXT CASE node->>'type' WHEN 'condition' THEN 'Then follows the first of:' ELSE 'Then follow all of:' END;
		RETURN QUERY SELECT '    ' || w FROM unnest(ways) WITH ORDINALITY AS x(w, ord) ORDER BY ord;
		RETURN NEXT format('If none of them does, then follows %s.', otherwise);
	END IF;
	IF node->>'type' <> 'wait' THEN
		RETURN NEXT CASE node->>'on_failure' WHEN 'stop' THEN 'If it is dead, the run fails.' ELSE 'If it is dead, the run goes on.' END;
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.why_next(sopflow.tasks, jsonb, jsonb) IS 'What follows a task, in sentences';

CREATE FUNCTION sopflow.why(task_id bigint) RETURNS SETOF text
	LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t sopflow.tasks;
	r sopflow.runs;
	definition jsonb;
	node jsonb;
	newest int;
	events text;
	parent bigint;
BEGIN
	SELECT x.* INTO t FROM sopflow.tasks x WHERE x.run_id = why.task_id >> 16 AND x.task_id = why.task_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('task %s does not exist', why.task_id),
			HINT = 'Finished tasks are kept as long as sopflow.history_retention says.';
	END IF;
	SELECT x.* INTO r FROM sopflow.runs x WHERE x.run_id = t.run_id;
	SELECT v.definition INTO definition FROM sopflow.sop_version v WHERE v.sop_id = r.sop_id AND v.version = r.version;
	SELECT max(v.version) INTO newest FROM sopflow.sop_version v WHERE v.sop_id = r.sop_id;
	SELECT n INTO node FROM jsonb_array_elements(definition->'nodes') n WHERE n->>'node_id' = t.node_id;

	RETURN NEXT format('Task %s is %s of SOP "%s" for subject "%s": %s.', t.task_id, coalesce(sopflow.why_node(definition, t.node_id), 'a node'),
		t.sop_id, t.subject_id, t.status);
	RETURN NEXT format('Run %s goes by version %s of the SOP%s.', r.run_id, r.version,
		CASE WHEN NOT EXISTS (SELECT FROM sopflow.sop s WHERE s.sop_id = r.sop_id) THEN ', which has been deleted'
			WHEN newest > r.version THEN format('; new runs go by version %s', newest) ELSE ', the newest' END);
	SELECT - x.slot INTO parent FROM sopflow.run x WHERE x.run_id = r.run_id AND x.slot < 0;
	RETURN NEXT format('The run was started at %s, %s of %s%s.', r.started_at,
		coalesce(format('by task %s (', parent) || (SELECT format('node "%s" of SOP "%s"', x.node_id, x.sop_id)
			FROM sopflow.tasks x WHERE x.run_id = parent >> 16 AND x.task_id = parent) || ')', 'by event "' || (definition->>'trigger_event') || '"', 'by start()'), r.event_at,
		CASE WHEN r.context <> '{}' THEN ' and the context ' || sopflow.why_short(r.context::text) ELSE '' END);
	SELECT string_agg(format('"%s" with %s', e.key, sopflow.why_short(coalesce(e.value->>'context', '{}'))), ', ' ORDER BY e.key COLLATE "C") INTO events
	FROM sopflow.run_state s CROSS JOIN LATERAL jsonb_each(s.state->'events') e WHERE s.run_id = r.run_id;
	IF events IS NOT NULL THEN
		RETURN NEXT format('Events that came since then, and that nodes wait for: %s.', events);
	END IF;
	RETURN QUERY SELECT * FROM sopflow.why_others(t, false);
	RETURN QUERY SELECT * FROM sopflow.why_due(t, r, definition, node);
	IF t.finished_at IS NULL THEN
		RETURN QUERY SELECT * FROM sopflow.why_waits(t, r, definition, node);
		RETURN QUERY SELECT * FROM sopflow.why_next(t, definition, node);
	ELSE
		RETURN QUERY SELECT * FROM sopflow.why_ended(t, r, definition, node);
	END IF;
	RETURN QUERY SELECT * FROM sopflow.why_others(t, true);
	IF r.state <> 'active' THEN
		RETURN NEXT format('The run ended as %s at %s%s.', r.state, r.ended_at, coalesce(': ' || r.reason, ''));
	ELSIF definition->'exit_events' <> '[]' THEN
		RETURN NEXT format('The run ends at once when one of these events comes: %s.',
			(SELECT string_agg('"' || e || '"', ', ') FROM jsonb_array_elements_text(definition->'exit_events') e));
	END IF;
END
$$;
COMMENT ON FUNCTION sopflow.why(bigint) IS 'How a task came to be, why it is what it is, and what follows, in sentences; for those who may see all tasks';
