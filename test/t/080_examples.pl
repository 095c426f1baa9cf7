# The consumers under doc/examples, in Python, Node and C: each fetches, acks
# and nacks, waits for doorbells, reconnects and drains.

use strict;
use warnings;

use Cwd qw(getcwd);
use File::Copy qw(copy);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $examples = getcwd() . '/doc/examples';
my $tmp = PostgreSQL::Test::Utils::tempdir();

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sopflow'");
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION sopflow;
	BEGIN;
	INSERT INTO sopflow.action(action, backoff_base) VALUES ('GREET', '50ms'), ('CALL', '50ms');
	INSERT INTO sopflow.sop(sop_id, trigger_event) VALUES ('example', 'EXAMPLE');
	INSERT INTO sopflow.sop_node(sop_id, node_id, action, params)
	VALUES ('example', 'greet', 'GREET', '{"text": "a \"quoted\" \\\\ greeting"}'), ('example', 'call', 'CALL', '{}');
	COMMIT;
});

# Each returns the command without options, or a reason to skip.
sub python
{
	for my $python ('python3', '/usr/bin/python3')
	{
		return [ $python, "$examples/consumer.py" ]
		  if system("$python -c 'import psycopg' >/dev/null 2>&1") == 0;
	}
	return 'no Python with psycopg 3';
}

sub javascript
{
	return 'no node' if system('node --version >/dev/null 2>&1') != 0;
	return 'no npm' if system('npm --version >/dev/null 2>&1') != 0;
	my $dir = "$tmp/node";
	mkdir $dir or die "$dir: $!";
	for my $file ('package.json', 'consumer.mjs')
	{
		copy("$examples/$file", "$dir/$file") or die "$file: $!";
	}
	my $out = `cd '$dir' && HOME='$dir' npm install --no-audit --no-fund 2>&1`;
	if ($? != 0)
	{
		diag($out);
		return 'the npm registry cannot be reached'
		  if $out =~ /ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ERR_SOCKET_TIMEOUT|network/;
		return undef;
	}
	return [ 'node', "$dir/consumer.mjs" ];
}

sub c
{
	my $config = $ENV{PG_CONFIG} || 'pg_config';
	my ($include, $lib) = map { chomp(my $x = `$config $_`); $x } ('--includedir', '--libdir');
	my @command = (
		'cc', '-O2', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror', '-o', "$tmp/consumer",
		"$examples/consumer.c", "-I$include", "-L$lib", '-lpq');
	return system(@command) == 0 ? ["$tmp/consumer"] : undef;
}

local @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER)} =
  ($node->host, $node->port, 'postgres', scalar getpwuid($<));

my $emitted = 0;

# Start the SOP for so many new subjects: two tasks each.
sub emit
{
	my ($count) = @_;
	$node->safe_psql('postgres',
		    "SELECT sum(sopflow.emit('EXAMPLE', 's' || i)) FROM generate_series("
		  . ($emitted + 1) . ', '
		  . ($emitted + $count)
		  . ') AS i');
	$emitted += $count;
}

sub ready
{
	my ($count) = @_;
	return "SELECT count(*) = $count FROM sopflow.tasks WHERE status = 'ready'";
}

sub open_tasks
{
	return "SELECT count(*) = 0 FROM sopflow.tasks WHERE status IN ('pending', 'ready', 'leased')";
}

for my $example ([ python => \&python ], [ node => \&javascript ], [ c => \&c ])
{
	my ($name, $prepare) = @$example;
	my $command = $prepare->();

	ok(defined $command, "$name: the example builds") or next;
  SKIP:
	{
		skip "$name: $command", 1 unless ref $command;

		# Node finds the server by the environment alone.
		my @dsn = $name eq 'node' ? () : ('--dsn', $node->connstr('postgres'));
		my @command = (@$command, '--actions', 'GREET,CALL', @dsn);
		my ($out, $err);

		# One pass over what is ready, in several batches. The second task of a
		# run is ready when the first is done.
		emit(25);
		ok($node->poll_query_until('postgres', ready(25)), "$name: the first tasks are ready");
		IPC::Run::run([ @$command, '--actions', 'GREET', @dsn, '--once', '--batch', '7' ], '>', \$out, '2>', \$err);
		is($?, 0, "$name: --once ends well");
		is($err, '', "$name: and quietly");
		like($out, qr/^done 25 failed 0 lost 0$/m, "$name: all tasks are handled");
		ok($node->poll_query_until('postgres', ready(25)), "$name: the second tasks are ready");
		my $calls;
		IPC::Run::run([ @command, '--once', '--batch', '7' ], '>', \$calls);
		like($calls, qr/^done 25 failed 0 lost 0$/m, "$name: and handled");
		like($out, qr/^GREET s\d+ .*quoted/m, "$name: with their params");
		ok($node->safe_psql('postgres', open_tasks()) eq 't', "$name: and done");

		# --max stops in time, and leaves the rest.
		emit(5);
		IPC::Run::run([ @command, '--max', '3', '--quiet' ], '>', \$out, '2>', \$err);
		is($out, "done 3 failed 0 lost 0\n", "$name: --max");
		is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.tasks WHERE status IN ('pending', 'ready', 'leased')"),
			7, "$name: no task was taken beyond it");

		# From here on one consumer runs all the time: every third attempt fails,
		# and comes again when its retry is due, by doorbell.
		my $consumer = IPC::Run::start([ @command, '--fail-every', '3' ], '>', \$out, '2>', \$err);
		ok($node->poll_query_until('postgres', open_tasks()), "$name: failed attempts are made again");
		ok( $node->safe_psql('postgres', 'SELECT bool_or(attempt > 1) FROM sopflow.tasks') eq 't',
			"$name: as further attempts");

		# It is idle now, and is woken by a doorbell, long before its 30 seconds.
		for my $round (1 .. 5)
		{
			emit(1);
			ok($node->poll_query_until('postgres', open_tasks()), "$name: doorbell $round");
		}

		# The server goes away and comes back.
		$node->restart;
		emit(3);
		ok($node->poll_query_until('postgres', open_tasks()), "$name: works on after a restart");

		$consumer->signal('TERM');
		ok($consumer->finish, "$name: ends well on SIGTERM");
		like($out, qr/^done \d+ failed \d+ lost 0$/m, "$name: with a summary");
		like($err, qr/^connection lost/m, "$name: the restart was noticed");
		is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.tasks WHERE status <> 'done'"),
			0, "$name: every task is done in the end");
	}
}

$node->stop;
done_testing();
