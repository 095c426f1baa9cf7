-- The CRM pack with what users add to it: rules, triggers and columns of their
-- own, a second schema; and the SOPs that come with it.
\pset format unaligned
\pset tuples_only on
\pset null null
\set VERBOSITY terse
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';
SELECT sopflow.create_crm('cx');
INSERT INTO cx.sales_reps (rep_id, name, category) VALUES (1, 'A', 'phone'), (2, 'B', 'phone'), (3, 'C', 'computer');
INSERT INTO cx.opportunities (opportunity_id, category) SELECT i, 'phone' FROM generate_series(1, 60) i;
CREATE VIEW cx.last AS
	SELECT opportunity_id, operation, event, operator, ok, code, message, from_owner, to_owner FROM cx.opportunity_log ORDER BY log_id DESC;

\echo --- a rule of the user, with a code of its own and without
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('opportunity_claim', 'vip', 15, $$new.owner_id is distinct from old.owner_id and new.level = 'A' and rep.level is distinct from 'senior'$$,
		'[{"deny": "{{new.level}} is for senior reps, not for {{rep.name}}", "code": "VIP"}]'),
	('opportunity_claim', 'no web leads', 16, $$new.owner_id is distinct from old.owner_id and new.source = 'web'$$, '[{"deny": "not from the web"}]');
UPDATE cx.opportunities SET level = 'A' WHERE opportunity_id <= 2;
UPDATE cx.opportunities SET source = 'web' WHERE opportunity_id BETWEEN 2 AND 3;
SELECT * FROM cx.claim('{1,2,3,4}', 1);
SELECT * FROM cx.last LIMIT 4;
UPDATE cx.opportunities SET owner_id = 1 WHERE opportunity_id = 1;
\echo :LAST_ERROR_SQLSTATE
UPDATE cx.sales_reps SET level = 'senior' WHERE rep_id = 1;
SELECT * FROM cx.claim('{1,2}', 1);
-- all reasons: the code is the first one's, the texts are in their order
UPDATE sopflow.rule_set SET denials = 'all' WHERE rule_set = 'opportunity_claim';
SELECT ok FROM cx.freeze('{2}', 'infinity');
UPDATE cx.opportunities SET locked = 'other' WHERE opportunity_id = 2;
SELECT * FROM cx.claim('{2,1,5}', 3);
SELECT * FROM cx.last WHERE opportunity_id = 2 LIMIT 1;
SELECT details FROM cx.opportunity_log WHERE opportunity_id = 2 AND NOT ok ORDER BY log_id DESC LIMIT 1;
UPDATE sopflow.rule_set SET denials = 'first' WHERE rule_set = 'opportunity_claim';
-- one that is not wanted
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'opportunity_claim' AND rule IN ('category', 'vip', 'no web leads');
BEGIN;
SELECT * FROM cx.claim('{5}', 3);
ROLLBACK;
UPDATE sopflow.rule SET enabled = true WHERE rule_set = 'opportunity_claim';
DELETE FROM sopflow.rule WHERE rule_set = 'opportunity_claim' AND rule IN ('vip', 'no web leads');

\echo --- a rule of the user about what is done, and how
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('opportunity_claim', 'reason', 5, $$op.operation = 'RELEASE' and (op.reason is null or op.reason_type = 'OTHER' and length(op.reason) < 5)$$, '[{"deny": "say why", "code": "REASON"}]'),
	('opportunity_claim', 'by function', 6, $$new.owner_id is distinct from old.owner_id and op.operation <> 'RELEASE' and op.event = 'sql' and old.opportunity_id is not null$$, '[{"deny": "use {{lower(op.operation)}}()", "code": "BY_HAND"}]'),
	('opportunity_claim', 'operator', 7, $$op.operation = 'ASSIGN' and op.operator is distinct from 'boss'$$, '[{"deny": "{{coalesce(op.operator, ''nobody'')}} is not the boss", "code": "OPERATOR"}]');
SELECT * FROM cx.claim('{6,7}', 1);
SELECT * FROM cx.release('{6}');
SELECT * FROM cx.release('{6}', 'OTHER', 'no');
UPDATE cx.opportunities SET owner_id = NULL WHERE opportunity_id = 6;
SELECT * FROM cx.release('{6}', 'CANNOT_REACH', 'no');
UPDATE cx.opportunities SET owner_id = 2 WHERE opportunity_id = 6;
UPDATE cx.opportunities SET owner_id = 2 WHERE opportunity_id = 7;
SELECT * FROM cx.transfer('{7}', 2);
SELECT * FROM cx.assign('{8}', 1);
SELECT * FROM cx.assign('{8}', 1, 'clerk');
SELECT * FROM cx.assign('{8}', 1, 'boss');
SELECT ok FROM cx.hand_over(2, operator => 'boss');
SELECT ok, operation, operator, code FROM cx.last LIMIT 1;
DELETE FROM sopflow.rule WHERE rule_set = 'opportunity_claim' AND rule IN ('reason', 'by function', 'operator');

\echo --- a trigger of the user raises: its SQLSTATE is the code, the others go on
CREATE FUNCTION cx.stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.source = 'raise' THEN
		RAISE 'lead % is broken', NEW.opportunity_id USING ERRCODE = 'ZZ001', DETAIL = 'It has no number.';
	ELSIF NEW.source = 'null' THEN
		RETURN NULL;
	ELSIF NEW.source = 'check' THEN
		NEW.locked := 'nothing';
	ELSIF NEW.source LIKE '_____' THEN
		RAISE 'as %', NEW.source USING ERRCODE = NEW.source;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER stop BEFORE UPDATE OF owner_id, status, frozen_until ON cx.opportunities FOR EACH ROW EXECUTE FUNCTION cx.stop();
UPDATE cx.opportunities SET source = CASE opportunity_id WHEN 11 THEN 'raise' WHEN 13 THEN 'null' WHEN 15 THEN 'check' END WHERE opportunity_id BETWEEN 10 AND 16;
SELECT * FROM cx.claim('{10,11,12,13,14,15,16}', 1);
SELECT opportunity_id, owner_id FROM cx.opportunities WHERE opportunity_id BETWEEN 10 AND 16 ORDER BY 1;
SELECT opportunity_id, ok, code, message, regexp_replace(details, '\(.*', '...') FROM cx.opportunity_log WHERE opportunity_id BETWEEN 10 AND 16 ORDER BY log_id;
SELECT * FROM cx.freeze('{11,13,15}', 'infinity');
SELECT * FROM cx.lose('{11,13,15}');
-- what is no fault of one lead ends the call, and nothing is left of it
CREATE FUNCTION cx.state(lead bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cx.claim(ARRAY[30, lead, 31], 1);
	RETURN 'went on';
EXCEPTION WHEN OTHERS OR query_canceled THEN
	RETURN SQLSTATE || ' ended it';
END $$;
UPDATE cx.opportunities SET source = (ARRAY['40001', '40P01', '57014', '53100', '55P03', '22012', '23505', 'P0001', '42501', 'XX000'])[opportunity_id - 19] WHERE opportunity_id BETWEEN 20 AND 29;
BEGIN;
SELECT source, cx.state(opportunity_id) FROM cx.opportunities WHERE opportunity_id BETWEEN 20 AND 25 ORDER BY opportunity_id;
SELECT opportunity_id, owner_id FROM cx.opportunities WHERE opportunity_id IN (30, 31);
ROLLBACK;
SELECT * FROM cx.claim('{26,27,28,29}', 1);
DROP TRIGGER stop ON cx.opportunities;
-- after the row
CREATE FUNCTION cx.after() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'not after all';
END $$;
CREATE TRIGGER after AFTER UPDATE ON cx.opportunities FOR EACH ROW WHEN (OLD.opportunity_id = 32 AND NEW.owner_id = 1) EXECUTE FUNCTION cx.after();
SELECT * FROM cx.claim('{32,33}', 1);
SELECT owner_id FROM cx.opportunities WHERE opportunity_id = 32;
SELECT operation, ok, code, message FROM cx.opportunity_log WHERE opportunity_id = 32;
DROP TRIGGER after ON cx.opportunities;
-- a check of the user's at the end of the transaction is not of one lead
CREATE CONSTRAINT TRIGGER after AFTER UPDATE ON cx.opportunities DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.opportunity_id = 32 AND NEW.owner_id = 1) EXECUTE FUNCTION cx.after();
SELECT * FROM cx.claim('{32}', 1);
SELECT owner_id FROM cx.opportunities WHERE opportunity_id = 32;
DROP TRIGGER after ON cx.opportunities;

\echo --- a trigger of the user calls a function of the pack, and writes leads itself
CREATE FUNCTION cx.chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cx.claim(ARRAY[NEW.opportunity_id + 1], 2, 'the trigger');
	UPDATE cx.opportunities SET owner_id = 2 WHERE opportunity_id = NEW.opportunity_id + 2;
	RETURN NEW;
END $$;
CREATE TRIGGER chain BEFORE UPDATE ON cx.opportunities FOR EACH ROW WHEN (OLD.opportunity_id = 34 AND NEW.owner_id = 1) EXECUTE FUNCTION cx.chain();
SELECT * FROM cx.assign('{34}', 1, 'boss');
SELECT * FROM cx.last LIMIT 3;
SELECT opportunity_id, acquired_by FROM cx.opportunities WHERE opportunity_id BETWEEN 34 AND 36 ORDER BY 1;
DROP TRIGGER chain ON cx.opportunities;
CREATE TRIGGER chain AFTER UPDATE ON cx.opportunities FOR EACH ROW WHEN (OLD.opportunity_id = 37 AND NEW.owner_id = 1) EXECUTE FUNCTION cx.chain();
SELECT * FROM cx.assign('{37,40}', 1, 'boss');
SELECT * FROM cx.last LIMIT 4;
DROP TRIGGER chain ON cx.opportunities;

-- the same lead: in the log, what it does comes after what made it do so
CREATE FUNCTION cx.to_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE cx.opportunities SET status = 'TASK' WHERE opportunity_id = NEW.opportunity_id;
	RETURN NULL;
END $$;
CREATE TRIGGER a_task AFTER UPDATE OF owner_id ON cx.opportunities FOR EACH ROW WHEN (NEW.opportunity_id BETWEEN 55 AND 58 AND NEW.owner_id IS NOT NULL) EXECUTE FUNCTION cx.to_task();
SELECT * FROM cx.claim('{55,56,55}', 1);
UPDATE cx.opportunities SET owner_id = 1 WHERE opportunity_id = 57;
SELECT opportunity_id, operation, event, ok, to_owner, from_status, to_status FROM cx.opportunity_log WHERE opportunity_id BETWEEN 55 AND 57 ORDER BY log_id;
DROP TRIGGER a_task ON cx.opportunities;

\echo --- within a function, a savepoint, a statement with others
DO $$
DECLARE
	r sopflow.crm_result;
BEGIN
	FOR r IN SELECT * FROM cx.claim('{41,999,42}', 1) LOOP
		RAISE NOTICE '% %', r.opportunity_id, coalesce(r.code, 'ok');
	END LOOP;
END $$;
SELECT o.opportunity_id, r.ok FROM cx.opportunities o, LATERAL cx.claim(ARRAY[o.opportunity_id], 1) r WHERE o.opportunity_id BETWEEN 43 AND 45 ORDER BY 1;
BEGIN;
SAVEPOINT s;
SELECT ok FROM cx.claim('{46}', 1);
ROLLBACK TO s;
SELECT * FROM cx.claim('{46}', 2);
COMMIT;
SELECT count(*) FROM cx.opportunity_log WHERE opportunity_id = 46;
SET default_transaction_isolation = 'repeatable read';
SELECT * FROM cx.claim('{47,46}', 1);
SET default_transaction_isolation = 'serializable';
SELECT * FROM cx.claim('{48,46}', 1);
RESET default_transaction_isolation;
BEGIN READ ONLY;
SELECT * FROM cx.claim('{49}', 1);
ROLLBACK;
PREPARE c (bigint[], bigint) AS SELECT * FROM cx.claim($1, $2);
EXECUTE c ('{49}', 1);
EXECUTE c ('{49}', 2);
DEALLOCATE c;

\echo --- columns of the user
ALTER TABLE cx.opportunities ADD COLUMN score int DEFAULT 5, ADD COLUMN "Region" text;
ALTER TABLE cx.sales_reps ADD COLUMN min_score int;
ALTER TABLE cx.opportunity_log ADD COLUMN seen bool DEFAULT false;
ALTER TABLE cx.clients ADD COLUMN vat text;
ALTER TABLE cx.contacts ADD COLUMN minutes int;
SELECT * FROM cx.claim('{50}', 1);
UPDATE cx.opportunities SET owner_id = 1 WHERE opportunity_id = 51 RETURNING score;
SELECT * FROM cx.log_contact(50, 1);
SELECT * FROM cx.release('{50}');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('opportunity_claim', 'score', 55, 'new.owner_id is distinct from old.owner_id and new.score < rep.min_score', '[{"deny": "score {{new.score}} is too low", "code": "SCORE"}]');
UPDATE cx.sales_reps SET min_score = 6 WHERE rep_id = 2;
SELECT * FROM cx.claim('{50}', 2);
SELECT seen FROM cx.opportunity_log ORDER BY log_id DESC LIMIT 1;
UPDATE cx.opportunities SET score = 6 WHERE opportunity_id = 50;
SELECT * FROM cx.claim('{50}', 2);
DELETE FROM sopflow.rule WHERE rule_set = 'opportunity_claim' AND rule = 'score';
SET client_min_messages = warning;
ALTER TABLE cx.opportunities DROP COLUMN score, DROP COLUMN type CASCADE;
RESET client_min_messages;
SELECT * FROM cx.release('{50}');
SELECT * FROM cx.claim('{50}', 1);

\echo --- care for new clients: 24, 72, 96 and 168 hours after they came
CREATE VIEW cx.waiting AS
	SELECT t.subject_id, t.sop_id, t.node_id, t.action, t.status, t.due_at - '2030-01-07 10:00:00+00' AS due FROM sopflow.tasks t
	WHERE t.status IN ('pending', 'ready') AND t.sop_id ~ '(customer_care|material)_sop$' ORDER BY t.subject_id, t.due_at, t.task_id;
INSERT INTO cx.clients (client_id, name, phone) VALUES (901, 'Ada', '123'), (902, 'Bob', NULL);
SELECT * FROM cx.waiting;
SELECT context FROM sopflow.runs WHERE sop_id = 'customer_care_sop' AND subject_id = '901';
CREATE FUNCTION cx.work() RETURNS TABLE (subject_id text, node_id text, action text, params jsonb, due interval, acked bool) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM sopflow.run_due();
	RETURN QUERY SELECT w.subject_id, w.node_id, w.action, w.params, w.due_at - '2030-01-07 10:00:00+00', sopflow.ack(w.task_id, w.lease_token)
		FROM sopflow.fetch('{SEND_GREETING,PUSH_CASE,SEND_REG_LINK,FOLLOW_UP}') w ORDER BY w.subject_id, w.task_id;
END $$;
SET sopflow.clock = '2030-01-08 09:59:59+00';
SELECT * FROM cx.work();
SET sopflow.clock = '2030-01-08 10:00:00+00';
SELECT * FROM cx.work();
SELECT sopflow.run_due() >= 0;
SELECT * FROM cx.waiting;
-- a day late: the next one keeps its time
SET sopflow.clock = '2030-01-11 12:00:00+00';
SELECT * FROM cx.work();
SELECT * FROM cx.work();
SELECT sopflow.run_due() >= 0;
SELECT * FROM cx.waiting;
SET sopflow.clock = '2030-01-14 10:00:00+00';
SELECT * FROM cx.work();
SELECT sopflow.run_due() >= 0;
SELECT * FROM cx.waiting;
SELECT subject_id, state FROM sopflow.runs WHERE sop_id = 'customer_care_sop' AND subject_id IN ('901', '902') ORDER BY run_id;

\echo --- material for registrations: at once and after 72 hours
SET sopflow.clock = '2030-01-07 10:00:00+00';
INSERT INTO cx.registrations (client_id, form_data) VALUES (901, '{"wants": "two"}'), (901, '{}'), (NULL, '{}');
SELECT * FROM cx.waiting;
SELECT * FROM cx.work();

\echo --- a second schema beside it
SELECT sopflow.create_crm('cy');
SELECT rule_set FROM sopflow.rule_set WHERE rule_set ~ 'opportunity_(claim|unbind|recycle)$' ORDER BY 1;
SELECT sop_id, trigger_event FROM sopflow.sop WHERE sop_id LIKE 'cy.%' ORDER BY 1;
SELECT action, handler FROM sopflow.action WHERE action ~ '(REMIND_OWNER|RECYCLE_OPPORTUNITY)$' ORDER BY 1;
INSERT INTO cy.sales_reps (rep_id, name) VALUES (1, 'Z'), (7, 'Y');
INSERT INTO cy.opportunities (opportunity_id) SELECT i FROM generate_series(1, 9) i;
-- limits of one are not those of the other
UPDATE sopflow.rule_param SET value = '1' WHERE rule_set = 'cy.opportunity_claim' AND param = 'max_hold';
SELECT * FROM cy.claim('{1,2}', 7);
SELECT * FROM cx.claim('{52,53}', 1);
SELECT hold_limit FROM cy.rep_report WHERE rep_id = 7;
SELECT hold_limit FROM cx.rep_report WHERE rep_id = 1;
UPDATE sopflow.rule_param SET value = '1' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
UPDATE sopflow.rule_param SET value = '5' WHERE rule_set = 'cy.opportunity_claim' AND param = 'max_hold';
SELECT * FROM cy.claim('{2,3}', 7);
SELECT code FROM cx.claim('{54}', 1);
UPDATE cy.opportunities SET owner_id = 7 WHERE opportunity_id = 4;
UPDATE cx.opportunities SET owner_id = 1 WHERE opportunity_id = 54;
-- reps, leads and logs are each its own
SELECT * FROM cy.claim('{5}', 2);
SELECT * FROM cy.transfer('{1}', 1);
SELECT opportunity_id, operation, to_owner, ARRAY(SELECT split_part(r, ' ', 1) FROM unnest(rules) r) FROM cy.opportunity_log WHERE ok ORDER BY log_id;
-- so are clients
INSERT INTO cy.clients (client_id, name) VALUES (903, 'Eve');
INSERT INTO cy.registrations (client_id) VALUES (903);
SELECT * FROM cx.waiting WHERE subject_id = '903';
-- and leads that are due: one is recycled by its task, the other stays
UPDATE sopflow.rule_param SET value = '1 hour' WHERE rule_set = 'cy.opportunity_recycle' AND param = 'contact_within';
SELECT ok FROM cy.claim('{6}', 7);
SELECT recycle_at FROM cy.opportunities WHERE opportunity_id = 6;
SELECT recycle_at FROM cx.opportunities WHERE opportunity_id = 52;
SET sopflow.clock = '2030-01-07 11:00:00+00';
SELECT sopflow.run_due() > 0;
SELECT owner_id, last_owner_id FROM cy.opportunities WHERE opportunity_id = 6;
SELECT opportunity_id, operation, operator, from_owner FROM cy.opportunity_log WHERE operation = 'RECYCLE';
SELECT count(*) FROM cx.opportunity_log WHERE operation = 'RECYCLE';
SELECT count(*) FROM cx.recycle(10, true);
-- one goes, the other works on
SET client_min_messages = error;
SELECT count(sopflow.cancel(sop_id => s.sop_id)) FROM sopflow.sop s WHERE s.sop_id LIKE 'cy.%';
DROP SCHEMA cy CASCADE;
SELECT ok FROM cx.release('{52}');
UPDATE sopflow.rule_param SET value = '100' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
SELECT ok FROM cx.claim('{52}', 2);

\echo --- names that need quotes
SELECT sopflow.create_crm('c "y"''s');
INSERT INTO "c ""y""'s".sales_reps (rep_id, name) VALUES (1, 'Z');
INSERT INTO "c ""y""'s".opportunities (opportunity_id) SELECT i FROM generate_series(1, 3) i;
SELECT * FROM "c ""y""'s".claim('{1,2}', 1);
SELECT * FROM "c ""y""'s".auto_assign('{3}');
SELECT * FROM "c ""y""'s".log_contact(1, 1);
SELECT * FROM "c ""y""'s".release('{1}');
UPDATE "c ""y""'s".opportunities SET owner_id = 1 WHERE opportunity_id = 3;
SET sopflow.clock = '2030-01-17 11:00:00+00';
SELECT sopflow.run_due() > 0;
SELECT opportunity_id, operation, rules[2] ~ '^c "y"''s\.opportunity_recycle ' FROM "c ""y""'s".opportunity_log ORDER BY log_id;

\echo --- the log leads from the first owner and status of each lead to the last
SELECT count(*) > 30, count(*) FILTER (WHERE from_owner IS DISTINCT FROM owner_before), count(*) FILTER (WHERE from_status IS DISTINCT FROM status_before)
	FROM (SELECT l.*, lag(to_owner) OVER w AS owner_before, coalesce(lag(to_status) OVER w, from_status) AS status_before
		FROM cx.opportunity_log l WHERE ok WINDOW w AS (PARTITION BY opportunity_id ORDER BY log_id)) x;
SELECT count(*) FROM cx.opportunities o LEFT JOIN LATERAL (SELECT to_owner, to_status FROM cx.opportunity_log l WHERE l.opportunity_id = o.opportunity_id AND ok ORDER BY log_id DESC LIMIT 1) l ON true
	WHERE o.owner_id IS DISTINCT FROM l.to_owner OR o.status <> l.to_status;

-- all of it goes
SELECT count(sopflow.cancel(sop_id => s.sop_id)) FROM sopflow.sop s WHERE s.sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DROP SCHEMA cx, "c ""y""'s" CASCADE;
DELETE FROM sopflow.rule_set WHERE rule_set ~ 'opportunity_(claim|unbind|recycle)$';
DELETE FROM sopflow.history WHERE version_id IN (SELECT version_id FROM sopflow.sop_version WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$');
DELETE FROM sopflow.run_history WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DELETE FROM sopflow.sop WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DELETE FROM sopflow.action WHERE action ~ '(SEND_GREETING|PUSH_CASE|SEND_REG_LINK|FOLLOW_UP|REMIND_OWNER|RECYCLE_OPPORTUNITY)$';
