#!/usr/bin/env bash
# The drain and queue figures with tables analysed while empty, against tables analysed when full
source "$(dirname "$0")/lib.sh"
source "$BENCH/tasks.sh"
N=$(sized 100000 20000)

# analyse at the moments chosen here and at no other
autovacuum() { q -c "ALTER SYSTEM SET autovacuum = $1" -c 'SELECT pg_reload_conf()' >/dev/null; }
trap 'autovacuum on' EXIT
autovacuum off

# variant LABEL DELIVERY COMMAND...
variant() {
	local label=$1 delivery=$2 i
	shift 2
	fresh_db bench
	make_sop "$delivery" 0 0 0 0
	S=() F=()
	for ((i = 1; i <= ROUNDS; i++)); do
		if ((i % 2)); then
			S+=("$(STATS=empty; "$@")")
			F+=("$(STATS=analysed; "$@")")
		else
			F+=("$(STATS=analysed; "$@")")
			S+=("$(STATS=empty; "$@")")
		fi
	done
	report "$label" tasks/s '>=' 0.95
}
variant "drain, call, 4 nodes" call drain_once call $((N / 4)) "$N"
variant "drain, broadcast, 4 nodes" broadcast drain_once broadcast $((N / 4)) "$N"
variant "queue, batch 1000, on offer" queue consume_once offered 1000 $((N / 4)) "$N"
variant "queue, batch 1000, from the due time" queue consume_once due 1000 $((N / 4)) "$N"
variant "queue, batch 100, on offer" queue consume_once offered 100 $((N / 4)) "$N"
