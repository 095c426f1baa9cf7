/*
 * connect.c
 *	  Connections to the server: made, lost and made again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define BACKOFF_FIRST_MS	250
#define BACKOFF_LAST_MS		30000

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

	result = PQexec(conn, "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'sopflow'");
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
		conn = client_open();
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

PGresult *
client_try_query(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	PGresult   *result = PQexecParams(conn, sql, nparams, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);
	char	   *error;

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return result;
	error = client_server_error(result, conn);
	client_error("%s", error);
	free(error);
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
