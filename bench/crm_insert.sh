#!/usr/bin/env bash
# 100,000 public leads by one INSERT: what do the guards add to one into a table without triggers? And 5,000 leads that are given out to 50 reps
source "$(dirname "$0")/lib.sh"
source "$BENCH/crm.sh"
ROWS=$(sized 100000 10000) ASSIGNED=$(sized 5000 500)
ROUNDS=$(sized $((ROUNDS > 3 ? 3 : ROUNDS)) 1)
LIMIT=$((ASSIGNED / REPS))

fresh_db bench
{
	pack fn
	twin app
	echo "UPDATE sopflow.rule_param SET value = $((2 * LIMIT)) WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';"
} | q >/dev/null

# the same rows, the same columns filled: an application sets pooled_at itself
insert() {
	local columns=client_id,category,level values="1 + g % 100, 'phone', 'A'"
	[ "$1" = fn ] || columns+=,pooled_at values+=', now()'
	echo "INSERT INTO $1.opportunities ($columns) SELECT $values FROM generate_series(1, $2) g"
}
fresh() { q -c "TRUNCATE $1.opportunities, $1.opportunity_log CASCADE" -c "VACUUM ANALYZE $1.opportunities" -c CHECKPOINT; }

declare -A V=()
for ((i = 0; i < ROUNDS; i++)); do
	for k in 0 1; do
		way=$( (((i + k) % 2)) && echo app || echo fn)
		fresh $way
		# a session is warm
		read -r wall cpu <<<"$({ insert $way 100; echo ';'; echo '-- go'; insert $way "$ROWS"; echo ';'; } | us_of)"
		V[$way.wall]+=" $(calc "$wall / 1000")"
		V[$way.cpu]+=" $(calc "$cpu / $ROWS")"
		[ "$(q -c "SELECT count(*) FROM $way.opportunities WHERE pooled_at IS NOT NULL AND owner_id IS NULL")" = $((ROWS + 100)) ] ||
			{ say "not every lead of $way is there" >&2; exit 1; }
	done
done
compare() {	# compare LABEL UNIT NAME
	read -ra S <<<"${V[fn.$3]}"
	read -ra F <<<"${V[app.$3]}"
	report "$1" "$2" -
}
compare "$ROWS public leads" ms wall
compare "  CPU time, a lead" us cpu
for ((i = 0; i < ROUNDS; i++)); do added+=("$(calc "$(echo "${V[fn.cpu]}" | awk -v n=$((i + 1)) '{ print $n }') - $(echo "${V[app.cpu]}" | awk -v n=$((i + 1)) '{ print $n }')")"); done
show "  added by guards and triggers, a lead" us "${added[@]}"

# given out as they come; the floor is one INSERT that knows the owners
insert_owned() {	# insert_owned COUNT
	cat <<-SQL
	WITH l AS (INSERT INTO app.opportunities (client_id, category, level, owner_id, status, minor_status, acquired_by, claimed_at, recycle_at, pooled_at)
		SELECT 1 + g % 100, 'phone', 'A', 1 + g % $REPS, 'BIND', NULL, 'ASSIGN', now(), now() + interval '240 hours', now() FROM generate_series(1, $1) g
		RETURNING opportunity_id, owner_id)
	INSERT INTO app.opportunity_log $LOGGED SELECT opportunity_id, 'ASSIGN', true, NULL, NULL, owner_id, 'UNBIND', 'BIND' FROM l
	SQL
}
timed_warm() {	# timed_warm COMMAND...: "wall cpu", microseconds; a lead for each rep comes first
	{ "$@" $REPS; echo ';'; echo '-- go'; "$@" "$ASSIGNED"; echo ';'; } | us_of
}
for method in least_loaded round_robin; do
	S=() F=() lead=() known=()
	for ((i = 0; i < ROUNDS; i++)); do
		fresh fn
		fresh app
		q -c "UPDATE fn.assignment SET method = '$method'"
		read -r wall cpu <<<"$(timed_warm insert fn)"
		S+=("$(calc "$wall / 1000")") lead+=("$(calc "$cpu / $ASSIGNED")")
		spread=$(q -c "SELECT min(n) || ' ' || max(n) || ' ' || count(*) FROM (SELECT count(*) AS n FROM fn.opportunities WHERE owner_id IS NOT NULL GROUP BY owner_id) h")
		[ "$spread" = "$((LIMIT + 1)) $((LIMIT + 1)) $REPS" ] || { say "spread unevenly: $spread" >&2; exit 1; }
		q -c "UPDATE fn.assignment SET method = 'off'"
		read -r wall cpu <<<"$(timed_warm insert_owned)"
		F+=("$(calc "$wall / 1000")") known+=("$(calc "$cpu / $ASSIGNED")")
	done
	report "$ASSIGNED leads given to $REPS reps, $method" ms -
	S=("${lead[@]}") F=("${known[@]}")
	report "  CPU time, a lead" us -
done
