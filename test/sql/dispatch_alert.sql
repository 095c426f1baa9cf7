-- Failures in a row of an action raise one alert, until it succeeds again; each
-- dead task raises one too.  A dispatch pass sends them.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, jitter, backoff_base, max_attempts, alert_after)
	VALUES ('PHONE', 0, '1 min', 100, 3), ('MAIL', 0, '1 min', 100, NULL);
BEGIN;
INSERT INTO sopflow.sop (sop_id, reentry) VALUES ('phone', 'allow'), ('mail', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('phone', 'a', 'PHONE'), ('mail', 'a', 'MAIL');
COMMIT;
CREATE VIEW shown AS SELECT alert_id, raised_at, kind, action, sop_id, task_id, message, sent_at FROM sopflow.alerts;
-- fail or succeed as the string says, one task after another
CREATE FUNCTION attempts(name text, outcomes text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	w sopflow.work;
BEGIN
	FOR i IN 1..length(outcomes) LOOP
		PERFORM sopflow.start(lower(name), i);
		SELECT * INTO STRICT w FROM sopflow.fetch(ARRAY[name], 1);
		IF substr(outcomes, i, 1) = '-' THEN
			PERFORM sopflow.nack(w.task_id, w.lease_token, 'no', retry_in => '10 years');
		ELSE
			PERFORM sopflow.ack(w.task_id, w.lease_token);
		END IF;
	END LOOP;
END
$$;

SET sopflow.clock = '2030-01-07 09:00+00';
SELECT attempts('PHONE', '--+--+');
SELECT * FROM shown;
SELECT attempts('PHONE', '---');
SELECT * FROM shown;
-- once is enough for this streak
SET sopflow.clock = '2030-01-07 09:10+00';
SELECT attempts('PHONE', '-----');
SELECT sopflow.run_due();
SELECT * FROM shown;
-- a success ends it, and the next streak raises the next
SET sopflow.clock = '2030-01-07 09:20+00';
SELECT attempts('PHONE', '+--');
SELECT count(*) FROM shown;
SELECT attempts('PHONE', '-');
SELECT alert_id, raised_at, message, sent_at FROM shown ORDER BY alert_id;
-- null: no such alert
SELECT attempts('MAIL', '---------');
SELECT count(*) FROM shown WHERE action = 'MAIL';
-- a streak that begins and ends within one call counts too
SELECT attempts('PHONE', '+');
INSERT INTO sopflow.action (action, jitter, alert_after) VALUES ('BULK', 0, 3);
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('bulk');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('bulk', 'a', 'BULK');
COMMIT;
SELECT count(sopflow.start('bulk', i)) FROM generate_series(1, 4) i;
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{BULK}');
SELECT count(*) FROM (SELECT sopflow.nack_many(array_agg(task_id), array_agg(lease_token), array_agg('no'::text))
	FROM work) n;
SELECT message FROM shown WHERE action = 'BULK' ORDER BY alert_id;

-- The calls of one batch fail and succeed in their order.
CREATE FUNCTION fail_first(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF w.subject_id <= '3' THEN
		RAISE EXCEPTION 'no';
	END IF;
	RETURN '{}';
END
$$;
INSERT INTO sopflow.action (action, delivery, handler, jitter, alert_after) VALUES ('CALL', 'call', 'fail_first', 0, 3);
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('call');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('call', 'a', 'CALL');
COMMIT;
SELECT count(sopflow.start('call', i)) FROM generate_series(1, 5) i;
SELECT sopflow.run_due();
SELECT kind, message FROM shown WHERE action = 'CALL' ORDER BY alert_id;
SELECT failures FROM sopflow.action_state JOIN sopflow.action USING (action_id) WHERE action = 'CALL';

-- A dead task.
UPDATE sopflow.action SET max_attempts = 1 WHERE action = 'MAIL';
SELECT sopflow.start('mail', 'the client') AS run \gset
SELECT sopflow.nack(task_id, lease_token, 'address unknown') FROM sopflow.fetch('{MAIL}');
SELECT kind, action, sop_id, task_id = :run * 65536 AS its_task, regexp_replace(message, '\d{2,}', 'N', 'g') AS message, sent_at
FROM shown WHERE kind = 'dead' AND action = 'MAIL';
SELECT sopflow.run_due();
SELECT count(*) FROM sopflow.alerts WHERE sent_at IS NULL;
DROP VIEW shown;
DROP FUNCTION attempts;
DROP FUNCTION fail_first CASCADE;
