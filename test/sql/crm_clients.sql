-- With row security clients are seen with their leads, and a form may be sent
-- by who sees nothing. Functions of the schema sopflow are no way round those
-- of the pack.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SELECT sopflow.create_crm('ck', true, 'ck_boss');
\echo :LAST_ERROR_SQLSTATE
CREATE ROLE ck_boss;
CREATE ROLE ck_ann;
CREATE ROLE ck_web;
SELECT sopflow.create_crm('ck', true, 'ck_boss');
GRANT USAGE ON SCHEMA ck TO ck_boss, ck_ann, ck_web;
GRANT SELECT ON ALL TABLES IN SCHEMA ck TO ck_boss, ck_ann;
GRANT UPDATE (owner_id) ON ck.opportunities TO ck_ann, ck_boss;
GRANT INSERT ON ck.clients, ck.registrations TO ck_web;
INSERT INTO ck.sales_reps (rep_id, role_name) VALUES (1, 'ck_ann'), (2, NULL);
SET ROLE ck_web;
INSERT INTO ck.clients (client_id, name) VALUES (1, 'no lead'), (2, 'public'), (3, 'of Ann'), (4, 'of another'), (5, 'of both');
INSERT INTO ck.registrations (client_id) VALUES (1), (3), (4), (NULL);
SELECT count(*) FROM ck.clients;
RESET ROLE;
INSERT INTO ck.opportunities (opportunity_id, client_id, owner_id) VALUES (1, 2, NULL), (2, 3, 1), (3, 4, 2), (4, 5, 1), (5, 5, 2);
SET ROLE ck_ann;
SELECT name FROM ck.clients ORDER BY client_id;
SELECT client_id FROM ck.registrations ORDER BY 1;
SET ROLE ck_boss;
SELECT name FROM ck.clients ORDER BY client_id;
RESET ROLE;
-- a claim takes the client with it
UPDATE ck.opportunities SET owner_id = 2 WHERE opportunity_id = 1;
SET ROLE ck_ann;
SELECT name FROM ck.clients ORDER BY client_id;
RESET ROLE;

-- whoever may not execute a function here may not call the one behind it
INSERT INTO ck.opportunities (opportunity_id) VALUES (6), (7);
GRANT USAGE ON SCHEMA sopflow TO ck_ann;
SET ROLE ck_ann;
SELECT * FROM ck.assign('{6}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.crm_assign('ck', '{6}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT ok FROM sopflow.crm_claim('ck', '{6}', 1);
SET ROLE ck_boss;
SELECT ok FROM ck.assign('{7}', 1);
RESET ROLE;
-- where there is none, it is for who owns the leads
DROP FUNCTION ck.release;
SET ROLE ck_ann;
SELECT * FROM sopflow.crm_release('ck', '{6}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT ok FROM sopflow.crm_release('ck', '{6}');

SET client_min_messages = error;
DROP SCHEMA ck CASCADE;
SELECT count(sopflow.cancel(sop_id => s)) FROM unnest('{customer_care_sop,material_sop,opportunity_reminder_sop,opportunity_recycle_sop}'::text[]) s;
DELETE FROM sopflow.sop WHERE sop_id IN ('customer_care_sop', 'material_sop', 'opportunity_reminder_sop', 'opportunity_recycle_sop');
DELETE FROM sopflow.action WHERE action IN ('SEND_GREETING', 'PUSH_CASE', 'SEND_REG_LINK', 'FOLLOW_UP', 'REMIND_OWNER', 'RECYCLE_OPPORTUNITY');
DELETE FROM sopflow.rule_set WHERE rule_set IN ('opportunity_claim', 'opportunity_unbind', 'opportunity_recycle');
REVOKE USAGE ON SCHEMA sopflow FROM ck_ann;
DROP ROLE ck_boss, ck_ann, ck_web;
