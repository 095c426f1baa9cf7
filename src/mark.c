/*
 * mark.c
 *	  Low-water marks of offers in shared memory.
 *
 * A fetch walks the index (action_id, due_at, task_id) of sopflow.offer.  Under
 * a held snapshot dead entries pile up at its head, and every fetch would walk
 * them again; the mark of an action says where to begin instead.
 *
 * The one hard fact: "nothing that could be fetched lies before the mark" holds
 * at every moment, but for the instant between a commit becoming visible and
 * its callback.  An offer gets before the mark only by being committed, and the
 * callback of that commit lowers the mark and counts it in `rewinds`, keeping
 * the last positions in a ring.  A fetch remembers the count before it takes
 * its snapshot.  When it commits, whatever it saw holds for everything but the
 * rewinds since: so it may raise the mark to the least of where it got to and
 * those positions, and not at all if the ring no longer has them.
 * A rewind that was counted before the fetch began was visible to its snapshot.
 *
 * Offers committed by COMMIT PREPARED or restored from a dump have no callback;
 * each mark starts anew once in a reconcile interval, which finds them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/spin.h"

#include "clock.h"
#include "guc.h"
#include "mark.h"
#include "shm.h"

#define SF_MARKS			1024	/* power of two */
#define SF_MARK_RING		16
#define SF_MARK_OFFERS		16	/* actions offered by a transaction */
#define SF_MARK_SCANS		32	/* actions fetched by a transaction */

/* values of SfMark.key that are no key: no database has OID 0 or 2^32-1 */
#define SF_MARK_EMPTY		((uint64) 0)
#define SF_MARK_DELETED		PG_UINT64_MAX

typedef struct SfMark
{
	pg_atomic_uint64 key;		/* database << 32 | action; written under the
								 * table's lock and the spinlock, read freely */
	slock_t		mutex;			/* guards all that follows */
	SfPosition	position;		/* the mark */
	TimestampTz renewed;		/* when it last started anew */
	uint64		rewinds;		/* commits of offers so far */
	SfPosition	ring[SF_MARK_RING]; /* their first offers, at rewinds % SF_MARK_RING */
} SfMark;

/* a scan of the current transaction, from begin to end */
typedef struct SfMarkScan
{
	int			action_id;
	uint64		rewinds;		/* count when it began */
	bool		ended;
	SubTransactionId subid;		/* where it ended */
	SfPosition	to;
} SfMarkScan;

static SfMark *marks = NULL;
static LWLock *marks_lock = NULL;

/* notes of the current transaction */
static struct
{
	int			noffers;
	bool		overflow;		/* offered more actions than fit */
	struct
	{
		int			action_id;
		SfPosition	first;
	}			offers[SF_MARK_OFFERS];
	int			nscans;
	SfMarkScan	scans[SF_MARK_SCANS];
}			notes;

static SfMark *find_mark(uint64 key);
static SfMark *make_mark(uint64 key);
static void rewind_mark(SfMark *mark, uint64 key, SfPosition to);
static void rewind_all(void);
static void raise_mark(const SfMarkScan *scan);
static SfPosition earlier(SfPosition a, SfPosition b);

static inline uint64
mark_key(int action_id)
{
	return ((uint64) MyDatabaseId) << 32 | (uint32) action_id;
}

Size
sf_mark_shmem_size(void)
{
	return mul_size(SF_MARKS, sizeof(SfMark));
}

void
sf_mark_shmem_init(void *base, bool found, LWLock *lock)
{
	marks = base;
	marks_lock = lock;
	if (found)
		return;

	for (int i = 0; i < SF_MARKS; i++)
	{
		pg_atomic_init_u64(&marks[i].key, SF_MARK_EMPTY);
		SpinLockInit(&marks[i].mutex);
	}
}

/*
 * Note that an offer of this action is written: on commit its mark may not lie
 * behind it.
 */
void
sf_shm_note_offer(int action_id, SfPosition position)
{
	if (marks == NULL)
		return;

	for (int i = 0; i < notes.noffers; i++)
	{
		if (notes.offers[i].action_id == action_id)
		{
			notes.offers[i].first = earlier(notes.offers[i].first, position);
			return;
		}
	}
	if (notes.noffers == SF_MARK_OFFERS)
	{
		notes.overflow = true;
		return;
	}
	notes.offers[notes.noffers].action_id = action_id;
	notes.offers[notes.noffers].first = position;
	notes.noffers++;
}

/*
 * Where a fetch of this action may begin.  It also sees this transaction's own
 * offers, which no callback has announced yet.
 */
SfPosition
sf_shm_offer_mark_begin(int action_id)
{
	SfPosition	position;
	SfMarkScan *scan = NULL;
	SfMark	   *mark;
	TimestampTz now;
	uint64		key = mark_key(action_id);
	uint64		rewinds;

	if (marks == NULL || notes.overflow)
		return SF_POSITION_START;
	mark = find_mark(key);
	if (mark == NULL)
		mark = make_mark(key);
	if (mark == NULL)
		return SF_POSITION_START;

	now = sf_clock_real();
	SpinLockAcquire(&mark->mutex);
	if (now < mark->renewed ||
		now - mark->renewed >= sf_guc_reconcile_interval * USECS_PER_SEC)
	{
		/* a rewind like any other, so that no scan under way undoes it */
		mark->ring[mark->rewinds++ % SF_MARK_RING] = SF_POSITION_START;
		mark->position = SF_POSITION_START;
		mark->renewed = now;
	}
	position = mark->position;
	rewinds = mark->rewinds;
	SpinLockRelease(&mark->mutex);

	for (int i = 0; i < notes.noffers; i++)
		if (notes.offers[i].action_id == action_id)
			position = earlier(position, notes.offers[i].first);

	for (int i = 0; i < notes.nscans && scan == NULL; i++)
		if (notes.scans[i].action_id == action_id && !notes.scans[i].ended)
			scan = &notes.scans[i];
	if (scan == NULL && notes.nscans < SF_MARK_SCANS)
		scan = &notes.scans[notes.nscans++];
	if (scan != NULL)
	{
		scan->action_id = action_id;
		scan->rewinds = rewinds;
		scan->ended = false;
	}
	return position;
}

/*
 * A fetch that began at `from` has found that nothing it could fetch and has
 * not taken lies before `to`.  Under one snapshot for the whole transaction
 * that says nothing about offers committed since, so it is not used there.
 */
void
sf_shm_offer_mark_end(int action_id, SfPosition from, SfPosition to)
{
	if (marks == NULL || IsolationUsesXactSnapshot())
		return;

	for (int i = 0; i < notes.nscans; i++)
	{
		SfMarkScan *scan = &notes.scans[i];

		if (scan->action_id == action_id && !scan->ended)
		{
			scan->ended = true;
			scan->subid = GetCurrentSubTransactionId();
			scan->to = to;
			return;
		}
	}
}

/* Rewind what this transaction offered, then raise what it fetched. */
void
sf_mark_at_commit(void)
{
	if (marks == NULL)
		return;

	if (notes.overflow)
		rewind_all();
	else
	{
		for (int i = 0; i < notes.noffers; i++)
		{
			uint64		key = mark_key(notes.offers[i].action_id);
			SfMark	   *mark = find_mark(key);

			/* without a mark there is nothing to rewind: it will start anew */
			if (mark != NULL)
				rewind_mark(mark, key, notes.offers[i].first);
		}
	}
	for (int i = 0; i < notes.nscans; i++)
		if (notes.scans[i].ended)
			raise_mark(&notes.scans[i]);
	sf_mark_at_abort();
}

void
sf_mark_at_abort(void)
{
	notes.noffers = 0;
	notes.overflow = false;
	notes.nscans = 0;
}

void
sf_mark_at_subcommit(SubTransactionId subid, SubTransactionId parent)
{
	for (int i = 0; i < notes.nscans; i++)
		if (notes.scans[i].ended && notes.scans[i].subid == subid)
			notes.scans[i].subid = parent;
}

/*
 * A fetch that is rolled back gives its tasks back.  Offers that are rolled
 * back stay noted: a rewind too many costs one scan.
 */
void
sf_mark_at_subabort(SubTransactionId subid)
{
	int			kept = 0;

	for (int i = 0; i < notes.nscans; i++)
		if (notes.scans[i].ended && notes.scans[i].subid != subid)
			notes.scans[kept++] = notes.scans[i];
	notes.nscans = kept;
}

void
sf_mark_forget(Oid dboid)
{
	for (int i = 0; i < SF_MARKS; i++)
	{
		uint64		key = pg_atomic_read_u64(&marks[i].key);

		if (key == SF_MARK_EMPTY || key == SF_MARK_DELETED ||
			(Oid) (key >> 32) != dboid)
			continue;
		SpinLockAcquire(&marks[i].mutex);
		pg_atomic_write_u64(&marks[i].key, SF_MARK_DELETED);
		SpinLockRelease(&marks[i].mutex);
	}
}

/* The entry of a key, or NULL.  Takes no lock: check the key under the mutex. */
static SfMark *
find_mark(uint64 key)
{
	uint32		start = murmurhash32((uint32) (key >> 32) ^ murmurhash32((uint32) key));

	for (int i = 0; i < SF_MARKS; i++)
	{
		SfMark	   *mark = &marks[(start + i) % SF_MARKS];
		uint64		found = pg_atomic_read_u64(&mark->key);

		if (found == key)
			return mark;
		if (found == SF_MARK_EMPTY)
			break;
	}
	return NULL;
}

/* Enter a key, with its mark at the start; NULL when the table is full. */
static SfMark *
make_mark(uint64 key)
{
	uint32		start = murmurhash32((uint32) (key >> 32) ^ murmurhash32((uint32) key));
	SfMark	   *mark;

	LWLockAcquire(marks_lock, LW_EXCLUSIVE);
	mark = find_mark(key);
	for (int i = 0; i < SF_MARKS && mark == NULL; i++)
	{
		SfMark	   *candidate = &marks[(start + i) % SF_MARKS];
		uint64		found = pg_atomic_read_u64(&candidate->key);

		if (found != SF_MARK_EMPTY && found != SF_MARK_DELETED)
			continue;
		mark = candidate;
		SpinLockAcquire(&mark->mutex);
		mark->position = SF_POSITION_START;
		mark->renewed = 0;
		mark->rewinds = 0;
		pg_atomic_write_u64(&mark->key, key);
		SpinLockRelease(&mark->mutex);
	}
	LWLockRelease(marks_lock);
	return mark;
}

static void
rewind_mark(SfMark *mark, uint64 key, SfPosition to)
{
	SpinLockAcquire(&mark->mutex);
	if (pg_atomic_read_u64(&mark->key) == key)
	{
		mark->ring[mark->rewinds++ % SF_MARK_RING] = to;
		mark->position = earlier(mark->position, to);
	}
	SpinLockRelease(&mark->mutex);
}

/* Start all marks of this database anew. */
static void
rewind_all(void)
{
	for (int i = 0; i < SF_MARKS; i++)
	{
		uint64		key = pg_atomic_read_u64(&marks[i].key);

		if ((Oid) (key >> 32) == MyDatabaseId)
			rewind_mark(&marks[i], key, SF_POSITION_START);
	}
}

static void
raise_mark(const SfMarkScan *scan)
{
	uint64		key = mark_key(scan->action_id);
	SfMark	   *mark = find_mark(key);
	SfPosition	to = scan->to;

	if (mark == NULL)
		return;
	SpinLockAcquire(&mark->mutex);
	if (pg_atomic_read_u64(&mark->key) == key &&
		mark->rewinds - scan->rewinds <= SF_MARK_RING)
	{
		for (uint64 i = scan->rewinds; i != mark->rewinds; i++)
			to = earlier(to, mark->ring[i % SF_MARK_RING]);
		if (to.due > mark->position.due ||
			(to.due == mark->position.due && to.task_id > mark->position.task_id))
			mark->position = to;
	}
	SpinLockRelease(&mark->mutex);
}

static SfPosition
earlier(SfPosition a, SfPosition b)
{
	if (a.due != b.due)
		return a.due < b.due ? a : b;
	return a.task_id < b.task_id ? a : b;
}
