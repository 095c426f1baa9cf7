#!/usr/bin/env bash
# UPDATE of 100,000 rows held to five checks by a rule set, against the same checks in a PL/pgSQL trigger
source "$(dirname "$0")/lib.sh"
source "$BENCH/rules.sh"
N=$(sized 100000 20000)
REPS=1000			# of lead: enough for the index to be used
QUOTA_REPS=$((N / 50))		# of counted_lead, each to get 50 rows, which is the limit
fresh_db bench

# Three ways to know about the rep: in the row, looked up by key, and counted.
# A count needs an index on the owner, which no UPDATE of it can leave alone, so
# it has a table of its own.
LEAD="id int PRIMARY KEY, status text NOT NULL, owner int, last_owner int, released_at timestamptz, cate text NOT NULL,
	task_done boolean NOT NULL, rep_held int NOT NULL, rep_max int NOT NULL, rep_cate text NOT NULL"
FILL="SELECT g, 'public', NULL, 2, now() - interval '100 h', 'phone', true, 42, 50, 'phone' FROM generate_series(1, $N) g"
q <<SQL
CREATE TABLE rep (id int PRIMARY KEY, held int NOT NULL, max int NOT NULL, cate text NOT NULL);
INSERT INTO rep SELECT g, 42, 50, 'phone' FROM generate_series(1, $REPS) g;
ANALYZE rep;
CREATE TABLE lead ($LEAD) WITH (fillfactor = 45, autovacuum_enabled = off);
CREATE TABLE counted_lead ($LEAD) WITH (fillfactor = 45, autovacuum_enabled = off);
CREATE INDEX ON counted_lead (owner);

CREATE FUNCTION empty_hand() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN RETURN new; END\$\$;
CREATE FUNCTION row_hand() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	IF old.status <> 'public' THEN RAISE EXCEPTION 'illegal status'; END IF;
	IF old.last_owner = new.owner AND now() - old.released_at < interval '72 h' THEN RAISE EXCEPTION 'last owner'; END IF;
	IF NOT new.rep_held < new.rep_max THEN RAISE EXCEPTION 'full'; END IF;
	IF new.cate <> new.rep_cate THEN RAISE EXCEPTION 'category'; END IF;
	IF NOT new.task_done THEN RAISE EXCEPTION 'task open'; END IF;
	RETURN new;
END\$\$;
CREATE FUNCTION lookup_hand() RETURNS trigger LANGUAGE plpgsql AS \$\$
DECLARE r rep;
BEGIN
	IF old.status <> 'public' THEN RAISE EXCEPTION 'illegal status'; END IF;
	IF old.last_owner = new.owner AND now() - old.released_at < interval '72 h' THEN RAISE EXCEPTION 'last owner'; END IF;
	SELECT * INTO r FROM rep WHERE id = new.owner;
	IF NOT r.held < r.max THEN RAISE EXCEPTION 'full'; END IF;
	IF new.cate <> r.cate THEN RAISE EXCEPTION 'category'; END IF;
	IF NOT new.task_done THEN RAISE EXCEPTION 'task open'; END IF;
	RETURN new;
END\$\$;
CREATE FUNCTION quota_hand() RETURNS trigger LANGUAGE plpgsql AS \$\$
DECLARE n bigint;
BEGIN
	IF old.status <> 'public' THEN RAISE EXCEPTION 'illegal status'; END IF;
	IF old.last_owner = new.owner AND now() - old.released_at < interval '72 h' THEN RAISE EXCEPTION 'last owner'; END IF;
	PERFORM pg_advisory_xact_lock(1, new.owner);
	SELECT count(*) INTO n FROM counted_lead WHERE owner = new.owner;
	IF NOT n < new.rep_max THEN RAISE EXCEPTION 'full'; END IF;
	IF new.cate <> new.rep_cate THEN RAISE EXCEPTION 'category'; END IF;
	IF NOT new.task_done THEN RAISE EXCEPTION 'task open'; END IF;
	RETURN new;
END\$\$;

BEGIN;
INSERT INTO sopflow.rule_set (rule_set) VALUES ('row'), ('lookup'), ('quota');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES
	('row', 'new', 'lead', NULL), ('row', 'old', 'lead', NULL),
	('lookup', 'new', 'lead', NULL), ('lookup', 'old', 'lead', NULL),
	('lookup', 'rep', 'rep', 'SELECT r FROM rep r WHERE r.id = new.owner'),
	('quota', 'new', 'counted_lead', NULL), ('quota', 'old', 'counted_lead', NULL);
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES
	('quota', 'n', 'SELECT count(*) FROM counted_lead l WHERE l.owner = new.owner', 'new.owner::text');
$(five_rules row old new new.owner new.rep_held new.rep_max new.rep_cate)
$(five_rules lookup old new new.owner rep.held rep.max rep.cate)
$(five_rules quota old new new.owner n new.rep_max new.rep_cate)
COMMIT;
SQL

# trigger_of VARIANT: what is called for each row
trigger_of() {
	case $1 in
		*_hand) echo "$1()" ;;
		*_rules) echo "sopflow.enforce('${1%_rules}')" ;;
	esac
}
table_of() { case $1 in quota_* | counted_*) echo counted_lead ;; *) echo lead ;; esac; }
place() {	# place VARIANT: its trigger, and rows as they were
	local table
	table=$(table_of "$1")
	q -c "DROP TRIGGER IF EXISTS t ON $table" -c "TRUNCATE $table" -c "INSERT INTO $table $FILL"
	[ -z "$(trigger_of "$1")" ] || q -c "CREATE TRIGGER t BEFORE UPDATE ON $table FOR EACH ROW EXECUTE FUNCTION $(trigger_of "$1")"
}

# A trigger that lets everything pass would be fast: each check must deny what
# it is for, and nothing else.
check() {
	local table
	table=$(table_of "$1")
	place "$1"
	q <<-SQL
	ALTER TABLE $table DISABLE TRIGGER t;
	INSERT INTO rep VALUES (-3, 50, 50, 'phone'), (-4, 1, 50, 'shop') ON CONFLICT DO NOTHING;
	INSERT INTO $table SELECT -g, CASE g WHEN 1 THEN 'frozen' ELSE 'public' END, NULL, 2, now() - CASE g WHEN 2 THEN interval '1 h' ELSE '100 h' END,
		'phone', g <> 5, CASE g WHEN 3 THEN 50 ELSE 49 END, 50, CASE g WHEN 4 THEN 'shop' ELSE 'phone' END FROM generate_series(1, 6) g;
	UPDATE $table SET owner = -3 WHERE id BETWEEN 1 AND 50;
	ALTER TABLE $table ENABLE TRIGGER t;
	DO \$\$
	DECLARE denied text;
	BEGIN
		FOR i IN 1..6 LOOP
			BEGIN
				UPDATE $table SET owner = CASE i WHEN 2 THEN 2 WHEN 3 THEN -3 WHEN 4 THEN -4 ELSE 7 END WHERE id = -i;
				denied := NULL;
			EXCEPTION WHEN SQLSTATE 'SF010' OR raise_exception THEN
				denied := sqlerrm;
			END;
			IF denied IS DISTINCT FROM (ARRAY['illegal status', 'last owner', 'full', 'category', 'task open', NULL])[i] THEN
				RAISE 'check % of $1 says %', i, denied;
			END IF;
		END LOOP;
	END\$\$;
	SQL
}
for v in row_hand lookup_hand quota_hand row_rules lookup_rules quota_rules; do check $v; done

declare -A WALL=() USED=()
once() {	# once VARIANT: microseconds a row, into WALL and USED
	local table owner=$REPS figures
	table=$(table_of "$1")
	[ "$table" = lead ] || owner=$QUOTA_REPS
	place "$1"
	q -c "VACUUM ANALYZE $table" -c CHECKPOINT
	figures=$(us_of <<-SQL
		-- go
		UPDATE $table SET owner = 1 + id % $owner;
	SQL
	)
	WALL[$1]+=" $(calc "${figures% *} / $N")"
	USED[$1]+=" $(calc "${figures#* } / $N")"
}
# minus A B: the differences, round by round
minus() { paste <(tr ' ' '\n' <<<"$1") <(tr ' ' '\n' <<<"$2") | awk 'NF { printf "%.6g ", $1 - $2 }'; }

variants=(none row_hand row_rules empty_hand lookup_hand lookup_rules counted_none quota_hand quota_rules)
for ((i = 0; i <= ROUNDS; i++)); do
	# each variant has each place in turn
	for ((k = 0; k < ${#variants[@]}; k++)); do once "${variants[((k + i) % ${#variants[@]})]}"; done
	# the first round warms the files up
	((i > 0)) || WALL=() USED=()
done

pair() {	# pair LABEL KIND BASE OP BAR
	read -ra S <<<"$(minus "${WALL[$2_rules]}" "${WALL[$3]}")"
	read -ra F <<<"$(minus "${WALL[$2_hand]}" "${WALL[$3]}")"
	report "$1" us/row "${@:4}"
	read -ra S <<<"$(minus "${USED[$2_rules]}" "${USED[$3]}")"
	read -ra F <<<"$(minus "${USED[$2_hand]}" "${USED[$3]}")"
	report "  the same, CPU of the server process" us/row "${@:4}"
}
# shellcheck disable=SC2086
{
	show "UPDATE with no trigger" us/row ${WALL[none]}
	show "  CPU" us/row ${USED[none]}
	show "empty PL/pgSQL trigger, added" us/row $(minus "${WALL[empty_hand]}" "${WALL[none]}")
	show "  CPU" us/row $(minus "${USED[empty_hand]}" "${USED[none]}")
}
pair "5 checks, facts in the row, added" row none '<=' 1
pair "5 checks, rep looked up by key, added" lookup none -
# shellcheck disable=SC2086
show "UPDATE of the indexed table with no trigger" us/row ${WALL[counted_none]}
pair "5 checks, rows of the rep counted, added" quota counted_none -
