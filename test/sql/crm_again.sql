-- The pack is made once; where its tables were dropped, it is made again.
\pset format unaligned
\pset tuples_only on
SET sopflow.clock = '2030-01-07 10:00:00+00';
SET timezone = 'UTC';
SELECT sopflow.create_crm('ca');
SELECT sopflow.create_crm('ca');
-- a table of that name, nothing else
CREATE SCHEMA ca_other;
CREATE TABLE ca_other.contacts ();
SELECT sopflow.create_crm('ca_other');
SELECT count(*) FROM pg_class WHERE relnamespace = 'ca_other'::regnamespace;
SELECT sopflow.create_crm(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.create_crm('');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.health WHERE code LIKE 'guard%';

INSERT INTO ca.clients DEFAULT VALUES;
INSERT INTO ca.sales_reps DEFAULT VALUES;
INSERT INTO ca.opportunities (owner_id) VALUES (1);
UPDATE sopflow.rule_param SET value = '1' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT sop_id, subject_id, status FROM sopflow.tasks WHERE sop_id ~ '^(customer_care|opportunity)' ORDER BY 1, 2, task_id;

SET client_min_messages = error;
DROP SCHEMA ca CASCADE;
RESET client_min_messages;
SELECT sop_id, enabled FROM sopflow.sop WHERE sop_id ~ '^(customer_care|material|opportunity)' ORDER BY 1;

-- tables, rules and SOPs are new, in another schema, what was waiting is cancelled
SELECT sopflow.create_crm('cb');
SELECT sop_id, enabled, subject_relation FROM sopflow.sop WHERE sop_id ~ '^(customer_care|material|opportunity)' ORDER BY 1;
SELECT handler FROM sopflow.action WHERE action = 'RECYCLE_OPPORTUNITY';
SELECT value FROM sopflow.rule_param WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
INSERT INTO cb.clients DEFAULT VALUES;
INSERT INTO cb.sales_reps DEFAULT VALUES;
INSERT INTO cb.opportunities (owner_id) VALUES (1);
SELECT sop_id, subject_id, status FROM sopflow.tasks WHERE sop_id ~ '^(customer_care|opportunity)' ORDER BY 1, 2, task_id;

-- a schema beside it has names of its own, in the same transaction too
BEGIN;
SELECT sopflow.create_crm('ca2');
INSERT INTO ca2.clients DEFAULT VALUES;
INSERT INTO ca2.sales_reps DEFAULT VALUES;
INSERT INTO ca2.opportunities (owner_id) VALUES (1);
SELECT rule_set FROM sopflow.rule_set WHERE rule_set LIKE '%opportunity%' ORDER BY 1;
SELECT sop_id, subject_id, status FROM sopflow.tasks WHERE sop_id LIKE 'ca2.%' ORDER BY 1;
SELECT action FROM sopflow.action WHERE action LIKE 'ca2.%' ORDER BY 1;
ROLLBACK;

SET client_min_messages = error;
DROP SCHEMA cb, ca_other CASCADE;
SELECT sum(sopflow.cancel(sop_id => sop_id)) FROM sopflow.sop WHERE sop_id ~ '^(customer_care|material|opportunity)';
BEGIN;
DELETE FROM sopflow.sop WHERE sop_id ~ '^(customer_care|material|opportunity)';
DELETE FROM sopflow.rule_set WHERE rule_set ~ '^opportunity_(claim|unbind|recycle)$';
DELETE FROM sopflow.action WHERE action IN ('SEND_GREETING', 'PUSH_CASE', 'SEND_REG_LINK', 'FOLLOW_UP', 'REMIND_OWNER', 'RECYCLE_OPPORTUNITY');
COMMIT;
