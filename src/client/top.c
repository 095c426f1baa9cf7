/*
 * top.c
 *	  sopflow top: what happens now, on a terminal.
 *
 * A screen is written as text first, with titles marked, and then shown as far
 * as it fits.
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "print.h"

/* begins a line that is a title, or the first of a table */
#define MARK_TITLE		'\001'
#define MARK_HEADER		'\002'

const char	top_help[] =
"Usage: sopflow top [OPTION]...\n\n"
"Shows counters and their rates, what is wrong, workers, actions and the tasks\n"
"that are due next, until q is typed.\n\n"
"Options:\n"
"      --interval=SECONDS seconds between two looks (default: 2)\n"
"      --once             print it once as plain text and end\n";

typedef struct Section
{
	const char *title;
	const char *sql;
	const char *nothing;		/* in place of no rows; NULL: leave it out */
} Section;

static const Section sections[] = {
	{"health", "SELECT severity, message, hint FROM sopflow.health", "nothing is wrong"},
	{"workers", "SELECT worker, pid, state, started_at::timestamptz(0), next_wakeup::timestamptz(0),"
		" passes, tasks, last_error FROM sopflow.worker_status"
		" WHERE database = pg_catalog.current_database() ORDER BY worker", "no worker runs"},
	{"actions", "SELECT action, done, failed, dead,"
		" pg_catalog.round((success_ratio * 100)::numeric, 1) AS \"success %\","
		" pg_catalog.round(p50_ms::numeric, 1) AS p50_ms, pg_catalog.round(p99_ms::numeric, 1) AS p99_ms"
		" FROM sopflow.action_stats ORDER BY done + failed + dead DESC, action LIMIT 15", NULL},
	{"ready and leased", "SELECT action, ready, leased FROM sopflow.backlog"
		" ORDER BY ready + leased DESC, action LIMIT 10", NULL},
	{"due next", "SELECT due_at::timestamptz(0) AS due, sop_id AS sop, node_id AS node,"
		" subject_id AS subject, action, attempt FROM sopflow.next_tasks LIMIT 10",
		"no task is pending"},
};

#define SECTION_COUNT	((int) (sizeof(sections) / sizeof(sections[0])))

/* counters of the first lines, with their rates */
static const char *const counters[] = {
	"events", "runs_started", "tasks_created", "tasks_done", "attempts_failed", "tasks_dead",
	"leases", "notifications", "passes"
};

#define COUNTER_COUNT	((int) (sizeof(counters) / sizeof(counters[0])))

typedef struct Top
{
	PGconn	   *conn;
	double		last[COUNTER_COUNT];
	struct timespec at;			/* of last; 0: there is none yet */
	bool		failed;			/* a section could not be read */
	struct termios shown;		/* the terminal as it was */
} Top;

static void
print_fault(Top *top, FILE *out, const PGresult *result)
{
	char	   *error = client_server_error(result, top->conn);
	char	   *rest = error;

	top->failed = true;
	fputs("error: ", out);
	for (char *line; (line = strsep(&rest, "\n")) != NULL;)
	{
		print_text(out, line);
		fputc('\n', out);
	}
	free(error);
}

static void
print_counters(Top *top, FILE *out)
{
	PGresult   *result = client_exec(top->conn, "SELECT name, value FROM sopflow.stats", 0, NULL);
	struct timespec now;
	double		seconds;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		print_fault(top, out, result);
		PQclear(result);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	seconds = (double) (now.tv_sec - top->at.tv_sec) +
		(double) (now.tv_nsec - top->at.tv_nsec) / 1e9;
	for (int c = 0; c < COUNTER_COUNT; c++)
	{
		double		value = 0;

		for (int i = 0; i < PQntuples(result); i++)
		{
			if (strcmp(PQgetvalue(result, i, 0), counters[c]) == 0)
				value = strtod(PQgetvalue(result, i, 1), NULL);
		}
		fprintf(out, "%-16s %12.0f", counters[c], value);
		if (top->at.tv_sec > 0 && seconds > 0 && value >= top->last[c])
			fprintf(out, " %9.1f/s", (value - top->last[c]) / seconds);
		fputs(c % 2 == 0 && c < COUNTER_COUNT - 1 ? "    " : "\n", out);
		top->last[c] = value;
	}
	top->at = now;
	for (int i = 0; i < PQntuples(result); i++)
	{
		const char *name = PQgetvalue(result, i, 0);

		if (strcmp(name, "dispatch_delay_p50_ms") == 0 || strcmp(name, "dispatch_delay_p99_ms") == 0)
			fprintf(out, "%-16.16s %12.1f ms%s", name + strlen("dispatch_"),
					strtod(PQgetvalue(result, i, 1), NULL), strstr(name, "p50") ? "           " : "\n");
	}
	PQclear(result);
}

static void
print_section(Top *top, FILE *out, const Section *section)
{
	PGresult   *result = client_exec(top->conn, section->sql, 0, NULL);
	bool		ok = PQresultStatus(result) == PGRES_TUPLES_OK;

	if (!ok || PQntuples(result) > 0 || section->nothing != NULL)
	{
		fprintf(out, "\n%c%s\n", MARK_TITLE, section->title);
		if (!ok)
			print_fault(top, out, result);
		else if (PQntuples(result) == 0)
			fprintf(out, "%s\n", section->nothing);
		else
		{
			fputc(MARK_HEADER, out);
			print_table(out, result);
		}
	}
	PQclear(result);
}

/* The whole screen, to be freed. */
static char *
make_screen(Top *top)
{
	char	   *text = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&text, &size);
	time_t		now = time(NULL);
	struct tm	parts;
	char		at[64];

	if (out == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	localtime_r(&now, &parts);
	strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S", &parts);
	fprintf(out, "%csopflow  database \"", MARK_TITLE);
	print_text(out, PQdb(top->conn));
	fprintf(out, "\"  PostgreSQL %s  %s\n",
			PQparameterStatus(top->conn, "server_version") ?: "?", at);
	print_counters(top, out);
	for (int i = 0; i < SECTION_COUNT; i++)
		print_section(top, out, &sections[i]);
	if (fclose(out) != 0)
		client_fatal(EXIT_FAILED, "out of memory");
	return text;
}

static const char *
style_of(char mark, const char *line)
{
	if (mark != '\0')
		return mark == MARK_TITLE ? STYLE_REVERSE : STYLE_BOLD;
	if (strncmp(line, "error", strlen("error")) == 0)
		return STYLE_RED;
	return strncmp(line, "warning", strlen("warning")) == 0 ? STYLE_YELLOW : STYLE_NONE;
}

/* Line by line, cut to the size; rows 0: all of it as plain text. */
static void
show_screen(const char *text, int rows, int columns)
{
	for (int row = 1; *text != '\0' && (rows == 0 || row <= rows); row++)
	{
		size_t		len = strcspn(text, "\n");
		char		mark = *text == MARK_TITLE || *text == MARK_HEADER ? *text : '\0';
		char	   *line = client_format("%.*s", (int) len - (mark != '\0'), text + (mark != '\0'));

		if (rows == 0)
			puts(line);
		else
		{
			print_style(stdout, style_of(mark, line));
			print_cut(stdout, line, columns);
			print_plain(stdout);
			/* what an earlier screen had there goes */
			fputs(row < rows ? "\033[K\r\n" : "\033[K", stdout);
		}
		free(line);
		text += len + (text[len] == '\n');
	}
	if (rows > 0)
		fputs("\033[J", stdout);
	client_flush();
}

static void
enter_screen(Top *top)
{
	struct termios raw;

	tcgetattr(STDIN_FILENO, &top->shown);
	raw = top->shown;
	raw.c_lflag &= ~(tcflag_t) (ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	/* the other screen, without a cursor */
	fputs("\033[?1049h\033[?25l", stdout);
	fflush(stdout);
}

static void
leave_screen(Top *top)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &top->shown);
}

/* Wait for the next look; false after q or the end of the input. */
static bool
wait_for_key(double seconds)
{
	char		key;

	if (!client_wait(STDIN_FILENO, (int) (seconds * 1000)))
		return true;
	return read(STDIN_FILENO, &key, 1) == 1 && tolower(key) != 'q';
}

static void
live(Top *top, double seconds)
{
	bool		more = true;

	client_catch_signals();
	enter_screen(top);
	while (more && !client_stop)
	{
		struct winsize size = {24, 80, 0, 0};
		char	   *text = make_screen(top);

		if (client_lost(top->conn))
		{
			leave_screen(top);
			free(text);
			top->conn = client_reconnect(top->conn);
			if (top->conn == NULL)
				return;
			memset(&top->at, 0, sizeof(top->at));
			enter_screen(top);
			continue;
		}
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
		fputs("\033[H", stdout);
		show_screen(text, size.ws_row > 0 ? size.ws_row : 24, size.ws_col > 0 ? size.ws_col : 80);
		free(text);
		more = wait_for_key(seconds);
	}
	leave_screen(top);
}

int
cmd_top(int argc, char **argv)
{
	static const struct option longs[] = {
		{"interval", required_argument, NULL, 256},
		{"once", no_argument, NULL, 257},
		{NULL, 0, NULL, 0},
	};
	double		seconds = 2;
	bool		once = false;
	Top			top;
	char	   *text;
	char	   *end;
	int			c;

	memset(&top, 0, sizeof(top));
	while ((c = client_getopt(argc, argv, "", longs)) != -1)
	{
		if (c == 257)
			once = true;
		else
		{
			seconds = strtod(optarg, &end);
			if (end == optarg || *end != '\0' || !(seconds >= 0.1 && seconds <= 86400))
				client_usage("--interval must be from 0.1 to 86400 seconds, not \"%s\"", optarg);
		}
	}
	if (optind < argc)
		client_usage("top takes no argument, but \"%s\" was given", argv[optind]);
	if (!once && (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)))
		client_usage("top needs a terminal; use --once to print it once");

	top.conn = client_connect();
	/* the queries are small and many */
	PQclear(PQexec(top.conn, "SET jit = off"));
	if (once)
	{
		text = make_screen(&top);
		show_screen(text, 0, 0);
		free(text);
	}
	else
		live(&top, seconds);
	PQfinish(top.conn);
	return once && top.failed ? EXIT_FAILED : EXIT_OK;
}
