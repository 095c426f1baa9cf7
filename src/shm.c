/*
 * shm.c
 *	  Shared memory: who sleeps until when, and how a commit wakes it.
 *
 * The one hard fact: no wake-up is ever lost, without a lock between those who
 * commit and those who sleep.
 *
 *	worker W								committing backend C
 *	W1 next_wakeup = "look again at"		C1 rows become visible
 *	   full barrier							   full barrier
 *	W2 take over `rewound`					C2 rewound = min(rewound, due)
 *	W3 snapshot, scan, commit				   full barrier
 *	W4 next_wakeup = next due time			C3 due < next_wakeup: SetLatch
 *	W5 wait for the latch or that time
 *
 * next_wakeup is always a time at which W looks again come what may: while it
 * works (W1 to W4) its next reconcile, while it waits the next due time that
 * it knows of, if that is earlier.  So a C that finds due >= next_wakeup may
 * leave W alone.  Let C3 find a value that due is not earlier than:
 * - one of an earlier round: then C3 comes before W1, C2 before W2 and C1
 *   before W3, by the barriers: the scan sees the row, and W2 the rewind;
 * - one of this round or a later one: W wakes at that time, which is due or
 *   earlier, and its W2 then takes over the rewind of C2 unless this W2 did.
 * Otherwise C sets the latch.  If W has not yet waited, W5 returns at once,
 * since W resets its latch only after waiting and before W1; and the next W2
 * comes after C2, as the latch was set after it.
 * If C2 finds `rewound` low enough and writes nothing, the same holds, since
 * what it reads has not been taken over yet.
 *
 * The same three steps bring ends of leases (next_expiry in place of rewound)
 * to worker 0.  A worker that passed a locked row by does not rely on its
 * `skipped` flag: it retries by itself, the flag makes it sooner.
 *
 * Notes are taken while a transaction runs and acted upon by one callback after
 * its commit.  PREPARE TRANSACTION forgets them; the reconcile finds the rows.
 * The callback allocates nothing, reads no catalog and raises no error.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "compat.h"
#include "mark.h"
#include "shm_private.h"
#include "stats.h"

#define SF_LOCAL_HOLDS		4	/* databases that one transaction holds */
#define SF_HOLD_POLL_MS		100
#define SF_HOLD_PATIENCE_MS 1000	/* before workers get SIGTERM */
#define SF_HOLD_LIMIT_MS	15000	/* before we give up */

SfShared   *sf_shared = NULL;
static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* notes of the current transaction */
static struct
{
	bool		any;
	bool		locked;			/* rows of runs were locked */
	bool		databases;		/* the list of databases may have changed */
	bool		extension;		/* the extension was created, altered, dropped */
	bool		dropped;		/* the latter */
	TimestampTz due;			/* the earliest */
	TimestampTz expiry;			/* the earliest */
	int			nholds;
	Oid			holds[SF_LOCAL_HOLDS];
}			notes;

static void shmem_request(void);
static void shmem_startup(void);
static void shared_init(void);
static void forget_notes(void);
static void at_xact_end(XactEvent event, void *arg);
static void at_subxact_end(SubXactEvent event, SubTransactionId subid,
						   SubTransactionId parent, void *arg);
static void announce_rows(void);
static void announce_commands(void);
static void release_holds(void);
static void wake_worker(SfWorkerSlot *worker, bool by_commit);

/* --------------------------------------------------------------------------
 * Set up
 * -------------------------------------------------------------------------- */

void
sf_shm_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
	forget_notes();
	RegisterXactCallback(at_xact_end, NULL);
	RegisterSubXactCallback(at_subxact_end, NULL);
}

bool
sf_shm_available(void)
{
	return sf_shared != NULL;
}

static Size
shared_size(void)
{
	return add_size(offsetof(SfShared, databases),
					mul_size(sf_guc_max_databases + 1, sizeof(SfDatabase)));
}

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(MAXALIGN(shared_size()));
	RequestAddinShmemSpace(MAXALIGN(sf_mark_shmem_size()));
	RequestAddinShmemSpace(MAXALIGN(sf_stats_shmem_size()));
	RequestNamedLWLockTranche(SF_TRANCHE, SF_LOCKS);
}

static void
shmem_startup(void)
{
	bool		found;
	bool		part_found;
	void	   *base;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	sf_shared = ShmemInitStruct("sopflow", shared_size(), &found);
	if (!found)
		shared_init();
	base = ShmemInitStruct("sopflow marks", sf_mark_shmem_size(), &part_found);
	sf_mark_shmem_init(base, part_found, sf_shared->lock);
	base = ShmemInitStruct("sopflow stats", sf_stats_shmem_size(), &part_found);
	sf_stats_shmem_init(base, part_found);
	LWLockRelease(AddinShmemInitLock);
}

static void
shared_init(void)
{
	memset(sf_shared, 0, shared_size());
	sf_shared->lock = &GetNamedLWLockTranche(SF_TRANCHE)[SF_LOCK_SHARED].lock;
	sf_shared->nslots = sf_guc_max_databases + 1;
	ConditionVariableInit(&sf_shared->left);
	pg_atomic_init_u32(&sf_shared->nholds, 0);
	for (int i = 0; i < sf_shared->nslots; i++)
	{
		SfDatabase *database = &sf_shared->databases[i];

		pg_atomic_init_u64(&database->next_expiry, SF_NEVER);
		for (int j = 0; j < SF_MAX_WORKERS; j++)
		{
			SfWorkerSlot *worker = &database->workers[j];

			pg_atomic_init_u64(&worker->next_wakeup, 0);
			pg_atomic_init_u64(&worker->rewound, SF_NEVER);
			pg_atomic_init_u32(&worker->skipped, 0);
			pg_atomic_init_u32(&worker->woken, 0);
			pg_atomic_init_u32(&worker->state, SF_WORKER_STARTING);
			pg_atomic_init_u64(&worker->wakeup, 0);
			pg_atomic_init_u64(&worker->low_water, 0);
			pg_atomic_init_u64(&worker->passes, 0);
			pg_atomic_init_u64(&worker->tasks, 0);
			worker->error_at = PG_INT64_MIN;
		}
	}
}

/* --------------------------------------------------------------------------
 * Notes, and what becomes of them at the end of a transaction
 * -------------------------------------------------------------------------- */

void
sf_shm_note_due(TimestampTz due)
{
	notes.any = true;
	if (due < notes.due)
		notes.due = due;
}

void
sf_shm_note_expiry(TimestampTz until)
{
	notes.any = true;
	if (until < notes.expiry)
		notes.expiry = until;
}

void
sf_shm_note_locked(void)
{
	notes.any = true;
	notes.locked = true;
}

void
sf_shm_note_extension(bool dropped)
{
	notes.any = true;
	notes.extension = true;
	notes.dropped |= dropped;
}

void
sf_shm_note_databases(void)
{
	notes.any = true;
	notes.databases = true;
}

static void
forget_notes(void)
{
	memset(&notes, 0, sizeof(notes));
	notes.due = SF_NEVER;
	notes.expiry = SF_NEVER;
}

/*
 * The transaction has ended and its rows are visible, or gone, when this is
 * called.  A parallel worker writes nothing, so it has nothing to announce.
 */
static void
at_xact_end(XactEvent event, void *arg)
{
	if (sf_shared == NULL)
		return;

	switch (event)
	{
		case XACT_EVENT_COMMIT:
			sf_mark_at_commit();
			if (!notes.any)
				return;
			announce_rows();
			announce_commands();
			break;
		case XACT_EVENT_ABORT:
			sf_mark_at_abort();
			if (!notes.any)
				return;
			notes.due = SF_NEVER;
			notes.expiry = SF_NEVER;
			announce_rows();
			break;
		case XACT_EVENT_PREPARE:
			sf_mark_at_abort();
			if (!notes.any)
				return;
			break;
		default:
			return;
	}
	release_holds();
	forget_notes();
}

static void
at_subxact_end(SubXactEvent event, SubTransactionId subid,
			   SubTransactionId parent, void *arg)
{
	/* other notes stay: one too many costs a wake-up */
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		sf_mark_at_subcommit(subid, parent);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		sf_mark_at_subabort(subid);
}

/*
 * Steps C2 and C3 for due times and ends of leases, and the flag of those who
 * passed our locked rows by.
 */
static void
announce_rows(void)
{
	static Oid	asked = InvalidOid;
	SfDatabase *database;
	bool		attached = false;

	if (notes.due == SF_NEVER && notes.expiry == SF_NEVER && !notes.locked)
		return;
	database = sf_slot_find(MyDatabaseId);
	if (database != NULL)
	{
		pg_memory_barrier();
		if (notes.due != SF_NEVER)
			for (int i = 0; i < SF_MAX_WORKERS; i++)
				atomic_lower(&database->workers[i].rewound, notes.due);
		if (notes.expiry != SF_NEVER)
			atomic_lower(&database->next_expiry, notes.expiry);
		pg_memory_barrier();

		for (int i = 0; i < SF_MAX_WORKERS; i++)
		{
			SfWorkerSlot *worker = &database->workers[i];
			TimestampTz until = atomic_time(&worker->next_wakeup);

			if (worker->latch == NULL)
				continue;
			attached = true;
			if (worker == sf_slot_mine)
				continue;		/* it looks at rewound before it waits */
			if (notes.due < until ||
				(i == 0 && notes.expiry < until) ||
				(notes.locked && pg_atomic_read_u32(&worker->skipped) != 0))
				wake_worker(worker, true);
		}
	}

	/*
	 * Tasks in a database that nobody serves: tell the launcher, once a
	 * session, in case the extension came here in a way that the utility hook
	 * does not see.
	 */
	if (!attached && notes.due != SF_NEVER && asked != MyDatabaseId)
	{
		asked = MyDatabaseId;
		LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
		sf_slot_request(MyDatabaseId);
		LWLockRelease(sf_shared->lock);
		sf_shm_wake_launcher();
	}
}

/* What the utility hook noted. */
static void
announce_commands(void)
{
	SfDatabase *database;

	if (!notes.extension && !notes.databases)
		return;

	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	if (notes.extension)
	{
		sf_slot_request(MyDatabaseId);
		database = sf_slot_find(MyDatabaseId);
		if (notes.dropped)
			sf_mark_forget(MyDatabaseId);
		if (notes.dropped && database != NULL)
			sf_stats_reset(database - sf_shared->databases, MyDatabaseId);
		if (database != NULL)
			sf_shm_wake_workers(database);
	}
	if (notes.databases)
		sf_shared->request_rescan = true;
	LWLockRelease(sf_shared->lock);
	sf_shm_wake_launcher();
}

/* --------------------------------------------------------------------------
 * Holds
 * -------------------------------------------------------------------------- */

void
sf_shm_hold(Oid dboid)
{
	SfDatabase *database;
	SfHold	   *hold = NULL;
	uint32		nholds;

	if (sf_shared == NULL)
		return;
	for (int i = 0; i < notes.nholds; i++)
		if (notes.holds[i] == dboid)
			return;
	if (notes.nholds == SF_LOCAL_HOLDS)
		elog(ERROR, "too many databases held by one transaction");

	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	nholds = pg_atomic_read_u32(&sf_shared->nholds);
	for (uint32 i = 0; i < nholds && hold == NULL; i++)
		if (sf_shared->holds[i].dboid == dboid)
			hold = &sf_shared->holds[i];
	if (hold == NULL && nholds < SF_MAX_HOLDS)
	{
		hold = &sf_shared->holds[nholds];
		hold->dboid = dboid;
		hold->count = 0;
		pg_atomic_write_u32(&sf_shared->nholds, nholds + 1);
	}
	if (hold == NULL)
	{
		LWLockRelease(sf_shared->lock);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("sopflow workers of too many databases are held off at the same time")));
	}
	hold->count++;
	notes.holds[notes.nholds++] = dboid;
	notes.any = true;
	database = sf_slot_find(dboid);
	if (database != NULL)
		sf_shm_wake_workers(database);
	LWLockRelease(sf_shared->lock);
}

bool
sf_shm_hold_wait(Oid dboid)
{
	SfDatabase *database;
	TimestampTz start;
	bool		killed = false;
	bool		gone = false;

	if (sf_shared == NULL)
		return true;

	start = sf_clock_real();
	ConditionVariablePrepareToSleep(&sf_shared->left);
	for (;;)
	{
		int64		waited = (sf_clock_real() - start) / 1000;
		bool		kill_now = !killed && waited >= SF_HOLD_PATIENCE_MS;

		gone = true;
		LWLockAcquire(sf_shared->lock, LW_SHARED);
		database = sf_slot_find(dboid);
		for (int i = 0; database != NULL && i < SF_MAX_WORKERS; i++)
		{
			int			pid = database->workers[i].pid;

			/* a handler may get here in a worker: it cannot wait for itself */
			if (pid == 0 || pid == MyProcPid)
				continue;
			gone = false;
			if (kill_now && kill(pid, SIGTERM) < 0)
				elog(DEBUG1, "could not send signal to process %d: %m", pid);
		}
		LWLockRelease(sf_shared->lock);
		killed |= kill_now;
		if (gone || waited >= SF_HOLD_LIMIT_MS)
			break;
		ConditionVariableTimedSleep(&sf_shared->left, SF_HOLD_POLL_MS, SF_WAIT_EVENT);
	}
	ConditionVariableCancelSleep();
	return gone;
}

static void
release_holds(void)
{
	if (notes.nholds == 0)
		return;

	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < notes.nholds; i++)
	{
		uint32		nholds = pg_atomic_read_u32(&sf_shared->nholds);

		for (uint32 j = 0; j < nholds; j++)
		{
			if (sf_shared->holds[j].dboid != notes.holds[i])
				continue;
			if (--sf_shared->holds[j].count == 0)
			{
				sf_shared->holds[j] = sf_shared->holds[nholds - 1];
				pg_atomic_write_u32(&sf_shared->nholds, nholds - 1);
			}
			break;
		}
	}
	sf_shared->request_rescan = true;
	LWLockRelease(sf_shared->lock);
	sf_shm_wake_launcher();
}

bool
sf_shm_is_held(Oid dboid)
{
	uint32		nholds = pg_atomic_read_u32(&sf_shared->nholds);

	for (uint32 i = 0; i < nholds; i++)
		if (sf_shared->holds[i].dboid == dboid)
			return true;
	return false;
}

/* --------------------------------------------------------------------------
 * Latches of other processes
 * -------------------------------------------------------------------------- */

static void
wake_worker(SfWorkerSlot *worker, bool by_commit)
{
	Latch	   *latch = *(Latch *volatile *) &worker->latch;

	if (latch == NULL)
		return;
	if (by_commit)
		pg_atomic_write_u32(&worker->woken, 1);
	SetLatch(latch);
}

void
sf_shm_wake_workers(SfDatabase *database)
{
	for (int i = 0; i < SF_MAX_WORKERS; i++)
		wake_worker(&database->workers[i], false);
}

void
sf_shm_wake_launcher(void)
{
	Latch	   *latch = *(Latch *volatile *) &sf_shared->launcher_latch;

	if (latch != NULL)
		SetLatch(latch);
}
