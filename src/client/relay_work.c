/*
 * relay_work.c
 *	  What the relay says to the database: fetch, extend, done, failed.
 *
 * One statement at a time, the most urgent first: leases that would end,
 * outcomes, then tasks for the target whose turn it is.  Only what may be
 * started at once is fetched, so that no lease is hoarded.
 *
 * Outcomes and extensions take the locks of runs, and a transaction may hold
 * one for long; other faults may lie in one task, too.  A batch that fails so is
 * tried again in groups, then each job alone.  One that fails alone is blocked:
 * of those one at a time is tried, with pauses, so that they do not keep the
 * others waiting, and the one whose turn is longest due first, so that they do
 * not keep each other waiting.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "protocol.h"
#include "relay.h"
#include "relay_db.h"

#define MAX_BATCH		1000
#define GROUP			32
/* how long a lock is waited for, at first and by what failed before */
#define PATIENCE		"200ms"
#define SHORT_PATIENCE	"10ms"
/* for this one statement */
#define FROM_PATIENCE(parameter) \
	" FROM (SELECT pg_catalog.set_config('lock_timeout', " parameter ", true)) AS patience"
/* between tries of what is blocked; of the same job twice as long after each that fails */
#define FIRST_PAUSE_S	0.05
#define LAST_PAUSE_S	1
/* a lease is extended when this part of it has passed */
#define EXTEND_AFTER	0.4
/* after a refusal, an action is left alone for so long */
#define BLOCKED_S		30
/* of tasks that come at once, about */
#define FETCH_BYTES		(8 * 1024 * 1024)
#define FIRST_FETCH		8

/* what is being reported; how many leases are being extended */
static JobList batch;
static int	extending;
static bool locked;				/* somebody has the lock of a run */
static bool refused;			/* not to be tried again as it is */
static bool passing;			/* try again later */
static double asked_at;

static double blocked_until = INFINITY; /* what is blocked is not tried */
static LoopTimer blocked_timer;

/* what is being fetched */
static Config *fetch_config;
static Target *fetch_target;
static Action *fetch_action;	/* the only one; NULL: several */
static int	fetch_rows;
static int	fetch_asked;

static int	turn;				/* of the targets */
static bool failures_first;
static double next_extend;
static LoopTimer extend_timer;
static LoopTimer room_timer;
static double warned_blocked;
static double warned_lost;
static double warned_fetch;
static double warned_report;

static void
wake(void *arg)
{
	/* the loop pumps after every turn */
	(void) arg;
}

int
work_unreported(void)
{
	return relay_ended.count + batch.count;
}

int
work_blocked(void)
{
	const JobList *const lists[] = {&relay_jobs, &relay_ended, &batch};
	int			count = 0;

	for (int i = 0; i < 3; i++)
		for (const Job *job = lists[i]->first; job != NULL; job = job->next)
			count += job->blocked;
	return count;
}

/* ---- statements that fail ---- */

static void
classify(const char *sqlstate)
{
	locked = strcmp(sqlstate, "55P03") == 0;
	passing = !locked && db_may_pass(sqlstate);
	refused = !locked && !passing;
}

static void
begin_statement(void)
{
	locked = passing = refused = false;
	asked_at = loop_now();
}

static const char *
patience(const Job *job)
{
	return job->together > 0 ? SHORT_PATIENCE : PATIENCE;
}

/* each with its like */
static bool
may_join(const Job *job, const Job *first)
{
	return !job->blocked && (first == NULL || job->together == first->together);
}

static int
most_together(const Job *first)
{
	return first->together > 0 ? first->together : MAX_BATCH;
}

/* Its batch of so many failed. */
static void
split(Job *job, int count)
{
	job->together = count > GROUP ? GROUP : 1;
}

static void
block(Job *job, const char *what)
{
	if (locked)
		relay_warn_rarely(&warned_blocked, "%s of task %" PRId64 " (target \"%s\") has to wait: another "
						  "transaction holds the lock of its run; see the oldest xact_start in "
						  "pg_stat_activity", what, job->id, job->lane->name);
	job->pause = job->blocked ? fmin(job->pause * 2, LAST_PAUSE_S) : FIRST_PAUSE_S;
	job->together = 1;
	job->blocked = true;
	job->try_at = loop_now() + job->pause;
	blocked_until = loop_now() + FIRST_PAUSE_S;
	loop_timer_set(&blocked_timer, blocked_until, wake, NULL);
}

/* The server took it; so it may take the next one. */
static void
unblock(Job *job)
{
	if (job->blocked)
		blocked_until = 0;
	job->blocked = false;
	job->together = 0;
}

/* the one of what is blocked whose turn it is; NULL: none now */
static Job *
blocked_turn(void)
{
	const JobList *const lists[] = {&relay_jobs, &relay_ended};
	Job		   *first = NULL;

	if (loop_now() < blocked_until)
		return NULL;
	for (int i = 0; i < 2; i++)
		for (Job *job = lists[i]->first; job != NULL; job = job->next)
			if (job->blocked && (first == NULL || job->try_at < first->try_at))
				first = job;
	if (first != NULL && first->try_at <= loop_now())
		return first;
	blocked_until = first == NULL ? INFINITY : first->try_at;
	if (first != NULL)
		loop_timer_set(&blocked_timer, blocked_until, wake, NULL);
	return NULL;
}

/* ---- outcomes ---- */

static void
give_back(void)
{
	while (batch.first != NULL)
	{
		Job		   *job = batch.first;

		list_remove(&batch, job);
		list_append(&relay_ended, job);
	}
}

static void
report_result(const PGresult *result)
{
	int			row = 0;
	int			rows = PQntuples(result);
	Job		   *next;

	/* the accepted ids come in our order */
	for (Job *job = batch.first; job != NULL; job = next)
	{
		next = job->next;
		list_remove(&batch, job);
		unblock(job);
		if (row < rows && strtoll(PQgetvalue(result, row, 0), NULL, 10) == job->id)
			row++;
		else if (!job->resent)
		{
			relay_lost_leases++;
			relay_warn_rarely(&warned_lost, "the lease of task %" PRId64 " had ended before its delivery "
							  "was reported; it comes again", job->id);
		}
		job_free(job);
	}
}

static void
report_failed(const char *sqlstate, const char *message)
{
	classify(sqlstate);
	if (!locked)
		relay_warn_rarely(&warned_report, "outcomes could not be reported: %s", message);
}

static void
report_ended(void)
{
	Job		   *job = batch.first;
	int			count = batch.count;

	if (count > 1 && (locked || refused))
	{
		for (; job != NULL; job = job->next)
			split(job, count);
	}
	else if (job != NULL && locked)
		block(job, "the outcome");
	else if (job != NULL && refused)
	{
		/* once more without what may be the cause */
		if (job->text != NULL)
		{
			free(job->text);
			job->text = NULL;
		}
		else
		{
			list_remove(&batch, job);
			relay_warn("the outcome of task %" PRId64 " could not be reported", job->id);
			relay_lost_leases++;
			job_free(job);
		}
	}
	if (passing)
		db_pause(0.25);
	give_back();
}

static void
report_lost(void)
{
	for (Job *job = batch.first; job != NULL; job = job->next)
		job->resent = true;
	give_back();
}

static const DbStatement report = {report_result, report_failed, report_ended, report_lost,
"the report of outcomes"};

static void
add_number(Text *array, int64_t number)
{
	text_format(array, "%c%" PRId64, array->len == 0 ? '{' : ',', number);
}

/* outcomes of one kind */
static bool
gather(bool done)
{
	Job		   *next;

	for (Job *job = relay_ended.first; job != NULL; job = next)
	{
		next = job->next;
		if ((job->outcome == RELAY_DONE) != done || !may_join(job, batch.first))
			continue;
		list_remove(&relay_ended, job);
		list_append(&batch, job);
		if (batch.count == most_together(batch.first))
			break;
	}
	return batch.count > 0;
}

static void
send_done(void)
{
	Text		ids = {0};
	Text		tokens = {0};
	Text		results = {0};

	for (Job *job = batch.first; job != NULL; job = job->next)
	{
		add_number(&ids, job->id);
		add_number(&tokens, job->token);
		text_array_element(&results, job->text);
	}
	text_array_end(&ids);
	text_array_end(&tokens);
	text_array_end(&results);
	db_send(&report, "SELECT sopflow.ack_many($1::bigint[], $2::bigint[], $3::jsonb[])"
			FROM_PATIENCE("$4"), 4,
			(const char *const[]) {ids.data, tokens.data, results.data, patience(batch.first)});
	text_free(&ids);
	text_free(&tokens);
	text_free(&results);
}

static void
send_failed(void)
{
	Text		arrays[5] = {0};

	for (Job *job = batch.first; job != NULL; job = job->next)
	{
		char	   *wait = job->retry_in >= 0 ? client_format("%.3f s", job->retry_in) : NULL;

		add_number(&arrays[0], job->id);
		add_number(&arrays[1], job->token);
		text_array_element(&arrays[2], job->text ? job->text : "the delivery failed");
		text_array_element(&arrays[3], wait);
		text_array_element(&arrays[4], job->outcome == RELAY_RETRY ? "t" : "f");
		free(wait);
	}
	for (int i = 0; i < 5; i++)
		text_array_end(&arrays[i]);
	db_send(&report, "SELECT sopflow.nack_many($1::bigint[], $2::bigint[], $3::text[], $4::interval[],"
			" $5::bool[])" FROM_PATIENCE("$6"), 6,
			(const char *const[]) {arrays[0].data, arrays[1].data, arrays[2].data, arrays[3].data,
		arrays[4].data, patience(batch.first)});
	for (int i = 0; i < 5; i++)
		text_free(&arrays[i]);
}

static void
send_batch(void)
{
	begin_statement();
	if (batch.first->outcome == RELAY_DONE)
		send_done();
	else
		send_failed();
}

static bool
send_outcomes(void)
{
	/* by turns, so that neither kind waits for the end of the other */
	if (relay_ended.count == 0 || (!gather(!failures_first) && !gather(failures_first)))
		return false;
	failures_first = batch.first->outcome == RELAY_DONE;
	send_batch();
	return true;
}

/* ---- leases ---- */

static Job *
find_job(int64_t id)
{
	for (Job *job = relay_jobs.first; job != NULL; job = job->next)
		if (!job->alert && job->id == id)
			return job;
	return NULL;
}

static void
extend_result(const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++)
	{
		Job		   *job = find_job(strtoll(PQgetvalue(result, row, 0), NULL, 10));

		/* it may have ended meanwhile, or be here again with another token */
		if (job == NULL || !job->extending)
			continue;
		job->extending = false;
		unblock(job);
		if (*PQgetvalue(result, row, 1) == 't')
		{
			job->lease_end = asked_at + job->lease;
			job->extend_at = asked_at + job->lease * EXTEND_AFTER;
		}
		else
		{
			relay_warn_rarely(&warned_lost, "the lease of task %" PRId64 " has ended during its delivery",
							  job->id);
			job->lost = true;
		}
	}
}

static void
extend_failed(const char *sqlstate, const char *message)
{
	classify(sqlstate);
	if (!locked)
		relay_warn_rarely(&warned_report, "leases could not be extended: %s", message);
}

/* those that were not answered for are asked for again soon */
static void
extend_ended(void)
{
	next_extend = INFINITY;
	for (Job *job = relay_jobs.first; job != NULL; job = job->next)
	{
		if (job->extending && !job->blocked && !locked && !refused)
			job->extend_at = loop_now() + job->lease * 0.1;
		else if (job->extending && extending > 1)
			split(job, extending);
		else if (job->extending)
			block(job, "the extension of the lease");
		job->extending = false;
		if (!job->alert && !job->lost && !job->blocked && job->extend_at < next_extend)
			next_extend = job->extend_at;
	}
	if (next_extend < INFINITY)
		loop_timer_set(&extend_timer, next_extend, wake, NULL);
}

static const DbStatement extension = {extend_result, extend_failed, extend_ended, extend_ended,
"the extension of leases"};

static int
by_id(const void *a, const void *b)
{
	int64_t		x = (*(Job *const *) a)->id;
	int64_t		y = (*(Job *const *) b)->id;

	return x < y ? -1 : x > y;
}

/* In the order of their runs: the server locks these one after the other. */
static void
send_extension(Job **jobs, int n)
{
	Text		ids = {0};
	Text		tokens = {0};
	Text		leases = {0};
	const char *wait = patience(jobs[0]);

	begin_statement();
	extending = n;
	qsort(jobs, (size_t) n, sizeof(Job *), by_id);
	for (int i = 0; i < n; i++)
	{
		jobs[i]->extending = true;
		add_number(&ids, jobs[i]->id);
		add_number(&tokens, jobs[i]->token);
		text_format(&leases, "%c%.3f", leases.len == 0 ? '{' : ',', jobs[i]->lease);
	}
	text_array_end(&ids);
	text_array_end(&tokens);
	text_array_end(&leases);
	db_send(&extension, "SELECT t.id, sopflow.extend(t.id, t.token, t.lease * interval '1 second') IS NOT"
			" NULL" FROM_PATIENCE("$4") ", unnest($1::bigint[], $2::bigint[], $3::float8[])"
			" AS t (id, token, lease)", 4,
			(const char *const[]) {ids.data, tokens.data, leases.data, wait});
	text_free(&ids);
	text_free(&tokens);
	text_free(&leases);
}

static bool
send_extensions(void)
{
	Job		  **jobs;
	int			n = 0;

	if (relay_jobs.count == 0 || loop_now() < next_extend)
		return false;
	jobs = client_alloc((size_t) relay_jobs.count * sizeof(Job *));
	for (Job *job = relay_jobs.first; job != NULL; job = job->next)
	{
		if (job->alert || job->lost || job->extend_at > loop_now() + job->lease * 0.05 ||
			!may_join(job, n > 0 ? jobs[0] : NULL))
			continue;
		jobs[n++] = job;
		if (n == most_together(jobs[0]))
			break;
	}
	if (n > 0)
		send_extension(jobs, n);
	else
		extend_ended();
	free(jobs);
	return n > 0;
}

static bool
send_blocked(void)
{
	Job		   *job = blocked_turn();

	if (job == NULL)
		return false;
	if (job->state == JOB_ENDED)
	{
		list_remove(&relay_ended, job);
		list_append(&batch, job);
		send_batch();
	}
	else
		send_extension(&job, 1);
	return true;
}

/* ---- tasks ---- */

enum
{
	TASK_ID, LEASE_TOKEN, RUN_ID, SOP_ID, NODE_ID, SUBJECT_ID, ACTION, PARAMS, CONTEXT, ATTEMPT,
	DUE_AT, LEASE_LEFT
};

static const char fetch_sql[] =
	"SELECT w.task_id, w.lease_token, w.run_id, w.sop_id, w.node_id, w.subject_id, w.action, w.params,"
	" w.context, w.attempt, pg_catalog.to_jsonb(w.due_at), extract(epoch FROM w.lease_until - sopflow.now())"
	" FROM sopflow.fetch($1::text[], $2::int, $3::interval) AS w";

/* as a broadcast's payload has it, and the context */
static char *
document_of(const PGresult *tasks, int row)
{
	static const struct
	{
		const char *key;
		int			column;
	}			strings[] = {{"sop", SOP_ID}, {"node", NODE_ID}, {"subject", SUBJECT_ID}, {"action", ACTION}};
	Text		text = {0};

	text_format(&text, "{\"v\":%d,\"type\":\"task\",\"task_id\":%s,\"run_id\":%s", SF_PROTOCOL_VERSION,
				PQgetvalue(tasks, row, TASK_ID), PQgetvalue(tasks, row, RUN_ID));
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
	{
		text_format(&text, ",\"%s\":", strings[i].key);
		text_json_string(&text, PQgetvalue(tasks, row, strings[i].column));
	}
	text_format(&text, ",\"params\":%s,\"context\":%s,\"attempt\":%s,\"due_at\":%s}",
				PQgetisnull(tasks, row, PARAMS) ? "null" : PQgetvalue(tasks, row, PARAMS),
				PQgetisnull(tasks, row, CONTEXT) ? "null" : PQgetvalue(tasks, row, CONTEXT),
				PQgetvalue(tasks, row, ATTEMPT), PQgetvalue(tasks, row, DUE_AT));
	return text_take(&text);
}

/* how many tasks the next fetch may bring, so that they fit into memory */
static void
fit_fetch(Lane *lane, size_t bytes)
{
	if (bytes > FETCH_BYTES)
		lane->most = fetch_rows > 1 ? fetch_rows / 2 : 1;
	else if (fetch_rows == fetch_asked && fetch_rows == lane->most)
		lane->most *= 2;
}

static void
fetch_result(const PGresult *tasks)
{
	size_t		bytes = 0;

	fetch_rows = PQntuples(tasks);
	db_fetched += fetch_rows;
	for (int row = 0; row < fetch_rows; row++)
	{
		const char *name = PQgetvalue(tasks, row, ACTION);
		Action	   *action = fetch_config->actions;
		Job		   *job;

		while (action != NULL && strcmp(action->name, name) != 0)
			action = action->next;
		if (action == NULL)
			continue;			/* we did not ask for it */
		job = job_new(fetch_config, action->spec,
					  strtoll(PQgetvalue(tasks, row, TASK_ID), NULL, 10),
					  atoi(PQgetvalue(tasks, row, ATTEMPT)), document_of(tasks, row));
		bytes += job->document_len;
		job->token = strtoll(PQgetvalue(tasks, row, LEASE_TOKEN), NULL, 10);
		job->lease = strtod(PQgetvalue(tasks, row, LEASE_LEFT), NULL);
		if (job->lease < 0.001)
			job->lease = 0.001;
		/* counted from when it was asked for: rather too early than too late */
		job->lease_end = asked_at + job->lease;
		job->extend_at = asked_at + job->lease * EXTEND_AFTER;
		if (job->extend_at < next_extend || relay_jobs.count == 0)
		{
			next_extend = job->extend_at;
			loop_timer_set(&extend_timer, next_extend, wake, NULL);
		}
		job_submit(job);
	}
	fit_fetch(fetch_target->lane, bytes);
}

static void
fetch_failed(const char *sqlstate, const char *message)
{
	classify(sqlstate);
	passing |= locked;
	fetch_rows = 0;
	if (fetch_action != NULL || passing)
		relay_warn_rarely(refused ? &fetch_action->warned : &warned_fetch,
						  "tasks%s%s%s could not be fetched: %s", fetch_action ? " of action \"" : "",
						  fetch_action ? fetch_action->name : "", fetch_action ? "\"" : "", message);
}

static void
fetch_over(void)
{
	if (fetch_config != NULL)
		config_release(fetch_config);
	fetch_config = NULL;
	fetch_target = NULL;
	fetch_action = NULL;
}

static void
fetch_ended(void)
{
	Target	   *target = fetch_target;

	/* until nothing comes: what was passed by rings no second time */
	if (fetch_rows > 0 || passing)
		target->more = true;
	if (refused && fetch_action != NULL)
		fetch_action->blocked_until = loop_now() + BLOCKED_S;
	if (refused && target->probe == 0)
	{
		/* find out for which action */
		target->probe = 1;
		target->more = true;
	}
	else if (target->probe > 0)
	{
		/* however many tasks it has: the others wait */
		target->probe++;
		target->more = true;
	}
	if (passing)
		db_pause(0.25);
	fetch_over();
}

static const DbStatement fetch = {fetch_result, fetch_failed, fetch_ended, fetch_over,
"the fetch of tasks"};

/* the actions of the target to fetch for, as an array; NULL: none now */
static char *
actions_of(Target *target)
{
	Text		names = {0};
	int			n = 0;
	int			count = 0;
	Action	   *last = NULL;

	for (Action *action = relay_config->actions; action != NULL; action = action->next)
	{
		if (action->spec->target != target)
			continue;
		n++;
		if (action->blocked_until > loop_now() || (target->probe > 0 && n != target->probe))
			continue;
		text_array_element(&names, action->name);
		last = action;
		count++;
	}
	/* each was tried alone: those that may be fetched go together again */
	if (target->probe > n)
		target->probe = 0;
	fetch_action = count == 1 ? last : NULL;
	if (count == 0)
	{
		text_free(&names);
		return NULL;
	}
	text_array_end(&names);
	return text_take(&names);
}

static bool
send_fetch(Target *target, int room)
{
	bool		probing = target->probe > 0;
	char	   *names = actions_of(target);
	Lane	   *lane = target->lane;
	char		count[16];
	char		lease[32];

	if (names == NULL)
	{
		/* the next one is probed, or what may be fetched; or nothing until the next look */
		target->more = probing;
		if (probing)
			loop_again();
		if (target->probe > 0)
			target->probe++;
		return false;
	}
	if (lane->most == 0)
		lane->most = FIRST_FETCH;
	fetch_asked = room < relay_config->batch ? room : relay_config->batch;
	if (fetch_asked > lane->most)
		fetch_asked = lane->most;
	snprintf(count, sizeof(count), "%d", fetch_asked);
	snprintf(lease, sizeof(lease), "%.3f s", relay_config->lease);
	fetch_config = relay_config;
	fetch_config->users++;
	fetch_target = target;
	fetch_rows = 0;
	target->more = false;
	begin_statement();
	db_fetches++;
	db_send(&fetch, fetch_sql, 3,
			(const char *const[]) {names, count, relay_config->lease > 0 ? lease : NULL});
	free(names);
	return true;
}

static bool
send_fetches(void)
{
	double		soonest = INFINITY;
	int			i = 0;

	if (relay_draining)
		return false;
	/* twice round, to begin behind the last one */
	for (int round = 0; round < 2; round++)
	{
		i = 0;
		for (Target *target = relay_config->targets; target != NULL; target = target->next, i++)
		{
			double		when;
			int			room;

			if (!target->more || (round == 0 ? i < turn : i >= turn))
				continue;
			room = target_room(target, &when);
			if (room > 0 && send_fetch(target, room))
			{
				turn = i + 1;
				return true;
			}
			if (when > 0 && when < soonest)
				soonest = when;
		}
	}
	if (soonest < INFINITY)
		loop_timer_set(&room_timer, soonest, wake, NULL);
	return false;
}

/* Outcomes come without a pause where much is in flight: fetches have their turn. */
static bool
send_next(void)
{
	static bool fetch_first = false;

	if (fetch_first ? send_fetches() : send_outcomes())
	{
		fetch_first = !fetch_first;
		return true;
	}
	return fetch_first ? send_outcomes() : send_fetches();
}

/* and where alerts come without one, so have tasks */
void
work_pump(void)
{
	static bool alerts_first = true;

	if (send_extensions() || send_blocked())
		return;
	if (alerts_first ? alerts_send() : send_next())
		alerts_first = !alerts_first;
	else
		(void) (alerts_first ? send_next() : alerts_send());
}
