/*
 * relay_job.c
 *	  Jobs: tasks in hand and alerts, from their start to their end, within what
 *	  each target may be given at once.
 */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "relay.h"

/* no fetch for less than what a rate limit lets through in this time */
#define RATE_STEP_S		0.02
/* ends are counted for so long, and what will begin within so long is fetched ahead */
#define WINDOW_S		0.25
#define AHEAD_S			0.03
/* of documents in hand for one target: no fetch beyond it */
#define MAX_BYTES		(32 * 1024 * 1024)

Config	   *relay_config;
JobList		relay_jobs;
JobList		relay_ended;
bool		relay_draining = false;
int64_t		relay_lost_leases = 0;
int64_t		relay_ends = 0;

static Lane *lanes;
static int	nwaiting;
static int	nrunning;
static LoopTimer tokens_timer;
static LoopTimer hold_timer;

const Carrier carriers[RELAY_KINDS] = {
	{"webhook", http_start, http_abort},
	{"slack", http_start, http_abort},
	{"smtp", smtp_start, smtp_abort},
	{"command", command_start, command_abort},
	{"file", file_start, file_abort}};

Lane *
lane_get(const char *name)
{
	Lane	   *lane;

	for (lane = lanes; lane != NULL; lane = lane->next)
		if (strcmp(lane->name, name) == 0)
			return lane;
	lane = client_alloc(sizeof(Lane));
	lane->name = client_strdup(name);
	lane->tokens = -1;
	lane->next = lanes;
	lanes = lane;
	return lane;
}

Lane *
lanes_all(void)
{
	return lanes;
}

void
lanes_free(void)
{
	while (lanes != NULL)
	{
		Lane	   *next = lanes->next;

		free(lanes->name);
		free(lanes);
		lanes = next;
	}
}

void
list_append(JobList *list, Job *job)
{
	job->prev = list->last;
	job->next = NULL;
	if (list->last != NULL)
		list->last->next = job;
	else
		list->first = job;
	list->last = job;
	list->count++;
}

void
list_remove(JobList *list, Job *job)
{
	if (job->prev != NULL)
		job->prev->next = job->next;
	else
		list->first = job->next;
	if (job->next != NULL)
		job->next->prev = job->prev;
	else
		list->last = job->prev;
	job->prev = job->next = NULL;
	list->count--;
}

static void
refill(const Target *target)
{
	Lane	   *lane = target->lane;
	double		now = loop_now();

	if (target->rate == 0)
		return;
	if (lane->tokens < 0)
		lane->tokens = target->burst;
	else
		lane->tokens += (now - lane->tokens_at) * target->rate;
	if (lane->tokens > target->burst)
		lane->tokens = target->burst;
	lane->tokens_at = now;
}

/* places of max_in_flight that are kept for targets with less than their share */
static int
kept_for_others(const Target *target)
{
	int			share = relay_config->max_in_flight / (2 * relay_config->ntargets);
	int			kept = 0;

	for (Target *other = relay_config->targets; other != NULL; other = other->next)
	{
		int			least = share < other->concurrency ? share : other->concurrency;

		if (other != target && other->used && other->lane->in_hand < least)
			kept += least - other->lane->in_hand;
	}
	return kept;
}

static void
count_end(Lane *lane)
{
	double		passed = loop_now() - lane->window;

	if (passed > WINDOW_S)
	{
		lane->pace = lane->ends / passed;
		lane->window = loop_now();
		lane->ends = 0;
	}
	lane->ends++;
}

/*
 * What to have in hand beside what runs, so that a place that becomes free need
 * not wait for the database: nothing for a target that is slow or limited.
 */
static int
ahead(const Target *target)
{
	const Lane *lane = target->lane;
	int			tasks = (int) (lane->pace * AHEAD_S);

	if (target->rate > 0 || loop_now() - lane->window > 2 * WINDOW_S)
		return 0;
	return tasks < target->concurrency / 2 ? tasks : target->concurrency / 2;
}

int
target_room(const Target *target, double *when)
{
	Lane	   *lane = target->lane;
	int			more = ahead(target);
	int			room = target->concurrency + more - lane->in_hand;
	int			all = relay_config->max_in_flight + more - relay_jobs.count -
		kept_for_others(target);

	*when = 0;
	if (relay_draining)
		return 0;
	if (lane->held_until > loop_now())
	{
		*when = lane->held_until;
		return 0;
	}
	/* something of it will end, and then it is asked again */
	if (lane->bytes >= MAX_BYTES)
		return 0;
	if (all < room)
		room = all;
	if (room > 0 && target->rate > 0)
	{
		double		free_tokens;
		double		wanted = target->rate * RATE_STEP_S;

		refill(target);
		free_tokens = lane->tokens - (lane->in_hand - lane->running);
		wanted = wanted < 1 ? 1 : wanted > target->burst ? target->burst : wanted;
		if (free_tokens < wanted)
		{
			*when = loop_now() + (wanted - free_tokens) / target->rate + 0.001;
			return 0;
		}
		if (free_tokens < room)
			room = (int) free_tokens;
	}
	return room > 0 ? room : 0;
}

Job *
job_new(Config *config, Spec *spec, int64_t id, int attempt, char *document)
{
	Job		   *job = client_alloc(sizeof(Job));

	config->users++;
	job->config = config;
	job->spec = spec;
	job->lane = spec->target->lane;
	job->alert = spec->alert;
	job->id = id;
	job->attempt = attempt;
	job->document = document;
	job->document_len = strlen(document);
	job->lane->bytes += job->document_len;
	return job;
}

static void
free_document(Job *job)
{
	job->lane->bytes -= job->document_len;
	job->document_len = 0;
	free(job->document);
	job->document = NULL;
}

void
job_free(Job *job)
{
	free_document(job);
	config_release(job->config);
	free(job->text);
	free(job);
}

static void
start(Job *job)
{
	job->state = JOB_RUNNING;
	job->started = loop_now();
	job->lane->running++;
	nrunning++;
	if (job->spec->target->rate > 0)
		job->lane->tokens -= 1;
	carriers[job->spec->target->kind].start(job);
}

static void
start_again(void *arg)
{
	(void) arg;
	jobs_start_waiting();
}

/* whether the target may be given one more; if not, something will ask again */
static bool
may_start(const Target *target)
{
	if (target->lane->running >= target->concurrency || nrunning >= relay_config->max_in_flight)
		return false;
	if (target->lane->held_until > loop_now())
	{
		if (hold_timer.slot == 0 || hold_timer.at > target->lane->held_until)
			loop_timer_set(&hold_timer, target->lane->held_until, start_again, NULL);
		return false;
	}
	refill(target);
	if (target->rate == 0 || target->lane->tokens >= 1)
		return true;
	if (tokens_timer.slot == 0)
		loop_timer_set(&tokens_timer, loop_now() + 0.001 +
					   (1 - target->lane->tokens) / target->rate, start_again, NULL);
	return false;
}

void
job_submit(Job *job)
{
	job->state = JOB_WAITING;
	job->lane->in_hand++;
	list_append(&relay_jobs, job);
	if (may_start(job->spec->target))
		start(job);
	else
		nwaiting++;
}

static void
drop(Job *job)
{
	list_remove(&relay_jobs, job);
	job->lane->in_hand--;
	relay_lost_leases++;
	job_free(job);
}

void
jobs_start_waiting(void)
{
	Job		   *next;

	if (nwaiting == 0)
		return;
	/* the ends of those that are started change the list, but not the next one */
	for (Job *job = relay_jobs.first; job != NULL; job = next)
	{
		next = job->next;
		if (job->state != JOB_WAITING)
			continue;
		if (job->lost || (!job->alert && job->lease_end <= loop_now()))
		{
			/* somebody else has it by now */
			nwaiting--;
			drop(job);
		}
		else if (may_start(job->spec->target))
		{
			nwaiting--;
			start(job);
		}
	}
}

static void
end(Job *job, RelayOutcome outcome, double retry_in, char *text)
{
	double		seconds = job->state == JOB_RUNNING ? loop_now() - job->started : 0;

	if (job->state == JOB_RUNNING)
	{
		job->lane->running--;
		nrunning--;
		count_end(job->lane);
	}
	else
		nwaiting--;
	job->lane->in_hand--;
	relay_ends++;
	metrics_count(job->lane, outcome, seconds);
	list_remove(&relay_jobs, job);
	job->state = JOB_ENDED;
	job->outcome = outcome;
	job->retry_in = retry_in;
	job->text = text;
	job->delivery = NULL;
	relay_debug("%s %lld (%s), attempt %d: %s after %.3f s%s%s", job->alert ? "alert" : "task",
				(long long) job->id, job->lane->name, job->attempt,
				outcome == RELAY_DONE ? "done" : outcome == RELAY_RETRY ? "failed" : "failed for good",
				seconds, outcome == RELAY_DONE ? "" : ": ", outcome == RELAY_DONE ? "" : text);
	if (job->alert)
		alerts_ended(job);
	else if (job->lost)
	{
		relay_lost_leases++;
		job_free(job);
	}
	else
	{
		/* only the outcome is kept, should the database be away for long */
		free_document(job);
		list_append(&relay_ended, job);
	}
}

void
job_done(Job *job, char *result)
{
	end(job, RELAY_DONE, -1, result);
}

void
job_failed(Job *job, RelayOutcome outcome, double retry_in, char *error)
{
	char	   *redacted = relay_redact(error);
	Text		clean = {0};

	text_clean(&clean, redacted, strlen(redacted), 1000);
	free(redacted);
	free(error);
	end(job, outcome, retry_in, text_take(&clean));
}

void
jobs_abandon(void)
{
	Job		   *next;

	for (Job *job = relay_jobs.first; job != NULL; job = next)
	{
		next = job->next;
		if (job->state == JOB_RUNNING)
		{
			carriers[job->spec->target->kind].abort(job);
			job_failed(job, RELAY_RETRY, -1,
					   client_strdup("the relay was stopped before the delivery ended"));
		}
		else
			job_failed(job, RELAY_RETRY, 0,
					   client_strdup("the relay was stopped before the delivery began"));
	}
}
