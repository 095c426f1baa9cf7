# While an old snapshot keeps dead entries in the indexes, a pass does not walk
# through them again: what it reads depends on what is due, not on what was.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $node = new_node('main', 'autovacuum = off');
$node->start;
set_up($node);
$node->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO sopflow.action (action) VALUES ('QUEUE');
	INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('noop', 'NOOP', 'allow'), ('queue', 'QUEUE', 'allow');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('noop', 'n1', NULL), ('queue', 'n1', 'QUEUE');
	COMMIT;
});
wait_for($node, "SELECT state = 'waiting' FROM sopflow.worker_status", 'the worker waits');

# Entries that were read from an index.  The worker reports them at the end of a
# pass, once a second at most.
sub entries_read
{
	my ($index) = @_;
	$node->safe_psql('postgres', q{SELECT pg_sleep(1.1); SELECT sopflow.emit('NOOP', 'tick'); SELECT pg_sleep(0.2)});
	return $node->safe_psql('postgres', "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelid = 'sopflow.$index'::regclass");
}

my $old = $node->background_psql('postgres', on_error_stop => 1);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');

# --- the worker ---

$node->safe_psql('postgres', q{SELECT sum(sopflow.emit('NOOP', g)) FROM generate_series(1, 50000) g});
wait_settled($node, '50,000 tasks are done under an old snapshot');
my $vacuum = $node->safe_psql('postgres', 'VACUUM sopflow.task; SELECT pg_relation_size(\'sopflow.task_due\')');
cmp_ok($vacuum, '>', 1_000_000, 'their entries are in the index still, whatever vacuum does');
my $before = entries_read('task_due');
is($node->safe_psql('postgres', 'SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM sopflow.task WHERE due_at <= now()'),
	'0', 'none is visible');
cmp_ok(entries_read('task_due') - $before, '>=', 50_000, 'and whoever looks from the beginning reads them all');
my $passes = counter($node, 'passes');
$before = entries_read('task_due');
for my $i (1 .. 100)
{
	$node->safe_psql('postgres', "SELECT sopflow.emit('NOW', $i)");
}
wait_for($node, 'SELECT count(*) = 100 FROM effect', 'a hundred more are carried out');
my $read = entries_read('task_due') - $before;
$passes = counter($node, 'passes') - $passes;
cmp_ok($passes, '>=', 50, "in many passes ($passes)");
cmp_ok($read, '<', 5000, "that read $read entries in all, not 50,000 each");

# several commits at once move the mark back as far as they need, and no further
$before = entries_read('task_due');
my @sessions = map { async($node, join(';', map { "SELECT sopflow.emit('NOW', $_)" } $_ * 1000 .. $_ * 1000 + 49)) } 1 .. 3;
is(scalar(grep { finish_async($_) } @sessions), 3, 'three sessions at once');
wait_for($node, 'SELECT count(*) = 250 FROM effect', 'their tasks are carried out');
$read = entries_read('task_due') - $before;
cmp_ok($read, '<', 20_000, "with $read entries read");

# --- consumers ---

my $rows = 20_000;
$node->safe_psql('postgres', "SELECT sum(sopflow.emit('QUEUE', g)) FROM generate_series(1, $rows) g");
wait_for($node, "SELECT count(*) = $rows FROM sopflow.offer", 'tasks are ready');
my $fetch = q{SELECT count(*) FROM (SELECT sopflow.ack_many(coalesce(array_agg(task_id), '{}'), coalesce(array_agg(lease_token), '{}')) FROM sopflow.fetch('{QUEUE}', 1000)) a};
$node->safe_psql('postgres', join ';', ($fetch) x 20);
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.offer'), '0', 'they are done');
$node->safe_psql('postgres', $fetch);
$before = entries_read('offer_fetch');
for my $i (1 .. 20)
{
	$node->safe_psql('postgres', "SELECT sopflow.emit('QUEUE', 'x$i')");
	$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM sopflow.offer');
	$node->safe_psql('postgres', "$fetch; $fetch; $fetch");
}
$read = entries_read('offer_fetch') - $before;
is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.tasks WHERE sop_id = 'queue' AND status = 'done'"), $rows + 20, 'twenty more are fetched one at a time');
cmp_ok($read, '<', 5000, "by 60 fetches that read $read entries in all, not 20,000 each");

# --- and the snapshot sees what it saw ---

is($old->query_safe('SELECT count(*) FROM sopflow.tasks'), '0', 'the old snapshot was there all the time');
$old->query_safe('COMMIT');
$old->quit;
done_testing();
