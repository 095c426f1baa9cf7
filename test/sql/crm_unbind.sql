-- The CRM pack: what becomes of a lead that its owner loses. The first rule that
-- applies decides, and a check that fails does not let a lead escape its freeze.
\pset format unaligned
\pset tuples_only on
\pset null null
\set VERBOSITY terse
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';
SELECT sopflow.create_crm('cu');
INSERT INTO cu.sales_reps (rep_id, name) VALUES (1, 'A'), (2, 'B');
INSERT INTO cu.opportunities (opportunity_id, category) SELECT i, CASE WHEN i <= 10 THEN 'frozen goods' ELSE 'phone' END FROM generate_series(1, 40) i;
CREATE VIEW cu.lead AS
	SELECT opportunity_id, status, minor_status, owner_id, frozen_until, last_owner_id FROM cu.opportunities ORDER BY opportunity_id;
CREATE VIEW cu.last AS
	SELECT opportunity_id, operation, operation_type, event, ok, code, message, reason_type, reason, from_owner, to_owner, from_status, to_status, minor_status
	FROM cu.opportunity_log ORDER BY log_id DESC;
-- tells which rules are asked
CREATE FUNCTION cu.asked(e sopflow.rule_event) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% is asked', e.rule;
	RETURN true;
END $$;
-- a release by hand, as a program sees it
CREATE FUNCTION cu.drop(lead bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE cu.opportunities SET owner_id = NULL WHERE opportunity_id = lead;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

\echo --- the set as it comes
SELECT priority_threshold, skip_on_first_applied, skip_on_first_failed, skip_on_first_non_triggered, on_error FROM sopflow.rule_set WHERE rule_set = 'opportunity_unbind';
SELECT rule, priority, description FROM sopflow.rule WHERE rule_set = 'opportunity_unbind' ORDER BY priority;
SELECT param, value FROM sopflow.rule_param WHERE rule_set = 'opportunity_unbind' ORDER BY param;
UPDATE sopflow.rule_set SET before_evaluate = 'cu.asked' WHERE rule_set = 'opportunity_unbind';
UPDATE sopflow.rule_param SET value = '{frozen goods}' WHERE rule_set = 'opportunity_unbind' AND param = 'freeze_categories';
SET client_min_messages = warning;
SELECT count(*) FILTER (WHERE ok) FROM cu.claim(ARRAY(SELECT generate_series(1, 40)), 1);
UPDATE cu.opportunities SET status = 'TASK' WHERE opportunity_id IN (2, 3, 12, 13, 14);
SET client_min_messages = notice;

\echo --- U1: to be frozen, whatever the status
SELECT * FROM cu.release('{1}');
SELECT * FROM cu.lead WHERE opportunity_id = 1;
SELECT * FROM cu.last LIMIT 1;
SELECT * FROM cu.release('{2}', 'CANNOT_REACH', 'the number is wrong', 'TASK_BACK_PUBLIC', 'an app');
SELECT * FROM cu.lead WHERE opportunity_id = 2;
SELECT * FROM cu.last LIMIT 1;
-- by hand
SELECT cu.drop(3), cu.drop(4);
SELECT * FROM cu.lead WHERE opportunity_id IN (3, 4);
SELECT * FROM cu.last LIMIT 1;
-- whatever is written beside
UPDATE cu.opportunities SET owner_id = NULL, minor_status = 'UNBIND_NORMAL', frozen_until = NULL WHERE opportunity_id = 5;
SELECT * FROM cu.lead WHERE opportunity_id = 5;

\echo --- U2: a task that goes back
SELECT * FROM cu.release('{12}', operation_type => 'TASK_BACK_PUBLIC');
SELECT * FROM cu.lead WHERE opportunity_id = 12;
SELECT * FROM cu.last LIMIT 1;

\echo --- U3: anything else
SELECT * FROM cu.release('{13}');
SELECT * FROM cu.release('{15}', operation_type => 'TASK_BACK_PUBLIC');
SELECT * FROM cu.release('{16}', operation_type => NULL);
-- a program that writes the table says no type
SELECT cu.drop(14), cu.drop(17);
SELECT * FROM cu.lead WHERE opportunity_id BETWEEN 13 AND 17;
SELECT opportunity_id, operation, operation_type, event, from_status FROM cu.last LIMIT 5;

\echo --- only where the owner is lost to nobody
SET client_min_messages = warning;
SELECT ok FROM cu.transfer('{18}', 2);
UPDATE cu.opportunities SET status = 'TASK' WHERE opportunity_id = 19;
SELECT ok FROM cu.convert('{20}');
DELETE FROM cu.opportunities WHERE opportunity_id = 20;
INSERT INTO cu.opportunities (opportunity_id, owner_id) VALUES (41, 1), (42, NULL);
SELECT * FROM cu.lead WHERE opportunity_id IN (18, 19, 41, 42);

\echo --- one by one in one statement
UPDATE cu.opportunities SET owner_id = NULL WHERE opportunity_id IN (6, 19, 21);
SELECT * FROM cu.lead WHERE opportunity_id IN (6, 19, 21);
SELECT * FROM cu.release('{7,22,7}');
SELECT * FROM cu.lead WHERE opportunity_id IN (7, 22);

\echo --- the verdict of the set
CREATE FUNCTION cu.verdict(lead bigint, op text) RETURNS TABLE (fired text[], result jsonb) LANGUAGE sql AS $$
	SELECT v.fired, v.facts->'result' FROM cu.opportunities o,
		sopflow.fire('opportunity_unbind', jsonb_build_object('old', to_jsonb(o), 'new', to_jsonb(o) || '{"owner_id": null}', 'op', jsonb_build_object('operation', 'RELEASE', 'operation_type', op))) v
	WHERE o.opportunity_id = lead $$;
UPDATE cu.opportunities SET status = 'TASK' WHERE opportunity_id = 23;
SELECT * FROM cu.verdict(8, 'RELEASE');
SELECT * FROM cu.verdict(8, 'TASK_BACK_PUBLIC');
SELECT * FROM cu.verdict(23, 'TASK_BACK_PUBLIC');
SELECT * FROM cu.verdict(23, 'RELEASE');
SELECT * FROM cu.verdict(24, 'TASK_BACK_PUBLIC');

\echo --- frozen for 72 hours
SELECT frozen_until - sopflow.now() FROM cu.lead WHERE opportunity_id = 1;
SELECT category, public_leads, frozen_leads, private_leads FROM cu.pool_report ORDER BY category;
SELECT * FROM cu.claim('{1}', 2);
SELECT * FROM cu.assign('{1}', 2);
SET sopflow.clock = '2030-01-10 09:59:59.999999+00';
SELECT * FROM cu.claim('{1}', 2);
UPDATE cu.opportunities SET owner_id = 2 WHERE opportunity_id = 1;
SELECT frozen_leads FROM cu.pool_report WHERE category = 'frozen goods';
SET sopflow.clock = '2030-01-10 10:00:00+00';
SELECT frozen_leads FROM cu.pool_report WHERE category = 'frozen goods';
SELECT * FROM cu.claim('{1,3}', 2);
UPDATE cu.opportunities SET owner_id = 2 WHERE opportunity_id = 2;
SELECT * FROM cu.lead WHERE opportunity_id <= 3;
-- how long is a parameter, for a category or a level
INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES
	('opportunity_unbind', 'freeze', 'level:A', '1 hour'), ('opportunity_unbind', 'freeze', 'category:frozen goods', '2 hours');
UPDATE cu.opportunities SET level = 'A' WHERE opportunity_id = 1;
SELECT ok FROM cu.release('{1,2}');
SELECT cu.drop(3);
SELECT opportunity_id, frozen_until - sopflow.now() FROM cu.lead WHERE opportunity_id <= 3;
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'opportunity_unbind';
-- thawed by hand
SELECT * FROM cu.unfreeze('{1}');
SELECT * FROM cu.lead WHERE opportunity_id = 1;
SELECT ok FROM cu.claim('{1}', 1);

\echo --- also when it is recycled or left behind
SET sopflow.clock = '2030-01-17 10:00:00+00';
SELECT * FROM cu.recycle() WHERE opportunity_id IN (9, 25);
SELECT * FROM cu.lead WHERE opportunity_id IN (9, 25);
SELECT * FROM cu.hand_over(1) WHERE opportunity_id = 1;
SELECT * FROM cu.lead WHERE opportunity_id = 1;

\echo --- claimed too often
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'cool_down';
SELECT i, c.ok, (SELECT ok FROM cu.release(ARRAY[c.opportunity_id])) FROM generate_series(1, 4) i, LATERAL cu.claim('{26}', i % 2 + 1) c;
SELECT * FROM cu.lead WHERE opportunity_id = 26;
BEGIN;
SELECT ok FROM cu.claim('{26}', 1);
SELECT ok FROM cu.release('{26}');
SELECT * FROM cu.lead WHERE opportunity_id = 26;
ROLLBACK;
-- not all of them within the window: the first four are 72 hours old
SET sopflow.clock = '2030-01-20 10:00:00+00';
SELECT ok FROM cu.claim('{26}', 1);
SELECT cu.drop(26);
SELECT * FROM cu.lead WHERE opportunity_id = 26;
-- those by hand count, being given it does not
UPDATE sopflow.rule_param SET value = '3' WHERE rule_set = 'opportunity_unbind' AND param = 'freeze_after_claims';
SELECT ok FROM cu.assign('{26}', 1);
SELECT cu.drop(26);
SELECT minor_status FROM cu.lead WHERE opportunity_id = 26;
UPDATE cu.opportunities SET owner_id = 1 WHERE opportunity_id = 26;
SELECT cu.drop(26);
SELECT minor_status FROM cu.lead WHERE opportunity_id = 26;
UPDATE cu.opportunities SET owner_id = 1 WHERE opportunity_id = 26;
BEGIN;
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_unbind' AND param = 'freeze_after_claims';
SELECT cu.drop(26);
SELECT minor_status FROM cu.lead WHERE opportunity_id = 26;
ROLLBACK;
SELECT cu.drop(26);
SELECT minor_status FROM cu.lead WHERE opportunity_id = 26;

\echo --- U4: the check fails
CREATE FUNCTION cu.need_freeze(lead bigint) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF lead = 30 THEN
		RAISE 'opportunity % is nowhere', lead USING ERRCODE = 'P0002';
	END IF;
	RETURN lead = 31;
END $$;
SELECT count(*) FILTER (WHERE ok) FROM cu.claim('{30,31,32,33,34,35,36}', 1);
UPDATE sopflow.rule SET condition = 'old.owner_id is not null and new.owner_id is null and cu.need_freeze(old.opportunity_id)'
	WHERE rule_set = 'opportunity_unbind' AND rule = 'bind_check_cate';
SELECT * FROM cu.release('{30,31,32}', 'CANNOT_REACH', 'the number is wrong', 'TASK_BACK_PUBLIC');
SELECT * FROM cu.last LIMIT 3;
SELECT * FROM cu.lead WHERE opportunity_id BETWEEN 30 AND 32;
SELECT cu.drop(30);
UPDATE cu.opportunities SET owner_id = NULL WHERE opportunity_id IN (30, 33);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM cu.lead WHERE opportunity_id IN (30, 33);
-- as in Easy Rules: false, with a warning; the lead is not frozen
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'opportunity_unbind';
BEGIN;
SELECT * FROM cu.release('{30}');
SELECT * FROM cu.lead WHERE opportunity_id = 30;
ROLLBACK;
UPDATE cu.opportunities SET owner_id = NULL WHERE opportunity_id IN (30, 33);
SELECT * FROM cu.lead WHERE opportunity_id IN (30, 33);
UPDATE sopflow.rule_set SET on_error = 'abort' WHERE rule_set = 'opportunity_unbind';

\echo --- U5: its action fails after half of it was done
CREATE TABLE cu.half (opportunity_id bigint);
CREATE FUNCTION cu.begun(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO cu.half VALUES ((facts->'old'->>'opportunity_id')::bigint);
	SELECT NULL::jsonb $$;
CREATE FUNCTION cu.fail(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'the rule % cannot act', rule USING ERRCODE = 'P0003';
END $$;
UPDATE sopflow.rule SET condition = 'old.owner_id is not null and new.owner_id is null and old.opportunity_id <> 36',
		actions = $$[{"set": {"new.minor_status": "'UNBIND_FROZEN'", "new.frozen_until": "sopflow.now() + param.freeze"}}, {"call": "cu.begun"}, {"call": "cu.fail"}]$$
	WHERE rule_set = 'opportunity_unbind' AND rule = 'bind_check_cate';
SELECT * FROM cu.release('{34,36}');
SELECT ok, code, message FROM cu.last LIMIT 2;
SELECT cu.drop(34);
SELECT * FROM cu.lead WHERE opportunity_id IN (34, 36);
SELECT * FROM cu.half;
-- as in Easy Rules: the next rule, nothing left of the first
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'opportunity_unbind';
SELECT * FROM cu.release('{34}');
SELECT cu.drop(35);
SELECT * FROM cu.lead WHERE opportunity_id IN (34, 35);
SELECT * FROM cu.half;
-- or no rule at all
UPDATE sopflow.rule_set SET skip_on_first_failed = true WHERE rule_set = 'opportunity_unbind';
SELECT ok FROM cu.assign('{34,35}', 2);
SELECT * FROM cu.release('{34}');
SELECT cu.drop(35);
SELECT * FROM cu.lead WHERE opportunity_id IN (34, 35);
UPDATE sopflow.rule_set SET skip_on_first_failed = false, on_error = 'abort' WHERE rule_set = 'opportunity_unbind';

\echo --- U7: a priority of the threshold counts, one above does not
BEGIN;
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'opportunity_unbind';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('opportunity_unbind', 'at 100', 100, 'old.owner_id is not null and new.owner_id is null', $$[{"set": {"new.source": "coalesce(new.source || ' and ', '') || 'at 100'"}}]$$),
	('opportunity_unbind', 'at 101', 101, 'old.owner_id is not null and new.owner_id is null', $$[{"set": {"new.source": "coalesce(new.source || ' and ', '') || 'at 101'"}}]$$);
UPDATE sopflow.rule_set SET skip_on_first_applied = false WHERE rule_set = 'opportunity_unbind';
COMMIT;
SELECT ok FROM cu.assign('{36,37,38,39}', 2);
SET client_min_messages = notice;
SELECT ok FROM cu.release('{36}');
SELECT cu.drop(37);
UPDATE sopflow.rule_set SET priority_threshold = 101 WHERE rule_set = 'opportunity_unbind';
SELECT ok FROM cu.release('{38}');
SELECT cu.drop(39);
SELECT opportunity_id, source FROM cu.opportunities WHERE opportunity_id BETWEEN 36 AND 39 ORDER BY 1;

-- all of it goes
SET client_min_messages = error;
SELECT count(sopflow.cancel(sop_id => s.sop_id)) FROM sopflow.sop s WHERE s.sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DROP SCHEMA cu CASCADE;
DELETE FROM sopflow.rule_set WHERE rule_set ~ 'opportunity_(claim|unbind|recycle)$';
DELETE FROM sopflow.history WHERE version_id IN (SELECT version_id FROM sopflow.sop_version WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$');
DELETE FROM sopflow.run_history WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DELETE FROM sopflow.sop WHERE sop_id ~ '(customer_care|material|opportunity_reminder|opportunity_recycle)_sop$';
DELETE FROM sopflow.action WHERE action ~ '(SEND_GREETING|PUSH_CASE|SEND_REG_LINK|FOLLOW_UP|REMIND_OWNER|RECYCLE_OPPORTUNITY)$';
