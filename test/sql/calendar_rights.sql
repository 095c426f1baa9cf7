-- Authors see all calendars and change those of roles that they are members of;
-- nobody else sees or asks any.
\pset format unaligned
\pset tuples_only on
SET datestyle = 'ISO';
SET timezone = 'UTC';
CREATE ROLE cr_ann;
CREATE ROLE cr_bob;
CREATE ROLE cr_team;
CREATE ROLE cr_none;
GRANT cr_team TO cr_ann;
SELECT sopflow.grant_author('cr_ann');
SELECT sopflow.grant_author('cr_bob');

SET ROLE cr_ann;
INSERT INTO sopflow.calendar (calendar, opens, closes) VALUES ('cr_ann', '09:00', '17:00') RETURNING owner;
INSERT INTO sopflow.calendar (calendar, owner) VALUES ('cr_team', 'cr_team') RETURNING owner;
INSERT INTO sopflow.holiday VALUES ('cr_ann', '2026-07-01', 'of ann'), ('cr_team', '2026-07-01', 'of the team');
-- not for others, when made or later
INSERT INTO sopflow.calendar (calendar, owner) VALUES ('cr_x', 'cr_bob');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.calendar SET owner = 'cr_bob' WHERE calendar = 'cr_ann';
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.calendar SET owner = 'cr_team' WHERE calendar = 'cr_ann' RETURNING owner, revision;
UPDATE sopflow.calendar SET owner = 'cr_ann' WHERE calendar = 'cr_ann';

SET ROLE cr_bob;
-- to be seen, and to be asked
SELECT calendar, owner FROM sopflow.calendar WHERE calendar LIKE 'cr_%' ORDER BY 1;
SELECT * FROM sopflow.holiday WHERE calendar LIKE 'cr_%' ORDER BY 1;
SELECT sopflow.next_opening('cr_ann', '2026-07-01 12:00');
-- but not to be changed
UPDATE sopflow.calendar SET opens = '10:00' WHERE calendar LIKE 'cr_%';
DELETE FROM sopflow.calendar WHERE calendar LIKE 'cr_%';
UPDATE sopflow.holiday SET name = 'of bob' WHERE calendar LIKE 'cr_%';
DELETE FROM sopflow.holiday WHERE calendar LIKE 'cr_%';
SELECT FROM sopflow.calendar WHERE calendar = 'cr_ann' FOR UPDATE;
INSERT INTO sopflow.holiday VALUES ('cr_ann', '2026-07-02');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.calendar (calendar) VALUES ('cr_bob');
INSERT INTO sopflow.holiday VALUES ('cr_bob', '2026-07-02');
UPDATE sopflow.holiday SET calendar = 'cr_ann' WHERE calendar = 'cr_bob';
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.calendar (calendar) VALUES ('cr_ann') ON CONFLICT (calendar) DO UPDATE SET opens = '10:00';
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.holiday VALUES ('cr_ann', '2026-07-01') ON CONFLICT (calendar, day) DO UPDATE SET name = 'of bob';
\echo :LAST_ERROR_SQLSTATE
TRUNCATE sopflow.holiday;
\echo :LAST_ERROR_SQLSTATE
-- another's calendar serves
BEGIN;
INSERT INTO sopflow.sop (sop_id, calendar) VALUES ('cr_sop', 'cr_team');
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('cr_sop', 'a');
COMMIT;
SET ROLE cr_ann;
DELETE FROM sopflow.calendar WHERE calendar = 'cr_team';
\echo :LAST_ERROR_SQLSTATE
SET ROLE cr_bob;
DELETE FROM sopflow.sop WHERE sop_id = 'cr_sop';

-- Membership counts, not who made it.
RESET ROLE;
GRANT cr_team TO cr_bob;
SET ROLE cr_bob;
UPDATE sopflow.calendar SET opens = '10:00' WHERE calendar = 'cr_team' RETURNING opens;
INSERT INTO sopflow.holiday VALUES ('cr_team', '2026-07-02') RETURNING day;
DELETE FROM sopflow.holiday WHERE calendar = 'cr_team' RETURNING day;
RESET ROLE;

-- pg_restore's setting opens nothing.
SET SESSION AUTHORIZATION cr_bob;
SET check_function_bodies = off;
INSERT INTO sopflow.holiday VALUES ('cr_ann', '2026-07-02');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.calendar (calendar, time_zone) VALUES ('cr_x', 'Mars');
\echo :LAST_ERROR_SQLSTATE
RESET check_function_bodies;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM sopflow.hold;

-- Without a grant.
SET ROLE cr_none;
SELECT * FROM sopflow.calendar;
SELECT sopflow.next_opening('cr_ann');
RESET ROLE;
GRANT USAGE ON SCHEMA sopflow TO cr_none;
SET ROLE cr_none;
SELECT * FROM sopflow.calendar;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM sopflow.holiday;
SELECT sopflow.next_opening('cr_ann');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.check_calendar('cr_ann');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- The trigger functions are of use to nobody else.
CREATE TABLE cr_mine (calendar text, day date);
ALTER TABLE cr_mine OWNER TO cr_ann;
SET ROLE cr_ann;
CREATE TRIGGER t BEFORE INSERT ON cr_mine FOR EACH ROW EXECUTE FUNCTION sopflow.calendar_row();
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT sopflow.calendar_row();
\echo :LAST_ERROR_SQLSTATE
DROP TABLE cr_mine;

-- A hostile search path finds nothing.
CREATE SCHEMA cr_evil;
CREATE FUNCTION cr_evil.isfinite(date) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'taken in'; END $$;
CREATE FUNCTION cr_evil.pg_has_role(oid, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'taken in'; END $$;
CREATE FUNCTION cr_evil.text_eq(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'taken in'; END $$;
CREATE OPERATOR cr_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = cr_evil.text_eq);
SET search_path = cr_evil, pg_catalog;
INSERT INTO sopflow.calendar (calendar) VALUES ('cr_path');
INSERT INTO sopflow.holiday VALUES ('cr_path', '2026-07-01');
SELECT sopflow.next_opening('cr_path', '2026-07-01 12:00');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA cr_evil CASCADE;
DELETE FROM sopflow.calendar WHERE calendar LIKE 'cr_%';
DROP OWNED BY cr_ann, cr_bob, cr_team, cr_none;
DROP ROLE cr_ann, cr_bob, cr_team, cr_none;
