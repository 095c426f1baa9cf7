#!/usr/bin/env bash
# 100,000 tasks by one consumer in C, fetch and ack_many in batches of 1000 and 100, against moving rows to a history in plain SQL
source "$(dirname "$0")/lib.sh"
source "$BENCH/tasks.sh"
N=$(sized 100000 20000)

# variant LABEL BATCH NODES [CONSUMER OPTION]...
variant() {
	local label=$1 batch=$2 nodes=$3 i floor=() loops=() offered=() due=()
	shift 3
	fresh_db bench
	# shellcheck disable=SC2046
	make_sop queue $(yes 0 | head -"$nodes")
	for ((i = 1; i <= ROUNDS; i++)); do
		floor+=("$(f2_once "$batch" "$N" "$@")")
		loops+=("$(tuned f2_once "$batch" "$N" "$@")")
		offered+=("$(consume_once offered "$batch" $((N / nodes)) "$N" "$@")")
		due+=("$(consume_once due "$batch" $((N / nodes)) "$N" "$@")")
	done
	F=("${floor[@]}")
	S=("${offered[@]}")
	report "$label, tasks on offer" tasks/s '>=' 1.0
	F=("${loops[@]}")
	report "  against the move with nested-loop plans" tasks/s -
	F=("${floor[@]}")
	S=("${due[@]}")
	report "$label, from the due time" tasks/s '>=' 1.0
}
variant "batch 1000, 1 node" 1000 1
variant "batch 100, 1 node" 100 1
variant "batch 1000, 1 node, pipelined" 1000 1 --pipeline
variant "batch 100, 1 node, pipelined" 100 1 --pipeline
# the worst case: of the tasks of a run only one goes at a time
variant "batch 1000, 4 nodes due together" 1000 4
