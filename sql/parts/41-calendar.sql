-- ---------------------------------------------------------------------------
-- Calendars: triggers of their tables, rights, and when one is open.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.calendar_row() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_calendar_row';
COMMENT ON FUNCTION sopflow.calendar_row() IS 'Row trigger of calendars and holidays: demands that the writer is a member of the calendar''s owner, checks, raises the revision';
CREATE FUNCTION sopflow.calendar_after() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_calendar_after';
COMMENT ON FUNCTION sopflow.calendar_after() IS 'Row trigger of calendars and holidays: tells all sessions, deletes the holidays of a deleted calendar';
CREATE FUNCTION sopflow.calendar_check() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_calendar_check';
COMMENT ON FUNCTION sopflow.calendar_check() IS 'Deferred trigger of calendars: no SOP may lose its calendar';
CREATE FUNCTION sopflow.check_calendar(calendar text) RETURNS void LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_check_calendar';
COMMENT ON FUNCTION sopflow.check_calendar(text) IS 'Checks a calendar as it is stored; an error (SF001) where it is not valid';

CREATE TRIGGER calendar_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.calendar
	FOR EACH ROW EXECUTE FUNCTION sopflow.calendar_row();
CREATE TRIGGER calendar_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.calendar
	FOR EACH ROW EXECUTE FUNCTION sopflow.calendar_after();
CREATE CONSTRAINT TRIGGER calendar_check AFTER DELETE ON sopflow.calendar
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sopflow.calendar_check();

CREATE TRIGGER calendar_row BEFORE INSERT OR UPDATE OR DELETE ON sopflow.holiday
	FOR EACH ROW EXECUTE FUNCTION sopflow.calendar_row();
CREATE TRIGGER calendar_after AFTER INSERT OR UPDATE OR DELETE ON sopflow.holiday
	FOR EACH ROW EXECUTE FUNCTION sopflow.calendar_after();

-- A calendar serves the SOPs of everybody: authors see all, and change what
-- belongs to a role that they are a member of.
ALTER TABLE sopflow.calendar ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.calendar USING (pg_catalog.pg_has_role(owner::oid, 'MEMBER'));
CREATE POLICY visible ON sopflow.calendar FOR SELECT USING (true);
ALTER TABLE sopflow.holiday ENABLE ROW LEVEL SECURITY;
CREATE POLICY author ON sopflow.holiday USING (EXISTS (SELECT FROM sopflow.calendar c
	WHERE c.calendar = holiday.calendar AND pg_catalog.pg_has_role(c.owner::oid, 'MEMBER')));
CREATE POLICY visible ON sopflow.holiday FOR SELECT USING (true);

CREATE FUNCTION sopflow.next_opening(calendar text, at timestamptz DEFAULT sopflow.now(), time_zone text DEFAULT NULL)
	RETURNS timestamptz LANGUAGE c STABLE
	AS 'MODULE_PATHNAME', 'sopflow_next_opening';
COMMENT ON FUNCTION sopflow.next_opening(text, timestamptz, text) IS 'The time itself where the calendar is open then, else when it opens next; in another time zone than its own where one is given';
