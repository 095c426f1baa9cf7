/*
 * stats.h
 *	  Counters and histograms in shared memory.  All are no-ops when the
 *	  module is not preloaded.  They count at once, also in transactions that
 *	  abort later, except where the name says committed.
 */
#ifndef SF_STATS_H
#define SF_STATS_H

#include "postgres.h"
#include "datatype/timestamp.h"

typedef enum SfCounter
{
	SF_COUNT_EVENTS,			/* events taken in */
	SF_COUNT_NULL_SUBJECT,		/* watched rows whose subject key is null */
	SF_COUNT_INTAKE_ERRORS,		/* rows skipped by on_error = 'skip' */
	SF_COUNT_RUNS_STARTED,
	SF_COUNT_RUNS_ENDED,
	SF_COUNT_TASKS_CREATED,
	SF_COUNT_TASKS_DONE,
	SF_COUNT_TASKS_SKIPPED,
	SF_COUNT_TASKS_CANCELLED,
	SF_COUNT_TASKS_DEAD,
	SF_COUNT_ATTEMPTS_FAILED,
	SF_COUNT_LEASES,			/* tasks leased to consumers */
	SF_COUNT_LEASES_EXPIRED,
	SF_COUNT_NOTIFICATIONS,
	SF_COUNT_WAKE_COMMIT,		/* wake-ups of workers, by kind */
	SF_COUNT_WAKE_TIMER,
	SF_COUNT_WAKE_RECONCILE,
	SF_COUNT_WAKE_OTHER,
	SF_COUNT_PASSES,
	SF_COUNTERS
} SfCounter;

typedef enum SfOutcome
{
	SF_OUTCOME_DONE,
	SF_OUTCOME_FAILED,			/* will be retried */
	SF_OUTCOME_DEAD
} SfOutcome;

extern void sf_stats_count(SfCounter counter, int64 by);

/* delay of a dispatch: time taken up minus due time, microseconds */
extern void sf_stats_delay(int64 usec);

/* outcome of an attempt of an action and how long it took (-1: not known) */
extern void sf_stats_attempt(int action_id, SfOutcome outcome, int64 usec);

/*
 * Add to the counts of a rule of this database: sums of a transaction, handed
 * on when it ends.
 */
extern void sf_stats_rule(int rule_id, int64 evaluated, int64 fired, int64 denied,
						  int64 failed);

/* a rule was deleted; its number is not given again */
extern void sf_stats_forget_rule(int rule_id);

/* ---- for slot.c ---- */

/* forget a slot's counters and what is known of that database's actions and rules */
extern void sf_stats_reset(int slot, Oid dboid);

/* ---- for the views ---- */

/* what a histogram says, in microseconds; quantiles are interpolated */
typedef struct SfDelays
{
	int64		count;
	int64		sum;
	int64		max;
	float8		p50;
	float8		p99;
} SfDelays;

/* name of a counter as sopflow.stats shows it */
extern const char *sf_stats_counter_name(SfCounter counter);

/* counters and delays of the current database; false when there are none */
extern bool sf_stats_read(int64 *counters, SfDelays *delays);

typedef struct SfActionStats
{
	int			action_id;
	int64		done;
	int64		failed;
	int64		dead;
	SfDelays	times;			/* of attempts whose duration is known */
} SfActionStats;

/*
 * The next action of the current database after *cursor, 0 at first; false at
 * the end.
 */
extern bool sf_stats_next_action(int *cursor, SfActionStats *stats);

typedef struct SfRuleStats
{
	int			rule_id;
	int64		evaluated;
	int64		fired;
	int64		denied;
	int64		failed;
} SfRuleStats;

/* the same for rules */
extern bool sf_stats_next_rule(int *cursor, SfRuleStats *stats);

/* shared memory of this file, called by shm.c */
extern Size sf_stats_shmem_size(void);
extern void sf_stats_shmem_init(void *base, bool found);

#endif							/* SF_STATS_H */
