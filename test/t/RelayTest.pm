# What the tests of the relay share: the program, the server it delivers to, and
# actions whose tasks are there on a word.

package RelayTest;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(build_tools relay_program build_relay certificate start_server stop_server requests forget_requests
	make_action emit_tasks write_config start_relay stop_relay end_relay said relay_metrics wait_until task_of check_config relay_pid);

my $tree = "$FindBin::RealBin/../..";
my $server_program;
my @started;

# nothing outlives a test that dies
END
{
	my $code = $?;
	for my $handle (@started)
	{
		eval { $handle->kill_kill if $handle->pumpable };
	}
	$? = $code;
}

# What 068_relay_clean.pl puts in its place was built otherwise.
sub relay_program
{
	return $ENV{SOPFLOW_RELAY_PROGRAM} // "$tree/src/client/sopflow";
}

# Run a command that must succeed.
sub run_or_die
{
	my @command = @_;
	my $out = '';
	IPC::Run::run(\@command, '<', \undef, '>&', \$out) or die "@command: $out";
	return $out;
}

sub build_tools
{
	my ($dir) = @_;
	$server_program = "$dir/relay_server";
	run_or_die('gcc', '-std=gnu11', '-O2', '-o', $server_program, "$tree/test/relay_server.c", '-lssl', '-lcrypto');
	return;
}

# The program with other options of the compiler; its path.
sub build_relay
{
	my ($dir, $options) = @_;
	mkdir $dir;
	run_or_die('make', '-C', "$tree/src/client", '-s', '-j2', "PG_CONFIG=$ENV{PG_CONFIG}", "BUILD=$dir",
		'CFLAGS=-O1 -g -fno-omit-frame-pointer', "COPT=$options", "LDFLAGS=$options");
	return "$dir/sopflow";
}

# A certificate for 127.0.0.1 that nobody but itself vouches for: (file, key).
sub certificate
{
	my ($dir) = @_;
	my @files = ("$dir/cert.pem", "$dir/key.pem");
	run_or_die('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=relay test',
		'-addext', 'subjectAltName=IP:127.0.0.1', '-out', $files[0], '-keyout', $files[1]);
	return @files;
}

sub start_server
{
	my ($log, @certificate) = @_;
	my $server = { out => '', log => $log, at => 0 };
	$server->{handle} = IPC::Run::start([ $server_program, $log, @certificate ], '<', \undef, '>', \$server->{out},
		'2>', \$server->{err});
	push @started, $server->{handle};
	$server->{handle}->pump until $server->{out} =~ /^smtp (\d+)\n/m;
	$server->{$1} = $2 while $server->{out} =~ /^(\w+) (\d+)\n/mg;
	return $server;
}

sub stop_server
{
	my ($server) = @_;
	$server->{handle}->kill_kill;
	return;
}

# What the server was asked since the last call of forget_requests(): hashes of
# kind, method, path, headers (names in small letters), body; of a mail kind,
# from, to, data.
sub requests
{
	my ($server) = @_;
	my @found;
	return unless -f $server->{log};
	for my $line (split /\n/, substr(slurp_file($server->{log}), $server->{at}))
	{
		next unless $line =~ /^\{.*\}$/;
		my $request = JSON::PP->new->latin1->decode($line);
		if (defined $request->{head})
		{
			my ($first, @lines) = split /\r\n/, $request->{head};
			($request->{method}, $request->{path}) = split / /, $first;
			$request->{headers} = { map { /^([^:]+): ?(.*)/ ? (lc $1 => $2) : () } @lines };
		}
		push @found, $request;
	}
	return @found;
}

sub forget_requests
{
	my ($server) = @_;
	$server->{at} = -s $server->{log} // 0;
	return;
}

# An action and an SOP of the same name for the event of the same name, whose one
# task is due at once.  What failed waits an hour.
sub make_action
{
	my ($node, $name, $params, %columns) = @_;
	%columns = (backoff_base => '1 h', jitter => 0, alert_after => undef, %columns);
	my $names = join ', ', map { ", $_" } sort keys %columns;
	my $values = join '', map { ', ' . (defined $columns{$_} ? "'$columns{$_}'" : 'NULL') } sort keys %columns;
	$names = join '', map { ", $_" } sort keys %columns;
	$params = JSON::PP->new->canonical->ascii->encode($params // {});
	$params =~ s/'/''/g;
	$node->safe_psql('postgres', qq{
		BEGIN;
		INSERT INTO sopflow.action (action$names) VALUES ('$name'$values);
		INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('$name', '$name', 'allow');
		INSERT INTO sopflow.sop_node (sop_id, node_id, action, params) VALUES ('$name', 'n1', '$name', '$params');
		COMMIT;
	});
	return;
}

sub emit_tasks
{
	my ($node, $event, $count, $context) = @_;
	$context = JSON::PP->new->canonical->ascii->encode($context // {});
	$context =~ s/'/''/g;
	$node->safe_psql('postgres',
		"SELECT sopflow.emit('$event', 's' || g, '$context') FROM generate_series(1, $count) g");
	return;
}

# The latest task of an action: status|attempt|last_error|result|seconds until
# it is due.
sub task_of
{
	my ($node, $action) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT concat_ws('|', status, attempt, coalesce(last_error, '-'), coalesce(result::text, '-'),
			CASE WHEN status = 'pending' THEN round(extract(epoch FROM due_at - now()) / 10) * 10 ELSE 0 END)
		FROM sopflow.tasks WHERE action = '$action' ORDER BY task_id DESC LIMIT 1});
}

sub write_config
{
	my ($path, $text) = @_;
	open(my $fh, '>', "$path.new") or die "$path: $!";
	print $fh $text;
	close $fh;
	rename "$path.new", $path or die "$path: $!";
	return $path;
}

# What --check says of a configuration: (exit code, output).
sub check_config
{
	my ($path, $text) = @_;
	my $out = '';
	write_config($path, $text);
	IPC::Run::run([ relay_program(), 'relay', '--config', $path, '--check' ], '<', \undef, '>&', \$out);
	my $code = $? >> 8;
	$out =~ s/\Q$path\E/FILE/g;
	return ($code, $out);
}

# The relay; it is connected when this returns.  $program may be a list, such as
# valgrind and its options.
sub start_relay
{
	my ($node, $config, $program, @options) = @_;
	my $relay = { out => '' };
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = 'postgres';
	my @program = ref $program ? @$program : ($program // relay_program());
	$relay->{handle} = IPC::Run::start([ @program, 'relay', '--config', $config, @options ], '<', \undef,
		'>&', \$relay->{out}, IPC::Run::timeout(4 * $PostgreSQL::Test::Utils::timeout_default));
	push @started, $relay->{handle};
	$relay->{handle}->pump until $relay->{out} =~ /connected to database|no connection|error:/ || !$relay->{handle}->pumpable;
	return $relay;
}

sub relay_pid
{
	my ($relay) = @_;
	return $relay->{handle}{KIDS}[0]{PID};
}

# Send a signal, and wait for the end; the exit code.
sub stop_relay
{
	my ($relay, $signal) = @_;
	$relay->{handle}->signal($signal // 'TERM');
	return end_relay($relay);
}

sub end_relay
{
	my ($relay) = @_;
	$relay->{handle}->finish;
	return $? & 127 ? -($? & 127) : $? >> 8;
}

# Wait until the relay has said something; one test.
sub said
{
	my ($relay, $pattern, $name) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	while ($relay->{out} !~ $pattern && time < $end)
	{
		$relay->{handle}->pump_nb;
		usleep(10_000);
	}
	return like($relay->{out}, $pattern, $name);
}

# Wait until a function returns true; one test.
sub wait_until
{
	my ($function, $name) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	my $found;
	usleep(20_000) until ($found = $function->()) || time > $end;
	return ok($found, $name);
}

# A page of the relay's own server: (status line, body).
sub relay_metrics
{
	my ($relay, $request) = @_;
	require IO::Socket::INET;
	$relay->{handle}->pump_nb;
	my ($address) = $relay->{out} =~ m{.*metrics are at http://([0-9.:]+)/}s or return ('', '');
	my $socket = IO::Socket::INET->new(PeerAddr => $address, Timeout => 10) or return ('', '');
	print $socket $request // "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
	local $/;
	my $answer = <$socket> // '';
	my ($head, $body) = split /\r\n\r\n/, $answer, 2;
	return ((split /\r\n/, $head // '')[0] // '', $body // '');
}

1;
