-- What a condition, a set value and a text may say, what they see, and what is
-- refused, with the place.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE SCHEMA rx;
CREATE TYPE rx.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN rx.percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN rx.code AS varchar(3) NOT NULL;
CREATE TABLE rx.items (
	id int, qty int, price numeric(8,2), weight float8, name text, code char(5), short varchar(3), mood rx.mood, share rx.percent,
	tags text[], at timestamptz, day date, span interval, extra jsonb, "Mixed Case" int, "select" int, gone int);
ALTER TABLE rx.items DROP COLUMN gone;
CREATE TYPE rx.shop AS (id int, city text, item rx.items);
CREATE FUNCTION rx.item() RETURNS rx.items LANGUAGE sql AS $$
	SELECT row(1, 5, 1.50, 0.5, 'pen', 'ab', 'xyz', 'ok', 50, '{vip,new}', '2030-01-07 09:00:00+00', '2030-01-07', '1 month',
		'{"a": {"b": 1}}', 3, 4)::rx.items
$$;
CREATE FUNCTION rx.facts() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('item', to_jsonb(rx.item()), 'shop', '{"id": 9, "city": "Köln"}'::jsonb, 'n', 7, 'mood', 'happy',
		'ctx', '{"level": 3, "name": "Ann", "rate": 2.5, "flag": true, "none": null, "a": {"b": {"c": "deep"}}, "list": [1, 2, 3],
			"at": "2030-01-07T09:00:00Z", "Upper": 1, "two words": 2, "sopflow": "x"}'::jsonb)
$$;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rx');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rx', 'item', 'rx.items'), ('rx', 'shop', 'rx.shop'), ('rx', 'n', 'int'),
	('rx', 'mood', 'rx.mood'), ('rx', 'ctx', 'jsonb');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rx', 'max', 'int', '5'), ('rx', 'day', 'date', '2030-01-07'), ('rx', 'nothing', 'text', NULL),
	('rx', 'vips', 'text[]', '{vip,gold}');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rx', 'tables', 'select count(*) from pg_catalog.pg_class c where c.oid = n', '''rx''');
COMMIT;

-- Rules named by their conditions.
CREATE FUNCTION rx.conditions(VARIADIC conditions text[]) RETURNS void LANGUAGE sql AS $$
	DELETE FROM sopflow.rule WHERE rule_set = 'rx';
	INSERT INTO sopflow.rule (rule_set, rule, priority, condition) SELECT 'rx', c, n, c FROM unnest(conditions) WITH ORDINALITY u (c, n)
$$;
CREATE VIEW rx.answers AS
	SELECT coalesce(c.triggered::text, 'null'), c.rule, c.error FROM sopflow.check_rules('rx', rx.facts()) c
		JOIN sopflow.rule r ON r.rule_set = 'rx' AND r.rule = c.rule ORDER BY r.priority;

\echo --- names
SELECT rx.conditions('item.qty = 5', 'qty = 5', 'ITEM.QTY = 5', '"item"."qty" = 5', 'item."Mixed Case" = 3', 'item."select" = 4', 'shop.city = ''Köln''',
	'n = 7', 'n > qty', 'mood = ''happy''', 'item.mood < mood', 'param.max = 5', 'qty >= param.max', 'quota.tables = 0', 'tables < 1', 'param.nothing is null',
	'shop.item is null', 'item is not null', 'item.id <> shop.id', 'name = ''pen''', '(item).qty = 5', 'param.day = item.day', 'item.tags && param.vips', 'true', 'null');
TABLE rx.answers;
SELECT fired = (SELECT array_agg(c.rule ORDER BY r.priority) FROM sopflow.check_rules('rx', rx.facts()) c
		JOIN sopflow.rule r ON r.rule_set = 'rx' AND r.rule = c.rule WHERE c.triggered),
	cardinality(fired) FROM sopflow.fire('rx', rx.facts());
SELECT cardinality(fired) FROM sopflow.fire_rows('rx', rx.item(), row(9, 'Köln', NULL)::rx.shop, 7, 'happy'::rx.mood, rx.facts()->'ctx');

\echo --- null is not true, and false and null stop an AND
SELECT rx.conditions('qty > 0 and n / (qty - 5) > 1', 'qty <> 5 and n / (qty - 5) > 1', 'not (qty <> 5 and n / (qty - 5) > 1)',
	'param.nothing = ''x''', 'not (param.nothing = ''x'')', 'param.nothing = ''x'' and qty = 5', 'param.nothing = ''x'' or qty = 5',
	'param.nothing = ''x'' and qty <> 5 and n / (qty - 5) > 1', 'param.nothing is distinct from ''x''', 'coalesce(param.nothing, ''x'') = ''x''',
	'case when qty = 5 then true else n / (qty - 5) > 1 end', 'null::bool', 'not null::bool');
TABLE rx.answers;
-- x <> 0 and y/x > 1 never raises
DELETE FROM sopflow.rule WHERE rule_set = 'rx';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES
	('rx', 'guarded', 1, 'item.qty <> 0 and n / item.qty > 1'), ('rx', 'shared', 2, 'item.qty <> 0 and n / item.qty > 1 and shop.id > 0'),
	('rx', 'other way', 3, 'n > 100 and n / item.qty > 1');
SELECT x, fired FROM (VALUES (0), (NULL), (3), (7)) v (x), LATERAL sopflow.fire('rx', jsonb_set(rx.facts(), '{item,qty}', coalesce(to_jsonb(x), 'null'))) ORDER BY x;
-- alone it does
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES ('rx', 'unguarded', 4, 'n / item.qty > 1');
SELECT fired FROM sopflow.fire('rx', jsonb_set(rx.facts(), '{item,qty}', '0'));
\echo :LAST_ERROR_SQLSTATE

\echo --- types
SELECT rx.conditions('item.mood > ''sad''', 'item.mood in (''ok'', ''happy'')', '''vip'' = any(item.tags)', 'item.tags[2] = ''new''', 'item.tags @> ''{vip}''',
	'cardinality(tags) = 2', 'item.share >= 50', 'at + interval ''1 hour'' = sopflow.now()', 'at < sopflow.now()', 'day = ''2030-01-07''', 'day - 1 = ''2030-01-06''', 'span = ''30 days''',
	'price = 1.5', 'price > 1', 'weight = 0.5', 'code = ''ab''', 'code = ''ab   ''', 'length(code) = 2', 'short like ''x%''', 'name collate "C" < ''q''', 'name ~ ''^p''',
	'extra->''a''->>''b'' = ''1''', 'extra @> ''{"a": {"b": 1}}''', 'qty between 1 and 5', 'qty::bigint = 5', 'qty = 5.0', 'name || ''x'' = ''penx''',
	'(qty, n) = (5, 7)', 'qty is distinct from n', 'n % 2 = 1', 'upper(name) = ''PEN''', 'greatest(qty, n) = 7', 'array[qty, n] = ''{5,7}''', '(shop.item).qty is null',
	'current_date is not null', 'qty = any(''{1,5}''::int[])', 'pg_catalog.length(name) = 3', 'qty operator(pg_catalog.=) 5', 'true -- so it is');
TABLE rx.answers;

\echo --- jsonb facts take the type that they are compared with
SELECT rx.conditions('ctx.level = 3', 'ctx.level >= 3', '3 <= ctx.level', 'ctx.level::int = 3', 'ctx.level + 1 = 4', 'ctx.level = n', 'ctx.level < qty', 'ctx.rate > 2', 'ctx.rate = 2.5', 'ctx.level in (1, 3)',
	'ctx.level between 1 and 3', 'ctx.name = ''Ann''', 'ctx.name = item.name', 'ctx.name like ''A%''', 'ctx.flag', 'not ctx.flag', 'ctx.flag = true', 'ctx.flag is true', 'ctx.flag and n = 7',
	'ctx.none = 1', 'ctx.none is null', 'ctx.none = ''x''', 'ctx.a.b.c = ''deep''', 'ctx.a ? ''b''', 'ctx ? ''level''', 'ctx.at < sopflow.now()', 'ctx.at::timestamptz = item.at', 'ctx."Upper" = 1', 'ctx."two words" = 2',
	'ctx.list = ''[1, 2, 3]''', 'ctx.list @> ''2''', 'ctx.level = ctx.level', 'ctx.level <> ctx.rate', 'ctx->''level'' = ''3''', 'ctx.level::text = ''3''', 'ctx.sopflow = ''x''', 'jsonb_typeof(ctx.level) = ''number''', 'ctx.level::numeric > 2.9');
TABLE rx.answers;
SELECT rx.conditions('ctx.level in (ctx.rate, 3)', 'n in (ctx.level, 7)', '3 in (ctx.rate, ctx.level)', 'n between ctx.level and 8', 'ctx.rate between ctx.rate and 3', '-ctx.level = -3', 'ctx.level - n < 0', 'ctx.level + ctx.rate = 5.5',
	'ctx.name || ''x'' = ''Annx''', '(ctx.level) = 3', 'ctx.level > any(array[1, 2])', 'coalesce(ctx.level::int, 0) = 3', 'greatest(ctx.level::int, 2) = 3', 'ctx.level is distinct from 4', 'case when ctx.flag then ctx.level = 3 end', 'not (ctx.level <> 3)');
TABLE rx.answers;
-- lists are arrays where an array is asked for
SELECT rx.conditions('2 = any(ctx.list::int[])', 'ctx.list::text[] = ''{1,2,3}''', '''a "b" \c,'' = any(ctx.words::text[])', 'cardinality(ctx.words::text[]) = 4', 'ctx.empty::int[] = ''{}''', 'ctx.deep::int[] = ''{{1,2},{3,4}}''', 'array_position(ctx.words::text[], null) = 3');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"ctx": {"list": [1, 2, 3], "words": ["x", "a \"b\" \\c,", null, {"k": true}], "empty": [], "deep": [[1, 2], [3, 4]]}}');
-- 3.0 is an integer, too
SELECT rx.conditions('ctx.level::int = 3', 'ctx.level = 3', 'ctx.level = n', 'ctx.level::text = ''3.0''');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"n": 3.0, "ctx": {"level": 3.0}}');
-- a key that is not there
SELECT rx.conditions('ctx.absent = 1', 'ctx.absent is null', 'n = 0 and ctx.absent = 1', 'ctx.a.b.absent = ''x''', 'ctx.name.first = ''x''', 'ctx.list.x = ''x''', 'ctx ? ''absent''', 'ctx.upper = 1');
TABLE rx.answers;
SELECT fired FROM sopflow.fire('rx', rx.facts());
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_fact SET missing = 'null' WHERE rule_set = 'rx' AND fact = 'ctx';
TABLE rx.answers;
UPDATE sopflow.rule_fact SET missing = 'error' WHERE rule_set = 'rx' AND fact = 'ctx';
-- a value of another type
SELECT rx.conditions('ctx.name = 1', 'ctx.flag > 1', 'ctx.level and true', 'ctx.a = 1', 'ctx.list = 1', 'ctx.rate::int = 2', 'ctx.name < sopflow.now()');
TABLE rx.answers;

\echo --- refused, with the place
SELECT rx.conditions('true');
\set refuse 'UPDATE sopflow.rule SET condition = :''condition'' WHERE rule_set = ''rx'';'
\set condition 'qty > (select 1)'
:refuse
\echo :LAST_ERROR_SQLSTATE
\set condition 'exists (select from pg_class)'
:refuse
\set condition 'qty in (select 1)'
:refuse
\set condition 'qty = any(array(select 1))'
:refuse
\set condition 'count(*) > 0'
:refuse
\set condition 'qty > 0 and sum(qty) > 0'
:refuse
\set condition 'row_number() over () = 1'
:refuse
\set condition 'grouping(qty) = 1'
:refuse
\set condition 'generate_series(1, 2) = qty'
:refuse
\set condition 'qty > 0 and random() < 2'
:refuse
\set condition 'clock_timestamp() > at'
:refuse
\set condition 'nextval(''pg_catalog.x'') > 0'
:refuse
\set condition 'sopflow.fire(''rx'', ''{}'') is null'
:refuse
\set condition 'qty > 1, qty > 2'
:refuse
\set condition 'qty > 1 from pg_class'
:refuse
\set condition 'qty > 1 where true'
:refuse
\set condition 'qty > 1 limit 1'
:refuse
\set condition 'qty > 1 union select true'
:refuse
\set condition 'qty > 1 as x'
:refuse
\set condition 'distinct true'
:refuse
\set condition 'true; drop table rx.items'
:refuse
\set condition 'true;'
:refuse
\set condition 'true) or (true'
:refuse
\set condition 'true /* for ever'
:refuse
\set condition 'name = ''pen'
:refuse
\set condition ''
:refuse
\set condition '  '
:refuse
\set condition '-- nothing'
:refuse
\set condition 'qty >'
:refuse
\set condition 'qty = = 5'
:refuse
\set condition '*'
:refuse
\set condition 'item.*'
:refuse
\set condition '$1 = 5'
:refuse
\set condition 'qty = :x'
:refuse
\set condition 'default'
:refuse
\set condition 'current of c'
:refuse
\set condition 'qty'
:refuse
\set condition 'qty + 1'
:refuse
\set condition 'name'
:refuse
\set condition '''maybe'''
:refuse
\set condition 'item.nothing = 1'
:refuse
\set condition 'item.gone = 1'
:refuse
\set condition 'item.ctid is null'
:refuse
\set condition 'item.tableoid > 0'
:refuse
\set condition 'nobody.qty = 1'
:refuse
\set condition 'nowhere = 1'
:refuse
\set condition 'id = 1'
:refuse
\set condition 'param.nowhere = 1'
:refuse
\set condition 'quota.nowhere = 1'
:refuse
\set condition 'param = 1'
:refuse
\set condition 'item.qty.more = 1'
:refuse
\set condition 'n.more = 1'
:refuse
\set condition 'rx.items.qty = 1'
:refuse
\set condition 'mangle(qty) = 1'
:refuse
\set condition 'length(qty) = 1'
:refuse
\set condition 'name + 1 = 2'
:refuse
\set condition 'qty = ''five'''
:refuse
\set condition 'item.mood = ''angry'''
:refuse
\set condition 'qty::nothing = 1'
:refuse
\set condition 'name collate "C" = name collate "POSIX"'
:refuse
\set condition 'name collate "nowhere" = ''x'''
:refuse
\set condition 'at > ''tomorrow or so'''
:refuse
\set condition '1 / 0 = 1'
:refuse
\set condition 'ctx.level = ''x''::rx.mood and ctx.level = nowhere'
:refuse
\set condition 'level = 3'
:refuse
\set condition 'lower(ctx.name) = ''ann'''
:refuse
\set condition 'shop.item.qty = 1'
:refuse
\set condition 'item.extra.a = 1'
:refuse
-- the set is as it was
SELECT fired FROM sopflow.fire('rx', rx.facts());
-- an operator that is volatile is found, too
CREATE FUNCTION rx.roll(int, int) RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT $1 > $2';
CREATE OPERATOR rx.@@@ (FUNCTION = rx.roll, LEFTARG = int, RIGHTARG = int);
\set condition 'n > 1 and qty operator(rx.@@@) 1'
:refuse
DROP FUNCTION rx.roll CASCADE;
-- no text, or a very long one
\set VERBOSITY terse
UPDATE sopflow.rule SET condition = NULL WHERE rule_set = 'rx';
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
\set SHOW_CONTEXT never
UPDATE sopflow.rule SET condition = repeat('(', 100000) || 'true' || repeat(')', 100000) WHERE rule_set = 'rx';
UPDATE sopflow.rule SET condition = 'n = ' || repeat('-', 100001) WHERE rule_set = 'rx';
\set VERBOSITY default
\set SHOW_CONTEXT errors
UPDATE sopflow.rule SET condition = 'qty in (' || (SELECT string_agg(i::text, ',') FROM generate_series(1, 10000) i) || ')' WHERE rule_set = 'rx';
SELECT cardinality(fired) FROM sopflow.fire('rx', rx.facts());
UPDATE sopflow.rule SET condition = (SELECT string_agg('qty <> ' || -i, ' and ') FROM generate_series(1, 3000) i) WHERE rule_set = 'rx';
SELECT cardinality(fired) FROM sopflow.fire('rx', rx.facts());
-- several faults: the first is the error
DELETE FROM sopflow.rule WHERE rule_set = 'rx';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES ('rx', 'a', 1, 'qty = ''x''', '[]'), ('rx', 'b', 2, 'true', '[{"set": {"item.qty": "nowhere"}}]');

\echo --- parameters, facts and quotas that cannot be
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rx', 'bad', 'int', 'x');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rx', 'bad', 'rx.percent', '101');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('rx', 'bad', 'anyelement', 'x');
INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('rx', 'nowhere', 'x', '1');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rx', 'bad', 'record');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rx', 'param', 'int');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rx', 'quota', 'int');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rx', 'tables', 'int');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rx', 'bad', 'int', 'select 1, 2');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rx', 'bad', 'int', 'select ''x''::text');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rx', 'bad', 'int', 'select nowhere');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rx', 'bad', 'int', 'delete from rx.items returning id');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rx', 'bad', 'int', 'with d as (delete from rx.items returning id) select id from d');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rx', 'bad', 'int', 'select 1; select 2');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rx', 'bad', 'int', '');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('rx', 'bad', 'int', 'select i.id from rx.items i for update');
DELETE FROM sopflow.rule_fact WHERE rule_set = 'rx' AND fact = 'bad';
-- earlier facts only
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query, seq) VALUES ('rx', 'bad', 'int', 'select ctx.level::int', -1);
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rx', 'bad', 'select ''x''::text', '''k''');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rx', 'bad', 'select 1, 2', '''k''');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rx', 'bad', 'insert into rx.items default values returning 1', '''k''');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rx', 'bad', 'select 1', 'nowhere');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rx', 'bad', 'select 1', '(select 1)');
UPDATE sopflow.rule_set SET param_scopes = '{nowhere}' WHERE rule_set = 'rx';

\echo --- facts that are looked up, when they are needed and once
CREATE FUNCTION rx.look(what text, i int) RETURNS int LANGUAGE plpgsql STABLE AS $$
BEGIN
	RAISE NOTICE '% is looked up for %', what, i;
	RETURN CASE WHEN i <> 0 THEN i * 10 END;
END $$;
BEGIN;
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES
	('rx', 'ten', 'int', 'select rx.look(''ten'', n)'),
	('rx', 'hundred', 'int', 'select rx.look(''hundred'', ten)'),
	('rx', 'found', 'rx.items', 'select i from rx.items i where i.id = n'),
	('rx', 'parts', 'rx.shop', 'select 5, ''x'', null::rx.items where n = 7');
COMMIT;
INSERT INTO rx.items (id, qty) VALUES (7, 77);
SELECT rx.conditions('n = 8', 'ten = 70', 'hundred = 700', 'hundred > ten', 'found.qty = 77', 'found.qty is null', 'found is null', 'parts.city = ''x''');
SELECT fired FROM sopflow.fire('rx', rx.facts());
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"n": 6}');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"n": 0}');
-- one that is given is not looked up
SELECT fired, facts->'ten' FROM sopflow.fire('rx', rx.facts() || '{"ten": 70, "found": {"qty": 77}}');
-- more than one row
INSERT INTO rx.items (id, qty) VALUES (7, 78);
SELECT fired FROM sopflow.fire('rx', rx.facts());
\echo :LAST_ERROR_SQLSTATE
-- a rule changes what they were asked for: quotas and parameters follow, facts stay
BEGIN;
DELETE FROM sopflow.rule WHERE rule_set = 'rx';
UPDATE sopflow.rule_set SET param_scopes = '{"''n:'' || n"}' WHERE rule_set = 'rx';
INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('rx', 'max', 'n:8', '80');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rx', 'mine', 'select count(*) from rx.items i where i.id = n', $$'rx:' || n$$);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rx', 'r1', 1, 'mine = 2 and param.max = 5 and ten = 70', '[{"set": {"n": "n + 1"}}]'),
	('rx', 'r2', 2, 'mine = 0', '[]'), ('rx', 'r3', 3, 'param.max = 80', '[]'), ('rx', 'r4', 4, 'ten = 70', '[]'), ('rx', 'r5', 5, 'ten = 80', '[]');
COMMIT;
SELECT fired FROM sopflow.fire('rx', rx.facts());
-- nobody's: a key that is null
UPDATE sopflow.rule_quota SET lock_key = $$'rx:' || param.nothing$$ WHERE rule_set = 'rx' AND quota = 'mine';
UPDATE sopflow.rule SET condition = 'mine is null' WHERE rule_set = 'rx' AND rule = 'r1';
SELECT fired FROM sopflow.fire('rx', rx.facts());
-- fields of a fact that is looked up can be set
UPDATE sopflow.rule SET condition = 'true', actions = '[{"set": {"parts.city": "''y''"}}]' WHERE rule_set = 'rx' AND rule = 'r1';
UPDATE sopflow.rule SET condition = 'parts.city = ''y'' and parts.id = 5' WHERE rule_set = 'rx' AND rule = 'r2';
SELECT fired, facts->'parts' FROM sopflow.fire('rx', rx.facts());
BEGIN;
UPDATE sopflow.rule_set SET param_scopes = '{}' WHERE rule_set = 'rx';
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'rx';
DELETE FROM sopflow.rule_quota WHERE rule_set = 'rx' AND quota = 'mine';
DELETE FROM sopflow.rule WHERE rule_set = 'rx';
DELETE FROM sopflow.rule_fact WHERE rule_set = 'rx' AND fact IN ('ten', 'hundred', 'found', 'parts');
COMMIT;

\echo --- set: values are assigned as in an UPDATE, all at once
CREATE FUNCTION rx.act(actions jsonb) RETURNS void LANGUAGE sql AS $$
	DELETE FROM sopflow.rule WHERE rule_set = 'rx';
	INSERT INTO sopflow.rule (rule_set, rule, actions) VALUES ('rx', 'r', actions)
$$;
SELECT rx.act('[{"set": {"item.qty": "n", "n": "item.qty", "item.name": "item.short", "item.short": "item.name"}}]');
SELECT facts->'item'->>'qty', facts->'n', facts->'item'->>'name', facts->'item'->>'short' FROM sopflow.fire('rx', rx.facts());
SELECT rx.act('[{"set": {"item.qty": "1.6", "item.price": "1.005", "item.weight": "n", "item.code": "''z''", "item.mood": "''sad''", "item.tags": "item.tags || name",
	"item.at": "''2031-01-01''", "item.span": "item.span * 2", "item.extra": "jsonb_build_object(''n'', n)", "item.name": "qty::text", "item.share": "null", "item.\"Mixed Case\"": "item.\"select\""}}]');
SELECT facts->'item' FROM sopflow.fire('rx', rx.facts());
SELECT facts FROM sopflow.fire_rows('rx', rx.item(), row(9, 'Köln', NULL)::rx.shop, 7, 'happy'::rx.mood, '{}'::jsonb);
SELECT rx.act('[{"set": {"ctx.level": "n + 0.5", "ctx.name": "name", "ctx.new": "true", "ctx.deep.er": "item.tags", "ctx.none": "at", "ctx.flag": "null"}}]');
SELECT facts->'ctx' FROM sopflow.fire('rx', rx.facts());
-- values of a set may be volatile
SELECT rx.act('[{"set": {"item.weight": "random()"}}]');
SELECT (facts->'item'->>'weight')::float8 BETWEEN 0 AND 1 FROM sopflow.fire('rx', rx.facts());
-- what does not fit names rule and field
SELECT rx.act('[{"set": {"item.qty": "1", "item.short": "name || name"}}]');
SELECT * FROM sopflow.fire('rx', rx.facts());
\echo :LAST_ERROR_SQLSTATE
SELECT rx.act('[{"set": {"item.share": "n * 100"}}]');
SELECT * FROM sopflow.fire('rx', rx.facts());
\echo :LAST_ERROR_SQLSTATE
SELECT rx.act('[{"set": {"item.price": "n * 1000000"}}]');
SELECT * FROM sopflow.fire('rx', rx.facts());
SELECT rx.act('[{"set": {"item.qty": "n::bigint * 10000000000"}}]');
SELECT * FROM sopflow.fire('rx', rx.facts());
SELECT rx.act('[{"set": {"item.qty": "qty / (n - 7)"}}]');
SELECT * FROM sopflow.fire('rx', rx.facts());
-- what can never fit
SELECT rx.act('[{"set": {"item.qty": "name"}}]');
SELECT rx.act('[{"set": {"item.qty": "''x''"}}]');
SELECT rx.act('[{"set": {"item.mood": "''angry''"}}]');
SELECT rx.act('[{"set": {"item.mood": "name"}}]');
SELECT rx.act('[{"set": {"item.nothing": "1"}}]');
SELECT rx.act('[{"set": {"nobody.qty": "1"}}]');
SELECT rx.act('[{"set": {"param.max": "1"}}]');
SELECT rx.act('[{"set": {"quota.tables": "1"}}]');
SELECT rx.act('[{"set": {"item.ctid": "1"}}]');
SELECT rx.act('[{"set": {"item.qty + 1": "1"}}]');
SELECT rx.act('[{"set": {"": "1"}}]');
SELECT rx.act('[{"set": {"item.qty": "(select 1)"}}]');
SELECT rx.act('[{"set": {"item.qty": "sum(1)"}}]');
SELECT rx.act('[{"set": {"item.qty": ""}}]');
SELECT rx.act('[{"set": {"item.qty": 1}}]');
SELECT rx.act('[{"set": {}}]');
SELECT rx.act('[{"set": "item.qty"}]');

\echo --- actions of no known form
SELECT rx.act('{"deny": "x"}');
SELECT rx.act('"deny"');
SELECT rx.act('null');
\set VERBOSITY terse
SELECT rx.act(NULL);
\set VERBOSITY default
SELECT rx.act('["deny"]');
SELECT rx.act('[{}]');
SELECT rx.act('[{"refuse": "x"}]');
SELECT rx.act('[{"deny": "x", "message": "y"}]');
SELECT rx.act('[{"deny": "x", "colour": "red"}]');
SELECT rx.act('[{"deny": 1}]');
SELECT rx.act('[{"deny": "x", "code": 1}]');
SELECT rx.act('[{"code": "x"}]');
SELECT rx.act('[{"set": {"item.qty": "1"}, "code": "x"}]');
SELECT rx.act('[{"result": "x"}]');
SELECT rx.act('[{"result": [1]}]');
SELECT rx.act('[{"emit": ""}]');
SELECT rx.act('[{"emit": "RX", "subject": "(select 1)"}]');
SELECT rx.act('[{"emit": "RX"}]');
SELECT rx.act('[{"emit": "RX", "subject": "item.id", "context": "x"}]');
SELECT rx.act('[{"call": "rx.nothing"}]');
SELECT rx.act('[{"call": "rx.facts"}]');
SELECT rx.act('[{"call": "lower"}]');
SELECT rx.act('[{"call": ""}]');

\echo --- texts
SELECT rx.act('[{"message": "{{item.name}} x {{ item.qty }} of {{param.max}} = {{item.qty * item.price}}"}, {"message": "{{item.tags}} {{at}} {{span}} {{ctx.flag}} {{ctx.a}} {{mood}} {{shop.city}}"},
	{"message": "[{{param.nothing}}] [{{param.nothing|none}}] [{{ctx.none| none }}] [{{name|none}}] [{{param.nothing|}}]"},
	{"message": "\\{{name}} { name } {{''}}''}} {{''{{''}} {{name || ''|'' || qty}} {{coalesce(param.nothing, ''a|b'')}}"},
	{"message": "{{qty}}{{n}}", "code": "C"}, {"message": ""}, {"message": "{{n}}% %s %n \u00e4"}]');
SELECT jsonb_pretty(to_jsonb(messages)), codes FROM sopflow.fire('rx', rx.facts());
SELECT rx.act('[{"message": "{{item.name"}]');
SELECT rx.act('[{"message": "at {{}}"}]');
SELECT rx.act('[{"message": "at {{ }}"}]');
SELECT rx.act('[{"message": "at {{nowhere}}"}]');
SELECT rx.act('[{"message": "at {{item.qty +}} and more"}]');
SELECT rx.act('[{"deny": "at {{(select 1)}}"}]');
SELECT rx.act('[{"message": "at {{random()}}"}]');
SELECT rx.act('[{"message": "at }} so"}]');
SELECT messages FROM sopflow.fire('rx', rx.facts());
SELECT rx.act('[{"message": "one {{n / (n - 7)}}"}]');
SELECT messages FROM sopflow.fire('rx', rx.facts());

\echo --- results
SELECT rx.act('[{"result": {"n": "{{n}}", "text": "n = {{n}}", "sum": "{{n + 0.5}}", "flag": "{{ctx.flag}}", "null": "{{param.nothing}}", "or": "{{param.nothing|x}}", "tags": "{{item.tags}}",
	"deep": {"list": ["{{qty}}", 1, true, null, "x", {"at": "{{at}}"}]}, "json": "{{extra}}", "{{n}}": 1, "escaped": "\\{{n}}"}}]');
SELECT jsonb_pretty(facts->'result') FROM sopflow.fire('rx', rx.facts());
SELECT rx.act('[{"result": {"a": 1, "b": {"x": 1}}}, {"result": {"a": 2, "b": {"y": 2}, "c": "{{n}}"}}]');
SELECT facts->'result' FROM sopflow.fire('rx', rx.facts());
SELECT facts FROM sopflow.fire_rows('rx', rx.item(), row(9, 'Köln', NULL)::rx.shop, 7, 'happy'::rx.mood, '{}'::jsonb);

\echo --- calls
CREATE FUNCTION rx.call(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% % n=%', rule_set, rule, facts->'n';
	RETURN facts->'ctx'->'back';
END $$;
SELECT rx.act('[{"result": {"a": 1}}, {"set": {"n": "8"}}, {"call": "rx.call"}]');
SELECT v.facts->'result' FROM (VALUES ('{"a": 2, "b": 3}'::jsonb), ('{}'), (NULL), ('null')) b (back),
	LATERAL sopflow.fire('rx', rx.facts() || jsonb_build_object('ctx', jsonb_build_object('back', back))) v;
SELECT v.facts->'result' FROM sopflow.fire('rx', rx.facts() || '{"ctx": {}}') v;
SELECT v.facts->'result' FROM sopflow.fire('rx', rx.facts() || '{"ctx": {"back": [1]}}') v;

\echo --- events
BEGIN;
INSERT INTO sopflow.action (action, delivery) VALUES ('rx_a', 'broadcast');
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('rx_sop', 'RX');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('rx_sop', 'n1', '1h', 'rx_a');
COMMIT;
SELECT rx.act('[{"emit": "RX", "subject": "item.id", "context": {"qty": "{{qty}}", "text": "{{name}}!"}}]');
SELECT fired FROM sopflow.fire('rx', rx.facts());
SELECT subject_id, context FROM sopflow.runs WHERE sop_id = 'rx_sop' ORDER BY 1;
SELECT fired FROM sopflow.fire('rx', jsonb_set(rx.facts(), '{item,id}', 'null'));
\echo :LAST_ERROR_SQLSTATE
SELECT fired FROM sopflow.fire('rx', jsonb_set(rx.facts(), '{item,id}', '2'));
SELECT subject_id, due_at FROM sopflow.tasks WHERE sop_id = 'rx_sop' ORDER BY 1;
SELECT sopflow.cancel(sop_id => 'rx_sop');
DELETE FROM sopflow.sop WHERE sop_id = 'rx_sop';
DELETE FROM sopflow.action WHERE action = 'rx_a';

\echo --- what is given
SELECT rx.conditions('item.qty = 5', 'n = 7');
SELECT fired FROM sopflow.fire('rx', '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT fired FROM sopflow.fire('rx', 'null');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"stranger": 1}');
SELECT fired FROM sopflow.fire('rx', rx.facts() - 'n');
\echo :LAST_ERROR_SQLSTATE
-- whether a rule reads it or not
SELECT fired FROM sopflow.fire('rx', rx.facts() - 'ctx' - 'shop' - 'mood');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"item": 5}');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"item": {"qty": "x"}}');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"item": {"qty": 5, "colour": "red"}}');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"n": "seven"}');
SELECT fired FROM sopflow.fire('rx', rx.facts() || '{"n": null}');
SELECT fired FROM sopflow.fire_rows('rx');
\echo :LAST_ERROR_SQLSTATE
SELECT fired FROM sopflow.fire_rows('rx', rx.item());
SELECT fired FROM sopflow.fire_rows('rx', rx.item(), row(9, 'Köln', NULL)::rx.shop, 7, 'happy'::rx.mood, '{}'::jsonb, 1);
SELECT fired FROM sopflow.fire_rows('rx', row(9, 'Köln', NULL)::rx.shop, rx.item(), 7, 'happy'::rx.mood, '{}'::jsonb);
\echo :LAST_ERROR_SQLSTATE
SELECT fired FROM sopflow.fire_rows('rx', row(1, 2), row(9, 'Köln', NULL)::rx.shop, 7, 'happy'::rx.mood, '{}'::jsonb);
SELECT fired FROM sopflow.fire_rows('rx', NULL::rx.items, NULL::rx.shop, 7, NULL::rx.mood, NULL::jsonb);
SELECT fired FROM sopflow.fire_rows(NULL, rx.item());
SELECT fired FROM sopflow.fire_rows('rx', VARIADIC ARRAY[1, 2]);
-- a row variable of a table
SELECT i.qty, v.fired FROM rx.items i, LATERAL sopflow.fire_rows('rx', i, NULL::rx.shop, i.qty - 70, 'ok'::rx.mood, '{}'::jsonb) v ORDER BY 1;

\echo --- the verdict
DELETE FROM sopflow.rule WHERE rule_set = 'rx';
SELECT allowed, fired, messages, codes, trace, facts = jsonb_set(rx.facts(), '{shop,item}', 'null'), facts ? 'result' FROM sopflow.fire('rx', rx.facts());
SELECT * FROM sopflow.fire_rows('rx', rx.item(), row(9, 'Köln', NULL)::rx.shop, 7, 'happy'::rx.mood, '{}'::jsonb);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES ('rx', 'a', 1, 'qty = 5 and n = 7', '[{"deny": "no {{n}}"}]'), ('rx', 'b', 2, 'qty = 6 and n = 7', '[]'), ('rx', 'c', 3, 'param.nothing = ''x''', '[]');
UPDATE sopflow.rule_set SET denials = 'all' WHERE rule_set = 'rx';
SELECT allowed, fired, messages, codes, trace FROM sopflow.fire('rx', rx.facts());
UPDATE sopflow.rule_set SET trace = 'fired' WHERE rule_set = 'rx';
SELECT jsonb_pretty(trace) FROM sopflow.fire('rx', rx.facts());
UPDATE sopflow.rule_set SET trace = 'full' WHERE rule_set = 'rx';
SELECT jsonb_pretty(trace) FROM sopflow.fire('rx', rx.facts());
\set VERBOSITY terse
UPDATE sopflow.rule_set SET trace = 'some' WHERE rule_set = 'rx';
\set VERBOSITY default
DELETE FROM sopflow.rule_set WHERE rule_set = 'rx';

\echo --- many rules that compare one field: equal is what the type says
CREATE TYPE rx.keys AS (i int, b bigint, t text, c char(4), v varchar(9), p numeric, f float8, s interval, z timestamptz, e rx.mood, d rx.percent, n name, flag bool);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rx');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rx', 'k', 'rx.keys');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition)
	SELECT 'rx', format('%s%s', f, x), row_number() OVER (ORDER BY f COLLATE "C", x), format(c, x) FROM (VALUES
		('i', 'k.i = %s'), ('b', '%s = k.b'), ('t', 'k.t = ''%s'''), ('c', 'k.c = ''%s'''), ('v', 'k.v = ''%s'''), ('p', 'k.p = %s.0'), ('f', 'k.f = %s'), ('s', 'k.s = ''%s days'''),
		('z', 'k.z = ''2030-01-%s 12:00+02'''), ('d', 'k.d = %s and true'), ('n', 'k.n = ''%s'''), ('two', 'k.i = %1$s and k.t = ''%1$s'''), ('in', 'k.i in (%1$s, %1$s0)'), ('not', 'k.i <> %s'),
		('any', 'k.i = any(''{%1$s,%1$s00}'')'), ('wide', 'k.i = %s::bigint'), ('deep', '(k.i = %s) = k.flag')) v (f, c), generate_series(10, 19) x;
COMMIT;
SELECT array_to_string(fired, ' ') FROM sopflow.fire_rows('rx', row(12, 12, '12', '12', '12', 12.000, 12, '12 days', '2030-01-12 10:00+00', 'ok', 12, '12', true)::rx.keys);
SELECT array_to_string(fired, ' ') FROM sopflow.fire_rows('rx', row(120, NULL, '12 ', '12  ', ' 12', 'NaN', '-0', '288 hours', '2030-01-12 12:00+02', 'ok', NULL, '19', false)::rx.keys);
SELECT array_to_string(fired, ' ') FROM sopflow.fire_rows('rx', row(1300, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::rx.keys);
SELECT array_to_string(fired, ' ') FROM sopflow.fire_rows('rx', NULL::rx.keys);
-- a rule changes the field that others compare
BEGIN;
DELETE FROM sopflow.rule WHERE rule_set = 'rx';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) SELECT 'rx', 'i' || x, x, 'k.i = ' || x, format('[{"set": {"k.i": "%s"}}]', x + 2)::jsonb FROM generate_series(1, 20) x;
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES ('rx', 'between', 12, 'k.i > 10');
COMMIT;
SELECT array_to_string(fired, ' ') FROM sopflow.fire_rows('rx', jsonb_populate_record(NULL::rx.keys, '{"i": 3}'));
SELECT array_to_string(fired, ' ') FROM sopflow.fire('rx', '{"k": {"i": 3}}');
SELECT array_to_string(fired, ' ') FROM sopflow.fire('rx', '{"k": {"i": 12}}');
-- the first that does not trigger is found all the same
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = true WHERE rule_set = 'rx';
SELECT array_to_string(fired, ' ') FROM sopflow.fire('rx', '{"k": {"i": 3}}');
SELECT array_to_string(fired, ' ') FROM sopflow.fire('rx', '{"k": {"i": 1}}');
DELETE FROM sopflow.rule_set WHERE rule_set = 'rx';
SET client_min_messages = warning;
DROP SCHEMA rx CASCADE;
