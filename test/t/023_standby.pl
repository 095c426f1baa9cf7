# A standby is idle; promoted, it goes on where the primary was, and nothing is
# carried out twice.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;
use Time::HiRes qw(usleep);

my $primary = new_node('primary');
$primary->start;
set_up($primary);
$primary->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('later', 'LATER');
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('later', 'n1', '5 s', 'EFFECT');
	COMMIT;
});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', "SELECT sum(sopflow.emit('NOW', 'n' || g)) FROM generate_series(1, 100) g");
wait_for($primary, 'SELECT count(*) = 100 FROM effect', 'the primary carries out its tasks');
$primary->safe_psql('postgres', "SELECT sum(sopflow.emit('LATER', 'l' || g)) FROM generate_series(1, 100) g");
$primary->wait_for_catchup($standby, 'replay');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'sopflow%'"),
	'0', 'the standby runs neither launcher nor worker');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM effect'), '100', 'it has what the primary did');
is($standby->safe_psql('postgres', "SELECT string_agg(code, ',') FROM sopflow.health WHERE severity <> 'warning'"),
	'standby', 'health says what it is');

$primary->stop('immediate');
usleep(500_000);
$standby->promote;
wait_for($standby, 'SELECT count(*) = 1 FROM sopflow.worker_status', 'promoted, it has a worker');
wait_settled($standby, 'which carries out what was pending');
is($standby->safe_psql('postgres', 'SELECT count(*), count(DISTINCT task_id), bool_and(at >= due_at) FROM effect'),
	'200|200|t', 'each once, none early');
$standby->safe_psql('postgres', "SELECT sopflow.emit('NOW', 'promoted')");
wait_for($standby, "SELECT count(*) = 1 FROM effect WHERE subject = 'promoted'", 'and what is new');
is(join("\n", log_lines($standby, 0, qr/sopflow(?!-test).*(?:WARNING|ERROR|FATAL|PANIC)|(?:WARNING|ERROR|PANIC):.*sopflow(?!-test)/)), '', 'its log is quiet');

$standby->stop;
done_testing();
