-- Openings where clocks are turned: a skipped time is the end of the gap, a
-- doubled one is its first, and each day opens once.
\pset format unaligned
\pset tuples_only on
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.calendar (calendar, time_zone, weekdays, opens, closes) VALUES
	('cd_berlin', 'Europe/Berlin', '{1,2,3,4,5,6,7}', '09:00', '17:00'),
	('cd_york', 'America/New_York', '{1,2,3,4,5,6,7}', '09:00', '17:00'),
	('cd_early', 'Europe/Berlin', '{1,2,3,4,5,6,7}', '02:30', '04:00'),
	('cd_late', 'Europe/Berlin', '{1,2,3,4,5,6,7}', '00:30', '02:30'),
	('cd_gap', 'Europe/Berlin', '{1,2,3,4,5,6,7}', '02:00', '03:00'),
	('cd_night', 'Europe/Berlin', '{6}', '22:00', '02:30'),
	('cd_days', 'Europe/Berlin', '{1,2,3,4,5,6,7}', '00:00', '24:00');

-- a time in UTC and on the wall
CREATE FUNCTION pg_temp.shown(at timestamptz, zone text) RETURNS text LANGUAGE sql AS $$
	SELECT to_char(at, 'DD HH24:MI') || ' = ' || to_char(at AT TIME ZONE zone, 'Dy HH24:MI')
$$;
CREATE FUNCTION pg_temp.hours(calendar text, from_at timestamptz, to_at timestamptz, step interval DEFAULT '1 hour') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.shown(t, c.time_zone) || CASE WHEN o = t THEN ' open' ELSE ' until ' || pg_temp.shown(o, c.time_zone) END
	FROM sopflow.calendar c, generate_series(from_at, to_at, step) t, sopflow.next_opening(c.calendar, t) o
	WHERE c.calendar = $1 ORDER BY t
$$;

-- Every hour around both changes of 2026.
SELECT pg_temp.hours('cd_berlin', '2026-03-28 14:00', '2026-03-29 16:00');
SELECT pg_temp.hours('cd_berlin', '2026-10-24 13:00', '2026-10-25 17:00');
SELECT pg_temp.hours('cd_york', '2026-03-07 20:00', '2026-03-08 22:00');
SELECT pg_temp.hours('cd_york', '2026-10-31 19:00', '2026-11-01 23:00');

-- Opening in the skipped hour, and in the doubled one.
SELECT pg_temp.hours('cd_early', '2026-03-29 00:15', '2026-03-29 02:15', '15 minutes');
SELECT pg_temp.hours('cd_early', '2026-10-25 00:15', '2026-10-25 03:15', '15 minutes');
-- Closing in them: once closed, a day does not open again.
SELECT pg_temp.hours('cd_late', '2026-03-28 23:15', '2026-03-29 01:15', '15 minutes');
SELECT pg_temp.hours('cd_late', '2026-10-24 22:15', '2026-10-25 02:00', '15 minutes');
-- Hours that are skipped as a whole: not open on that day. Doubled: once.
SELECT pg_temp.hours('cd_gap', '2026-03-28 00:45', '2026-03-29 02:45', '2 hours');
SELECT pg_temp.hours('cd_gap', '2026-10-24 23:45', '2026-10-25 02:00', '15 minutes');
-- A night that ends in them.
SELECT pg_temp.hours('cd_night', '2026-03-28 20:45', '2026-03-29 01:15', '30 minutes');
SELECT pg_temp.hours('cd_night', '2026-10-24 19:45', '2026-10-25 02:15', '30 minutes');
-- Whole days are never closed.
SELECT count(*), count(*) FILTER (WHERE sopflow.next_opening('cd_days', t, z) <> t)
	FROM generate_series('2026-03-01'::timestamptz, '2026-11-30', '17 minutes') t, unnest(ARRAY['Europe/Berlin', 'America/Havana', 'Africa/Cairo', 'Australia/Lord_Howe']) z;
-- To the microsecond.
SELECT sopflow.next_opening('cd_early', '2026-03-29 00:59:59.999999'), sopflow.next_opening('cd_early', '2026-03-29 01:00'),
	sopflow.next_opening('cd_early', '2026-10-25 00:29:59.999999'), sopflow.next_opening('cd_early', '2026-10-25 00:30'),
	sopflow.next_opening('cd_late', '2026-10-25 00:29:59.999999'), sopflow.next_opening('cd_late', '2026-10-25 00:30');

-- Half an hour: Lord Howe.
INSERT INTO sopflow.calendar (calendar, time_zone, weekdays, opens, closes) VALUES ('cd_howe', 'Australia/Lord_Howe', '{1,2,3,4,5,6,7}', '01:45', '02:15');
SELECT pg_temp.hours('cd_howe', '2026-04-04 14:15', '2026-04-04 16:00', '15 minutes');
SELECT pg_temp.hours('cd_howe', '2026-10-03 14:45', '2026-10-03 16:15', '15 minutes');
-- A day that never was: Samoa, Friday 2011-12-30.
INSERT INTO sopflow.calendar (calendar, time_zone, weekdays, opens, closes) VALUES ('cd_apia', 'Pacific/Apia', '{1,2,3,4,5,6}', '09:00', '17:00'),
	('cd_friday', 'Pacific/Apia', '{5}', '09:00', '17:00'), ('cd_week', 'Pacific/Apia', '{4,5,6}', '00:00', '24:00');
SELECT pg_temp.hours('cd_apia', '2011-12-29 18:00', '2011-12-31 06:00', '3 hours');
SELECT pg_temp.hours('cd_friday', '2011-12-23 18:00', '2011-12-31 06:00', '1 day');
SELECT pg_temp.hours('cd_week', '2011-12-30 09:45', '2011-12-31 10:15', '6 hours');
-- Days that begin at one o'clock, and that have midnight twice.
INSERT INTO sopflow.calendar (calendar, time_zone, weekdays) VALUES ('cd_midnight', 'America/Sao_Paulo', '{7}');
SELECT z, t, o, o AT TIME ZONE z AS wall FROM (VALUES ('America/Sao_Paulo', '2017-10-14 12:00'), ('America/Sao_Paulo', '2018-02-17 12:00'), ('America/Havana', '2026-03-07 12:00'),
	('America/Havana', '2026-10-31 12:00'), ('America/St_Johns', '2010-03-13 12:00'), ('America/St_Johns', '2010-11-06 12:00')) v(z, t),
	sopflow.next_opening('cd_midnight', t::timestamptz, z) o;
-- the clock went from one past midnight back to a minute after eleven: Sunday had begun
SELECT t, sopflow.next_opening('cd_midnight', t, 'America/St_Johns') = t AS open FROM unnest(ARRAY['2010-11-07 02:29:59', '2010-11-07 02:30', '2010-11-07 02:31', '2010-11-07 03:29',
	'2010-11-08 03:29:59', '2010-11-08 03:30']::timestamptz[]) t;
-- Offsets of a quarter of an hour, and local mean time with its seconds.
SELECT sopflow.next_opening('cd_berlin', '2026-07-01 00:00', 'Asia/Kathmandu'), sopflow.next_opening('cd_berlin', '1860-07-01 00:00', 'Europe/Berlin'),
	sopflow.next_opening('cd_berlin', '1985-12-31 12:00', 'Asia/Kathmandu');

-- Against a count of minutes: the clock of a zone is read off minute by minute,
-- and what it has shown once it has shown for good. A calendar is open in the
-- minutes in which the latest time shown is one of an open day and hour.
CREATE TEMP TABLE minute AS
	SELECT z.zone, z.around, m.at, max(m.at AT TIME ZONE z.zone) OVER (PARTITION BY z.zone, z.around ORDER BY m.at) AS clock
	FROM (VALUES ('Europe/Berlin', '2026-03-29 01:00'), ('Europe/Berlin', '2026-10-25 01:00'), ('America/New_York', '2026-03-08 07:00'), ('America/New_York', '2026-11-01 06:00'),
		('Australia/Lord_Howe', '2026-04-04 15:00'), ('Australia/Lord_Howe', '2026-10-03 15:30'), ('Pacific/Apia', '2011-12-30 10:00'), ('America/St_Johns', '2010-11-07 02:31'),
		('Asia/Kathmandu', '1985-12-31 18:30')) z(zone, around),
	LATERAL generate_series(z.around::timestamptz - interval '2 days', z.around::timestamptz + interval '7 days', '1 minute') m(at);
INSERT INTO sopflow.calendar (calendar, weekdays, opens, closes) VALUES ('cd_count1', '{1,2,3,4,5}', '09:00', '17:00'), ('cd_count2', '{1,3,7}', '02:17', '03:05'),
	('cd_count3', '{6,7}', '00:00', '24:00'), ('cd_count4', '{7}', '01:31', '02:29'), ('cd_count5', '{5,6}', '23:10', '02:40'), ('cd_count6', '{1,2,3,4,5,6,7}', '02:00', '01:59');
INSERT INTO sopflow.holiday SELECT 'cd_count1', d FROM unnest(ARRAY['2026-03-30', '2026-03-31', '2026-10-26', '2011-12-29', '2011-12-30', '2010-11-08']::date[]) d;
-- the hours of each day, day by day
CREATE TEMP TABLE hours AS
	SELECT c.calendar, d + c.opens AS opens, d + CASE WHEN c.closes <= c.opens THEN 1 ELSE 0 END + c.closes::interval AS closes
	FROM sopflow.calendar c, (SELECT DISTINCT clock::date + n AS d FROM minute, generate_series(-1, 0) n) days
	WHERE c.calendar LIKE 'cd\_count%' AND extract(isodow FROM d) = ANY (c.weekdays)
		AND NOT EXISTS (SELECT FROM sopflow.holiday h WHERE h.calendar = c.calendar AND h.day = d);
CREATE INDEX ON hours (calendar, opens);
ANALYZE minute, hours;
SELECT setseed(0.42);
WITH flag AS MATERIALIZED (
	SELECT c.calendar, m.*, coalesce(m.clock < (SELECT h.closes FROM hours h WHERE h.calendar = c.calendar AND h.opens <= m.clock ORDER BY h.opens DESC LIMIT 1), false) AS open
	FROM minute m, sopflow.calendar c WHERE c.calendar LIKE 'cd\_count%'
), expected AS MATERIALIZED (
	SELECT f.*, min(f.at) FILTER (WHERE f.open) OVER (PARTITION BY f.calendar, f.zone, f.around ORDER BY f.at DESC) AS opening FROM flag f
), sample AS (
	SELECT e.*, e.at + CASE WHEN e.open THEN s.beyond ELSE '0' END AS asked, CASE WHEN e.open THEN e.at + s.beyond ELSE e.opening END AS wanted
	FROM expected e, LATERAL (SELECT random() * interval '59.999 seconds' AS beyond WHERE e.at IS NOT NULL) s
	WHERE e.opening IS NOT NULL AND (random() < 0.01 OR e.at BETWEEN e.around::timestamptz - interval '70 minutes' AND e.around::timestamptz + interval '70 minutes')
), answer AS (
	SELECT s.*, sopflow.next_opening(s.calendar, s.asked, s.zone) AS got FROM sample s
)
SELECT count(*) > 10000 AS many, count(*) FILTER (WHERE open) > 1000 AS some_open, count(*) FILTER (WHERE NOT open) > 1000 AS some_closed,
	count(*) FILTER (WHERE got IS DISTINCT FROM wanted) AS wrong, (array_agg(format('%s %s %s: %s not %s', calendar, zone, asked, got, wanted)) FILTER (WHERE got IS DISTINCT FROM wanted))[1:5] AS first_of_them
	FROM answer;

DELETE FROM sopflow.calendar WHERE calendar LIKE 'cd_%';
