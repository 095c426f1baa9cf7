-- Order, the engine's parameters, groups, hooks and errors of a rule set.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE SCHEMA rf;
CREATE TYPE rf.fact AS (x int, y int, note text);
CREATE TABLE rf.log (n int GENERATED ALWAYS AS IDENTITY, line text);
-- an effect in a table, and a failure
CREATE FUNCTION rf.write(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO rf.log (line) VALUES (rule);
	SELECT jsonb_build_object('wrote', rule)
$$;
CREATE FUNCTION rf.fail(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE '% fails', rule USING ERRCODE = 'RF001';
END $$;
CREATE FUNCTION rf.empty_log() RETURNS text[] LANGUAGE sql AS $$
	WITH d AS (DELETE FROM rf.log RETURNING *) SELECT array_agg(line ORDER BY n) FROM d
$$;

\echo --- order
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rf');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rf', 'f', 'rf.fact');
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rf', 'default');
INSERT INTO sopflow.rule (rule_set, rule, priority) VALUES
	('rf', 'b', 1), ('rf', 'B', 1), ('rf', 'a', 1), ('rf', 'ä', 1), ('rf', 'first', -5), ('rf', 'ten', 10), ('rf', 'zero', 0),
	('rf', 'last', 2147483647);
COMMIT;
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET order_by = 'desc' WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET order_by = 'seq' WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
-- the threshold leaves out what is above it, in each order
UPDATE sopflow.rule_set SET priority_threshold = 1 WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET order_by = 'desc' WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET order_by = 'asc' WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET priority_threshold = -6 WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET priority_threshold = DEFAULT WHERE rule_set = 'rf';
DELETE FROM sopflow.rule WHERE rule_set = 'rf';
-- no rule at all
SELECT * FROM sopflow.fire('rf', '{"f": {"x": 1, "y": null}}');

\echo --- what one rule changes, the next one sees
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rf', 'r1', 1, 'f.x = 1', '[{"set": {"f.x": "f.x + 1"}}, {"set": {"f.x": "f.x * 10"}}]'),
	('rf', 'r2', 2, 'f.x = 1', '[{"set": {"f.note": "''never''"}}]'),
	('rf', 'r3', 3, 'f.x = 20', '[{"set": {"f.y": "f.x"}}]');
SELECT fired, facts FROM sopflow.fire('rf', '{"f": {"x": 1}}');

\echo --- enabled, effective ranges
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'rf' AND rule = 'r1';
SELECT fired, facts FROM sopflow.fire('rf', '{"f": {"x": 1}}');
-- who is not there is not the first that did not trigger
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = true WHERE rule_set = 'rf';
SELECT fired, facts FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule SET enabled = true, valid = '[2030-01-07 11:00:00+00, 2030-01-07 12:00:00+00)' WHERE rule_set = 'rf' AND rule = 'r1';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SET sopflow.clock = '2030-01-07 11:00:00+00';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SET sopflow.clock = '2030-01-07 11:59:59.999999+00';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SET sopflow.clock = '2030-01-07 12:00:00+00';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule SET valid = 'empty' WHERE rule_set = 'rf' AND rule = 'r1';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule SET valid = '(,)' WHERE rule_set = 'rf' AND rule = 'r1';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = false WHERE rule_set = 'rf';
-- a draft fires nothing and is not checked
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'rf';
UPDATE sopflow.rule SET condition = 'f.nothing' WHERE rule_set = 'rf' AND rule = 'r1';
SELECT * FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET enabled = true WHERE rule_set = 'rf';
SELECT enabled FROM sopflow.rule_set WHERE rule_set = 'rf';
DELETE FROM sopflow.rule WHERE rule_set = 'rf';
UPDATE sopflow.rule_set SET enabled = true WHERE rule_set = 'rf';

-- no such set
SELECT * FROM sopflow.fire('rf_none', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.fire(NULL, '{}');
-- who has no set
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rf_none', 'r');
\echo :LAST_ERROR_SQLSTATE

\echo --- skip_on_first_applied, _failed, _non_triggered
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rf', 'r1', 1, 'f.x = 0', '[{"message": "r1"}]'),
	('rf', 'r2', 2, 'f.x = 1', '[{"message": "r2"}, {"set": {"f.y": "2"}}, {"call": "rf.write"}, {"call": "rf.fail"}]'),
	('rf', 'r3', 3, 'f.y = 2', '[{"message": "r3"}]'),
	('rf', 'r4', 4, 'f.y is null', '[{"message": "r4"}, {"call": "rf.write"}]'),
	('rf', 'r5', 5, 'f.x = 1', '[{"message": "r5"}]');
-- abort: the statement fails
SELECT * FROM sopflow.fire('rf', '{"f": {"x": 1}}');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'rf';
SELECT allowed, fired, messages, facts FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT rf.empty_log();
UPDATE sopflow.rule_set SET skip_on_first_applied = true WHERE rule_set = 'rf';
SELECT fired, messages FROM sopflow.fire('rf', '{"f": {"x": 1}}');
UPDATE sopflow.rule_set SET skip_on_first_applied = false, skip_on_first_failed = true WHERE rule_set = 'rf';
SELECT fired, messages FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT fired, messages FROM sopflow.fire('rf', '{"f": {"x": 0}}');
UPDATE sopflow.rule_set SET skip_on_first_failed = false, skip_on_first_non_triggered = true WHERE rule_set = 'rf';
SELECT fired, messages FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT fired, messages FROM sopflow.fire('rf', '{"f": {"x": 0}}');
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = false WHERE rule_set = 'rf';

\echo --- errors that are not of a rule alone: the statement ends all the same
UPDATE sopflow.rule SET actions = '[{"call": "rf.cancel"}]' WHERE rule_set = 'rf' AND rule = 'r2';
CREATE FUNCTION rf.cancel(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'as if cancelled' USING ERRCODE = facts->'f'->>'note';
END $$;
UPDATE sopflow.rule SET actions = '[{"call": "rf.cancel"}]' WHERE rule_set = 'rf' AND rule = 'r2';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "note": "57014"}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "note": "40001"}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "note": "53100"}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "note": "22012"}}');
-- in conditions, too
CREATE FUNCTION rf.cancel(state text) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	RAISE 'as if cancelled' USING ERRCODE = state;
END $$;
UPDATE sopflow.rule SET condition = 'rf.cancel(f.note)' WHERE rule_set = 'rf' AND rule = 'r2';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "note": "40P01"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "note": "22012"}}');
-- what failed is counted
SELECT sum(failed) > 0 FROM sopflow.rule_stats WHERE rule_set = 'rf' AND rule = 'r2';
DELETE FROM sopflow.rule WHERE rule_set = 'rf';
UPDATE sopflow.rule_set SET on_error = 'abort' WHERE rule_set = 'rf';

\echo --- denials
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rf', 'm1', 1, 'true', '[{"message": "before", "code": "M"}]'),
	('rf', 'd1', 2, 'f.x = 1', '[{"deny": "one", "code": "ONE"}, {"message": "after one"}]'),
	('rf', 'd2', 3, 'f.y = 1', '[{"deny": "two"}]'),
	('rf', 'm2', 4, 'true', '[{"message": "behind"}]');
SELECT allowed, fired, messages, codes FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
SELECT allowed, fired, messages, codes FROM sopflow.fire('rf', '{"f": {"x": 0, "y": 1}}');
SELECT allowed, fired, messages, codes FROM sopflow.fire('rf', '{"f": {"x": 0, "y": 0}}');
UPDATE sopflow.rule_set SET denials = 'all' WHERE rule_set = 'rf';
SELECT allowed, fired, messages, codes FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
-- a denial that is undone is none
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'rf';
UPDATE sopflow.rule SET actions = actions || '[{"call": "rf.fail"}]' WHERE rule_set = 'rf' AND rule = 'd1';
SELECT allowed, fired, messages, codes FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
UPDATE sopflow.rule_set SET on_error = 'abort', denials = 'first' WHERE rule_set = 'rf';
DELETE FROM sopflow.rule WHERE rule_set = 'rf';

\echo --- unit: all or none
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority) VALUES ('rf', 'g', 'unit', 5);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions, rule_group) VALUES
	('rf', 'u2', 2, 'f.y = 1', '[{"set": {"f.note": "''both''"}}, {"call": "rf.write"}]', 'g'),
	('rf', 'u1', 1, 'f.x = 1', '[{"set": {"f.y": "9"}}, {"call": "rf.write"}]', 'g');
INSERT INTO sopflow.rule (rule_set, rule, priority) VALUES ('rf', 'before', 4), ('rf', 'behind', 6);
-- all conditions first, then the actions
SELECT fired, facts FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
SELECT fired, facts FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
SELECT fired, facts FROM sopflow.fire('rf', '{"f": {"x": 0, "y": 1}}');
SELECT fired, facts FROM sopflow.fire('rf', '{"f": {"y": 1}}');
SELECT rf.empty_log();
-- a group counts as one for the parameters
UPDATE sopflow.rule_set SET skip_on_first_applied = true WHERE rule_set = 'rf';
DELETE FROM sopflow.rule WHERE rule_set = 'rf' AND rule = 'before';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
UPDATE sopflow.rule_set SET skip_on_first_applied = false, skip_on_first_non_triggered = true WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
-- the threshold is for the group, its members' priorities are their order only
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = false, priority_threshold = 5 WHERE rule_set = 'rf';
UPDATE sopflow.rule SET priority = priority + 100 WHERE rule_set = 'rf' AND rule_group = 'g';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
UPDATE sopflow.rule_set SET priority_threshold = 4 WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
UPDATE sopflow.rule_set SET priority_threshold = DEFAULT WHERE rule_set = 'rf';
SELECT rf.empty_log() IS NOT NULL;
-- undone as a whole when its last member fails
UPDATE sopflow.rule SET actions = actions || '[{"message": "u2"}, {"call": "rf.fail"}]' WHERE rule_set = 'rf' AND rule = 'u2';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'rf';
SELECT fired, messages, facts FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
SELECT rf.empty_log();
UPDATE sopflow.rule_set SET skip_on_first_failed = true WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
-- a condition that fails is false
UPDATE sopflow.rule SET condition = '1 / f.y = 1' WHERE rule_set = 'rf' AND rule = 'u2';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
UPDATE sopflow.rule_set SET on_error = 'abort', skip_on_first_failed = false WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
-- not asked once one is false
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 0, "y": 0}}');
-- a denial ends it in the middle, too
UPDATE sopflow.rule SET actions = '[{"deny": "u1"}]' WHERE rule_set = 'rf' AND rule = 'u1';
UPDATE sopflow.rule SET actions = '[{"message": "u2"}]' WHERE rule_set = 'rf' AND rule = 'u2';
SELECT allowed, fired, messages FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
UPDATE sopflow.rule_set SET denials = 'all' WHERE rule_set = 'rf';
SELECT allowed, fired, messages FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
UPDATE sopflow.rule_set SET denials = 'first' WHERE rule_set = 'rf';
-- members that are not there
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'rf' AND rule = 'u2';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'rf' AND rule = 'u1';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
DELETE FROM sopflow.rule WHERE rule_set = 'rf';
-- a group without members
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');

\echo --- activation: the first that triggers
UPDATE sopflow.rule_group SET kind = 'activation' WHERE rule_set = 'rf';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, rule_group) VALUES
	('rf', 'a1', 1, 'f.x > 10', 'g'), ('rf', 'a2', 2, 'f.x > 5', 'g'), ('rf', 'a3', 3, '1 / f.x > 0', 'g');
INSERT INTO sopflow.rule (rule_set, rule, priority) VALUES ('rf', 'behind', 6);
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 11}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 6}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 2}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 0}}');
-- a member without priority is the last
UPDATE sopflow.rule SET priority = DEFAULT WHERE rule_set = 'rf' AND rule = 'a1';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 11}}');
DELETE FROM sopflow.rule WHERE rule_set = 'rf';

\echo --- conditional: the first gates the others
UPDATE sopflow.rule_group SET kind = 'conditional' WHERE rule_set = 'rf';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions, rule_group) VALUES
	('rf', 'gate', 1, 'f.x = 1', '[{"set": {"f.y": "0"}}]', 'g'),
	('rf', 'c2', 2, 'f.y = 1', '[]', 'g'), ('rf', 'c3', 2, 'f.y = 2', '[]', 'g'), ('rf', 'c4', 3, 'f.y > 0', '[]', 'g');
INSERT INTO sopflow.rule (rule_set, rule, priority) VALUES ('rf', 'behind', 6);
-- the others are evaluated before the gate acts
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 2}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 2, "y": 1}}');
-- a gate that none of the others follows counts as applied
UPDATE sopflow.rule_set SET skip_on_first_applied = true WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 0}}');
UPDATE sopflow.rule_set SET skip_on_first_applied = false WHERE rule_set = 'rf';
-- two at the top
UPDATE sopflow.rule SET priority = 1 WHERE rule_set = 'rf' AND rule = 'c2';
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority, parent) VALUES ('rf', 'inner', 'activation', 1, 'g');
\echo :LAST_ERROR_SQLSTATE
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
-- no gate at all
DELETE FROM sopflow.rule WHERE rule_set = 'rf' AND rule_group = 'g';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
DELETE FROM sopflow.rule WHERE rule_set = 'rf';
DELETE FROM sopflow.rule_group WHERE rule_set = 'rf';

\echo --- groups in groups
BEGIN;
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority, parent) VALUES
	('rf', 'either', 'activation', 1, NULL), ('rf', 'pair', 'unit', 1, 'either'), ('rf', 'gated', 'conditional', 2, 'either'), ('rf', 'deep', 'activation', 5, 'gated');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, rule_group) VALUES
	('rf', 'p1', 1, 'f.x = 1', 'pair'), ('rf', 'p2', 2, 'f.y = 1', 'pair'),
	('rf', 'gate', 1, 'f.x > 0', 'gated'), ('rf', 'open', 2, 'true', 'gated'),
	('rf', 'd1', 1, 'f.y = 3', 'deep'), ('rf', 'd2', 2, 'f.y in (2, 3)', 'deep'),
	('rf', 'alone', 3, 'true', 'either');
COMMIT;
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 2, "y": 2}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 2, "y": 3}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 2, "y": 4}}');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 0, "y": 3}}');
-- in a circle, and where there is none
UPDATE sopflow.rule_group SET parent = 'deep' WHERE rule_set = 'rf' AND rule_group = 'either';
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_group SET parent = 'pair' WHERE rule_set = 'rf' AND rule_group = 'pair';
UPDATE sopflow.rule_group SET parent = 'nowhere' WHERE rule_set = 'rf' AND rule_group = 'pair';
UPDATE sopflow.rule SET rule_group = 'nowhere' WHERE rule_set = 'rf' AND rule = 'p1';
UPDATE sopflow.rule_group SET kind = 'some' WHERE rule_set = 'rf' AND rule_group = 'pair';
DELETE FROM sopflow.rule_group WHERE rule_set = 'rf' AND rule_group = 'pair';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "y": 1}}');
BEGIN;
DELETE FROM sopflow.rule WHERE rule_set = 'rf';
DELETE FROM sopflow.rule_group WHERE rule_set = 'rf';
COMMIT;

\echo --- unique, any, collect
BEGIN;
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority) VALUES ('rf', 'g', 'unique', 5);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions, rule_group) VALUES
	('rf', 't1', 1, 'f.x >= 1', '[{"result": {"rate": "{{f.x}}", "name": "low"}}]', 'g'),
	('rf', 't2', 2, 'f.x >= 2', '[{"result": {"rate": "{{f.x}}", "name": "low"}}]', 'g'),
	('rf', 't3', 3, 'f.x >= 3', '[{"result": {"rate": "{{f.x * 2}}", "name": "high"}}]', 'g');
COMMIT;
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 0}}');
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 2}}');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_group SET kind = 'any' WHERE rule_set = 'rf';
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 2}}');
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 3}}');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_group SET kind = 'collect' WHERE rule_set = 'rf';
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 3}}');
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT fired, facts->'result' FROM sopflow.fire('rf', '{"f": {"x": 0}}');
BEGIN;
DELETE FROM sopflow.rule WHERE rule_set = 'rf';
DELETE FROM sopflow.rule_group WHERE rule_set = 'rf';
COMMIT;

\echo --- hooks
CREATE FUNCTION rf.hook(e sopflow.rule_event) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO rf.log (line) VALUES (concat_ws(' ', e.hook, e.rule, e.triggered, e.facts->'f'->>'y', e.error));
	RETURN true;
END $$;
CREATE FUNCTION rf.veto(e sopflow.rule_event) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO rf.log (line) VALUES (concat_ws(' ', e.hook, e.rule));
	RETURN e.rule <> 'h2';
END $$;
UPDATE sopflow.rule_set SET before_fire = 'rf.hook', after_fire = 'rf.hook', before_evaluate = 'rf.hook',
	after_evaluate = 'rf.hook', on_success = 'rf.hook', on_failure = 'rf.hook', on_error = 'false' WHERE rule_set = 'rf';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rf', 'h1', 1, 'f.x = 1', '[{"set": {"f.y": "1"}}]'),
	('rf', 'h2', 2, 'f.x = 2', '[{"set": {"f.y": "2"}}]'),
	('rf', 'h3', 3, 'f.x = 1', '[{"set": {"f.y": "3"}}, {"call": "rf.fail"}]'),
	('rf', 'h4', 4, '1 / (f.x - 1) = 1', '[{"set": {"f.y": "4"}}]'),
	('rf', 'h5', 5, 'f.note = ''x''', '[{"set": {"f.y": "5"}}]');
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT unnest(rf.empty_log());
-- one that says no leaves a rule out; that is not the first that did not trigger
UPDATE sopflow.rule_set SET before_evaluate = 'rf.veto', skip_on_first_non_triggered = true WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1, "note": "x"}}');
SELECT unnest(rf.empty_log());
-- around a set without rules, too; members of groups are seen
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = false WHERE rule_set = 'rf';
DELETE FROM sopflow.rule WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT unnest(rf.empty_log());
BEGIN;
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('rf', 'g', 'activation');
INSERT INTO sopflow.rule (rule_set, rule, rule_group, condition) VALUES ('rf', 'h1', 'g', 'f.x = 0'), ('rf', 'h2', 'g', 'true'), ('rf', 'h3', 'g', 'true'), ('rf', 'h4', 'g', 'true');
COMMIT;
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
SELECT unnest(rf.empty_log());
-- a hook that fails ends the statement
CREATE OR REPLACE FUNCTION rf.veto(e sopflow.rule_event) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'no listening' USING ERRCODE = 'RF002';
END $$;
UPDATE sopflow.rule_set SET on_error = 'abort' WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');
\echo :LAST_ERROR_SQLSTATE
SELECT rf.empty_log();
-- none, or not of this form
UPDATE sopflow.rule_set SET before_fire = 'rf.nothing' WHERE rule_set = 'rf';
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_set SET before_fire = 'rf.fail' WHERE rule_set = 'rf';
UPDATE sopflow.rule_set SET before_fire = '' WHERE rule_set = 'rf';
UPDATE sopflow.rule_set SET before_fire = NULL, after_fire = NULL, before_evaluate = NULL, after_evaluate = NULL, on_success = NULL, on_failure = NULL WHERE rule_set = 'rf';
SELECT fired FROM sopflow.fire('rf', '{"f": {"x": 1}}');

\echo --- a trigger: errors with the rule, changes of the row
DELETE FROM sopflow.rule_set WHERE rule_set = 'rf';
CREATE TABLE rf.items (id int PRIMARY KEY, qty int, state text DEFAULT 'new', big bigint GENERATED ALWAYS AS (qty * 2) STORED);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, denials) VALUES ('rf', 'all');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rf', 'old', 'rf.items'), ('rf', 'new', 'rf.items');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rf', 'div', 1, '100 / new.qty > 1000', '[]'),
	('rf', 'inserted', 2, 'old.id is null and new.id is not null', '[{"set": {"new.state": "''inserted''"}}]'),
	('rf', 'deleted', 2, 'new.id is null and old.id is not null and old.qty > 5', '[{"deny": "keep {{old.id}}", "code": "KEEP"}]'),
	('rf', 'less', 3, 'new.qty < old.qty', '[{"deny": "from {{old.qty}} to {{new.qty}}", "code": "LESS"}, {"set": {"new.state": "''less''"}}]'),
	('rf', 'much', 4, 'new.qty > 50', '[{"deny": "{{new.qty}} is much"}]'),
	('rf', 'same', 5, 'new.qty = old.qty', '[{"message": "as it was", "code": "SAME"}, {"set": {"new.state": "''same''"}}]');
COMMIT;
SELECT sopflow.guard('rf.items', 'rf');
INSERT INTO rf.items VALUES (1, 10) RETURNING *;
INSERT INTO rf.items VALUES (2, 0);
\echo :LAST_ERROR_SQLSTATE
UPDATE rf.items SET qty = 9;
\echo :LAST_ERROR_SQLSTATE
UPDATE rf.items SET qty = 60 RETURNING *;
UPDATE rf.items SET qty = 10 RETURNING *;
INSERT INTO rf.items VALUES (3, 60), (4, 1);
DELETE FROM rf.items WHERE id = 1;
UPDATE rf.items SET qty = 70;
DO $$
DECLARE
	state text;
	at_schema text;
	at_table text;
	at_constraint text;
BEGIN
	UPDATE rf.items SET qty = 55;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state := RETURNED_SQLSTATE, at_schema := SCHEMA_NAME, at_table := TABLE_NAME, at_constraint := CONSTRAINT_NAME;
	RAISE NOTICE '% %.% %', state, at_schema, at_table, at_constraint;
END $$;
-- several at once, all in the detail
UPDATE sopflow.rule SET condition = 'new.qty > 5' WHERE rule_set = 'rf' AND rule = 'much';
UPDATE rf.items SET qty = 9;
UPDATE sopflow.rule_set SET denials = 'first' WHERE rule_set = 'rf';
UPDATE rf.items SET qty = 9;
-- events of rows that passed, and of no others
BEGIN;
INSERT INTO sopflow.action (action, delivery) VALUES ('rf_a', 'broadcast');
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('rf_sop', 'RF', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('rf_sop', 'n1', '1h', 'rf_a');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rf', 'event', 3, 'new.qty = 7 or old.qty = 7', '[{"emit": "RF", "subject": "coalesce(new.id, old.id)", "context": {"state": "{{new.state}}"}}]');
UPDATE sopflow.rule SET condition = 'new.id = 13' WHERE rule_set = 'rf' AND rule = 'much';
COMMIT;
INSERT INTO rf.items VALUES (11, 7), (12, 8);
INSERT INTO rf.items VALUES (13, 7);
INSERT INTO rf.items VALUES (14, 7), (11, 7);
SELECT subject_id, event_at, context FROM sopflow.runs WHERE sop_id = 'rf_sop' ORDER BY subject_id;
DELETE FROM sopflow.rule WHERE rule_set = 'rf' AND rule = 'deleted';
DELETE FROM rf.items WHERE id IN (11, 12);
SELECT subject_id, count(*) FROM sopflow.runs WHERE sop_id = 'rf_sop' GROUP BY subject_id ORDER BY subject_id;
SELECT sopflow.cancel(sop_id => 'rf_sop') > 0;
DELETE FROM sopflow.sop WHERE sop_id = 'rf_sop';
DELETE FROM sopflow.action WHERE action = 'rf_a';
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'rf';
UPDATE rf.items SET qty = 9 RETURNING *;
DELETE FROM rf.items;
SELECT sopflow.unguard('rf.items', 'rf');
DELETE FROM sopflow.rule_set WHERE rule_set = 'rf';
SET client_min_messages = warning;
DROP SCHEMA rf CASCADE;
