/*
 * relay_db.c
 *	  The relay's connection to the database: made and made again, and one
 *	  statement at a time on it, none of which is waited for.
 *
 * What is to be said gathers while a statement is under way, so that the more
 * there is to do, the larger the batches.  Outcomes that the server did not
 * confirm are said again on the next connection: a token that is no longer good
 * changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "protocol.h"
#include "relay.h"
#include "relay_db.h"
#include "relay_json.h"

#define FIRST_WAIT_S	0.1
#define LAST_WAIT_S		30
#define CONNECT_S		15
#define STATEMENT_S		60
/* a statement that takes so long is worth a word */
#define SLOW_S			5

typedef enum DbState
{
	DB_DOWN,
	DB_CONNECTING,
	DB_SETUP,
	DB_READY
} DbState;

int64_t		db_reconnects = 0;
int64_t		db_fetches = 0;
int64_t		db_fetched = 0;

static PGconn *conn;
static DbState state = DB_DOWN;
static const DbStatement *running;	/* NULL: idle */
static bool failed;				/* the statement */
static double sent_at;
static int	watched = -1;
static double wait = FIRST_WAIT_S;
static double paused_until;
static bool stale = false;		/* what it listens to */
static LoopTimer connect_timer;
static LoopTimer watchdog;
static LoopTimer slow_timer;
static LoopTimer pause_timer;
static LoopTimer poll_timer;

static void open_connection(void *arg);
static void socket_ready(void *arg, int fd, uint32_t events);

bool
db_ready(void)
{
	return state == DB_READY;
}

bool
db_waits(void)
{
	return running != NULL && loop_now() >= sent_at + SLOW_S;
}

static void
running_over(void)
{
	running = NULL;
	loop_timer_clear(&watchdog);
	loop_timer_clear(&slow_timer);
}

static void
watch(uint32_t events)
{
	int			fd = PQsocket(conn);

	if (watched >= 0 && watched != fd)
		loop_unwatch(watched);
	watched = fd;
	if (fd >= 0)
		loop_watch(fd, events, socket_ready, NULL);
}

/* Close what there was, and try again after a while. */
static void
lost(const char *why)
{
	Text		clean = {0};
	double		delay = wait * (0.5 + loop_random() / 2);

	text_clean(&clean, why, strlen(why), 500);
	if (watched >= 0)
		loop_unwatch(watched);
	watched = -1;
	if (running != NULL && running->lost != NULL)
		running->lost();
	running_over();
	PQfinish(conn);
	conn = NULL;
	if (state == DB_READY)
	{
		db_reconnects++;
		relay_warn("connection to the database lost: %s", clean.data);
	}
	else
		relay_warn("no connection to the database: %s; trying again in %.1f s", clean.data, delay);
	state = DB_DOWN;
	wait = wait * 2 < LAST_WAIT_S ? wait * 2 : LAST_WAIT_S;
	loop_timer_set(&connect_timer, loop_now() + delay, open_connection, NULL);
	text_free(&clean);
}

static const char *
running_what(void)
{
	return running->what != NULL ? running->what : "a statement";
}

static void
too_long(void *arg)
{
	char		why[200];

	(void) arg;
	if (running == NULL)
	{
		lost("the server does not answer");
		return;
	}
	snprintf(why, sizeof(why), "%s takes longer than %d s", running_what(), STATEMENT_S);
	lost(why);
}

static void
slow(void *arg)
{
	(void) arg;
	relay_warn("%s takes longer than %d s: until the server has answered, nothing is fetched, reported or "
			   "extended; pg_stat_activity shows what it waits for", running_what(), SLOW_S);
}

static void
flush(void)
{
	int			left = PQflush(conn);

	if (left < 0)
		lost(PQerrorMessage(conn));
	else
		watch(left > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void
db_send(const DbStatement *statement, const char *sql, int nparams, const char *const *params)
{
	running = statement;
	failed = false;
	sent_at = loop_now();
	loop_timer_set(&watchdog, loop_now() + STATEMENT_S, too_long, NULL);
	loop_timer_set(&slow_timer, loop_now() + SLOW_S, slow, NULL);
	if (nparams < 0 ? !PQsendQuery(conn, sql) :
		!PQsendQueryParams(conn, sql, nparams, NULL, params, NULL, NULL, 0))
		lost(PQerrorMessage(conn));
	else
		flush();
}

void
db_pause(double seconds)
{
	paused_until = loop_now() + seconds;
}

/* errors that may be gone the next time */
bool
db_may_pass(const char *sqlstate)
{
	static const char *const classes[] = {"40", "53", "55", "57", "58", "XX", "08"};

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i], 2) == 0)
			return true;
	return false;
}

static void
setup_result(const PGresult *result)
{
	/* of the multi-statement's parts only the first may give no row */
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0)
	{
		failed = true;
		relay_warn("database \"%s\" has no extension sopflow", PQdb(conn));
	}
}

static void
setup_failed(const char *sqlstate, const char *message)
{
	(void) sqlstate;
	relay_warn("%s", message);
}

/* a doorbell's payload: there are tasks for its action; NULL: maybe for any */
static void
tasks_expected(const char *payload)
{
	static const char *const key[] = {"action"};
	Slice		text = {payload, payload ? strlen(payload) : 0};
	Slice		value;
	Text		name = {0};

	if (payload != NULL)
	{
		if (!json_valid(payload, text.len) || !json_find(text, key, 1, &value))
			return;
		json_unquote(&name, value);
	}
	for (Action *action = relay_config->actions; action != NULL; action = action->next)
		if (payload == NULL || strcmp(action->name, name.data) == 0)
			action->spec->target->more = true;
	text_free(&name);
}

static void
poll_due(void *arg)
{
	(void) arg;
	tasks_expected(NULL);
	loop_timer_set(&poll_timer, loop_now() + relay_config->poll, poll_due, NULL);
}

static void
setup_ended(void)
{
	if (failed)
	{
		lost("it is not ready for the relay");
		return;
	}
	if (state != DB_READY)
		relay_log("connected to database \"%s\"%s%s", PQdb(conn), PQhost(conn) && *PQhost(conn) ?
				  " at " : "", PQhost(conn) ? PQhost(conn) : "");
	state = DB_READY;
	wait = FIRST_WAIT_S;
	tasks_expected(NULL);
	alerts_expected();
	loop_timer_set(&poll_timer, loop_now() + relay_config->poll, poll_due, NULL);
}

static const DbStatement setup = {setup_result, setup_failed, setup_ended, NULL,
"the set-up of the connection"};

/*
 * Whatever the role's own settings are, and however the server was configured:
 * sopflow's functions are called by their full names, retrying a statement
 * because of its isolation helps nobody, and nothing waits for a lock for long,
 * since all that there is to say goes over this connection.
 * client_connection_check_interval is an error on some systems.
 */
static void
set_up(void)
{
	Text		sql = {0};

	text_add(&sql, "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'sopflow';"
			 " SET search_path = pg_catalog, pg_temp; SET default_transaction_isolation = 'read committed';"
			 " SET idle_session_timeout = 0; SET statement_timeout = 0; SET lock_timeout = '1s';"
			 " SELECT CASE WHEN version() ~ 'linux' THEN"
			 " set_config('client_connection_check_interval', '5s', false) END; UNLISTEN *;");
	for (int i = 0; i < relay_config->nchannels; i++)
	{
		const char *channel = relay_config->channels[i];
		char	   *quoted = PQescapeIdentifier(conn, channel, strlen(channel));

		if (quoted != NULL)
			text_format(&sql, " LISTEN %s;", quoted);
		PQfreemem(quoted);
	}
	if (relay_config->alerts != NULL)
		text_add(&sql, " LISTEN " SF_ALERT_CHANNEL ";");
	stale = false;
	db_send(&setup, sql.data, -1, NULL);
	text_free(&sql);
}

static void
go_on_connecting(void)
{
	PostgresPollingStatusType poll;

	/* it may close its socket and open another */
	if (watched >= 0)
		loop_unwatch(watched);
	watched = -1;
	poll = PQconnectPoll(conn);
	if (poll == PGRES_POLLING_FAILED)
		lost(PQerrorMessage(conn));
	else if (poll == PGRES_POLLING_OK)
	{
		state = DB_SETUP;
		PQsetnonblocking(conn, 1);
		set_up();
	}
	else
		watch(poll == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT);
}

static void
open_connection(void *arg)
{
	(void) arg;
	conn = client_connect_start();
	if (PQstatus(conn) == CONNECTION_BAD)
	{
		lost(PQerrorMessage(conn));
		return;
	}
	state = DB_CONNECTING;
	loop_timer_set(&watchdog, loop_now() + CONNECT_S, too_long, NULL);
	watch(EPOLLOUT);
}

static void
take_notifications(void)
{
	PGnotify   *notify;

	while ((notify = PQnotifies(conn)) != NULL)
	{
		if (strcmp(notify->relname, SF_ALERT_CHANNEL) == 0)
			alerts_notified(notify->extra);
		else
			tasks_expected(notify->extra);
		PQfreemem(notify);
	}
}

static void
statement_over(void)
{
	const DbStatement *over = running;

	if (db_waits())
		relay_log("%s has ended, after %.0f s", running_what(), loop_now() - sent_at);
	running_over();
	over->ended();
}

/* false: the connection is gone */
static bool
take_results(void)
{
	while (running != NULL && !PQisBusy(conn))
	{
		PGresult   *result = PQgetResult(conn);
		ExecStatusType status = PQresultStatus(result);

		if (result == NULL)
			statement_over();
		else if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		{
			if (running->result != NULL && !failed)
				running->result(result);
		}
		else
		{
			const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			char	   *message = client_server_error(result, conn);

			failed = true;
			/* without a SQLSTATE it is libpq's own: the connection broke */
			if (sqlstate != NULL)
				running->failed(sqlstate, message);
			/* a standby will not do */
			if (sqlstate != NULL && strcmp(sqlstate, "25006") == 0)
			{
				PQclear(result);
				lost(message);
				free(message);
				return false;
			}
			free(message);
		}
		PQclear(result);
		if (conn == NULL)
			return false;
		if (PQstatus(conn) != CONNECTION_OK)
		{
			lost(PQerrorMessage(conn));
			return false;
		}
	}
	return true;
}

static void
socket_ready(void *arg, int fd, uint32_t events)
{
	(void) arg;
	(void) fd;
	if (state == DB_CONNECTING)
	{
		go_on_connecting();
		return;
	}
	if (events & ~(uint32_t) EPOLLOUT)
	{
		if (!PQconsumeInput(conn))
		{
			/* what the server said last may be there yet */
			lost(PQerrorMessage(conn));
			return;
		}
		if (!take_results())
			return;
		take_notifications();
	}
	flush();
}

static void
pause_over(void *arg)
{
	(void) arg;
}

void
db_pump(void)
{
	if (state != DB_READY || running != NULL)
		return;
	if (loop_now() < paused_until)
	{
		loop_timer_set(&pause_timer, paused_until, pause_over, NULL);
		return;
	}
	if (stale)
		set_up();
	else
		work_pump();
	/* a short statement may be answered already */
	if (running == NULL && conn != NULL)
		take_notifications();
}

void
db_config_changed(void)
{
	stale = true;
}

bool
db_busy(void)
{
	return running != NULL;
}

void
db_start(void)
{
	open_connection(NULL);
}

void
db_end(void)
{
	if (watched >= 0)
		loop_unwatch(watched);
	watched = -1;
	if (running != NULL && running->lost != NULL)
		running->lost();
	running_over();
	PQfinish(conn);
	conn = NULL;
	state = DB_DOWN;
	loop_timer_clear(&connect_timer);
	loop_timer_clear(&pause_timer);
	loop_timer_clear(&poll_timer);
}
