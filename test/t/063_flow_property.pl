# The flow engine agrees with FlowModel, a model of its rules in memory, on what
# random SOPs do: which nodes of which runs were reached, in which order, when
# they were due and when they ended, how, with which result, and what is left.
# SEED repeats a run, CASES makes it longer, CASE looks at one case only.
# Due times of cancelled tasks are not compared: where a run ends in the pass
# that would release a join of it, that may be due or parked still.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use FlowCase;
use FlowModel;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $seed = $ENV{SEED} // 20300107;
my $ncases = $ENV{CASES} // 1000;
my $only = $ENV{CASE};
my $per_session = 250;
note("SEED=$seed");

# --- the model itself, on cases worked out by hand ---

sub hand_case
{
	my ($name, $sop, $steps, @expected) = @_;
	my $model = FlowModel->new(CALL => { attempts => 5, fails => 0 }, FAIL => { attempts => 1, fails => 1 });

	for my $one (ref $sop eq 'ARRAY' ? @$sop : $sop)
	{
		my %sop = (id => 's', delay_from => 'previous', reentry => 'ignore', exits => [], max_steps => 100, links => [], %$one);
		$sop{nodes} = [ map { { type => 'delay', delay => 0, on_failure => 'stop', %$_ } } @{ $sop{nodes} } ];
		$sop{links} = [ map { { from => $_->[0], to => $_->[1], condition => $_->[2] } } @{ $sop{links} } ];
		$model->define(\%sop);
	}
	for my $step (@$steps)
	{
		my ($at, $event) = @$step;
		$model->{now} = $at;
		defined $event ? $model->emit($event, 'anna', { n => $at }, $at) : $model->run_due;
	}
	my @lines = map { s/^ +//r } $model->history;
	is_deeply(\@lines, \@expected, "the model: $name") or diag(explain(\@lines));
	return;
}

my $no = { value => sub { 0 } };
my $unknown = { value => sub { undef } };

hand_case('a parallel SOP counts from the event and ends with its last node',
	{ delay_from => 'event', trigger => 'go', nodes => [ { id => 'b', delay => 20 }, { id => 'a', delay => 10 } ] },
	[ [ 5, 'go' ], [15], [40] ],
	'run s 1 of anna: completed - 40',
	'0 b done - due 25 finished 40 null', '1 a done - due 15 finished 15 null');
hand_case('delays count from the event, and what is late goes at once, node by node',
	{ delay_from => 'event', trigger => 'go', nodes => [ { id => 'a', delay => 10, next => 'b' }, { id => 'b', delay => 20 } ] },
	[ [ 0, 'go' ], [50] ],
	'run s 1 of anna: completed - 50',
	'0 a done - due 10 finished 50 null', '1 b done - due 20 finished 50 null');
hand_case('an action keeps to the calendar, also when it is late',
	{ trigger => 'go', calendar => sub { $_[0] != 1 ? (100, 200) : () }, nodes => [ { id => 'a', action => 'CALL', next => 'b' }, { id => 'b', delay => 10, next => 'c' },
			{ id => 'c', delay => 90, action => 'CALL' } ] },
	[ [ 0, 'go' ], [99], [110], [120], [200], [ 2 * 86400 + 100 ] ],
	'run s 1 of anna: completed - 172900', '0 a done - due 100 finished 110 null', '1 b done - due 120 finished 120 null',
	'2 c done - due 172900 finished 172900 null');
hand_case('a fork of three is joined when the last branch has come',
	{ trigger => 'go', nodes => [ { id => 'f' }, { id => 'a', delay => 1, next => 'j' }, { id => 'b', delay => 2, next => 'j' },
			{ id => 'c', delay => 3, next => 'j' }, { id => 'j', delay => 5 } ], links => [ [qw(f a)], [qw(f b)], [qw(f c)] ] },
	[ [ 0, 'go' ], [0], [1], [2], [3], [7], [8] ],
	'run s 1 of anna: completed - 8',
	'0 f done - due 0 finished 0 null', '1 a done - due 1 finished 1 null', '2 b done - due 2 finished 2 null',
	'3 c done - due 3 finished 3 null', '4 j done - due 8 finished 8 null');
hand_case('a link that is not true is not taken, and the join does not wait for it',
	{ trigger => 'go', nodes => [ { id => 'f' }, { id => 'a', next => 'j' }, { id => 'b', next => 'j' }, { id => 'j' } ],
		links => [ [qw(f a)], [ 'f', 'b', $unknown ] ] },
	[ [ 0, 'go' ], [0] ],
	'run s 1 of anna: completed - 0',
	'0 f done - due 0 finished 0 null', '1 a done - due 0 finished 0 null', '2 j done - due 0 finished 0 null');
hand_case('a condition that is unknown goes to otherwise, and an end node ends all',
	{ trigger => 'go', nodes => [ { id => 'f' }, { id => 'q', type => 'condition', condition => $unknown, next => 'x', otherwise => 'z' },
			{ id => 'x' }, { id => 'y', delay => 9 }, { id => 'z', type => 'end' } ], links => [ [qw(f q)], [qw(f y)] ] },
	[ [ 0, 'go' ], [4] ],
	'run s 1 of anna: completed - 4',
	'0 f done - due 0 finished 4 null', '1 q done - due 4 finished 4 {condition: null}', '2 y cancelled - due 13 finished 4 null');
hand_case('an exclusive choice takes the first link that is true',
	{ trigger => 'go', nodes => [ { id => 'q', type => 'condition', otherwise => 'd' }, { id => 'b' }, { id => 'c' }, { id => 'd' } ],
		links => [ [ 'q', 'b', $no ], [qw(q c)], [qw(q d)] ] },
	[ [ 0, 'go' ], [0] ],
	'run s 1 of anna: completed - 0',
	'0 q done - due 0 finished 0 {to: c}', '1 c done - due 0 finished 0 null');
my %wait = (trigger => 'go', nodes => [ { id => 'a', delay => 10, next => 'w' },
		{ id => 'w', type => 'wait', delay => 10, wait_event => 'paid', next => 'y', otherwise => 'n' }, { id => 'y', delay => 1 }, { id => 'n' } ]);
hand_case('a wait is answered in time', \%wait, [ [ 0, 'go' ], [10], [ 19, 'paid' ], [20] ],
	'run s 1 of anna: completed - 20', '0 a done - due 10 finished 10 null',
	'1 w done - due 20 finished 19 {context: {n: 19}, event: paid}', '2 y done - due 20 finished 20 null');
hand_case('a wait is not answered at its time-out', \%wait, [ [ 0, 'go' ], [10], [ 20, 'paid' ], [20] ],
	'run s 1 of anna: completed - 20', '0 a done - due 10 finished 10 null',
	'1 w done - due 20 finished 20 {event: null}', '2 n done - due 20 finished 20 null');
hand_case('an event that came before the node was reached answers it, the last of them', \%wait,
	[ [ 0, 'go' ], [ 3, 'paid' ], [ 4, 'paid' ], [10] ],
	'run s 1 of anna: active - -', '0 a done - due 10 finished 10 null',
	'1 w done - due 10 finished 10 {context: {n: 4}, event: paid}', '2 y pending - due 11 finished - null');
hand_case('an arrival answers a wait of a cycle once',
	{ trigger => 'go', max_steps => 4, nodes => [ { id => 'w', type => 'wait', wait_event => 'go', next => 'w2' },
			{ id => 'w2', type => 'wait', wait_event => 'go', next => 'w' } ] },
	[ [ 0, 'go' ], [ 1, 'go' ], [1], [1], [ 2, 'go' ], [2] ],
	'run s 1 of anna: failed max_steps 2', '0 w done - due infinity finished 1 {context: {n: 1}, event: go}',
	'1 w2 done - due 1 finished 1 {context: {n: 1}, event: go}', '2 w done - due infinity finished 2 {context: {n: 2}, event: go}',
	'3 w2 done - due 2 finished 2 {context: {n: 2}, event: go}');
hand_case('an exit event ends the run in the middle of a fork, and what is parked too',
	{ trigger => 'go', exits => ['stop'], nodes => [ { id => 'f' }, { id => 'a', next => 'j' }, { id => 'b', delay => 9, next => 'j' }, { id => 'j' } ],
		links => [ [qw(f a)], [qw(f b)] ] },
	[ [ 0, 'go' ], [1], [ 2, 'stop' ], [20] ],
	'run s 1 of anna: exited event stop 2', '0 f done - due 0 finished 1 null', '1 a done - due 1 finished 1 null',
	'2 b cancelled - due 10 finished 2 null', '3 j cancelled - due - finished 2 null');
my @nested = ({ id => 'c', reentry => 'allow', nodes => [ { id => 'x', delay => 5, action => 'CALL', next => 'y' }, { id => 'y', type => 'delay', delay => 1 } ] },
	{ id => 'p', trigger => 'go', exits => ['stop'], nodes => [ { id => 's', type => 'sop', sop_ref => 'c', next => 't' }, { id => 't' } ] });
hand_case('a sub-SOP is run, and the node is done with it', \@nested, [ [ 0, 'go' ], [2], [7], [8] ],
	'run c 1 of anna: completed - 8', '0 x done - due 7 finished 7 null', '1 y done - due 8 finished 8 null',
	'run p 1 of anna: completed - 8', '0 s done - due 0 finished 8 {run_id: c 1, state: completed}', '1 t done - due 8 finished 8 null');
hand_case('a sub-SOP is cancelled with its parent', \@nested, [ [ 0, 'go' ], [2], [ 3, 'stop' ], [9] ],
	'run c 1 of anna: cancelled parent 3', '0 x cancelled - due 7 finished 3 null',
	'run p 1 of anna: exited event stop 3', '0 s cancelled - due 0 finished 3 null');
$nested[0]{nodes}[0]{action} = 'FAIL';
hand_case('a node whose sub-SOP fails is dead', \@nested, [ [ 0, 'go' ], [2], [7], [8] ],
	'run c 1 of anna: failed node x 7', '0 x dead - due 7 finished 7 null',
	'run p 1 of anna: failed node s 7', '0 s dead - due 0 finished 7 null');
hand_case('tokens that only wait for each other in a cycle are let go, the first of them',
	{ trigger => 'go', nodes => [ { id => 'f' }, { id => 'a', delay => 5, next => 'b' }, { id => 'b', delay => 5, next => 'a' } ],
		links => [ [qw(f a)], [qw(f b)] ] },
	[ [ 0, 'go' ], [0], [5] ],
	'run s 1 of anna: active - -', '0 f done - due 0 finished 0 null', '1 a done - due 5 finished 5 null', '2 b pending - due 10 finished - null');

# --- the engine against the model ---

my $node = new_node('main', "sopflow.databases = ''", 'autovacuum = off', 'log_statement = none');
$node->start;
$node->safe_psql('postgres', set_up_sql());

sub plain
{
	my ($value) = @_;
	return !defined $value ? 'null' : JSON::PP::is_bool($value) ? ($value ? 'true' : 'false') : !ref $value ? $value
	  : '{' . join(', ', map { "$_: " . plain($value->{$_}) } sort keys %$value) . '}';
}

# run cases: for each the lines that it gave, and what went wrong
my $json = JSON::PP->new->allow_nonref;
my %runs;

sub run_cases
{
	my (@cases) = @_;
	my $file = $node->basedir . '/cases.sql';
	my (@starts, %lines, $name);
	my $sql = prepare_sql();

	for my $case (@cases)
	{
		$runs{ $case->{name} }++;
		push @starts, [ 1 + ($sql =~ tr/\n//), $case->{name} ];
		# what was run before leaves its history
		$sql .= case_sql($case) =~ s/\b$case->{name}_/$case->{name}r$runs{ $case->{name} }_/gr;
	}
	open(my $fh, '>', $file) or die "$file: $!";
	print $fh $sql;
	close $fh;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ], '<', \undef, '>', \$out, '2>', \$err);
	for my $line (split /\n/, $out)
	{
		$name = $1, next if $line =~ /^case (\S+)$/;
		$line =~ s/\b${name}r\d+_/${name}_/g;
		$line =~ s/ finished (\S+) ?(.*)$/" finished $1 " . plain($2 eq '' ? undef : $json->decode($2))/e;
		push @{ $lines{$name} }, $line;
	}
	for my $line (split /\n/, $err)
	{
		my ($number) = $line =~ /^psql:[^:]*:(\d+): /;
		$name = (grep { $_->[0] <= $number } @starts)[-1][1] if defined $number;
		push @{ $lines{ $name // $cases[0]{name} } }, $line;
	}
	return \%lines;
}

# what differs, as text; undef: nothing; '': the SOPs are not valid
sub difference
{
	my ($case, $lines) = @_;
	my @got = @{ $lines // [] };

	return '' if !@got || (!grep { !/^fault / } @got);
	my @expected = ('valid', $case->{expected} ? @{ $case->{expected} } : live($case));
	for my $i (0 .. $#got)
	{
		s/( cancelled \S+) due \S+ /$1 due - / for grep { defined } $got[$i], $expected[$i];
		$got[$i] =~ s/ due \S+ / due - / if ($expected[$i] // '') =~ / due - /;
	}
	return if "@got" eq "@expected";
	my $text = '';
	for my $i (0 .. ($#got > $#expected ? $#got : $#expected))
	{
		my ($got, $expected) = ($got[$i] // '', $expected[$i] // '');
		$text .= $got eq $expected ? "   $got\n" : "!  engine: $got\n!  model:  $expected\n";
	}
	return $text;
}

sub copy
{
	my ($value) = @_;
	return ref $value eq 'HASH' ? { map { $_ => copy($value->{$_}) } keys %$value }
	  : ref $value eq 'ARRAY' ? [ map { copy($_) } @$value ] : $value;
}

# every case that has one thing less
sub smaller
{
	my ($case) = @_;
	my @smaller;
	my $without = sub {
		my ($change) = @_;
		my $copy = copy($case);
		delete $copy->{expected};
		push @smaller, $copy if $change->($copy) && @{ $copy->{sops} };
	};

	$without->(sub { splice @{ $_[0]{sops} }, $_, 1 }) for reverse 0 .. $#{ $case->{sops} };
	$without->(sub { splice @{ $_[0]{steps} }, $_, 1 }) for reverse 0 .. $#{ $case->{steps} };
	for my $s (0 .. $#{ $case->{sops} })
	{
		my $sop = $case->{sops}[$s];
		for my $n (0 .. $#{ $sop->{nodes} })
		{
			my $id = $sop->{nodes}[$n]{id};
			my $next = $sop->{nodes}[$n]{next};
			$without->(sub {
				my $less = $_[0]{sops}[$s];
				splice @{ $less->{nodes} }, $n, 1;
				for my $other (@{ $less->{nodes} })
				{
					for my $way (qw(next otherwise))
					{
						$other->{$way} = $next if ($other->{$way} // '') eq $id;
					}
				}
				@{ $less->{links} } = grep { $_->{from} ne $id && $_->{to} ne $id } @{ $less->{links} };
				FlowCase::prune($less) if @{ $less->{nodes} };
				scalar @{ $less->{nodes} };
			});
			for my $key (qw(next otherwise action))
			{
				$without->(sub { my $less = $_[0]{sops}[$s]; delete $less->{nodes}[$n]{$key}; FlowCase::prune($less); 1 })
				  if defined $sop->{nodes}[$n]{$key};
			}
			$without->(sub { $_[0]{sops}[$s]{nodes}[$n]{delay} = 0; 1 }) if $sop->{nodes}[$n]{delay};
		}
		for my $l (0 .. $#{ $sop->{links} })
		{
			$without->(sub { my $less = $_[0]{sops}[$s]; splice @{ $less->{links} }, $l, 1; FlowCase::prune($less); 1 });
			$without->(sub { delete $_[0]{sops}[$s]{links}[$l]{condition}; 1 }) if $sop->{links}[$l]{condition};
		}
		$without->(sub { $_[0]{sops}[$s]{calendar} = undef; 1 }) if $sop->{calendar};
		$without->(sub { $_[0]{sops}[$s]{exits} = []; 1 }) if @{ $sop->{exits} };
	}
	return @smaller;
}

# errors, as far as they are the same however large the case is
sub trouble
{
	my ($difference) = @_;
	return $difference =~ /(?:ERROR|FATAL): +(.*)/ ? $1 =~ s/[0-9]+//gr : '';
}

# take things away as long as it still disagrees
sub shrink
{
	my ($case) = @_;
	my $turns = 0;

	TURN: while ($turns++ < 40)
	{
		my @smaller = grep { eval { live($_); 1 } } smaller($case);
		$_->{name} = $case->{name} for @smaller;
		for my $one (@smaller)
		{
			my $difference = difference($one, run_cases($one)->{ $case->{name} });
			next if !defined $difference || $difference eq '' || trouble($difference) ne trouble($case->{difference});
			$case = $one;
			$case->{difference} = $difference;
			next TURN;
		}
		last;
	}
	return $case;
}

my ($ninvalid, $ndifferent, %seen) = (0, 0);
my @cases;
for my $number (defined $only ? $only : 1 .. $ncases)
{
	# each case can be made without those before it
	srand($seed * 100_003 + $number);
	my $case = make_case($number);
	$case->{expected} = [ live($case) ];
	push @cases, $case;
	next if @cases < $per_session && $number < $ncases && !defined $only;
	my $lines = run_cases(@cases);
	for my $one (@cases)
	{
		my $difference = difference($one, $lines->{ $one->{name} });
		if (defined $difference && $difference eq '')
		{
			$ninvalid++;
			$seen{ s/\d+/0/gr =~ s/fault \S+ //r }++ for grep { defined } $lines->{ $one->{name} }[0];
			next;
		}
		if (!defined $difference)
		{
			for my $line (@{ $lines->{ $one->{name} } })
			{
				$seen{"run $1"}++ if $line =~ /^run .*: (\w+)/;
				$seen{"task $1"}++ if $line =~ /^  \d+ \S+ (\w+)/;
				$seen{"held $1"}++ if $line =~ /^  \d+ \S+ \w+ (join|child)/;
				$seen{"result $1"}++ if $line =~ /\{(?:context: .*)?(condition: \w+|to|event: null|event|run_id|order)/;
			}
			next;
		}
		next if $ndifferent++ >= ($ENV{SHOW} // 3);
		$one->{difference} = $difference;
		diag("--- SEED=$seed CASE=" . substr($one->{name}, 1) . "\n$difference");
		my $small = $ENV{NOSHRINK} ? $one : shrink($one);
		diag("--- the least of it:\n" . case_sql($small) =~ s/EXECUTE .*//sr . "\n$small->{difference}");
	}
	@cases = ();
}
note(join(', ', map { "$_: $seen{$_}" } sort keys %seen));
is($ndifferent, 0, "engine and model agree (SEED=$seed, $ncases cases, $ninvalid of them not valid)");
if (!defined $only)
{
	cmp_ok($ninvalid, '<', $ncases / 3, 'most cases are valid');
	cmp_ok($seen{$_} // 0, '>', $ncases / 100, "enough of them have $_")
	  for 'run completed', 'run exited', 'run failed', 'run cancelled', 'run active', 'task done', 'task cancelled', 'task dead',
	  'task pending', 'held join', 'held child', 'result condition: true', 'result condition: false', 'result condition: null',
	  'result to', 'result event', 'result event: null', 'result run_id', 'result order';
}
$node->stop;
done_testing();
