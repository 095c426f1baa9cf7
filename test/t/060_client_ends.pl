# How the program sopflow ends, and what it says: standard descriptors that are
# closed or full, signals while a statement or a connection waits, and messages.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowClient;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', "sopflow.databases = 'none_of_these'");
$node->start;
use_node($node);
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	INSERT INTO sopflow.action (action) VALUES ('CALL');
});
my @event = ('ingest', '--event=NEW_CLIENT', '--subject-field=id');
my $file = file_with("$dir/ends.yml", "id: ends\ntrigger_event: NEW_CLIENT\nnodes: [{id: a, delay: 1h, action: CALL}]\n");

sub delay
{
	return $node->safe_psql('postgres', q{SELECT extract(epoch FROM delay)::int / 3600 FROM sopflow.sop_node WHERE sop_id = 'ends'});
}

sub edit
{
	my ($hours) = @_;
	return file_with($file, slurp_file($file) =~ s/\d+h/${hours}h/r);
}

# The program with its standard descriptors as the shell is told.
sub redirected
{
	my ($how, @args) = @_;
	return [ 'sh', '-c', "exec sopflow \"\$@\" $how", 'sh', @args ];
}

# Until a client waits for a lock; one test.
sub wait_blocked
{
	my ($name) = @_;
	return wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'}, $name);
}

# --- standard descriptors ---

client_is('standard output is full', [ redirected('>/dev/full', 'load', $file) ], 1, '',
	qr/the files were loaded, although what changed could not be printed\n.*could not write to standard output: No space left on device\n/s);
is(delay(), 1, 'the file is loaded as it says');
client_is('top with a full standard output', [ redirected('>/dev/full', 'top', '--once') ], 1, '',
	qr/could not write to standard output: No space left on device\n/);
edit(2);
client_is('standard output is closed', [ redirected('>&-', 'load', '--dry-run', $file) ], 1, '', qr/could not write to standard output: Bad file descriptor\n/);
client_is('and nothing is printed', [ redirected('>&-', 'load', '-q', $file) ], 0, '', '');
is(delay(), 2, 'then all is well');
client_is('standard input is closed', [ redirected('<&-', @event) ], 1, '', qr/could not read standard input: Bad file descriptor\n/);
client_is('a file that it would be', [ redirected('<&-', 'load', '-') ], 4, '', qr/^-: error: Bad file descriptor\n/);
client_is('standard error is closed', [ redirected('2>&-', @event, '--skip-bad'), { stdin => qq({"id":1}\n{\n{"id":2}\n) } ], 0, '', '');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.runs'), 2, 'the events are taken in');
client_is('all are closed', [ redirected('<&- >&- 2>&-', 'validate', $file) ], 0, '', '');

# --- messages ---

client_is('a file without a name', [ 'load', '' ], 4, '', qr/^"": error: No such file or directory\n/);
client_is('text of others in an error', [ @event, '--source=esc', '--time-field=at', { stdin => qq({"id":1,"at":"\\u001b[31mred"}\n) } ], 4, '',
	qr/line 1: [^\e]*\\x1b\[31mred/);

# --- signals while the server is busy ---

my $locker = open_session($node);
ask($locker, q{BEGIN; SELECT FROM sopflow.sop WHERE sop_id = 'ends' FOR UPDATE});
edit(3);
for my $signal ('TERM', 'INT')
{
	my $watch = start_client('load', '--watch', $file);
	wait_blocked("a load waits for a lock, $signal");
	is(stop_client($watch, $signal), 0, 'the signal ends it');
	like($watch->{err}, qr/the statement under way was cancelled\n/, 'and it says so');
}
my $watch = start_client('load', '--watch', $file);
wait_blocked('a load waits for a lock, two signals');
$watch->{handle}->signal('INT');
my $pid = $watch->{handle}->{KIDS}[0]{PID};
for (1 .. 1000)
{
	my ($caught) = slurp_file("/proc/$pid/status") =~ /^SigCgt:\s*([0-9a-f]+)/m;
	last if !(hex(substr $caught, -2) & 2);
	usleep(1000);
}
is(stop_client($watch, 'INT'), 'signal 2', 'a second SIGINT ends it at once');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'});
ask($locker, 'ROLLBACK');
is(delay(), 2, 'nothing was loaded');

$node->safe_psql('postgres', q{SELECT FROM sopflow.ingest('held', '[]', 0)});
ask($locker, q{BEGIN; UPDATE sopflow.ingest_offset SET position = 0 WHERE source = 'held'});
my $ingest = start_client(@event, '--source=held');
$ingest->{in} = qq({"id":"x"}\n{"id":"y"}\n);
$ingest->{handle}->pump while length $ingest->{in};
wait_blocked('a batch waits for another reader');
is(stop_client($ingest), 1, 'SIGTERM ends it');
like($ingest->{err}, qr/lines 1 to 2 were not taken in\n/, 'and it says what is not taken in');
ask($locker, 'ROLLBACK');
is($node->safe_psql('postgres', q{SELECT position FROM sopflow.ingest_offset WHERE source = 'held'}), 0, 'the position stays');
client_is('the same again', [ @event, '--source=held', { stdin => qq({"id":"x"}\n{"id":"y"}\n) } ], 0, '', qr/2 events taken in/);

# --- a server that answers no more ---

ask($locker, q{BEGIN; SELECT FROM sopflow.sop WHERE sop_id = 'ends' FOR UPDATE});
$watch = start_client('load', '--watch', $file);
wait_blocked('a load waits for a lock, and its backend for nothing');
my $backend = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'});
kill 'STOP', $backend;
is(stop_client($watch), 0, 'SIGTERM ends it though no cancel helps');
unlike($watch->{err}, qr/invalid socket/, 'and it says why');
kill 'CONT', $backend;
ask($locker, 'ROLLBACK');
ok(close_session($locker), 'the lock is gone');

# what has taken so many bytes, and then is as dead as a broken network
my $mute = PostgreSQL::Test::Utils::tempdir_short();
my $wire = IPC::Run::start([ $^X, '-MIO::Select', '-MIO::Socket::UNIX', '-e', q{
	my ($from, $to) = @ARGV;
	my $listener = IO::Socket::UNIX->new(Local => $from, Listen => 5) or die $!;
	print STDERR "listening\n";
	my $client = $listener->accept;
	my $server = IO::Socket::UNIX->new(Peer => $to) or die $!;
	my $select = IO::Select->new($client, $server);
	for (my $taken = 0; $taken < 100_000;)
	{
		for my $one ($select->can_read)
		{
			sysread $one, my $bytes, 8192 or exit;
			syswrite $one == $client ? $server : $client, $bytes;
			$taken += length $bytes if $one == $client;
		}
	}
	print STDERR "mute\n";
	sleep;
}, "$mute/.s.PGSQL." . $node->port, $node->host . '/.s.PGSQL.' . $node->port ],
	'2>', \my $said, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
$wire->pump until $said;
my $big = file_with("$dir/big", join '', map { sprintf qq({"id":"m%d","c":{"x":"%s"}}\n), $_, 'x' x 3000 } 1 .. 900);
{
	local $ENV{PGHOST} = $mute;
	$ingest = start_client(redirected("<'$big'", @event, '--source=mute', '--context-field=c'));
}
$wire->pump until $said =~ /mute/;
is(stop_client($ingest), 3, 'SIGTERM ends it where nothing can be sent');
like($ingest->{err}, qr/the connection is lost.*lines 1 to 900 were not taken in\n/s, 'and it says what is not taken in');
$wire->kill_kill;
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.ingest_offset WHERE source = 'mute'}), 0, 'nothing of it was');

# --- a server that takes a connection and says nothing ---

my $path = $node->host . '/.s.PGSQL.' . $node->port;
for my $timeout (undef, 2)
{
	local $ENV{PGCONNECT_TIMEOUT} = $timeout;
	delete $ENV{PGCONNECT_TIMEOUT} unless defined $timeout;
	$watch = start_client('load', '--watch', $file);
	wait_output($watch, 'err', qr/watching 1 file/, 'a client is connected');
	$node->stop('immediate');
	unlink $path;
	my $mute = IO::Socket::UNIX->new(Type => SOCK_STREAM(), Local => $path, Listen => 5) or die "$path: $!";
	my $taken = $mute->accept;
	ok($taken, 'it connects again to who does not answer');
	if (defined $timeout)
	{
		$mute->close;
		unlink $path;
		$node->start;
		wait_output($watch, 'err', qr/connected again/, 'connect_timeout ends the wait');
		is(stop_client($watch), 0, 'SIGTERM ends it');
	}
	else
	{
		is(stop_client($watch), 0, 'SIGTERM ends the wait');
		$mute->close;
		unlink $path;
		$node->start;
	}
}

done_testing();
