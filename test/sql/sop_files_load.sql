-- Files of SOPs: the printed file and its Java form load, what is as the file
-- says is not touched, what is not in it goes, and each change is one version.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
\pset format unaligned
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
CREATE SCHEMA sf;

-- care_sop.yml as printed; it names actions that must be there.
SELECT $${"id": "customer_care_sop", "nodes": [
	{"id": "node1", "type": "delay", "delay": "24h", "action": "SEND_GREETING", "params": {"template": "WELCOME_MSG"}, "next": "node2"},
	{"id": "node2", "type": "delay", "delay": "72h", "action": "PUSH_CASE", "params": {"case_id": "CASE_001"}, "next": "node3"},
	{"id": "node3", "type": "delay", "delay": "96h", "action": "SEND_REG_LINK", "params": {"url": "/register/event123"}, "next": "node4"},
	{"id": "node4", "type": "delay", "delay": "168h", "action": "FOLLOW_UP", "params": {"message": "是否查阅案例？"}}]}$$::jsonb AS care \gset
SELECT * FROM sopflow.load_sop(:'care');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM sopflow.sop;
SELECT * FROM sopflow.load_sop('{"actions": [{"name": "SEND_GREETING", "delivery": "broadcast"}, {"name": "PUSH_CASE", "delivery": "broadcast"},
	{"name": "SEND_REG_LINK", "delivery": "broadcast"}, {"name": "FOLLOW_UP", "delivery": "broadcast"}]}');
SELECT * FROM sopflow.load_sop(:'care');
SELECT name, trigger_event, enabled, delay_from, reentry, skip_late_after, exit_events, max_steps, owner = current_user::regrole AS mine FROM sopflow.sop;
SELECT node_id, type, delay, action, params, next, max_attempts, on_failure FROM sopflow.sop_node ORDER BY seq;
SELECT sopflow.export_sop('customer_care_sop') = (SELECT jsonb_set(:'care', '{nodes}', jsonb_agg(n - 'type' ORDER BY o)) FROM jsonb_array_elements(:'care'::jsonb->'nodes') WITH ORDINALITY a(n, o)) AS as_printed;

-- Its tasks are due on days 1, 3, 4 and 7, or with each from the one before on 1, 4, 8 and 15.
SELECT * FROM sopflow.load_sop(jsonb_build_array(:'care'::jsonb || '{"id": "event", "trigger_event": "ADD_CLIENT"}',
	:'care'::jsonb || '{"id": "previous", "trigger_event": "ADD_CLIENT", "delay_from": "previous"}'));
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.emit('ADD_CLIENT', 1::bigint);
CREATE FUNCTION sf.step(at timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('sopflow.clock', at::text, false);
	RETURN sopflow.run_due();
END $$;
SELECT h AS hours, sf.step('2030-01-07 09:00+00'::timestamptz + h * interval '1 hour') AS done FROM unnest(ARRAY[23, 24, 72, 96, 168, 192, 360]) AS h;
SELECT sop_id, node_id, action, status, (extract(epoch FROM due_at - '2030-01-07 09:00+00') / 3600)::int AS due_hours, finished_at = due_at AS on_time
	FROM sopflow.tasks ORDER BY sop_id, due_at;
-- A change is in force for the next client, and not for one that is on his way.
SELECT sopflow.emit('ADD_CLIENT', 2::bigint);
SELECT * FROM sopflow.load_sop(jsonb_set(:'care'::jsonb || '{"id": "event", "trigger_event": "ADD_CLIENT"}', '{nodes,0,delay}', '"25h"'));
SELECT sopflow.emit('ADD_CLIENT', 3::bigint);
SELECT subject_id, version, due_at - sopflow.now() AS after FROM sopflow.tasks JOIN sopflow.runs USING (run_id, sop_id, subject_id) WHERE sop_id = 'event' AND status = 'pending' ORDER BY 1;
SELECT count(sopflow.cancel(sop_id => s)) FROM unnest('{event,previous}'::text[]) s;
DELETE FROM sopflow.sop WHERE sop_id IN ('event', 'previous');
RESET sopflow.clock;

-- The Java form is the same, and has no next: three tasks in parallel.
SELECT * FROM sopflow.load_sop('{"sopId": "java", "triggerEvent": "ADD_CLIENT", "nodes": [
	{"nodeId": "day1", "delayHours": 24, "actionType": "SEND_GREETING", "actionParams": {"template": "WELCOME_MSG"}, "retryCount": 3},
	{"nodeId": "day3", "delayHours": 72, "actionType": "PUSH_CASE", "retryCount": 0},
	{"nodeId": "now", "actionType": "SEND_REG_LINK", "delayHours": 0}]}');
SELECT sopflow.export_sop('java');
SELECT * FROM sopflow.load_sop(sopflow.export_sop('java'));
SELECT definition->'parallel' AS parallel, definition->'trigger_event' AS event FROM sopflow.sop_version WHERE sop_id = 'java';
DELETE FROM sopflow.sop WHERE sop_id = 'java';

-- Loaded again, in any session: no row is written, no revision raised, no version made.
CREATE FUNCTION sf.state() RETURNS TABLE (line text) LANGUAGE sql AS $$
	SELECT format('action %s %s %s %s', action, a.ctid, a.xmin, revision) FROM sopflow.action a
	UNION ALL SELECT format('sop %s %s %s %s', sop_id, s.ctid, s.xmin, revision) FROM sopflow.sop s
	UNION ALL SELECT format('node %s %s %s %s', node_id, n.ctid, n.xmin, seq) FROM sopflow.sop_node n
	UNION ALL SELECT format('link %s %s %s %s', from_node, l.ctid, l.xmin, seq) FROM sopflow.sop_link l
	UNION ALL SELECT format('version %s %s', sop_id, version) FROM sopflow.sop_version
$$;
CREATE TABLE sf.before AS SELECT * FROM sf.state();
CREATE FUNCTION sf.touched() RETURNS SETOF text LANGUAGE sql AS $$
	(SELECT '-' || regexp_replace(line, '^(\S+ \S+).*', '\1') FROM (TABLE sf.before EXCEPT ALL SELECT * FROM sf.state()) b)
	UNION ALL (SELECT '+' || regexp_replace(line, '^(\S+ \S+).*', '\1') FROM (SELECT * FROM sf.state() EXCEPT ALL TABLE sf.before) b) ORDER BY 1
$$;
SELECT * FROM sopflow.load_sop(:'care');
SET intervalstyle = 'sql_standard';
SET datestyle = 'German, DMY';
SET timezone = 'Asia/Tokyo';
SET extra_float_digits = -10;
SET search_path = sf;
SELECT * FROM sopflow.load_sop(:'care');
SELECT * FROM sopflow.load_sop(sopflow.export_file());
SELECT sopflow.export_sop('customer_care_sop')->'nodes'->3;
RESET search_path;
RESET extra_float_digits;
RESET intervalstyle;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SELECT sf.touched();
-- also where it says what it leaves out
SELECT * FROM sopflow.load_sop(:'care'::jsonb || '{"name": "customer_care_sop", "description": null, "enabled": true, "delay_from": "event", "links": [], "exit_events": [], "max_steps": 10000}');
SELECT sf.touched();

-- One delay changed: that row alone, one version, in force at once.
SELECT * FROM sopflow.load_sop(jsonb_set(:'care', '{nodes,1,delay}', '"3 days 1 second"'));
SELECT sf.touched();
SELECT version, definition->'nodes'->1->'delay' AS delay FROM sopflow.sop_version WHERE sop_id = 'customer_care_sop' ORDER BY version;
-- 72 hours and 3 days are not the same text, but the same delay.
SELECT * FROM sopflow.load_sop(jsonb_set(:'care', '{nodes,1,delay}', '"3 days"'));
SELECT * FROM sopflow.load_sop(jsonb_set(:'care', '{nodes,1,delay}', '"P3D"'));
SELECT sopflow.export_sop('customer_care_sop')->'nodes'->1->'delay' AS delay;
SELECT d AS written, sopflow.sop_file_interval(d::interval) AS exported, sopflow.sop_file_interval(sopflow.sop_file_interval(d::interval)::interval) AS again
	FROM unnest(ARRAY['0', '24h', '1 day', '90 min', '1h 30s', '45s', '0.5s', '36:00:00', '1 mon 2 days 03:04:05.678', '2 years', '1 day -1 hours', '-5 min', '2562047788h']) d;

-- A node that is not there goes, a new one comes where the file has it, and only what must is numbered anew.
SELECT * FROM sopflow.load_sop(:'care');
TRUNCATE sf.before;
INSERT INTO sf.before SELECT * FROM sf.state();
SELECT * FROM sopflow.load_sop(jsonb_set(:'care', '{nodes}', (:'care'::jsonb->'nodes') - 3 || '{"id": "node5"}') #- '{nodes,2,next}' || '{"enabled": false}');
SELECT sf.touched();
SELECT node_id, rank() OVER (ORDER BY seq) FROM sopflow.sop_node ORDER BY seq;
TRUNCATE sf.before;
INSERT INTO sf.before SELECT * FROM sf.state();
SELECT * FROM sopflow.load_sop(jsonb_insert(sopflow.export_sop('customer_care_sop'), '{nodes,1}', '{"id": "between"}'));
SELECT sf.touched();
SELECT string_agg(node_id, ' ' ORDER BY seq) FROM sopflow.sop_node;
SELECT * FROM sopflow.load_sop(sopflow.export_sop('customer_care_sop') || jsonb_build_object('nodes', (SELECT jsonb_agg(n ORDER BY o DESC) FROM jsonb_array_elements(sopflow.export_sop('customer_care_sop')->'nodes') WITH ORDINALITY a(n, o))));
SELECT string_agg(node_id, ' ' ORDER BY seq) FROM sopflow.sop_node;
-- Numbers that authors gave, even the same for all, are left alone while their order is right.
UPDATE sopflow.sop_node SET seq = 2000000;
TRUNCATE sf.before;
INSERT INTO sf.before SELECT * FROM sf.state();
SELECT * FROM sopflow.load_sop(sopflow.export_sop('customer_care_sop'));
SELECT sf.touched();
SELECT * FROM sopflow.load_sop(jsonb_insert(sopflow.export_sop('customer_care_sop'), '{nodes,2}', '{"id": "late"}'));
SELECT string_agg(node_id, ' ' ORDER BY seq, node_id) FROM sopflow.sop_node;

-- What the file does not say is as by default, but for the event and what operators set.
UPDATE sopflow.sop SET trigger_event = 'ADD_CLIENT', paused = true, enabled = false, description = 'old', reentry = 'allow', exit_events = '{A,B}', max_steps = 5, skip_late_after = '1 day';
SELECT * FROM sopflow.load_sop(:'care');
SELECT trigger_event, paused, enabled, description, reentry, exit_events, max_steps, skip_late_after FROM sopflow.sop;
SELECT * FROM sopflow.load_sop(:'care'::jsonb || '{"trigger_event": null, "enabled": true}');
SELECT trigger_event, paused, enabled FROM sopflow.sop;

-- One statement: a fault at the end takes all of it back, a rollback too.
TRUNCATE sf.before;
INSERT INTO sf.before SELECT * FROM sf.state();
SELECT * FROM sopflow.load_sop(jsonb_build_array('{"actions": [{"name": "NEW"}]}'::jsonb, :'care'::jsonb || '{"description": "new"}', '{"id": "second", "nodes": [{"id": "a", "next": "b"}]}'::jsonb));
SELECT sf.touched();
BEGIN;
SELECT * FROM sopflow.load_sop(jsonb_build_array('{"actions": [{"name": "NEW"}]}'::jsonb, '{"id": "second", "trigger_event": "E", "nodes": [{"id": "a", "action": "NEW"}]}'::jsonb));
SELECT sopflow.emit('E', 1::bigint);
SAVEPOINT s;
SELECT * FROM sopflow.load_sop('{"id": "second", "trigger_event": "E", "nodes": [{"id": "b", "action": "NEW"}]}');
SELECT sopflow.emit('E', 2::bigint);
ROLLBACK TO s;
SELECT sopflow.emit('E', 3::bigint);
SELECT subject_id, node_id FROM sopflow.tasks WHERE sop_id = 'second' ORDER BY 1;
ROLLBACK;
SELECT sf.touched();
-- Actions and SOPs that use them, in any order.
SELECT * FROM sopflow.load_sop('[{"id": "uses", "nodes": [{"id": "a", "action": "USED"}]}, {"sops": [], "actions": [{"name": "USED"}]}]');
SELECT * FROM sopflow.load_sop('[]');
SELECT * FROM sopflow.load_sop('{"sops": []}');

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA sf CASCADE;
DELETE FROM sopflow.sop;
DELETE FROM sopflow.action;
