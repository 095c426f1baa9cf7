-- Counters of rules: handed on when a transaction ends, also one that was rolled
-- back; forgotten with the rule, set back by reset_stats().
\pset format unaligned
\pset tuples_only on
SET client_min_messages = error;
SELECT sopflow.reset_stats();
CREATE FUNCTION rs_fails(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE 'it fails'; END $$;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, on_error) VALUES ('rs', 'false');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rs', 'x', 'int');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rs', 'a "quoted" rule', 1, 'x > 1', '[{"message": "more than one"}]'),
	('rs', 'deny', 3, 'x > 2', '[{"deny": "more than two"}]'),
	('rs', 'fail', 2, 'rs_fails(x)', '[]'),
	('rs', 'last', 4, 'x > 0', '[]');
COMMIT;
CREATE FUNCTION rs_stats() RETURNS SETOF sopflow.rule_stats LANGUAGE sql AS $$
	SELECT * FROM sopflow.rule_stats WHERE rule_set = 'rs' ORDER BY rule
$$;
SELECT * FROM rs_stats();
SELECT (sopflow.fire('rs', jsonb_build_object('x', x))).allowed FROM generate_series(0, 3) AS x;
SELECT * FROM rs_stats();
-- not before the end, and also what is rolled back
BEGIN;
SELECT (sopflow.fire('rs', '{"x": 2}')).fired;
SELECT * FROM rs_stats() WHERE rule = 'last';
ROLLBACK;
SELECT * FROM rs_stats() WHERE rule = 'last';
-- check_rules carries out nothing
SELECT rule, triggered FROM sopflow.check_rules('rs', '{"x": 3}');
SELECT fired, denied FROM rs_stats() WHERE rule = 'deny';

SELECT line FROM regexp_split_to_table(sopflow.metrics(), '\n') AS line WHERE line ~ '^# .*rule_' OR line ~ 'rule_set="rs"';

-- An edited rule keeps its counters, one that is deleted and made anew does not.
UPDATE sopflow.rule SET priority = 5 WHERE rule = 'last' AND rule_set = 'rs';
DELETE FROM sopflow.rule WHERE rule = 'deny' AND rule_set = 'rs';
INSERT INTO sopflow.rule (rule_set, rule, condition) VALUES ('rs', 'deny', 'x > 2');
SELECT rule, evaluated FROM rs_stats();
SELECT (sopflow.fire('rs', '{"x": 3}')).allowed;
SELECT rule, evaluated, denied FROM rs_stats();
SELECT sopflow.reset_stats();
SELECT * FROM rs_stats();
SELECT (sopflow.fire('rs', '{"x": 1}')).allowed;
SELECT rule, evaluated, fired, failed FROM rs_stats();

DELETE FROM sopflow.rule_set WHERE rule_set = 'rs';
SELECT * FROM rs_stats();
DROP FUNCTION rs_stats, rs_fails;
