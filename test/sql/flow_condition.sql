-- Conditions of SOPs: what they read, what follows, errors and rights.
\i test/sql/flow_functions.inc

CREATE TABLE flow_clients (client_id int PRIMARY KEY, name text, level text, score numeric, secret text);
INSERT INTO flow_clients VALUES (1, 'Ann', 'A', 10, 's1'), (2, 'Bob', 'B', NULL, 's2'), (3, 'Cid', NULL, -1, 's3'), (4, NULL, 'A', 0, 's4');

-- of the subject's row: true, false, NULL; a node without otherwise ends its branch
SELECT flow_define('flow level', '{"trigger_event": "FLOW_ADD", "subject_relation": "flow_clients", "subject_key": "client_id"}',
	'[{"id": "ask", "type": "condition", "condition": "subject.level = ''A''", "next": "yes", "otherwise": "no"},
	{"id": "yes", "delay": "1 h", "next": "again"}, {"id": "no", "delay": "2 h"},
	{"id": "again", "type": "condition", "condition": "subject.score > 5", "next": "top"}, {"id": "top"}]');
SELECT sopflow.emit('FLOW_ADD', s) FROM generate_series(1, 4) AS s;
SELECT sopflow.run_due();
SELECT flow_show(s::text) FROM generate_series(1, 4) AS s;
-- the row as it is when the node is carried out, not when the run began
UPDATE flow_clients SET score = 6 WHERE client_id = 4;
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT flow_show(s::text) FROM generate_series(1, 4) AS s;
-- the row is gone
SELECT sopflow.emit('FLOW_ADD', 4);
DELETE FROM flow_clients WHERE client_id = 4;
SELECT sopflow.run_due();
SELECT flow_show('4');

-- of the event: paths into jsonb
SELECT flow_define('flow event', '{"trigger_event": "FLOW_BUY"}',
	'[{"id": "ask", "type": "condition", "condition": "event.plan = ''gold'' AND event.n > 3 AND event.list.deep IS NULL OR event.vip", "next": "yes", "otherwise": "no"},
	{"id": "yes"}, {"id": "no"}]');
SELECT sopflow.emit('FLOW_BUY', 'e1', '{"plan": "gold", "n": 4}'), sopflow.emit('FLOW_BUY', 'e2', '{"plan": "gold", "n": "3.5"}'),
	sopflow.emit('FLOW_BUY', 'e3', '{"plan": "gold", "n": 4, "list": {"deep": 1}}'), sopflow.emit('FLOW_BUY', 'e4', '{"vip": true}'),
	sopflow.emit('FLOW_BUY', 'e5'), sopflow.emit('FLOW_BUY', 'e6', '{"plan": null, "n": null, "vip": null}');
SELECT sopflow.run_due();
SELECT flow_show('e' || s) FROM generate_series(1, 6) AS s;

-- of the run
SELECT flow_define('flow run', '{"trigger_event": "FLOW_RUN"}',
	'[{"id": "ask", "type": "condition", "condition": "run.sop_id = ''flow run'' AND run.version = 1 AND run.subject_id = ''r1'' AND run.run_id > 0 AND run.started_at - run.event_at = interval ''1 hour'' AND run.events = ''{}''", "next": "yes", "otherwise": "no"},
	{"id": "yes"}, {"id": "no"}]');
SELECT sopflow.emit('FLOW_RUN', 'r1', occurred_at => sopflow.now() - interval '1 hour'), sopflow.emit('FLOW_RUN', 'r2', occurred_at => sopflow.now() - interval '1 hour');
SELECT sopflow.run_due();
SELECT flow_show('r1');
SELECT flow_show('r2');

-- errors: tried again as an action is, then dead; on_failure
SELECT flow_define('flow stop', '{"trigger_event": "FLOW_DIVIDE"}',
	'[{"id": "ask", "type": "condition", "condition": "10 / event.n::int > 1", "next": "yes", "otherwise": "no"}, {"id": "yes"}, {"id": "no"}]');
SELECT flow_define('flow go on', '{"trigger_event": "FLOW_DIVIDE"}',
	'[{"id": "ask", "type": "condition", "condition": "10 / event.n::int > 1", "max_attempts": 2, "on_failure": "continue", "next": "yes", "otherwise": "no"}, {"id": "yes"}, {"id": "no"}]');
SELECT sopflow.emit('FLOW_DIVIDE', 'd1', '{"n": 0}'), sopflow.emit('FLOW_DIVIDE', 'd2', '{"n": 2}'), sopflow.emit('FLOW_DIVIDE', 'd3', '{"n": "x"}');
SELECT sopflow.run_due();
SELECT sop_id, status, attempt, due_at - sopflow.now() BETWEEN '24 s' AND '36 s' AS backoff, last_error
FROM sopflow.tasks WHERE subject_id = 'd1' ORDER BY sop_id;
SELECT flow_show('d2');
SET sopflow.clock = '2030-01-01 14:01:00+00';
SELECT sopflow.run_due();
SELECT sop_id, node_id, status, attempt, due_at - sopflow.now() BETWEEN '48 s' AND '72 s' AS backoff
FROM sopflow.tasks WHERE subject_id = 'd1' ORDER BY sop_id, task_id;
SET sopflow.clock = '2030-01-01 14:03:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-01 14:06:00+00';
SELECT sopflow.run_due();
SELECT sop_id, state FROM sopflow.runs WHERE subject_id = 'd1' ORDER BY sop_id;
SET sopflow.clock = '2030-01-01 14:12:00+00';
SELECT sopflow.run_due();
SELECT sop_id, state, regexp_replace(reason, '[0-9]{6,}', 'N') FROM sopflow.runs WHERE subject_id IN ('d1', 'd3') ORDER BY subject_id, sop_id;
SELECT subject_id, sop_id, node_id, status, attempt, result, last_error FROM sopflow.tasks
WHERE subject_id IN ('d1', 'd3') ORDER BY subject_id, sop_id, task_id;
-- each death is an alert
SELECT count(*) FROM sopflow.alerts WHERE message LIKE '%node "ask", subject "d1"%';

-- a rule set decides: it allows, it denies, it fails
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('flow rules');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('flow rules', 'subject', 'flow_clients'), ('flow rules', 'event', 'jsonb'), ('flow rules', 'run', 'sopflow.run_fact');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES
	('flow rules', 'low', 'subject.score < 5', '[{"deny": "{{subject.name}} has {{subject.score}}"}]'),
	('flow rules', 'sop', 'run.sop_id <> ''flow ruled''', '[{"deny": "another SOP"}]'),
	('flow rules', 'event', '1 / (event.n::int - 1) < 0', '[{"deny": "negative"}]');
COMMIT;
SELECT flow_define('flow ruled', '{"trigger_event": "FLOW_RULED", "subject_relation": "flow_clients", "subject_key": "client_id"}',
	'[{"id": "ask", "type": "condition", "rules": "flow rules", "next": "yes", "otherwise": "no", "max_attempts": 1}, {"id": "yes"}, {"id": "no"}]');
SELECT sopflow.emit('FLOW_RULED', 1, '{"n": 3}'), sopflow.emit('FLOW_RULED', 3, '{"n": 3}');
SELECT sopflow.run_due();
SELECT node_id, status, result FROM sopflow.tasks WHERE sop_id = 'flow ruled' ORDER BY task_id;
SELECT sopflow.emit('FLOW_RULED', 1, '{"n": 0}'), sopflow.emit('FLOW_RULED', 2, '{"n": 1}');
SELECT sopflow.run_due();
SELECT subject_id, node_id, status, result, last_error FROM sopflow.tasks WHERE sop_id = 'flow ruled' ORDER BY task_id OFFSET 4;
-- facts that a condition does not give; the set goes
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('flow rules', 'new', 'flow_clients');
SELECT concat_ws(' | ', v.node_id, v.column_name, v.message) FROM sopflow.validate('flow ruled') v;
DELETE FROM sopflow.rule_fact WHERE rule_set = 'flow rules' AND fact = 'new';
BEGIN;
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'flow rules';
SELECT sopflow.emit('FLOW_RULED', 3, '{"n": 3}');
SELECT sopflow.run_due();
SELECT node_id, status, last_error FROM sopflow.tasks WHERE sop_id = 'flow ruled' AND subject_id = '3' ORDER BY task_id OFFSET 2;
ROLLBACK;

-- what conditions may not do, with the place of it
SELECT flow_define('flow bad', '{}', '[{"id": "a", "type": "condition", "condition": "true AND random() > 0.5"}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "type": "condition", "condition": "event.n > (SELECT 1)"}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "type": "condition", "condition": "count(*) > 1"}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "type": "condition", "condition": "true; DROP TABLE flow_clients"}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "type": "condition", "condition": ""}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "type": "condition", "condition": "1"}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "type": "condition", "condition": "subject.name = ''x''"}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a", "type": "condition", "condition": "run.owner = ''x''"}]');
SELECT flow_define('flow bad', '{"subject_relation": "flow_clients", "subject_key": "client_id"}', '[{"id": "a", "type": "condition", "condition": "subject.levle = ''x''"}]');
SELECT flow_define('flow bad', '{}', '[{"id": "a"}, {"id": "b"}, {"id": "c"}]',
	'[{"f": "a", "t": "b", "condition": "event.n = 1"}, {"f": "a", "t": "c", "condition": "1 / 0 = 1"}]');
SELECT count(*) FROM sopflow.sop WHERE sop_id = 'flow bad';

-- the owner's rights, when the node is carried out
CREATE ROLE regress_flow_author;
SELECT sopflow.grant_author('regress_flow_author');
GRANT EXECUTE ON FUNCTION flow_define TO regress_flow_author;
GRANT SELECT ON flow_clients TO regress_flow_author;
SET ROLE regress_flow_author;
SELECT flow_define('flow rights', '{"trigger_event": "FLOW_RIGHTS", "subject_relation": "flow_clients", "subject_key": "client_id"}',
	'[{"id": "ask", "type": "condition", "condition": "subject.secret = ''s1''", "next": "yes", "otherwise": "no", "max_attempts": 1}, {"id": "yes"}, {"id": "no"}]');
RESET ROLE;
SELECT sopflow.emit('FLOW_RIGHTS', 1);
SELECT sopflow.run_due();
REVOKE SELECT ON flow_clients FROM regress_flow_author;
GRANT SELECT (client_id, name) ON flow_clients TO regress_flow_author;
SELECT sopflow.emit('FLOW_RIGHTS', 1);
SELECT sopflow.run_due();
SELECT node_id, status, result, last_error FROM sopflow.tasks WHERE sop_id = 'flow rights' ORDER BY task_id;
-- and row security
GRANT SELECT ON flow_clients TO regress_flow_author;
ALTER TABLE flow_clients ENABLE ROW LEVEL SECURITY;
CREATE POLICY flow_some ON flow_clients USING (client_id > 1);
SELECT sopflow.emit('FLOW_RIGHTS', 1), sopflow.emit('FLOW_RIGHTS', 2);
SELECT sopflow.run_due();
SELECT subject_id, node_id, status, result, last_error FROM sopflow.tasks WHERE sop_id = 'flow rights' ORDER BY task_id OFFSET 3;
ALTER TABLE flow_clients DISABLE ROW LEVEL SECURITY;

-- names are those of the session that wrote the SOP
CREATE SCHEMA flow_evil;
CREATE FUNCTION flow_evil.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'evil' $$;
CREATE FUNCTION flow_evil.flow_is(text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT false $$;
CREATE FUNCTION flow_is(text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1 = 'ann' $$;
SELECT flow_define('flow path', '{"trigger_event": "FLOW_PATH", "subject_relation": "flow_clients", "subject_key": "client_id"}',
	'[{"id": "ask", "type": "condition", "condition": "flow_is(lower(subject.name))", "next": "yes", "otherwise": "no"}, {"id": "yes"}, {"id": "no"}]');
SET search_path = flow_evil, pg_catalog, public;
SELECT sopflow.emit('FLOW_PATH', 1);
SELECT sopflow.run_due();
RESET search_path;
SELECT node_id, status, result FROM sopflow.tasks WHERE sop_id = 'flow path' ORDER BY task_id;

DELETE FROM sopflow.dead;
DELETE FROM sopflow.run_state;
DELETE FROM sopflow.alert;
DELETE FROM sopflow.sop WHERE sop_id LIKE 'flow %';
DELETE FROM sopflow.rule_set WHERE rule_set = 'flow rules';
DROP FUNCTION flow_define, flow_show, flow_is;
DROP FUNCTION flow_evil.lower, flow_evil.flow_is;
DROP SCHEMA flow_evil;
DROP TABLE flow_clients;
DROP OWNED BY regress_flow_author;
DROP ROLE regress_flow_author;
