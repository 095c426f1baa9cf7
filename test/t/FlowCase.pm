# Random SOPs and random lives of their runs, for the comparison of the engine
# with FlowModel: made by make_case(), told to the model by live(), written as
# SQL by case_sql().

package FlowCase;

use strict;
use warnings;

use Exporter 'import';
use FlowModel;

our @EXPORT = qw(make_case live case_sql prepare_sql set_up_sql);

my $minute = 60;
my $hour = 3600;
my %actions = (
	TELL => { attempts => 5, fails => 0 },
	CALL => { attempts => 5, fails => 0, ordered => 1 },
	FLAKY => { attempts => 3, fails => 2, backoff => 30 * $minute, ordered => 1 },
	FAIL => { attempts => 1, fails => 1 },
);

sub pick { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }

# --- conditions ---

sub number { my ($value, $test) = @_; return defined $value ? $test->($value) ? 1 : 0 : undef; }

sub negate { return defined $_[0] ? $_[0] ? 0 : 1 : undef; }

sub both
{
	my ($a, $b) = @_;
	return 0 if defined $a && !$a || defined $b && !$b;
	return defined $a && defined $b ? 1 : undef;
}

sub atom
{
	my ($case) = @_;
	my $k = int rand 4;
	my $event = pick(@{ $case->{events} });
	my @atoms = (
		(sub { [ "event.n > $k", sub { number($_[0]{event}{n}, sub { $_[0] > $k }) } ] }) x 4,
		(sub { [ 'event.flag', sub { number($_[0]{event}{flag}, sub { $_[0] eq 'true' }) } ] }) x 2,
		sub { [ "event.word = 'b'", sub { number($_[0]{event}{word}, sub { $_[0] eq 'b' }) } ] },
		sub { [ 'event.n IS NULL', sub { defined $_[0]{event}{n} ? 0 : 1 } ] },
		(sub { [ "run.events ? '$event'", sub { $_[0]{run}{events}{$event} ? 1 : 0 } ] }) x 2,
		sub { [ "(run.events->'$event'->>'n')::int > $k",
				sub { number(($_[0]{run}{events}{$event} // {})->{n}, sub { $_[0] > $k }) } ] },
		sub { [ "run.subject_id LIKE '%_1'", sub { $_[0]{run}{subject_id} =~ /_1$/ ? 1 : 0 } ] },
		sub { [ 'run.started_at = run.event_at', sub { $_[0]{run}{started_at} == $_[0]{run}{event_at} ? 1 : 0 } ] },
		sub { pick([ 'true', sub { 1 } ], [ 'false', sub { 0 } ], [ 'NULL', sub { undef } ]) },
	);
	push @atoms, (sub { [ "subject.score > $k", sub { number($_[0]{subject}{score}, sub { $_[0] > $k }) } ] }) x 3,
	  sub { [ 'subject.vip', sub { number($_[0]{subject}{vip}, sub { $_[0] eq 'true' }) } ] },
	  sub { [ 'event.n = subject.score', sub {
				my ($n, $score) = ($_[0]{event}{n}, $_[0]{subject}{score});
				defined $n && defined $score ? $n == $score ? 1 : 0 : undef } ] }
	  if $case->{relation};
	my ($sql, $value) = @{ pick(@atoms)->() };
	return { sql => $sql, value => $value };
}

sub condition
{
	my ($case) = @_;
	my $a = atom($case);

	if (chance(0.15))
	{
		return { sql => "NOT ($a->{sql})", value => sub { negate($a->{value}->(@_)) } };
	}
	if (chance(0.2))
	{
		my $b = atom($case);
		return chance(0.5)
		  ? { sql => "($a->{sql}) AND ($b->{sql})", value => sub { both($a->{value}->(@_), $b->{value}->(@_)) } }
		  : { sql => "($a->{sql}) OR ($b->{sql})",
			value => sub { negate(both(negate($a->{value}->(@_)), negate($b->{value}->(@_)))) } };
	}
	return $a;
}

# --- SOPs ---

sub new_node
{
	my ($sop, $type, %more) = @_;
	my $node = { id => 'n' . ++$sop->{count}, type => $type, delay => 0, on_failure => 'stop', %more };

	push @{ $sop->{nodes} }, $node;
	return $node;
}

# the calendar "office": Monday to Friday from nine to five, and Wednesday is a holiday
sub office
{
	my ($day) = @_;
	return $day % 7 < 5 && $day != 2 ? (9 * $hour, 17 * $hour) : ();
}

sub delay { return pick(0, 0, 10 * $minute, $hour, $hour, 2 * $hour, 3 * $hour); }

# one of the types that stand in the middle of a graph, with all but its ways
sub dress
{
	my ($case, $sop, $type) = @_;

	return new_node($sop, 'end') if $type eq 'end';
	return new_node($sop, 'condition', delay => pick(0, 0, 0, $hour)) if $type eq 'condition';
	return new_node($sop, 'wait', delay => delay(), wait_event => pick(@{ $case->{events} })) if $type eq 'wait';
	return new_node($sop, 'sop', delay => pick(0, 0, $hour), sop_ref => pick(@{ $sop->{refs} }),
		on_failure => pick('stop', 'continue')) if $type eq 'sop';
	return new_node($sop, 'delay', delay => delay(), action => pick(undef, undef, 'TELL', 'CALL', 'CALL', 'FLAKY',
			chance(0.3) ? 'FAIL' : undef), on_failure => pick('stop', 'continue', 'continue'));
}

sub add_link
{
	my ($sop, $from, $to, $condition) = @_;
	return if grep { $_->{from} eq $from->{id} && $_->{to} eq $to->{id} } @{ $sop->{links} };
	push @{ $sop->{links} }, { from => $from->{id}, to => $to->{id}, condition => $condition };
	return;
}

# ways out of a node to some of others
sub lead_on
{
	my ($case, $sop, $node, @others) = @_;
	my $type = $node->{type};

	return if $type eq 'end' || !@others;
	my $links = $type eq 'wait' ? 0 : chance($type eq 'condition' ? 0.35 : 0.5);
	if ($links)
	{
		for (1 .. pick(1, 2, 2, 3, 3))
		{
			my $always = $type eq 'condition' ? 0.1 : 0.5;
			add_link($sop, $node, pick(@others), chance($always) ? undef : condition($case));
		}
		$node->{otherwise} = pick(@others)->{id} if chance(0.4);
		return;
	}
	$node->{condition} = condition($case) if $type eq 'condition';
	$node->{next} = pick(@others)->{id} if chance(0.85);
	$node->{otherwise} = pick(@others)->{id} if $type =~ /^(?:condition|wait)$/ && (chance(0.7) || !defined $node->{next});
	return;
}

sub types
{
	my ($sop) = @_;
	return (('delay') x 5, ('condition') x 3, ('wait') x 3, ('sop') x (@{ $sop->{refs} } ? 3 : 0));
}

# any ways from each node to later ones
sub random_graph
{
	my ($case, $sop) = @_;
	my $count = 2 + int rand 7;
	my @nodes = map { dress($case, $sop, $_ > 1 && chance(0.1) ? 'end' : pick(types($sop))) } 1 .. $count;

	lead_on($case, $sop, $nodes[$_], @nodes[ $_ + 1 .. $#nodes ]) for 0 .. $#nodes;
	return;
}

# Forks that are joined again, one in the other: returns the first node of a
# piece that goes on to a given one.
sub structured
{
	my ($case, $sop, $to, $depth) = @_;
	my $kind = $depth > 2 ? 'step' : pick('step', 'chain', 'fork', 'fork', 'choice', 'wait');

	if ($kind eq 'chain')
	{
		return structured($case, $sop, structured($case, $sop, $to, $depth + 1), $depth + 1);
	}
	if ($kind eq 'fork')
	{
		my $joined = dress($case, $sop, 'delay');
		my $node = dress($case, $sop, pick('delay', 'delay', @{ $sop->{refs} } ? 'sop' : 'delay'));
		$joined->{next} = $to->{id} if $to;
		for (1 .. 2 + int rand 2)
		{
			add_link($sop, $node, structured($case, $sop, $joined, $depth + 1), chance(0.7) ? undef : condition($case));
		}
		$node->{otherwise} = $joined->{id} if chance(0.3);
		return $node;
	}
	my $type = $kind eq 'choice' ? 'condition' : $kind eq 'wait' ? 'wait' : pick('delay', 'delay', @{ $sop->{refs} } ? 'sop' : 'delay');
	my $node = dress($case, $sop, $type);
	if ($type eq 'condition')
	{
		$node->{condition} = condition($case);
	}
	if ($type eq 'delay' || $type eq 'sop')
	{
		$node->{next} = $to->{id} if $to;
		return $node;
	}
	my ($one, $other) = map { chance(0.3) ? $to : structured($case, $sop, $to, $depth + 1) } 1 .. 2;
	$node->{next} = $one->{id} if $one;
	$node->{otherwise} = $other->{id} if $other && (chance(0.8) || !$one);
	return $node;
}

# nodes that nothing leads to go
sub prune
{
	my ($sop) = @_;
	my %seen;
	my @todo = ($sop->{nodes}[0]{id});
	my %node = map { $_->{id} => $_ } @{ $sop->{nodes} };

	while (defined(my $id = shift @todo))
	{
		next if $seen{$id}++;
		push @todo, grep { defined } @{ $node{$id} }{qw(next otherwise)};
		push @todo, map { $_->{to} } grep { $_->{from} eq $id } @{ $sop->{links} };
	}
	@{ $sop->{nodes} } = grep { $seen{ $_->{id} } } @{ $sop->{nodes} };
	@{ $sop->{links} } = grep { $seen{ $_->{from} } } @{ $sop->{links} };
	return;
}

# a way back
sub bend
{
	my ($case, $sop) = @_;
	my @from = grep { $_->{type} ne 'end' } @{ $sop->{nodes} };
	my $from = pick(@from);
	my $to = pick(@{ $sop->{nodes} });

	return if $to->{type} eq 'end';
	my $has_links = grep { $_->{from} eq $from->{id} } @{ $sop->{links} };
	if ($has_links)
	{
		add_link($sop, $from, $to, chance(0.3) ? undef : condition($case));
	}
	else
	{
		my $way = $from->{type} =~ /^(?:condition|wait)$/ ? pick('next', 'otherwise') : 'next';
		$from->{$way} = $to->{id};
	}
	# that it may be allowed
	$_->{delay} ||= pick(10 * $minute, $hour) for grep { $_->{type} eq 'delay' && chance(0.7) } $from, $to;
	return;
}

# what would not be valid for a small reason
sub mend
{
	my ($case, $sop) = @_;
	my $ways = grep { $_->{type} ne 'delay' || defined $_->{next} } @{ $sop->{nodes} };

	$sop->{delay_from} = 'event' if !$ways && !@{ $sop->{links} };
	for my $node (@{ $sop->{nodes} })
	{
		$node->{condition} //= condition($case)
		  if $node->{type} eq 'condition' && !grep { $_->{from} eq $node->{id} } @{ $sop->{links} };
		$node->{delay} ||= pick($hour, 2 * $hour) if $node->{type} eq 'wait' && defined $node->{otherwise};
	}
	return;
}

sub make_sop
{
	my ($case, $id, %more) = @_;
	my $sop = {
		id => $id, delay_from => pick('event', 'previous'), reentry => 'allow', calendar => undef, exits => [],
		max_steps => chance(0.05) ? 2 + int rand 6 : 100, nodes => [], links => [], refs => [], count => 0, %more
	};
	my $kind = rand();

	if ($kind < 0.06)
	{
		$sop->{delay_from} = 'event';
		dress($case, $sop, 'delay') for 1 .. 1 + int rand 4;
	}
	elsif ($kind < 0.5)
	{
		my $last = chance(0.5) ? undef : dress($case, $sop, chance(0.4) ? 'end' : 'delay');
		my $first = structured($case, $sop, $last, 0);
		# the first node is that of the lowest seq
		@{ $sop->{nodes} } = ($first, grep { $_ != $first } @{ $sop->{nodes} });
	}
	else
	{
		random_graph($case, $sop);
		if ($kind > 0.75)
		{
			@$sop{qw(delay_from max_steps)} = ('previous', pick(4 .. 20));
			bend($case, $sop) for 1 .. pick(1, 1, 2);
		}
	}
	prune($sop);
	mend($case, $sop);
	$sop->{calendar} = \&office if chance(0.12);
	$sop->{exits} = [ pick(@{ $case->{events} }, "$case->{name}_x") ] if chance(0.3);
	return $sop;
}

# --- cases ---

sub make_case
{
	my ($number) = @_;
	my $name = "c$number";
	my $case = { name => $name, events => [ map { "${name}_e$_" } 1 .. 2 ], relation => chance(0.5), steps => [] };

	if (chance(0.3))
	{
		my $inner = make_sop($case, "${name}_c");
		$inner->{reentry} = pick('allow', 'allow', 'restart');
		my $outer = make_sop($case, "${name}_b", refs => ["${name}_c"]);
		$case->{sops} = [ $inner, $outer,
			make_sop($case, "${name}_a", refs => [ "${name}_b", "${name}_c" ], trigger => "${name}_start",
				reentry => pick('allow', 'ignore', 'restart')) ];
	}
	else
	{
		$case->{sops} = [ make_sop($case, "${name}_a", trigger => "${name}_start",
				reentry => pick('allow', 'ignore', 'restart')) ];
		push @{ $case->{sops} }, make_sop($case, "${name}_b", trigger => pick("${name}_start", $case->{events}[0]),
			reentry => pick('ignore', 'restart')) if chance(0.15);
	}
	my %used = map { $_->{sop_ref} => 1 } grep { defined $_->{sop_ref} } map { @{ $_->{nodes} } } @{ $case->{sops} };
	@{ $case->{sops} } = grep { $_->{trigger} || $used{ $_->{id} } } @{ $case->{sops} };
	$case->{subjects} = [ map { "${name}_$_" } 1 .. pick(1, 1, 2) ];
	return $case;
}

sub context
{
	my %context;
	$context{n} = int rand 5 if chance(0.7);
	$context{flag} = pick('true', 'false') if chance(0.5);
	$context{word} = pick('a', 'b') if chance(0.5);
	return \%context;
}

# what happens next, given what is due
sub next_step
{
	my ($case, $model, $at) = @_;
	my $due = $model->next_due;
	my $subject = pick(@{ $case->{subjects} });
	my $kind = rand();

	if (defined $due && $due > $at)
	{
		return { op => 'run', at => $due } if $kind < 0.3;
		return { op => 'run', at => $due - 1 } if $kind < 0.35;
	}
	return { op => 'run', at => $at + pick(0, 1, 10 * $minute, $hour, 5 * $hour) } if $kind < 0.55;
	$at = pick($at, $at + $minute, $at + $hour, $due && $due > $at ? $due : $at, $due && $due > $at ? $due - 1 : $at);
	return { op => 'subject', at => $at, subject => $subject, row => subject_row() } if $kind < 0.65 && $case->{relation};
	my $event = $kind < 0.92 ? pick(@{ $case->{events} }) : $kind < 0.96 ? "$case->{name}_x" : "$case->{name}_start";
	return { op => 'emit', at => $at, event => $event, subject => $subject, context => context(),
		occurred_at => $event =~ /start$/ ? $at - pick(0, $hour) : $at };
}

sub subject_row
{
	return { score => pick(undef, 0 .. 4), vip => pick(undef, 'true', 'false') };
}

# Tell the model the life of a case, and make it up where it has none yet.
sub live
{
	my ($case) = @_;
	my $model = FlowModel->new(%actions);
	my @given = @{ $case->{steps} };
	my $invent = !@given;
	my $left = 6 + int rand 12;

	$model->define($_) for @{ $case->{sops} };
	if ($invent)
	{
		$case->{rows} = { map { $_ => subject_row() } @{ $case->{subjects} } };
		push @given, { op => 'emit', at => 0, event => "$case->{name}_start", subject => $_, context => context(),
			occurred_at => pick(0, 0, -10 * $minute, -2 * $hour, $hour) } for @{ $case->{subjects} };
	}
	$model->{subjects} = { map { $_ => $case->{rows}{$_} } @{ $case->{subjects} } } if $case->{relation};
	my $at = 0;
	for (;;)
	{
		my $step = shift @given;
		if (!$step)
		{
			last if !$invent || $left-- == 0;
			$left = 1 if $left > 1 && !$model->is_busy && chance(0.7);
			$step = $left > 0 ? next_step($case, $model, $at)
			  : { op => 'run', at => $at + pick(0, 10 * $hour, 200 * $hour) };
		}
		push @{ $case->{steps} }, $step if $invent;
		$model->{now} = $at = $step->{at};
		if ($step->{op} eq 'run') { $model->run_due; }
		elsif ($step->{op} eq 'emit') { $model->emit(@$step{qw(event subject context occurred_at)}); }
		else { $model->{subjects}{ $step->{subject} } = $step->{row}; }
	}
	return $model->history;
}

# --- as SQL ---

sub literal
{
	my ($text) = @_;
	return 'NULL' if !defined $text;
	$text =~ s/'/''/g;
	return "'$text'";
}

sub instant { return "timestamptz '2030-01-07 00:00+00' + interval '$_[0] s'"; }

sub json
{
	my ($context) = @_;
	return literal('{' . join(', ', map { "\"$_\": " . ($_ eq 'word' ? "\"$context->{$_}\"" : $context->{$_}) } sort keys %$context) . '}');
}

sub set_up_sql
{
	return q{
		CREATE EXTENSION sopflow;
		CREATE TABLE subjects (id text PRIMARY KEY, score int, vip bool);
		CREATE SEQUENCE effects;
		CREATE FUNCTION answer(w sopflow.work) RETURNS jsonb LANGUAGE sql
			RETURN jsonb_build_object('order', nextval('public.effects'));
		CREATE FUNCTION answer_third(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
		BEGIN
			IF w.attempt < 3 THEN
				RAISE EXCEPTION 'not yet';
			END IF;
			RETURN jsonb_build_object('order', nextval('public.effects'));
		END $$;
		CREATE FUNCTION fail(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
		BEGIN
			RAISE EXCEPTION 'never';
		END $$;
		INSERT INTO sopflow.calendar (calendar, opens, closes) VALUES ('office', '09:00', '17:00');
		INSERT INTO sopflow.holiday VALUES ('office', '2030-01-09');
		INSERT INTO sopflow.action (action, delivery, handler, max_attempts, backoff_base, backoff_factor, jitter, alert_after)
			VALUES ('TELL', 'broadcast', NULL, 5, '30 min', 1, 0, NULL), ('CALL', 'call', 'answer', 5, '30 min', 1, 0, NULL),
				('FLAKY', 'call', 'answer_third', 3, '30 min', 1, 0, NULL), ('FAIL', 'call', 'fail', 1, '30 min', 1, 0, NULL);
	};
}

# the SOP, not enabled yet
sub sop_sql
{
	my ($case, $sop) = @_;
	my $id = literal($sop->{id});
	my $seq = 0;
	my $sql = sprintf(
		"INSERT INTO sopflow.sop (sop_id, trigger_event, enabled, delay_from, reentry, exit_events, max_steps, calendar, subject_relation, subject_key)\n"
		  . "\tVALUES (%s, %s, false, '%s', '%s', '{%s}', %d, %s, %s);\n",
		$id, literal($sop->{trigger}), $sop->{delay_from}, $sop->{reentry}, join(',', @{ $sop->{exits} }), $sop->{max_steps},
		$sop->{calendar} ? "'office'" : 'NULL',
		$case->{relation} ? "'subjects', 'id'" : 'NULL, NULL');

	$sql .= "INSERT INTO sopflow.sop_node (sop_id, node_id, seq, type, delay, action, next, otherwise, condition, wait_event, sop_ref, on_failure) VALUES\n\t"
	  . join(",\n\t", map {
			my $node = $_;
			sprintf("(%s, '%s', %d, '%s', '%d s', %s, '%s')", $id, $node->{id}, ++$seq, $node->{type}, $node->{delay},
				join(', ', map { literal($_) } @$node{qw(action next otherwise)},
					$node->{condition} && $node->{condition}{sql}, @$node{qw(wait_event sop_ref)}), $node->{on_failure})
		} @{ $sop->{nodes} }) . ";\n";
	$sql .= "INSERT INTO sopflow.sop_link (sop_id, from_node, to_node, seq, condition) VALUES\n\t"
	  . join(",\n\t", map { sprintf("(%s, '%s', '%s', %d, %s)", $id, $_->{from}, $_->{to}, ++$seq,
				literal($_->{condition} && $_->{condition}{sql})) } @{ $sop->{links} }) . ";\n"
	  if @{ $sop->{links} };
	return $sql;
}

sub step_sql
{
	my ($step) = @_;
	my $sql = sprintf("SELECT set_config('sopflow.clock', (%s)::text, false) \\g /dev/null\n", instant($step->{at}));

	return $sql . "SELECT sopflow.run_due() \\g /dev/null\n" if $step->{op} eq 'run';
	return $sql . sprintf("SELECT sopflow.emit('%s', '%s', %s, %s) \\g /dev/null\n", @$step{qw(event subject)},
		json($step->{context}), instant($step->{occurred_at})) if $step->{op} eq 'emit';
	return sprintf("UPDATE subjects SET score = %s, vip = %s WHERE id = '%s';\n", $step->{row}{score} // 'NULL',
		$step->{row}{vip} // 'NULL', $step->{subject});
}

# for every session: what has come of the runs of some subjects, in the form of
# FlowModel::history(), results as jsonb
sub prepare_sql
{
	my $seconds = sub {
		my ($column) = @_;
		return "coalesce(CASE WHEN $column IS NULL THEN NULL WHEN isfinite($column)"
		  . " THEN extract(epoch FROM $column - " . instant(0) . ")::bigint::text ELSE 'infinity' END, '-')";
	};
	my ($ended, $due, $finished) = map { $seconds->($_) } qw(ended_at due_at finished_at);

	return qq{SET plan_cache_mode = force_generic_plan;
PREPARE history(text[]) AS
WITH r AS MATERIALIZED (SELECT *, row_number() OVER (PARTITION BY sop_id ORDER BY run_id) AS number,
		CASE WHEN reason IS NULL THEN '-' WHEN reason LIKE 'event "%"' THEN replace(reason, '"', '')
			WHEN reason LIKE 'node "%' THEN regexp_replace(reason, '^node "([^"]*)".*', 'node \\1')
			WHEN reason LIKE '%max_steps%' THEN 'max_steps' WHEN reason LIKE 'restarted %' THEN 'restarted'
			WHEN reason LIKE 'the run that it was part of %' THEN 'parent' ELSE '? ' || reason END AS why
		FROM sopflow.runs WHERE subject_id = ANY (\$1)),
	t AS MATERIALIZED (SELECT t.*, task_id & 65535 AS step, r.number, rank() OVER (ORDER BY (result->>'order')::bigint) AS place,
			child.sop_id || ' ' || child.number AS child
		FROM sopflow.tasks t JOIN r USING (run_id)
			LEFT JOIN r child ON t.result ? 'run_id' AND child.run_id = (t.result->>'run_id')::bigint)
SELECT line FROM (
	SELECT sop_id, number, -1 AS step, format('run %s %s of %s: %s %s %s', sop_id, number, subject_id, state, why, $ended) AS line FROM r
	UNION ALL
	SELECT sop_id, number, step, format('  %s %s %s %s due %s finished %s %s', step, node_id, status, coalesce(held_by, '-'),
		$due, $finished, CASE WHEN result ? 'order' THEN jsonb_build_object('order', place)
			WHEN child IS NOT NULL THEN result - 'reason' || jsonb_build_object('run_id', child) ELSE result END) FROM t) l
ORDER BY sop_id, number, step;
};
}

# Everything, for psql -XAtq: a line "valid" and the history, or the faults of
# its SOPs.
sub case_sql
{
	my ($case) = @_;
	my $ids = join(', ', map { literal($_->{id}) } @{ $case->{sops} });
	my $subjects = join(', ', map { literal($_) } @{ $case->{subjects} });
	my $sql = "\\echo case $case->{name}\nBEGIN;\n" . join('', map { sop_sql($case, $_) } @{ $case->{sops} }) . "COMMIT;\n";

	$sql .= "INSERT INTO subjects VALUES " . join(', ', map { my $row = $case->{rows}{$_};
			sprintf("('%s', %s, %s)", $_, $row->{score} // 'NULL', $row->{vip} // 'NULL') } @{ $case->{subjects} }) . ";\n";
	# those that others name first
	$sql .= "UPDATE sopflow.sop SET enabled = true WHERE sop_id = '$_->{id}' AND NOT EXISTS (SELECT FROM sopflow.validate('$_->{id}'));\n"
	  for @{ $case->{sops} };
	$sql .= "SELECT count(*) FILTER (WHERE NOT enabled) = 0 AS valid FROM sopflow.sop WHERE sop_id IN ($ids) \\gset\n\\if :valid\n\\echo valid\n";
	$sql .= step_sql($_) for @{ $case->{steps} };
	return $sql . qq{EXECUTE history(ARRAY[$subjects]);
\\else
SELECT 'fault ' || s.sop_id || ' ' || f FROM sopflow.sop s, sopflow.validate(s.sop_id) f WHERE NOT s.enabled AND s.sop_id IN ($ids);
\\endif
SELECT sopflow.cancel(s) FROM unnest(ARRAY[$subjects]) s \\g /dev/null
BEGIN;
DELETE FROM sopflow.sop_link WHERE sop_id IN ($ids);
DELETE FROM sopflow.sop WHERE sop_id IN ($ids);
COMMIT;
};
}

1;
