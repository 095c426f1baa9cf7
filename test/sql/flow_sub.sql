-- SOPs that run other SOPs.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
RESET client_min_messages;
SET sopflow.clock = '2030-01-01 12:00:00+00';
SET timezone = 'UTC';
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never

-- an SOP in one go
CREATE FUNCTION flow_define(sop text, attrs jsonb, nodes jsonb, links jsonb DEFAULT '[]') RETURNS void LANGUAGE sql AS $$
	INSERT INTO sopflow.sop (sop_id, trigger_event, enabled, delay_from, reentry, exit_events, subject_relation, subject_key, max_steps, owner)
	SELECT $1, a.trigger_event, coalesce(a.enabled, true), coalesce(a.delay_from, 'event'), coalesce(a.reentry, 'ignore'),
		coalesce(a.exit_events, '{}'), a.subject_relation, a.subject_key, coalesce(a.max_steps, 10000), coalesce(a.owner, current_user::regrole)
	FROM jsonb_to_record(attrs) AS a(trigger_event text, enabled bool, delay_from text, reentry text, exit_events text[],
		subject_relation regclass, subject_key name, max_steps int, owner regrole);
	INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, action, params, next, otherwise, condition, condition_rules,
		wait_event, sop_ref, max_attempts, on_failure)
	SELECT $1, n.id, coalesce(n.type, 'delay'), coalesce(n.delay, '0'), n.action, coalesce(n.params, '{}'), n.next, n.otherwise,
		n.condition, n.rules, n.wait, n.sop, n.max_attempts, coalesce(n.on_failure, 'stop')
	FROM jsonb_to_recordset(nodes) AS n(id text, type text, delay interval, action text, params jsonb, next text, otherwise text,
		condition text, rules text, wait text, sop text, max_attempts int, on_failure text);
	INSERT INTO sopflow.sop_link (sop_id, from_node, to_node, condition)
	SELECT $1, l.f, l.t, l.condition FROM jsonb_to_recordset(links) AS l(f text, t text, condition text);
$$;
-- the runs of a subject and their tasks; not those of earlier tests
DELETE FROM sopflow.history;
DELETE FROM sopflow.run_history;
CREATE FUNCTION flow_show(subject text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT l.line FROM (
		SELECT r.run_id, -1 AS task_id, r.sop_id || ': ' || r.state || coalesce(' (' || regexp_replace(r.reason, '[0-9]{6,}', 'N', 'g') || ')', '') AS line
		FROM sopflow.runs r WHERE r.subject_id = subject AND r.sop_id LIKE 'flow %'
	UNION ALL
		SELECT t.run_id, t.task_id, concat_ws(' ', '   ', t.node_id, t.status || coalesce('/' || t.held_by, ''),
			CASE WHEN t.due_at = 'infinity' THEN 'never' ELSE to_char(t.due_at, 'DD HH24:MI:SS') END,
			CASE WHEN t.finished_at IS NOT NULL THEN '-> ' || to_char(t.finished_at, 'DD HH24:MI:SS') END,
			CASE WHEN t.attempt > 1 OR t.last_error IS NOT NULL THEN 'attempt ' || t.attempt END,
			CASE WHEN t.result ? 'run_id' THEN t.result - 'run_id' ELSE t.result END, t.last_error)
		FROM sopflow.tasks t WHERE t.subject_id = subject AND t.sop_id LIKE 'flow %') l
	ORDER BY l.run_id, l.task_id
$$;

CREATE FUNCTION flow_fail(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts) VALUES ('FLOW_FAIL', 'call', 'public.flow_fail', 1);
SELECT flow_define('flow child', '{"delay_from": "previous", "exit_events": ["FLOW_EXIT"]}',
	'[{"id": "c1", "delay": "1 h", "next": "c2"}, {"id": "c2", "type": "condition", "condition": "event.ok", "next": "c3", "otherwise": "c4"}, {"id": "c3"}, {"id": "c4", "action": "FLOW_FAIL"}]');
SELECT flow_define('flow parent', '{"trigger_event": "FLOW_ADD", "delay_from": "previous"}',
	'[{"id": "p1", "next": "sub"}, {"id": "sub", "type": "sop", "sop": "flow child", "delay": "1 h", "next": "p2"}, {"id": "p2", "delay": "1 h"}]');
SELECT flow_define('flow forgiving', '{"trigger_event": "FLOW_FORGIVE", "delay_from": "previous"}',
	'[{"id": "sub", "type": "sop", "sop": "flow child", "on_failure": "continue", "next": "p2"}, {"id": "p2"}]');

-- done: the child's event time is when it began, its context and subject are the parent's
SELECT sopflow.emit('FLOW_ADD', 'd1', '{"ok": true}');
SELECT sopflow.run_due();
SELECT flow_show('d1');
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('d1');
SELECT sop_id, subject_id, event_at, context FROM sopflow.runs WHERE subject_id = 'd1' ORDER BY run_id;
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('d1');
SELECT r.sop_id, r.state FROM sopflow.tasks t JOIN sopflow.runs r ON r.run_id = (t.result->>'run_id')::bigint WHERE t.subject_id = 'd1';
SET sopflow.clock = '2030-01-01 15:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('d1');

-- failed: the node is dead at once, and its run with it, or not
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_ADD', 'f1', '{"ok": false}'), sopflow.emit('FLOW_FORGIVE', 'f2', '{"ok": false}');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('f2');
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('f1');

-- exited: the node is complete
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_FORGIVE', 'e1', '{"ok": true}');
SELECT sopflow.run_due();
SELECT sopflow.emit('FLOW_EXIT', 'e1');
SELECT flow_show('e1');
SELECT sopflow.run_due();
SELECT flow_show('e1');
-- the message that a child has ended is no task: it is not cancelled, and not put off
SELECT sopflow.emit('FLOW_FORGIVE', 'g1', '{"ok": true}'), sopflow.emit('FLOW_FORGIVE', 'g2', '{"ok": true}');
SELECT sopflow.run_due();
SELECT sopflow.emit('FLOW_EXIT', 'g1'), sopflow.emit('FLOW_EXIT', 'g2');
SELECT sopflow.cancel(subject_id => 'g1');
SELECT flow_show('g1');
SELECT sopflow.reschedule(task_id, '2031-01-01 00:00:00+00') FROM sopflow.tasks WHERE subject_id = 'g2' AND sop_id = 'flow forgiving';
SELECT * FROM sopflow.node_tasks WHERE sop_id LIKE 'flow %';
SELECT sopflow.run_due();
SELECT flow_show('g2');
-- when the child is cancelled by hand
SELECT sopflow.emit('FLOW_FORGIVE', 'e2', '{"ok": true}');
SELECT sopflow.run_due();
SELECT sopflow.cancel(subject_id => 'e2', sop_id => 'flow child');
SELECT sopflow.run_due();
SELECT flow_show('e2');
-- the parent is cancelled: its child goes with it
SELECT sopflow.emit('FLOW_FORGIVE', 'e3', '{"ok": true}');
SELECT sopflow.run_due();
SELECT sopflow.cancel(subject_id => 'e3', sop_id => 'flow forgiving');
SELECT flow_show('e3');
-- both at once
SELECT sopflow.emit('FLOW_FORGIVE', 'e4', '{"ok": true}');
SELECT sopflow.run_due();
SELECT sopflow.cancel(subject_id => 'e4');
SELECT flow_show('e4');

-- nested, three deep; the one at the top ends by an event, all end
SELECT flow_define('flow deep 3', '{}', '[{"id": "x", "type": "wait", "wait": "FLOW_COME", "next": "y"}, {"id": "y"}]');
SELECT flow_define('flow deep 2', '{}', '[{"id": "sub", "type": "sop", "sop": "flow deep 3"}]');
SELECT flow_define('flow deep 1', '{"trigger_event": "FLOW_DEEP", "exit_events": ["FLOW_STOP"]}', '[{"id": "sub", "type": "sop", "sop": "flow deep 2", "next": "last"}, {"id": "last"}]');
SELECT sopflow.emit('FLOW_DEEP', 'n1'), sopflow.emit('FLOW_DEEP', 'n2');
SELECT sopflow.run_due();
SELECT flow_show('n1');
SELECT sopflow.emit('FLOW_STOP', 'n1'), sopflow.emit('FLOW_COME', 'n2');
SELECT flow_show('n1');
SELECT sopflow.run_due();
SELECT flow_show('n2');

-- two branches run SOPs at the same time; the join waits for both
SELECT flow_define('flow short', '{}', '[{"id": "x", "delay": "1 h"}]'), flow_define('flow long', '{}', '[{"id": "x", "delay": "2 h"}]');
SELECT flow_define('flow two', '{"trigger_event": "FLOW_TWO", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "s1", "type": "sop", "sop": "flow short", "next": "join"}, {"id": "s2", "type": "sop", "sop": "flow long", "next": "join"}, {"id": "join"}]',
	'[{"f": "start", "t": "s1"}, {"f": "start", "t": "s2"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_TWO', 't1');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('t1');
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('t1');

-- the SOP that is run is disabled, or paused; a run of it goes on already
SET sopflow.clock = '2030-01-01 12:00:00+00';
UPDATE sopflow.sop SET enabled = false WHERE sop_id = 'flow child';
SELECT sopflow.emit('FLOW_FORGIVE', 'x1', '{"ok": true}');
SELECT sopflow.run_due();
SELECT sop_id, node_id, status, attempt, last_error FROM sopflow.tasks WHERE subject_id = 'x1' ORDER BY task_id;
UPDATE sopflow.sop SET enabled = true WHERE sop_id = 'flow child';
SET sopflow.clock = '2030-01-01 12:01:00+00';
SELECT sopflow.run_due();
SELECT sop_id, node_id, status, held_by, attempt FROM sopflow.tasks WHERE subject_id = 'x1' ORDER BY task_id;
SELECT sopflow.cancel(subject_id => 'x1');
SELECT sopflow.start('flow child', 'x2', '{"ok": true}') > 0;
SELECT sopflow.emit('FLOW_FORGIVE', 'x2', '{"ok": true}');
SELECT sopflow.run_due();
SELECT sop_id, node_id, status, held_by, attempt, last_error FROM sopflow.tasks WHERE subject_id = 'x2' ORDER BY task_id;
SELECT sopflow.cancel(subject_id => 'x2');
SELECT sopflow.pause('flow child');
SELECT sopflow.emit('FLOW_FORGIVE', 'x3', '{"ok": true}');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('x3');
SELECT sopflow.resume('flow child');
SELECT sopflow.run_due();
SELECT flow_show('x3');
-- an SOP that is run cannot be deleted
DELETE FROM sopflow.sop WHERE sop_id = 'flow child';

-- the version that is in force when it begins
SELECT sopflow.emit('FLOW_ADD', 'v1', '{"ok": true}');
SELECT sopflow.run_due();
UPDATE sopflow.sop_node SET delay = '2 h' WHERE sop_id = 'flow child' AND node_id = 'c1';
SET sopflow.clock = '2030-01-01 15:00:00+00';
SELECT sopflow.run_due();
SELECT r.sop_id, r.version = (SELECT max(v.version) FROM sopflow.sop_version v WHERE v.sop_id = r.sop_id) AS newest
FROM sopflow.runs r WHERE r.subject_id = 'v1' AND r.state = 'active' ORDER BY r.run_id;
SELECT sopflow.cancel(subject_id => 'v1');

SELECT count(*) FROM sopflow.run_state WHERE NOT state ? 'passed';
SELECT count(*) FROM sopflow.held;
DELETE FROM sopflow.dead;
DELETE FROM sopflow.run_state;
DELETE FROM sopflow.alert;
DELETE FROM sopflow.sop WHERE sop_id LIKE 'flow %';
DELETE FROM sopflow.action WHERE action LIKE 'FLOW%';
DROP FUNCTION flow_define, flow_show, flow_fail;
