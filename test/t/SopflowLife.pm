# What the life-cycle tests share: a server with the worker preloaded, handlers
# that leave a row, sessions that run beside the test, and the server log.

package SopflowLife;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(new_node set_up async finish_async open_session ask submit answer close_session
	wait_for wait_settled wait_up counter log_lines worker_pid);

# A server that is not started yet.  Crashes are recovered from, and the
# reconcile is so rare that nothing but the mechanism under test explains what
# happens.
sub new_node
{
	my ($name, @lines) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf', join "\n",
		"shared_preload_libraries = 'sopflow'", 'restart_after_crash = on',
		'max_prepared_transactions = 10', 'max_worker_processes = 20',
		'sopflow.reconcile_interval = 3600', @lines, '');
	return $node;
}

# The extension, a table of effects, and an SOP for the event NOW whose one
# task is due at once and leaves an effect.
sub set_up
{
	my ($node, $db) = @_;
	$node->safe_psql($db // 'postgres', q{
		CREATE EXTENSION sopflow;
		CREATE TABLE effect (task_id bigint, subject text, due_at timestamptz,
			at timestamptz DEFAULT clock_timestamp(), pid int DEFAULT pg_backend_pid());
		CREATE FUNCTION leave_effect(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO public.effect (task_id, subject, due_at) VALUES (w.task_id, w.subject_id, w.due_at);
			RETURN '{}';
		END $$;
		BEGIN;
		INSERT INTO sopflow.action (action, delivery, handler) VALUES ('EFFECT', 'call', 'public.leave_effect');
		INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('now', 'NOW');
		INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('now', 'n1', 'EFFECT');
		COMMIT;
	});
}

# Run SQL in a session of its own, beside the test.
sub async
{
	my ($node, $sql, $db) = @_;
	my ($out, $err) = ('', '');
	my $handle = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db // 'postgres'), '-c', $sql ],
		'<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return { handle => $handle, out => \$out, err => \$err };
}

# Wait for it; true if psql was content.
sub finish_async
{
	my ($session) = @_;
	return $session->{handle}->finish;
}

# A session that stays: statements one after the other, each with its answer.
sub open_session
{
	my ($node, $db) = @_;
	my $session = { in => '', out => '', err => '', asked => 0 };
	$session->{handle} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($db // 'postgres'), '-f', '-' ],
		'<', \$session->{in}, '>', \$session->{out}, '2>', \$session->{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $session;
}

# Send SQL; answer() waits for what it gives, errors included.
sub submit
{
	my ($session, $sql) = @_;
	my $mark = '-- answer ' . ++$session->{asked};
	$session->{in} .= "$sql\n;\n\\echo '$mark'\n\\warn '$mark'\n";
	$session->{handle}->pump_nb;
	return;
}

sub answer
{
	my ($session) = @_;
	my $mark = qr/-- answer $session->{asked}\n/;
	$session->{handle}->pump until $session->{out} =~ $mark && $session->{err} =~ $mark;
	my $answer = $session->{out} . $session->{err};
	$session->{out} = $session->{err} = '';
	$answer =~ s/$mark//g;
	$answer =~ s/^psql:<stdin>:\d+: //gm;
	chomp $answer;
	return $answer;
}

sub ask
{
	my ($session, $sql) = @_;
	submit($session, $sql);
	return answer($session);
}

sub close_session
{
	my ($session) = @_;
	$session->{in} .= "\\q\n";
	return $session->{handle}->finish;
}

# Wait until a query says t; one test.
sub wait_for
{
	my ($node, $query, $name, $db) = @_;
	return ok($node->poll_query_until($db // 'postgres', $query), $name);
}

# Wait until the server takes connections after a crash that the log tells of,
# from an offset on.  Until then psql may end before it has read what it is
# given, which is more than a false answer.
sub wait_up
{
	my ($node, $offset) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if log_lines($node, $offset, qr/all server processes terminated/)
		  && eval { $node->psql('postgres', 'SELECT') == 0 };
		usleep(100_000);
	}
	die 'the server does not come back';
}

# Wait until no task is pending and no run active; one test.
sub wait_settled
{
	my ($node, $name, $db) = @_;
	return wait_for($node,
		'SELECT NOT EXISTS (SELECT FROM sopflow.task) AND NOT EXISTS (SELECT FROM sopflow.held)'
		  . ' AND NOT EXISTS (SELECT FROM sopflow.run)', $name, $db);
}

sub counter
{
	my ($node, $name, $db) = @_;
	return $node->safe_psql($db // 'postgres', "SELECT value::bigint FROM sopflow.stats WHERE name = '$name'");
}

sub worker_pid
{
	my ($node, $worker) = @_;
	$worker //= 0;
	return $node->safe_psql('postgres',
		"SELECT pid FROM sopflow.worker_status WHERE database = 'postgres' AND worker = $worker");
}

# Lines of the server log from an offset on that match; without a pattern all
# that tell of trouble.
sub log_lines
{
	my ($node, $offset, $pattern) = @_;
	$pattern //= qr/\b(?:WARNING|ERROR|FATAL|PANIC):/;
	my $log = substr(slurp_file($node->logfile), $offset // 0);
	return grep { /$pattern/ } split /\n/, $log;
}

1;
