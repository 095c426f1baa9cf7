-- prove: from a goal backwards to the rules that give it, and their proof.
\pset format unaligned
\pset tuples_only on
\pset null null
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE SCHEMA pv;
CREATE TYPE pv.animal AS (hair bool, milk bool, meat bool, spots bool, class text, order_name text, species text, legs int);
CREATE TABLE pv.log (t text);
CREATE FUNCTION pv.note(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO pv.log VALUES (rule); SELECT '{}'::jsonb $$;
-- the tree, a line a step
CREATE FUNCTION pv.tree(proof jsonb, depth int DEFAULT 0) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	p jsonb;
	t jsonb;
BEGIN
	RETURN NEXT repeat('  ', depth) || concat_ws(' ', proof->>'goal', '=', coalesce(proof->>'value', 'NULL'), 'by', proof->>'by', proof->>'rule',
		CASE WHEN proof ? 'again' THEN '(again)' END, CASE WHEN proof ? 'why' THEN '(' || (proof->>'why') || ')' END);
	FOR t IN SELECT jsonb_array_elements(proof->'tried') LOOP
		RETURN NEXT repeat('  ', depth) || '  not by ' || (t->>'rule') || ': ' || (t->>'why');
		FOR p IN SELECT jsonb_array_elements(t->'because') LOOP
			RETURN QUERY SELECT pv.tree(p, depth + 2);
		END LOOP;
	END LOOP;
	FOR p IN SELECT jsonb_array_elements(proof->'because') LOOP
		RETURN QUERY SELECT pv.tree(p, depth + 1);
	END LOOP;
END $$;
CREATE FUNCTION pv.prove(set text, goal text, facts jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
	SELECT * INTO r FROM sopflow.prove(set, goal, facts);
	RETURN NEXT format('%s %s', r.proved, coalesce(r.value::text, 'NULL'));
	RETURN QUERY SELECT pv.tree(r.proof);
END $$;

\echo --- a chain of three rules over a composite fact
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('pv');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('pv', 'a', 'pv.animal');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('pv', 'cheetah', 1, 'a.order_name = ''carnivore'' and a.spots', '[{"set": {"a.species": "''cheetah''"}}, {"call": "pv.note"}, {"emit": "FOUND", "subject": "a.species"}]'),
	('pv', 'tiger', 2, 'a.order_name = ''carnivore'' and not a.spots', '[{"set": {"a.species": "''tiger''"}}]'),
	('pv', 'carnivore', 3, 'a.class = ''mammal'' and a.meat', '[{"set": {"a.order_name": "''carnivore''"}}, {"deny": "beware of {{a.class}}"}]'),
	('pv', 'mammal by hair', 4, 'a.hair', '[{"set": {"a.class": "''mammal''"}}]'),
	('pv', 'mammal by milk', 5, 'a.milk', '[{"set": {"a.class": "''mammal''", "a.legs": "coalesce(a.legs, 4)"}}]');
COMMIT;
SELECT * FROM pv.prove('pv', 'a.species', '{"a": {"hair": true, "meat": true, "spots": true}}');
SELECT * FROM pv.prove('pv', 'a.species', '{"a": {"hair": false, "milk": true, "meat": true, "spots": false}}');
-- the proof as it is
SELECT proof FROM sopflow.prove('pv', 'a.class', '{"a": {"hair": true}}');
SELECT proof FROM sopflow.prove('pv', 'a.class', '{"a": {"hair": false}}');
-- given facts need no rule
SELECT * FROM pv.prove('pv', 'a.species', '{"a": {"species": "dog"}}');
SELECT * FROM pv.prove('pv', 'a.species', '{"a": {"class": "mammal", "meat": true, "spots": true}}');
-- it cannot be proved: NULL, false, not given
SELECT * FROM pv.prove('pv', 'a.species', '{"a": {"hair": true, "spots": true}}');
SELECT * FROM pv.prove('pv', 'a.species', '{}');
SELECT * FROM pv.prove('pv', 'a.species', '{"a": null}');
-- a field that no rule sets
SELECT * FROM pv.prove('pv', 'a.meat', '{"a": {"meat": false}}');
SELECT * FROM pv.prove('pv', 'a.meat', '{}');

\echo --- goals that are expressions
SELECT * FROM pv.prove('pv', 'a.species = ''cheetah''', '{"a": {"hair": true, "meat": true, "spots": true}}');
SELECT * FROM pv.prove('pv', 'a.species = ''tiger''', '{"a": {"hair": true, "meat": true, "spots": true}}');
SELECT * FROM pv.prove('pv', 'upper(a.species) || '' with '' || a.legs || '' legs''', '{"a": {"milk": true, "meat": true, "spots": true}}');
SELECT * FROM pv.prove('pv', 'a.legs > 2', '{"a": {"legs": 2}}');
SELECT * FROM pv.prove('pv', '1 + 1', '{}');
SELECT * FROM pv.prove('pv', 'null::int', '{}');
-- nothing was carried out
SELECT count(*) FROM pv.log;

\echo --- goals that are none
SELECT * FROM sopflow.prove('pv', 'a.tail', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.prove('pv', 'a.legs +', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.prove('pv', '(select 1)', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.prove('pv', 'random() > 0', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.prove('pv_nothing', 'a.legs', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.prove('pv', NULL, '{}');
BEGIN;
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'pv';
SELECT * FROM sopflow.prove('pv', 'a.legs', '{}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

\echo --- cycles
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('pv_cycle');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('pv_cycle', 'c', 'jsonb', 'null');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('pv_cycle', 'x from y', 1, 'c.y > 0', '[{"set": {"c.x": "c.y::int + 1"}}]'),
	('pv_cycle', 'y from z', 2, 'c.z > 0', '[{"set": {"c.y": "c.z::int + 1"}}]'),
	('pv_cycle', 'z from x', 3, 'c.x > 0', '[{"set": {"c.z": "c.x::int + 1"}}]'),
	('pv_cycle', 'z from start', 4, 'c.start', '[{"set": {"c.z": "10"}}]'),
	('pv_cycle', 'self', 5, 'c.self is not null', '[{"set": {"c.self": "1"}}]');
COMMIT;
SELECT * FROM pv.prove('pv_cycle', 'c.x', '{"c": {}}');
-- another rule breaks it
SELECT * FROM pv.prove('pv_cycle', 'c.x', '{"c": {"start": true}}');
SELECT * FROM pv.prove('pv_cycle', 'c.y', '{"c": {"start": true}}');
SELECT * FROM pv.prove('pv_cycle', 'c.self', '{}');
SELECT * FROM pv.prove('pv_cycle', 'c.x::int > 5 and c.z::int = 10', '{"c": {"start": true}}');

\echo --- jsonb facts whose keys must be there: what is missing is unknown
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('pv_json');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('pv_json', 'c', 'jsonb', 'error'), ('pv_json', 'n', 'int', 'error');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('pv_json', 'gold', 1, 'c.total > 1000 and c.years >= 2', '[{"set": {"c.grade": "''gold''"}}]'),
	('pv_json', 'silver', 2, 'c.total > 100', '[{"set": {"c.grade": "''silver''"}}]'),
	('pv_json', 'total', 3, 'c.price is not null', '[{"set": {"c.total": "c.price::numeric * coalesce(n, 1)"}}]'),
	('pv_json', 'discount', 4, 'c.grade = ''gold'' or c.grade = ''silver''', '[{"set": {"c.offer.percent": "case when c.grade = ''gold'' then 20 else 10 end"}}]');
COMMIT;
SELECT * FROM pv.prove('pv_json', 'c.grade', '{"c": {"total": 2000, "years": 3}}');
SELECT * FROM pv.prove('pv_json', 'c.grade', '{"c": {"total": 2000}}');
SELECT * FROM pv.prove('pv_json', 'c.grade', '{"c": {"total": null, "price": 300}, "n": 5}');
SELECT * FROM pv.prove('pv_json', 'c.offer.percent', '{"c": {"price": 300, "years": 2}, "n": 5}');
SELECT * FROM pv.prove('pv_json', 'c.offer', '{"c": {"price": 101}}');
SELECT * FROM pv.prove('pv_json', 'c.grade', '{}');
SELECT * FROM pv.prove('pv_json', 'c.years > 1', '{"c": {}}');
SELECT * FROM pv.prove('pv_json', 'c.flag', '{"c": {"flag": false}}');
SELECT * FROM pv.prove('pv_json', 'c.flag', '{"c": {"flag": null}}');
SELECT * FROM pv.prove('pv_json', 'c.flag', '{"c": {"flag": {"a": 1}}}');
-- a scalar fact, and a fact as a whole
SELECT * FROM pv.prove('pv_json', 'n', '{"n": 4}');
SELECT * FROM pv.prove('pv_json', 'n', '{}');

\echo --- rules that would not fire, values that cannot be computed
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, priority_threshold) VALUES ('pv_out', 50);
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('pv_out', 'a', 'pv.animal');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('pv_out', 'legs', 'int', '6');
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority) VALUES ('pv_out', 'g', 'unit', 7), ('pv_out', 'late', 'unit', 70);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions, valid, rule_group, enabled) VALUES
	('pv_out', 'past', 1, 'true', '[{"set": {"a.species": "''past''"}}]', '[2020-01-01,2021-01-01)', NULL, true),
	('pv_out', 'over', 60, 'true', '[{"set": {"a.species": "''over''"}}]', NULL, NULL, true),
	('pv_out', 'disabled', 2, 'true', '[{"set": {"a.species": "''disabled''"}}]', NULL, NULL, false),
	('pv_out', 'to null', 3, 'true', '[{"set": {"a.species": "null", "a.class": "''set beside''"}}]', NULL, NULL, true),
	('pv_out', 'in late group', 1, 'true', '[{"set": {"a.species": "''late''"}}]', NULL, 'late', true),
	('pv_out', 'in group', 40, 'a.legs = param.legs', '[{"set": {"a.species": "''insect''"}}]', NULL, 'g', true),
	('pv_out', 'fails', 8, 'a.meat', '[{"set": {"a.order_name": "(1 / (a.legs - 6))::text"}}]', NULL, NULL, true),
	('pv_out', 'fails in its condition', 9, '1 / (a.legs - 6) > 0', '[{"set": {"a.order_name": "''x''"}}]', NULL, NULL, true);
COMMIT;
SELECT * FROM pv.prove('pv_out', 'a.species', '{"a": {"legs": 6}}');
SELECT * FROM pv.prove('pv_out', 'a.species', '{"a": {"legs": 4}}');
SELECT * FROM pv.prove('pv_out', 'a.class', '{"a": {"legs": 4}}');
SELECT * FROM pv.prove('pv_out', 'param.legs', '{}');
-- an error ends it, or counts as false
SELECT * FROM sopflow.prove('pv_out', 'a.order_name', '{"a": {"legs": 6, "meat": true}}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.prove('pv_out', 'a.order_name', '{"a": {"legs": 6, "meat": false}}');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'pv_out';
SELECT * FROM pv.prove('pv_out', 'a.order_name', '{"a": {"legs": 6, "meat": true}}');
SELECT * FROM pv.prove('pv_out', '1 / (a.legs - 6)', '{"a": {"legs": 6}}');

\echo --- a bound on the rules that are tried; what failed is not tried again
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, max_steps) VALUES ('pv_deep', 20);
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('pv_deep', 'd', 'jsonb', 'null');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) SELECT 'pv_deep', 'r' || i, i,
	format('d.f%s is not null', i + 1), jsonb_build_array(jsonb_build_object('set', jsonb_build_object('d.f' || i, '1'))) FROM generate_series(1, 30) i;
COMMIT;
SELECT proved, value FROM sopflow.prove('pv_deep', 'd.f12', '{"d": {"f31": 1}}');
SELECT proved, value FROM sopflow.prove('pv_deep', 'd.f11', '{"d": {"f31": 1}}');
SELECT proved, value FROM sopflow.prove('pv_deep', 'd.f10', '{"d": {"f31": 1}}');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_set SET max_steps = 1000 WHERE rule_set = 'pv_deep';
SELECT proved, value FROM sopflow.prove('pv_deep', 'd.f1', '{"d": {"f31": 1}}');
SELECT proved, value FROM sopflow.prove('pv_deep', 'd.f1', '{"d": {}}');
-- two ways down each of thirty steps are sixty rules, not 2^30
BEGIN;
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) SELECT 'pv_deep', 'again r' || i, 100 + i,
	format('d.f%s is not null', i + 1), jsonb_build_array(jsonb_build_object('set', jsonb_build_object('d.f' || i, '1'))) FROM generate_series(1, 30) i;
UPDATE sopflow.rule_set SET max_steps = 60 WHERE rule_set = 'pv_deep';
COMMIT;
SELECT proved, value FROM sopflow.prove('pv_deep', 'd.f1', '{"d": {}}');

\echo --- looked-up facts and quotas
CREATE TABLE pv.rep (rep_id bigint PRIMARY KEY, level text);
INSERT INTO pv.rep VALUES (1, 'A'), (2, NULL);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('pv_rep');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('pv_rep', 'who', 'bigint', NULL), ('pv_rep', 'limit_of', 'int', NULL), ('pv_rep', 'rep', 'pv.rep', 'SELECT r FROM pv.rep r WHERE r.rep_id = who');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('pv_rep', 'reps', 'SELECT count(*) FROM pv.rep', '''reps''');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('pv_rep', 'level A', 1, 'rep.level = ''A'' and reps > 1', '[{"set": {"limit_of": "100"}}]'),
	('pv_rep', 'default level', 2, 'rep.rep_id is not null', '[{"set": {"rep.level": "''A''"}}]');
COMMIT;
SELECT * FROM pv.prove('pv_rep', 'limit_of', '{"who": 1}');
SELECT * FROM pv.prove('pv_rep', 'limit_of', '{"who": 2}');
SELECT * FROM pv.prove('pv_rep', 'limit_of', '{"who": 3}');
SELECT * FROM pv.rep ORDER BY rep_id;

\echo --- who may ask; the set is as it was for those who fire it
CREATE ROLE pv_rep;
GRANT USAGE ON SCHEMA sopflow TO pv_rep;
GRANT EXECUTE ON FUNCTION sopflow.prove(text, text, jsonb) TO pv_rep;
SET ROLE pv_rep;
SELECT * FROM sopflow.prove('pv', 'a.legs', '{}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT sopflow.grant_rules('pv', 'pv_rep'), sopflow.grant_rules('pv_cycle', 'pv_rep');
CREATE FUNCTION pv.secret() RETURNS text LANGUAGE sql STABLE AS 'SELECT string_agg(rolname, '','') FROM pg_authid';
CREATE DOMAIN pv.trap AS text CHECK (pv.secret() IS NOT NULL);
SET ROLE pv_rep;
SELECT proved FROM sopflow.prove('pv', 'a.legs', '{"a": {"legs": 1}}');
SELECT proved, value FROM sopflow.prove('pv_cycle', 'c.unread', '{"c": {"unread": 1}}');
-- what would run with the owner's rights is the owner's to say
SELECT * FROM sopflow.prove('pv', 'a.legs > 0', '{"a": {"legs": 1}}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.prove('pv', 'pv.secret()', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.prove('pv', 'a.legs::pv.trap', '{}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT allowed, fired FROM sopflow.fire('pv', '{"a": {"hair": true, "meat": true, "spots": true}}');
SELECT proved, value FROM sopflow.prove('pv', 'a.species', '{"a": {"hair": true, "meat": true, "spots": true}}');

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'pv%';
SET client_min_messages = error;
DROP OWNED BY pv_rep CASCADE;
DROP ROLE pv_rep;
DROP SCHEMA pv CASCADE;
