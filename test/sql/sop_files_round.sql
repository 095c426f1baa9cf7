-- What is exported loads: into the same database nothing is changed by it, into
-- another it makes the same, whatever the settings of the sessions.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
CREATE SCHEMA "Sales ""S""";
CREATE TABLE "Sales ""S"""."Clients" ("Id" text PRIMARY KEY, name text, zone text, score int);
CREATE FUNCTION public.sf_handler(sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION public.sf_hook(sopflow.rule_event) RETURNS bool LANGUAGE sql STABLE AS $$ SELECT true $$;

-- an SOP of all there is, as a draft, with all keys
SELECT $${
"actions": [
	{"name": "CALL IT", "delivery": "call", "handler": "sf_handler", "timeout": "1 day 2 hours", "description": "\"quoted\" 'text'"},
	{"name": "all", "delivery": "broadcast", "channel": "Chän nel", "lease": "90 min", "timeout": "1h", "max_attempts": 10000, "backoff_base": "0.25s", "backoff_factor": 1.1,
		"backoff_cap": "1 mon 2 days 03:04:05.678", "jitter": 0.123456789012345, "alert_after": null, "enabled": false, "description": "x"},
	{"name": "plain"}],
"calendars": [
	{"name": "office", "description": "hours", "time_zone": "America/New_York", "weekdays": [1, 2, 3, 4, 5, 6], "opens": "08:30", "closes": "17:00:30", "holidays": [{"day": "2026-12-25", "name": "Christmas"}, "2026-01-01"]},
	{"name": "always", "weekdays": [1, 2, 3, 4, 5, 6, 7]}],
"rule_sets": [
	{"name": "gate", "description": "who", "priority-threshold": 5, "skip-on-first-applied-rule": true, "denials": "all", "on_error": "false", "param_scopes": ["'all'", "event->>'team'"], "inference": true, "max_steps": 7, "trace": "full", "order_by": "seq",
		"before_fire": "sf_hook", "facts": [{"name": "z", "type": "text"}, {"name": "event", "type": "jsonb", "missing": "null"}, {"name": "row", "type": "\"Sales \"\"S\"\"\".\"Clients\"", "query": "select c from \"Sales \"\"S\"\"\".\"Clients\" c limit 1"}],
		"params": [{"name": "p", "type": "int", "value": 3, "description": "d", "overrides": [{"scope": "all", "value": "4"}, {"scope": "a", "value": null}]}],
		"quotas": [{"name": "q", "query": "select 1", "lock_key": "z"}],
		"rules": [{"name": "second", "condition": "param.p > 1", "actions": [{"deny": "no {{z}}", "code": "NO"}], "valid": "[2026-01-01 00:00:00, infinity)", "enabled": false, "priority": 3},
			{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [{"name": "first", "condition": "z = 'x'", "actions": []}]}]},
	{"name": "empty"}],
"sops": [
	{"id": "everything", "name": "All of it", "description": "text", "trigger_event": "E", "enabled": false, "delay_from": "previous", "reentry": "restart", "skip_late_after": "1 mon", "exit_events": ["X", "Y\"", ""],
		"calendar": "office", "subject_relation": "\"Sales \"\"S\"\"\".\"Clients\"", "subject_key": "Id", "time_zone_column": "zone", "max_steps": 77,
		"nodes": [
			{"id": "start here", "delay": "1 day", "action": "all", "params": {"text": "Hi {{subject.name|there}}", "list": [1, 1.50, 1e2, null, true, {"ü": "\u0001"}]}, "max_attempts": 1, "on_failure": "continue", "otherwise": "end"},
			{"id": "if", "type": "condition", "condition": "subject.score > 10", "next": "wait", "otherwise": "sub"},
			{"id": "gate", "type": "condition", "condition_rules": "gate", "next": "end"},
			{"id": "many", "type": "condition", "otherwise": "end"},
			{"id": "wait", "type": "wait", "wait_event": "PAID", "delay": "1 year", "next": "end", "otherwise": "sub"},
			{"id": "sub", "type": "sop", "sop_ref": "child", "next": "end"},
			{"id": "end", "type": "end"}],
		"links": [{"from": "start here", "to": "if", "condition": "event->>'n' > '1'"}, {"from": "many", "to": "gate", "condition": "true"}, {"from": "start here", "to": "many"}, {"from": "many", "to": "wait", "condition": "run.version > 1"}]},
	{"id": "child", "nodes": [{"id": "n", "action": "plain", "delay": "15 min"}, {"id": "m", "params": []}], "enabled": false}]}$$::jsonb AS file \gset
SELECT * FROM sopflow.load_sop(:'file');
SELECT jsonb_pretty(sopflow.export_file());
SELECT * FROM sopflow.load_sop(:'file') WHERE change <> 'unchanged';
SELECT change, count(*) FROM sopflow.load_sop(sopflow.export_file()) GROUP BY 1;
SELECT change, count(*) FROM sopflow.load_sop((SELECT jsonb_agg(sopflow.export_sop(sop_id)) FROM sopflow.sop)) GROUP BY 1;
-- one SOP with all it uses
SELECT (sopflow.export_file('{everything}'))->'sops' = sopflow.export_file()->'sops' AS sops, jsonb_path_query_array(sopflow.export_file('{everything}'), '$.*[*].name') AS others;
SELECT jsonb_path_query_array(sopflow.export_file('{child}'), '$.*[*].*') AS others;
-- each part in turn
SELECT change, count(*) FROM (SELECT sopflow.load_sop(jsonb_build_object(k, jsonb_build_array(v))) AS l FROM jsonb_each(sopflow.export_file()) e(k, a), jsonb_array_elements(e.a) v) x, LATERAL (SELECT (l).change) c GROUP BY 1;

-- Another database, and a session with other settings.
SELECT sopflow.export_file() AS exported \gset
SELECT current_database() AS here \gset
CREATE DATABASE sopflow_files_copy TEMPLATE template0;
\c sopflow_files_copy
SET client_min_messages = warning;
CREATE EXTENSION sopflow;
SET intervalstyle = 'sql_standard';
SET datestyle = 'SQL, DMY';
SET timezone = 'America/New_York';
SET extra_float_digits = -15;
SET standard_conforming_strings = off;
SET bytea_output = 'escape';
CREATE SCHEMA "Sales ""S""";
CREATE TABLE "Sales ""S"""."Clients" ("Id" text PRIMARY KEY, name text, zone text, score int);
CREATE FUNCTION public.sf_handler(sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION public.sf_hook(sopflow.rule_event) RETURNS bool LANGUAGE sql STABLE AS $$ SELECT true $$;
RESET standard_conforming_strings;
SELECT change, count(*) FROM sopflow.load_sop(:'exported') GROUP BY 1;
SELECT sopflow.export_file()::text = :'exported' AS same;
SELECT change, count(*) FROM sopflow.load_sop(sopflow.export_file()) GROUP BY 1;
SELECT valid AT TIME ZONE 'UTC' FROM (SELECT lower(valid) AS valid FROM sopflow.rule WHERE rule = 'second') r;
-- The defaults of files are those of the tables.
INSERT INTO sopflow.action (action) VALUES ('default');
INSERT INTO sopflow.calendar (calendar) VALUES ('default');
INSERT INTO sopflow.rule_set (rule_set) VALUES ('default');
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('default');
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('default', 'n');
COMMIT;
SELECT change, count(*) FROM sopflow.load_sop('{"actions": [{"name": "default"}], "calendars": [{"name": "default"}], "rule_sets": [{"name": "default"}], "sops": [{"id": "default", "nodes": [{"id": "n"}]}]}') GROUP BY 1;
SELECT sopflow.export_file('{default}'), (SELECT jsonb_agg(o) FROM jsonb_path_query(sopflow.export_file(), '$.*[*] ? (@.name == "default")') o);
SELECT * FROM sopflow.load_sop('{"actions": [{"name": "from file"}], "calendars": [{"name": "from file"}], "rule_sets": [{"name": "from file"}], "sops": [{"id": "from file", "nodes": [{"id": "n"}]}]}');
CREATE FUNCTION row_of(t regclass, k text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT (to_jsonb(t) - ARRAY[%L, ''action_id'', ''revision'', ''param_revision'', ''search_path'', ''seq''])::text FROM %s t WHERE %I IN (''default'', ''from file'')', k, t, k);
END $$;
SELECT t, count(*), count(DISTINCT r) FROM (VALUES ('sopflow.action'::regclass, 'action'), ('sopflow.calendar', 'calendar'), ('sopflow.rule_set', 'rule_set'), ('sopflow.sop', 'sop_id'), ('sopflow.sop_node', 'sop_id')) v(t, k), row_of(t, k) r GROUP BY t ORDER BY t::text;
\c :here
SET client_min_messages = warning;
DROP DATABASE sopflow_files_copy;

-- Drafts, too, hold nothing that a file could not say.
INSERT INTO sopflow.sop (sop_id, enabled, exit_events) VALUES ('draft', false, '{NULL}');
INSERT INTO sopflow.sop (sop_id, enabled, exit_events) VALUES ('draft', false, '{{a,b},{c,d}}');
INSERT INTO sopflow.sop (sop_id, enabled, exit_events) VALUES ('draft', false, '[0:1]={a,""}');
UPDATE sopflow.sop SET exit_events = '{a,NULL}' WHERE sop_id = 'draft';
SELECT sopflow.export_sop('draft');
SELECT change FROM sopflow.load_sop(sopflow.export_sop('draft'));
-- past the triggers, as a restore
\set VERBOSITY terse
SET session_replication_role = replica;
UPDATE sopflow.sop SET exit_events = '{a,NULL}' WHERE sop_id = 'draft';
UPDATE sopflow.sop SET exit_events = '{{a},{b}}' WHERE sop_id = 'draft';
RESET session_replication_role;
\set VERBOSITY default

-- A table that is gone is named by its number, which no file can give anew.
DELETE FROM sopflow.rule_set;
DROP SCHEMA "Sales ""S""" CASCADE;
SELECT sopflow.export_sop('everything')->>'subject_relation' ~ '^\d+$' AS gone;
DELETE FROM sopflow.sop;
DELETE FROM sopflow.action;
DELETE FROM sopflow.calendar;
DROP FUNCTION public.sf_handler, public.sf_hook;
