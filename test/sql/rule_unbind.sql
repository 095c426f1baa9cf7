-- Where a lead goes that is taken from its rep: the first rule that applies
-- decides, and a check that fails must not let a lead escape its freeze.
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA ru;
CREATE TYPE ru.status AS ENUM ('UNBIND', 'BIND', 'TASK');
CREATE TYPE ru.minor_status AS ENUM ('UNBIND_FROZEN', 'UNBIND_NORMAL');
CREATE TYPE ru.operation_type AS ENUM ('RELEASE', 'TASK_BACK_PUBLIC');
CREATE TYPE ru.context AS (opportunity_id bigint, status ru.status, minor_status ru.minor_status, operation_type ru.operation_type);
CREATE TABLE ru.opportunity (opportunity_id bigint PRIMARY KEY, claims int, bound interval);
INSERT INTO ru.opportunity VALUES (1, 3, '1 hour'), (2, 1, '80 hours');
CREATE TABLE ru.log (rule text, opportunity_id bigint);
-- frozen: claimed n times or more, and given back before m
CREATE FUNCTION ru.need_freeze(id bigint, n int, m interval) RETURNS bool LANGUAGE plpgsql STABLE AS $$
DECLARE
	o ru.opportunity;
BEGIN
	SELECT * INTO o FROM ru.opportunity x WHERE x.opportunity_id = id;
	IF NOT FOUND THEN
		RAISE 'opportunity % is nowhere', id USING ERRCODE = 'P0002';
	END IF;
	RETURN o.claims >= n AND o.bound < m;
END $$;
-- true, and tells that it was asked
CREATE FUNCTION ru.asked(rule text) RETURNS bool LANGUAGE plpgsql STABLE AS $$
BEGIN
	RAISE NOTICE '% is evaluated', rule;
	RETURN true;
END $$;
CREATE FUNCTION ru.log(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO ru.log VALUES (rule, (facts->'context'->>'opportunity_id')::bigint);
	SELECT jsonb_build_object('logged', rule)
$$;
CREATE FUNCTION ru.fail(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'the rule % cannot act', rule USING ERRCODE = 'P0003';
END $$;

BEGIN;
INSERT INTO sopflow.rule_set (rule_set, priority_threshold, skip_on_first_failed, skip_on_first_applied, skip_on_first_non_triggered)
	VALUES ('opportunity_unbind', 100, false, true, false);
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('opportunity_unbind', 'context', 'ru.context');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('opportunity_unbind', 'n', 'int', '2'), ('opportunity_unbind', 'm', 'interval', '72 hours');
INSERT INTO sopflow.rule (rule_set, rule, description, priority, condition, actions) VALUES
	('opportunity_unbind', 'bind_check_cate', '判斷是否凍結-72小時', 4,
		$$ru.asked('bind_check_cate') and ru.need_freeze(context.opportunity_id, param.n, param.m)$$,
		$$[{"set": {"context.status": "'UNBIND'", "context.minor_status": "'UNBIND_FROZEN'"}}, {"call": "ru.log"}]$$),
	('opportunity_unbind', 'task_bind_out', '任務商機流回公海', 5,
		$$ru.asked('task_bind_out') and context.status = 'TASK' and context.operation_type = 'TASK_BACK_PUBLIC'$$,
		$$[{"set": {"context.status": "'UNBIND'", "context.minor_status": "'UNBIND_NORMAL'"}}, {"call": "ru.log"}]$$),
	('opportunity_unbind', 'unbind_operate', '判斷解綁后去向,現階段全部回到公海', 10,
		$$ru.asked('unbind_operate') and true$$,
		$$[{"set": {"context.status": "'UNBIND'", "context.minor_status": "'UNBIND_NORMAL'"}}, {"call": "ru.log"}]$$);
COMMIT;

CREATE FUNCTION ru.unbind(id bigint, status ru.status, operation ru.operation_type)
	RETURNS TABLE (fired text[], status text, minor_status text, result jsonb) LANGUAGE sql VOLATILE AS $$
	SELECT v.fired, v.facts->'context'->>'status', v.facts->'context'->>'minor_status', v.facts->'result'
		FROM sopflow.fire('opportunity_unbind', jsonb_build_object('context', to_jsonb(row(id, status, NULL, operation)::ru.context))) v
$$;

-- U1: frozen, whatever the status; the others are not even asked
SELECT * FROM ru.unbind(1, 'BIND', 'RELEASE');
SELECT * FROM ru.unbind(1, 'TASK', 'TASK_BACK_PUBLIC');

-- U2: not frozen, a task that goes back
SELECT * FROM ru.unbind(2, 'TASK', 'TASK_BACK_PUBLIC');

-- U3: anything else
SELECT * FROM ru.unbind(2, 'BIND', 'RELEASE');
SELECT * FROM ru.unbind(2, 'TASK', 'RELEASE');
SELECT * FROM ru.unbind(2, 'BIND', 'TASK_BACK_PUBLIC');
SELECT * FROM ru.unbind(2, NULL, NULL);
SELECT * FROM ru.log;
TRUNCATE ru.log;

-- U4: the check fails, and with it the statement, under its own SQLSTATE
SELECT * FROM ru.unbind(3, 'TASK', 'TASK_BACK_PUBLIC');
\echo :LAST_ERROR_SQLSTATE
-- as in Easy Rules: false, with a warning; the lead is not frozen
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'opportunity_unbind';
SELECT * FROM ru.unbind(3, 'TASK', 'TASK_BACK_PUBLIC');
SELECT * FROM ru.unbind(3, 'BIND', 'RELEASE');
-- the first that did not trigger is the last, also where it failed
UPDATE sopflow.rule_set SET skip_on_first_non_triggered = true WHERE rule_set = 'opportunity_unbind';
SELECT * FROM ru.unbind(3, 'BIND', 'RELEASE');
UPDATE sopflow.rule_set SET on_error = 'abort', skip_on_first_non_triggered = false WHERE rule_set = 'opportunity_unbind';
SELECT * FROM ru.log;
TRUNCATE ru.log;

-- U5: the action fails after half of it was done
UPDATE sopflow.rule SET actions = $$[{"set": {"context.status": "'UNBIND'", "context.minor_status": "'UNBIND_FROZEN'"}},
	{"result": {"half": "done"}}, {"message": "half"}, {"call": "ru.log"}, {"call": "ru.fail"}]$$
	WHERE rule_set = 'opportunity_unbind' AND rule = 'bind_check_cate';
SELECT * FROM ru.unbind(1, 'TASK', 'TASK_BACK_PUBLIC');
\echo :LAST_ERROR_SQLSTATE
-- continued with the next rule, nothing left of the first
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'opportunity_unbind';
SELECT * FROM ru.unbind(1, 'TASK', 'TASK_BACK_PUBLIC');
SELECT * FROM ru.unbind(1, 'BIND', 'RELEASE');
SELECT messages, codes FROM sopflow.fire('opportunity_unbind', '{"context": {"opportunity_id": 1, "status": "BIND"}}');
SELECT * FROM ru.log;
TRUNCATE ru.log;
-- or not continued
UPDATE sopflow.rule_set SET skip_on_first_failed = true WHERE rule_set = 'opportunity_unbind';
SELECT * FROM ru.unbind(1, 'BIND', 'RELEASE');
UPDATE sopflow.rule_set SET skip_on_first_failed = false, on_error = 'abort' WHERE rule_set = 'opportunity_unbind';
SELECT * FROM ru.log;

-- U7: a priority of the threshold counts, one above does not
BEGIN;
UPDATE sopflow.rule_set SET skip_on_first_applied = false WHERE rule_set = 'opportunity_unbind';
UPDATE sopflow.rule SET enabled = false WHERE rule_set = 'opportunity_unbind';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition) VALUES
	('opportunity_unbind', 'at 100', 100, $$ru.asked('at 100')$$), ('opportunity_unbind', 'at 101', 101, $$ru.asked('at 101')$$);
COMMIT;
SELECT * FROM ru.unbind(1, 'BIND', 'RELEASE');
UPDATE sopflow.rule_set SET priority_threshold = 101 WHERE rule_set = 'opportunity_unbind';
SELECT * FROM ru.unbind(1, 'BIND', 'RELEASE');

DELETE FROM sopflow.rule_set WHERE rule_set = 'opportunity_unbind';
SET client_min_messages = warning;
DROP SCHEMA ru CASCADE;
