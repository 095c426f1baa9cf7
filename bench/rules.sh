# shellcheck shell=bash disable=SC2034
# What the benchmarks of rules share: the five checks on a claim, as rules and
# by hand, and the clocks.

# What the session's own process has used of a processor, in microseconds: the
# noise of disks and neighbours is not in it.
CPU_US="split_part(pg_read_file('/proc/self/schedstat', 0, 100, true), ' ', 1)::numeric / 1000"

# us_of < SQL: "wall cpu", microseconds by the server's clock and by CPU_US, of
# the statements after a line "-- go"; what stands before it is not timed.
us_of() {
	awk -v cpu="$CPU_US" '
		$0 == "-- go" { print "SELECT clock_timestamp() AS bench_t0, " cpu " AS bench_c0 \\gset"; next }
		{ print }
		END {
			print "SELECT round(extract(epoch FROM clock_timestamp() - :'\''bench_t0'\''::timestamptz) * 1000000) || '\'' '\'' || round(" cpu " - :bench_c0);"
		}' | q | tail -1
}

# rule_rows SET: the VALUES of the five checks: rule, priority, condition, text.
# OWNED is the row that is claimed as it was, CLAIMED as it is to be; the
# others are where the facts about the rep stand.
five_rules() {	# five_rules SET OWNED CLAIMED CLAIMER HELD MAX CATEGORY
	cat <<-SQL
	INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions)
	SELECT '$1', rule, priority, condition, jsonb_build_array(jsonb_build_object('deny', message, 'code', upper(rule)))
	FROM (VALUES
		('status', 1, \$r\$$2.status <> 'public'\$r\$, 'illegal status'),
		('last_owner', 2, \$r\$$2.last_owner = $4 and now() - $2.released_at < interval '72 h'\$r\$, 'last owner'),
		('full', 3, \$r\$not $5 < $6\$r\$, 'full'),
		('category', 4, \$r\$$3.cate <> $7\$r\$, 'category'),
		('task', 5, \$r\$not $3.task_done\$r\$, 'task open')) r (rule, priority, condition, message);
	SQL
}

# show LABEL UNIT FIGURE...: a figure that is neither sopflow nor its floor
show() {
	local label=$1 unit=$2
	shift 2
	printf '  %-44s %s %s\n' "$label" "$(summary "$@")" "$unit"
	keep "$label" "$unit" - "$(summary "$@")" - ''
}
