# Guards come back from a dump with the tables that they are on: the triggers,
# their WHEN, their state, and the right of owners to attach partitions. Rows
# are restored before they are guarded, so none of them is refused.

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
	CREATE ROLE app;
	CREATE ROLE rules;
	GRANT CREATE ON SCHEMA public TO app;
	-- columns have other numbers after a restore
	CREATE TABLE leads (gone int, id int, amount int, j json, note text);
	ALTER TABLE leads DROP COLUMN gone;
	CREATE TABLE parts (id int, kind text, amount int) PARTITION BY LIST (kind);
	CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
	ALTER TABLE parts OWNER TO app;
	-- what the rules would refuse
	INSERT INTO leads VALUES (1, -1, '{}', 'x');
	INSERT INTO parts VALUES (1, 'a', -1);
	BEGIN;
	INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('it''s', 'rules'), ('p', 'rules');
	INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('it''s', 'new', 'leads'), ('p', 'new', 'parts');
	INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES
		('it''s', 'negative', 'new.amount < 0', '[{"deny":"negative lead"}]'),
		('p', 'negative', 'new.amount < 0', '[{"deny":"negative part"}]');
	COMMIT;
	SELECT sopflow.guard('leads', 'it''s', '{amount,j}');
	SELECT sopflow.guard('parts', 'p');
	ALTER TABLE leads DISABLE TRIGGER "~sopflow_guard_delete_it's";
});

sub look
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT t.tgrelid::regclass, pg_get_triggerdef(t.oid), t.tgenabled, t.tgparentid <> 0 FROM pg_trigger t
			WHERE t.tgfoid = 'sopflow.enforce'::regproc ORDER BY t.tgrelid::regclass::text, t.tgname;
		SELECT * FROM sopflow.guarded ORDER BY relation::text;
		SELECT severity, code, message FROM sopflow.health_guards ORDER BY message;
		SELECT id, amount FROM leads; SELECT id, amount FROM parts;
		SELECT has_function_privilege('app', 'sopflow.enforce()', 'EXECUTE'),
			has_function_privilege('rules', 'sopflow.enforce()', 'EXECUTE')});
}

sub denied
{
	my ($db, $sql) = @_;
	my (undef, undef, $stderr) = $node->psql($db, $sql);
	return $stderr =~ /^.*?ERROR:  (.*)$/m ? $1 : 'none';
}

my $before = look('postgres');
like($before, qr/^parts_a\|.*\|O\|t$/m, 'there are triggers of a partition to dump');
like($before, qr/~sopflow_guard_delete_it's.*\|D\|f$/m, 'and one that is disabled');

my $dir = $node->basedir;
$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('postgres') ], 'a plain dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $node->connstr('postgres') ], 'a custom dump');

sub restored_as_it_was
{
	my ($db) = @_;
	is(look($db), $before, "$db: guards, triggers, rows and rights are as they were");
	$node->safe_psql($db, 'SELECT sopflow.restored()');
	is(look($db), $before, "$db: restored() leaves them so");
	is(denied($db, 'UPDATE leads SET amount = -2'), 'negative lead', "$db: rows are held to the rules");
	is(denied($db, 'UPDATE leads SET note = note'), 'none', "$db: unless the columns stay as they are");
	is(denied($db, q{INSERT INTO parts VALUES (2, 'a', -2)}), 'negative part', "$db: in partitions too");
	is(denied($db, q{SET ROLE app; CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
		INSERT INTO parts_b VALUES (2, 'b', -2)}), 'negative part', "$db: and in those that are attached now");
	# the guard's columns are those of the restored table
	is($node->safe_psql($db, q{ALTER TABLE leads RENAME COLUMN amount TO value;
		SELECT columns FROM sopflow.guarded WHERE rule_set <> 'p'}), '{value,j}', "$db: a renamed column is followed");
}

$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", $node->connstr('plain') ],
	'the plain dump is restored');
restored_as_it_was('plain');

$node->safe_psql('postgres', 'CREATE DATABASE parallel');
$node->command_ok([ 'pg_restore', '-j', '3', '-d', $node->connstr('parallel'), "$dir/custom.dump" ],
	'the custom dump is restored by several sessions');
restored_as_it_was('parallel');

# over what is there: pg_restore drops triggers and tables first
$node->safe_psql('postgres', 'CREATE DATABASE clean');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('clean'), "$dir/custom.dump" ], 'a first restore');
$node->command_ok([ 'pg_restore', '--clean', '--if-exists', '-d', $node->connstr('clean'), "$dir/custom.dump" ],
	'and a second over it');
restored_as_it_was('clean');

$node->stop;
done_testing();
