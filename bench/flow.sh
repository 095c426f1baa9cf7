#!/usr/bin/env bash
# What do a condition, a wait that is answered, a fork of three with its join and a sub-SOP cost, against a plain chain of as many nodes?
source "$(dirname "$0")/lib.sh"
N=$(sized 20000 2000)

# All of it is carried out by hand, by the clock of a day far off, so that the
# worker has no part in it.  A node without action does nothing: what is
# measured is the flow.
T0='2100-01-04 00:00+00'
fresh_db bench
q >/dev/null <<-SQL
	CREATE TABLE clients (client_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, happened_at timestamptz DEFAULT '$T0');
	CREATE TABLE payments (client_id bigint, happened_at timestamptz DEFAULT '$T0');
	-- each takes the event's time, so that all nodes are due then
	BEGIN;
	INSERT INTO sopflow.sop (sop_id) VALUES ('chain2'), ('chain5'), ('condition'), ('wait'), ('fork'), ('sub'), ('subbed');
	INSERT INTO sopflow.sop_node (sop_id, node_id, type, next, otherwise, condition, wait_event, sop_ref) VALUES
		('chain2', 'a', 'delay', 'b', NULL, NULL, NULL, NULL), ('chain2', 'b', 'delay', NULL, NULL, NULL, NULL, NULL),
		('chain5', 'a', 'delay', 'b', NULL, NULL, NULL, NULL), ('chain5', 'b', 'delay', 'c', NULL, NULL, NULL, NULL),
		('chain5', 'c', 'delay', 'd', NULL, NULL, NULL, NULL), ('chain5', 'd', 'delay', 'e', NULL, NULL, NULL, NULL),
		('chain5', 'e', 'delay', NULL, NULL, NULL, NULL, NULL),
		('condition', 'a', 'condition', 'b', NULL, 'event.n > 0', NULL, NULL), ('condition', 'b', 'delay', NULL, NULL, NULL, NULL, NULL),
		('wait', 'a', 'wait', 'b', NULL, NULL, 'PAID', NULL), ('wait', 'b', 'delay', NULL, NULL, NULL, NULL, NULL),
		('fork', 'f', 'delay', NULL, NULL, NULL, NULL, NULL), ('fork', 'a', 'delay', 'j', NULL, NULL, NULL, NULL),
		('fork', 'b', 'delay', 'j', NULL, NULL, NULL, NULL), ('fork', 'c', 'delay', 'j', NULL, NULL, NULL, NULL),
		('fork', 'j', 'delay', NULL, NULL, NULL, NULL, NULL),
		('sub', 'a', 'sop', NULL, NULL, NULL, NULL, 'subbed'), ('subbed', 'a', 'delay', NULL, NULL, NULL, NULL, NULL);
	INSERT INTO sopflow.sop_link (sop_id, from_node, to_node) VALUES ('fork', 'f', 'a'), ('fork', 'f', 'b'), ('fork', 'f', 'c');
	COMMIT;
	SELECT sopflow.watch('clients', 'CREATED', 'client_id', ARRAY['n']::name[], time_column => 'happened_at');
	SELECT sopflow.watch('payments', 'PAID', 'client_id', time_column => 'happened_at');
	SET sopflow.clock = '$T0';
	SELECT sopflow.run_due();
	CREATE PROCEDURE drain() LANGUAGE plpgsql AS \$\$
	BEGIN
		WHILE sopflow.run_due(1000) > 0 LOOP
			COMMIT;
		END LOOP;
	END \$\$;
SQL

# once SOP TASKS [PAYMENTS]: microseconds a run
once() {
	local pay='' ms
	[ -z "${3:-}" ] || pay="INSERT INTO payments (client_id) SELECT client_id FROM clients;"
	q -c 'TRUNCATE clients, payments, sopflow.run, sopflow.run_state, sopflow.task, sopflow.held, sopflow.history, sopflow.run_history' \
		-c "UPDATE sopflow.sop SET trigger_event = CASE sop_id WHEN '$1' THEN 'CREATED' END" \
		-c "INSERT INTO clients (n) SELECT 1 FROM generate_series(1, $N)" \
		-c 'VACUUM ANALYZE sopflow.run' -c 'VACUUM ANALYZE sopflow.task' -c CHECKPOINT
	sleep 0.2
	ms=$(timed <<<"SET sopflow.clock = '$T0'; $pay CALL drain();")
	[ "$(q -c "SELECT count(*) FROM sopflow.history WHERE status = 'd'")" = $((N * $2)) ] || { say "not every task of $1 is done" >&2; exit 1; }
	calc "$ms * 1000 / $N"
}

# compare LABEL SOP CHAIN TASKS [PAYMENTS]
compare() {
	local i
	start_measure
	for ((i = 1; i <= ROUNDS; i++)); do
		F+=("$(once "$3" "$4")")
		S+=("$(once "$2" "$4" "${5:-}")")
	done
	report "$1" 'us/run' -
}
compare "condition and a node, against 2 nodes" condition chain2 2
compare "wait answered and a node, against 2 nodes" wait chain2 2 payments
compare "fork of 3 with join, against 5 nodes" fork chain5 5
compare "sub-SOP of 1 node, against 2 nodes" sub chain2 2
