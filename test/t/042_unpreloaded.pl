# The SQL tests once more, on a server that has not preloaded sopflow: all give
# the same but those that read counters.

use strict;
use warnings;

use File::Basename qw(basename);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %counting = map { $_ => 1 } qw(operate rights_path rule_flags rule_stats rule_undone watch_values);
my @tests = grep { !$counting{$_} } map { basename($_, '.sql') } sort glob "$ENV{TESTDIR}/test/sql/*.sql";
my $output = PostgreSQL::Test::Utils::tempdir();
symlink("$ENV{TESTDIR}/expected", "$output/expected") or die "symlink: $!";

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 10');
$node->start;
# the tests name their superuser
$node->safe_psql('postgres', 'CREATE ROLE postgres SUPERUSER LOGIN')
  if $node->safe_psql('postgres', 'SELECT current_user') ne 'postgres';

my $passed = run_log([
	$ENV{PG_REGRESS}, "--inputdir=$ENV{TESTDIR}/test", "--outputdir=$output",
	'--host=' . $node->host, '--port=' . $node->port, '--user=postgres', '--no-locale', '--encoding=UTF8',
	'--dbname=contrib_regression', '--load-extension=sopflow', @tests
]);
ok($passed, scalar @tests . ' SQL tests pass without preloading');
diag(slurp_file("$output/regression.diffs")) if !$passed && -e "$output/regression.diffs";
unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC:|TRAP:/, 'no backend has crashed');

$node->stop;
done_testing();
