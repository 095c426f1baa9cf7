#!/usr/bin/env bash
# 1,000 tasks a second for five minutes under a held snapshot: capacity at the end over capacity at the start
source "$(dirname "$0")/lib.sh"
source "$BENCH/tasks.sh"
MINUTES=${MINUTES:-$(sized 5 0.5)}
BURST=20000 BURSTS=$(sized 9 3)
SECS=$(awk -v m="$MINUTES" 'BEGIN { printf "%d", m * 60 }')
# Each peer has a database of its own with a snapshot held in it.  Their steady
# phases run at the same time, their bursts one after another, while the
# consumers of the others are stopped.
peers=(call broadcast queue floor)
declare -A consumer_pid=() start=() end=() jobs_of=()
cleanup() {
	local p
	for p in "${consumer_pid[@]}"; do kill -CONT "$p" 2>/dev/null || true; done
	# shellcheck disable=SC2046
	kill $(jobs -p) 2>/dev/null || true
}
trap cleanup EXIT

drained_sql() {	# drained_sql PEER LAST
	case $1 in
		floor) echo "SELECT NOT EXISTS (SELECT 1 FROM f2_job WHERE id = $2)" ;;
		*) echo "SELECT NOT EXISTS (SELECT 1 FROM sopflow.task WHERE task_id = $2) AND NOT EXISTS (SELECT 1 FROM sopflow.offer WHERE task_id = $2)" ;;
	esac
}
insert_sql() {	# insert_sql PEER ROWS
	case $1 in
		floor) echo "INSERT INTO f2_job (payload) SELECT '{\"i\": 1}' FROM generate_series(1, $2);" ;;
		*) echo "INSERT INTO clients (name) SELECT 'a client' FROM generate_series(1, $2);" ;;
	esac
}
last_sql() { [ "$1" = floor ] && echo 'SELECT max(id) FROM f2_job;' || echo 'SELECT max(task_id) FROM sopflow.task;'; }

# wake PEER|all: only this peer's consumer runs, or all do
wake() {
	local p
	for p in "${!consumer_pid[@]}"; do
		if [ "$p" = "$1" ] || [ "$1" = all ]; then kill -CONT "${consumer_pid[$p]}"; else kill -STOP "${consumer_pid[$p]}"; fi
	done
}

# bursts PEER: median of tasks a second
bursts() {
	local peer=$1 i out last t0 t1 rates=()
	export PGDATABASE=snapshot_$peer
	wake "$peer"
	sleep 1
	for ((i = 0; i < BURSTS; i++)); do
		out=$(q <<-SQL
			SET enable_seqscan = off;
			BEGIN;
			$(insert_sql "$peer" $BURST)
			$(last_sql "$peer")
			COMMIT;
			SELECT extract(epoch FROM clock_timestamp());
		SQL
		)
		last=$(head -1 <<<"$out") t0=$(tail -1 <<<"$out")
		t1=$(await 120 2 "$(drained_sql "$peer" "$last")")
		rates+=("$(calc "$BURST / ($t1 - $t0)")")
		sleep 0.3
	done
	stats "${rates[@]}"
}

for peer in "${peers[@]}"; do
	fresh_db "snapshot_$peer"
	case $peer in
		floor)
			# its plan needs the statistics of a used table
			q -c "$(insert_sql floor $BURST)" -c 'VACUUM ANALYZE'
			consumer --fetch "$(f2_move 1000)" --commit --count 0 --poll 10 >/dev/null &
			consumer_pid[floor]=$!
			;;
		queue)
			make_sop queue 0
			# shellcheck disable=SC2059
			consumer --fetch "$(printf "$QUEUE_FETCH" 1000)" --ack "$QUEUE_ACK" --count 0 --listen bench >/dev/null &
			consumer_pid[queue]=$!
			;;
		*) make_sop "$peer" 0 ;;
	esac
	[ "$peer" = floor ] || q -c "$(insert_sql "$peer" $BURST)"
	sleep 3
	{ echo 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;'; exec sleep 100000; } | q >/dev/null &
done
sleep 1
for peer in "${peers[@]}"; do start[$peer]=$(bursts "$peer"); done

wake all
for peer in "${peers[@]}"; do
	insert_sql "$peer" 20 >"$BENCH_TMP/steady_$peer.sql"
	PGDATABASE=snapshot_$peer pgbench -n -c 1 -R 50 -T "$SECS" -f "$BENCH_TMP/steady_$peer.sql" >"$BENCH_TMP/steady_$peer.out" 2>&1 &
	jobs_of[$peer]=$!
done
for peer in "${peers[@]}"; do wait "${jobs_of[$peer]}"; done
sleep 3
for peer in "${peers[@]}"; do
	export PGDATABASE=snapshot_$peer
	held=$(q -c "SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'")
	dead=$(q -c "SELECT sum(n_dead_tup) FROM pg_stat_user_tables")
	note "$peer: $(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$BENCH_TMP/steady_$peer.out") x 20 tasks/s for $SECS s; snapshot $held transactions old, $dead dead rows"
done
for peer in "${peers[@]}"; do end[$peer]=$(bursts "$peer"); done

for peer in "${peers[@]}"; do
	note "$peer: tasks/s (median, least, most) at the start ${start[$peer]}, at the end ${end[$peer]}"
done
kept() { calc "${end[$1]%% *} / ${start[$1]%% *}"; }
F=("$(kept floor)")
for peer in call broadcast queue; do
	S=("$(kept $peer)")
	report_absolute "$peer: capacity kept after $MINUTES min" '' '>=' 0.95
done
