# What the relay says to its database: a run that somebody has locked, a task
# that may not be extended, an action that may not be fetched and a database that
# does not answer hold up nobody else, and nothing is delivered twice.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RelayTest;
use SopflowLife;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $config = "$dir/relay.yml";
build_tools($dir);
my $node = new_node('main', "sopflow.databases = 'postgres'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sopflow; CREATE ROLE deliverer LOGIN');
my $server = start_server("$dir/requests");
my $web = "http://127.0.0.1:$server->{http}";

# how many tasks of an action are so
sub count_of
{
	my ($action, $condition) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM sopflow.tasks WHERE action = '$action' AND $condition");
}

sub wait_for_count
{
	my ($action, $condition, $count, $name) = @_;
	return wait_until(sub { count_of($action, $condition) == $count }, $name);
}

# how often the server was asked for tasks of an action
sub delivered
{
	my ($action) = @_;
	return scalar grep { ($_->{body} // '') =~ /"action":"$action"/ } requests($server);
}

sub figure
{
	my ($relay, $name) = @_;
	my ($body) = (relay_metrics($relay))[1];
	return $body =~ /^sopflow_relay_\Q$name\E (\d+)$/m ? $1 : -1;
}

sub health
{
	my ($relay) = @_;
	return join ' ', relay_metrics($relay, "GET /healthz HTTP/1.0\r\n\r\n");
}

# --- a run that somebody has locked ---

make_action($node, 'HELD', {}, lease => '60 s');
make_action($node, 'LONG', {}, lease => '2 s');
make_action($node, $_, {}) for qw(WITH NEXT);
write_config($config, <<"END");
metrics: {listen: 127.0.0.1:0}
targets:
  held: {type: webhook, url: "$web/delay/1000"}
  long: {type: webhook, url: "$web/delay/4000"}
  with: {type: webhook, url: "$web/delay/1000"}
  next: {type: webhook, url: "$web/status/200"}
actions: {HELD: held, LONG: long, WITH: with, NEXT: next}
END
my $relay = start_relay($node, $config, undef, '--verbose');
emit_tasks($node, 'LONG', 5);
emit_tasks($node, 'HELD', 3);
emit_tasks($node, 'WITH', 80);
wait_for_count('HELD', q{status = 'leased'}, 3, 'some are in flight');
wait_for_count('WITH', q{status = 'leased'}, 80, 'others, too');
my $locker = open_session($node);
is(ask($locker, q{BEGIN; SELECT sopflow.cancel(sop_id => 'HELD')}), '3', 'somebody has a transaction open that cancels some of them');
wait_for_count('WITH', q{status = 'done' AND attempt = 1}, 80, 'what ends at the same time as those is reported');
emit_tasks($node, 'NEXT', 5);
wait_for_count('NEXT', q{status = 'done' AND attempt = 1}, 5, 'tasks are fetched and reported meanwhile');
wait_for_count('LONG', q{status = 'done' AND attempt = 1}, 5, 'and leases extended');
is(delivered('LONG'), 5, 'so that nothing is delivered twice');
said($relay, qr/the outcome of task \d+ \(target "held"\) has to wait: another transaction holds the lock of its run; see/, 'the log says what waits');
is(figure($relay, 'blocked'), 3, 'the figures, how many');
is(figure($relay, 'unreported'), 3, 'all of them have ended');
is(health($relay), "HTTP/1.1 200 OK ok\n", 'the relay is well');
ask($locker, 'ROLLBACK');
wait_for_count('HELD', q{status = 'done' AND attempt = 1}, 3, 'when the lock is gone, their outcomes are reported');
is(delivered('HELD'), 3, 'and they were delivered once');
wait_until(sub { figure($relay, 'blocked') == 0 }, 'nothing waits any more');

# the lease of one whose run is locked
emit_tasks($node, 'LONG', 5);
wait_for_count('LONG', q{status = 'leased'}, 5, 'five are in flight');
my $one = $node->safe_psql('postgres', q{SELECT min(run_id) FROM sopflow.tasks WHERE action = 'LONG' AND status = 'leased'});
ask($locker, "BEGIN; SELECT count(sopflow.cancel(run_id => $one))");
said($relay, qr/the extension of the lease of task \d+ \(target "long"\) has to wait: another transaction holds/, 'a lease that cannot be extended is logged');
wait_until(sub { figure($relay, 'blocked') == 1 }, 'the lease of one cannot be extended');
wait_for_count('LONG', q{status = 'done' AND attempt = 1}, 9, 'those of the others are');
ask($locker, 'COMMIT');
wait_until(sub { figure($relay, 'unreported') == 0 }, 'it was cancelled');
is(delivered('LONG'), 10, 'nothing was delivered twice');
is(stop_relay($relay), 0, 'the relay ends');

# one that is free again, beside one that is not
make_action($node, 'LATER', {}, lease => '60 s');
write_config($config, <<"END");
connection: application_name=blocked
metrics: {listen: 127.0.0.1:0}
targets:
  long: {type: webhook, url: "$web/delay/60000", timeout: 90s}
  later: {type: webhook, url: "$web/delay/1000"}
actions: {LONG: long, LATER: later}
END
$relay = start_relay($node, $config);
emit_tasks($node, $_, 1) for qw(LONG LATER);
wait_for_count($_, q{status = 'leased'}, 1, "$_: in flight") for qw(LONG LATER);
my $other = open_session($node);
ask($_->[0], "BEGIN; SELECT sopflow.cancel(sop_id => '$_->[1]')") for [ $locker, 'LONG' ], [ $other, 'LATER' ];
wait_until(sub { figure($relay, 'blocked') == 2 && figure($relay, 'unreported') == 1 }, 'a lease and an outcome are blocked');
ask($other, 'ROLLBACK');
wait_for_count('LATER', q{status = 'done' AND attempt = 1}, 1, 'the outcome is reported when its run is free');
is(figure($relay, 'blocked'), 1, 'while the lease is still blocked');

# and whose tries end by something else
my $begin = time;
my $offset = -s $node->logfile;
$node->safe_psql('postgres', q{DO $$
	DECLARE
		relay int := (SELECT pid FROM pg_stat_activity WHERE application_name = 'blocked');
	BEGIN
		FOR i IN 1..1000 LOOP
			PERFORM pg_cancel_backend(relay);
			PERFORM pg_sleep(0.003);
		END LOOP;
	END $$});
my $tries = () = slurp_file($node->logfile, $offset) =~ /canceling statement due to user request/g;
cmp_ok($tries, '>', 0, 'its tries are cancelled');
cmp_ok($tries, '<', 10 + 2 * (time - $begin), 'and made with pauses all the same');
close_session($_) for $locker, $other;
$relay->{handle}->kill_kill(grace => 0);

# --- a task that may not be extended ---

make_action($node, $_, {}, lease => '1 s') for qw(MAY MAYNOT);
$node->safe_psql('postgres', "SELECT sopflow.grant_consumer('$_', 'deliverer')") for qw(MAY MAYNOT);
write_config($config, <<"END");
connection: user=deliverer
targets:
  may: {type: webhook, url: "$web/delay/3000"}
actions: {MAY: may, MAYNOT: may}
END
$relay = start_relay($node, $config);
# at once, so that they are extended together
$node->safe_psql('postgres', q{SELECT sopflow.emit(e, 's' || g) FROM generate_series(1, 3) g, unnest('{MAYNOT,MAY}'::text[]) e});
wait_for_count($_, q{status = 'leased'}, 3, "$_: in flight") for qw(MAYNOT MAY);
$node->safe_psql('postgres', q{DELETE FROM sopflow.action_grant WHERE action = 'MAYNOT'});
wait_for_count('MAY', q{status = 'done' AND attempt = 1}, 3, 'the leases of tasks that may be extended are');
is(delivered('MAY'), 3, 'so that they are delivered once');
said($relay, qr/leases could not be extended: permission denied for tasks of action "MAYNOT"/, 'the log has the word of the server');
is(stop_relay($relay), 0, 'the relay ends');

# --- an action that may not be fetched ---

make_action($node, $_, {}) for qw(ABSENT MANY FEW);
$node->safe_psql('postgres', "SELECT sopflow.grant_consumer('$_', 'deliverer')") for qw(MANY FEW);
write_config($config, <<"END");
connection: user=deliverer
targets:
  some: {type: webhook, url: "$web/delay/20", concurrency: 5}
actions: {ABSENT: some, MANY: some, FEW: some}
END
emit_tasks($node, 'FEW', 5);
emit_tasks($node, 'MANY', 1000);
$relay = start_relay($node, $config);
wait_for_count('FEW', q{status = 'done'}, 5, 'the oldest tasks are delivered');
cmp_ok(count_of('MANY', q{status = 'done'}), '<', 500, 'before all of another action of their target');
is(stop_relay($relay), 0, 'the relay ends');

# --- another connection ---

make_action($node, 'STAYS', {});
my $stays = <<"END";
metrics: {listen: 127.0.0.1:0}
targets:
  stays: {type: webhook, url: "$web/status/200"}
  fails: {type: webhook, url: "$web/status/404"}
END
write_config($config, "connection: options=-cwork_mem=1MB\n${stays}actions: {STAYS: stays}\n");
$relay = start_relay($node, $config);
write_config($config, "connection: options=-cwork_mem=2MB\n${stays}actions: {STAYS: fails}\n");
$relay->{handle}->signal('HUP');
said($relay, qr/relay\.yml" names another connection, which takes a restart: the configuration stays as it was/, 'another connection is refused');
emit_tasks($node, 'STAYS', 1);
wait_for_count('STAYS', q{status = 'done'}, 1, 'with all that is new');
is(figure($relay, 'reconnects_total'), 0, 'and the relay stays connected');
write_config($config, "connection: options=-cwork_mem=1MB\n${stays}actions: {STAYS: fails}\n");
$relay->{handle}->signal('HUP');
said($relay, qr/the configuration was read again/, 'the same connection is none other');
emit_tasks($node, 'STAYS', 1);
wait_for_count('STAYS', q{status = 'dead'}, 1, 'and what is new is taken');
is(stop_relay($relay), 0, 'the relay ends');

# --- alerts to a file, where nothing else goes on ---

write_config($config, <<"END");
poll: 1h
targets:
  log: {type: file, path: "$dir/alerts"}
alerts: {target: log, state: "$dir/state"}
END
append_to_file("$dir/state", $node->safe_psql('postgres', 'SELECT coalesce(max(alert_id), 0) FROM sopflow.alerts') . "\n");
$node->safe_psql('postgres', q{INSERT INTO sopflow.alert (kind, message, raised_at) SELECT 'failures', 'it rained', now() FROM generate_series(1, 450)});
$node->safe_psql('postgres', 'SELECT sopflow.run_due()');
$relay = start_relay($node, $config);
wait_until(sub { -f "$dir/alerts" && slurp_file("$dir/alerts") =~ tr/\n// == 450 }, 'more alerts than the target takes at once are delivered');
is(stop_relay($relay), 0, 'the relay ends');

# --- a server that does not answer ---

make_action($node, 'SILENT', {});
write_config($config, <<"END");
connection: application_name=silent
metrics: {listen: 127.0.0.1:0}
poll: 1s
targets:
  silent: {type: webhook, url: "$web/delay/500"}
actions: {SILENT: silent}
END
$relay = start_relay($node, $config);
emit_tasks($node, 'SILENT', 1);
wait_for_count('SILENT', q{status = 'leased'}, 1, 'one is in flight');
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name = 'silent'});
kill 'STOP', $pid;
wait_until(sub { (relay_metrics($relay))[1] =~ /^sopflow_relay_deliveries_total\{target="silent",outcome="done"\} 1$/m }, 'it ends when the server does not answer');
is(figure($relay, 'unreported'), 1, 'an outcome that the server did not confirm is unreported');
wait_until(sub { health($relay) eq "HTTP/1.1 503 Service Unavailable the database does not answer\n" }, 'the relay is not well');
said($relay, qr/the (?:fetch of tasks|report of outcomes) takes longer than 5 s: until the server has answered, nothing is fetched, reported or extended/, 'and says why');
kill 'CONT', $pid;
wait_for_count('SILENT', q{status = 'done' AND attempt = 1}, 1, 'when the server goes on, so does the relay');
said($relay, qr/the (?:fetch of tasks|report of outcomes) has ended, after \d+ s/, 'and says so');
wait_until(sub { health($relay) eq "HTTP/1.1 200 OK ok\n" }, 'and is well');

emit_tasks($node, 'SILENT', 1);
wait_for_count('SILENT', q{status = 'leased'}, 1, 'another one is in flight');
kill 'STOP', $pid;
wait_until(sub { figure($relay, 'unreported') == 1 }, 'it ends, too');
$relay->{handle}->signal('TERM');
said($relay, qr/ending: 0 deliveries in flight/, 'SIGTERM');
is(stop_relay($relay), 1, 'a second one');
like($relay->{out}, qr/ended by a second signal: 1 tasks come again/, 'it says what was not confirmed');
kill 'CONT', $pid;

# --- large tasks ---

make_action($node, 'LARGE', { text => 'x' x 4_000_000 });
write_config($config, <<"END");
targets:
  large: {type: webhook, url: "$web/delay/50", body: {size: small}}
actions: {LARGE: large}
END
emit_tasks($node, 'LARGE', 60);
$relay = start_relay($node, $config);
wait_for_count('LARGE', q{status = 'done' AND attempt = 1}, 60, 'tasks of 4 MB');
my ($peak) = slurp_file('/proc/' . relay_pid($relay) . '/status') =~ /^VmHWM:\s+(\d+)/m;
cmp_ok($peak, '<', 200_000, "take $peak kB of memory, not as much as there are of them");
is(stop_relay($relay), 0, 'the relay ends');
stop_server($server);
done_testing();
