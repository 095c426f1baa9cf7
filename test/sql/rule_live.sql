-- Changes of rules, parameters and of what rules are made of: in force at the
-- next statement, gone with a rollback, never stale.
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA rl;
CREATE TYPE rl.mood AS ENUM ('sad', 'happy');
CREATE TABLE rl.t (id int PRIMARY KEY, a int, b int, mood rl.mood);
CREATE TYPE rl.pair AS (x int, y int);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rl');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rl', 't', 'rl.t');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rl', 'max', 'int', '10');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rl', 'r', 't.a > param.max', '[{"result": {"text": "first {{param.max}}"}}]');
-- in force before it is committed
SELECT fired, facts->'result'->>'text' FROM sopflow.fire('rl', '{"t": {"a": 11}}');
UPDATE sopflow.rule_param SET value = '20' WHERE rule_set = 'rl';
SELECT fired, facts->'result'->>'text' FROM sopflow.fire('rl', '{"t": {"a": 11}}');
COMMIT;
PREPARE fire(int) AS SELECT fired, facts->'result'->>'text' FROM sopflow.fire('rl', jsonb_build_object('t', jsonb_build_object('a', $1, 'mood', 'happy')));
PREPARE fire_row(int) AS SELECT fired FROM sopflow.fire_rows('rl', (SELECT t FROM rl.t WHERE a = $1));
EXECUTE fire(11);
EXECUTE fire(21);
INSERT INTO rl.t VALUES (1, 11, 5, 'happy'), (2, 21, 5, 'happy');
EXECUTE fire_row(11);
EXECUTE fire_row(21);

\echo --- transactions and savepoints
BEGIN;
UPDATE sopflow.rule SET condition = 't.a > 0' WHERE rule_set = 'rl';
EXECUTE fire(1);
SAVEPOINT s;
UPDATE sopflow.rule SET condition = 't.a > 100' WHERE rule_set = 'rl';
EXECUTE fire(1);
SAVEPOINT s2;
UPDATE sopflow.rule SET actions = '[{"result": {"text": "third"}}]' WHERE rule_set = 'rl';
EXECUTE fire(101);
RELEASE s2;
EXECUTE fire(101);
ROLLBACK TO s;
EXECUTE fire(1);
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rl', 'another');
EXECUTE fire(1);
ROLLBACK;
EXECUTE fire(1);
EXECUTE fire(21);
-- a function that fails half way
DO $$
BEGIN
	UPDATE sopflow.rule_param SET value = '1' WHERE rule_set = 'rl';
	PERFORM sopflow.fire('rl', '{"t": {"a": 2}}');
	RAISE 'taken back' USING ERRCODE = 'RL001';
EXCEPTION WHEN SQLSTATE 'RL001' THEN
	NULL;
END $$;
EXECUTE fire(2);
-- a set that never was
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rl_never');
INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rl_never', 'r');
SELECT fired FROM sopflow.fire('rl_never', '{}');
ROLLBACK;
SELECT fired FROM sopflow.fire('rl_never', '{}');
-- and one that is gone for some statements
BEGIN;
DELETE FROM sopflow.rule_set WHERE rule_set = 'rl';
EXECUTE fire(21);
ROLLBACK;
EXECUTE fire(21);

\echo --- a broken edit changes nothing
UPDATE sopflow.rule SET condition = 't.c > 0' WHERE rule_set = 'rl';
EXECUTE fire(21);
BEGIN;
UPDATE sopflow.rule SET condition = 't.c > 0' WHERE rule_set = 'rl';
SAVEPOINT s;
EXECUTE fire(21);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
EXECUTE fire(21);
ROLLBACK TO s;
UPDATE sopflow.rule SET condition = 't.b > 0' WHERE rule_set = 'rl';
SELECT fired FROM sopflow.fire('rl', '{"t": {"b": 1}}');
COMMIT;
SELECT fired FROM sopflow.fire('rl', '{"t": {"b": 1}}');
BEGIN;
UPDATE sopflow.rule SET condition = 't.a >' WHERE rule_set = 'rl';
COMMIT;
SELECT fired FROM sopflow.fire('rl', '{"t": {"b": 1}}');
-- one broken set takes another of the same transaction along
BEGIN;
UPDATE sopflow.rule SET condition = 't.a > param.max' WHERE rule_set = 'rl';
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rl_never');
INSERT INTO sopflow.rule (rule_set, rule, condition) VALUES ('rl_never', 'r', 'nowhere');
COMMIT;
SELECT fired FROM sopflow.fire('rl', '{"t": {"b": 1}}');
UPDATE sopflow.rule SET condition = 't.a > param.max' WHERE rule_set = 'rl';
EXECUTE fire(21);

\echo --- parameters and overrides
UPDATE sopflow.rule_set SET param_scopes = '{"t.id::text"}' WHERE rule_set = 'rl';
SELECT id, fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY id;
INSERT INTO sopflow.rule_param_override VALUES ('rl', 'max', '1', '10'), ('rl', 'max', '2', '30');
SELECT id, fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY id;
UPDATE sopflow.rule_param_override SET value = '11' WHERE rule_set = 'rl';
SELECT id, fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY id;
BEGIN;
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'rl';
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'rl';
SELECT id, fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY id;
ROLLBACK;
SELECT id, fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY id;
-- another type of the same value
UPDATE sopflow.rule_param SET type = 'text' WHERE rule_set = 'rl';
UPDATE sopflow.rule_param SET type = 'numeric', value = '10.5' WHERE rule_set = 'rl';
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'rl';
SELECT id, fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY id;
DELETE FROM sopflow.rule_param WHERE rule_set = 'rl';
UPDATE sopflow.rule_set SET param_scopes = '{}' WHERE rule_set = 'rl';

\echo --- own changes count at once, also within a statement
CREATE FUNCTION rl.change(value text) RETURNS text LANGUAGE sql VOLATILE AS $$
	UPDATE sopflow.rule_param SET value = $1 WHERE rule_set = 'rl';
	UPDATE sopflow.rule SET actions = jsonb_build_array(jsonb_build_object('result', jsonb_build_object('text', 'at ' || $1))) WHERE rule_set = 'rl' RETURNING 'changed'
$$;
SELECT (a).fired, (a).facts->'result', changed, (b).fired, (b).facts->'result' FROM (
	SELECT sopflow.fire('rl', '{"t": {"a": 11}}') AS a, rl.change('12') AS changed, sopflow.fire('rl', '{"t": {"a": 11}}') AS b OFFSET 0) x;
EXECUTE fire(11);
-- the rows of one UPDATE
SELECT sopflow.guard('rl.t', 'rl');
BEGIN;
UPDATE sopflow.rule_fact SET fact = 'new' WHERE rule_set = 'rl';
UPDATE sopflow.rule SET condition = 'new.a > param.max', actions = '[{"set": {"new.b": "param.max"}}]' WHERE rule_set = 'rl';
COMMIT;
SELECT sopflow.guard('rl.t', 'rl');
CREATE FUNCTION rl.raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE sopflow.rule_param SET value = (value::numeric + 1)::text WHERE rule_set = 'rl';
	RETURN new;
END $$;
CREATE TRIGGER aa_raise BEFORE UPDATE ON rl.t FOR EACH ROW EXECUTE FUNCTION rl.raise();
INSERT INTO rl.t SELECT i, 100 FROM generate_series(3, 5) i;
SELECT id, b FROM rl.t WHERE id > 2 ORDER BY id;
UPDATE rl.t SET a = 100 WHERE id > 2;
SELECT id, b FROM rl.t WHERE id > 2 ORDER BY id;
UPDATE rl.t SET a = 100 WHERE id > 2;
SELECT id, b FROM rl.t WHERE id > 2 ORDER BY id;
DROP TRIGGER aa_raise ON rl.t;
SELECT value FROM sopflow.rule_param WHERE rule_set = 'rl';
SELECT sopflow.unguard('rl.t', 'rl');
DELETE FROM rl.t WHERE id > 2;
BEGIN;
UPDATE sopflow.rule_fact SET fact = 't' WHERE rule_set = 'rl';
UPDATE sopflow.rule SET condition = 't.a > 10', actions = '[{"result": {"text": "{{t.a}}"}}]' WHERE rule_set = 'rl';
COMMIT;

\echo --- columns: added, dropped, retyped, renamed
EXECUTE fire(11);
EXECUTE fire_row(11);
ALTER TABLE rl.t ADD COLUMN c int DEFAULT 3;
EXECUTE fire(11);
EXECUTE fire_row(11);
UPDATE sopflow.rule SET condition = 't.a > 10 and t.c = 3' WHERE rule_set = 'rl';
EXECUTE fire_row(11);
ALTER TABLE rl.t DROP COLUMN b;
EXECUTE fire_row(11);
ALTER TABLE rl.t ALTER COLUMN c TYPE text;
EXECUTE fire_row(11);
\echo :LAST_ERROR_SQLSTATE
EXECUTE fire(11);
ALTER TABLE rl.t ALTER COLUMN c TYPE numeric USING c::numeric + 0.4;
EXECUTE fire_row(11);
ALTER TABLE rl.t ALTER COLUMN c TYPE bigint;
EXECUTE fire_row(11);
ALTER TABLE rl.t RENAME COLUMN c TO d;
EXECUTE fire_row(11);
ALTER TABLE rl.t RENAME COLUMN d TO c;
EXECUTE fire_row(11);
-- within one transaction
BEGIN;
ALTER TABLE rl.t DROP COLUMN c;
SAVEPOINT s;
EXECUTE fire_row(11);
ROLLBACK TO s;
ALTER TABLE rl.t ADD COLUMN c text DEFAULT '3';
SAVEPOINT s;
EXECUTE fire_row(11);
ROLLBACK;
EXECUTE fire_row(11);
-- two columns change places: the name counts, not the number
SELECT fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY t.id;
ALTER TABLE rl.t RENAME COLUMN a TO x;
ALTER TABLE rl.t RENAME COLUMN id TO a;
SELECT fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY t.a;
ALTER TABLE rl.t RENAME COLUMN a TO id;
ALTER TABLE rl.t RENAME COLUMN x TO a;
SELECT fired FROM rl.t, LATERAL sopflow.fire_rows('rl', t) ORDER BY t.id;
-- the same through a trigger
BEGIN;
UPDATE sopflow.rule_fact SET fact = 'new' WHERE rule_set = 'rl';
UPDATE sopflow.rule SET condition = 'new.a > 10 and new.c = 3', actions = '[{"deny": "a is {{new.a}}"}]' WHERE rule_set = 'rl';
COMMIT;
SELECT sopflow.guard('rl.t', 'rl');
UPDATE rl.t SET a = 12;
ALTER TABLE rl.t ADD COLUMN first_of_all int;
UPDATE rl.t SET a = 12;
ALTER TABLE rl.t ALTER COLUMN c TYPE int;
UPDATE rl.t SET a = 12;
ALTER TABLE rl.t DROP COLUMN c;
UPDATE rl.t SET a = 12;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE rl.t ADD COLUMN c int;
UPDATE rl.t SET a = 12 RETURNING id, a, c;
UPDATE rl.t SET c = 3;
SELECT sopflow.unguard('rl.t', 'rl');
DELETE FROM sopflow.rule_set WHERE rule_set = 'rl';

\echo --- composite types, enums, domains
CREATE DOMAIN rl.small AS int CHECK (VALUE < 10);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rl');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rl', 'p', 'rl.pair'), ('rl', 'm', 'rl.mood'), ('rl', 's', 'rl.small');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES ('rl', 'p', 1, 'p.x < p.y', '[{"set": {"s": "p.y"}}]'), ('rl', 'm', 2, 'm = ''happy''', '[]');
COMMIT;
SELECT fired, facts->'s' FROM sopflow.fire('rl', '{"p": {"x": 1, "y": 2}, "m": "happy", "s": 1}');
ALTER TYPE rl.pair ADD ATTRIBUTE z int;
SELECT fired, facts->'p' FROM sopflow.fire('rl', '{"p": {"x": 1, "y": 2, "z": 3}, "m": "happy", "s": 1}');
SELECT fired FROM sopflow.fire_rows('rl', row(1, 2, 3)::rl.pair, 'happy'::rl.mood, 1::rl.small);
ALTER TYPE rl.pair ALTER ATTRIBUTE x TYPE numeric;
SELECT fired FROM sopflow.fire('rl', '{"p": {"x": 1.5, "y": 2}, "m": "happy", "s": 1}');
SELECT fired FROM sopflow.fire_rows('rl', row(1.5, 2, 3)::rl.pair, 'happy'::rl.mood, 1::rl.small);
ALTER TYPE rl.pair DROP ATTRIBUTE x;
SELECT fired FROM sopflow.fire('rl', '{"p": {"y": 2}, "m": "happy", "s": 1}');
\echo :LAST_ERROR_SQLSTATE
ALTER TYPE rl.pair ADD ATTRIBUTE x int;
SELECT fired FROM sopflow.fire_rows('rl', row(2, 3, 1)::rl.pair, 'happy'::rl.mood, 1::rl.small);
-- a label under another name: not the old one any more
ALTER TYPE rl.mood RENAME VALUE 'happy' TO 'glad';
SELECT fired FROM sopflow.fire('rl', '{"p": {"x": 1, "y": 2}, "m": "glad", "s": 1}');
\echo :LAST_ERROR_SQLSTATE
ALTER TYPE rl.mood ADD VALUE 'happy';
SELECT fired FROM sopflow.fire('rl', '{"p": {"x": 1, "y": 2}, "m": "happy", "s": 1}');
SELECT fired FROM sopflow.fire('rl', '{"p": {"x": 1, "y": 2}, "m": "glad", "s": 1}');
-- a constraint that is new
ALTER DOMAIN rl.small ADD CONSTRAINT positive CHECK (VALUE > 0);
SELECT fired, facts->'s' FROM sopflow.fire('rl', '{"p": {"x": -2, "y": -1}, "m": "sad", "s": 1}');
ALTER DOMAIN rl.small DROP CONSTRAINT positive;
SELECT fired, facts->'s' FROM sopflow.fire('rl', '{"p": {"x": -2, "y": -1}, "m": "sad", "s": 1}');
-- the type itself
DROP TYPE rl.pair;
DO $$
BEGIN
	PERFORM sopflow.fire('rl', '{"p": {"x": 1, "y": 2}, "m": "happy", "s": 1}');
EXCEPTION WHEN OTHERS THEN
	RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, '\d+ does', 'N does');
END $$;
CREATE TYPE rl.pair AS (x int, y int);
UPDATE sopflow.rule_fact SET type = 'rl.pair' WHERE rule_set = 'rl' AND fact = 'p';
SELECT fired FROM sopflow.fire('rl', '{"p": {"x": 1, "y": 2}, "m": "happy", "s": 1}');
DELETE FROM sopflow.rule_set WHERE rule_set = 'rl';

\echo --- functions: replaced, overloaded, dropped
CREATE FUNCTION rl.big(numeric) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 10';
CREATE FUNCTION rl.act(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"by": "first"}'::jsonb $$;
CREATE FUNCTION rl.hook(sopflow.rule_event) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'first hook'; RETURN true; END $$;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, before_fire) VALUES ('rl', 'rl.hook');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rl', 'n', 'int');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rl', 'r', 'rl.big(n)', '[{"call": "rl.act"}]');
COMMIT;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 15}');
CREATE OR REPLACE FUNCTION rl.big(numeric) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 1';
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
-- a better match: of its own argument's type
CREATE FUNCTION rl.big(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 100';
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 500}');
DROP FUNCTION rl.big(int);
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
DROP FUNCTION rl.big(numeric);
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
\echo :LAST_ERROR_SQLSTATE
CREATE FUNCTION rl.big(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 2';
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
-- one that becomes volatile is refused
ALTER FUNCTION rl.big(int) VOLATILE;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
ALTER FUNCTION rl.big(int) STABLE;
-- in an action and in a hook
CREATE OR REPLACE FUNCTION rl.act(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"by": "second"}'::jsonb $$;
CREATE OR REPLACE FUNCTION rl.hook(sopflow.rule_event) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'second hook'; RETURN true; END $$;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
DROP FUNCTION rl.act;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
\echo :LAST_ERROR_SQLSTATE
CREATE FUNCTION rl.act(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"by": "third"}'::jsonb $$;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
ALTER FUNCTION rl.act RENAME TO acted;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
ALTER FUNCTION rl.acted RENAME TO act;
DROP FUNCTION rl.hook;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
UPDATE sopflow.rule_set SET before_fire = NULL WHERE rule_set = 'rl';
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
-- rules write no rules
CREATE OR REPLACE FUNCTION rl.act(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM sopflow.rule r WHERE r.rule_set = 'rl';
	RETURN jsonb_build_object('left', (SELECT count(*) FROM sopflow.rule r WHERE r.rule_set = 'rl'));
END $$;
INSERT INTO sopflow.rule (rule_set, rule, condition) VALUES ('rl', 'r2', 'rl.big(n)');
BEGIN;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 5}');
ROLLBACK;
-- a set that fires itself
CREATE OR REPLACE FUNCTION rl.act(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN jsonb_build_object('inner', (SELECT v.fired FROM sopflow.fire('rl', jsonb_build_object('n', (facts->>'n')::int - 1)) v));
END $$;
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 4}');
SELECT fired, facts->'result' FROM sopflow.fire('rl', '{"n": 4}');
-- a table altered in the middle of a firing
CREATE TABLE rl.mid (i int);
INSERT INTO rl.mid VALUES (4);
CREATE OR REPLACE FUNCTION rl.act(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	ALTER TABLE rl.mid ALTER COLUMN i TYPE text USING repeat('x', 100);
	RETURN NULL;
END $$;
BEGIN;
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rl', 'mid', 'rl.mid', 'select m from rl.mid m'), ('rl', 'value', 'int', 'select i from rl.mid');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rl', 'held', 'select i from rl.mid', '''rl''');
UPDATE sopflow.rule SET condition = 'held = n' WHERE rule_set = 'rl' AND rule = 'r2';
COMMIT;
SELECT fired FROM sopflow.fire('rl', '{"n": 4}');
UPDATE sopflow.rule SET condition = 'value = n' WHERE rule_set = 'rl' AND rule = 'r2';
SELECT fired FROM sopflow.fire('rl', '{"n": 4}');
UPDATE sopflow.rule SET condition = 'mid.i = n' WHERE rule_set = 'rl' AND rule = 'r2';
SELECT fired FROM sopflow.fire('rl', '{"n": 4}');
SELECT i FROM rl.mid;
BEGIN;
DELETE FROM sopflow.rule WHERE rule_set = 'rl';
DELETE FROM sopflow.rule_quota WHERE rule_set = 'rl';
DELETE FROM sopflow.rule_fact WHERE rule_set = 'rl' AND fact <> 'n';
COMMIT;
-- a looked-up fact's and a quota's tables
CREATE TABLE rl.look (i int);
INSERT INTO rl.look VALUES (1), (2);
BEGIN;
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rl', 'most', 'int', 'select max(i) from rl.look');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rl', 'held', 'select count(*) from rl.look', '''rl''');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES ('rl', 'most', 1, 'most = n'), ('rl', 'held', 2, 'held = n');
COMMIT;
SELECT fired FROM sopflow.fire('rl', '{"n": 2}');
INSERT INTO rl.look VALUES (3);
SELECT fired FROM sopflow.fire('rl', '{"n": 2}');
SELECT fired FROM sopflow.fire('rl', '{"n": 3}');
ALTER TABLE rl.look ALTER COLUMN i TYPE smallint;
SELECT fired FROM sopflow.fire('rl', '{"n": 3}');
UPDATE sopflow.rule_fact SET query = 'select max(i)::int from rl.look' WHERE rule_set = 'rl' AND fact = 'most';
SELECT fired FROM sopflow.fire('rl', '{"n": 3}');
ALTER TABLE rl.look ALTER COLUMN i TYPE numeric;
SELECT fired FROM sopflow.fire('rl', '{"n": 3}');
UPDATE sopflow.rule_quota SET query = 'select max(i) from rl.look' WHERE rule_set = 'rl';
SELECT fired FROM sopflow.fire('rl', '{"n": 3}');
ALTER TABLE rl.look ALTER COLUMN i TYPE text;
SELECT fired FROM sopflow.fire('rl', '{"n": 3}');
\echo :LAST_ERROR_SQLSTATE
DROP TABLE rl.look;
SELECT fired FROM sopflow.fire('rl', '{"n": 3}');
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE rl.look (i int);
SELECT fired FROM sopflow.fire('rl', '{"n": 0}');

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'rl%';
DEALLOCATE ALL;
SET client_min_messages = warning;
DROP SCHEMA rl CASCADE;
