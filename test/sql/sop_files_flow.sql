-- Files of flows: nodes of every type and links load and are taken, and what the
-- check of the SOP finds in them has its path.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never
SET timezone = 'UTC';
CREATE SCHEMA sf;
CREATE TABLE sf.client (id int PRIMARY KEY, name text, score int, zone text);
INSERT INTO sf.client VALUES (1, 'Ann', 20, 'UTC'), (2, 'Bo', 5, 'UTC'), (3, 'Cy', NULL, 'UTC');
SELECT $${
"actions": [{"name": "sf_greet", "delivery": "broadcast"}],
"calendars": [{"name": "sf_office", "opens": "08:00", "closes": "18:00"}],
"rule_sets": [{"name": "sf_gate", "facts": [{"name": "event", "type": "jsonb", "missing": "null"}], "rules": [{"name": "r", "condition": "event.barred = 'yes'", "actions": [{"deny": "barred"}]}]}],
"sops": [
	{"id": "sf_flow", "trigger_event": "SF_ADD", "exit_events": ["SF_LOST"], "delay_from": "previous", "calendar": "sf_office", "subject_relation": "sf.client", "subject_key": "id", "time_zone_column": "zone",
		"nodes": [
			{"id": "fork"},
			{"id": "score", "type": "condition", "condition": "subject.score > 10", "next": "good", "otherwise": "join"},
			{"id": "good", "action": "sf_greet", "params": {"text": "Hi {{subject.name}}"}, "next": "join"},
			{"id": "paid", "type": "wait", "wait_event": "SF_PAID", "delay": "2 days", "next": "join", "otherwise": "join"},
			{"id": "join", "type": "condition", "condition_rules": "sf_gate", "next": "sub", "otherwise": "end"},
			{"id": "sub", "type": "sop", "sop_ref": "sf_child", "next": "end"},
			{"id": "end", "type": "end"}],
		"links": [{"from": "fork", "to": "score"}, {"from": "fork", "to": "paid", "condition": "event.n > 1"}]},
	{"id": "sf_child", "nodes": [{"id": "n", "action": "sf_greet", "delay": "1h"}]}]}$$::jsonb AS file \gset
SET search_path = sf, public;
SELECT * FROM sopflow.load_sop(:'file');
RESET search_path;
SELECT search_path FROM sopflow.sop ORDER BY sop_id;
SELECT definition - 'nodes' FROM sopflow.sop_version ORDER BY sop_id;
SELECT * FROM sopflow.load_sop(sopflow.export_file()) WHERE change <> 'unchanged';
SELECT sopflow.export_file() = sopflow.export_file('{sf_flow}') AS whole;
SELECT count(*) FROM sopflow.sop_version;
-- and it runs
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.emit('SF_ADD', i::bigint, jsonb_build_object('n', i)) FROM generate_series(1, 3) i;
SELECT sopflow.run_due() > 0;
SELECT subject_id, node_id, status, due_at FROM sopflow.tasks WHERE sop_id = 'sf_flow' ORDER BY run_id, task_id;
SELECT sopflow.emit('SF_PAID', 2::bigint);
SET sopflow.clock = '2030-01-09 09:00+00';
SELECT sopflow.run_due() > 0;
SET sopflow.clock = '2030-01-09 10:00+00';
SELECT sopflow.run_due() > 0;
SELECT sop_id, subject_id, state, ended_at FROM sopflow.runs ORDER BY run_id;
RESET sopflow.clock;
-- Searched under the path of who loaded a change, not of who loaded the same.
SELECT * FROM sopflow.load_sop(:'file') WHERE kind = 'sop';
SELECT search_path FROM sopflow.sop WHERE sop_id = 'sf_flow';
SET search_path = pg_catalog, sf;
SELECT change FROM sopflow.load_sop(jsonb_set(:'file', '{sops,0,links,1,condition}', '"event.n > 2"')) WHERE name = 'sf_flow';
RESET search_path;
SELECT search_path FROM sopflow.sop WHERE sop_id = 'sf_flow';
SELECT from_node, to_node, condition FROM sopflow.sop_link ORDER BY seq;
-- links in another order, one gone
SELECT change FROM sopflow.load_sop(jsonb_set(:'file', '{sops,0,links}', '[{"from": "fork", "to": "paid"}, {"from": "fork", "to": "score"}, {"from": "sub", "to": "end", "condition": "true"}]') #- '{sops,0,nodes,5,next}') WHERE name = 'sf_flow';
SELECT from_node, to_node, condition FROM sopflow.sop_link ORDER BY seq;
SELECT change FROM sopflow.load_sop(jsonb_set(:'file', '{sops,0,links}', '[{"from": "fork", "to": "paid"}, {"from": "fork", "to": "score"}]')) WHERE name = 'sf_flow';
SELECT from_node, to_node, condition FROM sopflow.sop_link ORDER BY seq;

-- Faults
CREATE FUNCTION sf.refused(file jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d text;
BEGIN
	PERFORM sopflow.load_sop(file);
	RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || (SELECT string_agg(' ' || m[1], '') FROM regexp_matches(d, '(?:Path:|Also at) (\$\S*?)[.:](?:\s|$)', 'g') m);
END $$;
SELECT path, value, sf.refused(jsonb_set(:'file', path::text[], value)) FROM (VALUES
	('{sops,0,nodes,1,condition}', '"subject.scor > 10"'::jsonb), ('{sops,0,nodes,1,condition}', '"subject.score"'), ('{sops,0,nodes,2,params}', '{"a": ["{{subject.nam}}"]}'), ('{sops,0,nodes,2,params}', '{"a": "{{"}'), ('{sops,0,nodes,3,wait_event}', 'null'), ('{sops,0,nodes,3,delay}', '0'), ('{sops,0,nodes,4,condition_rules}', '"nowhere"'),
	('{sops,0,nodes,5,sop_ref}', '"nowhere"'), ('{sops,0,nodes,5,sop_ref}', '"sf_flow"'), ('{sops,0,nodes,6,delay}', '"1h"'), ('{sops,0,nodes,1,type}', '"choice"'), ('{sops,0,nodes,1,otherwise}', '"nowhere"'), ('{sops,0,calendar}', '"nowhere"'), ('{sops,0,time_zone_column}', '"score2"'), ('{sops,0,delay_from}', '"event"'),
	('{sops,0,links,1,condition}', '"event.n >"'), ('{sops,0,links,1,to}', '"nowhere"'), ('{sops,0,links,1,from}', '"nowhere"'), ('{sops,0,links,0,condition}', '"x"'), ('{sops,0,links,0}', '{"from": "end", "to": "fork"}'), ('{sops,0,links,0}', '{"from": "paid", "to": "good"}'), ('{calendars,0,time_zone}', '"Nowhere/None"'), ('{calendars,0,opens}', '"19:00"'), ('{calendars,0,weekdays}', '[]'), ('{rule_sets,0,facts,0,name}', '"lead"')) v(path, value);
-- a link's own name where several have a condition
SELECT sf.refused(jsonb_set(:'file', '{sops,0,links}', '[{"from": "fork", "to": "score", "condition": "x"}, {"from": "fork", "to": "paid", "condition": "true"}, {"from": "fork", "to": "nowhere"}, {"from": "fork", "to": "gone"}]'));

SET client_min_messages = warning;
DELETE FROM sopflow.sop;
DELETE FROM sopflow.action;
DELETE FROM sopflow.rule_set;
DELETE FROM sopflow.calendar;
DROP SCHEMA sf CASCADE;
