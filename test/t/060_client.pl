# The program sopflow: its options and help, and the commands that define and
# show: load, validate, export, diagram, simulate, tail, top.

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
my $top = "$FindBin::RealBin/../..";

# --- help, the man page and wrong usage ---

my ($code, $help, $err) = client('--help');
is($code, 0, '--help');
my @commands = $help =~ /^  ([a-z]+)  +\w/mg;
is_deeply(\@commands, [qw(load validate export diagram simulate ingest tail top relay)], 'it names the commands');
my $man = slurp_file("$top/doc/sopflow.1");
$man =~ s/\\-/-/g;
my ($common) = $man =~ /^\.SH OPTIONS\n(.*?)^\.SH/ms;
my %section = $man =~ /^\.SS ([a-z]+) [^\n]*\n(.*?)(?=^\.S[SH] (?!export \[\\fIOPTION\\fP\]\.\.\. --all))/msg;
my @common = sort { $a cmp $b } $help =~ /(--[a-z-]+)/g;
is_deeply([ sort { $a cmp $b } $common =~ /(--[a-z-]+)/g ], \@common, 'the man page has the common options');
for my $command (@commands)
{
	($code, my $text, $err) = client($command, '--help');
	is($code, 0, "$command --help");
	like($text, qr/^Usage: sopflow $command /m, "$command: usage");
	my ($own) = $text =~ /\A(.*?)^\n?Connection options/ms;
	my @options = sort { $a cmp $b } map { /^  +(?:-\w, )?(--[a-z-]+)/ ? $1 : () } split /\n/, $own // '';
	my @described = sort { $a cmp $b } map { /^\.B\S* (?:-\w ", " )?(--[a-z-]+)/ ? $1 : () } split /\n/, $section{$command} // '';
	is_deeply(\@described, \@options, "$command: the man page has its options");
	cmp_ok(scalar @options, '>', 0, "$command: it has some");
}
my ($version) = slurp_file("$top/sopflow.control") =~ /default_version = '(.*)'/;
client_is('--version', ['--version'], 0, "sopflow $version\n", '');
client_is('no command', [], 2, '', qr/no command was given\nTry "sopflow --help"/);
client_is('unknown command', ['lode'], 2, '', qr/there is no command "lode"/);
client_is('unknown option', [ 'load', '--dry', '--nonsense', 'x' ], 2, '', qr/--nonsense.*\nTry "sopflow load --help"/s);
client_is('no file', ['load'], 2, '', qr/no file was given/);
client_is('options that exclude each other', [ 'load', '--dry-run', '--watch', 'x' ], 2, '', qr/cannot be used together/);
client_is('no number', [ 'tail', '--count', '1x' ], 2, '', qr/--count must be a whole number, not "1x"/);
client_is('no format', [ 'export', '--format', 'xml', 'a' ], 2, '', qr/yaml or json/);
client_is('no terminal', ['top'], 2, '', qr/use --once/);

# --- connections ---

my $node = new_node('main', "sopflow.databases = 'none_of_these'");
$node->start;
use_node($node);
{
	local $ENV{PGPORT} = 1;
	client_is('no server', [ '-w', 'export', '--all' ], 3, '', qr/error: connection to server.*failed/);
}
client_is('no database', [ 'export', '-d', 'nowhere', '--all' ], 3, '', qr/database "nowhere" does not exist/);
client_is('no extension', [ 'export', '--all' ], 1, '', qr/database "postgres" has no extension sopflow/);
$node->safe_psql('postgres', 'CREATE EXTENSION sopflow; CREATE DATABASE other');
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN; CREATE ROLE author LOGIN; CREATE ROLE quoted LOGIN');
$node->safe_psql('postgres', q{SELECT sopflow.grant_author('author')});
for my $connection ([ '-d', 'postgres' ], [ '-d', $node->connstr('postgres') ],
	[ '--dbname=postgresql:///postgres?host=' . $node->host . '&port=' . $node->port ],
	[ '-h', $node->host, '-p', $node->port, '--dbname', 'postgres' ])
{
	local $ENV{PGDATABASE} = 'nowhere';
	client_is("connection by @$connection", [ @$connection, '-q', 'export', '--all', '--format=json' ], 0, qr/"sops": \[/, '');
}
client_is('options after the command', [ 'export', '--all', '-d', 'other', '-d', 'postgres' ], 0, qr/sops/, '');
client_is('a role without rights', [ 'export', '--all', '-U', 'nobody' ], 1, '', qr/permission denied for schema sopflow/);

# --- files in the form that they were first published in ---

my $care = file_with("$dir/care_sop.yml", care_sop());
my $actions = file_with("$dir/actions.json",
	encode_json({ actions => [ map { { name => $_, description => 'first' } } qw(SEND_GREETING PUSH_CASE SEND_REG_LINK FOLLOW_UP) ] }));
client_is('an action that is missing', [ 'load', $care ], 4, '',
	qr/\A\Q$care\E:7: error: SOP "customer_care_sop" is not valid: node "node1", column "action": .*SEND_GREETING.*\n\Q$care\E:15: error: .*PUSH_CASE.*\n\Q$care\E:23: error:.*\n\Q$care\E:31: error: [^\n]*FOLLOW_UP" does not exist\n\z/);
client_is('two files in one transaction, in any order', [ 'load', $care, $actions ], 0,
	qr/\Aaction "SEND_GREETING" created\n(?:action "\w+" created\n){3}SOP "customer_care_sop" created\n\z/,
	"sopflow: 5 created, 0 changed, 0 unchanged\n");
is($node->safe_psql('postgres', q{
		CREATE TABLE came (hour int, node_id text, action text);
		DO $$
		DECLARE
			began CONSTANT timestamptz := '2026-01-01 00:00:00+00';
			w sopflow.work;
		BEGIN
			PERFORM set_config('sopflow.clock', began::text, false);
			PERFORM sopflow.start('customer_care_sop', 'client-1', occurred_at => began);
			FOR h IN 0..200 LOOP
				PERFORM set_config('sopflow.clock', (began + h * interval '1 h')::text, false);
				FOR w IN SELECT * FROM sopflow.fetch('{SEND_GREETING,PUSH_CASE,SEND_REG_LINK,FOLLOW_UP}') LOOP
					INSERT INTO came VALUES (h, w.node_id, w.action);
					PERFORM sopflow.ack(w.task_id, w.lease_token);
				END LOOP;
			END LOOP;
		END $$;
		SELECT string_agg(concat_ws(' ', hour, node_id, action), ', ' ORDER BY hour) FROM came}),
	'24 node1 SEND_GREETING, 72 node2 PUSH_CASE, 96 node3 SEND_REG_LINK, 168 node4 FOLLOW_UP',
	'the four tasks of the care SOP come out at their times');
client_is('unchanged', [ 'load', $care, $actions ], 0, '', "sopflow: 0 created, 0 changed, 5 unchanged\n");
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.sop_version'), '1', 'an unchanged file makes no version');
client_is('quiet', [ 'load', '-q', $care ], 0, '', '');
client_is('from standard input', [ 'load', '-', { stdin => care_sop() } ], 0, '', "sopflow: 0 created, 0 changed, 1 unchanged\n");

# --- what would change ---

my $other = care_sop() =~ s/"72h"/"48h"/r =~ s/id: "node4"/id: "node5"/r =~ s/next: "node4"/next: "node5"/r;
my $changed = file_with("$dir/changed.yml", "$other---\nid: second\nreentry: allow\nnodes: [{id: a, delay: 1h, action: PUSH_CASE}]\n");
client_is('--dry-run', [ 'load', '--dry-run', $changed ], 0, <<'END', "sopflow: 1 created, 1 changed, 0 unchanged; nothing was written\n");
SOP "customer_care_sop" would be changed
  - nodes[node4]: {"id":"node4","delay":"168h","action":"FOLLOW_UP","params":{"message":"是否查阅案例？"}}
  ~ nodes[node2].delay: "72h" -> "48h"
  ~ nodes[node3].next: "node4" -> "node5"
  + nodes[node5]: {"id":"node5","delay":"168h","action":"FOLLOW_UP","params":{"message":"是否查阅案例？"}}
SOP "second" would be created
  + id: "second"
  + reentry: "allow"
  + nodes: [{"id":"a","delay":"1h","action":"PUSH_CASE"}]
END
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.sop_version'), '1', 'it changed nothing');
client_is('validate', [ 'validate', $changed, $actions ], 0, '', "sopflow: 2 files are valid\n");
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.sop'), '1', 'validate changed nothing');

# --- faults, each with its line ---

my %fault = (
	'unknown key' => [ 3, "id: f\nnodes:\n  - {id: a, delya: 1h}\n", 'unknown key "delya"' ],
	'wrong type' => [ 4, "id: f\nnodes:\n  - id: a\n    delay: [1]\n", '' ],
	'a node that is missing' => [ 5, "id: f\nnodes:\n  - id: a\n    delay: 1h\n    next: nowhere\n", 'nowhere' ],
	'in the second document' => [ 6, "id: f\nnodes: [{id: a}]\n---\nid: g\nnodes:\n  - nix: 1\n", 'nix' ],
	'duplicate key' => [ 3, "id: f\nnodes: [{id: a}]\nid: g\n", 'duplicate key "id"' ],
	'bad syntax' => [ 3, "id: f\nnodes:\n  - id: a: b\n", 'mapping values are not allowed' ],
	'not UTF-8' => [ 2, "id: f\nname: \xff\n", 'not UTF-8' ],
	'a null byte' => [ 2, "id: f\nname: \0\n", 'null byte' ],
	'merge key' => [ 4, "id: f\nnodes:\n  - &a {id: a}\n  - {<<: *a, id: b}\n", 'merge keys' ],
	'tag' => [ 2, "id: f\nname: !!str 1\n", 'tags are not supported' ],
	'leading zero' => [ 2, "id: f\nname: 0123\n", 'begins with 0' ],
	'no number' => [ 2, "id: f\nname: .inf\n", 'infinity' ],
	'key that is no string' => [ 3, "id: f\nnodes:\n  - {1: a}\n", 'key "1" is no string' ],
	'unknown alias' => [ 2, "id: f\nname: *x\n", 'no anchor' ],
	'alias within itself' => [ 1, "&a [*a]\n", 'within its own anchor' ],
	'too deep' => [ 1, '[' x 70 . ']' x 70 . "\n", 'nested deeper than 64' ],
	'nothing' => [ 1, "# nothing\n", 'no document' ],
	'a sequence of words' => [ 1, "[a, b]\n", 'object' ],
	'many aliases' => [ 5, "a: &a [x,x,x,x,x,x,x,x,x,x]\n" . join('', map { my $p = chr(96 + $_); my $n = chr(97 + $_); "$n: &$n [" . join(',', ("*$p") x 10) . "]\n" } 1 .. 8), 'too large' ],
);
for my $name (sort keys %fault)
{
	my ($line, $text, $what) = @{ $fault{$name} };
	my $file = file_with("$dir/fault.yml", $text);
	client_is("fault: $name", [ 'load', $care, $file ], 4, '', qr/\A\Q$file\E:$line: error: [^\n]*\Q$what\E/);
}
%fault = (
	'unknown key' => [ 4, qq({"id": "f",\n "nodes": [\n  {"id": "a",\n   "delya": "1h"}]}), 'delya' ],
	'duplicate key' => [ 3, qq({"id": "f",\n "nodes": [],\n "id": "g"}), 'duplicate key "id"' ],
	'comma' => [ 2, qq({"id": "f",\n}), 'a comma stands before "}"' ],
	'no end' => [ 2, qq({"id": "f",\n "nodes": [), 'the text ends' ],
	'more behind' => [ 2, "{}\n{}", 'the end of the text' ],
	'surrogate' => [ 1, '{"id": "\ud800"}', 'surrogate' ],
	'null character' => [ 1, '{"id": "\u0000"}', 'null character' ],
	'number' => [ 1, '{"id": 01}', 'begins with 0' ],
	'huge number' => [ 1, '{"id": 1e131072}', 'out of range' ],
	'line break' => [ 1, "{\"id\": \"a\nb\"}", 'control character' ],
	'too deep' => [ 1, '[' x 70 . ']' x 70, 'nested deeper than 64' ],
	'nothing' => [ 1, '', 'a value was expected' ],
);
for my $name (sort keys %fault)
{
	my ($line, $text, $what) = @{ $fault{$name} };
	my $file = file_with("$dir/fault.json", $text);
	client_is("fault in JSON: $name", [ 'validate', $file ], 4, '', qr/\A\Q$file\E:$line: error: [^\n]*\Q$what\E/);
}
client_is('validate --offline needs no server', [ 'validate', '--offline', '-h', '/nowhere', $care ], 0, '', qr/valid in syntax/);
client_is('no such file', [ 'load', "$dir/none.yml" ], 4, '', qr/none\.yml: error: No such file/);
client_is('one SOP in two files', [ 'validate', $care, file_with("$dir/twice.yml", "# twice\n" . care_sop()) ], 4, '',
	qr/\A\Q$dir\E\/twice\.yml:3: error: [^\n]*there twice\n[^\n]*The first is at \Q$care\E:2\.\n\z/);
client_is('an array of JSON', [ 'validate', file_with("$dir/list.json", qq([{"id": "a", "nodes": []},\n{"id": "b",\n"nodes": [1]}])) ], 4, '', qr/list\.json:3: error/);
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.sop'), '1', 'no fault changed anything');
client_is('a hostile name', [ 'load', file_with("$dir/hostile.yml", qq(id: "a\\e[31m'\\"\nnodes: [{id: x, nix: "\\e"}]\n)) ], 4, '', qr/\A[^\e]*\z/);

# --- types, and nothing lost on the way out and in again ---

my $typed = file_with("$dir/typed.yml", <<'END');
id: typed
description: |
  two
  lines
nodes:
  - id: a
    delay: 24h
    action: PUSH_CASE
    params:
      yes: yes
      off: "off"
      int: 0x1f
      float: 1.50
      big: 12345678901234567890.123
      exp: 1e3
      none: ~
      empty: ""
      date: 2026-01-01
      flag: True
      quoted: '12'
      nested: {"a b": [1, two, [], {}]}
      text: "tab\tand 😀 and \u00e9"
      lines: "a\n b \n\n"
      shared: &s {x: 1}
      again: *s
END
client_is('typed values', [ 'load', '-q', $typed ], 0, qr//, '');
is($node->safe_psql('postgres', "SELECT params FROM sopflow.sop_node WHERE sop_id = 'typed'"),
	$node->safe_psql('postgres', q{SELECT '{"yes": "yes", "off": "off", "int": 31, "float": 1.50, "big": 12345678901234567890.123,
		"exp": 1e3, "none": null, "empty": "", "date": "2026-01-01", "flag": true, "quoted": "12",
		"nested": {"a b": [1, "two", [], {}]}, "text": "tab\tand 😀 and é", "lines": "a\n b \n\n",
		"shared": {"x": 1}, "again": {"x": 1}}'::jsonb}), 'are those of YAML 1.2');
for my $format (qw(yaml json))
{
	($code, my $all, $err) = client('export', '--all', "--format=$format");
	is($code, 0, "export --all in $format");
	my $file = file_with("$dir/all." . ($format eq 'yaml' ? 'yml' : 'json'), $all);
	client_is("$format: nothing changes", [ 'load', $file ], 0, '', "sopflow: 0 created, 0 changed, 6 unchanged\n");
	$node->safe_psql('postgres', 'BEGIN; DELETE FROM sopflow.sop; DELETE FROM sopflow.action; COMMIT');
	client_is("$format: all comes back", [ 'load', '-q', $file ], 0, qr//, '');
	my ($code2, $again) = client('export', '--all', "--format=$format");
	is($again, $all, "$format: as it was");
}
client_is('one SOP', [ 'export', 'customer_care_sop' ], 0, qr/\Aid: customer_care_sop\nnodes:\n- id: node1\n  delay: 24h\n  action: SEND_GREETING\n/, '');
client_is('two SOPs', [ 'export', 'typed', 'customer_care_sop' ], 0, qr/\Aid: typed\n.*\n---\nid: customer_care_sop\n/s, '');
client_is('one SOP with what it uses', [ 'export', '--with-used', 'typed' ], 0, qr/\Aactions:\n- name: PUSH_CASE\n  description: first\nsops:\n- id: typed\n/, '');
client_is('no such SOP', [ 'export', 'none' ], 1, '', qr/SOP "none" does not exist/);
client_is('what belongs to others', [ 'load', '-U', 'author', $care ], 1, '', qr/care_sop\.yml:2: error: permission denied for SOP "customer_care_sop"\n/);

# --- seeing it ---

client_is('diagram', [ 'diagram', 'customer_care_sop' ], 0,
	$node->safe_psql('postgres', "SELECT sopflow.diagram('customer_care_sop')") . "\n", '');
client_is('diagram in DOT', [ 'diagram', '--format=dot', '--counts', 'customer_care_sop' ], 0, qr/\A(?:strict )?digraph/, '');
client_is('diagram of none', [ 'diagram', 'none' ], 1, '', qr/"none"/);
client_is('simulate', [ 'simulate', '--from=2026-01-01 00:00:00+00', 'customer_care_sop' ], 0,
	qr/\Aat +node_id +action .*\n2026-01-02 .*node1 +SEND_GREETING.*\n2026-01-04.*node2.*\n2026-01-05.*node3.*\n2026-01-08.*node4/, '');
my $steps = decode_json((client('simulate', '--json', '--context={"a": 1}', '--subject=x', 'customer_care_sop'))[1]);
is_deeply([ grep { defined } map { $_->{node_id} } @$steps ], [qw(node1 node2 node3 node4)], 'simulate --json');
client_is('simulate with a bad context', [ 'simulate', '--context={', 'customer_care_sop' ], 1, '', qr/json/);
client_is('top --once', [ 'top', '--once' ], 0, qr/\Asopflow  database "postgres".*^events .*^health\n.*^workers\nno worker runs\n.*^due next\n/ms, '');
client_is('top of a role without rights', [ 'top', '--once', '-U', 'nobody' ], 1, qr/^error: permission denied[^\n\\]*\nHINT:  Ask /m, '');

# --- completion: the words as bash cuts them, the last is being typed ---

sub completes
{
	my ($words, $wanted) = @_;
	my ($code, $out, $err) = client([ 'bash', '-c', 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
		compopt() { :; }; _sopflow; printf "%s\n" "${COMPREPLY[@]}"', "$top/doc/sopflow.bash", 'sopflow', @$words ]);
	is("$code $err" . join(' ', sort split /\n/, $out), "0 $wanted", "sopflow @$words<TAB>");
	return;
}
completes(['di'], 'diagram');
completes([ 'load', '--dr' ], '--dry-run');
completes([ 'export', '--format', '=', 'y' ], 'yaml');
completes([ 'diagram', '--format', 'd' ], 'dot');
completes([ 'diagram', 'cust' ], 'customer_care_sop');
completes([ '-d', 'postgres', 'diagram', 'cust' ], 'customer_care_sop');
completes([ '-d', 'template1', 'diagram', 'cust' ], '');
completes([ 'diagram', '--dbname', '=', 'template1', '--counts', 'cust' ], '');
completes([ 'diagram', '-U', 'nobody', 'cust' ], '');
completes([ '-d', 'postg' ], 'postgres');

# --- tail ---

my $tail = start_client('tail', '--channel=sopflow', '--channel', 'With "Quotes"', '--count=3');
wait_output($tail, 'err', qr/listening in database "postgres"\n/, 'tail listens');
$node->safe_psql('postgres', q{
	NOTIFY sopflow, '{"v":1,"type":"ready","action":"A","count":3}';
	SELECT pg_notify('With "Quotes"', 'no json ' || chr(27) || '[31m')});
wait_output($tail, 'out', qr/ sopflow ready action=A count=3\n.* With "Quotes" no json \\x1b\[31m\n/, 'tail prints notifications');
$node->restart;
wait_output($tail, 'err', qr/the connection is lost.*connected again\nsopflow: listening/s, 'tail connects again');
$node->safe_psql('postgres', q{NOTIFY sopflow, 'last'});
wait_output($tail, 'out', qr/ sopflow last\n/, 'and goes on');
$tail->{handle}->finish;
is($tail->{handle}->result(0), 0, 'tail ends after the count');

$tail = start_client('tail', '--json');
wait_output($tail, 'err', qr/listening/, 'tail listens to all');
$node->safe_psql('postgres', q{NOTIFY sopflow_alert, '{"v":1,"type":"alert","big":12345678901234567890}'});
wait_output($tail, 'out', qr/"channel":"sopflow_alert","pid":\d+,"payload":\{"v":1,"type":"alert","big":12345678901234567890\}\}\n/, 'tail --json prints alerts');
is(stop_client($tail), 0, 'SIGTERM ends tail with 0');

done_testing();
