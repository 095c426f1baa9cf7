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
wait_output($watch, 'err', qr/could not watch "\Q$dir\E\/none" yet.*care_sop\.yml:2: error: .*loading the files one by one\n.*0 created, 1 changed.*bad\.yml:2: error: .*watching 4 files\n/s,
	'what is good is loaded, for the rest it waits');
is(versions(), $node->safe_psql('postgres', "SELECT max(version) FROM sopflow.sop_version WHERE sop_id = 'customer_care_sop'"), 'nothing was loaded');
mkdir "$dir/none" or die;
file_with("$dir/none/x.yml", "id: late\nnodes: [{id: a, delay: 1h, action: PUSH_CASE}]\n");
wait_output($watch, 'err', qr/1 created/, 'and loads it when it comes');
is(stop_client($watch), 0, 'and ends');

done_testing();
