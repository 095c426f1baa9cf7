# Ten consumers share 10,000 ready tasks, and some are killed with tasks in
# hand: every task is done, none acknowledged twice, each crash shows as an
# attempt, and a lease ends at its time, by the worker's timer.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $tasks = 10_000;
my $node = new_node('main');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE TABLE clients (client_id int);
	SELECT sopflow.watch('clients', 'NEW_CLIENT', 'client_id');
	BEGIN;
	INSERT INTO sopflow.action (action, lease, backoff_base, jitter, alert_after) VALUES ('CALL', '3 s', '100 ms', 0, NULL);
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('care', 'NEW_CLIENT');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('care', 'n1', 'CALL');
	COMMIT;
	CREATE TABLE fetched (consumer int, task_id bigint, lease_token bigint, attempt int, due_at timestamptz,
		lease_until timestamptz, at timestamptz DEFAULT clock_timestamp());
	CREATE INDEX ON fetched (task_id);
	CREATE TABLE acked (consumer int, task_id bigint);
	CREATE INDEX ON acked (task_id);
	CREATE FUNCTION fetch_some(consumer int) RETURNS TABLE (ids bigint[], tokens bigint[]) LANGUAGE sql AS $$
		WITH w AS MATERIALIZED (SELECT * FROM sopflow.fetch('{CALL}', 50)),
		l AS (INSERT INTO fetched SELECT consumer, task_id, lease_token, attempt, due_at, lease_until FROM w)
		SELECT coalesce(array_agg(task_id), '{}'), coalesce(array_agg(lease_token), '{}') FROM w
	$$;
});
$node->safe_psql('postgres', "INSERT INTO clients SELECT g FROM generate_series(1, $tasks) g");
wait_for($node, "SELECT count(*) = $tasks FROM sopflow.offer", 'all tasks are ready');
my $log = -s $node->logfile;

# A consumer fetches, acknowledges and fetches again until all is done.  One
# that is to crash does so with its third batch in hand.
sub consumer
{
	my ($number, $crashes) = @_;
	my $script = "\\set more t\n";
	for my $turn (1 .. 1000)
	{
		$script .= "SELECT ids, tokens, ids = '{}' AS nothing FROM fetch_some($number) \\gset\n";
		$script .= "\\! kill -9 \$PPID\n" if $crashes && $turn == 3;
		$script .= <<"END";
\\if :nothing
SELECT pg_sleep(0.05);
SELECT count(*) = $tasks AS finished FROM acked \\gset
\\if :finished
\\quit
\\endif
\\else
INSERT INTO acked SELECT $number, a FROM sopflow.ack_many(:'ids', :'tokens') a;
\\endif
END
	}
	my $file = $node->basedir . "/consumer$number.sql";
	open(my $fh, '>', $file) or die "$file: $!";
	print $fh $script;
	close $fh;
	my $out = '';
	return IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>&', \$out, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}

my @crashing = map { consumer($_, 1) } 1 .. 5;
my @others = map { consumer($_, 0) } 6 .. 10;
for my $i (0 .. $#crashing)
{
	IPC::Run::finish($crashing[$i]);
	# one in its place
	push @others, consumer(11 + $i, 0);
}
my $ended_well = 0;
for my $consumer (@others)
{
	$ended_well++ if $consumer->finish;
}
is($ended_well, 10, 'the consumers that nobody killed go on to the end');

is( $node->safe_psql('postgres', q{SELECT status, count(*) FROM sopflow.tasks GROUP BY 1}), "done|$tasks", 'every task is done');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT task_id) FROM acked'), "$tasks|$tasks", 'and none acknowledged twice');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM fetched WHERE consumer <= 5 AND attempt = 1
	AND NOT EXISTS (SELECT FROM acked a WHERE a.task_id = fetched.task_id AND a.consumer = fetched.consumer)}),
	'250', 'five crashed with 50 tasks each in hand');
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM sopflow.tasks t
		WHERE t.attempt IS DISTINCT FROM 1 + (SELECT count(*) FROM fetched f WHERE f.task_id = t.task_id AND f.consumer <= 5
			AND NOT EXISTS (SELECT FROM acked a WHERE a.task_id = f.task_id AND a.consumer = f.consumer))}),
	'0', 'each shows as an attempt, of those tasks and no others');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT task_id, count(*) AS n, max(attempt) AS last FROM fetched GROUP BY 1) f
	WHERE n <> last}), '0', 'attempts count on without a gap');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT (task_id, lease_token)) = count(*) FROM fetched'), 't', 'no lease has the token of another');
is(counter($node, 'leases_expired'), '250', 'that many leases ended');

# the due time of the second attempt is when the worker took it back, plus the wait
is( $node->safe_psql('postgres', q{
		SELECT min(late) >= 0, max(late) < 1000 FROM (SELECT extract(epoch FROM s.due_at - f.lease_until) * 1000 - 100 AS late
			FROM fetched f JOIN fetched s USING (task_id) WHERE f.attempt = 1 AND s.attempt = 2) x}),
	't|t', 'never early, and at its time: nothing but the timer can have done it');
is(counter($node, 'wakeups_reconcile'), '0', 'the reconcile did not');

# --- a token that is stale ---

$node->safe_psql('postgres', 'INSERT INTO clients VALUES (0)');
wait_for($node, 'SELECT count(*) = 1 FROM sopflow.offer', 'another task is ready');
my ($id, $token, $attempt) = split /\|/, $node->safe_psql('postgres',
	q{SELECT task_id, lease_token, attempt FROM sopflow.fetch('{CALL}', 1, '200 ms')});
is($attempt, 1, 'it is fetched');
my $snapshot = sub {
	return $node->safe_psql('postgres', join ' UNION ALL ', map { "SELECT t::text FROM sopflow.$_ t WHERE task_id = $id" }
		  qw(task held offer dead history));
};
is($node->safe_psql('postgres', 'SELECT sopflow.ack(' . ($id - 65536) . ", $token)"), 'f', 'its token is of no use for another task');
is($node->safe_psql('postgres', "SELECT sopflow.ack($id, $token + 1)"), 'f', 'nor another token for it');
is($node->safe_psql('postgres', "SELECT sopflow.ack($id, 0)"), 'f', 'nor none');
wait_for($node, "SELECT count(*) = 1 FROM sopflow.offer WHERE task_id = $id AND lease_token = 0", 'its lease ends');
my $before = $snapshot->();
is($node->safe_psql('postgres', "SELECT sopflow.ack($id, $token)"), 'f', 'an acknowledgement that comes late is refused');
is($node->safe_psql('postgres', "SELECT sopflow.nack($id, $token, 'late', retry => false)"), 'f', 'so is its opposite');
is($node->safe_psql('postgres', "SELECT sopflow.extend($id, $token, '1 h')"), '', 'and an extension');
is($snapshot->(), $before, 'they change nothing');
my (undef, $second) = split /\|/, $node->safe_psql('postgres', q{SELECT task_id, lease_token FROM sopflow.fetch('{CALL}', 1, '1 h')});
$before = $snapshot->();
is($node->safe_psql('postgres', "SELECT sopflow.ack($id, $token)"), 'f', 'nor is the old token good for the new lease');
is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.ack_many('{$id,$id}', '{$token,$token}')"), '0', 'not in an array either');
is($snapshot->(), $before, 'nothing changes again');
is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.ack_many('{$id,$id}', '{$second,$second}')"), '1', 'the new token is, once');
is($node->safe_psql('postgres', "SELECT sopflow.ack($id, $second)"), 'f', 'and no more');
is($node->safe_psql('postgres', "SELECT status, attempt FROM sopflow.tasks WHERE task_id = $id"), 'done|2', 'it is done');
is($node->safe_psql('postgres', "SELECT string_agg(code, ' ') FROM sopflow.health"), '', 'health has nothing to say');
is(join("\n", log_lines($node, $log)), '', 'nothing to read in the log');
done_testing();
