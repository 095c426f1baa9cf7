# pg_upgrade carries a database with the extension to a new cluster: its check
# passes, nothing is carried out while it works, and the worker goes on after it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $old = new_node('old');
$old->start;
set_up($old);
$old->safe_psql('postgres', q{
	CREATE TABLE clients (gone int, client_id int, name text);
	ALTER TABLE clients DROP COLUMN gone;
	SELECT sopflow.watch('clients', 'NEW_CLIENT', 'client_id', '{name}', 'name <> ''guest''');
	INSERT INTO sopflow.action (action) VALUES ('CALL_BACK');
	BEGIN;
	INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('care', 'NEW_CLIENT');
	UPDATE sopflow.sop SET subject_relation = 'clients', subject_key = 'client_id' WHERE sop_id = 'care';
	INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('care', 'n1', '0', 'EFFECT'),
		('care', 'n2', '1 hour', 'EFFECT'), ('care', 'n3', '0', 'CALL_BACK');
	COMMIT;
	INSERT INTO clients SELECT g, 'c' FROM generate_series(1, 100) g;
});
wait_for($old, 'SELECT count(*) = 100 FROM effect', 'a hundred tasks are done');
wait_for($old, 'SELECT count(*) = 100 FROM sopflow.offer', 'a hundred are ready');
my $leased = $old->safe_psql('postgres', q{SELECT task_id || ',' || lease_token FROM sopflow.fetch('{CALL_BACK}', 1, '1 day')});
# due, with nobody to carry them out
$old->append_conf('postgresql.conf', "sopflow.databases = ''\n");
$old->restart;
$old->safe_psql('postgres', q{INSERT INTO clients SELECT g, 'c' FROM generate_series(101, 150) g});
my $query = 'SELECT status, action, count(*) FROM sopflow.tasks GROUP BY 1, 2 ORDER BY 1, 2';
my $tasks = $old->safe_psql('postgres', $query);
my $position = $old->safe_psql('postgres', 'SELECT last_value FROM sopflow.run_id_seq');
# PostgreSQL 18 finds a library beside the installation, pg_upgrade does not.
my ($rc) = $old->psql('postgres', q{LOAD '$libdir/sopflow'});
$old->safe_psql('postgres', q{UPDATE pg_proc SET probin = 'sopflow' WHERE probin = '$libdir/sopflow'}) if $rc;
$old->stop;

my $new = new_node('new');
my $bindir = $old->config_data('--bindir');
my @command = ('pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
	'-s', $new->host, '-p', $old->port, '-P', $new->port);
# it writes where it is
chdir $PostgreSQL::Test::Utils::tmp_check or die;
command_ok([ @command, '--check' ], 'pg_upgrade --check passes');
command_ok(\@command, 'pg_upgrade works');
$new->append_conf('postgresql.conf', "sopflow.databases = ''\n");
$new->start;
is($new->safe_psql('postgres', $query), $tasks, 'every task is there, in its state');
is($new->safe_psql('postgres', 'SELECT count(*) FROM effect'), '100', 'nothing was carried out meanwhile');
is($new->safe_psql('postgres', 'SELECT count(*) FROM sopflow.hold'), '0', 'and the database is not held');
is($new->safe_psql('postgres', 'SELECT last_value FROM sopflow.run_id_seq'), $position, 'sequences stand where they stood');
is($new->safe_psql('postgres', "SELECT sopflow.ack($leased)"), 't', 'a lease survives');
$new->append_conf('postgresql.conf', "sopflow.databases = '*'\n");
$new->reload;
wait_for($new, 'SELECT count(*) = 150 FROM effect', 'the worker goes on');
is($new->safe_psql('postgres', 'SELECT count(DISTINCT task_id) FROM effect'), '150', 'each task was carried out once');
$new->safe_psql('postgres', q{INSERT INTO clients VALUES (1001, 'new'), (1002, 'guest')});
wait_for($new, q{SELECT string_agg(subject, ' ') = '1001' FROM effect WHERE subject IN ('1001', '1002')}, 'and takes up what comes in');
$new->safe_psql('postgres', q{
	BEGIN;
	UPDATE sopflow.sop SET name = 'changed' WHERE sop_id = 'care';
	UPDATE sopflow.sop_node SET delay = '3 hours' WHERE node_id = 'n2';
	COMMIT;
});
is($new->safe_psql('postgres', q{SELECT max(version) FROM sopflow.sop_version WHERE sop_id = 'care'}), '2', 'definitions can be changed');
is(join("\n", log_lines($new)), '', 'nothing to read in the log');
$new->safe_psql('postgres', 'SET client_min_messages = error; DROP EXTENSION sopflow CASCADE');
is($new->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname ~ 'history'"), '0', 'DROP EXTENSION leaves nothing');
done_testing();
