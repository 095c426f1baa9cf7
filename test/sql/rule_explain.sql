-- explain: the network that a rule set amounts to, and with facts the value of
-- each atom and why a rule does not trigger.
\pset format unaligned
\pset tuples_only on
\pset null null
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE SCHEMA ex;
CREATE TYPE ex.student AS (grade int, gender text, age int, is_strong bool, height int);
CREATE TYPE ex.lead AS (category varchar(20), level int, code bpchar(4), amount numeric, due date, owner_id bigint);

\echo --- one rule of five conditions: alpha nodes A, B, D, F, H; joins C, E, G, I
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('ex_five');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('ex_five', 'student', 'ex.student');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('ex_five', 'seed',
	'student.grade <= 3 and student.gender = ''girl'' and student.age >= 8 and student.is_strong and student.height > 150',
	'[{"result": {"seed": true}}]');
COMMIT;
SELECT * FROM sopflow.explain('ex_five');
-- all true: the terminal node is
SELECT * FROM sopflow.explain('ex_five', '{"student": {"grade": 3, "gender": "girl", "age": 9, "is_strong": true, "height": 160}}');
-- the first that is not true ends it; what stands behind is not evaluated
SELECT * FROM sopflow.explain('ex_five', '{"student": {"grade": 3, "gender": "boy", "age": 9, "is_strong": true, "height": 160}}')
	WITH ORDINALITY AS e(line, n) WHERE n > (SELECT min(m) FROM sopflow.explain('ex_five') WITH ORDINALITY AS f(l, m) WHERE l = 'network');
-- NULL is NULL, not false
SELECT * FROM sopflow.explain('ex_five', '{"student": {"grade": 3, "gender": null, "age": 9}}') AS e(line) WHERE line ~ 'NULL|not evaluated|->';
SELECT * FROM sopflow.explain('ex_five', '{"student": {"grade": null}}') AS e(line) WHERE line ~ '->';
SELECT * FROM sopflow.explain('ex_five', '{"student": null}') AS e(line) WHERE line ~ '->';
-- no student at all
SELECT * FROM sopflow.explain('ex_five', '{}') AS e(line) WHERE line ~ '->';

\echo --- atoms and joins that several rules have are there once
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('ex_share');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('ex_share', 'student', 'ex.student');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES
	('ex_share', 'r1', 1, 'student.grade <= 3 and student.gender = ''girl'' and student.age > 8'),
	('ex_share', 'r2', 2, '(student.grade) <= 3 and student.gender=''girl'' and student.height > 150'),
	('ex_share', 'r3', 3, 'student.gender = ''girl'' and student.grade <= 3'),
	('ex_share', 'r4', 4, 'student.age > 8'),
	('ex_share', 'r5', 5, 'student.grade <= 3 and student.grade <= 3 and student.gender = ''girl'''),
	('ex_share', 'r6', 6, 'true'),
	('ex_share', 'r7', 7, 'student.age > 8 or student.height > 150'),
	('ex_share', 'r8', 8, 'not (student.age > 8 or student.height > 150)'),
	('ex_share', 'r9', 9, 'false'),
	('ex_share', 'gone', 10, 'student.is_strong');
UPDATE sopflow.rule SET enabled = false WHERE rule = 'gone' AND rule_set = 'ex_share';
COMMIT;
SELECT * FROM sopflow.explain('ex_share');
SELECT * FROM sopflow.explain('ex_share', '{"student": {"grade": 3, "gender": "girl", "age": 8, "height": 150}}') AS e(line) WHERE line ~ '^  [A-Z]|->|^  r';
-- the same twice
SELECT (SELECT array_agg(e) FROM sopflow.explain('ex_share') e) = (SELECT array_agg(e) FROM sopflow.explain('ex_share') e);

\echo --- letters after Z
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('ex_letters');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('ex_letters', 'n', 'int');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) SELECT 'ex_letters', 'r' || i, i, format('n > %s and n < %s', i, 1000 + i)
	FROM generate_series(1, 300) i;
COMMIT;
SELECT * FROM sopflow.explain('ex_letters') AS e(line) WHERE line ~ '^  (Z|AA|AB|AZ|BA|ZZ|AAA|AAB|AHP|AHQ|AHR)\M';

\echo --- how conditions are shown
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('ex_text');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('ex_text', 'l', 'ex.lead', 'error'), ('ex_text', 'ctx', 'jsonb', 'null'), ('ex_text', 'Odd "one"', 'text', 'error');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('ex_text', 'most', 'int', '100'), ('ex_text', 'unread', 'text', 'it''s');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES
	('ex_text', 'r01', 1, 'l.category = ''phone'''),
	('ex_text', 'r02', 2, 'l.category in (''phone'', ''desk'', ''it''''s $1'')'),
	('ex_text', 'r03', 3, 'l.code = ''ab'''),
	('ex_text', 'r04', 4, 'l.amount > 10.50 and l.amount < 100 and l.owner_id = 5'),
	('ex_text', 'r05', 5, 'l.due between ''2030-01-01'' and ''2030-12-31'''),
	('ex_text', 'r06', 6, 'l.level between 1 and param.most'),
	('ex_text', 'r07', 7, 'ctx.level > 3 and ctx.name = ''x'' and ctx.ok and ctx.deep.key is null'),
	('ex_text', 'r08', 8, 'l.category like ''ph%'' and l.category is distinct from ''$2 "$3" '' and l.level is not null'),
	('ex_text', 'r09', 9, '"Odd ""one""" = ''E\x'' || l.category'),
	('ex_text', 'r10', 10, 'case when l.level = 1 then l.amount > 1 else false end'),
	('ex_text', 'r11', 11, 'coalesce(l.level, 0) + 1 > 2 and (l.level > 1 or l.amount > 2 and l.level < 9)'),
	('ex_text', 'r12', 12, 'l.category = any (array[''a'', ''b'']::text[])');
COMMIT;
SELECT * FROM sopflow.explain('ex_text');

\echo --- the index over eight equalities and more
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('ex_index');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('ex_index', 'l', 'ex.lead');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) SELECT 'ex_index', 'level ' || i, i, format('l.level = %s and l.amount > %s', i % 5, i)
	FROM generate_series(1, 10) i;
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) SELECT 'ex_index', 'pair ' || i, 20 + i, format('l.category = %L and l.level in (%s, %s)', 'c' || i, i, i + 1)
	FROM generate_series(1, 8) i;
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES
	('ex_index', 'walked', 40, 'l.amount > 1'), ('ex_index', 'walked too', 41, 'true');
COMMIT;
SELECT * FROM sopflow.explain('ex_index');
SELECT * FROM sopflow.explain('ex_index', '{"l": {"category": "c3", "level": 4, "amount": 6}}') AS e(line) WHERE line ~ '-> triggers|^  (level 4|pair 3|walked)';
-- seven are walked
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'ex_index' AND (rule LIKE 'pair%' OR rule IN ('level 1', 'level 2', 'level 3'));
SELECT * FROM sopflow.explain('ex_index') AS e(line) WHERE line ~ 'index';
-- and so is everything where each rule has to be seen
UPDATE sopflow.rule SET enabled = true WHERE rule_set = 'ex_index';
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = true WHERE rule_set = 'ex_index';
SELECT * FROM sopflow.explain('ex_index') AS e(line) WHERE line ~ 'index';

\echo --- what else there is in a set: engine, hooks, looked-up facts, quotas, overrides, groups, validity
CREATE TABLE ex.rep (rep_id bigint PRIMARY KEY, team text, held int);
INSERT INTO ex.rep VALUES (1, 'north', 3), (2, 'south', 4);
CREATE FUNCTION ex.hook(e sopflow.rule_event) RETURNS bool LANGUAGE sql AS 'SELECT true';
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, priority_threshold, denials, on_error, param_scopes, inference, max_steps, trace, order_by, before_fire, skip_on_first_applied)
	VALUES ('ex_all', 90, 'all', 'false', '{"''team:'' || rep.team"}', true, 50, 'fired', 'desc', 'ex.hook', true);
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES
	('ex_all', 'l', 'ex.lead', NULL), ('ex_all', 'rep', 'ex.rep', 'SELECT r FROM ex.rep r WHERE r.rep_id = l.owner_id');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('ex_all', 'ctx', 'jsonb', 'error');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('ex_all', 'held', 'SELECT sum(r.held) FROM ex.rep r WHERE r.team = rep.team', '''rep:'' || l.owner_id');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('ex_all', 'most', 'int', '3'), ('ex_all', 'spare', 'text', NULL);
INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('ex_all', 'most', 'team:south', '5'), ('ex_all', 'most', 'team:west', NULL);
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority, parent) VALUES
	('ex_all', 'either', 'activation', 50, NULL), ('ex_all', 'both', 'unit', 2, 'either'), ('ex_all', 'late', 'conditional', 95, NULL);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, rule_group, valid) VALUES
	('ex_all', 'full', 60, 'held >= param.most', NULL, NULL),
	('ex_all', 'past', 59, 'l.level = 1', NULL, '[2020-01-01 00:00+00,2029-12-31 00:00+00)'),
	('ex_all', 'now', 58, 'l.level = 1', NULL, '[2020-01-01 00:00+00,)'),
	('ex_all', 'b1', 2, 'l.amount > 1', 'both', NULL),
	('ex_all', 'b2', 1, 'l.amount > 2', 'both', NULL),
	('ex_all', 'e1', 1, 'ctx.flag = 1', 'either', NULL),
	('ex_all', 'g1', 2, 'l.amount > 1', 'late', NULL),
	('ex_all', 'g2', 1, 'true', 'late', NULL),
	('ex_all', 'over', 91, 'l.amount > 1', NULL, NULL),
	('ex_all', 'divides', 10, '1 / l.level > 0', NULL, NULL);
COMMIT;
SELECT * FROM sopflow.explain('ex_all');
SELECT * FROM sopflow.explain('ex_all', '{"l": {"category": "a", "level": 0, "amount": 5, "owner_id": 1}, "ctx": {"flag": 2}}');
-- the override of the other team, a key that is missing, and level 1
SELECT * FROM sopflow.explain('ex_all', '{"l": {"category": "a", "level": 1, "amount": 5, "owner_id": 2}, "ctx": {"other": 2}}') AS e(line) WHERE line ~ 'most|->|^  [A-Z]';
-- facts that were not given
SELECT * FROM sopflow.explain('ex_all', '{}') AS e(line) WHERE line ~ 'most|->';
SELECT * FROM sopflow.explain('ex_all', '{"l": {"owner_id": 3}}') AS e(line) WHERE line ~ 'most|->';
-- nothing was carried out, and an error leaves nothing behind
SELECT * FROM ex.rep ORDER BY rep_id;

\echo --- guards keep their place
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('ex_guard');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('ex_guard', 'x', 'int'), ('ex_guard', 'y', 'int');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES ('ex_guard', 'a', 1, 'x <> 0 and y / x > 1'), ('ex_guard', 'b', 2, 'y / x > 1'), ('ex_guard', 'c', 3, 'y / x > 1 and x <> 0');
COMMIT;
SELECT * FROM sopflow.explain('ex_guard', '{"x": 0, "y": 4}') AS e(line) WHERE line ~ '->|^  [A-Z]';
SELECT * FROM sopflow.explain('ex_guard', '{"x": 1, "y": 4}') AS e(line) WHERE line ~ '->|^  [A-Z]';

\echo --- who may ask
CREATE ROLE ex_rep;
GRANT USAGE ON SCHEMA sopflow TO ex_rep;
GRANT EXECUTE ON FUNCTION sopflow.explain(text, jsonb) TO ex_rep;
SET ROLE ex_rep;
SELECT * FROM sopflow.explain('ex_guard');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT sopflow.grant_rules('ex_guard', 'ex_rep');
SET ROLE ex_rep;
SELECT count(*) > 5 FROM sopflow.explain('ex_guard');
SELECT * FROM sopflow.explain('ex_guard', '{"x": 1, "y": 4}') AS e(line) WHERE line ~ '->';
RESET ROLE;
SELECT * FROM sopflow.explain('ex_nothing');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.explain(NULL);
SELECT * FROM sopflow.explain('ex_guard', '[1]');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.explain('ex_guard', '{"x": "no number", "y": 4}');
\echo :LAST_ERROR_SQLSTATE
-- a draft fires nothing
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'ex_guard';
SELECT * FROM sopflow.explain('ex_guard');
\echo :LAST_ERROR_SQLSTATE

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'ex\_%';
SET client_min_messages = error;
DROP OWNED BY ex_rep CASCADE;
DROP ROLE ex_rep;
DROP SCHEMA ex CASCADE;
