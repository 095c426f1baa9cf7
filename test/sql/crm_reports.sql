-- The reports of the CRM pack over leads that were counted by hand.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-03-01 08:00:00+00';
SELECT sopflow.create_crm('crm_reports');
SET search_path = crm_reports, public;
-- empty
SELECT * FROM pool_report;
SELECT * FROM rep_report;
SELECT * FROM ageing_report;
SELECT * FROM denial_report;
SELECT * FROM public_pool;
SELECT * FROM my_pool;

UPDATE sopflow.rule_param SET value = '3' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
INSERT INTO sopflow.rule_param_override VALUES ('opportunity_claim', 'max_hold', 'level:senior', '6'), ('opportunity_claim', 'max_hold', 'team:south', '5');
INSERT INTO sales_reps (rep_id, name, category, team, level, active) VALUES (1, 'A', 'phone', 'north', 'junior', true),
	(2, 'B', 'phone', 'south', 'senior', true), (3, 'C', 'computer', 'north', 'senior', true), (4, 'D', NULL, NULL, NULL, false);
-- 1 to 10 and 15 of phones, 11 to 13 of computers, 14 of nothing, in the pool since March 1st
INSERT INTO opportunities (opportunity_id, category)
	SELECT i, CASE WHEN i <= 10 OR i = 15 THEN 'phone' WHEN i <= 13 THEN 'computer' END FROM generate_series(1, 15) i;
-- A has 1, 2, 3; B 4; C 11, 12
SELECT count(*) FROM claim('{1,2,3}', 1) WHERE ok;
SELECT count(*) FROM assign('{4}', 2) WHERE ok;
SELECT count(*) FROM claim('{11,12}', 3) WHERE ok;
-- March 5th: A wins 1, calls about 2; C loses 12, nobody 15; B claims 8
SET sopflow.clock = '2030-03-05 08:00:00+00';
SELECT count(*) FROM convert('{1}') WHERE ok;
SELECT count(*) FROM log_contact(2, 1) WHERE ok;
SELECT count(*) FROM lose('{12,15}', 'too dear') WHERE ok;
SELECT count(*) FROM claim('{8}', 2) WHERE ok;
-- March 11th: 2 and 3 go back from A, 4 from B, 11 from C
SET sopflow.clock = '2030-03-11 08:00:00+00';
SELECT opportunity_id FROM recycle();
-- March 14th, 23:30: A claims 5 and 6; 30 minutes later it is another day
SET sopflow.clock = '2030-03-14 23:30:00+00';
SELECT count(*) FROM claim('{5,6}', 1) WHERE ok;
SET sopflow.clock = '2030-03-15 00:00:00+00';
SELECT count(*) FROM claim('{7}', 1) WHERE ok;
SELECT count(*) FROM claim('{9,10}', 2) WHERE ok;
-- B gives 10 back; 4 and 14 are frozen
SELECT count(*) FROM release('{10}') WHERE ok;
SELECT count(*) FROM freeze('{4,14}', '2030-03-17 00:00+00') WHERE ok;
-- denied: C gets no phones; A is full; B may not have 10 at once, 8 and 9 he has; 99 is not there, which is not in the report
SELECT opportunity_id, code FROM claim('{3,4}', 3);
SELECT opportunity_id, code FROM claim('{3}', 1);
SELECT opportunity_id, code FROM claim('{4}', 1);
SELECT opportunity_id, code FROM assign('{3}', 3, 'boss');
SELECT opportunity_id, code FROM claim('{10,9,8,99}', 2);
SET sopflow.clock = '2030-03-15 12:00:00+00';
SELECT opportunity_id, code FROM claim('{9}', 2);

\pset tuples_only off
-- Noon of March 15th. Phones: public 2, 3, 4, 10, private 5 to 9, of which 8 is due since 08:00, won 1, lost 15.
SELECT opportunity_id, category, status, owner_id, pooled_at, claimed_at, last_contact_at, recycle_at, closed_at FROM opportunities ORDER BY 1;
SELECT * FROM pool_report ORDER BY category;
-- A: 5 to 7, 7 claimed today, 2 and 3 lost; B: 8 and 9, 9 and 10 claimed today, 4 lost
SELECT * FROM rep_report ORDER BY rep_id;
-- of those who are owned the last contact counts, or the claim
SELECT * FROM ageing_report ORDER BY pool DESC, category, oldest;
SELECT * FROM denial_report ORDER BY code, operation;
SELECT opportunity_id, category, minor_status, last_owner_id, released_at, pooled_at, frozen_until FROM public_pool ORDER BY 1;
SET sopflow.rep_id = 2;
SELECT opportunity_id, owner_id FROM my_pool ORDER BY 1;
RESET sopflow.rep_id;
SELECT opportunity_id, owner_id FROM my_pool;

-- The time goes on.
SET sopflow.clock = '2030-03-15 23:59:59+00';
SELECT rep_id, claimed_today FROM rep_report ORDER BY 1;
SELECT day_began();
-- the day is that of the parameter
UPDATE sopflow.rule_param SET value = 'Asia/Shanghai' WHERE rule_set = 'opportunity_claim' AND param = 'time_zone';
SELECT day_began();
SELECT rep_id, claimed_today FROM rep_report ORDER BY 1;
SET sopflow.clock = '2030-03-15 15:59:59+00';
SELECT day_began();
SELECT rep_id, claimed_today FROM rep_report ORDER BY 1;
SET sopflow.clock = '2030-03-16 00:00:00+00';
SELECT code, denials FROM denial_report ORDER BY 1;
SET sopflow.clock = '2030-03-17 00:00:00+00';
SELECT * FROM denial_report;
SELECT category, frozen_leads FROM pool_report ORDER BY 1;
SELECT * FROM ageing_report ORDER BY pool DESC, category, oldest;
SET sopflow.clock = '2030-04-10 08:00:00+00';
SELECT rep_id, recycled_30d FROM rep_report ORDER BY 1;
SELECT count(*) FROM ageing_report WHERE age = 'older';
SET sopflow.clock = '2030-04-10 07:59:59+00';
SELECT rep_id, recycled_30d FROM rep_report ORDER BY 1;
-- a limit that is none
INSERT INTO sopflow.rule_param_override VALUES ('opportunity_claim', 'max_hold', 'rep:2', NULL);
SELECT rep_id, hold_limit FROM rep_report ORDER BY 1;
SELECT hold_limit(99) IS NULL AS none;

\pset tuples_only on
RESET search_path;
SET client_min_messages = error;
DROP SCHEMA crm_reports CASCADE;
SELECT count(sopflow.cancel(sop_id => s)) FROM unnest('{customer_care_sop,material_sop,opportunity_reminder_sop,opportunity_recycle_sop}'::text[]) s;
DELETE FROM sopflow.sop WHERE sop_id IN ('customer_care_sop', 'material_sop', 'opportunity_reminder_sop', 'opportunity_recycle_sop');
DELETE FROM sopflow.action WHERE action IN ('SEND_GREETING', 'PUSH_CASE', 'SEND_REG_LINK', 'FOLLOW_UP', 'REMIND_OWNER', 'RECYCLE_OPPORTUNITY');
DELETE FROM sopflow.rule_set WHERE rule_set IN ('opportunity_claim', 'opportunity_unbind', 'opportunity_recycle');
