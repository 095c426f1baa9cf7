-- Whatever an error holds, its alert fits a notification, and what it says is kept.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
BEGIN;
INSERT INTO sopflow.action (action, max_attempts) VALUES (repeat(E'\x01', 200), 1);
INSERT INTO sopflow.sop (sop_id) VALUES (repeat(E'\x02', 200));
INSERT INTO sopflow.sop_node (sop_id, node_id, action) SELECT sop_id, 'a', action FROM sopflow.sop, sopflow.action;
COMMIT;
CREATE FUNCTION fail(error text) RETURNS bool LANGUAGE sql AS $$
	SELECT sopflow.start(repeat(E'\x02', 200), 'x');
	SELECT sopflow.nack(task_id, lease_token, error) FROM sopflow.fetch(ARRAY[repeat(E'\x01', 200)]);
$$;
SELECT fail('short'), fail(repeat(E'\x01', 5000)), fail(repeat(U&'\5ba2', 5000));
SELECT sopflow.run_due();
SELECT length(message) > 5000, sent_at IS NOT NULL AS sent FROM sopflow.alerts ORDER BY alert_id;
DROP FUNCTION fail;
