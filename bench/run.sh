#!/usr/bin/env bash
# Measures sopflow against plain SQL on a private throw-away server.
#
#   bench/run.sh [OPTION]... [NAME]...
#
# NAME: bulk single latency duetime drain queue snapshot idle analysed
# rules_trigger rules_fire rules_claims rules_count crm_claims crm_recycle
# crm_insert relay flow; all of them when none is given.
#
#   --quick         small sizes, to see that everything works; no figures to quote
#   --rounds N      rounds of each measure (5; 2 with --quick)
#   --minutes N     steady phase of snapshot (5)
#   --future LIST   numbers of far-future tasks of duetime (0,1000000,10000000)
#   --keep          leave the server running and say how to reach it
source "$(dirname "$0")/server.sh"
ALL=(bulk single latency duetime drain queue snapshot idle analysed rules_trigger rules_fire rules_claims rules_count crm_claims crm_recycle crm_insert relay flow)
names=() keep=

while [ $# -gt 0 ]; do
	case $1 in
		--quick) export QUICK=1 ;;
		--rounds) export ROUNDS=$2; shift ;;
		--minutes) export MINUTES=$2; shift ;;
		--future) export FUTURE=$2; shift ;;
		--keep) keep=1 ;;
		-h | --help) sed -n '2,/^source/{/^source/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
		-*) die "unknown option: $1 (see --help)" ;;
		*)
			[[ " ${ALL[*]} " == *" $1 "* ]] || die "no such benchmark: $1 (there are: ${ALL[*]})"
			names+=("$1")
			;;
	esac
	shift
done
[ ${#names[@]} -gt 0 ] || names=("${ALL[@]}")

start_server
say "machine   $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs, $(awk '/MemTotal/ { print int($2 / 1048576) }' /proc/meminfo) GB, Linux $(uname -r)"
say "server    $(psql -XAtd postgres -c 'SELECT version()')"
say "settings  $(printf '%s; ' "${SETTINGS[@]}")"

failed=()
for name in "${names[@]}"; do
	echo
	say "== $name: $(sed -n '2s/^# //p' "$BENCH/$name.sh")"
	SECONDS=0
	bash "$BENCH/$name.sh" || { failed+=("$name"); say "  FAILED"; tail -5 "$BENCH_TMP/server/server.log"; }
	say "  ($SECONDS s)"
done

echo
say "== all figures"
column -t -s "$(printf '\t')" "$BENCH_RESULTS" 2>/dev/null || cat "$BENCH_RESULTS"
if [ -n "$keep" ]; then
	trap - EXIT
	echo
	say "The server is left running: PGHOST=$PGHOST PGPORT=$PGPORT PGUSER=$PGUSER" \
		"stop it with: tools/server stop $BENCH_TMP/server; rm -r $BENCH_TMP"
fi
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
