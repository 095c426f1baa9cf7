/*
 * shm_private.h
 *	  The layout of shared memory, for shm.c and slot.c alone.
 */
#ifndef SF_SHM_PRIVATE_H
#define SF_SHM_PRIVATE_H

#include "postgres.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "guc.h"
#include "shm.h"

/* the LWLocks of the module */
#define SF_TRANCHE			"sopflow"
enum
{
	SF_LOCK_SHARED,				/* "the sopflow lock": SfShared and keys of marks */
	SF_LOCK_STATS,				/* keys of statistics; taken after the other */
	SF_LOCKS
};

#define SF_MAX_HOLDS		64	/* databases held at a time */

/* next_wakeup of a worker that every commit shall wake */
#define SF_WAKE_ALWAYS		PG_INT64_MAX

/*
 * Times are int64 microseconds kept in unsigned atomics.  "Worker" below means
 * written by the attached worker alone and read by anybody.
 */
typedef struct SfWorkerSlot
{
	int			pid;			/* 0: free; sopflow lock */
	Latch	   *latch;			/* of the worker; sopflow lock, but read without:
								 * a latch of PGPROC never goes away, and setting
								 * one too many is harmless */
	pg_atomic_uint64 next_wakeup;	/* worker */
	pg_atomic_uint64 rewound;	/* lowered by commits, taken over by the worker */
	pg_atomic_uint32 skipped;	/* passed a locked row by; worker */
	pg_atomic_uint32 woken;		/* set by commits, cleared by the worker */
	pg_atomic_uint32 state;		/* SfWorkerState; worker */
	pg_atomic_uint64 wakeup;	/* for the view; worker */
	pg_atomic_uint64 low_water; /* for the view; worker */
	pg_atomic_uint64 passes;	/* worker */
	pg_atomic_uint64 tasks;		/* worker */
	TimestampTz started;		/* sopflow lock */
	TimestampTz error_at;		/* sopflow lock */
	char		error[SF_ERROR_LEN];	/* sopflow lock */
} SfWorkerSlot;

typedef struct SfDatabase
{
	Oid			dboid;			/* InvalidOid: free; sopflow lock, but read
								 * without and rechecked by nobody: a slot that
								 * has changed hands costs its new owner a scan */
	SfDatabaseState state;		/* sopflow lock */
	bool		unwanted;		/* the launcher wants its workers to leave;
								 * sopflow lock, read without */
	pg_atomic_uint64 next_expiry;	/* lowered by commits, taken over by worker 0 */
	SfWorkerSlot workers[SF_MAX_WORKERS];
} SfDatabase;

typedef struct SfHold
{
	Oid			dboid;
	int			count;			/* transactions that want it left alone */
} SfHold;

typedef struct SfShared
{
	LWLock	   *lock;			/* "the sopflow lock"; set once */
	int			nslots;			/* set once */
	ConditionVariable left;		/* a worker has detached */
	int			launcher_pid;	/* sopflow lock */
	Latch	   *launcher_latch; /* sopflow lock, but read without, as above */
	bool		worker_shortage;	/* sopflow lock */
	bool		database_shortage;	/* sopflow lock */
	pg_atomic_uint32 nholds;	/* used elements of holds; sopflow lock, but read
								 * without to see that there are none */
	SfHold		holds[SF_MAX_HOLDS];	/* sopflow lock */
	int			nrequests;		/* sopflow lock */
	Oid			requests[SF_MAX_REQUESTS];	/* sopflow lock */
	bool		request_rescan; /* sopflow lock */
	bool		request_all;	/* more requests than fit; sopflow lock */
	SfDatabase	databases[FLEXIBLE_ARRAY_MEMBER];
} SfShared;

extern SfShared *sf_shared;

/* ---- in shm.c ---- */

extern void sf_shm_wake_workers(SfDatabase *database);
extern void sf_shm_wake_launcher(void);

/* whether a database is held; without the lock the answer may be late */
extern bool sf_shm_is_held(Oid dboid);

/* ---- in slot.c ---- */

/* what this process is attached as, or NULL */
extern SfWorkerSlot *sf_slot_mine;

/*
 * The slot of a database, or NULL.  Without the lock the answer is a hint, but
 * right for the database that the caller is connected to and that has workers.
 */
extern SfDatabase *sf_slot_find(Oid dboid);

/* Ask the launcher to look into a database; the lock is held exclusively. */
extern void sf_slot_request(Oid dboid);

/* Lower a time; others may lower it too. */
static inline void
atomic_lower(pg_atomic_uint64 *value, TimestampTz to)
{
	uint64		seen = pg_atomic_read_u64(value);

	while ((int64) seen > to &&
		   !pg_atomic_compare_exchange_u64(value, &seen, (uint64) to))
		;
}

static inline TimestampTz
atomic_time(pg_atomic_uint64 *value)
{
	return (int64) pg_atomic_read_u64(value);
}

#endif							/* SF_SHM_PRIVATE_H */
