-- SOPs that run other SOPs.
\i test/sql/flow_functions.inc

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
