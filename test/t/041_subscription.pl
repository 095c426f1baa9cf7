# Rows that arrive by logical replication are events exactly where the watch
# says on_replica, both those of the first copy and those that stream in.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $publisher = new_node('publisher', 'wal_level = logical');
$publisher->start;
my $subscriber = new_node('subscriber');
$subscriber->start;
set_up($subscriber);

my $tables = q{
	CREATE TABLE loud (id int PRIMARY KEY);
	CREATE TABLE quiet (id int PRIMARY KEY);
};
$publisher->safe_psql('postgres', $tables . q{
	INSERT INTO loud SELECT generate_series(1, 100);
	INSERT INTO quiet SELECT generate_series(1001, 1100);
	CREATE PUBLICATION p FOR TABLE loud, quiet;
});
$subscriber->safe_psql('postgres', $tables . q{
	SELECT sopflow.watch('loud', 'NOW', 'id', on_replica => true);
	SELECT sopflow.watch('quiet', 'NOW', 'id');
});
is($subscriber->safe_psql('postgres', q{
		SELECT tgrelid::regclass, tgenabled, tgtype & 1 FROM pg_trigger WHERE tgname = 'sopflow_watch' ORDER BY 1}),
	"loud|A|1\nquiet|O|0", 'the trigger is one that the apply worker fires');

my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '$connection' PUBLICATION p");
$subscriber->wait_for_subscription_sync;
wait_for($subscriber, 'SELECT count(*) = 100 FROM effect', 'the rows of the first copy are carried out');

$publisher->safe_psql('postgres', q{
	INSERT INTO loud SELECT generate_series(101, 200);
	INSERT INTO quiet SELECT generate_series(1101, 1200);
});
$publisher->wait_for_catchup('s');
wait_for($subscriber, 'SELECT count(*) = 200 FROM effect', 'and those that stream in');
is($subscriber->safe_psql('postgres', 'SELECT min(subject::int), max(subject::int), count(DISTINCT subject) FROM effect'),
	'1|200|200', 'each once, and none of the table that does not say so');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM quiet'), '200', 'whose rows did arrive');

$subscriber->safe_psql('postgres', 'INSERT INTO quiet VALUES (2000)');
wait_for($subscriber, "SELECT count(*) = 201 FROM effect", 'an INSERT of its own is an event there');

$subscriber->stop;
$publisher->stop;
done_testing();
