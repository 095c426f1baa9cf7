-- What is undone is not counted either; what cannot be read is a fault among
-- the others; a fact cannot hide the results of rules.
\set VERBOSITY terse
SET client_min_messages = error;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, on_error) VALUES ('undone', 'false');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('undone', 'n', 'int');
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('undone', 'both', 'unit');
INSERT INTO sopflow.rule (rule_set, rule, rule_group, actions) VALUES
	('undone', 'a', 'both', '[{"deny": "no {{n}}"}, {"set": {"n": "n + 1"}}]'),
	('undone', 'b', 'both', '[{"set": {"n": "10 / (n - n)"}}]');
INSERT INTO sopflow.rule (rule_set, rule, priority, actions) VALUES
	('undone', 'z', 2147483647, '[{"message": "n is {{n}}"}]');
UPDATE sopflow.rule_set SET denials = 'all' WHERE rule_set = 'undone';
COMMIT;
SELECT allowed, fired, messages, facts FROM sopflow.fire('undone', '{"n": 5}');
SELECT rule, evaluated, fired, denied, failed FROM sopflow.rule_stats WHERE rule_set = 'undone' ORDER BY rule;

-- every fault of a draft is listed, also those found while its rows are read
INSERT INTO sopflow.rule_set (rule_set, enabled) VALUES ('draft', false);
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('draft', 'x', 'int', 'abc');
SELECT * FROM sopflow.validate_rules('draft');

INSERT INTO sopflow.rule_set (rule_set) VALUES ('named');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('named', 'result', 'int');
DELETE FROM sopflow.rule_set WHERE rule_set IN ('undone', 'draft', 'named');

-- a conditional group's gate is known by its priority, also where rules go as
-- they were inserted
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, order_by) VALUES ('gated', 'seq');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('gated', 'n', 'int');
INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('gated', 'g', 'conditional');
INSERT INTO sopflow.rule (rule_set, rule, rule_group, priority, condition) VALUES
	('gated', 'behind', 'g', 2, 'true'), ('gated', 'gate', 'g', 1, 'n > 0');
COMMIT;
SELECT n, fired FROM generate_series(0, 1) n, sopflow.fire_rows('gated', n);
DELETE FROM sopflow.rule_set WHERE rule_set = 'gated';
