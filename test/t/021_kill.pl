# A crash in the middle of 50,000 due tasks loses none and repeats none: kill -9
# of the worker, kill -9 of a backend that dispatches by hand, and an immediate
# stop of the server.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

my $tasks = 50_000;
my $node = new_node('main');
$node->start;
set_up($node);
$node->safe_psql('postgres', q{
	CREATE TABLE clients (client_id int PRIMARY KEY, name text);
	SELECT sopflow.watch('clients', 'NOW', 'client_id');
	-- slow enough to be killed in the middle
	CREATE OR REPLACE FUNCTION leave_effect(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.effect (task_id, subject, due_at) VALUES (w.task_id, w.subject_id, w.due_at);
		IF w.task_id / 65536 % 10 = 0 THEN
			PERFORM pg_sleep(0.0005);
		END IF;
		RETURN '{}';
	END $$;
});

# Write the tasks anew.
sub fill
{
	$node->safe_psql('postgres', qq{
		TRUNCATE clients, effect;
		TRUNCATE sopflow.history, sopflow.run_history;
		INSERT INTO clients SELECT g, 'client ' || g FROM generate_series(1, $tasks) g;
	});
}

# Every effect is there exactly once, and the history agrees.
sub check
{
	my ($what) = @_;
	wait_settled($node, "$what: nothing is pending after recovery");
	is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT task_id), count(DISTINCT subject) FROM effect'),
		"$tasks|$tasks|$tasks", "$what: every effect is there exactly once");
	is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT task_id), bool_and(status = $$done$$), max(attempt) FROM sopflow.tasks'),
		"$tasks|$tasks|t|1", "$what: every task is done, at its first attempt");
	is($node->safe_psql('postgres', 'SELECT count(*), bool_and(state = $$completed$$) FROM sopflow.runs'),
		"$tasks|t", "$what: every run is completed");
}

sub in_the_middle
{
	my ($what) = @_;
	wait_for($node, 'SELECT count(*) >= 5000 FROM effect', "$what: thousands are carried out");
}

sub was_in_the_middle
{
	my ($what) = @_;
	my $done = $node->safe_psql('postgres', 'SELECT count(*) FROM effect');
	ok($done < $tasks, "$what: $done were, when it came");
}

# Keep the workers away, or let them come.
sub serve
{
	my ($databases) = @_;
	$node->append_conf('postgresql.conf', "sopflow.databases = '$databases'\n");
	$node->reload;
}

sub kill9
{
	my ($pid) = @_;
	is(kill('KILL', $pid), 1, "process $pid is killed");
}

# --- the worker ---

wait_for($node, 'SELECT count(*) = 1 FROM sopflow.worker_status', 'the worker runs');
fill();
in_the_middle('worker killed');
my $pid = worker_pid($node);
serve('');
kill9($pid);
usleep(500_000);
wait_for($node, "SELECT launcher_pid <> 0 FROM sopflow.dispatcher()", 'the server recovers');
was_in_the_middle('worker killed');
serve('*');
check('worker killed');

# --- a backend that calls handlers in run_due() ---

serve('');
wait_for($node, 'SELECT count(*) = 0 FROM sopflow.worker_status', 'the worker is kept away');
fill();
my $session = async($node, "SELECT sopflow.run_due($tasks, '1 hour')");
wait_for($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT sopflow.run_due%' AND state = 'active' AND query_start < clock_timestamp() - interval '0.5 s'", 'a session dispatches');
kill9($node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT sopflow.run_due%' AND state = 'active' AND pid <> pg_backend_pid()"));
ok(!finish_async($session), 'its session is lost');
usleep(500_000);
wait_for($node, "SELECT launcher_pid <> 0 FROM sopflow.dispatcher()", 'the server recovers');
was_in_the_middle('backend killed');
serve('*');
check('backend killed');

# --- the server ---

fill();
in_the_middle('immediate stop');
$node->stop('immediate');
$node->append_conf('postgresql.conf', "sopflow.databases = ''\n");
$node->start;
was_in_the_middle('immediate stop');
serve('*');
check('immediate stop');

$node->stop;
done_testing();
