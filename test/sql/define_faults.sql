-- Every fault of an SOP is refused when the transaction commits, with a message
-- that names SOP, node and column, and with the same in the error's fields.
CREATE FUNCTION fault(definition text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	detail text;
	at_schema text;
	at_table text;
	at_column text;
BEGIN
	EXECUTE definition;
	SET CONSTRAINTS ALL IMMEDIATE;
	RAISE EXCEPTION 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state := RETURNED_SQLSTATE, message := MESSAGE_TEXT, detail := PG_EXCEPTION_DETAIL,
		at_schema := SCHEMA_NAME, at_table := TABLE_NAME, at_column := COLUMN_NAME;
	RETURN NEXT format('%s at %s.%s.%s: %s', state, at_schema, at_table, at_column, message);
	IF state = 'SF001' AND detail <> '' THEN
		RETURN NEXT detail;
	END IF;
END
$$;
-- an SOP "df" with these nodes (node_id, type, delay, action, next), and more of its columns
CREATE FUNCTION sop(nodes text, columns text DEFAULT '', vals text DEFAULT '') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT fault(format('INSERT INTO sopflow.sop (sop_id, trigger_event%s) VALUES (''df'', ''E''%s);', ', ' || NULLIF(columns, ''), ', ' || NULLIF(vals, ''))
		|| CASE nodes WHEN '' THEN '' ELSE 'INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, action, next) VALUES ' || nodes END)
$$;
\pset tuples_only on
\pset format unaligned
INSERT INTO sopflow.action (action, delivery) VALUES ('df_a', 'broadcast');

-- At a real commit, with the hint; nothing of it stays.
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('df', 'E');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('df', 'n1', 'df_missing');
COMMIT;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM sopflow.sop WHERE sop_id = 'df';
-- A statement by itself commits at once.
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('df', 'E');
\echo :LAST_ERROR_SQLSTATE
-- A sound one, so that "accepted" means what it says.
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$);

\echo --- nodes
SELECT sop('');
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_missing', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1h', '', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'n2')$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', '')$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'N2'), ('df', 'n2', 'end', '0', NULL, NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'n2'), ('df', 'n2', 'end', '0', NULL, NULL), ('df', 'n3', 'delay', '0', 'df_a', 'n2')$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL), ('df', 'n2', 'end', '0', NULL, NULL)$$);
SELECT sop($$('df', 'n1', 'end', '0', NULL, NULL)$$);
SELECT sop($$('df', 'n1', 'end', '0', NULL, NULL), ('df', 'n2', 'delay', '0', 'df_a', 'n1')$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'n2'), ('df', 'n2', 'end', '0', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'n2'), ('df', 'n2', 'end', '1h', NULL, NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'n2'), ('df', 'n2', 'end', '0', NULL, 'n1')$$);
SELECT sop($$('df', 'n1', 'timer', '1h', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'n2'), ('df', 'n1', 'end', '0', NULL, NULL)$$);

\echo --- cycles
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'n1')$$);
SELECT sop($$('df', 'n1', 'delay', '0', 'df_a', 'n2'), ('df', 'n2', 'delay', '1h', 'df_a', 'n1')$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', 'n2'), ('df', 'n2', 'delay', '0', 'df_a', 'n3'), ('df', 'n3', 'delay', '0', 'df_a', 'n2')$$, 'delay_from', $$'previous'$$);
SELECT sop($$('df', 'n1', 'delay', '0', 'df_a', 'n1')$$, 'delay_from', $$'previous'$$);
SELECT sop($$('df', 'n1', 'delay', '0', 'df_a', 'n2'), ('df', 'n2', 'delay', '1h', 'df_a', 'n1')$$, 'delay_from', $$'previous'$$);

\echo --- intervals
SELECT sop($$('df', 'n1', 'delay', '-1h', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1 month -3 days', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1 day -1 second', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '-1 month 60 days', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '101 years', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '2000000 days', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '9000000 hours', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '100 years', 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', NULL, 'df_a', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'skip_late_after', $$'-1s'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'skip_late_after', $$'200 years'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'skip_late_after', $$'0'$$);

\echo --- names and the SOP itself
SELECT sop($$('df', '', 'delay', '1h', 'df_a', NULL)$$);
SELECT sop($$('df', NULL, 'delay', '1h', 'df_a', NULL)$$);
SELECT sop($$('nobody', 'n1', 'delay', '1h', 'df_a', NULL)$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id) VALUES ('')$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id) VALUES (NULL)$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('df', '')$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id, delay_from) VALUES ('df', 'then')$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id, reentry) VALUES ('df', 'maybe')$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id, owner) VALUES ('df', NULL)$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'owner', '4000000000');
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'delay_from', $$'previous'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'exit_events', $$'{X,NULL}'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'exit_events', $$'{X,""}'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'exit_events', $$'{{X,Y},{Z,W}}'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'exit_events', 'NULL');
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL), ('df', 'n2', 'delay', '1h', 'df_a', NULL)$$, 'max_steps', '1');
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'max_steps', '0');
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'subject_relation', $$'pg_class'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'subject_relation, subject_key', $$'pg_class', 'nothing'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'subject_relation, subject_key', $$'pg_class', 'ctid'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'subject_relation, subject_key', $$4000000000, 'id'$$);
SELECT sop($$('df', 'n1', 'delay', '1h', 'df_a', NULL)$$, 'subject_relation, subject_key', $$'pg_class_oid_index', 'oid'$$);

\echo --- params
SELECT fault($$INSERT INTO sopflow.sop (sop_id) VALUES ('df'); INSERT INTO sopflow.sop_node (sop_id, node_id, params) VALUES ('df', 'n1', '[1]')$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id) VALUES ('df'); INSERT INTO sopflow.sop_node (sop_id, node_id, params) VALUES ('df', 'n1', '"x"')$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id) VALUES ('df'); INSERT INTO sopflow.sop_node (sop_id, node_id, params) VALUES ('df', 'n1', 'null')$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id) VALUES ('df'); INSERT INTO sopflow.sop_node (sop_id, node_id, params) VALUES ('df', 'n1', NULL)$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id) VALUES ('df'); INSERT INTO sopflow.sop_node (sop_id, node_id, max_attempts) VALUES ('df', 'n1', 0)$$);
SELECT fault($$INSERT INTO sopflow.sop (sop_id) VALUES ('df'); INSERT INTO sopflow.sop_node (sop_id, node_id, on_failure) VALUES ('df', 'n1', 'panic')$$);

\echo --- several faults: the first in the message, all in the detail
SELECT sop($$('df', 'n1', 'delay', '-1h', 'df_missing', 'n9'), ('df', 'n2', 'end', '0', 'df_a', NULL), ('df', 'n3', 'loop', '0', NULL, NULL)$$, 'skip_late_after', $$'-1h'$$);
-- unreachable ones all
SELECT sop($$('df', 'n1', 'delay', '0', 'df_a', NULL), ('df', 'n2', 'delay', '0', 'df_a', 'n3'), ('df', 'n3', 'end', '0', NULL, NULL)$$);
-- several SOPs of one transaction: one that is not valid refuses all
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('df1'), ('df2');
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('df1', 'n1'), ('df2', 'n1');
UPDATE sopflow.sop_node SET next = 'n2' WHERE sop_id = 'df2';
COMMIT;
SELECT count(*) FROM sopflow.sop WHERE sop_id LIKE 'df%';

DELETE FROM sopflow.action WHERE action = 'df_a';
DROP FUNCTION sop, fault;
