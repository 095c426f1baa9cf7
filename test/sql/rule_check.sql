-- check_rules: the condition of every enabled rule, and nothing but conditions.
-- validate_rules: everything that is wrong with a set.
\pset format unaligned
\pset tuples_only on
\pset null null
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE SCHEMA rc;
CREATE TYPE rc.item AS (x int, y int, name text, kind varchar(10), at timestamptz);
CREATE TABLE rc.log (t text);
CREATE FUNCTION rc.note(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO rc.log VALUES (rule); SELECT '{}'::jsonb $$;
CREATE FUNCTION rc.fails(code text) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF code IS NULL THEN RETURN true; END IF;
	RAISE EXCEPTION USING errcode = code, message = 'raised ' || code;
END $$;
CREATE FUNCTION rc.checked(set text, facts jsonb) RETURNS SETOF text LANGUAGE sql AS
	$$ SELECT format('%s %s %s', rule, coalesce(triggered::text, 'NULL'), error) FROM sopflow.check_rules(set, facts) $$;

\echo --- true, false, NULL and errors, in the order of firing
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rc');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rc', 'i', 'rc.item');
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority) VALUES ('rc', 'first', 'activation', 2), ('rc', 'late', 'unit', 500);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, rule_group, enabled, valid, actions) VALUES
	('rc', 'guarded', 1, 'i.x <> 0 and i.y / i.x > 1', NULL, true, NULL, '[{"call": "rc.note"}, {"deny": "no"}]'),
	('rc', 'group b', 2, 'i.x = 0', 'first', true, NULL, '[{"set": {"i.y": "7"}}]'),
	('rc', 'group a', 1, 'i.x >= 0', 'first', true, NULL, '[]'),
	('rc', 'divides', 3, 'i.y / i.x > 1', NULL, true, NULL, '[]'),
	('rc', 'unguarded', 4, 'i.y / i.x > 1 and i.x <> 0', NULL, true, NULL, '[]'),
	('rc', 'null', 5, 'i.name = ''a''', NULL, true, NULL, '[]'),
	('rc', 'null and false', 6, 'i.name = ''a'' and i.x = 99', NULL, true, NULL, '[]'),
	('rc', 'null or true', 7, 'i.name = ''a'' or i.x = 0', NULL, true, NULL, '[]'),
	('rc', 'after', 8, 'i.y = 4', NULL, true, NULL, '[]'),
	('rc', 'disabled', 9, 'true', NULL, false, NULL, '[]'),
	('rc', 'past', 10, 'true', NULL, true, '[2020-01-01,2021-01-01)', '[]'),
	('rc', 'always', 11, 'true', NULL, true, NULL, '[]'),
	('rc', 'never', 12, 'false', NULL, true, NULL, '[]'),
	('rc', 'member of a late group', 1, 'i.y > 0', 'late', true, NULL, '[]');
COMMIT;
SELECT * FROM rc.checked('rc', '{"i": {"x": 0, "y": 4}}');
SELECT * FROM rc.checked('rc', '{"i": {"x": 1, "y": 4, "name": "a"}}');
-- thresholds and flags do not count, nor does on_error
UPDATE sopflow.rule_set SET priority_threshold = 3, skip_on_first_applied = true, skip_on_first_failed = true, skip_on_first_non_triggered = true, on_error = 'false' WHERE rule_set = 'rc';
SELECT count(*), count(*) FILTER (WHERE triggered), count(error) FROM sopflow.check_rules('rc', '{"i": {"x": 0, "y": 4}}');
-- nothing was carried out
SELECT count(*) FROM rc.log;
-- columns by name
SELECT c.rule, c.triggered, c.error FROM sopflow.check_rules(rule_set => 'rc', facts => '{"i": {"x": 0, "y": 4}}') c WHERE c.error IS NOT NULL;

\echo --- facts that are not given, keys that are missing, values that are of another type
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rc_json');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('rc_json', 'strict', 'jsonb', 'error'), ('rc_json', 'lax', 'jsonb', 'null'), ('rc_json', 'i', 'rc.item', 'error'), ('rc_json', 'n', 'int', 'error');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES
	('rc_json', 'strict', 1, 'strict.level > 3'), ('rc_json', 'strict deep', 2, 'strict.a.b = ''x'''), ('rc_json', 'lax', 3, 'lax.level > 3'),
	('rc_json', 'lax deep', 4, 'lax.a.b is null'), ('rc_json', 'row', 5, 'i.x = 1'), ('rc_json', 'number', 6, 'n > 1'), ('rc_json', 'none', 7, 'true');
COMMIT;
SELECT * FROM rc.checked('rc_json', '{}');
SELECT * FROM rc.checked('rc_json', '{"strict": {}, "lax": {}, "i": {}, "n": null}');
SELECT * FROM rc.checked('rc_json', '{"strict": {"level": 4, "a": {"b": "x"}}, "lax": {"level": null, "a": 5}, "i": {"x": 1}, "n": 2}');
SELECT * FROM rc.checked('rc_json', '{"strict": {"level": "many", "a": "b"}, "lax": {"level": 1, "a": {"b": 1}}, "i": {"x": 1}, "n": 2}');
SELECT * FROM sopflow.check_rules('rc_json', '{"other": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.check_rules('rc_json', '[]');
\echo :LAST_ERROR_SQLSTATE

\echo --- errors of the classes 40, 53 and 57 end the statement, others do not
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rc_class');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rc_class', 'i', 'rc.item');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES ('rc_class', 'first', 1, 'i.x = 1'), ('rc_class', 'fails', 2, 'rc.fails(i.name)'), ('rc_class', 'last', 3, 'i.x = 1');
COMMIT;
SELECT * FROM rc.checked('rc_class', '{"i": {"x": 1, "name": "P0001"}}');
SELECT * FROM rc.checked('rc_class', '{"i": {"x": 1, "name": "23505"}}');
SELECT * FROM sopflow.check_rules('rc_class', '{"i": {"x": 1, "name": "40001"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.check_rules('rc_class', '{"i": {"x": 1, "name": "53200"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.check_rules('rc_class', '{"i": {"x": 1, "name": "57014"}}');
\echo :LAST_ERROR_SQLSTATE
-- the session goes on as itself
SELECT current_user, current_setting('search_path');
SELECT * FROM rc.checked('rc_class', '{"i": {"x": 1}}');

\echo --- an error in a transaction leaves the transaction alone
BEGIN;
INSERT INTO rc.log VALUES ('kept');
SELECT * FROM rc.checked('rc_class', '{"i": {"x": 1, "name": "22012"}}');
SAVEPOINT s;
SELECT * FROM rc.checked('rc_class', '{"i": {"x": 1, "name": "22012"}}');
ROLLBACK TO s;
COMMIT;
SELECT * FROM rc.log;

\echo --- an uncommitted change counts, and is taken back
BEGIN;
UPDATE sopflow.rule SET condition = 'i.x = 2' WHERE rule_set = 'rc_class' AND rule = 'last';
SELECT * FROM rc.checked('rc_class', '{"i": {"x": 2}}');
ROLLBACK;
SELECT * FROM rc.checked('rc_class', '{"i": {"x": 2}}');

\echo --- a set of this transaction, whose errors roll back nothing but themselves
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rc_new');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rc_new', 'i', 'rc.item');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES ('rc_new', 'divides', 1, '1 / i.x > 0'), ('rc_new', 'zero', 2, 'i.x = 0');
SELECT * FROM rc.checked('rc_new', '{"i": {"x": 0}}');
SAVEPOINT s;
UPDATE sopflow.rule SET condition = 'i.x = 1' WHERE rule_set = 'rc_new' AND rule = 'zero';
SELECT * FROM rc.checked('rc_new', '{"i": {"x": 0}}');
ROLLBACK TO s;
SELECT * FROM rc.checked('rc_new', '{"i": {"x": 0}}');
COMMIT;
BEGIN READ ONLY;
SELECT * FROM rc.checked('rc_new', '{"i": {"x": 0}}');
COMMIT;
-- over many facts, as one tests rules before they go live
SELECT x, c.rule, c.triggered, c.error FROM generate_series(0, 2) x, sopflow.check_rules('rc_new', jsonb_build_object('i', jsonb_build_object('x', x))) c;
-- a draft has no rules
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'rc_new';
SELECT * FROM rc.checked('rc_new', '{"i": {"x": 0}}');

\echo --- what is wrong with a set
SELECT * FROM sopflow.validate_rules('rc');
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, enabled) VALUES ('rc_bad', false);
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rc_bad', 'i', 'rc.item');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rc_bad', 'good', 1, 'i.x = 1', '[]'), ('rc_bad', 'no such field', 2, 'i.z = 1', '[]'), ('rc_bad', 'not boolean', 3, 'i.x + 1', '[]'),
	('rc_bad', 'no action', 4, 'true', '[{"dance": 1}]');
COMMIT;
SELECT rule, column_name, message <> '' FROM sopflow.validate_rules('rc_bad');
SELECT * FROM sopflow.validate_rules('rc_nothing');
\echo :LAST_ERROR_SQLSTATE

\echo --- who may ask
CREATE ROLE rc_rep;
CREATE ROLE rc_author;
GRANT USAGE ON SCHEMA sopflow TO rc_rep, rc_author;
GRANT EXECUTE ON FUNCTION sopflow.check_rules(text, jsonb), sopflow.validate_rules(text) TO rc_rep, rc_author;
SET ROLE rc_rep;
SELECT * FROM sopflow.check_rules('rc', '{"i": {"x": 0, "y": 4}}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.validate_rules('rc_bad');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT sopflow.grant_rules('rc', 'rc_rep');
SET ROLE rc_rep;
SELECT count(*) FROM sopflow.check_rules('rc', '{"i": {"x": 0, "y": 4}}');
RESET ROLE;
UPDATE sopflow.rule_set SET owner = 'rc_author' WHERE rule_set = 'rc_bad';
SET ROLE rc_author;
SELECT count(*) FROM sopflow.validate_rules('rc_bad');
RESET ROLE;

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'rc%';
SET client_min_messages = error;
DROP OWNED BY rc_rep, rc_author CASCADE;
DROP ROLE rc_rep, rc_author;
DROP SCHEMA rc CASCADE;
