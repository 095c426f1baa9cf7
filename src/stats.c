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
#define SF_ACTIONS				512 /* power of two */

/* values of SfActionSlot.key that are no key */
#define SF_ACTION_EMPTY			((uint64) 0)
#define SF_ACTION_DELETED		PG_UINT64_MAX

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

typedef struct SfActionSlot
{
	pg_atomic_uint64 key;		/* database << 32 | action; written under the
								 * stats lock, read freely: who counts for a key
								 * that changes meanwhile spoils one count */
	pg_atomic_uint64 outcomes[SF_OUTCOME_DEAD + 1];
	SfHistogram time;
	pg_atomic_uint64 time_buckets[SF_BUCKETS(SF_ACTION_BITS)];
} SfActionSlot;

typedef struct SfStats
{
	SfActionSlot actions[SF_ACTIONS];
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
static SfActionSlot *find_action(uint64 key, uint64 *place);

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
	uint64		key = ((uint64) MyDatabaseId) << 32 | (uint32) action_id;
	uint64		place;
	SfActionSlot *action;

	if (stats == NULL)
		return;
	action = find_action(key, NULL);
	if (action == NULL)
	{
		LWLockAcquire(stats_lock, LW_EXCLUSIVE);
		action = find_action(key, &place);
		if (action == NULL && place < SF_ACTIONS)
		{
			action = &stats->actions[place];
			zero(action->outcomes, sizeof(SfActionSlot) - offsetof(SfActionSlot, outcomes), false);
			pg_atomic_write_u64(&action->key, key);
		}
		LWLockRelease(stats_lock);
		if (action == NULL)
			return;				/* more actions than fit: not shown */
	}
	pg_atomic_fetch_add_u64(&action->outcomes[outcome], 1);
	if (usec >= 0)
		observe(&action->time, action->time_buckets, SF_ACTION_BITS, usec);
}

void
sf_stats_reset(int slot, Oid dboid)
{
	zero(stats->slots[slot].counters, sizeof(SfSlotStats), false);

	LWLockAcquire(stats_lock, LW_EXCLUSIVE);
	for (int i = 0; i < SF_ACTIONS; i++)
	{
		uint64		key = pg_atomic_read_u64(&stats->actions[i].key);

		if (key != SF_ACTION_EMPTY && key != SF_ACTION_DELETED && (Oid) (key >> 32) == dboid)
			pg_atomic_write_u64(&stats->actions[i].key, SF_ACTION_DELETED);
	}
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
	if (stats == NULL)
		return false;
	for (; *cursor < SF_ACTIONS; (*cursor)++)
	{
		SfActionSlot *action = &stats->actions[*cursor];
		uint64		key = pg_atomic_read_u64(&action->key);

		if (key == SF_ACTION_EMPTY || key == SF_ACTION_DELETED ||
			(Oid) (key >> 32) != MyDatabaseId)
			continue;
		result->action_id = (int) (uint32) key;
		result->done = pg_atomic_read_u64(&action->outcomes[SF_OUTCOME_DONE]);
		result->failed = pg_atomic_read_u64(&action->outcomes[SF_OUTCOME_FAILED]);
		result->dead = pg_atomic_read_u64(&action->outcomes[SF_OUTCOME_DEAD]);
		summarize(&action->time, action->time_buckets, SF_ACTION_BITS, &result->times);
		(*cursor)++;
		return true;
	}
	return false;
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

/*
 * The entry of an action, or NULL.  *place is then where it may be entered,
 * SF_ACTIONS when there is no room.
 */
static SfActionSlot *
find_action(uint64 key, uint64 *place)
{
	uint32		start = murmurhash32((uint32) (key >> 32) ^ murmurhash32((uint32) key));
	uint64		room = SF_ACTIONS;

	for (int i = 0; i < SF_ACTIONS; i++)
	{
		uint32		at = (start + i) % SF_ACTIONS;
		uint64		found = pg_atomic_read_u64(&stats->actions[at].key);

		if (found == key)
			return &stats->actions[at];
		if (room == SF_ACTIONS && (found == SF_ACTION_EMPTY || found == SF_ACTION_DELETED))
			room = at;
		if (found == SF_ACTION_EMPTY)
			break;
	}
	if (place != NULL)
		*place = room;
	return NULL;
}
