# shellcheck shell=bash
# Loading due tasks and timing how they are carried out: for drain, queue and
# analysed.  STATS says what the planner knows when the clock starts:
#   fresh     VACUUM ANALYZE after loading (the default)
#   analysed  ANALYZE after loading
#   empty     ANALYZE before loading, while the tables are empty
STATS=${STATS:-fresh}

# tidy TABLE...: between loading and measuring
tidy() {
	local t
	for t in "$@"; do
		case $STATS in
			fresh) q -c "VACUUM ANALYZE $t" ;;
			analysed) q -c "ANALYZE $t" ;;
		esac
	done
	q -c CHECKPOINT
	sleep 0.3
}

STORAGE="sopflow.run, sopflow.task, sopflow.offer, sopflow.history, sopflow.run_history"
empty_storage() {
	q -c "TRUNCATE clients, f2_job, f2_history, $STORAGE"
	[ "$STATS" != empty ] || q -c ANALYZE
}

# The rows of sopflow moved by the same loop in plain SQL: what the storage
# costs by itself.  A run ends with its last node.
make_twins() {	# make_twins LAST_NODE
	q <<-SQL
	CREATE TABLE twin_run (LIKE sopflow.run INCLUDING ALL);
	CREATE TABLE twin_task (LIKE sopflow.task INCLUDING ALL);
	CREATE TABLE twin_history (LIKE sopflow.history INCLUDING ALL);
	CREATE TABLE twin_run_history (LIKE sopflow.run_history INCLUDING ALL);
	CREATE PROCEDURE twin_drain() LANGUAGE plpgsql AS \$\$
	DECLARE n bigint;
	BEGIN
		LOOP
			WITH c AS (SELECT task_id FROM twin_task WHERE due_at <= now() ORDER BY due_at, task_id LIMIT 1000 FOR UPDATE SKIP LOCKED),
			d AS (DELETE FROM twin_task t USING c WHERE t.task_id = c.task_id RETURNING t.*),
			h AS (INSERT INTO twin_history SELECT task_id, due_at, clock_timestamp(), version_id, node, attempt + 1, 'd', NULL, '{}' FROM d),
			r AS (DELETE FROM twin_run t USING d WHERE t.run_id = d.task_id / 65536 AND d.node = $1 RETURNING t.*),
			e AS (INSERT INTO twin_run_history SELECT run_id, event_at, started_at, clock_timestamp(), version_id, 'completed', sop_id, subject_id, context, NULL FROM r)
			SELECT count(*) INTO n FROM d;
			COMMIT;
			EXIT WHEN n = 0;
		END LOOP;
	END \$\$;
	SQL
}

# due_in SECONDS CLIENTS: their tasks are due in that time; sets T (epoch) and LAST
due_in() {
	T=$(awk -v n="$(date +%s)" -v s="$1" 'BEGIN { printf "%d", n + s }')
	q -c "INSERT INTO clients (happened_at) SELECT to_timestamp($T) FROM generate_series(1, $2)"
	LAST=$(q -c "SELECT task_id FROM sopflow.task ORDER BY due_at DESC, task_id DESC LIMIT 1")
}
before_due() {
	local now
	now=$(date +%s.%N)
	awk -v n="$now" -v t="$T" 'BEGIN { exit !(n < t - 0.2) }' || { say "loading took too long: tasks were due before the clock started"; exit 1; }
}

# drain_once DELIVERY CLIENTS TASKS: tasks a second by the worker, from the due
# time until the last task's commit is seen
drain_once() {
	local delivery=$1 clients=$2 n=$3 end got sink=
	empty_storage
	due_in "${LOAD_SECONDS:-$(sized 10 6)}" "$clients"
	if [ "$delivery" = broadcast ]; then
		sink bench "$n" >"$BENCH_TMP/sink" &
		sink=$!
	fi
	tidy sopflow.run sopflow.task
	before_due
	end=$(await 300 5 "SELECT NOT EXISTS (SELECT 1 FROM sopflow.task WHERE task_id = $LAST)")
	got=$(q -c "SELECT count(*) FROM sopflow.history WHERE status = 'd'")
	[ "$got" = "$n" ] || { say "$got of $n tasks are done after the last one" >&2; exit 1; }
	[ -z "$sink" ] || wait "$sink"
	calc "$n / ($end - $T)"
}

# The planner joins each batch by hashing the whole table when that has 100,000
# rows; with nested loops the same SQL is up to four times as fast.  The floor of
# the bars is the SQL as the planner runs it; this one is shown beside it.
TUNED="-c enable_hashjoin=off -c enable_mergejoin=off"
tuned() { PGOPTIONS="$PGOPTIONS $TUNED" "$@"; }

f2_load() { q -c "TRUNCATE f2_job, f2_history" -c "INSERT INTO f2_job (payload) SELECT jsonb_build_object('i', g) FROM generate_series(1, $1) g"; }

# f2s_once TASKS [CHANNEL]: the floor of the worker
f2s_once() {
	local sink=
	f2_load "$1"
	if [ -n "${2:-}" ]; then
		sink "$2" "$1" >"$BENCH_TMP/sink" &
		sink=$!
	fi
	STATS=fresh tidy f2_job f2_history
	calc "$1 * 1000 / $(timed <<<"CALL f2_drain(${2:+'$2'});")"
	[ -z "$sink" ] || wait "$sink"
}

# twin_once CLIENTS NODES
twin_once() {
	q -c 'TRUNCATE twin_run, twin_task, twin_history, twin_run_history' \
		-c "INSERT INTO twin_run SELECT g, now(), now(), 0, 1, 'bench', g::text, NULL FROM generate_series(1, $1) g" \
		-c "INSERT INTO twin_task SELECT g * 65536::bigint + n, now(), 1, n, g % 64, 0, NULL FROM generate_series(1, $1) g, generate_series(0, $2 - 1) n"
	STATS=fresh tidy twin_run twin_task twin_history twin_run_history
	calc "$1 * $2 * 1000 / $(tuned timed <<<"CALL twin_drain();")"
}

WORK_COLUMNS="task_id, lease_token, run_id, sop_id, node_id, subject_id, action, params, context, attempt, due_at, lease_until"
QUEUE_FETCH="SELECT $WORK_COLUMNS FROM sopflow.fetch(ARRAY['NOOP'], %d)"
QUEUE_ACK="SELECT sopflow.ack_many(\$1::bigint[], \$2::bigint[])"

# consume_once FROM BATCH CLIENTS TASKS [CONSUMER OPTION]...: tasks a second of
# one consumer.  FROM offered: the worker had offered all tasks before.  FROM
# due: from the due time on, so that the worker's part is in it.
consume_once() {
	local from=$1 batch=$2 clients=$3 n=$4 fetch out
	shift 4
	# shellcheck disable=SC2059
	fetch=$(printf "$QUEUE_FETCH" "$batch")
	empty_storage
	if [ "$from" = offered ]; then
		q -c "INSERT INTO clients (name) SELECT 'a client' FROM generate_series(1, $clients)"
		await 60 50 "SELECT count(*) = $clients FROM sopflow.offer" >/dev/null
		tidy sopflow.run sopflow.task sopflow.offer
		out=$(consumer --fetch "$fetch" --ack "$QUEUE_ACK" --count "$n" --listen bench "$@")
	else
		due_in "${LOAD_SECONDS:-$(sized 10 6)}" "$clients"
		tidy sopflow.run sopflow.task
		before_due
		out=$(consumer --fetch "$fetch" --ack "$QUEUE_ACK" --count "$n" --listen bench --start "$T" "$@")
	fi
	[ "$(q -c "SELECT count(*) FROM sopflow.history WHERE status = 'd'")" = "$n" ] || { say "not every task is done" >&2; exit 1; }
	field per_s <<<"$out"
}

# f2_once BATCH TASKS [CONSUMER OPTION]...: the floor of the consumer
f2_once() {
	local batch=$1 n=$2
	shift 2
	f2_load "$n"
	STATS=fresh tidy f2_job f2_history
	consumer --fetch "$(f2_move "$batch")" --commit --count "$n" "$@" | field per_s
}
