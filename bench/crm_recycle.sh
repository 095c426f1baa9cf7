#!/usr/bin/env bash
# 1,000,000 leads of which 100,000 are due: how long does recycle() take, how long are its transactions, what do others notice; the same by the worker; a changed parameter
source "$(dirname "$0")/lib.sh"
source "$BENCH/crm.sh"
LEADS=$(sized 1000000 50000) DUE=$(sized 100000 5000) PUBLIC=$(sized 20000 2000) BATCH=1000
BESIDE=$(sized 20000 2000)	# due leads while somebody works
AFTER_CHANGE=$(sized 50000 10000)	# leads to compute anew that are timed
SECS=$(sized 5 2)
fresh_db bench

# 50 leads a rep; the 1,000 reps before them have none and claim.  A tenth
# is due since some time in the last day.
q >/dev/null <<SQL
SELECT sopflow.create_crm('fn');
SET session_replication_role = replica;
INSERT INTO fn.sales_reps (name, category) SELECT 'rep ' || g, 'phone' FROM generate_series(1, 1000 + $LEADS / 50) g;
INSERT INTO fn.clients (name) SELECT 'client ' || g FROM generate_series(1, 1000) g;
INSERT INTO fn.opportunities (client_id, category, level, status, minor_status, owner_id, acquired_by, claimed_at, pooled_at, created_at, recycle_at)
	SELECT 1 + g % 1000, 'phone', 'A', 'BIND', NULL, 1001 + g / 50, 'CLAIM', at, at, at, at + interval '240 hours'
	FROM (SELECT g, sopflow.now() - CASE WHEN g % ($LEADS / $DUE) = 0 THEN interval '240 hours' + random() * interval '1 day' ELSE random() * interval '239 hours' END AS at
		FROM generate_series(0, $LEADS - 1) g) l;
INSERT INTO fn.opportunity_log (logged_at, opportunity_id, operation, ok, from_owner, to_owner, from_status, to_status, event)
	SELECT claimed_at, opportunity_id, 'CLAIM', true, NULL, owner_id, 'UNBIND', 'BIND', 'function' FROM fn.opportunities;
INSERT INTO fn.opportunities (client_id, category, level, pooled_at) SELECT 1 + g % 1000, 'phone', 'A', now() FROM generate_series(1, $PUBLIC) g;
RESET session_replication_role;
CREATE TABLE step (part text, leads int, ms float, cpu float);
-- one transaction after another, until nothing is due
CREATE PROCEDURE recycle_all(part text) LANGUAGE plpgsql AS \$\$
DECLARE n int; began timestamptz; cpu float;
BEGIN
	LOOP
		began := clock_timestamp();
		cpu := $CPU_US;
		SELECT count(*) INTO n FROM fn.recycle($BATCH);
		COMMIT;
		INSERT INTO step VALUES (part, n, extract(epoch FROM clock_timestamp() - began) * 1000, ($CPU_US - cpu) / 1000);
		COMMIT;
		EXIT WHEN n = 0;
	END LOOP;
END\$\$;
-- the passes after a change: recycle() computes a batch anew each time
CREATE PROCEDURE compute_all(part text, leads int) LANGUAGE plpgsql AS \$\$
DECLARE began timestamptz; cpu float;
BEGIN
	FOR i IN 1 .. leads / $BATCH LOOP
		began := clock_timestamp();
		cpu := $CPU_US;
		PERFORM FROM fn.recycle($BATCH);
		COMMIT;
		INSERT INTO step VALUES (part, $BATCH, extract(epoch FROM clock_timestamp() - began) * 1000, ($CPU_US - cpu) / 1000);
		COMMIT;
	END LOOP;
END\$\$;
-- as if leads that went back had been claimed and come due again
CREATE PROCEDURE due_again(n int) LANGUAGE plpgsql AS \$\$
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE fn.opportunities SET owner_id = 1001 + (opportunity_id - 1) / 50, status = 'BIND', minor_status = NULL, recycle_at = now() - interval '1 minute',
		claimed_at = now() - interval '240 hours 1 minute' WHERE opportunity_id IN (SELECT opportunity_id FROM fn.opportunities
		WHERE opportunity_id <= $LEADS AND owner_id IS NULL ORDER BY opportunity_id LIMIT n);
END\$\$;
SQL
q -c 'VACUUM ANALYZE' -c CHECKPOINT
due() { q -c 'SELECT count(*) FROM fn.opportunities WHERE recycle_at <= now()'; }
[ "$(due)" = "$DUE" ] || { say "$(due) leads are due, not $DUE" >&2; exit 1; }

# the query of pool.c
q >"$BENCH_TMP/plan" <<SQL
SET plan_cache_mode = force_generic_plan;
PREPARE due(timestamptz, int) AS SELECT o.opportunity_id FROM fn.opportunities o WHERE o.recycle_at <= \$1 ORDER BY o.recycle_at LIMIT \$2 FOR NO KEY UPDATE SKIP LOCKED;
EXPLAIN (COSTS off) EXECUTE due(now(), $BATCH);
SQL
grep -q 'Index Scan using opportunities_recycle_at_idx' "$BENCH_TMP/plan" || { cat "$BENCH_TMP/plan" >&2; exit 1; }

# Somebody who claims and contacts all the while: leads of the tenth part, also those
# that a batch has just locked
printf '%s\n' "\\set lead random($LEADS + 1, $LEADS + $PUBLIC)" '\set rep random(1, 1000)' 'SELECT count(*) FROM fn.claim(ARRAY[:lead]::bigint[], :rep);' >"$BENCH_TMP/other.claim"
printf '%s\n' "\\set lead 10 * random(0, $((BESIDE - 1))) + 1" 'SELECT count(*) FROM fn.log_contact(:lead, 1001 + (:lead - 1) / 50);' >"$BENCH_TMP/other.contact"
other() {	# other NAME COMMAND...: "median p99 slowest" in ms beside it
	local name=$1 pid
	shift
	rm -f "$BENCH_TMP"/other."$name".log*
	(cd "$BENCH_TMP" && exec pgbench -n -M prepared -c 1 -T 600 -l --log-prefix=other."$name".log -f other.claim -f other.contact >/dev/null 2>&1) &
	pid=$!
	"$@"
	# it writes its log to the end then
	q -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench'" >/dev/null
	wait $pid || true
	awk '{ print $3 / 1000 }' "$BENCH_TMP"/other."$name".log* | sort -g |
		awk '{ a[NR] = $1 } END { if (NR < 10) exit 1; print a[int((NR + 1) / 2)], a[int(NR * 0.99)], a[NR] }' || echo 0 0 0
}
steps() {	# steps PART: "total-ms leads p50 p99 longest cpu-ms", of the transactions that did something
	q -F ' ' -c "SELECT sum(ms), sum(leads), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms), max(ms), sum(cpu)
		FROM step WHERE part = '$1' AND leads > 0"
}
tell() {	# tell LABEL PART
	local total leads p50 p99 longest cpu
	read -r total leads p50 p99 longest cpu <<<"$(steps "$2")"
	show "$1" s "$(calc "$total / 1000")"
	show "  leads" 1/s "$(calc "$leads / $total * 1000")"
	show "  CPU, a lead" us "$(calc "$cpu / $leads * 1000")"
	show_three "  a transaction" "$p50" "$p99" "$longest"
}
show_three() {	# show_three LABEL MEDIAN P99 LONGEST: ms
	local name label=$1
	shift
	for name in median p99 longest; do
		show "$label, $name" ms "$1"
		shift
	done
}
tell_other() { show_three "  another session's statement" "$@"; }
settle() { q -c 'VACUUM fn.opportunities' -c CHECKPOINT; }
none_due() { await 300 20 'SELECT NOT EXISTS (SELECT FROM fn.opportunities WHERE recycle_at <= now())' >/dev/null; }
call() { q -c "CALL $1"; }

read -ra idle <<<"$(other idle sleep "$SECS")"
show_three "somebody claims and contacts, nothing else runs" "${idle[@]}"

call "recycle_all('alone')"
[ "$(due)" = 0 ] || { say "$(due) leads are still due" >&2; exit 1; }
tell "recycle($BATCH) until nothing is due, alone" alone
call "due_again($BESIDE)"
settle
read -ra busy <<<"$(other busy call "recycle_all('beside')")"
tell "the same for $BESIDE with somebody beside" beside
tell_other "${busy[@]}"

# the SOP: a task for each lead
call "due_again($DUE)"
settle
began=$(q -c 'SELECT clock_timestamp()')
q -c "SELECT count(sopflow.emit('OPPORTUNITY_DUE', opportunity_id, '{}', recycle_at)) FROM fn.opportunities WHERE recycle_at <= now()" >/dev/null
emitted=$(q -c 'SELECT clock_timestamp()')
worker_cpu() { q -c "SELECT sum(split_part(pg_read_file('/proc/' || pid || '/schedstat', 0, 100, true), ' ', 1)::numeric / 1000)
	FROM pg_stat_activity WHERE backend_type = 'sopflow worker' AND datname = current_database()"; }
cpu=$(worker_cpu)
read -ra worker <<<"$(other worker none_due)"
took=$(q -c "SELECT extract(epoch FROM max(logged_at) - '$emitted') FROM fn.opportunity_log WHERE operation = 'RECYCLE'")
cpu=$(calc "$(worker_cpu) - $cpu")
show "emit() of the due leads, one call each" s "$(q -c "SELECT extract(epoch FROM timestamptz '$emitted' - '$began')")"
show "the worker takes them back by tasks" s "$took"
show "  leads" 1/s "$(calc "$DUE / $took")"
show "  CPU of the worker, a lead" us "$(calc "$cpu / $DUE")"
tell_other "${worker[@]}"

# a parameter that all private leads depend on
settle
q -c "UPDATE sopflow.rule_param SET value = '300 hours' WHERE rule_set = 'opportunity_recycle' AND param IN ('contact_within', 'protection')"
read -ra change <<<"$(other change call "compute_all('change', $AFTER_CHANGE)")"
tell "a parameter is changed: $AFTER_CHANGE leads computed anew" change
show "  so for all $(q -c 'SELECT count(*) FROM fn.opportunities WHERE owner_id IS NOT NULL')" s "$(calc "$(q -c 'SELECT count(*) FROM fn.opportunities WHERE owner_id IS NOT NULL') / $AFTER_CHANGE * $(steps change | cut -d' ' -f1) / 1000")"
tell_other "${change[@]}"
