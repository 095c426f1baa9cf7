#!/usr/bin/env bash
# Instructions of a row of UPDATE with five checks, and of a call of fire_rows and fire: what no other work on the machine disturbs
source "$(dirname "$0")/lib.sh"
source "$BENCH/rules.sh"
command -v valgrind >/dev/null || { say "  left out: valgrind is not installed"; exit 0; }
N=3100
# a server of its own, on whose files a single process works afterwards
eval "$("$top/tools/server" start "$BENCH_TMP/count" 'shared_buffers = 64MB' 'jit = off' 'fsync = off' 2>/dev/null)"
trap '"$top/tools/server" stop "$BENCH_TMP/count"' EXIT
owner_home=$BENCH_TMP/count
bindir=$("$("$top/tools/pg-config")" --bindir)
q <<SQL
CREATE DATABASE bench;
\c bench
CREATE EXTENSION sopflow;
CREATE TABLE rep (id int PRIMARY KEY, held int NOT NULL, max int NOT NULL, cate text NOT NULL);
CREATE TABLE lead (id int PRIMARY KEY, rep_id int NOT NULL, status text NOT NULL, owner int, last_owner int, released_at timestamptz, cate text NOT NULL,
	task_done boolean NOT NULL, rep_held int NOT NULL, rep_max int NOT NULL, rep_cate text NOT NULL) WITH (fillfactor = 45, autovacuum_enabled = off);
INSERT INTO rep SELECT g, 42, 100, 'phone' FROM generate_series(1, 100) g;
INSERT INTO lead SELECT g, 1 + g % 100, 'public', NULL, 2, now() - interval '100 h', 'phone', true, 42, 100, 'phone' FROM generate_series(1, $N) g;
CREATE TABLE facts AS SELECT l.id, jsonb_build_object('lead', l, 'rep', r) AS f FROM lead l JOIN rep r ON r.id = l.rep_id;
CREATE FUNCTION empty_hand() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN RETURN new; END\$\$;
$(sed -n '/^CREATE FUNCTION row_hand/,/^END/p' "$BENCH/rules_trigger.sh" | sed 's/\\\$/$/g')
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('row'), ('rows0'), ('rows1000'), ('rows10000');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('row', 'new', 'lead'), ('row', 'old', 'lead');
$(five_rules row old new new.owner new.rep_held new.rep_max new.rep_cate)
INSERT INTO sopflow.rule_fact (rule_set, fact, type) SELECT rule_set, fact, type FROM sopflow.rule_set, (VALUES ('lead', 'lead'::regtype), ('rep', 'rep')) f (fact, type)
	WHERE rule_set <> 'row';
$(for n in 0 1000 10000; do five_rules rows$n lead lead rep.id rep.held rep.max rep.cate; done)
INSERT INTO sopflow.rule (rule_set, rule, condition, actions)
	SELECT 'rows' || n, 'x' || g, format('lead.cate = ''cat%s'' AND rep.held > %s', g, g), '[{"deny": "refused"}]' FROM (VALUES (1000), (10000)) s (n), generate_series(1, n) g;
COMMIT;
VACUUM ANALYZE;
SQL
as_owner "$bindir/pg_ctl" -D "$BENCH_TMP/count/data" -m fast -w stop >/dev/null

collected() {	# collected ROWS PREPARATION STATEMENT: of a process that also does it for 100 rows, to warm up
	printf '%s;\n\n' 'VACUUM lead' "$2" "${3//%N/100}" 'VACUUM lead' "${3//%N/$1}" |
		as_owner valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bindir/postgres" --single -j -D "$BENCH_TMP/count/data" bench 2>&1 >/dev/null |
		sed -n 's/.*Collected : *//p'
}
a_row() { echo $((($(collected 3000 "$@") - $(collected 1000 "$@")) / 2000)); }

on() { a_row "DROP TRIGGER IF EXISTS t ON lead; CREATE TRIGGER t BEFORE UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION $1" "$UPDATE"; }
UPDATE="UPDATE lead SET owner = 1 + id % 100 WHERE id <= %N"
none=$(a_row 'DROP TRIGGER IF EXISTS t ON lead' "$UPDATE")
F=($(($(on 'row_hand()') - none)))
S=($(($(on "sopflow.enforce('row')") - none)))
show "UPDATE with no trigger" instructions "$none"
show "empty PL/pgSQL trigger, added" instructions $(($(on 'empty_hand()') - none))
report "5 checks, facts in the row, added" instructions '<=' 1

calls() { a_row 'SELECT 1' "SELECT count(*) FROM $1 WHERE l.id <= %N AND $2"; }
ROW="lead l JOIN rep r ON r.id = l.rep_id"
base=$(calls "$ROW" "num_nonnulls('rows0', l, r) = 3")
F=()
for n in 0 1000 10000; do
	S=($(($(calls "$ROW" "(sopflow.fire_rows('rows$n', l, r)).allowed") - base)))
	report_absolute "fire_rows, 5 + $n rules" instructions -
done
