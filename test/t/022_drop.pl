# Commands that the worker could block, or that take the extension from under
# it: no hang, no error loop in the log, and work goes on where it should.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_node('main');
$node->start;

# Whether a task of that database is carried out.
sub works
{
	my ($db, $subject, $name) = @_;
	$node->safe_psql($db, "SELECT sopflow.emit('NOW', '$subject')");
	wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = '$subject'", $name, $db);
}

# Run a command in the database postgres while the worker of another one is
# busy, and see that neither stops the other for long.
sub quickly
{
	my ($command, $db, $name) = @_;
	my $start = time;
	my ($rc, $out, $err) = $node->psql($db, $command);
	is($rc, 0, $name) or diag($err);
	cmp_ok(time - $start, '<', 10, "$name: without a wait");
}

sub workers_of
{
	my ($db) = @_;
	return "SELECT count(*) FROM sopflow.worker_status WHERE database = '$db'";
}

# Handlers that take 20 ms each, many due.
sub keep_busy
{
	my ($db) = @_;
	$node->safe_psql($db, q{
		CREATE OR REPLACE FUNCTION leave_effect(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
		BEGIN
			IF w.subject_id LIKE 'busy%' THEN
				PERFORM pg_sleep(0.02);
			END IF;
			INSERT INTO public.effect (task_id, subject, due_at) VALUES (w.task_id, w.subject_id, w.due_at);
			RETURN '{}';
		END $$;
		SELECT sum(sopflow.emit('NOW', 'busy' || g)) FROM generate_series(1, 200) g});
	wait_for($node, "SELECT state = 'working' FROM sopflow.worker_status WHERE database = '$db'", "$db: the worker is busy");
}

set_up($node);
$node->safe_psql('postgres', 'CREATE DATABASE one');
set_up($node, 'one');
works('one', 'a', 'a new database is served');

# --- while the worker waits ---

quickly('CREATE DATABASE two TEMPLATE one', 'postgres', 'CREATE DATABASE with a served template');
works('one', 'b', 'the template is served again');
works('two', 'b', 'so is the copy');
quickly('ALTER DATABASE two RENAME TO deux', 'postgres', 'ALTER DATABASE RENAME');
works('deux', 'c', 'the renamed database is served');
mkdir $node->basedir . '/space';
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '" . $node->basedir . "/space'");
quickly('ALTER DATABASE deux SET TABLESPACE space', 'postgres', 'ALTER DATABASE SET TABLESPACE');
works('deux', 'd', 'the moved database is served');
quickly('DROP DATABASE deux', 'postgres', 'DROP DATABASE');
is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.worker_status_values() WHERE dboid NOT IN (SELECT oid FROM pg_database)"),
	'0', 'its worker is gone');

# --- while the worker is busy ---

keep_busy('one');
quickly('CREATE DATABASE two TEMPLATE one', 'postgres', 'CREATE DATABASE with a busy template');
keep_busy('two');
quickly('DROP DATABASE two', 'postgres', 'DROP DATABASE of a busy one');
works('postgres', 'e', 'other databases are served meanwhile');

# a command that fails, or is undone, lets the workers come back
my $idle = async($node, 'SELECT pg_sleep(60)', 'one');
wait_for($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event = 'PgSleep'", 'somebody else is connected');
my ($rc, $out, $err) = $node->psql('postgres', "ALTER DATABASE one RENAME TO uno");
isnt($rc, 0, 'RENAME is refused');
like($err, qr/being accessed by other users/, 'for that reason');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event = 'PgSleep'");
finish_async($idle);
$node->safe_psql('one', 'DELETE FROM sopflow.task');
works('one', 'f', 'the database is served as before');
$node->safe_psql('postgres', "CREATE ROLE nobody LOGIN");
my $pid = $node->safe_psql('postgres', "SELECT pid FROM sopflow.worker_status WHERE database = 'one'");
($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE one', extra_params => [ '-U', 'nobody' ]);
like($err, qr/must be owner/, 'a role that may not drop it is refused');
is($node->safe_psql('postgres', "SELECT pid FROM sopflow.worker_status WHERE database = 'one'"), $pid, 'and does not disturb the worker');

# --- the extension ---

keep_busy('one');
quickly('DROP EXTENSION sopflow CASCADE', 'one', 'DROP EXTENSION CASCADE while its worker is busy');
wait_for($node, 'SELECT (' . workers_of('one') . ') = 0', 'its worker leaves');
$node->safe_psql('one', 'DROP TABLE effect; DROP FUNCTION IF EXISTS leave_effect');
set_up($node, 'one');
works('one', 'g', 'after CREATE EXTENSION again it is served');
is(counter($node, 'runs_started', 'one'), '1', 'with its counters at zero');

keep_busy('one');
my $altering = async($node, q{
	BEGIN;
	ALTER EXTENSION sopflow DROP FUNCTION sopflow.reset_stats();
	SELECT pg_sleep(2);
	ALTER EXTENSION sopflow ADD FUNCTION sopflow.reset_stats();
	COMMIT;}, 'one');
wait_for($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event = 'PgSleep'", 'ALTER EXTENSION is under way');
is($node->safe_psql('postgres', workers_of('one')), '0', 'no worker is there meanwhile');
ok(finish_async($altering), 'it is done');
wait_for($node, 'SELECT (' . workers_of('one') . ') = 1', 'the worker comes back');
$node->safe_psql('one', 'DELETE FROM sopflow.task');
my $undone = async($node, 'BEGIN; ALTER EXTENSION sopflow DROP FUNCTION sopflow.reset_stats(); ROLLBACK', 'one');
ok(finish_async($undone), 'one is rolled back');
wait_for($node, 'SELECT (' . workers_of('one') . ') = 1', 'the worker comes back from that');

SKIP:
{
	# A version to update to, in a copy of what is installed: the installed
	# files are not ours to change.
	my $pkglibdir = `\$PG_CONFIG --pkglibdir`;
	my $sharedir = `\$PG_CONFIG --sharedir`;
	chomp($pkglibdir, $sharedir);
	my $path = $node->safe_psql('postgres', 'SHOW dynamic_library_path');
	my ($root) = $path =~ /^([^:]+)\Q$pkglibdir\E:/;
	skip 'the extension is installed in the system', 4 unless defined $root;
	my $copy = PostgreSQL::Test::Utils::tempdir() . '/root';
	system_or_bail('cp', '-a', $root, $copy);
	my $dir = "$copy$sharedir/extension";
	my ($script) = glob "$dir/sopflow--*.sql";
	my ($version) = $script =~ /sopflow--(.*)\.sql$/;
	append_to_file("$dir/sopflow--$version--$version.1.sql",
		"COMMENT ON FUNCTION sopflow.reset_stats() IS 'of the next version'; SELECT pg_catalog.pg_sleep(0.5);\n");
	for my $setting ('dynamic_library_path', 'extension_destdir', 'extension_control_path')
	{
		my $value = $node->safe_psql('postgres', "SELECT current_setting('$setting', true)");
		next if $value !~ s/\Q$root\E/$copy/;
		$node->append_conf('postgresql.conf', "$setting = '$value'\n");
	}
	$node->restart;
	wait_for($node, 'SELECT (' . workers_of('one') . ') = 1', 'after a restart the database is served');
	quickly("ALTER EXTENSION sopflow UPDATE TO '$version.1'", 'one', 'ALTER EXTENSION UPDATE');
	works('one', 'h', 'the updated database is served');
}

# --- what the log says ---

$node->safe_psql('one', 'DELETE FROM sopflow.task');
my $offset = -s $node->logfile;
usleep(2_000_000);
is(join("\n", log_lines($node, $offset)), '', 'nothing is in trouble in the end');
my @lines = grep { !/terminating (?:background worker|connection)|being accessed by other|must be owner/ } log_lines($node);
cmp_ok(scalar @lines, '<', 5, 'nor was anything in a loop') or diag(join "\n", @lines);

$node->stop;
done_testing();
