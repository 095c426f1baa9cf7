# sopflow load --watch: what is written into a file is in force for the next
# client and not for those who are on their way; a fault changes nothing and
# says where; lost connections and directories come back.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SopflowClient;
use SopflowLife;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', "sopflow.databases = 'none_of_these'");
$node->start;
use_node($node);
$node->safe_psql('postgres', q{
	CREATE EXTENSION sopflow;
	INSERT INTO sopflow.action (action) SELECT unnest('{SEND_GREETING,PUSH_CASE,SEND_REG_LINK,FOLLOW_UP}'::text[]);
});

sub start_run
{
	my ($subject) = @_;
	$node->safe_psql('postgres', "SELECT sopflow.start('customer_care_sop', '$subject', '{}', '2030-01-01 00:00:00+00')");
	return;
}

# Hours from the event to the first task.
sub delay_of
{
	my ($subject) = @_;
	return $node->safe_psql('postgres', "SELECT extract(epoch FROM t.due_at - r.event_at)::int / 3600
		FROM sopflow.tasks t JOIN sopflow.runs r USING (run_id) WHERE t.subject_id = '$subject'");
}

sub versions
{
	return $node->safe_psql('postgres', "SELECT count(*) FROM sopflow.sop_version WHERE sop_id = 'customer_care_sop'");
}

mkdir "$dir/a" or die;
mkdir "$dir/b" or die;
my $care = file_with("$dir/a/care_sop.yml", care_sop());
my $second = file_with("$dir/b/second.yml", "id: second\nnodes: [{id: a, delay: 1h, action: PUSH_CASE}]\n");
my $watch = start_client('load', '--watch', $care, $second);
wait_output($watch, 'err', qr/2 created, 0 changed.*watching 2 files\n/s, 'all files are loaded first');
start_run('first');
is(delay_of('first'), '24', 'the delay of the file');

# An editor that writes a new file and puts it in place of the old one.
file_with($care, care_sop() =~ s/"24h"/"12h"/r);
wait_output($watch, 'err', qr/0 created, 1 changed, 0 unchanged\n/, 'a new file in its place is loaded');
start_run('second');
is(delay_of('second'), '12', 'the new delay is in force for the next client');
is(delay_of('first'), '24', 'and not for the one who is on the way');
$node->safe_psql('postgres', q{SET sopflow.clock = '2030-01-02 00:00:00+00';
	SELECT sopflow.ack(w.task_id, w.lease_token) FROM sopflow.fetch('{SEND_GREETING}') w});
is($node->safe_psql('postgres', q{SELECT string_agg(subject_id || ' ' || version, ', ' ORDER BY run_id) FROM sopflow.runs}),
	'first 1, second 2', 'each run keeps its version');

# A broken edit.
my $before = versions();
file_with($care, care_sop() =~ s/"24h"/"6h"/r =~ s/next: "node3"/next: "node33"/r);
wait_output($watch, 'err', qr/\A.*\Q$care\E:18: error: .*node33.*\n/, 'a node that is missing is named with file and line');
file_with($care, care_sop() =~ s/"24h"/"6h"/r =~ s/delay: "72h"/delay: "72h/r);
wait_output($watch, 'err', qr/\Q$care\E:\d+: error: .*\n/, 'so is bad syntax');
file_with($care, care_sop() =~ s/"24h"/"6h"/r =~ s/delay: "72h"/dealy: "72h"/r);
wait_output($watch, 'err', qr/\Q$care\E:14: error: unknown key "dealy".*\n/, 'and an unknown key');
is(versions(), $before, 'nothing was changed by these');
start_run('third');
is(delay_of('third'), '12', 'the last good version is in force');

# Written in place, as by a shell.
append_to_file($second, "---\nid: third\nnodes: [{id: a, delay: 2h, action: PUSH_CASE}]\n");
wait_output($watch, 'err', qr/1 created, 0 changed, 1 unchanged\n/, 'what is appended is loaded');
file_with($care, care_sop() =~ s/"24h"/"6h"/r);
wait_output($watch, 'err', qr/0 created, 1 changed/, 'the broken file is repaired');
start_run('fourth');
is(delay_of('fourth'), '6', 'the repaired file is in force');
$before = versions();
file_with($care, care_sop() =~ s/"24h"/"6h"/r =~ s/^#.*$/# another comment/mr);
wait_output($watch, 'err', qr/0 created, 0 changed, 1 unchanged\n/, 'a comment is a change of the file');
is(versions(), $before, 'and not of the SOP');

# A file that goes and comes back, then its whole directory.
unlink $care or die;
wait_output($watch, 'err', qr/could not read "\Q$care\E": No such file or directory; what it defined stays\n/, 'a file that is gone is told of');
file_with($care, care_sop() =~ s/"24h"/"5h"/r);
wait_output($watch, 'err', qr/0 created, 1 changed/, 'and loaded when it is back');
rename "$dir/a", "$dir/c" or die;
mkdir "$dir/a" or die;
file_with($care, care_sop() =~ s/"24h"/"4h"/r);
wait_output($watch, 'err', qr/0 created, 1 changed/, 'a directory in the place of another is watched');
start_run('fifth');
is(delay_of('fifth'), '4', 'with the file in it');

# A deployment that switches a symbolic link.
mkdir "$dir/$_" or die for qw(v1 v2 live);
file_with("$dir/v1/sop.yml", "id: linked\nnodes: [{id: a, delay: 1h, action: PUSH_CASE}]\n");
file_with("$dir/v2/sop.yml", "id: linked\nnodes: [{id: a, delay: 2h, action: PUSH_CASE}]\n");
symlink "$dir/v1", "$dir/live/data" or die;
symlink 'data/sop.yml', "$dir/live/sop.yml" or die;
my $linked = start_client('load', '--watch', "$dir/live/sop.yml");
wait_output($linked, 'err', qr/1 created.*watching 1 file\n/s, 'a link is followed');
symlink "$dir/v2", "$dir/live/data.new" or die;
rename "$dir/live/data.new", "$dir/live/data" or die;
wait_output($linked, 'err', qr/0 created, 1 changed/, 'a link that is switched is a change');
is(stop_client($linked, 'INT'), 0, 'SIGINT ends it with 0');

# A restart of the server, and a change in the meantime.
$node->stop('immediate');
wait_output($watch, 'err', qr/the connection is lost/, 'a lost connection is told of');
file_with($care, care_sop() =~ s/"24h"/"3h"/r);
$node->start;
wait_output($watch, 'err', qr/connected again\n.*0 created, 1 changed/s, 'it connects again and loads what has changed');
start_run('sixth');
is(delay_of('sixth'), '3', 'which is in force');
is(stop_client($watch), 0, 'SIGTERM ends it with 0');

# Files that are broken from the beginning, and no directory.
file_with($care, "id: [\n");
file_with($second, "id: second\nnodes: [{id: a, delay: 5h, action: PUSH_CASE}]\n");
file_with("$dir/b/bad.yml", "id: bad\nnodes: [{id: a, action: NONE}]\n");
$watch = start_client('load', '--watch', $care, "$dir/none/x.yml", $second, "$dir/b/bad.yml");
wait_output($watch, 'err', qr/care_sop\.yml:2: error: .*could not read "\Q$dir\E\/none\/x\.yml": No such file.*loading the files one by one\n.*0 created, 1 changed.*bad\.yml:2: error: .*watching 4 files\n/s,
	'what is good is loaded, for the rest it waits');
is(versions(), $node->safe_psql('postgres', "SELECT max(version) FROM sopflow.sop_version WHERE sop_id = 'customer_care_sop'"), 'nothing was loaded');
mkdir "$dir/none" or die;
file_with("$dir/none/x.yml", "id: late\nnodes: [{id: a, delay: 1h, action: PUSH_CASE}]\n");
wait_output($watch, 'err', qr/1 created/, 'and loads it when it comes');
is(stop_client($watch), 0, 'and ends');

# Files that need each other, in whichever order they come.
sub sop
{
	my ($id, @nodes) = @_;
	return "---\nid: $id\nnodes:\n" . join '', map {
		"  - {id: n$_, delay: 1h, " . ($nodes[$_] =~ /^[A-Z]/ ? 'action' : 'type: sop, sop_ref') . ": $nodes[$_]"
		  . ($_ < $#nodes ? ', next: n' . ($_ + 1) : '') . "}\n" } 0 .. $#nodes;
}

sub nodes_of
{
	my ($sop) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM sopflow.sop_node WHERE sop_id = '$sop'");
}

mkdir "$dir/set" or die;
my ($one, $two, $bad) = (file_with("$dir/set/one.yml", sop('one', 'sub')), file_with("$dir/set/two.yml", sop('sub', 'PUSH_CASE')),
	file_with("$dir/set/bad.yml", sop('bad', 'NONE')));
$watch = start_client('load', '--watch', $one, $two, $bad);
wait_output($watch, 'err', qr/one by one\n.*one\.yml:\d+: error: .*"sub".*1 created.*bad\.yml:\d+: error: .*1 created.*watching 3 files/s,
	'a file that stands before the one it needs is loaded after it');
file_with($one, sop('one', 'later', 'sub'));
wait_output($watch, 'err', qr/one\.yml:\d+: error: .*"later"/, 'a file that needs what is not there yet');
file_with($two, sop('sub', 'PUSH_CASE') . sop('later', 'PUSH_CASE'));
wait_output($watch, 'err', qr/1 created.*0 created, 1 changed/s, 'is loaded when it is there');
is(nodes_of('one'), 2, 'as it stands');
unlink $bad or die;
wait_output($watch, 'err', qr/could not read "\Q$bad\E"/, 'a file that was refused is deleted');
$node->safe_psql('postgres', q{INSERT INTO sopflow.action (action) VALUES ('NONE')});
file_with($two, sop('sub', 'PUSH_CASE', 'PUSH_CASE') . sop('later', 'PUSH_CASE'));
wait_output($watch, 'err', qr/0 created, 1 changed/, 'another one is loaded');
file_with($two, sop('sub', 'PUSH_CASE') . sop('later', 'PUSH_CASE'));
wait_output($watch, 'err', qr/0 created, 1 changed/, 'and again');
is(nodes_of('bad'), 0, 'the deleted one is not');
file_with($bad, sop('bad', 'NONE'));
wait_output($watch, 'err', qr/1 created/, 'but when it comes back');
$node->safe_psql('postgres', q{DELETE FROM sopflow.sop WHERE sop_id = 'bad'; DELETE FROM sopflow.action WHERE action = 'NONE'});
file_with($bad, sop('bad', 'PUSH_CASE'));
wait_output($watch, 'err', qr/1 created/, 'the faulty one is repaired');
file_with($one, sop('one', 'last', 'sub'));
wait_output($watch, 'err', qr/one\.yml:\d+: error: .*"last"/, 'one half of what belongs together');
file_with($two, sop('sub', 'PUSH_CASE') . sop('user', 'fresh') . sop('last', 'PUSH_CASE'));
wait_output($watch, 'err', qr/two\.yml:\d+: error: .*"fresh"/, 'and the other');
file_with($one, sop('fresh', 'last'));
wait_output($watch, 'err', qr/3 created/, 'are loaded together');
is(stop_client($watch), 0, 'SIGTERM ends it');

# What the server cannot take yet.
{
	local $ENV{PGOPTIONS} = '-c lock_timeout=100ms';
	$watch = start_client('load', '--watch', $one, $bad);
	wait_output($watch, 'err', qr/watching 2 files/, 'with a lock_timeout');
}
my $locker = open_session($node);
ask($locker, "BEGIN; SELECT FROM sopflow.sop WHERE sop_id = 'fresh' FOR UPDATE");
file_with($one, sop('fresh', 'last', 'sub'));
wait_output($watch, 'err', qr/lock timeout.*"\Q$one\E" is not loaded yet; trying again\n/s, 'a lock that is held is told of, with the file');
file_with($bad, sop('bad', 'PUSH_CASE', 'PUSH_CASE'));
wait_output($watch, 'err', qr/0 created, 1 changed/, 'another file is loaded meanwhile');
ask($locker, 'ROLLBACK');
wait_output($watch, 'err', qr/0 created, 1 changed/, 'when the lock is gone the edit is loaded');
is(nodes_of('fresh'), 2, 'and in force');
is(stop_client($watch), 0, 'SIGTERM ends it');

# Changes that no event of the file's directory tells of.
mkdir "$dir/$_" or die for qw(rel rel/1 rel/2 links real par par2 par/x par2/x shut);
file_with("$dir/rel/$_/s.yml", sop('rel', ('PUSH_CASE') x $_)) for 1, 2;
symlink 'rel/1', "$dir/current" or die;
file_with("$dir/real/s.yml", sop('real', 'PUSH_CASE'));
symlink '../real/s.yml', "$dir/links/s.yml" or die;
file_with("$dir/par/x/s.yml", sop('par', 'PUSH_CASE'));
file_with("$dir/par2/x/s.yml", sop('par', ('PUSH_CASE') x 2));
my $closed = file_with("$dir/shut/s.yml", sop('shut', 'PUSH_CASE'));
chmod 0311, "$dir/shut" or die;
$watch = start_client('load', '--watch', map { "$dir/$_/s.yml" } qw(current links par/x shut));
wait_output($watch, 'err', qr/could not watch "\Q$dir\E\/shut": Permission denied; "\Q$closed\E" is looked at every second\n.*4 created.*watching/s,
	'a directory that cannot be watched');
symlink 'rel/2', "$dir/current.new" or die;
rename "$dir/current.new", "$dir/current" or die;
wait_output($watch, 'err', qr/0 created, 1 changed/, 'a directory on the way that is a link, switched');
is(nodes_of('rel'), 2, 'is followed');
file_with("$dir/real/s.yml", sop('real', ('PUSH_CASE') x 2));
wait_output($watch, 'err', qr/0 created, 1 changed/, 'what a link leads to is edited');
is(nodes_of('real'), 2, 'and loaded');
rename "$dir/par", "$dir/par.old" or die;
rename "$dir/par2", "$dir/par" or die;
wait_output($watch, 'err', qr/0 created, 1 changed/, 'a parent of the directory is replaced');
is(nodes_of('par'), 2, 'and the file in it loaded');
file_with($closed, sop('shut', ('PUSH_CASE') x 2));
wait_output($watch, 'err', qr/0 created, 1 changed/, 'a change in a directory that cannot be watched');
chmod 0755, "$dir/shut" or die;
file_with("$dir/real/s.yml.secret", sop('real', ('PUSH_CASE') x 3));
chmod 0, "$dir/real/s.yml.secret" or die;
rename "$dir/real/s.yml.secret", "$dir/real/s.yml" or die;
wait_output($watch, 'err', qr/could not read "\Q$dir\E\/links\/s\.yml": Permission denied/, 'a file that cannot be read');
chmod 0644, "$dir/real/s.yml" or die;
wait_output($watch, 'err', qr/0 created, 1 changed/, 'is loaded when it can');
is(stop_client($watch), 0, 'SIGTERM ends it');

# A writer who has not finished, and a directory in which much happens.
mkdir "$dir/busy" or die;
my $half = file_with("$dir/busy/half.yml", sop('half', 'PUSH_CASE', 'PUSH_CASE'));
my $other = file_with("$dir/busy/other.yml", sop('other', 'PUSH_CASE'));
$watch = start_client('load', '--watch', $half, $other);
wait_output($watch, 'err', qr/2 created.*watching 2 files/s, 'two files');
open my $writer, '>', $half or die;
$writer->autoflush;
print $writer sop('half', 'PUSH_CASE');
file_with($other, sop('other', ('PUSH_CASE') x 2));
wait_output($watch, 'err', qr/0 created, 1 changed, 0 unchanged\n/, 'one is loaded while the other is being written');
is(nodes_of('half'), 2, 'which is not read before it is complete');
print $writer "  - {id: n1, delay: 1h, action: PUSH_CASE}\n", "  - {id: n2, delay: 1h, action: PUSH_CASE}\n";
close $writer;
wait_output($watch, 'err', qr/0 created, 1 changed, 0 unchanged\n/, 'it is when it is closed');
is($node->safe_psql('postgres', q{SELECT string_agg(version || ' ' || jsonb_array_length(definition->'nodes'), ', ' ORDER BY version)
	FROM sopflow.sop_version WHERE sop_id = 'half'}), '1 2, 2 3', 'and no version is of the half of it');
my $noise = IPC::Run::start([ $^X, '-e', 'while (1) { open my $fh, ">", $ARGV[0] or die; print $fh "x"; close $fh; select undef, undef, undef, 0.02 }', "$dir/busy/noise" ],
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
file_with($other, sop('other', ('PUSH_CASE') x 3));
wait_output($watch, 'err', qr/0 created, 1 changed/, 'a file beside one that is written all the time is loaded');
$noise->kill_kill;
is(stop_client($watch), 0, 'SIGTERM ends it');

done_testing();
