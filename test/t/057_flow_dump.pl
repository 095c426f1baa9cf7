# Runs in the middle of a graph come back from a dump: what they wait for, what
# they remember, what is parked at a join, an SOP that another one runs. All go
# on in the restored database, and end as they would have.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $node = new_node('main', "sopflow.databases = ''");
$node->start;
my $clock = 'SET sopflow.clock =';
$node->safe_psql('postgres', qq{
	CREATE EXTENSION sopflow;
	$clock '2030-01-07 08:00+00';
	CREATE TABLE gone (x int); DROP TABLE gone;
	CREATE TABLE clients (id int PRIMARY KEY, name text, zone text);
	INSERT INTO clients VALUES (1, 'Ann', 'Europe/Berlin'), (2, 'Bob', NULL);
	INSERT INTO sopflow.action (action, delivery) VALUES ('SEND', 'broadcast');
	INSERT INTO sopflow.calendar (calendar, weekdays, opens, closes) VALUES ('office', '{1,2,3,4,5}', '09:00', '17:00');
	INSERT INTO sopflow.holiday (calendar, day, name) VALUES ('office', '2030-01-08', 'a day off');
	BEGIN;
	INSERT INTO sopflow.sop (sop_id) VALUES ('part');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('part', 'long', '5h');
	INSERT INTO sopflow.sop (sop_id, trigger_event, delay_from, exit_events, calendar, subject_relation, subject_key, time_zone_column)
		VALUES ('flow', 'BEGIN', 'previous', '{LEFT}', 'office', 'clients', 'id', 'zone');
	INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, next, wait_event, sop_ref) VALUES
		('flow', 'fork', 'delay', '0', NULL, NULL, NULL),
		('flow', 'quick', 'delay', '1h', 'join', NULL, NULL),
		('flow', 'child', 'sop', '0', 'join', NULL, 'part'),
		('flow', 'slow', 'delay', '2h', 'answer', NULL, NULL),
		('flow', 'answer', 'wait', '0', 'join', 'REPLY', NULL);
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, params)
		VALUES ('flow', 'join', '15h', 'SEND', '{"text": "Hi {{subject.name}}, {{run.events->''REPLY''->>''text''}}"}');
	INSERT INTO sopflow.sop_link (sop_id, from_node, to_node, condition) VALUES
		('flow', 'fork', 'quick', NULL), ('flow', 'fork', 'child', 'true'),
		('flow', 'fork', 'slow', 'subject.name IS NOT NULL');
	COMMIT;
	SELECT sopflow.emit('BEGIN', 1), sopflow.emit('BEGIN', 2);
	SELECT sopflow.run_due();
	$clock '2030-01-07 09:30+00';
	-- before its node is reached
	SELECT sopflow.emit('REPLY', 1, '{"text": "yes"}');
	SELECT sopflow.run_due()});

sub look
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT task_id, sop_id, node_id, subject_id, status, due_at, held_by, last_error FROM sopflow.tasks ORDER BY 1;
		SELECT * FROM sopflow.run_state ORDER BY 1;
		SELECT run_id, sop_id, subject_id, state FROM sopflow.runs ORDER BY 1;
		SELECT * FROM sopflow.sop_link ORDER BY seq;
		SELECT calendar, weekdays, opens, closes FROM sopflow.calendar; SELECT * FROM sopflow.holiday;
		SELECT sop_id, search_path FROM sopflow.sop ORDER BY 1;
		SELECT sop_id, version, definition FROM sopflow.sop_version ORDER BY 1, 2});
}

# What is left of the history is not dumped.
sub without_history
{
	return join "\n", grep { !/\|(done|skipped|cancelled|completed)\|/ } split /\n/, $_[0];
}

my $before = look('postgres');
like($before, qr/\|quick\|1\|done\|/, 'a branch is over');
like($before, qr/\|join\|1\|pending\|.*\|join\|$/m, 'and parked at the join');
like($before, qr/\|child\|2\|pending\|.*\|child\|$/m, 'another runs an SOP');
like($before, qr/"REPLY"/, 'an event is remembered');

my $dir = $node->basedir;
$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('postgres') ], 'a plain dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $node->connstr('postgres') ], 'a custom dump');

sub goes_on
{
	my ($db) = @_;
	is(without_history(look($db)), without_history($before), "$db: tasks, memory and definitions are as they were");
	$node->safe_psql($db, 'SELECT sopflow.restored()');
	is(without_history(look($db)), without_history($before), "$db: restored() leaves them so");
	my $end = $node->safe_psql($db, qq{
		$clock '2030-01-07 11:00+00';
		SELECT sopflow.run_due() > 0;
		$clock '2030-01-07 13:00+00';
		SELECT sopflow.run_due() > 0;
		SELECT subject_id, node_id, status, held_by, due_at FROM sopflow.tasks WHERE status = 'pending' ORDER BY task_id;
		SELECT subject_id, result FROM sopflow.tasks WHERE node_id = 'answer' AND status = 'done';
		SELECT sopflow.emit('LEFT', 2);
		$clock '2030-01-09 12:00+00';
		SELECT sopflow.run_due() > 0;
		SELECT sop_id, subject_id, state FROM sopflow.runs ORDER BY run_id;
		SELECT count(*) FROM sopflow.run_state;
		SELECT sopflow.task_params(task_id) FROM sopflow.tasks WHERE node_id = 'join' AND status = 'done'});
	# 1: the join was reached at 13:00, so it is due at 4:00 the next day, a
	# holiday, and moves to 9:00 in Berlin of the day after. 2 waits on.
	is($end, join("\n", 't', 't',
			'1|join|pending||2030-01-09 08:00:00+00',
			'2|join|pending|join|2030-01-07 09:30:00+00', '2|answer|pending||infinity',
			'1|{"event": "REPLY", "context": {"text": "yes"}}', '1', 't',
			'flow|1|completed', 'flow|2|exited', 'part|1|completed', 'part|2|completed', '0',
			'{"text": "Hi Ann, yes"}'),
		"$db: the runs go on to their ends");
}

$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", $node->connstr('plain') ],
	'the plain dump is restored');
goes_on('plain');
$node->safe_psql('postgres', 'CREATE DATABASE custom');
$node->command_ok([ 'pg_restore', '-j', '2', '-d', $node->connstr('custom'), "$dir/custom.dump" ],
	'the custom dump is restored by two jobs');
goes_on('custom');

# Without the SOP that it belongs to, a link goes.
$node->safe_psql('postgres', 'CREATE DATABASE part; ');
$node->safe_psql('part', q{CREATE EXTENSION sopflow; SET sopflow.restoring = on;
	INSERT INTO sopflow.sop_link (sop_id, from_node, to_node) VALUES ('none', 'a', 'b');
	INSERT INTO sopflow.run_state VALUES (4711, '{}')});
$node->safe_psql('part', 'SELECT sopflow.restored()');
is($node->safe_psql('part', 'SELECT (SELECT count(*) FROM sopflow.sop_link), (SELECT count(*) FROM sopflow.run_state)'),
	'0|0', 'links without an SOP and memories without a run are deleted');

$node->stop;
done_testing();
