-- ---------------------------------------------------------------------------
-- Ingest: events from a stream outside, each exactly once.
-- ---------------------------------------------------------------------------

-- The row of the source is locked first, so that two readers of one source
-- take turns and the second passes over what the first has taken.
CREATE FUNCTION sopflow.ingest(source text, events jsonb DEFAULT '[]', upto bigint DEFAULT NULL,
	OUT was bigint, OUT taken bigint, OUT advanced bigint)
	LANGUAGE plpgsql SECURITY DEFINER VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	e jsonb;
	at bigint;
	last bigint;
BEGIN
	IF ingest.source IS NULL OR ingest.source = '' THEN
		RAISE null_value_not_allowed USING MESSAGE = 'source must not be null or empty';
	END IF;
	IF events IS NULL OR jsonb_typeof(events) <> 'array' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'events must be a JSON array';
	END IF;
	taken := 0;
	advanced := 0;
	IF events = '[]' AND upto IS NULL THEN
		was := (SELECT o.position FROM sopflow.ingest_offset o WHERE o.source = ingest.source);
		RETURN;
	END IF;

	INSERT INTO sopflow.ingest_offset (source, position) VALUES (ingest.source, -1) ON CONFLICT DO NOTHING;
	SELECT o.position INTO last FROM sopflow.ingest_offset o WHERE o.source = ingest.source FOR NO KEY UPDATE;
	was := nullif(last, -1);
	FOR e IN SELECT j.value FROM jsonb_array_elements(events) WITH ORDINALITY j(value, ord) ORDER BY j.ord LOOP
		at := (e->>'position')::bigint;
		IF at IS NULL OR at < 0 THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('event of source "%s" has no position', ingest.source),
				DETAIL = 'A position is a whole number from 0.';
		END IF;
		CONTINUE WHEN at <= last;
		last := at;
		taken := taken + 1;
		advanced := advanced + sopflow.emit(e->>'event', e->>'subject', coalesce(e->'context', '{}'),
			CASE jsonb_typeof(e->'at') WHEN 'number' THEN to_timestamp((e->>'at')::float8)
				WHEN 'string' THEN (e->>'at')::timestamptz ELSE sopflow.now() END);
	END LOOP;
	UPDATE sopflow.ingest_offset o SET position = greatest(last, upto) WHERE o.source = ingest.source;
END
$$;
COMMENT ON FUNCTION sopflow.ingest(text, jsonb, bigint) IS
	'Takes in those events (objects with event, subject, context, at and position) that lie beyond the stored position of a source, and stores the last one''s, or upto; returns where it was, how many were taken, and what emit returned for them. Without events it only tells the position';
