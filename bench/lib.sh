# shellcheck shell=bash disable=SC2034
# What the scripts of this folder share.  run.sh has started a server and set
# BENCH_TMP and BENCH_RESULTS before.
set -euo pipefail
: "${BENCH_TMP:?run this through bench/run.sh}"
BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$BENCH/../tools/lib.sh"
export PGOPTIONS="-c client_min_messages=warning"
ROUNDS=${ROUNDS:-$([ -n "${QUICK:-}" ] && echo 2 || echo 5)}

quick() { [ -n "${QUICK:-}" ]; }
sized() { quick && echo "$2" || echo "$1"; }	# sized FULL QUICK
q() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
note() { printf '    %s\n' "$*"; }

# timed < SQL: milliseconds, by the server's clock, in one session
timed() {
	{
		echo "SELECT clock_timestamp() AS bench_t0 \\gset"
		cat
		echo "SELECT round(extract(epoch FROM clock_timestamp() - :'bench_t0'::timestamptz) * 1000, 3);"
	} | q | tail -1
}

# field NAME < "a=1 b=2": the value
field() { tr ' ' '\n' | sed -n "s/^$1=//p"; }
calc() { awk "BEGIN { printf \"%.6g\", $* }"; }

# median min max of the arguments
stats() {
	printf '%s\n' "$@" | sort -g | awk '
		{ a[NR] = $1 }
		END { m = NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2; print m, a[1], a[NR] }'
}

# "median (min-max)" of the arguments
summary() {
	stats "$@" | awk '
		function f(x) { return x >= 10000 || x <= -10000 ? sprintf("%d", x) : sprintf("%.4g", x) }
		{ printf "%s (%s-%s)", f($1), f($2), f($3) }'
}

# Each measure leaves one figure a round in S (sopflow) and F (floor).
S=() F=()
start_measure() { S=() F=(); }

judge() {	# "figure ..." op bar
	awk -v x="${1%% *}" -v op="$2" -v bar="$3" 'BEGIN { print (op == "<=" ? x <= bar : x >= bar) ? "met" : "MISSED" }'
}

keep() { printf '%s\t' "${SCRIPT:-$(basename "$0" .sh)}" "$@" >>"$BENCH_RESULTS"; echo >>"$BENCH_RESULTS"; }

# report LABEL UNIT OP BAR: the bar is on the ratio sopflow / floor of each round.
# OP '-' prints the ratio without a bar.
report() {
	local label=$1 unit=$2 op=$3 bar=${4:-} s f r i verdict='' ratios=()
	for i in "${!S[@]}"; do ratios+=("$(calc "${S[$i]} / ${F[$i]}")"); done
	s=$(summary "${S[@]}") f=$(summary "${F[@]}") r=$(summary "${ratios[@]}")
	[ "$op" = - ] || verdict="bar $op $bar: $(judge "$(stats "${ratios[@]}")" "$op" "$bar")"
	printf '  %-44s sopflow %s, floor %s %s, ratio %s  %s\n' "$label" "$s" "$f" "$unit" "$r" "$verdict"
	keep "$label" "$unit" "$s" "$f" "$r" "$verdict"
}

# report_absolute LABEL UNIT OP BAR: the bar is on sopflow's own figure; the
# floor, if there is one, stands beside it.
report_absolute() {
	local label=$1 unit=$2 op=$3 bar=${4:-} s f=- verdict=''
	[ ${#F[@]} = 0 ] || f=$(summary "${F[@]}")
	s=$(summary "${S[@]}")
	[ "$op" = - ] || verdict="bar $op $bar: $(judge "$(stats "${S[@]}")" "$op" "$bar")"
	printf '  %-44s sopflow %s, floor %s %s  %s\n' "$label" "$s" "$f" "$unit" "$verdict"
	keep "$label" "$unit" "$s" "$f" - "$verdict"
}

# fresh_db NAME: an empty database with the extension, its worker up
fresh_db() {
	export PGDATABASE=postgres
	q -c "DROP DATABASE IF EXISTS $1 WITH (FORCE)" -c "CREATE DATABASE $1"
	export PGDATABASE=$1
	q -c 'CREATE EXTENSION sopflow'
	await 60 50 "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'sopflow worker' AND datname = current_database()" >/dev/null
	floor_tables
}

worker_pids() { q -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'sopflow worker' AND datname = current_database()"; }
# The plain-SQL floors, the same statements as those of the peer harness:
# F1 marks rows, F2 moves them to a history, F2s does so inside the server.
F1_CLAIM="UPDATE f1_job j SET status = 1, locked_until = now() + interval '60 s'
	FROM (SELECT id FROM f1_job WHERE status = 0 AND due_at <= now() ORDER BY due_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED) c
	WHERE j.id = c.id RETURNING j.payload ->> 'i', j.id, 0"
# shellcheck disable=SC2016
F1_ACK='UPDATE f1_job SET status = 2 WHERE id = ANY ($1::bigint[]) AND $2::bigint[] IS NOT NULL'
f2_move() {	# f2_move BATCH
	echo "WITH c AS (SELECT id FROM f2_job WHERE due_at <= now() ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED),
	d AS (DELETE FROM f2_job j USING c WHERE j.id = c.id RETURNING j.*)
	INSERT INTO f2_history (id, due_at, payload, done_at) SELECT id, due_at, payload, clock_timestamp() FROM d RETURNING id, payload"
}
floor_tables() {
	q <<-SQL
	CREATE TABLE f1_job (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, due_at timestamptz NOT NULL DEFAULT now(),
		status smallint NOT NULL DEFAULT 0, locked_until timestamptz, payload jsonb NOT NULL);
	CREATE INDEX ON f1_job (due_at, id) WHERE status = 0;
	CREATE TABLE f2_job (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, due_at timestamptz NOT NULL DEFAULT now(), payload jsonb NOT NULL);
	CREATE INDEX ON f2_job (due_at, id);
	CREATE TABLE f2_history (id bigint, due_at timestamptz, payload jsonb, done_at timestamptz);
	CREATE PROCEDURE f2_drain(channel text DEFAULT NULL) LANGUAGE plpgsql AS \$\$
	DECLARE n bigint;
	BEGIN
		LOOP
			IF channel IS NULL THEN
				WITH c AS (SELECT id FROM f2_job WHERE due_at <= now() ORDER BY due_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED),
				d AS (DELETE FROM f2_job j USING c WHERE j.id = c.id RETURNING j.*)
				INSERT INTO f2_history (id, due_at, payload, done_at) SELECT id, due_at, payload, clock_timestamp() FROM d;
				GET DIAGNOSTICS n = row_count;
			ELSE
				WITH c AS (SELECT id FROM f2_job WHERE due_at <= now() ORDER BY due_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED),
				d AS (DELETE FROM f2_job j USING c WHERE j.id = c.id RETURNING j.*),
				h AS (INSERT INTO f2_history (id, due_at, payload, done_at) SELECT id, due_at, payload, clock_timestamp() FROM d RETURNING id, due_at, payload)
				SELECT count(pg_notify(channel, jsonb_build_object('v', 1, 'type', 'task', 'task_id', id, 'sop', 'bench', 'node', 'n1', 'run_id', id,
					'subject', (payload ->> 'i'), 'action', 'NOOP', 'params', '{}'::jsonb, 'attempt', 1, 'due_at', due_at)::text)) INTO n FROM h;
			END IF;
			COMMIT;
			EXIT WHEN n = 0;
		END LOOP;
	END \$\$;
	SQL
}

# make_sop DELIVERY DELAY...: clients, watched as event CREATED at the time in
# happened_at, and the SOP "bench", parallel, with one node for each delay
make_sop() {
	local delivery=$1 handler=NULL i=0 d values=
	shift
	[ "$delivery" = call ] && handler="'public.noop'"
	for d in "$@"; do
		i=$((i + 1))
		values+="${values:+, }('bench', 'n$i', '$d', 'NOOP')"
	done
	q <<-SQL
	CREATE TABLE clients (client_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'a client',
		phone text, category text, happened_at timestamptz NOT NULL DEFAULT now());
	CREATE FUNCTION public.noop(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS \$\$BEGIN RETURN '{}'; END\$\$;
	BEGIN;
	INSERT INTO sopflow.action (action, delivery, handler, channel) VALUES ('NOOP', '$delivery', $handler, 'bench');
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('bench', 'CREATED');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES $values;
	COMMIT;
	SELECT sopflow.watch('clients', 'CREATED', 'client_id', time_column => 'happened_at');
	SQL
}
