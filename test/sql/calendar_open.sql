-- When a calendar is open, and when it opens next: hours, week ends, holidays,
-- ends of months and years, the ends of time, zones given by name.
\pset format unaligned
\pset tuples_only on
\pset null (null)
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.calendar (calendar, opens, closes, weekdays) VALUES
	('co_office', '09:00', '17:00', '{1,2,3,4,5}'),
	('co_days', DEFAULT, DEFAULT, DEFAULT),
	('co_always', DEFAULT, DEFAULT, '{7,6,5,4,3,2,1}'),
	('co_sunday', '10:00', '10:00:00.000001', '{7}'),
	('co_night', '22:00', '06:00', '{1,2,3,4,5}'),
	('co_evening', '18:00', '00:00', '{5}');

-- Opens at its hour, and is closed from its closing hour on.
SELECT t AS at, sopflow.next_opening('co_office', t) FROM unnest(ARRAY[
	'2026-07-01 00:00', '2026-07-01 08:59:59.999999', '2026-07-01 09:00', '2026-07-01 12:34:56.789', '2026-07-01 16:59:59.999999',
	'2026-07-01 17:00', '2026-07-01 23:59:59.999999']::timestamptz[]) t;
-- Friday evening, the week end, Monday morning.
SELECT t AS at, sopflow.next_opening('co_office', t) FROM unnest(ARRAY[
	'2026-07-03 16:59', '2026-07-03 17:00', '2026-07-04 12:00', '2026-07-05 23:59:59', '2026-07-06 00:00', '2026-07-06 08:59', '2026-07-06 09:01']::timestamptz[]) t;
-- Whole days: 24:00 belongs to the day after.
SELECT t AS at, sopflow.next_opening('co_days', t) FROM unnest(ARRAY[
	'2026-07-03 23:59:59.999999', '2026-07-04 00:00', '2026-07-05 23:59:59.999999', '2026-07-06 00:00']::timestamptz[]) t;
SELECT bool_and(sopflow.next_opening('co_always', t) = t) FROM generate_series('2026-01-01'::timestamptz, '2026-12-31', '61 minutes') t;
-- One microsecond a week.
SELECT sopflow.next_opening('co_sunday', '2026-07-05 10:00'), sopflow.next_opening('co_sunday', '2026-07-05 10:00:00.000001');

-- Over midnight: a night belongs to the day on which it began.
SELECT t AS at, sopflow.next_opening('co_night', t) FROM unnest(ARRAY[
	'2026-07-03 21:59', '2026-07-03 22:00', '2026-07-04 00:00', '2026-07-04 05:59:59.999999', '2026-07-04 06:00', '2026-07-05 23:00', '2026-07-06 03:00']::timestamptz[]) t;
-- the night from Thursday is open on the holiday's morning, that from the holiday is not
INSERT INTO sopflow.holiday VALUES ('co_night', '2026-07-03', 'a Friday');
SELECT t AS at, sopflow.next_opening('co_night', t) FROM unnest(ARRAY[
	'2026-07-03 05:00', '2026-07-03 06:00', '2026-07-03 22:00', '2026-07-04 03:00']::timestamptz[]) t;
-- until midnight is until the end of the day
SELECT t AS at, sopflow.next_opening('co_evening', t) FROM unnest(ARRAY[
	'2026-07-03 17:00', '2026-07-03 23:59:59.999999', '2026-07-04 00:00']::timestamptz[]) t;

-- Holidays: alone, in a row up to a week end, over the end of a year, on a leap
-- day, on a day that is closed anyway.
INSERT INTO sopflow.holiday (calendar, day) SELECT 'co_office', d FROM unnest(ARRAY[
	'2026-12-24', '2026-12-25', '2026-12-28', '2026-12-29', '2026-12-30', '2026-12-31', '2027-01-01',
	'2028-02-29', '2026-07-15', '2026-08-01']::date[]) d;
SELECT t AS at, sopflow.next_opening('co_office', t) FROM unnest(ARRAY[
	'2026-07-14 17:00', '2026-07-15 00:00', '2026-07-15 12:00', '2026-07-31 17:00', '2026-12-23 16:59', '2026-12-23 17:00', '2026-12-27 12:00', '2026-12-31 23:59:59',
	'2028-02-28 17:00', '2028-02-29 10:00', '2028-03-01 10:00', '2024-02-29 10:00', '2100-02-28 10:00']::timestamptz[]) t;
-- another calendar has none of them
SELECT sopflow.next_opening('co_days', '2026-12-25 12:00');
-- what is changed counts at once, and is taken back with its transaction
BEGIN;
DELETE FROM sopflow.holiday WHERE calendar = 'co_office' AND day = '2026-07-15';
SELECT sopflow.next_opening('co_office', '2026-07-15 12:00');
SAVEPOINT s;
UPDATE sopflow.calendar SET opens = '13:00' WHERE calendar = 'co_office';
SELECT sopflow.next_opening('co_office', '2026-07-15 12:00');
ROLLBACK TO s;
SELECT sopflow.next_opening('co_office', '2026-07-15 12:00');
ROLLBACK;
SELECT sopflow.next_opening('co_office', '2026-07-15 12:00');

-- Years of holidays.
INSERT INTO sopflow.calendar (calendar, opens, closes) VALUES ('co_closed', '09:00', '17:00');
INSERT INTO sopflow.holiday (calendar, day) SELECT 'co_closed', d FROM generate_series('2026-01-01'::date, '2045-12-31', '1 day') d;
SELECT sopflow.next_opening('co_closed', '2025-12-31 17:00');
SELECT sopflow.next_opening('co_closed', '2035-05-05');
SELECT revision FROM sopflow.calendar WHERE calendar = 'co_closed';

-- The ends of time.
SELECT calendar, sopflow.next_opening(calendar, '-infinity'), sopflow.next_opening(calendar, 'infinity'),
	sopflow.next_opening(calendar, '4714-11-24 00:00:00+00 BC'), sopflow.next_opening(calendar, '0001-01-01 00:00:00+00 BC'),
	sopflow.next_opening(calendar, '9999-12-31 12:00:00+00'), sopflow.next_opening(calendar, '294276-12-31 23:59:59.999999+00')
	FROM sopflow.calendar WHERE calendar LIKE 'co_%' ORDER BY 1;
SELECT z, sopflow.next_opening('co_office', '294276-12-31 23:59:59.999999+00', z), sopflow.next_opening('co_always', '294276-12-31 23:59:59.999999+00', z),
	sopflow.next_opening('co_always', '4714-11-24 00:00:00+00 BC', z)
	FROM unnest(ARRAY['Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Europe/Berlin']) z;
INSERT INTO sopflow.holiday VALUES ('co_sunday', '9999-12-31'), ('co_sunday', '0001-01-01');
SELECT sopflow.next_opening('co_sunday', '2026-07-05 11:00');

-- Nulls, and calendars that there are not.
SELECT sopflow.next_opening(NULL), sopflow.next_opening('co_office', NULL), sopflow.next_opening(NULL, NULL, NULL);
SELECT sopflow.next_opening('co_nothing');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.next_opening('');
SELECT sopflow.next_opening('CO_OFFICE');
SET sopflow.clock = '2026-07-04 10:00+00';
SELECT sopflow.next_opening('co_office'), sopflow.next_opening('co_office', time_zone => 'Asia/Tokyo');
RESET sopflow.clock;

-- Another zone than the calendar's, in any case of letters.
SELECT z, sopflow.next_opening('co_office', '2026-07-01 00:00', z) FROM unnest(ARRAY['Europe/Berlin', 'europe/berlin', 'EUROPE/BERLIN', 'America/New_York',
	'Asia/Kathmandu', 'Asia/Kolkata', 'Pacific/Chatham', 'Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Etc/GMT+12', 'Etc/GMT-14', 'etc/gmt+5', 'EST5EDT', 'UTC', 'GMT0']) z;
-- What is no zone of the database counts as none: the calendar's own stands. No
-- rules, offsets, abbreviations, paths, and nothing that would have to be kept.
SELECT count(*), count(*) FILTER (WHERE sopflow.next_opening('co_office', '2026-07-01 00:00', z) = '2026-07-01 09:00') AS own FROM unnest(ARRAY[NULL,
	'', ' ', 'Europe/Berlin ', ' Europe/Berlin', 'Europe', 'Europe/', '/Europe/Berlin', 'Europe//Berlin', 'Europe/../Europe/Berlin', '../zoneinfo/Europe/Berlin',
	'/etc/passwd', '.', '..', '+02', '-05:30', '+02:00', 'UTC+3', 'GMT+5', 'Etc/GMT+13', 'Etc/GMT-15', 'Etc/GMT+05', 'Etc/GMT+', 'Etc/GMT--5', 'Etc/GMT+5x',
	'ABC-5', 'ABC5DEF', 'EST5EDT,M3.2.0,M11.1.0', '<+03>-3', 'CEST', 'PDT', 'posix/Europe/Berlin', 'right/Europe/Berlin', 'RIGHT/UTC', 'Nowhere/City',
	'Europe/Berlin' || chr(10), U&'\00c5land', U&'Europe/Berl\0131n', repeat('x', 254), repeat('x', 255), repeat('x', 256), repeat('Europe/', 100000), repeat('A', 255) || '5', '''; DROP TABLE x; --', '%s%n']) z;
-- many names that are none, and those that are remembered make room for others
SELECT count(*) FROM generate_series(1, 3000) g WHERE sopflow.next_opening('co_office', '2026-07-01 00:00', 'q' || translate(g::text, '0123456789', 'abcdefghij')) <> '2026-07-01 09:00';
SELECT sopflow.next_opening('co_office', '2026-07-01 00:00', 'Asia/Tokyo');
-- rules of one's own making, each of which the server would keep
SELECT count(*) FROM generate_series(1, 3000) g WHERE sopflow.next_opening('co_office', '2026-07-01 00:00', 'Q' || translate(g::text, '0123456789', 'abcdefghij') || 'X-9') <> '2026-07-01 09:00';
SELECT count(*), sum(total_bytes) < 4000000 AS bounded FROM pg_backend_memory_contexts WHERE name = 'Timezones';

DELETE FROM sopflow.calendar WHERE calendar LIKE 'co_%';
SELECT count(*) FROM sopflow.holiday WHERE calendar LIKE 'co_%';
