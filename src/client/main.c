/*
 * main.c
 *	  The program sopflow: its table of commands and their common options.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

static const Command commands[] = {
	{"load", cmd_load, load_help, "make SOPs and what they use what files say"},
	{"validate", cmd_validate, validate_help, "check files without loading them"},
	{"export", cmd_export, export_help, "print SOPs as files"},
	{"diagram", cmd_diagram, diagram_help, "print an SOP as a diagram"},
	{"simulate", cmd_simulate, simulate_help, "print what an SOP would do, and when"},
	{"ingest", cmd_ingest, ingest_help, "take in events from lines of JSON"},
	{"tail", cmd_tail, tail_help, "print notifications and alerts as they come"},
	{"top", cmd_top, top_help, "show what happens now"},
	{"relay", cmd_relay, relay_help, "deliver tasks and alerts to web servers, mail and programs"},
};

#define COMMAND_COUNT	((int) (sizeof(commands) / sizeof(commands[0])))

static const Command *command;

static const char common_help[] =
	"\nConnection options, before or after the command:\n"
	"  -d, --dbname=DBNAME    database, connection string or URI\n"
	"  -h, --host=HOSTNAME    server's host or socket directory\n"
	"  -p, --port=PORT        server's port\n"
	"  -U, --username=NAME    role to connect as\n"
	"  -w, --no-password      never ask for a password\n"
	"What is not given is taken from libpq's environment variables, such as PGHOST\n"
	"and PGDATABASE.\n";

static const char general_help[] =
	"\nGeneral options:\n"
	"  -q, --quiet            print no messages but warnings and errors\n"
	"      --help             show this help, or that of a command\n"
	"      --version          show the version\n";

static const char exit_help[] =
	"\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 no connection, 4 a file or the\n"
	"input is not valid.\n";

#define SHORT_OPTIONS	"d:h:p:U:wq"

enum
{
	OPTION_HELP = 1024,
	OPTION_VERSION
};

static const struct option common_options[] = {
	{"dbname", required_argument, NULL, 'd'},
	{"host", required_argument, NULL, 'h'},
	{"port", required_argument, NULL, 'p'},
	{"username", required_argument, NULL, 'U'},
	{"no-password", no_argument, NULL, 'w'},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{NULL, 0, NULL, 0},
};

#define COMMON_COUNT	((int) (sizeof(common_options) / sizeof(common_options[0])))
#define MAX_OPTIONS		64

static void
help(void)
{
	printf("%s defines SOPs from files, shows and delivers their tasks.\n\n"
		   "Usage: %s [OPTION]... COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n",
		   PROGRAM, PROGRAM);
	for (int i = 0; i < COMMAND_COUNT; i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	fputs(common_help, stdout);
	fputs(general_help, stdout);
	fputs(exit_help, stdout);
}

/* A standard output that cannot be written is a failure, not a short result. */
static int
finish(int code)
{
	if (code == EXIT_AGAIN)
		code = EXIT_FAILED;
	if (!client_flush())
	{
		int			error = client_flush_error();

		client_error("could not write to standard output%s%s", error != 0 ? ": " : "",
					 error != 0 ? strerror(error) : "");
		return code == EXIT_OK ? EXIT_FAILED : code;
	}
	return code;
}

/*
 * No connection or file may get the number of a standard descriptor that is
 * closed.  What stands in its place cannot be read, or written, either.
 */
static void
fill_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
	{
		if (fcntl(fd, F_GETFD) < 0)
			(void) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
	}
}

/* Take one of the common options; false if it is none. */
static bool
common_option(int c)
{
	switch (c)
	{
		case 'd':
			options.dbname = optarg;
			return true;
		case 'h':
			options.host = optarg;
			return true;
		case 'p':
			options.port = optarg;
			return true;
		case 'U':
			options.user = optarg;
			return true;
		case 'w':
			options.no_password = true;
			return true;
		case 'q':
			options.quiet = true;
			return true;
		case OPTION_HELP:
			if (command == NULL)
				help();
			else
			{
				fputs(command->help, stdout);
				fputs(common_help, stdout);
				fputs(general_help, stdout);
			}
			exit(finish(EXIT_OK));
		case OPTION_VERSION:
			printf("%s %s\n", PROGRAM, SOPFLOW_VERSION);
			exit(finish(EXIT_OK));
		default:
			return false;
	}
}

int
client_getopt(int argc, char **argv, const char *short_options,
			  const struct option *long_options)
{
	static char shorts[128];
	static struct option longs[MAX_OPTIONS + COMMON_COUNT];
	int			count = 0;

	snprintf(shorts, sizeof(shorts), "%s%s%s", command == NULL ? "+" : "", SHORT_OPTIONS,
			 short_options);
	while (long_options != NULL && long_options[count].name != NULL && count < MAX_OPTIONS)
	{
		longs[count] = long_options[count];
		count++;
	}
	memcpy(&longs[count], common_options, sizeof(common_options));

	for (;;)
	{
		int			c = getopt_long(argc, argv, shorts, longs, NULL);

		if (c == '?')
		{
			client_try_help();
		}
		if (c == -1 || !common_option(c))
			return c;
	}
}

int
main(int argc, char **argv)
{
	fill_descriptors();
	client_getopt(argc, argv, "", NULL);
	if (optind >= argc)
		client_usage("no command was given");
	for (int i = 0; i < COMMAND_COUNT; i++)
	{
		if (strcmp(argv[optind], commands[i].name) == 0)
			command = &commands[i];
	}
	if (command == NULL)
		client_usage("there is no command \"%s\"", argv[optind]);
	options.command = command->name;
	argc -= optind;
	argv += optind;
	optind = 0;
	/* messages of getopt then begin with the program's name */
	argv[0] = (char *) PROGRAM;
	return finish(command->run(argc, argv));
}
