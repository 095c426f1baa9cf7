-- ---------------------------------------------------------------------------
-- The CRM pack: create_crm() makes ordinary tables of the caller's, with rules
-- and SOPs as rows. The operations are sopflow.crm_*(schema, ...); functions in
-- the schema call them.
-- ---------------------------------------------------------------------------

CREATE TYPE sopflow.operation AS (
	operation		text,
	operation_type	text,
	operator		text,
	reason_type		text,
	reason			text,
	event			text
);
COMMENT ON TYPE sopflow.operation IS 'What is being done to a lead';
COMMENT ON COLUMN sopflow.operation.operation IS 'CLAIM, ASSIGN, TRANSFER, HAND_OVER, RELEASE, RECYCLE, CONVERT, LOSE, FREEZE, UNFREEZE, LOG_CONTACT; EDIT: a write that changes no owner; DELETE';
COMMENT ON COLUMN sopflow.operation.operation_type IS 'What the caller of release said, such as TASK_BACK_PUBLIC';
COMMENT ON COLUMN sopflow.operation.operator IS 'Who does it, as the caller said';
COMMENT ON COLUMN sopflow.operation.reason_type IS 'Kind of reason, as the caller said';
COMMENT ON COLUMN sopflow.operation.reason IS 'Reason, as the caller said';
COMMENT ON COLUMN sopflow.operation.event IS 'function: one of the pack''s functions; sql: any other statement';

CREATE TYPE sopflow.crm_result AS (
	opportunity_id	bigint,
	ok				bool,
	code			text,
	message			text,
	from_owner		bigint,
	to_owner		bigint
);
COMMENT ON TYPE sopflow.crm_result IS 'What became of one lead';
COMMENT ON COLUMN sopflow.crm_result.opportunity_id IS 'Lead';
COMMENT ON COLUMN sopflow.crm_result.ok IS 'Whether it was done';
COMMENT ON COLUMN sopflow.crm_result.code IS 'Why not: STATUS, LAST_OWNER, FULL, CATEGORY, TASK, DAILY, NEW_DATA, FROZEN, NOT_FOUND, NOT_OWNER, LOCKED, the code of a rule, or an SQLSTATE';
COMMENT ON COLUMN sopflow.crm_result.message IS 'The same for people: the texts of the rules that denied it';
COMMENT ON COLUMN sopflow.crm_result.from_owner IS 'Owner before; null: public';
COMMENT ON COLUMN sopflow.crm_result.to_owner IS 'Owner after; null: public';

-- ---------------------------------------------------------------------------
-- Operations. They have the rights of their caller, who needs those of the
-- statements that they stand for, so anyone may call them.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.crm_operation(old_owner bigint, new_owner bigint) RETURNS sopflow.operation
	LANGUAGE c STABLE
	AS 'MODULE_PATHNAME', 'sopflow_crm_operation';
COMMENT ON FUNCTION sopflow.crm_operation(bigint, bigint) IS
	'What is being done to the row at hand: what a function of the pack says, otherwise derived from its owners before and after';

CREATE FUNCTION sopflow.crm_log() RETURNS trigger LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_log';
COMMENT ON FUNCTION sopflow.crm_log() IS 'AFTER ROW trigger of a table opportunities: writes opportunity_log';

CREATE FUNCTION sopflow.crm_claim(schema name, opportunity_ids bigint[], rep_id bigint, operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_claim';
COMMENT ON FUNCTION sopflow.crm_claim(name, bigint[], bigint, text) IS 'A sales rep takes leads from the public pool';

CREATE FUNCTION sopflow.crm_assign(schema name, opportunity_ids bigint[], rep_id bigint, operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_assign';
COMMENT ON FUNCTION sopflow.crm_assign(name, bigint[], bigint, text) IS 'Leads of the public pool are given to a sales rep';

CREATE FUNCTION sopflow.crm_auto_assign(schema name, opportunity_ids bigint[], method text DEFAULT NULL, operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_auto_assign';
COMMENT ON FUNCTION sopflow.crm_auto_assign(name, bigint[], text, text) IS
	'Leads of the public pool are spread over active sales reps of their category who have room: least_loaded or round_robin; null: as the table assignment says';

CREATE FUNCTION sopflow.crm_transfer(schema name, opportunity_ids bigint[], to_rep bigint, operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_transfer';
COMMENT ON FUNCTION sopflow.crm_transfer(name, bigint[], bigint, text) IS 'Private leads go to another sales rep';

CREATE FUNCTION sopflow.crm_hand_over(schema name, from_rep bigint, to_rep bigint DEFAULT NULL, operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_hand_over';
COMMENT ON FUNCTION sopflow.crm_hand_over(name, bigint, bigint, text) IS
	'All leads of a sales rep go to another; null: those that are open go to the public pool';

CREATE FUNCTION sopflow.crm_release(schema name, opportunity_ids bigint[], reason_type text DEFAULT NULL, reason text DEFAULT NULL,
	operation_type text DEFAULT 'RELEASE', operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_release';
COMMENT ON FUNCTION sopflow.crm_release(name, bigint[], text, text, text, text) IS 'Private leads go back to the public pool';

CREATE FUNCTION sopflow.crm_log_contact(schema name, opportunity_id bigint, rep_id bigint, kind text DEFAULT 'call', note text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_log_contact';
COMMENT ON FUNCTION sopflow.crm_log_contact(name, bigint, bigint, text, text) IS 'The owner of a lead has called, met or written to the client';

CREATE FUNCTION sopflow.crm_freeze(schema name, opportunity_ids bigint[], until timestamptz, operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_freeze';
COMMENT ON FUNCTION sopflow.crm_freeze(name, bigint[], timestamptz, text) IS 'Nobody may take these public leads before a time';

CREATE FUNCTION sopflow.crm_unfreeze(schema name, opportunity_ids bigint[], operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_unfreeze';
COMMENT ON FUNCTION sopflow.crm_unfreeze(name, bigint[], text) IS 'Ends a freeze';

CREATE FUNCTION sopflow.crm_convert(schema name, opportunity_ids bigint[], operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_convert';
COMMENT ON FUNCTION sopflow.crm_convert(name, bigint[], text) IS 'Private leads were won: they stay with their owner, do not count against the limit and are not recycled';

CREATE FUNCTION sopflow.crm_lose(schema name, opportunity_ids bigint[], reason text DEFAULT NULL, operator text DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_lose';
COMMENT ON FUNCTION sopflow.crm_lose(name, bigint[], text, text) IS 'Leads were lost';

CREATE FUNCTION sopflow.crm_recycle(schema name, max int DEFAULT 1000, dry_run bool DEFAULT false, opportunity_ids bigint[] DEFAULT NULL)
	RETURNS SETOF sopflow.crm_result LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'sopflow_crm_recycle';
COMMENT ON FUNCTION sopflow.crm_recycle(name, int, bool, bigint[]) IS
	'Leads whose recycle_at has come go back to the public pool, at most max in one call; dry_run: only says which would';

CREATE FUNCTION sopflow.crm_prefix(schema name) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $$
	-- sets of a table that was dropped are replaced
	SELECT CASE WHEN EXISTS (SELECT FROM sopflow.rule_set s
			LEFT JOIN sopflow.rule_fact f ON f.rule_set = s.rule_set AND f.fact = 'new'
			WHERE s.rule_set IN ('opportunity_claim', 'opportunity_unbind', 'opportunity_recycle')
				AND (f.fact IS NULL OR EXISTS (SELECT FROM pg_type t WHERE t.oid = f.type
					AND t.oid IS DISTINCT FROM to_regtype(format('%I.opportunities', $1)))))
		-- longer ones would be cut in the names of guards, and so fire in another order
		THEN CASE WHEN octet_length($1) <= 21 THEN $1 ELSE left($1, 3) || '_' || left(md5($1), 8) END || '.'
		ELSE '' END
$$;
COMMENT ON FUNCTION sopflow.crm_prefix(name) IS 'What the names of rule sets, SOPs, events and actions of this schema begin with: nothing, unless another schema has them, else the schema''s name, cut and with a hash if it is long, and a dot';

-- The server does that for escapes of its own, but not where the database has
-- no encoding (SQL_ASCII): there the texts are UTF-8, as they are for clients.
CREATE FUNCTION sopflow.crm_make_text(escaped text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	code text;
	n int;
	result text := escaped;
BEGIN
	-- EUC_CN has the middle dot at another code
	IF getdatabaseencoding() = 'EUC_CN' THEN
		result := replace(result, E'\\u00b7', E'\\u30fb');
	END IF;
	FOR code IN SELECT DISTINCT m[1] FROM regexp_matches(result, E'\\\\u([0-9a-f]{4})', 'g') m LOOP
		n := ('x' || code)::bit(16)::int;
		result := replace(result, E'\\u' || code, convert_from(decode(CASE
			WHEN n < 2048 THEN to_hex(((192 | (n >> 6)) << 8) | (128 | (n & 63)))
			ELSE to_hex(((224 | (n >> 12)) << 16) | ((128 | ((n >> 6) & 63)) << 8) | (128 | (n & 63))) END, 'hex'), 'UTF8'));
	END LOOP;
	RETURN result;
END
$$;
COMMENT ON FUNCTION sopflow.crm_make_text(text) IS E'create_crm(): a text with its escapes \\uXXXX as characters';
