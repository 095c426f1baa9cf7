-- Automatic assignment: leads go to active sales reps of their category who have
-- room, to the least loaded or in turn, by weight.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 09:00:00+00';
SELECT sopflow.create_crm('crm_assign');
SET search_path = crm_assign, public;
CREATE VIEW held AS
	SELECT r.rep_id, r.name, count(o.opportunity_id) AS leads FROM sales_reps r
		LEFT JOIN opportunities o ON o.owner_id = r.rep_id AND o.closed_at IS NULL GROUP BY r.rep_id ORDER BY r.rep_id;
-- new public leads, as an array
CREATE FUNCTION fresh(n int, category text DEFAULT 'phone') RETURNS bigint[] LANGUAGE sql AS $$
	WITH i AS (INSERT INTO opportunities (category) SELECT $2 FROM generate_series(1, n) RETURNING opportunity_id)
	SELECT array_agg(opportunity_id ORDER BY opportunity_id) FROM i
$$;
CREATE PROCEDURE clear() LANGUAGE sql AS $$
	DELETE FROM opportunities;
	DELETE FROM assignment_turn;
	UPDATE assignment SET position = 0;
$$;
INSERT INTO sales_reps (rep_id, name, category, team, level) VALUES (1, 'A', 'phone', 'north', 'junior'), (2, 'B', 'phone', 'south', 'senior'),
	(3, 'C', 'computer', 'north', 'senior'), (4, 'D', NULL, 'south', 'junior');

-- The least loaded first, however many there are in one call.
SELECT * FROM auto_assign(fresh(1), 'least_loaded', 'boss');
SELECT operation, ok, from_owner, to_owner, operator, event FROM opportunity_log ORDER BY log_id;
SELECT acquired_by, status, claimed_at, recycle_at FROM opportunities;
SELECT to_owner FROM auto_assign(fresh(1), 'least_loaded');
SELECT to_owner FROM auto_assign(fresh(1), 'least_loaded');
SELECT to_owner FROM auto_assign(fresh(4), 'least_loaded');
SELECT * FROM held;
-- in a call of several categories each lead goes to a rep of its own
SELECT opportunity_id % 3 AS n, ok, to_owner FROM auto_assign((SELECT array_agg(x ORDER BY n DESC, x)
	FROM (VALUES (1, fresh(2, 'computer')), (2, fresh(1, NULL)), (3, fresh(1, 'phone'))) v(n, ids), unnest(ids) x), 'least_loaded');
SELECT * FROM held;
-- by weight: 3 times as many for B
CALL clear();
UPDATE sales_reps SET weight = 3 WHERE name = 'B';
SELECT count(*) FROM auto_assign(fresh(50), 'least_loaded') WHERE ok;
SELECT * FROM held;
-- who holds much waits until the others have caught up
SELECT count(*) FROM release((SELECT array_agg(opportunity_id) FROM opportunities WHERE owner_id IN (1, 4)));
DELETE FROM opportunities WHERE owner_id IS NULL;
SELECT to_owner, count(*) FROM auto_assign(fresh(22), 'least_loaded') GROUP BY 1 ORDER BY 1;
-- won leads are no load
SELECT count(*) FROM convert((SELECT array_agg(opportunity_id) FROM opportunities WHERE owner_id = 1));
SELECT to_owner, count(*) FROM auto_assign(fresh(11), 'least_loaded') GROUP BY 1 ORDER BY 1;

-- In turn; who has twice the weight comes twice as often.
CALL clear();
UPDATE sales_reps SET weight = 1;
SELECT to_owner FROM auto_assign(fresh(4), 'round_robin');
SELECT to_owner FROM auto_assign(fresh(1), 'round_robin');
SELECT to_owner FROM auto_assign(fresh(1), 'round_robin');
SELECT category, position > 0 FROM assignment;
UPDATE sales_reps SET weight = 2 WHERE name = 'A';
SELECT to_owner, count(*) FROM auto_assign(fresh(40), 'round_robin') GROUP BY 1 ORDER BY 1;
SELECT string_agg(to_owner::text, ' ') FROM auto_assign(fresh(8), 'round_robin');
-- loads do not matter
CALL clear();
UPDATE sales_reps SET weight = 1;
SELECT count(*) FROM assign(fresh(5), 1) WHERE ok;
SELECT string_agg(to_owner::text, ' ') FROM auto_assign(fresh(6), 'round_robin');
-- a rolled-back call is no turn
BEGIN;
SELECT string_agg(to_owner::text, ' ') FROM auto_assign(fresh(2), 'round_robin');
ROLLBACK;
SELECT string_agg(to_owner::text, ' ') FROM auto_assign(fresh(2), 'round_robin');

-- Who is left out: inactive, absent until later, of weight 0, of another category.
CALL clear();
UPDATE sales_reps SET active = false WHERE name = 'A';
SELECT to_owner, count(*) FROM auto_assign(fresh(4), 'least_loaded') GROUP BY 1 ORDER BY 1;
UPDATE sales_reps SET active = true, absent_until = '2030-01-08 09:00+00' WHERE name = 'A';
SELECT to_owner, count(*) FROM auto_assign(fresh(4), 'round_robin') GROUP BY 1 ORDER BY 1;
UPDATE sales_reps SET weight = 0 WHERE name = 'B';
SELECT to_owner, count(*) FROM auto_assign(fresh(4), 'least_loaded') GROUP BY 1 ORDER BY 1;
SET sopflow.clock = '2030-01-08 08:59:59+00';
SELECT to_owner, count(*) FROM auto_assign(fresh(2), 'round_robin') GROUP BY 1 ORDER BY 1;
SET sopflow.clock = '2030-01-08 09:00:00+00';
SELECT to_owner, count(*) FROM auto_assign(fresh(2), 'round_robin') GROUP BY 1 ORDER BY 1;
UPDATE sales_reps SET active = false WHERE name IN ('A', 'D');
-- nobody of the category
SELECT ok, code, message, from_owner, to_owner FROM auto_assign(fresh(1, 'phone'), 'least_loaded');
SELECT ok, code, message FROM auto_assign(fresh(1, 'tv'), 'round_robin', 'boss');
SELECT ok, to_owner FROM auto_assign(fresh(1, NULL));
UPDATE sales_reps SET active = false;
SELECT ok, code, message FROM auto_assign(fresh(1, NULL));
SELECT operation, ok, code, message, from_owner, to_owner, operator, event FROM opportunity_log WHERE NOT ok ORDER BY log_id;
UPDATE sales_reps SET active = true, weight = 1, absent_until = NULL;

-- Room, with overrides for one rep, a team, a level.
CALL clear();
UPDATE sopflow.rule_param SET value = '3' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
INSERT INTO sopflow.rule_param_override VALUES ('opportunity_claim', 'max_hold', 'team:south', '2'), ('opportunity_claim', 'max_hold', 'rep:2', '4'),
	('opportunity_claim', 'max_hold', 'level:junior', '1');
SELECT rep_id, hold_limit(rep_id) FROM sales_reps ORDER BY rep_id;
SELECT ok, code, message, to_owner FROM auto_assign(fresh(9), 'least_loaded');
SELECT * FROM held;
SELECT ok, code, to_owner FROM auto_assign(fresh(2, NULL), 'round_robin');
SELECT ok, code, message FROM auto_assign(fresh(1, NULL), 'round_robin');
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'opportunity_claim';
CALL clear();
SELECT ok, code, to_owner FROM auto_assign(fresh(10), 'round_robin');
-- no limit
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT to_owner, count(*) FROM auto_assign(fresh(300), 'round_robin') GROUP BY 1 ORDER BY 1;
UPDATE sopflow.rule_param SET value = '100' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';

-- Ids that are nothing for it: twice, null, private, unknown, closed, frozen.
CALL clear();
SELECT fresh(4) AS ids \gset
SELECT (:'ids'::bigint[])[1] AS id1, (:'ids'::bigint[])[2] AS id2, (:'ids'::bigint[])[3] AS id3, (:'ids'::bigint[])[4] AS id4 \gset
SELECT ok FROM claim(ARRAY[:id2], 1);
SELECT ok FROM lose(ARRAY[:id3]);
SELECT ok FROM freeze(ARRAY[:id4], '2030-01-10 00:00+00');
SELECT r.n, r.opportunity_id - :id1 AS id, r.ok, r.code, regexp_replace(r.message, '\d+', 'N'), r.from_owner, r.to_owner
FROM auto_assign(ARRAY[:id1, NULL, :id1, :id2, 999999999, :id3, :id4]) WITH ORDINALITY
	AS r(opportunity_id, ok, code, message, from_owner, to_owner, n);
-- what is denied takes nobody's place: room for one is room for one
UPDATE sales_reps SET active = rep_id = 1;
UPDATE sopflow.rule_param SET value = '2' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT ok, code, to_owner FROM auto_assign(ARRAY[:id4, :id3] || fresh(2), 'least_loaded');
UPDATE sales_reps SET active = true;
UPDATE sopflow.rule_param SET value = '100' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
-- nor does a rep who may not have it keep others from it
INSERT INTO rep_tasks (rep_id, title) VALUES (4, 'sign');
CALL clear();
SELECT ok, code, to_owner FROM auto_assign(fresh(7), 'round_robin');
UPDATE rep_tasks SET done_at = sopflow.now();
SELECT ok, code, to_owner FROM auto_assign(fresh(3), 'round_robin');
SELECT * FROM auto_assign('{}');
SELECT * FROM auto_assign(NULL);
\set SHOW_CONTEXT never
SELECT * FROM auto_assign('{1}', 'by_chance');
\echo :LAST_ERROR_SQLSTATE

-- New leads by themselves: as the table says, of a category or of the others.
CALL clear();
SELECT * FROM assignment;
INSERT INTO opportunities (category) VALUES ('phone');
SELECT owner_id FROM opportunities;
CALL clear();
INSERT INTO assignment (category, method) VALUES ('phone', 'round_robin');
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
INSERT INTO opportunities (category) SELECT CASE WHEN i % 10 = 0 THEN 'computer' ELSE 'phone' END FROM generate_series(1, 1000) i;
SELECT * FROM held;
SELECT category, count(*) FROM opportunities WHERE owner_id IS NULL GROUP BY 1;
SELECT operation, operator, event, count(*) FROM opportunity_log l JOIN opportunities o USING (opportunity_id) GROUP BY 1, 2, 3;
UPDATE sopflow.rule_param SET value = '100' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
UPDATE assignment SET method = 'least_loaded' WHERE category = '*';
CALL clear();
INSERT INTO opportunities (category) SELECT CASE WHEN i % 5 = 0 THEN 'computer' ELSE 'phone' END FROM generate_series(1, 250) i;
SELECT * FROM held;
-- the auto_assign() that is told no method uses that of the table
SELECT ok, code, from_owner, to_owner FROM auto_assign(fresh(1, 'computer'));
UPDATE assignment SET method = 'off' WHERE category = '*';
SELECT ok, to_owner FROM auto_assign(fresh(1, 'computer'));
UPDATE assignment SET method = 'least_loaded' WHERE category = '*';
SELECT rep_id, leads FROM held WHERE name IN ('C', 'D');
-- one after another, in turn; who has an owner is not given to others
CALL clear();
INSERT INTO opportunities (opportunity_id, category) VALUES (1000001, 'phone');
INSERT INTO opportunities (opportunity_id, category, owner_id) VALUES (1000002, 'phone', 1);
INSERT INTO opportunities (opportunity_id, category) VALUES (1000003, 'phone');
INSERT INTO opportunities (opportunity_id, category) VALUES (1000004, 'phone'), (1000005, 'phone');
COPY opportunities (opportunity_id, category) FROM stdin;
1000006	phone
1000007	computer
1000008	phone
1000009	phone
\.
INSERT INTO opportunities (opportunity_id, category) VALUES (1000009, 'phone'), (1000010, 'phone') ON CONFLICT DO NOTHING;
MERGE INTO opportunities o USING (VALUES (1000010, 'phone'), (1000011, 'phone')) v (id, category) ON o.opportunity_id = v.id
	WHEN NOT MATCHED THEN INSERT (opportunity_id, category) VALUES (v.id, v.category);
SELECT opportunity_id, owner_id, acquired_by FROM opportunities ORDER BY 1;
-- not what nobody may take: closed, locked, frozen leads
INSERT INTO opportunities (opportunity_id, category, status, locked, frozen_until) VALUES (1000021, 'phone', 'LOST', NULL, NULL),
	(1000022, 'phone', 'UNBIND', 'manual', NULL), (1000023, 'phone', 'UNBIND', NULL, '2030-01-31 00:00+00'), (1000024, 'phone', 'UNBIND', NULL, '2030-01-01 00:00+00');
SELECT opportunity_id, status, owner_id FROM opportunities WHERE opportunity_id > 1000020 ORDER BY 1;
SELECT opportunity_id, ok, code FROM opportunity_log WHERE opportunity_id > 1000020;
DELETE FROM opportunities WHERE opportunity_id > 1000020;
-- full: they stay public, which is in the log
UPDATE sopflow.rule_param SET value = '4' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
INSERT INTO opportunities (category) SELECT 'phone' FROM generate_series(1, 4);
SELECT * FROM held;
SELECT ok, code, message, operator, event, count(*) FROM opportunity_log WHERE code = 'FULL' AND operator = 'assignment' GROUP BY 1, 2, 3, 4, 5;
UPDATE sopflow.rule_param SET value = '100' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';

-- Who joins later, or comes back, has no turns to catch up with.
CALL clear();
INSERT INTO opportunities (category) SELECT 'phone' FROM generate_series(1, 30);
INSERT INTO sales_reps (rep_id, name, category) VALUES (5, 'E', 'phone');
INSERT INTO opportunities (category) SELECT 'phone' FROM generate_series(1, 8);
SELECT * FROM held;
UPDATE sales_reps SET absent_until = '2030-02-01 00:00+00' WHERE name = 'B';
INSERT INTO opportunities (category) SELECT 'phone' FROM generate_series(1, 30);
SELECT * FROM held;
UPDATE sales_reps SET absent_until = NULL WHERE name = 'B';
INSERT INTO opportunities (category) SELECT 'phone' FROM generate_series(1, 8);
SELECT * FROM held;
DELETE FROM opportunities WHERE owner_id = 5;
UPDATE opportunities SET last_owner_id = NULL WHERE last_owner_id = 5;
DELETE FROM sales_reps WHERE name = 'E';
SELECT count(*) FROM assignment_turn;

-- Off.
UPDATE assignment SET method = 'off';
INSERT INTO opportunities (category) VALUES ('phone') RETURNING owner_id;
SELECT count(*) FROM opportunities WHERE owner_id IS NULL;
UPDATE assignment SET method = 'by_chance';
\echo :LAST_ERROR_SQLSTATE
-- not without a row for the others
DELETE FROM assignment;
INSERT INTO opportunities (category) VALUES ('phone');
SELECT ok, code FROM auto_assign(fresh(1));
\echo :LAST_ERROR_SQLSTATE
SELECT ok, code FROM auto_assign('{999999999}');
INSERT INTO assignment (category) VALUES ('*');
SELECT ok, code FROM auto_assign(fresh(1));

RESET search_path;
SET client_min_messages = error;
DROP SCHEMA crm_assign CASCADE;
SELECT count(sopflow.cancel(sop_id => s)) FROM unnest('{customer_care_sop,material_sop,opportunity_reminder_sop,opportunity_recycle_sop}'::text[]) s;
DELETE FROM sopflow.sop WHERE sop_id IN ('customer_care_sop', 'material_sop', 'opportunity_reminder_sop', 'opportunity_recycle_sop');
DELETE FROM sopflow.action WHERE action IN ('SEND_GREETING', 'PUSH_CASE', 'SEND_REG_LINK', 'FOLLOW_UP', 'REMIND_OWNER', 'RECYCLE_OPPORTUNITY');
DELETE FROM sopflow.rule_set WHERE rule_set IN ('opportunity_claim', 'opportunity_unbind', 'opportunity_recycle');
