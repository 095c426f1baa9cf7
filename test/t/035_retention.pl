# History lives in weekly partitions: made ahead by the worker or by whoever
# needs one, dropped by the worker when all of it is older than the retention.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $node = new_node('main');
$node->start;

# the time that worker and sessions take as now
sub set_clock
{
	my ($at) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET sopflow.clock = '$at'");
	$node->reload;
}

my $weeks = q{SELECT string_agg(substr(c.relname, 10), ' ' ORDER BY c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = 'sopflow.history'::regclass};
my $run_weeks = q{SELECT string_agg(substr(c.relname, 14), ' ' ORDER BY c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = 'sopflow.run_history'::regclass};

sub weeks_are
{
	my ($expected, $name) = @_;
	wait_for($node, "SELECT ($weeks) = '$expected' AND ($run_weeks) = '$expected'", $name)
	  or diag $node->safe_psql('postgres', "$weeks UNION ALL $run_weeks");
}

# a Wednesday
set_clock('2030-01-02 12:00:00+00');
set_up($node);
$node->safe_psql('postgres', q{
	CREATE ROLE desk LOGIN;
	INSERT INTO sopflow.action (action, lease) VALUES ('QUEUE', '1000 days');
	SELECT sopflow.grant_consumer('QUEUE', 'desk');
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('queue', 'QUEUE'), ('long', 'LONG');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('queue', 'n1', 'QUEUE');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('long', 'n1', '0', 'EFFECT'), ('long', 'n2', '60 days', 'EFFECT');
	COMMIT;
	SELECT sopflow.emit('NOW', 'first');
	SELECT sopflow.emit('LONG', 'long');
	SELECT sopflow.emit('QUEUE', 'q' || g) FROM generate_series(1, 4) g;
});
wait_for($node, 'SELECT count(*) = 2 FROM effect', 'tasks are carried out');
wait_for($node, 'SELECT count(*) = 4 FROM sopflow.offer', 'or offered');
$node->reload;
weeks_are('20291231 20300107', 'there are partitions for this week and the next');
is( $node->safe_psql('postgres', q{SET timezone = 'UTC'; SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'history_p20291231'}),
	q{FOR VALUES FROM ('2029-12-31 00:00:00+00') TO ('2030-01-07 00:00:00+00')}, 'from Monday to Monday');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
	WHERE c.relname ~ 'history_p' AND d.deptype = 'e'}), '0', 'which are no members of the extension');
is( $node->safe_psql('postgres', q{SELECT string_agg(DISTINCT relowner::regrole::text, ' ') FROM pg_class WHERE relname ~ 'history_p'}),
	$node->safe_psql('postgres', q{SELECT extowner::regrole FROM pg_extension WHERE extname = 'sopflow'}), 'but belong to its owner');

# --- later weeks ---

set_clock('2030-01-16 12:00:00+00');
weeks_are('20291231 20300107 20300114 20300121', 'two weeks later there are two more');
$node->safe_psql('postgres', q{SELECT sopflow.emit('NOW', 'second')});
wait_for($node, q{SELECT count(*) = 1 FROM effect WHERE subject = 'second'}, 'a task of that week is carried out');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.history_p20300114'), '1', 'and lies in its partition');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.run_history_p20300114'), '1', 'with its run');

# --- a week without a partition, first needed by a consumer with no rights ---

my ($id, $token) = split /\|/, $node->safe_psql('postgres', q{SELECT task_id, lease_token FROM sopflow.fetch('{QUEUE}', 1)});
$node->safe_psql('postgres', 'DROP TABLE sopflow.history_p20300114, sopflow.run_history_p20300114');
is($node->safe_psql('postgres', "SELECT sopflow.ack($id, $token)", extra_params => [ '-U', 'desk' ]), 't', 'a consumer acknowledges');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.history_p20300114'), '1', 'and so makes the partition that is missing');
is($node->safe_psql('postgres', q{SELECT relowner::regrole FROM pg_class WHERE relname = 'history_p20300114'}),
	$node->safe_psql('postgres', q{SELECT extowner::regrole FROM pg_extension WHERE extname = 'sopflow'}), 'which is not its own');

# three at once, in the same week without one
my @leases = map { s/\|/, /r } split /\n/, $node->safe_psql('postgres', q{SELECT task_id, lease_token FROM sopflow.fetch('{QUEUE}', 3)});
$node->safe_psql('postgres', 'DROP TABLE sopflow.history_p20300114, sopflow.run_history_p20300114');
my @sessions = map { async($node, "BEGIN; SELECT sopflow.ack($_); SELECT pg_sleep(0.2); COMMIT") } @leases;
is(scalar(grep { finish_async($_) } @sessions), 3, 'three acknowledge at once');
is(join('', map { ${ $_->{out} } =~ /^(.)/ } @sessions), 'ttt', 'all are accepted');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.history_p20300114'), '3', 'in one partition');

# --- retention: 30 days, and the week must be over for as long ---

set_clock('2030-02-05 23:59:59+00');
weeks_are('20291231 20300107 20300114 20300121 20300204 20300211', 'a partition stays while any of it may be younger than 30 days');
set_clock('2030-02-06 00:00:01+00');
weeks_are('20300107 20300114 20300121 20300204 20300211', 'and goes with its last day');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks WHERE subject_id = 'first'}), '0', 'with what was done in it');
is($node->safe_psql('postgres', q{SELECT status FROM sopflow.tasks WHERE subject_id = 'long'}), 'pending', 'a run that is active stays');
$node->safe_psql('postgres', q{ALTER SYSTEM SET sopflow.history_retention = '60d'});
set_clock('2030-03-04 12:00:00+00');
weeks_are('20300107 20300114 20300121 20300204 20300211 20300304 20300311', 'a longer retention keeps more');
wait_for($node, q{SELECT count(*) = 2 FROM effect WHERE subject = 'long'}, 'the long run ends at its time');
is($node->safe_psql('postgres', q{SELECT state FROM sopflow.runs WHERE subject_id = 'long'}), 'completed', 'although its first task is forgotten');

# --- somebody reads history while a partition is to go ---

my $reader = async($node, 'BEGIN; SELECT count(*) FROM sopflow.history; SELECT pg_sleep(4)');
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(4)%' AND wait_event = 'PgSleep'}, 'a session reads all of it');
$node->safe_psql('postgres', q{ALTER SYSTEM SET sopflow.history_retention = '1d'});
$node->reload;
$node->safe_psql('postgres', q{SELECT pg_sleep(0.2); SELECT sopflow.emit('NOW', 'meanwhile')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM effect WHERE subject = 'meanwhile'}), 'tasks are carried out');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(4)%' AND wait_event = 'PgSleep'}),
	'1', 'before it has ended');
finish_async($reader);
$node->reload;
weeks_are('20300304 20300311', 'afterwards the old partitions go');

is(join("\n", grep { !/could not maintain the history partitions: canceling statement due to lock timeout/ } log_lines($node)), '', 'nothing else to read in the log');
done_testing();
