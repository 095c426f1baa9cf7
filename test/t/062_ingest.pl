# sopflow ingest: each line of a stream is an event exactly once, whatever is
# killed in between and from wherever the stream is read again.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowClient;
use SopflowLife;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', "sopflow.databases = 'none_of_these'");
$node->start;
use_node($node);
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	BEGIN;
	INSERT INTO sopflow.action (action) VALUES ('CALL');
	INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('care', 'NEW_CLIENT', 'allow'), ('reg', 'REGISTERED', 'allow');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('care', 'n1', '1 day', 'CALL'), ('reg', 'n1', '1 day', 'CALL');
	COMMIT;
	CREATE ROLE shop LOGIN;
});

sub runs
{
	my ($sop) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) || ' ' || count(DISTINCT subject_id) FROM sopflow.runs WHERE sop_id = '$sop'");
}

sub clear
{
	$node->safe_psql('postgres', 'SELECT sopflow.cancel(sop_id => s) FROM unnest(array[\'care\', \'reg\']) s; TRUNCATE sopflow.ingest_offset; TRUNCATE sopflow.run_history');
	return;
}

sub stream
{
	return join '', map { encode_json($_) . "\n" } @_;
}

my @event = ('ingest', '--event=NEW_CLIENT', '--subject-field=id');

# --- options ---

client_is('no event', [ 'ingest', '--subject-field=id' ], 2, '', qr/either --event or --event-field/);
client_is('two events', [ @event, '--event-field=e' ], 2, '', qr/either --event or --event-field/);
client_is('no subject', [ 'ingest', '--event=E' ], 2, '', qr/--subject-field must be given/);
client_is('partition without position', [ @event, '--partition-field=p' ], 2, '', qr/needs --position-field/);
client_is('an empty field', [ 'ingest', '--event=E', '--subject-field=' ], 2, '', qr/must not be empty/);

# --- fields ---

client_is('nothing', [ @event, { stdin => '' } ], 0, '', "sopflow: 0 lines: 0 events taken in, 0 passed over as known, 0 bad\n");
my $kafka = stream(
	{ topic => 't', partition => 0, offset => 7, ts => 1_600_000_000_123, key => 'k', payload => encode_json({ client_id => 12, tag => 'x', at => '2021-05-06 07:08:09+00' }) },
	{ topic => 't', partition => 1, offset => 3, ts => 1_600_000_000, payload => { client_id => 'c-2', tag => 'y' } });
client_is('kcat -J', [ 'ingest', '--event=NEW_CLIENT', '--subject-field=payload.client_id', '--source=t', '--position-field=offset',
	'--partition-field=partition', '--time-field=ts', '--context-field=payload', { stdin => $kafka } ], 0, '', qr/2 lines: 2 events/);
is($node->safe_psql('postgres', q{SET timezone = 'UTC'; SELECT subject_id, event_at, context FROM sopflow.runs ORDER BY run_id}),
	qq(12|2020-09-13 12:26:40.123+00|{"at": "2021-05-06 07:08:09+00", "tag": "x", "client_id": 12}\n)
	. qq(c-2|2020-09-13 12:26:40+00|{"tag": "y", "client_id": "c-2"}),
	'subject, time and context are those of the payload');
is($node->safe_psql('postgres', 'SELECT source, position FROM sopflow.ingest_offset ORDER BY 1'), "t/0|7\nt/1|3", 'each partition has its position');
clear();
client_is('events by a field, the whole line as context', [ 'ingest', '--event-field=type', '--subject-field=id', '--time-field=when', '--context-field=.',
	{ stdin => qq({"type":"NEW_CLIENT","id":"a","when":"2021-05-06T07:08:09Z","n":12345678901234567890}\n\n  \n{"type":"REGISTERED","id":9007199254740993,"when":0}) } ], 0, '', qr/4 lines: 2 events/);
is($node->safe_psql('postgres', q{SET timezone = 'UTC'; SELECT sop_id, subject_id, event_at, context->'n' FROM sopflow.runs ORDER BY run_id}),
	"care|a|2021-05-06 07:08:09+00|12345678901234567890\nreg|9007199254740993|1970-01-01 00:00:00+00|", 'no digit is lost, a last line needs no end');
is($node->safe_psql('postgres', 'SELECT source, position FROM sopflow.ingest_offset'), 'stdin|4', 'without a position it is the line');
clear();

# --- the same stream again, and further ---

my @lines = map { { id => "s$_", offset => $_ } } 0 .. 2999;
client_is('a stream', [ @event, '--batch=70', { stdin => stream(@lines[ 0 .. 999 ]) } ], 0, '', qr/1000 lines: 1000 events taken in, 0 passed/);
client_is('from the beginning, and further', [ @event, { stdin => stream(@lines[ 0 .. 1499 ]) } ], 0, '',
	qr/source "NEW_CLIENT": lines up to position 1000 are passed over\n.*1500 lines: 500 events taken in, 1000 passed over/s);
is(runs('care'), '1500 1500', 'each counts once');
client_is('another source', [ @event, '--source=x', '--position-field=offset', { stdin => stream(@lines[ 0 .. 9 ]) } ], 0, '', qr/10 events/);
client_is('by position, from the middle', [ @event, '--source=x', '--position-field=offset', { stdin => stream(@lines[ 5 .. 14 ], $lines[3]) } ], 0, '',
	qr/11 lines: 5 events taken in, 6 passed/);
is(runs('care'), '1515 1500', 'positions are kept by source');
clear();

# --- bad lines ---

my %bad = (
	'no JSON' => [ '{"id":', 'the text ends' ],
	'no object' => [ '[1]', 'no object' ],
	'no subject' => [ '{"id":null}', 'field "id" is neither a string nor a number' ],
	'an empty subject' => [ '{"id":""}', 'field "id"' ],
	'duplicate key' => [ '{"id":1,"id":2}', 'duplicate key' ],
	'a null character' => [ '{"id":"a\u0000"}', 'null character' ],
	'no UTF-8' => [ "{\"id\":\"\xff\"}", 'not UTF-8' ],
	'no time' => [ '{"id":1,"at":"soonish"}', 'invalid input syntax for type timestamp' ],
	'time of a wrong type' => [ '{"id":1,"at":[1]}', 'field "at" is no time' ],
	'a time out of range' => [ '{"id":1,"at":"999999-01-01"}', 'out of range' ]);
for my $name (sort keys %bad)
{
	my ($line, $what) = @{ $bad{$name} };
	my $in = qq({"id":1,"at":0}\n{"id":2,"at":0}\n$line\n{"id":4,"at":0}\n);
	client_is("bad line: $name", [ @event, '--time-field=at', { stdin => $in } ], 4, '', qr/^sopflow: error: line 3: [^\n]*\Q$what\E/m);
	is(runs('care'), '2 2', 'what stands before it is taken in');
	client_is("passed over: $name", [ @event, '--time-field=at', '--skip-bad', { stdin => $in } ], 0, '',
		qr/warning: line 3 is passed over: [^\n]*\Q$what\E.*4 lines: 1 events taken in, 2 passed over as known, 1 bad\n/s);
	is(runs('care'), '3 3', 'and what stands behind it');
	client_is("known: $name", [ @event, '--time-field=at', { stdin => $in } ], 0, '', qr/0 events taken in, 4 passed over as known, 0 bad/);
	clear();
}
client_is('a bad position', [ @event, '--position-field=offset', { stdin => qq({"id":1,"offset":-1}\n) } ], 4, '', qr/line 1: field "offset" is no whole number from 0/);
client_is('a position with a fraction', [ @event, '--position-field=offset', { stdin => qq({"id":1,"offset":1.5}\n) } ], 4, '', qr/line 1: field "offset"/);
client_is('one of many that the server refuses', [ @event, '--time-field=at', '--skip-bad',
	{ stdin => join('', map { qq({"id":$_,"at":") . ($_ == 777 ? 'never' : '2020-01-01') . qq("}\n) } 1 .. 2500) } ], 0, '',
	qr/line 777 is passed over: [^\n]*never.*2499 events taken in, 0 passed over as known, 1 bad/s);
is(runs('care'), '2499 2499', 'the others are taken in');
clear();

# --- rights ---

client_is('without rights', [ @event, '-U', 'shop', { stdin => qq({"id":1}\n) } ], 1, '', qr/permission denied/);
$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA sopflow TO shop; GRANT EXECUTE ON FUNCTION sopflow.ingest TO shop');
client_is('with the right to ingest', [ @event, '-U', 'shop', { stdin => qq({"id":1}\n) } ], 0, '', qr/1 events/);
clear();

# --- idle streams ---

my $run = start_client(@event, '--batch=1000');
$run->{in} = qq({"id":"a"}\n{"id":"b"}\n{"id":"c");
$run->{handle}->pump_nb;
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM sopflow.runs"), 'a batch does not wait for more lines');
$run->{in} = "}\n";
$run->{handle}->pump_nb;
ok($node->poll_query_until('postgres', "SELECT count(*) = 3 FROM sopflow.runs"), 'a line that comes in two parts');
$run->{in} = qq({"id":"d"}\n{"id":"e");
$run->{handle}->pump while length $run->{in};
is(stop_client($run), 0, 'SIGTERM ends it with 0');
is(runs('care'), '4 4', 'and what was read is taken in');
clear();

# --- kill -9 in the middle, again and again, each time from the beginning ---

my $total = 30_000;
my $file = "$dir/stream.jsonl";
open my $fh, '>', $file or die;
print $fh qq({"key":"k$_","offset":$_,"payload":"{\\"client\\":$_}"}\n) for 1 .. $total;
close $fh;
my @from_file = ('ingest', '--event=NEW_CLIENT', '--subject-field=payload.client', '--batch=50', '--source=killed', '--position-field=offset');
my $killed = 0;
for my $part (1 .. 5)
{
	my $goal = $part * $total / 8;
	my $in;
	my ($out, $err) = ('', '');
	my $handle = IPC::Run::start([ 'sopflow', @from_file ], '<', $file, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$node->poll_query_until('postgres', "SELECT coalesce(max(position), -1) >= $goal FROM sopflow.ingest_offset");
	$handle->signal('KILL');
	$handle->finish;
	$killed++ if ($handle->full_result(0) & 127) == 9;
	my $position = $node->safe_psql('postgres', 'SELECT position FROM sopflow.ingest_offset');
	is(runs('care'), "$position $position", "killed at $position: events and position agree");
}
is($killed, 5, 'it was killed in the middle');
client_is('the rest', [ [ 'sh', '-c', "exec sopflow @from_file < $file" ] ], 0, '', qr/$total lines: \d+ events taken in/);
is(runs('care'), "$total $total", 'each event exactly once');
clear();

# --- the server crashes and restarts, and no line is lost ---

$run = start_client([ 'sh', '-c', "exec sopflow @from_file < $file" ]);
for my $part (1 .. 2)
{
	$node->poll_query_until('postgres', 'SELECT coalesce(max(position), -1) >= ' . $part * $total / 4 . ' FROM sopflow.ingest_offset');
	$node->stop('immediate');
	$node->start;
}
$run->{handle}->finish;
is($run->{handle}->result(0), 0, 'it goes on after two crashes of the server');
like($run->{err}, qr/(?:connected again.*){2}$total lines: /s, 'by connecting again');
is(runs('care'), "$total $total", 'each event exactly once');
clear();

# --- two readers of one source ---

my @readers = map { start_client([ 'sh', '-c', "exec sopflow @from_file < $file" ]) } 1 .. 2;
$_->{handle}->finish for @readers;
is(join(' ', map { $_->{handle}->result(0) } @readers), '0 0', 'two readers of the same stream end');
is(runs('care'), "$total $total", 'each event exactly once');

# --- a server that was put back ---

$run = start_client(@event, '--source=back', '--batch=1');
$run->{in} = qq({"id":"x1"}\n{"id":"x2"}\n{"id":"x3"}\n);
$run->{handle}->pump_nb;
ok($node->poll_query_until('postgres', "SELECT position = 3 FROM sopflow.ingest_offset WHERE source = 'back'"), 'three lines');
$node->safe_psql('postgres', "UPDATE sopflow.ingest_offset SET position = 1 WHERE source = 'back'");
$run->{in} = qq({"id":"x4"}\n);
wait_output($run, 'err', qr/went back from 3 to 1\n.*read the stream again from its beginning/s, 'a position that went back is an error');
$run->{handle}->finish;
is($run->{handle}->result(0), 1, 'with exit code 1');

done_testing();
