-- A rep claims a lead: the five checks, in their order, hold on every way of
-- writing the table.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE SCHEMA rc;
CREATE TABLE rc.reps (rep_id bigint PRIMARY KEY, name text NOT NULL, category text NOT NULL, team text);
CREATE TABLE rc.leads (
	lead_id bigint PRIMARY KEY,
	category text NOT NULL DEFAULT 'phone',
	status text NOT NULL DEFAULT 'UNBIND',
	owner_id bigint REFERENCES rc.reps,
	last_owner_id bigint,
	claimed_at timestamptz,
	released_at timestamptz
);
CREATE INDEX ON rc.leads (owner_id);
CREATE TABLE rc.tasks (lead_id bigint, rep_id bigint, done bool NOT NULL DEFAULT false);
CREATE TABLE rc.lead_log (log_id int GENERATED ALWAYS AS IDENTITY, lead_id bigint, from_owner bigint, to_owner bigint, rule text);
CREATE FUNCTION rc.log(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO rc.lead_log (lead_id, from_owner, to_owner, rule)
		VALUES ((facts->'new'->>'lead_id')::bigint, (facts->'old'->>'owner_id')::bigint, (facts->'new'->>'owner_id')::bigint, rule);
	SELECT NULL::jsonb
$$;

-- A, B and D sell phones, C computers.
INSERT INTO rc.reps VALUES (1, 'A', 'phone', 'north'), (2, 'B', 'phone', 'south'), (3, 'C', 'computer', 'north'), (4, 'D', 'phone', 'south');
-- Ten free leads, and enough to hold.
INSERT INTO rc.leads (lead_id) SELECT generate_series(1, 10);
INSERT INTO rc.leads (lead_id, status, owner_id) SELECT 1000 + i, 'BIND', 1 FROM generate_series(1, 99) i;

BEGIN;
INSERT INTO sopflow.rule_set (rule_set, param_scopes) VALUES
	('opportunity_claim', ARRAY[$$'rep:' || new.owner_id$$, $$'team:' || rep.team$$]);
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES
	('opportunity_claim', 'new', 'rc.leads', NULL),
	('opportunity_claim', 'old', 'rc.leads', NULL),
	('opportunity_claim', 'rep', 'rc.reps', 'select r from rc.reps r where r.rep_id = new.owner_id'),
	('opportunity_claim', 'open_tasks', 'bigint', 'select count(*) from rc.tasks t where t.rep_id = rep.rep_id and not t.done');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES
	('opportunity_claim', 'max_hold', 'int', '100'),
	('opportunity_claim', 'cool_down', 'interval', '72 hours');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES
	('opportunity_claim', 'held', 'select count(*) from rc.leads l where l.owner_id = new.owner_id', $$'rep:' || new.owner_id$$);
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('opportunity_claim', 'status', 1,
		$$new.owner_id is not null and (old.owner_id is not null or old.status <> 'UNBIND')$$,
		'[{"deny": "状态不合法", "code": "STATUS"}]'),
	('opportunity_claim', 'last_owner', 2,
		$$new.owner_id is not null and old.last_owner_id = new.owner_id and old.released_at + param.cool_down > sopflow.now()$$,
		'[{"deny": "上一个绑定人不可以为···", "code": "LAST_OWNER"}]'),
	('opportunity_claim', 'capacity', 3,
		$$new.owner_id is not null and held >= param.max_hold$$,
		'[{"deny": "私海库已满，无法操作··", "code": "FULL"}]'),
	('opportunity_claim', 'category', 4,
		$$new.owner_id is not null and rep.category <> new.category$$,
		'[{"deny": "类目不匹配，无法操作··", "code": "CATEGORY"}]'),
	('opportunity_claim', 'task', 5,
		$$new.owner_id is not null and open_tasks > 0$$,
		'[{"deny": "任务未完成，无法操作··", "code": "TASK"}]'),
	('opportunity_claim', 'bind', 10,
		$$new.owner_id is not null$$,
		'[{"set": {"new.status": "''BIND''", "new.claimed_at": "sopflow.now()"}}, {"call": "rc.log"}]'),
	('opportunity_claim', 'unbind', 11,
		$$new.owner_id is null and old.owner_id is not null$$,
		'[{"set": {"new.status": "''UNBIND''", "new.last_owner_id": "old.owner_id", "new.released_at": "sopflow.now()"}}, {"call": "rc.log"}]');
COMMIT;
SELECT sopflow.guard('rc.leads', 'opportunity_claim', '{owner_id}');

-- One claim, with what a program sees of a denial.
CREATE FUNCTION rc.claim(lead bigint, rep text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	at_constraint text;
	at_table text;
BEGIN
	UPDATE rc.leads SET owner_id = (SELECT r.rep_id FROM rc.reps r WHERE r.name = rep) WHERE lead_id = lead;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state := RETURNED_SQLSTATE, message := MESSAGE_TEXT, at_constraint := CONSTRAINT_NAME, at_table := TABLE_NAME;
	RETURN format('%s %s at %s.%s', state, message, at_table, at_constraint);
END $$;
CREATE VIEW rc.held AS
	SELECT r.name, count(l.lead_id) FROM rc.reps r LEFT JOIN rc.leads l ON l.owner_id = r.rep_id GROUP BY r.name ORDER BY r.name;

-- C1: A has 99 and claims: bound, 100, a row in the log
SELECT rc.claim(1, 'A');
SELECT * FROM rc.leads WHERE lead_id = 1;
SELECT * FROM rc.held;
SELECT lead_id, from_owner, to_owner, rule FROM rc.lead_log ORDER BY log_id;

-- C2: full
SELECT rc.claim(2, 'A');
UPDATE rc.leads SET owner_id = 1 WHERE lead_id = 2;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM rc.leads WHERE lead_id = 2;

-- C3: the wrong category
SELECT rc.claim(2, 'C');

-- C4: whom it was taken from may not have it back at once, another may
UPDATE rc.leads SET owner_id = NULL WHERE lead_id = 1;
SELECT * FROM rc.leads WHERE lead_id = 1;
SELECT rc.claim(1, 'A');
BEGIN;
SELECT rc.claim(1, 'B');
SELECT * FROM rc.leads WHERE lead_id = 1;
ROLLBACK;
SET sopflow.clock = '2030-01-10 09:59:59.999999+00';
SELECT rc.claim(1, 'A');
SET sopflow.clock = '2030-01-10 10:00:00+00';
SELECT rc.claim(1, 'A');
SELECT * FROM rc.leads WHERE lead_id = 1;

-- C5: already private, or of a status that cannot be claimed
SELECT rc.claim(1, 'B');
UPDATE rc.leads SET status = 'CLOSED' WHERE lead_id = 3;
SELECT rc.claim(3, 'B');

-- C6: a task that must be done first
INSERT INTO rc.tasks VALUES (3, 2, false);
SELECT rc.claim(4, 'B');
UPDATE rc.tasks SET done = true;
SELECT rc.claim(4, 'B');

-- C7: two reasons at once; the first alone, then all in order
UPDATE rc.leads SET category = 'computer' WHERE lead_id = 5;
SELECT rc.claim(5, 'A');
UPDATE sopflow.rule_set SET denials = 'all' WHERE rule_set = 'opportunity_claim';
SELECT rc.claim(5, 'A');
UPDATE rc.leads SET owner_id = 1 WHERE lead_id = 5;
SELECT * FROM rc.leads WHERE lead_id = 5;
UPDATE sopflow.rule_set SET denials = 'first' WHERE rule_set = 'opportunity_claim';
-- nothing is left of a denied claim, its log row included
SELECT count(*) FROM rc.lead_log WHERE lead_id = 5;

-- C8: a threshold that is changed counts at once
SELECT rc.claim(2, 'A');
UPDATE sopflow.rule_param SET value = '120' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT rc.claim(2, 'A');
SELECT * FROM rc.held;
UPDATE sopflow.rule_param SET value = '101' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT rc.claim(6, 'A');
-- for a team, and before it for one rep
INSERT INTO sopflow.rule_param_override VALUES ('opportunity_claim', 'max_hold', 'team:north', '102');
SELECT rc.claim(6, 'A');
SELECT rc.claim(7, 'A');
INSERT INTO sopflow.rule_param_override VALUES ('opportunity_claim', 'max_hold', 'rep:1', '103');
SELECT rc.claim(7, 'A');
SELECT rc.claim(8, 'A');
DELETE FROM sopflow.rule_param_override WHERE scope = 'rep:1';
UPDATE sopflow.rule_param_override SET value = '1000' WHERE scope = 'team:north';
BEGIN;
SELECT rc.claim(8, 'A');
ROLLBACK;
-- another team's is no one's business
UPDATE sopflow.rule_param_override SET scope = 'team:south' WHERE rule_set = 'opportunity_claim';
SELECT rc.claim(8, 'A');
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'opportunity_claim';
-- not one that is taken back, and not one that is no number
BEGIN;
UPDATE sopflow.rule_param SET value = '1000' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT rc.claim(8, 'A');
ROLLBACK;
SELECT rc.claim(8, 'A');
UPDATE sopflow.rule_param SET value = 'many' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
INSERT INTO sopflow.rule_param_override VALUES ('opportunity_claim', 'max_hold', 'rep:1', 'more');
UPDATE sopflow.rule_param SET value = '100' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
-- who has more keeps them, and gains none
SELECT rc.claim(8, 'A');
SELECT * FROM rc.held;

-- C10: two reps, one lead, no more than its id in the WHERE
SELECT rc.claim(8, 'B');
SELECT rc.claim(8, 'D');
SELECT owner_id FROM rc.leads WHERE lead_id = 8;

-- C11: five leads in one statement at 98 of 100: all or none, or one by one
INSERT INTO rc.leads (lead_id, status) SELECT 2000 + i, 'UNBIND' FROM generate_series(1, 98) i;
UPDATE rc.leads SET owner_id = 4 WHERE lead_id BETWEEN 2001 AND 2098;
INSERT INTO rc.leads (lead_id) SELECT generate_series(21, 25);
SELECT * FROM rc.held;
UPDATE rc.leads SET owner_id = 4 WHERE lead_id BETWEEN 21 AND 25;
SELECT * FROM rc.held;
SELECT lead_id, rc.claim(lead_id, 'D') FROM generate_series(21, 25) lead_id;
SELECT * FROM rc.held;

-- Every way of writing.
INSERT INTO rc.leads (lead_id, owner_id) VALUES (31, 4);
INSERT INTO rc.leads (lead_id, owner_id) VALUES (31, 3);
INSERT INTO rc.leads (lead_id, owner_id) VALUES (9, 2) ON CONFLICT (lead_id) DO UPDATE SET owner_id = 4;
COPY rc.leads (lead_id, owner_id) FROM stdin;
32	2
33	4
\.
MERGE INTO rc.leads l USING (VALUES (9::bigint, 4::bigint)) v (lead_id, owner_id) ON l.lead_id = v.lead_id
	WHEN MATCHED THEN UPDATE SET owner_id = v.owner_id;
WITH c AS (UPDATE rc.leads SET owner_id = 4 WHERE lead_id = 9 RETURNING *) SELECT count(*) FROM c;
SELECT lead_id, owner_id FROM rc.leads WHERE lead_id IN (9, 31, 32, 33) ORDER BY lead_id;
INSERT INTO rc.leads (lead_id, owner_id) VALUES (31, 2) RETURNING lead_id, status, owner_id, claimed_at;
-- other columns are no one's business
UPDATE rc.leads SET category = 'computer' WHERE lead_id = 31 RETURNING category;
-- a write of the same owner changes nothing
UPDATE rc.leads SET owner_id = owner_id WHERE lead_id = 31 RETURNING owner_id;
-- a rep that does not exist has no category: the foreign key has the last word
UPDATE rc.leads SET owner_id = 99 WHERE lead_id = 10;

SELECT sopflow.unguard('rc.leads', 'opportunity_claim');
UPDATE rc.leads SET owner_id = 4 WHERE lead_id = 9 RETURNING owner_id;
DELETE FROM sopflow.rule_set WHERE rule_set = 'opportunity_claim';
SET client_min_messages = warning;
DROP SCHEMA rc CASCADE;
