-- What calendars and holidays are refused, what an edit does to the revision,
-- what goes with a calendar, and what keeps it.
\pset format unaligned
\pset tuples_only on
\pset null (null)
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.calendar (calendar) VALUES ('cf') RETURNING time_zone, weekdays, opens, closes, owner = current_user::regrole AS mine, revision;

-- Zones.
INSERT INTO sopflow.calendar (calendar, time_zone) VALUES ('cf_bad', 'Europe/Nowhere');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.calendar (calendar, time_zone) VALUES ('cf_bad', '');
INSERT INTO sopflow.calendar (calendar, time_zone) VALUES ('cf_bad', 'CEST');
INSERT INTO sopflow.calendar (calendar, time_zone) VALUES ('cf_bad', '+02:00');
INSERT INTO sopflow.calendar (calendar, time_zone) VALUES ('cf_bad', 'ABC-2');
INSERT INTO sopflow.calendar (calendar, time_zone) VALUES ('cf_bad', repeat('x', 400));
\set VERBOSITY terse
INSERT INTO sopflow.calendar (calendar, time_zone) VALUES ('cf_bad', NULL);
-- Days of the week.
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', '{}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', '{0}');
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', '{1,8}');
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', '{1,-1}');
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', '{1,2147483647}');
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', '{1,2,1}');
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', '{1,NULL}');
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', '{{1,2},{3,4}}');
INSERT INTO sopflow.calendar (calendar, weekdays) VALUES ('cf_bad', NULL);
-- Hours.
INSERT INTO sopflow.calendar (calendar, opens, closes) VALUES ('cf_bad', '09:00', '09:00');
INSERT INTO sopflow.calendar (calendar, opens, closes) VALUES ('cf_bad', '00:00', '00:00');
INSERT INTO sopflow.calendar (calendar, opens) VALUES ('cf_bad', '24:00');
INSERT INTO sopflow.calendar (calendar, opens, closes) VALUES ('cf_bad', '24:00', '06:00');
INSERT INTO sopflow.calendar (calendar, opens) VALUES ('cf_bad', NULL);
INSERT INTO sopflow.calendar (calendar, closes) VALUES ('cf_bad', NULL);
-- Names.
INSERT INTO sopflow.calendar (calendar) VALUES ('');
INSERT INTO sopflow.calendar (calendar) VALUES (NULL);
INSERT INTO sopflow.calendar (calendar) VALUES (repeat('x', 201));
INSERT INTO sopflow.calendar (calendar) VALUES ('cf');
INSERT INTO sopflow.calendar (calendar, owner) VALUES ('cf_bad', NULL);
-- Holidays.
INSERT INTO sopflow.holiday VALUES ('cf', 'infinity');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.holiday VALUES ('cf', '-infinity');
INSERT INTO sopflow.holiday VALUES ('cf', '10000-01-01');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.holiday VALUES ('cf', '0001-12-31 BC');
BEGIN;
INSERT INTO sopflow.holiday VALUES ('cf', '0001-01-01'), ('cf', '9999-12-31');
SELECT change FROM sopflow.load_sop(sopflow.export_file()) l WHERE name = 'cf';
UPDATE sopflow.holiday SET day = '12026-01-01';
ROLLBACK;
-- past the triggers, as a restore
SET session_replication_role = replica;
INSERT INTO sopflow.holiday VALUES ('cf', '10000-01-01');
INSERT INTO sopflow.holiday VALUES ('cf', '0001-12-31 BC');
RESET session_replication_role;
INSERT INTO sopflow.holiday VALUES ('cf', NULL);
INSERT INTO sopflow.holiday VALUES (NULL, '2026-12-25');
INSERT INTO sopflow.holiday VALUES ('cf_nothing', '2026-12-25');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.holiday VALUES ('cf', '2026-12-25'), ('cf', '2026-12-25');
-- An edit is checked like a new row; what was there stays.
UPDATE sopflow.calendar SET closes = '00:00' WHERE calendar = 'cf';
UPDATE sopflow.calendar SET weekdays = weekdays || 5 WHERE calendar = 'cf';
UPDATE sopflow.calendar SET time_zone = 'Mars' WHERE calendar = 'cf';
UPDATE sopflow.calendar SET calendar = 'cf_other' WHERE calendar = 'cf';
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
UPDATE sopflow.calendar SET closes = opens WHERE calendar = 'cf';
UPDATE sopflow.calendar SET weekdays = '{}' WHERE calendar = 'cf';
SELECT * FROM sopflow.calendar WHERE calendar LIKE 'cf%';
SELECT * FROM sopflow.holiday WHERE calendar LIKE 'cf%';

-- Revisions: raised by every edit of the calendar or, once in a transaction, of
-- its holidays; not what the writer says.
CREATE FUNCTION pg_temp.revision(name text DEFAULT 'cf') RETURNS bigint LANGUAGE sql AS $$ SELECT revision FROM sopflow.calendar WHERE calendar = $1 $$;
UPDATE sopflow.calendar SET description = 'x' WHERE calendar = 'cf';
SELECT pg_temp.revision();
UPDATE sopflow.calendar SET revision = 0 WHERE calendar = 'cf';
SELECT pg_temp.revision();
INSERT INTO sopflow.holiday VALUES ('cf', '2026-12-25', 'one'), ('cf', '2026-12-26', 'two');
SELECT pg_temp.revision();
UPDATE sopflow.holiday SET day = day + 1 WHERE calendar = 'cf' AND name = 'two';
SELECT pg_temp.revision();
DELETE FROM sopflow.holiday WHERE calendar = 'cf' AND name = 'two';
SELECT pg_temp.revision();
BEGIN;
INSERT INTO sopflow.holiday VALUES ('cf', '2027-01-01');
SAVEPOINT s;
INSERT INTO sopflow.holiday VALUES ('cf', '2027-01-02');
ROLLBACK TO s;
INSERT INTO sopflow.holiday VALUES ('cf', '2027-01-03');
COMMIT;
SELECT pg_temp.revision();
BEGIN;
SAVEPOINT s;
INSERT INTO sopflow.holiday VALUES ('cf', '2027-01-02');
ROLLBACK TO s;
INSERT INTO sopflow.holiday VALUES ('cf', '2027-01-04');
COMMIT;
SELECT pg_temp.revision();
-- a holiday that moves to another calendar is an edit of both
INSERT INTO sopflow.calendar (calendar) VALUES ('cf_two');
UPDATE sopflow.holiday SET calendar = 'cf_two' WHERE calendar = 'cf' AND day = '2027-01-04';
SELECT pg_temp.revision(), pg_temp.revision('cf_two');
UPDATE sopflow.holiday SET calendar = 'cf_nothing' WHERE calendar = 'cf_two';
SELECT calendar, day FROM sopflow.holiday WHERE calendar LIKE 'cf%' ORDER BY 1, 2;

-- A calendar that an SOP names stays, whoever deletes it and however.
BEGIN;
INSERT INTO sopflow.sop (sop_id, calendar) VALUES ('cf_sop', 'cf');
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('cf_sop', 'a');
COMMIT;
DELETE FROM sopflow.calendar WHERE calendar = 'cf';
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM sopflow.holiday WHERE calendar = 'cf';
-- until the end of the transaction it may come back, or the SOP go
BEGIN;
DELETE FROM sopflow.calendar WHERE calendar = 'cf';
SELECT count(*) FROM sopflow.holiday WHERE calendar = 'cf';
INSERT INTO sopflow.calendar (calendar, opens, closes) VALUES ('cf', '08:00', '09:00');
COMMIT;
SELECT sopflow.next_opening('cf', '2026-12-25 00:00');
BEGIN;
DELETE FROM sopflow.calendar WHERE calendar = 'cf';
UPDATE sopflow.sop SET calendar = 'cf_two' WHERE sop_id = 'cf_sop';
COMMIT;
-- a draft keeps nothing
UPDATE sopflow.sop SET enabled = false WHERE sop_id = 'cf_sop';
DELETE FROM sopflow.calendar WHERE calendar = 'cf_two';
SELECT calendar FROM sopflow.calendar WHERE calendar LIKE 'cf%';
SELECT count(*) FROM sopflow.holiday WHERE calendar LIKE 'cf%';
DELETE FROM sopflow.sop WHERE sop_id = 'cf_sop';

-- Made and deleted in one transaction.
BEGIN;
INSERT INTO sopflow.calendar (calendar) VALUES ('cf_brief');
INSERT INTO sopflow.holiday VALUES ('cf_brief', '2026-12-25');
DELETE FROM sopflow.calendar WHERE calendar = 'cf_brief';
COMMIT;
SELECT count(*) FROM sopflow.holiday WHERE calendar LIKE 'cf%';
