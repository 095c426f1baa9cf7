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
	FROM (SELECT t.version_id, t.node, 'pending' AS status, NULL::text AS held_by, pg_catalog.count(*) AS n
			FROM sopflow.task t GROUP BY t.version_id, t.node
		UNION ALL SELECT h.version_id, h.node, 'pending', h.held_by, pg_catalog.count(*)
			FROM sopflow.held h GROUP BY h.version_id, h.node, h.held_by
		UNION ALL SELECT o.version_id, o.node, CASE WHEN o.lease_token = 0 THEN 'ready' ELSE 'leased' END, NULL, pg_catalog.count(*)
			FROM sopflow.offer o GROUP BY o.version_id, o.node, o.lease_token = 0
		UNION ALL SELECT d.version_id, d.node, 'dead', NULL, pg_catalog.count(*)
			FROM sopflow.dead d GROUP BY d.version_id, d.node) t
	JOIN sopflow.sop_version v USING (version_id)
	WHERE pg_catalog.has_table_privilege('sopflow.tasks'::regclass, 'SELECT')
		OR EXISTS (SELECT FROM sopflow.sop s WHERE s.sop_id = v.sop_id AND pg_catalog.pg_has_role(s.owner::oid, 'MEMBER'))
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
-- Graphviz reads character entities in labels, so & is one itself.
CREATE FUNCTION sopflow.diagram_label(lines text[], format text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT pg_catalog.string_agg(CASE format
			WHEN 'dot' THEN pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(c.line, E'\\', E'\\\\'), '"', E'\\"'), '&', '&amp;')
			ELSE pg_catalog.replace((SELECT pg_catalog.string_agg(CASE WHEN pg_catalog.strpos('"#<>&`\%{}[]|;:$*~@', x.c) > 0
					THEN '#' || pg_catalog.ascii(x.c) || ';' ELSE x.c END, '' ORDER BY x.ordinality)
				FROM pg_catalog.string_to_table(c.line, NULL) WITH ORDINALITY AS x(c, ordinality)),
				'direction', 'directio#110;') END,
		CASE format WHEN 'dot' THEN E'\\n' ELSE '<br/>' END ORDER BY l.ordinality)
	FROM pg_catalog.unnest(lines) WITH ORDINALITY AS l(line, ordinality)
	CROSS JOIN LATERAL (SELECT pg_catalog.btrim(pg_catalog.regexp_replace(l.line COLLATE "C", '[[:space:][:cntrl:]]+', ' ', 'g')) AS line) b
	CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.length(b.line) > 60 THEN pg_catalog.left(b.line, 57) || '...' ELSE b.line END AS line) c
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
