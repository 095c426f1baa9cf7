-- Rule files: read strictly, with the path of every fault; what they say is
-- what the set is, nothing else is touched, and an export can be read again.
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
CREATE SCHEMA rf;
CREATE TYPE rf.status AS ENUM ('TASK', 'BIND', 'UNBIND');
CREATE TYPE rf.minor_status AS ENUM ('UNBIND_FROZEN', 'UNBIND_NORMAL');
CREATE TYPE rf.operation AS ENUM ('RELEASE', 'TASK_BACK_PUBLIC');
CREATE TYPE rf.context AS (opportunity_id bigint, opportunity_status rf.status, minor_status rf.minor_status, operation_type_enum rf.operation);
-- the bean of the published file, as a schema and a function
CREATE SCHEMA opportunity_unbind_rule_bll;
CREATE FUNCTION opportunity_unbind_rule_bll.check_opportunity_need_freeze(id bigint, n int, m int) RETURNS bool
	LANGUAGE sql STABLE AS $$ SELECT id % 2 = 0 $$;

-- U6: the file as printed, with one bracket and one brace too many.
\set printed '[\n      {\n        "name": "bind_check_cate",\n        "description": "判斷是否凍結-72小時",\n        "condition": "@opportunityUnbindRuleBll.checkOpportunityNeedFreeze(#context.getOpportunityId(), n,m)",\n        "priority": 4,\n        "actions": [\n          "@clueOpporBll.unbindOpportunity(#context,T(OpportunityStatusEnum).UNBIND, T(com.clue.enums.OpportunityMinorStatusEnum).UNBIND_FROZEN)"\n        ]\n      },\n      {\n        "name": "task_bind_out",\n        "description": "任務商機流回公海",\n        "condition": "#context.getOpportunityStatus() == T(com.enums.OpportunityStatusEnum).TASK && #context.getOperationTypeEnum() == T(com.OpportunityOperationTypeEnum).TASK_BACK_PUBLIC",\n        "priority": 5,\n        "actions": [\n          "@clueBll.unbindOpportunity(#context,T(com.zhuanzhuan.biz.clue.enums.OpportunityStatusEnum).UNBIND, T(com.OpportunityMinorStatusEnum).UNBIND_NORMAL)"\n        ]\n      },\n      {\n        "name": "unbind_operate",\n        "description": "判斷解綁后去向,現階段全部回到公海",\n        "condition": "true",\n        "priority": 10,\n        "actions": [\n          "@clueOpportunityBll.unbindOpportunity(#context,T(com.OpportunityStatusEnum).UNBIND, T(com.enums.OpportunityMinorStatusEnum).UNBIND_NORMAL)"\n        ]\n      }\n    ]\n  }\n]'
SELECT sopflow.load_rules('opportunity_unbind', :'printed'::jsonb);
\echo :LAST_ERROR_SQLSTATE
-- Balanced, its conditions need a language, and its actions have none here.
SELECT rtrim(:'printed', E'\n ]}') || ']}]' AS balanced \gset
SELECT sopflow.load_rules('opportunity_unbind', :'balanced'::jsonb);
SELECT sopflow.load_rules('opportunity_unbind', jsonb_build_object('rule-factory-type', 'SPEL', 'rules', :'balanced'::jsonb));
\echo :LAST_ERROR_SQLSTATE
-- Repaired: settings of the published application.yml, and actions in their places.
SELECT $${
	"priority-threshold": 100, "skip-on-first-failed-rule": false, "skip-on-first-applied-rule": true, "skip-on-first-non-triggered-rule": false,
	"rule-id": "opportunity_unbind", "rule-file-location": "opportunity_unbind", "rule-config-type": "JSON", "rule-factory-type": "SPEL",
	"facts": [{"name": "context", "type": "rf.context"}],
	"params": [{"name": "n", "type": "int", "value": 3}, {"name": "m", "type": "int", "value": "72", "overrides": [{"scope": "rep:7", "value": 24}]}],
	"rules": [
		{"name": "bind_check_cate", "description": "判斷是否凍結-72小時", "priority": 4,
			"condition": "@opportunityUnbindRuleBll.checkOpportunityNeedFreeze(#context.getOpportunityId(), #param.n, #param.m)",
			"actions": ["#context.setOpportunityStatus(T(OpportunityStatusEnum).UNBIND); #context.setMinorStatus(T(com.clue.enums.OpportunityMinorStatusEnum).UNBIND_FROZEN)"]},
		{"name": "task_bind_out", "description": "任務商機流回公海", "priority": 5,
			"condition": "#context.getOpportunityStatus() == T(com.enums.OpportunityStatusEnum).TASK && #context.getOperationTypeEnum() == T(com.OpportunityOperationTypeEnum).TASK_BACK_PUBLIC",
			"actions": [{"set": {"context.opportunity_status": "'UNBIND'", "context.minor_status": "'UNBIND_NORMAL'"}}]},
		{"name": "unbind_operate", "description": "判斷解綁后去向,現階段全部回到公海", "priority": 10, "condition": "true",
			"actions": [{"set": {"context.opportunity_status": "'UNBIND'", "context.minor_status": "'UNBIND_NORMAL'"}}, {"result": {"to": "public"}}]}
	]}$$::jsonb AS repaired \gset
SELECT sopflow.load_rules('opportunity_unbind', :'repaired');
SELECT priority_threshold, skip_on_first_failed, skip_on_first_applied, skip_on_first_non_triggered, search_path, enabled
	FROM sopflow.rule_set WHERE rule_set = 'opportunity_unbind';
SELECT rule, priority, condition, actions FROM sopflow.rule WHERE rule_set = 'opportunity_unbind' ORDER BY priority;
SELECT param, type, value FROM sopflow.rule_param WHERE rule_set = 'opportunity_unbind' ORDER BY param;
SELECT param, scope, value FROM sopflow.rule_param_override WHERE rule_set = 'opportunity_unbind';
-- and it works as the published text says
CREATE FUNCTION rf.unbind(id bigint, status rf.status, operation rf.operation) RETURNS TABLE (fired text[], status text, minor text) LANGUAGE sql AS $$
	SELECT v.fired, v.facts->'context'->>'opportunity_status', v.facts->'context'->>'minor_status'
		FROM sopflow.fire('opportunity_unbind', jsonb_build_object('context', ROW(id, status, NULL, operation)::rf.context)) v
$$;
SELECT * FROM rf.unbind(2, 'TASK', 'TASK_BACK_PUBLIC');
SELECT * FROM rf.unbind(1, 'TASK', 'TASK_BACK_PUBLIC');
SELECT * FROM rf.unbind(1, 'BIND', 'RELEASE');

-- Loaded again: no row is touched.
CREATE FUNCTION rf.state(name text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('set %s %s %s', s.ctid, s.revision, s.param_revision) FROM sopflow.rule_set s WHERE s.rule_set = name
	UNION ALL SELECT format('fact %s %s', f.fact, f.ctid) FROM sopflow.rule_fact f WHERE f.rule_set = name
	UNION ALL SELECT format('param %s %s', p.param, p.ctid) FROM sopflow.rule_param p WHERE p.rule_set = name
	UNION ALL SELECT format('override %s %s', o.scope, o.ctid) FROM sopflow.rule_param_override o WHERE o.rule_set = name
	UNION ALL SELECT format('quota %s %s', q.quota, q.ctid) FROM sopflow.rule_quota q WHERE q.rule_set = name
	UNION ALL SELECT format('group %s %s', g.rule_group, g.ctid) FROM sopflow.rule_group g WHERE g.rule_set = name
	UNION ALL SELECT format('rule %s %s %s %s', r.rule, r.rule_id, r.seq, r.ctid) FROM sopflow.rule r WHERE r.rule_set = name
$$;
CREATE TABLE rf.before AS SELECT rf.state('opportunity_unbind') AS line;
SELECT sopflow.load_rules('opportunity_unbind', :'repaired');
SELECT sopflow.load_rules('opportunity_unbind', sopflow.export_rules('opportunity_unbind'));
TABLE rf.before EXCEPT ALL SELECT rf.state('opportunity_unbind');
SELECT rf.state('opportunity_unbind') EXCEPT ALL TABLE rf.before;
SELECT jsonb_pretty(sopflow.export_rules('opportunity_unbind'));

-- One rule changed, one gone, one new: the others keep their rows and numbers.
CREATE FUNCTION rf.changed() RETURNS SETOF text LANGUAGE sql AS $$
	(SELECT '-' || regexp_replace(line, ' \(.*', '') FROM rf.before EXCEPT ALL SELECT '-' || regexp_replace(s, ' \(.*', '') FROM rf.state('opportunity_unbind') s)
	UNION ALL (SELECT '+' || regexp_replace(s, ' \(.*', '') FROM rf.state('opportunity_unbind') s EXCEPT ALL SELECT '+' || regexp_replace(line, ' \(.*', '') FROM rf.before)
$$;
BEGIN;
SELECT sopflow.load_rules('opportunity_unbind', jsonb_path_query_array(sopflow.export_rules('opportunity_unbind'), '$.rules[*] ? (@.name != "unbind_operate")')
	|| '[{"name": "last", "condition": "true", "actions": []}]');
SELECT regexp_replace(c, '\d+ \d+$', 'N') FROM rf.changed() c ORDER BY 1;
SELECT param FROM sopflow.rule_param WHERE rule_set = 'opportunity_unbind' ORDER BY param;
SELECT rule, priority, enabled, valid FROM sopflow.rule WHERE rule_set = 'opportunity_unbind' AND rule = 'last';
ROLLBACK;
-- Keys that are not there leave alone what they stand for.
BEGIN;
SELECT sopflow.load_rules('opportunity_unbind', '{"description": "where leads go", "max_steps": 7}');
SELECT description, max_steps, priority_threshold FROM sopflow.rule_set WHERE rule_set = 'opportunity_unbind';
SELECT sopflow.load_rules('opportunity_unbind', '{"description": null, "params": [{"name": "n", "type": "integer", "value": "3"}, {"name": "m", "type": "int", "value": 48}]}');
SELECT description, (SELECT string_agg(param || value, ' ' ORDER BY param) FROM sopflow.rule_param WHERE rule_set = 'opportunity_unbind'),
	(SELECT count(*) FROM sopflow.rule_param_override WHERE rule_set = 'opportunity_unbind')
	FROM sopflow.rule_set WHERE rule_set = 'opportunity_unbind';
SELECT sopflow.load_rules('opportunity_unbind', '{}');
ROLLBACK;

-- U8: a function, an enum label or a name that is not there is refused when the rules are defined.
CREATE FUNCTION rf.condition(condition text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('rule-factory-type', 'SPEL', 'facts', '[{"name": "context", "type": "rf.context"}]'::jsonb,
		'rules', jsonb_build_array(jsonb_build_object('name', 'r', 'condition', condition, 'actions', '["T(System).out.println(''x'')"]'::jsonb)))
$$;
SELECT sopflow.load_rules('u8', rf.condition('@clueOpporBll.checkOpportunityNeedFreeze(#context.getOpportunityId(), 3, 72)'));
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.load_rules('u8', rf.condition('@opportunityUnbindRuleBll.checkNeedFreeze(#context.getOpportunityId(), 3, 72)'));
SELECT sopflow.load_rules('u8', rf.condition('@opportunityUnbindRuleBll.checkOpportunityNeedFreeze(#context.getOpportunityId())'));
SELECT sopflow.load_rules('u8', rf.condition('#context.getOpportunityStatus() == T(com.Status).TASKS'));
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.load_rules('u8', rf.condition('#context.getStatus() == T(com.Status).TASK'));
SELECT sopflow.load_rules('u8', rf.condition('#lead.getStatus() == T(com.Status).TASK'));
SELECT count(*) FROM sopflow.rule_set WHERE rule_set = 'u8';
SELECT sopflow.load_rules('u8', rf.condition('#context.getOpportunityStatus() == T(com.Status).TASK'));

\set VERBOSITY terse

-- B1, B5: the basketball rules as published, loaded and fired.
CREATE TYPE rf.student AS (grade int, gender text, age int, is_strong bool, height int, is_good_seed bool);
SELECT sopflow.load_rules('basketball', '{"rule-factory-type": "MVEL", "facts": [{"name": "student", "type": "rf.student"}], "rules": [
	{"name": "grade rule", "description": "判斷一個學生是否是一個籃球好苗子-年級", "priority": 1, "condition": "student.getGrade() <= 3", "actions": ["System.out.println(\"年級-不是好苗子\");", "student.setIsGoodSeed(false);"]},
	{"name": "gender rule", "description": "判斷一個學生是否是一個籃球好苗子-性別", "priority": 2, "condition": "student.getGender().equals(\"girl\")", "actions": ["System.out.println(\"性別-不是好苗子\");student.setIsGoodSeed(false);"]},
	{"name": "strong rule", "description": "判斷一個學生是否是一個籃球好苗子-是否強壯", "priority": 4, "condition": "!student.getIsStrong()", "actions": ["student.setIsGoodSeed(false);System.out.println(\"強壯-不是好苗子\");"]},
	{"name": "height rule", "description": "判斷一個學生是否是一個籃球好苗子-身高", "condition": "student.getHeight() <= 170", "actions": ["System.out.println(\"身高-\" + student.height + \" {{不是好苗子}}\");", "student.setIsGoodSeed(false);"]}]}');
SELECT v.fired, v.messages, v.facts->'student'->'is_good_seed' FROM sopflow.fire('basketball', '{"student": {"grade": 3, "gender": "girl", "age": 9, "is_strong": true, "height": 160, "is_good_seed": true}}') v;
SELECT v.fired, v.messages, v.facts->'student'->'is_good_seed' FROM sopflow.fire('basketball', '{"student": {"grade": 4, "gender": "boy", "age": 10, "is_strong": true, "height": 171, "is_good_seed": true}}') v;

-- Composites that fire: all or none of the members.
SELECT sopflow.load_rules('movie', '{"rule-factory-type": "SPEL", "facts": [{"name": "day", "type": "jsonb"}, {"name": "movie", "type": "jsonb"}, {"name": "person", "type": "jsonb"}], "rules": [
	{"name": "Movie id rule", "compositeRuleType": "UnitRuleGroup", "priority": 1, "composingRules": [
		{"name": "Time is evening", "priority": 1, "condition": "#{ [''day''].hour > 19 }", "actions": ["#{ [''person''].setMustShowId(true) }"]},
		{"name": "Movie is rated R", "priority": 1, "condition": "#{ [''movie''].rating == ''R'' }", "actions": ["#{ T(System).out.println(''R at '' + #day.hour) }"]}]}]}');
SELECT v.fired, v.messages, v.facts->'person' FROM sopflow.fire('movie', '{"day": {"hour": 20}, "movie": {"rating": "R"}, "person": {}}') v;
SELECT v.fired, v.messages, v.facts->'person' FROM sopflow.fire('movie', '{"day": {"hour": 20}, "movie": {"rating": "PG"}, "person": {}}') v;

-- What is converted means the same over rows and over jsonb.
CREATE TYPE rf.lead AS (name text, status rf.status, n int, f float8, flag bool, zip text);
CREATE FUNCTION rf.evaluated(condition text, type text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	PERFORM sopflow.load_rules('evaluated', jsonb_build_object('rule-factory-type', 'MVEL',
		'facts', jsonb_build_array(jsonb_build_object('name', 'lead', 'type', type, 'missing', CASE type WHEN 'jsonb' THEN 'null' ELSE 'error' END)),
		'rules', jsonb_build_array(jsonb_build_object('name', 'r', 'condition', condition, 'actions', '[]'::jsonb))));
	SELECT c.triggered, c.error INTO r FROM sopflow.check_rules('evaluated', '{"lead": {"name": "Abc", "status": "TASK", "n": 5, "f": 2.5, "flag": true}}') c;
	RETURN coalesce(r.error, r.triggered::text, 'null');
END $$;
SELECT c, rf.evaluated(c, 'rf.lead'), rf.evaluated(c, 'jsonb') FROM unnest(ARRAY['lead.name == "Abc"', 'lead.name != "Abc"', 'lead.status.equals("TASK")', 'lead.status.equalsIgnoreCase("task")', 'lead.name.contains("b")', 'lead.name.startsWith("b")', 'lead.name.endsWith("c")',
	'lead.name.length() == 3', 'lead.name.isEmpty()', 'lead.name.toUpperCase() == "ABC"', 'lead.flag', '!lead.flag', 'lead.flag == true && lead.n > 4', 'lead.n / 2 == 2.5', 'lead.n % 2 == 1 || lead.f < 0', 'lead.f / 2 == 1.25',
	'"x" + lead.n + lead.name == "x5Abc"', 'lead.zip == null', 'lead.zip != null', 'lead.zip == "1"', 'lead.zip != "1"', '!(lead.zip == "1")', '(lead.n > 1 ? "a" : "b") == "a"', '-lead.n < 0']) c;

-- Composites, nested; the published spellings and our own.
SELECT $${
	"rule-factory-type": "MVEL", "skipOnFirstAppliedRule": true, "rulePriorityThreshold": 50, "order_by": "asc", "param_scopes": ["'rep:' || person.age", "'all'"],
	"denials": "all", "on_error": "false", "inference": true, "trace": "full",
	"facts": [{"name": "person", "type": "rf.person", "query": "select p from rf.people p"}, {"name": "rain", "type": "bool"}, {"name": "ctx", "type": "jsonb", "missing": "null"}],
	"quotas": [{"name": "held", "query": "select 1", "lock_key": "person.age"}],
	"rules": [
		{"name": "movie", "description": "all or none", "priority": 1, "compositeRuleType": "UnitRuleGroup", "composingRules": [
			{"name": "evening", "priority": 1, "condition": "person.getAge() > 19", "actions": ["person.setAdult(true);"]},
			{"name": "inner", "priority": 2, "compositeRuleType": "ActivationRuleGroup", "composingRules": [
				{"name": "a", "condition": "rain == true", "actions": ["System.out.println(\"cover the load, \" + person.name);", {"result": {"n": 1}}]},
				{"name": "b", "condition": "rain", "actions": [], "enabled": false}]}]},
		{"name": "gate", "compositeRuleType": "ConditionalRuleGroup", "composingRules": [
			{"name": "first", "priority": -5, "condition": "!rain", "actions": [{"deny": "no {{person.name}}", "code": "NO"}], "valid": "[2026-01-01 00:00:00+02, infinity)"}]},
		{"name": "table", "compositeRuleType": "unique", "composingRules": []},
		{"name": "rain rule", "description": "what rain means for deliveries", "priority": 2, "condition": "rain == true", "actions": ["System.out.println(\"Ship under cover today.\");"]}
	]}$$::jsonb AS composite \gset
CREATE TABLE rf.person (name text, age int, adult bool);
CREATE VIEW rf.people AS SELECT * FROM rf.person;
-- as a draft: what it says is kept, whether it would work or not
SELECT sopflow.load_rules('composite', :'composite'::jsonb || '{"enabled": false}');
SELECT jsonb_pretty(sopflow.export_rules('composite'));
SELECT rule_group, kind, priority, parent FROM sopflow.rule_group WHERE rule_set = 'composite' ORDER BY rule_group;
SELECT rule, rule_group, priority, condition, actions, enabled, valid FROM sopflow.rule WHERE rule_set = 'composite' ORDER BY rule;
TRUNCATE rf.before;
INSERT INTO rf.before SELECT rf.state('composite');
SELECT sopflow.load_rules('composite', sopflow.export_rules('composite'));
TABLE rf.before EXCEPT ALL SELECT rf.state('composite');
-- Another set from it is equal, whatever stood there.
SELECT sopflow.load_rules('copy', '{"enabled": false, "before_fire": null, "facts": [{"name": "ctx", "type": "text"}, {"name": "x", "type": "int"}], "params": [{"name": "p", "type": "int", "overrides": [{"scope": "s", "value": null}]}],
	"quotas": [{"name": "q", "query": "q", "lock_key": "k"}], "rules": [{"name": "a", "condition": "x", "actions": [], "rule_group": "nowhere"}, {"name": "g", "compositeRuleType": "any", "composingRules": [{"name": "z", "condition": "x", "actions": []}]}]}');
SELECT sopflow.load_rules('copy', sopflow.export_rules('composite'));
SELECT sopflow.export_rules('copy') = sopflow.export_rules('composite');
SELECT fact FROM sopflow.rule_fact WHERE rule_set = 'copy' ORDER BY seq;
-- Drafts that are not whole: a missing group, a missing parent, a circle.
SELECT sopflow.load_rules('draft', '{"enabled": false, "order_by": "seq",
	"groups": [{"name": "g", "kind": "unit"}, {"name": "lost", "kind": "any", "parent": "nowhere", "description": "?"}, {"name": "c1", "kind": "collect", "parent": "c2", "priority": 3}, {"name": "c2", "kind": "activation", "parent": "c1"}],
	"rules": [{"name": "z", "condition": "?", "actions": [{"?": 1}], "rule_group": "g"}, {"name": "y", "condition": "?", "actions": [], "rule_group": "nowhere"}, {"name": "x", "condition": "?", "actions": [], "rule_group": "g"},
		{"name": "w", "condition": "?", "actions": [], "rule_group": "c1"}, {"name": "v", "condition": "?", "actions": [], "rule_group": "lost"}]}');
SELECT sopflow.export_rules('draft') - (SELECT array_agg(key) FROM sopflow.rule_file_settings());
TRUNCATE rf.before;
INSERT INTO rf.before SELECT rf.state('draft');
SELECT sopflow.load_rules('draft', sopflow.export_rules('draft'));
TABLE rf.before EXCEPT ALL SELECT rf.state('draft');
SELECT sopflow.load_rules('draft copy', sopflow.export_rules('draft'));
SELECT sopflow.export_rules('draft copy') = sopflow.export_rules('draft');
-- Under order_by seq the order of the file counts.
SELECT sopflow.load_rules('draft', '[{"name": "v", "condition": "?", "actions": []}, {"name": "new", "condition": "?", "actions": []}, {"name": "z", "condition": "?", "actions": []}]');
SELECT rule FROM sopflow.rule WHERE rule_set = 'draft' ORDER BY seq;

-- Faults, each with its path; nothing is changed by any of them.
TRUNCATE rf.before;
INSERT INTO rf.before SELECT rf.state('opportunity_unbind');
CREATE FUNCTION rf.refused(file jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text;
BEGIN
	PERFORM sopflow.load_rules('opportunity_unbind', file);
	RETURN 'taken: ' || file;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT;
	RETURN SQLSTATE || ': ' || m;
END $$;
SELECT rf.refused(f) FROM unnest(ARRAY['1', '"x"', 'null', '[1]', '["compositeRuleType"]', '[null]', '[[]]', '{"rule": []}', '{"": 1}', '{"rules": {}}', '{"rules": null}', '{"facts": {"a": "int"}}',
	'{"rule-id": "other"}', '{"rule-id": 1}', '{"rule-config-type": "XML"}', '{"rule-factory-type": "JEXL"}', '{"priority-threshold": "100"}', '{"priority-threshold": 1.5}', '{"priority-threshold": 3000000000}', '{"priority-threshold": null}',
	'{"priority-threshold": 1, "priority_threshold": 1}', '{"skip-on-first-applied-rule": "yes"}', '{"denials": "some"}', '{"on_error": false}', '{"trace": null}', '{"max_steps": 0}', '{"param_scopes": [1]}', '{"param_scopes": "x"}', '{"description": 1}', '{"owner": "x"}', '{"enabled": 1}']::jsonb[]) f;
SELECT rf.refused(jsonb_build_array('{"name": "ok", "condition": "true", "actions": []}'::jsonb, '{"name": "ok too", "condition": "true", "actions": []}'::jsonb, f)) FROM unnest(ARRAY[
	'{}', '{"name": ""}', '{"name": 1}', '{"name": null}', '{"name": "a"}', '{"name": "a", "condition": 1}', '{"name": "a", "condition": true, "actions": []}', '{"name": "a", "condition": "true"}', '{"name": "a", "condition": "true", "actions": {}}', '{"name": "a", "condition": "true", "actions": [1]}',
	'{"name": "a", "condition": "true", "actions": ["x.setA(1)"]}', '{"name": "a", "condition": "true", "actions": [], "priority": "1"}', '{"name": "a", "condition": "true", "actions": [], "priority": null}', '{"name": "a", "condition": "true", "actions": [], "enabled": "no"}', '{"name": "a", "condition": "true", "actions": [], "description": 1}',
	'{"name": "a", "condition": "true", "actions": [], "valid": "[2026-02-01, 2026-01-01)"}', '{"name": "a", "condition": "true", "actions": [], "valid": "soon"}', '{"name": "a", "condition": "true", "actions": [], "valid": 1}', '{"name": "a", "condition": "true", "actions": [], "salience": 1}',
	'{"name": "ok", "condition": "true", "actions": []}',
	'{"name": "g", "compositeRuleType": "UnitRuleGroup"}', '{"name": "g", "composingRules": []}', '{"name": "g", "compositeRuleType": "OrRuleGroup", "composingRules": []}', '{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": {}}', '{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [], "condition": "true"}',
	'{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [], "actions": []}', '{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [], "enabled": true}', '{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [{"name": "m", "condition": "true", "actions": [{}, null]}]}',
	'{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [{"name": "m", "condition": "true", "actions": [], "rule_group": "h"}]}', '{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [{"name": "ok too", "condition": "true", "actions": []}]}',
	'{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": []}]}']::jsonb[]) f;
SELECT rf.refused(f) FROM unnest(ARRAY['{"facts": [1]}', '{"facts": [{}]}', '{"facts": [{"name": "a"}]}', '{"facts": [{"name": "a", "type": "nowhere"}]}', '{"facts": [{"name": "a", "type": "a b c"}]}', '{"facts": [{"name": "a", "type": "int", "missing": "maybe"}]}', '{"facts": [{"name": "a", "type": "int", "seq": 1}]}',
	'{"facts": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}, {"name": "a", "type": "text"}]}', '{"params": [{"name": "a", "value": 1}]}', '{"params": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}', '{"params": [{"name": "a", "type": "int", "overrides": [{"scope": "", "value": 1}]}]}',
	'{"params": [{"name": "a", "type": "int", "overrides": [{"scope": "x", "value": 1}, {"scope": "x", "value": 2}]}]}', '{"params": [{"name": "a", "type": "int", "overrides": [{"value": 1}]}]}', '{"quotas": [{"name": "a", "query": "select 1"}]}', '{"quotas": [{"name": "a", "query": "q", "lock_key": "k"}, {"name": "a", "query": "q", "lock_key": "k"}]}',
	'{"groups": [{"name": "g", "kind": "or"}]}', '{"groups": [{"name": "g", "kind": "unit"}], "rules": [{"name": "g", "compositeRuleType": "unit", "composingRules": []}]}', '{"groups": [{"name": "g", "kind": "unit", "members": []}]}']::jsonb[]) f;
SELECT rf.refused(jsonb_build_object('facts', jsonb_build_array(jsonb_build_object('name', repeat('x', 64), 'type', 'int'))));
SELECT rf.refused(jsonb_build_object('rule-factory-type', 'MVEL', 'rules', jsonb_build_array(f))) FROM unnest(ARRAY['{"name": "a", "condition": "x instanceof Y", "actions": []}', '{"name": "a", "condition": "x ==", "actions": []}', '{"name": "a", "condition": "x", "actions": [{"set": {}}, "x.setA(1); x.grow(1)"]}',
	'{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [{"name": "a", "condition": "", "actions": []}]}']::jsonb[]) f;
SELECT sopflow.load_rules('', '[]');
SELECT sopflow.load_rules(NULL, '[]');
SELECT sopflow.load_rules('x', NULL);
SELECT sopflow.export_rules('nowhere');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.export_rules(NULL);
TABLE rf.before EXCEPT ALL SELECT rf.state('opportunity_unbind');
SELECT rf.state('opportunity_unbind') EXCEPT ALL TABLE rf.before;

-- Names mean what they mean to who loads the file, and the set keeps that path.
SET search_path = rf, public;
SELECT sopflow.load_rules('path', '{"facts": [{"name": "context", "type": "context"}], "rules": [{"name": "r", "condition": "context.opportunity_status = ''TASK''::status", "actions": []}]}');
CREATE FUNCTION rf.hook(sopflow.rule_event) RETURNS bool LANGUAGE sql STABLE AS $$ SELECT true $$;
SELECT sopflow.load_rules('path', '{"before_evaluate": "hook"}');
RESET search_path;
SELECT search_path, before_evaluate FROM sopflow.rule_set WHERE rule_set = 'path';
SELECT type FROM sopflow.rule_fact WHERE rule_set = 'path';
SELECT sopflow.export_rules('path')->'facts';

-- Rights are those of the tables.
CREATE ROLE rf_author;
CREATE ROLE rf_other;
SELECT sopflow.grant_author('rf_author');
SELECT sopflow.grant_author('rf_other');
SET ROLE rf_author;
SELECT sopflow.load_rules('mine', '{"rule-factory-type": "MVEL", "facts": [{"name": "n", "type": "int"}], "rules": [{"name": "r", "condition": "n == 1", "actions": ["System.out.println(n);"]}]}');
SELECT owner, enabled FROM sopflow.rule_set WHERE rule_set = 'mine';
SELECT sopflow.load_rules('mine', sopflow.export_rules('mine'));
SELECT sopflow.load_rules('path', '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.export_rules('path');
SET ROLE rf_other;
SELECT sopflow.load_rules('mine', '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.export_rules('mine');
RESET ROLE;
CREATE ROLE rf_nobody;
SET ROLE rf_nobody;
SELECT sopflow.load_rules('nobody', '[]');
RESET ROLE;

SET client_min_messages = warning;
DELETE FROM sopflow.rule_set WHERE rule_set IN ('opportunity_unbind', 'u8', 'composite', 'copy', 'draft', 'draft copy', 'path', 'mine', 'basketball', 'movie', 'evaluated');
DROP OWNED BY rf_author, rf_other, rf_nobody;
DROP ROLE rf_author, rf_other, rf_nobody;
DROP SCHEMA rf, opportunity_unbind_rule_bll CASCADE;
