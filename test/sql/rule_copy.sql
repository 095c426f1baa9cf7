-- copy_rules(): a rule set under another name, for a table whose columns have
-- other names, in all texts at once.
\pset format unaligned
\pset tuples_only on
\pset null null
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';

\echo --- names in SQL texts
CREATE FUNCTION pg_temp.names(text text, columns jsonb DEFAULT '{"a": "b", "b": "a", "o": "order", "m": "Mixed \"x", "t": "ä b"}') RETURNS text LANGUAGE sql AS
	'SELECT sopflow.copy_rules_text(text, columns)';
SELECT t, pg_temp.names(t) FROM unnest(ARRAY['new.a', 'old.b+new.a', 'new.a = new.b and old.a is distinct from new.a', 'NEW.A', 'New . "a"', '"new"."A"', '"NEW".a',
	'new.ab, new.a2, new.a_, newer.a, anew.a, a, new, b.a', 'x.new.a', 'x . new.a', 'new.a.b', 'new.a(1)', 'new.a[1]', '(new.a)::text', 'new.o', 'new.m || old.t',
	'''new.a'' || new.a || ''it''''s new.b''', '"new.a" = new.a', 'new.a /* new.a /* old.b */ new.a */ + new.b -- new.a', 'E''\'' new.a'' || new.a', '$$new.a$$ || new.a || $x$old.b$$ new.a$x$',
	'U&"new".a', '$1 + new.a', 'new.a-1.5e3+new.b', 'new.é + new.a + ''ü''', 'case new.a when new.b then old.a end', '', ' ', 'new.']) t;
SELECT pg_temp.names('new.é || new.aé', '{"é": "è"}'), pg_temp.names('new.a, new.b, new.c', '{"a": "b", "b": "c", "c": "a"}');
SELECT pg_temp.names('''open and '' $ new.a', '{}');
SELECT pg_temp.names('new.a || ''open');
\echo :LAST_ERROR_SQLSTATE
-- in texts only what stands in braces
SELECT t, sopflow.copy_rules_text(t, '{"a": "b c", "b": "a"}', true) FROM unnest(ARRAY['new.a is {{new.a}}, {{ old.b | new.b }}{{new.a || ''}} new.a''}} \{{new.a}} {}', '{{new.a|}}', 'new.a', '{{ "x}}" || new.b}}']) t;
SELECT sopflow.copy_rules_text('at {{new.a', '{"a": "b"}', true);
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules_text('new.a', '["b"]');
\echo :LAST_ERROR_SQLSTATE

\echo --- a set with everything, for a table with other names
CREATE ROLE rc_ann;
CREATE ROLE rc_bob;
CREATE ROLE rc_team;
GRANT rc_team TO rc_ann;
SELECT sopflow.grant_author(r) FROM unnest('{rc_ann,rc_bob,rc_team}'::regrole[]) r;
CREATE SCHEMA rc;
GRANT USAGE, CREATE ON SCHEMA rc TO PUBLIC;
CREATE TABLE rc.reps (rep_id int PRIMARY KEY, name text, team text);
INSERT INTO rc.reps VALUES (1, 'Ada', 'north'), (2, 'Bo', 'south');
CREATE TABLE rc.leads (id int PRIMARY KEY, owner_id int, owner_id2 int, status text NOT NULL DEFAULT 'new', note text, claimed_at timestamptz);
CREATE TABLE rc.deals (gone int, "Deal" int PRIMARY KEY, "order" text NOT NULL DEFAULT 'new', sales_id int, claimed_at timestamptz, owner_id2 int, owner_id text);
ALTER TABLE rc.deals DROP COLUMN gone;
GRANT SELECT ON rc.leads, rc.deals, rc.reps TO PUBLIC;
ALTER TABLE rc.leads OWNER TO rc_ann;
ALTER TABLE rc.deals OWNER TO rc_ann;
CREATE FUNCTION rc.hook(sopflow.rule_event) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION rc.call(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('called', facts->'new'->'Deal') $$;
SET search_path = rc, public;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, owner, description, skip_on_first_non_triggered, priority_threshold, denials, on_error, param_scopes, max_steps, trace, order_by,
		after_fire, skip_on_first_failed)
	VALUES ('rc', 'rc_team', 'leads: new.owner_id', false, 1000, 'all', 'abort', '{rep.team,"new.owner_id::text"}', 50, 'fired', 'seq', 'hook', true);
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query, missing) VALUES ('rc', 'old', 'leads', NULL, 'error'), ('rc', 'new', 'leads', NULL, 'error'),
	('rc', 'rep', 'reps', 'select r from reps r where r.rep_id = new.owner_id', 'error'), ('rc', 'ctx', 'jsonb', 'select ''{"owner_id": 7}''::jsonb', 'null');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES ('rc', 'held', 'select count(*) from leads l where l.owner_id = new.owner_id and l.id <> new.id', '''rc '' || new.owner_id');
INSERT INTO sopflow.rule_param (rule_set, param, type, value, description) VALUES ('rc', 'max_hold', 'int', '2', 'most leads of one'), ('rc', 'none', 'text', NULL, NULL);
INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('rc', 'max_hold', 'south', '1'), ('rc', 'max_hold', '9', '0');
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority, parent, description) VALUES ('rc', 'outer', 'activation', 7, NULL, 'o'), ('rc', 'inner', 'activation', 8, 'outer', NULL);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions, rule_group, enabled, valid, description) VALUES
	('rc', 'z first', 5, 'new.owner_id is distinct from old.owner_id and new.note is distinct from ''new.owner_id''',
		'[{"set": {"new.status": "''held '' || new.owner_id", "new.claimed_at": "sopflow.now()"}}]', NULL, true, NULL, 'sets new.status'),
	('rc', 'a second', 4, 'new.owner_id is not null and held >= param.max_hold',
		'[{"deny": "{{rep.name}} ({{new.owner_id}}) holds {{held}}, new.owner_id", "code": "CAPACITY"}, {"message": "was {{old.owner_id|nobody}}", "code": "new.owner_id"}]', 'outer', true, NULL, NULL),
	('rc', 'm third', 3, 'new.owner_id2 = 5 and ctx.owner_id = 7', '[{"result": {"owner_id": "{{new.owner_id}}", "list": [1, {"at": "by {{new.status}}"}, null, "new.status"]}},
		{"emit": "RC new.id", "subject": "new.id", "context": {"owner": "{{new.owner_id}}"}, "at": "new.claimed_at"}, {"call": "call"}]', 'inner', true, '[2029-01-01 00:00+00,)', NULL),
	('rc', 'off', 2, 'true', '[]', NULL, false, NULL, NULL);
COMMIT;
RESET search_path;
SET ROLE rc_ann;
BEGIN;
SELECT sopflow.copy_rules('rc', 'rc_deals', 'rc.deals', '{"id": "Deal", "owner_id": "sales_id", "status": "order", "note": "owner_id"}');
UPDATE sopflow.rule_quota SET query = 'select count(*) from rc.deals d where d.sales_id = new.sales_id and d."Deal" <> new."Deal"' WHERE rule_set = 'rc_deals';
COMMIT;
RESET ROLE;
SELECT to_jsonb(s) - '{rule_set,revision,param_revision}'::text[] FROM sopflow.rule_set s WHERE rule_set = 'rc_deals';
SELECT to_jsonb(s) - '{rule_set,revision,param_revision,owner,param_scopes}'::text[] = (SELECT to_jsonb(o) - '{rule_set,revision,param_revision,owner,param_scopes}'::text[] FROM sopflow.rule_set o WHERE rule_set = 'rc')
	FROM sopflow.rule_set s WHERE rule_set = 'rc_deals';
SELECT fact, type, query, missing FROM sopflow.rule_fact WHERE rule_set = 'rc_deals' ORDER BY seq;
SELECT quota, query, lock_key FROM sopflow.rule_quota WHERE rule_set = 'rc_deals';
SELECT param, type, value, description FROM sopflow.rule_param WHERE rule_set = 'rc_deals' ORDER BY 1;
SELECT param, scope, value FROM sopflow.rule_param_override WHERE rule_set = 'rc_deals' ORDER BY 1, 2;
SELECT rule_group, kind, priority, parent, description FROM sopflow.rule_group WHERE rule_set = 'rc_deals' ORDER BY 1;
SELECT rule, description, priority, condition, rule_group, enabled, valid FROM sopflow.rule WHERE rule_set = 'rc_deals' ORDER BY seq;
SELECT rule, a FROM sopflow.rule, jsonb_array_elements(actions) a WHERE rule_set = 'rc_deals' ORDER BY seq;
SELECT count(*) FROM sopflow.rule_grant WHERE rule_set = 'rc_deals';
-- the original is as it was
SELECT sopflow.export_rules('rc')->'rules'->0->>'condition', (SELECT query FROM sopflow.rule_quota WHERE rule_set = 'rc');

\echo --- and it works there
BEGIN;
INSERT INTO sopflow.action (action, delivery) VALUES ('rc_a', 'broadcast');
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('rc_sop', 'RC new.id');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('rc_sop', 'n1', '1h', 'rc_a');
COMMIT;
SELECT sopflow.guard('rc.deals', 'rc_deals');
INSERT INTO rc.deals ("Deal", sales_id) VALUES (1, 2), (2, 1), (3, 1) RETURNING *;
INSERT INTO rc.deals ("Deal", sales_id) VALUES (4, 2);
UPDATE rc.deals SET sales_id = 2 WHERE "Deal" = 2;
INSERT INTO rc.deals ("Deal", claimed_at, owner_id2, owner_id) VALUES (5, '2030-01-02 00:00+00', 5, 'new.owner_id') RETURNING *;
SELECT (sopflow.fire_rows('rc_deals', NULL::rc.deals, (6, 'x', NULL, '2030-01-01 00:00+00', 5, 'new.owner_id')::rc.deals)).facts->'result';
SELECT subject_id, event_at, context FROM sopflow.runs WHERE sop_id = 'rc_sop' ORDER BY subject_id;

\echo --- swapped names, without another table
SET ROLE rc_ann;
SELECT sopflow.copy_rules('rc', 'rc_swapped', columns => '{"owner_id": "owner_id2", "owner_id2": "owner_id"}');
SELECT rule, condition, actions FROM sopflow.rule WHERE rule_set = 'rc_swapped' ORDER BY seq LIMIT 3;
SELECT DISTINCT type FROM sopflow.rule_fact WHERE rule_set = 'rc_swapped' AND fact IN ('new', 'old');
-- and back
SELECT sopflow.copy_rules('rc_swapped', 'rc_back', columns => '{"owner_id": "owner_id2", "owner_id2": "owner_id"}');
SELECT sopflow.export_rules('rc_back') = sopflow.export_rules('rc'), sopflow.export_rules('rc_swapped') = sopflow.export_rules('rc');
-- as it is
SELECT sopflow.copy_rules('rc', 'rc_same');
SELECT sopflow.export_rules('rc_same') = sopflow.export_rules('rc'), owner FROM sopflow.rule_set WHERE rule_set = 'rc_same';
-- a draft holds anything
RESET ROLE;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, enabled) VALUES ('rc_draft', false);
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rc_draft', 'new', 'rc.leads');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rc_draft', 'a', '''open', '{"deny": "{{"}'),
	('rc_draft', 'b', 'new.owner_id', '[1, null, "new.owner_id", [], {}, {"deny": 5, "set": "new.owner_id", "result": null, "subject": {}, "new.owner_id": "new.owner_id"}, {"set": {"new.owner_id": 7}}]');
COMMIT;
SELECT sopflow.copy_rules('rc_draft', 'rc_draft 2');
SELECT condition, actions FROM sopflow.rule WHERE rule_set = 'rc_draft 2' ORDER BY rule;
UPDATE sopflow.rule SET condition = 'new.owner_id' WHERE rule_set = 'rc_draft' AND rule = 'a';
SELECT sopflow.copy_rules('rc_draft', 'rc_draft 3', columns => '{"owner_id": "id"}');
SELECT condition, actions FROM sopflow.rule WHERE rule_set = 'rc_draft 3' ORDER BY rule;
-- facts in jsonb have any field
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rc_json');
BEGIN;
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rc_json', 'new', 'jsonb');
INSERT INTO sopflow.rule (rule_set, rule, condition) VALUES ('rc_json', 'r', 'new.rep = 5 and new.deep.rep = 6');
COMMIT;
SELECT sopflow.copy_rules('rc_json', 'rc_json 2', 'rc.reps', '{"rep": "rep_id"}');
SELECT sopflow.copy_rules('rc_json', 'rc_json 3', columns => '{"rep": "rep_id"}');
SELECT condition FROM sopflow.rule WHERE rule_set = 'rc_json 3';

\echo --- columns that the other table has not
SELECT t, sopflow.copy_rules_text(t, '{"a": ["(NULL::int)"], "b": "c"}') FROM unnest(ARRAY['new.a+old.a>new.b', 'old . "a" is null', 'x.new.a or new.a.b or new.a(1)', '''new.a'' || new.a -- new.a', 'new.a']) t;
SELECT sopflow.copy_rules_text('{{new.a}} of {{ old.a || '''' }}{{new.b|new.a}} new.a', '{"a": ["(NULL::text)"]}', true);
SELECT sopflow.copy_rules_text('new.a', columns) FROM unnest('{"{\"a\": []}","{\"a\": [5]}","{\"a\": [[\"x\"]]}","{\"a\": {\"b\": \"c\"}}"}'::jsonb[]) columns;
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE rc.less (id int PRIMARY KEY, who int);
BEGIN;
SELECT sopflow.copy_rules('rc', 'rc_less', 'rc.less', '{"owner_id": "who", "owner_id2": null, "status": null, "note": null, "claimed_at": null}');
UPDATE sopflow.rule_quota SET query = 'select count(*) from rc.less l where l.who = new.who' WHERE rule_set = 'rc_less';
-- its call is of rows that it does not get
UPDATE sopflow.rule SET actions = actions - 2 WHERE rule_set = 'rc_less' AND rule = 'm third';
COMMIT;
SELECT rule, condition, actions FROM sopflow.rule WHERE rule_set = 'rc_less' ORDER BY seq;
SELECT sopflow.guard('rc.less', 'rc_less');
INSERT INTO rc.less VALUES (1, 2) RETURNING *;
INSERT INTO rc.less VALUES (2, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.unguard('rc.less', 'rc_less');
-- a set that sets nothing more is left out, one that was empty stays; a call beside it stays
SELECT sopflow.copy_rules_actions('[{"set": {"new.a": "1", " old.a ": "2"}}, {"set": {}}, {"set": {"new.a": "1", "new.b": "new.a"}}, {"set": {"new.a": "1"}, "more": 1}]', '{"a": ["(NULL::int)"]}');

\echo --- errors
SELECT sopflow.copy_rules('nothing', 'rc_x');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', 'rc_deals');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', 'rc');
SELECT sopflow.copy_rules(NULL, 'rc_x');
SELECT sopflow.copy_rules('rc', NULL);
SELECT sopflow.copy_rules('rc', 'rc_x', columns => NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', '');
SELECT sopflow.copy_rules('rc', repeat('x', 201));
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '"x"');
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', 'null');
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '{"owner_id": 5}');
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '{"owner_id": {"a": "sales_id"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '{"owner_id": "sales"}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '{"owner_id": "Sales_id"}');
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '{"owner_id": "gone"}');
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '{"owner_id": "ctid"}');
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '{"ower_id": "sales_id"}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.leads_pkey');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc', 'rc_x', 4000000000);
-- two fields of one action
SELECT sopflow.copy_rules('rc', 'rc_x', columns => '{"status": "note", "claimed_at": "note"}');
\echo :LAST_ERROR_SQLSTATE
-- checked at commit: a column that the other table has not, names that are not mapped
SELECT sopflow.copy_rules('rc', 'rc_x', 'rc.deals', '{"id": "Deal", "owner_id": "sales_id", "note": "owner_id"}');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM sopflow.rule_set WHERE rule_set = 'rc_x';

\echo --- rights
SET ROLE rc_bob;
SELECT sopflow.copy_rules('rc', 'rc_x');
\echo :LAST_ERROR_SQLSTATE
-- nor is it to be had by its name
SELECT sopflow.copy_rules('rc_json', 'rc');
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rc_bob');
SELECT sopflow.copy_rules('rc_bob', 'rc');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.copy_rules('rc_bob', 'rc_bob 2');
SELECT rule_set, owner FROM sopflow.rule_set ORDER BY 1;
RESET ROLE;
SELECT count(*) FROM pg_proc p WHERE p.pronamespace = 'sopflow'::regnamespace AND p.proname LIKE 'copy\_rules%' AND has_function_privilege('public', p.oid, 'EXECUTE');

SELECT sopflow.cancel(sop_id => 'rc_sop') > 0;
DELETE FROM sopflow.sop WHERE sop_id = 'rc_sop';
DELETE FROM sopflow.action WHERE action = 'rc_a';
SELECT sopflow.unguard('rc.deals', 'rc_deals');
DELETE FROM sopflow.rule_set WHERE rule_set LIKE 'rc%';
SET client_min_messages = warning;
DROP SCHEMA rc CASCADE;
DROP OWNED BY rc_ann, rc_bob, rc_team;
DROP ROLE rc_ann, rc_bob, rc_team;
