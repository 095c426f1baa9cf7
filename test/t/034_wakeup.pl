# No wake-up is lost under load: the reconcile comes once an hour, so only a
# commit can wake the worker; and what is due tomorrow wakes nobody.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node('main', 'synchronous_commit = off', 'sopflow.reconcile_interval = 1h');
$node->start;
set_up($node);
$node->safe_psql('postgres', q{
	CREATE TABLE clients (client_id int);
	SELECT sopflow.watch('clients', 'NOW', 'client_id');
	CREATE TABLE leads (lead_id int);
	SELECT sopflow.watch('leads', 'FAR', 'lead_id');
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('far', 'FAR'), ('soon', 'SOON');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('far', 'n1', '1 day', 'EFFECT'), ('soon', 'n1', '5 ms', 'EFFECT');
	COMMIT;
	CREATE TABLE committed (subject text, at timestamptz);
});

# Each transaction notes when it is about to commit.
srand(4711);
sub session
{
	my ($number, $turns) = @_;
	my $sql = '';
	for my $turn (1 .. $turns)
	{
		my $subject = $number * 100_000 + $turn;
		my $pause = rand() < 0.5 ? rand(0.003) : rand(0.03);
		my $event = $turn % 3 == 0 ? "SELECT sopflow.emit('SOON', $subject)" : "INSERT INTO clients VALUES ($subject)";
		# now and then a transaction that takes its time: others overtake it
		my $within = $turn % 5 == 0 ? sprintf('SELECT pg_sleep(%f);', rand(0.02)) : '';
		# and one that goes to and fro with a savepoint
		my $savepoint = $turn % 7 == 0 ? 'SAVEPOINT s; INSERT INTO clients VALUES (-1); ROLLBACK TO s;' : '';
		$sql .= "BEGIN; $savepoint $event; $within INSERT INTO committed VALUES ($subject, clock_timestamp()); COMMIT;\n";
		$sql .= sprintf("SELECT pg_sleep(%f);\n", $pause);
	}
	my $file = $node->basedir . "/session$number.sql";
	open(my $fh, '>', $file) or die "$file: $!";
	print $fh $sql;
	close $fh;
	my $out = '';
	return IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>&', \$out, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}

sub load
{
	my ($first, $sessions, $turns, $name) = @_;
	my @sessions = map { session($_, $turns) } $first .. $first + $sessions - 1;
	my $well = grep { $_->finish } @sessions;
	is($well, $sessions, "$name: $sessions sessions at once");
	my $expected = $sessions * $turns;
	my $mine = "subject::int / 100000 BETWEEN $first AND $first + $sessions - 1";
	wait_for($node, "SELECT count(*) = $expected FROM effect WHERE $mine", "$name: every task is carried out");
	is($node->safe_psql('postgres', "SELECT count(DISTINCT task_id) FROM effect WHERE $mine"), $expected, "$name: once");
	my ($max, $median) = split /\|/, $node->safe_psql('postgres', qq{
		SELECT max(late), percentile_cont(0.5) WITHIN GROUP (ORDER BY late) FROM
			(SELECT extract(epoch FROM e.at - greatest(c.at, e.due_at)) * 1000 AS late FROM effect e JOIN committed c USING (subject) WHERE $mine) l});
	cmp_ok($max, '<', 2000, "$name: none late by two seconds (most $max ms, median $median ms)");
}

my $reconciles = counter($node, 'wakeups_reconcile');
my $commits = counter($node, 'wakeups_commit');
load(1, 4, 150, 'one worker');
cmp_ok(counter($node, 'wakeups_commit'), '>', $commits, 'commits woke the worker');

# three workers: each commit wakes those whose tasks it wrote, and loses none
$node->append_conf('postgresql.conf', "sopflow.workers = 3\n");
$node->reload;
wait_for($node, "SELECT count(*) = 3 FROM sopflow.worker_status WHERE state = 'waiting'", 'three workers');
load(5, 4, 100, 'three workers');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT pid) FROM effect WHERE subject::int / 100000 BETWEEN 5 AND 8'), '3', 'all three had a share');
is(counter($node, 'wakeups_reconcile'), $reconciles, 'the reconcile had no part in it');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.task'), '0', 'nothing is left');

# --- the far future ---

wait_for($node, "SELECT count(*) = 3 FROM sopflow.worker_status WHERE state = 'waiting'", 'the workers wait');
my $sum = "SELECT string_agg(name || ' ' || value, ', ' ORDER BY name) FROM sopflow.stats WHERE name LIKE 'wakeups_%' OR name = 'passes'";
my $before = $node->safe_psql('postgres', $sum);
my @far = map { async($node, join(';', map { "INSERT INTO leads VALUES ($_)" } $_ * 1000 .. $_ * 1000 + 200)) } 1 .. 4;
is(scalar(grep { finish_async($_) } @far), 4, 'four sessions insert what is due tomorrow');
$node->safe_psql('postgres', 'INSERT INTO leads SELECT g FROM generate_series(10001, 30000) g');
usleep(200_000);
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.task'), '20804', 'it is there');
is($node->safe_psql('postgres', $sum), $before, 'and has woken nobody');
is(join("\n", grep { !/terminating background worker/ } log_lines($node)), '', 'nothing to read in the log');
done_testing();
