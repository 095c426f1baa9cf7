# The SQL of README.md works: its ```sql blocks, in order, in one database.
# A block after the comment <!-- not run --> is left out.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no README.md' unless -f 'README.md';

my $text = slurp_file('README.md');
my @blocks;
while ($text =~ /^(<!-- not run -->\s*)?```(\w*)[^\n]*\n(.*?)^```[ \t]*$/gms)
{
	my ($left_out, $language, $body) = ($1, $2, $3);
	my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);
	push @blocks, { line => $line, body => $body } if $language eq 'sql' && !$left_out;
}
ok(scalar @blocks, 'README.md has SQL');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sopflow'");
$node->start;

# One session, so that a transaction, a setting or a variable of one block is
# there in the next.
my $script = join '', map { "\\echo -- README.md:$_->{line}\n$_->{body}\n" } @blocks;
my ($rc, $out, $err) =
  $node->psql('postgres', $script, on_error_stop => 0, extra_params => [ '-a', '-q' ]);
is($rc, 0, 'the blocks ran to the end');
my @errors = grep { /(ERROR|FATAL|PANIC):/ } split /\n/, $err;
is(scalar @errors, 0, 'no block ends in an error') or diag("$err\n");

$node->stop;
done_testing();
