# 32 sessions claim among 10,000 leads for 50 reps of limit 100, while others
# release, transfer, hand over, recycle, assign, win and lose them, by functions
# and by UPDATEs, some in REPEATABLE READ; a backend is killed in the middle, and
# the server stopped without notice once.  No rep ever holds more than his limit,
# at no commit; the log replays to what there is; no function deadlocks.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(time usleep);

my $sessions = 32;
my $limit = 100;
my $node = new_node('main', 'max_connections = 60', 'track_commit_timestamp = on', 'deadlock_timeout = 100ms',
	'autovacuum = off', 'log_lock_waits = off');
$node->start;
# All reps but some have 95 already.  Leads of the level "fast" go back after 3
# seconds without a contact, by the worker and by recycle().
$node->safe_psql('postgres', qq{
	CREATE EXTENSION sopflow;
	SELECT sopflow.create_crm();
	INSERT INTO crm.sales_reps (rep_id, name, team) SELECT g, 'rep ' || g, 'team ' || g % 5 FROM generate_series(1, 50) g;
	INSERT INTO crm.opportunities (opportunity_id, level, owner_id)
		SELECT g, CASE g % 10 WHEN 0 THEN 'fast' ELSE 'slow' END, CASE WHEN g <= 40 * 95 THEN 1 + g % 40 END FROM generate_series(1, 10000) g;
	UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_claim' AND param = 'cool_down';
	UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_unbind' AND param = 'freeze_after_claims';
	UPDATE sopflow.rule_param SET value = '2 seconds' WHERE rule_set = 'opportunity_recycle' AND param = 'remind_before';
	INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('opportunity_recycle', 'contact_within', 'level:fast', '3 seconds');

	-- An UPDATE whose denial is an answer.
	CREATE FUNCTION raw(lead bigint, rep bigint) RETURNS text LANGUAGE plpgsql AS \$\$
	BEGIN
		UPDATE crm.opportunities SET owner_id = rep WHERE opportunity_id = lead;
		RETURN 'done';
	EXCEPTION WHEN SQLSTATE 'SF010' THEN
		RETURN SQLERRM;
	END \$\$;
	CREATE FUNCTION some_of(rep bigint, n int) RETURNS bigint[] LANGUAGE sql AS
		'SELECT array(SELECT opportunity_id FROM crm.opportunities WHERE owner_id = rep ORDER BY random() LIMIT n)';

	-- What happened to the number of leads that a rep held, and at which commit.
	CREATE VIEW change AS
		SELECT log_id, rep, change, pg_xact_commit_timestamp(l.xmin) AS at
		FROM (SELECT xmin, * FROM crm.opportunity_log) l, LATERAL (VALUES
			(from_owner, CASE WHEN from_status IN ('CONVERTED', 'LOST', 'INVALID') THEN 0 ELSE -1 END),
			(to_owner, CASE WHEN to_status IN ('CONVERTED', 'LOST', 'INVALID') THEN 0 ELSE 1 END)) v (rep, change)
		WHERE ok AND rep IS NOT NULL AND (from_owner, from_status) IS DISTINCT FROM (to_owner, to_status) AND change <> 0;
	CREATE VIEW held_by_commit AS
		SELECT rep, sum(change) OVER (PARTITION BY rep ORDER BY at, change, log_id ROWS UNBOUNDED PRECEDING) AS held FROM change;
	CREATE VIEW held_by_log AS
		SELECT rep, sum(change) OVER (PARTITION BY rep ORDER BY log_id, change ROWS UNBOUNDED PRECEDING) AS held FROM change;
	-- Each row of the log begins where the one before it has ended.
	CREATE VIEW torn AS
		SELECT * FROM (SELECT opportunity_id, log_id, operation, from_owner, from_status,
				lag(to_owner) OVER w AS owner_before, lag(to_status, 1, 'UNBIND') OVER w AS status_before
			FROM crm.opportunity_log WHERE ok WINDOW w AS (PARTITION BY opportunity_id ORDER BY log_id)) l
		WHERE from_owner IS DISTINCT FROM owner_before OR from_status IS DISTINCT FROM status_before;
	CREATE VIEW lost AS
		SELECT o.opportunity_id, o.owner_id, o.status, l.to_owner, l.to_status
		FROM crm.opportunities o
		LEFT JOIN (SELECT DISTINCT ON (opportunity_id) * FROM crm.opportunity_log WHERE ok ORDER BY opportunity_id, log_id DESC) l USING (opportunity_id)
		WHERE o.owner_id IS DISTINCT FROM l.to_owner OR o.status IS DISTINCT FROM coalesce(l.to_status, 'UNBIND');
});
# those that the setup inserted were given out by no operation of the log
$node->safe_psql('postgres', q{
	UPDATE crm.opportunity_log SET from_status = 'UNBIND' WHERE from_status IS NULL;
});

my $begin = "\\set a random(1, 10000)\n\\set b random(1, 10000)\n\\set c random(1, 10000)\n"
  . "\\set rep random(1, 50)\n\\set other 1 + mod(:rep + random(0, 48), 50)\n";
my $rr = "BEGIN ISOLATION LEVEL REPEATABLE READ;\n%s\nEND;\n";
my $claim = 'SELECT crm.claim(ARRAY[:a, :b, :c], :rep);';
my %scripts = (
	claim => [ 30, $claim ],
	claim_rr => [ 8, sprintf($rr, $claim) ],
	claim_fast => [ 10, 'SELECT crm.claim(ARRAY[10 * (:a / 10) + 10, 10 * (:b / 10) + 10], :rep);' ],
	raw => [ 12, 'SELECT raw(:a, :rep);' ],
	raw_rr => [ 4, sprintf($rr, 'SELECT raw(:a, :rep);') ],
	raw_release => [ 2, 'SELECT raw(opportunity_id, NULL) FROM crm.opportunities WHERE opportunity_id = :a AND owner_id IS NOT NULL;' ],
	release => [ 8, 'SELECT crm.release(some_of(:rep, 4));' ],
	release_rr => [ 2, sprintf($rr, 'SELECT crm.release(some_of(:rep, 2));') ],
	transfer => [ 6, 'SELECT crm.transfer(some_of(:rep, 3), :other);' ],
	transfer_rr => [ 2, sprintf($rr, 'SELECT crm.transfer(some_of(:rep, 2), :other);') ],
	hand_over => [ 1, 'SELECT crm.hand_over(:rep, :other);' ],
	assign => [ 4, 'SELECT crm.assign(ARRAY[:b, :a], :rep);' ],
	auto_assign => [ 3, 'SELECT crm.auto_assign(ARRAY[:a, :b, :c]);' ],
	recycle => [ 3, 'SELECT crm.recycle(20);' ],
	contact => [ 6, 'SELECT crm.log_contact(opportunity_id, owner_id) FROM crm.opportunities WHERE opportunity_id = (SELECT (some_of(:rep, 1))[1]) AND owner_id IS NOT NULL;' ],
	convert => [ 1, 'SELECT crm.convert(some_of(:rep, 1));' ],
	lose => [ 1, 'SELECT crm.lose(some_of(:rep, 1));' ],
	freeze => [ 1, "SELECT crm.freeze(ARRAY[:a], now() + interval '1 second');\nSELECT crm.unfreeze(ARRAY[:a]);" ]);
my @files;
for my $name (sort keys %scripts)
{
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	append_to_file($file, $begin . $scripts{$name}[1] . "\n");
	push @files, '-f', "$file\@$scripts{$name}[0]";
}

sub start_load
{
	my ($seconds) = @_;
	my $load = { out => '', err => '', begin => time };
	$load->{handle} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', $sessions, '-j', 2, '-T', $seconds, '--max-tries', 10000, @files,
			'-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \undef, '>', \$load->{out}, '2>', \$load->{err}, IPC::Run::timeout(180));
	return $load;
}

sub finish_load
{
	my ($load, $what) = @_;
	my $ok = $load->{handle}->finish;
	my ($n) = $load->{out} =~ /number of transactions actually processed: (\d+)/;
	my ($retries) = $load->{out} =~ /total number of retries: (\d+)/;
	diag(sprintf '%s: %s transactions in %.0f s, %s retries', $what, $n // 'no', time - $load->{begin}, $retries // 'no');
	return ($ok, $retries);
}

# What is true whenever nobody is at work.
sub check
{
	my ($what) = @_;
	is($node->safe_psql('postgres', qq{
			SELECT owner_id, count(*) FROM crm.opportunities WHERE owner_id IS NOT NULL AND status NOT IN ('CONVERTED', 'LOST')
			GROUP BY 1 HAVING count(*) > $limit}),
		'', "$what: no rep holds more than his limit");
	is($node->safe_psql('postgres', "SELECT rep, max(held) FROM held_by_commit GROUP BY 1 HAVING max(held) > $limit OR min(held) < 0"),
		'', "$what: nor did one at any commit");
	is($node->safe_psql('postgres', "SELECT rep, max(held) FROM held_by_log GROUP BY 1 HAVING max(held) > $limit OR min(held) < 0"),
		'', "$what: nor at any row of the log");
	is($node->safe_psql('postgres', 'SELECT * FROM torn LIMIT 5'), '', "$what: each row of the log begins where the last one ended");
	is($node->safe_psql('postgres', 'SELECT * FROM lost LIMIT 5'), '', "$what: the log replays to what there is");
	is($node->safe_psql('postgres', q{
			SELECT opportunity_id, owner_id, status FROM crm.opportunities
			WHERE (owner_id IS NULL) <> (status IN ('UNBIND')) AND NOT (owner_id IS NULL AND status = 'LOST')
				OR (owner_id IS NULL) <> (claimed_at IS NULL) LIMIT 5}),
		'', "$what: leads with an owner are bound, the others are not");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_locks WHERE NOT granted'), '0', "$what: nobody waits");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', "$what: nothing is left open");
	return;
}

wait_for($node, "SELECT count(*) = 1 FROM sopflow.worker_status", 'the worker is there');
check('at first');

# --- a backend is killed ---

my $load = start_load(30);
usleep(10_000_000);
my $pid = '';
for (1 .. 200)
{
	last if $pid;
	$pid = $node->safe_psql('postgres', q{
		SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT crm.claim%' ORDER BY query_start DESC LIMIT 1});
}
$pid or die "nobody claims: $load->{err}";
kill 'KILL', $pid;
my ($ok) = finish_load($load, 'until a backend was killed');
ok(!$ok, 'the load ends with the crash');
wait_up($node, 0);
wait_for($node, 'SELECT count(*) = 1 FROM sopflow.worker_status', 'the server and its worker come back');
check('after the crash of a backend');

# --- the server stops without notice ---

$load = start_load(30);
usleep(10_000_000);
$node->stop('immediate');
($ok) = finish_load($load, 'until the server was stopped');
ok(!$ok, 'the load ends with the server');
$node->start;
wait_for($node, 'SELECT count(*) = 1 FROM sopflow.worker_status', 'the worker comes back');
check('after the stop of the server');

# --- to the end ---

my $log = -s $node->logfile;
$load = start_load(25);
($ok, my $retries) = finish_load($load, 'undisturbed');
ok($ok, 'the load runs to its end') or diag($load->{err});
like($load->{out}, qr/number of failed transactions: 0 /, 'nobody fails for good');
cmp_ok($retries, '>', 0, 'those in REPEATABLE READ try again');
wait_for($node, q{SELECT NOT EXISTS (SELECT FROM crm.opportunities WHERE recycle_at < now() - interval '2 seconds')},
	'what is due goes back');
$node->append_conf('postgresql.conf', "sopflow.databases = 'none_of_these'\n");
$node->reload;
wait_for($node, 'SELECT count(*) = 0 FROM sopflow.worker_status', 'the worker leaves');
check('at the end');
is(join("\n", grep { !/could not serialize access|could not obtain lock on row/ } log_lines($node, $log, qr/ERROR:|FATAL:|PANIC:/)),
	'', 'nothing else is in the log');
is_deeply([ log_lines($node, 0, qr/deadlock|TRAP:/) ], [], 'no deadlock in all of it');
is($node->safe_psql('postgres', q{SELECT count(*), min(error) FROM sopflow.dead}), '0|', 'no task is dead');

# --- all of it took place ---

for my $count (
	[ 'claims', "ok AND operation = 'CLAIM' AND event = 'function'", 500 ],
	[ 'claims by UPDATE', "ok AND operation = 'CLAIM' AND event = 'sql' AND log_id > 3800", 50 ],
	[ 'transfers by UPDATE', "ok AND operation = 'TRANSFER' AND event = 'sql'", 20 ],
	[ 'transfers', "ok AND operation = 'TRANSFER' AND event = 'function'", 100 ],
	[ 'releases', "ok AND operation = 'RELEASE'", 100 ],
	[ 'leads recycled', "ok AND operation = 'RECYCLE'", 100 ],
	[ 'leads assigned', "ok AND operation = 'ASSIGN'", 100 ],
	[ 'leads handed over', "ok AND operation = 'HAND_OVER'", 100 ],
	[ 'leads won or lost', "ok AND operation IN ('CONVERT', 'LOSE')", 10 ],
	[ 'denied for want of room', "code = 'FULL'", 100 ],
	[ 'denied for their status', "code = 'STATUS'", 100 ])
{
	my ($what, $condition, $least) = @$count;
	my $n = $node->safe_psql('postgres', "SELECT count(*) FROM crm.opportunity_log WHERE $condition");
	cmp_ok($n, '>=', $least, "$what: $n");
	diag("$what: $n");
}
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT rep FROM held_by_commit GROUP BY 1 HAVING max(held) = $limit) x"),
	'>=', 20, 'reps were full');

$node->stop;
done_testing();
