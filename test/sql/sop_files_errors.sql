-- Faults of files: each is refused with its path, and nothing is changed.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never
CREATE SCHEMA sf;
CREATE TABLE sf.client (id int PRIMARY KEY, zone text);
CREATE FUNCTION sf.handler(sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
SELECT * FROM sopflow.load_sop('{"actions": [{"name": "A"}], "sops": [{"id": "there", "nodes": [{"id": "a", "action": "A"}]}]}');

CREATE FUNCTION sf.refused(file jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text;
	d text;
	h text;
BEGIN
	PERFORM sopflow.load_sop(file);
	RETURN 'taken: ' || file;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, m, replace(d, E'\n', ' / '), nullif(h, ''));
END $$;
CREATE FUNCTION sf.sop(keys jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT '{"id": "x", "nodes": [{"id": "n", "action": "A"}]}'::jsonb || keys
$$;
CREATE FUNCTION sf.node(keys jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT sf.sop(jsonb_build_object('nodes', jsonb_build_array('{"id": "first"}'::jsonb, '{"id": "n"}'::jsonb || keys)))
$$;

-- the file
SELECT sf.refused(f) FROM unnest(ARRAY['1', '"x"', 'null', 'true', '{}', '[1]', '[[]]', '[null]', '[{"sops": []}, {}]', '{"sops": {}}', '{"sops": null}', '{"sop": []}', '{"sops": [], "id": "x"}', '{"actions": [1]}', '{"calendars": [null]}', '{"rule_sets": ["r"]}', '{"sops": [[]]}',
	'{"Actions": []}', '{"ruleSets": []}', '{"id": "x", "node": []}']::jsonb[]) f;
SELECT sf.refused(NULL);
-- names that are there twice
SELECT sf.refused(f) FROM unnest(ARRAY['{"sops": [{"id": "x"}, {"sopId": "x"}]}', '[{"id": "x"}, {"sops": [{"id": "x"}]}]', '{"actions": [{"name": "a"}, {"name": "a"}]}', '[{"calendars": [{"name": "c"}]}, {"calendars": [{"name": "c"}]}]', '{"rule_sets": [{"name": "r"}, {"rule-id": "r"}]}',
	'{"id": "x", "nodes": [{"id": "n"}, {"id": "m"}, {"nodeId": "n"}]}', '{"id": "x", "links": [{"from": "a", "to": "b"}, {"from": "a", "to": "b", "condition": "x"}]}', '{"calendars": [{"name": "c", "holidays": ["2026-01-01", {"day": "2026-01-01", "name": "x"}]}]}']::jsonb[]) f;
-- an SOP
SELECT sf.refused(sf.sop(f)) FROM unnest(ARRAY['{"id": ""}', '{"id": 1}', '{"id": null}', '{"sopId": "x"}', '{"name": 1}', '{"names": "x"}', '{"": 1}', '{"trigger-event": "E"}', '{"triggerevent": "E"}', '{"wholly different": "E"}', '{"trigger_event": ""}', '{"trigger_event": "E", "triggerEvent": "E"}', '{"enabled": "yes"}', '{"enabled": null}',
	'{"delay_from": "prevous"}', '{"delay_from": 1}', '{"reentry": "never"}', '{"skip_late_after": "1 fortnight"}', '{"skip_late_after": 24}', '{"exit_events": "E"}', '{"exit_events": [1]}', '{"max_steps": 0}', '{"max_steps": 1.5}', '{"max_steps": 60001}', '{"max_steps": "10"}', '{"owner": "x"}', '{"paused": true}', '{"nodes": {}}', '{"nodes": null}', '{"nodes": [1]}', '{"links": "x"}', '{"links": [{"from": "n"}]}', '{"links": [{"to": "n"}]}', '{"links": [{"from": "n", "to": "m", "if": "x"}]}', '{"links": [{"from": "n", "to": 1}]}',
	'{"subject_relation": "sf.client"}', '{"subject_key": "id"}', '{"time_zone_column": "zone"}', '{"subject_relation": "sf.nobody", "subject_key": "id"}', '{"subject_relation": "a b", "subject_key": "id"}', '{"subject_relation": "", "subject_key": "id"}', '{"subject_relation": "1259", "subject_key": "oid"}', '{"subject_relation": 1, "subject_key": "id"}', '{"subject_relation": "sf.client", "subject_key": ""}']::jsonb[]) f;
SELECT sf.refused(jsonb_build_object('id', repeat('x', 201)));
-- a node
SELECT sf.refused(sf.node(f)) FROM unnest(ARRAY['{"id": null}', '{"id": ""}', '{"nodeId": "n"}', '{"dealy": "24h"}', '{"timeout": "24h"}', '{"type": 1}', '{"type": null}', '{"delay": 24}', '{"delay": "24"}', '{"delay": " +1.5 "}', '{"delay": "24x"}', '{"delay": ""}', '{"delay": null}', '{"delay": true}', '{"delay": "999999999999 years"}', '{"delayHours": "24"}', '{"delayHours": 1.5}', '{"delayHours": -1}', '{"delayHours": 1e9}', '{"delay": "1h", "delayHours": 1}', '{"action": 1}', '{"action": "A", "actionType": "A"}', '{"params": {}, "actionParams": {}}', '{"params": null}', '{"next": 1}', '{"otherwise": []}', '{"condition": true}', '{"condition_rules": 1}', '{"wait_event": {}}', '{"sop_ref": 0}',
	'{"max_attempts": 0}', '{"max_attempts": 10001}', '{"max_attempts": "3"}', '{"retryCount": -1}', '{"retryCount": 10000}', '{"retryCount": 0.5}', '{"retryCount": 1, "max_attempts": 2}', '{"on_failure": "stopp"}', '{"on_failure": null}', '{"seq": 1}', '{"sop_id": "x"}']::jsonb[]) f;
-- what the check of the SOP says, all of it
SELECT sf.refused(f) FROM unnest(ARRAY['{"id": "x"}', '{"id": "x", "nodes": []}', '{"id": "x", "delay_from": "previous", "nodes": [{"id": "n"}]}', '{"id": "x", "skip_late_after": "-1 day", "nodes": [{"id": "n", "delay": "-1h", "action": "B", "params": [1], "next": "m"}]}', '{"sopId": "x", "nodes": [{"id": "n"}, {"nodeId": "m", "delayHours": 1000000, "actionType": "B"}]}', '{"sopId": "x", "nodes": [{"id": "n"}, {"nodeId": "m", "delayHours": 878400, "actionType": "B", "actionParams": 1}]}',
	'[{"sops": [{"id": "there", "nodes": [{"id": "a"}, {"id": "b", "next": "a"}]}]}]', '{"id": "x", "subject_relation": "sf.client", "subject_key": "name", "nodes": [{"id": "n"}]}', '{"id": "x", "nodes": [{"id": "n", "type": "end"}]}']::jsonb[]) f;
-- an action
SELECT sf.refused(jsonb_build_object('actions', jsonb_build_array('{"name": "B"}'::jsonb, '{"name": "x"}'::jsonb || f))) FROM unnest(ARRAY['{"name": ""}', '{"name": 1}', '{"delivery": "mail"}', '{"delivery": "call"}', '{"handler": "sf.handler"}', '{"delivery": "call", "handler": "sf.nothing"}', '{"delivery": "call", "handler": "a b"}', '{"delivery": "call", "handler": 1}', '{"channel": ""}', '{"channel": null}', '{"lease": "0"}', '{"lease": 60}', '{"lease": "-1h"}', '{"timeout": "200 years"}', '{"max_attempts": 0}', '{"backoff_base": "x"}', '{"backoff_factor": 0.5}', '{"backoff_factor": "2"}', '{"backoff_factor": 1e400}', '{"jitter": 1.1}', '{"jitter": -0.1}', '{"alert_after": 0}', '{"enabled": 1}', '{"paused": true}', '{"back_off_cap": "1h"}']::jsonb[]) f;
SELECT sf.refused(jsonb_build_object('actions', jsonb_build_array(jsonb_build_object('name', 'x', 'channel', repeat('x', 64)))));
-- a calendar
SELECT sf.refused(jsonb_build_object('calendars', jsonb_build_array('{"name": "x"}'::jsonb || f))) FROM unnest(ARRAY['{"name": ""}', '{"calendar": "x"}', '{"timezone": "UTC"}', '{"time_zone": 1}', '{"weekdays": "1-5"}', '{"weekdays": [0]}', '{"weekdays": [8]}', '{"weekdays": [1.5]}', '{"weekdays": ["1"]}', '{"weekdays": [null]}', '{"opens": "8"}', '{"opens": 480}', '{"opens": "8 am"}', '{"opens": "24:01"}', '{"closes": "25:00"}', '{"closes": "now"}', '{"holidays": {}}', '{"holidays": [1]}', '{"holidays": ["today"]}', '{"holidays": ["2026-02-30"]}', '{"holidays": ["infinity"]}', '{"holidays": [{"name": "x"}]}', '{"holidays": [{"day": "2026-01-01", "date": "x"}]}', '{"holidays": [{"day": "01.01.2026"}]}', '{"holidays": [{"day": "2026-01-01", "name": 1}]}']::jsonb[]) f;
-- a rule set: also what load_rules() and the check of the set say
SELECT sf.refused(jsonb_build_object('rule_sets', jsonb_build_array('{"name": "x"}'::jsonb || f))) FROM unnest(ARRAY['{"name": ""}', '{"name": null}', '{"rule-id": "x"}', '{"rule": []}', '{"skip-on-first-aplied-rule": true}', '{"skip-on-first-applied-rule": 1}', '{"trace": "on"}', '{"trace": null}', '{"priority_threshold": 1, "rulePriorityThreshold": 1}', '{"rules": {}}', '{"rules": [1]}', '{"rules": [{"name": "a", "condition": "true"}]}', '{"rules": [{"name": "a", "condition": "true", "actions": [], "my: key": 1}]}',
	'{"rules": [{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [{"name": "a", "condition": 1, "actions": []}]}]}', '{"rules": [{"name": "a", "condition": "true", "actions": []}, {"name": "a", "condition": "true", "actions": []}]}', '{"facts": [{"name": "n", "type": "nowhere"}]}', '{"params": [{"name": "n", "type": "int", "overrides": [{"scope": "s"}, {"scope": "s"}]}]}', '{"rule-factory-type": "MVEL", "rules": [{"name": "a", "condition": "x ==", "actions": []}]}',
	'{"before_fire": "sf.nothing"}', '{"on_success": ""}', '{"facts": [{"name": "n", "type": "int"}], "rules": [{"name": "ok", "condition": "n > 1", "actions": []}, {"name": "a", "condition": "m > 1", "actions": []}]}', '{"rules": [{"name": "g", "compositeRuleType": "UnitRuleGroup", "composingRules": [{"name": "ok", "condition": "true", "actions": []}, {"name": "a", "condition": "1 +", "actions": []}, {"name": "b", "condition": "true", "actions": [{"nothing": 1}]}]}]}', '{"param_scopes": ["nothing"]}', '{"params": [{"name": "p", "type": "int", "value": "x"}]}']::jsonb[]) f;
-- Nothing came of any of these.
SELECT sopflow.export_file();
SELECT kind || ' ' || name || ' ' || change FROM sopflow.load_sop('{"actions": [{"name": "A"}], "sops": [{"id": "there", "nodes": [{"id": "a", "action": "A"}]}]}');
SELECT sop_id, version FROM sopflow.sop_version;

-- A draft is taken as it is.
SELECT * FROM sopflow.load_sop('{"id": "draft", "enabled": false, "nodes": [{"id": "n", "type": "dealy", "params": [1], "action": "B", "delay": "-1h", "next": "m"}]}');
SELECT sopflow.export_sop('draft');
SELECT * FROM sopflow.load_sop(sopflow.export_sop('draft'));
SELECT sf.refused(sopflow.export_sop('draft') || '{"enabled": true}');
-- Zero needs no unit; a null is nothing where there may be nothing.
SELECT * FROM sopflow.load_sop('{"id": "nulls", "name": null, "description": null, "trigger_event": null, "calendar": null, "subject_relation": null, "subject_key": null, "time_zone_column": null, "skip_late_after": null,
	"nodes": [{"id": "n", "delay": 0, "action": null, "next": null, "condition": null, "condition_rules": null, "otherwise": null, "wait_event": null, "sop_ref": null, "max_attempts": null}, {"id": "m", "delay": "0"}]}');
SELECT sopflow.export_sop('nulls');
SELECT sopflow.export_sop('nowhere');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.export_sop(NULL);
SELECT sopflow.export_file('{there,nowhere}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.export_file('{}');

-- Locks that are not to be had and the like are not faults of the file.
SELECT jsonb_build_object('id', 'big', 'nodes', jsonb_agg(jsonb_build_object('id', 'n' || i))) AS big FROM generate_series(1, 20000) i \gset
BEGIN;
SET LOCAL statement_timeout = '200ms';
SELECT sopflow.load_sop(:'big');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

DROP SCHEMA sf CASCADE;
DELETE FROM sopflow.sop;
DELETE FROM sopflow.action;
