# A dump holds definitions, runs, tasks in every state, history and sequences.
# What is restored stays still until restored(), though a worker serves the
# database and tasks are overdue; then each due task is carried out once.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

# Everything below is carried out by hand here: no worker.
my $source = new_node('source', "sopflow.databases = ''");
$source->start;
set_up($source);
$source->safe_psql('postgres', q{
	CREATE ROLE desk;
	CREATE ROLE author;
	SELECT sopflow.grant_author('author');
	-- columns have other numbers after a restore, and functions other OIDs
	CREATE TABLE clients (gone text, client_id int PRIMARY KEY, also_gone int, name text, url text);
	ALTER TABLE clients DROP COLUMN gone, DROP COLUMN also_gone;
	CREATE FUNCTION is_guest(text) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT $1 LIKE 'guest%' $$;
	SELECT sopflow.watch('clients', 'NEW_CLIENT', 'client_id', '{name,url}', 'NOT is_guest(name)');
	CREATE TABLE visits (visit_id int, client_id int, at timestamptz) PARTITION BY RANGE (visit_id);
	CREATE TABLE visits_1 (visit_id int, gone int, client_id int, at timestamptz);
	ALTER TABLE visits_1 DROP COLUMN gone;
	ALTER TABLE visits ATTACH PARTITION visits_1 FOR VALUES FROM (0) TO (1000);
	SELECT sopflow.watch('visits', 'VISIT', 'client_id', time_column => 'at');

	CREATE TABLE leads (gone int, lead_id int, name text, owner int);
	ALTER TABLE leads DROP COLUMN gone;
	INSERT INTO leads SELECT g, 'lead ' || g, 1 FROM generate_series(1, 3) g;
	BEGIN;
	INSERT INTO sopflow.rule_set (rule_set, param_scopes) VALUES ('claim', ARRAY['new.name']), ('damaged', ARRAY['''vip''']);
	INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('claim', 'new', 'leads', NULL), ('claim', 'old', 'leads', NULL),
		('claim', 'first', 'leads', 'SELECT l FROM leads l WHERE l.owner = new.owner ORDER BY l.lead_id LIMIT 1'), ('damaged', 'x', 'int', NULL);
	INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key)
		VALUES ('claim', 'held', 'SELECT count(*) FROM leads l WHERE l.owner = new.owner', 'new.owner::text');
	INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('claim', 'most', 'int', '3'), ('damaged', 'cut', 'int', '1');
	INSERT INTO sopflow.rule_param_override VALUES ('claim', 'most', 'vip', '4'), ('damaged', 'cut', 'vip', '2');
	INSERT INTO sopflow.rule_group (rule_set, rule_group, kind) VALUES ('claim', 'first one', 'activation');
	INSERT INTO sopflow.rule (rule_set, rule, condition, actions, rule_group) VALUES
		('claim', 'guests', 'is_guest(new.name)', '[{"deny": "no guests"}]', 'first one'),
		('claim', 'full', 'quota.held >= param.most', '[{"deny": "{{first.name}} is \"enough\""}]', 'first one'),
		('damaged', 'r', 'x > param.cut', '[]', NULL);
	COMMIT;
	SELECT sopflow.guard('leads', 'claim');
	SELECT sopflow.grant_rules('claim', 'desk');

	CREATE FUNCTION fail(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'it fails'; END $$;
	INSERT INTO sopflow.action (action, delivery, handler, max_attempts, alert_after) VALUES ('FAIL', 'call', 'public.fail', 1, 1);
	INSERT INTO sopflow.action (action, lease) VALUES ('CALL_BACK', '1 day'), ('VISIT', '1 day');
	INSERT INTO sopflow.action (action, delivery, handler) VALUES ('QUIET', 'call', 'public.leave_effect'),
		('DOOMED', 'call', 'public.leave_effect');
	SELECT sopflow.grant_consumer('CALL_BACK', 'desk');
	INSERT INTO sopflow.calendar (calendar, time_zone, opens, closes) VALUES ('office', 'Europe/Berlin', '09:00', '17:00'), ('lost', 'UTC', '22:00', '06:00'),
		('strange', 'Asia/Tokyo', '09:00', '17:00');
	INSERT INTO sopflow.holiday VALUES ('office', '2026-12-25', 'one'), ('lost', '2026-12-25', 'two'), ('lost', '2026-12-26', NULL);
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event, calendar) VALUES ('hours', 'HOURS', 'office');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('hours', 'n1', '30 days', 'EFFECT');
	INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('care', 'NEW_CLIENT', 'ignore'), ('fails', 'FAILS', 'allow'),
		('desk', 'DESK', 'allow'), ('held', 'HELD', 'allow'), ('visit', 'VISIT', 'allow'), ('doomed', 'DOOMED', 'allow'),
		('paused', 'PAUSED', 'allow');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, params) VALUES ('care', 'n1', '0', 'EFFECT', '{"text":"it''s \\\\{{x}}"}'),
		('care', 'n2', '1 hour', 'EFFECT', '{}'), ('care', 'n3', '72 hours', 'CALL_BACK', '{}');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('fails', 'n1', 'FAIL'), ('desk', 'n1', 'CALL_BACK'),
		('held', 'n1', 'QUIET'), ('visit', 'n1', 'VISIT'), ('doomed', 'n1', 'DOOMED'), ('paused', 'n1', 'EFFECT');
	COMMIT;
	-- a second version of one of them
	UPDATE sopflow.sop_node SET delay = '2 hours' WHERE sop_id = 'care' AND node_id = 'n2';
	INSERT INTO sopflow.sop (sop_id, enabled) VALUES ('draft', false);
	SELECT sopflow.pause_action('QUIET');
	SELECT sopflow.pause('paused');

	-- three weeks of history
	SELECT set_config('sopflow.clock', (now() - interval '22 days')::text, false);
	INSERT INTO clients SELECT g, 'old' || g, 'u' FROM generate_series(1, 10) g;
	SELECT sopflow.run_due();
	SELECT set_config('sopflow.clock', (now() - interval '10 days')::text, false);
	INSERT INTO clients VALUES (11, 'old', 'u'), (12, 'guest', 'u');
	SELECT sopflow.run_due();
	RESET sopflow.clock;
	SELECT sopflow.cancel('11');
	SELECT sopflow.emit('FAILS', 'f' || g) FROM generate_series(1, 3) g;
	SELECT sopflow.emit('HELD', 'h' || g) FROM generate_series(1, 3) g;
	SELECT sopflow.emit('PAUSED', 'p1');
	SELECT sopflow.emit('HOURS', 'h1');
	SELECT sopflow.emit('DESK', 'd' || g) FROM generate_series(1, 7) g;
	INSERT INTO visits SELECT g, g, now() FROM generate_series(1, 3) g;
	SELECT sopflow.run_due();
	CREATE TABLE fetched AS SELECT * FROM sopflow.fetch('{CALL_BACK}', 3);
	SELECT sopflow.ack(task_id, lease_token, '{"a":[1,null]}') FROM fetched LIMIT 1;
	-- overdue, and nobody takes them up
	SELECT sopflow.emit('DOOMED', 'x' || g) FROM generate_series(1, 2) g;
	INSERT INTO clients SELECT g, E'tab\t' || g, 'back\\slash' FROM generate_series(101, 150) g;
});

# --- what is compared ---

my @tables = qw(action calendar holiday sop sop_node sop_version action_grant watched run task held offer dead
  history run_history action_state alert
  rule_set rule_fact rule_quota rule_param rule_param_override rule_group rule rule_grant guarded);
my @sequences = qw(action_action_id_seq sop_node_seq sop_version_version_id_seq run_id_seq lease_token_seq alert_alert_id_seq
  rule_seq rule_rule_id_seq);

sub contents
{
	my ($node, $db, $table) = @_;
	return $node->safe_psql($db, qq{SELECT t FROM sopflow.$table t ORDER BY t::text COLLATE "C"});
}

sub positions
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, join ' UNION ALL ',
		map { "SELECT '$_', last_value, is_called FROM sopflow.$_" } @sequences);
}

my $partitions = q{
	SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid AND x.indisvalid)
	FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent IN ('sopflow.history'::regclass, 'sopflow.run_history'::regclass) ORDER BY 1};
my %before = map { $_ => contents($source, 'postgres', $_) } @tables;
$before{tasks} = contents($source, 'postgres', 'tasks');
$before{runs} = contents($source, 'postgres', 'runs');
for my $table (@tables)
{
	isnt($before{$table}, '', "there is something in $table to dump");
}
is( $source->safe_psql('postgres', q{SELECT string_agg(DISTINCT status || coalesce(':' || held_by, ''), ' ' ORDER BY status || coalesce(':' || held_by, '')) FROM sopflow.tasks}),
	'cancelled dead done leased pending pending:action pending:sop ready', 'tasks in every state');
cmp_ok($source->safe_psql('postgres', "SELECT count(*) FROM ($partitions) p"), '>=', 6, 'and several partitions');
my $positions = positions($source, 'postgres');
my $expected_partitions = $source->safe_psql('postgres', "SET timezone = 'UTC'; $partitions");
my $effects = $source->safe_psql('postgres', 'SELECT count(*) FROM effect');
# due at the time of the restore: n1 of 50 new clients, DOOMED
my $due = 50;

my $dir = $source->basedir;
my $target = new_node('target', 'sopflow.reconcile_interval = 1', 'max_worker_processes = 30');
$target->start;
$target->safe_psql('postgres', 'CREATE ROLE desk; CREATE ROLE author');

# --- one restored database ---

sub check_restored
{
	my ($db) = @_;
	wait_for($target, "SELECT count(*) = 1 FROM sopflow.worker_status WHERE database = '$db' AND state = 'held'",
		"$db: a worker is there and held", $db);
	usleep(1_200_000);
	is($target->safe_psql($db, 'SELECT count(*) FROM effect'), $effects, "$db: nothing was carried out");
	like($target->safe_psql($db, 'SELECT code, hint FROM sopflow.health'),
		qr/^held\|.*sopflow\.restored\(\)/m, "$db: health says what is to be done");
	is($target->safe_psql($db, 'SELECT sopflow.run_due()'), '0', "$db: not by hand either");
	is($target->safe_psql($db, q{SELECT count(*) FROM sopflow.fetch('{CALL_BACK}', 10)}), '0', "$db: nor fetched");
	for my $table (@tables)
	{
		next if $db eq 'plain' && $table =~ /^(?:action|calendar|rule_param)$/;
		is(contents($target, $db, $table), $before{$table}, "$db: $table is as it was");
	}
	is(contents($target, $db, 'runs'), $before{runs}, "$db: so are the runs");
	is(contents($target, $db, 'tasks'), $before{tasks}, "$db: and the tasks");
	is(positions($target, $db), $positions, "$db: and the sequences");
	is($target->safe_psql($db, "SET timezone = 'UTC'; $partitions"), $expected_partitions, "$db: and the partitions");
}

sub check_going_on
{
	my ($db, $due) = @_;
	wait_for($target, "SELECT NOT EXISTS (SELECT FROM sopflow.task WHERE due_at <= now())", "$db: the worker goes on", $db);
	is($target->safe_psql($db, q{SELECT count(*), count(DISTINCT task_id) FROM effect}),
		($effects + $due) . '|' . ($effects + $due), "$db: what was due is carried out, each task once");
	is($target->safe_psql($db, q{SELECT count(*) FROM sopflow.held}), '4', "$db: what was paused is held");
	is($target->safe_psql($db, q{SELECT count(*) FROM sopflow.fetch('{CALL_BACK}', 100) WHERE sop_id = 'desk'}), '7',
		"$db: consumers fetch what was leased and what was ready");
	is($target->safe_psql($db, q{SELECT count(*) FROM sopflow.offer WHERE lease_token <= 0 + (SELECT max(lease_token) FROM fetched) AND lease_token > 0}),
		'0', "$db: under new tokens");
	# intake as before
	is( $target->safe_psql($db, q{
			INSERT INTO clients VALUES (1001, 'new', 'u'), (1002, 'guest', 'u');
			INSERT INTO visits VALUES (999, 1001, now());
			SELECT string_agg(sop_id || ' ' || subject_id || ' ' || context::text, ', ' ORDER BY sop_id) FROM sopflow.runs
			WHERE run_id > (SELECT max(run_id) FROM fetched) AND subject_id IN ('1001', '1002')}),
		'care 1001 {"url": "u", "name": "new"}, visit 1001 {}', "$db: new rows start new runs, under the watch's condition");
	wait_for($target, "SELECT count(*) = 1 FROM effect WHERE subject = '1001'", "$db: which are carried out", $db);
	# rules as before: the guard, its parameters, and who may fire them
	my (undef, undef, $refused) = $target->psql($db, q{INSERT INTO leads VALUES (4, 'guest', 2)});
	like($refused, qr/ERROR:  no guests$/m, "$db: a guarded table is held to its rules");
	is($target->safe_psql($db, q{INSERT INTO leads VALUES (4, 'vip', 1) RETURNING lead_id}), '4', "$db: with overrides of parameters");
	(undef, undef, $refused) = $target->psql($db, q{INSERT INTO leads VALUES (5, 'lead', 1)});
	like($refused, qr/ERROR:  lead 1 is "enough"$/m, "$db: with quotas and looked-up facts");
	is( $target->safe_psql($db, q{SET ROLE desk;
			SELECT (sopflow.fire('claim', '{"new": {"lead_id": 4, "name": "guest", "owner": 2}, "old": null}')).messages}),
		'{"no guests"}', "$db: fired by whom that was granted to");
	is($target->safe_psql($db, q{SELECT sopflow.next_opening('office', '2026-12-24 17:00 Europe/Berlin') = '2026-12-28 09:00 Europe/Berlin'}),
		't', "$db: calendars have their hours and holidays");
	is($target->safe_psql($db, "SELECT string_agg(code, ' ') FROM sopflow.health WHERE severity = 'error'"), '',
		"$db: nothing is wrong");
	# drop it
	$target->safe_psql($db, q{SET client_min_messages = error; DROP EXTENSION sopflow CASCADE});
	is($target->safe_psql($db, q{SELECT to_regnamespace('sopflow'), (SELECT count(*) FROM pg_class WHERE relname ~ 'history_p')}),
		'|0', "$db: DROP EXTENSION takes the partitions with it");
}

# --- custom format ---

command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", '-d', $source->connstr('postgres') ], 'pg_dump, custom format');
$target->safe_psql('postgres', 'CREATE DATABASE custom TEMPLATE template0');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $target->connstr('custom'), "$dir/custom" ], 'pg_restore has no error');
check_restored('custom');
is($target->safe_psql('custom', 'SELECT * FROM sopflow.restored()'), '', 'restored() has nothing to complain of');
check_going_on('custom', $due + 2);

# --- in parallel ---

command_ok([ 'pg_dump', '-Fd', '-j', '2', '-f', "$dir/directory", '-d', $source->connstr('postgres') ], 'pg_dump, directory format');
$target->safe_psql('postgres', 'CREATE DATABASE jobs TEMPLATE template0');
command_ok([ 'pg_restore', '--exit-on-error', '-j', '3', '-d', $target->connstr('jobs'), "$dir/directory" ], 'pg_restore --jobs has no error');
check_restored('jobs');
is($target->safe_psql('jobs', 'SELECT * FROM sopflow.restored()'), '', 'nor has restored() here');
check_going_on('jobs', $due + 2);

# --- plain text, damaged by hand: an action is missing; ended in the same session ---

command_ok([ 'pg_dump', '-f', "$dir/plain", '-d', $source->connstr('postgres') ], 'pg_dump, plain text');
my $plain = slurp_file("$dir/plain");
ok($plain =~ s/^DOOMED\tcall\t.*\n//m, 'an action is cut out of it');
ok($plain =~ s/^lost\tUTC\t.*\n//m, 'and a calendar');
ok($plain =~ s/^strange\tAsia\/Tokyo\t/strange\tAsia\/Nowhere\t/m, 'one has a time zone that there is not');
ok($plain =~ s/^damaged\tcut\tinteger\t.*\n//m, 'and a parameter');
open(my $fh, '>', "$dir/plain") or die "$dir/plain: $!";
print $fh $plain;
close $fh;
$target->safe_psql('postgres', 'CREATE DATABASE plain TEMPLATE template0; CREATE DATABASE stopped TEMPLATE template0');
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $target->connstr('plain'), '-f', "$dir/plain" ], 'psql has no error');
check_restored('plain');
like( $target->safe_psql('plain', 'SELECT * FROM sopflow.restored()'),
	qr/^\|calendar "lost" does not exist, its holidays were deleted: 2
\|parameter "cut" of rule set "damaged" does not exist, its override for "vip" was deleted
doomed\|SOP "doomed" is not valid: [^\n]*action[^\n]*DOOMED[^\n]*
\|calendar "strange" is not valid: column "time_zone": time zone "Asia\/Nowhere" is not known
\|rule set "damaged" is not valid: rule "r"[^\n]*cut[^\n]*$/, 'restored() names what is broken');
is($target->safe_psql('plain', q{SELECT enabled FROM sopflow.rule_set WHERE rule_set = 'damaged'}), 't', 'the rule set stays enabled');
is($target->safe_psql('plain', q{SELECT count(*) FROM sopflow.holiday}), '1', 'holidays of the other calendar are there');
is($target->safe_psql('plain', q{SET client_min_messages = error; SET log_min_messages = error; SELECT sopflow.next_opening('strange', '2026-12-23 00:00+00') = '2026-12-23 09:00+00'}),
	't', 'a calendar whose zone is unknown is in UTC');
my (undef, undef, $broken) = $target->psql('plain', q{SELECT sopflow.fire('damaged', '{"x": 3}')});
like($broken, qr/rule set "damaged" is not valid/, 'and refuses what it is asked');
is($target->safe_psql('plain', q{SELECT sop_id FROM sopflow.sop WHERE NOT enabled ORDER BY 1}), "doomed\ndraft", 'which is disabled now');
wait_for($target, 'SELECT count(*) = 2 FROM sopflow.dead WHERE error LIKE \'%"DOOMED" does not exist%\'', 'its tasks fail', 'plain');
check_going_on('plain', $due);

# restored() at the end of the script, and no worker until we have looked
$target->safe_psql('postgres', "ALTER SYSTEM SET sopflow.databases = 'none_of_these'");
$target->reload;
wait_for($target, 'SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = \'sopflow worker\'', 'without a worker');
my ($out) = run_command([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $target->connstr('stopped'), '-f', "$dir/plain",
	'-c', 'SELECT sop_id FROM sopflow.restored()' ]);
like($out, qr/^doomed$/m, 'restored() in the session of the restore lists it too');
is($target->safe_psql('stopped', 'SELECT count(*) FROM sopflow.hold'), '0', 'and ends the hold');
is($target->safe_psql('stopped', q{SELECT DISTINCT status, count(*) FROM sopflow.tasks WHERE sop_id = 'desk' GROUP BY 1}),
	'pending|7', 'leased and offered tasks are pending');
$target->safe_psql('postgres', 'ALTER SYSTEM RESET sopflow.databases');
$target->reload;
check_going_on('stopped', $due);

# --- sopflow.restoring, for restores by other means ---

$target->safe_psql('postgres', 'CREATE DATABASE other TEMPLATE template0');
set_up($target, 'other');
$target->safe_psql('other', q{
	SET sopflow.restoring = on;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('early', 'NOW'), ('never', 'NOW');
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('early', 'n1', 'EFFECT'), ('never', 'n1', 'UNKNOWN');
	RESET sopflow.restoring;
});
$target->safe_psql('other', "SELECT sopflow.emit('NOW', 's')");
wait_for($target, "SELECT state = 'held' FROM sopflow.worker_status WHERE database = 'other'", 'sopflow.restoring holds the database', 'other');
is($target->safe_psql('other', 'SELECT count(*) FROM sopflow.task'), '1', 'the SOP that was there before still takes events');
my ($rc, undef, $stderr) = $target->psql('other', q{INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('empty', 'X')});
like($stderr, qr/SOP "empty" is not valid/, 'definitions of other sessions are checked');
like($target->safe_psql('other', 'SELECT * FROM sopflow.restored()'), qr/^never\|[^\n]*UNKNOWN[^\n]*$/, 'restored() checks what was not');
wait_for($target, "SELECT count(*) = 1 FROM effect WHERE subject = 's'", 'and the worker goes on', 'other');
is($target->safe_psql('other', q{SELECT sopflow.emit('NOW', 'later'); SELECT count(*) FROM sopflow.runs WHERE sop_id = 'early'}),
	"2\n1", 'the SOP that was restored takes events');

is(join("\n", grep { !/nothing is dispatched: the database is held/ } log_lines($target, 0, qr/\b(?:WARNING|FATAL|PANIC):|could not/)), '', 'nothing to read in the log');
done_testing();
