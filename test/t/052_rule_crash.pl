# A session that dies while a rule of its UPDATE holds the key of a quota leaves
# neither the claim nor the lock behind; a prepared transaction keeps both, also
# over a crash.

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
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE TABLE lead (id int PRIMARY KEY, owner_id int, note text);
	INSERT INTO lead VALUES (1, 1), (2, 1);
	INSERT INTO lead SELECT g FROM generate_series(3, 9) g;
	-- the rule in whose midst the session is when it dies
	CREATE FUNCTION dawdle(rule_set text, rule text, facts jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_xact_lock(4711);
		RETURN '{}';
	END $$;
	INSERT INTO sopflow.rule_set (rule_set) VALUES ('claim');
	INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('claim', 'new', 'lead'), ('claim', 'old', 'lead');
	INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES
		('claim', 'held', 'SELECT count(*) FROM lead l WHERE l.owner_id = new.owner_id', '''rep:'' || new.owner_id');
	INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
		('claim', 'full', 1, 'new.owner_id IS DISTINCT FROM old.owner_id AND held >= 3', '[{"deny": "full"}]'),
		('claim', 'slow', 2, 'new.note = ''slow''', '[{"call": "public.dawdle"}]');
	CREATE TRIGGER enforce BEFORE INSERT OR UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('claim');
});

my $blocker;

# A session in the middle of a claim, its key locked; returns its pid.
sub claim_slowly
{
	my ($what) = @_;
	$blocker = open_session($node);
	ask($blocker, 'SELECT pg_advisory_lock(4711)');
	my $session = open_session($node);
	my $pid = ask($session, 'SELECT pg_backend_pid()');
	submit($session, q{UPDATE lead SET owner_id = 1, note = 'slow' WHERE id = 3});
	wait_for($node, "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND pid = $pid AND locktype = 'advisory' AND objid = 4711",
		"$what: a claim is in the middle of its rules");
	return ($session, $pid);
}

# Another that waits for the key.
sub claim_behind
{
	my ($what, $pid) = @_;
	my $session = open_session($node);
	my $own = ask($session, 'SELECT pg_backend_pid()');
	submit($session, q{UPDATE lead SET owner_id = 1 WHERE id = 4});
	wait_for($node, "SELECT pg_blocking_pids($own) = ARRAY[$pid]", "$what: another waits for the key");
	return ($session, $own);
}

sub held
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM lead WHERE owner_id = 1');
}

sub try_claim
{
	my ($id, $timeout) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', 'SET lock_timeout = ' . ($timeout // 0)
		. "; UPDATE lead SET owner_id = 1 WHERE id = $id");
	return $err =~ /ERROR:  (.*)/ ? $1 : 'claimed';
}

sub check_free
{
	my ($what) = @_;
	is(held(), 2, "$what: the claim is not there");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype NOT IN ('relation', 'virtualxid')}), '0', "$what: nor is a lock");
	is(try_claim(5), 'claimed', "$what: the place is free");
	is(try_claim(6), 'full', "$what: and was the last");
	is(held(), 3, "$what: no more are held");
	$node->safe_psql('postgres', 'UPDATE lead SET owner_id = NULL, note = NULL WHERE id > 2');
}

sub crash
{
	my ($what, $pid) = @_;
	my $log = -s $node->logfile;
	is(kill('KILL', $pid), 1, "$what: process $pid is killed");
	$node->wait_for_log(qr/database system is ready to accept connections/, $log);
	wait_for($node, 'SELECT NOT pg_is_in_recovery()', "$what: the server recovers");
}

# --- kill -9 ---

my ($session, $pid) = claim_slowly('kill -9');
my ($other) = claim_behind('kill -9', $pid);
crash('kill -9', $pid);
eval { close_session($_) } foreach ($session, $other, $blocker);
check_free('kill -9');

# --- the session is ended, and who waits for it goes on ---

($session, $pid) = claim_slowly('terminated');
($other) = claim_behind('terminated', $pid);
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"), 't', 'terminated: the first is ended');
is(answer($other), '', 'terminated: the second claims');
is(held(), 3, 'terminated: as many as may be are held');
is(try_claim(6), 'full', 'terminated: and no more');
eval { close_session($_) } foreach ($session, $other, $blocker);
$node->safe_psql('postgres', 'UPDATE lead SET owner_id = NULL, note = NULL WHERE id > 2');

# --- the statement is cancelled, of the first and of who waits ---

($session, $pid) = claim_slowly('cancelled');
my $own;
($other, $own) = claim_behind('cancelled', $pid);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($own)");
like(answer($other), qr/canceling statement due to user request/, 'cancelled: who waits can give up');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
like(answer($session), qr/canceling statement due to user request/, 'cancelled: who is in a rule, too');
close_session($blocker);
check_free('cancelled');
is(ask($session, 'UPDATE lead SET owner_id = 1 WHERE id = 3'), '', 'cancelled: the session goes on with the same rules');
$node->safe_psql('postgres', 'UPDATE lead SET owner_id = NULL WHERE id > 2');
close_session($_) foreach ($session, $other);

# --- a prepared claim, over a crash ---

for my $end ('COMMIT', 'ROLLBACK')
{
	my $what = "prepared, $end";
	$node->safe_psql('postgres', "BEGIN; UPDATE lead SET owner_id = 1 WHERE id = 3; PREPARE TRANSACTION 'claim'");
	is(try_claim(4, 100), 'canceling statement due to lock timeout', "$what: the key is locked");
	my $victim = open_session($node);
	crash($what, ask($victim, 'SELECT pg_backend_pid()'));
	eval { close_session($victim) };
	is(try_claim(4, 100), 'canceling statement due to lock timeout', "$what: also after a crash");
	$node->safe_psql('postgres', "$end PREPARED 'claim'");
	is(try_claim(4), $end eq 'COMMIT' ? 'full' : 'claimed', "$what: then the next is judged by what is");
	is(held(), 3, "$what: as many as may be are held");
	$node->safe_psql('postgres', 'UPDATE lead SET owner_id = NULL WHERE id > 2');
}

is_deeply([ log_lines($node, 0, qr/PANIC|TRAP|segfault|signal 11/) ], [], 'nothing else crashed');
$node->stop;
done_testing();
