/*
 * consumer.c
 *	  A consumer of sopflow tasks in C, with libpq alone. To build it:
 *
 *	  cc -O2 -o consumer consumer.c \
 *		  -I"$(pg_config --includedir)" \
 *		  -L"$(pg_config --libdir)" -lpq
 *
 * The loop is the same in every language: LISTEN first, then fetch until
 * nothing is ready, then wait for a notification, at most 30 seconds. The table
 * is the truth and the notification only a doorbell, so nothing is lost by a
 * missed one. Replace handle() by your own work.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

#include <libpq-fe.h>

#define WAIT_S		  30 /* seconds without a doorbell after which to look anyway */
#define MAX_BACKOFF_S 30 /* seconds between two attempts to connect, at most */

/* options */
static const char *dsn = "";
static const char *channel = "sopflow";
static const char *lease = NULL;
static char		  *actions = NULL; /* as an array literal */
static int		   batch = 100;
static int		   max_tasks = 0;
static int		   fail_every = 0;
static bool		   once = false;
static bool		   quiet = false;

static int					 done = 0;
static int					 failed = 0;
static int					 lost = 0;
static int					 begun = 0;
static volatile sig_atomic_t stopping = 0;

/* A text that grows. */
typedef struct Text
{
	char  *data;
	size_t length;
	size_t size;
} Text;

static void
append(Text *text, const char *bytes, size_t length)
{
	if (text->length + length + 1 > text->size)
	{
		text->size = (text->length + length + 1) * 2;
		text->data = realloc(text->data, text->size);
		if (text->data == NULL)
		{
			fprintf(stderr, "out of memory\n");
			exit(1);
		}
	}
	memcpy(text->data + text->length, bytes, length);
	text->length += length;
	text->data[text->length] = '\0';
}

/* Add an element to an array literal; close_array() ends it. */
static void
append_element(Text *array, const char *value)
{
	append(array, array->length == 0 ? "{\"" : ",\"", 2);
	for (; *value != '\0'; value++)
	{
		if (*value == '"' || *value == '\\')
			append(array, "\\", 1);
		append(array, value, 1);
	}
	append(array, "\"", 1);
}

static const char *
close_array(Text *array)
{
	append(array, array->length == 0 ? "{}" : "}", array->length == 0 ? 2 : 1);
	return array->data;
}

static void
stop(int signal_number)
{
	stopping = 1;
}

static bool
finished(void)
{
	return stopping || (max_tasks > 0 && done + failed >= max_tasks);
}

/*
 * Carry out one task; NULL is success, anything else the error of a failed
 * attempt. A task can come a second time after a crash, so that what is done
 * here should be idempotent, with the task's id as its key.
 */
static const char *
handle(PGresult *tasks, int row)
{
	begun++;
	if (fail_every > 0 && begun % fail_every == 0)
		return "failed on purpose";
	if (!quiet)
	{
		printf("%s %s %s\n",
			   PQgetvalue(tasks, row, PQfnumber(tasks, "action")),
			   PQgetvalue(tasks, row, PQfnumber(tasks, "subject_id")),
			   PQgetvalue(tasks, row, PQfnumber(tasks, "params")));
		fflush(stdout);
	}
	return NULL;
}

/*
 * Run a statement. NULL if the connection broke; any other error ends the
 * program, since a new connection would not mend it.
 */
static PGresult *
run(PGconn *conn, const char *command, int nparams, const char *const *params)
{
	PGresult	  *result = PQexecParams(conn, command, nparams, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return result;
	if (PQstatus(conn) == CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		exit(1);
	}
	PQclear(result);
	return NULL;
}

/*
 * Fetch a batch, handle it and report it. The number of tasks fetched, or -1 if
 * the connection broke.
 */
static int
work(PGconn *conn)
{
	char		size[16];
	const char *fetch_params[] = {actions, size, lease};
	Text		done_ids = {0};
	Text		done_tokens = {0};
	Text		failed_ids = {0};
	Text		failed_tokens = {0};
	Text		errors = {0};
	int			ndone = 0;
	int			nfailed = 0;
	int			accepted = 0;
	bool		broken = false;
	PGresult   *tasks;
	PGresult   *result;
	int			ntasks;
	int			limit = batch;

	if (max_tasks > 0 && max_tasks - done - failed < limit)
		limit = max_tasks - done - failed;
	snprintf(size, sizeof(size), "%d", limit);
	tasks = run(conn, "SELECT * FROM sopflow.fetch($1::text[], $2::int, $3::interval)", 3,
				fetch_params);
	if (tasks == NULL)
		return -1;
	ntasks = PQntuples(tasks);
	for (int row = 0; row < ntasks; row++)
	{
		const char *id = PQgetvalue(tasks, row, PQfnumber(tasks, "task_id"));
		const char *token = PQgetvalue(tasks, row, PQfnumber(tasks, "lease_token"));
		const char *error = handle(tasks, row);

		if (error == NULL)
		{
			append_element(&done_ids, id);
			append_element(&done_tokens, token);
			ndone++;
		}
		else
		{
			append_element(&failed_ids, id);
			append_element(&failed_tokens, token);
			append_element(&errors, error);
			nfailed++;
		}
	}
	PQclear(tasks);

	/* A batch in hand is reported even when a signal has come meanwhile. */
	if (ndone > 0)
	{
		const char *params[] = {close_array(&done_ids), close_array(&done_tokens)};

		result = run(conn, "SELECT sopflow.ack_many($1::bigint[], $2::bigint[])", 2, params);
		broken = (result == NULL);
		accepted += PQntuples(result);
		PQclear(result);
	}
	if (nfailed > 0 && !broken)
	{
		const char *params[] = {close_array(&failed_ids), close_array(&failed_tokens),
								close_array(&errors)};

		result = run(conn, "SELECT sopflow.nack_many($1::bigint[], $2::bigint[], $3::text[])", 3,
					 params);
		broken = (result == NULL);
		accepted += PQntuples(result);
		PQclear(result);
	}
	free(done_ids.data);
	free(done_tokens.data);
	free(failed_ids.data);
	free(failed_tokens.data);
	free(errors.data);
	if (broken)
		return -1;

	done += ndone;
	failed += nfailed;
	/* Tasks whose lease had run out belong to somebody else by now. */
	lost += ntasks - accepted;
	return ntasks;
}

/*
 * Wait until the socket is readable, a signal comes, or the time is up. Signals
 * are let in by pselect() only, so that none comes unseen between the look at
 * "stopping" and the wait.
 */
static void
wait_for(int sock, double seconds)
{
	fd_set			readable;
	sigset_t		blocked;
	sigset_t		before;
	struct timespec timeout;

	timeout.tv_sec = (time_t) seconds;
	timeout.tv_nsec = (long) ((seconds - (double) timeout.tv_sec) * 1e9);
	FD_ZERO(&readable);
	if (sock >= 0)
		FD_SET(sock, &readable);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	if (!stopping)
		pselect(sock + 1, &readable, NULL, NULL, &timeout, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* Whether a doorbell has rung since the last look. */
static bool
rung(PGconn *conn)
{
	bool	  any = false;
	PGnotify *notify;

	while ((notify = PQnotifies(conn)) != NULL)
	{
		PQfreemem(notify);
		any = true;
	}
	return any;
}

/* Work on one connection; false if it broke, true if there is a reason to stop. */
static bool
serve(PGconn *conn)
{
	char	 *name = PQescapeIdentifier(conn, channel, strlen(channel));
	char	  command[256];
	PGresult *result;
	int		  fetched;

	if (name == NULL)
		return false;
	snprintf(command, sizeof(command), "LISTEN %s", name);
	PQfreemem(name);
	result = run(conn, command, 0, NULL);
	if (result == NULL)
		return false;
	PQclear(result);

	while (!finished())
	{
		time_t deadline;

		rung(conn);
		while ((fetched = work(conn)) > 0)
		{
			if (finished())
				return true;
		}
		if (fetched < 0)
			return false;
		if (once)
			return true;

		/* libpq keeps notifications that came during a statement. */
		deadline = time(NULL) + WAIT_S;
		while (!rung(conn) && !stopping && time(NULL) < deadline)
		{
			wait_for(PQsocket(conn), (double) (deadline - time(NULL)));
			if (!PQconsumeInput(conn))
				return false;
		}
	}
	return true;
}

static void
usage(void)
{
	fprintf(stderr,
			"usage: consumer --actions A,B [--dsn DSN] [--channel NAME] [--batch N]\n"
			"                [--lease INTERVAL]\n"
			"                [--once] [--max N] [--fail-every N] [--quiet]\n");
	exit(2);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"dsn", required_argument, NULL, 'd'},
		{"actions", required_argument, NULL, 'a'},
		{"channel", required_argument, NULL, 'c'},
		{"batch", required_argument, NULL, 'b'},
		{"lease", required_argument, NULL, 'l'},
		{"once", no_argument, NULL, 'o'},
		{"max", required_argument, NULL, 'm'},
		{"fail-every", required_argument, NULL, 'f'},
		{"quiet", no_argument, NULL, 'q'},
		{NULL, 0, NULL, 0}};
	struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART};
	double			 backoff = 0.5;
	int				 option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		switch (option)
		{
			case 'd':
				dsn = optarg;
				break;
			case 'a':
			{
				Text array = {0};

				for (char *name = strtok(optarg, ","); name != NULL; name = strtok(NULL, ","))
					append_element(&array, name);
				close_array(&array);
				actions = array.data;
				break;
			}
			case 'c':
				channel = optarg;
				break;
			case 'b':
				batch = atoi(optarg);
				break;
			case 'l':
				lease = optarg;
				break;
			case 'o':
				once = true;
				break;
			case 'm':
				max_tasks = atoi(optarg);
				break;
			case 'f':
				fail_every = atoi(optarg);
				break;
			case 'q':
				quiet = true;
				break;
			default:
				usage();
		}
	}
	if (actions == NULL || batch <= 0 || strlen(channel) > 63)
		usage();

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	srand((unsigned) time(NULL));
	while (!finished())
	{
		PGconn *conn = PQconnectdb(dsn);
		bool	over = false;

		if (PQstatus(conn) == CONNECTION_OK)
		{
			backoff = 0.5;
			over = serve(conn);
		}
		if (!over && !finished())
		{
			fprintf(stderr, "connection lost: %s", PQerrorMessage(conn));
			wait_for(-1, backoff * (0.5 + (double) rand() / RAND_MAX / 2));
			backoff = backoff * 2 < MAX_BACKOFF_S ? backoff * 2 : MAX_BACKOFF_S;
		}
		PQfinish(conn);
		if (over)
			break;
	}
	printf("done %d failed %d lost %d\n", done, failed, lost);
	return 0;
}
