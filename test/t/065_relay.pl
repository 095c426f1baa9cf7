# The relay delivers tasks to web servers, programs and files, and alerts: what
# it sends, what it makes of each answer, and how it begins, reloads and ends.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Digest::SHA qw(hmac_sha256_hex);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RelayTest;
use SopflowLife;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $config = "$dir/relay.yml";
my $key = 'key-of-the-signature-4711';
my $token = 'token-of-the-bearer-0815';
$ENV{RELAY_TEST_KEY} = $key;
$ENV{RELAY_TEST_EMPTY} = '';
append_to_file("$dir/token", "$token\n");
build_tools($dir);
my @certificate = certificate($dir);

# --- configurations that are not valid ---

my $valid = "targets:\n  web: {type: webhook, url: 'http://127.0.0.1:9/'}\nactions:\n  A: web\n";
is_deeply([ check_config($config, $valid) ], [ 0, "sopflow: FILE: valid: 1 targets, 1 actions\n" ], 'a valid configuration');

for my $case (
	[ "targets:\n  web: {type: webhook, url: 'http://h/'}\n  web: {type: file, path: x}\n", qr/^sopflow: error: FILE:3: .*duplicate key/, 'a target twice' ],
	[ "targets: [\n", qr/^sopflow: error: FILE:2: /, 'no YAML' ],
	[ "$valid\nretries: 3\n", qr/error: FILE:6: retries: unknown key; there are connection, /, 'an unknown key' ],
	[ "targets:\n  web:\n    type: webhook\n    url: http://h/\n    methd: PUT\nactions: {A: web}\n", qr/FILE:5: targets\.web\.methd: unknown key/, 'an unknown key of a target' ],
	[ "targets:\n  web:\n    type: webhok\n", qr/FILE:2: targets\.web: unknown type "webhok"; there are webhook, slack, smtp, command, file/, 'an unknown type' ],
	[ "targets:\n  web: {type: webhook}\nactions: {A: web}\n", qr/FILE:2: targets\.web: "url" is missing/, 'no URL' ],
	[ "targets:\n  web: {type: webhook, url: 'ftp://h/'}\nactions: {A: web}\n", qr/targets\.web\.url: must begin with https:\/\/ or http:\/\//, 'a foreign scheme' ],
	[ "targets:\n  web: {type: webhook, url: 'http://me:pw\@h/'}\nactions: {A: web}\n", qr/url: must not hold a user or password/, 'a password in the URL' ],
	[ "targets:\n  web: {type: webhook, url: 'http://{{params.host}}/'}\nactions: {A: web}\n", qr/url: names may stand only in the path/, 'a host out of a task' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/{{parms.x}}'}\nactions: {A: web}\n", qr/url: "parms" is unknown; there are v, type, task_id/, 'an unknown name' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', body: '{\"a\": {{params}'}\nactions: {A: web}\n", qr/body: "\{\{" without "\}\}"/, 'braces that stay open' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', body: '{\"a\": x{{params}}}'}\nactions: {A: web}\n", qr/body: the text is not JSON/, 'a body that is no JSON' ],
	[ "targets:\n  web:\n    type: webhook\n    url: http://h/\n    bearer: secret\nactions: {A: web}\n", qr/FILE:5: targets\.web\.bearer: must name where the secret is: env:NAME or file:PATH/, 'a secret in the file' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', bearer: 'env:RELAY_TEST_NONE'}\nactions: {A: web}\n", qr/bearer: the environment variable "RELAY_TEST_NONE" is not set/, 'a secret that is not there' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', bearer: 'env:RELAY_TEST_EMPTY'}\nactions: {A: web}\n", qr/bearer: the secret is empty/, 'an empty secret' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', bearer: 'file:$dir/none'}\nactions: {A: web}\n", qr/bearer: could not open ".*none"/, 'a file of a secret that is not there' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', timeout: soon}\nactions: {A: web}\n", qr/timeout: must be a time such as 30s/, 'no time' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', rate: 5/fortnight}\nactions: {A: web}\n", qr/rate: must be a rate such as 50\/s/, 'no rate' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', expect: [200, '2xx']}\nactions: {A: web}\n", qr/expect: must be a list of numbers and ranges/, 'no status' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', headers: {'X-A: b': c}}\nactions: {A: web}\n", qr/is no name/, 'no name of a header' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/', headers: {Idempotency-Key: c}}\nactions: {A: web}\n", qr/the relay sets "Idempotency-Key" itself/, 'a header of the relay' ],
	[ "${valid}  B: wbe\n", qr/FILE:5: actions\.B: there is no target "wbe"/, 'no such target' ],
	[ "${valid}  B: {target: web, concurrency: 3}\n", qr/FILE:5: actions\.B\.concurrency: belongs to the target/, 'what only a target may say' ],
	[ "${valid}  B: {target: web, text: x}\n", qr/FILE:5: actions\.B\.text: unknown key/, 'what this kind of target has not' ],
	[ "${valid}batch: 0\n", qr/FILE:5: batch: must be a whole number from 1 to 10000/, 'a batch of none' ],
	[ "${valid}batch: '5'\n", qr/FILE:5: batch: must be a whole number/, 'a string for a number' ],
	[ "${valid}metrics: {listen: '0.0.0.0:9187'}\n", qr/FILE:5: metrics: "0\.0\.0\.0" is no loopback address/, 'metrics for everybody' ],
	[ "targets:\n  run: {type: command, argv: 'rm -rf x'}\nactions: {A: run}\n", qr/argv: must be a list/, 'a shell' ],
	[ "targets:\n  mail: {type: smtp, url: 'smtp://h', from: a\@b, subject: x, text: y}\nactions: {A: mail}\n", qr/targets\.mail: "to" is missing/, 'a mail to nobody' ],
	[ "targets:\n  mail: {type: smtp, url: 'smtp://h', from: a\@b, to: c\@d, subject: x}\nactions: {A: mail}\n", qr/"text" or "html" is missing/, 'a mail of nothing' ],
	[ "targets:\n  web: {type: webhook, url: 'http://h/'}\n", qr/there are neither actions nor alerts/, 'nothing to do' ],
	[ "- a\n", qr/FILE:1: must be a mapping/, 'a list' ],
  )
{
	my ($text, $pattern, $name) = @$case;
	my ($code, $out) = check_config($config, $text);
	ok($code == 4 && $out =~ $pattern, "refused: $name") or diag($code, $out);
}
my (undef, $many) = check_config($config, "batch: x\nlease: y\ntargets:\n  web: {type: webhook, url: 'http://h/', method: 5}\nactions: {A: web}\n");
is(scalar(() = $many =~ /error:/g), 3, 'all faults are said at once');
my ($code, $out) = check_config($config, "targets:\n  web: {type: webhook, url: 'env:RELAY_TEST_KEY'}\nactions: {A: web}\n");
ok($code == 4 && $out !~ /\Q$key\E/, 'a secret that is no URL is not shown');

(my $example = slurp_file("$FindBin::RealBin/../../doc/examples/relay.yml")) =~ s{file:/run/secrets/sms-token}{file:$dir/token};
$ENV{$_} = 'something-secret' for qw(CRM_HMAC_KEY MAIL_PASSWORD LEDGER_KEY);
$ENV{SLACK_URL} = 'https://hooks.example.com/x';
$example =~ s{ca_file: .*}{};
is_deeply([ check_config($config, $example) ], [ 0, "sopflow: FILE: valid: 6 targets, 6 actions, alerts\n" ], 'the example is valid');

# --- a server, and something to deliver ---

my $node = new_node('main');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sopflow');
my $server = start_server("$dir/requests", @certificate);
my $web = "http://127.0.0.1:$server->{http}";

my %params = (name => "An\"na <b>\x{e4}\x{20ac}", zip => '00501', big => 1, path => '../a b&c=d/#', inject => "x\r\nX-Evil: 1", nothing => undef);
for my $action (qw(PLAIN TEMPLATE FORM JSONVALUE MISSING HEADER BASIC SLACK GET
	S204 S429 S503 S500 S404 S410 S408 S302 DATE HANG RESET CLOSED REFUSED BIG ECHO PUT409
	TLS TLSCA TLSOFF CMD CMDFAIL CMDDEAD CMDTEMP CMDHANG CMDBAD CMDNONE CMDFDS HELD FILE ODD))
{
	make_action($node, $action, \%params);
}
make_action($node, 'SLOW', {}, lease => '1 s');

my $text = <<"END";
# every kind of target
metrics:
  listen: 127.0.0.1:0
drain_timeout: 20s
targets:
  web:
    type: webhook
    url: $web/status/200
    timeout: 2s
    hmac: {secret: "env:RELAY_TEST_KEY"}
    bearer: file:$dir/token
  odd.name: {type: webhook, url: "$web/status/200"}
  chat:
    type: slack
    url: $web/status/200
    text: "Hello {{params.name}}, \\\\{{ {{context.from|nobody}}"
  tls: {type: webhook, url: "https://127.0.0.1:$server->{https}/status/200"}
  held: {type: webhook, url: "$web/status/503/200", hold: true}
  log: {type: file, path: "$dir/tasks.jsonl"}
  run:
    type: command
    argv: ["/bin/sh", "-c", "cat > '$dir/stdin'; env > '$dir/env'; echo '{\\"sent\\": 1, \\"big\\": 12345678901234567890}'"]
    timeout: 30s
    dead: [65, "70-74"]
    env: {GREETING: "hi {{params.zip}}", KEY: "env:RELAY_TEST_KEY"}
actions:
  PLAIN: web
  TEMPLATE:
    target: web
    method: PUT
    url: $web/status/200?p={{params.path}}&s={{subject}}
    headers: {X-Name: "{{params.zip}}", X-None: "{{params.nothing|none}}"}
    body: {text: "Dear {{params.name}}", n: 5, list: ["{{task_id}}"], braces: "\\\\{{x}}"}
  FORM: {target: web, content_type: application/x-www-form-urlencoded, body: "name={{params.name}}&path={{params.path}}"}
  JSONVALUE: {target: web, body: '{"all": {{params}}, "none": {{params.nope|null}}, "n": {{params.big}}, "s": {{params.zip}}}'}
  MISSING: {target: web, body: '{"x": "{{params.nothing}}"}'}
  HEADER: {target: web, headers: {X-In: "{{params.inject}}"}}
  BASIC: {target: odd.name, username: me, password: "env:RELAY_TEST_KEY"}
  GET: {target: odd.name, method: GET}
  SLACK: chat
  S204: {target: web, url: "$web/status/204"}
  S429: {target: web, url: "$web/status/429/600"}
  S503: {target: web, url: "$web/status/503/1200"}
  DATE: {target: web, url: "$web/date/1800"}
  S500: {target: web, url: "$web/status/500"}
  S404: {target: web, url: "$web/status/404"}
  S410: {target: web, url: "$web/status/410", retry: 410}
  S408: {target: web, url: "$web/status/408"}
  S302: {target: web, url: "$web/status/302"}
  PUT409: {target: web, url: "$web/status/409", method: PUT, expect: [200, 409]}
  HANG: {target: web, url: "$web/hang", timeout: 300ms}
  RESET: {target: web, url: "$web/reset"}
  CLOSED: {target: web, url: "$web/close"}
  REFUSED: {target: web, url: "http://127.0.0.1:1/"}
  BIG: {target: web, url: "$web/big", result_body: 20}
  ECHO: {target: web, url: "$web/echo", result_body: 2000}
  TLS: tls
  TLSCA: {target: tls, ca_file: "$certificate[0]"}
  TLSOFF: {target: tls, verify: false}
  CMD: run
  CMDFAIL: {target: run, argv: ["sh", "-c", "echo it broke >&2; exit 3"]}
  CMDDEAD: {target: run, argv: ["sh", "-c", "exit 65"]}
  CMDTEMP: {target: run, argv: ["sh", "-c", "exit 75"]}
  CMDHANG: {target: run, argv: ["sh", "-c", "trap '' TERM; sleep 98765 & wait; sleep 98765"], timeout: 200ms, kill_after: 200ms}
  CMDBAD: {target: run, argv: ["printf", "no json \\\\0001"]}
  CMDFDS: {target: run, argv: ["/bin/sh", "-c", "for i in `seq 3 100`; do [ -e /proc/\$\$/fd/\$i ] && echo open; done; echo none"]}
  CMDNONE: {target: run, argv: ["/nowhere/at/all"]}
  FILE: log
  HELD: held
  SLOW: {target: odd.name, url: "$web/delay/2500"}
alerts: {target: chat, text: "{{kind}}: {{message}}", state: "$dir/alert"}
END
write_config($config, $text);
my ($valid_code, $valid_out) = check_config($config, $text);
is($valid_code, 0, 'the configuration of this test is valid') or BAIL_OUT($valid_out);
my $relay = start_relay($node, $config, undef, '--verbose');
my %sent;

# Emit an event, and wait until its task has ended or waits for its next attempt.
sub deliver
{
	my ($action, $context) = @_;
	emit_tasks($node, $action, 1, $context);
	$node->poll_query_until('postgres', "SELECT count(*) > 0 AND bool_and(status IN ('done', 'dead') OR (status = 'pending' AND attempt > 0))
		FROM sopflow.tasks WHERE action = '$action'") or diag("$action does not end");
	return task_of($node, $action);
}

# What the server got of it last.
sub got
{
	my ($action) = @_;
	forget_requests($server);
	my $task = deliver($action);
	my @requests = requests($server);
	return ($task, $requests[-1], scalar @requests);
}

# --- what is sent ---

my ($task, $request) = got('PLAIN');
like($task, qr/^done\|1\|-\|\{"body": "an \x{c3}\x{a4}nswer \? ?of the server", "status": 200\}|^done\|1\|-\|\{"body": "an .*nswer of the server", "status": 200\}/, 'a webhook is acknowledged with status and answer');
my $body = JSON::PP->new->utf8->allow_bignum->decode($request->{body});
is($body->{type} . $body->{v} . $body->{action} . $body->{subject} . $body->{attempt}, 'task1PLAINs11', 'the body is the task');
is($body->{params}{name}, $params{name}, 'with its params');
is($request->{method}, 'POST', 'by POST');
is($request->{headers}{'content-type'}, 'application/json', 'as JSON');
is($request->{headers}{'idempotency-key'}, "sopflow-$body->{task_id}-1", 'with a key of task and attempt');
is("$request->{headers}{'x-sopflow-task'} $request->{headers}{'x-sopflow-attempt'}", "$body->{task_id} 1", 'and both alone');
is( $request->{headers}{'x-sopflow-signature'},
	'sha256=' . hmac_sha256_hex("$request->{headers}{'x-sopflow-timestamp'}.$request->{body}", $key),
	'the signature is that of time stamp and body');
ok(abs(time - $request->{headers}{'x-sopflow-timestamp'}) < 60, 'and the time stamp is now');
is($request->{headers}{authorization}, "Bearer $token", 'the bearer is out of its file');

(undef, $request) = got('TEMPLATE');
is($request->{method}, 'PUT', 'another method');
is($request->{path}, '/status/200?p=..%2Fa%20b%26c%3Dd%2F%23&s=s1', 'values are percent-encoded in a URL');
is("$request->{headers}{'x-name'} $request->{headers}{'x-none'}", '00501 none', 'headers have values and defaults');
$body = JSON::PP->new->utf8->decode($request->{body});
is_deeply([ $body->{text}, $body->{n}, $body->{braces} ], [ "Dear $params{name}", 5, '{{x}}' ], 'values are escaped in a JSON body');

(undef, $request) = got('FORM');
is($request->{body}, 'name=An%22na+%3Cb%3E%C3%A4%E2%82%AC&path=..%2Fa+b%26c%3Dd%2F%23', 'and in a form');
(undef, $request) = got('JSONVALUE');
$body = JSON::PP->new->utf8->decode($request->{body});
is_deeply([ $body->{all}{zip}, $body->{none}, $body->{n}, $body->{s} ], [ '00501', undef, 1, '00501' ], 'outside of strings a value is JSON');
like(deliver('MISSING'), qr/^pending\|1\|"params\.nothing" is null or absent, and has no default\|-\|3600$/, 'a null without a default is a failed attempt that names it');
like(deliver('HEADER'), qr/^pending\|1\|the value of "params\.inject" has a line break/, 'no value adds a header');
(undef, $request) = got('BASIC');
like($request->{headers}{authorization}, qr/^Basic /, 'user and password');
(undef, $request) = got('GET');
is($request->{method} . length($request->{body}), 'GET0', 'GET has no body');
(undef, $request) = got('SLACK');
$body = JSON::PP->new->utf8->decode($request->{body});
is_deeply($body, { text => "Hello An\"na &lt;b&gt;\x{e4}\x{20ac}, {{ nobody" }, 'Slack gets a text in its own escapes');

# --- what an answer means ---

like(deliver('S204'), qr/^done\|1\|-\|\{"status": 204\}/, '204 is success');
like(deliver('S429'), qr/^pending\|1\|target "web": HTTP status 429: later\|-\|600$/, '429: again after Retry-After');
like(deliver('S503'), qr/^pending\|1\|target "web": HTTP status 503: later\|-\|1200$/, '503 too');
like(deliver('HELD'), qr/^pending\|1\|target "held": HTTP status 503: later\|-\|200$/, 'where a target is to be held');
emit_tasks($node, 'HELD', 5);
like(deliver('DATE'), qr/^pending\|1\|target "web": HTTP status 503\|-\|1800$/, 'also where that is a date');
like(deliver('S500'), qr/^pending\|1\|target "web": HTTP status 500: .*\|-\|3600$/, "500: again after the action's backoff");
like(deliver('S408'), qr/^pending\|1\|target "web": HTTP status 408.*\|-\|3600$/, '408 too');
like(deliver('S404'), qr/^dead\|1\|target "web": HTTP status 404: an .*nswer .*of the server\|/, '404: dead at once, with what the server said');
like(deliver('S410'), qr/^pending\|1\|target "web": HTTP status 410/, 'unless the configuration says otherwise');
like(deliver('PUT409'), qr/^done\|1\|-\|.*"status": 409\}/, 'what is expected is success');
forget_requests($server);
like(deliver('S302'), qr/^pending\|1\|target "web": HTTP status 302 \(redirects are not followed\)/, 'a redirect is no success');
is(scalar(requests($server)), 1, 'and is not followed');
like(deliver('HANG'), qr/^pending\|1\|target "web": Operation timed out.*\|-\|3600$/, 'no answer in time: again');
like(deliver('RESET'), qr/^pending\|1\|target "web": (?:Recv failure|Connection reset|Connection died).*\|-\|3600$/, 'a reset: again');
like(deliver('CLOSED'), qr/^pending\|1\|target "web": Empty reply.*\|-\|3600$/, 'no answer at all: again');
like(deliver('REFUSED'), qr/^pending\|1\|.*onnect.*\|-\|3600$/, 'no connection: again');
like(deliver('BIG'), qr/^done\|1\|-\|\{"body": "x{20}", "status": 200\}/, 'a long answer is cut, and is an answer');
my $echo = deliver('ECHO');
like($echo, qr/^done.*Bearer \*\*\*/, 'a secret that the target sends back is blotted out');
like(deliver('TLS'), qr/^pending\|1\|target "tls": SSL certificate .*\|-\|3600$/, 'a certificate that nobody vouches for');
like(deliver('TLSCA'), qr/^done/, 'is good where the configuration names it');
like(deliver('TLSOFF'), qr/^done/, 'or where it shall not be looked at');

# --- commands ---

like(deliver('CMD'), qr/^done\|1\|-\|\{"big": 12345678901234567890, "sent": 1\}/, 'what a command prints is the result, to the last digit');
$body = JSON::PP->new->utf8->decode(slurp_file("$dir/stdin"));
is($body->{params}{zip}, '00501', 'it gets the task');
my $env = slurp_file("$dir/env");
like($env, qr/^GREETING=hi 00501$/m, 'and an environment');
like($env, qr/^SOPFLOW_TASK_ID=$body->{task_id}$/m, 'with the id of the task');
like($env, qr/^KEY=\Q$key\E$/m, 'and the secrets that it is meant to have');
unlike($env, qr/^RELAY_TEST_KEY=/m, 'but not those of others');
like(deliver('CMDFAIL'), qr/^pending\|1\|the command ended with exit code 3: it broke\|-\|3600$/, 'exit code 3: again');
like(deliver('CMDTEMP'), qr/^pending\|1\|the command ended with exit code 75\|-\|3600$/, '75: again');
like(deliver('CMDDEAD'), qr/^dead\|1\|the command ended with exit code 65\|/, 'what is configured so is dead at once');
like(deliver('CMDHANG'), qr/^pending\|1\|the command was stopped after 0\.2 s\|/, 'a command that takes too long is killed, even if it does not want to die');
my @left = grep { (eval { slurp_file($_) } // '') =~ /^sleep\x{00}9876[5]/ } glob('/proc/[0-9]*/cmdline');
is("@left", '', 'with all that it has started');
like(deliver('CMDBAD'), qr/^done\|1\|-\|\{"exit": 0, "output": "no json.*"\}/, 'what is no JSON is kept as text');
like(deliver('CMDNONE'), qr/^pending\|1\|could not run "\/nowhere\/at\/all": No such file or directory\|/, 'a program that is not there');

like(deliver('CMDFDS'), qr/"output": "none"/, 'it inherits no open file');

# --- files ---

like(deliver('FILE'), qr/^done\|1\|-\|\{"written": true\}/, 'a file');
rename "$dir/tasks.jsonl", "$dir/old.jsonl";
deliver('FILE');
is(scalar(() = slurp_file("$dir/old.jsonl") =~ /\n/g), 2, 'goes on when it was renamed');

# --- leases, metrics, reload ---

$task = deliver('SLOW');
like($task, qr/^done\|1\|/, 'a lease is extended while a slow target thinks, and no attempt is lost');
my ($status, $metrics) = relay_metrics($relay);
is($status, 'HTTP/1.1 200 OK', 'there are metrics');
like($metrics, qr/^sopflow_relay_deliveries_total\{target="web",outcome="dead"\} 1$/m, 'of what died');
like($metrics, qr/^sopflow_relay_deliveries_total\{target="odd\.name",outcome="done"\} 3$/m, 'of what was delivered');
like($metrics, qr/^sopflow_relay_delivery_seconds_bucket\{target="odd\.name",le="2\.5"\} 2\n.*le="10"\} 3$/m, 'and how long it took');
like($metrics, qr/^sopflow_relay_lost_leases_total 0$/m, 'no lease was lost');
like($metrics, qr/^sopflow_relay_connected 1$/m, 'it is connected');
is((relay_metrics($relay, "GET /healthz HTTP/1.0\r\n\r\n"))[1], "ok\n", 'and well');
is((relay_metrics($relay, "GET /x HTTP/1.0\r\n\r\n"))[0], 'HTTP/1.1 404 Not Found', 'no other page');
is((relay_metrics($relay, "POST /metrics HTTP/1.0\r\n\r\n"))[0], 'HTTP/1.1 405 Method Not Allowed', 'nothing to be posted');
is((relay_metrics($relay, 'x' x 10000))[0], '', 'nor a request without an end');

write_config($config, "$text\nnonsense: 1\n");
$relay->{handle}->signal('HUP');
said($relay, qr/relay\.yml:\d+: nonsense: unknown key.*the configuration stays as it was/s, 'a broken configuration is refused');
like(deliver('S204'), qr/^done/, 'and the old one goes on');
deliver('FILE');
is(scalar(() = slurp_file("$dir/tasks.jsonl") =~ /\n/g), 1, 'files were opened anew all the same');
(my $changed = $text) =~ s{(S404: .*/status/)404}{${1}201};
$changed =~ s{^actions:$}{actions:\n  ODD: {target: odd.name, listen: another}}m;
write_config($config, $changed);
$relay->{handle}->signal('HUP');
said($relay, qr/the configuration was read again/, 'a good one is taken');
$node->safe_psql('postgres', "UPDATE sopflow.action SET channel = 'another' WHERE action = 'ODD'");
like(deliver('ODD'), qr/^done/, 'an action that is new, on a channel of its own');
like(deliver('S404'), qr/^done\|1\|-\|.*201/, 'and a target that moved');

is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE action = 'HELD' AND status = 'ready'}), '5', 'and the target that is held was given nothing all the time');

# --- alerts ---

forget_requests($server);
make_action($node, 'TOLD', {}, alert_after => 1);
$node->safe_psql('postgres', q{SELECT sopflow.emit('TOLD', 'x')});
wait_until(sub { $node->safe_psql('postgres', q{SELECT sopflow.nack(task_id, lease_token, 'it rained') FROM sopflow.fetch('{TOLD}')}) eq 't' }, 'somebody fails');
wait_until(sub { grep { $_->{body} =~ /TOLD/ } requests($server) }, 'an alert is delivered');
my ($alert) = grep { $_->{body} =~ /TOLD/ } requests($server);
my $alert_id = $node->safe_psql('postgres', q{SELECT alert_id FROM sopflow.alerts WHERE action = 'TOLD'});
is($alert->{headers}{'idempotency-key'}, "sopflow-alert-$alert_id", 'with a key of its own');
wait_until(sub { slurp_file("$dir/alert") eq "$alert_id\n" }, 'and remembered');

# --- the end ---

emit_tasks($node, 'SLOW', 3);
wait_until(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE action = 'SLOW' AND status = 'leased'}) == 3 }, 'three are in flight');
is(stop_relay($relay), 0, 'SIGTERM ends the relay');
like($relay->{out}, qr/ending: 3 deliveries in flight/, 'when these have ended');
is($node->safe_psql('postgres', q{SELECT count(*), max(attempt) FROM sopflow.tasks WHERE action = 'SLOW' AND status = 'done'}), '4|1', 'all are done');
unlike($relay->{out}, qr/\Q$key\E|\Q$token\E/, 'no secret was logged');
is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.tasks t WHERE t::text LIKE '%$key%' OR t::text LIKE '%$token%'"), '0', 'and none is in the database');

# while it is away
forget_requests($server);
make_action($node, 'UNHEARD', {}, alert_after => 1);
$node->safe_psql('postgres', q{SELECT sopflow.emit('UNHEARD', 'x')});
wait_until(sub { $node->safe_psql('postgres', q{SELECT sopflow.nack(task_id, lease_token, 'it rained again') FROM sopflow.fetch('{UNHEARD}')}) eq 't' }, 'somebody fails while no relay runs');
wait_for($node, q{SELECT count(*) > 0 FROM sopflow.alerts WHERE action = 'UNHEARD' AND sent_at IS NOT NULL}, 'and an alert is sent that nobody hears');
(my $short = $changed) =~ s/drain_timeout: 20s/drain_timeout: 300ms/;
write_config($config, $short);
$relay = start_relay($node, $config, undef, '--verbose');
wait_until(sub { grep { $_->{body} =~ /UNHEARD/ } requests($server) }, 'the alert is delivered when it is back');
is(scalar(grep { $_->{body} =~ /TOLD/ } requests($server)), 0, 'the earlier one is not');

emit_tasks($node, 'SLOW', 1);
wait_until(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE action = 'SLOW' AND status = 'leased'}) == 1 }, 'one is in flight');
is(stop_relay($relay, 'INT'), 0, 'SIGINT ends it as well');
like(task_of($node, 'SLOW'), qr/^pending\|1\|the relay was stopped before the delivery ended\|-\|3600$/, 'what takes longer than drain_timeout is handed back');

write_config($config, $changed);
$relay = start_relay($node, $config);
emit_tasks($node, 'SLOW', 1);
wait_until(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE action = 'SLOW' AND status = 'leased'}) == 1 }, 'one is in flight again');
$relay->{handle}->signal('TERM');
said($relay, qr/ending: 1 deliveries/, 'SIGTERM');
is(stop_relay($relay), 1, 'and a second one ends it at once');

# --- what may be fetched ---

make_action($node, 'ALLOWED', {});
$node->safe_psql('postgres', q{CREATE ROLE deliverer LOGIN; SELECT sopflow.grant_consumer('ALLOWED', 'deliverer')});
write_config($config, <<"END");
connection: user=deliverer
targets:
  web: {type: webhook, url: "$web/status/200", rate: 20/s, burst: 1, concurrency: 5}
actions: {ALLOWED: web, PLAIN: web, GONE: web}
END
emit_tasks($node, 'PLAIN', 1);
emit_tasks($node, 'ALLOWED', 11);
my $begin = Time::HiRes::time();
$relay = start_relay($node, $config);
wait_until(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE action = 'ALLOWED' AND status = 'done'}) == 11 }, 'an action that may be fetched is, whatever becomes of the others of its target');
cmp_ok(Time::HiRes::time() - $begin, '>', 0.5, 'not faster than the rate');
said($relay, qr/tasks of action "PLAIN" could not be fetched: permission denied.*grant_consumer/s, 'of the others the server\'s word is logged');
said($relay, qr/tasks of action "GONE" could not be fetched: action "GONE" does not exist/, 'for each of them');
is(stop_relay($relay), 0, 'it ends');

# a target that does not answer, with tasks enough for all places

make_action($node, $_, {}) for qw(HOG QUICK);
write_config($config, <<"END");
max_in_flight: 20
drain_timeout: 100ms
targets:
  dead: {type: webhook, url: "$web/hang", timeout: 60s}
  web: {type: webhook, url: "$web/status/200"}
actions: {HOG: dead, QUICK: web}
END
emit_tasks($node, 'HOG', 100);
$relay = start_relay($node, $config);
wait_for($node, q{SELECT count(*) >= 10 FROM sopflow.tasks WHERE action = 'HOG' AND status = 'leased'}, 'a dead target has its part of the places');
emit_tasks($node, 'QUICK', 50);
wait_for($node, q{SELECT count(*) = 50 FROM sopflow.tasks WHERE action = 'QUICK' AND status = 'done'}, 'the tasks of another one are delivered');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE action = 'HOG' AND status = 'leased'}), '15', 'in the places that were kept for it, and no task is leased that waits');
is(stop_relay($relay), 0, 'it ends');

# --- leases that are lost, and the database while a delivery is under way ---

make_action($node, 'LONG', {}, lease => '60 s');
write_config($config, <<"END");
metrics: {listen: 127.0.0.1:0}
targets:
  web: {type: webhook, url: "$web/delay/1500"}
actions: {LONG: web, SLOW: web}
END
$relay = start_relay($node, $config);
emit_tasks($node, 'SLOW', 1);
wait_for($node, q{SELECT count(*) = 1 FROM sopflow.tasks WHERE action = 'SLOW' AND status = 'leased'}, 'one is in flight');
$node->safe_psql('postgres', q{SELECT sopflow.cancel(sop_id => 'SLOW')});
wait_until(sub { (relay_metrics($relay))[1] =~ /^sopflow_relay_lost_leases_total 1$/m }, 'one that is cancelled meanwhile is a lease that is lost');
said($relay, qr/the lease of task \d+ (?:has ended during its delivery|had ended before its delivery was reported)/, 'as the log says');

forget_requests($server);
emit_tasks($node, 'LONG', 3);
wait_for($node, q{SELECT count(*) = 3 FROM sopflow.tasks WHERE action = 'LONG' AND status = 'leased'}, 'three are in flight');
$node->restart;
wait_for($node, q{SELECT count(*) = 3 FROM sopflow.tasks WHERE action = 'LONG' AND status = 'done' AND attempt = 1}, 'what ended while the database was away is reported when it is back');
is(scalar requests($server), 3, 'and not delivered again');
is(stop_relay($relay), 0, 'it ends');

# --- the database goes away ---

$node->safe_psql('postgres', 'DROP EXTENSION sopflow CASCADE');
write_config($config, $valid);
$relay = start_relay($node, $config);
said($relay, qr/has no extension sopflow.*no connection to the database: it is not ready for the relay; trying again in/s, 'a database without the extension');
$relay->{out} = '';
$node->safe_psql('postgres', 'CREATE EXTENSION sopflow');
said($relay, qr/connected to database "postgres"/, 'until it is there');
$relay->{out} = '';
$node->restart;
said($relay, qr/connection to the database lost.*connected to database/s, 'and back after a restart of the server');
is(stop_relay($relay), 0, 'it ends');
stop_server($server);
done_testing();
