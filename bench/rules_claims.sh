#!/usr/bin/env bash
# Claims on one rep at the limit by 32 sessions: is the limit held, and at what speed, against a PL/pgSQL trigger and an application's own check
source "$(dirname "$0")/lib.sh"
source "$BENCH/rules.sh"
SECS=$(sized 10 3)
CLIENTS=32 LIMIT=100 OWN=1000		# rows of each client
fresh_db bench

# A table for each way.  The outcome of a claim is counted by sequences, which
# no rollback and no lock touches.
tables() {
	local way
	for way in rules hand app; do
		cat <<-SQL
		CREATE TABLE $way (id int PRIMARY KEY, owner int) WITH (fillfactor = 50);
		CREATE INDEX ON $way (owner);
		CREATE SEQUENCE ${way}_claimed;
		CREATE SEQUENCE ${way}_denied;
		CREATE SEQUENCE ${way}_deadlock;
		CREATE FUNCTION ${way}_claim(which int) RETURNS boolean LANGUAGE plpgsql AS \$\$
		BEGIN
			UPDATE $way SET owner = 1 WHERE id = which;
			PERFORM nextval('${way}_claimed');
			RETURN true;
		EXCEPTION
			WHEN raise_exception OR SQLSTATE 'SF010' THEN
				PERFORM nextval('${way}_denied');
				RETURN false;
			WHEN deadlock_detected THEN
				PERFORM nextval('${way}_deadlock');
				RETURN false;
		END\$\$;
		SQL
	done
}
q <<SQL
$(tables)
CREATE FUNCTION hand_trigger() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	IF old.owner IS NULL AND new.owner IS NOT NULL THEN
		PERFORM pg_advisory_xact_lock(1, new.owner);
		IF (SELECT count(*) FROM hand WHERE owner = new.owner) >= $LIMIT THEN RAISE EXCEPTION 'full'; END IF;
	END IF;
	RETURN new;
END\$\$;
CREATE TRIGGER t BEFORE UPDATE ON hand FOR EACH ROW EXECUTE FUNCTION hand_trigger();
BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('claim');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('claim', 'new', 'rules'), ('claim', 'old', 'rules');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES
	('claim', 'held', 'SELECT count(*) FROM rules l WHERE l.owner = new.owner', 'new.owner::text');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES
	('claim', 'full', 'old.owner IS NULL AND new.owner IS NOT NULL AND held >= $LIMIT', '[{"deny": "full", "code": "FULL"}]');
CREATE TRIGGER t BEFORE UPDATE ON rules FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('claim');
COMMIT;
SQL

# the application asks, then writes
app_claim="SELECT count(*) < $LIMIT AS ok FROM app WHERE owner = 1 \gset
\if :ok
UPDATE app SET owner = 1 WHERE id = :id;
SELECT nextval('app_claimed');
\else
SELECT nextval('app_denied');
\endif"
for way in rules hand app; do
	claim="SELECT ${way}_claim(:id) AS ok \gset"
	[ $way != app ] || claim=$app_claim
	# rush: everyone claims; churn: who has got one gives it back at once
	printf '%s\n' '\set n :n + 1' "\\set id :client_id * $OWN + :n" "$claim" >"$BENCH_TMP/$way.rush"
	printf '%s\n' "\\set id :client_id * $OWN + random(1, $OWN)" "$claim" '\if :ok' \
		"UPDATE $way SET owner = NULL WHERE id = :id;" '\endif' >"$BENCH_TMP/$way.churn"
done

# fresh WAY HELD: rows of all clients free, and HELD more that the rep has
fresh() {
	q -c "TRUNCATE $1" -c "INSERT INTO $1 SELECT g, NULL FROM generate_series(1, $((CLIENTS * OWN))) g" \
		-c "INSERT INTO $1 SELECT -g, 1 FROM generate_series(1, $2) g" -c "VACUUM ANALYZE $1" -c CHECKPOINT
	restart "$1"
}
restart() { q -c "ALTER SEQUENCE ${1}_claimed RESTART" -c "ALTER SEQUENCE ${1}_denied RESTART" -c "ALTER SEQUENCE ${1}_deadlock RESTART"; }
outcome() { q -c "SELECT last_value - 1 + is_called::int FROM $1_$2"; }
held() { q -c "SELECT count(*) FROM $1 WHERE owner = 1"; }
q <<SQL
CREATE FUNCTION most_held(way regclass, seconds float) RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE most bigint := 0; n bigint; until timestamptz := clock_timestamp() + seconds * interval '1 s';
BEGIN
	WHILE clock_timestamp() < until LOOP
		EXECUTE format('SELECT count(*) FROM %s WHERE owner = 1', way) INTO n;
		most := greatest(most, n);
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN most;
END\$\$;
SQL

declare -A V=()
keep_figure() { V[$1]+=" $2"; }
rush() {
	fresh "$1" 0
	pgbench -n -c $CLIENTS -j 2 -t 20 -M prepared -D n=0 -f "$BENCH_TMP/$1.rush" >/dev/null 2>"$BENCH_TMP/err" || { cat "$BENCH_TMP/err" >&2; exit 1; }
	[ $(($(outcome "$1" claimed) + $(outcome "$1" denied) + $(outcome "$1" deadlock))) = $((CLIENTS * 20)) ] || { say "not every claim of $1 ended" >&2; exit 1; }
	keep_figure "$1.rush" "$(held "$1")"
	keep_figure "$1.deadlock" "$(outcome "$1" deadlock)"
}
churn() {	# churn WAY PHASE HELD
	local most
	fresh "$1" "$3"
	q -c "SELECT most_held('$1', $SECS)" >"$BENCH_TMP/most" &
	most=$!
	pgbench -n -c $CLIENTS -j 2 -T "$SECS" -M prepared -f "$BENCH_TMP/$1.churn" >/dev/null 2>"$BENCH_TMP/err" || { cat "$BENCH_TMP/err" >&2; exit 1; }
	wait $most
	keep_figure "$1.$2.claims" "$(calc "$(outcome "$1" claimed) / $SECS")"
	keep_figure "$1.$2.denials" "$(calc "$(outcome "$1" denied) / $SECS")"
	keep_figure "$1.deadlock" "$(outcome "$1" deadlock)"
	keep_figure "$1.most" "$(cat "$BENCH_TMP/most")"
}
ways=(rules hand app)
for ((i = 0; i < ROUNDS; i++)); do
	for k in 0 1 2; do rush "${ways[((k + i) % 3)]}"; done
	for k in 0 1 2; do churn "${ways[((k + i) % 3)]}" turn $((LIMIT - 5)); done
	for k in 0 1 2; do churn "${ways[((k + i) % 3)]}" full $LIMIT; done
done

figures() {	# figures LABEL UNIT NAME OP [BAR]
	read -ra S <<<"${V[rules.$3]}"
	read -ra F <<<"${V[hand.$3]}"
	report_absolute "$1" "$2" "${@:4}"
}
figures "32 sessions claim 640, limit $LIMIT: held, at least" '' rush '>=' $LIMIT
figures "  held, at most" '' rush '<=' $LIMIT
figures "32 sessions claim and give back, most held" '' most '<=' $LIMIT
figures "deadlocks" '' deadlock '<=' 0
read -ra S <<<"${V[rules.turn.claims]}"
read -ra F <<<"${V[hand.turn.claims]}"
report "claims, each given back at once" 1/s -
read -ra S <<<"${V[rules.full.denials]}"
read -ra F <<<"${V[hand.full.denials]}"
report "denials at the limit" 1/s -
# shellcheck disable=SC2086
{
	show "the application's own check: held after 640" '' ${V[app.rush]}
	show "  most held while claiming and giving back" '' ${V[app.most]}
	show "  claims, each given back at once" 1/s ${V[app.turn.claims]}
	show "  denials at the limit" 1/s ${V[app.full.denials]}
}
