#!/usr/bin/env bash
# What an idle worker costs with 10 million tasks in the future, and whether a far-future INSERT wakes it
source "$(dirname "$0")/lib.sh"
source "$BENCH/future.sh"
FUTURE_N=$(sized 10000000 100000)
WINDOW=$(sized 120 15)
future_db "$FUTURE_N"
admin() { PGDATABASE=postgres q "$@"; }
admin -c 'ALTER SYSTEM SET autovacuum = off' -c 'SELECT pg_reload_conf()' >/dev/null
trap 'admin -c "ALTER SYSTEM SET autovacuum = on" -c "SELECT pg_reload_conf()" >/dev/null' EXIT
sleep 2

xacts() { admin -c "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'bench_future'"; }
statements() { admin -c "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE datname = 'bench_future'"; }
cpu_ms() {	# of the processes given
	local p t=0
	for p in "$@"; do
		if [ -r "/proc/$p/schedstat" ]; then
			t=$(calc "$t + $(cut -d' ' -f1 "/proc/$p/schedstat") / 1e6")
		else
			t=$(calc "$t + $(awk '{ print ($14 + $15) * 10 }' "/proc/$p/stat")")
		fi
	done
	echo "$t"
}
switches() {
	local p t=0
	for p in "$@"; do t=$((t + $(sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$p/status"))); done
	echo "$t"
}
per_minute() { calc "($2 - $1) * 60 / $WINDOW"; }

# window PID...: sets X (transactions), Q (statements), CPU (ms), W (wake-ups), each a minute
window() {
	local x0 q0 c0 w0
	x0=$(xacts) q0=$(statements) c0=$(cpu_ms "$@") w0=$(switches "$@")
	sleep "$WINDOW"
	c0=$(per_minute "$c0" "$(cpu_ms "$@")") w0=$(per_minute "$w0" "$(switches "$@")")
	sleep 2		# statistics are reported late
	X=$(per_minute "$x0" "$(xacts)") Q=$(per_minute "$q0" "$(statements)") CPU=$c0 W=$w0
}

consumer --fetch "$F1_CLAIM" --ack "$F1_ACK" --count 0 --poll 10 >/dev/null &
floor=$!
sleep 1
backend=$(admin -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'bench consumer'")
full=$WINDOW
WINDOW=15
window "$backend"
WINDOW=$full
kill $floor
FX=$X FQ=$Q FCPU=$CPU FW=$W
sleep 3

mapfile -t pids < <(worker_pids)
[ ${#pids[@]} -gt 0 ] || { say "no worker"; exit 1; }
window "${pids[@]}"
S=("$Q") F=("$FQ"); report_absolute "statements a minute" '' '<=' 0
S=("$X") F=("$FX"); report_absolute "transactions a minute" '' '<=' 4
S=("$W") F=("$FW"); report_absolute "wake-ups a minute" '' -
S=("$CPU") F=("$FCPU"); report_absolute "CPU ms a minute" '' -

echo "INSERT INTO far_clients (happened_at) VALUES (now() + interval '300 days');" >"$BENCH_TMP/far.sql"
counted() { PGDATABASE=bench_future q -c "SELECT coalesce(sum(value), 0) FROM sopflow.stats WHERE name = 'wakeups_commit'"; }
c0=$(counted) w0=$(switches "${pids[@]}")
pgbench -n -c 1 -t 1000 -M prepared -f "$BENCH_TMP/far.sql" >/dev/null 2>&1
w1=$(switches "${pids[@]}") c1=$(counted)
S=("$(calc "$c1 - $c0")") F=(); report_absolute "wakeups_commit during 1,000 far-future INSERTs" '' '<=' 0
# by the system's count of times the worker slept; one reconcile may fall into it
S=($((w1 - w0))) F=(); report_absolute "  its sleeps meanwhile" '' '<=' 3
