/*
 * stats.c
 *	  Counters and histograms in shared memory.
 *
 * The one hard fact: everything is a 64-bit atomic that only grows until it is
 * reset, so no reader and no writer ever waits.  A reader may see the counters
 * of a moment that never was; a reset may lose what is counted meanwhile.
 *
 * Histograms are log-linear: values below 2^bits have a bucket each, every
 * octave above has 2^bits buckets of equal width.  A quantile is so known to
 * one part in 2^bits of its value, and is interpolated within its bucket.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/shmem.h"

#include "shm_private.h"
#include "stats.h"

/* values of 2^40 microseconds, twelve days, and more are counted as that */
#define SF_OCTAVES				40
#define SF_BUCKETS(bits)		((SF_OCTAVES - (bits) + 1) << (bits))

#define SF_DELAY_BITS			3
#define SF_ACTION_BITS			2
#define SF_ACTIONS				512
#define SF_RULES				8192

/*
 * A key is looked for in so many places and no more: a table that is full must
 * not cost those who find no room in it.
 */
#define SF_PROBES				128

/* values that are no key: numbers of databases are neither 0 nor the greatest */
#define SF_KEY_EMPTY			((uint64) 0)
#define SF_KEY_DELETED			PG_UINT64_MAX

/* what both kinds of histograms begin with */
typedef struct SfHistogram
{
	pg_atomic_uint64 count;
	pg_atomic_uint64 sum;
	pg_atomic_uint64 max;
} SfHistogram;

typedef struct SfSlotStats
{
	pg_atomic_uint64 counters[SF_COUNTERS];
	SfHistogram delay;
	pg_atomic_uint64 delay_buckets[SF_BUCKETS(SF_DELAY_BITS)];
} SfSlotStats;

/*
 * What actions and rules are counted in begins with a key: database << 32 |
 * number.  It is written under the stats lock and read freely: who counts for a
 * key that changes meanwhile spoils one count.
 */
typedef struct SfActionSlot
{
	pg_atomic_uint64 key;
	pg_atomic_uint64 outcomes[SF_OUTCOME_DEAD + 1];
	SfHistogram time;
	pg_atomic_uint64 time_buckets[SF_BUCKETS(SF_ACTION_BITS)];
} SfActionSlot;

typedef struct SfRuleSlot
{
	pg_atomic_uint64 key;
	pg_atomic_uint64 evaluated;
	pg_atomic_uint64 fired;
	pg_atomic_uint64 denied;
	pg_atomic_uint64 failed;
} SfRuleSlot;

typedef struct SfStats
{
	SfActionSlot actions[SF_ACTIONS];
	SfRuleSlot	rules[SF_RULES];
	SfSlotStats slots[FLEXIBLE_ARRAY_MEMBER];
} SfStats;

static SfStats *stats = NULL;
static LWLock *stats_lock = NULL;

static const char *const counter_names[] = {
	[SF_COUNT_EVENTS] = "events",
	[SF_COUNT_NULL_SUBJECT] = "events_null_subject",
	[SF_COUNT_INTAKE_ERRORS] = "intake_errors",
	[SF_COUNT_RUNS_STARTED] = "runs_started",
	[SF_COUNT_RUNS_ENDED] = "runs_ended",
	[SF_COUNT_TASKS_CREATED] = "tasks_created",
	[SF_COUNT_TASKS_DONE] = "tasks_done",
	[SF_COUNT_TASKS_SKIPPED] = "tasks_skipped",
	[SF_COUNT_TASKS_CANCELLED] = "tasks_cancelled",
	[SF_COUNT_TASKS_DEAD] = "tasks_dead",
	[SF_COUNT_ATTEMPTS_FAILED] = "attempts_failed",
	[SF_COUNT_LEASES] = "leases",
	[SF_COUNT_LEASES_EXPIRED] = "leases_expired",
	[SF_COUNT_NOTIFICATIONS] = "notifications",
	[SF_COUNT_WAKE_COMMIT] = "wakeups_commit",
	[SF_COUNT_WAKE_TIMER] = "wakeups_timer",
	[SF_COUNT_WAKE_RECONCILE] = "wakeups_reconcile",
	[SF_COUNT_WAKE_OTHER] = "wakeups_other",
	[SF_COUNT_PASSES] = "passes",
};

StaticAssertDecl(lengthof(counter_names) == SF_COUNTERS,
				 "every counter needs a name");

static void zero(pg_atomic_uint64 *from, Size bytes, bool init);
static void observe(SfHistogram *histogram, pg_atomic_uint64 *buckets, int bits, int64 usec);
static int	bucket_of(int64 usec, int bits);
static int64 bucket_start(int bucket, int bits);
static void summarize(SfHistogram *histogram, pg_atomic_uint64 *buckets, int bits,
					  SfDelays *result);
static float8 quantile(const int64 *buckets, int64 total, int bits, float8 q, int64 max);
static uint64 key_of(int number);
static pg_atomic_uint64 *find_key(uint64 key, void *slots, Size size, int n,
								  pg_atomic_uint64 **room);
static pg_atomic_uint64 *enter_key(uint64 key, void *slots, Size size, int n);
static void forget_keys(Oid dboid, void *slots, Size size, int n);
static bool next_key(int *cursor, void *slots, Size size, int n);

Size
sf_stats_shmem_size(void)
{
	return add_size(offsetof(SfStats, slots),
					mul_size(sf_shm_slots(), sizeof(SfSlotStats)));
}

void
sf_stats_shmem_init(void *base, bool found)
{
	stats = base;
	stats_lock = &GetNamedLWLockTranche(SF_TRANCHE)[SF_LOCK_STATS].lock;
	/* there is nothing in it but atomics */
	if (!found)
		zero((pg_atomic_uint64 *) base, sf_stats_shmem_size(), true);
}

void
sf_stats_count(SfCounter counter, int64 by)
{
	int			slot;

	if (stats == NULL || by == 0 || (slot = sf_shm_database_slot()) < 0)
		return;
	pg_atomic_fetch_add_u64(&stats->slots[slot].counters[counter], by);
}

void
sf_stats_delay(int64 usec)
{
	int			slot;

	if (stats == NULL || (slot = sf_shm_database_slot()) < 0)
		return;
	observe(&stats->slots[slot].delay, stats->slots[slot].delay_buckets,
			SF_DELAY_BITS, usec);
}

void
sf_stats_attempt(int action_id, SfOutcome outcome, int64 usec)
{
	SfActionSlot *action;

	if (stats == NULL)
		return;
	action = (SfActionSlot *) enter_key(key_of(action_id), stats->actions,
										sizeof(SfActionSlot), SF_ACTIONS);
	if (action == NULL)
		return;					/* more actions than fit: not shown */
	pg_atomic_fetch_add_u64(&action->outcomes[outcome], 1);
	if (usec >= 0)
		observe(&action->time, action->time_buckets, SF_ACTION_BITS, usec);
}

void
sf_stats_rule(int rule_id, int64 evaluated, int64 fired, int64 denied, int64 failed)
{
	SfRuleSlot *rule;

	if (stats == NULL)
		return;
	rule = (SfRuleSlot *) enter_key(key_of(rule_id), stats->rules, sizeof(SfRuleSlot), SF_RULES);
	if (rule == NULL)
		return;					/* more rules than fit: not shown */
	pg_atomic_fetch_add_u64(&rule->evaluated, evaluated);
	if (fired != 0)
		pg_atomic_fetch_add_u64(&rule->fired, fired);
	if (denied != 0)
		pg_atomic_fetch_add_u64(&rule->denied, denied);
	if (failed != 0)
		pg_atomic_fetch_add_u64(&rule->failed, failed);
}

void
sf_stats_forget_rule(int rule_id)
{
	pg_atomic_uint64 *key;

	if (stats == NULL)
		return;
	LWLockAcquire(stats_lock, LW_EXCLUSIVE);
	key = find_key(key_of(rule_id), stats->rules, sizeof(SfRuleSlot), SF_RULES, NULL);
	if (key != NULL)
		pg_atomic_write_u64(key, SF_KEY_DELETED);
	LWLockRelease(stats_lock);
}

void
sf_stats_reset(int slot, Oid dboid)
{
	zero(stats->slots[slot].counters, sizeof(SfSlotStats), false);

	LWLockAcquire(stats_lock, LW_EXCLUSIVE);
	forget_keys(dboid, stats->actions, sizeof(SfActionSlot), SF_ACTIONS);
	forget_keys(dboid, stats->rules, sizeof(SfRuleSlot), SF_RULES);
	LWLockRelease(stats_lock);
}

const char *
sf_stats_counter_name(SfCounter counter)
{
	return counter_names[counter];
}

bool
sf_stats_read(int64 *counters, SfDelays *delays)
{
	int			slot;

	if (stats == NULL || (slot = sf_shm_database_slot()) < 0)
		return false;
	for (int i = 0; i < SF_COUNTERS; i++)
		counters[i] = pg_atomic_read_u64(&stats->slots[slot].counters[i]);
	summarize(&stats->slots[slot].delay, stats->slots[slot].delay_buckets,
			  SF_DELAY_BITS, delays);
	return true;
}

bool
sf_stats_next_action(int *cursor, SfActionStats *result)
{
	SfActionSlot *action;

	if (stats == NULL || !next_key(cursor, stats->actions, sizeof(SfActionSlot), SF_ACTIONS))
		return false;
	action = &stats->actions[(*cursor)++];
	result->action_id = (int) (uint32) pg_atomic_read_u64(&action->key);
	result->done = pg_atomic_read_u64(&action->outcomes[SF_OUTCOME_DONE]);
	result->failed = pg_atomic_read_u64(&action->outcomes[SF_OUTCOME_FAILED]);
	result->dead = pg_atomic_read_u64(&action->outcomes[SF_OUTCOME_DEAD]);
	summarize(&action->time, action->time_buckets, SF_ACTION_BITS, &result->times);
	return true;
}

bool
sf_stats_next_rule(int *cursor, SfRuleStats *result)
{
	SfRuleSlot *rule;

	if (stats == NULL || !next_key(cursor, stats->rules, sizeof(SfRuleSlot), SF_RULES))
		return false;
	rule = &stats->rules[(*cursor)++];
	result->rule_id = (int) (uint32) pg_atomic_read_u64(&rule->key);
	result->evaluated = pg_atomic_read_u64(&rule->evaluated);
	result->fired = pg_atomic_read_u64(&rule->fired);
	result->denied = pg_atomic_read_u64(&rule->denied);
	result->failed = pg_atomic_read_u64(&rule->failed);
	return true;
}

static void
zero(pg_atomic_uint64 *from, Size bytes, bool init)
{
	for (Size i = 0; i < bytes / sizeof(pg_atomic_uint64); i++)
	{
		if (init)
			pg_atomic_init_u64(&from[i], 0);
		else
			pg_atomic_write_u64(&from[i], 0);
	}
}

static void
observe(SfHistogram *histogram, pg_atomic_uint64 *buckets, int bits, int64 usec)
{
	uint64		max = pg_atomic_read_u64(&histogram->max);

	usec = Max(usec, 0);
	pg_atomic_fetch_add_u64(&histogram->count, 1);
	pg_atomic_fetch_add_u64(&histogram->sum, usec);
	pg_atomic_fetch_add_u64(&buckets[bucket_of(usec, bits)], 1);
	while ((uint64) usec > max &&
		   !pg_atomic_compare_exchange_u64(&histogram->max, &max, usec))
		;
}

static int
bucket_of(int64 usec, int bits)
{
	int			octave;

	usec = Min(usec, (INT64CONST(1) << SF_OCTAVES) - 1);
	if (usec < (INT64CONST(1) << bits))
		return (int) usec;
	octave = pg_leftmost_one_pos64((uint64) usec) - bits;
	return (int) (((int64) octave << bits) + (usec >> octave));
}

/* the least value in a bucket; the inverse of bucket_of */
static int64
bucket_start(int bucket, int bits)
{
	int			octave = (bucket >> bits) - 1;

	if (octave <= 0)
		return bucket;
	return ((int64) bucket - ((int64) octave << bits)) << octave;
}

static void
summarize(SfHistogram *histogram, pg_atomic_uint64 *buckets, int bits, SfDelays *result)
{
	int64		copy[SF_BUCKETS(SF_DELAY_BITS)];
	int64		total = 0;

	StaticAssertStmt(SF_DELAY_BITS >= SF_ACTION_BITS, "copy must hold either");
	for (int i = 0; i < SF_BUCKETS(bits); i++)
	{
		copy[i] = pg_atomic_read_u64(&buckets[i]);
		total += copy[i];
	}
	result->count = total;
	result->sum = pg_atomic_read_u64(&histogram->sum);
	result->max = pg_atomic_read_u64(&histogram->max);
	result->p50 = quantile(copy, total, bits, 0.5, result->max);
	result->p99 = quantile(copy, total, bits, 0.99, result->max);
}

/* Nearest rank, placed in its bucket as if the values there were spread evenly. */
static float8
quantile(const int64 *buckets, int64 total, int bits, float8 q, int64 max)
{
	float8		rank = q * total;
	int64		before = 0;

	for (int i = 0; i < SF_BUCKETS(bits); i++)
	{
		if (buckets[i] > 0 && before + buckets[i] >= rank)
		{
			float8		start = bucket_start(i, bits);
			float8		width = bucket_start(i + 1, bits) - start;

			return Min(start + width * (rank - before) / buckets[i], (float8) max);
		}
		before += buckets[i];
	}
	return 0;
}

static uint64
key_of(int number)
{
	return ((uint64) MyDatabaseId) << 32 | (uint32) number;
}

static pg_atomic_uint64 *
key_at(void *slots, Size size, int i)
{
	return (pg_atomic_uint64 *) ((char *) slots + i * size);
}

/*
 * The slot of a key, or NULL.  *room is then where it may be entered, NULL when
 * there is none.
 */
static pg_atomic_uint64 *
find_key(uint64 key, void *slots, Size size, int n, pg_atomic_uint64 **room)
{
	uint32		start = murmurhash32((uint32) (key >> 32) ^ murmurhash32((uint32) key));

	if (room != NULL)
		*room = NULL;
	for (int i = 0; i < SF_PROBES; i++)
	{
		pg_atomic_uint64 *at = key_at(slots, size, (start + i) % n);
		uint64		found = pg_atomic_read_u64(at);

		if (found == key)
			return at;
		if (room != NULL && *room == NULL && (found == SF_KEY_EMPTY || found == SF_KEY_DELETED))
			*room = at;
		if (found == SF_KEY_EMPTY)
			break;
	}
	return NULL;
}

/* The slot of a key, from zero if it is new; NULL when there is no room. */
static pg_atomic_uint64 *
enter_key(uint64 key, void *slots, Size size, int n)
{
	pg_atomic_uint64 *room;
	pg_atomic_uint64 *at = find_key(key, slots, size, n, &room);

	if (at != NULL || room == NULL)
		return at;
	LWLockAcquire(stats_lock, LW_EXCLUSIVE);
	at = find_key(key, slots, size, n, &room);
	if (at == NULL && room != NULL)
	{
		at = room;
		zero(at + 1, size - sizeof(*at), false);
		pg_atomic_write_u64(at, key);
	}
	LWLockRelease(stats_lock);
	return at;
}

static void
forget_keys(Oid dboid, void *slots, Size size, int n)
{
	for (int i = 0; i < n; i++)
	{
		pg_atomic_uint64 *at = key_at(slots, size, i);
		uint64		key = pg_atomic_read_u64(at);

		if (key != SF_KEY_EMPTY && key != SF_KEY_DELETED && (Oid) (key >> 32) == dboid)
			pg_atomic_write_u64(at, SF_KEY_DELETED);
	}
}

/* Go on to the next slot of the current database, *cursor included. */
static bool
next_key(int *cursor, void *slots, Size size, int n)
{
	for (; *cursor < n; (*cursor)++)
	{
		uint64		key = pg_atomic_read_u64(key_at(slots, size, *cursor));

		if (key != SF_KEY_EMPTY && key != SF_KEY_DELETED && (Oid) (key >> 32) == MyDatabaseId)
			return true;
	}
	return false;
}
