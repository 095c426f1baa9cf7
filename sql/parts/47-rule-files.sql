-- ---------------------------------------------------------------------------
-- Rule files: sets of rules as one JSON value, and texts of other engines.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.convert_expression(text text, language text) RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_convert_expression';
COMMENT ON FUNCTION sopflow.convert_expression(text, text) IS 'A condition in MVEL or SpEL (language mvel, spel or sql) as an SQL expression; an error with the place where it has none of the same meaning';

CREATE FUNCTION sopflow.convert_action(text text, language text) RETURNS jsonb
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'sopflow_convert_action';
COMMENT ON FUNCTION sopflow.convert_action(text, text) IS 'Statements in MVEL or SpEL as an array of actions of a rule';
