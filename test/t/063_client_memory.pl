# The client under AddressSanitizer and UndefinedBehaviorSanitizer, and under
# valgrind: nothing is read or written where it must not be, nothing is lost.

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
my $top = "$FindBin::RealBin/../..";
my $node = new_node('main', "sopflow.databases = 'none_of_these'");
$node->start;
use_node($node);
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	INSERT INTO sopflow.action (action) SELECT unnest('{SEND_GREETING,PUSH_CASE,SEND_REG_LINK,FOLLOW_UP}'::text[]);
});

my $care = file_with("$dir/care_sop.yml", care_sop());
my $changed = file_with("$dir/changed.yml", care_sop() =~ s/"72h"/"48h"/r =~ s/node4/node5/gr . "---\nid: more\nname: |\n  a\n  b\nnodes: [&a {id: a, params: {x: &b [1, 2.50], y: *b}}]\n");
my $fault = file_with("$dir/fault.yml", care_sop() =~ s/delay: "96h"/dealy: 1/r);
my $syntax = file_with("$dir/syntax.yml", "a: [1,\n b: {\n");
my $json = file_with("$dir/sop.json", '{"id": "j", "nodes": [{"id": "n", "params": {"a": [1, "\ud83d\ude00", null, true, {}], "b": 1.50}}]}');
my $bad = file_with("$dir/bad.json", '{"id": "j", "nodes": [{"id": "n", "id": 1}]}');
my $lines = join '', map { qq({"offset":$_,"partition":) . $_ % 2 . qq(,"ts":$_,"payload":"{\\"id\\":\\"s$_\\"}"}\n) } 0 .. 200;
my @ingest = ('ingest', '--event=E', '--subject-field=payload.id', '--context-field=payload', '--time-field=ts', '--position-field=offset', '--batch=20');

# Every command, on its good and its bad ways.
my @calls = (
	[ 0, '--help' ], [ 0, 'load', '--help' ], [ 2, 'load' ], [ 2, 'nothing' ], [ 3, 'load', '-h', '/nowhere', $care ],
	[ 0, 'load', $care ], [ 0, 'load', '--dry-run', $changed ], [ 0, 'load', $changed, $json ], [ 4, 'load', $care, $fault ],
	[ 4, 'load', $syntax ], [ 4, 'load', $bad ], [ 4, 'load', "$dir/none" ], [ 0, 'validate', $changed, $json ],
	[ 4, 'validate', $fault ], [ 0, 'validate', '--offline', $changed ], [ 0, 'export', '--all' ], [ 0, 'export', '--format=json', 'more', 'j' ],
	[ 0, 'export', '--with-used', 'customer_care_sop' ], [ 1, 'export', 'none' ], [ 0, 'diagram', 'customer_care_sop' ],
	[ 0, 'simulate', 'customer_care_sop' ], [ 0, 'simulate', '--json', 'more' ], [ 0, 'top', '--once' ],
	[ 0, @ingest, { stdin => $lines } ], [ 0, @ingest, '--partition-field=partition', { stdin => $lines } ],
	[ 4, @ingest, '--source=bad', { stdin => "$lines\n{\"offset\":1000\n" } ],
	[ 0, @ingest, '--source=skip', '--skip-bad', { stdin => "$lines\n{\"offset\":1000}\n{\"offset\":1001,\"ts\":\"never\",\"payload\":{\"id\":1}}\n[" } ]);

# How a sanitizer or valgrind says that it has found something.
my $finding = qr/ERROR: AddressSanitizer|ERROR: LeakSanitizer|runtime error:|^==\d+==/m;

sub all_calls
{
	my ($kind, @program) = @_;
	$node->safe_psql('postgres', 'BEGIN; DELETE FROM sopflow.sop; COMMIT; TRUNCATE sopflow.ingest_offset');
	for my $call (@calls)
	{
		my ($wanted, @args) = @$call;
		my ($code, $out, $err) = client([@program], @args);
		my $name = join ' ', map { (split m{/}, $_)[-1] } grep { !ref } @args;
		ok($code eq $wanted && $err !~ $finding, "$kind: $name") or diag("exit code $code, not $wanted\n$err");
	}

	my $watch = start_client([@program], 'load', '--watch', $care);
	wait_output($watch, 'err', qr/watching 1 file/, "$kind: watch");
	file_with($care, care_sop() =~ s/"24h"/"2h"/r);
	wait_output($watch, 'err', qr/1 changed/, "$kind: watch loads");
	file_with($care, care_sop() =~ s/"node3"/"node33"/r);
	wait_output($watch, 'err', qr/care_sop\.yml:\d+: error/, "$kind: watch finds a fault");
	file_with($care, care_sop());
	wait_output($watch, 'err', qr/1 changed/, "$kind: watch goes on");

	my $tail = start_client([@program], 'tail', '--json', '--channel=a');
	wait_output($tail, 'err', qr/listening/, "$kind: tail");
	$node->safe_psql('postgres', q{SELECT pg_notify('a', '{"v":1,"type":"x","y":{}}'), pg_notify('a', '[')});
	wait_output($tail, 'out', qr/\n.*\n/, "$kind: tail prints");
	$node->restart;
	for my $run ($watch, $tail)
	{
		wait_output($run, 'err', qr/connected again/, "$kind: connects again");
		is(stop_client($run), 0, "$kind: ends with 0");
		unlike($run->{err}, $finding, "$kind: without a finding");
	}
	return;
}

SKIP:
{
	my $build = "$dir/sanitized";
	mkdir $build;
	my $command = "make -C '$top/src/client' BUILD='$build' COPT='' CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined'";
	my $log = `$command 2>&1`;
	skip 'no sanitizers in this compiler', 1 if $? != 0 && $log =~ /cannot find.*(?:asan|ubsan)|unrecognized.*sanitize/;
	is($?, 0, 'the client is built with sanitizers') or diag($log);
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=1';
	all_calls('sanitized', "$build/sopflow");
}

SKIP:
{
	skip 'there is no valgrind', 1 if system('valgrind --version >/dev/null 2>&1') != 0;
	my ($sopflow) = grep { -x } map { "$_/sopflow" } split /:/, $ENV{PATH};
	all_calls('valgrind', 'valgrind', '-q', '--leak-check=full', '--show-leak-kinds=definite,indirect', '--errors-for-leak-kinds=definite,indirect',
		'--error-exitcode=99', $sopflow);
}

done_testing();
