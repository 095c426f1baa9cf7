# Without preload: pg_cron in place of the worker, and views that say what is
# missing.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
set_up($node);

my ($rc, $out, $err) = $node->psql('postgres', 'SELECT * FROM sopflow.stats');
is("$rc|$out", '0|', 'stats is empty');
like($err, qr/NOTICE: .*not preloaded/, 'and says why');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.action_stats'), '0', 'so is action_stats');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.worker_status'), '0', 'so is worker_status');
is($node->safe_psql('postgres', "SELECT string_agg(code, ',') FROM sopflow.health"), 'not_preloaded', 'health says what that means');
like($node->safe_psql('postgres', 'SELECT sopflow.metrics()'), qr/^sopflow_workers\{database="postgres"\} 0$/m, 'metrics has what there is');
$node->safe_psql('postgres', 'SELECT sopflow.reset_stats()');

$node->safe_psql('postgres', "SELECT sopflow.emit('NOW', 'by hand')");
is($node->safe_psql('postgres', 'SELECT sopflow.run_due()'), '1', 'run_due() carries out what is due');
is($node->safe_psql('postgres', "SELECT count(*) FROM effect WHERE subject = 'by hand'"), '1', 'once');

($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT sopflow.use_pg_cron()");
like($err, qr/SF004: +pg_cron is not installed in this database/, 'use_pg_cron() without pg_cron is an error');

SKIP:
{
	skip 'there is no pg_cron', 9
	  if $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'") eq '0';

	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'pg_cron'\ncron.database_name = 'postgres'\ncron.use_background_workers = on\n");
	$node->restart;
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron; CREATE DATABASE "two words"');
	set_up($node, 'two words');

	my $job = $node->safe_psql('postgres', 'SELECT sopflow.use_pg_cron()');
	like($job, qr/^\d+$/, 'with it, use_pg_cron() returns its job');
	is($node->safe_psql('postgres', "SELECT schedule, command FROM cron.job WHERE jobid = $job"),
		'* * * * *|SELECT sopflow.run_due()', 'which calls run_due() every minute');
	is($node->safe_psql('postgres', "SELECT sopflow.use_pg_cron('*/2 * * * *') = $job"), 't', 'once more changes the schedule');
	$node->safe_psql('postgres', 'SELECT sopflow.use_pg_cron()');

	($rc, $out, $err) = $node->psql('two words', 'SELECT sopflow.use_pg_cron()');
	my ($call) = $err =~ /HINT: .*(SELECT cron\.schedule_in_database\(.*\))/;
	ok(defined $call, 'in another database the hint has the call to make') or diag($err);
	$node->safe_psql('postgres', $call);

	$node->safe_psql('postgres', "SELECT sopflow.emit('NOW', 'by cron')");
	$node->safe_psql('two words', "SELECT sopflow.emit('NOW', 'by cron')");
	wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'by cron'", 'pg_cron carries out what is due');
	wait_for($node, "SELECT count(*) = 1 FROM effect WHERE subject = 'by cron'", 'and in the other database', 'two words');

	is($node->safe_psql('postgres', 'SELECT sopflow.stop_pg_cron()'), 't', 'stop_pg_cron() takes the job back');
	is($node->safe_psql('postgres', 'SELECT sopflow.stop_pg_cron()'), 'f', 'a second time there is none');
	is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job WHERE jobname = 'sopflow'"), '0', 'none is left');
}

$node->stop;
done_testing();
