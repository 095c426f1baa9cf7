# shellcheck shell=bash
# start_server, stop_server: a private throw-away server with the settings that
# the figures are taken with, and the measuring programs compiled.  Sets the
# client's environment, BENCH_TMP and BENCH_RESULTS.
set -euo pipefail
BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$BENCH/../tools/lib.sh"
SETTINGS=(
	"shared_preload_libraries = 'sopflow,pg_stat_statements'"
	"shared_buffers = 1GB" "max_wal_size = 8GB" "checkpoint_timeout = 15min"
	"synchronous_commit = on" "fsync = on" "jit = off" "max_connections = 100"
)

start_server()
{
	local program pg_config env
	BENCH_TMP=$(mktemp -d "${TMPDIR:-/tmp}/sopflow-bench.XXXXXX")
	export BENCH_TMP BENCH_RESULTS=$BENCH_TMP/results.tsv
	chmod 755 "$BENCH_TMP"
	trap stop_server EXIT
	: >"$BENCH_RESULTS"
	pg_config=$("$top/tools/pg-config") || die "no PostgreSQL with server development files found; run \"make deps\""
	mkdir "$BENCH_TMP/bin"
	for program in latency consumer await sink; do
		${CC:-cc} -O2 -Wall -I"$("$pg_config" --includedir)" -o "$BENCH_TMP/bin/$program" "$BENCH/$program.c" \
			-L"$("$pg_config" --libdir)" -lpq -lm
	done
	unset PGOPTIONS PGPASSWORD PGSERVICE
	env=$("$top/tools/server" start "$BENCH_TMP/server" "${SETTINGS[@]}")
	eval "$env"
	export PATH=$BENCH_TMP/bin:$PATH
	psql -Xqd postgres -c 'CREATE EXTENSION pg_stat_statements'
}

stop_server()
{
	if [ -d "$BENCH_TMP/server" ]; then "$top/tools/server" stop "$BENCH_TMP/server" || true; fi
	rm -rf "$BENCH_TMP"
}
