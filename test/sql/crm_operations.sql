-- The CRM pack: each operation, what it says where it is refused, and the log.
\pset format unaligned
\pset tuples_only on
\pset null null
\set VERBOSITY terse
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';
SELECT sopflow.create_crm('co');
INSERT INTO co.sales_reps (rep_id, name, category) VALUES (1, 'A', 'phone'), (2, 'B', 'phone'), (3, 'C', 'computer'), (4, 'D', NULL);
INSERT INTO co.opportunities (opportunity_id, category) SELECT i, 'phone' FROM generate_series(1, 60) i;
CREATE VIEW co.lead AS
	SELECT opportunity_id, status, minor_status, owner_id, acquired_by, last_owner_id, frozen_until, locked, closed_at, lost_reason FROM co.opportunities ORDER BY opportunity_id;
-- what was logged since the last look
CREATE TABLE co.seen (log_id bigint);
CREATE FUNCTION co.news() RETURNS TABLE (opportunity_id bigint, operation text, operation_type text, event text, operator text, reason_type text, reason text, ok bool, code text,
	from_owner bigint, to_owner bigint, from_status text, to_status text, minor_status text) LANGUAGE sql AS $$
	WITH n AS (INSERT INTO co.seen SELECT log_id FROM co.opportunity_log EXCEPT SELECT log_id FROM co.seen RETURNING log_id)
	SELECT l.opportunity_id, l.operation, l.operation_type, l.event, l.operator, l.reason_type, l.reason, l.ok, l.code, l.from_owner, l.to_owner, l.from_status, l.to_status, l.minor_status
	FROM n JOIN co.opportunity_log l USING (log_id) ORDER BY log_id $$;

\echo --- claim
SELECT * FROM co.claim('{1,2}', 1, 'an app');
SELECT * FROM co.news();
-- his already, another's, not of his category, not there, none
SELECT * FROM co.claim('{1,2,3,999,NULL}', 1);
SELECT * FROM co.claim('{1,4}', 3, 'an app');
SELECT * FROM co.news();
-- twice the same, in any order
SELECT * FROM co.claim('{6,5,6,5}', 2);
SELECT * FROM co.news();
-- no such rep
SELECT * FROM co.claim('{7,999}', 99);
SELECT * FROM co.claim('{}', 1);
SELECT * FROM co.claim('{}', 99);
SELECT * FROM co.claim('{{7,8},{9,7}}', 1);
SELECT count(*) FROM co.news();
SELECT * FROM co.claim(NULL, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM co.claim('{10}', NULL);
\echo :LAST_ERROR_SQLSTATE

\echo --- assign
SELECT * FROM co.assign('{10,11}', 1, 'boss');
SELECT * FROM co.lead WHERE opportunity_id = 10;
SELECT * FROM co.news();
SELECT * FROM co.assign('{10,1,5,999,NULL}', 1, 'boss');
SELECT * FROM co.assign('{12}', 99);
SELECT * FROM co.assign('{12}', 3);
SELECT * FROM co.news();
SELECT * FROM co.assign(NULL, 1);
SELECT * FROM co.assign('{12}', NULL);
SELECT * FROM co.assign('{}', 1);

\echo --- transfer
SELECT * FROM co.transfer('{10}', 2, 'boss');
SELECT * FROM co.lead WHERE opportunity_id = 10;
SELECT * FROM co.news();
-- to himself, public, not of the category, not there
SELECT * FROM co.transfer('{10}', 2);
SELECT * FROM co.transfer('{1,12,999,NULL}', 2, 'boss');
SELECT * FROM co.transfer('{1}', 3);
SELECT * FROM co.transfer('{1}', 99);
SELECT * FROM co.news();
SELECT * FROM co.transfer(NULL, 2);
SELECT * FROM co.transfer('{1}', NULL);
SELECT * FROM co.transfer('{}', 2);

\echo --- release
SELECT * FROM co.release('{10}', 'CANNOT_REACH', 'the number is wrong', 'TASK_BACK_PUBLIC', 'an app');
SELECT * FROM co.lead WHERE opportunity_id = 10;
SELECT * FROM co.news();
SELECT * FROM co.release('{11,10,999,NULL,11}', 'OTHER', 'no time');
SELECT * FROM co.news();
SELECT * FROM co.release(NULL);
SELECT * FROM co.release('{}');

\echo --- log_contact
SELECT * FROM co.log_contact(5, 2);
SELECT kind, note, rep_id, contacted_at FROM co.contacts WHERE opportunity_id = 5;
SELECT last_contact_at, last_call_at FROM co.opportunities WHERE opportunity_id = 5;
SELECT * FROM co.news();
SET sopflow.clock = '2030-01-07 11:00:00+00';
SELECT * FROM co.log_contact(5, 2, 'visit', 'wants two');
SELECT kind, note, contacted_at FROM co.contacts WHERE opportunity_id = 5 ORDER BY contact_id;
SELECT last_contact_at, last_call_at FROM co.opportunities WHERE opportunity_id = 5;
SELECT * FROM co.news();
-- not his, nobody's, not there
SELECT * FROM co.log_contact(5, 1);
SELECT * FROM co.log_contact(10, 2);
SELECT * FROM co.log_contact(999, 2);
SELECT * FROM co.log_contact(5, 99);
-- a second one at that time is one more
SELECT * FROM co.log_contact(5, 2, 'mail');
SELECT count(*) FROM co.contacts WHERE opportunity_id = 5;
SELECT * FROM co.news();
SELECT * FROM co.log_contact(NULL, 2);
SELECT * FROM co.log_contact(5, NULL);
SELECT * FROM co.log_contact(5, 2, NULL);
-- by hand: those of the owner count, earlier ones do not take back
INSERT INTO co.contacts (opportunity_id, rep_id, kind, contacted_at) VALUES (5, 2, 'call', '2030-01-07 10:30+00'), (5, 1, 'call', '2030-01-07 12:00+00'), (5, NULL, 'call', '2030-01-07 12:00+00');
SELECT last_contact_at, last_call_at FROM co.opportunities WHERE opportunity_id = 5;
SELECT count(*) FROM co.contacts WHERE opportunity_id = 5;
SELECT * FROM co.news();

\echo --- freeze and unfreeze
SELECT * FROM co.freeze('{12,13}', '2030-01-08 00:00+00', 'boss');
SELECT * FROM co.lead WHERE opportunity_id = 12;
SELECT * FROM co.news();
-- longer, and for ever
SELECT * FROM co.freeze('{12}', '2030-01-09 00:00+00');
SELECT * FROM co.freeze('{13}', 'infinity');
SELECT opportunity_id, frozen_until FROM co.lead WHERE opportunity_id IN (12, 13);
SELECT * FROM co.freeze('{1,999,NULL,14,14}', '2030-01-08 00:00+00');
SELECT * FROM co.news();
SELECT * FROM co.freeze('{15}', '2030-01-07 11:00:00+00');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM co.freeze('{15}', NULL);
SELECT * FROM co.freeze(NULL, 'infinity');
SELECT * FROM co.freeze('{}', 'infinity');
SELECT * FROM co.unfreeze('{12,14}', 'boss');
SELECT * FROM co.lead WHERE opportunity_id = 12;
SELECT * FROM co.news();
SELECT * FROM co.unfreeze('{12,1,999,NULL,13,13}', 'boss');
SELECT * FROM co.news();
SELECT * FROM co.unfreeze(NULL);
SELECT * FROM co.unfreeze('{}');

\echo --- convert
SELECT * FROM co.convert('{1}', 'an app');
SELECT * FROM co.lead WHERE opportunity_id = 1;
SELECT * FROM co.news();
-- twice, public, not there
SELECT * FROM co.convert('{1,2,12,999,NULL,2}');
SELECT * FROM co.news();
SELECT * FROM co.convert(NULL);
SELECT * FROM co.convert('{}');

\echo --- lose
SELECT * FROM co.lose('{3}', 'too dear', 'an app');
SELECT * FROM co.lead WHERE opportunity_id = 3;
SELECT ok FROM co.claim('{16,17}', 1);
SELECT * FROM co.lose('{16}', 'too dear', 'an app');
SELECT * FROM co.lead WHERE opportunity_id = 16;
SELECT * FROM co.news();
-- twice, won, not there
SELECT * FROM co.lose('{16,1,999,NULL,17,17}');
SELECT * FROM co.news();
SELECT * FROM co.lose(NULL);
SELECT * FROM co.lose('{}');

\echo --- what is closed stays where it is
SELECT * FROM co.release('{1,16}');
SELECT * FROM co.transfer('{1,16}', 2);
SELECT * FROM co.claim('{1,3,16}', 2);
SELECT * FROM co.assign('{1,3,16}', 2);
SELECT * FROM co.convert('{16}');
SELECT count(*) FROM co.recycle() WHERE opportunity_id IN (1, 16);
SELECT operation, ok, code, count(*) FROM co.news() GROUP BY operation, ok, code ORDER BY operation;
UPDATE co.opportunities SET owner_id = NULL WHERE opportunity_id = 1;
UPDATE co.opportunities SET owner_id = 2 WHERE opportunity_id = 16;

\echo --- locked
SELECT ok FROM co.claim('{18,19}', 1);
UPDATE co.opportunities SET locked = 'manual' WHERE opportunity_id IN (18, 19, 20);
SELECT * FROM co.news() WHERE operation <> 'CLAIM';
SELECT * FROM co.release('{18}');
SELECT * FROM co.transfer('{18}', 2);
SELECT * FROM co.claim('{20}', 2);
SELECT * FROM co.assign('{20}', 2);
SELECT * FROM co.lose('{18}');
-- that does not keep him from working on it, or from winning it
SELECT * FROM co.log_contact(18, 1);
SELECT * FROM co.convert('{19}');
SELECT operation, code FROM co.news();

\echo --- hand_over
SELECT * FROM co.lead WHERE owner_id = 1;
BEGIN;
SELECT * FROM co.hand_over(1, 2, 'boss');
SELECT * FROM co.lead WHERE last_owner_id = 1 AND owner_id = 2;
SELECT * FROM co.news();
ROLLBACK;
-- to the public pool: what is open and not locked
BEGIN;
SELECT * FROM co.hand_over(1, operator => 'boss');
SELECT * FROM co.lead WHERE owner_id = 1;
SELECT * FROM co.news();
ROLLBACK;
-- as far as there is room, whatever was won
BEGIN;
UPDATE sopflow.rule_param SET value = '5' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT * FROM co.hand_over(1, 2);
ROLLBACK;
SELECT * FROM co.hand_over(1, 3);
SELECT opportunity_id, code FROM co.news();
-- he has nothing
SELECT * FROM co.hand_over(4, 1);
SELECT * FROM co.hand_over(4);
-- to nobody there
SELECT * FROM co.hand_over(2, 99);
SELECT * FROM co.hand_over(1, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM co.hand_over(99, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM co.hand_over(99);
SELECT * FROM co.hand_over(NULL, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM co.news();

\echo --- recycle and auto_assign: their arguments
SELECT * FROM co.recycle(0);
SELECT * FROM co.recycle(-1);
SELECT * FROM co.recycle(NULL);
SELECT * FROM co.recycle(10, NULL);
SELECT * FROM co.recycle(10, true);
SELECT * FROM co.auto_assign(NULL);
SELECT * FROM co.auto_assign('{}');
SELECT * FROM co.auto_assign('{999,NULL,1}');
SELECT * FROM co.auto_assign('{21}', 'by size');
\echo :LAST_ERROR_SQLSTATE

\echo --- a schema that is none
SELECT * FROM sopflow.crm_claim('co_nowhere', '{1}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.crm_claim('sopflow', '{1}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.crm_release(NULL, '{1}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.crm_hand_over('co_nowhere', 1);
SELECT * FROM sopflow.crm_recycle('co_nowhere');

\echo --- a table that is gone
BEGIN;
DROP TABLE co.contacts;
SELECT code, message FROM co.log_contact(5, 2);
SELECT * FROM co.claim('{22}', 1);
ROLLBACK;
-- nothing can be decided without one that the rules read
\set VERBOSITY sqlstate
BEGIN;
DROP TABLE co.rep_tasks;
SELECT * FROM co.claim('{22}', 1);
ROLLBACK;
BEGIN;
SET LOCAL client_min_messages = error;
DROP TABLE co.opportunity_log CASCADE;
SELECT * FROM co.claim('{22}', 1);
ROLLBACK;
\set VERBOSITY terse
BEGIN;
SET LOCAL client_min_messages = error;
DROP TABLE co.opportunities CASCADE;
SELECT * FROM co.claim('{22}', 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

\echo --- by hand
SELECT count(*) >= 0 FROM co.news();
UPDATE co.opportunities SET owner_id = 2 WHERE opportunity_id = 23;
UPDATE co.opportunities SET owner_id = 1 WHERE opportunity_id = 23;
UPDATE co.opportunities SET status = 'TASK' WHERE opportunity_id = 23;
UPDATE co.opportunities SET owner_id = NULL WHERE opportunity_id = 23;
UPDATE co.opportunities SET level = 'A' WHERE opportunity_id = 23;
UPDATE co.opportunities SET locked = 'other' WHERE opportunity_id = 23;
INSERT INTO co.opportunities (opportunity_id, owner_id) VALUES (61, 2), (62, NULL);
DELETE FROM co.opportunities WHERE opportunity_id IN (61, 62);
SELECT * FROM co.news();
-- a denied one leaves no row, as it leaves nothing
UPDATE co.opportunities SET owner_id = 3 WHERE opportunity_id = 24;
SELECT * FROM co.news();

\echo --- the log names the rules that were in force
SELECT count(*) FROM co.opportunity_log WHERE cardinality(rules) = 3 AND rules[1] ~ '^opportunity_claim [0-9]+\.[0-9]+$' AND rules[2] ~ '^opportunity_recycle ' AND rules[3] ~ '^opportunity_unbind ' AND role_name = session_user AND transaction_id IS NOT NULL
	HAVING count(*) = (SELECT count(*) FROM co.opportunity_log);
CREATE FUNCTION co.rule(n int) RETURNS text LANGUAGE sql AS 'SELECT rules[n] FROM co.opportunity_log ORDER BY log_id DESC LIMIT 1';
BEGIN;
SELECT ok FROM co.claim('{25}', 2);
SELECT co.rule(1) AS claim, co.rule(3) AS unbind \gset
UPDATE sopflow.rule_param SET value = '99' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT ok FROM co.claim('{26}', 2);
SELECT co.rule(1) <> :'claim', co.rule(3) = :'unbind';
SELECT co.rule(1) AS claim \gset
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'opportunity_claim' AND rule = 'frozen';
SELECT ok FROM co.claim('{27}', 3);
SELECT co.rule(1) <> :'claim';
ROLLBACK;
-- and a denial the values that decided
SELECT message, details FROM co.opportunity_log WHERE code = 'CATEGORY' ORDER BY log_id LIMIT 1;
SELECT operation, code, denials, reps FROM co.denial_report WHERE code IN ('CATEGORY', 'NOT_OWNER', 'LOCKED') ORDER BY 1, 2;

\echo --- the log leads from the first owner and status of each lead to the last
SELECT count(*) > 30, count(*) FILTER (WHERE from_owner IS DISTINCT FROM owner_before), count(*) FILTER (WHERE from_status IS DISTINCT FROM status_before)
	FROM (SELECT l.*, lag(to_owner) OVER w AS owner_before, coalesce(lag(to_status) OVER w, from_status) AS status_before
		FROM co.opportunity_log l WHERE ok WINDOW w AS (PARTITION BY opportunity_id ORDER BY log_id)) x;
SELECT count(*) FROM co.opportunities o LEFT JOIN LATERAL (SELECT to_owner, to_status FROM co.opportunity_log l WHERE l.opportunity_id = o.opportunity_id AND ok ORDER BY log_id DESC LIMIT 1) l ON true
	WHERE o.owner_id IS DISTINCT FROM l.to_owner OR o.status <> l.to_status;

-- all of it goes
SET client_min_messages = error;
SELECT count(sopflow.cancel(sop_id => s.sop_id)) FROM sopflow.sop s WHERE s.sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DROP SCHEMA co CASCADE;
DELETE FROM sopflow.rule_set WHERE rule_set ~ 'opportunity_(claim|unbind|recycle)$';
DELETE FROM sopflow.history WHERE version_id IN (SELECT version_id FROM sopflow.sop_version WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$');
DELETE FROM sopflow.run_history WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DELETE FROM sopflow.sop WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DELETE FROM sopflow.action WHERE action ~ '(SEND_GREETING|PUSH_CASE|SEND_REG_LINK|FOLLOW_UP|REMIND_OWNER|RECYCLE_OPPORTUNITY)$';
