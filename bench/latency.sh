#!/usr/bin/env bash
# From the commit of a task due now to its NOTIFY at a C client, 50 a second on an idle system
source "$(dirname "$0")/lib.sh"
N=$(sized 1000 250)
SEND="INSERT INTO clients (client_id) VALUES (\$1::bigint)"
FETCH="SELECT subject_id, task_id, lease_token FROM sopflow.fetch(ARRAY['NOOP'], 1000)"
ACK="SELECT count(*) FROM sopflow.ack_many(\$1::bigint[], \$2::bigint[])"
F1_SEND="WITH x AS (INSERT INTO f1_job (payload) VALUES (jsonb_build_object('i', \$1::int)) RETURNING payload ->> 'i' AS i) SELECT pg_notify('f1', i) FROM x"

declare -A V=()
measure() {	# measure NAME ARGUMENT...: adds each figure to V[NAME.figure]
	local name=$1 out k
	shift
	out=$(latency --rate 50 --count "$N" "$@")
	for k in seen_p50 seen_p99 call_p50 call_p99 hand_p50 hand_p99; do V[$name.$k]+=" $(field $k <<<"$out")"; done
}
for ((i = 1; i <= ROUNDS; i++)); do
	fresh_db bench
	measure f1 --send "$F1_SEND" --listen f1 --fetch "$F1_CLAIM" --ack "$F1_ACK"
	make_sop broadcast 0
	sleep 1
	measure broadcast --send "$SEND" --listen bench
	fresh_db bench
	make_sop queue 0
	sleep 1
	measure queue --send "$SEND" --listen bench --fetch "$FETCH" --ack "$ACK"
done
show() {	# show LABEL PEER FIGURE FLOORFIGURE OP BAR
	read -ra S <<<"${V[$2.$3]:-}"
	read -ra F <<<"${V[f1.$4]}"
	report_absolute "$1" ms "$5" "${6:-}"
}
show "broadcast: commit seen to NOTIFY, p50" broadcast seen_p50 hand_p50 '<=' 0.7
show "broadcast: commit seen to NOTIFY, p99" broadcast seen_p99 hand_p99 '<=' 3
show "queue doorbell: commit seen to NOTIFY, p50" queue seen_p50 hand_p50 '<=' 0.7
show "queue doorbell: commit seen to NOTIFY, p99" queue seen_p99 hand_p99 '<=' 3
show "broadcast: commit seen to task in hand, p50" broadcast seen_p50 hand_p50 -
show "broadcast: commit seen to task in hand, p99" broadcast seen_p99 hand_p99 -
show "queue: commit seen to task in hand, p50" queue hand_p50 hand_p50 -
show "queue: commit seen to task in hand, p99" queue hand_p99 hand_p99 -
show "broadcast: call to NOTIFY, p50" broadcast call_p50 call_p50 -
show "queue: call to NOTIFY, p50" queue call_p50 call_p50 -
