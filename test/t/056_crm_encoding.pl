# The texts of the CRM pack in databases of other encodings.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

# Bytes of the text of the rule that denies a full pool, up to its last word.
my %full = (
	UTF8 => "e7a781e6b5b7e5ba93e5b7b2e6bba1efbc8ce697a0e6b395e6938de4bd9cc2b7c2b7",
	SQL_ASCII => "e7a781e6b5b7e5ba93e5b7b2e6bba1efbc8ce697a0e6b395e6938de4bd9cc2b7c2b7",
	EUC_CN => "cbbdbaa3bfe2d2d1c2faa3accedeb7a8b2d9d7f7a1a4a1a4");

for my $encoding (sort keys %full)
{
	my $db = lc "in_$encoding";
	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$encoding' TEMPLATE template0 LOCALE 'C'");
	$node->safe_psql($db, 'CREATE EXTENSION sopflow; SELECT sopflow.create_crm()');
	is( $node->safe_psql($db, q{
			SELECT encode(decode(replace(actions->0->>'deny', '\\', '\\\\'), 'escape'), 'hex')
			FROM sopflow.rule WHERE rule_set = 'opportunity_claim' AND rule = 'capacity'}),
		$full{$encoding}, "the texts in $encoding");
	is( $node->safe_psql($db, q{
			INSERT INTO crm.sales_reps DEFAULT VALUES;
			INSERT INTO crm.opportunities DEFAULT VALUES;
			UPDATE sopflow.rule_param SET value = '0' WHERE param = 'max_hold';
			SELECT encode(decode(replace(message, '\\', '\\\\'), 'escape'), 'hex') FROM crm.claim('{1}', 1)}),
		$full{$encoding}, 'and in a denial');
}

$node->safe_psql('postgres', "CREATE DATABASE in_latin1 ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
$node->safe_psql('in_latin1', 'CREATE EXTENSION sopflow');
my ($ret, $stdout, $stderr) = $node->psql('in_latin1', '\set VERBOSITY verbose
SELECT sopflow.create_crm()');
like($stderr, qr/22P05: the texts of the CRM pack cannot be written in encoding LATIN1/, 'no room for them in LATIN1');
is($node->safe_psql('in_latin1', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'crm'}), '0', 'and nothing is made');

$node->stop;
done_testing();
