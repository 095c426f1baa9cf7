# Each setting: who may change it, which values it takes, that a reload brings
# it into force, and that it may stand in postgresql.conf without preload.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $node = new_node('main', 'max_worker_processes = 20', 'sopflow.max_databases = 2');
$node->start;
set_up($node);
$node->safe_psql('postgres', 'CREATE ROLE plain LOGIN');

is( $node->safe_psql('postgres', q{
		SELECT name, vartype, context, boot_val, unit, min_val, max_val FROM pg_settings WHERE name LIKE 'sopflow.%' ORDER BY name COLLATE "C"}),
	<<'END' =~ s/\n\z//r, 'the settings, their contexts, defaults and limits');
sopflow.batch_size|integer|sighup|1000||1|10000
sopflow.clock|string|superuser||||
sopflow.databases|string|sighup|*|||
sopflow.history_retention|integer|sighup|43200|min|60|52560000
sopflow.max_databases|integer|postmaster|16||1|1024
sopflow.reconcile_interval|integer|sighup|60|s|1|3600
sopflow.rep_id|string|user||||
sopflow.restoring|bool|superuser|off|||
sopflow.workers|integer|sighup|1||1|8
END

# --- values that are refused ---

my @bad = (
	[ 'batch_size', '0', qr/^ERROR:  0 is outside the valid range for parameter "sopflow\.batch_size" \(1 \.\. 10000\)/ ],
	[ 'batch_size', '10001', qr/10001 is outside the valid range/ ],
	[ 'batch_size', 'many', qr/invalid value for parameter "sopflow\.batch_size": "many"/ ],
	(map { [ 'clock', $_, qr/invalid value for parameter "sopflow\.clock": "\Q$_\E"\n.*DETAIL:  "\Q$_\E" is not a timestamp with time zone\./s ] }
		  'soon', 'now', 'today', 'tomorrow', 'yesterday noon', 'infinity', '-infinity', 'epoch', '12:00', '2030-02-30', '2030-13-01',
		'2030-01-01 25:00', '999999-01-01', '2030-01-01 12:00 Nowhere/City', '1', ' '),
	[ 'databases', 'a,,b', qr/invalid value for parameter "sopflow\.databases": "a,,b"/ ],
	[ 'databases', '"a', qr/invalid value for parameter "sopflow\.databases"/ ],
	[ 'databases', 'a b', qr/invalid value for parameter "sopflow\.databases"/ ],
	[ 'history_retention', '59min', qr/59 min is outside the valid range for parameter "sopflow\.history_retention" \(60(?: min)? \.\. 52560000(?: min)?\)/ ],
	[ 'history_retention', '101 years', qr/invalid value for parameter "sopflow\.history_retention": "101 years"\n.*HINT:  Valid units/s ],
	[ 'history_retention', '36501d', qr/is outside the valid range/ ],
	[ 'max_databases', '0', qr/0 is outside the valid range/ ],
	[ 'max_databases', '1025', qr/1025 is outside the valid range/ ],
	[ 'reconcile_interval', '0', qr/0 s is outside the valid range for parameter "sopflow\.reconcile_interval" \(1(?: s)? \.\. 3600(?: s)?\)/ ],
	[ 'reconcile_interval', '-1', qr/outside the valid range/ ],
	[ 'reconcile_interval', '2h', qr/7200 s is outside the valid range/ ],
	[ 'restoring', 'maybe', qr/parameter "sopflow\.restoring" requires a Boolean value/ ],
	[ 'workers', '0', qr/0 is outside the valid range for parameter "sopflow\.workers" \(1 \.\. 8\)/ ],
	[ 'workers', '9', qr/9 is outside the valid range/ ],
	[ 'nothing', '1', qr/"sopflow\.nothing"/ ]);
for my $case (@bad)
{
	my ($setting, $value, $error) = @$case;
	my (undef, undef, $stderr) = $node->psql('postgres', "ALTER SYSTEM SET sopflow.$setting = '$value'");
	$stderr =~ s/^psql:<stdin>:\d+: //;
	like($stderr, $error, "$setting = '$value' is refused");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_file_settings WHERE sourcefile ~ 'auto.conf'"), '0', 'none of it is left behind');

# --- who may change what ---

for my $setting (qw(batch_size databases history_retention reconcile_interval workers))
{
	my (undef, undef, $stderr) = $node->psql('postgres', "SET sopflow.$setting = '5'");
	like($stderr, qr/parameter "sopflow\.$setting" cannot be changed now/, "$setting is not a session's to change");
}
my (undef, undef, $error) = $node->psql('postgres', "SET sopflow.max_databases = '5'");
like($error, qr/parameter "sopflow\.max_databases" cannot be changed without restarting the server/, 'nor is max_databases');
for my $command ("SET sopflow.clock = '2030-01-01 00:00+00'", 'SET sopflow.restoring = on', 'ALTER ROLE plain SET sopflow.clock = \'2030-01-01 00:00+00\'')
{
	my (undef, undef, $stderr) = $node->psql('postgres', $command, extra_params => [ '-U', 'plain' ]);
	like($stderr, qr/permission denied to set parameter "sopflow\.(clock|restoring)"/, "a plain role may not $command");
}
is($node->safe_psql('postgres', q{
		SET timezone = 'UTC'; SET sopflow.clock = '2030-01-02 03:04:05.678901 Asia/Shanghai'; SELECT sopflow.now();
		SET sopflow.clock = '2030-01-02'; SELECT sopflow.now();
		BEGIN; SET LOCAL sopflow.clock = '2031-01-02'; COMMIT; SELECT sopflow.now();
		SET sopflow.clock = ''; SELECT sopflow.now() = now()}),
	"2030-01-01 19:04:05.678901+00\n2030-01-02 00:00:00+00\n2030-01-02 00:00:00+00\nt", 'a superuser may, and it has effect');

# --- batch_size by reload ---

sub carry_out
{
	my ($first, $n, $name) = @_;
	$node->safe_psql('postgres', "SELECT sum(sopflow.emit('NOW', g)) FROM generate_series($first, $first + $n - 1) g");
	my $mine = "subject::int BETWEEN $first AND $first + $n - 1";
	wait_for($node, "SELECT count(*) >= $n FROM effect WHERE $mine", "$name: tasks are carried out");
	is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT task_id) FROM effect WHERE $mine"), "$n|$n", "$name: each once");
	return $node->safe_psql('postgres', "SELECT count(DISTINCT pid) FROM effect WHERE $mine");
}

sub set_and_reload
{
	my ($setting, $value) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET sopflow.$setting = '$value'");
	$node->reload;
}

wait_for($node, "SELECT state = 'waiting' FROM sopflow.worker_status", 'the worker waits');
my $passes = counter($node, 'passes');
carry_out(1, 200, 'batches of 1000');
cmp_ok(counter($node, 'passes') - $passes, '<', 20, 'few passes');
set_and_reload('batch_size', '7');
wait_for($node, "SELECT state = 'waiting' FROM sopflow.worker_status", 'the worker waits');
$passes = counter($node, 'passes');
carry_out(1001, 200, 'batches of 7');
cmp_ok(counter($node, 'passes') - $passes, '>=', 29, 'many passes');
set_and_reload('batch_size', '1');
carry_out(2001, 20, 'batches of 1');
set_and_reload('batch_size', '10000');

# --- workers by reload, with work going on ---

set_and_reload('workers', '3');
wait_for($node, "SELECT count(*) = 3 FROM sopflow.worker_status WHERE state = 'waiting'", 'three workers come');
is(carry_out(10_001, 3000, 'three workers'), '3', 'all three take part');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT DISTINCT worker FROM sopflow.worker_status) w'), '3', 'numbered apart');
my $writer = async($node, join(';', map { "SELECT sopflow.emit('NOW', $_); SELECT pg_sleep(0.002)" } 20_001 .. 20_800));
for my $workers (8, 1, 5, 2)
{
	set_and_reload('workers', $workers);
	wait_for($node, "SELECT count(*) = $workers FROM sopflow.worker_status", "$workers workers");
}
ok(finish_async($writer), 'tasks come in while the number changes');
wait_for($node, 'SELECT count(*) >= 800 FROM effect WHERE subject::int BETWEEN 20001 AND 20800', 'they are carried out');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT task_id) FROM effect WHERE subject::int BETWEEN 20001 AND 20800'), '800|800', 'each once');
is($node->safe_psql('postgres', "SELECT string_agg(code, ' ') FROM sopflow.health"), '', 'health has nothing to say');

# --- max_databases ---

set_and_reload('workers', '1');
for my $db (qw(second third))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	set_up($node, $db);
}
wait_for($node, "SELECT count(DISTINCT database) = 2 FROM sopflow.worker_status", 'two databases are served');
wait_for($node, "SELECT count(*) = 1 FROM sopflow.health WHERE code = 'database_slots'", 'health says that there is one too many');
set_and_reload('databases', 'postgres, third');
wait_for($node, "SELECT string_agg(database, ' ' ORDER BY database) = 'postgres third' FROM sopflow.worker_status", 'naming them helps')
  or diag $node->safe_psql('postgres', q{SELECT database, worker, state FROM sopflow.worker_status; SHOW sopflow.databases;
	SELECT datname, backend_type FROM pg_stat_activity WHERE backend_type ~ 'sopflow'; SELECT code, message FROM sopflow.health});
set_and_reload('databases', '*');

is(join("\n", grep { !/terminating background worker|cannot be|outside the valid|invalid value|permission denied|Boolean|max_databases|unrecognized|invalid configuration parameter name/ } log_lines($node)),
	'', 'nothing else to read in the log');
$node->stop;

# --- bad values in postgresql.conf: the server says so, and goes on with the old ones ---

$node->start;
my $end = -s $node->logfile;
$node->append_conf('postgresql.conf', "sopflow.clock = 'soon'\nsopflow.workers = 99\n");
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->reload;
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_file_settings WHERE error IS NOT NULL"), 'a reload shows bad values in pg_file_settings');
is($node->safe_psql('postgres', 'SHOW sopflow.workers'), '1', 'and keeps the old ones');
like(join("\n", log_lines($node, $end, qr/./)), qr/"soon" is not a timestamp with time zone|invalid value for parameter "sopflow.clock"/, 'the log says why');

# --- without preload ---

my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->append_conf('postgresql.conf', join "\n", 'sopflow.batch_size = 10', 'sopflow.max_databases = 5', 'sopflow.workers = 2', "sopflow.databases = 'a'", '');
$bare->start;
set_up($bare);
my (undef, $out, $stderr) = $bare->psql('postgres', q{SELECT sopflow.emit('NOW', 's'), sopflow.run_due(); SHOW sopflow.batch_size});
is($out, "1|1\n10", 'without preload the settings may stay in postgresql.conf');
is($stderr, '', 'and nobody is told about it');
is(join("\n", log_lines($bare)), '', 'nor is the log');
done_testing();
