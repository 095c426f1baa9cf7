-- What decision tables become: cells, columns, names, order, reloading, and
-- everything that is refused, with row and column.
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
SET datestyle = 'SQL, DMY';
SET timezone = 'Asia/Tokyo';
CREATE SCHEMA rt;
SET search_path = rt, public;
CREATE TYPE level AS ENUM ('bronze', 'silver', 'gold');
CREATE DOMAIN percent AS int;
CREATE TABLE client (id bigint, small int2, n int, amount numeric(10,2), ratio float8, part float4, status text, code varchar(4),
	level level, day date, at timestamptz, flag bool, discount percent, tags text[], spans int4range, "Big Name" text, info jsonb);
INSERT INTO sopflow.rule_set (rule_set, search_path) VALUES ('rt', 'rt, public');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES
	('rt', 'new', 'client', 'error'), ('rt', 'score', 'int', 'error'), ('rt', 'Note', 'text', 'error'), ('rt', 'ctx', 'jsonb', 'null');

-- the conditions of one column's cells, or the error
CREATE FUNCTION cells(name text, type text, cells text[], policy text DEFAULT 'any', rule_set text DEFAULT 'rt') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
	detail text;
	state text;
BEGIN
	EXECUTE format('CREATE TABLE cell (priority int GENERATED ALWAYS AS IDENTITY, %I %s)', name, type);
	EXECUTE format('INSERT INTO cell (%I) SELECT c::%s FROM unnest($1) c', name, type) USING cells;
	PERFORM sopflow.load_decision_table(rule_set, 'cell', policy);
	RETURN QUERY SELECT format('%s: %s', cells[priority], condition) FROM sopflow.rule r WHERE r.rule_set = $5 AND rule_group = 'cell' ORDER BY priority;
	SET CONSTRAINTS ALL IMMEDIATE;
	SET CONSTRAINTS ALL DEFERRED;
	DELETE FROM sopflow.rule r WHERE rule_group = 'cell';
	DELETE FROM sopflow.rule_group r WHERE rule_group = 'cell';
	DROP TABLE cell;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message := MESSAGE_TEXT, hint := PG_EXCEPTION_HINT, detail := PG_EXCEPTION_DETAIL, state := RETURNED_SQLSTATE;
	RETURN NEXT format('%s %s', state, message);
	IF detail <> '' THEN RETURN NEXT '  ' || detail; END IF;
	IF hint <> '' THEN RETURN NEXT '  ' || hint; END IF;
END
$$;

\echo --- text cells over a number
SELECT cells('n', 'text', '{NULL,"","   ",-," - ",5," = 5 ","<> 5","!=5","< 5","<=5","> 5",">= 5","= -5","= +5"}');
SELECT cells('n', 'text', '{between 1 and 5,BETWEEN 1 AND 5,"in (1, 2,3)","in(7)","not in (1,2)","[1..5]","(1..5]","[1..5)","( 1 .. 5 )","[1..)","(..5]","is null","IS NOT NULL"}');
SELECT cells('n', 'text', '{not 5,not = 5,"not [1..5]",not is null,not not > 3,"> 1 and < 5","< 1 or > 5 and <> 7","= 1 or between 3 and 5 or is null","5 or > 9","5 or 6","is null or 5 and 6","''5''","= ''5'' and <> 6"}');
\echo --- over text
SELECT cells('status', 'text', ARRAY['gold', '''gold''', '= gold', '<> it''s', '= ''it''''s''', 'in (a, ''b, c'', d e )', 'not in (a)', '> m and <= q',
	'like ''a%''', 'not like ''a%''', 'ilike ''A_''', 'Research and Development', '= Research and Development', 'rock or = pop', 'in progress', 'is open', 'nothing',
	'''-''', '''< 5''', '''like new''', 'a\b', 'null', '(see below)', '{1,2}']);
SELECT cells('new.code', 'varchar(60)', '{longer than four,in (a)}');
SELECT cells('Note', 'text', '{x,<> y}');
SELECT cells('new.Big Name', 'text', '{x}');
\echo --- over other types
SELECT cells('small', 'text', '{5,"in (1,2)"}');
SELECT cells('id', 'text', '{5,5000000000}');
SELECT cells('amount', 'text', '{5,>= 1000.50,1e3,NaN,between -1 and -.5}');
SELECT cells('ratio', 'text', '{0.1,> 1e300,Infinity}');
SELECT cells('part', 'text', '{0.1}');
SELECT cells('level', 'text', '{gold,>= silver,"in (bronze,gold)"}');
SELECT cells('day', 'text', '{2024-02-01,>= 1 February 2024,"[2024-02-01..2024-03-01)",between 2024-02-01 and 2024-02-29}');
SELECT cells('at', 'text', '{2024-02-01,< 2024-02-01 10:00+09}');
SELECT cells('flag', 'text', '{true,f,<> yes}');
SELECT cells('discount', 'text', '{5,> 50}');
SELECT cells('tags', 'text', '{"{a,b}"}');
SELECT cells('spans', 'text', '{"[1,5)"}');
SELECT cells('info', 'text', ARRAY['{"a": 1}', 'is null']);
\echo --- cells of the type itself, of ranges and of arrays
SELECT cells('n', 'int', '{5,NULL}');
SELECT cells('n', 'numeric', '{5,6.0}');
SELECT cells('amount', 'int', '{5}');
SELECT cells('level', 'level', '{gold,NULL}');
SELECT cells('at', 'timestamptz', '{2024-02-01 10:00+09}');
SELECT cells('at', 'date', '{2024-02-01}');
SELECT cells('flag', 'bool', '{t,f,NULL}');
SELECT cells('score', 'int', '{7}');
SELECT cells('discount', 'percent', '{7}');
SELECT cells('n', 'int4range', '{"[1,5]","(1,5)","[3,)","(,3)","(,)",empty,NULL}');
SELECT cells('amount', 'numrange', '{"[1.5,5]"}');
SELECT cells('day', 'daterange', '{"[2024-01-01,2024-02-01)"}');
SELECT cells('at', 'tstzrange', '{"[2024-01-01 00:00+09,)"}');
SELECT cells('n', 'int[]', '{"{1,2}","{7}","{1,NULL}","{}","{NULL}",NULL}');
SELECT cells('status', 'text[]', ARRAY['{a,"b,c",it''s}']);
SELECT cells('tags', 'text[]', '{"{a,b}"}');
SELECT cells('spans', 'int4range', '{"[1,5)"}');
\echo --- over parts of a jsonb fact
SELECT cells('ctx.level', 'text', '{gold,= gold,"in (gold,silver)",5,> 5.50,true,''true'',''5'',is null,"[1..5]",like ''g%''}');
SELECT cells('ctx.a.B', 'int', '{5,NULL}');
SELECT cells('ctx.x', 'bool', '{t}');
SELECT cells('ctx.x', 'int8', '{5000000000}');
SELECT cells('ctx.x', 'float4', '{0.5}');
SELECT cells('ctx.x', 'date', '{2024-02-01}');
SELECT cells('ctx.x', 'numrange', '{"[1.5,5]"}');
SELECT cells('ctx.x', 'text[]', '{"{a,b}"}');

\echo --- cells that cannot be read
SELECT cells('n', 'text', '{1,2,five}');
SELECT cells('n', 'text', '{1,< five}');
SELECT cells('n', 'text', '{99999999999}');
SELECT cells('n', 'text', '{5 or six}');
SELECT cells('n', 'text', '{<}');
SELECT cells('n', 'text', '{== 5}');
SELECT cells('n', 'text', '{=> 5}');
SELECT cells('n', 'text', '{between 1}');
SELECT cells('n', 'text', '{between and 5}');
SELECT cells('n', 'text', '{"in (1,2"}');
SELECT cells('n', 'text', '{"in (1,,2)"}');
SELECT cells('n', 'text', '{"in ()"}');
SELECT cells('n', 'text', '{"in (''1'' 2)"}');
SELECT cells('n', 'text', '{"[1..5"}');
SELECT cells('n', 'text', '{"[..]"}');
SELECT cells('n', 'text', '{"[1..5] 6"}');
SELECT cells('n', 'text', '{is null 5}');
SELECT cells('n', 'text', '{> 5 and}');
SELECT cells('n', 'text', '{like ''5%''}');
SELECT cells('n', 'text', '{not}');
SELECT cells('n', 'text', '{"null"}');
SELECT cells('status', 'text', '{''gold}');
SELECT cells('status', 'text', '{''gold'' and silver}');
SELECT cells('status', 'text', '{not available}');
SELECT cells('status', 'text', '{like new}');
SELECT cells('status', 'text', '{between jobs}');
SELECT cells('status', 'text', '{!important}');
SELECT cells('level', 'text', '{gold,platinum}');
SELECT cells('day', 'text', '{2024-02-30}');
SELECT cells('day', 'text', '{31/12/2024}');
SELECT cells('info', 'text', '{x}');
SELECT cells('ctx.x', 'text', '{1e999999}');
SELECT cells('n', 'numeric', '{5.5}');
SELECT cells('n', 'date', '{2024-02-01}');
SELECT cells('day', 'timestamptz', '{2024-02-01}');
SELECT cells('n', 'daterange', '{"[2024-01-01,2024-02-01)"}');
SELECT cells('status', 'level', '{gold}');

\echo --- columns
SELECT cells('missing', 'int', '{1}');
SELECT cells('new.missing', 'int', '{1}');
SELECT cells('new', 'text', '{1}');
SELECT cells('param.x', 'text', '{1}');
SELECT cells('ctx', 'text', '{1}');
SELECT cells('ctx..x', 'text', '{1}');
SELECT cells('N', 'text', '{1}');
SELECT cells('result.', 'text', '{1}');
SELECT cells('set.new.missing', 'text', '{1}');
SELECT cells('new.xmin', 'text', '{1}');
INSERT INTO sopflow.rule_set (rule_set, search_path, enabled) VALUES ('rt2', 'rt, public', false);
SELECT cells('n', 'text', '{1}', rule_set => 'rt2');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rt2', 'new', 'client'), ('rt2', 'old', 'client'), ('rt2', 'status', 'text');
SELECT cells('n', 'text', '{1}', rule_set => 'rt2');
SELECT cells('old.n', 'text', '{1}', rule_set => 'rt2');
-- a fact goes before a field of its name
SELECT cells('status', 'text', '{x}', rule_set => 'rt2');

\echo --- outputs
CREATE TABLE outputs (priority smallint, "n" text, rule text, description text, deny text, code text, message text, emit text, subject text,
	"set.new.status" text, "set.new.n" int, "set.new.Big Name" text, "set.ctx.x" text, "result.rate" numeric, "result.text" text, "result.list" int[], "result.a.b" bool);
INSERT INTO outputs VALUES (10, '1', 'all', 'of them', 'no, {{new.id}}', 'X', 'well', 'E', 'new.id::text', 'upper(new.status)', 5, '''x''', '1', 0.50, 'is {{new.n}}', '{1,2}', false),
	(20, '2', '', '', '', '', '', '', '', '', NULL, '', '', NULL, '', NULL, NULL),
	(30, '3', NULL, NULL, NULL, 'Y', 'hm', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(40, '4', NULL, NULL, 'no', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT sopflow.load_decision_table('rt', 'outputs');
SELECT rule, priority, condition, description, actions FROM sopflow.rule WHERE rule_set = 'rt' ORDER BY priority;
SELECT * FROM sopflow.rule_group;

\echo --- outputs that do not fit together
CREATE FUNCTION fault(change text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	state text;
BEGIN
	EXECUTE change;
	PERFORM sopflow.load_decision_table('rt', 'outputs');
	RAISE EXCEPTION 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message := MESSAGE_TEXT, state := RETURNED_SQLSTATE;
	RETURN NEXT format('%s %s', state, message);
END
$$;
SELECT fault($$UPDATE outputs SET rule = 'all' WHERE priority > 20$$);
SELECT fault($$UPDATE outputs SET rule = repeat('x', 201) WHERE priority = 20$$);
SELECT fault('UPDATE outputs SET priority = NULL WHERE priority = 20');
SELECT fault('ALTER TABLE outputs ALTER priority TYPE bigint; UPDATE outputs SET priority = priority * 100000000');
SELECT fault('ALTER TABLE outputs ALTER priority TYPE numeric');
SELECT fault($$UPDATE outputs SET code = 'Z' WHERE priority = 20$$);
SELECT fault($$UPDATE outputs SET subject = 'new.id' WHERE priority = 20$$);
SELECT fault($$UPDATE outputs SET emit = 'E' WHERE priority = 40$$);
SELECT fault($$INSERT INTO sopflow.rule (rule_set, rule) VALUES ('rt', 'outputs_5'); UPDATE outputs SET rule = 'outputs_5' WHERE priority = 10$$);
SELECT fault($$INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('rt', 'g', 'unit');
	INSERT INTO sopflow.rule (rule_set, rule, rule_group) VALUES ('rt', 'outputs_5', 'g'); UPDATE outputs SET rule = 'outputs_5' WHERE priority = 10$$);
SELECT fault('ALTER TABLE outputs ADD "new.n" int');
-- only the check of the whole set can tell
BEGIN;
UPDATE outputs SET "set.new.n" = NULL, "set.new.status" = 'nonsense(';
SELECT sopflow.load_decision_table('rt', 'outputs');
COMMIT;

\echo --- loading again
CREATE TEMP TABLE before AS SELECT rule, rule_id, xmin::text AS version FROM sopflow.rule WHERE rule_set = 'rt';
CREATE FUNCTION changes() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s', coalesce(r.rule, b.rule), CASE WHEN r.rule IS NULL THEN 'gone' WHEN b.rule IS NULL THEN 'new'
		WHEN r.rule_id <> b.rule_id THEN 'replaced' WHEN r.version <> b.version THEN 'changed' ELSE 'untouched' END)
	FROM (SELECT rule, rule_id, xmin::text AS version FROM sopflow.rule WHERE rule_set = 'rt') r FULL JOIN before b USING (rule) ORDER BY 1
$$;
SELECT sopflow.load_decision_table('rt', 'outputs');
SELECT changes();
UPDATE outputs SET description = 'changed' WHERE priority = 20;
DELETE FROM outputs WHERE priority = 10;
INSERT INTO outputs (priority, n, rule) VALUES (5, '> 100', 'first');
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'rt' AND rule = 'outputs_4';
SELECT sopflow.load_decision_table('rt', 'outputs', 'collect');
SELECT changes();
SELECT rule, priority, enabled, description FROM sopflow.rule WHERE rule_set = 'rt' ORDER BY priority;
SELECT rule_group, kind FROM sopflow.rule_group;
DELETE FROM outputs;
SELECT sopflow.load_decision_table('rt', 'outputs', 'first');
SELECT rule_group, kind, (SELECT count(*) FROM sopflow.rule WHERE rule_set = 'rt') FROM sopflow.rule_group;

\echo --- the order of the rows
CREATE TABLE keyed (b int, a int, n int, PRIMARY KEY (a, b));
INSERT INTO keyed VALUES (1, 2, 12), (2, 1, 21), (1, 1, 11);
SELECT sopflow.load_decision_table('rt', 'keyed');
SELECT rule, priority, condition FROM sopflow.rule WHERE rule_set = 'rt' ORDER BY priority;
CREATE VIEW unordered AS SELECT n FROM keyed;
SELECT sopflow.load_decision_table('rt', 'unordered');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.load_decision_table('rt', 'unordered', 'any');
SELECT sopflow.load_decision_table('rt', 'unordered', 'unique');
CREATE VIEW ordered AS SELECT n, -n AS priority FROM keyed;
SELECT sopflow.load_decision_table('rt', 'ordered');
SELECT rule, priority, condition FROM sopflow.rule WHERE rule_set = 'rt' AND rule_group <> 'keyed' ORDER BY rule_group, priority;
DELETE FROM sopflow.rule WHERE rule_set = 'rt' AND rule_group <> 'keyed';
-- a numbered key is no test, even where a field has its name; another key is one
CREATE TABLE numbered (id serial PRIMARY KEY, n int);
INSERT INTO numbered (n) VALUES (1), (2);
SELECT sopflow.load_decision_table('rt', 'numbered');
CREATE TABLE numbered2 (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, n int);
INSERT INTO numbered2 (n) VALUES (3);
SELECT sopflow.load_decision_table('rt', 'numbered2');
CREATE TABLE by_status (status text PRIMARY KEY);
INSERT INTO by_status VALUES ('a');
SELECT sopflow.load_decision_table('rt', 'by_status');
SELECT rule, condition FROM sopflow.rule WHERE rule_set = 'rt' AND rule_group <> 'keyed' ORDER BY rule;
DELETE FROM sopflow.rule WHERE rule_set = 'rt';
-- in a set that goes by descending priority, or by insertion
UPDATE sopflow.rule_set SET order_by = 'desc' WHERE rule_set = 'rt';
SELECT sopflow.load_decision_table('rt', 'keyed'), sopflow.load_decision_table('rt', 'ordered');
SELECT rule, priority, condition FROM sopflow.rule WHERE rule_set = 'rt' ORDER BY rule_group, priority DESC;
UPDATE sopflow.rule_set SET order_by = 'seq' WHERE rule_set = 'rt';
INSERT INTO keyed VALUES (0, 1, 10);
SELECT sopflow.load_decision_table('rt', 'keyed'), sopflow.load_decision_table('rt', 'ordered');
SELECT rule, condition FROM sopflow.rule WHERE rule_set = 'rt' ORDER BY rule_group, seq;
-- names move among the rows: the sequence is put right, in place
ALTER TABLE keyed ADD rule text;
UPDATE keyed SET rule = CASE n WHEN 12 THEN 'keyed_1' WHEN 10 THEN 'keyed_4' END;
SELECT sopflow.load_decision_table('rt', 'keyed');
SELECT rule, condition FROM sopflow.rule WHERE rule_set = 'rt' AND rule_group = 'keyed' ORDER BY seq;
UPDATE sopflow.rule_set SET order_by = 'asc' WHERE rule_set = 'rt';

\echo --- arguments
SELECT sopflow.load_decision_table(NULL, 'keyed');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.load_decision_table('rt', NULL);
SELECT sopflow.load_decision_table('rt', 'keyed', NULL);
SELECT sopflow.load_decision_table('rt', 'keyed', 'priority');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.load_decision_table('nowhere', 'keyed');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.load_decision_table('rt', 4000000000);
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.load_decision_table('rt', 'keyed_pkey');
\echo :LAST_ERROR_SQLSTATE
-- a group that was made by hand, and a table of the same name elsewhere
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('rt', 'byhand', 'activation');
CREATE TABLE byhand (priority int, n int);
SELECT sopflow.load_decision_table('rt', 'byhand');
\echo :LAST_ERROR_SQLSTATE
CREATE SCHEMA rt2;
CREATE TABLE rt2.keyed (priority int, n int);
SELECT sopflow.load_decision_table('rt', 'rt2.keyed');
-- the pieces of it do not trust their arguments
SELECT sopflow.table_conditions('x', '{a}', '{23}', '{new.n}', '{23}', '{0,0}', '{}', false);
SELECT sopflow.table_conditions('x', '{a}', '{23}', '{new.n}', '{23}', '{0}', '{{r,1,2}}', false);
SELECT sopflow.table_conditions('x', '{a}', '{23}', '{NULL}', '{23}', '{0}', '{{r,1}}', false);

\echo --- rights
CREATE ROLE rt_author;
CREATE ROLE rt_reader;
SELECT sopflow.grant_author('rt_author');
GRANT USAGE ON SCHEMA rt TO rt_author, rt_reader;
GRANT SELECT ON numbered TO rt_reader;
SET ROLE rt_author;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rt_own');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rt_own', 'n', 'int');
-- not its table
SELECT sopflow.load_decision_table('rt_own', 'numbered');
\echo :LAST_ERROR_SQLSTATE
-- not its set
SELECT sopflow.load_decision_table('rt', 'numbered');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT SELECT ON numbered TO rt_author;
SET ROLE rt_author;
SELECT sopflow.load_decision_table('rt_own', 'numbered');
SELECT rule, condition FROM sopflow.rule;
SET ROLE rt_reader;
SELECT sopflow.load_decision_table('rt_own', 'numbered');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'rt%';
SET client_min_messages = warning;
DROP SCHEMA rt, rt2 CASCADE;
REVOKE ALL ON ALL TABLES IN SCHEMA sopflow FROM rt_author;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA sopflow FROM rt_author;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sopflow FROM rt_author;
REVOKE ALL ON SCHEMA sopflow FROM rt_author;
DROP ROLE rt_author, rt_reader;
