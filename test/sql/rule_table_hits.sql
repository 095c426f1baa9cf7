-- Hit policies of decision tables: what fires, and which rows overlap.
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA rth;
SET search_path = rth, public;
CREATE TYPE level AS ENUM ('bronze', 'silver', 'gold');
CREATE TABLE client (id bigint, n int, big bigint, amount numeric, ratio float8, name text, level level, day date, at timestamp, clock time, flag bool, place point);
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rth');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('rth', 'c', 'client', 'error'), ('rth', 'ctx', 'jsonb', 'null');

CREATE TABLE discount (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, level text, amount text, rule text, "result.rate" numeric, message text, deny text, code text);
INSERT INTO discount (level, amount, rule, "result.rate", message) VALUES
	('gold', '>= 1000', 'gold_big', 20, 'rate for {{c.name}}'), ('gold', '-', 'gold_any', 10, NULL),
	('in (bronze, silver)', '>= 1000', 'big', 5, NULL), (NULL, NULL, 'rest', 0, NULL);
-- fired rules, results, messages and codes for a client
CREATE FUNCTION fired(client jsonb, ctx jsonb DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v sopflow.verdict;
	message text;
	state text;
	detail text;
BEGIN
	v := sopflow.fire('rth', jsonb_build_object('c', jsonb_build_object('name', 'Ada') || client, 'ctx', ctx));
	RETURN format('%s %s result %s messages %s codes %s', v.allowed, v.fired, v.facts -> 'result', v.messages, v.codes);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message := MESSAGE_TEXT, state := RETURNED_SQLSTATE, detail := PG_EXCEPTION_DETAIL;
	RETURN format('%s %s; %s', state, message, detail);
END
$$;

\echo --- first
SELECT sopflow.load_decision_table('rth', 'discount');
SELECT fired('{"level": "gold", "amount": 1000}');
SELECT fired('{"level": "gold", "amount": 999}');
SELECT fired('{"level": "gold"}');
SELECT fired('{"level": "silver", "amount": 1000}');
SELECT fired('{"level": "silver", "amount": 1}');
SELECT fired('{}');
-- what is changed counts from the next statement on
UPDATE discount SET "result.rate" = 25, amount = '> 500' WHERE rule = 'gold_big';
SELECT sopflow.load_decision_table('rth', 'discount');
SELECT fired('{"level": "gold", "amount": 999}');
BEGIN;
DELETE FROM discount WHERE rule = 'gold_big';
SELECT sopflow.load_decision_table('rth', 'discount');
SELECT fired('{"level": "gold", "amount": 999}');
ROLLBACK;
SELECT fired('{"level": "gold", "amount": 999}');

\echo --- collect
SELECT sopflow.load_decision_table('rth', 'discount', 'collect');
SELECT fired('{"level": "gold", "amount": 1000}');
SELECT fired('{"level": "silver", "amount": 1}');

\echo --- any
SELECT sopflow.load_decision_table('rth', 'discount', 'any');
SELECT fired('{"level": "bronze", "amount": 1}');
SELECT fired('{"level": "bronze", "amount": 1000}');
UPDATE discount SET "result.rate" = 7, message = NULL;
SELECT sopflow.load_decision_table('rth', 'discount', 'any');
SELECT fired('{"level": "gold", "amount": 1000}');

\echo --- unique
SELECT sopflow.load_decision_table('rth', 'discount', 'unique');
\echo :LAST_ERROR_SQLSTATE
UPDATE discount SET amount = '<= 500' WHERE rule = 'gold_any';
UPDATE discount SET level = 'in (bronze, silver)', amount = '< 1000' WHERE rule = 'rest';
SELECT sopflow.load_decision_table('rth', 'discount', 'unique');
SELECT fired('{"level": "gold", "amount": 500}');
SELECT fired('{"level": "gold", "amount": 501}');
SELECT fired('{"level": "silver", "amount": 999}');
SELECT fired('{"level": "silver", "amount": 1000}');
SELECT fired('{"level": "silver"}');
-- patterns are not compared: the firing finds out
CREATE TABLE pattern (priority int, name text, "result.x" text);
INSERT INTO pattern VALUES (1, 'like ''A%''', 'a'), (2, 'like ''%a''', 'b');
DELETE FROM sopflow.rule WHERE rule_set = 'rth';
SELECT sopflow.load_decision_table('rth', 'pattern', 'unique');
SELECT fired('{"name": "Alf"}');
SELECT fired('{"name": "Ada"}');
DELETE FROM sopflow.rule WHERE rule_set = 'rth';

\echo --- denials, events and changes of facts
CREATE TABLE checks (priority int, n text, deny text, code text, "set.c.name" text);
INSERT INTO checks VALUES (1, '> 100', '{{c.name}} has {{c.n}}', 'FULL', NULL), (2, 'between 50 and 100', NULL, NULL, 'upper(c.name)');
SELECT sopflow.load_decision_table('rth', 'checks');
SELECT fired('{"n": 101}');
SELECT fired('{"n": 50}'), (sopflow.fire('rth', '{"c": {"n": 50, "name": "Ada"}, "ctx": {}}')).facts -> 'c' ->> 'name';
SELECT fired('{"n": 49}');
DELETE FROM sopflow.rule WHERE rule_set = 'rth';

\echo --- over jsonb
CREATE TABLE json (priority int, "ctx.level" text, "ctx.a.n" text, "ctx.flag" bool, "result.x" text);
INSERT INTO json VALUES (1, 'gold', '> 5', true, 'one'), (2, 'in (gold, silver)', '[1..5]', NULL, 'two'), (3, 'is null', '-', NULL, 'three');
SELECT sopflow.load_decision_table('rth', 'json');
SELECT fired('{}', '{"level": "gold", "a": {"n": 6}, "flag": true}');
SELECT fired('{}', '{"level": "gold", "a": {"n": 5}, "flag": true}');
SELECT fired('{}', '{"level": "gold", "a": {"n": 6}, "flag": false}');
SELECT fired('{}', '{"a": {"n": 6}}');
DELETE FROM sopflow.rule WHERE rule_set = 'rth';

-- A table of one or two columns under the policy unique: the number of its
-- rows, or which of them overlap and where.
CREATE FUNCTION overlap(columns text, VARIADIC rows text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	row text;
	message text;
	detail text;
BEGIN
	EXECUTE format('CREATE TABLE o (%s, priority int GENERATED ALWAYS AS IDENTITY)', columns);
	FOREACH row IN ARRAY rows LOOP
		EXECUTE format('INSERT INTO o VALUES (%s)', row);
	END LOOP;
	message := sopflow.load_decision_table('rth', 'o', 'unique') || ' rows';
	SET CONSTRAINTS ALL IMMEDIATE;
	RAISE EXCEPTION USING MESSAGE = message;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message := MESSAGE_TEXT, detail := PG_EXCEPTION_DETAIL;
	RETURN concat_ws('; ', replace(message, 'decision table "rth.o" is not valid: ', ''), nullif(detail, ''));
END
$$;
\echo --- overlap of intervals
SELECT overlap('n text', '''[1..5)''', '''[5..9]''');
SELECT overlap('n text', '''[1..5]''', '''[5..9]''');
SELECT overlap('n text', '''[1..5]''', '''(5..9]''');
SELECT overlap('n int4range', '''[1,5)''', '''[5,9)''');
SELECT overlap('n int4range', '''[1,5]''', '''[5,9)''');
SELECT overlap('n int4range', '''empty''', '''(,)''');
SELECT overlap('n int4range', '''(,)''', '''[1,2]''');
SELECT overlap('n text', '''< 5''', '''>= 5''', '''is null''');
SELECT overlap('n text', '''< 5''', '''> 5''', '''= 5''');
SELECT overlap('n text', '''<= 5''', '''>= 5''');
SELECT overlap('n text', '''> 1''', '''< 10''');
-- nothing lies between 5 and 6, but between 5.0 and 6.0
SELECT overlap('n text', '''> 5''', '''< 6''');
SELECT overlap('amount text', '''> 5''', '''< 6''');
SELECT overlap('n text', '''> 4''', '''< 6''');
SELECT overlap('n text', '''> 2147483646 and <> 2147483647''', '''-''');
SELECT overlap('n text', '''< -2147483648''', '''-''');
SELECT overlap('big text', '''> 9223372036854775806''', '''< 9223372036854775807''');
SELECT overlap('day text', '''> 2024-02-28''', '''< 2024-02-29''');
SELECT overlap('day text', '''> 2023-02-28''', '''< 2023-03-02''');
SELECT overlap('day daterange', '''[2024-01-01,2024-02-01)''', '''[2024-02-01,2024-03-01)''');
SELECT overlap('at text', '''> 2024-01-01''', '''< 2024-01-02''');
SELECT overlap('clock text', '''< 12:00''', '''>= 12:00''');
SELECT overlap('ratio text', '''> 0.1''', '''<= 0.1''');
SELECT overlap('ratio text', '''NaN''', '''> 1e308''');
SELECT overlap('amount text', '''1.0''', '''1.00''');
\echo --- of lists, and of what is not in them
SELECT overlap('n text', '''in (1, 2)''', '''in (3, 4)''', '''not in (1, 2, 3, 4)''', '''is null''');
SELECT overlap('n text', '''in (1, 2)''', '''in (4, 3, 2)''');
SELECT overlap('n int[]', '''{1,2}''', '''{3,NULL}''', '''{}''', '''{5}''');
SELECT overlap('n int[]', '''{1,2}''', '''{3,2}''');
SELECT overlap('n text', '''<> 5''', '''5''');
SELECT overlap('n text', '''<> 5''', '''<> 6''');
SELECT overlap('n text', '''not [1..5]''', '''[1..5]''');
SELECT overlap('n text', '''not is null''', '''is null''');
SELECT overlap('n text', '''< 3 or > 7''', '''[3..7]''');
SELECT overlap('n text', '''< 3 or > 6''', '''[3..7]''');
SELECT overlap('n text', '''> 3 and < 3''', '''-''');
SELECT overlap('n text', '''not is null and > 3''', '''<= 3 or is null''');
\echo --- of types with few values
SELECT overlap('flag bool', 'true', 'false');
SELECT overlap('flag text', '''<> true''', '''<> false''', '''is null''');
SELECT overlap('flag text', '''true''', '''is not null''');
SELECT overlap('level text', '''<= silver''', '''>= gold''');
SELECT overlap('level text', '''> bronze and < gold''', '''silver''');
SELECT overlap('level text', '''> bronze and < silver''', '''-''');
SELECT overlap('level text', '''not in (bronze, silver)''', '''> silver''');
SELECT overlap('level level', '''gold''', '''silver''', 'NULL');
\echo --- of text
SELECT overlap('name text', '''a''', '''b''', '''> b''');
SELECT overlap('name text', '''<= m''', '''m''');
SELECT overlap('name text', '''in progress''', '''in (done, in progress)''');
\echo --- null is a value of its own
SELECT overlap('n text', '''is null''', '''is null''');
SELECT overlap('n text', '''is null''', '''-''');
SELECT overlap('n text', '''is null or 5''', '''> 5''');
\echo --- of several columns
SELECT overlap('n text, level text', '''> 5'', ''gold''', '''> 3'', ''silver''', '''<= 3'', ''-''', '''is null'', ''-''');
SELECT overlap('n text, level text', '''> 5'', ''gold''', '''> 3'', ''<> silver''');
SELECT overlap('n text, level text', '''> 5'', ''-''', '''-'', ''gold''');
SELECT overlap('n text, level text', 'NULL, NULL', 'NULL, NULL');
SELECT overlap('description text', 'NULL', 'NULL');
SELECT overlap('description text', 'NULL');
\echo --- of tests that are only compared as text
SELECT overlap('name text', '''like ''''a%''''''', '''like ''''b%''''''', '''like ''''ab%''''''', '''abc''', '''is null''');
SELECT overlap('name text', '''like ''''a%''''''', '''  like   ''''a%''''''');
SELECT overlap('name text', '''like ''''a%''''''', '''-''');
SELECT overlap('name text, n text', '''like ''''a%'''''', 1', '''like ''''a%'''''', 2');
SELECT overlap('"ctx.x" text', '''gold''', '5', 'true', '''is null''');
SELECT overlap('"ctx.x" text', '5', '''5.0''');
SELECT overlap('"ctx.x" text', '5', '''5.0''', '''gold''');
SELECT overlap('"ctx.x" text', '''gold''', '''> a''');

-- Against trial and error: tests of small integers, two columns, pairs of rows.
\echo --- the same as trying all values
CREATE TABLE sample (n text);
INSERT INTO sample VALUES ('-'), ('1'), ('<> 1'), ('< 2'), ('>= 2'), ('[1..2)'), ('(0..2)'), ('in (0, 3)'), ('not in (0, 3)'), ('not between 1 and 2'), ('is null'),
	('is not null'), ('< 1 or > 2'), ('is null or 2'), ('> 1 and < 2'), ('not (1..3)'), ('<> 1 and <> 3'), ('not is null and not 0'), ('> 1 or is null');
CREATE FUNCTION conditions(rows text[], is_unique bool) RETURNS text[] LANGUAGE sql AS $$
	SELECT sopflow.table_conditions('o', '{n,amount}', ARRAY['text'::regtype, 'text'], '{c.n,c.amount}',
		ARRAY['int'::regtype, 'numeric'], '{0,0}', rows, is_unique)
$$;
CREATE FUNCTION compare() RETURNS TABLE (pairs int, overlapping int, wrong int) LANGUAGE plpgsql AS $$
DECLARE
	p record;
	said bool;
	really bool;
	rows text[];
BEGIN
	pairs := 0; overlapping := 0; wrong := 0;
	FOR p IN SELECT a.n AS a, b.n AS b, c.n AS c, d.n AS d FROM sample a, sample b,
		(VALUES ('-'), ('< 2')) c(n), (VALUES ('>= 1'), ('is null')) d(n)
	LOOP
		rows := ARRAY[['one', p.a, p.c], ['two', p.b, p.d]];
		BEGIN
			PERFORM conditions(rows, true);
			said := false;
		EXCEPTION WHEN SQLSTATE 'SF001' THEN
			said := true;
		END;
		-- the conditions themselves, over all integers around
		EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT nullif(i, 5) AS n, nullif(j, 5) / 2.0 AS amount'
			' FROM generate_series(-1, 5) i, generate_series(-1, 5) j) c WHERE (%s) AND (%s))', VARIADIC conditions(rows, false)) INTO really;
		pairs := pairs + 1;
		overlapping := overlapping + really::int;
		wrong := wrong + (said <> really)::int;
	END LOOP;
	RETURN NEXT;
END
$$;
SELECT * FROM compare();

\echo --- ten thousand rows
CREATE TABLE big (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int4range, level text, name text, "result.x" int);
INSERT INTO big (n, level, name, "result.x") SELECT int4range(i / 10 * 10, i / 10 * 10 + 10), CASE i % 2 WHEN 0 THEN 'gold' ELSE '<> gold' END, 'name ' || i / 2 % 5, i FROM generate_series(0, 9999) i;
SELECT sopflow.load_decision_table('rth', 'big', 'unique');
SELECT count(*), count(DISTINCT condition), min(priority), max(priority) FROM sopflow.rule WHERE rule_set = 'rth';
SELECT fired('{"n": 9999, "level": "silver", "name": "name 4"}');
SELECT fired('{"n": 5, "level": "gold", "name": "name 3"}');
UPDATE big SET name = NULL WHERE id = 5001;
SELECT sopflow.load_decision_table('rth', 'big', 'unique');
UPDATE big SET name = 'name 0', "result.x" = -1 WHERE id = 5001;
SELECT sopflow.load_decision_table('rth', 'big', 'unique');
SELECT fired('{"n": 5000, "level": "gold", "name": "name 0"}');

DELETE FROM sopflow.rule_set WHERE rule_set = 'rth';
SET client_min_messages = warning;
DROP SCHEMA rth CASCADE;
