-- Due times are exact: from the event, from the completion of the node before,
-- and for nodes in parallel; no task is carried out early.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';

CREATE TABLE client (id int PRIMARY KEY, joined timestamptz);
SELECT sopflow.watch('client', 'ADD_CLIENT', 'id', time_column => 'joined');
INSERT INTO sopflow.action (action, delivery)
	VALUES ('SEND_GREETING', 'broadcast'), ('PUSH_CASE', 'broadcast'), ('SEND_REG_LINK', 'broadcast'), ('FOLLOW_UP', 'broadcast');

-- The four nodes of the customer care SOP, once with each origin of delays,
-- and its three tasks in parallel.
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, delay_from)
	VALUES ('care_event', 'ADD_CLIENT', 'event'), ('care_previous', 'ADD_CLIENT', 'previous');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, params, next)
	SELECT sop_id, n.*
	FROM (VALUES ('care_event'), ('care_previous')) AS s(sop_id),
		(VALUES ('node1', interval '24h', 'SEND_GREETING', '{"template": "WELCOME_MSG"}'::jsonb, 'node2'),
			('node2', '72h', 'PUSH_CASE', '{"case_id": "CASE_001"}', 'node3'),
			('node3', '96h', 'SEND_REG_LINK', '{"url": "/register/event123"}', 'node4'),
			('node4', '168h', 'FOLLOW_UP', '{}', NULL)) AS n(node_id, delay, action, params, next);
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('care_parallel', 'ADD_CLIENT');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action)
	VALUES ('care_parallel', 'day1', '24h', 'SEND_GREETING'), ('care_parallel', 'day3', '72h', 'PUSH_CASE'),
		('care_parallel', 'day7', '168h', 'FOLLOW_UP');
COMMIT;

-- A rolled-back INSERT leaves nothing; within its transaction everything is there.
SET sopflow.clock = '2030-01-07 09:00+00';
BEGIN;
INSERT INTO client VALUES (1, '2030-01-07 09:00+00');
SELECT sop_id, node_id, subject_id, action, status, due_at - '2030-01-07 09:00+00' AS after, attempt
FROM sopflow.tasks ORDER BY sop_id, due_at;
SELECT sop_id, version, state, event_at, started_at, ended_at, reason, context FROM sopflow.runs ORDER BY sop_id;
ROLLBACK;
SELECT count(*) AS tasks FROM sopflow.tasks;
SELECT count(*) AS runs FROM sopflow.runs;
INSERT INTO client VALUES (1, '2030-01-07 09:00+00');

-- A microsecond before each due time there is nothing to do; at the due time
-- the tasks are carried out and what follows is written.
CREATE FUNCTION step(at timestamptz, OUT early bigint, OUT done bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('sopflow.clock', (at - interval '1 microsecond')::text, false);
	early := sopflow.run_due();
	PERFORM set_config('sopflow.clock', at::text, false);
	done := sopflow.run_due();
END
$$;
SELECT h AS hours, s.* FROM unnest(ARRAY[24, 72, 96, 168, 192, 360]) AS h,
	step('2030-01-07 09:00+00'::timestamptz + h * interval '1 hour') AS s;
SELECT sop_id, node_id, action, status, (extract(epoch FROM due_at - '2030-01-07 09:00+00') / 3600)::int AS due_hours,
	finished_at = due_at AS on_time, attempt, last_error
FROM sopflow.tasks ORDER BY sop_id, due_at;
SELECT sop_id, state, (extract(epoch FROM ended_at - '2030-01-07 09:00+00') / 3600)::int AS hours, reason
FROM sopflow.runs ORDER BY sop_id;

-- A late completion moves what counts from it, and nothing else.
SET sopflow.clock = '2030-03-01 00:00+00';
INSERT INTO client VALUES (2, '2030-03-01 00:00+00');
SET sopflow.clock = '2030-03-02 05:00+00';
SELECT sopflow.run_due();
SELECT sop_id, node_id, status, (extract(epoch FROM due_at - '2030-03-01 00:00+00') / 3600)::int AS due_hours
FROM sopflow.tasks WHERE subject_id = '2' ORDER BY sop_id, due_at;
-- An event of long ago: with delay_from = 'event' every node is due already,
-- one a pass, since each is written when the one before completes.
SELECT sopflow.cancel(subject_id => '2');
INSERT INTO client VALUES (3, '2029-01-01 00:00+00');
SELECT sopflow.cancel(subject_id => '3', sop_id => 'care_previous');
SELECT sopflow.run_due();
SELECT sop_id, node_id, status, due_at, finished_at FROM sopflow.tasks
WHERE subject_id = '3' AND sop_id <> 'care_previous' ORDER BY sop_id, due_at;

-- Days are 24 hours and months those of UTC, whatever the session's time zone:
-- here each delay spans a change to summer time.
SET timezone = 'Europe/Berlin';
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('spans');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay)
	VALUES ('spans', 'day', '1 day'), ('spans', 'hours', '24:00'), ('spans', 'month', '1 month'),
		('spans', 'month_and_day', '1 month 1 day 1 microsecond'), ('spans', 'year', '1 year'), ('spans', 'now', '0');
COMMIT;
SET sopflow.clock = '2030-03-30 12:00 Europe/Berlin';
SELECT sopflow.start('spans', 1) > 0 AS started;
-- the last day of January: February has none such
SELECT sopflow.start('spans', 2, occurred_at => '2030-01-31 23:30+00') > 0 AS started;
SET timezone = 'UTC';
SELECT subject_id, node_id, due_at FROM sopflow.tasks WHERE sop_id = 'spans' ORDER BY subject_id, due_at, node_id;

DROP TABLE client;
DROP FUNCTION step;
