#!/usr/bin/env bash
# 100,000 clients by one INSERT ... SELECT with a 4-node parallel SOP watched, against the same rows by plain INSERT ... SELECT
source "$(dirname "$0")/lib.sh"
N=$(sized 100000 20000)
fresh_db bench
make_sop queue '24 h' '72 h' '168 h' '336 h'
q <<SQL
CREATE TABLE twin_clients (LIKE clients INCLUDING ALL);
CREATE TABLE twin_run (LIKE sopflow.run INCLUDING ALL);
CREATE TABLE twin_task (LIKE sopflow.task INCLUDING ALL);
CREATE TABLE plain_clients (LIKE clients INCLUDING ALL);
SQL
INSERT="SELECT 'Client ' || g, '555-' || g, 'phone' FROM generate_series(1, $N) g;"

# The rows that the floor writes are those that sopflow wrote, kept aside with
# hint bits set, so that both write the same bytes in the same order.
q -c "INSERT INTO clients (name, phone, category) $INSERT" \
	-c "CREATE TABLE src_run AS SELECT * FROM sopflow.run" -c "CREATE TABLE src_task AS SELECT * FROM sopflow.task"
[ "$(q -c 'SELECT count(*) FROM src_task')" = $((N * 4)) ] || die "not every task was written"
q -c 'VACUUM ANALYZE src_run' -c 'VACUUM ANALYZE src_task'

clean() { q -c 'TRUNCATE clients, sopflow.run, sopflow.task, twin_clients, twin_run, twin_task, plain_clients RESTART IDENTITY' -c CHECKPOINT; }
sopflow_once() {
	clean
	S+=("$(timed <<<"INSERT INTO clients (name, phone, category) $INSERT")")
}
floor_once() {
	clean
	F+=("$(timed <<-SQL
		BEGIN;
		INSERT INTO twin_clients (name, phone, category) $INSERT
		INSERT INTO twin_run SELECT * FROM src_run;
		INSERT INTO twin_task SELECT * FROM src_task;
		COMMIT;
	SQL
	)")
}
# the same values computed by SQL instead of read from a table
computed_once() {
	clean
	C+=("$(timed <<-SQL
		BEGIN;
		INSERT INTO twin_clients (name, phone, category) $INSERT
		INSERT INTO twin_run SELECT g, now(), now(), 0, 1, 'bench', g::text, NULL FROM generate_series(1, $N) g;
		INSERT INTO twin_task SELECT g * 65536::bigint + n.node, now() + n.delay, 1, n.node, (g % 64)::smallint, 0, NULL
			FROM generate_series(1, $N) g, (VALUES (0::smallint, interval '24 h'), (1, '72 h'), (2, '168 h'), (3, '336 h')) n (node, delay);
		COMMIT;
	SQL
	)")
}
C=() P=()
for ((i = 1; i <= ROUNDS + 1; i++)); do
	if ((i % 2)); then
		floor_once; computed_once
		sopflow_once
	else
		sopflow_once
		computed_once; floor_once
	fi
	clean
	P+=("$(timed <<<"INSERT INTO plain_clients (name, phone, category) $INSERT")")
	# the first round warms the files up
	((i > 1)) || { S=() F=() C=() P=(); }
done
report "$N clients, $((N * 4)) tasks, copied floor" ms '<=' 1.15
F=("${C[@]}")
report "  against values computed by the SELECT" ms -
F=("${P[@]}")
report "  against the clients alone" ms -
