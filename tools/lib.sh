# Shell functions shared by the programs under tools/, test/, demo/ and bench/.
# PostgreSQL refuses to run as root, so everything that starts a server runs
# as the "owner": the user postgres when started by root, else the caller.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# Run a command as root.
as_root()
{
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Run a command as the owner of throw-away servers. HOME must be a folder of
# the owner's own; the caller sets it by owner_home.
owner_home=/tmp
as_owner()
{
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- env HOME="$owner_home" "$@"
	else
		"$@"
	fi
}

# Make an empty folder that belongs to the owner and print its name.
owner_mktemp()
{
	local dir
	dir=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX") || return
	if [ "$(id -u)" = 0 ]; then chown postgres: "$dir" || return; fi
	echo "$dir"
}

# Stop every server whose data folder lies below the given folder.
stop_servers_below()
{
	local pidfile
	find "$1" -name postmaster.pid 2>/dev/null | while read -r pidfile; do
		as_owner "$("$top/tools/pg-config" 2>/dev/null | xargs -I{} {} --bindir)/pg_ctl" \
			-D "$(dirname "$pidfile")" -m immediate -w stop >/dev/null 2>&1
	done
	return 0
}

# The newest Python that has psycopg 3, since the first one in PATH may be
# another build without it.
find_python()
{
	local python
	for python in python3 /usr/bin/python3; do
		if "$python" -c 'import psycopg' 2>/dev/null; then
			echo "$python"
			return
		fi
	done
	return 1
}
