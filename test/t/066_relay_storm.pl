# 20,000 tasks against a server that answers by chance 200, 429, 500, nothing or
# a reset, while the relay is killed three times and the database restarted:
# every task ends, every one that is done was delivered, none is delivered twice
# but those that were in hand at a kill, and the relay's memory stays as it is.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(max min sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RelayTest;
use SopflowLife;
use Test::More;
use Time::HiRes qw(time usleep);

my $tasks = $ENV{SOPFLOW_STORM_TASKS} // 20_000;
# longer where the relay itself is slow
my $timeout = $ENV{SOPFLOW_STORM_TIMEOUT} // '500ms';
my $dir = PostgreSQL::Test::Utils::tempdir;
build_tools($dir);
my $node = new_node('main', 'max_connections = 30');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE TABLE clients (client_id int);
	SELECT sopflow.watch('clients', 'NEW_CLIENT', 'client_id');
	BEGIN;
	INSERT INTO sopflow.action (action, lease, max_attempts, backoff_base, backoff_factor, jitter, alert_after)
	VALUES ('STORM', '4 s', 5, '200 ms', 1.5, 0.2, NULL);
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('care', 'NEW_CLIENT');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('care', 'n1', 'STORM');
	COMMIT;
});
my $server = start_server("$dir/storm.log");
my $config = write_config("$dir/relay.yml", <<"END");
metrics: {listen: 127.0.0.1:0}
targets:
  storm: {type: webhook, url: "http://127.0.0.1:$server->{http}/storm", timeout: $timeout, concurrency: 300}
actions: {STORM: storm}
END

# lines of the relay's figures
sub figure
{
	my ($relay, $name) = @_;
	my ($body) = (relay_metrics($relay))[1];
	return $body =~ /^sopflow_relay_\Q$name\E (\d+)$/m ? $1 : -1;
}

sub memory_kb
{
	my ($relay) = @_;
	return slurp_file('/proc/' . relay_pid($relay) . '/status') =~ /^VmRSS:\s+(\d+)/m ? $1 : 0;
}

my $ended = q{(SELECT count(*) FROM sopflow.history) + (SELECT count(*) FROM sopflow.dead)};
my @memory;

# Wait until so many tasks have ended, looking at the relay's memory.
sub wait_for_ended
{
	my ($relay, $count, $name) = @_;
	my $end = time + 3 * $PostgreSQL::Test::Utils::timeout_default;
	my $now = 0;
	until ($now >= $count || time > $end)
	{
		usleep(50_000);
		$relay->{handle}->pump_nb;
		push @memory, memory_kb($relay);
		$now = $node->safe_psql('postgres', "SELECT $ended");
	}
	return cmp_ok($now, '>=', $count, $name);
}

$node->safe_psql('postgres', "INSERT INTO clients SELECT g FROM generate_series(1, $tasks) g");
my $begin = time;
my %in_hand;
my $lost = 0;
my $relay;
for my $kill (1 .. 3)
{
	$relay = start_relay($node, $config);
	wait_for_ended($relay, $tasks * $kill * 0.15, "the relay delivers, $kill");
	$relay->{handle}->signal('KILL');
	is(end_relay($relay), -9, 'it is killed');
	# its statements may be under way still
	$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())});
	$in_hand{$_} = 1 for split /\n/, $node->safe_psql('postgres', 'SELECT task_id, lease_token FROM sopflow.offer WHERE lease_token <> 0');
}
cmp_ok(scalar(keys %in_hand), '>', 0, 'with ' . keys(%in_hand) . ' tasks in hand in all');
@memory = ();
$relay = start_relay($node, $config);
wait_for_ended($relay, $tasks * 0.55, 'another one goes on');
$node->restart;
said($relay, qr/connection to the database lost.*connected to database/s, 'the database is restarted, and the relay finds it again');
wait_for_ended($relay, $tasks, 'all tasks end');
my $seconds = time - $begin;
$node->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM sopflow.run)');
$lost = figure($relay, 'lost_leases_total');
is(figure($relay, 'reconnects_total'), 1, 'it was disconnected once');
is(figure($relay, 'unreported'), 0, 'every outcome was reported');
is(stop_relay($relay), 0, 'SIGTERM ends the relay');

is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE status NOT IN ('done', 'dead')}), '0', 'every task is done or dead');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks}), $tasks, 'none is missing');
my ($done, $dead) = map { $node->safe_psql('postgres', "SELECT count(*) FROM sopflow.tasks WHERE status = '$_'") } qw(done dead);

# --- what the server saw ---

my (%delivered, %seen, %before);
my ($requests, $repeated, $resent) = (0, 0, 0);
for my $line (split /\n/, slurp_file("$dir/storm.log"))
{
	my ($task, $attempt, $answer) = split / /, $line;
	$requests++;
	$delivered{$task}++ if $answer eq '200';
	# curl itself tries again on a fresh connection when one that it had kept is reset
	if (defined $before{"$task $attempt"})
	{
		$before{"$task $attempt"} eq 'reset' ? $resent++ : $repeated++;
	}
	$before{"$task $attempt"} = $answer;
}
my @not_delivered = grep { !$delivered{$_} } split /\n/, $node->safe_psql('postgres', q{SELECT task_id FROM sopflow.tasks WHERE status = 'done'});
is("@not_delivered[0 .. min(4, $#not_delivered)]", '', 'every task that is done was answered 200');
my $duplicates = sum0(map { $_ - 1 } values %delivered);
my $in_hand = keys %in_hand;
cmp_ok($duplicates, '<=', $in_hand, "$duplicates were delivered twice, at most the $in_hand in hand at a kill");
is($lost, 0, 'no other lease ended');
is($repeated, 0, 'no attempt was made twice, but when the connection was reset');
my @dead_in_time = $node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE status = 'dead' AND attempt < 5});
is("@dead_in_time", '0', 'a task is dead after its last attempt only');

# --- memory ---

my $quarter = int(@memory / 4);
my $early = max(@memory[$quarter .. 2 * $quarter]);
my $late = max(@memory[3 * $quarter .. $#memory]);
# a sanitizer keeps what was freed; it looks for leaks itself
cmp_ok($late, '<=', $early * 1.15 + 1024, "memory is flat: $early kB, later $late kB") unless $ENV{SOPFLOW_RELAY_PROGRAM};
diag(sprintf('%d done, %d dead, %d requests (%d sent again after a reset), %.1f s: %.0f deliveries a second', $done, $dead, $requests, $resent,
		$seconds, $requests / $seconds));
stop_server($server);
done_testing();
