#!/usr/bin/env bash
# 32 sessions claim 10,000 leads for 50 reps of limit 100 while leads are released and recycled: are limits held, and how fast, against an application?
source "$(dirname "$0")/lib.sh"
source "$BENCH/crm.sh"
SECS=$(sized 6 2) CLIENTS=32 SINGLE=$(sized 2000 300)
ROUNDS=$(sized $(((ROUNDS + 1) / 2)) 1)

# fn: the pack's functions; raw: UPDATE of its table; app: an application that
# asks and then writes; hand: one that locks the rep first; inside: the same as
# a PL/pgSQL function
WAYS=(fn raw app hand inside)

prepare() {	# prepare HELD: leads that each rep has before
	fresh_db bench
	{
		for way in fn raw; do pack $way; done
		for way in app hand inside; do twin $way; done
		for way in "${WAYS[@]}"; do
			leads "$way" "$LEADS"
			[ "$1" -eq 0 ] || owned "$way" "$1"
		done
		cat <<-SQL
		CREATE SEQUENCE raw.denied;
		-- a denial is an error, which a client must catch
		CREATE FUNCTION raw.take(lead bigint, rep bigint) RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			-- of a private lead it would be a transfer
			UPDATE raw.opportunities SET owner_id = rep WHERE opportunity_id = lead AND owner_id IS NULL;
			IF NOT FOUND THEN
				PERFORM nextval('raw.denied');
			END IF;
		EXCEPTION WHEN SQLSTATE 'SF010' THEN
			PERFORM nextval('raw.denied');
		END\$\$;
		CREATE FUNCTION inside.take(lead bigint, rep bigint) RETURNS void LANGUAGE plpgsql AS \$\$
		DECLARE
			fit bool;
		BEGIN
			PERFORM FROM inside.sales_reps WHERE rep_id = rep FOR NO KEY UPDATE;
			SELECT $(ask inside rep) INTO fit FROM inside.opportunities o WHERE o.opportunity_id = lead FOR NO KEY UPDATE;
			IF fit AND ($(held inside rep)) < $LIMIT THEN
				UPDATE inside.opportunities SET owner_id = rep, $CLAIMED WHERE opportunity_id = lead;
				INSERT INTO inside.opportunity_log $LOGGED VALUES (lead, 'CLAIM', true, NULL, NULL, rep, 'UNBIND', 'BIND');
			ELSE
				INSERT INTO inside.opportunity_log $LOGGED VALUES (lead, 'CLAIM', false, 'DENIED', NULL, rep, 'UNBIND', 'UNBIND');
			END IF;
		END\$\$;
		CREATE FUNCTION most_held(way text, seconds float) RETURNS bigint LANGUAGE plpgsql AS \$\$
		DECLARE most bigint := 0; n bigint; until timestamptz := clock_timestamp() + seconds * interval '1 s';
		BEGIN
			WHILE clock_timestamp() < until LOOP
				EXECUTE format('SELECT max(n) FROM (SELECT count(*) AS n FROM %I.opportunities WHERE owner_id IS NOT NULL GROUP BY owner_id) h', way) INTO n;
				most := greatest(most, n);
				PERFORM pg_sleep(0.05);
			END LOOP;
			RETURN most;
		END\$\$;
		SQL
	} | q >/dev/null
	q -c 'VACUUM ANALYZE' -c CHECKPOINT
}

# the statements of a client, a file for each way: .claim .release .recycle
by_hand() {	# by_hand SCHEMA LOCK: claim as an application's statements
	local lock=$2
	echo BEGIN\;
	[ -z "$lock" ] || echo "SELECT FROM $1.sales_reps WHERE rep_id = :rep $lock;"
	cat <<-SQL
	SELECT coalesce(($(ask "$1" :rep | tr '\n\t' '  ')), false) AS fit FROM $1.opportunities o WHERE opportunity_id = :lead $lock \\gset
	SELECT ($(held "$1" :rep)) < $LIMIT AND :fit AS ok \\gset
	\\if :ok
	UPDATE $1.opportunities SET owner_id = :rep, $(tr '\n\t' '  ' <<<"$CLAIMED") WHERE opportunity_id = :lead;
	INSERT INTO $1.opportunity_log $LOGGED VALUES (:lead, 'CLAIM', true, NULL, NULL, :rep, 'UNBIND', 'BIND');
	\\else
	INSERT INTO $1.opportunity_log $LOGGED VALUES (:lead, 'CLAIM', false, 'DENIED', NULL, :rep, 'UNBIND', 'UNBIND');
	\\endif
	COMMIT;
	SQL
}
release_by_hand() {	# release_by_hand SCHEMA OPERATION WHICH
	echo "WITH c AS (SELECT opportunity_id, owner_id FROM $1.opportunities WHERE $3), u AS (UPDATE $1.opportunities o
	SET $RELEASED FROM c WHERE o.opportunity_id = c.opportunity_id) INSERT INTO $1.opportunity_log $LOGGED
	SELECT opportunity_id, '$2', true, NULL, owner_id, NULL, 'BIND', 'UNBIND' FROM c;" | sed 's/last_owner_id = owner_id/last_owner_id = c.owner_id/' | tr '\n\t' '  '
	echo
}
scripts() {
	local way lead="\\set lead random(1, $LEADS)" rep="\\set rep random(1, $REPS)" dir=$BENCH_TMP
	for way in "${WAYS[@]}"; do
		case $way in
			fn)
				echo "SELECT count(*) FROM fn.claim(ARRAY[:lead]::bigint[], :rep);" >"$dir/claim"
				echo "SELECT count(*) FROM fn.release(ARRAY[:lead]::bigint[]);" >"$dir/release"
				echo "SELECT count(*) FROM fn.recycle(100);" >"$dir/recycle"
				;;
			raw)
				echo "SELECT raw.take(:lead, :rep);" >"$dir/claim"
				echo "UPDATE raw.opportunities SET owner_id = NULL WHERE opportunity_id = :lead AND owner_id IS NOT NULL;" >"$dir/release"
				echo "SELECT count(*) FROM raw.recycle(100);" >"$dir/recycle"
				;;
			*)
				case $way in
					app) by_hand app '' ;;
					# not FOR UPDATE, which the foreign keys of other leads would wait for
					hand) by_hand hand 'FOR NO KEY UPDATE' ;;
					inside) echo "SELECT inside.take(:lead, :rep);" ;;
				esac >"$dir/claim"
				release_by_hand "$way" RELEASE 'opportunity_id = :lead AND owner_id IS NOT NULL FOR NO KEY UPDATE' >"$dir/release"
				release_by_hand "$way" RECYCLE 'recycle_at <= now() ORDER BY recycle_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED' >"$dir/recycle"
				;;
		esac
		# alone: a free lead and a rep with room each time
		{ printf '%s\n' '\set n :n + 1' '\set lead 20 * (:n / 18) + 2 + :n % 18' "\\set rep 1 + :n % $REPS"; cat "$dir/claim"; } >"$dir/$way.alone"
		{ printf '%s\n' "$lead" "$rep"; cat "$dir/claim"; } >"$dir/$way.claim"
		{ printf '%s\n' "$lead"; cat "$dir/release"; } >"$dir/$way.release"
		{ cat "$dir/recycle"; echo '\sleep 100 ms'; } >"$dir/$way.recycle"
	done
}

declare -A V=()
keep_figure() { V[$1]+=" $2"; }
per_second() { calc "$1 / $SECS"; }
logged() { q -c "SELECT count(*) FROM $1.opportunity_log WHERE operation = '$2' AND ok = $3"; }
deadlocks() { q -c "SELECT pg_stat_force_next_flush()" -c "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()" | tail -1; }
bench() { pgbench -n -M prepared -T "$SECS" "$@" >"$BENCH_TMP/out" 2>"$BENCH_TMP/err" || { cat "$BENCH_TMP/err" >&2; exit 1; }; }

crowd() {
	local way=$1 before most recycle denied
	before=$(deadlocks)
	q -c "SELECT most_held('$way', $SECS)" >"$BENCH_TMP/most" &
	most=$!
	pgbench -n -M prepared -T "$SECS" -c 1 -f "$BENCH_TMP/$way.recycle" >/dev/null 2>&1 &
	recycle=$!
	bench -c $CLIENTS -j 2 -f "$BENCH_TMP/$way.claim@2" -f "$BENCH_TMP/$way.release@1"
	wait $most
	wait $recycle
	denied=$(logged "$way" CLAIM false)
	[ "$way" != raw ] || denied=$(q -c 'SELECT last_value - 1 + is_called::int FROM raw.denied')
	keep_figure "$way.claims" "$(per_second "$(logged "$way" CLAIM true)")"
	keep_figure "$way.denials" "$(per_second "$denied")"
	keep_figure "$way.tries" "$(per_second $(($(logged "$way" CLAIM true) + denied)))"
	keep_figure "$way.released" "$(per_second "$(logged "$way" RELEASE true)")"
	keep_figure "$way.recycled" "$(per_second "$(logged "$way" RECYCLE true)")"
	keep_figure "$way.deadlocks" "$(($(deadlocks) - before))"
	keep_figure "$way.most" "$(cat "$BENCH_TMP/most")"
	keep_figure "$way.over" "$(q -c "SELECT count(*) FROM (SELECT FROM $way.opportunities WHERE owner_id IS NOT NULL GROUP BY owner_id HAVING count(*) > $LIMIT) h")"
	# claims of a lead that was private
	keep_figure "$way.twice" "$(q -c "SELECT count(*) FROM (SELECT operation, lag(to_owner) OVER (PARTITION BY opportunity_id ORDER BY log_id) AS had
		FROM $way.opportunity_log WHERE ok) l WHERE operation = 'CLAIM' AND had IS NOT NULL")"
	# leads whose last line in the log says otherwise
	keep_figure "$way.lost" "$(q -c "SELECT count(*) FROM $way.opportunities o WHERE owner_id IS DISTINCT FROM (SELECT to_owner
		FROM $way.opportunity_log l WHERE l.opportunity_id = o.opportunity_id AND ok ORDER BY log_id DESC LIMIT 1)")"
}

# alone WAY: one session, each claim succeeds; the median of the clock
alone() {
	rm -f "$BENCH_TMP"/times.*
	(cd "$BENCH_TMP" && pgbench -n -M prepared -c 1 -t "$SINGLE" -D n=-1 -l --log-prefix=times -f "$BENCH_TMP/$1.alone" >/dev/null)
	[ "$(logged "$1" CLAIM true)" = "$SINGLE" ] || { say "not every claim of $1 succeeded" >&2; exit 1; }
	# without the first, which prepares
	keep_figure "$1.alone" "$(tail -n +101 "$BENCH_TMP"/times.* | awk '{ print $3 }' | sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }')"
}

# processor WAY STATEMENT: CPU time of the server process for a claim of other
# leads, by one statement, without the flush
processor() {
	local n us
	us=$({
		echo "SET synchronous_commit = off;"
		echo "PREPARE claim(bigint, bigint) AS $2;"
		for ((n = 0; n < SINGLE / 2; n++)); do
			[ $n != 100 ] || echo "-- go"
			echo "EXECUTE claim($((LEADS - 20 * (n / 18) - 2 - n % 18)), $((1 + n % REPS)));"
		done
	} | us_of)
	[ "$(logged "$1" CLAIM true)" = $((SINGLE * 3 / 2)) ] || { say "not every claim of $1 succeeded" >&2; exit 1; }
	keep_figure "$1.cpu" "$(calc "${us#* } / ($SINGLE / 2 - 100)")"
}

scripts
for ((i = 0; i < ROUNDS; i++)); do
	prepare 0
	for k in 0 1 2 3 4; do alone "${WAYS[((k + i) % 5)]}"; done
	processor fn 'SELECT count(*) FROM fn.claim(ARRAY[$1], $2)'
	processor raw 'UPDATE raw.opportunities SET owner_id = $2 WHERE opportunity_id = $1'
	processor inside 'SELECT inside.take($1, $2)'
	prepare $((LIMIT - 10))
	for k in 0 1 2 3 4; do crowd "${WAYS[((k + i) % 5)]}"; done
done

declare -A CALLED=([fn]="crm.claim()" [raw]="UPDATE of the guarded table" [app]="application asks, then writes"
	[hand]="application locks the rep first" [inside]="the same as a PL/pgSQL function")
compare() {	# compare LABEL UNIT NAME WAY FLOOR
	read -ra S <<<"${V[$4.$3]}"
	read -ra F <<<"${V[$5.$3]}"
	report "$1" "$2" -
}
for way in "${WAYS[@]}"; do
	# shellcheck disable=SC2086
	{
		show "${CALLED[$way]}: claims" 1/s ${V[$way.claims]}
		show "  denials" 1/s ${V[$way.denials]}
		show "  released" 1/s ${V[$way.released]}
		show "  recycled" 1/s ${V[$way.recycled]}
		show "  deadlocks" '' ${V[$way.deadlocks]}
		show "  most that a rep held" '' ${V[$way.most]}
		show "  reps over $LIMIT at the end" '' ${V[$way.over]}
		show "  claims of a lead that was private" '' ${V[$way.twice]}
		show "  leads whose log says otherwise" '' ${V[$way.lost]}
		show "  a claim of one session" us ${V[$way.alone]}
		[ -z "${V[$way.cpu]:-}" ] || show "    CPU of the server" us ${V[$way.cpu]}
	}
done
for way in fn raw; do
	for name in most:$LIMIT deadlocks:0 over:0 twice:0 lost:0; do
		read -ra S <<<"${V[$way.${name%:*}]}"
		F=()
		report_absolute "${CALLED[$way]}: ${name%:*}" '' '<=' "${name#*:}"
	done
done
compare "claims and denials, over a PL/pgSQL function" 1/s tries fn inside
compare "claims and denials, over an application that locks" 1/s tries fn hand
compare "claims and denials, UPDATE over a PL/pgSQL function" 1/s tries raw inside
compare "a claim of one session, crm.claim()" us alone fn inside
compare "  CPU of the server" us cpu fn inside
compare "a claim of one session, UPDATE of the guarded table" us alone raw inside
compare "  CPU of the server" us cpu raw inside
