/*
 * relay_alert.c
 *	  Alerts: delivered like tasks, but from memory, since no lease keeps them.
 *
 * The last alert of which all before were delivered, or given up, is written
 * to a file where the configuration names one; a relay that comes back reads
 * the later ones from sopflow.alerts.  Without the file those that were raised
 * while no relay ran are not delivered; they stand in the view.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "relay.h"
#include "relay_json.h"

#define MAX_ATTEMPTS	10
#define FIRST_WAIT_S	1
#define LAST_WAIT_S		300
#define MAX_WAITING		10000
#define MAX_CAUGHT		4096

/* an alert between its arrival and its end */
typedef struct Pending
{
	int64_t		id;
	int			attempt;
	char	   *document;
	bool		running;
	LoopTimer	timer;
	struct Pending *next;
} Pending;

int64_t		alerts_dropped = 0;

static Pending *pending;		/* by id */
static int	npending;
static int64_t last_seen = 0;
static int64_t last_written = -1;
static char *state_file;

/* what alerts_caught_up() was given last, a ring */
static int64_t caught[MAX_CAUGHT];
static int	ncaught;

static void
start(void *arg)
{
	Pending    *alert = arg;

	/* a reload may have taken the target away */
	if (relay_config->alerts == NULL)
		return;
	alert->running = true;
	alert->attempt++;
	job_submit(job_new(relay_config, relay_config->alerts, alert->id, alert->attempt,
					   client_strdup(alert->document)));
}

int
alerts_waiting(void)
{
	return npending;
}

/* all alerts up to this one need no relay any more */
static int64_t
finished_up_to(void)
{
	return pending != NULL ? pending->id - 1 : last_seen;
}

/* A new file in the place of the old one: at each moment there is a whole one. */
static void
write_state(void)
{
	char	   *name;
	FILE	   *file;
	int64_t		state = finished_up_to();

	if (state_file == NULL || state == last_written)
		return;
	name = client_format("%s.new", state_file);
	file = fopen(name, "we");
	if (file == NULL || fprintf(file, "%" PRId64 "\n", state) < 0 || fflush(file) != 0 ||
		fsync(fileno(file)) != 0 || rename(name, state_file) != 0)
		relay_warn("could not write \"%s\": %s", state_file, strerror(errno));
	else
		last_written = state;
	if (file != NULL)
		fclose(file);
	free(name);
}

static void
forget(Pending *alert)
{
	Pending   **link = &pending;

	while (*link != alert)
		link = &(*link)->next;
	*link = alert->next;
	npending--;
	loop_timer_clear(&alert->timer);
	free(alert->document);
	free(alert);
	write_state();
}

void
alerts_ended(Job *job)
{
	Pending    *alert = pending;
	double		wait = FIRST_WAIT_S;

	while (alert != NULL && alert->id != job->id)
		alert = alert->next;
	if (alert == NULL)
	{
		job_free(job);
		return;
	}
	alert->running = false;
	for (int i = 1; i < alert->attempt && wait < LAST_WAIT_S; i++)
		wait *= 2;
	if (job->outcome == RELAY_DONE)
		forget(alert);
	else if (relay_draining)
		relay_warn("alert %" PRId64 " was not delivered: %s", alert->id, job->text);
	else if (job->outcome == RELAY_DEAD || alert->attempt >= MAX_ATTEMPTS)
	{
		relay_warn("alert %" PRId64 " is given up: %s", alert->id, job->text);
		alerts_dropped++;
		forget(alert);
	}
	else
	{
		relay_warn("alert %" PRId64 " could not be delivered: %s", alert->id, job->text);
		if (job->retry_in >= 0)
			wait = job->retry_in;
		loop_timer_set(&alert->timer, loop_now() + wait, start, alert);
	}
	job_free(job);
}

/* 0 where it is no alert */
static int64_t
alert_id(const char *payload)
{
	static const char *const key[] = {"alert_id"};
	Slice		text = {payload, strlen(payload)};
	Slice		value;

	if (!json_valid(payload, text.len) || !json_find(text, key, 1, &value))
		return 0;
	return strtoll(value.at, NULL, 10);
}

static void
take_up(int64_t id, const char *payload)
{
	Pending    *alert;
	Pending   **link = &pending;

	while (*link != NULL && (*link)->id < id)
		link = &(*link)->next;
	if (*link != NULL && (*link)->id == id)
		return;
	if (npending >= MAX_WAITING)
	{
		relay_warn("more than %d alerts wait to be delivered: alert %" PRId64 " is given up", MAX_WAITING,
				   id);
		alerts_dropped++;
		return;
	}
	alert = client_alloc(sizeof(Pending));
	alert->id = id;
	alert->document = client_strdup(payload);
	alert->next = *link;
	*link = alert;
	npending++;
	if (id > last_seen)
		last_seen = id;
	start(alert);
}

void
alerts_notified(const char *payload)
{
	int64_t		id = alert_id(payload);

	if (relay_config->alerts == NULL || relay_draining || id <= 0)
		return;
	for (int i = 0; i < ncaught && i < MAX_CAUGHT; i++)
		if (caught[i] == id)
			return;
	take_up(id, payload);
}

void
alerts_caught_up(const char *payload)
{
	int64_t		id = alert_id(payload);

	if (relay_config->alerts == NULL || relay_draining || id <= 0)
		return;
	caught[ncaught++ % MAX_CAUGHT] = id;
	take_up(id, payload);
}

int64_t
alerts_last(void)
{
	return last_seen;
}

void
alerts_begin_after(int64_t id)
{
	if (id > last_seen)
		last_seen = id;
	write_state();
}

static void
read_state(const char *path)
{
	FILE	   *file = fopen(path, "re");

	last_written = -1;
	if (file == NULL)
	{
		if (errno != ENOENT)
			relay_warn("could not read \"%s\": %s", path, strerror(errno));
		return;
	}
	if (fscanf(file, "%" SCNd64, &last_written) != 1 || last_written < 0)
	{
		relay_warn("\"%s\" does not hold the number of an alert", path);
		last_written = -1;
	}
	else if (last_written > last_seen)
		last_seen = last_written;
	fclose(file);
}

void
alerts_config_changed(void)
{
	const char *path = relay_config->alert_state;

	if (path != NULL && (state_file == NULL || strcmp(path, state_file) != 0))
		read_state(path);
	free(state_file);
	state_file = path ? client_strdup(path) : NULL;
	/* those that a configuration without a target has left */
	for (Pending *alert = pending; alert != NULL; alert = alert->next)
		if (!alert->running && alert->timer.slot == 0)
			loop_timer_set(&alert->timer, loop_now(), start, alert);
}

void
alerts_free(void)
{
	while (pending != NULL)
	{
		Pending    *next = pending->next;

		loop_timer_clear(&pending->timer);
		free(pending->document);
		free(pending);
		pending = next;
	}
	free(state_file);
	state_file = NULL;
}
