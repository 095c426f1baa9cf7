# A thousand changes of what rules say (a parameter, a text, a function, a column,
# a type, and some that are rolled back), each seen by the next statement of
# sessions that are open, under load; and what these sessions keep in memory
# does not grow.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $rounds = 1000;
local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
my $node = new_node('main', "sopflow.databases = ''");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE TABLE item (id int PRIMARY KEY, amount int);
	INSERT INTO item SELECT g, 0 FROM generate_series(1, 20) g;
	CREATE FUNCTION top() RETURNS int LANGUAGE sql STABLE AS 'SELECT 20';
	INSERT INTO sopflow.rule_set (rule_set, denials) VALUES ('limits', 'all'), ('plain', 'all');
	INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('limits', 'new', 'item'), ('plain', 'new', 'jsonb');
	INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES
		('limits', 'ceiling', 'int', '20'), ('plain', 'ceiling', 'int', '20');
	INSERT INTO sopflow.rule (rule_set, rule, condition, actions)
		SELECT s, r, 'new.amount > ' || limits, jsonb_build_array(jsonb_build_object('deny', 'over ' || r, 'code', c))
		FROM (VALUES ('limits'), ('plain')) s (s),
			(VALUES ('a', 'P', 'param.ceiling'), ('b', 'T', '20'), ('c', 'F', 'top()')) r (r, c, limits);
	CREATE TRIGGER enforce BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('limits');
	CREATE SEQUENCE turn;
	-- for the load: any answer is one
	CREATE FUNCTION try(i int, a int) RETURNS bool LANGUAGE plpgsql AS $$
	BEGIN
		UPDATE item SET amount = a WHERE id = i;
		RETURN true;
	EXCEPTION WHEN SQLSTATE 'SF010' THEN
		RETURN false;
	END $$;
});
my $log = -s $node->logfile;

my $file = "$PostgreSQL::Test::Utils::tmp_check/load.sql";
append_to_file($file, q{
	\set i random(3, 20)
	\set a random(1, 30)
	SELECT try(:i, :a), nextval('turn');
	SELECT codes FROM sopflow.fire('plain', jsonb_build_object('new', jsonb_build_object('amount', :a)));
	SELECT v.codes FROM item, sopflow.fire_rows('limits', item) v WHERE id = :i;
});
my ($out, $err) = ('', '');
my $load = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 2, '-T', 600, '-f', $file, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'<', \undef, '>', \$out, '2>', \$err);
END { local $?; $load->kill_kill if $load }

my $author = open_session($node);
my $fires = open_session($node);
my $writes = open_session($node);
my $stays = open_session($node);

# Toggled by the rounds.
my %is = (P => 20, T => 20, F => 20, C => 20);
my $type = 'int';

# What a round does; what it changes is told by %is and $type.
my @kinds = (
	sub {
		$is{P} = 30 - $is{P};
		return "UPDATE sopflow.rule_param SET value = '$is{P}'";
	},
	sub {
		$is{T} = 30 - $is{T};
		return "UPDATE sopflow.rule SET condition = 'new.amount > $is{T}' WHERE rule = 'b'";
	},
	sub {
		$is{F} = 30 - $is{F};
		return "CREATE OR REPLACE FUNCTION top() RETURNS int LANGUAGE sql STABLE AS 'SELECT $is{F}'";
	},
	sub {
		$is{C} = 30 - $is{C};
		return $is{C} == 10
		  ? q{BEGIN; ALTER TABLE item ADD extra int DEFAULT 15;
				INSERT INTO sopflow.rule (rule_set, rule, condition, actions)
					VALUES ('limits', 'd', 'new.extra > 10', '[{"deny": "over d", "code": "C"}]'); COMMIT}
		  : q{BEGIN; DELETE FROM sopflow.rule WHERE rule = 'd'; ALTER TABLE item DROP extra; COMMIT};
	},
	sub {
		$type = $type eq 'int' ? 'bigint' : 'int';
		return "ALTER TABLE item ALTER amount TYPE $type";
	},
	sub {
		return q{BEGIN; UPDATE sopflow.rule_param SET value = '0'; UPDATE sopflow.rule SET condition = 'new.amount > 1' WHERE rule = 'b';
			CREATE OR REPLACE FUNCTION top() RETURNS int LANGUAGE sql STABLE AS 'SELECT 2'; ROLLBACK};
	});

# Codes that an amount of 15 must be given, and the first text.
sub expected
{
	my @codes = grep { $is{$_} < 15 } @_;
	my %rule = (P => 'a', T => 'b', F => 'c', C => 'd');
	return ('{' . join(',', @codes) . '}', @codes ? "ERROR:  over $rule{ $codes[0] }" : '');
}

my %memory;
sub measure
{
	my ($round) = @_;
	for my $s ([ 'fires', $fires ], [ 'writes', $writes ], [ 'stays', $stays ])
	{
		my ($name, $session) = @$s;
		my $answer = ask($session, q{SELECT coalesce(sum(total_bytes) FILTER (WHERE name LIKE 'sopflow%'), 0),
			sum(total_bytes) FILTER (WHERE name = 'CacheMemoryContext'),
			count(*) FILTER (WHERE name = 'CachedExpression'), sum(total_bytes), count(*) FROM pg_backend_memory_contexts});
		$memory{$name}{$round} = [ split /\|/, $answer ];
		diag(sprintf 'round %d, session that %s: sopflow %d, CacheMemoryContext %d, %d cached expressions, all %d in %d contexts',
			$round, $name, @{ $memory{$name}{$round} });
	}
}

my %stale;
sub compare
{
	my ($round, $name, $got, $wanted) = @_;
	return if $got =~ $wanted;
	push @{ $stale{$name} }, "round $round: got $got, wanted $wanted";
}

ask($stays, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
for my $round (1 .. $rounds)
{
	my $answer = ask($author, $kinds[ $round % @kinds ]->());
	compare($round, 'author', $answer, qr/^$/);

	my ($codes, $error) = expected(qw(P T F C));
	my ($plain) = expected(qw(P T F));
	submit($fires, 'SELECT v.codes FROM item i, sopflow.fire_rows($$limits$$,'
		  . ($is{C} == 10 ? ' row(1, 15, 15)::item' : ' row(1, 15)::item') . ') v WHERE i.id = 1');
	submit($writes, 'UPDATE item SET amount = 15 WHERE id = 2');
	submit($stays, q{SELECT codes FROM sopflow.fire('plain', '{"new": {"amount": 15}}')});
	compare($round, 'fires', answer($fires), qr/^\Q$codes\E$/);
	compare($round, 'writes', answer($writes), $error eq '' ? qr/^$/ : qr/^\Q$error\E\n/);
	compare($round, 'stays', answer($stays), qr/^\Q$plain\E$/);

	if ($round % 100 == 0)
	{
		ask($stays, 'COMMIT');
		measure($round) if $round == 100 || $round == $rounds;
		ask($stays, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
	}
}
for my $name (qw(author fires writes stays))
{
	my @stale = @{ $stale{$name} // [] };
	is(scalar(@stale), 0, "$rounds rounds: what the session that $name was told is what is so")
	  or diag(join "\n", @stale[ 0 .. ($#stale < 4 ? $#stale : 4) ]);
}

# The table's row type grows by a dropped column every twelve rounds, nothing else.
for my $name (qw(fires writes stays))
{
	my ($first, $last) = @{ $memory{$name} }{ 100, $rounds };
	cmp_ok($first->[0], '>', 0, "the session that $name has compiled rules");
	cmp_ok($last->[0], '<=', $first->[0] * 1.25 + 16384, "they do not grow");
	cmp_ok($last->[1], '<=', $first->[1] * 1.25 + 65536, "nor does the memory for caches");
	cmp_ok($last->[2], '<=', $first->[2], "nor are there more cached expressions");
	cmp_ok($last->[3], '<=', $first->[3] * 1.25 + 262144, "nor does the session as a whole");
}

ok($load->pumpable, 'the load has been running all the time');
$load->kill_kill;
unlike($err, qr/ERROR|aborted/, 'without an error');
my $turns = $node->safe_psql('postgres', 'SELECT last_value FROM turn');
cmp_ok($turns, '>', $rounds, "and made $turns turns");
close_session($_) foreach ($author, $fires, $writes, $stays);
is_deeply([ grep { !/ERROR:  over [abcd]/ && !/unexpected EOF|connection to client|onnection reset/ } log_lines($node, $log) ],
	[], 'nothing but denials is in the log');

$node->stop;
done_testing();
