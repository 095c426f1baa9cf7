# The SQL of README.md works: its ```sql blocks, in order, in one database.
# A block after the comment <!-- not run --> is left out.  One after
# <!-- fails SQLSTATE --> ends in that error, shown by the block that follows.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no README.md' unless -f 'README.md';

my $text = slurp_file('README.md');
my @blocks;
my $failing;
while ($text =~ /^(?:<!-- (not run|fails (\w{5})) -->\s*)?```(\w*)[^\n]*\n(.*?)^```[ \t]*$/gms)
{
	my ($mark, $sqlstate, $language, $body) = ($1, $2, $3, $4);
	my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);
	$failing->{shown} = $body if $failing;
	undef $failing;
	next if $language ne 'sql' || ($mark && !$sqlstate);
	push @blocks, { line => $line, body => $body, sqlstate => $sqlstate };
	$failing = $blocks[-1] if $sqlstate;
}
ok(scalar @blocks, 'README.md has SQL');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sopflow'");
$node->start;

# One session, so that a transaction, a setting or a variable of one block is
# there in the next.
my $script = join '', map
{
	"\\echo -- README.md:$_->{line}\n$_->{body}\n"
	  . ($_->{sqlstate} ? "\\echo -- README.md:$_->{line} :SQLSTATE\n" : '')
} @blocks;
my ($rc, $out, $err) =
  $node->psql('postgres', $script, on_error_stop => 0, extra_params => [ '-a', '-q' ]);
is($rc, 0, 'the blocks ran to the end');
($err = "$err\n") =~ s/^psql:[^:\n]*:\d+: //gm;

my @failing = grep { $_->{sqlstate} } @blocks;
for my $block (@failing)
{
	like($out, qr/^-- README\.md:$block->{line} $block->{sqlstate}$/m,
		"the block at line $block->{line} fails with $block->{sqlstate}");
	isnt(index($err, $block->{shown} // '(nothing)'), -1,
		"the block at line $block->{line} fails as shown")
	  or diag("$err\n");
}
my @errors = grep { /(ERROR|FATAL|PANIC):/ } split /\n/, $err;
is(scalar @errors, scalar @failing, 'no other block ends in an error') or diag("$err\n");

$node->stop;
done_testing();
