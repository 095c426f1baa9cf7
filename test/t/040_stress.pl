# Everything at once on few subjects: inserts with reentry ignore, restart and
# allow, exits, cancels, pauses, consumers that acknowledge, give up and vanish,
# handlers that fail, two workers, and a worker that is terminated.  Whatever
# order it comes in, each run and each task is in exactly one place, nothing is
# left behind, and what a handler did that succeeded is there once.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $node = new_node('main', 'sopflow.workers = 2', 'max_connections = 50');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE TABLE clients (id bigint GENERATED ALWAYS AS IDENTITY, subject int);
	CREATE TABLE effect (task_id bigint, attempt int);
	CREATE FUNCTION effect(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.effect VALUES (w.task_id, w.attempt);
		IF random() < 0.1 THEN
			RAISE EXCEPTION 'not this time';
		END IF;
		RETURN '{}';
	END $$;
	INSERT INTO sopflow.action (action, delivery, handler, backoff_base, lease, max_attempts) VALUES
		('QUEUE', 'queue', NULL, '0.1 s', '1 s', 3),
		('TELL', 'broadcast', NULL, '0.1 s', '60 s', 3),
		('CALL', 'call', 'public.effect', '0.1 s', '60 s', 3);
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event, reentry, exit_events, delay_from) VALUES
		('once', 'E', 'ignore', '{X}', 'event'),
		('anew', 'E', 'restart', '{X}', 'previous'),
		('each', 'E', 'allow', '{}', 'event');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, next, on_failure) VALUES
		('once', 'a', '0', 'QUEUE', NULL, 'stop'),
		('once', 'b', '0.1 s', 'CALL', NULL, 'continue'),
		('once', 'c', '0.2 s', 'QUEUE', NULL, 'stop'),
		('anew', 'a', '0.05 s', 'CALL', 'b', 'continue'),
		('anew', 'b', '0.05 s', 'QUEUE', 'c', 'stop'),
		('anew', 'c', '0.05 s', 'TELL', NULL, 'stop'),
		('each', 'a', '0', 'QUEUE', NULL, 'stop'),
		('each', 'b', '0', 'QUEUE', NULL, 'continue');
	COMMIT;
	SELECT sopflow.watch('clients', 'E', 'subject');
});

my %script = (
	insert => [ 5, q{
		\set s random(1, 40)
		INSERT INTO clients (subject) SELECT :s + g * 7 FROM generate_series(0, 2) g;
	} ],
	exit => [ 2, q{
		\set s random(1, 60)
		SELECT sopflow.emit('X', :s::text);
	} ],
	cancel => [ 1, q{
		\set s random(1, 60)
		SELECT sopflow.cancel(subject_id => :s::text);
	} ],
	consume => [ 5, q{
		\set n random(1, 20)
		\set r random(1, 100)
		WITH f AS (SELECT * FROM sopflow.fetch('{QUEUE}', :n)),
			a AS (SELECT array_agg(task_id) AS ids, array_agg(lease_token) AS tokens FROM f)
		SELECT CASE WHEN :r <= 75 THEN (SELECT count(*) FROM sopflow.ack_many(ids, tokens))
			WHEN :r <= 90 THEN (SELECT count(*) FROM sopflow.nack_many(ids, tokens,
				array_fill('no'::text, ARRAY[cardinality(ids)]))) END
		FROM a WHERE ids IS NOT NULL;
	} ],
	pause => [ 1, q{
		SELECT sopflow.pause('anew');
		SELECT sopflow.resume('anew');
		SELECT sopflow.pause_action('QUEUE');
		SELECT sopflow.resume_action('QUEUE');
	} ],
);
my @files;
for my $name (sort keys %script)
{
	my ($weight, $text) = @{ $script{$name} };
	my $file = "$PostgreSQL::Test::Utils::tmp_check/stress_$name.sql";
	append_to_file($file, $text);
	push @files, '-f', "$file\@$weight";
}

# A worker dies in the middle of it; its successor goes on.
my $terminate = async($node, q{
	SELECT pg_sleep(4);
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'sopflow worker';
});
my ($out, $err);
ok( IPC::Run::run(
		[ 'pgbench', '-n', '-c', 8, '-j', 2, '-T', 10, '--max-tries', 10, @files,
			'-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \$out, '2>', \$err), 'the load runs') or diag($err);
unlike($err, qr/aborted|server closed/, 'no session is lost');
finish_async($terminate);

# Two inserts of the same subjects in different orders may deadlock as they
# may on any unique key; nothing else may go wrong.
my @errors = grep { /ERROR:|FATAL:|PANIC:|TRAP:/ && !/deadlock detected|terminating/ }
	split /\n/, slurp_file($node->logfile);
is_deeply(\@errors, [], 'no error but deadlocks of inserts is in the log');

# Let everything come to its end: a consumer that acknowledges all.
$node->poll_query_until('postgres', q{
	WITH f AS (SELECT * FROM sopflow.fetch('{QUEUE}', 10000)),
		a AS (SELECT array_agg(task_id) AS ids, array_agg(lease_token) AS tokens FROM f),
		done AS (SELECT (SELECT count(*) FROM sopflow.ack_many(ids, tokens)) FROM a WHERE ids IS NOT NULL)
	SELECT (SELECT count(*) FROM done) = 0 AND NOT EXISTS (SELECT FROM sopflow.run)
}) or diag($node->safe_psql('postgres', 'SELECT action, status, held_by, count(*) FROM sopflow.tasks GROUP BY 1, 2, 3'));

my $places = q{
	WITH place AS (
		SELECT task_id, 'task' AS at FROM sopflow.task UNION ALL SELECT task_id, 'held' FROM sopflow.held
		UNION ALL SELECT task_id, 'offer' FROM sopflow.offer UNION ALL SELECT task_id, 'dead' FROM sopflow.dead
		UNION ALL SELECT task_id, 'history' FROM sopflow.history)
	SELECT count(*) FROM };
is($node->safe_psql('postgres', $places . '(SELECT FROM place GROUP BY task_id HAVING count(*) > 1) x'),
	'0', 'no task is in two places');
is($node->safe_psql('postgres', $places . q{place WHERE at IN ('task', 'held', 'offer')}),
	'0', 'no task is left behind');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.run'), '0', 'no run is left behind');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT run_id) FROM sopflow.run_history'),
	'0', 'no run ended twice');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.runs r WHERE state = 'completed'
		AND (SELECT count(*) FROM sopflow.tasks t WHERE t.run_id = r.run_id) <> CASE sop_id WHEN 'each' THEN 2 ELSE 3 END}),
	'0', 'a completed run has all its tasks');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT task_id) FROM effect'),
	'0', 'no handler that succeeded left its effect twice');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.tasks t FULL JOIN effect e USING (task_id)
		WHERE (t.action = 'CALL' AND t.status = 'done') IS DISTINCT FROM (e.task_id IS NOT NULL)
		AND (t.action = 'CALL' OR e.task_id IS NOT NULL)}),
	'0', 'a task is done exactly where its effect is');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.runs WHERE state = 'completed'}),
	'>', 100, 'and enough has been going on');

$node->stop;
done_testing();
