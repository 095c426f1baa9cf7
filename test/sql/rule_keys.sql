-- Keys of jsonb facts that rules change are what they are from then on, and an
-- index compares as the conditions do.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, trace) VALUES ('rk', 'full');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rk', 'j', 'jsonb');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rk', 'list', 1, 'j.n IN (NULL, 1)', '[{"message": "one of a list"}]'),
	('rk', 'before', 2, 'j.n::text = ''1''', '[{"set": {"j.n": "1.0"}}]'),
	('rk', 'after', 3, 'j.n::text = ''1.0''', '[{"set": {"j.other": "0"}}]'),
	('rk', 'again', 4, 'j.n::text = ''1.0''', '[{"message": "the values of its tests are known"}]');
COMMIT;
SELECT messages, facts, trace->3 FROM sopflow.fire('rk', '{"j": {"n": 1}}');

-- an absent key of a null fact is null, and of an object an error, in its turn
BEGIN;
UPDATE sopflow.rule_set SET trace = 'off' WHERE rule_set = 'rk';
DELETE FROM sopflow.rule WHERE rule_set = 'rk';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('rk', 'null', 1, 'true', '[{"set": {"j": "NULL"}}]'),
	('rk', 'unknown', 2, 'j.n IS NULL', '[{"message": "nothing"}]'),
	('rk', 'object', 3, 'true', '[{"set": {"j": "''{}''"}}]'),
	('rk', 'missing', 4, 'j.n IS NULL', '[{"message": "no key"}]');
COMMIT;
SELECT messages FROM sopflow.fire('rk', '{"j": {"n": 1}}');

-- eight rules make an index: blanks at the end count for text and not for char
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rk_char');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rk_char', 't', 'text');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions)
	SELECT 'rk_char', 'char ' || n, format('t::bpchar = %L', n), '[{"message": "as char"}]' FROM generate_series(1, 8) n;
INSERT INTO sopflow.rule (rule_set, rule, condition, actions)
	SELECT 'rk_char', 'text ' || n, format('t = %L', n), '[{"message": "as text"}]' FROM generate_series(1, 8) n;
COMMIT;
SELECT t, fired FROM unnest(ARRAY['1', '1 ']) t, sopflow.fire('rk_char', jsonb_build_object('t', t)) ORDER BY t;
SELECT line FROM sopflow.explain('rk_char') line WHERE line ~ '^  t: .* lead' OR line ~ 'walked';

DELETE FROM sopflow.rule_set WHERE rule_set ^@ 'rk';
