# What the tests of the client share: the program run to its end or beside the
# test, and files for it.

package SopflowClient;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(use_node client client_is start_client wait_output stop_client file_with care_sop);

# Where the client connects to.
sub use_node
{
	my ($node, $db) = @_;
	$ENV{PGHOST} = $node->host;
	$ENV{PGPORT} = $node->port;
	$ENV{PGDATABASE} = $db // 'postgres';
	return;
}

my $program = $ENV{SOPFLOW_CLIENT_PROGRAM} // 'sopflow';

sub command
{
	my (@args) = @_;
	return ref $args[0] ? (@{ $args[0] }, @args[ 1 .. $#args ]) : ($program, @args);
}

# Run it to its end: exit code, stdout, stderr.  A reference first is another
# command in place of the program; a hash last may have stdin.
sub client
{
	my @args = @_;
	my $more = ref $args[-1] eq 'HASH' ? pop @args : {};
	my $in = $more->{stdin} // '';
	my ($out, $err) = ('', '');
	IPC::Run::run([ command(@args) ], '<', \$in, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	my $signal = $? & 127;
	return ($signal ? "signal $signal" : $? >> 8, $out, $err);
}

# One test: exit code, and what stdout and stderr are, each as a string or a
# pattern.
sub client_is
{
	my ($name, $args, $code, $out, $err) = @_;
	my @got = client(@$args);
	my $same = sub { ref $_[1] ? $_[0] =~ $_[1] : $_[0] eq $_[1] };
	my $ok = $same->($got[0], $code) && $same->($got[1], $out) && $same->($got[2], $err);
	ok($ok, $name) or diag("exit code $got[0], not $code\nstdout:\n$got[1]\nwanted:\n$out\nstderr:\n$got[2]\nwanted:\n$err");
	return $ok;
}

# Start it beside the test; {in} can be added to.
sub start_client
{
	my (@args) = @_;
	my $run = { in => '', out => '', err => '' };
	$run->{handle} = IPC::Run::start(
		[ command(@args) ], '<', \$run->{in}, '>', \$run->{out}, '2>', \$run->{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $run;
}

# Wait until what it has printed matches; one test.  What matched is taken away.
sub wait_output
{
	my ($run, $stream, $pattern, $name) = @_;
	eval {
		$run->{handle}->pump until $run->{$stream} =~ $pattern || !$run->{handle}->pumpable;
		1;
	};
	my $ok = $run->{$stream} =~ s/\A.*?$pattern//s;
	ok($ok, $name) or diag("it printed:\n$run->{out}$run->{err}");
	return $ok;
}

# End it by a signal; its exit code.
sub stop_client
{
	my ($run, $signal) = @_;
	$run->{handle}->signal($signal // 'TERM');
	$run->{handle}->finish;
	my $code = $run->{handle}->full_result(0);
	return $code & 127 ? 'signal ' . ($code & 127) : $code >> 8;
}

# A file with this text; an editor's way: a new file takes the place of the old.
sub file_with
{
	my ($path, $text) = @_;
	open my $fh, '>:raw', "$path.new" or die "$path.new: $!";
	print $fh $text;
	close $fh;
	rename "$path.new", $path or die "$path: $!";
	return $path;
}

# The care SOP in the form in which it was first published.
sub care_sop
{
	return <<'END';
# 客户关怀SOP配置 (care_sop.yml)
id: "customer_care_sop"
nodes:
  - id: "node1"
    type: "delay"          # 延迟节点
    delay: "24h"           # 触发后24小时执行（第1天）
    action: "SEND_GREETING"
    params:
      template: "WELCOME_MSG"
    next: "node2"

  - id: "node2"
    type: "delay"
    delay: "72h"           # 触发后72小时执行（第3天）
    action: "PUSH_CASE"
    params:
      case_id: "CASE_001"
    next: "node3"

  - id: "node3"
    type: "delay"
    delay: "96h"           # 触发后96小时执行（第4天）
    action: "SEND_REG_LINK"
    params:
      url: "/register/event123"
    next: "node4"

  - id: "node4"
    type: "delay"
    delay: "168h"          # 触发后168小时执行（第7天）
    action: "FOLLOW_UP"
    params:
      message: "是否查阅案例？"
END
}

1;
