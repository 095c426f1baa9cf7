-- The CRM pack: who may take a lead, by its function and by any other statement.
\pset format unaligned
\pset tuples_only on
\pset null null
\set VERBOSITY terse
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';
SELECT sopflow.create_crm('cc');

-- A, B and D sell phones, C computers.
INSERT INTO cc.sales_reps (rep_id, name, category, team, level) VALUES
	(1, 'A', 'phone', 'north', 'senior'), (2, 'B', 'phone', 'south', 'junior'), (3, 'C', 'computer', 'north', 'junior'), (4, 'D', 'phone', 'south', 'junior');
-- Free leads, and enough to hold.
INSERT INTO cc.opportunities (opportunity_id, category) SELECT i, 'phone' FROM generate_series(1, 60) i;
INSERT INTO cc.opportunities (opportunity_id, category, owner_id) SELECT 1000 + i, 'phone', 1 FROM generate_series(1, 99) i;

CREATE VIEW cc.held AS
	SELECT string_agg(format('%s %s', r.name, (SELECT count(*) FROM cc.opportunities o WHERE o.owner_id = r.rep_id)), ', ' ORDER BY r.name) FROM cc.sales_reps r;
CREATE VIEW cc.lead AS
	SELECT opportunity_id, status, minor_status, owner_id, acquired_by, claimed_at, last_owner_id, released_at, pooled_at FROM cc.opportunities;
-- the last n rows of the log
CREATE FUNCTION cc.logged(n int) RETURNS TABLE (opportunity_id bigint, operation text, event text, ok bool, code text, from_owner bigint, to_owner bigint, from_status text, to_status text, operator text)
	LANGUAGE sql AS $$
	SELECT * FROM (SELECT l.opportunity_id, l.operation, l.event, l.ok, l.code, l.from_owner, l.to_owner, l.from_status, l.to_status, l.operator
		FROM cc.opportunity_log l ORDER BY l.log_id DESC LIMIT n) x ORDER BY 1, 2 $$;
-- a claim by hand: what a program sees of it
CREATE FUNCTION cc.take(lead bigint, rep bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	at_constraint text;
	at_table text;
BEGIN
	UPDATE cc.opportunities SET owner_id = rep WHERE opportunity_id = lead;
	RETURN CASE WHEN FOUND THEN 'ok' ELSE 'no row' END;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state := RETURNED_SQLSTATE, message := MESSAGE_TEXT, at_constraint := CONSTRAINT_NAME, at_table := TABLE_NAME;
	RETURN format('%s %s at %s.%s', state, message, at_table, at_constraint);
END $$;

\echo --- C1: A holds 99 and claims
SELECT * FROM cc.held;
BEGIN;
SELECT * FROM cc.claim('{1}', 1, 'an app');
SELECT * FROM cc.lead WHERE opportunity_id = 1;
SELECT * FROM cc.held;
SELECT * FROM cc.logged(1);
ROLLBACK;
SELECT cc.take(1, 1);
SELECT * FROM cc.lead WHERE opportunity_id = 1;
SELECT * FROM cc.held;
SELECT * FROM cc.logged(1);
SELECT ARRAY(SELECT split_part(r, ' ', 1) FROM unnest(rules) r), role_name = session_user, logged_at, transaction_id IS NOT NULL FROM cc.opportunity_log ORDER BY log_id DESC LIMIT 1;

\echo --- C2: A holds 100
SELECT * FROM cc.claim('{2}', 1);
SELECT * FROM cc.logged(1);
SELECT message, details FROM cc.opportunity_log ORDER BY log_id DESC LIMIT 1;
SELECT cc.take(2, 1);
\set VERBOSITY default
UPDATE cc.opportunities SET owner_id = 1 WHERE opportunity_id = 2;
\set VERBOSITY terse
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM cc.lead WHERE opportunity_id = 2;

\echo --- C3: C sells computers
SELECT * FROM cc.claim('{2}', 3);
SELECT cc.take(2, 3);
-- no category is none that could differ
BEGIN;
UPDATE cc.opportunities SET category = NULL WHERE opportunity_id = 2;
SELECT * FROM cc.claim('{2}', 3);
SELECT cc.take(3, 3);
UPDATE cc.sales_reps SET category = NULL WHERE rep_id = 3;
SELECT cc.take(3, 3);
ROLLBACK;

\echo --- C4: A gives it back, and may not have it at once; B may
BEGIN;
SELECT * FROM cc.release('{1}');
SELECT * FROM cc.lead WHERE opportunity_id = 1;
SELECT * FROM cc.claim('{1}', 1);
SELECT cc.take(1, 1);
SELECT * FROM cc.claim('{1}', 2);
ROLLBACK;
UPDATE cc.opportunities SET owner_id = NULL WHERE opportunity_id = 1;
SELECT * FROM cc.lead WHERE opportunity_id = 1;
SELECT * FROM cc.claim('{1}', 1);
SELECT cc.take(1, 1);
BEGIN;
SELECT cc.take(1, 2);
SELECT * FROM cc.lead WHERE opportunity_id = 1;
ROLLBACK;
-- the cool-down is for claims: another may give it to him
BEGIN;
SELECT * FROM cc.assign('{1}', 1);
ROLLBACK;
-- it ends to the microsecond
SET sopflow.clock = '2030-01-10 09:59:59.999999+00';
SELECT * FROM cc.claim('{1}', 1);
SELECT cc.take(1, 1);
SET sopflow.clock = '2030-01-10 10:00:00+00';
BEGIN;
SELECT cc.take(1, 1);
ROLLBACK;
SELECT * FROM cc.claim('{1}', 1);
SELECT * FROM cc.lead WHERE opportunity_id = 1;

\echo --- C5: private already, or of a status that cannot be claimed
SELECT * FROM cc.claim('{1}', 2);
-- by hand it is a transfer where he saw the owner, and a claim where he says so
BEGIN;
SELECT cc.take(1, 2);
SELECT * FROM cc.logged(1);
ROLLBACK;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id = 1 AND owner_id IS NULL;
SELECT owner_id FROM cc.opportunities WHERE opportunity_id = 1;
SELECT * FROM cc.claim('{1}', 1);
SELECT cc.take(1, 1);
UPDATE cc.opportunities SET status = 'CLOSED' WHERE opportunity_id = 3;
SELECT * FROM cc.claim('{3}', 2);
SELECT cc.take(3, 2);
SELECT * FROM cc.assign('{3}', 2);
-- the status that it is to have is not asked
UPDATE cc.opportunities SET owner_id = 2, status = 'UNBIND' WHERE opportunity_id = 3;
-- which may be taken is a parameter
BEGIN;
UPDATE sopflow.rule_param SET value = '{CLOSED}' WHERE rule_set = 'opportunity_claim' AND param = 'claimable';
SELECT cc.take(3, 2);
SELECT * FROM cc.lead WHERE opportunity_id = 3;
SELECT * FROM cc.claim('{4}', 2);
ROLLBACK;
BEGIN;
UPDATE cc.opportunities SET status = 'NEW' WHERE opportunity_id = 4;
SELECT * FROM cc.claim('{4}', 2);
SELECT status FROM cc.opportunities WHERE opportunity_id = 4;
ROLLBACK;

\echo --- C6: a task that must be done first
INSERT INTO cc.rep_tasks (rep_id, title) VALUES (2, 'call them all');
SELECT * FROM cc.claim('{4}', 2);
SELECT cc.take(4, 2);
SELECT * FROM cc.assign('{4}', 2);
-- another's is not his
BEGIN;
SELECT cc.take(4, 4);
ROLLBACK;
UPDATE cc.rep_tasks SET done_at = sopflow.now();
BEGIN;
SELECT cc.take(4, 2);
ROLLBACK;
SELECT * FROM cc.claim('{4}', 2);
-- of a lead, whoever takes it; of a lead and a rep
INSERT INTO cc.rep_tasks (opportunity_id, title) VALUES (5, 'check the number');
INSERT INTO cc.rep_tasks (opportunity_id, rep_id, title) VALUES (6, 2, 'read the file');
SELECT * FROM cc.claim('{5,6,7}', 2);
BEGIN;
SELECT * FROM cc.claim('{5,6}', 4);
ROLLBACK;
SELECT cc.take(5, 4), cc.take(6, 2);
DELETE FROM cc.rep_tasks;
-- what he has got already may go to another in spite of his tasks
BEGIN;
INSERT INTO cc.rep_tasks (rep_id) VALUES (4);
SELECT * FROM cc.transfer('{4}', 4);
ROLLBACK;

\echo --- C7: two reasons: the first alone, or all in their order
UPDATE cc.opportunities SET category = 'computer' WHERE opportunity_id = 8;
SELECT * FROM cc.claim('{8}', 1);
SELECT cc.take(8, 1);
UPDATE sopflow.rule_set SET denials = 'all' WHERE rule_set = 'opportunity_claim';
SELECT code, message FROM cc.claim('{8}', 1);
SELECT code, message FROM cc.opportunity_log ORDER BY log_id DESC LIMIT 1;
SELECT cc.take(8, 1);
\set VERBOSITY default
UPDATE cc.opportunities SET owner_id = 1 WHERE opportunity_id = 8;
\set VERBOSITY terse
UPDATE sopflow.rule_set SET denials = 'first' WHERE rule_set = 'opportunity_claim';
SELECT * FROM cc.lead WHERE opportunity_id = 8;

\echo --- C8: a limit that is changed counts at once
SELECT * FROM cc.held;
SELECT * FROM cc.claim('{9}', 1);
SELECT hold_limit FROM cc.rep_report WHERE rep_id = 1;
UPDATE sopflow.rule_param SET value = '120' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT hold_limit FROM cc.rep_report WHERE rep_id = 1;
BEGIN;
SELECT cc.take(9, 1);
ROLLBACK;
SELECT * FROM cc.claim('{9}', 1);
SELECT * FROM cc.claim('{10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28}', 1) WHERE opportunity_id >= 27 OR NOT ok;
SELECT * FROM cc.claim('{29}', 1);
SELECT cc.take(29, 1);
SELECT * FROM cc.held;
-- who has more keeps them, and gains none
UPDATE sopflow.rule_param SET value = '100' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT * FROM cc.claim('{29}', 1);
SELECT cc.take(29, 1);
SELECT * FROM cc.held;
UPDATE cc.opportunities SET owner_id = owner_id WHERE opportunity_id = 28 RETURNING owner_id;
SELECT * FROM cc.log_contact(28, 1);
-- not one that is taken back
BEGIN;
UPDATE sopflow.rule_param SET value = '1000' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
ROLLBACK;
SELECT cc.take(29, 1);

\echo --- overrides: the rep before the team before the level
CREATE FUNCTION cc.over(where_for text, number text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('opportunity_claim', 'max_hold', where_for, number) $$;
SELECT cc.over('level:senior', '121');
SELECT * FROM cc.claim('{29,30}', 1);
SELECT cc.over('team:north', '122');
SELECT cc.take(30, 1), cc.take(31, 1);
SELECT cc.over('rep:1', '123');
SELECT * FROM cc.claim('{31,32}', 1);
SELECT cc.take(32, 1);
SELECT hold_limit FROM cc.rep_report ORDER BY rep_id;
UPDATE sopflow.rule_param_override SET value = '122' WHERE scope = 'rep:1';
UPDATE sopflow.rule_param_override SET value = '200' WHERE scope <> 'rep:1';
SELECT * FROM cc.claim('{32}', 1);
SELECT cc.take(32, 1);
-- a team's also counts where another gives
SELECT * FROM cc.transfer('{4}', 1);
SELECT * FROM cc.assign('{32}', 1);
DELETE FROM sopflow.rule_param_override WHERE scope = 'rep:1';
BEGIN;
SELECT * FROM cc.claim('{32}', 1);
ROLLBACK;
-- others' are no one's business
UPDATE sopflow.rule_param_override SET scope = replace(replace(scope, 'north', 'south'), 'senior', 'junior') WHERE rule_set = 'opportunity_claim';
SELECT cc.take(32, 1);
-- an empty one: any number
BEGIN;
SELECT cc.over('rep:1', NULL);
SELECT * FROM cc.claim('{32}', 1);
SELECT cc.take(33, 1);
SELECT hold_limit FROM cc.rep_report WHERE rep_id = 1;
ROLLBACK;
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'opportunity_claim';
-- a parameter that is null is off
BEGIN;
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT * FROM cc.claim('{32}', 1);
SELECT cc.take(33, 1);
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'cool_down';
SELECT ok FROM cc.release('{32,33}');
SELECT * FROM cc.claim('{32}', 1);
SELECT cc.take(33, 1);
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'claimable';
SELECT * FROM cc.claim('{3,35}', 2);
SELECT status, owner_id FROM cc.opportunities WHERE opportunity_id IN (3, 35) ORDER BY opportunity_id;
ROLLBACK;
-- no status that is closed, so all leads count and none is exempt
BEGIN;
UPDATE sopflow.rule_param SET value = NULL WHERE param = 'closed';
SELECT * FROM cc.claim('{32}', 1);
SELECT * FROM cc.claim('{35}', 2);
SELECT ok FROM cc.convert('{35}');
SELECT recycle_at FROM cc.opportunities WHERE opportunity_id = 35;
UPDATE sopflow.rule_param SET value = '3' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT * FROM cc.claim('{36,37}', 2);
ROLLBACK;
SELECT * FROM cc.held;

\echo --- C10: two reps, one lead
BEGIN;
SELECT * FROM cc.claim('{34}', 2);
SELECT * FROM cc.claim('{34}', 4);
SELECT owner_id FROM cc.opportunities WHERE opportunity_id = 34;
ROLLBACK;
SELECT cc.take(34, 2);
SELECT * FROM cc.claim('{34}', 4);
SELECT owner_id FROM cc.opportunities WHERE opportunity_id = 34;
UPDATE cc.opportunities SET owner_id = 4 WHERE opportunity_id = 34 AND owner_id IS NULL;
SELECT owner_id FROM cc.opportunities WHERE opportunity_id = 34;

\echo --- C11: five leads in one statement at 98 of 100
INSERT INTO cc.opportunities (opportunity_id, category, owner_id) SELECT 2000 + i, 'phone', 4 FROM generate_series(1, 98) i;
SELECT * FROM cc.held;
UPDATE cc.opportunities SET owner_id = 4 WHERE opportunity_id BETWEEN 41 AND 45;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM cc.held;
BEGIN;
SELECT opportunity_id, cc.take(opportunity_id, 4) FROM generate_series(41, 45) opportunity_id;
SELECT * FROM cc.held;
ROLLBACK;
SELECT * FROM cc.claim('{41,42,43,44,45}', 4);
SELECT * FROM cc.held;
SELECT * FROM cc.logged(5);
-- one that he may not have in the midst of those that he may
BEGIN;
SELECT ok FROM cc.release('{2001,2002}');
SELECT * FROM cc.claim('{43,8,2001,44,45}', 4);
ROLLBACK;

\echo --- C12: nobody called in 10 days
SET sopflow.clock = '2030-01-17 09:59:59.999999+00';
SELECT count(*) FROM cc.recycle(1000);
SET sopflow.clock = '2030-01-17 10:00:00+00';
SELECT opportunity_id, ok, from_owner, to_owner FROM cc.recycle(1000) ORDER BY opportunity_id LIMIT 3;
SELECT * FROM cc.lead WHERE opportunity_id = 1001;
SELECT operation, event, ok, from_owner, to_owner, from_status, to_status FROM cc.opportunity_log WHERE opportunity_id = 1001 ORDER BY log_id DESC LIMIT 1;
SELECT * FROM cc.claim('{1001}', 1);
SELECT cc.take(1001, 1);
BEGIN;
SELECT cc.take(1001, 2);
ROLLBACK;
SET sopflow.clock = '2030-01-20 10:00:00+00';
SELECT * FROM cc.claim('{1001}', 1);

\echo --- won deals do not count
BEGIN;
UPDATE sopflow.rule_param SET value = '2' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT ok FROM cc.hand_over(2);
SELECT ok FROM cc.claim('{46,47,48}', 2);
SELECT ok FROM cc.convert('{46}');
SELECT * FROM cc.claim('{48,49}', 2);
UPDATE cc.opportunities SET status = 'LOST' WHERE opportunity_id = 47;
SELECT cc.take(49, 2), cc.take(50, 2);
SELECT held, hold_limit, won FROM cc.rep_report WHERE rep_id = 2;
\echo --- a closed lead is opened again at the limit
UPDATE cc.opportunities SET status = 'BIND' WHERE opportunity_id = 46;
ROLLBACK;
BEGIN;
UPDATE sopflow.rule_param SET value = '2' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT ok FROM cc.hand_over(2);
SELECT ok FROM cc.claim('{46,47}', 2);
SELECT ok FROM cc.convert('{46,47}');
-- two at once, and one is one too many
SELECT ok FROM cc.claim('{48}', 2);
SAVEPOINT before;
UPDATE cc.opportunities SET status = 'BIND' WHERE opportunity_id IN (46, 47);
ROLLBACK TO before;
UPDATE cc.opportunities SET status = 'BIND' WHERE opportunity_id = 46 RETURNING status, closed_at;
-- from one closed status to another is no reopening
UPDATE cc.opportunities SET status = 'LOST' WHERE opportunity_id = 47 RETURNING status, closed_at IS NOT NULL;
UPDATE cc.opportunities SET status = 'TASK' WHERE opportunity_id = 47;
ROLLBACK;

\echo --- a cap of claims a day
UPDATE sopflow.rule_param SET value = '3' WHERE rule_set = 'opportunity_claim' AND param = 'max_claims_per_day';
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'cool_down';
SELECT * FROM cc.claim('{46,47,48,49}', 2);
SELECT cc.take(49, 2);
SELECT claimed_today FROM cc.rep_report WHERE rep_id = 2;
-- giving them back helps nobody
SELECT ok FROM cc.release('{46,47,48}');
SELECT * FROM cc.claim('{46}', 2);
SELECT cc.take(49, 2);
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id = 46;
-- it is for claims
BEGIN;
SELECT ok FROM cc.assign('{46}', 2);
SELECT ok FROM cc.transfer('{34}', 3);
ROLLBACK;
-- the next day, in the time zone of the parameter
SELECT value FROM sopflow.rule_param WHERE rule_set = 'opportunity_claim' AND param = 'time_zone';
SET sopflow.clock = '2030-01-20 23:59:59.999999+00';
SELECT code FROM cc.claim('{46}', 2);
BEGIN;
UPDATE sopflow.rule_param SET value = 'Asia/Shanghai' WHERE rule_set = 'opportunity_claim' AND param = 'time_zone';
SELECT ok FROM cc.claim('{46}', 2);
ROLLBACK;
SET sopflow.clock = '2030-01-21 00:00:00+00';
-- all of one statement count
BEGIN;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id BETWEEN 46 AND 48;
SELECT claimed_today FROM cc.rep_report WHERE rep_id = 2;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id = 49;
ROLLBACK;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id BETWEEN 46 AND 49;
-- whatever time and operation they name
UPDATE cc.opportunities SET owner_id = 2, claimed_at = '2029-01-01', acquired_by = 'ASSIGN' WHERE opportunity_id BETWEEN 46 AND 49;
INSERT INTO cc.opportunities (opportunity_id, owner_id, claimed_at, acquired_by) SELECT i, 2, '2029-01-01', 'ASSIGN' FROM generate_series(3001, 3004) i;
WITH a AS (UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id IN (46, 47) RETURNING 1), b AS (UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id IN (48, 49) RETURNING 1) SELECT FROM a, b;
SELECT count(*) FROM cc.opportunities WHERE owner_id = 2 AND opportunity_id BETWEEN 46 AND 49 OR opportunity_id BETWEEN 3001 AND 3004;
-- all of one transaction count, with what it gave back
BEGIN;
SELECT cc.take(46, 2);
SELECT ok FROM cc.release('{46}');
SELECT cc.take(46, 2);
SELECT ok FROM cc.claim('{47}', 2);
SELECT code FROM cc.claim('{48}', 2);
SELECT cc.take(48, 2);
ROLLBACK;
BEGIN;
SELECT ok FROM cc.claim('{46,47}', 2);
SELECT ok FROM cc.release('{46,47}');
SAVEPOINT before;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id IN (46, 47);
ROLLBACK TO before;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id = 46;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id = 47;
ROLLBACK;
-- what a savepoint took back does not
BEGIN;
SAVEPOINT before;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id IN (46, 47);
ROLLBACK TO before;
UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id IN (46, 47, 48);
-- nor do other writes of these
UPDATE cc.opportunities SET level = 'A' WHERE owner_id = 2;
SELECT claimed_today FROM cc.rep_report WHERE rep_id = 2;
UPDATE cc.opportunities SET owner_id = NULL WHERE owner_id = 2;
UPDATE sopflow.rule_param SET value = '4' WHERE rule_set = 'opportunity_claim' AND param = 'max_claims_per_day';
SELECT ok, code FROM cc.claim('{49,46}', 2);
ROLLBACK;
-- what was deleted was claimed
BEGIN;
SELECT ok FROM cc.claim('{46,47,48}', 2);
DELETE FROM cc.opportunities WHERE opportunity_id IN (46, 47, 48);
SELECT code FROM cc.claim('{49}', 2);
ROLLBACK;
-- and what was denied was not
SELECT ok, code FROM cc.claim('{8,8,8,8,46,47,48}', 2);
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'max_claims_per_day';
SELECT ok FROM cc.release('{46,47,48}');

\echo --- new leads wait
UPDATE sopflow.rule_param SET value = '1 hour' WHERE rule_set = 'opportunity_claim' AND param = 'new_data_delay';
INSERT INTO cc.opportunities (opportunity_id) VALUES (4001);
SELECT pooled_at FROM cc.lead WHERE opportunity_id = 4001;
SELECT * FROM cc.claim('{4001}', 2);
SELECT cc.take(4001, 2);
-- so do those that came back
SELECT * FROM cc.claim('{46}', 2);
SELECT ok FROM cc.assign('{46}', 2);
SET sopflow.clock = '2030-01-21 00:59:59.999999+00';
SELECT code FROM cc.claim('{4001}', 2);
SET sopflow.clock = '2030-01-21 01:00:00+00';
BEGIN;
SELECT cc.take(4001, 2);
ROLLBACK;
SELECT ok FROM cc.claim('{4001}', 2);
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'new_data_delay';

\echo --- frozen
SELECT ok FROM cc.freeze('{50}', '2030-01-21 02:00:00+00');
SELECT * FROM cc.claim('{50}', 2);
SELECT cc.take(50, 2);
SELECT * FROM cc.assign('{50}', 2);
-- whatever is written beside
UPDATE cc.opportunities SET owner_id = 2, frozen_until = NULL, minor_status = NULL WHERE opportunity_id = 50;
SET sopflow.clock = '2030-01-21 01:59:59.999999+00';
SELECT code FROM cc.claim('{50}', 2);
SET sopflow.clock = '2030-01-21 02:00:00+00';
BEGIN;
SELECT cc.take(50, 2);
ROLLBACK;
SELECT ok FROM cc.claim('{50}', 2);
SELECT status, minor_status, frozen_until FROM cc.opportunities WHERE opportunity_id = 50;

\echo --- locked
UPDATE cc.opportunities SET locked = 'protect' WHERE opportunity_id IN (50, 51);
SELECT * FROM cc.claim('{51}', 2);
SELECT cc.take(51, 2);
SELECT * FROM cc.release('{50}');
SELECT * FROM cc.transfer('{50}', 4);
SELECT cc.take(50, NULL), cc.take(50, 3);
UPDATE cc.opportunities SET owner_id = NULL, locked = NULL WHERE opportunity_id = 50;
UPDATE cc.opportunities SET locked = NULL WHERE opportunity_id IN (50, 51);
SELECT ok FROM cc.claim('{51}', 2);

\echo --- a rep who has left
UPDATE cc.sales_reps SET active = false WHERE rep_id = 2;
SELECT * FROM cc.claim('{52}', 2);
SELECT cc.take(52, 2);
SELECT * FROM cc.assign('{52}', 2);
SELECT * FROM cc.transfer('{1001}', 2);
-- he keeps what he has, until it is handed over
SELECT ok FROM cc.log_contact(51, 2);
SELECT ok FROM cc.hand_over(2, 1);
UPDATE cc.sales_reps SET active = true WHERE rep_id = 2;

\echo --- C12 where only calls count
UPDATE sopflow.rule_param SET value = '48 hours' WHERE rule_set = 'opportunity_recycle' AND param = 'call_within';
SELECT ok FROM cc.claim('{58,59}', 2);
SET sopflow.clock = '2030-01-22 02:00:00+00';
SELECT ok FROM cc.log_contact(58, 2, 'visit');
SELECT ok FROM cc.log_contact(59, 2, 'call');
SET sopflow.clock = '2030-01-23 01:59:59.999999+00';
SELECT opportunity_id FROM cc.recycle() WHERE opportunity_id IN (58, 59);
SET sopflow.clock = '2030-01-23 02:00:00+00';
SELECT opportunity_id, ok, from_owner, to_owner FROM cc.recycle() WHERE opportunity_id IN (58, 59);
UPDATE sopflow.rule_param SET value = '72 hours' WHERE rule_set = 'opportunity_claim' AND param = 'cool_down';
SELECT * FROM cc.claim('{58}', 2);
SELECT cc.take(58, 2);
SET sopflow.clock = '2030-01-24 02:00:00+00';
SELECT opportunity_id, ok, from_owner, to_owner FROM cc.recycle() WHERE opportunity_id IN (58, 59);
SELECT operation, event, from_owner, to_owner, from_status, to_status FROM cc.opportunity_log WHERE opportunity_id = 59 ORDER BY log_id;

\echo --- every way of writing
SELECT * FROM cc.held;
UPDATE sopflow.rule_param SET value = '0' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
INSERT INTO cc.opportunities (owner_id) VALUES (2);
INSERT INTO cc.opportunities (opportunity_id, owner_id) VALUES (53, 2) ON CONFLICT (opportunity_id) DO UPDATE SET owner_id = 2;
COPY cc.opportunities (opportunity_id, owner_id) FROM stdin;
5001	2
\.
MERGE INTO cc.opportunities o USING (VALUES (53::bigint)) v (id) ON o.opportunity_id = v.id WHEN MATCHED THEN UPDATE SET owner_id = 2;
MERGE INTO cc.opportunities o USING (VALUES (5001::bigint)) v (id) ON o.opportunity_id = v.id WHEN NOT MATCHED THEN INSERT (opportunity_id, owner_id) VALUES (id, 2);
WITH c AS (UPDATE cc.opportunities SET owner_id = 2 WHERE opportunity_id = 53 RETURNING *) SELECT count(*) FROM c;
UPDATE cc.public_pool SET opportunity_id = 53 WHERE opportunity_id = 53 RETURNING opportunity_id;
SELECT count(*) FROM cc.opportunities WHERE owner_id = 2 OR opportunity_id > 5000;

-- all of it goes
SET client_min_messages = error;
SELECT count(sopflow.cancel(sop_id => s.sop_id)) FROM sopflow.sop s WHERE s.sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DROP SCHEMA cc CASCADE;
DELETE FROM sopflow.rule_set WHERE rule_set ~ 'opportunity_(claim|unbind|recycle)$';
DELETE FROM sopflow.history WHERE version_id IN (SELECT version_id FROM sopflow.sop_version WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$');
DELETE FROM sopflow.run_history WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DELETE FROM sopflow.sop WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DELETE FROM sopflow.action WHERE action ~ '(SEND_GREETING|PUSH_CASE|SEND_REG_LINK|FOLLOW_UP|REMIND_OWNER|RECYCLE_OPPORTUNITY)$';
