# What the relay does in the tests before, it does without a fault in memory:
# they run again on a program built with AddressSanitizer and UBSan, and in part
# under valgrind.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use RelayTest;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;

# Another test of this folder with another program; true if it is content.
sub again
{
	my ($test, %environment) = @_;
	my $out = '';
	local @ENV{ keys %environment } = values %environment;
	IPC::Run::run([ $^X, "$FindBin::RealBin/$test" ], '<', \undef, '>&', \$out);
	my $fine = $? == 0;
	diag(join "\n", grep { !/^(?:ok|# (?:Running|Data|Name|Port|Host|Archive|Connection|Backup|Log|Postmaster))/ } split /\n/, $out) unless $fine;
	return $fine;
}

# What a tool has written to files of this name; one test.
sub nothing_found
{
	my ($prefix, $name) = @_;
	my $found = join '', map { slurp_file($_) } glob("$prefix*");
	return is($found, '', $name);
}

my $program = build_relay("$dir/sanitized", '-fsanitize=address,undefined -fno-sanitize-recover=undefined');
my $log = "$dir/sanitizer";
my %sanitized = (
	SOPFLOW_RELAY_PROGRAM => $program,
	ASAN_OPTIONS => "log_path=$log:detect_leaks=1:exitcode=98",
	UBSAN_OPTIONS => "log_path=$log:print_stacktrace=1");
ok(again('065_relay.pl', %sanitized), 'targets and answers, under AddressSanitizer');
ok(again('066_relay_storm.pl', %sanitized, SOPFLOW_STORM_TASKS => 4000, SOPFLOW_STORM_TIMEOUT => '2s'), 'the storm, a smaller one');
ok(again('067_relay_mail.pl', %sanitized), 'mail');
ok(again('069_relay_alerts.pl', %sanitized), 'alerts');
ok(again('069_relay_targets.pl', %sanitized), 'what targets may do');
nothing_found($log, 'nothing was found');

SKIP:
{
	my $out = '';
	skip 'there is no valgrind', 3 unless eval { IPC::Run::run([ 'valgrind', '--version' ], '>&', \$out) };
	my $wrapper = "$dir/relay";
	append_to_file($wrapper, "#!/bin/sh\nexec valgrind -q --error-exitcode=97 --leak-check=full --errors-for-leak-kinds=definite"
			. " --show-leak-kinds=definite --child-silent-after-fork=yes --trace-children=no --log-file='$dir/valgrind.%p' '"
			. relay_program() . "' \"\$@\"\n");
	chmod 0755, $wrapper;
	ok(again('067_relay_mail.pl', SOPFLOW_RELAY_PROGRAM => $wrapper), 'mail, under valgrind');
	ok(again('066_relay_storm.pl', SOPFLOW_RELAY_PROGRAM => $wrapper, SOPFLOW_STORM_TASKS => 400, SOPFLOW_STORM_TIMEOUT => '8s'), 'the storm');
	nothing_found("$dir/valgrind", 'nothing was found');
}
done_testing();
