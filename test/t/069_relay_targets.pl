# The relay and what is wrong with a target, its answers or its configuration:
# nothing stands still, nothing that is secret is shown, and the error says what
# is to be mended.

use strict;
use warnings;

use Fcntl qw(O_NONBLOCK O_RDONLY);
use FindBin;
use IO::Socket::INET;
use lib $FindBin::RealBin;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RelayTest;
use SopflowLife;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir;
my $config = "$dir/relay.yml";
my $token = join '', map { chr(ord('a') + $_ * 7 % 26) . $_ % 10 } 1 .. 40;
my $password = 'pass-of-basic-4711';
$ENV{RELAY_TEST_TOKEN} = $token;
$ENV{RELAY_TEST_PASSWORD} = $password;
$ENV{RELAY_TEST_NUMBER} = '4711081547';
$ENV{RELAY_TEST_SLASH} = 'se"cret/with/4711';
$ENV{RELAY_TEST_LINES} = "-----BEGIN KEY-----\nline-of-the-key\n-----END KEY-----";
$ENV{RELAY_TEST_INJECT} = "token-4711\nX-Evil: 1";
append_to_file("$dir/token", "$token\n\n");
build_tools($dir);

# --- what --check finds ---

my $head = "targets:\n  web:\n    type: webhook\n    url: http://h/\n";
my $mail = "targets:\n  mail:\n    type: smtp\n    url: smtp://h\n    from: a\@b.example\n    subject: x\n    text: y\n";
my $end = "actions: {A: web}\n";
my $controls = qr/has a line break or another control character/;
for my $case (
	[ "${head}    bearer: file:$dir/token\n$end", qr/FILE:5: targets\.web\.bearer: $controls/, 'a token with two line breaks behind it' ],
	[ "${head}    bearer: env:RELAY_TEST_INJECT\n$end", qr/FILE:5: targets\.web\.bearer: $controls/, 'a token with another header in it' ],
	[ "${head}    username: x\n    password: file:$dir/token\n$end", qr/targets\.web\.password: $controls/, 'a password with a line break' ],
	[ "${head}    username: \"x\\ty\"\n    password: env:RELAY_TEST_PASSWORD\n$end", qr/targets\.web\.username: $controls/, 'a user with a tab' ],
	[ "${head}    headers: {X-A: 'env:RELAY_TEST_INJECT'}\n$end", qr/headers\."X-A": the secret $controls/, 'a secret header with another one in it' ],
	[ "${head}    headers:\n      X-A: |\n        block\n$end", qr/FILE:6: targets\.web\.headers\."X-A": $controls.*\|-/, 'a header with a line break of YAML' ],
	[ "${head}    headers: {X-A: \"{{params.x|a\\nb}}\"}\n$end", qr/headers\."X-A": $controls/, 'a default of a header with a line break' ],
	[ "${head}    content_type: \"a/b\\x01\"\n$end", qr/content_type: $controls/, 'a control character in the content type' ],
	[ "${mail}    to: |\n      c\@d.example\nactions: {A: mail}\n", qr/targets\.mail\.to: $controls/, 'a recipient with a line break of YAML' ],
	[ "${head}    method: HEAD\n    body: x\n    content_type: text/plain\n$end", qr/targets\.web: a request by HEAD has no body/, 'HEAD with a body' ],
	[ "targets: {web: {type: webhook, url: 'http:///x'}}\n$end", qr/web\.url: names no host/, 'a URL without a host' ],
	[ "targets: {web: {type: webhook, url: 'http://h/a b'}}\n$end", qr/web\.url: has a blank, .*%20/, 'a URL with a blank' ],
	[ "targets: {web: {type: webhook, url: 'http://h/a/../b'}}\n$end", qr/web\.url: has "\." or "\.\." as a part of its path/, 'a URL that goes up' ],
	[ "targets: {web: {type: webhook, url: 'http://h/a/.?b'}}\n$end", qr/web\.url: has "\." or "\.\."/, 'or nowhere' ],
	[ "${head}${end}connection: 'postgresql://u:hunter2secret@[::1/db'\n", qr/FILE:6: connection: is no connection string/, 'a connection that is malformed' ],
	[ "${head}${end}connection: 'host=h password=hunter2secret port'\n", qr/FILE:6: connection: is no connection string/, 'in either form' ],
  )
{
	my ($text, $pattern, $name) = @$case;
	my ($code, $out) = check_config($config, $text);
	ok($code == 4 && $out =~ $pattern, "refused: $name") or diag($code, $out);
	unlike($out, qr/hunter2|4711/, 'without a word of the secret') if $text =~ /env:|connection:/;
}
for my $case (
	[ "targets: {web: {type: webhook, url: 'http://h/{{ params.phone }}/x?y={{params.none|not given}}'}}\n$end", 'blanks between the braces of a URL' ],
	[ "targets: {web: {type: webhook, url: 'http://h/a..b/.../.c'}}\n$end", 'dots among other characters' ],
	[ "targets:\n  web:\n    type: command\n    argv: [/bin/true]\n    env: {A: 'env:RELAY_TEST_LINES', B: \"a\\nb\"}\n$end", 'a variable with lines' ],
	[ "${head}${end}connection: host=h dbname=d\n", 'a connection' ],
	[ "${head}${end}connection: d\n", 'the name of a database' ],
  )
{
	my ($code, $out) = check_config($config, $case->[0]);
	is($code, 0, "taken: $case->[1]") or diag($out);
}

# --- something to deliver ---

my $node = new_node('main');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sopflow');
my $server = start_server("$dir/requests");
my $web = "http://127.0.0.1:$server->{http}";
$ENV{RELAY_TEST_URL} = "$web/echo/404/services/T00/B00/SECRET-OF-THE-PATH?key=SECRET-OF-THE-QUERY";

my @cuts = map { 150 + 20 * $_ } 0 .. 15;
my %params = (dots => '..', dot => '.', lines => "one\ntwo", phone => '+49 1', long => 'x' x 30000);
make_action($node, $_, \%params) for qw(PATH BASIC BEARER404 AFTERLONG AFTERWORD AFTERDATE DOTS TWODOTS QUERYDOTS PHONE S307 HEAD
	CMDJSON CMDNUMBER CMDTEXT CMDSLASH CMDERROR CMDLINES CMDDIR CMDNODIR FIFO FULL STDOUT WEB), map { "CUT$_" } @cuts;
make_action($node, 'AFTER0', {}, max_attempts => 2);
make_action($node, 'SMALL', {});
POSIX::mkfifo("$dir/fifo", 0600) or die $!;
my $cuts = join '', map { "  CUT$_: {target: bearer, url: '$web/echo', result_body: $_}\n" } @cuts;
my $text = <<"END";
metrics: {listen: 127.0.0.1:0}
targets:
  web: {type: webhook, url: "$web/status/200", timeout: 5s}
  bearer: {type: webhook, url: "$web/echo/404", bearer: "env:RELAY_TEST_TOKEN"}
  hidden: {type: webhook, url: "env:RELAY_TEST_URL"}
  fifo: {type: file, path: "$dir/fifo"}
  run: {type: command, argv: [/bin/true]}
actions:
  WEB: web
  PATH: hidden
  BASIC: {target: web, url: "$web/echo", username: me, password: "env:RELAY_TEST_PASSWORD", result_body: 2000}
  BEARER404: bearer
$cuts
  AFTERLONG: {target: web, url: "$web/after/99999999999999999999"}
  AFTER0: {target: web, url: "$web/after/0"}
  AFTERWORD: {target: web, url: "$web/after/soon"}
  AFTERDATE: {target: web, url: "$web/date/-5000"}
  DOTS: {target: web, url: "$web/status/200/{{params.dots}}/x"}
  TWODOTS: {target: web, url: "$web/status/200/{{params.dot}}."}
  QUERYDOTS: {target: web, url: "$web/status/200/a{{params.dots}}?x=/{{params.dots}}"}
  PHONE: {target: web, url: "$web/status/200/{{ params.phone }}/{{params.none|not given}}"}
  S307: {target: web, url: "$web/status/307"}
  HEAD: {target: web, url: "$web/status/204", method: HEAD}
  CMDJSON: {target: run, argv: [sh, -c, "echo '{\\"token\\": \\"'\$T'\\", \\"n\\": 1}'"], env: {T: "env:RELAY_TEST_TOKEN"}}
  CMDNUMBER: {target: run, argv: [sh, -c, "echo \$T"], env: {T: "env:RELAY_TEST_NUMBER"}}
  CMDTEXT: {target: run, argv: [sh, -c, "echo token \$T; head -c 100000 /dev/zero | tr '\\\\0' x"], env: {T: "env:RELAY_TEST_TOKEN"}}
  CMDSLASH: {target: run, argv: [echo, '"se\\"cret\\/with\\/4711 and se\\"cret/with/4711"'], env: {T: "env:RELAY_TEST_SLASH"}}
  CMDERROR: {target: run, argv: [sh, -c, "head -c 250 /dev/zero | tr '\\\\0' x >&2; echo \$T >&2; exit 1"], env: {T: "env:RELAY_TEST_TOKEN"}}
  CMDLINES: {target: run, argv: [sh, -c, "echo \\"\$L\\" | wc -l; echo \\"\$K\\" | wc -l"], env: {L: "{{params.lines}}", K: "env:RELAY_TEST_LINES"}}
  CMDDIR: {target: run, argv: [pwd], directory: "$dir"}
  CMDNODIR: {target: run, directory: "$dir/nowhere"}
  FIFO: fifo
  SMALL: fifo
  FULL: {target: fifo, path: /dev/full}
  STDOUT: {target: fifo, path: /dev/stdout}
END
write_config($config, $text);
my ($valid, $said) = check_config($config, $text);
is($valid, 0, 'the configuration of this test is valid') or BAIL_OUT($said);
write_config($config, $text);
my $relay = start_relay($node, $config, undef, '--verbose');

# Emit an event; how its task ended.
sub deliver
{
	my ($action) = @_;
	emit_tasks($node, $action, 1);
	$node->poll_query_until('postgres', "SELECT count(*) > 0 AND bool_and(status IN ('done', 'dead') OR (status = 'pending' AND attempt > 0))
		FROM sopflow.tasks WHERE action = '$action'") or diag("$action does not end");
	return task_of($node, $action);
}

# --- secrets ---

my $hidden = deliver('PATH');
like($hidden, qr/^dead\|1\|target "hidden": HTTP status 404: POST \*\*\* HTTP/, 'a path that is secret is not shown');
unlike($hidden, qr/SECRET|T00/, 'nor is a part of it');
like(deliver('BASIC'), qr/^done.*Authorization: Basic \*\*\*/, 'nor user and password as they are sent');
deliver("CUT$_") for @cuts;
my $answers = $node->safe_psql('postgres', q{SELECT string_agg(result->>'body', E'\n' ORDER BY length(result->>'body')) FROM sopflow.tasks WHERE action LIKE 'CUT%'});
like($answers, qr/Bearer ?$/m, 'an answer that ends in the token');
like($answers, qr/Bearer \*\*\*/, 'and one that ends behind it');
my $begin = substr $token, 0, 4;
unlike($answers, qr/Bearer \Q$begin\E/, 'have no part of it');
unlike(deliver('BEARER404'), qr/\Q$begin\E/, 'nor has an error');
like(deliver('CMDJSON'), qr/^done\|1\|-\|\{"n": 1, "token": "\*\*\*"\}/, 'nor what a command prints as JSON');
like(deliver('CMDNUMBER'), qr/^done\|1\|-\|\{"exit": 0, "output": "\*\*\*"\}/, 'be it a number');
like(deliver('CMDTEXT'), qr/^done\|1\|-\|\{"exit": 0, "output": "token \*\*\* x+"\}/, 'nor as text');
like(deliver('CMDSLASH'), qr/^done\|1\|-\|"\*\*\* and \*\*\*"/, 'nor as JSON writes it');
like(deliver('CMDERROR'), qr/^pending\|1\|the command ended with exit code 1: x{250}\*\*\*\|/, 'nor its error');

# --- what an answer means ---

like(deliver('AFTERLONG'), qr/^pending\|1\|target "web": HTTP status 503\|-\|604800$/, 'a Retry-After of ages is cut to seven days');
like(deliver('AFTERWORD'), qr/\|-\|3600$/, 'one that is neither a number nor a date is none');
like(deliver('AFTERDATE'), qr/\|-\|0$/, 'one in the past is soon');
emit_tasks($node, 'AFTER0', 1);
wait_for($node, q{SELECT count(*) = 1 FROM sopflow.tasks WHERE action = 'AFTER0' AND status = 'dead' AND attempt = 2}, 'one of 0 is, too, and not after an hour');
like(deliver('S307'), qr/^pending\|1\|target "web": HTTP status 307 \(redirects are not followed\)/, 'a redirect says that it is none');
forget_requests($server);
like(deliver('HEAD'), qr/^done/, 'HEAD');
is((requests($server))[0]{method}, 'HEAD', 'is sent as such');

forget_requests($server);
like(deliver('DOTS'), qr/^pending\|1\|url: the value of "params\.dots" makes "\.\." a part of the path, which leads somewhere else\|/, 'a value does not lead up');
like(deliver('TWODOTS'), qr/^pending\|1\|url: the value of "params\.dot" makes "\.\." a part/, 'nor with what stands behind it');
is(scalar requests($server), 0, 'nothing is sent');
like(deliver('QUERYDOTS'), qr/^done/, 'elsewhere dots are dots');
deliver('PHONE');
my @requests = requests($server);
is_deeply([ map { $_->{path} } @requests ], [ '/status/200/a..?x=/..', '/status/200/%2B49%201/not%20given' ], 'blanks around a name, and in a default');

# --- commands ---

like(deliver('CMDLINES'), qr/^done.*"output": "2 3"/, 'variables have lines');
like(deliver('CMDDIR'), qr/^done.*\Q$dir\E/, 'a command has its directory');
like(deliver('CMDNODIR'), qr/^pending\|1\|could not run "\/bin\/true" in the directory ".*\/nowhere": No such file or directory\|/, 'one that is not there is named');

# --- files that are none ---

like(deliver('FIFO'), qr/^pending\|1\|could not write to ".*\/fifo": it is a pipe that nobody reads\|-\|3600$/, 'a pipe that nobody reads');
like(deliver('WEB'), qr/^done/, 'does not stop the relay');
like(deliver('FULL'), qr/^pending\|1\|could not write to "\/dev\/full": No space left on device/, 'a full device');
like(deliver('STDOUT'), qr/^done/, 'standard output');
said($relay, qr/^\{.*"action":"STDOUT".*\}$/m, 'has the line');
sysopen(my $fifo, "$dir/fifo", O_RDONLY | O_NONBLOCK) or die $!;
emit_tasks($node, 'FIFO', 4);
wait_for($node, q{SELECT count(*) > 0 FROM sopflow.tasks WHERE action = 'FIFO' AND last_error LIKE '%it is a pipe that is full, and nobody reads on'}, 'a pipe whose reader does not read');
wait_for($node, q{SELECT count(*) FILTER (WHERE status = 'done') > 0 AND bool_and(status = 'done' OR last_error IS NOT NULL) FROM sopflow.tasks WHERE action = 'FIFO'}, 'after what it could take');
like(deliver('WEB'), qr/^done/, 'does not stop it either');
$relay->{handle}->signal('HUP');
said($relay, qr/the configuration was read again/, 'files are opened anew');
my $read = '';
1 while sysread $fifo, $read, 65536, length $read;
like(deliver('SMALL'), qr/^done/, 'when it reads again');
1 while sysread $fifo, $read, 65536, length $read;
my @actions = map { (eval { JSON::PP->new->utf8->decode($_) } // { action => 'torn' })->{action} } split /\n/, $read;
my $done = $node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE action = 'FIFO' AND status = 'done'});
is_deeply(\@actions, [ ('FIFO') x $done, 'torn', 'SMALL' ], 'it gets whole lines, and a torn one by itself');
close $fifo;
like(deliver('SMALL'), qr/^pending\|1\|.*it is a pipe that nobody reads\|/, 'until its reader is gone');

is(stop_relay($relay), 0, 'it ends');
unlike($relay->{out}, qr/\Q$begin\E|\Q$password\E|SECRET|4711/, 'no secret was logged');
is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.tasks t WHERE t::text LIKE '%$token%' OR t::text LIKE '%$password%' OR t::text LIKE '%SECRET%' OR t::text LIKE '%4711%'"), '0', 'and none is in the database');

# --- more visitors than descriptors ---

write_config($config, "metrics: {listen: 127.0.0.1:0}\n$head$end");
$relay = start_relay($node, $config, [ 'sh', '-c', 'ulimit -n 30; exec "$@"', 'sh', relay_program() ]);
said($relay, qr/metrics are at/, 'a relay with few descriptors');
my ($address) = $relay->{out} =~ m{metrics are at http://([0-9.:]+)/};
my @visitors = map { IO::Socket::INET->new(PeerAddr => $address, Timeout => 10) } 1 .. 30;
said($relay, qr/somebody who asks for metrics has to wait: Too many open files/, 'says that somebody has to wait');

# Seconds of processor time that the relay has used.
sub used
{
	my @fields = split / /, slurp_file('/proc/' . relay_pid($relay) . '/stat') =~ s/.*\) //r;
	return ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}
my ($used, $since) = (used(), time);
wait_until(sub { time > $since + 1.5 }, 'a while later');
cmp_ok(used() - $used, '<', 0.3, 'it has not been busy with it');
close $_ for grep { defined } @visitors;
wait_until(sub { (relay_metrics($relay))[0] eq 'HTTP/1.1 200 OK' }, 'and there are metrics when they have left');
is(stop_relay($relay), 0, 'it ends');
stop_server($server);
done_testing();
