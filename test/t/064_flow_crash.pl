# Flows under crash: conditions, waits, forks with joins, sub-SOPs and exits go
# on while the worker and sessions are killed and the server is stopped in the
# middle, while one consumer dies with leases in hand.  Every run ends as it
# must, each of its nodes is in the history once, and nothing comes early.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

my $subjects = 300;
my $node = new_node('main');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE TABLE clients (id int PRIMARY KEY, n int);
	CREATE TABLE told (event text, id int, PRIMARY KEY (event, id));
	CREATE TABLE effect (task_id bigint);
	-- slow enough to be killed in the middle
	CREATE FUNCTION effect(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.effect VALUES (w.task_id);
		PERFORM pg_sleep(0.001);
		RETURN '{}';
	END $$;
	INSERT INTO sopflow.action (action, delivery, handler, lease, backoff_base, jitter, max_attempts, alert_after) VALUES
		('MAIL', 'queue', NULL, '1 s', '0.1 s', 0, 1000, NULL), ('TELL', 'broadcast', NULL, '60 s', '0.1 s', 0, 5, NULL),
		('CALL', 'call', 'effect', '60 s', '0.1 s', 0, 5, NULL);
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event, delay_from, exit_events) VALUES
		('choice', 'NEW', 'previous', '{}'), ('answer', 'NEW', 'previous', '{}'), ('timeout', 'NEW', 'previous', '{}'),
		('fork', 'NEW', 'previous', '{}'), ('outer', 'NEW', 'previous', '{}'), ('inner', NULL, 'previous', '{}'),
		('x_choice', 'NEW', 'previous', '{X}'), ('x_answer', 'NEW', 'previous', '{X}'),
		('x_fork', 'NEW', 'previous', '{X}'), ('x_outer', 'NEW', 'previous', '{X}'), ('x_inner', NULL, 'previous', '{}');
	INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, action, next, otherwise, condition, wait_event, sop_ref) VALUES
		('choice', 'if', 'condition', '0.2 s', NULL, 'yes', 'no', 'event.n > 0', NULL, NULL),
		('choice', 'yes', 'delay', '0', 'CALL', NULL, NULL, NULL, NULL, NULL),
		('choice', 'no', 'delay', '0.1 s', 'MAIL', NULL, NULL, NULL, NULL, NULL),
		('answer', 'first', 'delay', '0.5 s', 'CALL', 'wait', NULL, NULL, NULL, NULL),
		('answer', 'wait', 'wait', '1 day', NULL, 'yes', 'no', NULL, 'PAID', NULL),
		('answer', 'yes', 'delay', '0.1 s', 'MAIL', NULL, NULL, NULL, NULL, NULL),
		('answer', 'no', 'delay', '0', NULL, NULL, NULL, NULL, NULL, NULL),
		('timeout', 'wait', 'wait', '0.3 s', NULL, 'yes', 'no', NULL, 'LATE', NULL),
		('timeout', 'yes', 'delay', '0', NULL, NULL, NULL, NULL, NULL, NULL),
		('timeout', 'no', 'delay', '0.2 s', 'TELL', NULL, NULL, NULL, NULL, NULL),
		('fork', 'first', 'delay', '0', 'TELL', NULL, NULL, NULL, NULL, NULL),
		('fork', 'a', 'delay', '0', 'MAIL', 'join', NULL, NULL, NULL, NULL),
		('fork', 'b', 'delay', '0.2 s', 'CALL', 'join', NULL, NULL, NULL, NULL),
		('fork', 'c', 'delay', '0.1 s', 'MAIL', 'join', NULL, NULL, NULL, NULL),
		('fork', 'join', 'delay', '0.1 s', 'CALL', 'end', NULL, NULL, NULL, NULL),
		('fork', 'end', 'end', '0', NULL, NULL, NULL, NULL, NULL, NULL),
		('outer', 'sub', 'sop', '0.1 s', NULL, 'last', NULL, NULL, NULL, 'inner'),
		('outer', 'last', 'delay', '0', 'CALL', NULL, NULL, NULL, NULL, NULL),
		('inner', 'one', 'delay', '0.1 s', 'CALL', 'two', NULL, NULL, NULL, NULL),
		('inner', 'two', 'delay', '0.1 s', 'MAIL', NULL, NULL, NULL, NULL, NULL),
		('x_choice', 'if', 'condition', '0', NULL, 'yes', 'no', 'event.n > 0', NULL, NULL),
		('x_choice', 'yes', 'delay', '1 day', NULL, NULL, NULL, NULL, NULL, NULL),
		('x_choice', 'no', 'delay', '1 day', NULL, NULL, NULL, NULL, NULL, NULL),
		('x_answer', 'wait', 'wait', '0', NULL, 'yes', NULL, NULL, 'NEVER', NULL),
		('x_answer', 'yes', 'delay', '0', NULL, NULL, NULL, NULL, NULL, NULL),
		('x_fork', 'first', 'delay', '0', NULL, NULL, NULL, NULL, NULL, NULL),
		('x_fork', 'a', 'delay', '0', 'CALL', 'join', NULL, NULL, NULL, NULL),
		('x_fork', 'b', 'delay', '0.1 s', NULL, 'join', NULL, NULL, NULL, NULL),
		('x_fork', 'c', 'delay', '1 day', NULL, 'join', NULL, NULL, NULL, NULL),
		('x_fork', 'join', 'delay', '0', NULL, NULL, NULL, NULL, NULL, NULL),
		('x_outer', 'sub', 'sop', '0', NULL, 'last', NULL, NULL, NULL, 'x_inner'),
		('x_outer', 'last', 'delay', '0', 'CALL', NULL, NULL, NULL, NULL, NULL),
		('x_inner', 'one', 'delay', '0', 'CALL', 'two', NULL, NULL, NULL, NULL),
		('x_inner', 'two', 'delay', '1 day', 'MAIL', NULL, NULL, NULL, NULL, NULL);
	INSERT INTO sopflow.sop_link (sop_id, from_node, to_node) SELECT s, 'first', n FROM unnest('{fork,x_fork}'::text[]) s, unnest('{a,b,c}'::text[]) n;
	COMMIT;
	SELECT sopflow.watch('clients', 'NEW', 'id', '{n}');
	-- each event of a client once, however often the session is lost
	CREATE FUNCTION tell(event text, ids int[]) RETURNS bigint LANGUAGE sql AS $$
		WITH fresh AS (INSERT INTO told SELECT $1, i FROM unnest(ids) i ON CONFLICT DO NOTHING RETURNING id)
		SELECT sum(sopflow.emit($1, id)) FROM fresh
	$$;
	CREATE FUNCTION consume(many int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		ids bigint[];
		tokens bigint[];
	BEGIN
		SELECT array_agg(task_id), array_agg(lease_token) INTO ids, tokens FROM sopflow.fetch('{MAIL}', many);
		RETURN (SELECT count(*) FROM sopflow.ack_many(ids, tokens) WHERE ids IS NOT NULL);
	END $$;
});

# what may be lost with its session: true if it was not
sub try
{
	my ($sql) = @_;
	return eval { $node->psql('postgres', $sql) == 0 };
}

# n is 1, 0 and null in turn; a third is answered early, a third in time (when
# the node waits), and a third later by all that is told
sub come
{
	my ($from, $to) = @_;
	try("INSERT INTO clients SELECT g, CASE g % 3 WHEN 0 THEN 1 WHEN 1 THEN 0 END FROM generate_series($from, $to) g ON CONFLICT DO NOTHING;
		SELECT tell('PAID', array_agg(id)) FROM clients WHERE id BETWEEN $from AND $to AND id % 3 = 0");
	return;
}

sub answer_waiting
{
	my ($more) = @_;
	return try("SELECT tell('PAID', array_agg(subject_id::int)) FROM sopflow.tasks
		WHERE sop_id = 'answer' AND node_id = 'wait' AND status = 'pending' AND held_by IS NULL $more");
}

sub kill9
{
	my ($pid) = @_;
	return $pid =~ /^\d+$/ && kill('KILL', $pid);
}

# The ways to fall; each is done in the middle of all that goes on.
my %crash = (
	worker => sub {
		my $log = -s $node->logfile;
		my $pid = eval { worker_pid($node) } // '';
		ok(kill9($pid), 'the worker is killed');
		wait_up($node, $log);
	},
	backend => sub {
		my $log = -s $node->logfile;
		my $session = async($node, 'SELECT pg_backend_pid(); SELECT sopflow.run_due(100000), consume(100) FROM generate_series(1, 1000)');
		my $pid = '';
		for (1 .. 100)
		{
			$pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query LIKE '%consume(100) FROM generate%' AND pid <> pg_backend_pid() AND state = 'active'");
			last if $pid ne '';
			usleep(10_000);
		}
		usleep(rand 50_000);
		ok(kill9($pid), 'a session that dispatches and acknowledges is killed');
		finish_async($session);
		wait_up($node, $log);
	},
	server => sub {
		$node->stop('immediate');
		$node->start;
		pass('the server is stopped in the middle');
	},
);

my $wanted = 1;
my @falls = (qw(worker backend server)) x 2;
my $chunk = int($subjects / (@falls * 4));
my $busy = 0;
while ($wanted <= $subjects)
{
	for (1 .. 4)
	{
		come($wanted, $wanted + $chunk - 1);
		answer_waiting('AND subject_id::int % 3 = 1');
		try('SELECT consume(10 + (random() * 20)::int)');
		# one that dies with what it has
		try("SELECT count(*) FROM sopflow.fetch('{MAIL}', 5)") if $wanted % 2;
		$wanted += $chunk;
	}
	usleep(rand 200_000);
	$busy += $node->safe_psql('postgres', 'SELECT count(*) FROM sopflow.task WHERE due_at < clock_timestamp() + $$1 s$$') > 0;
	$crash{ shift @falls }->() if @falls;
	# what was lost with the session comes again
	come(1, $wanted - 1);
}
$subjects = $wanted - 1;
is($node->safe_psql('postgres', 'SELECT count(*), count(*) FILTER (WHERE n > 0), count(*) FILTER (WHERE n IS NULL) FROM clients'),
	join('|', $subjects, int($subjects / 3), int(($subjects + 1) / 3)), 'all clients are there');
cmp_ok($busy, '>=', 4, 'most crashes came when something was due');

# A consumer that acknowledges all, until only what waits for its exit is left.
my $settled = q{SELECT NOT EXISTS (SELECT FROM sopflow.run WHERE sop_id NOT LIKE 'x\_%') AND NOT EXISTS
	(SELECT FROM sopflow.task WHERE due_at < clock_timestamp() + '1 min') AND NOT EXISTS (SELECT FROM sopflow.offer)};
my $done = 0;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	try('SELECT consume(1000)');
	answer_waiting('');
	last if $done = $node->safe_psql('postgres', $settled) eq 't';
	usleep(100_000);
}
ok($done, 'all that can end has ended')
  or diag($node->safe_psql('postgres', "SELECT sop_id, node_id, status, held_by, count(*) FROM sopflow.tasks WHERE status IN ('pending', 'ready', 'leased') GROUP BY 1, 2, 3, 4 ORDER BY 1, 2"));

# The exits, in the middle of which their session is killed.
my $session = async($node, "SELECT tell('X', ARRAY[i]), pg_sleep(0.002) FROM generate_series(1, $subjects) i");
usleep(100_000);
my $log = -s $node->logfile;
ok(kill9($node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT tell(''X''%' AND pid <> pg_backend_pid()")),
	'a session is killed in the middle of exits');
finish_async($session);
wait_up($node, $log);
is($node->safe_psql('postgres', q{SELECT count(*) FROM told WHERE event = 'X'}), '0', 'with all that it did');
$session = async($node, "SELECT tell('X', array_agg(i)) FROM generate_series(1, $subjects / 2) i");
try("SELECT tell('X', array_agg(i)) FROM generate_series(1, $subjects) i");
finish_async($session);
try("SELECT tell('X', array_agg(i)) FROM generate_series(1, $subjects) i");

# --- what has come of it ---

sub shows
{
	my ($name, $sql, @expected) = @_;
	is($node->safe_psql('postgres', $sql), join("\n", @expected), $name);
	return;
}

wait_for($node, 'SELECT NOT EXISTS (SELECT FROM sopflow.run)', 'no run is left');
shows('no task and no memory of a run is left',
	'SELECT (SELECT count(*) FROM sopflow.task), (SELECT count(*) FROM sopflow.held), (SELECT count(*) FROM sopflow.offer), (SELECT count(*) FROM sopflow.run_state)',
	'0|0|0|0');
my $third = int($subjects / 3);
shows('every run ended as it must, with each of its nodes once', q{
	SELECT sop_id, state, reason, nodes, count(*) FROM (SELECT r.sop_id, r.state, regexp_replace(r.reason, '[0-9]+', 'N', 'g') AS reason,
		(SELECT string_agg(t.node_id || CASE t.status WHEN 'done' THEN '' ELSE ' ' || t.status END, ', ' ORDER BY t.node_id)
			FROM sopflow.tasks t WHERE t.run_id = r.run_id) AS nodes FROM sopflow.runs r) x
	WHERE sop_id <> 'x_inner' GROUP BY 1, 2, 3, 4 ORDER BY 1, 4},
	"answer|completed||first, wait, yes|$subjects",
	"choice|completed||if, no|" . ($subjects - $third),
	"choice|completed||if, yes|$third",
	"fork|completed||a, b, c, first, join|$subjects",
	"inner|completed||one, two|$subjects",
	"outer|completed||last, sub|$subjects",
	"timeout|completed||no, wait|$subjects",
	"x_answer|exited|event \"X\"|wait cancelled|$subjects",
	"x_choice|exited|event \"X\"|if, no cancelled|" . ($subjects - $third),
	"x_choice|exited|event \"X\"|if, yes cancelled|$third",
	"x_fork|exited|event \"X\"|a, b, c cancelled, first, join cancelled|$subjects",
	"x_outer|exited|event \"X\"|sub cancelled|$subjects");
shows('a sub-SOP is cancelled with the run that started it', q{
	SELECT r.state, t.nodes, count(*) FROM sopflow.runs r, LATERAL (SELECT string_agg(node_id || ' ' || status, ', ' ORDER BY node_id) AS nodes
		FROM sopflow.tasks t WHERE t.run_id = r.run_id) t WHERE sop_id = 'x_inner' GROUP BY 1, 2},
	"cancelled|one done, two cancelled|$subjects");
shows('conditions were what they are', q{
	SELECT c.n, t.result, count(*) FROM sopflow.tasks t JOIN clients c ON c.id = t.subject_id::int
	WHERE t.sop_id = 'choice' AND t.node_id = 'if' GROUP BY 1, 2 ORDER BY 1},
	"0|{\"condition\": false}|$third", "1|{\"condition\": true}|$third", "|{\"condition\": null}|" . ($subjects - 2 * $third));
shows('waits were answered, or timed out',
	q{SELECT sop_id, result->>'event', count(*) FROM sopflow.tasks WHERE node_id = 'wait' AND status = 'done' GROUP BY 1, 2 ORDER BY 1},
	"answer|PAID|$subjects", "timeout||$subjects");
# a handler takes its time between the two
shows('those told early as soon as they began', q{
	SELECT count(*) FROM sopflow.tasks w JOIN sopflow.tasks f USING (run_id) WHERE w.sop_id = 'answer' AND w.node_id = 'wait'
		AND f.node_id = 'first' AND w.subject_id::int % 3 = 0 AND w.due_at NOT BETWEEN f.finished_at AND f.finished_at + interval '1 min'}, '0');
shows('no task ended before it was due, but waits that were answered', q{
	SELECT count(*) FROM sopflow.tasks WHERE status = 'done' AND finished_at < due_at AND result->>'event' IS DISTINCT FROM 'PAID'}, '0');
shows('a join is due when the last branch has come', q{
	SELECT count(*), count(*) FILTER (WHERE j.attempt = 1 AND j.due_at NOT BETWEEN b.last + interval '0.1 s' AND b.last + interval '1 min') FROM sopflow.tasks j,
		LATERAL (SELECT max(finished_at) AS last FROM sopflow.tasks b WHERE b.run_id = j.run_id AND b.node_id <> 'join') b
	WHERE j.sop_id = 'fork' AND j.node_id = 'join'}, "$subjects|0");
shows('a sub-SOP begins with its node, which ends with it', q{
	SELECT count(*), bool_and(r.sop_id = 'inner' AND r.ended_at <= t.finished_at AND r.event_at = r.started_at AND t.result->>'state' = 'completed')
	FROM sopflow.tasks t JOIN sopflow.runs r ON r.run_id = (t.result->>'run_id')::bigint WHERE t.sop_id = 'outer' AND t.node_id = 'sub'},
	"$subjects|t");
shows('each effect is there once, and only those', q{
	SELECT count(*) - count(DISTINCT e.task_id), count(*) FILTER (WHERE t.task_id IS NULL OR e.task_id IS NULL)
	FROM effect e FULL JOIN (SELECT * FROM sopflow.tasks WHERE action = 'CALL' AND status = 'done') t USING (task_id)}, '0|0');
shows('leases that their consumer left were attempts',
	q{SELECT count(*) > 0, bool_and(action IN ('MAIL', 'CALL')) FROM sopflow.tasks WHERE attempt > 1}, 't|t');
shows('nothing is dead', 'SELECT count(*) FROM sopflow.dead_tasks', '0');
my @trouble = grep { !/terminat|crash|shut|recover|connection|could not receive|client/i } log_lines($node, 0, qr/\b(?:ERROR|FATAL|PANIC):|TRAP/);
is_deeply(\@trouble, [], 'the log tells of no other trouble');

$node->stop;
done_testing();
