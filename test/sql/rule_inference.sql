-- Forward chaining: rules fire again when what they read has changed, and
-- every firing ends.
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA ri;
CREATE TYPE ri.fact AS (x int, y int, z int, note text);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, inference) VALUES ('ri', true);
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('ri', 'f', 'ri.fact');
-- the last in order begins
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('ri', 'c', 1, 'f.z = 1', '[{"set": {"f.note": "''done''"}}]'),
	('ri', 'b', 2, 'f.y = 1', '[{"set": {"f.z": "1"}}]'),
	('ri', 'a', 3, 'f.x = 1', '[{"set": {"f.y": "1"}}]');
COMMIT;

\echo --- chains
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 1}}');
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 2}}');
SELECT fired, facts FROM sopflow.fire_rows('ri', row(1, NULL, NULL, NULL)::ri.fact);
-- without inference one pass
UPDATE sopflow.rule_set SET inference = false WHERE rule_set = 'ri';
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 1}}');
-- or in the order of the chain
UPDATE sopflow.rule_set SET order_by = 'desc' WHERE rule_set = 'ri';
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET order_by = 'asc', inference = true WHERE rule_set = 'ri';
DELETE FROM sopflow.rule WHERE rule_set = 'ri';

\echo --- refraction
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('ri', 'always', 1, 'true', '[{"message": "once"}]'),
	('ri', 'true', 2, 'f.x = 1', '[{"set": {"f.y": "7"}}]'),
	('ri', 'same', 3, 'f.x = 1', '[{"set": {"f.x": "1"}}]'),
	('ri', 'other', 4, 'f.y = 7', '[{"set": {"f.z": "coalesce(f.z, 0) + 1"}}]');
-- each once: what it reads is as it was, or was set to what it was
SELECT fired, messages, facts FROM sopflow.fire('ri', '{"f": {"x": 1}}');
-- again when it changed; "other" reads y only
UPDATE sopflow.rule SET condition = 'f.x = 1 and f.y = 7' WHERE rule_set = 'ri' AND rule = 'true';
UPDATE sopflow.rule SET condition = 'f.z = 1', actions = '[{"set": {"f.y": "f.y + 1"}}, {"set": {"f.y": "f.y - 1"}}]' WHERE rule_set = 'ri' AND rule = 'same';
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 1, "y": 7}}');
DELETE FROM sopflow.rule WHERE rule_set = 'ri';

\echo --- counters end, and endless ones are stopped
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('ri', 'count', 'f.x < 5', '[{"set": {"f.x": "f.x + 1"}}]');
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 0}}');
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 5}}');
UPDATE sopflow.rule_set SET max_steps = 5 WHERE rule_set = 'ri';
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 0}}');
UPDATE sopflow.rule_set SET max_steps = 4 WHERE rule_set = 'ri';
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 0}}');
\echo :LAST_ERROR_SQLSTATE
-- on_error says nothing about it
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'ri';
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 0}}');
\echo :LAST_ERROR_SQLSTATE
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET on_error = 'abort', max_steps = DEFAULT WHERE rule_set = 'ri';
UPDATE sopflow.rule SET condition = 'f.x >= 0' WHERE rule_set = 'ri';
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 0}}');
\echo :LAST_ERROR_SQLSTATE
-- two that undo each other
UPDATE sopflow.rule_set SET max_steps = 7 WHERE rule_set = 'ri';
UPDATE sopflow.rule SET condition = 'f.x = 0' WHERE rule_set = 'ri';
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('ri', 'undo', 'f.x = 1', '[{"set": {"f.x": "0"}}]');
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 0}}');
\set VERBOSITY terse
UPDATE sopflow.rule_set SET max_steps = 0 WHERE rule_set = 'ri';
\set VERBOSITY default
UPDATE sopflow.rule_set SET max_steps = DEFAULT WHERE rule_set = 'ri';
DELETE FROM sopflow.rule WHERE rule_set = 'ri';

\echo --- skip_on_first_applied: after each rule from the top again
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('ri', 'top', 1, 'f.y = 1', '[]'),
	('ri', 'middle', 2, 'f.x = 1', '[{"set": {"f.y": "1"}}]'),
	('ri', 'low', 3, 'f.x = 1', '[]');
SELECT fired FROM sopflow.fire('ri', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET skip_on_first_applied = true WHERE rule_set = 'ri';
SELECT fired FROM sopflow.fire('ri', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET skip_on_first_applied = false WHERE rule_set = 'ri';
DELETE FROM sopflow.rule WHERE rule_set = 'ri';

\echo --- denials end it
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('ri', 'deny', 1, 'f.x = 3', '[{"deny": "at {{f.x}}"}]'),
	('ri', 'count', 2, 'f.x < 5', '[{"set": {"f.x": "f.x + 1"}}]');
SELECT allowed, fired, messages, facts FROM sopflow.fire('ri', '{"f": {"x": 0}}');
UPDATE sopflow.rule_set SET denials = 'all' WHERE rule_set = 'ri';
SELECT allowed, fired, messages, facts FROM sopflow.fire('ri', '{"f": {"x": 0}}');
UPDATE sopflow.rule_set SET denials = 'first' WHERE rule_set = 'ri';
DELETE FROM sopflow.rule WHERE rule_set = 'ri';

\echo --- a rule that fails always ends, too
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'ri';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('ri', 'fails', 1, 'f.x > 0', '[{"set": {"f.x": "f.x + 1"}}, {"set": {"f.y": "f.x / (f.y - f.y)"}}]'),
	('ri', 'raises', 2, '1 / f.y = 0', '[]'),
	('ri', 'sound', 3, 'f.x = 1', '[{"set": {"f.z": "1"}}]');
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 1, "y": 0}}');
UPDATE sopflow.rule_set SET on_error = 'abort' WHERE rule_set = 'ri';
DELETE FROM sopflow.rule WHERE rule_set = 'ri';

\echo --- groups: as one
BEGIN;
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority) VALUES ('ri', 'unit', 'unit', 1), ('ri', 'first', 'activation', 2), ('ri', 'gated', 'conditional', 3);
INSERT INTO sopflow.rule (rule_set, rule, rule_group, priority, condition, actions) VALUES
	('ri', 'u1', 'unit', 1, 'f.x > 0', '[]'), ('ri', 'u2', 'unit', 2, 'f.y > 0', '[{"set": {"f.z": "coalesce(f.z, 0) + 1"}}]'),
	('ri', 'a1', 'first', 1, 'f.x > 0', '[]'), ('ri', 'a2', 'first', 2, 'f.x >= 0', '[]'),
	('ri', 'gate', 'gated', 1, 'f.z > 0', '[]'), ('ri', 'c1', 'gated', 2, 'f.x > 0', '[]');
COMMIT;
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 1, "y": 1}}');
-- a field that one member reads changes: the group again
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES ('ri', 'change', 9, 'f.y = 1', '[{"set": {"f.y": "2"}}]');
SELECT fired, facts FROM sopflow.fire('ri', '{"f": {"x": 1, "y": 1}}');
DELETE FROM sopflow.rule WHERE rule_set = 'ri';
DELETE FROM sopflow.rule_group WHERE rule_set = 'ri';
DELETE FROM sopflow.rule_set WHERE rule_set = 'ri';

\echo --- jsonb
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, inference) VALUES ('ri', true);
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('ri', 'f', 'jsonb', 'null');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('ri', 'whole', 1, $$f ? 'y'$$, '[{"message": "whole"}]'),
	('ri', 'same', 5, $$f ? 'y'$$, '[{"set": {"f.x": "f.x", "f.y": "f.y"}}]'),
	('ri', 'count', 2, 'f.x < 3', '[{"set": {"f.x": "f.x::int + 1"}}]'),
	('ri', 'deep', 3, 'f.x = 3', '[{"set": {"f.a.b": "f.x::int * 2"}}]'),
	('ri', 'deeper', 0, 'f.a.b = 6', '[{"set": {"f.y": "''done''"}}]'),
	('ri', 'a', 4, 'f.a is not null', '[{"message": "{{f.a}}"}]');
COMMIT;
SELECT fired, facts->'f', messages FROM sopflow.fire('ri', '{"f": {"x": 1}}');
DELETE FROM sopflow.rule_set WHERE rule_set = 'ri';
SET client_min_messages = warning;
DROP SCHEMA ri CASCADE;
