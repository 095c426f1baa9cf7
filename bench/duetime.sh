#!/usr/bin/env bash
# Arrival of the NOTIFY of delayed tasks minus their due time, with 0, 1 and 10 million other tasks in the future
source "$(dirname "$0")/lib.sh"
source "$BENCH/future.sh"
FUTURE=${FUTURE:-$(sized 0,1000000,10000000 0,100000)}
N=500 SPAN=$(sized 10 4)
SEND="INSERT INTO clients (client_id, happened_at) SELECT * FROM unnest(\$1::bigint[], \$2::timestamptz[])"
F1_SEND="INSERT INTO f1_job (payload, due_at) SELECT jsonb_build_object('i', i), t FROM unnest(\$1::int[], \$2::timestamptz[]) u (i, t)"
PGDATABASE=postgres q -c 'DROP DATABASE IF EXISTS bench_future WITH (FORCE)'

for future in $(tr , '\n' <<<"$FUTURE" | sort -n); do
	future_db "$future"
	A=() B=() C=() D=() E=()
	for ((i = 1; i <= ROUNDS; i++)); do
		q -c 'TRUNCATE clients'
		out=$(latency --due "$SPAN" --count $N --send "$F1_SEND" --poll 10 --fetch "$F1_CLAIM" --ack "$F1_ACK")
		A+=("$(field error_p50 <<<"$out")") B+=("$(field error_p99 <<<"$out")")
		out=$(latency --due "$SPAN" --count $N --send "$SEND" --listen bench)
		C+=("$(field error_p50 <<<"$out")") D+=("$(field error_p99 <<<"$out")") E+=("$(field error_min <<<"$out")")
	done
	F=("${A[@]}") S=("${C[@]}")
	report_absolute "$future future tasks: p50 (floor polls each 10 ms)" ms '<=' 1
	F=("${B[@]}") S=("${D[@]}")
	report_absolute "$future future tasks: p99" ms '<=' 4
	F=() S=("${E[@]}")
	report_absolute "$future future tasks: earliest" ms '>=' 0
done
