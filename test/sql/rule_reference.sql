-- Random rule sets over random facts: the compiled engine against a plain
-- interpreter of the same rows, and with its index against without.
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA rr;
CREATE TYPE rr.k AS (a int, b text, c int, d numeric, e bool);
SELECT setseed(0.42);

CREATE FUNCTION rr.pick(n int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT floor(random() * n)::int';
CREATE FUNCTION rr.test(jsonic bool) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT CASE rr.pick(CASE WHEN jsonic THEN 9 ELSE 7 END)
		WHEN 0 THEN format('k.a = %s', rr.pick(6))
		WHEN 1 THEN format('k.b = %L', 'v' || rr.pick(4))
		WHEN 2 THEN format('k.c in (%s, %s)', rr.pick(6), rr.pick(6))
		WHEN 3 THEN format('k.d = %s.0', rr.pick(4))
		WHEN 4 THEN 'k.e'
		WHEN 5 THEN format('k.a > %s', rr.pick(6))
		WHEN 6 THEN format('%s = k.c', rr.pick(6))
		WHEN 7 THEN format('j.x = %s', rr.pick(4))
		ELSE format('j.s = %L', 'v' || rr.pick(3)) END
$$;
CREATE FUNCTION rr.condition(jsonic bool) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg(rr.test(jsonic), CASE WHEN random() < 0.8 THEN ' and ' ELSE ' or ' END) FROM generate_series(0, rr.pick(3))
$$;
CREATE FUNCTION rr.actions(jsonic bool) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT CASE rr.pick(CASE WHEN jsonic THEN 6 ELSE 5 END)
		WHEN 0 THEN '[]'
		WHEN 1 THEN jsonb_build_array(jsonb_build_object('set', jsonb_build_object('k.a', rr.pick(6)::text)))
		WHEN 2 THEN jsonb_build_array(jsonb_build_object('set', jsonb_build_object('k.b', format('''v%s''::text', rr.pick(4)))))
		WHEN 3 THEN '[{"message": "m {{k.a}}"}]'
		WHEN 4 THEN '[{"set": {"k.c": "k.c + 1", "k.d": "1 / (k.a - 2)"}}]'::jsonb
		ELSE jsonb_build_array(jsonb_build_object('set', jsonb_build_object('j.x', rr.pick(4)::text))) END
$$;
CREATE FUNCTION rr.facts(n int, jsonic bool) RETURNS SETOF jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_build_object('k', jsonb_build_object('a', nullif(rr.pick(7), 6), 'b', 'v' || rr.pick(4), 'c', nullif(rr.pick(7), 6), 'd', rr.pick(4), 'e', random() < 0.5))
		|| CASE WHEN jsonic THEN jsonb_build_object('j', CASE WHEN random() < 0.8 THEN jsonb_build_object('x', rr.pick(4)) ELSE '{}' END
			|| CASE WHEN random() < 0.8 THEN jsonb_build_object('s', 'v' || rr.pick(3)) ELSE '{}' END) ELSE '{}' END
		FROM generate_series(1, n)
$$;
-- Sixty rules; groups, errors, inference and keys that are missing if the interpreter need not follow.
CREATE FUNCTION rr.make(everything bool) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM sopflow.rule_set WHERE rule_set = 'rr';
	INSERT INTO sopflow.rule_set (rule_set, skip_on_first_applied, order_by, priority_threshold, inference, max_steps, on_error, skip_on_first_failed)
		VALUES ('rr', random() < 0.2, (ARRAY['asc', 'desc', 'seq'])[1 + rr.pick(3)], CASE WHEN random() < 0.2 THEN 20 ELSE 2147483647 END,
			everything AND random() < 0.5, 200, CASE WHEN everything AND random() < 0.7 THEN 'false' ELSE 'abort' END, random() < 0.2);
	INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rr', 'k', 'rr.k');
	IF everything THEN
		INSERT INTO sopflow.rule_fact (rule_set, fact, type, missing) VALUES ('rr', 'j', 'jsonb', CASE WHEN random() < 0.5 THEN 'null' ELSE 'error' END);
		INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority)
			SELECT 'rr', 'g' || i, (ARRAY['unit', 'activation', 'conditional', 'collect'])[1 + rr.pick(4)], rr.pick(30) FROM generate_series(1, 3) i;
	END IF;
	INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions, rule_group)
		SELECT 'rr', 'r' || i, CASE WHEN everything THEN i ELSE i % 25 END, rr.condition(everything), rr.actions(everything),
			CASE WHEN everything AND random() < 0.3 THEN 'g' || (1 + rr.pick(3)) END FROM generate_series(1, 60) i;
END $$;
CREATE FUNCTION rr.fire(facts jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v sopflow.verdict;
BEGIN
	v := sopflow.fire('rr', facts);
	RETURN v.fired::text || v.messages::text || v.facts::text;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || SQLERRM;
END $$;
CREATE FUNCTION rr.interpret(facts jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	k rr.k := jsonb_populate_record(NULL::rr.k, facts->'k');
	s sopflow.rule_set;
	r record;
	a jsonb;
	assignment record;
	assigned jsonb;
	value jsonb;
	is_true bool;
	message text;
	fired text[] := '{}';
	messages text[] := '{}';
BEGIN
	SELECT * INTO s FROM sopflow.rule_set WHERE rule_set = 'rr';
	FOR r IN SELECT * FROM sopflow.rule WHERE rule_set = 'rr' AND priority <= s.priority_threshold
		ORDER BY CASE s.order_by WHEN 'asc' THEN priority WHEN 'desc' THEN -priority ELSE seq END, rule COLLATE "C"
	LOOP
		EXECUTE format('SELECT %s FROM (SELECT ($1).*) k', r.condition) INTO is_true USING k;
		CONTINUE WHEN is_true IS NOT TRUE;
		FOR a IN SELECT jsonb_array_elements(r.actions) LOOP
			IF a ? 'message' THEN
				messages := messages || concat('m ', k.a);
				CONTINUE;
			END IF;
			assigned := '{}';
			FOR assignment IN SELECT * FROM jsonb_each_text(a->'set') LOOP
				EXECUTE format('SELECT to_jsonb(%s) FROM (SELECT ($1).*) k', assignment.value) INTO value USING k;
				assigned := assigned || jsonb_build_object(substr(assignment.key, 3), value);
			END LOOP;
			k := jsonb_populate_record(k, assigned);
		END LOOP;
		fired := fired || r.rule;
		EXIT WHEN s.skip_on_first_applied;
	END LOOP;
	RETURN fired::text || messages::text || jsonb_build_object('k', to_jsonb(k))::text;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || SQLERRM;
END $$;

CREATE TABLE rr.result (facts jsonb, one text, other text);
CREATE PROCEDURE rr.compare(against_interpreter bool, nsets int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. nsets LOOP
		PERFORM rr.make(NOT against_interpreter);
		COMMIT;
		CREATE TEMP TABLE run AS SELECT f AS facts, rr.fire(f) AS one FROM rr.facts(20, NOT against_interpreter) f;
		IF NOT against_interpreter THEN
			-- a trace of every rule has every rule looked at
			UPDATE sopflow.rule_set SET trace = 'full' WHERE rule_set = 'rr';
			COMMIT;
		END IF;
		INSERT INTO rr.result SELECT facts, one, CASE WHEN against_interpreter THEN rr.interpret(facts) ELSE rr.fire(facts) END FROM run;
		DROP TABLE run;
	END LOOP;
END $$;
SET client_min_messages = error;

CALL rr.compare(true, 15);
SELECT count(*), count(*) FILTER (WHERE one LIKE '{r%') > 150, count(*) FILTER (WHERE one LIKE '22012%') > 10 FROM rr.result;
SELECT * FROM rr.result WHERE one IS DISTINCT FROM other LIMIT 3;
TRUNCATE rr.result;
CALL rr.compare(false, 15);
SELECT count(*), count(*) FILTER (WHERE one LIKE '{r%') > 100, count(*) FILTER (WHERE one LIKE '%r5%') > 10 FROM rr.result;
SELECT * FROM rr.result WHERE one IS DISTINCT FROM other LIMIT 3;

DELETE FROM sopflow.rule_set WHERE rule_set = 'rr';
DROP SCHEMA rr CASCADE;
