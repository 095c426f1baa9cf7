# The relay sends mail: what stands in it, what it makes of the server's
# replies, and that nothing in a task can add a header or a recipient.

use strict;
use warnings;

use FindBin;
use IO::Socket::INET;
use lib $FindBin::RealBin;
use MIME::Base64 qw(decode_base64);
use MIME::QuotedPrint qw(decode_qp);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use RelayTest;
use SopflowLife;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
$ENV{RELAY_TEST_MAIL} = 's3cret-of-mail';
$ENV{RELAY_TEST_WRONG} = 'wrong-s3cret-of-mail';
build_tools($dir);
my @certificate = certificate($dir);
my $node = new_node('main');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sopflow');
my $server = start_server("$dir/mails", @certificate);
my ($plain, $implicit) = ("smtp://127.0.0.1:$server->{smtp}", "smtps://127.0.0.1:$server->{smtps}");

# Servers that refuse: at their greeting, to EHLO, to a sender, to DATA, and a mail
# that they have read.
my @refusing;

END
{
	my $code = $?;
	kill 'KILL', @refusing;
	$? = $code;
}

sub refusing_server
{
	my ($where) = @_;
	my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $!;
	my $url = 'smtp://127.0.0.1:' . $listener->sockport;
	my $pid = fork // die $!;
	if ($pid)
	{
		push @refusing, $pid;
		return $url;
	}
	$SIG{PIPE} = 'IGNORE';
	# nothing of this test is to be ended with the server
	eval { refuse($listener, $where) };
	POSIX::_exit(0);
}

sub refuse
{
	my ($listener, $where) = @_;
	my %answers = (EHLO => '250 here', HELO => '250 here', MAIL => '250 yes', RCPT => '250 yes', DATA => '354 tell', QUIT => '221 bye');
	$answers{$_} = '550 blocked, see the postmaster' for $where eq 'EHLO' ? qw(EHLO HELO) : $where;
	while (my $client = $listener->accept)
	{
		print $client $where eq 'GREETING' ? "554-there is\r\n554 no SMTP service here\r\n" : "220 welcome\r\n";
		while (my $line = <$client>)
		{
			my $verb = uc substr $line, 0, 4;
			print $client "$answers{$verb}\r\n";
			last if $verb eq 'QUIT';
			next unless $verb eq 'DATA' && $where ne 'DATA';
			while (my $text = <$client>) { last if $text =~ /^\.\r$/ }
			print $client $where eq 'MAIL DATA' ? "554 5.7.1 looks like spam\r\n" : "250 taken\r\n";
		}
		close $client;
	}
	return;
}

my %refusing = map { $_ => refusing_server($_) } 'GREETING', 'EHLO', 'MAIL', 'DATA', 'MAIL DATA';

my %params = (email => 'ann@example.com', name => "An\"na \x{c4}rger", plain => 'Bob, the "builder" <x@evil.example>',
	lines => ".first\n..second\r\nthird=1\n" . ('long ' x 300) . "\n\x{20ac}  \n.", bad => "a\@b.example\r\nBcc: x\@evil.example",
	two => 'a@b.example, c@d.example', angle => 'a@b.example> <c@d.example', umlaut => "j\x{f6}rg\@example.com",
	refused => 'refuse.me@example.com', deferred => 'defer.me@example.com', subject => "Gr\x{fc}\x{df}e " x 30);
my @actions = qw(PLAIN TEXT HTML BOTH NAMED BAD TWO ANGLE UMLAUT SUBJECT INSUBJECT REFUSED DEFERRED SECOND STARTTLS SMTPS NOCA WRONG DOWN ATGREETING ATEHLO ATMAIL ATDATA ATEND);
make_action($node, $_, \%params) for @actions;
make_action($node, 'TOLD', {}, alert_after => 1);

write_config("$dir/relay.yml", <<"END");
targets:
  mail:
    type: smtp
    url: $plain
    starttls: off
    from: "Sop \x{e2}\x{80}\x{9e}Flow <care\@shop.example>"
    to: "{{params.email}}"
    subject: "Hello {{params.name}}"
    text: "Dear {{params.name}},\\n{{params.lines}}"
    timeout: 5s
  safe:
    type: smtp
    url: $plain
    username: mailer
    password: env:RELAY_TEST_MAIL
    ca_file: $certificate[0]
    from: care\@shop.example
    to: ["{{params.email}}"]
    subject: x
    text: y
actions:
  PLAIN: mail
  HTML: {target: mail, html: "<p>{{params.name}}</p>", text: "{{params.name}}"}
  TEXT: {target: mail, subject: plain, to: ["{{params.email}}", "Eve <eve\@example.com>"], cc: cc\@example.com, bcc: [bcc\@example.com], reply_to: "Desk <desk\@shop.example>", headers: {X-Task: "{{task_id}}", List-Unsubscribe: "<mailto:stop\@shop.example>"}}
  NAMED: {target: mail, to: "{{params.plain}} <{{params.email}}>"}
  BAD: {target: mail, to: "{{params.bad}}"}
  TWO: {target: mail, to: "{{params.two}}"}
  ANGLE: {target: mail, to: "<{{params.angle}}>"}
  UMLAUT: {target: mail, to: "{{params.umlaut}}"}
  SUBJECT: {target: mail, subject: "{{params.subject}}"}
  INSUBJECT: {target: mail, subject: "{{params.bad}}"}
  REFUSED: {target: mail, to: "{{params.refused}}"}
  DEFERRED: {target: mail, to: "{{params.deferred}}"}
  SECOND: {target: mail, cc: "{{params.refused}}"}
  STARTTLS: safe
  SMTPS: {target: safe, url: "$implicit"}
  NOCA: {target: mail, url: "$implicit"}
  WRONG: {target: safe, password: env:RELAY_TEST_WRONG}
  ATGREETING: {target: mail, url: "$refusing{GREETING}"}
  ATEHLO: {target: mail, url: "$refusing{EHLO}"}
  ATMAIL: {target: mail, url: "$refusing{MAIL}"}
  ATDATA: {target: mail, url: "$refusing{DATA}"}
  ATEND: {target: mail, url: "$refusing{'MAIL DATA'}"}
  DOWN: {target: mail, url: "smtp://127.0.0.1:1"}
alerts: {target: mail, to: ops\@shop.example, subject: "sopflow: {{kind}}", text: "{{message}}"}
END
my $relay = start_relay($node, "$dir/relay.yml", undef, '--verbose');

# Emit an event; how its task ended, and the mail if one came.
sub deliver
{
	my ($action) = @_;
	forget_requests($server);
	emit_tasks($node, $action, 1);
	$node->poll_query_until('postgres', "SELECT count(*) > 0 AND bool_and(status IN ('done', 'dead') OR (status = 'pending' AND attempt > 0))
		FROM sopflow.tasks WHERE action = '$action'") or diag("$action does not end");
	# the alerts that dead tasks raise are mail, too
	my ($mail) = grep { $_->{to} ne '<ops@shop.example>' } requests($server);
	return (task_of($node, $action), $mail);
}

# Headers, unfolded, by name; and the body.
sub take_apart
{
	my ($mail) = @_;
	my ($head, $body) = split /\r\n\r\n/, $mail->{data}, 2;
	$head =~ s/\r\n[ \t]+/ /g;
	my %headers = map { /^([^:]+): (.*)/ ? ($1 => $2) : () } split /\r\n/, $head;
	return (\%headers, $body);
}

# Encoded words as text, in UTF-8.
sub words
{
	my ($text) = @_;
	$text =~ s/\?= =\?UTF-8\?B\?/?==?UTF-8?B?/g;
	$text =~ s/=\?UTF-8\?B\?([^?]*)\?=/decode_base64($1)/ge;
	return $text;
}

sub utf8
{
	my ($text) = @_;
	utf8::encode($text);
	return $text;
}

my ($task, $mail) = deliver('PLAIN');
like($task, qr/^done\|1\|-\|\{"reply": 250\}/, 'a mail is taken');
my ($headers, $body) = take_apart($mail);
my $id = $node->safe_psql('postgres', q{SELECT task_id FROM sopflow.tasks WHERE action = 'PLAIN'});
is($mail->{from}, '<care@shop.example>', 'its sender');
is($mail->{to}, '<ann@example.com>', 'its recipient');
is(words($headers->{From}), "Sop \x{e2}\x{80}\x{9e}Flow <care\@shop.example>", 'a name that is not ASCII');
like($headers->{From}, qr/^[ -~]*$/, 'is written in ASCII');
is(words($headers->{Subject}), utf8("Hello $params{name}"), 'so is the subject');
like($headers->{Date}, qr/^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d+ [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000$/, 'a date');
is($headers->{'Message-ID'}, "<sopflow-$id\@shop.example>", 'an id out of the task');
is($headers->{'Auto-Submitted'}, 'auto-generated', 'no answers by machines');
my $expected = utf8("Dear $params{name},\n$params{lines}");
$expected =~ s/\r\n/\n/g;
(my $got = decode_qp($body)) =~ s/\r\n/\n/g;
is($got, $expected, 'lines with dots, long lines and blanks at their end arrive as they are');
cmp_ok((sort { $b <=> $a } map { length } split /\r\n/, $mail->{data})[0], '<=', 78, 'no line is long');

(undef, $mail) = deliver('HTML');
($headers, $body) = take_apart($mail);
my ($boundary) = $headers->{'Content-Type'} =~ m{^multipart/alternative; boundary="([^"]+)"$};
ok($boundary, 'text and HTML are alternatives');
my @parts = split /(?:^|\r\n)--\Q$boundary\E(?:--)?(?:\r\n|$)/, $body;
is(scalar(@parts), 3, 'of two parts');
like($parts[1], qr{^Content-Type: text/plain; charset=utf-8\r\n}, 'the plain one first');
is(decode_qp((split /\r\n\r\n/, $parts[2], 2)[1]), utf8("<p>An&quot;na \x{c4}rger</p>") , 'HTML with entities');

(undef, $mail) = deliver('TEXT');
($headers) = take_apart($mail);
is($mail->{to}, '<ann@example.com><eve@example.com><cc@example.com><bcc@example.com>', 'several recipients');
is_deeply([ @$headers{qw(To Cc Reply-To Subject)} ], [ 'ann@example.com, "Eve" <eve@example.com>', 'cc@example.com', '"Desk" <desk@shop.example>', 'plain' ], 'in their headers');
ok(!exists $headers->{Bcc} && $mail->{data} !~ /bcc@/, 'but for the blind ones');
is($headers->{'List-Unsubscribe'}, '<mailto:stop@shop.example>', 'headers of one\'s own');

(undef, $mail) = deliver('NAMED');
is($mail->{to}, '<ann@example.com>', 'a name with an address in it adds no recipient');
($headers) = take_apart($mail);
is($headers->{To}, '"Bob, the \"builder\" <x@evil.example>" <ann@example.com>', 'and is quoted');
for my $case ([ 'BAD', qr/^pending\|1\|To: the value of "params\.bad" has a line break/ ], [ 'TWO', qr/^dead\|1\|To: "a\@b\.example, c\@d\.example" is not one mail address/ ],
	[ 'UMLAUT', qr/^dead\|1\|To: ".*" is not one mail address/ ],
	[ 'INSUBJECT', qr/^pending\|1\|Subject: the value of "params\.bad" has a line break/ ])
{
	($task, $mail) = deliver($case->[0]);
	like($task, $case->[1], "$case->[0]: nothing is added to a mail");
	ok(!defined $mail, 'and none is sent');
}
(undef, $mail) = deliver('ANGLE');
is($mail->{to}, '<c@d.example>', 'two addresses in brackets are one with a name');
(undef, $mail) = deliver('SUBJECT');
($headers) = take_apart($mail);
is(words($headers->{Subject}), utf8($params{subject}), 'a long subject is folded between characters') or diag($mail->{data});

like((deliver('REFUSED'))[0], qr/^dead\|1\|target "mail": .*550; the server said: 550 5\.1\.1 there is nobody of this name\|/, 'refused for good: dead at once, with the server\'s words');
like((deliver('SECOND'))[0], qr/^dead\|1\|.*550/, 'also where only one of several is');
like((deliver('DEFERRED'))[0], qr/^pending\|1\|.*451.*\|3600$/, 'refused for a while: again');
like((deliver('DOWN'))[0], qr/^pending\|1\|.*onnect.*\|3600$/, 'no server: again');

like((deliver('ATGREETING'))[0], qr/^pending\|1\|target "mail": .*; the server said: 554-there is 554 no SMTP service here\|-\|3600$/, 'a server that refuses everybody: again');
like((deliver('ATEHLO'))[0], qr/^pending\|1\|target "mail": .*550.*blocked, see the postmaster\|-\|3600$/, 'or this client: again');
like((deliver('ATMAIL'))[0], qr/^dead\|1\|target "mail": .*; the server said: 550 blocked/, 'a sender that is refused: dead');
like((deliver('ATDATA'))[0], qr/^dead\|1\|target "mail": .*; the server said: 550 blocked/, 'all recipients: dead');
like((deliver('ATEND'))[0], qr/^dead\|1\|target "mail": .*; the server said: 554 5\.7\.1 looks like spam\|/, 'what was written: dead');

($task, $mail) = deliver('STARTTLS');
like($task, qr/^done/, 'STARTTLS') or diag($relay->{out});
ok($mail->{tls} && $mail->{authenticated}, 'with credentials');
($task, $mail) = deliver('SMTPS');
ok($task =~ /^done/ && $mail->{tls} && $mail->{authenticated}, 'TLS from the beginning');
like((deliver('NOCA'))[0], qr/^pending\|1\|target "mail": SSL.*certificate.*\|3600$/, 'not with a server that nobody vouches for');
like((deliver('WRONG'))[0], qr/^pending\|1\|target "safe": .*the server said: 535 who are you\?\|-\|3600$/, 'wrong credentials are no fault of the task');

forget_requests($server);
$node->safe_psql('postgres', q{SELECT sopflow.emit('TOLD', 'x')});
wait_until(sub { $node->safe_psql('postgres', q{SELECT sopflow.nack(task_id, lease_token, 'it rained') FROM sopflow.fetch('{TOLD}')}) eq 't' }, 'somebody fails');
wait_until(sub { scalar requests($server) }, 'an alert is mailed');
($mail) = requests($server);
($headers, $body) = take_apart($mail);
is("$mail->{to} $headers->{Subject}", '<ops@shop.example> sopflow: failures', 'to those who look after it');
like(decode_qp($body), qr/action "TOLD" failed 1 times in a row/, 'and says what happened');
is(stop_relay($relay), 0, 'the relay ends');
unlike($relay->{out}, qr/s3cret/, 'no password was logged');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks t WHERE t::text LIKE '%s3cret%'}), '0', 'and none is in the database');
stop_server($server);
done_testing();
