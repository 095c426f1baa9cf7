-- Links: forks, joins, exclusive and inclusive ways, cycles, ends and exits in the middle.
\i test/sql/flow_functions.inc

-- a fork of three that joins: the join waits for the last of them
SELECT flow_define('flow fork', '{"trigger_event": "FLOW_FORK", "delay_from": "previous", "exit_events": ["FLOW_EXIT"]}',
	'[{"id": "start"}, {"id": "a", "delay": "1 h", "next": "join"}, {"id": "b", "delay": "3 h", "next": "join"}, {"id": "c", "delay": "2 h", "next": "join"},
	{"id": "join", "delay": "1 day", "next": "last"}, {"id": "last"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}, {"f": "start", "t": "c"}]');
SELECT sopflow.emit('FLOW_FORK', 'f1');
SELECT sopflow.run_due();
SELECT flow_show('f1');
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('f1');
SET sopflow.clock = '2030-01-01 14:30:00+00';
SELECT sopflow.run_due();
SELECT flow_show('f1');
SET sopflow.clock = '2030-01-01 15:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('f1');
SET sopflow.clock = '2030-01-02 15:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('f1');
-- an exit in the middle
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_FORK', 'f3');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT sopflow.emit('FLOW_EXIT', 'f3');
SELECT flow_show('f3');
SET sopflow.clock = '2030-01-01 15:00:00+00';
SELECT sopflow.run_due();
-- a parked task: cancelled with the run; it cannot be rescheduled past the others
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_FORK', 'f4');
SET sopflow.clock = '2030-01-01 13:30:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 14:30:00+00';
SELECT sopflow.run_due();
SELECT sopflow.reschedule(task_id, '2030-01-01 14:30:00+00') FROM sopflow.tasks WHERE subject_id = 'f4' AND held_by = 'join';
SELECT sopflow.run_due();
SELECT flow_show('f4');
SELECT sopflow.cancel(subject_id => 'f4');
SELECT flow_show('f4');

-- inclusive: every way whose condition is true, NULL is not; none: otherwise
SELECT flow_define('flow some', '{"trigger_event": "FLOW_SOME", "delay_from": "previous"}',
	'[{"id": "start", "otherwise": "none"}, {"id": "a", "delay": "1 h", "next": "join"}, {"id": "b", "delay": "2 h", "next": "join"},
	{"id": "c", "delay": "3 h", "next": "join"}, {"id": "none", "delay": "4 h", "next": "join"}, {"id": "join"}]',
	'[{"f": "start", "t": "a", "condition": "event.a"}, {"f": "start", "t": "b", "condition": "event.b"}, {"f": "start", "t": "c", "condition": "event.c > 1"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_SOME', 's1', '{"a": true, "b": false, "c": 2}'), sopflow.emit('FLOW_SOME', 's2', '{"a": true}'), sopflow.emit('FLOW_SOME', 's3', '{"a": false}');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('s1');
SELECT flow_show('s2');
SELECT flow_show('s3');
SET sopflow.clock = '2030-01-01 16:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('s1');
SELECT flow_show('s3');
-- without an otherwise the branch ends; an error in a link fails the run, as the node is done
SELECT flow_define('flow none', '{"trigger_event": "FLOW_NONE"}', '[{"id": "start"}, {"id": "a"}]', '[{"f": "start", "t": "a", "condition": "1 / event.n::int > 0"}]');
SELECT sopflow.emit('FLOW_NONE', 'n1', '{"n": 2}'), sopflow.emit('FLOW_NONE', 'n2', '{"n": 1}'), sopflow.emit('FLOW_NONE', 'n3', '{"n": 0}');
SELECT sopflow.run_due();
SELECT flow_show('n1');
SELECT flow_show('n2');
SELECT flow_show('n3');

-- exclusive: a condition node takes the first way that is true
SELECT flow_define('flow first', '{"trigger_event": "FLOW_FIRST"}',
	'[{"id": "which", "type": "condition", "otherwise": "other"}, {"id": "a"}, {"id": "b"}, {"id": "other"}]',
	'[{"f": "which", "t": "a", "condition": "event.n < 3"}, {"f": "which", "t": "b", "condition": "event.n < 5"}]');
SELECT flow_define('flow always', '{"trigger_event": "FLOW_FIRST"}',
	'[{"id": "which", "type": "condition"}, {"id": "a"}, {"id": "b"}]',
	'[{"f": "which", "t": "b", "condition": "event.n = 4"}, {"f": "which", "t": "a"}]');
SELECT flow_define('flow neither', '{"trigger_event": "FLOW_FIRST"}',
	'[{"id": "which", "type": "condition"}, {"id": "a"}]', '[{"f": "which", "t": "a", "condition": "event.n < 3"}]');
SELECT sopflow.emit('FLOW_FIRST', 'w' || n, jsonb_build_object('n', n)) FROM unnest('{2,4,6}'::int[]) AS n;
SELECT sopflow.emit('FLOW_FIRST', 'w0');
SELECT sopflow.run_due();
SELECT flow_show('w2');
SELECT flow_show('w4');
SELECT flow_show('w6');
SELECT flow_show('w0');

-- a fork within a fork: each join waits for its own branches
SELECT flow_define('flow nested', '{"trigger_event": "FLOW_NESTED", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "left"}, {"id": "l1", "delay": "1 h", "next": "ljoin"}, {"id": "l2", "delay": "2 h", "next": "ljoin"},
	{"id": "ljoin", "delay": "1 h", "next": "join"}, {"id": "right", "delay": "1 h", "next": "join"}, {"id": "join"}]',
	'[{"f": "start", "t": "left"}, {"f": "start", "t": "right"}, {"f": "left", "t": "l1"}, {"f": "left", "t": "l2"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_NESTED', 'x1');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('x1');
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('x1');
SET sopflow.clock = '2030-01-01 15:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('x1');

-- a branch that ends before the join lets it go; so does one that is dead
CREATE FUNCTION flow_fail(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts) VALUES ('FLOW_FAIL', 'call', 'public.flow_fail', 1);
SELECT flow_define('flow ends', '{"trigger_event": "FLOW_ENDS", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "a", "delay": "1 h", "next": "join"}, {"id": "b", "delay": "2 h", "next": "ask"},
	{"id": "ask", "type": "condition", "condition": "event.on", "next": "join"},
	{"id": "c", "delay": "90 min", "action": "FLOW_FAIL", "on_failure": "continue", "next": "after"}, {"id": "after", "type": "condition", "condition": "false", "next": "join"},
	{"id": "join"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}, {"f": "start", "t": "c"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_ENDS', 'e1', '{"on": false}'), sopflow.emit('FLOW_ENDS', 'e2', '{"on": true}');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 13:30:00+00';
SELECT sopflow.run_due();
SELECT flow_show('e1');
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('e1');
SELECT flow_show('e2');
-- a dead task of a branch fails the run, parked tasks and all
SELECT flow_define('flow dies', '{"trigger_event": "FLOW_DIES", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "a", "next": "join"}, {"id": "b", "delay": "2 h", "action": "FLOW_FAIL", "next": "join"}, {"id": "join"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}]');
SELECT sopflow.emit('FLOW_DIES', 'd1');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 16:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('d1');

-- a join in a cycle: whoever is on the way round is waited for
SELECT flow_define('flow cycle', '{"trigger_event": "FLOW_CYCLE", "delay_from": "previous"}',
	'[{"id": "start", "next": "loop"}, {"id": "loop"}, {"id": "a", "delay": "1 h", "next": "join"}, {"id": "b", "delay": "2 h", "next": "join"},
	{"id": "join", "next": "again"}, {"id": "again", "type": "condition", "condition": "run.started_at > sopflow.now() - interval ''3 hours''", "next": "loop", "otherwise": "over"},
	{"id": "over"}]',
	'[{"f": "loop", "t": "a"}, {"f": "loop", "t": "b"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_CYCLE', 'c1');
SELECT sopflow.run_due();
SELECT flow_show('c1');
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('c1');
SET sopflow.clock = '2030-01-01 15:00:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 16:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('c1');
-- two joins that wait for each other: the one that was parked first goes on
SELECT flow_define('flow knot', '{"trigger_event": "FLOW_KNOT", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "x", "delay": "1 h"}, {"id": "y", "delay": "1 h", "next": "x"}, {"id": "z"}]',
	'[{"f": "start", "t": "x"}, {"f": "start", "t": "y"}, {"f": "x", "t": "y", "condition": "event.round"}, {"f": "x", "t": "z"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_KNOT', 'k1');
SELECT sopflow.run_due();
SELECT flow_show('k1');
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('k1');
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('k1');
SET sopflow.clock = '2030-01-01 15:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('k1');

-- an end node within a branch ends all of them; next and otherwise to one node is a join of one token
SELECT flow_define('flow end', '{"trigger_event": "FLOW_END", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "a", "delay": "1 h", "next": "over"}, {"id": "b", "delay": "2 h"}, {"id": "c", "type": "wait", "wait": "FLOW_NEVER"}, {"id": "over", "type": "end"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}, {"f": "start", "t": "c"}]');
SELECT flow_define('flow both', '{"trigger_event": "FLOW_END"}',
	'[{"id": "ask", "type": "condition", "condition": "event.on", "next": "same", "otherwise": "same"}, {"id": "same"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_END', 'o1');
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('o1');

-- one of the ways of a fork is the end
SELECT flow_define('flow way out', '{"trigger_event": "FLOW_OUT"}',
	'[{"id": "start"}, {"id": "a"}, {"id": "over", "type": "end"}, {"id": "b"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "over", "condition": "event.out"}, {"f": "start", "t": "b"}]');
SELECT sopflow.emit('FLOW_OUT', 'o2', '{"out": true}'), sopflow.emit('FLOW_OUT', 'o3', '{"out": false}');
SELECT sopflow.run_due();
SELECT flow_show('o2');
SELECT flow_show('o3');

-- delay_from = 'event': each node by its own delay, and a join not before its branches
SELECT flow_define('flow event', '{"trigger_event": "FLOW_EVENT"}',
	'[{"id": "start", "delay": "1 h"}, {"id": "a", "delay": "2 h", "next": "join"}, {"id": "b", "delay": "5 h", "next": "join"}, {"id": "join", "delay": "4 h", "next": "last"}, {"id": "last", "delay": "6 h"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}]');
SET sopflow.clock = '2030-01-01 12:00:00+00';
SELECT sopflow.emit('FLOW_EVENT', 'v1');
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 17:00:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 18:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('v1');
-- all of it long due: in one pass
SELECT sopflow.emit('FLOW_EVENT', 'v2', occurred_at => '2029-01-01 00:00:00+00');
SELECT sopflow.run_due();
SELECT flow_show('v2');

-- too many tasks
SELECT flow_define('flow steps', '{"trigger_event": "FLOW_STEPS", "max_steps": 3}',
	'[{"id": "start"}, {"id": "a"}, {"id": "b"}, {"id": "c"}]', '[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}, {"f": "start", "t": "c"}]');
SELECT sopflow.emit('FLOW_STEPS', 'm1');
SELECT sopflow.run_due();
SELECT flow_show('m1');

-- tasks with an action: two of a run never go at once, and the answers of consumers move them on
INSERT INTO sopflow.action (action) VALUES ('FLOW_QUEUE');
SELECT flow_define('flow queue', '{"trigger_event": "FLOW_QUEUED", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "a", "action": "FLOW_QUEUE", "next": "join"}, {"id": "b", "action": "FLOW_QUEUE", "next": "join"}, {"id": "join", "action": "FLOW_QUEUE"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}]');
SELECT sopflow.emit('FLOW_QUEUED', 'q1');
SELECT sopflow.run_due();
SELECT flow_show('q1');
SELECT w.node_id, sopflow.ack(w.task_id, w.lease_token) FROM sopflow.fetch('{FLOW_QUEUE}') w;
SELECT flow_show('q1');
SELECT sopflow.run_due();
SELECT w.node_id, sopflow.ack(w.task_id, w.lease_token, '{"n": 1}') FROM sopflow.fetch('{FLOW_QUEUE}') w;
SELECT sopflow.run_due();
SELECT w.node_id, sopflow.ack(w.task_id, w.lease_token) FROM sopflow.fetch('{FLOW_QUEUE}') w;
SELECT flow_show('q1');
-- a dead task that is redriven does not pass the join twice
SELECT flow_define('flow redrive', '{"trigger_event": "FLOW_REDRIVE", "delay_from": "previous"}',
	'[{"id": "start"}, {"id": "a", "action": "FLOW_FAIL", "on_failure": "continue", "next": "join"}, {"id": "b", "delay": "1 h", "next": "join"}, {"id": "join", "delay": "1 h", "next": "last"}, {"id": "last", "delay": "1 h"}]',
	'[{"f": "start", "t": "a"}, {"f": "start", "t": "b"}]');
SELECT sopflow.emit('FLOW_REDRIVE', 'r1');
SELECT sopflow.run_due();
SELECT flow_show('r1');
CREATE OR REPLACE FUNCTION flow_fail(w sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"mended": true}'::jsonb $$;
SELECT sopflow.redrive(task_ids => ARRAY(SELECT task_id FROM sopflow.dead_tasks WHERE subject_id = 'r1'));
SELECT sopflow.run_due();
SELECT flow_show('r1');
SET sopflow.clock = '2030-01-01 19:00:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 20:00:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 21:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show('r1');

SELECT count(*) FROM sopflow.run_state WHERE NOT state ? 'passed';
SELECT count(*) FROM sopflow.held;
DELETE FROM sopflow.dead;
DELETE FROM sopflow.run_state;
DELETE FROM sopflow.alert;
DELETE FROM sopflow.sop WHERE sop_id LIKE 'flow %';
DELETE FROM sopflow.action WHERE action LIKE 'FLOW%';
DROP FUNCTION flow_define, flow_show, flow_fail;
