#!/usr/bin/env bash
# Calls of fire_rows and fire with 5, 1,000 and 10,000 rules of which the facts match none, and the first call of a session
source "$(dirname "$0")/lib.sh"
source "$BENCH/rules.sh"
N=$(sized 100000 20000)
fresh_db bench

# Leads above N are of a category that rules 101 to 999 have.
q <<SQL
CREATE TABLE rep (id int PRIMARY KEY, held int NOT NULL, max int NOT NULL, cate text NOT NULL);
CREATE TABLE lead (id int PRIMARY KEY, rep_id int NOT NULL, status text NOT NULL, last_owner int, released_at timestamptz, cate text NOT NULL,
	task_done boolean NOT NULL);
INSERT INTO rep SELECT g, 42, 100, CASE WHEN g <= 100 THEN 'phone' ELSE 'cat' || g END FROM generate_series(1, 999) g;
INSERT INTO lead SELECT g, 1 + g % 100, 'public', 2, now() - interval '100 h', 'phone', true FROM generate_series(1, $N) g;
INSERT INTO lead SELECT $N + g, 101 + g % 899, 'public', 2, now() - interval '100 h', 'cat' || 101 + g % 899, true FROM generate_series(1, $N) g;
CREATE TABLE facts AS SELECT l.id, jsonb_build_object('lead', l, 'rep', r) AS f FROM lead l JOIN rep r ON r.id = l.rep_id WHERE l.id <= $N;
SQL
for t in rep lead facts; do q -c "VACUUM ANALYZE $t"; done

# make_set NAME EXTRA CONDITION: the 5 checks over a lead and a rep, and EXTRA
# rules; CONDITION is SQL that gives the condition of rule g
make_set() {
	local lead=lead rep=rep
	[[ $1 != json* ]] || lead=jsonb rep=jsonb
	q <<-SQL
	BEGIN;
	INSERT INTO sopflow.rule_set (rule_set) VALUES ('$1');
	INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('$1', 'lead', '$lead'), ('$1', 'rep', '$rep');
	$(if [ $lead = jsonb ]; then
		five_rules "$1" lead lead rep.id::int rep.held::int rep.max::int rep.cate::text |
			sed "s/lead\.last_owner/&::int/; s/now() - lead\.released_at < interval '72 h'/lead.released_at > now() - interval '72 h'/"
	else
		five_rules "$1" lead lead rep.id rep.held rep.max rep.cate
	fi)
	INSERT INTO sopflow.rule (rule_set, rule, condition, actions)
	SELECT '$1', 'x' || g, $3, '[{"deny": "refused", "code": "X"}]' FROM generate_series(1, $2) g;
	COMMIT;
	SQL
}
EQUAL="format(\$f\$lead.cate = 'cat%s' AND rep.held > %s\$f\$, g, g)"
RANGE="format('rep.held > %s AND lead.task_done', 1000 + g)"
for n in 0 1000 10000; do make_set json$n $n "$EQUAL"; done
for n in 100 1000; do make_set range$n $n "$RANGE"; done
for n in 0 1000; do make_set equal$n $n "$EQUAL"; done
t0=$(date +%s%N)
make_set equal10000 10000 "$EQUAL"
DEFINE=$(calc "($(date +%s%N) - $t0) / 1e6")
q <<SQL
CREATE TABLE refusals AS SELECT g AS priority, 'cat' || g AS "lead.cate", '> ' || g AS "rep.held", 'refused' AS deny FROM generate_series(1, 10000) g;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('table10000');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('table10000', 'lead', 'lead'), ('table10000', 'rep', 'rep');
SELECT sopflow.load_decision_table('table10000', 'refusals', 'first');
COMMIT;
SQL

# The same by hand: a function of IFs
by_hand() {	# by_hand EXTRA
	q <<-SQL
	SELECT 'CREATE FUNCTION hand$1(l lead, r rep) RETURNS boolean LANGUAGE plpgsql AS \$f\$BEGIN
		IF l.status <> ''public'' THEN RETURN false; END IF;
		IF l.last_owner = r.id AND now() - l.released_at < interval ''72 h'' THEN RETURN false; END IF;
		IF NOT r.held < r.max THEN RETURN false; END IF;
		IF l.cate <> r.cate THEN RETURN false; END IF;
		IF NOT l.task_done THEN RETURN false; END IF;'
		|| coalesce(string_agg(format('IF l.cate = ''cat%s'' AND r.held > %s THEN RETURN false; END IF;', g, g), E'\\n'), '')
		|| 'RETURN true; END\$f\$' FROM generate_series(1, $1) g
	\gexec
	SQL
}
for n in 0 1000 10000; do by_hand $n; done

# us_a_call FIRST ROWS FROM CALL: microseconds a row of a statement that calls
# it for ROWS rows, from the row FIRST on: the least of three times, since it
# writes nothing and waits for nothing but other processes.  The first call of
# the session is not timed.  All must be allowed.
us_a_call() {
	local figures statement="SELECT 1 / (count(*) = $2)::int FROM $3 WHERE l.id BETWEEN $1 AND $1 + $2 - 1 AND $4;"
	figures=$(for _ in 1 2 3; do
		us_of <<-SQL
			SET max_parallel_workers_per_gather = 0;
			SELECT count(*) FROM $3 WHERE l.id = $1 AND $4;
			-- go
			$statement
		SQL
	done | sort -g | head -1)
	calc "${figures% *} / $2"
}
ROW="lead l JOIN rep r ON r.id = l.rep_id"

# What a call costs is the statement that makes it, less the same statement that
# calls num_nonnulls: a C function that is handed the same arguments and does
# next to nothing.  Forming the rows is in both, the verdict is not.
declare -A V=()
measure() {	# measure NAME FIRST ROWS FROM CALL BASE
	V[$1]+=" $(calc "$(us_a_call "${@:2:4}") - $(us_a_call "${@:2:3}" "$6")")"
}
rows() { measure "rows_$1" "$2" "$3" "$ROW" "(sopflow.fire_rows('$1', l, r)).allowed" "num_nonnulls('$1', l, r) = 3"; }
hand() { measure "hand$1" 1 "$2" "$ROW" "hand$1(l, r)" "num_nonnulls(l, r) = 2"; }
json() { measure "fire_$1" 1 "$2" "facts l" "(sopflow.fire('$1', f)).allowed" "num_nonnulls('$1', f) = 2"; }
hits() { measure "hits_$1" $((N + 1)) "$2" "$ROW" "(sopflow.fire_rows('$1', l, r)).allowed" "num_nonnulls('$1', l, r) = 3"; }

# first SET: milliseconds of the first call of a session, and the memory that it took
first() {
	local out call="SELECT (sopflow.fire_rows('$1', l, r)).allowed FROM $ROW WHERE l.id = 1;"
	out=$(q <<-SQL
		SELECT (sopflow.fire_rows('equal0', l, r)).allowed FROM $ROW WHERE l.id = 1;
		SELECT sum(total_bytes) AS m0 FROM pg_backend_memory_contexts \gset
		SELECT clock_timestamp() AS t0 \gset
		$call
		SELECT clock_timestamp() AS t1 \gset
		$call
		SELECT clock_timestamp() AS t2 \gset
		SELECT 'ms=' || extract(epoch FROM :'t1'::timestamptz - :'t0' - (:'t2'::timestamptz - :'t1')) * 1000
			|| ' mb=' || (sum(total_bytes) - :m0) / 1048576 FROM pg_backend_memory_contexts;
	SQL
	)
	V[first_$1]+=" $(field ms <<<"$(tail -1 <<<"$out")")"
	V[memory_$1]+=" $(field mb <<<"$(tail -1 <<<"$out")")"
}

for ((i = 1; i <= ROUNDS; i++)); do
	hand 0 "$N"; rows equal0 1 "$N"
	rows equal1000 1 "$N"; hand 1000 $((N / 100))
	rows equal10000 1 "$N"; hand 10000 $((N / 1000))
	hits equal1000 "$N"; rows table10000 1 "$N"
	rows range100 1 $((N / 10)); rows range1000 1 $((N / 100))
	json equal0 $((N / 2)); json equal10000 $((N / 2))
	json json0 $((N / 2)); json json1000 $((N / 2)); json json10000 $((N / 2))
	first equal1000; first equal10000
done

figure() {	# figure LABEL UNIT NAME FLOOR OP [BAR]
	read -ra S <<<"${V[$3]}"
	read -ra F <<<"${V[$4]:-}"
	report_absolute "$1" "$2" "${@:5}"
}
figure "fire_rows, 5 rules (floor: PL/pgSQL IFs)" us rows_equal0 hand0 '<=' 1.5
figure "fire_rows, 5 + 1,000 rules" us rows_equal1000 hand1000 '<=' 5
figure "fire_rows, 5 + 10,000 rules" us rows_equal10000 hand10000 '<=' 10
figure "fire_rows, 5 + 1,000 rules, one looked at" us hits_equal1000 - -
figure "fire_rows, decision table of 10,000 rows" us rows_table10000 - -
figure "fire_rows, 5 + 100 ranges" us rows_range100 - -
figure "fire_rows, 5 + 1,000 ranges" us rows_range1000 - -
figure "fire, typed facts, 5 rules" us fire_equal0 - -
figure "fire, typed facts, 5 + 10,000 rules" us fire_equal10000 - -
figure "fire, jsonb facts, 5 rules" us fire_json0 - -
figure "fire, jsonb facts, 5 + 1,000 rules" us fire_json1000 - -
figure "fire, jsonb facts, 5 + 10,000 rules" us fire_json10000 - -
figure "first call, 5 + 1,000 rules" ms first_equal1000 - -
figure "first call, 5 + 10,000 rules" ms first_equal10000 - -
figure "memory of 5 + 1,000 rules" MB memory_equal1000 - -
figure "memory of 5 + 10,000 rules" MB memory_equal10000 - -
S=("$DEFINE") F=()
report_absolute "INSERT and check of 5 + 10,000 rules" ms -
