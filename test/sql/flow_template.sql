-- Templates in params, for every delivery.
\i test/sql/flow_functions.inc

CREATE TABLE flow_clients (client_id bigint PRIMARY KEY, name text, born date, tags text[], extra jsonb, secret text);
INSERT INTO flow_clients VALUES (1, 'Ann "A" \ <b>', '2000-02-03', '{x,y}', '{"city": "Bern"}', 's'), (2, NULL, NULL, NULL, NULL, NULL);
-- handlers see what they are given
CREATE TABLE flow_log (n int GENERATED ALWAYS AS IDENTITY, subject text, node text, params jsonb);
CREATE FUNCTION flow_log(w sopflow.work) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO public.flow_log (subject, node, params) VALUES (w.subject_id, w.node_id, w.params) RETURNING '{}'::jsonb $$;
INSERT INTO sopflow.action (action, delivery, handler, channel, jitter) VALUES ('FLOW_CALL', 'call', 'public.flow_log', 'sopflow', 0),
	('FLOW_BROADCAST', 'broadcast', NULL, 'flow_channel', 0), ('FLOW_QUEUE', 'queue', NULL, 'sopflow', 0);

-- what can be said: fields, paths, expressions, defaults, the escape, keys and values that are no templates
SELECT flow_define('flow call', '{"trigger_event": "FLOW_ADD", "subject_relation": "flow_clients", "subject_key": "client_id"}', jsonb_build_array(jsonb_build_object(
	'id', 'tell', 'action', 'FLOW_CALL', 'params', '{
		"plain": "Hello", "number": 5, "null": null, "yes": true, "empty": "", "list": ["{{subject.name|there}}", {"deep": "{{run.subject_id}}"}],
		"name": "Dear {{subject.name|there}}, welcome", "event": "{{event.plan|no plan}}/{{event.n|0}}", "born": "{{subject.born|unknown}}",
		"expression": "{{upper(coalesce(subject.name, ''?''))}} {{1 + 1}}", "escape": "\\{{subject.name}} and \\{{", "braces": "{ } }} {",
		"key {{event.plan}}": "keys are as they are", "bar": "{{coalesce(subject.name, ''a|b'')}}", "otherwise empty": "{{event.none|}}",
		"run": "{{run.sop_id}} {{run.version}}", "whole": "{{event}}", "city": "{{(subject.extra->>''city'')|nowhere}}"}'::jsonb)));
SELECT sopflow.emit('FLOW_ADD', 1, '{"plan": "gold", "n": 7}'), sopflow.emit('FLOW_ADD', 2);
SELECT sopflow.run_due();
SELECT flow_show('1');
SELECT flow_show('2');
SELECT l.subject, p.key, p.value FROM flow_log l, jsonb_each(l.params) p ORDER BY l.n, p.key COLLATE "C";
TRUNCATE flow_log;

-- the row as it is at dispatch, not when the task was written
UPDATE sopflow.sop_node SET delay = '1 h', params = '{"name": "{{subject.name}}"}' WHERE sop_id = 'flow call';
SELECT sopflow.emit('FLOW_ADD', 1), sopflow.emit('FLOW_ADD', 2);
UPDATE flow_clients SET name = 'Anna' WHERE client_id = 1;
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT subject, params FROM flow_log ORDER BY n;
-- a NULL without a default fails the attempt, and says which; a value that comes later mends it
SELECT node_id, status, attempt, last_error FROM sopflow.tasks WHERE subject_id = '2' AND status = 'pending';
UPDATE flow_clients SET name = 'Bob' WHERE client_id = 2;
SET sopflow.clock = '2030-01-01 13:00:30+00';
SELECT sopflow.run_due();
SELECT subject, params FROM flow_log ORDER BY n;
-- the row is gone
SELECT sopflow.emit('FLOW_ADD', 2);
DELETE FROM flow_clients WHERE client_id = 2;
SET sopflow.clock = '2030-01-01 14:30:00+00';
SELECT sopflow.run_due();
SELECT state, reason FROM sopflow.runs WHERE subject_id = '2' ORDER BY run_id DESC LIMIT 1;
TRUNCATE flow_log;

-- broadcast: the payload has it; task_params does too
SELECT flow_define('flow broadcast', '{"trigger_event": "FLOW_TELL", "subject_relation": "flow_clients", "subject_key": "client_id"}',
	'[{"id": "tell", "action": "FLOW_BROADCAST", "params": {"text": "Hello {{subject.name}}, {{event.plan|no plan}}"}}]');
SELECT sopflow.emit('FLOW_TELL', 1, '{"plan": "gold"}');
SELECT sopflow.run_due();
SELECT sopflow.task_params(task_id) FROM sopflow.tasks WHERE sop_id = 'flow broadcast';
UPDATE flow_clients SET name = 'Annabel' WHERE client_id = 1;
SELECT sopflow.task_params(task_id) FROM sopflow.tasks WHERE sop_id = 'flow broadcast';

INSERT INTO flow_clients (client_id, name) VALUES (3, NULL), (4, 'Dora');
SELECT sopflow.emit('FLOW_TELL', 3);
SELECT sopflow.run_due();
SELECT status, attempt, last_error FROM sopflow.tasks WHERE sop_id = 'flow broadcast' AND subject_id = '3';
SELECT sopflow.task_params(task_id) FROM sopflow.tasks WHERE sop_id = 'flow broadcast' AND subject_id = '3';
SELECT sopflow.cancel(sop_id => 'flow broadcast');

-- queue: rendered when it is fetched; an error is an attempt, and the others are fetched
SELECT flow_define('flow queue', '{"trigger_event": "FLOW_QUEUED", "subject_relation": "flow_clients", "subject_key": "client_id"}',
	'[{"id": "ask", "action": "FLOW_QUEUE", "max_attempts": 2, "params": {"text": "Hello {{subject.name}}"}}]');
SELECT sopflow.emit('FLOW_QUEUED', s) FROM unnest('{1,3,4}'::int[]) AS s;
SELECT sopflow.run_due();
UPDATE flow_clients SET name = 'Dorothy' WHERE client_id = 4;
SELECT w.subject_id, w.params, w.attempt, sopflow.ack(w.task_id, w.lease_token) FROM sopflow.fetch('{FLOW_QUEUE}', 10) w;
SELECT subject_id, status, attempt, last_error FROM sopflow.tasks WHERE sop_id = 'flow queue' ORDER BY task_id;
SET sopflow.clock = '2030-01-01 14:31:00+00';
SELECT sopflow.run_due();
SELECT count(*) FROM sopflow.fetch('{FLOW_QUEUE}', 10);
SELECT subject_id, status, attempt, last_error FROM sopflow.tasks WHERE sop_id = 'flow queue' AND subject_id = '3';
SELECT state, regexp_replace(reason, '[0-9]{6,}', 'N') FROM sopflow.runs WHERE sop_id = 'flow queue' AND subject_id = '3';

-- an error in an expression; a value that is no text
SELECT flow_define('flow error', '{"trigger_event": "FLOW_ERROR"}', '[{"id": "a", "action": "FLOW_CALL", "max_attempts": 1, "params": {"n": "{{10 / event.n::int}}"}}]');
SELECT sopflow.emit('FLOW_ERROR', 'e1', '{"n": 0}'), sopflow.emit('FLOW_ERROR', 'e2', '{"n": 4}'), sopflow.emit('FLOW_ERROR', 'e3');
SELECT sopflow.run_due();
SELECT subject_id, status, last_error FROM sopflow.tasks WHERE sop_id = 'flow error' ORDER BY task_id;
SELECT params FROM flow_log;

-- what is wrong with a template, when it is written
SELECT flow_define('flow bad', '{}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "{{subject.name}}"}}]');
SELECT flow_define('flow bad', '{"subject_relation": "flow_clients", "subject_key": "client_id"}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "Hello {{subject.nmae|there}}"}}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "action": "FLOW_CALL", "params": {"list": [{"n": "{{event.n"}]}}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "{{}}"}}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "{{|x}}"}}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "{{(SELECT 1)}}"}}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "{{random()}}"}}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "{{nobody.name}}"}}]');
SELECT count(*) FROM sopflow.sop WHERE sop_id = 'flow bad';

-- the SOP's owner must be allowed to read, when it is written and when it goes
CREATE ROLE regress_flow_author;
SELECT sopflow.grant_author('regress_flow_author');
SELECT sopflow.grant_action('FLOW_CALL', 'regress_flow_author');
GRANT EXECUTE ON FUNCTION flow_define TO regress_flow_author;
GRANT SELECT (client_id, name) ON flow_clients TO regress_flow_author;
SET ROLE regress_flow_author;
SELECT flow_define('flow rights', '{"subject_relation": "flow_clients", "subject_key": "client_id"}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "{{subject.secret}}"}}]');
SELECT flow_define('flow rights', '{"subject_relation": "pg_authid", "subject_key": "oid"}', '[{"id": "a", "action": "FLOW_CALL", "params": {"n": "{{subject.rolpassword}}"}}]');
SELECT flow_define('flow rights', '{"trigger_event": "FLOW_RIGHTS", "subject_relation": "flow_clients", "subject_key": "client_id"}',
	'[{"id": "a", "action": "FLOW_CALL", "max_attempts": 1, "params": {"n": "{{subject.name}}"}}]');
RESET ROLE;
TRUNCATE flow_log;
SELECT sopflow.emit('FLOW_RIGHTS', 1);
SELECT sopflow.run_due();
REVOKE SELECT (name) ON flow_clients FROM regress_flow_author;
SELECT sopflow.emit('FLOW_RIGHTS', 1);
SELECT sopflow.run_due();
SELECT params FROM flow_log;
SELECT status, last_error FROM sopflow.tasks WHERE sop_id = 'flow rights' ORDER BY task_id;
-- a column that is dropped or renamed under it
GRANT SELECT ON flow_clients TO regress_flow_author;
ALTER TABLE flow_clients RENAME name TO full_name;
SELECT sopflow.emit('FLOW_RIGHTS', 1);
SELECT sopflow.run_due();
SELECT status, last_error FROM sopflow.tasks WHERE sop_id = 'flow rights' ORDER BY task_id OFFSET 2;
SELECT concat_ws(' | ', v.node_id, v.column_name, v.message) FROM sopflow.validate('flow rights') v;

DELETE FROM sopflow.dead;
DELETE FROM sopflow.alert;
DELETE FROM sopflow.sop WHERE sop_id LIKE 'flow %';
DELETE FROM sopflow.action WHERE action LIKE 'FLOW%';
DROP FUNCTION flow_define, flow_show, flow_log;
DROP TABLE flow_clients, flow_log;
DROP OWNED BY regress_flow_author;
DROP ROLE regress_flow_author;
