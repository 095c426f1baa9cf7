# The worker wakes on a commit and at the exact time, and for nothing else; it
# serves all shards whatever the number of workers, and finds by its reconcile
# what no commit announced.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node('main');
$node->start;
set_up($node);
$node->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('far', 'FAR'), ('soon', 'SOON');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('far', 'n1', '1 day', 'EFFECT');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action)
		SELECT 'soon', 'n' || g, g * interval '60 ms' + interval '300 ms', 'EFFECT' FROM generate_series(1, 20) g;
	COMMIT;
});
wait_for($node, "SELECT count(*) = 1 FROM sopflow.worker_status WHERE state = 'waiting'", 'the worker runs and waits');
is( $node->safe_psql('postgres', q{
		SELECT string_agg(backend_type, ', ' ORDER BY backend_type)
		FROM pg_stat_activity WHERE backend_type LIKE 'sopflow %'}),
	'sopflow launcher, sopflow worker', 'both are seen in pg_stat_activity');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.health'), '0', 'health has nothing to say');

# --- a commit wakes it ---

my $before = counter($node, 'wakeups_commit');
$node->safe_psql('postgres', q{
	CREATE TABLE mark (at timestamptz);
	BEGIN;
	SELECT sopflow.emit('NOW', 'first');
	SELECT pg_sleep(0.3);
	INSERT INTO mark SELECT clock_timestamp();
	COMMIT;
});
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'first'", 'a task due now is carried out');
is($node->safe_psql('postgres', "SELECT e.at > m.at FROM effect e, mark m WHERE e.subject = 'first'"),
	't', 'not before its commit');
is($node->safe_psql('postgres', "SELECT e.at < m.at + interval '2 s' FROM effect e, mark m WHERE e.subject = 'first'"),
	't', 'and at once afterwards');
cmp_ok(counter($node, 'wakeups_commit'), '>', $before, 'the commit woke the worker');

$node->safe_psql('postgres', "BEGIN; SELECT sopflow.emit('NOW', 'undone'); ROLLBACK");

# --- the exact time ---

$before = counter($node, 'wakeups_timer');
$node->safe_psql('postgres', "SELECT sopflow.emit('SOON', 'timed')");
wait_for($node, "SELECT count(*) = 20 FROM effect WHERE subject = 'timed'", 'tasks due soon are carried out');
is($node->safe_psql('postgres', "SELECT bool_and(at >= due_at) FROM effect WHERE subject = 'timed'"),
	't', 'none of them early');
my $late = $node->safe_psql('postgres', q{
	SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM at - due_at) * 1000)
	FROM effect WHERE subject = 'timed'});
cmp_ok($late, '<', 50, "and late by milliseconds (median $late)");
cmp_ok(counter($node, 'wakeups_timer'), '>=', $before + 10, 'by a timer each');
is($node->safe_psql('postgres', "SELECT count(*) FROM effect WHERE subject = 'undone'"),
	'0', 'what was rolled back was never there');

# --- tasks of a far future wake nobody and slow nothing ---

my $sum = "SELECT sum(value)::bigint FROM sopflow.stats WHERE name LIKE 'wakeups_%'";
wait_for($node, "SELECT state = 'waiting' FROM sopflow.worker_status", 'the worker waits');
$before = $node->safe_psql('postgres', $sum);
$node->safe_psql('postgres', "SELECT sum(sopflow.emit('FAR', 'far' || g)) FROM generate_series(1, 20000) g");
$node->safe_psql('postgres', "SELECT sopflow.emit('FAR', 'lonely')");
usleep(300_000);
is($node->safe_psql('postgres', $sum), $before, 'tasks due tomorrow wake nobody');
$node->safe_psql('postgres', "SELECT sopflow.emit('SOON', 'timed again')");
wait_for($node, "SELECT count(*) = 20 FROM effect WHERE subject = 'timed again'", 'with 20,000 of them others are carried out');
is($node->safe_psql('postgres', "SELECT bool_and(at >= due_at) FROM effect WHERE subject = 'timed again'"),
	't', 'on time as before');

# --- a task whose commit comes after later ones were carried out ---

my $slow = async($node, "BEGIN; SELECT sopflow.emit('NOW', 'slow'); SELECT pg_sleep(1.5); COMMIT;");
wait_for($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1.5)%' AND wait_event = 'PgSleep'", 'a transaction takes its time');
$node->safe_psql('postgres', "SELECT sopflow.emit('NOW', 'quick')");
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'quick'", 'a later one is carried out before it');
is($node->safe_psql('postgres', "SELECT count(*) FROM effect WHERE subject = 'slow'"), '0', 'while it runs');
ok(finish_async($slow), 'it commits');
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'slow'", 'and its task, due before the mark, is carried out');

# --- the same, where both are due at the same microsecond ---

my $at = $node->safe_psql('postgres', 'SELECT now()');
$slow = async($node, "BEGIN; SELECT sopflow.emit('NOW', 'slow twin', occurred_at => '$at'); SELECT pg_sleep(1.5); COMMIT;");
wait_for($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1.5)%' AND wait_event = 'PgSleep'", 'a transaction takes its time');
$node->safe_psql('postgres', "SELECT sopflow.emit('NOW', 'quick twin', occurred_at => '$at')");
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'quick twin'", 'its twin is carried out before it');
ok(finish_async($slow), 'it commits');
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'slow twin'", 'and its task, due at the mark, is carried out');
is($node->safe_psql('postgres', "SELECT count(DISTINCT due_at) FROM effect WHERE subject LIKE '% twin'"), '1', 'they were due at the same time');

# --- a worker that waits holds nothing ---

wait_for($node, "SELECT state = 'waiting' FROM sopflow.worker_status", 'the worker waits');
is($node->safe_psql('postgres', q{
		SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'sopflow worker'
		AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR xact_start IS NOT NULL)}),
	'0', 'it has no transaction and no snapshot open');

# --- what no commit callback announces ---

$node->safe_psql('postgres', "BEGIN; SELECT sopflow.emit('NOW', 'prepared'); PREPARE TRANSACTION 'p1'");
$node->safe_psql('postgres', "SELECT sopflow.emit('NOW', 'passing')");
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'passing'", 'the mark goes past a prepared transaction');
$node->safe_psql('postgres', "COMMIT PREPARED 'p1'");
$node->append_conf('postgresql.conf', "sopflow.reconcile_interval = 1\n");
$node->reload;
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'prepared'", 'the reconcile finds the task of a prepared transaction');
wait_for($node, "SELECT value > 0 FROM sopflow.stats WHERE name = 'wakeups_reconcile'", 'it is counted');
$node->append_conf('postgresql.conf', "sopflow.reconcile_interval = 3600\n");
$node->reload;

# --- two workers ---

$node->append_conf('postgresql.conf', "sopflow.workers = 2\n");
$node->reload;
wait_for($node, "SELECT count(*) = 2 FROM sopflow.worker_status WHERE state = 'waiting'", 'a second worker comes at SIGHUP');
$node->safe_psql('postgres', "SELECT sum(sopflow.emit('NOW', 'two' || g)) FROM generate_series(1, 500) g");
wait_for($node, "SELECT count(*) >= 500 FROM effect WHERE subject LIKE 'two%'", 'two workers carry out 500 tasks');
is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT task_id), count(DISTINCT pid) FROM effect WHERE subject LIKE 'two%'"),
	'500|500|2', 'each once, both of them at work');

$node->restart;
wait_for($node, "SELECT count(*) = 2 FROM sopflow.worker_status WHERE state = 'waiting'", 'both are there after a restart');
$node->append_conf('postgresql.conf', "sopflow.workers = 1\n");
$node->reload;
wait_for($node, "SELECT count(*) = 1 FROM sopflow.worker_status", 'the second leaves at SIGHUP');
$node->safe_psql('postgres', "SELECT sum(sopflow.emit('NOW', 'one' || g)) FROM generate_series(1, 500) g");
wait_for($node, "SELECT count(*) = 500 FROM effect WHERE subject LIKE 'one%'", 'the first serves all shards again');

# --- databases to serve ---

$node->append_conf('postgresql.conf', "sopflow.databases = ''\n");
$node->reload;
wait_for($node, 'SELECT count(*) = 0 FROM sopflow.worker_status', 'no worker where none is asked for');
is($node->safe_psql('postgres', "SELECT string_agg(code, ',') FROM sopflow.health"), 'no_worker', 'health says so');
$node->safe_psql('postgres', "SELECT sopflow.emit('NOW', 'unserved')");
usleep(200_000);
is($node->safe_psql('postgres', "SELECT count(*) FROM effect WHERE subject = 'unserved'"), '0', 'nothing is carried out');
$node->append_conf('postgresql.conf', "sopflow.databases = 'template1, postgres'\n");
$node->reload;
wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'unserved'", 'until a worker comes');

# --- terminating either ---

my $pid = worker_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for($node, "SELECT count(*) = 1 FROM sopflow.worker_status WHERE pid <> $pid", 'a terminated worker is replaced');
$pid = $node->safe_psql('postgres', 'SELECT launcher_pid FROM sopflow.dispatcher()');
my $worker = worker_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for($node, "SELECT launcher_pid <> $pid FROM sopflow.dispatcher()", 'so is a terminated launcher');
is(worker_pid($node), $worker, 'which leaves the worker alone');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
wait_for($node, "SELECT count(*) = 1 FROM sopflow.worker_status WHERE pid <> $worker", 'and replaces one that it did not start');

# --- the clock of ALTER SYSTEM ---

$node->safe_psql('postgres', q{SELECT format('ALTER SYSTEM SET sopflow.clock = %L', now() + interval '25 hours') \gexec});
$node->reload;
wait_settled($node, 'under a clock set to tomorrow, tomorrow\'s tasks are carried out');
is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT task_id) FROM effect WHERE subject LIKE 'far%'"), '20000|20000', 'each once');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET sopflow.clock');
$node->reload;
$node->safe_psql('postgres', "SELECT sopflow.emit('SOON', 'today again')");
wait_for($node, "SELECT count(*) = 20 FROM effect WHERE subject = 'today again'", 'without it today\'s are, by the timer');
wait_for($node, "SELECT state = 'waiting' FROM sopflow.worker_status", 'the worker waits');

# --- an orderly stop ---

my $end = -s $node->logfile;
$node->stop;
is(join("\n", log_lines($node, $end)), '', 'a fast shutdown leaves nothing to read in the log');
is(join("\n", grep { !/terminating background worker/ } log_lines($node)), '', 'nor was there any other trouble');
done_testing();
