-- Handlers whose events and calls change the runs that they work for.
\i test/sql/flow_functions.inc

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
