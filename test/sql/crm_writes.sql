-- Every way in which SQL writes a lead is held to the pack's rules, and leaves
-- a row in the log; the ways round that PostgreSQL leaves are named.
\pset format unaligned
\pset tuples_only on
\pset null null
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';
SELECT sopflow.create_crm('crm_writes');
SET search_path = crm_writes, public;
UPDATE sopflow.rule_param SET value = '3' WHERE rule_set LIKE '%opportunity_claim' AND param = 'max_hold';
INSERT INTO sales_reps (rep_id, name, category) VALUES (1, 'A', 'phone'), (2, 'B', 'phone'), (3, 'C', 'computer');
INSERT INTO opportunities (opportunity_id, category) SELECT i, 'phone' FROM generate_series(1, 40) i;

-- what the log got since the last look
CREATE SEQUENCE seen;
CREATE FUNCTION logged() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT format('%s %s %s: %s -> %s, %s -> %s%s', l.opportunity_id, l.operation, l.event, coalesce(l.from_owner::text, 'public'), coalesce(l.to_owner::text, 'public'),
			coalesce(l.from_status, 'none'), coalesce(l.to_status, 'none'), CASE WHEN NOT l.ok THEN ' denied' END)
		FROM opportunity_log l WHERE l.log_id > (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM seen s) ORDER BY l.log_id;
	PERFORM setval('seen', l.log_id) FROM opportunity_log l ORDER BY l.log_id DESC LIMIT 1;
END
$$;
-- what a program sees
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	state text;
	message text;
	at_rule text;
	at_table text;
BEGIN
	EXECUTE statement;
	GET DIAGNOSTICS n := ROW_COUNT;
	RETURN format('%s rows', n);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state := RETURNED_SQLSTATE, message := MESSAGE_TEXT, at_rule := CONSTRAINT_NAME, at_table := TABLE_NAME;
	RETURN format('%s %s at %s.%s', state, message, at_table, at_rule);
END
$$;

\echo --- UPDATE
SELECT try('UPDATE opportunities SET owner_id = 1 WHERE opportunity_id = 1');
SELECT try('UPDATE opportunities SET owner_id = 3 WHERE opportunity_id = 2');
SELECT try('UPDATE opportunities SET owner_id = 2 WHERE opportunity_id = 1');
SELECT try('UPDATE opportunities SET status = ''TASK'' WHERE opportunity_id = 1');
SELECT try('UPDATE opportunities SET owner_id = NULL WHERE opportunity_id = 1');
SELECT try('UPDATE opportunities SET owner_id = 2 WHERE opportunity_id = 1');
SELECT try('UPDATE opportunities SET owner_id = 1 WHERE opportunity_id = 1');
-- to what it is already
SELECT try('UPDATE opportunities SET owner_id = 1, source = ''web'' WHERE opportunity_id = 1');
SELECT try('DELETE FROM opportunities WHERE opportunity_id = 1');
-- nobody's: not worth a row
SELECT try('DELETE FROM opportunities WHERE opportunity_id = 2');
SELECT logged();

\echo --- many at once: all or none
SELECT try('UPDATE opportunities SET owner_id = 1 WHERE opportunity_id IN (3, 4, 5, 6)');
SELECT count(*) FROM opportunities WHERE owner_id IS NOT NULL;
SELECT try('UPDATE opportunities SET owner_id = 1 WHERE opportunity_id IN (3, 4, 5)');
SELECT try('UPDATE opportunities SET owner_id = 1 WHERE opportunity_id = 6');
SELECT try('UPDATE opportunities SET owner_id = NULL WHERE owner_id = 1');
SELECT logged();

\echo --- UPDATE FROM
SELECT try('UPDATE opportunities o SET owner_id = v.rep FROM (VALUES (7, 1), (8, 3)) v(id, rep) WHERE o.opportunity_id = v.id');
SELECT try('UPDATE opportunities o SET owner_id = r.rep_id FROM sales_reps r WHERE o.opportunity_id IN (7, 8) AND r.rep_id = o.opportunity_id - 6');
SELECT logged();

\echo --- MERGE
SELECT try('MERGE INTO opportunities o USING (VALUES (9, 1), (100, 3)) v(id, rep) ON o.opportunity_id = v.id
	WHEN MATCHED THEN UPDATE SET owner_id = v.rep WHEN NOT MATCHED THEN INSERT (opportunity_id, category, owner_id) VALUES (v.id, ''phone'', v.rep)');
SELECT try('MERGE INTO opportunities o USING (VALUES (9, 1), (100, 3)) v(id, rep) ON o.opportunity_id = v.id
	WHEN MATCHED THEN UPDATE SET owner_id = v.rep WHEN NOT MATCHED THEN INSERT (opportunity_id, category, owner_id) VALUES (v.id, ''computer'', v.rep)');
SELECT try('MERGE INTO opportunities o USING (VALUES (9), (100)) v(id) ON o.opportunity_id = v.id WHEN MATCHED AND o.owner_id = 1 THEN UPDATE SET owner_id = NULL WHEN MATCHED THEN DELETE');
SELECT logged();

\echo --- COPY
\set VERBOSITY sqlstate
COPY opportunities (opportunity_id, category, owner_id) FROM stdin;
101	phone	1
102	phone	1
103	phone	1
\.
\set VERBOSITY default
COPY opportunities (opportunity_id, category, owner_id) FROM stdin;
101	phone	3
\.
COPY opportunities (opportunity_id, category, owner_id) FROM stdin;
101	phone	1
102	phone	2
103	computer	3
104	phone	\N
\.
SELECT opportunity_id, status, owner_id, acquired_by, claimed_at, pooled_at, recycle_at FROM opportunities WHERE opportunity_id > 100 ORDER BY 1;
SELECT logged();

\echo --- INSERT ... ON CONFLICT
-- A and B have two each
SELECT owner_id, count(*) FROM opportunities WHERE owner_id IS NOT NULL GROUP BY 1 ORDER BY 1;
SELECT try('INSERT INTO opportunities (opportunity_id, category) VALUES (10, ''phone'') ON CONFLICT (opportunity_id) DO UPDATE SET owner_id = 3');
SELECT try('INSERT INTO opportunities (opportunity_id, category) VALUES (10, ''phone'') ON CONFLICT (opportunity_id) DO UPDATE SET owner_id = 1');
SELECT try('INSERT INTO opportunities (opportunity_id, category) VALUES (11, ''phone'') ON CONFLICT (opportunity_id) DO UPDATE SET owner_id = 1');
SELECT try('INSERT INTO opportunities (opportunity_id, category, owner_id) VALUES (11, ''phone'', 2) ON CONFLICT (opportunity_id) DO NOTHING');
SELECT try('INSERT INTO opportunities (opportunity_id, category, owner_id) VALUES (105, ''phone'', 2) ON CONFLICT (opportunity_id) DO NOTHING');
-- rules see a row before its conflict is found: B is full now
SELECT try('INSERT INTO opportunities (opportunity_id, category, owner_id) VALUES (11, ''phone'', 2) ON CONFLICT (opportunity_id) DO NOTHING');
SELECT logged();
SELECT opportunity_id, owner_id FROM opportunities WHERE opportunity_id IN (10, 11, 105) ORDER BY 1;
-- what only meets a lead leaves its tasks where they are
SELECT sop_id, due_at FROM sopflow.tasks WHERE subject_id = '105' AND status = 'pending' ORDER BY 1;
SET sopflow.clock = '2030-01-09 10:00:00+00';
UPDATE opportunities SET owner_id = NULL WHERE opportunity_id = 10;
INSERT INTO opportunities (opportunity_id, category, owner_id, level) VALUES (105, 'phone', 1, 'B') ON CONFLICT (opportunity_id) DO UPDATE SET level = excluded.level RETURNING owner_id, level, recycle_at;
INSERT INTO opportunities (opportunity_id, category, owner_id, level) VALUES (105, 'phone', 1, 'C') ON CONFLICT (opportunity_id) DO NOTHING;
SELECT sop_id, due_at FROM sopflow.tasks WHERE subject_id = '105' AND status = 'pending' ORDER BY 1;
-- and what moves it moves them
INSERT INTO opportunities (opportunity_id, category, owner_id) VALUES (105, 'phone', 1) ON CONFLICT (opportunity_id) DO UPDATE SET owner_id = 1, claimed_at = sopflow.now();
SELECT sop_id, due_at FROM sopflow.tasks WHERE subject_id = '105' AND status = 'pending' ORDER BY 1;
SELECT logged();

\echo --- INSERT ... SELECT
SELECT try('INSERT INTO opportunities (opportunity_id, category, owner_id) SELECT i, ''computer'', 3 FROM generate_series(110, 112) i');
SELECT try('INSERT INTO opportunities (opportunity_id, category, owner_id) SELECT i, ''computer'', 3 FROM generate_series(110, 111) i');
SELECT logged();

\echo --- a statement in WITH
UPDATE opportunities SET owner_id = NULL WHERE owner_id IS NOT NULL;
SELECT count(*) FROM logged();
SELECT try('WITH c AS (UPDATE opportunities SET owner_id = 1 WHERE opportunity_id IN (12, 13) RETURNING *), d AS (UPDATE opportunities SET owner_id = 1 WHERE opportunity_id IN (14, 15) RETURNING *)
	SELECT * FROM c UNION ALL SELECT * FROM d');
SELECT try('WITH c AS (UPDATE opportunities SET owner_id = 1 WHERE opportunity_id IN (12, 13) RETURNING *), d AS (INSERT INTO opportunities (opportunity_id, category, owner_id) VALUES (120, ''phone'', 1) RETURNING *)
	SELECT * FROM c UNION ALL SELECT * FROM d');
SELECT logged();

\echo --- views
CREATE VIEW phones AS SELECT opportunity_id AS id, owner_id AS rep, category FROM opportunities WHERE category = 'phone' WITH CHECK OPTION;
SELECT try('UPDATE phones SET rep = 3 WHERE id = 16');
SELECT try('UPDATE phones SET rep = 2 WHERE id = 16');
SELECT try('INSERT INTO phones (id, rep, category) VALUES (121, 1, ''phone'')');
SET sopflow.rep_id = '2';
SELECT try('UPDATE my_pool SET owner_id = 1');
SELECT try('UPDATE my_pool SET owner_id = NULL');
RESET sopflow.rep_id;
SELECT logged();

\echo --- a cursor
BEGIN;
DECLARE free CURSOR FOR SELECT * FROM opportunities WHERE opportunity_id IN (17, 18) ORDER BY opportunity_id FOR UPDATE;
FETCH free \g /dev/null
SAVEPOINT s;
UPDATE opportunities SET owner_id = 3 WHERE CURRENT OF free;
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
UPDATE opportunities SET owner_id = 2 WHERE CURRENT OF free;
FETCH free \g /dev/null
UPDATE opportunities SET owner_id = 2 WHERE CURRENT OF free;
COMMIT;
SELECT logged();

\echo --- a function, which goes on after a denial
CREATE FUNCTION take(ids bigint[], rep bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	FOREACH id IN ARRAY ids LOOP
		BEGIN
			UPDATE opportunities SET owner_id = rep WHERE opportunity_id = id;
			RETURN NEXT id || ' ok';
		EXCEPTION WHEN SQLSTATE 'SF010' THEN
			RETURN NEXT id || ' ' || SQLERRM;
		END;
	END LOOP;
END
$$;
SELECT take('{19,20,21,12}', 2);
SELECT logged();

\echo --- a prepared statement
SET plan_cache_mode = force_generic_plan;
PREPARE take(bigint, bigint) AS UPDATE opportunities SET owner_id = $2 WHERE opportunity_id = $1;
EXECUTE take(20, 2);
UPDATE sopflow.rule_param SET value = '4' WHERE rule_set LIKE '%opportunity_claim' AND param = 'max_hold';
EXECUTE take(20, 2);
EXECUTE take(21, 2);
UPDATE sopflow.rule_param SET value = '3' WHERE rule_set LIKE '%opportunity_claim' AND param = 'max_hold';
DEALLOCATE take;
RESET plan_cache_mode;
SELECT logged();

\echo --- owner and status together
UPDATE opportunities SET owner_id = NULL WHERE owner_id IS NOT NULL;
SELECT count(*) FROM logged();
SELECT try('UPDATE opportunities SET owner_id = 1, status = ''TASK'' WHERE opportunity_id = 22');
SELECT try('UPDATE opportunities SET (owner_id, status) = (1, ''UNBIND'') WHERE opportunity_id = 23');
SELECT try('UPDATE opportunities SET owner_id = NULL, status = ''INVALID'' WHERE opportunity_id = 22');
-- a status that cannot be taken is not made one that can in the same breath
SELECT try('UPDATE opportunities SET owner_id = 2, status = ''UNBIND'' WHERE opportunity_id = 22');
SELECT try('UPDATE opportunities SET owner_id = 3, status = ''BIND'' WHERE opportunity_id = 24');
SELECT try('UPDATE opportunities SET owner_id = 3, category = ''computer'', status = ''CONVERTED'' WHERE opportunity_id = 24');
SELECT try('UPDATE opportunities SET owner_id = 3, category = ''computer'' WHERE opportunity_id = 24');
SELECT try('UPDATE opportunities SET status = ''CONVERTED'' WHERE opportunity_id = 24');
SELECT try('UPDATE opportunities SET owner_id = NULL, status = ''UNBIND'' WHERE opportunity_id = 24');
SELECT try('UPDATE opportunities SET owner_id = 1 WHERE opportunity_id IN (25, 26)');
-- A is full; what is won does not count, until it is open again
SELECT try('UPDATE opportunities SET owner_id = 1, status = ''TASK'' WHERE opportunity_id = 27');
SELECT try('UPDATE opportunities SET status = ''CONVERTED'' WHERE opportunity_id = 25');
SELECT try('UPDATE opportunities SET owner_id = 1, status = ''TASK'' WHERE opportunity_id = 27');
SELECT try('UPDATE opportunities SET status = ''BIND'' WHERE opportunity_id = 25');
SELECT logged();
SELECT opportunity_id, status, minor_status, owner_id, last_owner_id, closed_at FROM opportunities WHERE opportunity_id BETWEEN 22 AND 27 ORDER BY 1;

\echo --- a role that may only write the table
CREATE ROLE cw_app;
GRANT USAGE ON SCHEMA crm_writes TO cw_app;
GRANT SELECT, UPDATE ON opportunities TO cw_app;
SET ROLE cw_app;
UPDATE crm_writes.opportunities SET owner_id = 3 WHERE opportunity_id = 28;
\echo :LAST_ERROR_SQLSTATE
UPDATE crm_writes.opportunities SET owner_id = 2 WHERE opportunity_id = 28;
-- neither can it take the guard away
SET session_replication_role = replica;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE crm_writes.opportunities DISABLE TRIGGER ALL;
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.unguard('crm_writes.opportunities', 'opportunity_claim');
\echo :LAST_ERROR_SQLSTATE
TRUNCATE crm_writes.opportunities;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT logged();

\echo --- the ways round
SELECT code, message FROM sopflow.health_guards;
-- as one who applies changes of a replica
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE opportunities SET owner_id = 3 WHERE opportunity_id = 29 RETURNING owner_id, status, recycle_at;
SELECT logged();
ROLLBACK;
-- unless the triggers fire always
SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', tgrelid::regclass, tgname) FROM pg_trigger WHERE tgrelid = 'opportunities'::regclass AND tgname LIKE '~sopflow_guard_%' ORDER BY tgname \gexec
SET session_replication_role = replica;
UPDATE opportunities SET owner_id = 3 WHERE opportunity_id = 29;
\echo :LAST_ERROR_SQLSTATE
RESET session_replication_role;
-- as the owner of the table
SELECT sopflow.guard('opportunities', rule_set, columns) FROM sopflow.guarded WHERE relation = 'opportunities'::regclass;
ALTER TABLE opportunities DISABLE TRIGGER "~sopflow_guard_update_opportunity_claim";
UPDATE opportunities SET owner_id = 3 WHERE opportunity_id = 29 RETURNING owner_id, status;
SELECT severity, code, message, hint FROM sopflow.health WHERE code LIKE 'guard%';
-- it is logged all the same
SELECT logged();
ALTER TABLE opportunities ENABLE TRIGGER "~sopflow_guard_update_opportunity_claim";
SELECT count(*) FROM sopflow.health WHERE code LIKE 'guard%';
DROP TRIGGER "~sopflow_guard_update_opportunity_claim" ON opportunities;
SELECT severity, code, message FROM sopflow.health WHERE code LIKE 'guard%';
SELECT sopflow.guard('opportunities', 'opportunity_claim', '{owner_id,status}');
SELECT try('UPDATE opportunities SET owner_id = 3 WHERE opportunity_id = 30');

-- a restore takes rows as they were
SET sopflow.restoring = on;
UPDATE opportunities SET owner_id = 3 WHERE opportunity_id = 31 RETURNING owner_id, status;
RESET sopflow.restoring;
SELECT logged();
SELECT count(*) FROM sopflow.restored();

\echo --- a table of leads in partitions
CREATE SCHEMA crm_parts;
SET search_path = crm_parts, public;
CREATE TABLE sales_reps (LIKE crm_writes.sales_reps INCLUDING ALL);
CREATE TABLE opportunities (LIKE crm_writes.opportunities INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING IDENTITY INCLUDING COMMENTS,
	PRIMARY KEY (category, opportunity_id)) PARTITION BY LIST (category);
CREATE INDEX ON opportunities (opportunity_id);
CREATE INDEX ON opportunities (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX ON opportunities (recycle_at) WHERE recycle_at IS NOT NULL;
CREATE TABLE phone PARTITION OF opportunities FOR VALUES IN ('phone');
CREATE TABLE computer PARTITION OF opportunities FOR VALUES IN ('computer') PARTITION BY RANGE (opportunity_id);
CREATE TABLE computer_1 PARTITION OF computer FOR VALUES FROM (1) TO (100);
CREATE TABLE opportunity_log (LIKE crm_writes.opportunity_log INCLUDING ALL);
CREATE TABLE contacts (LIKE crm_writes.contacts INCLUDING ALL);
CREATE TABLE rep_tasks (LIKE crm_writes.rep_tasks INCLUDING ALL);
BEGIN;
SELECT sopflow.copy_rules(s, 'crm_parts.' || s, 'opportunities') FROM unnest('{opportunity_claim,opportunity_unbind,opportunity_recycle}'::text[]) s;
-- where names are looked up: the same ones, here
UPDATE sopflow.rule_set SET search_path = 'crm_parts, pg_temp' WHERE rule_set LIKE 'crm\_parts.%';
UPDATE sopflow.rule_fact SET type = 'sales_reps' WHERE rule_set = 'crm_parts.opportunity_claim' AND fact = 'rep';
-- their events would start SOPs for leads of the other table
DELETE FROM sopflow.rule WHERE rule_set = 'crm_parts.opportunity_recycle' AND rule IN ('schedule', 'schedule_new', 'remind', 'remind_new', 'calm');
COMMIT;
SELECT sopflow.guard('opportunities', 'crm_parts.' || rule_set, columns) FROM sopflow.guarded WHERE relation = 'crm_writes.opportunities'::regclass ORDER BY rule_set;
CREATE TRIGGER log AFTER UPDATE ON opportunities FOR EACH ROW WHEN ((OLD.owner_id, OLD.status, OLD.frozen_until, OLD.last_contact_at) IS DISTINCT FROM (NEW.owner_id, NEW.status, NEW.frozen_until, NEW.last_contact_at))
	EXECUTE FUNCTION sopflow.crm_log('crm_parts');
CREATE TRIGGER log_insert AFTER INSERT ON opportunities FOR EACH ROW WHEN (NEW.owner_id IS NOT NULL) EXECUTE FUNCTION sopflow.crm_log('crm_parts');
CREATE TRIGGER log_delete AFTER DELETE ON opportunities FOR EACH ROW WHEN (OLD.owner_id IS NOT NULL) EXECUTE FUNCTION sopflow.crm_log('crm_parts');
CREATE FUNCTION note_contact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE opportunities o SET last_contact_at = NEW.contacted_at WHERE o.opportunity_id = NEW.opportunity_id;
	RETURN NULL;
END
$$;
CREATE TRIGGER note AFTER INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION note_contact();
-- these look at the search_path of their caller
CREATE SEQUENCE seen;
CREATE FUNCTION logged() RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT crm_writes.logged(); END $$;
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE sql AS 'SELECT crm_writes.try(statement)';
SELECT code, message FROM sopflow.health WHERE code LIKE 'guard%';
SELECT count(DISTINCT tgrelid), count(*) FROM pg_trigger WHERE tgfoid = 'sopflow.enforce()'::regprocedure AND tgrelid::regclass::text NOT LIKE 'crm_writes%';

INSERT INTO sales_reps (rep_id, name, category) VALUES (1, 'A', 'phone'), (2, 'B', 'phone'), (3, 'C', 'computer'), (4, 'D', NULL);
INSERT INTO opportunities (opportunity_id, category) SELECT i, CASE WHEN i > 10 THEN 'computer' ELSE 'phone' END FROM generate_series(1, 20) i;
SELECT logged();
-- through the parent, and straight into a partition
SELECT try('UPDATE opportunities SET owner_id = 1 WHERE opportunity_id IN (1, 2)');
SELECT try('UPDATE opportunities SET owner_id = 1 WHERE opportunity_id = 11');
SELECT try('UPDATE computer_1 SET owner_id = 1 WHERE opportunity_id = 11');
SELECT try('UPDATE phone SET owner_id = 1 WHERE opportunity_id IN (3, 4)');
SELECT try('INSERT INTO opportunities (opportunity_id, category, owner_id) VALUES (30, ''phone'', 3)');
SELECT try('INSERT INTO computer_1 (opportunity_id, category, owner_id) VALUES (30, ''computer'', 1)');
SELECT try('INSERT INTO computer_1 (opportunity_id, category, owner_id) VALUES (30, ''computer'', 3)');
SELECT try('UPDATE phone SET owner_id = 2 WHERE opportunity_id = 1');
SELECT logged();
-- one that comes later
CREATE TABLE other PARTITION OF opportunities DEFAULT;
SELECT try('INSERT INTO other (opportunity_id, category, owner_id) VALUES (40, ''tablet'', 2)');
SELECT try('INSERT INTO opportunities (opportunity_id, category, owner_id) VALUES (40, ''tablet'', 4)');
SELECT tableoid::regclass, opportunity_id, status, owner_id, acquired_by, recycle_at FROM opportunities WHERE owner_id IS NOT NULL ORDER BY 2;
SELECT logged();

-- functions
SELECT opportunity_id, ok, code, message, to_owner FROM sopflow.crm_claim('crm_parts', '{5,12,1,99}', 1);
SELECT opportunity_id, ok, code, to_owner FROM sopflow.crm_assign('crm_parts', '{12}', 3);
SELECT opportunity_id, ok, code, to_owner FROM sopflow.crm_transfer('crm_parts', '{5}', 2);
SELECT opportunity_id, ok, code, to_owner FROM sopflow.crm_release('crm_parts', '{2,12}', 'other', 'no time');
SELECT opportunity_id, ok, code FROM sopflow.crm_claim('crm_parts', '{2}', 1);
SELECT opportunity_id, ok, code FROM sopflow.crm_freeze('crm_parts', '{13}', '2030-02-01 00:00+00');
SELECT opportunity_id, ok, code FROM sopflow.crm_claim('crm_parts', '{13}', 3);
SELECT opportunity_id, ok, code FROM sopflow.crm_unfreeze('crm_parts', '{13}');
SELECT opportunity_id, ok, code FROM sopflow.crm_log_contact('crm_parts', 5, 2);
SELECT opportunity_id, ok, code FROM sopflow.crm_convert('crm_parts', '{5}');
SELECT opportunity_id, ok, code FROM sopflow.crm_lose('crm_parts', '{40}', 'gone');
SELECT opportunity_id, ok, code, from_owner, to_owner FROM sopflow.crm_hand_over('crm_parts', 2, 4);
SET sopflow.clock = '2030-02-08 10:00:00+00';
SELECT opportunity_id, ok, message FROM sopflow.crm_recycle('crm_parts', dry_run => true);
SELECT opportunity_id, ok, from_owner FROM sopflow.crm_recycle('crm_parts');
SELECT logged();
SELECT tableoid::regclass, opportunity_id, status, owner_id, last_owner_id FROM opportunities WHERE owner_id IS NOT NULL OR last_owner_id IS NOT NULL ORDER BY 2;

\echo --- leads that change partition
-- triggers see an UPDATE, a DELETE and an INSERT: such a lead is held to the rules of a claim
SET sopflow.clock = '2030-03-01 10:00:00+00';
UPDATE opportunities SET owner_id = 1 WHERE opportunity_id = 6;
UPDATE opportunities SET owner_id = 4 WHERE opportunity_id IN (7, 8, 14);
SELECT count(*) FROM logged();
SELECT try('UPDATE opportunities SET category = ''computer'' WHERE opportunity_id = 6');
SELECT try('UPDATE opportunities SET category = ''computer'' WHERE opportunity_id = 9');
-- D is full, which does not keep him from those that he has
SELECT try('UPDATE opportunities SET category = ''computer'' WHERE opportunity_id IN (7, 8)');
SELECT try('UPDATE opportunities SET category = ''tablet'', owner_id = 4 WHERE opportunity_id = 10');
SELECT try('UPDATE opportunities SET category = ''phone'', owner_id = 1 WHERE opportunity_id = 14');
SELECT try('UPDATE opportunities SET category = ''computer'', owner_id = NULL WHERE opportunity_id = 6');
SELECT try('MERGE INTO opportunities o USING (VALUES (10)) v(id) ON o.opportunity_id = v.id WHEN MATCHED THEN UPDATE SET category = ''computer'', owner_id = 1');
SELECT logged();
SELECT tableoid::regclass, opportunity_id, status, owner_id, acquired_by, claimed_at, recycle_at FROM opportunities WHERE opportunity_id IN (6, 7, 8, 9, 10, 14) ORDER BY 2;
SELECT owner_id, count(*) FROM opportunities WHERE owner_id IS NOT NULL AND closed_at IS NULL GROUP BY 1 ORDER BY 1;

RESET search_path;
SET client_min_messages = error;
SELECT count(sopflow.cancel(sop_id => s)) FROM unnest('{customer_care_sop,material_sop,opportunity_reminder_sop,opportunity_recycle_sop}'::text[]) s;
DROP SCHEMA crm_parts, crm_writes CASCADE;
DELETE FROM sopflow.rule_set WHERE rule_set ~ 'opportunity_(claim|unbind|recycle)$';
DELETE FROM sopflow.sop WHERE sop_id IN ('customer_care_sop', 'material_sop', 'opportunity_reminder_sop', 'opportunity_recycle_sop');
DELETE FROM sopflow.action WHERE action IN ('SEND_GREETING', 'PUSH_CASE', 'SEND_REG_LINK', 'FOLLOW_UP', 'REMIND_OWNER', 'RECYCLE_OPPORTUNITY');
DROP ROLE cw_app;
