-- ---------------------------------------------------------------------------
-- Intake: events from watched tables and by hand.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.intake() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_intake';
COMMENT ON FUNCTION sopflow.intake() IS 'Trigger that watch() puts on a table';

CREATE FUNCTION sopflow.watch(relation regclass, event text, subject_key name, context name[] DEFAULT '{}',
	condition text DEFAULT NULL, time_column name DEFAULT NULL, on_error text DEFAULT 'fail',
	on_replica bool DEFAULT false) RETURNS void LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_watch';
COMMENT ON FUNCTION sopflow.watch(regclass, text, name, name[], text, name, text, bool) IS
	'Makes rows inserted into a table events; for the table''s owner. Called again for the same event, it changes the watch';

CREATE FUNCTION sopflow.unwatch(relation regclass, event text) RETURNS bool LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_unwatch';
COMMENT ON FUNCTION sopflow.unwatch(regclass, text) IS 'Takes a watch back; false where there was none';

CREATE FUNCTION sopflow.watch_condition(relation oid, tree text) RETURNS text LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_watch_condition';
COMMENT ON FUNCTION sopflow.watch_condition(oid, text) IS 'A stored condition with the column names of today';

CREATE FUNCTION sopflow.now() RETURNS timestamptz LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'sopflow_now';
COMMENT ON FUNCTION sopflow.now() IS 'The time as sopflow takes it: of the transaction, or that of sopflow.clock';

CREATE FUNCTION sopflow.emit(event text, subject_id text, context jsonb DEFAULT '{}',
	occurred_at timestamptz DEFAULT sopflow.now()) RETURNS int LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_emit';
COMMENT ON FUNCTION sopflow.emit(text, text, jsonb, timestamptz) IS 'An event happened to a subject; returns the number of runs started, waits answered and runs ended';
CREATE FUNCTION sopflow.emit(event text, subject_id bigint, context jsonb DEFAULT '{}',
	occurred_at timestamptz DEFAULT sopflow.now()) RETURNS int LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_emit_bigint';
COMMENT ON FUNCTION sopflow.emit(text, bigint, jsonb, timestamptz) IS 'An event happened to a subject; returns the number of runs started, waits answered and runs ended';

CREATE FUNCTION sopflow.start(sop_id text, subject_id text, context jsonb DEFAULT '{}',
	occurred_at timestamptz DEFAULT sopflow.now()) RETURNS bigint LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_start';
COMMENT ON FUNCTION sopflow.start(text, text, jsonb, timestamptz) IS 'Starts an SOP for a subject; returns the run, under reentry = ignore the active one';
CREATE FUNCTION sopflow.start(sop_id text, subject_id bigint, context jsonb DEFAULT '{}',
	occurred_at timestamptz DEFAULT sopflow.now()) RETURNS bigint LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_start_bigint';
COMMENT ON FUNCTION sopflow.start(text, bigint, jsonb, timestamptz) IS 'Starts an SOP for a subject; returns the run, under reentry = ignore the active one';

-- Columns of watched tables may be renamed, and tables become partitions,
-- parents or children: the watches follow.
CREATE FUNCTION sopflow.follow_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w record;
	by_row bool;
	wants_row bool;
BEGIN
	-- column numbers and condition trees are those of the database that was
	-- dumped, until restored() has made them anew
	IF EXISTS (SELECT FROM sopflow.hold) THEN
		RETURN;
	END IF;
	-- a partition or child that is attached has a watched parent or is watched itself
	FOR w IN
		WITH RECURSIVE changed(relid, renamed) AS (
			SELECT e.objid, e.objsubid > 0 FROM pg_event_trigger_ddl_commands() e
				WHERE e.classid = 'pg_class'::regclass
		), below(relid, renamed) AS (
			-- columns are renamed in all that inherits them
			SELECT c.relid, c.renamed FROM changed c
			UNION SELECT i.inhrelid, b.renamed FROM pg_inherits i JOIN below b ON i.inhparent = b.relid
		)
		SELECT d.relation, d.subject_key, d.time_column, d.context, d.attnums, d.condition,
			d.condition_tree, d.event,
			EXISTS (SELECT FROM below b WHERE b.relid = d.relation AND b.renamed) AS renamed
		FROM sopflow.watched d
		WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = d.relation)
			AND (d.relation IN (SELECT b.relid FROM below b)
				OR d.relation IN (SELECT i.inhparent FROM pg_inherits i JOIN changed c ON i.inhrelid = c.relid)
				-- a partition that was detached is not named by the command
				OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = d.relation AND t.tgname = 'sopflow_watch'
					AND (t.tgtype & 1) = 1 AND NOT sopflow.watch_needs_rows(d.relation)))
	LOOP
		IF w.renamed AND w.attnums <> '{}' THEN
			UPDATE sopflow.watched SET
				subject_key = (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = w.relation AND a.attnum = w.attnums[1]),
				time_column = (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = w.relation AND a.attnum = w.attnums[2]),
				context = ARRAY(SELECT a.attname FROM unnest(w.attnums[3:]) WITH ORDINALITY n(attnum, ord)
					JOIN pg_attribute a ON a.attrelid = w.relation AND a.attnum = n.attnum ORDER BY n.ord),
				condition = sopflow.watch_condition(w.relation, w.condition_tree)
			WHERE relation = w.relation AND event = w.event;
		END IF;
		SELECT (t.tgtype & 1) = 1 INTO by_row FROM pg_trigger t
			WHERE t.tgrelid = w.relation AND t.tgname = 'sopflow_watch' AND t.tgfoid = 'sopflow.intake()'::regprocedure;
		wants_row := sopflow.watch_needs_rows(w.relation);
		IF by_row IS DISTINCT FROM wants_row AND by_row IS NOT NULL THEN
			PERFORM sopflow.place_watch(w.relation);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.follow_ddl() IS 'Event trigger: watches follow renamed columns and changed inheritance';

CREATE FUNCTION sopflow.watch_needs_rows(relation oid) RETURNS bool LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_watch_needs_rows';
COMMENT ON FUNCTION sopflow.watch_needs_rows(oid) IS 'Whether a watch of the table needs a row trigger';
CREATE FUNCTION sopflow.place_watch(relation oid) RETURNS void LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'sopflow_place_watch';
COMMENT ON FUNCTION sopflow.place_watch(oid) IS 'Gives a table the trigger that its watches need';

CREATE FUNCTION sopflow.follow_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	d record;
	w record;
	s record;
BEGIN
	-- the extension itself is going
	IF to_regclass('sopflow.watched') IS NULL THEN
		RETURN;
	END IF;
	FOR d IN SELECT o.objid, o.objsubid, o.object_identity FROM pg_event_trigger_dropped_objects() o
		WHERE o.classid = 'pg_class'::regclass
	LOOP
		IF d.objsubid > 0 THEN
			SELECT x.relation, x.event INTO w FROM sopflow.watched x
				WHERE x.relation = d.objid AND (d.objsubid = ANY (x.attnums)
					OR x.condition_tree ~ format(':varattno %s :', d.objsubid))
				LIMIT 1;
			IF FOUND AND EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid) THEN
				RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
					MESSAGE = format('cannot drop column %s: the watch for event "%s" uses it', d.object_identity, w.event),
					HINT = format('Use SELECT sopflow.unwatch(%L, %L) first.', w.relation, w.event);
			END IF;
			CONTINUE;
		END IF;
		FOR w IN DELETE FROM sopflow.watched x WHERE x.relation = d.objid RETURNING x.event LOOP
			RAISE WARNING 'table % was dropped with its watch for event "%"', d.object_identity, w.event;
		END LOOP;
		FOR s IN UPDATE sopflow.sop x SET enabled = false
			WHERE x.subject_relation = d.objid AND x.enabled RETURNING x.sop_id LOOP
			RAISE WARNING 'SOP "%" is disabled: its subject_relation % was dropped', s.sop_id, d.object_identity;
		END LOOP;
	END LOOP;
END
$$;
COMMENT ON FUNCTION sopflow.follow_drop() IS 'Event trigger: watches of dropped tables go, dropping a watched column is refused';

CREATE EVENT TRIGGER sopflow_follow_ddl ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE')
	EXECUTE FUNCTION sopflow.follow_ddl();
COMMENT ON EVENT TRIGGER sopflow_follow_ddl IS 'Lets watches follow changes of their tables';
CREATE EVENT TRIGGER sopflow_follow_drop ON sql_drop
	EXECUTE FUNCTION sopflow.follow_drop();
COMMENT ON EVENT TRIGGER sopflow_follow_drop IS 'Lets watches follow dropped tables';
