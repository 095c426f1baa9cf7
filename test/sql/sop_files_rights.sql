-- Files are written with the rights of who loads them, and names in them mean
-- what they mean to him, whatever else stands in his search_path.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never
CREATE ROLE sf_author;
CREATE ROLE sf_other;
CREATE ROLE sf_nobody;
GRANT CREATE ON DATABASE :"DBNAME" TO sf_author;
SELECT sopflow.grant_author('sf_author');
SELECT sopflow.grant_author('sf_other');
SELECT $${"actions": [{"name": "A"}], "calendars": [{"name": "c", "holidays": ["2026-12-25"]}], "rule_sets": [{"name": "r", "facts": [{"name": "n", "type": "int"}], "rules": [{"name": "x", "condition": "n > 1", "actions": []}]}],
	"sops": [{"id": "s", "calendar": "c", "nodes": [{"id": "n", "action": "A", "next": "m"}, {"id": "m", "delay": "1h"}]}]}$$::jsonb AS file \gset

-- a role that is no author
SET ROLE sf_nobody;
SELECT sopflow.load_sop(:'file');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.export_file();
RESET ROLE;
GRANT USAGE ON SCHEMA sopflow TO sf_nobody;
SET ROLE sf_nobody;
SELECT sopflow.load_sop(:'file');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.export_sop('s');
\echo :LAST_ERROR_SQLSTATE

-- an author
SET ROLE sf_author;
SELECT * FROM sopflow.load_sop(:'file');
SELECT sop_id, owner FROM sopflow.sop UNION ALL SELECT action, owner FROM sopflow.action UNION ALL SELECT calendar, owner FROM sopflow.calendar UNION ALL SELECT rule_set, owner FROM sopflow.rule_set;
SELECT * FROM sopflow.load_sop(sopflow.export_file());

-- another one: what is not his he neither changes nor sees
SET ROLE sf_other;
SELECT sopflow.export_file()->>'sops', sopflow.export_file()->>'actions';
SELECT sopflow.export_sop('s');
SELECT * FROM sopflow.load_sop('{"id": "s", "nodes": [{"id": "n"}]}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.load_sop('[{"id": "mine", "nodes": [{"id": "n"}]}, {"sops": [], "actions": [{"name": "A", "lease": "5s"}]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.load_sop('{"calendars": [{"name": "c", "opens": "08:00"}]}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.load_sop('{"rule_sets": [{"name": "r"}]}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.load_sop('{"id": "mine", "nodes": [{"id": "n", "action": "A"}]}');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM sopflow.sop;
-- what he may use and is as the file says is no fault, nor a calendar of another
SET ROLE sf_author;
SELECT sopflow.grant_action('A', 'sf_other');
SET ROLE sf_other;
SELECT * FROM sopflow.load_sop(:'file'::jsonb - 'rule_sets' || '{"sops": [{"id": "mine", "calendar": "c", "nodes": [{"id": "n", "action": "A"}]}]}');
SELECT sopflow.export_file();
-- nor does a member of the owner need more
RESET ROLE;
GRANT sf_author TO sf_other;
SET ROLE sf_other;
SELECT * FROM sopflow.load_sop(jsonb_set(:'file', '{sops,0,nodes,1,delay}', '"2h"'));
SELECT owner, delay FROM sopflow.sop JOIN sopflow.sop_node USING (sop_id) WHERE node_id = 'm';
RESET ROLE;
REVOKE sf_author FROM sf_other;

-- A search_path that begins with operators, functions and tables of the names that are used.
SET ROLE sf_author;
CREATE SCHEMA hostile;
CREATE TABLE hostile.client (id int PRIMARY KEY, score int);
CREATE TYPE hostile.level AS ENUM ('low', 'high');
CREATE FUNCTION hostile.handle(sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION hostile.hook(sopflow.rule_event) RETURNS bool LANGUAGE sql STABLE AS $$ SELECT true $$;
CREATE FUNCTION hostile.boom(anyelement, anyelement) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.boom_text(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.boom_jsonb(jsonb, text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.boom_text);
CREATE OPERATOR hostile.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.boom_text);
CREATE OPERATOR hostile.-> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = hostile.boom_jsonb);
CREATE OPERATOR hostile.= (LEFTARG = anyelement, RIGHTARG = anyelement, FUNCTION = hostile.boom);
CREATE FUNCTION hostile.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.set_config(text, text, bool) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.nextval(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE TABLE hostile.pg_class (oid oid, relname name, relnamespace oid);
CREATE TABLE hostile.sop (sop_id text);
CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (false);
SET search_path = hostile, pg_catalog;
SELECT * FROM sopflow.load_sop('{"actions": [{"name": "H", "delivery": "call", "handler": "handle"}],
	"rule_sets": [{"name": "h", "facts": [{"name": "l", "type": "level"}], "before_fire": "hook", "rules": [{"name": "x", "condition": "l = ''low''::level", "actions": []}], "enabled": false}],
	"sops": [{"id": "h", "subject_relation": "client", "subject_key": "id", "nodes": [{"id": "n", "action": "H", "params": {"a": {"b": [1, null]}}, "next": "m"}, {"id": "m", "delay": "1h"}]}]}');
SELECT * FROM sopflow.load_sop('{"id": "h", "subject_relation": "hostile.client", "subject_key": "id", "nodes": [{"id": "m", "delay": "2h", "action": "H"}, {"id": "n", "action": "H"}]}');
SELECT sopflow.export_file('{h}');
-- loaded again: the names are as they were, and nothing is written
SELECT * FROM sopflow.load_sop('{"actions": [{"name": "H", "delivery": "call", "handler": "handle"}],
	"rule_sets": [{"name": "h", "facts": [{"name": "l", "type": "level"}], "before_fire": "hook", "rules": [{"name": "x", "condition": "l = ''low''::level", "actions": []}]}]}');
RESET search_path;
SELECT handler, search_path FROM sopflow.action WHERE action = 'H';
SELECT before_fire, search_path FROM sopflow.rule_set WHERE rule_set = 'h';
SELECT subject_relation, subject_key FROM sopflow.sop WHERE sop_id = 'h';
-- the same name from elsewhere is another, or none
SELECT * FROM sopflow.load_sop('{"id": "h", "subject_relation": "client", "subject_key": "id", "nodes": [{"id": "m"}]}');
SELECT * FROM sopflow.load_sop('{"actions": [{"name": "H", "delivery": "call", "handler": "handle"}]}');
SELECT current_setting('search_path');

-- A schema that may not be looked into.
RESET ROLE;
CREATE SCHEMA sf_closed;
CREATE TABLE sf_closed.client (id int);
SET ROLE sf_author;
SELECT * FROM sopflow.load_sop('{"id": "closed", "subject_relation": "sf_closed.client", "subject_key": "id", "nodes": [{"id": "m"}]}');
\echo :LAST_ERROR_SQLSTATE

RESET ROLE;
DELETE FROM sopflow.sop;
DELETE FROM sopflow.action;
DELETE FROM sopflow.rule_set;
DELETE FROM sopflow.calendar;
DROP SCHEMA sf_closed CASCADE;
DROP OWNED BY sf_author, sf_other, sf_nobody CASCADE;
DROP ROLE sf_author, sf_other, sf_nobody;
