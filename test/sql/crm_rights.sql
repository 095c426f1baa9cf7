-- Who may do what with the CRM pack: its author needs no superuser, a rep sees
-- and takes what is public or his, an application acts for reps, a manager for
-- all, others for nobody.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 09:00:00+00';
SELECT coalesce(max(run_id), 0) AS before FROM sopflow.runs \gset
CREATE ROLE cr_author;
CREATE ROLE cr_ann;
CREATE ROLE cr_bob;
CREATE ROLE cr_rep;
CREATE ROLE cr_app;
CREATE ROLE cr_boss;
CREATE ROLE cr_min;
CREATE ROLE cr_nobody;
CREATE ROLE cr_thief;
GRANT cr_rep TO cr_ann, cr_bob, cr_app;

-- What an author needs to make it.
\set VERBOSITY sqlstate
SET ROLE cr_author;
SELECT sopflow.create_crm('crm_rights');
RESET ROLE;
SELECT sopflow.grant_author('cr_author');
SET ROLE cr_author;
SELECT sopflow.create_crm('crm_rights');
RESET ROLE;
CREATE SCHEMA crm_rights AUTHORIZATION cr_author;
SET ROLE cr_author;
SELECT sopflow.create_crm('crm_rights');
RESET ROLE;
GRANT EXECUTE ON FUNCTION sopflow.guard TO cr_author;
SET ROLE cr_author;
SELECT sopflow.create_crm('crm_rights');
RESET ROLE;
GRANT EXECUTE ON FUNCTION sopflow.watch TO cr_author;
\set VERBOSITY default
SET ROLE cr_author;
SELECT sopflow.create_crm('crm_rights', true, 'cr_boss');
RESET ROLE;
-- it is his, not the superuser's
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'crm_rights'::regnamespace;
SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'crm_rights'::regnamespace;
SELECT DISTINCT owner FROM sopflow.rule_set WHERE rule_set LIKE 'opportunity%' UNION SELECT owner FROM sopflow.sop WHERE sop_id LIKE 'opportunity%';
SELECT relname, relrowsecurity FROM pg_class WHERE relnamespace = 'crm_rights'::regnamespace AND relkind = 'r' ORDER BY 1;

-- The recipes: a rep, ...
SET ROLE cr_author;
GRANT USAGE ON SCHEMA crm_rights TO cr_rep;
GRANT SELECT ON crm_rights.opportunities, crm_rights.public_pool, crm_rights.my_pool, crm_rights.contacts, crm_rights.opportunity_log,
	crm_rights.rep_tasks, crm_rights.rep_report TO cr_rep;
GRANT SELECT (rep_id, name, category, team, level, active) ON crm_rights.sales_reps TO cr_rep;
GRANT UPDATE (owner_id, status, lost_reason) ON crm_rights.opportunities TO cr_rep;
GRANT INSERT (opportunity_id, rep_id, kind, note, contacted_at) ON crm_rights.contacts TO cr_rep;
-- ... and a manager
GRANT USAGE ON SCHEMA crm_rights TO cr_boss;
GRANT SELECT ON ALL TABLES IN SCHEMA crm_rights TO cr_boss;
GRANT UPDATE (owner_id, status, lost_reason, frozen_until, minor_status, locked, recycle_at) ON crm_rights.opportunities TO cr_boss;
GRANT INSERT, UPDATE ON crm_rights.sales_reps, crm_rights.rep_tasks, crm_rights.assignment, crm_rights.assignment_turn TO cr_boss;
GRANT UPDATE ON crm_rights.recycle_state TO cr_boss;
GRANT INSERT ON crm_rights.opportunities, crm_rights.contacts TO cr_boss;
INSERT INTO crm_rights.sales_reps (rep_id, name, category, role_name) VALUES (1, 'Ann', 'phone', 'cr_ann'), (2, 'Bob', 'phone', 'cr_bob'), (3, 'Cai', 'phone', NULL);
INSERT INTO crm_rights.opportunities (opportunity_id, category) SELECT i, 'phone' FROM generate_series(1, 12) i;
INSERT INTO crm_rights.rep_tasks (rep_id, opportunity_id, title, done_at) VALUES (1, NULL, 'ann signs', now()), (2, NULL, 'bob signs', now()), (2, 3, 'bob calls', now());
RESET ROLE;
GRANT USAGE ON SCHEMA crm_rights TO cr_nobody;

-- A rep claims for himself and sees what is public or his.
SET ROLE cr_ann;
SELECT * FROM crm_rights.claim('{1,2}', 1);
SET ROLE cr_bob;
SELECT * FROM crm_rights.claim('{2,3}', 2);
SELECT opportunity_id, owner_id FROM crm_rights.opportunities WHERE owner_id IS NOT NULL ORDER BY 1;
SELECT count(*), min(opportunity_id), max(opportunity_id) FROM crm_rights.public_pool;
SELECT opportunity_id, owner_id FROM crm_rights.my_pool;
SELECT ok, code FROM crm_rights.log_contact(3, 2, 'call', 'hello');
-- what hangs on a lead is seen with it
SELECT opportunity_id, kind, note FROM crm_rights.contacts;
SELECT opportunity_id, operation, ok, role_name = session_user FROM crm_rights.opportunity_log ORDER BY log_id;
SELECT title FROM crm_rights.rep_tasks ORDER BY 1;
SET ROLE cr_ann;
SELECT opportunity_id, owner_id FROM crm_rights.my_pool ORDER BY 1;
SELECT count(*) FROM crm_rights.contacts;
SELECT opportunity_id, operation, ok FROM crm_rights.opportunity_log ORDER BY log_id;
SELECT title FROM crm_rights.rep_tasks;
-- the reports count for all
SELECT rep_id, held, hold_limit FROM crm_rights.rep_report ORDER BY 1;

-- Another's private lead is not there.
SELECT * FROM crm_rights.claim('{3}', 1);
SELECT * FROM crm_rights.release('{3}');
SELECT * FROM crm_rights.transfer('{3}', 1);
SELECT * FROM crm_rights.convert('{3}');
SELECT * FROM crm_rights.lose('{3}');
SELECT * FROM crm_rights.log_contact(3, 1);
SELECT * FROM crm_rights.log_contact(3, 2);
UPDATE crm_rights.opportunities SET owner_id = 1 WHERE opportunity_id = 3 RETURNING *;
UPDATE crm_rights.opportunities SET owner_id = NULL WHERE owner_id <> 1 RETURNING *;
INSERT INTO crm_rights.contacts (opportunity_id, rep_id) VALUES (3, 1);
\echo :LAST_ERROR_SQLSTATE

-- Nothing is given to others, or taken in their name.
\set VERBOSITY sqlstate
SELECT opportunity_id, ok, code, from_owner, to_owner FROM crm_rights.transfer('{1}', 2);
SELECT opportunity_id, ok, code, from_owner, to_owner FROM crm_rights.claim('{4}', 2);
SELECT opportunity_id, ok, code, from_owner, to_owner FROM crm_rights.assign('{4}', 2);
SELECT opportunity_id, ok, code, from_owner, to_owner FROM crm_rights.hand_over(1, 2);
SELECT opportunity_id, ok, code, from_owner, to_owner FROM crm_rights.hand_over(2, 1);
UPDATE crm_rights.opportunities SET owner_id = 2 WHERE opportunity_id = 1;
UPDATE crm_rights.opportunities SET owner_id = 2 WHERE opportunity_id = 4;
SET sopflow.rep_id = 2;
SELECT crm_rights.rep_of(current_user);
SELECT opportunity_id, ok, code FROM crm_rights.claim('{4}', 2);
SELECT opportunity_id FROM crm_rights.my_pool ORDER BY 1;
RESET sopflow.rep_id;
-- nor by way of a role that both are members of
RESET ROLE;
SET SESSION AUTHORIZATION cr_ann;
SET ROLE cr_rep;
SET sopflow.rep_id = 2;
SELECT current_user, crm_rights.rep_of(current_user);
SELECT opportunity_id FROM crm_rights.my_pool ORDER BY 1;
RESET sopflow.rep_id;
RESET ROLE;
RESET SESSION AUTHORIZATION;
SET ROLE cr_ann;
-- nor what only the rules write
UPDATE crm_rights.opportunities SET last_owner_id = NULL WHERE opportunity_id = 1;
UPDATE crm_rights.opportunities SET released_at = '2000-01-01' WHERE opportunity_id = 1;
UPDATE crm_rights.opportunities SET claimed_at = '2100-01-01' WHERE opportunity_id = 1;
UPDATE crm_rights.opportunities SET owner_id = 1, recycle_at = NULL WHERE opportunity_id = 4;
UPDATE crm_rights.opportunity_log SET ok = true;
DELETE FROM crm_rights.opportunity_log;
INSERT INTO crm_rights.opportunity_log (opportunity_id, operation, ok) VALUES (1, 'CLAIM', true);
INSERT INTO crm_rights.opportunities (category) VALUES ('phone');
DELETE FROM crm_rights.opportunities;
UPDATE crm_rights.sales_reps SET role_name = 'cr_ann';
SELECT * FROM crm_rights.recycle();
SELECT * FROM crm_rights.auto_assign('{4}');
SELECT opportunity_id, ok, code FROM crm_rights.freeze('{4}', '2031-01-01');
\set VERBOSITY default
-- a claim by hand is held to the rules, a release starts the cool-down
UPDATE crm_rights.opportunities SET owner_id = 1 WHERE opportunity_id = 5 RETURNING owner_id, status, acquired_by, claimed_at;
UPDATE crm_rights.opportunities SET owner_id = NULL WHERE opportunity_id = 5 RETURNING owner_id, last_owner_id, released_at;
SELECT ok, code FROM crm_rights.claim('{5}', 1);
UPDATE crm_rights.opportunities SET owner_id = 1 WHERE opportunity_id = 5;
\echo :LAST_ERROR_SQLSTATE
-- an assignment would not be, so it is the manager's
SELECT ok, code FROM crm_rights.assign('{5}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT ok, code, from_owner, to_owner FROM crm_rights.release('{2}', 'other', 'no time', operator => 'ann');
SELECT ok, code FROM crm_rights.convert('{1}');
SELECT opportunity_id, operation, ok, code, operator, event, reason_type, reason FROM crm_rights.opportunity_log WHERE opportunity_id IN (1, 2, 5) ORDER BY log_id;

-- An application acts for the rep that its setting names.
SET ROLE cr_app;
SELECT count(*), count(owner_id) FROM crm_rights.opportunities;
SELECT * FROM crm_rights.my_pool;
SET sopflow.rep_id = 3;
SELECT opportunity_id, ok FROM crm_rights.claim('{6,3}', 3, 'web of Cai');
SELECT opportunity_id, ok, code FROM crm_rights.claim('{7}', 2);
SELECT opportunity_id FROM crm_rights.my_pool;
SET sopflow.rep_id = 2;
SELECT opportunity_id FROM crm_rights.my_pool;
SET sopflow.rep_id = '';
SELECT opportunity_id FROM crm_rights.my_pool;
-- only numbers
SET sopflow.rep_id = 'two';
SET sopflow.rep_id = '2 OR true';
SET sopflow.rep_id = '99999999999999999999';
SET sopflow.rep_id = '2.5';
\echo :LAST_ERROR_SQLSTATE
SET sopflow.rep_id = '-1';
SELECT count(*) FROM crm_rights.my_pool;
BEGIN;
SET LOCAL sopflow.rep_id = 2;
SELECT opportunity_id FROM crm_rights.my_pool;
COMMIT;
SELECT count(*) FROM crm_rights.my_pool;
RESET sopflow.rep_id;

-- A manager does everything with every lead.
SET ROLE cr_boss;
SELECT count(*), count(owner_id) FROM crm_rights.opportunities;
SELECT ok, code, from_owner, to_owner FROM crm_rights.transfer('{3}', 3, 'boss');
SELECT ok, code, to_owner FROM crm_rights.assign('{8}', 2);
SELECT ok, code, to_owner FROM crm_rights.auto_assign('{9,10}', 'round_robin');
SELECT opportunity_id, ok, code FROM crm_rights.freeze('{11}', '2030-02-01');
SELECT opportunity_id, ok, code FROM crm_rights.unfreeze('{11}');
SELECT opportunity_id, ok, code FROM crm_rights.hand_over(3, 2, 'boss');
SELECT opportunity_id, ok, code FROM crm_rights.recycle();
SET ROLE cr_author;
UPDATE sopflow.rule_param SET value = '200 hours' WHERE rule_set = 'opportunity_recycle' AND param = 'contact_within';
SET ROLE cr_boss;
SELECT opportunity_id, ok, code FROM crm_rights.recycle();
SELECT opportunity_id, recycle_at FROM crm_rights.opportunities WHERE recycle_at IS NOT NULL ORDER BY 1;
SELECT count(*) > 10 FROM crm_rights.opportunity_log;
SELECT count(*) FROM crm_rights.rep_tasks;
SELECT * FROM crm_rights.pool_report;
-- the log is nobody's to write
INSERT INTO crm_rights.opportunity_log (opportunity_id, operation, ok) VALUES (1, 'CLAIM', true);
\echo :LAST_ERROR_SQLSTATE

-- The least that a rep needs to claim, release and log contacts.
SET ROLE cr_author;
GRANT USAGE ON SCHEMA crm_rights TO cr_min;
GRANT SELECT (opportunity_id, owner_id, status, minor_status, frozen_until), UPDATE (owner_id) ON crm_rights.opportunities TO cr_min;
GRANT SELECT (rep_id) ON crm_rights.sales_reps TO cr_min;
INSERT INTO crm_rights.sales_reps (rep_id, name, role_name) VALUES (4, 'Dan', 'cr_min');
SET ROLE cr_min;
SELECT opportunity_id, ok, code FROM crm_rights.claim('{12,7,2}', 4);
SELECT opportunity_id, ok, code FROM crm_rights.release('{7}');
SELECT opportunity_id, ok, code FROM crm_rights.log_contact(12, 4);
RESET ROLE;
SET ROLE cr_author;
GRANT SELECT (rep_id), INSERT (opportunity_id, rep_id, contacted_at, note, kind) ON crm_rights.contacts TO cr_min;
SET ROLE cr_min;
SELECT opportunity_id, ok, code FROM crm_rights.log_contact(12, 4);
SELECT opportunity_id, ok, code FROM crm_rights.convert('{12}');
-- a contact in the future does not hold a lead longer
INSERT INTO crm_rights.contacts (opportunity_id, rep_id, contacted_at) VALUES (12, 4, '2099-01-01');
SET ROLE cr_author;
SELECT last_contact_at, last_call_at, recycle_at FROM crm_rights.opportunities WHERE opportunity_id = 12;

-- With no right but to look into the schema, or none at all, nothing works.
\set VERBOSITY sqlstate
SET ROLE cr_nobody;
SELECT * FROM crm_rights.claim('{7}', 1);
SELECT * FROM crm_rights.claim('{}', 1);
SELECT * FROM crm_rights.release('{7}');
SELECT * FROM crm_rights.assign('{7}', 1);
SELECT * FROM crm_rights.auto_assign('{7}');
SELECT * FROM crm_rights.transfer('{7}', 1);
SELECT * FROM crm_rights.log_contact(7, 1);
SELECT * FROM crm_rights.freeze('{7}', '2031-01-01');
SELECT * FROM crm_rights.unfreeze('{7}');
SELECT * FROM crm_rights.convert('{7}');
SELECT * FROM crm_rights.lose('{7}');
SELECT * FROM crm_rights.hand_over(1, 2);
SELECT * FROM crm_rights.recycle();
SELECT * FROM crm_rights.recycle(dry_run => true);
SELECT * FROM crm_rights.public_pool;
SELECT * FROM crm_rights.my_pool;
SELECT * FROM crm_rights.pool_report;
SELECT sopflow.create_crm('mine');
SELECT * FROM sopflow.crm_claim('crm_rights', '{7}', 1);
-- not the trigger functions by themselves either, nor the handler
SELECT crm_rights.assign_new();
SELECT crm_rights.note_contact();
SELECT crm_rights.recycle_due(NULL);
SET ROLE cr_thief;
SELECT * FROM crm_rights.claim('{7}', 1);
SELECT crm_rights.rep_of('cr_ann');
RESET ROLE;

-- Nothing is read or written in a transaction that only reads, but a dry run.
SET ROLE cr_boss;
START TRANSACTION READ ONLY;
SAVEPOINT s;
SELECT * FROM crm_rights.claim('{7}', 1);
ROLLBACK TO s;
SELECT * FROM crm_rights.release('{8}');
ROLLBACK TO s;
SELECT * FROM crm_rights.assign('{7}', 1);
ROLLBACK TO s;
SELECT * FROM crm_rights.auto_assign('{7}');
ROLLBACK TO s;
SELECT * FROM crm_rights.transfer('{8}', 1);
ROLLBACK TO s;
SELECT * FROM crm_rights.log_contact(8, 2);
ROLLBACK TO s;
SELECT * FROM crm_rights.freeze('{7}', '2031-01-01');
ROLLBACK TO s;
SELECT * FROM crm_rights.unfreeze('{7}');
ROLLBACK TO s;
SELECT * FROM crm_rights.convert('{8}');
ROLLBACK TO s;
SELECT * FROM crm_rights.lose('{8}');
ROLLBACK TO s;
SELECT * FROM crm_rights.hand_over(1, 2);
ROLLBACK TO s;
SELECT * FROM crm_rights.recycle();
ROLLBACK TO s;
SELECT count(*) FROM crm_rights.recycle(dry_run => true);
SELECT sum(public_leads) FROM crm_rights.pool_report;
COMMIT;
RESET ROLE;

-- A thief with tables of the same names does not write another's log, nor
-- does anybody else by way of his trigger.
CREATE SCHEMA cr_thief AUTHORIZATION cr_thief;
GRANT USAGE ON SCHEMA sopflow TO cr_thief;
SET ROLE cr_thief;
CREATE TABLE cr_thief.opportunities (opportunity_id bigint, owner_id bigint, status text, minor_status text, frozen_until timestamptz);
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON cr_thief.opportunities FOR EACH ROW EXECUTE FUNCTION sopflow.crm_log('crm_rights');
INSERT INTO cr_thief.opportunities VALUES (1, 2, 'forged');
CREATE TRIGGER log2 BEFORE INSERT ON cr_thief.opportunities FOR EACH ROW EXECUTE FUNCTION sopflow.crm_log('cr_thief');
DROP TRIGGER log ON cr_thief.opportunities;
INSERT INTO cr_thief.opportunities VALUES (1, 2, 'forged');
DROP TRIGGER log2 ON cr_thief.opportunities;
CREATE TRIGGER log3 AFTER INSERT ON cr_thief.opportunities FOR EACH ROW EXECUTE FUNCTION sopflow.crm_log();
INSERT INTO cr_thief.opportunities VALUES (1, 2, 'forged');
DROP TRIGGER log3 ON cr_thief.opportunities;
-- no log of his own: a view of another's
CREATE TRIGGER log4 AFTER INSERT ON cr_thief.opportunities FOR EACH ROW EXECUTE FUNCTION sopflow.crm_log('cr_thief');
INSERT INTO cr_thief.opportunities VALUES (1, 2, 'forged');
CREATE VIEW cr_thief.opportunity_log AS SELECT 1;
INSERT INTO cr_thief.opportunities VALUES (1, 2, 'forged');
SELECT * FROM cr_thief.opportunities;
-- the operations over his tables have his rights only
DROP TRIGGER log4 ON cr_thief.opportunities;
DROP TABLE cr_thief.opportunities;
CREATE VIEW cr_thief.opportunities AS SELECT * FROM crm_rights.opportunities;
SELECT * FROM sopflow.crm_claim('cr_thief', '{7}', 1);
SELECT * FROM sopflow.crm_recycle('cr_thief');
SELECT crm_operation FROM sopflow.crm_operation(1, 2);
RESET ROLE;
\set VERBOSITY default
SELECT count(*) FROM crm_rights.opportunity_log WHERE from_status = 'forged' OR to_status = 'forged';

-- Names that are in front of the pack's in somebody's search_path lead nowhere.
CREATE SCHEMA cr_evil;
GRANT USAGE ON SCHEMA cr_evil TO PUBLIC;
CREATE FUNCTION cr_evil.bang() RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''bang''; END';
CREATE FUNCTION cr_evil.rep_of(name) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN PERFORM cr_evil.bang(); RETURN 1; END';
CREATE FUNCTION cr_evil.hold_limit(bigint) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM cr_evil.bang(); RETURN 1; END';
CREATE FUNCTION cr_evil.day_began() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN PERFORM cr_evil.bang(); RETURN NULL; END';
CREATE FUNCTION cr_evil.auto_assign(bigint[], method text DEFAULT NULL, operator text DEFAULT NULL) RETURNS SETOF sopflow.crm_result
	LANGUAGE plpgsql AS 'BEGIN PERFORM cr_evil.bang(); END';
CREATE FUNCTION cr_evil.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS 'BEGIN PERFORM cr_evil.bang(); END';
CREATE FUNCTION cr_evil.divided(numeric, int) RETURNS numeric LANGUAGE plpgsql AS 'BEGIN PERFORM cr_evil.bang(); RETURN 0; END';
CREATE OPERATOR cr_evil./ (LEFTARG = numeric, RIGHTARG = int, FUNCTION = cr_evil.divided);
CREATE FUNCTION cr_evil.is_same(name, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM cr_evil.bang(); RETURN true; END';
CREATE OPERATOR cr_evil.<> (LEFTARG = name, RIGHTARG = text, FUNCTION = cr_evil.is_same);
CREATE TABLE cr_evil.opportunities AS SELECT * FROM crm_rights.opportunities LIMIT 0;
CREATE TABLE cr_evil.opportunity_log AS SELECT * FROM crm_rights.opportunity_log LIMIT 0;
CREATE TABLE cr_evil.sales_reps AS SELECT * FROM crm_rights.sales_reps LIMIT 0;
CREATE TABLE cr_evil.assignment AS SELECT * FROM crm_rights.assignment LIMIT 0;
CREATE TABLE cr_evil.contacts AS SELECT * FROM crm_rights.contacts LIMIT 0;
CREATE TABLE cr_evil.rep_tasks AS SELECT * FROM crm_rights.rep_tasks LIMIT 0;
GRANT SELECT ON ALL TABLES IN SCHEMA cr_evil TO PUBLIC;
SET search_path = cr_evil, crm_rights, public;
SET sopflow.clock = '2030-02-01 09:00:00+00';
SET ROLE cr_boss;
SELECT opportunity_id FROM crm_rights.recycle();
SELECT opportunity_id, ok, to_owner FROM crm_rights.claim('{3,4}', 1);
SELECT opportunity_id, ok, to_owner FROM crm_rights.auto_assign('{5,6,7}', 'least_loaded');
SELECT opportunity_id, ok, to_owner FROM crm_rights.auto_assign('{8,9}', 'round_robin');
UPDATE crm_rights.assignment SET method = 'round_robin';
INSERT INTO crm_rights.opportunities (opportunity_id, category) VALUES (20, 'phone'), (21, 'phone');
SELECT ok FROM crm_rights.log_contact(3, 1);
SELECT opportunity_id, ok, code FROM crm_rights.release('{3}');
SELECT opportunity_id, ok, code FROM crm_rights.transfer('{4}', 2);
SELECT rep_id, held, hold_limit, claimed_today FROM crm_rights.rep_report ORDER BY 1;
SELECT opportunity_id, owner_id FROM crm_rights.opportunities WHERE owner_id IS NOT NULL ORDER BY 1;
SET ROLE cr_ann;
SELECT opportunity_id FROM crm_rights.my_pool ORDER BY 1;
-- also temporary ones
SET search_path = pg_temp, crm_rights, public;
RESET ROLE;
CREATE TEMP TABLE opportunities AS SELECT * FROM crm_rights.opportunities LIMIT 0;
CREATE TEMP TABLE opportunity_log AS SELECT * FROM crm_rights.opportunity_log LIMIT 0;
CREATE TEMP TABLE sales_reps AS SELECT * FROM crm_rights.sales_reps LIMIT 0;
SELECT opportunity_id, ok, code FROM crm_rights.claim('{10}', 3);
SELECT operation, ok, to_owner FROM crm_rights.opportunity_log WHERE opportunity_id = 10 AND logged_at = sopflow.now();
SELECT (SELECT count(*) FROM opportunities) + (SELECT count(*) FROM opportunity_log) AS temporary;
DROP TABLE opportunities, opportunity_log, sales_reps;
RESET search_path;

-- The tasks of the pack run as their owner, whatever the path.
SET search_path = cr_evil, public;
SET sopflow.clock = '2030-03-01 09:00:00+00';
SELECT sopflow.run_due() > 0;
RESET search_path;
SELECT count(*) FROM crm_rights.opportunities WHERE owner_id IS NOT NULL AND closed_at IS NULL;
SELECT DISTINCT status, last_error FROM sopflow.tasks WHERE action = 'RECYCLE_OPPORTUNITY' AND run_id > :before;

SET client_min_messages = error;
DROP SCHEMA crm_rights, cr_thief, cr_evil CASCADE;
SELECT count(sopflow.cancel(sop_id => s)) FROM unnest('{customer_care_sop,material_sop,opportunity_reminder_sop,opportunity_recycle_sop}'::text[]) s;
DELETE FROM sopflow.sop WHERE sop_id IN ('customer_care_sop', 'material_sop', 'opportunity_reminder_sop', 'opportunity_recycle_sop');
DELETE FROM sopflow.action WHERE action IN ('SEND_GREETING', 'PUSH_CASE', 'SEND_REG_LINK', 'FOLLOW_UP', 'REMIND_OWNER', 'RECYCLE_OPPORTUNITY');
DELETE FROM sopflow.rule_set WHERE rule_set IN ('opportunity_claim', 'opportunity_unbind', 'opportunity_recycle');
DROP OWNED BY cr_author, cr_ann, cr_bob, cr_rep, cr_app, cr_boss, cr_nobody, cr_thief, cr_min;
DROP ROLE cr_author, cr_ann, cr_bob, cr_rep, cr_app, cr_boss, cr_nobody, cr_thief, cr_min;
