#!/usr/bin/env bash
# Deliveries a second of the relay beside a web server that answers in 50 ms, with 100 to 500 in flight, against what these could be at most
source "$(dirname "$0")/lib.sh"
source "$BENCH/tasks.sh"
N=$(sized 40000 5000)
RELAY=$BENCH_TMP/server/tree/src/client/sopflow

${CC:-cc} -O2 -Wall -o "$BENCH_TMP/bin/relay_server" "$BENCH/../test/relay_server.c" -lssl -lcrypto
"$BENCH_TMP/bin/relay_server" - >"$BENCH_TMP/ports" &
server=$!
trap 'kill $server' EXIT
until port=$(sed -n 's/^http //p' "$BENCH_TMP/ports") && [ -n "$port" ]; do sleep 0.05; done

# CPU seconds of a process so far
cpu_of() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/$1/stat"; }

# relay_once IN_FLIGHT: deliveries a second, from the start of the relay until the last outcome is in the table;
# also sets CPU (microseconds of the relay a delivery) and RSS (MB)
relay_once() {
	local begin end relay
	empty_storage
	q -c "INSERT INTO clients (name) SELECT 'client ' || g FROM generate_series(1, $N) g"
	await 60 50 "SELECT count(*) = $N FROM sopflow.offer" >/dev/null
	tidy sopflow.run sopflow.offer
	printf '%s\n' "max_in_flight: $1" 'batch: 500' 'targets:' \
		"  web: {type: webhook, url: 'http://127.0.0.1:$port/delay/50', concurrency: $1}" 'actions: {NOOP: web}' >"$BENCH_TMP/relay.yml"
	begin=$(date +%s.%N)
	"$RELAY" -q relay --config "$BENCH_TMP/relay.yml" &
	relay=$!
	end=$(await 300 20 "SELECT count(*) = $N FROM sopflow.history")
	CPU=$(calc "$(cpu_of $relay) / $N * 1e6")
	RSS=$(awk '/^VmHWM/ { print $2 / 1024 }' /proc/$relay/status)
	kill $relay
	wait $relay
	RATE=$(calc "$N / ($end - $begin)")
}

fresh_db bench
make_sop queue 0
for in_flight in 100 200 400 500; do
	start_measure
	cpu=() rss=()
	for ((i = 1; i <= ROUNDS; i++)); do
		relay_once $in_flight
		S+=("$RATE") F+=("$((in_flight * 20))") cpu+=("$CPU") rss+=("$RSS")
	done
	report "$in_flight in flight" deliveries/s -
	note "the relay's CPU a delivery $(summary "${cpu[@]}") us, its memory at most $(summary "${rss[@]}") MB"
done
