# The index over rules changes nothing but the time that a firing takes: random
# rule sets over random facts give one verdict, or one error, with it and
# without it.  A hook before_evaluate that lets every rule pass switches it off.
# SOPFLOW_SEED repeats a run, SOPFLOW_SETS makes it longer.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowLife;
use Test::More;

my $seed = $ENV{SOPFLOW_SEED} // 20260302;
my $nsets = $ENV{SOPFLOW_SETS} // 60;
my $nfacts = 60;
srand($seed);
note("SOPFLOW_SEED=$seed");

my $node = new_node('main', "sopflow.databases = ''");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	CREATE TYPE mood AS ENUM ('a', 'b', 'c');
	CREATE DOMAIN word AS text;
	CREATE DOMAIN small AS int2;
	CREATE TABLE things (i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(9, 2),
		t text, v varchar(20), c char(5), ci text, m mood, w word, s small, d date, b bool, u uuid,
		o oid, nm name, ts timestamptz);
	CREATE FUNCTION always(sopflow.rule_event) RETURNS bool LANGUAGE sql IMMUTABLE RETURN true;

	-- what comes of a firing, without the name of the set
	CREATE FUNCTION outcome(rule_set text, facts jsonb) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		state text;
		message text;
		detail text;
	BEGIN
		RETURN replace(sopflow.fire(rule_set, facts)::text, rule_set, '');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
		RETURN replace(concat_ws(' ', state, message, detail), rule_set, '');
	END $$;
	ALTER FUNCTION outcome SET client_min_messages = error;
});
# equality that takes different texts for the same
my $any_case = $node->psql('postgres', q{
	CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	ALTER TABLE things ALTER ci TYPE text COLLATE any_case;
}) == 0;
my $citext = $node->psql('postgres', 'CREATE EXTENSION citext; ALTER TABLE things ADD ct citext') == 0;

sub pick { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }

my @texts = ('a', 'A', 'a ', 'b', '', 'abc');
my @ints = (0 .. 5, -1, 70000, 3000000000);
my @floats = ('0', '-0', '1', '1.5', 'NaN', 'Infinity');
my @numerics = ('1', '1.0', '1.00', '0', '-0.0', '2.5', 'NaN');
my @uuids = map { sprintf('00000000-0000-0000-0000-%012d', $_) } 1 .. 3;
my @days = map { "2026-03-0$_" } 1 .. 4;

sub quoted { return "'$_[0]'"; }

# an expression to compare, and constants for it
sub operand
{
	my @all = (
		[ 'x.i2', @ints ], [ 'x.i4', @ints ], [ 'x.i8', @ints ], [ 'x.i4', map { "${_}::int8" } @ints ],
		[ 'x.i8', map { "${_}::int2" } 0 .. 5 ], [ 'x.s', 0 .. 5 ], [ 'x.o', 0 .. 5 ],
		[ 'x.i4::oid', 0 .. 5, 4294967295 ], [ 'x.i2::int8', @ints ],
		[ 'x.f8', map { "'$_'::float8" } @floats ], [ 'x.f4', map { "'$_'::float4" } @floats ],
		[ 'x.f4', map { "'$_'::float8" } @floats ],
		[ 'x.n', map { "'$_'::numeric" } @numerics ], [ 'x.n2', @ints ],
		[ 'x.t', map { quoted($_) } @texts ], [ 'x.v', map { quoted($_) } @texts ],
		[ 'x.c', map { quoted($_) } @texts ], ([ 'x.t::bpchar', map { quoted($_) . '::bpchar' } @texts ]) x 4,
		[ 'x.c::text', map { quoted($_) } @texts ], [ 'x.v::text COLLATE "C"', map { quoted($_) } @texts ],
		[ 'x.w', map { quoted($_) } @texts ], [ 'x.w::varchar', map { quoted($_) } @texts ],
		[ 'x.nm', map { quoted($_) } @texts ], [ 'x.ci', map { quoted($_) } @texts ],
		[ 'x.ci COLLATE "C"', map { quoted($_) } @texts ],
		[ 'x.m', map { quoted($_) } 'a' .. 'c' ], [ 'x.d', map { quoted($_) } @days ],
		[ 'x.ts', map { quoted($_) } @days ], [ 'x.b', 'true', 'false' ],
		[ 'x.u', map { quoted($_) } @uuids ],
		# the keys of a jsonb fact, in the types that they are given and in others
		([ 'j.k', map { quoted($_) } @texts ]) x 3, ([ 'j.l', 0 .. 5 ]) x 2,
		[ 'j.l::int', 0 .. 5 ], [ 'j.k::bpchar', map { quoted($_) } @texts ],
		[ 'j.q.z', map { quoted($_) } @texts ], [ 'j.f', 'true', 'false' ], [ 'j.day::date', map { quoted($_) } @days ],
		([ 'lax.k', map { quoted($_) } @texts ]) x 2, [ 'lax.l::int', 0 .. 5 ],
		[ 'p', map { quoted($_) } @texts ], [ 'param.p', map { quoted($_) } @texts ]);

	push @all, [ 'x.t COLLATE any_case', map { quoted($_) } @texts ] if $any_case;
	push @all, ([ 'x.ct', map { quoted($_) } @texts ], [ 'x.t::citext', map { quoted($_) } @texts ]) if $citext;
	return @{ pick(@all) };
}

# few operands a set, so that many rules share them
my @operands;

sub test
{
	my ($expression, @constants) = @{ pick(@operands) };
	my $kind = rand();
	my $constant = pick(@constants);

	return "$expression = $constant" if $kind < 0.6;
	return "$constant = $expression" if $kind < 0.7;
	return "$expression IN (" . join(', ', map { pick(@constants, 'NULL') } 1 .. 1 + rand 4) . ')' if $kind < 0.85;
	return "$expression IS NOT DISTINCT FROM $constant" if $kind < 0.87;
	return pick('x.i4 > 1', '10 / x.i4 > 2', 'j.l > 1', 'j.k IS NOT NULL', 'x.t IS NULL', 'lax.l > 1',
		'NOT x.b', '1 / (x.i8 - 3) < 1', 'x.i4 = x.i8', 'j.l = x.i4', 'j IS NOT NULL', 'true');
}

sub condition
{
	return join(' AND ', map { test() } 1 .. 1 + rand 3);
}

sub assignment
{
	return pick(
		'"x.i4": "x.i4 + 1"', '"x.i4": "3"', '"x.i2": "2"', '"x.i8": "NULL"', '"x.t": "\'a\'"', '"x.c": "\'a\'"',
		'"x.v": "x.t"', '"x.f8": "-x.f8"', '"x.w": "\'b\'"', '"x.m": "\'b\'"', '"x.b": "NOT x.b"', '"x.s": "1"',
		'"x.d": "x.d + 1"', '"x.n": "1.00"', '"j.k": "\'a\'"', '"j.k": "1"', '"j.l": "2"', '"j.l": "\'word\'"',
		'"j.l": "NULL"', '"j.q": "\'{}\'::jsonb"', '"j": "\'{}\'::jsonb"', '"j": "NULL"', '"lax.k": "\'a\'"',
		'"lax": "\'{\"k\": \"b\"}\'::jsonb"', '"lax.l": "x.i4"', '"p": "\'a\'"');
}

sub actions
{
	my @actions;

	push @actions, '{"set": {' . assignment() . '}}' if chance(0.5);
	push @actions, '{"message": "{{x.i4}} {{j}}"}' if chance(0.5);
	push @actions, '{"result": {"r": "{{x.i4|none}}"}}' if chance(0.3);
	push @actions, '{"deny": "no"}' if chance(0.1);
	return '[' . join(', ', @actions) . ']';
}

sub literal
{
	my ($text) = @_;

	$text =~ s/'/''/g;
	return "'$text'";
}

sub make_set
{
	my ($number) = @_;
	my $nrules = 20 + int rand 40;
	my %groups = map { $_ => pick('unit', 'activation', 'unit') } grep { chance(0.3) } qw(g h);
	my $flags = join(', ', map { chance(0.2) ? 'true' : 'false' } 1 .. 3) . ', ' .
		join(', ', map { literal(pick(@$_)) } [ 'asc', 'desc', 'seq' ], [ 'first', 'all' ], [ 'abort', 'false', 'false' ], [ 'off', 'fired' ]);
	my @rules;

	@operands = map { [ operand() ] } 1 .. 1 + rand 4;
	for my $i (1 .. $nrules)
	{
		my $group = chance(0.15) ? pick(keys %groups, undef) : undef;

		push @rules, sprintf("('r%02d', %d, %s, %s, %s)", $i, rand 20, literal(condition()), literal(actions()),
			defined $group ? literal($group) : 'NULL::text');
	}
	my $sql = '';
	for my $set ("set_$number", "all_$number")
	{
		my $hook = $set =~ /^all/ ? "'always'" : 'NULL';

		$sql .= "BEGIN;
			INSERT INTO sopflow.rule_set (rule_set, skip_on_first_applied, skip_on_first_failed, inference, enabled,
				order_by, denials, on_error, trace, max_steps, before_evaluate)
				SELECT '$set', a, f, i, true, o, d, e, t, 60, $hook FROM (VALUES ($flags)) f(a, f, i, o, d, e, t);
			INSERT INTO sopflow.rule_fact (rule_set, fact, type, seq, missing) VALUES ('$set', 'x', 'things', 1, 'error'),
				('$set', 'j', 'jsonb', 2, 'error'), ('$set', 'lax', 'jsonb', 3, 'null'), ('$set', 'p', 'varchar', 4, 'error');
			INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('$set', 'p', 'text', 'a');\n";
		$sql .= "INSERT INTO sopflow.rule_group (rule_set, rule_group, kind, priority) VALUES ('$set', '$_', '$groups{$_}', 5);\n"
			for sort keys %groups;
		$sql .= "INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions, rule_group)
				SELECT '$set', rule, priority, condition, actions::jsonb, rule_group
				FROM (VALUES " . join(",\n", @rules) . ") r(rule, priority, condition, actions, rule_group);
			COMMIT;\n";
	}
	return $sql;
}

sub json_object
{
	return '{' . join(', ', map { my ($key, $value) = @$_; "\"$key\": $value" } @_) . '}';
}

sub json_string { return "\"$_[0]\""; }

sub json_fact
{
	my ($missing) = @_;
	my @keys = ([ 'k', json_string(pick(@texts)) ], [ 'l', int rand 6 ], [ 'f', pick('true', 'false') ],
		[ 'q', pick('{}', 'null', '{"z": "a"}', '{"z": "b"}', '{"z": 1}') ], [ 'day', json_string(pick(@days)) ]);

	$_->[1] = pick('null', '"word"', '3', '1.5', '[]') for grep { chance(0.05) } @keys;
	return json_object(grep { !chance($missing) } @keys);
}

sub facts
{
	my @columns = (
		[ i2 => int rand 6 ], [ i4 => pick(0 .. 5, -1, 70000) ], [ i8 => pick(@ints) ],
		[ f4 => json_string(pick(@floats)) ], [ f8 => json_string(pick(@floats)) ],
		[ n => json_string(pick(@numerics)) ], [ n2 => int rand 6 ], [ t => json_string(pick(@texts)) ],
		[ v => json_string(pick(@texts)) ], [ c => json_string(pick(@texts)) ], [ ci => json_string(pick(@texts)) ],
		[ m => json_string(pick('a' .. 'c')) ], [ w => json_string(pick(@texts)) ], [ s => int rand 6 ],
		[ d => json_string(pick(@days)) ], [ b => pick('true', 'false') ], [ u => json_string(pick(@uuids)) ],
		[ o => int rand 6 ], [ nm => json_string(pick(@texts)) ], [ ts => json_string(pick(@days)) ]);
	my @facts;

	push @columns, [ ct => json_string(pick(@texts)) ] if $citext;
	push @facts, [ x => json_object(grep { !chance(0.1) } @columns) ] unless chance(0.02);
	push @facts, [ j => json_fact(pick(0, 0, 0.1)) ] unless chance(0.02);
	push @facts, [ lax => json_fact(0.3) ] unless chance(0.02);
	push @facts, [ p => pick('null', map { json_string($_) } @texts) ] unless chance(0.02);
	return json_object(@facts);
}

my $ndifferent = 0;
my $nindexed = 0;
my $nfired = 0;
for my $number (1 .. $nsets)
{
	my $sql = make_set($number);
	my ($rc, $out, $err) = $node->psql('postgres', $sql, on_error_stop => 1);

	if ($rc != 0)
	{
		# two members of a group that cannot be, and such
		BAIL_OUT("$err\n$sql") unless $err =~ /is not valid/;
		note($err);
		next;
	}
	my $values = join(",\n", map { '(' . literal(facts()) . ')' } 1 .. $nfacts);
	$nindexed++ if $node->safe_psql('postgres', "SELECT count(*) FROM sopflow.explain('set_$number') e WHERE e = 'index'");
	($rc, $out, $err) = $node->psql('postgres',
		"SELECT f, a, b FROM (SELECT f, outcome('set_$number', f::jsonb) AS a, outcome('all_$number', f::jsonb) AS b
			FROM (VALUES $values) v(f)) o WHERE a IS DISTINCT FROM b LIMIT 1");
	is("$rc$out$err", '0', "set $number gives the same with the index and without");
	$nfired += $node->safe_psql('postgres', "SELECT count(*) FROM (VALUES $values) v(f) WHERE outcome('set_$number', f::jsonb) ~ '[{,]r[0-9]+[,}]'");
	if ($out ne '' && $ndifferent++ == 0)
	{
		my ($rules) = $sql =~ /^(.*?COMMIT;)/s;
		diag($rules);
	}
	$node->safe_psql('postgres', "DELETE FROM sopflow.rule_set WHERE rule_set IN ('set_$number', 'all_$number')");
}
cmp_ok($nindexed, '>', $nsets / 2, "most sets had an index ($nindexed of $nsets)");
cmp_ok($nfired, '>', $nsets * 5, "rules fired ($nfired times)");
$node->stop;
done_testing();
