# 32 sessions claim for one rep, then for twenty with releases between, by plain
# UPDATEs and by calls that take their keys first, in one isolation level and in
# all three at once: no rep ever holds more than his limit, at no commit, and
# calls that take their keys in order never deadlock.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(time);

my $sessions = 32;
my $node = new_node('main', "sopflow.databases = ''", 'max_connections = 60',
	'track_commit_timestamp = on', 'deadlock_timeout = 50ms');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE TABLE lead (id int PRIMARY KEY, owner_id int, claims int NOT NULL DEFAULT 0);
	CREATE INDEX ON lead (owner_id);
	CREATE VIEW quota AS SELECT rep, CASE rep WHEN 1 THEN 100 ELSE 20 END AS max_hold FROM generate_series(1, 20) rep;

	BEGIN;
	INSERT INTO sopflow.rule_set (rule_set, param_scopes) VALUES ('claim', '{"''rep:'' || new.owner_id"}');
	INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('claim', 'new', 'lead'), ('claim', 'old', 'lead');
	INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('claim', 'max_hold', 'int', '20');
	INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('claim', 'max_hold', 'rep:1', '100');
	INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES
		('claim', 'held', 'SELECT count(*) FROM lead l WHERE l.owner_id = new.owner_id', '''rep:'' || new.owner_id');
	INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
		('claim', 'status', 1, 'old.owner_id <> new.owner_id', '[{"deny": "the lead is taken", "code": "STATUS"}]'),
		('claim', 'full', 2, 'new.owner_id IS NOT NULL AND new.owner_id IS DISTINCT FROM old.owner_id AND held >= param.max_hold',
			'[{"deny": "{{held}} of {{param.max_hold}}", "code": "FULL"}]');
	COMMIT;

	-- What happened, and how many the rep held by the row's own transaction.
	CREATE TABLE audit (lead int, rep int, change int, held int);
	CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF OLD.owner_id IS NOT NULL THEN
			INSERT INTO audit VALUES (NEW.id, OLD.owner_id, -1, NULL);
		END IF;
		IF NEW.owner_id IS NOT NULL THEN
			INSERT INTO audit SELECT NEW.id, NEW.owner_id, 1, count(*) FROM lead WHERE owner_id = NEW.owner_id;
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER audit AFTER UPDATE OF owner_id ON lead FOR EACH ROW
		WHEN (OLD.owner_id IS DISTINCT FROM NEW.owner_id) EXECUTE FUNCTION audit();

	-- A claim as a call: a denial is an answer.
	CREATE FUNCTION claim(lead int, rep int) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		denial text;
	BEGIN
		UPDATE lead l SET owner_id = rep, claims = claims + 1 WHERE l.id = lead;
		RETURN 'claimed';
	EXCEPTION WHEN SQLSTATE 'SF010' THEN
		GET STACKED DIAGNOSTICS denial = MESSAGE_TEXT;
		RETURN denial;
	END $$;
	-- Several for several reps: all keys in order, then the rows in order.
	CREATE FUNCTION claim_many(leads int[], reps int[]) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		r record;
		n int := 0;
	BEGIN
		FOR r IN SELECT DISTINCT rep FROM unnest(reps) rep ORDER BY rep LOOP
			PERFORM sopflow.fire_rows('claim', row(0, r.rep, 0)::lead, NULL::lead);
		END LOOP;
		FOR r IN SELECT * FROM unnest(leads, reps) u (lead, rep) ORDER BY lead LOOP
			n := n + (claim(r.lead, r.rep) = 'claimed')::int;
		END LOOP;
		RETURN n;
	END $$;

	-- Every rep whose count was at any commit above his limit: in the order
	-- of the commits, what goes with a commit before what comes with it.
	CREATE VIEW overrun AS
		SELECT rep, held, max_hold FROM (
			SELECT rep, sum(change) OVER (PARTITION BY rep ORDER BY pg_xact_commit_timestamp(xmin), change
				ROWS UNBOUNDED PRECEDING) AS held
			FROM audit) h JOIN quota USING (rep)
		WHERE held > max_hold OR held < 0;
});

# Fresh leads, and nothing held.
sub fill
{
	my ($leads) = @_;
	$node->safe_psql('postgres', qq{
		DROP TRIGGER IF EXISTS enforce ON lead;
		TRUNCATE lead, audit;
		INSERT INTO lead SELECT g FROM generate_series(1, $leads) g;
		CREATE TRIGGER enforce BEFORE INSERT OR UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('claim');
	});
	return -s $node->logfile;
}

# What is true after each run; the server's log may have the expected errors only.
sub check
{
	my ($what, $log, $expected) = @_;
	is($node->safe_psql('postgres', q{
			SELECT count(*) FROM (SELECT owner_id AS rep, count(*) AS held FROM lead GROUP BY 1) h JOIN quota USING (rep)
			WHERE held > max_hold}),
		'0', "$what: no rep is over his limit at the end");
	is($node->safe_psql('postgres', 'SELECT * FROM overrun LIMIT 5'), '', "$what: nor was one at any commit");
	is($node->safe_psql('postgres', 'SELECT a.* FROM audit a JOIN quota USING (rep) WHERE held > max_hold LIMIT 5'),
		'', "$what: nor did any transaction see one");
	is($node->safe_psql('postgres', q{
			SELECT count(*) FROM (SELECT owner_id AS rep, count(*) AS held FROM lead WHERE owner_id IS NOT NULL GROUP BY 1) h
			FULL JOIN (SELECT rep, sum(change) AS held FROM audit GROUP BY 1 HAVING sum(change) <> 0) a USING (rep)
			WHERE a.held IS DISTINCT FROM h.held}),
		'0', "$what: the changes add up to what is held");
	is_deeply([ grep { !/$expected/ } log_lines($node, $log) ], [], "$what: nothing else is in the log");
	return;
}

sub held
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM lead WHERE owner_id = 1');
}

# Scripts of weighted SQL by so many clients, each so many times.
sub bench
{
	my ($what, $times, %scripts) = @_;
	my @files;
	for my $name (sort keys %scripts)
	{
		my ($weight, $text) = @{ $scripts{$name} };
		my $file = "$PostgreSQL::Test::Utils::tmp_check/$what-$name.sql";
		append_to_file($file, $text);
		push @files, '-f', "$file\@$weight";
	}
	my ($out, $err);
	ok( IPC::Run::run(
			[ 'pgbench', '-n', '-c', $sessions, '-j', 2, '-t', $times, '--max-tries', 10000, '--random-seed', 7,
				@files, '-h', $node->host, '-p', $node->port, 'postgres' ],
			'>', \$out, '2>', \$err, IPC::Run::timeout(600)), "$what: the load runs") or diag($err);
	my $total = $sessions * $times;
	like($out, qr{number of transactions actually processed: $total/$total}, "$what: to its end");
	like($out, qr{number of failed transactions: 0 }, "$what: none fails for good");
	my ($retries) = $out =~ /total number of retries: (\d+)/;
	my ($tps) = $out =~ /tps = ([\d.]+)/;
	diag("$what: $total transactions, $tps a second, retries " . ($retries // 0));
	return $retries;
}

# --- plain UPDATEs for one rep, more than there is room for ---

my $log = fill(2000);
my ($tries, @load) = (0);
my $start = time;
for my $session (1 .. $sessions)
{
	my $sql = "\\set VERBOSITY sqlstate\n";
	for my $n (1 .. 40)
	{
		# others come for most of them too
		my $lead = 1 + ($session * 17 + $n * 23) % 700;
		$sql .= "UPDATE lead SET owner_id = 1 WHERE id = $lead;\n";
		$tries++;
	}
	my $file = "$PostgreSQL::Test::Utils::tmp_check/claims$session.sql";
	append_to_file($file, $sql);
	my $load = { out => '', err => '' };
	$load->{handle} = IPC::Run::start([ 'psql', '-XAt', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>', \$load->{out}, '2>', \$load->{err}, IPC::Run::timeout(300));
	push @load, $load;
}
$_->{handle}->finish foreach @load;
my $errors = join '', map { $_->{err} } @load;
my $updated = () = join('', map { $_->{out} } @load) =~ /^UPDATE 1$/mg;
my $denied = () = $errors =~ /ERROR:  SF010$/mg;
my $all = () = $errors =~ /ERROR: /g;
diag(sprintf 'one rep, plain: %d claims, %d denied, %.0f a second', $tries, $denied, $tries / (time - $start));
is($all, $denied, 'one rep, plain: whoever fails is denied');
is($updated + $denied, $tries, 'one rep, plain: every try has an answer');
is(held(), 100, 'one rep, plain: he holds as many as he may, and no more');
check('one rep, plain', $log, qr/ERROR:  (?:100 of 100|the lead is taken)/);

# --- the same with releases between, in each isolation level and in all at once ---

my $claim = '\set lead random(1, 300)
	\set free random(1, 300)
	BEGIN ISOLATION LEVEL %s;
	SELECT claim(:lead, 1);
	END;
	UPDATE lead SET owner_id = NULL WHERE id = :free AND owner_id IS NOT NULL;
';
my %one = (rc => 'READ COMMITTED', rr => 'REPEATABLE READ', se => 'SERIALIZABLE');
for my $run ([ 'rc' ], [ 'rr' ], [ 'se' ], [qw(rc rr se)])
{
	my $what = 'one-rep-' . join '-', @$run;
	$log = fill(300);
	my $retries = bench($what, "@$run" eq 'rc' ? 100 : 40, map { $_ => [ 1, sprintf($claim, $one{$_}) ] } @$run);
	cmp_ok($retries, '>', 0, "$what: losers of serialization try again") if "@$run" ne 'rc';
	cmp_ok($node->safe_psql('postgres', 'SELECT max(held) FROM audit'), '==', 100, "$what: the limit was reached");
	check($what, $log, qr/ERROR:  could not serialize access/);
}

# --- twenty reps, calls that take their keys first, releases ---

my $calls = '\set a random(1, 2000)
	\set b random(1, 2000)
	\set c random(1, 2000)
	\set x random(2, 20)
	\set y random(2, 20)
	BEGIN ISOLATION LEVEL %s;
	SELECT claim_many(ARRAY[:a, :b, :c], ARRAY[:x, :y, :x]);
	END;
';
my $release = '\set rep random(2, 20)
	UPDATE lead SET owner_id = NULL WHERE id = (SELECT id FROM lead WHERE owner_id = :rep LIMIT 1) AND owner_id = :rep;
';
for my $run ([ 'rc' ], [qw(rc rr se)])
{
	my $what = 'many-reps-' . join '-', @$run;
	$log = fill(2000);
	bench($what, 120, release => [ 2 * @$run, $release ], map { $_ => [ 3, sprintf($calls, $one{$_}) ] } @$run);
	cmp_ok($node->safe_psql('postgres', 'SELECT count(DISTINCT rep) FROM audit WHERE held = 20'), '>=', 10,
		"$what: reps were full");
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM audit WHERE change < 0'), '>=', 100,
		"$what: and had room again");
	check($what, $log, qr/ERROR:  could not serialize access/);
}

is_deeply([ log_lines($node, 0, qr/deadlock|PANIC|FATAL|TRAP/) ], [], 'no deadlock, no crash in all of it');
$node->stop;
done_testing();
