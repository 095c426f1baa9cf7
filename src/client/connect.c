/*
 * connect.c
 *	  Connections to the server: made, lost and made again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define BACKOFF_FIRST_MS	250
#define BACKOFF_LAST_MS		30000

/* how long a statement may go on after SIGTERM or SIGINT, and after it was cancelled */
#define STOP_MS				2000
/* a server that was told so often and says nothing is given up */
#define STOP_TRIES			4

#define PARAMETER_COUNT 8

/* asked for once, and used for every connection after */
static char *password;

static void
set_parameters(const char **keywords, const char **values, char *name, size_t size)
{
	int			n = 0;

	snprintf(name, size, "%s %s", PROGRAM, options.command ? options.command : "");
	/* options stand above what a connection string says, which is expanded first */
	keywords[n] = "dbname";
	values[n++] = options.dbname;
	keywords[n] = "host";
	values[n++] = options.host;
	keywords[n] = "port";
	values[n++] = options.port;
	keywords[n] = "user";
	values[n++] = options.user;
	keywords[n] = "password";
	values[n++] = password;
	keywords[n] = "fallback_application_name";
	values[n++] = name;
	keywords[n] = "client_encoding";
	values[n++] = "UTF8";
	keywords[n] = NULL;
	values[n] = NULL;
}

static PGconn *
connect_once(bool wait)
{
	const char *keywords[PARAMETER_COUNT];
	const char *values[PARAMETER_COUNT];
	char		name[64];
	PGconn	   *conn;

	set_parameters(keywords, values, name, sizeof(name));
	conn = wait ? PQconnectdbParams(keywords, values, 1) :
		PQconnectStartParams(keywords, values, 1);
	if (conn == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	return conn;
}

/* A line typed on the terminal without being shown; NULL where there is none. */
static char *
ask_password(void)
{
	FILE	   *terminal = fopen("/dev/tty", "r+");
	struct termios shown;
	struct termios hidden;
	char	   *line = NULL;
	size_t		size = 0;
	ssize_t		len;

	if (terminal == NULL)
		return NULL;
	if (tcgetattr(fileno(terminal), &shown) != 0)
	{
		fclose(terminal);
		return NULL;
	}
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t) ECHO;
	tcsetattr(fileno(terminal), TCSAFLUSH, &hidden);
	fputs("Password: ", terminal);
	fflush(terminal);
	len = getline(&line, &size, terminal);
	tcsetattr(fileno(terminal), TCSAFLUSH, &shown);
	fputs("\n", terminal);
	fclose(terminal);
	if (len < 0)
	{
		free(line);
		return NULL;
	}
	if (len > 0 && line[len - 1] == '\n')
		line[len - 1] = '\0';
	return line;
}

static void
ignore_notice(void *arg, const PGresult *result)
{
	(void) arg;
	if (strcmp(PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED) ?: "", "WARNING") == 0)
		client_warn("%s", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

PGconn *
client_open(void)
{
	PGconn	   *conn = connect_once(true);

	if (PQstatus(conn) == CONNECTION_BAD && PQconnectionNeedsPassword(conn) &&
		password == NULL && !options.no_password)
	{
		password = ask_password();
		if (password != NULL)
		{
			PQfinish(conn);
			conn = connect_once(true);
		}
	}
	PQsetNoticeReceiver(conn, ignore_notice, NULL);
	return conn;
}

PGconn *
client_connect_start(void)
{
	PGconn	   *conn = connect_once(false);

	PQsetNoticeReceiver(conn, ignore_notice, NULL);
	return conn;
}

PGconn *
client_connect(void)
{
	PGconn	   *conn = client_open();
	char	   *error;

	if (PQstatus(conn) != CONNECTION_OK)
	{
		error = client_server_error(NULL, conn);
		client_error("%s", error);
		free(error);
		PQfinish(conn);
		exit(EXIT_CONNECTION);
	}
	if (!client_check_extension(conn, &error))
	{
		client_error("%s", error);
		free(error);
		PQfinish(conn);
		exit(EXIT_FAILED);
	}
	return conn;
}

bool
client_check_extension(PGconn *conn, char **error)
{
	PGresult   *result;
	bool		found;

	result = client_exec(conn, "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'sopflow'",
						 0, NULL);
	*error = NULL;
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		*error = client_server_error(result, conn);
	else if (PQntuples(result) == 0)
		*error = client_format("database \"%s\" has no extension sopflow; "
							   "create it there with CREATE EXTENSION sopflow", PQdb(conn));
	found = *error == NULL;
	PQclear(result);
	return found;
}

bool
client_lost(PGconn *conn)
{
	return PQstatus(conn) != CONNECTION_OK;
}

/* The milliseconds of the parameter connect_timeout; -1: without end. */
static int
connect_timeout(PGconn *conn)
{
	PQconninfoOption *parameters = PQconninfo(conn);
	long		seconds = 0;

	for (PQconninfoOption *p = parameters; p != NULL && p->keyword != NULL; p++)
	{
		if (strcmp(p->keyword, "connect_timeout") == 0 && p->val != NULL)
			seconds = strtol(p->val, NULL, 10);
	}
	PQconninfoFree(parameters);
	return seconds > 0 && seconds < 86400 ? (int) seconds * 1000 : -1;
}

/* As client_open(), but SIGTERM and SIGINT end it, and no password is asked for. */
static PGconn *
open_again(void)
{
	PGconn	   *conn = client_connect_start();
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;
	int			timeout = connect_timeout(conn);

	if (PQstatus(conn) == CONNECTION_BAD)
		return conn;
	while (!client_stop && next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED)
	{
		struct pollfd fds[2] = {
			{PQsocket(conn), next == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0},
			{client_signal_fd, POLLIN, 0},
		};
		int			ready = poll(fds, 2, timeout);

		/* libpq then goes on to the next host, if there is one */
		if (ready == 0)
			shutdown(PQsocket(conn), SHUT_RDWR);
		if (ready == 0 || fds[0].revents != 0)
			next = PQconnectPoll(conn);
	}
	return conn;
}

PGconn *
client_reconnect(PGconn *conn)
{
	Backoff		backoff = {0};
	char	   *last = client_server_error(NULL, conn);
	char	   *error;

	client_warn("the connection is lost: %s", last);
	PQfinish(conn);
	for (;;)
	{
		client_wait(-1, client_backoff_ms(&backoff));
		if (client_stop)
			break;
		conn = open_again();
		if (client_stop)
		{
			PQfinish(conn);
			break;
		}
		if (PQstatus(conn) == CONNECTION_OK)
		{
			client_info("connected again");
			free(last);
			return conn;
		}
		error = client_server_error(NULL, conn);
		/* the same again and again says nothing more */
		if (strcmp(error, last) != 0)
			client_warn("%s", error);
		free(last);
		last = error;
		PQfinish(conn);
	}
	free(last);
	return NULL;
}

/*
 * Have the statement cancelled; false where the server does not take that.  Its
 * answer may never come, and PQcancel() waits for it: so a process of its own does.
 */
static bool
cancel_statement(PGconn *conn)
{
	PGcancel   *cancel = PQgetCancel(conn);
	pid_t		pid = fork();
	char		error[256];
	int			status;

	if (pid == 0)
	{
		alarm(STOP_MS / 1000);
		_exit(!PQcancel(cancel, error, sizeof(error)));
	}
	PQfreeCancel(cancel);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

bool
client_await(PGconn *conn, int timeout_ms)
{
	int			tries = 0;

	while (PQisBusy(conn))
	{
		bool		unsent = PQflush(conn) > 0;
		struct pollfd fds[2] = {
			{PQsocket(conn), unsent ? POLLIN | POLLOUT : POLLIN, 0},
			{client_stop ? -1 : client_signal_fd, POLLIN, 0},
		};
		bool		stopping = client_stop;
		int			ready = poll(fds, 2, stopping ? STOP_MS : timeout_ms);

		if (ready == 0 && stopping)
		{
			/* where that cannot be said, nothing will come either */
			if (++tries > STOP_TRIES || !cancel_statement(conn))
				shutdown(PQsocket(conn), SHUT_RDWR);
		}
		else if (ready == 0)
			return false;
		else if (fds[0].revents != 0 && !PQconsumeInput(conn))
			return true;
	}
	return true;
}

PGresult *
client_result(PGconn *conn)
{
	PGresult   *result = NULL;
	PGresult   *next;

	/* of a connection that is lost the reason is known, and PQgetResult() would add to it */
	while (client_await(conn, -1) && !client_lost(conn) && (next = PQgetResult(conn)) != NULL)
	{
		if (result == NULL)
			result = next;
		else
			PQclear(next);
	}
	return result;
}

bool
client_send(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	/* not even sending it may wait where no signal is heard */
	return PQsetnonblocking(conn, 1) == 0 &&
		PQsendQueryParams(conn, sql, nparams, NULL, params, NULL, NULL, 0);
}

PGresult *
client_exec(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	return client_send(conn, sql, nparams, params) ? client_result(conn) : NULL;
}

bool
client_may_pass(const char *state)
{
	return strncmp(state, "40", 2) == 0 || strncmp(state, "53", 2) == 0 ||
		strncmp(state, "57", 2) == 0 || strncmp(state, "08", 2) == 0 || strcmp(state, "55P03") == 0;
}

int
client_failed(PGconn *conn, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE) ?: "";
	char	   *error = client_server_error(result, conn);

	if (client_stop && strcmp(state, "57014") == 0)
		client_info("the statement under way was cancelled");
	else
		client_error("%s", error);
	free(error);
	if (client_lost(conn))
		return EXIT_CONNECTION;
	return client_may_pass(state) ? EXIT_AGAIN : EXIT_FAILED;
}

PGresult *
client_try_query(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	PGresult   *result = client_exec(conn, sql, nparams, params);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return result;
	(void) client_failed(conn, result);
	PQclear(result);
	return NULL;
}

PGresult *
client_query(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	PGresult   *result = client_try_query(conn, sql, nparams, params);
	int			code;

	if (result != NULL)
		return result;
	code = client_lost(conn) ? EXIT_CONNECTION : EXIT_FAILED;
	PQfinish(conn);
	exit(code);
}

/* Whether it is that the role may not use the schema of the extension. */
static bool
no_rights(const PGresult *result)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *source = result ? PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION) : NULL;
	const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;

	return state != NULL && strcmp(state, "42501") == 0 && source != NULL &&
		strcmp(source, "aclcheck_error") == 0 && primary != NULL &&
		strstr(primary, " sopflow") != NULL;
}

char *
client_server_error(const PGresult *result, PGconn *conn)
{
	static const char rights[] = "Ask the owner of the extension for sopflow.grant_author(), "
		"which lets a role define and load, or for sopflow.grant_consumer(), which lets it carry "
		"out an action.";
	const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *detail = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
	const char *hint = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_HINT) : NULL;
	char	   *text;
	size_t		len;

	if (hint == NULL && no_rights(result))
		hint = rights;
	if (primary != NULL)
		text = client_format("%s%s%s%s%s", primary, detail ? "\nDETAIL:  " : "",
							 detail ? detail : "", hint ? "\nHINT:  " : "", hint ? hint : "");
	else
		text = client_strdup(PQerrorMessage(conn));
	for (len = strlen(text); len > 0 && text[len - 1] == '\n'; len--)
		text[len - 1] = '\0';
	return text;
}

int
client_backoff_ms(Backoff *backoff)
{
	static unsigned int seed = 0;
	long		wait = BACKOFF_FIRST_MS;

	if (seed == 0)
		seed = (unsigned int) time(NULL) ^ (unsigned int) getpid();
	for (int i = 0; i < backoff->attempts && wait < BACKOFF_LAST_MS; i++)
		wait *= 2;
	if (wait > BACKOFF_LAST_MS)
		wait = BACKOFF_LAST_MS;
	backoff->attempts++;
	/* three quarters to all of it */
	return (int) (wait - rand_r(&seed) % (wait / 4));
}
