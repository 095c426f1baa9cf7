-- Guards as they are defined: their triggers, who may have them, what is
-- refused, and how they follow their tables. No row is written here.
\pset format unaligned
\pset tuples_only on
\pset null null
CREATE ROLE gf_app;
CREATE ROLE gf_rules;
CREATE ROLE gf_other;
CREATE ROLE gf_both;
GRANT gf_app, gf_rules TO gf_both;
CREATE SCHEMA gf;
GRANT USAGE, CREATE ON SCHEMA gf TO gf_app, gf_rules, gf_other;
GRANT USAGE ON SCHEMA sopflow TO gf_app, gf_rules, gf_other;
GRANT EXECUTE ON FUNCTION sopflow.guard, sopflow.unguard TO gf_app, gf_rules, gf_other;
SET search_path = gf, public;
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE TYPE pair AS (a int, b int);
CREATE DOMAIN code AS text CHECK (value <> '');
CREATE TABLE leads (id int PRIMARY KEY, owner_id int, status text, "Odd ""name" int, j json, p point, m mood, c code, pr pair,
	tags text[], doubled int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE leads OWNER TO gf_app;
CREATE TABLE other (id int);
ALTER TABLE other OWNER TO gf_app;
CREATE FUNCTION set_of(rule_set text, type regtype, facts name[] DEFAULT '{new,old}') RETURNS void LANGUAGE sql AS $$
	INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ($1, 'gf_rules');
	INSERT INTO sopflow.rule_fact (rule_set, fact, type) SELECT $1, f, $2 FROM unnest($3) f;
$$;
SELECT set_of('leads', 'leads');
CREATE VIEW triggers AS SELECT t.tgrelid::regclass AS relation, t.tgname,
	replace(pg_get_triggerdef(t.oid), ' EXECUTE FUNCTION sopflow.enforce', '') AS def
	FROM pg_trigger t WHERE t.tgfoid = 'sopflow.enforce'::regproc ORDER BY t.tgrelid::regclass::text, t.tgname;

\echo --- every write
SET ROLE gf_both;
SELECT sopflow.guard('leads', 'leads');
RESET ROLE;
SELECT def FROM triggers;
SELECT * FROM sopflow.guarded;
SELECT * FROM sopflow.health_guards;
\echo --- columns, changed by another call, in the same triggers
CREATE TEMP TABLE before AS SELECT oid FROM pg_trigger WHERE tgrelid = 'leads'::regclass;
SELECT sopflow.guard('leads', 'leads', '{status,owner_id}');
SELECT def FROM triggers;
SELECT columns FROM sopflow.guarded;
SELECT count(*) FROM before JOIN pg_trigger USING (oid);
SELECT sopflow.guard('leads', 'leads', '{"Odd \"name"}');
SELECT def FROM triggers;
-- types of their own equality, or of none
SELECT sopflow.guard('leads', 'leads', '{j,owner_id,p,m,c,pr,tags}');
SELECT def FROM triggers;
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
ALTER TABLE leads ADD COLUMN name text COLLATE any_case;
SELECT sopflow.guard('leads', 'leads', '{name}');
SELECT def FROM triggers WHERE def LIKE '%UPDATE%';
SELECT sopflow.guard('leads', 'leads', NULL);
SELECT def FROM triggers;

\echo --- columns that are refused, and leave the guard as it was
SELECT sopflow.guard('leads', 'leads', '{id}');
SELECT sopflow.guard('leads', 'leads', '{nothing}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('leads', 'leads', '{id,ctid}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('leads', 'leads', '{doubled}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('leads', 'leads', '{id,status,id}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('leads', 'leads', '{id,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('leads', 'leads', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('leads', 'leads', '{{id,status},{c,m}}');
SELECT columns FROM sopflow.guarded;

\echo --- taken back
SELECT sopflow.unguard('leads', 'leads'), sopflow.unguard('leads', 'leads'), sopflow.unguard('leads', 'nothing');
SELECT count(*) FROM triggers;
SELECT count(*) FROM sopflow.guarded;
BEGIN;
SELECT sopflow.guard('leads', 'leads');
ROLLBACK;
SELECT count(*) FROM triggers;

\echo --- rights
-- owner of the table, no member of the rule set's owner
SET ROLE gf_app;
SELECT sopflow.guard('leads', 'leads');
\echo :LAST_ERROR_SQLSTATE
-- the other way round
SET ROLE gf_rules;
SELECT sopflow.guard('leads', 'leads');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('sopflow.rule_set', 'leads');
SET ROLE gf_other;
SELECT sopflow.guard('leads', 'leads');
SELECT sopflow.unguard('leads', 'leads');
\echo :LAST_ERROR_SQLSTATE
-- refused without waiting for a lock
RESET ROLE;
BEGIN;
LOCK TABLE leads;
PREPARE TRANSACTION 'gf';
SET lock_timeout = 1;
SET ROLE gf_other;
SELECT sopflow.guard('leads', 'leads');
SELECT sopflow.unguard('leads', 'leads');
SET ROLE gf_app;
SELECT sopflow.guard('leads', 'leads');
SET ROLE gf_both;
SELECT sopflow.guard('leads', 'leads');
RESET ROLE;
RESET lock_timeout;
ROLLBACK PREPARED 'gf';
SET ROLE gf_both;
SELECT sopflow.guard('leads', 'leads');
-- the table's owner can always take it back
SET ROLE gf_app;
SELECT sopflow.unguard('leads', 'leads');
-- nothing of it is open to all
RESET ROLE;
SELECT has_function_privilege('public', p.oid, 'EXECUTE') FROM pg_proc p WHERE p.proname IN ('guard', 'unguard', 'enforce', 'open_guards');
SELECT has_function_privilege('gf_app', 'sopflow.enforce()', 'EXECUTE');

\echo --- arguments and relations
SELECT sopflow.guard(NULL, 'leads');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('leads', NULL);
SELECT sopflow.guard('leads', 'nothing');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('nothing', 'leads');
SELECT sopflow.guard(4000000000, 'leads');
SELECT sopflow.unguard(NULL, 'leads');
SELECT sopflow.unguard(4000000000, 'leads');
CREATE VIEW v AS SELECT * FROM other;
CREATE MATERIALIZED VIEW mv AS SELECT * FROM other;
CREATE TEMP TABLE temporary (id int);
CREATE FOREIGN DATA WRAPPER gf_wrapper;
CREATE SERVER gf_server FOREIGN DATA WRAPPER gf_wrapper;
CREATE FOREIGN TABLE far (id int) SERVER gf_server;
SELECT sopflow.guard('v', 'leads');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.guard('mv', 'leads');
SELECT sopflow.guard('far', 'leads');
SELECT sopflow.guard('leads_pkey', 'leads');
SELECT sopflow.guard('temporary', 'leads');
SELECT sopflow.guard('sopflow.rule_set', 'leads');
SELECT sopflow.unguard('v', 'leads');

\echo --- facts
SELECT sopflow.guard('other', 'leads');
\echo :LAST_ERROR_SQLSTATE
SELECT set_of('none', 'leads', '{}');
SELECT sopflow.guard('leads', 'none');
\echo :LAST_ERROR_SQLSTATE
SELECT set_of('more', 'leads', '{old}');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('more', 'ctx', 'jsonb');
SELECT sopflow.guard('leads', 'more');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.rule_fact SET query = 'select ''{}''::jsonb' WHERE rule_set = 'more' AND fact = 'ctx';
SELECT sopflow.guard('leads', 'more');
SELECT sopflow.unguard('leads', 'more');
SELECT set_of('mixed', 'leads', '{new}');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('mixed', 'old', 'other');
SELECT sopflow.guard('leads', 'mixed');
UPDATE sopflow.rule_fact SET type = 'jsonb' WHERE rule_set = 'mixed' AND fact = 'old';
SELECT sopflow.guard('leads', 'mixed');

\echo --- names that are too long, several sets, names that need quotes
SELECT set_of(n, 'leads') FROM unnest(ARRAY[repeat('x', 41), repeat('x', 42), repeat('x', 200), repeat('x', 199) || 'y', repeat(U&'\5ba2', 60), 'it''s \ "q"']) n;
SELECT sopflow.guard('leads', rule_set) FROM sopflow.rule_set WHERE rule_set ~ '^x|''' OR length(rule_set) = 60 ORDER BY rule_set COLLATE "C";
SELECT tgname, octet_length(tgname) FROM triggers WHERE tgname LIKE '%insert%' ORDER BY tgname;
SELECT count(*), count(DISTINCT tgname) FROM triggers;
SELECT def FROM triggers WHERE tgname LIKE '%it''s%';
SELECT * FROM sopflow.health_guards;
SELECT sopflow.unguard('leads', rule_set) FROM sopflow.guarded;
SELECT count(*) FROM triggers;

\echo --- renamed columns and tables
SELECT sopflow.guard('leads', 'leads', '{status,owner_id,j}');
ALTER TABLE leads RENAME COLUMN owner_id TO rep_id;
SELECT columns FROM sopflow.guarded;
SELECT def FROM triggers;
ALTER TABLE leads RENAME COLUMN id TO lead_id;
ALTER TABLE leads RENAME COLUMN status TO owner_id;
ALTER TABLE leads RENAME TO "Leads";
ALTER TABLE "Leads" SET SCHEMA public;
SELECT relation, columns FROM sopflow.guarded;
ALTER TABLE "Leads" RENAME COLUMN owner_id TO j2;
BEGIN;
ALTER TABLE "Leads" RENAME COLUMN j TO state;
SELECT columns FROM sopflow.guarded;
ROLLBACK;
SELECT columns FROM sopflow.guarded;
SELECT * FROM sopflow.health_guards;
-- by an owner who may do nothing in sopflow
REVOKE USAGE ON SCHEMA sopflow FROM gf_app;
GRANT CREATE ON SCHEMA public TO gf_app;
SET ROLE gf_app;
ALTER TABLE "Leads" RENAME TO leads;
ALTER TABLE leads SET SCHEMA gf;
ALTER TABLE leads RENAME COLUMN j2 TO status;
RESET ROLE;
GRANT USAGE ON SCHEMA sopflow TO gf_app;
REVOKE CREATE ON SCHEMA public FROM gf_app;
SELECT relation, columns FROM sopflow.guarded;

\echo --- dropped and retyped columns
\set SHOW_CONTEXT never
ALTER TABLE leads DROP COLUMN j;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE leads DROP COLUMN j CASCADE;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE leads ALTER COLUMN rep_id TYPE bigint;
\echo :LAST_ERROR_SQLSTATE
SELECT columns FROM sopflow.guarded;
SELECT count(*) FROM triggers;
SELECT sopflow.guard('leads', 'leads', '{status,rep_id,m}');
ALTER TABLE leads DROP COLUMN j;
DROP TYPE mood CASCADE;
DROP TYPE pair CASCADE;
SELECT sopflow.guard('leads', 'leads', '{rep_id}');
DROP TYPE mood CASCADE;
-- a guard of every write does not mind
SELECT sopflow.guard('leads', 'leads');
ALTER TABLE leads ALTER COLUMN rep_id TYPE bigint, DROP COLUMN tags;

\echo --- triggers dropped, disabled, set to replica
DROP TRIGGER "~sopflow_guard_update_leads" ON leads;
SELECT severity, code, message, hint FROM sopflow.health_guards;
SELECT sopflow.guard('leads', 'leads', '{rep_id,status}');
DROP TRIGGER "~sopflow_guard_update_leads" ON leads;
DROP TRIGGER "~sopflow_guard_delete_leads" ON leads;
SELECT severity, code, message, hint FROM sopflow.health WHERE code LIKE 'guard%';
SELECT sopflow.guard('leads', 'leads', '{rep_id,status}');
ALTER TABLE leads DISABLE TRIGGER "~sopflow_guard_insert_leads";
ALTER TABLE leads ENABLE REPLICA TRIGGER "~sopflow_guard_update_leads";
SELECT severity, code, message, hint FROM sopflow.health_guards ORDER BY message;
ALTER TABLE leads ENABLE ALWAYS TRIGGER "~sopflow_guard_update_leads";
ALTER TABLE leads ENABLE TRIGGER "~sopflow_guard_insert_leads";
SELECT severity, code, message, hint FROM sopflow.health_guards;
-- guard() enables what is disabled
ALTER TABLE leads DISABLE TRIGGER ALL;
SELECT count(*) FROM sopflow.health_guards;
SELECT sopflow.guard('leads', 'leads');
SELECT count(*) FROM sopflow.health_guards;

ALTER TRIGGER "~sopflow_guard_update_leads" ON leads RENAME TO aaa;
\echo :LAST_ERROR_SQLSTATE

\echo --- triggers that fire later
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
-- these do not, or change nothing
CREATE TRIGGER z BEFORE INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER "~t" AFTER INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER "~u" BEFORE INSERT OR UPDATE ON leads FOR EACH STATEMENT EXECUTE FUNCTION touch();
CREATE TRIGGER "~v" BEFORE DELETE ON leads FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER "~w" BEFORE INSERT OR UPDATE ON other FOR EACH ROW EXECUTE FUNCTION touch();
SELECT * FROM sopflow.health_guards;
CREATE TRIGGER "~zz" BEFORE INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TRIGGER z ON leads RENAME TO "été";
SELECT severity, code, message, hint FROM sopflow.health_guards ORDER BY message;
SELECT sopflow.guard('leads', 'leads');
ALTER TABLE leads DISABLE TRIGGER "été";
ALTER TRIGGER "~zz" ON leads RENAME TO "~a";
SELECT * FROM sopflow.health_guards;
SELECT sopflow.guard('leads', 'leads');
-- guards of other sets are such triggers where they set fields
SELECT sopflow.guard('leads', 'more');
SELECT set_of('tidy', 'leads');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('tidy', 'tidy', 'new.status is null', '[{"deny":"no status"}]');
SELECT sopflow.guard('leads', 'tidy');
SELECT * FROM sopflow.health_guards;
UPDATE sopflow.rule SET actions = '[{"set":{"new.status":"''new''"}}]' WHERE rule_set = 'tidy';
SELECT sopflow.guard('leads', 'tidy');
SELECT severity, code, message, hint FROM sopflow.health_guards ORDER BY message;
-- and only where these are among the columns that the earlier one looks at
SELECT sopflow.guard('leads', 'leads', '{rep_id,"Odd \"name"}');
SELECT sopflow.guard('leads', 'more', '{status,rep_id}');
SELECT sopflow.guard('leads', 'tidy');
SELECT message FROM sopflow.health_guards ORDER BY message;
SELECT sopflow.guard('leads', 'more', '{rep_id}');
SELECT sopflow.guard('leads', 'tidy');
SELECT * FROM sopflow.health_guards;
UPDATE sopflow.rule SET actions = '[{"set":{"new.status":"''new''"}},{"message":"x"},{"set":{"new.c":"''c''","new.\"Odd \"\"name\"":"1"}}]' WHERE rule_set = 'tidy';
SELECT message FROM sopflow.health_guards ORDER BY message;
SELECT sopflow.guard('leads', 'tidy', '{status}');
-- not by a rule that is disabled, nor by an earlier one of the guards
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'tidy';
SELECT * FROM sopflow.health_guards;
INSERT INTO sopflow.rule (rule_set, rule, actions) VALUES ('leads', 'first', '[{"set":{"new.status":"''new''"}}]');
SELECT * FROM sopflow.health_guards;
DELETE FROM sopflow.rule WHERE rule_set = 'leads';
-- every spelling of a field; what is not understood may be one
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('tidy', 'total', 'int'), ('tidy', 'ctx', 'jsonb');
BEGIN;
CREATE FUNCTION warned(key text, rule_set text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE sopflow.rule r SET enabled = true, actions = jsonb_build_array(jsonb_build_object('set', jsonb_build_object(key, '1'))) WHERE r.rule_set = 'tidy';
	RETURN (SELECT string_agg(l.events, ' | ') FROM sopflow.guard_later l WHERE l.rule_set = $2);
END $$;
SELECT sopflow.guard('leads', 'more');
SELECT key, warned(key, 'leads') AS some, warned(key, 'more') AS every FROM unnest(ARRAY['new.rep_id', 'NEW.Rep_ID', ' "new" . "rep_id" ', 'new."Rep_id"', 'new.c',
	'new."Odd ""name"', 'new."odd ""name"', '(new.rep_id)', 'rep_id', 'c', 'total', 'ctx.rep_id', 'ctx', 'old.rep_id', 'nothing.rep_id', 'new.rep_idx', 'été', '', 'new.', '"']) key;
-- a scalar fact hides the field of its name
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('tidy', 'rep_id', 'int');
SELECT key, warned(key, 'leads') FROM unnest('{rep_id,new.rep_id}'::text[]) key;
-- drafts hold anything
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'tidy';
SELECT actions, (SELECT count(*) FROM sopflow.guard_later WHERE rule_set = 'leads') FROM sopflow.rule WHERE rule_set = 'tidy' AND actions <> '[]';
UPDATE sopflow.rule SET actions = '[{"set":"new.rep_id"},["new.rep_id"],"set",{"set":["new.rep_id"]},null]' WHERE rule_set = 'tidy';
SELECT count(*) FROM sopflow.guard_later WHERE rule_set = 'leads';
UPDATE sopflow.rule SET actions = '"set"' WHERE rule_set = 'tidy';
SELECT count(*) FROM sopflow.guard_later WHERE rule_set = 'leads';
ROLLBACK;
SELECT sopflow.unguard('leads', 'tidy'), sopflow.unguard('leads', 'more');
SELECT sopflow.guard('leads', 'leads');
SELECT * FROM sopflow.health_guards;

\echo --- owners that changed
ALTER TABLE leads OWNER TO gf_other;
SELECT severity, code, message, hint FROM sopflow.health_guards;
-- confirmed
SELECT sopflow.guard('leads', 'leads');
SELECT * FROM sopflow.health_guards;
UPDATE sopflow.rule_set SET owner = 'gf_both' WHERE rule_set = 'leads';
SELECT severity, code, message FROM sopflow.health_guards;
-- the one a member of the other
GRANT gf_other TO gf_both;
SELECT severity, code, message FROM sopflow.health_guards;
REVOKE gf_other FROM gf_both;
ALTER TABLE leads OWNER TO gf_app;
SELECT severity, code, message FROM sopflow.health_guards;
UPDATE sopflow.rule_set SET owner = 'gf_rules' WHERE rule_set = 'leads';
SELECT severity, code, message FROM sopflow.health_guards;
-- a draft
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'leads';
SELECT severity, code, message, hint FROM sopflow.health_guards WHERE code = 'guard_draft';
UPDATE sopflow.rule_set SET enabled = true WHERE rule_set = 'leads';
-- who may see health sees this part of it
GRANT SELECT ON sopflow.health_guards TO gf_other;
ALTER TABLE leads DISABLE TRIGGER "~sopflow_guard_insert_leads";
SET ROLE gf_other;
SELECT code, message FROM sopflow.health_guards ORDER BY code;
RESET ROLE;
SELECT sopflow.unguard('leads', 'leads');
-- in a transaction that looks back
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM sopflow.guarded;
SELECT sopflow.guard('leads', 'leads', '{status}');
ALTER TABLE leads RENAME COLUMN status TO state;
SELECT columns FROM sopflow.guarded;
SELECT sopflow.unguard('leads', 'leads');
ROLLBACK;
SELECT count(*) FROM sopflow.guarded;

\echo --- partitions
CREATE TABLE parts (id int, kind text, rep_id int, note text) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (gone int, note text, rep_id int, kind text, id int) PARTITION BY RANGE (id);
ALTER TABLE parts_b DROP COLUMN gone;
CREATE TABLE parts_b1 (kind text, rep_id int, id int, note text);
ALTER TABLE parts_b ATTACH PARTITION parts_b1 FOR VALUES FROM (0) TO (10);
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
ALTER TABLE parts OWNER TO gf_app;
ALTER TABLE parts_b OWNER TO gf_other;
SELECT set_of('parts', 'parts');
SELECT sopflow.guard('parts', 'parts', '{rep_id}');
SELECT relation, tgname FROM triggers;
-- who attaches makes the triggers anew, which takes the right to use the function
SELECT r, has_function_privilege(r, 'sopflow.enforce()', 'EXECUTE') FROM unnest('{gf_app,gf_other,gf_rules}'::name[]) r;
REVOKE USAGE ON SCHEMA sopflow FROM gf_app;
SET ROLE gf_app;
CREATE TABLE parts_c PARTITION OF parts FOR VALUES IN ('c');
CREATE TABLE parts_d (id int, kind text, rep_id int, note text);
ALTER TABLE parts ATTACH PARTITION parts_d FOR VALUES IN ('d');
RESET ROLE;
SELECT relation, count(*) FROM triggers GROUP BY relation ORDER BY relation::text;
REVOKE EXECUTE ON FUNCTION sopflow.enforce() FROM gf_app;
SET ROLE gf_app;
\set VERBOSITY sqlstate
CREATE TABLE parts_e PARTITION OF parts FOR VALUES IN ('e');
\set VERBOSITY default
RESET ROLE;
GRANT USAGE ON SCHEMA sopflow TO gf_app;
-- a new owner is given it
ALTER TABLE parts OWNER TO gf_rules;
SELECT has_function_privilege('gf_rules', 'sopflow.enforce()', 'EXECUTE');
ALTER TABLE parts OWNER TO gf_app;
SELECT has_function_privilege('gf_app', 'sopflow.enforce()', 'EXECUTE');
-- a partition of a guarded table, and a table with a guarded partition
SELECT sopflow.guard('parts_b1', 'parts');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.unguard('parts_b1', 'parts');
SELECT sopflow.unguard('parts', 'parts');
SELECT relation, count(*) FROM triggers GROUP BY relation;
SELECT sopflow.guard('parts_b1', 'parts');
SELECT sopflow.guard('parts', 'parts');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE parts_b DETACH PARTITION parts_b1;
SELECT sopflow.guard('parts', 'parts');
SELECT sopflow.guard('parts_b1', 'parts');
ALTER TABLE parts_b ATTACH PARTITION parts_b1 FOR VALUES FROM (0) TO (10);
SELECT relation, rule_set, columns FROM sopflow.guarded ORDER BY 1;
SELECT sopflow.unguard('parts_b1', 'parts');
ALTER TABLE parts_b ATTACH PARTITION parts_b1 FOR VALUES FROM (0) TO (10);
-- guard() changes the triggers of the partitions too
SELECT sopflow.guard('parts', 'parts', '{note,id}');
SELECT relation, def FROM triggers WHERE def LIKE '%UPDATE%';
ALTER TABLE parts RENAME COLUMN id TO part_id;
SELECT columns FROM sopflow.guarded;
ALTER TABLE parts DROP COLUMN note CASCADE;
-- triggers of partitions: one that is disabled, one that fires later
ALTER TABLE parts_a DISABLE TRIGGER "~sopflow_guard_update_parts";
CREATE TRIGGER "~z" BEFORE UPDATE ON parts_b1 FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER "~y" BEFORE INSERT ON parts FOR EACH ROW EXECUTE FUNCTION touch();
SELECT severity, code, message, hint FROM sopflow.health_guards ORDER BY message;
-- a guarded partition and a later trigger of its parent, which is not
SELECT sopflow.unguard('parts', 'parts');
SELECT sopflow.guard('parts_a', 'parts');
SELECT severity, code, message FROM sopflow.health_guards ORDER BY message;
-- detached, a partition has lost the triggers of its parent
SELECT sopflow.unguard('parts_a', 'parts');
DROP TRIGGER "~y" ON parts;
SELECT sopflow.guard('parts', 'parts');
ALTER TABLE parts DETACH PARTITION parts_a;
SELECT count(*) FROM triggers WHERE relation = 'parts_a'::regclass;
SELECT count(*) FROM sopflow.health_guards WHERE code <> 'guard_later';

\echo --- inheritance
CREATE TABLE child () INHERITS (other);
SELECT set_of('others', 'other');
SELECT sopflow.guard('other', 'others');
SELECT sopflow.guard('child', 'others');
SELECT relation, count(*) FROM triggers WHERE relation::text IN ('other', 'child') GROUP BY relation ORDER BY 1;
ALTER TABLE other RENAME COLUMN id TO key;
SELECT sopflow.unguard('child', 'others');
SELECT sopflow.guard('child', 'others', '{key}');
ALTER TABLE other RENAME COLUMN key TO id;
SELECT relation, columns FROM sopflow.guarded WHERE rule_set = 'others' ORDER BY 1;

\echo --- dropped tables
DROP TABLE child;
SELECT relation FROM sopflow.guarded WHERE rule_set = 'others';
DROP TABLE other CASCADE;
SELECT count(*) FROM sopflow.guarded WHERE rule_set = 'others';
SELECT * FROM sopflow.health_guards WHERE code <> 'guard_later';

SET client_min_messages = error;
DROP SCHEMA gf CASCADE;
DROP SERVER gf_server;
DROP FOREIGN DATA WRAPPER gf_wrapper;
SELECT count(*) FROM sopflow.guarded;
DELETE FROM sopflow.rule_set WHERE owner = 'gf_rules'::regrole;
DELETE FROM sopflow.rule_fact WHERE rule_set NOT IN (SELECT rule_set FROM sopflow.rule_set);
DROP OWNED BY gf_app, gf_rules, gf_other, gf_both;
DROP ROLE gf_app, gf_rules, gf_other, gf_both;
