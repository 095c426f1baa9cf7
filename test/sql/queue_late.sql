-- skip_late_after holds for offers that nobody came for in time, and what has
-- been given up with its run is not redriven with the rest.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET TimeZone = 'UTC';
SET sopflow.clock = '2030-07-01 12:00+00';
BEGIN;
INSERT INTO sopflow.action (action, jitter, max_attempts, lease) VALUES ('LATE', 0, 2, '1h');
INSERT INTO sopflow.sop (sop_id, trigger_event, skip_late_after, exit_events) VALUES ('late', 'LATE', '30 min', '{GONE}');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, next, on_failure) VALUES
	('late', 'a', '1h', 'LATE', 'b', 'continue'), ('late', 'b', '24h', 'LATE', NULL, 'stop');
COMMIT;
CREATE VIEW shown AS SELECT subject_id AS subject, node_id AS node, status, attempt, last_error FROM sopflow.tasks ORDER BY task_id;
SELECT sopflow.emit('LATE', g) FROM generate_series(1, 2) g;

SET sopflow.clock = '2030-07-01 13:00+00';
SELECT sopflow.run_due();
SELECT * FROM shown;
-- one consumer comes in time and gives its task back, then nobody for an hour
SELECT sopflow.nack(task_id, lease_token, 'later', '10 min') FROM sopflow.fetch('{LATE}', 1);
SET sopflow.clock = '2030-07-01 14:00+00';
SELECT sopflow.run_due();
SELECT subject_id, node_id, attempt FROM sopflow.fetch('{LATE}');
SELECT * FROM shown;

-- dead, and then the client leaves
SELECT sopflow.nack(task_id, lease_token, 'no', retry => false)
	FROM sopflow.offer JOIN sopflow.tasks USING (task_id) WHERE status = 'leased';
SELECT sopflow.emit('GONE', 1);
SELECT * FROM shown;
SELECT run_id, state FROM sopflow.runs ORDER BY 1;
SELECT sopflow.redrive();
SELECT sopflow.redrive(action => 'LATE');
SELECT sopflow.redrive(task_ids => ARRAY(SELECT task_id FROM sopflow.dead_tasks));
SELECT * FROM shown;

-- no more of an error is kept than can be read
SELECT sopflow.run_due();
SELECT sopflow.nack(task_id, lease_token, repeat('é', 3000)) FROM sopflow.fetch('{LATE}');
SELECT subject, octet_length(last_error) FROM shown WHERE last_error IS NOT NULL;

DROP VIEW shown;
