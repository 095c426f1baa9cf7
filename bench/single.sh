#!/usr/bin/env bash
# Single-row client INSERTs, pgbench -c 2: watched, against INSERT and hand-written INSERTs of the same run and task rows
source "$(dirname "$0")/lib.sh"
SECS=$(sized 10 3)
fresh_db bench
make_sop queue '24 h' '72 h' '168 h' '336 h'
q <<SQL
CREATE TABLE twin_clients (LIKE clients INCLUDING ALL);
CREATE TABLE plain_clients (LIKE clients INCLUDING ALL);
CREATE TABLE twin_run (LIKE sopflow.run INCLUDING ALL);
CREATE TABLE twin_task (LIKE sopflow.task INCLUDING ALL);
CREATE SEQUENCE twin_seq CACHE 32;
SQL
COLUMNS_="(name, phone, category) VALUES ('A client', '555-1234', 'phone')"
TASKS="SELECT run_id * 65536 + n.node, now() + n.delay, 1, n.node, 7, 0, NULL
	FROM r, (VALUES (0::smallint, interval '24 h'), (1, '72 h'), (2, '168 h'), (3, '336 h')) n (node, delay)"
cat >"$BENCH_TMP/watched.sql" <<<"INSERT INTO clients $COLUMNS_;"
cat >"$BENCH_TMP/plain.sql" <<<"INSERT INTO plain_clients $COLUMNS_;"
# what one would write by hand: a transaction of two statements
cat >"$BENCH_TMP/hand.sql" <<SQL
BEGIN;
INSERT INTO twin_clients $COLUMNS_ RETURNING client_id \gset
WITH r AS (INSERT INTO twin_run VALUES (nextval('twin_seq'), now(), now(), 0, 1, 'bench', :client_id::bigint::text, NULL) RETURNING run_id)
INSERT INTO twin_task $TASKS;
COMMIT;
SQL
# the same in one round trip: the hardest floor there is in SQL
cat >"$BENCH_TMP/one.sql" <<SQL
WITH c AS (INSERT INTO twin_clients $COLUMNS_ RETURNING client_id),
r AS (INSERT INTO twin_run SELECT nextval('twin_seq'), now(), now(), 0, 1, 'bench', client_id::text, NULL FROM c RETURNING run_id)
INSERT INTO twin_task $TASKS;
SQL
tps() { pgbench -n -c 2 -j 2 -T "$SECS" -M prepared -f "$BENCH_TMP/$1.sql" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'; }
H=() O=() P=()
for ((i = 1; i <= ROUNDS; i++)); do
	q -c 'TRUNCATE clients, sopflow.run, sopflow.task, twin_clients, twin_run, twin_task, plain_clients' -c CHECKPOINT
	if ((i % 2)); then
		H+=("$(tps hand)") O+=("$(tps one)")
		S+=("$(tps watched)")
	else
		S+=("$(tps watched)")
		O+=("$(tps one)") H+=("$(tps hand)")
	fi
	P+=("$(tps plain)")
done
F=("${H[@]}")
report "INSERT, multi-row INSERT, in a transaction" tx/s '>=' 0.95
F=("${O[@]}")
report "  against all in one statement" tx/s -
F=("${P[@]}")
report "  against the INSERT unwatched" tx/s -
