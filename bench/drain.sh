#!/usr/bin/env bash
# 100,000 due tasks carried out by one worker: a no-op function called, or broadcast; against a DELETE ... RETURNING loop inside the server
source "$(dirname "$0")/lib.sh"
source "$BENCH/tasks.sh"
N=$(sized 100000 20000)

# variant LABEL DELIVERY DELAY...
variant() {
	local label=$1 delivery=$2 nodes clients i plain=() loops=() notify=() twin=()
	shift 2
	nodes=$# clients=$((N / $#))
	fresh_db bench
	make_sop "$delivery" "$@"
	make_twins $((nodes - 1))
	S=()
	for ((i = 1; i <= ROUNDS; i++)); do
		plain+=("$(f2s_once "$N")")
		S+=("$(drain_once "$delivery" "$clients" "$N")")
		loops+=("$(tuned f2s_once "$N")")
		twin+=("$(twin_once "$clients" "$nodes")")
		[ "$delivery" != broadcast ] || notify+=("$(f2s_once "$N" floor)")
	done
	F=("${plain[@]}")
	report "$label" tasks/s '>=' 0.9
	F=("${loops[@]}")
	report "  against the loop with nested-loop plans" tasks/s -
	F=("${twin[@]}")
	report "  against the same rows moved by SQL" tasks/s -
	[ "$delivery" != broadcast ] || {
		F=("${notify[@]}")
		report "  against the loop with pg_notify" tasks/s -
	}
}
variant "call, 1 node" call 0
variant "call, 4 nodes due together" call 0 0 0 0
variant "call, 4 nodes one after another" call 0 '1 ms' '2 ms' '3 ms'
variant "broadcast, 1 node" broadcast 0
variant "broadcast, 4 nodes due together" broadcast 0 0 0 0
