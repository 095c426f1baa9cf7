-- What is read and written does not depend on standard_conforming_strings.
\pset format unaligned
\pset tuples_only on
SELECT current_database() AS here \gset
CREATE DATABASE sopflow_files_settings TEMPLATE template0;
\c sopflow_files_settings
SET client_min_messages = warning;
SET standard_conforming_strings = off;
CREATE EXTENSION sopflow;

-- files
CREATE TABLE public.clients (id text PRIMARY KEY);
SELECT * FROM sopflow.load_sop('{"actions": [{"name": "act", "lease": "90s", "backoff_cap": "00:01:01"}],
	"calendars": [{"name": "cal", "opens": "08:30", "closes": "16:15:30", "holidays": ["2026-01-01"]}],
	"rule_sets": [{"name": "rules", "facts": [{"name": "f", "type": "jsonb"}], "rules": [{"name": "r", "condition": "true", "actions": [{"deny": "no"}]}]}],
	"sops": [{"id": "s", "calendar": "cal", "subject_relation": "clients", "subject_key": "id", "exit_events": ["x"], "trigger_event": "settings",
		"nodes": [{"id": "a", "delay": "24h", "action": "act"}, {"id": "b", "delay": "1 day 02:03:04"}, {"id": "c", "delay": "30s"}]}]}');
SELECT jsonb_pretty(sopflow.export_file());
SELECT l.change FROM sopflow.load_sop(sopflow.export_file()) l;
CREATE FUNCTION pg_temp.refused(file jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	place text;
BEGIN
	PERFORM sopflow.load_sop(file);
	RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS place = PG_EXCEPTION_DETAIL;
	RETURN SQLERRM || ' ' || place;
END
$$;
SELECT pg_temp.refused(f) FROM unnest(ARRAY['{"id": "x", "nodes": [{"id": "a", "delay": "24"}]}', '{"id": "x", "nodes": [{"id": "a", "delay": " +1.5 "}]}',
	'{"id": "x", "reentry": "nothing"}', '{"id": "x", "subject_relation": "1259", "subject_key": "oid"}',
	'{"calendars": [{"name": "c", "opens": "8.30"}]}', '{"calendars": [{"name": "c", "opens": "d:dd"}]}', '{"calendars": [{"name": "c", "opens": "24:30"}]}',
	'{"calendars": [{"name": "c", "holidays": ["dddd-dd-dd"]}]}', '{"actions": [{"name": "b", "lease": "-1h"}]}',
	'{"rule_sets": [{"name": "r", "rules": [{"name": "a", "condition": 1}]}]}', '{"rule_sets": [{"name": "r", "facts": [{"name": "f", "type": "none"}]}]}']::jsonb[]) f;

-- what shows them
SELECT sopflow.diagram('s'), sopflow.diagram('s', 'dot');
SELECT sopflow.emit('settings', 'x', '{}');
SELECT count(w) > 5 FROM sopflow.runs r, LATERAL (SELECT min(t.task_id) AS task_id FROM sopflow.tasks t WHERE t.run_id = r.run_id) t, sopflow.why(t.task_id) w;
SELECT count(*) > 0 AS some, bool_and(line ~ '^(# (HELP|TYPE) )?sopflow_[a-z_]+[ {]') AS well FROM unnest(string_to_array(rtrim(sopflow.metrics(), E'\n'), E'\n')) line;

-- expressions and queries mean the same in every session
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('k', 'k');
INSERT INTO sopflow.sop_node (sop_id, node_id, type, condition, next, otherwise) VALUES ('k', 'q', 'condition', $c$event->>'a' ~ '^\d$'$c$, 'yes', 'no');
INSERT INTO sopflow.sop_node (sop_id, node_id, params) VALUES ('k', 'yes', '{}'), ('k', 'no', '{}');
COMMIT;
SELECT sopflow.start('k', '1', '{"a": "1"}') IS NOT NULL AS started;
SELECT sopflow.run_due() > 0 AS ran;
SELECT node_id FROM sopflow.tasks WHERE sop_id = 'k' ORDER BY 1;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('strings');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('strings', 'f', 'text', $q$select '\d'$q$);
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('strings', 'r', $c$f = '\d' and length(f) = 2$c$, '[{"deny": "as written"}]');
COMMIT;
SELECT rule, triggered, error FROM sopflow.check_rules('strings', '{}');

-- the CRM, and guards
SELECT sopflow.create_crm('crm');
SELECT count(*) FILTER (WHERE actions::text LIKE E'%\\\\u%') AS escaped, min(actions->0->>'deny') FILTER (WHERE rule_set LIKE '%claim%' AND actions->0->>'code' = 'STATUS') AS denial
	FROM sopflow.rule;
SELECT sopflow.copy_rules('rules', 'copied');
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('guards');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('guards', 'new', 'clients');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('guards', 'no', 'new.id = ''no''', '[{"deny": "no"}]');
COMMIT;
SELECT sopflow.guard('clients', 'guards');
INSERT INTO clients VALUES ('no');
INSERT INTO clients VALUES ('yes') RETURNING id;
SELECT code, severity FROM sopflow.health WHERE code LIKE 'guard%';
SELECT sopflow.unguard('clients', 'guards');
\c :here
DROP DATABASE sopflow_files_settings;
