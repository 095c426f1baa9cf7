-- simulate(): what would happen when, without writing anything.
\pset format unaligned
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-01 00:00:00+00';
CREATE SCHEMA si;
SET search_path = si, public;
CREATE TABLE client (id int PRIMARY KEY, name text, city text, zone text);
INSERT INTO client VALUES (1, 'Ann', 'Bonn', 'Europe/Berlin'), (2, NULL, 'Rome', NULL);
INSERT INTO sopflow.action (action, delivery) VALUES ('SI_MAIL', 'broadcast'), ('SI_CALL', 'queue');

-- The chain of the article, from the event and from the node before.
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('si chain', 'SI');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, params, next) VALUES
	('si chain', 'node1', '24h', 'SI_MAIL', '{"template": "WELCOME_MSG"}', 'node2'),
	('si chain', 'node2', '72h', 'SI_MAIL', '{"case_id": "CASE_001"}', 'node3'),
	('si chain', 'node3', '96h', 'SI_MAIL', '{}', 'node4'),
	('si chain', 'node4', '168h', 'SI_CALL', '{}', NULL);
-- own uncommitted changes are used
SELECT * FROM sopflow.simulate('si chain', '2030-01-01');
COMMIT;
UPDATE sopflow.sop SET delay_from = 'previous' WHERE sop_id = 'si chain';
SELECT at, node_id FROM sopflow.simulate('si chain', '2030-01-01');
-- from now on by default, that of sopflow.clock
SELECT min(at) FROM sopflow.simulate('si chain');
-- a node behind a longer delay is late, and may be skipped
BEGIN;
UPDATE sopflow.sop SET delay_from = 'event', skip_late_after = '1h' WHERE sop_id = 'si chain';
UPDATE sopflow.sop_node SET delay = CASE node_id WHEN 'node2' THEN interval '23h' ELSE '22h 59min' END
	WHERE sop_id = 'si chain' AND node_id IN ('node2', 'node3');
SELECT at, node_id, note FROM sopflow.simulate('si chain', '2030-01-01');
ROLLBACK;
-- parallel: all from the event
BEGIN;
UPDATE sopflow.sop SET delay_from = 'event', skip_late_after = '1h' WHERE sop_id = 'si chain';
UPDATE sopflow.sop_node SET next = NULL WHERE sop_id = 'si chain';
SELECT at, node_id, note FROM sopflow.simulate('si chain', '2030-01-01');
ROLLBACK;

-- A draft: branches, waits, fork and join, templates.
INSERT INTO sopflow.sop (sop_id, enabled, delay_from, subject_relation, subject_key)
	VALUES ('si flow', false, 'previous', 'client', 'id');
INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, action, params, next, otherwise, condition, wait_event, on_failure) VALUES
	('si flow', 'hello', 'delay', '1h', 'SI_MAIL', '{"to": "{{subject.name|client}}", "n": "{{event.n}}"}', 'big', NULL, NULL, NULL, 'continue'),
	('si flow', 'big', 'condition', '0', NULL, '{}', 'paid', 'fork', 'event.n > 10', NULL, 'stop'),
	('si flow', 'paid', 'wait', '2h', NULL, '{}', 'fork', 'urge', NULL, 'PAID', 'stop'),
	('si flow', 'urge', 'delay', '10min', 'SI_CALL', '{}', 'fork', NULL, NULL, NULL, 'stop'),
	('si flow', 'fork', 'delay', '0', NULL, '{}', NULL, 'join', NULL, NULL, 'stop'),
	('si flow', 'a', 'delay', '1h', 'SI_MAIL', '{}', 'join', NULL, NULL, NULL, 'stop'),
	('si flow', 'b', 'delay', '3h', 'SI_MAIL', '{"now": "{{extract(hour from sopflow.now())}}"}', 'join', NULL, NULL, NULL, 'stop'),
	('si flow', 'join', 'delay', '1h', 'SI_MAIL', '{}', NULL, NULL, NULL, NULL, 'stop');
INSERT INTO sopflow.sop_link (sop_id, from_node, to_node, condition) VALUES
	('si flow', 'fork', 'a', 'event.n > 0'), ('si flow', 'fork', 'b', 'event.n > 1');
SELECT * FROM sopflow.simulate('si flow', '2030-01-01', '{"n": 20}', '1');
SELECT * FROM sopflow.simulate('si flow', '2030-01-01', '{"n": 5}', '2');
-- one branch only, and none: the default
SELECT at, node_id FROM sopflow.simulate('si flow', '2030-01-01', '{"n": 1}', '2');
SELECT at, node_id FROM sopflow.simulate('si flow', '2030-01-01', '{"n": 0}', '2');
-- a condition that is null is not true, and a template whose value is null an error
SELECT * FROM sopflow.simulate('si flow', '2030-01-01');
-- an error in a condition
SELECT * FROM sopflow.simulate('si flow', '2030-01-01', '{"n": "many"}', '1');
-- and in a link
UPDATE sopflow.sop_link SET condition = '1 / (event.n::int - 5) > 0' WHERE sop_id = 'si flow' AND to_node = 'b';
SELECT at, node_id, note FROM sopflow.simulate('si flow', '2030-01-01', '{"n": 5}', '1') OFFSET 2;
-- a wait without time-out
UPDATE sopflow.sop_node SET delay = '0', otherwise = NULL WHERE sop_id = 'si flow' AND node_id = 'paid';
UPDATE sopflow.sop_node SET next = 'urge' WHERE sop_id = 'si flow' AND node_id = 'paid';
SELECT at, node_id, note FROM sopflow.simulate('si flow', '2030-01-01', '{"n": 20}', '1');
-- an exclusive choice, and an end node
UPDATE sopflow.sop_link SET condition = NULL WHERE sop_id = 'si flow';
UPDATE sopflow.sop_node SET type = 'condition' WHERE sop_id = 'si flow' AND node_id = 'fork';
UPDATE sopflow.sop_node SET next = NULL WHERE sop_id = 'si flow' AND node_id = 'a';
INSERT INTO sopflow.sop_node (sop_id, node_id, type) VALUES ('si flow', 'stop', 'end');
UPDATE sopflow.sop_node SET next = 'stop' WHERE sop_id = 'si flow' AND node_id = 'a';
SELECT at, node_id, note FROM sopflow.simulate('si flow', '2030-01-01', '{"n": 3}', '1');

-- A cycle is followed so far and no farther.
INSERT INTO sopflow.sop (sop_id, enabled, delay_from) VALUES ('si loop', false, 'previous');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, next) VALUES ('si loop', 'again', '1 day', 'again');
SELECT count(*), max(at), max(note) FROM sopflow.simulate('si loop', '2030-01-01');

-- An SOP that runs others: their nodes between its own, and their failures.
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('si sub');
INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, next, condition) VALUES
	('si sub', 'one', 'delay', '1h', 'two', NULL), ('si sub', 'two', 'condition', '2h', NULL, 'event.ok::bool');
INSERT INTO sopflow.sop (sop_id, enabled, delay_from) VALUES ('si main', false, 'previous');
INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, next, sop_ref, on_failure) VALUES
	('si main', 'both', 'delay', '0', NULL, NULL, 'stop'),
	('si main', 'sub', 'sop', '0', 'last', 'si sub', 'stop'),
	('si main', 'beside', 'delay', '90min', 'last', NULL, 'stop'),
	('si main', 'last', 'delay', '1h', NULL, NULL, 'stop');
INSERT INTO sopflow.sop_link (sop_id, from_node, to_node) VALUES ('si main', 'both', 'sub'), ('si main', 'both', 'beside');
COMMIT;
SELECT at, node_id, note FROM sopflow.simulate('si main', '2030-01-01', '{"ok": true}');
SELECT at, node_id, note FROM sopflow.simulate('si main', '2030-01-01', '{"ok": "perhaps"}');
UPDATE sopflow.sop_node SET on_failure = 'continue' WHERE sop_id = 'si main' AND node_id = 'sub';
SELECT at, node_id, note FROM sopflow.simulate('si main', '2030-01-01', '{"ok": "perhaps"}');
UPDATE sopflow.sop SET enabled = false WHERE sop_id = 'si sub';
SELECT at, node_id, note FROM sopflow.simulate('si main', '2030-01-01');

-- A calendar, in the subject's own time zone.
INSERT INTO sopflow.calendar (calendar, weekdays, opens, closes) VALUES ('si office', '{1,2,3,4,5}', '09:00', '17:00');
INSERT INTO sopflow.sop (sop_id, enabled, calendar, subject_relation, subject_key, time_zone_column)
	VALUES ('si hours', false, 'si office', 'client', 'id', 'zone');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES
	('si hours', 'night', '1h', 'SI_MAIL'), ('si hours', 'day', '10h', 'SI_MAIL'), ('si hours', 'quiet', '1h', NULL);
SELECT at, node_id, note FROM sopflow.simulate('si hours', '2030-01-01', '{}', '1');
SELECT at, node_id, note FROM sopflow.simulate('si hours', '2030-01-01', '{}', '2');
-- Friday evening
SELECT at, node_id, note FROM sopflow.simulate('si hours', '2030-01-04 18:00+00', '{}', '2');

-- Nothing is written, not even by the actions of a rule set.
CREATE TABLE told (what text);
CREATE FUNCTION tell(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$BEGIN INSERT INTO si.told VALUES (rule); RETURN '{}'; END$$;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('si rules');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('si rules', 'event', 'jsonb');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES
	('si rules', 'tells', 'event.n > 0', '[{"call": "si.tell"}, {"emit": "SI", "subject": "''1''"}]'),
	('si rules', 'too many', 'event.n > 10', '[{"deny": "too many"}]');
COMMIT;
INSERT INTO sopflow.sop (sop_id, enabled) VALUES ('si ruled', false);
INSERT INTO sopflow.sop_node (sop_id, node_id, type, condition_rules, next, otherwise) VALUES
	('si ruled', 'ask', 'condition', 'si rules', 'yes', 'no'), ('si ruled', 'yes', 'delay', NULL, NULL, NULL), ('si ruled', 'no', 'delay', NULL, NULL, NULL);
SELECT at, node_id, note FROM sopflow.simulate('si ruled', '2030-01-01', '{"n": 1}');
SELECT at, node_id, note FROM sopflow.simulate('si ruled', '2030-01-01', '{"n": 11}');
SELECT (SELECT count(*) FROM told) AS told, (SELECT count(*) FROM sopflow.runs WHERE sop_id LIKE 'si %') AS runs,
	(SELECT count(*) FROM sopflow.alerts WHERE sop_id LIKE 'si %') AS alerts;
-- the time is that of the session again
SELECT sopflow.now();

-- What cannot be simulated.
SELECT * FROM sopflow.simulate('si none');
SELECT * FROM sopflow.simulate(NULL);
SELECT * FROM sopflow.simulate('si chain', NULL);
SELECT * FROM sopflow.simulate('si chain', 'infinity');
SELECT * FROM sopflow.simulate('si chain', '2030-01-01', '[1]');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, next) VALUES ('si loop', 'bad', 'NONE', 'nowhere');
SELECT * FROM sopflow.simulate('si loop');
CREATE ROLE si_other;
SELECT sopflow.grant_author('si_other');
SET ROLE si_other;
SELECT * FROM sopflow.simulate('si chain');
RESET ROLE;

SELECT sopflow.now();
DELETE FROM sopflow.sop WHERE sop_id LIKE 'si %';
DELETE FROM sopflow.rule_set WHERE rule_set = 'si rules';
DELETE FROM sopflow.calendar WHERE calendar = 'si office';
DELETE FROM sopflow.action WHERE action LIKE 'SI\_%';
DROP OWNED BY si_other;
DROP ROLE si_other;
DROP SCHEMA si CASCADE;
