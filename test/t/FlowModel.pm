# A small model of the flow engine, written from its documented rules and not
# from its code: SOPs, runs, tasks, events and a clock, in memory.
#
# Times are whole seconds from an arbitrary start; undef is infinity.  An SOP is
#   { id, trigger, delay_from, reentry, exits => [], max_steps, calendar, nodes => [], links => [] }
# a node { id, type, delay, action, next, otherwise, condition, wait_event, sop_ref,
# on_failure }, a link { from, to, condition }, and a condition { sql, value },
# whose value is a function of the facts that gives 1, 0 or undef.  A calendar is
# a function that tells of a day, counted from the start, from which second to
# which one it is open, or nothing.

package FlowModel;

use strict;
use warnings;

use POSIX ();

# actions: name => { attempts, fails, backoff, ordered }: so many attempts at
# most, of which the first few fail; ordered: the result is its place in the
# order of all such results
sub new
{
	my ($class, %actions) = @_;
	return bless {
		now => 0, sops => {}, runs => [], actions => \%actions, subjects => {}, ordered => 0
	}, $class;
}

sub define
{
	my ($self, $sop) = @_;
	my %graph = (sop => $sop, nodes => {}, out => {}, into => {});
	my @links = @{ $sop->{links} };

	$graph{nodes}{ $_->{id} } = $_ for @{ $sop->{nodes} };
	$graph{parallel} = !@links
	  && !grep { $_->{type} ne 'delay' || defined $_->{next} || defined $_->{otherwise} } @{ $sop->{nodes} };
	for my $node (@{ $sop->{nodes} })
	{
		push @{ $graph{out}{ $node->{id} } }, grep { defined } @$node{qw(next otherwise)};
	}
	push @{ $graph{out}{ $_->{from} } }, $_->{to} for @links;
	for my $from (keys %{ $graph{out} })
	{
		$graph{into}{$_}++ for @{ $graph{out}{$from} };
	}
	$graph{reach} = { map { $_ => _reachable(\%graph, $_) } keys %{ $graph{nodes} } };
	$self->{sops}{ $sop->{id} } = \%graph;
	return;
}

# the nodes at the end of paths of one edge or more
sub _reachable
{
	my ($graph, $from) = @_;
	my %seen;
	my @todo = @{ $graph->{out}{$from} // [] };

	while (defined(my $node = shift @todo))
	{
		push @todo, @{ $graph->{out}{$node} // [] } unless $seen{$node}++;
	}
	return \%seen;
}

# --- runs ---

sub _start
{
	my ($self, $sop_id, $subject, $event_at, $context, $parent) = @_;
	my $graph = $self->{sops}{$sop_id};
	my $sop = $graph->{sop};
	# runs that are nodes of others stand in nobody's way
	my @active = grep { $_->{state} eq 'active' && $_->{graph} == $graph && $_->{subject} eq $subject && !$_->{parent} } @{ $self->{runs} };

	if (@active && !$parent && $sop->{reentry} ne 'allow')
	{
		return if $sop->{reentry} eq 'ignore';
		$self->_end($_, 'cancelled', 'restarted') for @active;
	}
	my $run = {
		graph => $graph, sop => $sop_id, subject => $subject, event_at => $event_at, began => $self->{now},
		context => $context, state => 'active', tasks => [], events => {}, parent => $parent, parkings => 0
	};
	push @{ $self->{runs} }, $run;
	$run->{number} = grep { $_->{sop} eq $sop_id } @{ $self->{runs} };
	my @first = $graph->{parallel} ? @{ $sop->{nodes} } : ($sop->{nodes}[0]);
	for my $node (@first)
	{
		my $task = $self->_write($run, $node) or last;
		$self->_reach($run, $task, $event_at);
	}
	$self->_go_on($run, $self->{now});
	return $run;
}

# a new task, or undef where that is one too many
sub _write
{
	my ($self, $run, $node) = @_;

	if (@{ $run->{tasks} } >= $run->{graph}{sop}{max_steps})
	{
		$self->_end($run, 'failed', 'max_steps');
		return;
	}
	my $task = { step => scalar @{ $run->{tasks} }, node => $node, status => 'pending', attempt => 0, held => '' };
	push @{ $run->{tasks} }, $task;
	return $task;
}

# the node is reached at a time: when it is due, and whether it need not wait
sub _reach
{
	my ($self, $run, $task, $at) = @_;
	my $node = $task->{node};
	my $base = $run->{graph}{sop}{delay_from} eq 'event' ? $run->{event_at} : $at;

	$task->{held} = '';
	$task->{due} = $base + $node->{delay};
	$task->{due} = $self->_opening($run, $task->{due}) if defined $node->{action};
	return if $node->{type} ne 'wait';
	$task->{due} = undef if $node->{delay} == 0;
	my $arrival = $run->{events}{ $node->{wait_event} };
	# it came before: there is nothing to wait for
	@$task{qw(arrival due)} = ($arrival, $at) if $arrival && !$arrival->{answered}{ $node->{id} }++;
	return;
}

# the first time from one on at which an action may be carried out
sub _opening
{
	my ($self, $run, $time) = @_;
	my $calendar = $run->{graph}{sop}{calendar} or return $time;

	for (my $day = POSIX::floor($time / 86400);; $day++)
	{
		my ($opens, $closes) = map { $day * 86400 + $_ } $calendar->($day) or next;
		return $time > $opens ? $time : $opens if $time < $closes;
	}
}

sub _place
{
	my ($self, $run, $node_id, $at) = @_;
	my $node = $run->{graph}{nodes}{$node_id};

	return if $run->{state} ne 'active';
	return $self->_end($run, 'completed', undef) if $node->{type} eq 'end';
	if (($run->{graph}{into}{$node_id} // 0) > 1)
	{
		return if grep { $_->{held} eq 'join' && $_->{node} == $node } _open($run);
		my $task = $self->_write($run, $node) or return;
		$task->{held} = 'join';
		$task->{parked} = $run->{parkings}++;
		return;
	}
	my $task = $self->_write($run, $node) or return;
	$self->_reach($run, $task, $at);
	return;
}

sub _open
{
	my ($run) = @_;
	return grep { $_->{status} eq 'pending' } @{ $run->{tasks} };
}

# Everything that follows is placed: let go what is parked, and end the run that
# has no token.
sub _go_on
{
	my ($self, $run, $at) = @_;

	return if $run->{state} ne 'active';
	$self->_release($run, $at);
	$self->_end($run, 'completed', undef) if !_open($run);
	return;
}

sub _release
{
	my ($self, $run, $at) = @_;
	my $reach = $run->{graph}{reach};
	my @open = _open($run);
	my @parked = sort { $a->{parked} <=> $b->{parked} } grep { $_->{held} eq 'join' } @open;
	my @free;

	for my $task (@parked)
	{
		push @free, $task unless grep { $_ != $task && $reach->{ $_->{node}{id} }{ $task->{node}{id} } } @open;
	}
	@free = ($parked[0]) if @parked == @open && @parked && !@free;
	$self->_reach($run, $_, $at) for @free;
	return;
}

sub _end
{
	my ($self, $run, $state, $reason) = @_;

	return if $run->{state} ne 'active';
	@$run{qw(state reason ended)} = ($state, $reason, $self->{now});
	my @children = map { $_->{child} } grep { $_->{child} } _open($run);
	@$_{qw(status finished)} = ('cancelled', $self->{now}) for _open($run);
	$self->_end($_, 'cancelled', 'parent') for @children;
	# the node that it was is over as soon as dispatch comes to it
	@{ $run->{parent}[1] }{qw(over over_at)} = ($run, $self->{now}) if $run->{parent};
	return;
}

# --- carrying out ---

sub _done
{
	my ($self, $run, $task, $result) = @_;
	@$task{qw(status finished result held)} = ('done', $self->{now}, $result, '');
	return;
}

sub _facts
{
	my ($self, $run) = @_;
	return {
		event => $run->{context}, subject => $self->{subjects}{ $run->{subject} } // {},
		run => { subject_id => $run->{subject}, event_at => $run->{event_at}, started_at => $run->{began}, sop_id => $run->{sop},
			events => { map { $_ => $run->{events}{$_}{context} } keys %{ $run->{events} } } }
	};
}

sub _holds
{
	my ($self, $run, $condition) = @_;
	return !defined $condition ? 1 : $condition->{value}->($self->_facts($run));
}

# what follows a delay or sop node
sub _follow
{
	my ($self, $run, $node, $at) = @_;
	my @links = grep { $_->{from} eq $node->{id} } @{ $run->{graph}{sop}{links} };
	my @to = map { $_->{to} } grep { $self->_holds($run, $_->{condition}) } @links;

	@to = ($node->{next}) if !@links && defined $node->{next};
	@to = ($node->{otherwise}) if !@to && defined $node->{otherwise};
	$self->_place($run, $_, $at) for @to;
	return;
}

sub _dead
{
	my ($self, $run, $task) = @_;

	@$task{qw(status finished held)} = ('dead', $self->{now}, '');
	return $self->_end($run, 'failed', "node $task->{node}{id}") if $task->{node}{on_failure} eq 'stop';
	$self->_follow($run, $task->{node}, $self->{now});
	return;
}

sub _carry_out
{
	my ($self, $run, $task) = @_;
	my $node = $task->{node};
	my $how = $task->{over} ? '_child_over' : "_carry_out_$node->{type}";

	$self->$how($run, $task, $node);
	$self->_go_on($run, $self->{now});
	return;
}

sub _carry_out_delay
{
	my ($self, $run, $task, $node) = @_;
	my $action = defined $node->{action} ? $self->{actions}{ $node->{action} } : {};

	if (defined $node->{action})
	{
		# late, and closed by now
		my $opening = $self->_opening($run, $self->{now});
		return $task->{due} = $opening if $opening > $self->{now};
	}
	if (++$task->{attempt} <= ($action->{fails} // 0))
	{
		return $self->_dead($run, $task) if $task->{attempt} >= $action->{attempts};
		$task->{due} = $self->{now} + $action->{backoff};
		return;
	}
	$self->_done($run, $task, $action->{ordered} ? { order => ++$self->{ordered} } : undef);
	$self->_follow($run, $node, $self->{now});
	return;
}

sub _carry_out_condition
{
	my ($self, $run, $task, $node) = @_;
	my @links = grep { $_->{from} eq $node->{id} } @{ $run->{graph}{sop}{links} };
	my $to;

	if (@links)
	{
		my ($link) = grep { $self->_holds($run, $_->{condition}) } @links;
		$to = $link ? $link->{to} : $node->{otherwise};
		$self->_done($run, $task, { to => $to });
	}
	else
	{
		my $value = $self->_holds($run, $node->{condition});
		$to = $value ? $node->{next} : $node->{otherwise};
		$self->_done($run, $task, { condition => defined $value ? ($value ? 'true' : 'false') : undef });
	}
	$self->_place($run, $to, $self->{now}) if defined $to;
	return;
}

sub _carry_out_wait
{
	my ($self, $run, $task, $node) = @_;

	return $self->_answer($run, $task, $task->{arrival}, $self->{now}) if $task->{arrival};
	$self->_done($run, $task, { event => undef });
	$self->_place($run, $node->{otherwise}, $self->{now}) if defined $node->{otherwise};
	return;
}

sub _answer
{
	my ($self, $run, $task, $arrival, $at) = @_;
	my $node = $task->{node};

	$self->_done($run, $task, { event => $node->{wait_event}, context => $arrival->{context} });
	$self->_place($run, $node->{next}, $at) if defined $node->{next};
	return;
}

sub _carry_out_sop
{
	my ($self, $run, $task, $node) = @_;

	$task->{held} = 'child';
	$task->{child} = $self->_start($node->{sop_ref}, $run->{subject}, $self->{now}, $run->{context}, [ $run, $task ]);
	return;
}

sub _child_over
{
	my ($self, $run, $task, $node) = @_;
	my $child = $task->{over};

	return $self->_dead($run, $task) if $child->{state} eq 'failed';
	$self->_done($run, $task, { run_id => "$child->{sop} $child->{number}", state => $child->{state} });
	$self->_follow($run, $node, $self->{now});
	return;
}

# When dispatch comes to a task: when it is due, or when the run that it waits for
# is over; undef: not by itself.
sub _comes
{
	my ($task) = @_;
	return $task->{over} ? $task->{over_at} : $task->{held} eq '' ? $task->{due} : undef;
}

# --- what comes from outside ---

# One call of run_due(): passes, each of which takes what is due when it begins.
sub run_due
{
	my ($self) = @_;
	for (;;)
	{
		my @due;
		for my $run (grep { $_->{state} eq 'active' } @{ $self->{runs} })
		{
			push @due, map { [ $run, $_ ] }
			  grep { defined _comes($_) && _comes($_) <= $self->{now} } _open($run);
		}
		last unless @due;
		# of one time in the order of the runs, then of the steps
		for my $item (sort { _comes($a->[1]) <=> _comes($b->[1]) } @due)
		{
			my ($run, $task) = @$item;
			$self->_carry_out($run, $task)
			  if $run->{state} eq 'active' && defined _comes($task) && $task->{status} eq 'pending';
		}
	}
	return;
}

sub emit
{
	my ($self, $event, $subject, $context, $at) = @_;
	my @runs = grep { $_->{subject} eq $subject && $_->{state} eq 'active' } @{ $self->{runs} };

	for my $run (@runs)
	{
		$self->_end($run, 'exited', "event $event") if grep { $_ eq $event } @{ $run->{graph}{sop}{exits} };
	}
	@runs = grep { $_->{subject} eq $subject && $_->{state} eq 'active' } @{ $self->{runs} };
	for my $run (@runs)
	{
		next if $run->{state} ne 'active' || !grep { $_->{type} eq 'wait' && $_->{wait_event} eq $event } @{ $run->{graph}{sop}{nodes} };
		my @waiting = grep { $_->{held} eq '' && $_->{node}{type} eq 'wait' && $_->{node}{wait_event} eq $event
			  && !$_->{arrival} && (!defined $_->{due} || $at < $_->{due}) } _open($run);

		my $arrival = $run->{events}{$event} = { context => $context, answered => { map { $_->{node}{id} => 1 } @waiting } };
		# those that one before it answered, and that dispatch has not come to yet
		for my $task (grep { $_->{arrival} && $_->{node}{wait_event} eq $event } _open($run))
		{
			$task->{arrival} = $arrival;
			$arrival->{answered}{ $task->{node}{id} } = 1;
		}
		for my $task (@waiting)
		{
			next if $run->{state} ne 'active' || $task->{status} ne 'pending';
			$self->_answer($run, $task, $arrival, $at);
			$self->_go_on($run, $at);
		}
	}
	for my $sop_id (sort keys %{ $self->{sops} })
	{
		$self->_start($sop_id, $subject, $at, $context) if ($self->{sops}{$sop_id}{sop}{trigger} // '') eq $event;
	}
	return;
}

# the next time at which something is due, or undef
sub next_due
{
	my ($self) = @_;
	my ($next) = sort { $a <=> $b } grep { defined }
	  map { _comes($_) }
	  map { _open($_) } grep { $_->{state} eq 'active' } @{ $self->{runs} };
	return $next;
}

sub is_busy
{
	my ($self) = @_;
	return grep { $_->{state} eq 'active' } @{ $self->{runs} };
}

# --- what has come of it, as lines of text ---

sub _text
{
	my ($value) = @_;
	return !defined $value ? 'null' : !ref $value ? $value
	  : '{' . join(', ', map { "$_: " . _text($value->{$_}) } sort keys %$value) . '}';
}

sub history
{
	my ($self) = @_;
	my @lines;

	for my $run (sort { $a->{sop} cmp $b->{sop} || $a->{number} <=> $b->{number} } @{ $self->{runs} })
	{
		push @lines, join ' ', "run $run->{sop} $run->{number} of $run->{subject}:", $run->{state}, $run->{reason} // '-',
		  $run->{ended} // '-';
		for my $task (@{ $run->{tasks} })
		{
			push @lines, join ' ', "  $task->{step}", $task->{node}{id}, $task->{status}, $task->{status} eq 'pending' && $task->{held} || '-',
			  # what was parked has no due time to speak of
			  'due', exists $task->{due} ? $task->{due} // 'infinity' : '-',
			  'finished', $task->{finished} // '-', _text($task->{result});
		}
	}
	return @lines;
}

1;
