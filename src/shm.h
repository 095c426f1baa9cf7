/*
 * shm.h
 *	  Shared memory: who sleeps until when, and how a commit wakes it.
 *
 * Without shared_preload_libraries there is none, and every function here is
 * a no-op: dispatch then works by run_due() and fetch() alone.
 */
#ifndef SF_SHM_H
#define SF_SHM_H

#include "postgres.h"
#include "datatype/timestamp.h"

#include "position.h"

extern void sf_shm_init(void);

/* whether the module was preloaded, so that shared memory exists */
extern bool sf_shm_available(void);

/*
 * Notes of the current transaction; acted upon by one callback after its
 * commit, when its rows are visible to others.  Cheap: no lock, no allocation.
 */
extern void sf_shm_note_due(TimestampTz due);		/* a pending task was written */
extern void sf_shm_note_expiry(TimestampTz until);	/* a lease was given */
extern void sf_shm_note_offer(int action_id, SfPosition position);	/* a task was offered */
extern void sf_shm_note_locked(void);	/* rows of runs were locked: wake a worker
										 * that passed them by, also on abort */

/*
 * The low-water mark of an action's offers: nothing that could be fetched lies
 * before it.  begin() also takes over what commits have rewound and must be
 * called before the snapshot is taken.  end() asks that the mark go to `to`
 * if this transaction commits.
 */
extern SfPosition sf_shm_offer_mark_begin(int action_id);
extern void sf_shm_offer_mark_end(int action_id, SfPosition from, SfPosition to);

/*
 * Slot of the current database in arrays of sf_shm_slots() elements, taken if
 * there is none yet; -1 without shared memory or when all are taken.
 */
extern int	sf_shm_slots(void);
extern int	sf_shm_database_slot(void);

/* ---- for the worker; all but attach need a successful attach ---- */

typedef enum SfAttach
{
	SF_ATTACH_OK,
	SF_ATTACH_HELD,				/* somebody wants this database left alone */
	SF_ATTACH_TAKEN,			/* such a worker is there already */
	SF_ATTACH_FULL				/* no slot: sopflow.max_databases */
} SfAttach;

/* what a worker does, for sopflow.worker_status */
typedef enum SfWorkerState
{
	SF_WORKER_STARTING,
	SF_WORKER_WORKING,
	SF_WORKER_WAITING,
	SF_WORKER_HELD,				/* the database is held after a restore */
	SF_WORKER_LOCKED,			/* the extension is being dropped */
	SF_WORKER_BACKOFF,			/* waits after an error */
	SF_WORKER_STATES
} SfWorkerState;

/*
 * Become worker `worker` of that database.  To be called before the process
 * connects, so that whoever raises a hold sees every worker that may connect.
 * Detaches by itself when the process has left the database.
 */
extern SfAttach sf_shm_worker_attach(Oid dboid, int worker);

/* The extension is there (false: more databases than slots), or it is not. */
extern bool sf_shm_worker_serve(void);
extern void sf_shm_worker_absent(void);

/* whether to exit: a hold, or the launcher does not want this database served */
extern bool sf_shm_worker_must_leave(void);

/*
 * The wake-up protocol, see shm.c.  busy(until): wake me for whatever is due
 * before `until`, the time at which I look again come what may; followed by a
 * full barrier.  take_rewound: the earliest due time committed since it was
 * last taken.  idle(next): wake me for whatever is due before `next`.
 */
extern void sf_shm_worker_busy(TimestampTz until);
extern TimestampTz sf_shm_worker_take_rewound(void);
extern TimestampTz sf_shm_worker_peek_rewound(void);
extern void sf_shm_worker_idle(TimestampTz next, bool skipped);

/* whether a commit has set the latch since this was last asked */
extern bool sf_shm_worker_take_woken(void);

/* earliest end of a lease of this database: look, take over, give back */
extern TimestampTz sf_shm_expiry_peek(void);
extern TimestampTz sf_shm_expiry_take(void);
extern void sf_shm_expiry_lower(TimestampTz until);

extern void sf_shm_worker_report(SfWorkerState state, TimestampTz wakeup, TimestampTz low_water);
extern void sf_shm_worker_count(int64 tasks);	/* one pass, so many tasks */
extern void sf_shm_worker_error(const char *message);

/* ---- for the launcher ---- */

typedef enum SfDatabaseState
{
	SF_DATABASE_UNKNOWN,		/* no worker has looked into it */
	SF_DATABASE_SERVED,
	SF_DATABASE_ABSENT,			/* a worker found no extension and left */
	SF_DATABASE_CROWDED			/* it has the extension, but there are more
								 * databases than slots */
} SfDatabaseState;

#define SF_MAX_REQUESTS 64

extern void sf_shm_launcher_attach(void);

/*
 * Databases to look into since the last call, at most SF_MAX_REQUESTS.  *rescan
 * tells whether the list of databases may have changed, *all whether every
 * database is to be looked into.
 */
extern int	sf_shm_launcher_requests(Oid *dboids, bool *rescan, bool *all);

extern SfDatabaseState sf_shm_database_state(Oid dboid);
extern bool sf_shm_database_held(Oid dboid);
extern bool sf_shm_worker_attached(Oid dboid, int worker);

/* have the workers of a database stay or leave */
extern void sf_shm_database_want(Oid dboid, bool wanted);

/* free the slot of a database, unless a worker is attached */
extern void sf_shm_database_forget(Oid dboid);

/* database in slot i, or InvalidOid */
extern Oid	sf_shm_database_at(int i);

/* what sopflow.health says about the launcher's troubles */
extern void sf_shm_set_shortage(bool worker_slots, bool database_slots);

/* ---- for the utility hook: act at the end of this transaction ---- */

/*
 * Have the workers of a database leave and stay away until the end of this
 * transaction.  hold_wait waits until they are gone, sends them SIGTERM when
 * they take long, and gives up (false) after a bounded time.
 */
extern void sf_shm_hold(Oid dboid);
extern bool sf_shm_hold_wait(Oid dboid);

/* on commit: the launcher and the workers look whether the extension is here */
extern void sf_shm_note_extension(bool dropped);

/* on commit: the launcher reads the list of databases again */
extern void sf_shm_note_databases(void);

/* ---- for the views ---- */

typedef struct SfShmStatus
{
	int			launcher_pid;	/* 0: not running */
	int			workers;		/* attached to the current database */
	bool		worker_shortage;
	bool		database_shortage;
} SfShmStatus;

#define SF_ERROR_LEN 256

typedef struct SfWorkerStatus
{
	Oid			dboid;
	int			worker;
	int			pid;
	SfWorkerState state;
	TimestampTz started;
	TimestampTz wakeup;			/* SF_NEVER: not waiting */
	TimestampTz low_water;		/* PG_INT64_MIN: at the start */
	int64		passes;
	int64		tasks;
	TimestampTz error_at;		/* PG_INT64_MIN: none */
	char		error[SF_ERROR_LEN];
} SfWorkerStatus;

extern void sf_shm_status(SfShmStatus *status);

/* status of worker `worker` in slot i, false if there is none */
extern bool sf_shm_worker_status(int i, int worker, SfWorkerStatus *status);

#endif							/* SF_SHM_H */
