# Alerts of the relay: none is lost however many there are and whenever they
# commit, none is told that was not raised, and they leave room for tasks.

use strict;
use warnings;

use FindBin;
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

# --- beside tasks ---

my $server = start_server("$dir/requests");
make_action($node, 'FAST', {});
$node->safe_psql('postgres', "SELECT sopflow.grant_consumer('FAST', 'listener')");
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
wait_for($node, q{SELECT count(*) = 30 FROM sopflow.tasks WHERE action = 'FAST' AND status = 'done'}, 'and tasks of another go on');
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

stop_server($server);
$node->stop;
done_testing();
