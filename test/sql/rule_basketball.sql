-- Is a student a seed for the basketball team? Order, the engine's parameters
-- and boundaries, with facts of a composite type and of type jsonb.
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA rb;
CREATE TYPE rb.student AS (grade int, gender text, age int, is_strong bool, height int, is_good_seed bool);

-- The height rule has no priority: it comes last.
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rb_row'), ('rb_json');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rb_row', 'student', 'rb.student'), ('rb_json', 'student', 'jsonb');
INSERT INTO sopflow.rule (rule_set, rule, description, condition, actions) VALUES
	('rb_row', 'height rule', '判斷一個學生是否是一個籃球好苗子-身高', 'student.height <= 170',
		'[{"message": "身高-不是好苗子"}, {"set": {"student.is_good_seed": "false"}}]'),
	('rb_json', 'height rule', '判斷一個學生是否是一個籃球好苗子-身高', 'student.height <= 170',
		'[{"message": "身高-不是好苗子"}, {"set": {"student.\"isGoodSeed\"": "false"}}]');
INSERT INTO sopflow.rule (rule_set, rule, description, priority, condition, actions) VALUES
	('rb_row', 'strong rule', '判斷一個學生是否是一個籃球好苗子-是否強壯', 4, 'not student.is_strong',
		'[{"message": "強壯-不是好苗子"}, {"set": {"student.is_good_seed": "false"}}]'),
	('rb_row', 'gender rule', '判斷一個學生是否是一個籃球好苗子-性別', 2, 'student.gender = ''girl''',
		'[{"message": "性別-不是好苗子"}, {"set": {"student.is_good_seed": "false"}}]'),
	('rb_row', 'grade rule', '判斷一個學生是否是一個籃球好苗子-年級', 1, 'student.grade <= 3',
		'[{"message": "年級-不是好苗子"}, {"set": {"student.is_good_seed": "false"}}]'),
	('rb_json', 'strong rule', '判斷一個學生是否是一個籃球好苗子-是否強壯', 4, 'not student."isStrong"',
		'[{"message": "強壯-不是好苗子"}, {"set": {"student.\"isGoodSeed\"": "false"}}]'),
	('rb_json', 'gender rule', '判斷一個學生是否是一個籃球好苗子-性別', 2, 'student.gender = ''girl''',
		'[{"message": "性別-不是好苗子"}, {"set": {"student.\"isGoodSeed\"": "false"}}]'),
	('rb_json', 'grade rule', '判斷一個學生是否是一個籃球好苗子-年級', 1, 'student.grade <= 3',
		'[{"message": "年級-不是好苗子"}, {"set": {"student.\"isGoodSeed\"": "false"}}]');
COMMIT;
SELECT rule, priority FROM sopflow.rule WHERE rule_set = 'rb_row' ORDER BY priority;

-- The three ways of asking, side by side; the verdict of each must be the same.
CREATE FUNCTION rb.judge(grade int, gender text, age int, is_strong bool, height int, is_good_seed bool)
	RETURNS TABLE (door text, allowed bool, fired text[], messages text[], good text) LANGUAGE plpgsql AS $$
DECLARE
	s rb.student := row(grade, gender, age, is_strong, height, is_good_seed);
BEGIN
	RETURN QUERY SELECT 'row', v.allowed, v.fired, v.messages, v.facts->'student'->>'is_good_seed'
		FROM sopflow.fire('rb_row', jsonb_build_object('student', to_jsonb(s))) v;
	RETURN QUERY SELECT 'rows', v.allowed, v.fired, v.messages, coalesce(v.facts->'student'->>'is_good_seed', 'unchanged')
		FROM sopflow.fire_rows('rb_row', s) v;
	RETURN QUERY SELECT 'json', v.allowed, v.fired, v.messages, v.facts->'student'->>'isGoodSeed'
		FROM sopflow.fire('rb_json', jsonb_build_object('student', jsonb_build_object('grade', grade, 'gender', gender,
			'age', age, 'isStrong', is_strong, 'height', height, 'isGoodSeed', is_good_seed))) v;
END $$;

-- B1: three of four, in the order of priority
SELECT * FROM rb.judge(3, 'girl', 9, true, 160, true);
SELECT * FROM sopflow.fire('rb_json', '{"student": {"grade": 3, "gender": "girl", "age": 9, "isStrong": true, "height": 160, "isGoodSeed": true}}');
SELECT * FROM sopflow.fire('rb_row', '{"student": {"grade": 3, "gender": "girl", "age": 9, "is_strong": true, "height": 160, "is_good_seed": true}}');
SELECT * FROM sopflow.fire_rows('rb_row', row(3, 'girl', 9, true, 160, true)::rb.student);

-- B2: the first that applies is the last
UPDATE sopflow.rule_set SET skip_on_first_applied = true WHERE rule_set LIKE 'rb\_%';
SELECT * FROM rb.judge(3, 'girl', 9, true, 160, true);
UPDATE sopflow.rule_set SET skip_on_first_applied = false WHERE rule_set LIKE 'rb\_%';

-- B3: the first that does not trigger is the last; what would fail behind it is never evaluated
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = true WHERE rule_set LIKE 'rb\_%';
UPDATE sopflow.rule SET condition = '1 / (student.height - 160) > 0' WHERE rule_set = 'rb_row' AND rule = 'height rule';
UPDATE sopflow.rule SET condition = '1 / (student.height::int - 160) > 0' WHERE rule_set = 'rb_json' AND rule = 'height rule';
SELECT * FROM rb.judge(3, 'girl', 9, true, 160, true);
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = false WHERE rule_set LIKE 'rb\_%';
SELECT * FROM sopflow.fire('rb_row', '{"student": {"grade": 3, "gender": "girl", "age": 9, "is_strong": true, "height": 160, "is_good_seed": true}}');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule SET condition = 'student.height <= 170' WHERE rule_set LIKE 'rb\_%' AND rule = 'height rule';

-- B4: strictly greater than the threshold is left out
UPDATE sopflow.rule_set SET priority_threshold = 2 WHERE rule_set LIKE 'rb\_%';
SELECT * FROM rb.judge(3, 'girl', 9, true, 160, true);
UPDATE sopflow.rule_set SET priority_threshold = 0 WHERE rule_set LIKE 'rb\_%';
SELECT * FROM rb.judge(3, 'girl', 9, true, 160, true);
-- the default of a rule's priority is below that of the threshold
UPDATE sopflow.rule_set SET priority_threshold = 2147483645 WHERE rule_set LIKE 'rb\_%';
SELECT * FROM rb.judge(3, 'girl', 9, true, 160, true);
UPDATE sopflow.rule_set SET priority_threshold = DEFAULT WHERE rule_set LIKE 'rb\_%';

-- B5: a good seed; 3 and 170 fire, 4 and 171 do not
SELECT * FROM rb.judge(4, 'boy', 10, true, 171, true);
SELECT * FROM rb.judge(3, 'boy', 10, true, 171, true);
SELECT * FROM rb.judge(4, 'boy', 10, true, 170, true);
-- what is not known fires nothing
SELECT * FROM rb.judge(NULL, NULL, NULL, NULL, NULL, true);

-- B6: no student
SELECT * FROM sopflow.fire('rb_row', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.fire('rb_json', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.fire('rb_row', '{"student": null}');
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set LIKE 'rb\_%';
SELECT * FROM sopflow.fire('rb_row', '{}');
SELECT * FROM sopflow.fire('rb_json', '{}');
UPDATE sopflow.rule_set SET on_error = 'abort' WHERE rule_set LIKE 'rb\_%';

-- B7: one name, one rule, whatever the priority
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES ('rb_row', 'grade rule', 1, 'false');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES ('rb_row', 'grade rule', 7, 'false');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM rb.judge(3, 'girl', 9, true, 160, true);

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'rb\_%';
-- a set takes along what belongs to it
SELECT (SELECT count(*) FROM sopflow.rule WHERE rule_set LIKE 'rb\_%'), (SELECT count(*) FROM sopflow.rule_fact WHERE rule_set LIKE 'rb\_%');
SET client_min_messages = warning;
DROP SCHEMA rb CASCADE;
