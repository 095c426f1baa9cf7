# Handlers that misbehave: each is a failed attempt with its error kept, and
# the others go on.

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
set_up($node);

# One SOP and one action for each kind of handler; no second attempt but where
# it is asked for.
$node->safe_psql('postgres', q{
	CREATE FUNCTION h_raise(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.effect (subject) VALUES ('half done'); RAISE EXCEPTION 'no such % today', w.subject_id; END $$;
	CREATE FUNCTION h_sleep(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_sleep(60); RETURN '{}'; END $$;
	CREATE FUNCTION h_terminate(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN '{}'; END $$;
	CREATE FUNCTION h_null(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN RETURN NULL; END $$;
	CREATE FUNCTION h_delete(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN DELETE FROM sopflow.sop WHERE sop_id = 'DELETE'; RETURN '{}'; END $$;
	CREATE FUNCTION h_commit(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN EXECUTE 'COMMIT'; RETURN '{}'; END $$;
	CREATE FUNCTION h_deferred(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.child VALUES (42); RETURN '{}'; END $$;
	CREATE FUNCTION h_setting(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN PERFORM set_config('search_path', 'nowhere', false); PERFORM set_config('statement_timeout', '1ms', false); RETURN '{}'; END $$;
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
	-- the server must not go down for the one that is killed: see below
	CREATE FUNCTION h_kill(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid()); PERFORM pg_sleep(60); RETURN '{}'; END $$;

	BEGIN;
	INSERT INTO sopflow.action (action, delivery, handler, max_attempts, timeout)
	SELECT upper(k), 'call', 'public.h_' || k, 1, CASE k WHEN 'sleep' THEN '300 ms' ELSE '30 s' END::interval
	FROM unnest(ARRAY['raise', 'sleep', 'terminate', 'null', 'delete', 'commit', 'deferred', 'setting', 'kill']) k;
	INSERT INTO sopflow.sop (sop_id, trigger_event) SELECT action, action FROM sopflow.action WHERE action <> 'EFFECT';
	INSERT INTO sopflow.sop_node (sop_id, node_id, action) SELECT action, 'n1', action FROM sopflow.action WHERE action <> 'EFFECT';
	COMMIT;
});

# The misbehaving task in the middle of others, all due in one transaction.
sub misbehave
{
	my ($kind) = @_;
	$node->safe_psql('postgres', qq{
		TRUNCATE effect;
		BEGIN;
		SELECT sum(sopflow.emit('NOW', '$kind a' || g)) FROM generate_series(1, 50) g;
		SELECT sopflow.emit('$kind', '$kind');
		SELECT sum(sopflow.emit('NOW', '$kind b' || g)) FROM generate_series(1, 50) g;
		COMMIT;});
	wait_settled($node, "$kind: everything ends");
	is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT task_id) FROM effect WHERE subject LIKE '$kind %'"),
		'100|100', "$kind: the others are carried out, each once");
}

sub outcome
{
	my ($kind) = @_;
	return $node->safe_psql('postgres', "SELECT status, attempt, last_error FROM sopflow.tasks WHERE sop_id = '$kind'");
}

misbehave('RAISE');
like(outcome('RAISE'), qr/^dead\|1\|.*no such RAISE today/, 'RAISE: dead, with the error kept');
is($node->safe_psql('postgres', "SELECT count(*) FROM effect WHERE subject = 'half done'"), '0', 'RAISE: what it did is undone');

misbehave('SLEEP');
like(outcome('SLEEP'), qr/^dead\|1\|.*time/i, 'SLEEP: dead, with the timeout as its error');

misbehave('NULL');
like(outcome('NULL'), qr/^dead\|1\|.*returned null/, 'NULL: dead, with that as its error');

misbehave('DELETE');
like(outcome('DELETE'), qr/^dead\|1\|.*DELETE/, 'DELETE: an SOP with active runs stays');
is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.sop WHERE sop_id = 'DELETE'"), '1', 'DELETE: it is still there');

misbehave('COMMIT');
like(outcome('COMMIT'), qr/^dead\|1\|./, 'COMMIT: a handler cannot commit');

misbehave('DEFERRED');
like(outcome('DEFERRED'), qr/^dead\|1\|.*child_id_fkey/, 'DEFERRED: its deferred constraints are its own affair');

misbehave('SETTING');
like(outcome('SETTING'), qr/^done\|1\|/, 'SETTING: settings are restored after it');

my $before = worker_pid($node);
misbehave('TERMINATE');
like(outcome('TERMINATE'), qr/^dead\|1\|.*ended its backend/, 'TERMINATE: dead, with that as its error');
isnt(worker_pid($node), $before, 'TERMINATE: another worker went on');

misbehave('KILL');
like(outcome('KILL'), qr/^dead\|1\|.*ended its backend/, 'KILL: dead, after recovery, with that as its error');

# a second attempt, and the alert of the last
$node->safe_psql('postgres', q{
	UPDATE sopflow.action SET max_attempts = 3, backoff_base = '20 ms', jitter = 0, alert_after = 2 WHERE action = 'RAISE';
	SELECT sopflow.emit('RAISE', 'thrice')});
wait_settled($node, 'three attempts end');
is($node->safe_psql('postgres', "SELECT status, attempt FROM sopflow.tasks WHERE sop_id = 'RAISE' AND subject_id = 'thrice'"), 'dead|3', 'dead after the third');
is($node->safe_psql('postgres', "SELECT done, failed + dead >= 3 FROM sopflow.action_stats WHERE action = 'RAISE'"), '0|t', 'action_stats has counted them');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.alerts WHERE action = 'RAISE'"), '>', 0, 'an alert is raised');
wait_for($node, 'SELECT bool_and(sent_at IS NOT NULL) FROM sopflow.alerts', 'and sent');
is($node->safe_psql('postgres', "SELECT count(*) FROM sopflow.health WHERE code = 'dead_tasks'"), '1', 'health tells of the dead');

# none of this is an error of the worker's own
my @lines = grep { /sopflow/ && !/terminat|crash|killed|h_kill|ended its backend|signal/ } log_lines($node, 0, qr/\b(?:ERROR|PANIC):/);
is(scalar @lines, 0, 'the log has no error of the worker itself') or diag(join "\n", @lines);
$node->stop;
done_testing();
