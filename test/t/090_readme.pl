# README.md works: its ```sql and ```sh blocks, in order, in one database and
# one session, with the client in PATH.  A mark stands before a block:
#   <!-- not run -->         it is left out
#   <!-- fails SQLSTATE -->  it ends in that error, shown by the block that follows
#   <!-- fails N -->         the same of a ```sh block and its exit code
#   <!-- prints -->          a ```sql block whose output the block that follows shows
#   <!-- file NAME -->       it is the file NAME for the blocks that follow
#   <!-- begins NAME -->     it is the beginning of that file, as it is in the end
#   <!-- diagram SOP -->     it is what the diagram of that SOP is then
#   <!-- stays: WORDS -->    a ```sh block that says these words, goes on, and ends
#                            well by SIGTERM; one command
# What a ```sh block prints is the block without a language that follows it; what
# it exports is there in the next.
# $KAFKA is a broker of librdkafka that has three messages.

use strict;
use warnings;

use File::Copy;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => 'there is no README.md' unless -f 'README.md';

local $ENV{PGTZ} = 'UTC';
my $dir = PostgreSQL::Test::Utils::tempdir;
my $text = slurp_file('README.md');
my @blocks;
my $last;
while ($text =~ /^(?:<!-- ([^\n]*) -->\s*)?```(\w*)[^\n]*\n(.*?)^```[ \t]*$/gms)
{
	my ($mark, $language, $body) = ($1 // '', $2, $3);
	my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);
	$last->{shown} = $body if $last && $language eq '';
	undef $last;
	$mark =~ /^(?:not run|prints|fails \w+|(?:file|begins) [\w.]+|diagram \w+|stays: [\w ]+|)$/
	  or die "README.md:$line: \"$mark\" is no mark of a block";
	next if $mark eq 'not run';
	my ($kind, $value) = split /:? /, $mark, 2;
	my $prints = defined $kind && $kind eq 'prints';
	my $stays = defined $kind && $kind eq 'stays' ? $value : '';
	undef $value if $stays;
	$kind = $language if !defined $kind || $kind =~ /^(?:fails|stays)$/ || $prints;
	next unless $kind =~ /^(?:sql|sh|file|begins|diagram)$/;
	push @blocks, { line => $line, kind => $kind, value => $value, body => $body, prints => $prints, stays => $stays };
	$last = $blocks[-1];
}
for my $kind (qw(sql sh))
{
	ok(scalar(grep { $_->{kind} eq $kind } @blocks), "README.md has $kind");
}

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sopflow'");
$node->start;

copy($_, $dir) or die "$_: $!" for glob 'doc/examples/*.yml';
append_to_file("$dir/exported", '');

# It lives as long as the producer that asked for it.
my $broker_log = "$dir/broker.log";
my $broker = IPC::Run::start(
	[ 'kcat', '-P', '-X', 'test.mock.num.brokers=1', '-d', 'mock', '-b', 'none', '-t', 'client_events' ],
	'<', \my $producer_in, '>&', $broker_log);
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if ($ENV{KAFKA}) = slurp_file($broker_log) =~ /bootstrap\.servers=(\S+)/;
	usleep(100_000);
}
for my $partition (0, 1)
{
	my $messages = join '', map { qq({"client_id": $_}\n) } $partition ? (902, 903) : 901;
	IPC::Run::run([ 'kcat', '-P', '-b', $ENV{KAFKA}, '-t', 'client_events', '-p', $partition ], '<', \$messages);
}

# One session, so that a transaction, a setting or a variable of one block is
# there in the next.
my $script = "\\setenv PGDATABASE postgres\n";
for my $block (@blocks)
{
	my $name = "$dir/block-$block->{line}";
	my $where = "\\echo -- README.md:$block->{line}";
	if ($block->{kind} eq 'sql')
	{
		$script .= "\\o $name.out\n\\pset format aligned\n\\pset tuples_only off\n" if $block->{prints};
		$script .= "$where\n$block->{body}\n";
		$script .= "\\o\n\\pset format unaligned\n\\pset tuples_only on\n" if $block->{prints};
		$script .= "$where :SQLSTATE\n" if $block->{value};
	}
	elsif ($block->{kind} eq 'sh')
	{
		append_to_file("$name.sh", "trap \"export -p >'$dir/exported'\" EXIT\n");
		append_to_file("$name.sh", $block->{stays} ?
			  $block->{body} =~ s/\n\z/ &/r . "\nn=0\nuntil grep -q '$block->{stays}' $name.out\n"
			  . "do kill -0 \$!; n=\$((n + 1)); [ \$n -lt 600 ] || { kill \$!; exit 1; }; sleep 0.1; done\n"
			  . "kill \$!\nwait \$!\n"
			: $block->{body});
		$script .= "\\! (cd '$dir' && . ./exported && sh -e $name.sh) >$name.out 2>&1; echo \$? >$name.rc\n";
	}
	elsif ($block->{kind} eq 'file')
	{
		unlink "$dir/$block->{value}";
		append_to_file("$dir/$block->{value}", $block->{body});
	}
	elsif ($block->{kind} eq 'diagram')
	{
		$script .= "SELECT sopflow.diagram('$block->{value}')"
		  . " \\g (format=unaligned tuples_only=on) $name.out\n";
	}
}
my ($rc, $out, $err) =
  $node->psql('postgres', $script, on_error_stop => 0, extra_params => [ '-a', '-q' ]);
is($rc, 0, 'the blocks ran to the end');
($err = "$err\n") =~ s/^psql:[^:\n]*:\d+: //gm;

# Blanks at the end of lines, and of the whole, are not shown.
sub printed
{
	my ($block) = @_;
	(my $printed = slurp_file("$dir/block-$block->{line}.out")) =~ s/[ \t]+$//gm;
	$printed =~ s/\n*\z/\n/;
	return $printed;
}

my @failing = grep { $_->{kind} eq 'sql' && $_->{value} } @blocks;
for my $block (@failing)
{
	like($out, qr/^-- README\.md:$block->{line} $block->{value}$/m,
		"the block at line $block->{line} fails with $block->{value}");
	isnt(index($err, $block->{shown} // '(nothing)'), -1,
		"the block at line $block->{line} fails as shown")
	  or diag("$err\n");
}
my @errors = grep { /(ERROR|FATAL|PANIC):/ } split /\n/, $err;
is(scalar @errors, scalar @failing, 'no other block ends in an error') or diag("$err\n");

for my $block (grep { $_->{kind} eq 'sh' || $_->{prints} } @blocks)
{
	my $printed = printed($block);
	if ($block->{kind} eq 'sh')
	{
		is(slurp_file("$dir/block-$block->{line}.rc"), ($block->{value} // 0) . "\n",
			"the block at line $block->{line} exits so")
		  or diag($printed);
		next unless defined $block->{shown};
	}
	isnt(index($printed, $block->{shown}), -1, "the block at line $block->{line} prints what is shown")
	  or diag($printed);
}
for my $block (grep { $_->{kind} eq 'diagram' } @blocks)
{
	is(printed($block), $block->{body}, "the diagram at line $block->{line} is that of $block->{value}");
	# The picture of it has the same words.
	my $picture = slurp_file('doc/flow.svg') =~ s/&#45;/-/gr;
	my @missing = grep { index($picture, ">$_<") < 0 }
	  map { s/#62;/&gt;/r } map { split m{<br/>} } $block->{body} =~ /"([^"]*)"/g;
	is("@missing", '', 'doc/flow.svg has all of it');
}

for my $block (grep { $_->{kind} eq 'begins' } @blocks)
{
	is(index(slurp_file("$dir/$block->{value}"), $block->{body}), 0,
		"$block->{value} begins as the block at line $block->{line}");
}

$broker->kill_kill(grace => 0);
$node->stop;
done_testing();
