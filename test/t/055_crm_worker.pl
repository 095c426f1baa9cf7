# Leads go back to the public pool at their exact time, by the worker, after their
# owner was reminded; another rep claims them then.  Whatever kills the worker on
# the way, and whoever has a lead at that moment, each goes back exactly once.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node('main', 'sopflow.batch_size = 20', 'log_checkpoints = off');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	SELECT sopflow.create_crm();
	INSERT INTO crm.sales_reps (rep_id, name) VALUES (1, 'A'), (2, 'B');
	INSERT INTO crm.opportunities (opportunity_id, level) SELECT g, CASE WHEN g <= 40 THEN 'A' WHEN g <= 50 THEN 'B' ELSE 'C' END FROM generate_series(1, 1000) g;
	UPDATE sopflow.rule_param SET value = '1000' WHERE rule_set = 'opportunity_claim' AND param = 'max_hold';
	UPDATE sopflow.rule_param SET value = '2 seconds' WHERE rule_set = 'opportunity_recycle' AND param = 'remind_before';
	INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES
		('opportunity_recycle', 'contact_within', 'level:A', '4 seconds'),
		('opportunity_recycle', 'contact_within', 'level:B', '3 seconds'),
		('opportunity_recycle', 'contact_within', 'level:C', '5 seconds');

	-- When each lead really went back, and when it was to.
	CREATE TABLE went (opportunity_id bigint, due timestamptz, released_at timestamptz, at timestamptz DEFAULT clock_timestamp());
	CREATE FUNCTION went() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.went VALUES (NEW.opportunity_id, OLD.recycle_at, NEW.released_at);
		RETURN NULL;
	END $$;
	CREATE TRIGGER went AFTER UPDATE ON crm.opportunities FOR EACH ROW
		WHEN (OLD.owner_id IS NOT NULL AND NEW.owner_id IS NULL) EXECUTE FUNCTION went();
	CREATE VIEW recycled AS
		SELECT o.level, count(*) AS rows, count(DISTINCT l.opportunity_id) AS leads, count(*) FILTER (WHERE l.from_owner IS NULL) AS odd
		FROM crm.opportunity_log l JOIN crm.opportunities o USING (opportunity_id) WHERE l.operation = 'RECYCLE' AND l.ok GROUP BY 1;
});
wait_for($node, "SELECT count(*) = 1 FROM sopflow.worker_status WHERE state = 'waiting'", 'the worker runs and waits');

# --- the exact time ---

my $rep = open_session($node);
ask($rep, 'LISTEN sopflow');
$node->safe_psql('postgres', join "\n", map { "SELECT FROM crm.claim(ARRAY[$_], 1);" } 1 .. 40);
is($node->safe_psql('postgres', 'SELECT held, next_recycle_at > now() FROM crm.rep_report WHERE rep_id = 1'), '40|t',
	'a rep has 40 leads');
wait_for($node, "SELECT count(*) = 40 FROM sopflow.tasks WHERE action = 'REMIND_OWNER' AND status = 'ready'",
	'before they go he is to be reminded of each');
is($node->safe_psql('postgres', "SELECT count(*) FROM crm.opportunities WHERE owner_id = 1 AND level = 'A'"), '40',
	'while he has them still');
like(ask($rep, 'SELECT 1'), qr/Asynchronous notification "sopflow" with payload .*REMIND_OWNER/, 'the doorbell rings for who reminds him');
is($node->safe_psql('postgres', q{
		SELECT count(*), bool_and((t.context ->> 'owner_id')::bigint = 1 AND (t.context ->> 'recycle_at')::timestamptz = o.recycle_at)
		FROM sopflow.fetch(ARRAY['REMIND_OWNER'], 1000) t JOIN crm.opportunities o ON o.opportunity_id = t.subject_id::bigint}),
	'40|t', 'with the owner and the time');
wait_for($node, "SELECT count(*) = 40 FROM went", 'they go back');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT opportunity_id), bool_and(at >= due) FROM went'), '40|40|t',
	'each once, none early');
is($node->safe_psql('postgres', 'SELECT count(*) FROM went WHERE released_at < due'), '0', 'nor by what is written in the lead');
diag('ms late: ' . $node->safe_psql('postgres', q{
	SELECT format('median %s, 95 of 100 below %s, most %s', round(p[1], 1), round(p[2], 1), round(p[3], 1)) FROM (
		SELECT percentile_cont(ARRAY[0.5, 0.95, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM at - due)::float8 * 1000)::numeric[] AS p FROM went) x}));
is($node->safe_psql('postgres', q{SELECT operation, event, from_owner, to_owner, to_status, minor_status, count(*)
		FROM crm.opportunity_log WHERE operation = 'RECYCLE' GROUP BY 1, 2, 3, 4, 5, 6}),
	'RECYCLE|function|1||UNBIND|UNBIND_NORMAL|40', 'as the log says');
is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.claim(ARRAY[1, 2, 3], 1) WHERE ok'), '0', 'their last owner may not have them at once');
is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.claim(ARRAY[1, 2, 3], 2) WHERE ok'), '3', 'another rep may');
wait_for($node, "SELECT count(*) = 43 FROM went", 'until they go back from him too');

# --- a contact in time, and a lead that somebody has at its time ---

$node->safe_psql('postgres', 'SELECT FROM crm.claim(ARRAY[41, 42, 43, 44], 1)');
my $busy = open_session($node);
ask($busy, "BEGIN; UPDATE crm.opportunities SET source = 'web' WHERE opportunity_id = 42");
my $kept = $node->safe_psql('postgres', 'SELECT recycle_at FROM crm.opportunities WHERE opportunity_id = 43');
usleep(300_000);
$node->safe_psql('postgres', 'SELECT FROM crm.log_contact(43, 1)');
ask($busy, 'SELECT FROM crm.release(ARRAY[44])');
wait_for($node, 'SELECT count(*) = 2 FROM went WHERE opportunity_id IN (41, 43)', 'those that nobody has go back');
is($node->safe_psql('postgres', "SELECT bool_and(at >= due AND due > '$kept') FROM went WHERE opportunity_id = 43"), 't',
	'a contact has kept one longer');
wait_for($node, q{SELECT attempt > 0 AND status = 'pending' FROM sopflow.tasks WHERE subject_id = '42' AND action = 'RECYCLE_OPPORTUNITY' ORDER BY task_id DESC LIMIT 1},
	'the one that somebody has is tried again');
is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.opportunities WHERE opportunity_id IN (42, 44) AND owner_id = 1'), '2', 'it is not recycled under him');
ask($busy, 'COMMIT');
wait_for($node, 'SELECT count(*) = 1 FROM went WHERE opportunity_id = 42', 'when he has done, it goes back');
is($node->safe_psql('postgres', 'SELECT string_agg(operation, \' \' ORDER BY log_id) FROM crm.opportunity_log WHERE opportunity_id = 44'),
	'CLAIM RELEASE', 'one that was released meanwhile is not recycled');
close_session($busy);
close_session($rep);

# --- the worker dies in the middle ---

$node->safe_psql('postgres', 'SELECT FROM crm.claim(ARRAY(SELECT generate_series(51, 750)), 1)');
is($node->safe_psql('postgres', "SELECT count(*) FROM crm.opportunities WHERE owner_id = 1"), '700', 'a rep has 700 leads');
my $gone = 0;
my $pid = worker_pid($node);
until ($gone)
{
	$gone = $node->safe_psql('postgres', 'SELECT count(*) FROM went WHERE opportunity_id > 50');
}
my $log = -s $node->logfile;
kill 'KILL', $pid;
wait_up($node, $log);
wait_for($node, "SELECT count(*) = 1 FROM sopflow.worker_status WHERE pid <> $pid", 'the worker is killed and comes back');
wait_for($node, "SELECT count(*) = 0 FROM crm.opportunities WHERE owner_id IS NOT NULL", 'all leads go back');
cmp_ok($gone, '<', 700, "it was killed in the middle ($gone had gone)");
is($node->safe_psql('postgres', "SELECT rows, leads, odd FROM recycled WHERE level = 'C'"), '700|700|0', 'each exactly once');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT opportunity_id), bool_and(at >= due) FROM went WHERE opportunity_id > 50'), '700|700|t',
	'and none early');

# --- and again, in one that only orders him to stop ---

$node->safe_psql('postgres', 'SELECT FROM crm.claim(ARRAY(SELECT generate_series(51, 750)), 2)');
$gone = 0;
until ($gone)
{
	$gone = $node->safe_psql('postgres', 'SELECT count(*) - 700 FROM went WHERE opportunity_id > 50');
}
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker_pid($node) . ')');
wait_for($node, "SELECT count(*) = 0 FROM crm.opportunities WHERE owner_id IS NOT NULL", 'a terminated worker is replaced, and all leads go back');
is($node->safe_psql('postgres', "SELECT rows, leads, odd FROM recycled WHERE level = 'C'"), '1400|700|0', 'each once more');
is($node->safe_psql('postgres', 'SELECT count(*), min(error) FROM sopflow.dead'), '0|', 'no task is dead');
wait_for($node, q{SELECT NOT EXISTS (SELECT FROM sopflow.task WHERE due_at < now())}, 'nothing that was due is left');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sopflow.run WHERE sop_id LIKE 'opportunity%'}), '0', 'no lead that is public is waited for');
$node->stop;
is_deeply([ log_lines($node, 0, qr/deadlock|PANIC|TRAP/) ], [], 'no deadlock in all of it');
done_testing();
