/*
 * relay_alert.c
 *	  Alerts: read from sopflow.alerts and delivered like tasks.
 *
 * A notification only rings: what is delivered is what stands in the view as
 * sent, so nobody can have the relay tell a thing that was not raised, none is
 * lost that did not fit into memory, and none is named after it was forgotten.
 * Numbers may become visible out of order, by transactions that took them early
 * and committed late.  So those that came after `base` are remembered, and base
 * follows them only where no number is left out, or where the alert behind the
 * gap had been sent for SETTLED_S when all was read.  One that comes from behind
 * base after all is read when its notification names it.
 *
 * Where the configuration names a file, it has base and the numbers behind it
 * that are done with; a relay that comes back goes on from there.  Without it,
 * a relay begins behind the alerts that it finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "relay.h"
#include "relay_db.h"
#include "relay_json.h"

#define MAX_ATTEMPTS	10
#define FIRST_WAIT_S	1
#define LAST_WAIT_S		300
#define MAX_HELD		500		/* read and not done with */
#define MAX_ASKED		10000
#define ASK_AT_ONCE		100
#define MAX_ENDED		4096
#define SETTLED_S		600
#define READ_AGAIN_S	5

typedef enum AlertState
{
	ALERT_WAITING, ALERT_RUNNING, ALERT_PAUSED, ALERT_ENDED
} AlertState;

typedef struct Alert
{
	int64_t		id;
	AlertState	state;
	int			attempt;
	char	   *document;
	double		settled;		/* when no lower number is expected any more */
	LoopTimer	timer;
	struct Alert *next;
} Alert;

int64_t		alerts_dropped = 0;

static Alert *alerts;			/* by id */
static int	nheld;				/* of them not ended */
static int	nrunning;
static int64_t base = -1;		/* not known yet */
static int64_t asked[MAX_ASKED];	/* named by notifications, maybe behind base */
static int	nasked;
static int	nsent;				/* of them in the statement that runs */
static int64_t ended[MAX_ENDED];	/* the last ones, a ring: read before they were named */
static unsigned nended;
static bool checked;			/* that base is one of this database */
static bool wanted;				/* there may be some to read */
static double sent_at;			/* the reading that runs */
static double complete_at = -1; /* the last reading, which left none */
static int	read_limit;
static int	read_rows;
static LoopTimer again_timer;
static LoopTimer write_timer;
static char *state_file;
static char *state_written;

int
alerts_waiting(void)
{
	return nheld;
}

/* ---- the file ---- */

/*
 * A new file in the place of the old one: at each moment there is a whole one.
 * Another relay may do the same.
 */
static void
write_state(void)
{
	Text		text = {0};
	char	   *name;
	FILE	   *file;

	if (state_file == NULL || base < 0)
		return;
	text_format(&text, "%" PRId64, base);
	for (Alert *alert = alerts; alert != NULL; alert = alert->next)
		if (alert->state == ALERT_ENDED)
			text_format(&text, " %" PRId64, alert->id);
	text_add(&text, "\n");
	if (state_written != NULL && strcmp(text.data, state_written) == 0)
	{
		text_free(&text);
		return;
	}
	name = client_format("%s.%d.new", state_file, (int) getpid());
	file = fopen(name, "we");
	if (file == NULL || fputs(text.data, file) < 0 || fflush(file) != 0 ||
		fsync(fileno(file)) != 0 || rename(name, state_file) != 0)
	{
		relay_warn("could not write \"%s\": %s", state_file, strerror(errno));
		text_free(&text);
		unlink(name);
	}
	else
	{
		free(state_written);
		state_written = text_take(&text);
	}
	if (file != NULL)
		fclose(file);
	free(name);
}

static void
write_due(void *arg)
{
	(void) arg;
	write_state();
}

/* where it belongs in the list, which has none of this number */
static Alert *
insert(int64_t id, double settled)
{
	Alert	  **link = &alerts;
	Alert	   *alert;

	while (*link != NULL && (*link)->id < id)
		link = &(*link)->next;
	if (*link != NULL && (*link)->id == id)
		return NULL;
	alert = client_alloc(sizeof(Alert));
	alert->id = id;
	alert->settled = settled;
	alert->next = *link;
	*link = alert;
	return alert;
}

static void
read_state(const char *path)
{
	FILE	   *file = fopen(path, "re");
	int64_t		id;

	if (file == NULL)
	{
		if (errno != ENOENT)
			relay_warn("could not read \"%s\": %s", path, strerror(errno));
		return;
	}
	if (fscanf(file, "%" SCNd64, &id) != 1 || id < 0)
		relay_warn("\"%s\" does not hold the number of an alert", path);
	else
	{
		base = id;
		while (fscanf(file, "%" SCNd64, &id) == 1)
		{
			Alert	   *alert = id > base ? insert(id, loop_now() + SETTLED_S) : NULL;

			if (alert != NULL)
				alert->state = ALERT_ENDED;
		}
	}
	fclose(file);
}

/* ---- delivering ---- */

static bool
passed(const Alert *alert)
{
	return alert->state == ALERT_ENDED && (alert->id <= base || alert->id == base + 1);
}

/* forget those that need not be remembered */
static void
advance(void)
{
	/* a gap is passed when all that was named is read */
	for (Alert *it = wanted || !db_ready() ? NULL : alerts; it != NULL; it = it->next)
	{
		if (it->state != ALERT_ENDED || it->settled > complete_at)
			break;
		if (it->id > base)
			base = it->id;
	}
	while (alerts != NULL && passed(alerts))
	{
		Alert	   *next = alerts->next;

		if (alerts->id > base)
			base = alerts->id;
		free(alerts);
		alerts = next;
	}
	/* in the next turn, together with those that end in this one */
	if (write_timer.slot == 0)
		loop_timer_set(&write_timer, loop_now(), write_due, NULL);
}

static Alert *
next_waiting(void)
{
	for (Alert *alert = alerts; alert != NULL; alert = alert->next)
		if (alert->state == ALERT_WAITING)
			return alert;
	return NULL;
}

/* Tasks have the other half of the target's places, and three quarters of all. */
static int
places(void)
{
	int			of_target = (relay_config->alerts->target->concurrency + 1) / 2;
	int			of_all = (relay_config->max_in_flight + 3) / 4;

	return of_target < of_all ? of_target : of_all;
}

static void
start_waiting(void)
{
	static bool busy = false;
	Alert	   *alert;

	/* a reload may have taken the target away */
	if (busy || relay_config->alerts == NULL)
		return;
	busy = true;
	while (nrunning < places() && (alert = next_waiting()) != NULL)
	{
		alert->state = ALERT_RUNNING;
		alert->attempt++;
		nrunning++;
		/* it may end at once */
		job_submit(job_new(relay_config, relay_config->alerts, alert->id, alert->attempt,
						   client_strdup(alert->document)));
	}
	busy = false;
}

static void
pause_over(void *arg)
{
	((Alert *) arg)->state = ALERT_WAITING;
	start_waiting();
}

static void
failed(Alert *alert, const Job *job)
{
	double		wait = FIRST_WAIT_S;

	if (relay_draining)
	{
		relay_warn("alert %" PRId64 " was not delivered: %s", alert->id, job->text);
		alert->state = ALERT_PAUSED;
		return;
	}
	if (alert->attempt >= MAX_ATTEMPTS)
	{
		relay_warn("alert %" PRId64 " is given up: %s", alert->id, job->text);
		alerts_dropped++;
		alert->state = ALERT_ENDED;
		return;
	}
	relay_warn("alert %" PRId64 " could not be delivered: %s", alert->id, job->text);
	for (int i = 1; i < alert->attempt && wait < LAST_WAIT_S; i++)
		wait *= 2;
	if (job->retry_in >= 0)
		wait = job->retry_in;
	alert->state = ALERT_PAUSED;
	loop_timer_set(&alert->timer, loop_now() + wait, pause_over, alert);
}

void
alerts_ended(Job *job)
{
	Alert	   *alert = alerts;

	while (alert->id != job->id)
		alert = alert->next;
	nrunning--;
	if (job->outcome == RELAY_DONE)
		alert->state = ALERT_ENDED;
	else
		failed(alert, job);
	if (alert->state == ALERT_ENDED)
	{
		nheld--;
		ended[nended++ % MAX_ENDED] = alert->id;
		free(alert->document);
		alert->document = NULL;
		advance();
	}
	/* when the relay gives up what is in flight, nothing takes its place */
	if (job->outcome == RELAY_DONE || !relay_draining)
		start_waiting();
	job_free(job);
}

/* ---- reading ---- */

static void
take_rows(const PGresult *result)
{
	read_rows = PQntuples(result);
	for (int row = 0; row < read_rows; row++)
	{
		double		age = strtod(PQgetvalue(result, row, 2), NULL);
		Alert	   *alert = insert(strtoll(PQgetvalue(result, row, 0), NULL, 10),
								   loop_now() + SETTLED_S - age);

		if (alert == NULL)
			continue;
		alert->document = client_strdup(PQgetvalue(result, row, 1));
		nheld++;
	}
}

static void
again(void *arg)
{
	(void) arg;
	wanted = true;
}

static void
reading_failed(const char *sqlstate, const char *message)
{
	static double last = 0;

	(void) sqlstate;
	relay_warn_rarely(&last, "alerts could not be read: %s", message);
	read_rows = -1;
	loop_timer_set(&again_timer, loop_now() + READ_AGAIN_S, again, NULL);
}

static void
reading_over(void)
{
	if (read_rows < 0)
		return;
	memmove(asked, asked + nsent, (nasked - nsent) * sizeof(int64_t));
	nasked -= nsent;
	if (read_rows < read_limit)
		complete_at = sent_at;
	wanted |= read_rows == read_limit || nasked > 0;
	advance();
	start_waiting();
}

static const DbStatement reading = {take_rows, reading_failed, reading_over, NULL,
"reading alerts"};

/* Numbers that the database does not know are those of another, or of a later time. */
static void
take_base(const PGresult *result)
{
	int64_t		last = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	Alert	  **link = &alerts;

	checked = wanted = true;
	if (base >= 0 && base <= last)
		return;
	if (base > last)
		relay_warn("all alerts up to %" PRId64 " are remembered as delivered, but the last one in the "
				   "database is %" PRId64 ": those behind it are delivered", base, last);
	base = last;
	nended = 0;
	while (*link != NULL)
	{
		Alert	   *alert = *link;

		if (alert->state == ALERT_ENDED && alert->id > base)
		{
			*link = alert->next;
			free(alert);
		}
		else
			link = &alert->next;
	}
	write_state();
}

static void
base_over(void)
{
}

static const DbStatement finding_base = {take_base, reading_failed, base_over, NULL,
"reading alerts"};

bool
alerts_send(void)
{
	Text		known = {0};
	Text		named = {0};
	char		after[32];
	char		limit[32];

	if (!wanted || relay_draining || relay_config->alerts == NULL || nheld > MAX_HELD / 2)
		return false;
	wanted = false;
	if (!checked)
	{
		db_send(&finding_base, "SELECT coalesce(max(alert_id), 0) FROM sopflow.alerts"
				" WHERE sent_at IS NOT NULL", 0, NULL);
		return true;
	}
	text_add(&known, "{");
	for (Alert *alert = alerts; alert != NULL; alert = alert->next)
		text_format(&known, "%s%" PRId64, alert == alerts ? "" : ",", alert->id);
	text_add(&known, "}");
	text_add(&named, "{");
	nsent = nasked < ASK_AT_ONCE ? nasked : ASK_AT_ONCE;
	for (int i = 0; i < nsent; i++)
		text_format(&named, "%s%" PRId64, i == 0 ? "" : ",", asked[i]);
	text_add(&named, "}");
	sent_at = loop_now();
	complete_at = -1;
	read_limit = MAX_HELD - nheld;
	snprintf(after, sizeof(after), "%" PRId64, base);
	snprintf(limit, sizeof(limit), "%d", read_limit);
	db_send(&reading, "SELECT alert_id, jsonb_build_object('v', 1, 'type', 'alert', 'alert_id', alert_id,"
			" 'kind', kind, 'action', action, 'sop', sop_id, 'task_id', task_id, 'message',"
			" \"left\"(message, 1500), 'raised_at', raised_at), extract(epoch FROM now() - sent_at)"
			" FROM sopflow.alerts WHERE (alert_id > $1::bigint AND sent_at IS NOT NULL"
			" OR alert_id = ANY ($3::bigint[]) AND sent_at > now() - interval '10 minutes')"
			" AND alert_id <> ALL ($2::bigint[]) ORDER BY alert_id LIMIT $4::int", 4,
			(const char *const[]) {after, known.data, named.data, limit});
	text_free(&known);
	text_free(&named);
	return true;
}

void
alerts_expected(void)
{
	wanted = true;
	checked = false;
}

static bool
ended_lately(int64_t id)
{
	for (unsigned i = 0; i < nended && i < MAX_ENDED; i++)
		if (ended[i] == id)
			return true;
	return false;
}

void
alerts_notified(const char *payload)
{
	static const char *const key[] = {"alert_id"};
	Slice		text = {payload, strlen(payload)};
	Slice		value;
	static double last = 0;

	wanted = true;
	if (json_valid(payload, text.len) && json_find(text, key, 1, &value))
	{
		int64_t		id = strtoll(value.at, NULL, 10);

		if (id <= 0 || (id > base && base >= 0) || ended_lately(id))
			return;
		if (nasked < MAX_ASKED)
			asked[nasked++] = id;
		else
			relay_warn_rarely(&last, "alert %" PRId64 " came too late, with too many others: it is in "
							  "sopflow.alerts, but not delivered", id);
	}
}

/* ---- configuration ---- */

void
alerts_config_changed(void)
{
	const char *path = relay_config->alert_state;

	write_state();
	if (path != NULL && base < 0)
		read_state(path);
	free(state_file);
	free(state_written);
	state_file = path ? client_strdup(path) : NULL;
	state_written = NULL;
	start_waiting();
}

void
alerts_free(void)
{
	write_state();
	if (nheld > 0)
		relay_warn("%d alerts were not delivered", nheld);
	while (alerts != NULL)
	{
		Alert	   *next = alerts->next;

		loop_timer_clear(&alerts->timer);
		free(alerts->document);
		free(alerts);
		alerts = next;
	}
	loop_timer_clear(&again_timer);
	loop_timer_clear(&write_timer);
	free(state_file);
	free(state_written);
	state_file = state_written = NULL;
}
