# What the program sopflow makes of unusual documents: numbers, depth and
# encodings of what is stored, JSON without its name, settings of the session.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowClient;
use SopflowLife;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', "sopflow.databases = 'none_of_these'");
$node->start;
use_node($node);
$node->safe_psql('postgres', 'CREATE EXTENSION sopflow');

my $params = sub { $node->safe_psql('postgres', "SELECT params FROM sopflow.sop_node WHERE sop_id = '$_[0]'") };

# --- what is stored beyond what files may hold ---

my $deep = '[' x 70 . ']' x 70;
$node->safe_psql('postgres', qq{
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('big', 'e'), ('deep', 'e');
	INSERT INTO sopflow.sop_node (sop_id, node_id, params)
		VALUES ('big', 'n', '{"max": 1e131071, "min": 1e-16383, "over": -1e400, "under": 1e-320}'), ('deep', 'n', '{"a": $deep}');
	COMMIT});
for my $format (qw(yaml json))
{
	my ($code, $out, $err) = client('export', 'big', "--format=$format");
	is($code, 0, "export of huge and tiny numbers in $format") or diag($err);
	my $before = $params->('big');
	my $file = file_with("$dir/big.$format", $out);
	client_is('no digit of them is lost', [ 'load', $file ], 0, '', "sopflow: 0 created, 0 changed, 1 unchanged\n");
	client_is('export of deep params', [ 'export', 'deep', "--format=$format" ], 0, $format eq 'json' ? qr/(?:\[\s*){70}/ : qr/(?:- ){60}/, '');
}
client_is('they do not stand in the way of others', [ 'load', '--dry-run', '-' , { stdin => "id: other\nnodes: [{id: n}]\n" } ], 0,
	qq{SOP "other" would be created\n  + id: "other"\n  + nodes: [{"id":"n"}]\n}, "sopflow: 1 created, 0 changed, 0 unchanged; nothing was written\n");
client_is('and their own changes are shown', [ 'load', '--dry-run', '-', { stdin => "id: deep\nnodes: [{id: n, params: {a: 1e400}}]\n" } ], 0,
	qr/\ASOP "deep" would be changed\n  ~ nodes\[n\]\.params\.a: \Q$deep\E -> 10{400}\n\z/, qr/1 changed/);
for my $number (qw(1e131072 1e-16384 -10e131071 0.01e131074 1e99999999999999999999 1e-99999999999999999999))
{
	client_is("a number that numeric cannot hold: $number", [ 'validate', '--offline', '-', { stdin => "id: a\nname: $number\n" } ], 4, '',
		"standard input:2: error: a number is out of range\n");
}
for my $number (qw(1e131071 0.1e131072 1e-16383 1e400 1e-400))
{
	client_is("one that it can: $number", [ 'load', '-q', '-', { stdin => "id: n\nnodes: [{id: a, params: {n: $number}}]\n" } ], 0, qr//, '');
	is($node->safe_psql('postgres', "SELECT params = '{\"n\": $number}' FROM sopflow.sop_node WHERE sop_id = 'n'"), 't', 'is kept');
}
client_is('one of each kind', [ 'load', '--dry-run', '-', { stdin => <<'FILE' } ], 0, <<'END', qr/4 created, 0 changed, 1 unchanged/);
actions: [{name: act}]
calendars: [{name: cal, holidays: [2026-01-01]}]
rule_sets: [{name: rules}]
sops: [{id: n, nodes: [{id: a, params: {n: 1e-400}}]}, {id: s, calendar: cal, nodes: [{id: a, action: act}]}]
FILE
action "act" would be created
  + name: "act"
calendar "cal" would be created
  + name: "cal"
  + holidays: ["2026-01-01"]
rule set "rules" would be created
  + name: "rules"
SOP "s" would be created
  + id: "s"
  + calendar: "cal"
  + nodes: [{"id":"a","action":"act"}]
END

# --- arrays whose parts share a name ---

my $list = sub { "id: list\nnodes: [{id: n, params: {list: [$_[0]]}}]\n" };
client_is('parts of one name', [ 'load', '-q', '-', { stdin => $list->('{name: a, x: 1}, {name: a, x: 2}') } ], 0, qr//, '');
for my $change ('{"x":1,"name":"a"},{"x":3,"name":"a"}', '{"x":1,"name":"a"},{"x":1,"name":"a"}', '{"x":1,"name":"a"}')
{
	client_is("are shown as a whole: $change", [ 'load', '--dry-run', '-', { stdin => $list->($change =~ s/([:,])/$1 /gr) } ], 0,
		qq{SOP "list" would be changed\n  ~ nodes[n].params.list: [{"x":1,"name":"a"},{"x":2,"name":"a"}] -> [$change]\n}, qr/1 changed/);
}

# Thousands of parts, of which one has changed.
my $rules = sub { "rule_sets:\n  - name: many\n    facts: [{name: f, type: jsonb}]\n    rules:\n" . join '',
	map { "      - {name: r$_, condition: \"f.a = '" . ($_ == 4000 ? $_[0] : 1) . "'\", actions: [{deny: x}]}\n" } 1 .. 10_000 };
client_is('10,000 rules', [ 'load', '-', { stdin => $rules->(1) } ], 0, qr/"many" created/, qr/1 created/);
my $used = (times)[2];
client_is('one of them changes', [ 'load', '--dry-run', '-', { stdin => $rules->(2) } ], 0,
	qq{rule set "many" would be changed\n  ~ rules[r4000].condition: "f.a = '1'" -> "f.a = '2'"\n}, qr/1 changed/);
cmp_ok((times)[2] - $used, '<', 10, 'which is found without comparing each with each');

# --- JSON whose name does not say so ---

my $text = qq({"id": "json", "description": "x \xe2\x80\xa8 y \xc2\x85 z \x7f\xef\xbf\xbe", "nodes": [{"id": "n", "params": {"). 'k' x 1100 . qq(": 1}}]});
my $file = file_with("$dir/text.json", $text);
client_is('JSON by its name', [ 'load', '-q', $file ], 0, qr//, '');
my $exported = (client('export', '--format=json', 'json'))[1];
for my $name ('-', file_with("$dir/text", $text), file_with("$dir/text.txt", "\xef\xbb\xbf \n$text\n"))
{
	my $given = $name eq '-' ? $exported : '';
	client_is('is the same as ' . $name =~ s/.*\///r, [ 'load', $name, { stdin => $given } ], 0, '', "sopflow: 0 created, 0 changed, 1 unchanged\n");
}
for my $flow ('{id: json, nodes: []}', '[{id: json, enabled: false}]', qq({"id": "json", "nodes": []} # {"id": 1}), qq({"id": "json"}\n---\n{"id": "json2"}))
{
	client_is("YAML that begins as JSON: $flow", [ 'validate', '--offline', '-', { stdin => $flow } ], 0, '', qr/valid/);
}
client_is('what is neither', [ 'validate', '-', { stdin => qq({"id": "a",\n"id": "b"}) } ], 4, '', qr/\Astandard input:2: error: duplicate key "id"\n\z/);

# --- what faults say ---

client_is('a name with a line in it makes no fault of its own', [ 'load', '-', { stdin => <<'END' } ], 4, '', <<'END' );
id: forged
nodes:
  - id: "a\nAlso at $[0].id: forged.\nother.yml:1: error: forged"
    action: none
  - id: b
    action: none
  - id: "c\nAlso at $[0].id: forged."
    action: none
END
standard input:4: error: SOP "forged" is not valid: node "a\nAlso at $[0].id: forged.\nother.yml:1: error: forged", column "action": action "none" does not exist
standard input:6: error: node "b", column "action": action "none" does not exist
standard input:8: error: node "c\nAlso at $[0].id: forged.", column "action": action "none" does not exist
END
client_is('nor one in the name of the SOP', [ 'load', '-', { stdin => qq(id: "a\\nother.yml:1: error: forged"\nnodes: [{id: a, action: none}]\n) } ], 4, '',
	qr/\Astandard input:2: error: SOP "a\n    other\.yml:1: error: forged" is not valid: [^\n]*\n\z/);
$node->safe_psql('postgres', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
		RAISE EXCEPTION ''refused'' USING DETAIL = E''Also at $[0].id: forged.''; END';
	CREATE TRIGGER refuse BEFORE INSERT ON sopflow.sop FOR EACH ROW WHEN (NEW.sop_id = 'detailed') EXECUTE FUNCTION refuse()});
client_is('nor one in the detail of an error', [ 'load', '-', { stdin => <<'END' } ], 4, '', qr/\Astandard input:1: error: [^\n]*refused\n     Also at \$\[0\]\.id: forged\.\n\z/);
id: detailed
nodes: [{id: a}]
END
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
client_is('a role without rights is told what to ask for', [ 'export', '--all', '-U', 'nobody' ], 1, '',
	qr/error: permission denied for schema sopflow\nHINT:  Ask the owner of the extension for sopflow\.grant_author\(\), .* sopflow\.grant_consumer\(\)/);
$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'});
$node->safe_psql('latin', 'CREATE EXTENSION sopflow');
my @latin = map { file_with("$dir/latin$_->[0].yml", "id: latin$_->[0]\nname: $_->[1]\nnodes: [{id: a}]\n") } [ 1, "\xc3\xa9" ], [ 2, "\xe6\x98\xaf" ];
client_is('a character that the database has', [ 'load', '-d', 'latin', $latin[0] ], 0, qr/created/, qr/1 created/);
client_is('one that it has not', [ 'load', '-d', 'latin', $latin[1] ], 4, '',
	qr/\A\Q$latin[1]\E: error: [^\n]*0xe6 0x98 0xaf[^\n]*LATIN1"\n\z/);
client_is('in one of two files', [ 'validate', '-d', 'latin', @latin ], 4, '',
	qr/\A\Q$latin[0]\E, \Q$latin[1]\E: error: [^\n]*0xe6 0x98 0xaf/);

done_testing();
