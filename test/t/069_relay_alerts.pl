# Alerts of the relay: none is lost however many there are and whenever they
# commit, none is told that was not raised, and they leave room for tasks.

use strict;
use warnings;

use FindBin;
use IPC::Run ();
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RelayTest;
use SopflowLife;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
build_tools($dir);
my $node = new_node('main', "sopflow.databases = 'postgres'");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE ROLE listener LOGIN;
	GRANT USAGE ON SCHEMA sopflow TO listener;
	GRANT SELECT ON sopflow.alerts TO listener;
	CREATE ROLE nobody LOGIN;
});

# $count alerts, told by the worker
sub raise
{
	my ($message, $count) = @_;
	$node->safe_psql('postgres', "INSERT INTO sopflow.alert (kind, message, raised_at) SELECT 'failures', '$message', now() FROM generate_series(1, $count)");
	$node->safe_psql('postgres', 'SELECT sopflow.run_due()');
	return;
}

# numbers of the alerts in a file, in their order there
sub told
{
	my ($file) = @_;
	my @numbers = -f $file ? slurp_file($file) =~ /"alert_id": (\d+)/g : ();
	return @numbers;
}

sub last_alert
{
	return $node->safe_psql('postgres', 'SELECT coalesce(max(alert_id), 0) FROM sopflow.alerts');
}

# --- with a state from the beginning ---

my $file = "$dir/told";
my $state = "$dir/state";
my $config = write_config("$dir/file.yml", <<"END");
connection: "user=listener"
targets:
  log: {type: file, path: "$file"}
alerts: {target: log, state: "$state"}
END
my $relay = start_relay($node, $config);
wait_until(sub { -f $state && slurp_file($state) eq "0\n" }, 'there is no alert yet');
is(stop_relay($relay), 0, 'the relay ends');
raise('unheard', 5);
$relay = start_relay($node, $config);
wait_until(sub { told($file) == 5 }, 'the first alerts of a database are told to who comes back');
wait_until(sub { slurp_file($state) eq last_alert() . "\n" }, 'and remembered');
is(stop_relay($relay), 0, 'the relay ends');

# more than are in memory at once
raise('many', 1400);
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.alert WHERE sent_at IS NULL'), '0', 'many are sent at once');
$relay = start_relay($node, $config);
raise('meanwhile', 1);
wait_until(sub { told($file) == 1406 }, 'many are told, and one that is raised meanwhile');
is_deeply([ told($file) ], [ 1 .. 1406 ], 'each once, in their order');

# --- out of order ---

my $early = open_session($node);
ask($early, "BEGIN; INSERT INTO sopflow.alert (kind, message, raised_at) VALUES ('failures', 'early', now())");
raise('late', 2);
wait_until(sub { told($file) == 1408 }, 'those that commit first are told');
wait_until(sub { slurp_file($state) eq "1406 1408 1409\n" }, 'and remembered, with the gap');
is(stop_relay($relay), 0, 'the relay ends');
$relay = start_relay($node, $config);
ask($early, 'COMMIT');
close_session($early);
$node->safe_psql('postgres', 'SELECT sopflow.run_due()');
wait_until(sub { told($file) == 1409 }, 'who comes back tells the one of the gap');
is((told($file))[-1], 1407, 'and no other again');
wait_until(sub { slurp_file($state) eq "1409\n" }, 'then there is none');

# --- notifications that are no alerts ---

$node->safe_psql('postgres', $_, extra_params => [ '-U', 'nobody' ])
  for map { "NOTIFY sopflow_alert, '$_'" } '{"alert_id": 9223372036854775806, "message": "forged"}',
  '{"alert_id": 3, "message": "forged"}', '{"alert_id": 1408}', '{"alert_id": -1}', '{"alert_id": "x"}', '[', '';
raise('true', 1);
wait_until(sub { (told($file))[-1] == 1410 }, 'a true one is told');
unlike(slurp_file($file), qr/forged/, 'what only stands in a notification is not');
wait_until(sub { slurp_file($state) eq "1410\n" }, 'and nothing of it is remembered');

# --- when they cannot be read ---

$node->safe_psql('postgres', 'REVOKE SELECT ON sopflow.alerts FROM listener');
raise('unreadable', 3);
said($relay, qr/alerts could not be read: permission denied/, 'who may not read them says so');
$node->safe_psql('postgres', 'GRANT SELECT ON sopflow.alerts TO listener');
wait_until(sub { (told($file))[-1] == 1413 }, 'and reads them when he may');
is(stop_relay($relay), 0, 'the relay ends');

# --- many that come from behind ---

# Alerts with numbers that are taken now, and a function that makes them visible.
sub late
{
	my ($count) = @_;
	my $session = open_session($node);
	ask($session, "BEGIN; INSERT INTO sopflow.alert (kind, message, raised_at) SELECT 'failures', 'late', now() FROM generate_series(1, $count)");
	return sub {
		ask($session, 'COMMIT');
		close_session($session);
		$node->safe_psql('postgres', 'SELECT sopflow.run_due()');
	};
}

# alerts that were sent so long ago that no lower number is expected any more
sub settled
{
	my ($count) = @_;
	$node->safe_psql('postgres', qq{
		INSERT INTO sopflow.alert (kind, message, raised_at, sent_at)
		SELECT 'failures', 'settled', now() - interval '1 hour', now() - interval '1 hour' FROM generate_series(1, $count);
		NOTIFY sopflow_alert});
	return;
}

$relay = start_relay($node, $config);
my $come = late(300);
settled(1);
wait_until(sub { slurp_file($state) eq last_alert() . "\n" }, 'numbers are passed that nobody came with for long');
$come->();
wait_until(sub { (grep { $_ > 1413 } told($file)) == 301 }, 'those who come with them are told all the same');
is_deeply([ sort { $a <=> $b } grep { $_ > 1413 } told($file) ], [ 1414 .. 1714 ], 'each once');
is(stop_relay($relay), 0, 'the relay ends');

# while nothing more is read
my $slow = "$dir/told slowly";
$relay = start_relay($node, write_config("$dir/slowly.yml", <<"END"));
connection: "user=listener"
targets:
  slow: {type: command, concurrency: 4, timeout: 180s, argv: [sh, -c, "until [ -e '$dir/go' ]; do sleep 0.02; done; cat >>'$slow'"]}
alerts: {target: slow, state: "$state"}
metrics: {listen: "127.0.0.1:0"}
END
$come = late(1);
settled(300);
wait_until(sub { (relay_metrics($relay))[1] =~ /alerts_waiting 300/ }, 'more than half of what is in memory is read');
$come->();
append_to_file("$dir/go", '');
wait_until(sub { told($slow) == 301 }, 'one that comes from behind meanwhile is told, too');
is(stop_relay($relay), 0, 'the relay ends');

# --- more than were sent ---

$relay = start_relay($node, $config);
my $before = last_alert();
$node->safe_psql('postgres', q{INSERT INTO sopflow.alert (kind, message, raised_at) SELECT 'failures', 'unsent', now() FROM generate_series(1, 5000)});
settled(1);
wait_until(sub { grep { $_ == $before + 5001 } told($file) }, 'one behind many that are not sent');
raise('sent', 1);
raise('last', 1);
wait_until(sub { (grep { $_ == $before + 5003 } told($file)) && (grep { $_ > $before } told($file)) >= 5003 }, 'when they are sent, they are told');
is_deeply([ sort { $a <=> $b } grep { $_ > $before } told($file) ], [ $before + 1 .. $before + 5003 ], 'each once');
is(stop_relay($relay), 0, 'the relay ends');

# by the worker
$node->safe_psql('postgres', q{INSERT INTO sopflow.alert (kind, message, raised_at) SELECT 'failures', 'unsent', now() FROM generate_series(1, 2500)});
make_action($node, 'WAKE', {});
emit_tasks($node, 'WAKE', 1);
wait_for($node, 'SELECT count(*) = 0 FROM sopflow.alert WHERE sent_at IS NULL', 'the worker sends all that there are');

# --- two relays ---

$before = last_alert();
write_config($state, "$before\n");
my $second = write_config("$dir/second.yml", <<"END");
connection: "user=listener"
targets:
  log: {type: file, path: "$file.second"}
alerts: {target: log, state: "$state"}
END
my @relays = map { start_relay($node, $_) } $config, $second;
raise('for both', 1000);
wait_until(sub { (grep { $_ > $before } told($_)) == 1000 }, 'each of two tells all') for $file, "$file.second";
is(stop_relay($_), 0, 'it ends') for @relays;
unlike($_->{out}, qr/warning/, 'and was not disturbed by the other') for @relays;
is(slurp_file($state), last_alert() . "\n", 'the last one leaves a state');

# --- a state of another database, or of a later time ---

for my $number ('1000000 1000002', '99999999999999999999')
{
	write_config($state, "$number\n");
	raise('of this one', 2);
	$before = told($file);
	$relay = start_relay($node, $config);
	said($relay, qr/all alerts up to \d+ are remembered as delivered, but the last one in the database is \d+:/, "a state of $number");
	raise('of this one', 1);
	wait_until(sub { told($file) > $before }, 'alerts are told');
	is((told($file))[-1], last_alert(), 'that come');
	wait_until(sub { slurp_file($state) eq last_alert() . "\n" }, 'and remembered');
	is(stop_relay($relay), 0, 'the relay ends');
}

# --- beside tasks ---

my $server = start_server("$dir/requests");
make_action($node, 'FAST', {});
$node->safe_psql('postgres', "SELECT sopflow.grant_consumer('FAST', 'listener')");
raise('a storm for a fast target', 15000);
emit_tasks($node, 'FAST', 1);
write_config($config, slurp_file($config) . "actions: {FAST: log}\n");
$before = told($file);
$relay = start_relay($node, $config);
wait_for($node, q{SELECT count(*) = 1 FROM sopflow.tasks WHERE action = 'FAST' AND status = 'done'}, 'a task has its turn');
cmp_ok(told($file), '<', $before + 15000, 'before all alerts of a storm');
is(stop_relay($relay), 0, 'the relay ends');
$relay = start_relay($node, write_config("$dir/slow.yml", <<"END"));
connection: "user=listener"
max_in_flight: 20
targets:
  chat: {type: slack, url: "http://127.0.0.1:$server->{http}/status/200", rate: 1/h}
  web: {type: webhook, url: "http://127.0.0.1:$server->{http}/status/201"}
actions: {FAST: web}
alerts: chat
END
raise('a storm', 700);
wait_until(sub { grep { $_->{path} eq '/status/200' } requests($server) }, 'a target takes one alert an hour');
emit_tasks($node, 'FAST', 30);
wait_for($node, q{SELECT count(*) = 31 FROM sopflow.tasks WHERE action = 'FAST' AND status = 'done'}, 'and tasks of another go on');
$relay->{handle}->kill_kill(grace => 0);

# --- failures ---

forget_requests($server);
$relay = start_relay($node, write_config("$dir/gone.yml", <<"END"));
connection: "user=listener"
targets:
  chat: {type: slack, url: "http://127.0.0.1:$server->{http}/status/404"}
alerts: chat
END
raise('not found', 1);
wait_until(sub { requests($server) >= 2 }, 'an alert whose target is not found is tried again');
said($relay, qr/alert \d+ could not be delivered: .*404/, 'and it says why');
is(stop_relay($relay), 0, 'the relay ends');

forget_requests($server);
$relay = start_relay($node, write_config("$dir/held.yml", <<"END"));
connection: "user=listener"
targets:
  chat: {type: slack, url: "http://127.0.0.1:$server->{http}/status/429/3600", concurrency: 2}
alerts: chat
metrics: {listen: "127.0.0.1:0"}
END
raise('too many', 3);
said($relay, qr/alert \d+ could not be delivered: .*429/, 'a target that wants to be left alone');
my $asked = requests($server);
raise('more', 3);
wait_until(sub { (relay_metrics($relay))[1] =~ /alerts_waiting (\d+)/ && $1 >= 6 }, 'more are read');
is(scalar(requests($server)), $asked, 'is left alone');
$relay->{handle}->kill_kill(grace => 0);

# --- what ends before it began ---

$relay = start_relay($node, write_config("$dir/hour.yml", <<"END"), undef, '--verbose');
connection: "user=listener"
drain_timeout: 0s
targets:
  log: {type: file, path: "$file.hour", rate: 1/h}
alerts: log
END
raise('too many', 3);
said($relay, qr/alert \d+ \(log\), attempt 1: done/, 'one is told');
is(stop_relay($relay), 0, 'the relay ends');
like($relay->{out}, qr/alert \d+ \(log\), attempt 1: failed after 0\.000 s: the relay was stopped before the delivery began/, 'the others took no time');

# --- what is synced ---

SKIP:
{
	skip 'a sanitizer must be the first library', 3 if defined $ENV{ASAN_OPTIONS};
	append_to_file("$dir/sync.c", <<'END');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int
fsync(int fd)
{
	FILE	   *log = fopen(getenv("SYNC_LOG"), "a");
	struct stat now;

	fstat(fd, &now);
	fprintf(log, "%lu %ld\n", (unsigned long) now.st_ino, (long) now.st_size);
	fclose(log);
	return ((int (*) (int)) dlsym(RTLD_NEXT, "fsync")) (fd);
}
END
	IPC::Run::run([ 'gcc', '-shared', '-fPIC', '-o', "$dir/sync.so", "$dir/sync.c", '-ldl' ]) or die 'gcc';
	$before = last_alert();
	raise('synced', 300);
	write_config($state, "$before\n");
	$relay = start_relay($node, write_config("$dir/synced.yml", <<"END"), [ 'env', "LD_PRELOAD=$dir/sync.so", "SYNC_LOG=$dir/syncs", relay_program() ]);
connection: "user=listener"
targets:
  log: {type: file, path: "$file.synced", concurrency: 20}
alerts: {target: log, state: "$state"}
END
	wait_until(sub { slurp_file($state) eq last_alert() . "\n" }, 'alerts that end in the place of others');
	is(stop_relay($relay), 0, 'the relay ends');
	my ($inode, $size) = (stat "$file.synced")[1, 7];
	my @sizes = slurp_file("$dir/syncs") =~ /^$inode (\d+)$/mg;
	is($sizes[-1], $size, 'are synced, all of them');
}

stop_server($server);
$node->stop;
done_testing();
