-- ---------------------------------------------------------------------------
-- Looking ahead.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.simulate(sop_id text, from_time timestamptz DEFAULT sopflow.now(),
	context jsonb DEFAULT '{}', subject_id text DEFAULT NULL)
	RETURNS TABLE (at timestamptz, node_id text, action text, params jsonb, note text)
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_simulate';
COMMENT ON FUNCTION sopflow.simulate(text, timestamptz, jsonb, text) IS
	'What would happen when, if an event started the SOP then: every task done at once and no other event coming; drafts too; writes nothing';
