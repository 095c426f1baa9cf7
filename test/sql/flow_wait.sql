-- Waits: an event in time, early, too late; loops, pauses, and events that do several things.
\i test/sql/flow_functions.inc

-- answered in time, at the exact moment of the time-out, timed out
SELECT flow_define('flow wait', '{"trigger_event": "FLOW_ADD", "delay_from": "previous"}',
	'[{"id": "ask", "delay": "1 h", "next": "wait"}, {"id": "wait", "type": "wait", "wait": "FLOW_REPLY", "delay": "1 day", "next": "yes", "otherwise": "no"},
	{"id": "yes"}, {"id": "no"}]');
SELECT sopflow.emit('FLOW_ADD', s) FROM unnest('{w1,w2,w3,w4}'::text[]) AS s;
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('w1');
SET sopflow.clock = '2030-01-01 20:00:00+00';
SELECT sopflow.emit('FLOW_REPLY', 'w1', '{"text": "hello"}');
SELECT flow_show('w1');
SELECT sopflow.run_due();
SELECT flow_show('w1');
-- one microsecond before the moment, and at it: an event at the time-out is too late
SET sopflow.clock = '2030-01-02 12:59:59.999999+00';
SELECT sopflow.run_due();
SELECT sopflow.emit('FLOW_REPLY', 'w2');
SET sopflow.clock = '2030-01-02 13:00:00+00';
SELECT sopflow.emit('FLOW_REPLY', 'w3');
SELECT sopflow.run_due();
SELECT flow_show('w2');
SELECT flow_show('w3');
SELECT flow_show('w4');
-- again: nobody waits any more
SELECT sopflow.emit('FLOW_REPLY', 'w1'), sopflow.emit('FLOW_REPLY', 'w4'), sopflow.emit('FLOW_REPLY', 'nobody');

-- when the event comes counts, whatever time it says it is of
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_ADD', s) FROM unnest('{x1,x2}'::text[]) AS s;
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-05 00:00:00+00';
SELECT sopflow.emit('FLOW_REPLY', 'x1', occurred_at => '2030-01-02 12:00:00+00'), sopflow.emit('FLOW_REPLY', 'x2', occurred_at => '2030-01-03 00:00:00+00');
SELECT sopflow.run_due();
SELECT flow_show('x1');
SELECT flow_show('x2');

-- early: after the run began and before the node was reached; before the run began
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_REPLY', 'y1'), sopflow.emit('FLOW_ADD', 'y1'), sopflow.emit('FLOW_ADD', 'y2');
SELECT sopflow.emit('FLOW_REPLY', 'y2', '{"n": 1}'), sopflow.emit('FLOW_REPLY', 'y2', '{"n": 2}');
SELECT flow_show('y2');
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('y1');
SELECT flow_show('y2');

-- without time-out; the first node; the answer's context is a fact of the run
SELECT flow_define('flow for ever', '{"trigger_event": "FLOW_EVER"}',
	'[{"id": "wait", "type": "wait", "wait": "FLOW_COME", "next": "ask"},
	{"id": "ask", "type": "condition", "condition": "(run.events -> ''FLOW_COME'' ->> ''n'')::int > 1", "next": "big", "otherwise": "small"},
	{"id": "big"}, {"id": "small"}]');
SELECT sopflow.emit('FLOW_EVER', s) FROM unnest('{z1,z2,z3}'::text[]) AS s;
SET sopflow.clock = '2039-01-01 12:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('z1');
SELECT sopflow.emit('FLOW_COME', 'z1', '{"n": 1}'), sopflow.emit('FLOW_COME', 'z2', '{"n": 2}');
SELECT sopflow.run_due();
SELECT flow_show('z1');
SELECT flow_show('z2');
SELECT sopflow.cancel(subject_id => 'z3');
SELECT flow_show('z3');

-- a loop with a wait: each arrival answers the node once
SELECT flow_define('flow loop', '{"trigger_event": "FLOW_LOOP", "delay_from": "previous"}',
	'[{"id": "wait", "type": "wait", "wait": "FLOW_PAY", "delay": "10 days", "next": "thank", "otherwise": "give up"},
	{"id": "thank", "delay": "1 h", "next": "wait"}, {"id": "give up", "next": "over"}, {"id": "over", "type": "end"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_LOOP', 'l1');
SELECT sopflow.emit('FLOW_PAY', 'l1', '{"n": 1}');
SELECT flow_show('l1');
-- two come while it is elsewhere: the last one is remembered
SELECT sopflow.emit('FLOW_PAY', 'l1', '{"n": 2}'), sopflow.emit('FLOW_PAY', 'l1', '{"n": 3}');
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('l1');
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('l1');
SET sopflow.clock = '2030-01-11 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('l1');

-- several runs and SOPs of a subject wait for the same event
SELECT flow_define('flow many', '{"trigger_event": "FLOW_MANY", "reentry": "allow"}',
	'[{"id": "wait", "type": "wait", "wait": "FLOW_COME", "next": "yes"}, {"id": "yes"}]');
SELECT sopflow.emit('FLOW_MANY', 'm1'), sopflow.emit('FLOW_MANY', 'm1'), sopflow.emit('FLOW_EVER', 'm1'), sopflow.emit('FLOW_MANY', 'm2');
SELECT sopflow.emit('FLOW_COME', 'm1', '{"n": 5}');
SELECT sopflow.run_due();
SELECT flow_show('m1');
SELECT flow_show('m2');
SELECT sopflow.cancel(subject_id => 'm2');

-- two waits in one run for the same event, one reached and one not yet
SELECT flow_define('flow two', '{"trigger_event": "FLOW_TWO", "delay_from": "previous"}',
	'[{"id": "first", "type": "wait", "wait": "FLOW_COME", "next": "pause"}, {"id": "pause", "delay": "1 h", "next": "second"},
	{"id": "second", "type": "wait", "wait": "FLOW_COME", "delay": "1 h", "next": "yes", "otherwise": "no"}, {"id": "yes"}, {"id": "no"}]');
SELECT sopflow.emit('FLOW_TWO', 't1'), sopflow.emit('FLOW_COME', 't1', '{"n": 1}');
SET sopflow.clock = '2030-01-11 15:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('t1');

-- paused: the answer is taken, what follows is held
SELECT sopflow.emit('FLOW_TWO', 'p1');
SELECT sopflow.pause('flow two');
SELECT sopflow.emit('FLOW_COME', 'p1');
SELECT sopflow.run_due();
SELECT flow_show('p1');
SET sopflow.clock = '2030-01-11 16:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('p1');
SELECT sopflow.resume('flow two');
SELECT sopflow.run_due();
SELECT flow_show('p1');
-- paused when it times out: an event that comes then is too late, although nobody carried it out
SELECT sopflow.emit('FLOW_ADD', 'p2');
SET sopflow.clock = '2030-01-11 17:00:00+00';
SELECT sopflow.run_due();
SELECT sopflow.pause('flow wait');
SET sopflow.clock = '2030-01-12 17:00:00+00';
SELECT sopflow.run_due();
SELECT sopflow.emit('FLOW_REPLY', 'p2');
SELECT flow_show('p2');
SELECT sopflow.resume('flow wait');
SELECT sopflow.run_due();
SELECT flow_show('p2');
-- rescheduled: the time-out is another one
SELECT sopflow.emit('FLOW_EVER', 'p3');
SELECT sopflow.reschedule(task_id, '2030-02-01 00:00:00+00') FROM sopflow.tasks WHERE subject_id = 'p3';
SET sopflow.clock = '2030-02-01 00:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('p3');

-- one event that ends, answers and starts: in this order
SELECT flow_define('flow exits', '{"trigger_event": "FLOW_BEGIN", "exit_events": ["FLOW_ALL"]}',
	'[{"id": "wait", "type": "wait", "wait": "FLOW_ALL", "next": "never"}, {"id": "never"}]');
SELECT flow_define('flow answers', '{"trigger_event": "FLOW_BEGIN"}',
	'[{"id": "wait", "type": "wait", "wait": "FLOW_ALL", "next": "yes"}, {"id": "yes"}]');
SELECT flow_define('flow starts', '{"trigger_event": "FLOW_ALL", "reentry": "restart"}',
	'[{"id": "wait", "type": "wait", "wait": "FLOW_ALL", "next": "yes"}, {"id": "yes"}]');
SELECT sopflow.emit('FLOW_BEGIN', 'a1');
SELECT sopflow.emit('FLOW_ALL', 'a1');
SELECT sopflow.run_due();
SELECT flow_show('a1');
SELECT sopflow.emit('FLOW_ALL', 'a1');
SELECT sopflow.run_due();
SELECT flow_show('a1');
SELECT sopflow.cancel(subject_id => 'a1');

-- what is left when all has ended
SELECT count(*) FROM sopflow.run_state WHERE NOT state ? 'passed';
SELECT count(*) FROM sopflow.held;
DELETE FROM sopflow.sop WHERE sop_id LIKE 'flow %';
DROP FUNCTION flow_define, flow_show;
