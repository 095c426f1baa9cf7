# What a prepared transaction wrote is found by the reconcile after COMMIT
# PREPARED, across a restart too; what was rolled back leaves nothing.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node('main', 'sopflow.reconcile_interval = 1s');
$node->start;
set_up($node);
$node->safe_psql('postgres', q{
	CREATE TABLE clients (client_id int);
	SELECT sopflow.watch('clients', 'NOW', 'client_id');
	INSERT INTO sopflow.action (action, lease, jitter) VALUES ('QUEUE', '1 h', 0);
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('queue', 'QUEUE'), ('late', 'LATE');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('queue', 'n1', 'QUEUE');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('late', 'n1', '700 ms', 'EFFECT');
	COMMIT;
});
my $done = sub { return "SELECT count(*) = $_[1] FROM effect WHERE subject::int BETWEEN $_[0]" };

$node->safe_psql('postgres', "BEGIN; INSERT INTO clients SELECT g FROM generate_series(1, 2000) g; PREPARE TRANSACTION 'many'");
$node->safe_psql('postgres', "BEGIN; INSERT INTO clients VALUES (3001); PREPARE TRANSACTION 'undone'");
$node->safe_psql('postgres', "BEGIN; SELECT sopflow.emit('LATE', 3002); PREPARE TRANSACTION 'late'");
# the low-water mark goes past all of them
$node->safe_psql('postgres', 'INSERT INTO clients VALUES (4001)');
wait_for($node, $done->('4001 AND 4001', 1), 'a task of an ordinary transaction is carried out');
usleep(1_200_000);
is($node->safe_psql('postgres', 'SELECT count(*) FROM effect'), '1', 'those of prepared ones are not');
$node->safe_psql('postgres', "COMMIT PREPARED 'many'");
wait_for($node, $done->('1 AND 2000', 2000), 'after COMMIT PREPARED they are');
$node->safe_psql('postgres', "COMMIT PREPARED 'late'");
wait_for($node, $done->('3002 AND 3002', 1), 'also one that came due meanwhile');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'undone'");

# --- across a restart ---

$node->safe_psql('postgres', "BEGIN; INSERT INTO clients SELECT g FROM generate_series(5001, 5100) g; PREPARE TRANSACTION 'restart'");
$node->stop('immediate');
$node->start;
wait_for($node, "SELECT state = 'waiting' FROM sopflow.worker_status", 'the worker is back');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '1', 'a prepared transaction survives a crash');
$node->safe_psql('postgres', "COMMIT PREPARED 'restart'");
wait_for($node, $done->('5001 AND 5100', 100), 'and its tasks are carried out');

# --- a definition ---

$node->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('second', 'NOW');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('second', 'n1', 'EFFECT');
	PREPARE TRANSACTION 'definition'});
is($node->safe_psql('postgres', q{SELECT sopflow.emit('NOW', 6001)}), '1', 'a prepared definition is not in force');
# in one session that has read definitions before
is($node->safe_psql('postgres', q{SELECT sopflow.emit('NOW', 6002); COMMIT PREPARED 'definition'; SELECT sopflow.emit('NOW', 6003)}),
	"1\n2", 'until it is committed');
wait_for($node, $done->('6001 AND 6003', 4), 'its tasks are carried out');

# --- locks: a cancel that may yet be undone ---

$node->safe_psql('postgres', q{
	SELECT sopflow.emit('LATE', 7001), sopflow.emit('LATE', 7002);
	BEGIN; SELECT sopflow.cancel('7001'); PREPARE TRANSACTION 'cancel1';
	BEGIN; SELECT sopflow.cancel('7002'); PREPARE TRANSACTION 'cancel2'});
$node->safe_psql('postgres', q{SELECT sopflow.emit('LATE', 7003)});
wait_for($node, $done->('7003 AND 7003', 1), 'a task behind those that a prepared transaction has locked is carried out');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.task'), '2', 'they wait');
$node->safe_psql('postgres', "COMMIT PREPARED 'cancel1'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'cancel2'");
wait_for($node, $done->('7001 AND 7002', 1), 'for what becomes of it');
is($node->safe_psql('postgres', q{SELECT subject_id, status FROM sopflow.tasks WHERE subject_id IN ('7001', '7002') ORDER BY 1}),
	"7001|cancelled\n7002|done", 'which then holds');

# --- an acknowledgement ---

$node->safe_psql('postgres', q{SELECT sopflow.emit('QUEUE', 8001)});
wait_for($node, 'SELECT count(*) = 1 FROM sopflow.offer', 'a task is ready');
my $lease = $node->safe_psql('postgres', q{
	BEGIN;
	SELECT task_id || ',' || lease_token FROM sopflow.fetch('{QUEUE}');
	PREPARE TRANSACTION 'fetch'});
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.fetch('{QUEUE}')}), '0', 'what a prepared transaction fetched is not fetched again');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'fetch'");
is($node->safe_psql('postgres', "SELECT sopflow.ack($lease)"), 'f', 'its token is void after ROLLBACK PREPARED');
wait_for($node, q{SELECT count(*) = 1 FROM sopflow.fetch('{QUEUE}', lease => '500 ms')}, 'and the task can be fetched');
wait_for($node, q{SELECT error = 'lease expired' FROM sopflow.task UNION ALL SELECT false FROM sopflow.offer}, 'a lease that ends is taken back');

is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT task_id) FROM effect WHERE subject::int = 3001'), '0|0', 'what was rolled back was never there');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT task_id) FROM effect'), '0', 'no task was carried out twice');
is(join("\n", grep { !/terminating|not properly shut down|the database system/ } log_lines($node)), '', 'nothing to read in the log');
done_testing();
