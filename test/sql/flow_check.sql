-- Faults of flows, each named by node and column.
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

CREATE FUNCTION flow_faults(attrs jsonb, nodes jsonb, links jsonb DEFAULT '[]') RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM flow_define('flow check', attrs || '{"enabled": false}', nodes, links);
	RETURN QUERY SELECT concat_ws(' | ', v.node_id, v.column_name, v.message) FROM sopflow.validate('flow check') v;
	IF NOT FOUND THEN
		UPDATE sopflow.sop SET enabled = true WHERE sop_id = 'flow check';
		RETURN NEXT 'sound';
	END IF;
	DELETE FROM sopflow.sop WHERE sop_id = 'flow check';
END $$;
INSERT INTO sopflow.action (action) VALUES ('FLOW_CHECK');

-- names that lead nowhere
SELECT flow_faults('{}', '[{"id": "a", "next": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "condition", "condition": "true", "next": "x", "otherwise": "y"}]');
SELECT flow_faults('{}', '[{"id": "a"}, {"id": "b"}]', '[{"f": "a", "t": "x"}, {"f": "y", "t": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "action": "FLOW_NONE"}]');
SELECT flow_faults('{"subject_relation": "pg_class", "subject_key": "none"}', '[{"id": "a"}]');

-- unreachable nodes
SELECT flow_faults('{}', '[{"id": "a", "next": "b"}, {"id": "b"}, {"id": "c", "next": "d"}, {"id": "d", "next": "c", "delay": "1 day"}]');
SELECT flow_faults('{}', '[{"id": "a"}, {"id": "b"}, {"id": "c"}]', '[{"f": "a", "t": "b"}]');
SELECT flow_faults('{}', '[{"id": "z", "type": "end"}]');
SELECT flow_faults('{}', '[]');

-- cycles: with a delay or a wait in each
SELECT flow_faults('{"delay_from": "previous"}', '[{"id": "a", "next": "a"}]');
SELECT flow_faults('{"delay_from": "previous"}', '[{"id": "a", "next": "a", "delay": "1 s"}]');
SELECT flow_faults('{"delay_from": "event"}', '[{"id": "a", "next": "a", "delay": "1 s"}]');
SELECT flow_faults('{"delay_from": "previous"}', '[{"id": "a", "next": "b"}, {"id": "b", "type": "condition", "condition": "true", "next": "c", "otherwise": "a"},
	{"id": "c", "type": "wait", "wait": "E", "next": "a"}]');
SELECT flow_faults('{"delay_from": "previous"}', '[{"id": "a", "next": "b"}, {"id": "b", "type": "condition", "condition": "true", "otherwise": "c"},
	{"id": "c", "type": "wait", "wait": "E", "next": "a"}]');
SELECT flow_faults('{"delay_from": "previous"}', '[{"id": "a", "delay": "1 day"}, {"id": "b"}, {"id": "c"}, {"id": "d"}]',
	'[{"f": "a", "t": "b"}, {"f": "b", "t": "c"}, {"f": "b", "t": "d"}, {"f": "c", "t": "a"}, {"f": "d", "t": "b"}]');
SELECT flow_faults('{"delay_from": "event"}', '[{"id": "a", "type": "wait", "wait": "E", "next": "b"}, {"id": "b", "type": "wait", "wait": "F", "next": "a"}]');
SELECT flow_faults('{"delay_from": "previous"}', '[{"id": "a"}, {"id": "b"}]');

-- conditions
SELECT flow_faults('{}', '[{"id": "a", "type": "condition", "next": "b"}, {"id": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "condition", "condition": "true", "rules": "flow rules", "next": "b"}, {"id": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "condition", "rules": "flow no rules", "next": "b"}, {"id": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "condition", "condition": "true"}, {"id": "b"}]', '[{"f": "a", "t": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "condition", "next": "b"}, {"id": "b"}]', '[{"f": "a", "t": "b", "condition": "true"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "condition", "action": "FLOW_CHECK", "condition": "true"}]');
SELECT flow_faults('{}', '[{"id": "a", "condition": "true", "rules": "flow rules", "wait": "E", "sop": "flow x"}]');

-- waits
SELECT flow_faults('{}', '[{"id": "a", "type": "wait", "delay": "1 day", "next": "b"}, {"id": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "wait", "wait": ""}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "wait", "wait": "E", "otherwise": "b"}, {"id": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "wait", "wait": "E"}, {"id": "b"}]', '[{"f": "a", "t": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "wait", "wait": "E", "delay": "-1 day"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "wait", "wait": "E", "delay": "200 years"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "wait", "wait": "E", "action": "FLOW_CHECK"}]');

-- links
SELECT flow_faults('{}', '[{"id": "a", "next": "b"}, {"id": "b"}]', '[{"f": "a", "t": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "otherwise": "b"}, {"id": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "otherwise": "b"}, {"id": "b"}]', '[{"f": "a", "t": "b", "condition": "false"}]');
SELECT flow_faults('{}', '[{"id": "a", "next": "z"}, {"id": "z", "type": "end"}]', '[{"f": "z", "t": "a"}]');
SELECT flow_faults('{}', '[{"id": "a"}, {"id": "b"}]', '[{"f": "a", "t": "b", "condition": "event.n >"}]');
SELECT flow_faults('{}', '[{"id": "a"}, {"id": "b"}]', '[{"f": "a", "t": "b", "condition": "subject.name = ''x''"}]');

-- SOPs that SOPs run
SELECT flow_faults('{}', '[{"id": "a", "type": "sop"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "sop", "sop": "flow nobody"}]');
SELECT flow_faults('{}', '[{"id": "a", "type": "sop", "sop": "flow check"}]');

-- types, ends, all at once
SELECT flow_faults('{}', '[{"id": "a", "type": "strange"}]');
SELECT flow_faults('{}', '[{"id": "a", "next": "z"}, {"id": "z", "type": "end", "next": "a", "delay": "1 s", "action": "FLOW_CHECK", "otherwise": "a"}]');
SELECT flow_faults('{"max_steps": 1}', '[{"id": "a"}, {"id": "b"}]');
SELECT flow_faults('{}', '[{"id": "a", "params": {"text": "Hello {{subject.name}"}}]');
SELECT flow_faults('{}', '[{"id": "a", "params": [1]}]');
BEGIN;
SELECT flow_define('flow check', '{}', '[{"id": "a", "type": "wait"}, {"id": "b", "type": "condition"}]', '[{"f": "x", "t": "y"}]');
COMMIT;
SELECT count(*) FROM sopflow.sop WHERE sop_id = 'flow check';

-- a calendar that is not there
INSERT INTO sopflow.sop (sop_id, enabled, calendar) VALUES ('flow check', false, 'flow no calendar');
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('flow check', 'a');
SELECT concat_ws(' | ', v.node_id, v.column_name, v.message) FROM sopflow.validate('flow check') v;
DELETE FROM sopflow.sop WHERE sop_id = 'flow check';

-- SOPs that run each other, in one transaction and in two; nobody deletes one that is run
BEGIN;
SELECT flow_define('flow one', '{}', '[{"id": "a", "type": "sop", "sop": "flow two"}]');
SELECT flow_define('flow two', '{}', '[{"id": "a", "type": "sop", "sop": "flow three"}]');
SELECT flow_define('flow three', '{}', '[{"id": "a", "type": "sop", "sop": "flow one"}]');
COMMIT;
BEGIN;
SELECT flow_define('flow two', '{}', '[{"id": "a"}]');
SELECT flow_define('flow one', '{}', '[{"id": "a", "type": "sop", "sop": "flow two"}]');
COMMIT;
UPDATE sopflow.sop_node SET type = 'sop', sop_ref = 'flow one' WHERE sop_id = 'flow two';
DELETE FROM sopflow.sop WHERE sop_id = 'flow two';
DELETE FROM sopflow.sop_node WHERE sop_id = 'flow two';
DELETE FROM sopflow.sop WHERE sop_id IN ('flow one', 'flow two');
SELECT count(*) FROM sopflow.sop WHERE sop_id LIKE 'flow %';

-- rights on what is run, read and judged by
CREATE ROLE regress_flow_author;
CREATE ROLE regress_flow_other;
SELECT sopflow.grant_author('regress_flow_author');
GRANT CREATE, USAGE ON SCHEMA public TO regress_flow_author;
GRANT EXECUTE ON FUNCTION flow_define, flow_faults TO regress_flow_author;
SELECT flow_define('flow theirs', '{"owner": "regress_flow_other"}', '[{"id": "a"}]');
CREATE TABLE flow_secret (id int PRIMARY KEY, name text, secret text);
GRANT SELECT (id, name) ON flow_secret TO regress_flow_author;
SET ROLE regress_flow_author;
SELECT flow_faults('{}', '[{"id": "a", "type": "sop", "sop": "flow theirs"}]');
SELECT flow_faults('{"subject_relation": "flow_secret", "subject_key": "id"}', '[{"id": "a", "type": "condition", "condition": "subject.name = ''x''"}]');
SELECT flow_faults('{"subject_relation": "flow_secret", "subject_key": "id"}', '[{"id": "a", "type": "condition", "condition": "subject.secret = ''x''"}]');
SELECT flow_faults('{"subject_relation": "flow_secret", "subject_key": "id"}', '[{"id": "a", "params": {"a": "{{subject}}"}}]');
SELECT flow_faults('{"subject_relation": "flow_secret", "subject_key": "secret"}', '[{"id": "a"}]');
RESET ROLE;

DELETE FROM sopflow.sop WHERE sop_id LIKE 'flow %';
DELETE FROM sopflow.action WHERE action LIKE 'FLOW%';
DROP TABLE flow_secret;
DROP FUNCTION flow_define, flow_faults;
DROP OWNED BY regress_flow_author;
DROP ROLE regress_flow_author, regress_flow_other;
