-- Handlers whose events and calls change the runs that they work for.
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

CREATE FUNCTION flow_emit(w sopflow.work) RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(sopflow.emit(w.params->>'event', w.subject_id, '{"by": "handler"}')) $$;
CREATE FUNCTION flow_emit_fail(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM sopflow.emit(w.params->>'event', w.subject_id);
	RAISE EXCEPTION 'after the event';
END $$;
CREATE FUNCTION flow_cancel(w sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(sopflow.cancel(run_id => w.run_id)) $$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts) VALUES ('FLOW_EMIT', 'call', 'public.flow_emit', 1),
	('FLOW_EMIT_FAIL', 'call', 'public.flow_emit_fail', 1), ('FLOW_CANCEL', 'call', 'public.flow_cancel', 1);

-- the event of a handler answers a wait of its own run: the run goes on, although for a moment nothing of it is in any table
SELECT flow_define('flow last', '{"trigger_event": "FLOW_LAST", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "wait", "type": "wait", "wait": "FLOW_SENT"}, {"id": "send", "action": "FLOW_EMIT", "params": {"event": "FLOW_SENT"}, "next": "after"}, {"id": "after", "delay": "1 h"}]',
	'[{"f": "start", "t": "wait"}, {"f": "start", "t": "send"}]');
SELECT sopflow.emit('FLOW_LAST', 'h1');
SELECT sopflow.run_due();
SELECT flow_show('h1');
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('h1');

-- the answered branch comes to the join while the handler's own is still under way: it waits, and goes on once
SELECT flow_define('flow join', '{"trigger_event": "FLOW_JOIN", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "wait", "type": "wait", "wait": "FLOW_SENT", "next": "join"}, {"id": "send", "action": "FLOW_EMIT", "params": {"event": "FLOW_SENT"}, "next": "again"},
	{"id": "again", "type": "wait", "wait": "FLOW_SENT", "next": "join"}, {"id": "join", "next": "last"}, {"id": "last"}]',
	'[{"f": "start", "t": "wait"}, {"f": "start", "t": "send"}]');
SELECT sopflow.emit('FLOW_JOIN', 'h2');
SELECT sopflow.run_due();
SELECT flow_show('h2');

-- a handler that fails takes its event back
SELECT flow_define('flow back', '{"trigger_event": "FLOW_BACK"}',
	'[{"id": "start"}, {"id": "wait", "type": "wait", "wait": "FLOW_SENT", "next": "never"}, {"id": "send", "action": "FLOW_EMIT_FAIL", "params": {"event": "FLOW_SENT"}, "on_failure": "continue"}, {"id": "never"}]',
	'[{"f": "start", "t": "wait"}, {"f": "start", "t": "send"}]');
SELECT sopflow.emit('FLOW_BACK', 'h3');
SELECT sopflow.run_due();
SELECT flow_show('h3');
SELECT sopflow.cancel(subject_id => 'h3');

-- a handler ends its own run: by an exit event, by cancel, by an event that starts it anew
SELECT flow_define('flow exit', '{"trigger_event": "FLOW_OUT", "exit_events": ["FLOW_SENT"]}',
	'[{"id": "start"}, {"id": "send", "action": "FLOW_EMIT", "params": {"event": "FLOW_SENT"}, "next": "join"}, {"id": "other", "next": "join"}, {"id": "join"}]',
	'[{"f": "start", "t": "send"}, {"f": "start", "t": "other"}]');
SELECT flow_define('flow cancel', '{"trigger_event": "FLOW_OUT"}',
	'[{"id": "start"}, {"id": "a", "action": "FLOW_CANCEL", "next": "join"}, {"id": "b", "action": "FLOW_CANCEL", "next": "join"}, {"id": "join"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}]');
SELECT sopflow.emit('FLOW_OUT', 'h4');
SELECT sopflow.run_due();
SELECT flow_show('h4');
SELECT flow_define('flow anew', '{"trigger_event": "FLOW_ANEW", "reentry": "restart"}',
	'[{"id": "ask", "type": "condition", "condition": "event.by IS NULL", "next": "send", "otherwise": "last"}, {"id": "send", "action": "FLOW_EMIT", "params": {"event": "FLOW_ANEW"}, "next": "never"}, {"id": "never"}, {"id": "last"}]');
SELECT sopflow.emit('FLOW_ANEW', 'h5');
SELECT sopflow.run_due();
SELECT flow_show('h5');

-- in a run that another has started: the other ends, this one with it; the other is answered
SELECT flow_define('flow child', '{}', '[{"id": "send", "action": "FLOW_EMIT", "params": {"event": "FLOW_SENT"}, "next": "more"}, {"id": "more"}]');
SELECT flow_define('flow parent', '{"trigger_event": "FLOW_PARENT", "exit_events": ["FLOW_SENT"]}', '[{"id": "sub", "type": "sop", "sop": "flow child", "next": "last"}, {"id": "last"}]');
SELECT flow_define('flow family', '{"trigger_event": "FLOW_FAMILY", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "sub", "type": "sop", "sop": "flow child", "next": "join"}, {"id": "wait", "type": "wait", "wait": "FLOW_SENT", "next": "join"}, {"id": "join"}]',
	'[{"f": "start", "t": "sub"}, {"f": "start", "t": "wait"}]');
SELECT sopflow.emit('FLOW_PARENT', 'h6'), sopflow.emit('FLOW_FAMILY', 'h7');
SELECT sopflow.run_due();
SELECT flow_show('h6');
SELECT flow_show('h7');

-- one event answers two waits of a run that join, and is not used again behind the join by a wait that it came too early for but once
SELECT flow_define('flow twice', '{"trigger_event": "FLOW_TWICE", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "a", "type": "wait", "wait": "FLOW_SENT", "next": "join"}, {"id": "b", "type": "wait", "wait": "FLOW_SENT", "delay": "1 h", "next": "join", "otherwise": "join"},
	{"id": "join", "type": "wait", "wait": "FLOW_SENT", "next": "last"}, {"id": "last"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}]');
SELECT sopflow.emit('FLOW_TWICE', 'h8');
SELECT sopflow.run_due();
SELECT sopflow.emit('FLOW_SENT', 'h8', '{"n": 1}');
SELECT flow_show('h8');
SELECT sopflow.run_due();
SELECT flow_show('h8');

SELECT count(*) FROM sopflow.run_state WHERE NOT state ? 'passed';
SELECT count(*) FROM sopflow.held;
DELETE FROM sopflow.dead;
DELETE FROM sopflow.run_state;
DELETE FROM sopflow.alert;
DELETE FROM sopflow.sop WHERE sop_id LIKE 'flow %' AND sop_id <> 'flow child';
DELETE FROM sopflow.sop WHERE sop_id LIKE 'flow %';
DELETE FROM sopflow.action WHERE action LIKE 'FLOW%';
DROP FUNCTION flow_define, flow_show, flow_emit, flow_emit_fail, flow_cancel;
