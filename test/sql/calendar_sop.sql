-- SOPs with a calendar: due times move to the next opening when tasks are
-- written, and are checked again at dispatch; in the subject's zone where it has
-- one; at the right wall-clock time across changes of the clock.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
\pset null (null)
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, delivery) VALUES ('GREET', 'broadcast');
INSERT INTO sopflow.action (action, jitter, backoff_base) VALUES ('PHONE', 0, '2h');
INSERT INTO sopflow.calendar (calendar, time_zone, opens, closes) VALUES
	('berlin', 'Europe/Berlin', '09:00', '17:00'), ('york', 'America/New_York', '09:00', '17:00'), ('utc', 'UTC', '09:00', '17:00');
CREATE FUNCTION pg_temp.shown(sop text, zone text DEFAULT 'UTC') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', subject_id, node_id, status, held_by, 'due', to_char(due_at AT TIME ZONE zone, 'Dy MM-DD HH24:MI:SS'),
		'attempt ' || nullif(attempt, 0), 'ended ' || to_char(finished_at AT TIME ZONE zone, 'Dy MM-DD HH24:MI:SS'))
	FROM sopflow.tasks WHERE sop_id = sop ORDER BY subject_id, task_id
$$;
CREATE FUNCTION pg_temp.dispatch(at text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN PERFORM set_config('sopflow.clock', at, false); RETURN sopflow.run_due(); END $$;

-- What an SOP may name.
INSERT INTO sopflow.sop (sop_id, calendar) VALUES ('bad', 'nowhere');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.sop (sop_id, calendar, enabled) VALUES ('bad', 'nowhere', false);
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('bad', 'a');
SELECT * FROM sopflow.validate('bad');
UPDATE sopflow.sop SET enabled = true WHERE sop_id = 'bad';
DELETE FROM sopflow.sop WHERE sop_id = 'bad';

-- Moved when written: what has an action, not what only waits.
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, calendar) VALUES ('week', 'WEEK', 'utc');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('week', 'day1', '1 day', 'GREET'), ('week', 'day2', '2 days', 'GREET'),
	('week', 'day5', '5 days', 'GREET'), ('week', 'note', '2 days', NULL);
COMMIT;
SET sopflow.clock = '2026-07-02 20:00+00';
SELECT sopflow.emit('WEEK', 1);
SELECT pg_temp.shown('week');
-- not before the opening, and then at once
SELECT pg_temp.dispatch('2026-07-06 08:59:59.999999+00');
SELECT pg_temp.dispatch('2026-07-06 09:00+00');
SELECT pg_temp.shown('week');
-- events of the past: due in the past, carried out when it is open
SELECT sopflow.emit('WEEK', 2, occurred_at => '2026-06-01 12:00+00');
SELECT pg_temp.shown('week') ORDER BY 1 DESC LIMIT 4;
SELECT pg_temp.dispatch('2026-07-06 20:00+00');
SELECT pg_temp.shown('week') ORDER BY 1 DESC LIMIT 4;
SELECT pg_temp.dispatch('2026-07-07 09:00+00');

-- Checked again at dispatch: a holiday that was added moves the task on; one
-- that is taken away does not bring it back.
SELECT sopflow.cancel(sop_id => 'week');
SET sopflow.clock = '2026-07-09 20:00+00';
SELECT sopflow.emit('WEEK', 3);
INSERT INTO sopflow.holiday VALUES ('utc', '2026-07-13'), ('utc', '2026-07-14');
SELECT pg_temp.dispatch('2026-07-13 09:00+00');
SELECT pg_temp.dispatch('2026-07-13 12:00+00');
SELECT t FROM pg_temp.shown('week') t WHERE t LIKE '3 %';
DELETE FROM sopflow.holiday WHERE day = '2026-07-14';
SELECT pg_temp.dispatch('2026-07-14 12:00+00');
SELECT pg_temp.dispatch('2026-07-15 08:59+00');
SELECT pg_temp.dispatch('2026-07-15 09:00+00');
SELECT t FROM pg_temp.shown('week') t WHERE t LIKE '3 %';
-- a dispatch that comes after the closing hour; other hours than when it was written
SELECT sopflow.emit('WEEK', 4, occurred_at => '2026-07-14 16:30+00');
SELECT pg_temp.dispatch('2026-07-15 17:00+00');
SELECT t FROM pg_temp.shown('week') t WHERE t LIKE '4 day1%';
UPDATE sopflow.calendar SET opens = '12:00', weekdays = '{4}' WHERE calendar = 'utc';
SELECT pg_temp.dispatch('2026-07-16 09:00+00');
SELECT pg_temp.dispatch('2026-07-16 12:00+00');
SELECT t FROM pg_temp.shown('week') t WHERE t LIKE '4 %';
SELECT sopflow.cancel(sop_id => 'week');
UPDATE sopflow.calendar SET opens = '09:00', weekdays = '{1,2,3,4,5}' WHERE calendar = 'utc';

-- A task that an operator moves to a Sunday goes on Monday.
SET sopflow.clock = '2026-07-20 10:00+00';
SELECT sopflow.emit('WEEK', 5);
SELECT sopflow.reschedule(task_id, '2026-07-26 10:00+00') FROM sopflow.tasks WHERE subject_id = '5' AND node_id = 'day1';
SELECT pg_temp.dispatch('2026-07-26 10:00+00');
SELECT t FROM pg_temp.shown('week') t WHERE t LIKE '5 %';
SELECT pg_temp.dispatch('2026-07-27 09:00+00');
SELECT t FROM pg_temp.shown('week') t WHERE t LIKE '5 %';

-- A chain: delays count from when the node before was really carried out.
BEGIN;
INSERT INTO sopflow.sop (sop_id, calendar, delay_from) VALUES ('chain', 'utc', 'previous');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, next) VALUES ('chain', 'a', '1 day', 'GREET', 'pause'), ('chain', 'pause', '10 hours', NULL, 'b'),
	('chain', 'b', '3 hours', 'GREET', NULL);
COMMIT;
SET sopflow.clock = '2026-08-07 12:00+00';
SELECT sopflow.start('chain', 1) > 0;
SELECT pg_temp.dispatch('2026-08-10 10:00+00');
SELECT pg_temp.dispatch('2026-08-10 20:00+00');
SELECT pg_temp.shown('chain');
SELECT pg_temp.dispatch('2026-08-11 09:00+00');
SELECT pg_temp.shown('chain');

-- Retries wait for the opening, too; a lease runs on after the closing hour.
BEGIN;
INSERT INTO sopflow.sop (sop_id, calendar) VALUES ('phone', 'utc');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('phone', 'a', 'PHONE');
COMMIT;
SET sopflow.clock = '2026-08-14 16:00+00';
SELECT sopflow.start('phone', 1) > 0;
SELECT sopflow.nack(task_id, lease_token, 'busy') FROM sopflow.fetch('{PHONE}');
SELECT pg_temp.shown('phone');
SELECT pg_temp.dispatch('2026-08-14 18:00+00');
SELECT count(*) FROM sopflow.fetch('{PHONE}');
SELECT pg_temp.shown('phone');
SET sopflow.clock = '2026-08-17 16:59:59+00';
CREATE TEMP TABLE fetched AS SELECT * FROM sopflow.fetch('{PHONE}', lease => '1 hour');
SET sopflow.clock = '2026-08-17 17:30+00';
SELECT sopflow.ack(task_id, lease_token) FROM fetched;
SELECT pg_temp.shown('phone');
-- offered while it was open, and nobody came
SET sopflow.clock = '2026-08-18 16:59+00';
SELECT sopflow.start('phone', 2) > 0;
SELECT sopflow.run_due();
SELECT t FROM pg_temp.shown('phone') t WHERE t LIKE '2 %';
SET sopflow.clock = '2026-08-18 17:00+00';
SELECT count(*) FROM sopflow.fetch('{PHONE}');
SELECT t FROM pg_temp.shown('phone') t WHERE t LIKE '2 %';
SET sopflow.clock = '2026-08-19 09:00+00';
SELECT sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{PHONE}');
-- an expired lease
SET sopflow.clock = '2026-08-21 16:50+00';
SELECT sopflow.start('phone', 3) > 0;
SELECT count(*) FROM sopflow.fetch('{PHONE}', lease => '5 minutes');
SELECT pg_temp.dispatch('2026-08-21 16:55+00');
SELECT pg_temp.dispatch('2026-08-21 18:55+00');
SELECT t FROM pg_temp.shown('phone') t WHERE t LIKE '3 %';
SELECT sopflow.cancel(sop_id => 'phone');

-- skip_late_after counts from the opening, not from when it was due without.
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, calendar, skip_late_after) VALUES ('late', 'LATE', 'utc', '1 hour');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('late', 'a', 'GREET');
COMMIT;
SET sopflow.clock = '2026-08-22 12:00+00';
SELECT sopflow.emit('LATE', 1);
SELECT pg_temp.dispatch('2026-08-24 10:00+00');
SET sopflow.clock = '2026-08-29 12:00+00';
SELECT sopflow.emit('LATE', 2);
SELECT pg_temp.dispatch('2026-08-31 10:00:00.000001+00');
-- and from the new opening of one that was moved again
SET sopflow.clock = '2026-09-05 12:00+00';
SELECT sopflow.emit('LATE', 3);
INSERT INTO sopflow.holiday VALUES ('utc', '2026-09-07');
SELECT pg_temp.dispatch('2026-09-07 09:30+00');
SELECT pg_temp.dispatch('2026-09-08 10:00+00');
SELECT pg_temp.shown('late');

-- The subject's own zone, as its row says now; the calendar's where it says none.
CREATE TABLE cs_clients (client_id int PRIMARY KEY, name text, zone varchar(400));
INSERT INTO cs_clients VALUES (1, 'Berta', 'Europe/Berlin'), (2, 'Yorick', 'America/New_York'), (3, 'Tomo', 'Asia/Tokyo'), (4, 'Nil', NULL), (5, 'Empty', ''),
	(6, 'Odd', 'Mars/Olympus'), (7, 'Sly', 'ABC-13:30'), (8, 'Kath', 'asia/kathmandu'), (9, 'Long', repeat('x', 400));
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, calendar, subject_relation, subject_key, time_zone_column) VALUES ('zoned', 'ZONED', 'utc', 'cs_clients', 'client_id', 'zone');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('zoned', 'a', '1 day', 'GREET');
COMMIT;
SET sopflow.clock = '2026-09-09 18:00+00';
SELECT sopflow.emit('ZONED', client_id) FROM cs_clients ORDER BY client_id;
SELECT c.name, t.due_at, CASE WHEN c.client_id IN (1, 2, 3, 8) THEN t.due_at AT TIME ZONE c.zone END AS wall
	FROM sopflow.tasks t JOIN cs_clients c ON t.subject_id = c.client_id::text WHERE t.sop_id = 'zoned' ORDER BY c.client_id;
-- one is carried out at once: it is two in the afternoon in New York
SELECT pg_temp.dispatch('2026-09-10 18:00+00');
SELECT c.name FROM sopflow.tasks t JOIN cs_clients c ON t.subject_id = c.client_id::text WHERE t.sop_id = 'zoned' AND t.status = 'done';
-- who moved is asked for at dispatch
UPDATE cs_clients SET zone = 'Asia/Tokyo' WHERE client_id = 1;
UPDATE cs_clients SET zone = 'America/New_York' WHERE client_id = 3;
SELECT pg_temp.dispatch('2026-09-11 08:00+00');
SELECT c.name, t.status, t.due_at FROM sopflow.tasks t JOIN cs_clients c ON t.subject_id = c.client_id::text WHERE t.sop_id = 'zoned' AND c.client_id IN (1, 3) ORDER BY c.client_id;
-- who is gone
DELETE FROM cs_clients WHERE client_id = 4;
SELECT pg_temp.dispatch('2026-09-11 09:00+00');
SELECT subject_id, status, finished_at FROM sopflow.tasks WHERE sop_id = 'zoned' ORDER BY subject_id;
SELECT state, reason FROM sopflow.runs WHERE sop_id = 'zoned' AND subject_id = '4';
SELECT sopflow.cancel(sop_id => 'zoned');
-- a column that there is not, or that the owner may not read
CREATE ROLE cs_author;
SELECT sopflow.grant_author('cs_author');
SELECT sopflow.grant_action('GREET', 'cs_author');
GRANT SELECT (client_id) ON cs_clients TO cs_author;
UPDATE sopflow.sop SET time_zone_column = 'nowhere' WHERE sop_id = 'zoned';
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.sop SET owner = 'cs_author' WHERE sop_id = 'zoned';
\echo :LAST_ERROR_SQLSTATE
GRANT SELECT (zone) ON cs_clients TO cs_author;
UPDATE sopflow.sop SET owner = 'cs_author' WHERE sop_id = 'zoned';
REVOKE SELECT (zone) ON cs_clients FROM cs_author;
-- a right that is gone since stops no event, and the calendar's own zone stands
SET sopflow.clock = '2026-09-16 18:00+00';
SELECT sopflow.emit('ZONED', 1);
SELECT due_at FROM sopflow.tasks WHERE sop_id = 'zoned' AND subject_id = '1' AND status = 'pending';
SELECT sopflow.cancel(sop_id => 'zoned');
DELETE FROM sopflow.sop WHERE sop_id = 'zoned';
DROP TABLE cs_clients;
DROP OWNED BY cs_author;
DROP ROLE cs_author;

-- Both changes of 2026 in Berlin and in New York: due in the
-- night, the tasks are carried out at nine by the clock on the wall.
UPDATE sopflow.calendar SET weekdays = '{1,2,3,4,5,6,7}' WHERE calendar IN ('berlin', 'york');
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, calendar, reentry) VALUES ('in_berlin', 'NIGHT', 'berlin', 'allow'), ('in_york', 'NIGHT', 'york', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('in_berlin', 'a', '2 hours', 'GREET'), ('in_york', 'a', '2 hours', 'GREET');
COMMIT;
CREATE PROCEDURE pg_temp.live(from_at timestamptz, to_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz;
BEGIN
	-- an event each evening, and a dispatch every hour
	FOR t IN SELECT * FROM generate_series(from_at, to_at, '1 hour') LOOP
		PERFORM set_config('sopflow.clock', t::text, false);
		IF extract(hour FROM t) = 22 THEN
			PERFORM sopflow.emit('NIGHT', to_char(t, 'YYYY-MM-DD'));
		END IF;
		PERFORM sopflow.run_due();
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.lived(month text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s: %s = %s', t.sop_id, t.subject_id, to_char(t.finished_at, 'MM-DD HH24:MI'), to_char(t.finished_at AT TIME ZONE c.time_zone, 'Dy MM-DD HH24:MI'))
	FROM sopflow.tasks t JOIN sopflow.sop s USING (sop_id) JOIN sopflow.calendar c USING (calendar)
	WHERE t.sop_id IN ('in_berlin', 'in_york') AND t.status = 'done' AND starts_with(t.subject_id, month) ORDER BY t.sop_id, t.subject_id
$$;
CALL pg_temp.live('2026-03-06 22:00+00', '2026-03-10 16:00+00');
CALL pg_temp.live('2026-03-27 22:00+00', '2026-03-31 16:00+00');
SELECT pg_temp.lived('2026-03');
CALL pg_temp.live('2026-10-23 22:00+00', '2026-10-27 16:00+00');
CALL pg_temp.live('2026-10-30 22:00+00', '2026-11-03 16:00+00');
SELECT pg_temp.lived('2026-1');

-- A calendar of active runs stays, also where the SOP itself has another by now;
-- these runs keep to theirs.
SET sopflow.clock = '2026-12-04 20:00+00';
SELECT sopflow.emit('WEEK', 6);
UPDATE sopflow.sop SET calendar = NULL WHERE sop_id = 'week';
UPDATE sopflow.sop SET calendar = NULL WHERE calendar = 'utc';
SELECT sopflow.emit('WEEK', 7);
SELECT t FROM pg_temp.shown('week') t WHERE t LIKE '6 day1%' OR t LIKE '7 day1%';
DELETE FROM sopflow.calendar WHERE calendar = 'utc';
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.dispatch('2026-12-05 20:00+00');
SELECT t FROM pg_temp.shown('week') t WHERE t LIKE '6 day1%' OR t LIKE '7 day1%';
SELECT sopflow.cancel(subject_id => '6');
DELETE FROM sopflow.calendar WHERE calendar = 'utc';
SELECT calendar FROM sopflow.calendar ORDER BY 1;
SELECT sopflow.cancel(subject_id => '7');
SELECT sopflow.cancel(sop_id => sop_id) FROM sopflow.sop ORDER BY sop_id;
DELETE FROM sopflow.sop;
DELETE FROM sopflow.calendar;
DELETE FROM sopflow.action;
