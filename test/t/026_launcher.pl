# The launcher with more databases than it may serve, more workers than the
# server has slots for, and settings that make no sense: it says so once, in
# the log and in health, and goes on when there is room.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $node = new_node('main', 'sopflow.max_databases = 2', 'sopflow.reconcile_interval = 1', 'max_worker_processes = 5');
$node->start;
set_up($node);

sub served
{
	my ($number, $name) = @_;
	wait_for($node, "SELECT count(*) = $number FROM sopflow.worker_status", $name);
}

sub findings
{
	my ($codes, $name) = @_;
	wait_for($node, "SELECT coalesce(string_agg(code, ',' ORDER BY code), '') = '$codes' FROM sopflow.health", $name);
}

# --- databases ---

$node->safe_psql('postgres', "CREATE DATABASE without_$_") for 1 .. 5;
$node->safe_psql('postgres', 'CREATE DATABASE one');
set_up($node, 'one');
served(2, 'two databases are served');
findings('', 'and all is well');
$node->safe_psql('postgres', 'CREATE DATABASE two');
set_up($node, 'two');
findings('database_slots', 'a third is one too many');
served(2, 'and not served');
$node->safe_psql('two', "SELECT sopflow.emit('NOW', 'early')");
$node->safe_psql('postgres', 'DROP DATABASE one');
served(2, 'once another one is dropped it is');
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'early'", 'and its tasks are carried out', 'two');
findings('', 'all is well again');

# the extension goes and comes in ways that the hook does not see
$node->safe_psql('two', 'DROP TABLE effect; DROP EXTENSION plpgsql CASCADE; CREATE EXTENSION plpgsql');
served(1, 'the worker leaves when the extension is dropped by a cascade');
$node->safe_psql('two', "BEGIN; CREATE EXTENSION sopflow; PREPARE TRANSACTION 'p'");
$node->safe_psql('two', "COMMIT PREPARED 'p'");
$node->safe_psql('two', q{
	CREATE TABLE effect (task_id bigint);
	INSERT INTO sopflow.action (action, delivery) VALUES ('TELL', 'broadcast');
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('now', 'NOW');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('now', 'n1', 'TELL');
	COMMIT;
	SELECT sopflow.emit('NOW', 'first')});
served(2, 'the first task in a database tells the launcher of an extension created by COMMIT PREPARED');
wait_settled($node, 'and is carried out', 'two');

# --- workers ---

my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "sopflow.workers = 8\n");
$node->reload;
wait_for($node, "SELECT count(*) = 1 FROM sopflow.health WHERE code = 'worker_slots'", 'too few worker slots are a finding');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT database) FROM sopflow.worker_status'), '2', 'each database keeps its first worker');
sleep 12;
is(scalar(log_lines($node, $offset, qr/no worker slot is free/)), 1, 'and one WARNING');
$node->append_conf('postgresql.conf', "sopflow.workers = 1\n");
$node->reload;
served(2, 'asking for less');
findings('', 'settles it');

# --- settings ---

my ($rc, $out, $err) = $node->psql('postgres', "ALTER SYSTEM SET sopflow.databases = 'one two'");
like($err, qr/invalid value for parameter "sopflow\.databases"/, 'a list that is none is refused');
$node->append_conf('postgresql.conf', qq{sopflow.databases = '"two" , absent'\n});
$node->reload;
served(1, 'only databases of the list are served');
is($node->safe_psql('postgres', 'SELECT database FROM sopflow.worker_status'), 'two', 'by name');
$node->safe_psql('postgres', 'ALTER DATABASE two RENAME TO "2nd"');
served(0, 'not by another name');
$node->safe_psql('postgres', 'ALTER DATABASE "2nd" RENAME TO absent');
served(1, 'but under any of those listed');
$node->safe_psql('postgres', 'ALTER DATABASE absent ALLOW_CONNECTIONS false');
served(0, 'none where connections are not allowed');

$node->stop;
is(join("\n", grep { !/no worker slot is free/ } log_lines($node, 0, qr/\b(?:WARNING|FATAL|PANIC):/)), '', 'nothing else is in the log');
done_testing();
