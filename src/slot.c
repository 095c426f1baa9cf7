/*
 * slot.c
 *	  Slots of databases in shared memory, and what the worker, the launcher and
 *	  the views do with them.
 *
 * The one hard fact: a worker attaches before it connects and detaches after it
 * has left the database, both under the sopflow lock, and attaching fails while
 * the database is held.  So whoever raises a hold and then sees no worker
 * attached knows that none is connected and none will be.
 *
 * There is one slot more than sopflow.max_databases, so that there is one left
 * to look into the next database with.  A slot stays with its database until
 * the launcher frees it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"

#include "clock.h"
#include "mark.h"
#include "shm_private.h"
#include "stats.h"

SfWorkerSlot *sf_slot_mine = NULL;

/* the database of sf_slot_mine */
static SfDatabase *my_database = NULL;

static SfDatabase *take_slot(Oid dboid);
static void worker_detach(int code, Datum arg);
static void launcher_detach(int code, Datum arg);

/* --------------------------------------------------------------------------
 * Slots of databases
 * -------------------------------------------------------------------------- */

SfDatabase *
sf_slot_find(Oid dboid)
{
	static int	last = 0;

	if (sf_shared->databases[last].dboid == dboid)
		return &sf_shared->databases[last];
	for (int i = 0; i < sf_shared->nslots; i++)
	{
		if (sf_shared->databases[i].dboid == dboid)
		{
			last = i;
			return &sf_shared->databases[i];
		}
	}
	return NULL;
}

/* The slot of a database, taken if it has none; the lock is held. */
static SfDatabase *
take_slot(Oid dboid)
{
	SfDatabase *database = sf_slot_find(dboid);

	if (database != NULL)
		return database;
	database = sf_slot_find(InvalidOid);
	if (database == NULL)
		return NULL;
	sf_stats_reset(database - sf_shared->databases, dboid);
	database->state = SF_DATABASE_UNKNOWN;
	database->unwanted = false;
	for (int i = 0; i < SF_MAX_WORKERS; i++)
	{
		database->workers[i].error_at = PG_INT64_MIN;
		database->workers[i].error[0] = '\0';
	}
	pg_atomic_write_u64(&database->next_expiry, SF_NEVER);
	database->dboid = dboid;
	return database;
}

/* Free a slot without workers; the lock is held exclusively. */
static void
free_slot(SfDatabase *database)
{
	sf_mark_forget(database->dboid);
	sf_stats_reset(database - sf_shared->databases, database->dboid);
	database->dboid = InvalidOid;
}

int
sf_shm_slots(void)
{
	return sf_shared != NULL ? sf_shared->nslots : sf_guc_max_databases + 1;
}

int
sf_shm_database_slot(void)
{
	static bool full = false;
	SfDatabase *database;
	int			used = 0;

	if (sf_shared == NULL || !OidIsValid(MyDatabaseId))
		return -1;
	database = sf_slot_find(MyDatabaseId);
	if (database == NULL && !full)
	{
		LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
		/* the last one is the launcher's, to look into databases with */
		for (int i = 0; i < sf_shared->nslots; i++)
			used += OidIsValid(sf_shared->databases[i].dboid);
		if (used < sf_shared->nslots - 1)
			database = take_slot(MyDatabaseId);
		LWLockRelease(sf_shared->lock);
		full = database == NULL;
	}
	return database != NULL ? database - sf_shared->databases : -1;
}

Oid
sf_shm_database_at(int i)
{
	return sf_shared->databases[i].dboid;
}

SfDatabaseState
sf_shm_database_state(Oid dboid)
{
	SfDatabaseState state = SF_DATABASE_UNKNOWN;
	SfDatabase *database;

	LWLockAcquire(sf_shared->lock, LW_SHARED);
	database = sf_slot_find(dboid);
	if (database != NULL)
		state = database->state;
	LWLockRelease(sf_shared->lock);
	return state;
}

bool
sf_shm_database_held(Oid dboid)
{
	bool		held;

	LWLockAcquire(sf_shared->lock, LW_SHARED);
	held = sf_shm_is_held(dboid);
	LWLockRelease(sf_shared->lock);
	return held;
}

void
sf_shm_database_want(Oid dboid, bool wanted)
{
	SfDatabase *database;

	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	database = sf_slot_find(dboid);
	if (database != NULL && database->unwanted == wanted)
	{
		database->unwanted = !wanted;
		sf_shm_wake_workers(database);
	}
	LWLockRelease(sf_shared->lock);
}

void
sf_shm_database_forget(Oid dboid)
{
	SfDatabase *database;
	bool		attached = false;

	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	database = sf_slot_find(dboid);
	for (int i = 0; database != NULL && i < SF_MAX_WORKERS; i++)
		attached |= database->workers[i].pid != 0;
	if (database != NULL && !attached)
		free_slot(database);
	LWLockRelease(sf_shared->lock);
}

/* --------------------------------------------------------------------------
 * The worker
 * -------------------------------------------------------------------------- */

SfAttach
sf_shm_worker_attach(Oid dboid, int worker)
{
	SfAttach	result = SF_ATTACH_OK;
	SfDatabase *database = NULL;
	SfWorkerSlot *slot = NULL;

	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	if (sf_shm_is_held(dboid))
		result = SF_ATTACH_HELD;
	else if ((database = take_slot(dboid)) == NULL)
		result = SF_ATTACH_FULL;
	else if ((slot = &database->workers[worker])->pid != 0)
		result = SF_ATTACH_TAKEN;
	else
	{
		/* wake us for whatever is committed from now on */
		pg_atomic_write_u64(&slot->next_wakeup, SF_WAKE_ALWAYS);
		pg_atomic_write_u64(&slot->rewound, SF_NEVER);
		pg_atomic_write_u32(&slot->skipped, 0);
		pg_atomic_write_u32(&slot->woken, 0);
		pg_atomic_write_u32(&slot->state, SF_WORKER_STARTING);
		pg_atomic_write_u64(&slot->wakeup, SF_NEVER);
		pg_atomic_write_u64(&slot->low_water, PG_INT64_MIN);
		pg_atomic_write_u64(&slot->passes, 0);
		pg_atomic_write_u64(&slot->tasks, 0);
		slot->started = sf_clock_real();
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		my_database = database;
		sf_slot_mine = slot;
	}
	LWLockRelease(sf_shared->lock);

	/*
	 * Not before_shmem_exit: callbacks run last in, first out, so this one runs
	 * after those that connecting registers, when this process no longer counts
	 * as one that uses the database.
	 */
	if (result == SF_ATTACH_OK)
		on_shmem_exit(worker_detach, (Datum) 0);
	return result;
}

static void
worker_detach(int code, Datum arg)
{
	SfWorkerSlot *slot = sf_slot_mine;

	sf_slot_mine = NULL;
	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	slot->latch = NULL;
	slot->pid = 0;
	LWLockRelease(sf_shared->lock);
	ConditionVariableBroadcast(&sf_shared->left);
	sf_shm_wake_launcher();
}

bool
sf_shm_worker_serve(void)
{
	int			served = 0;

	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < sf_shared->nslots; i++)
	{
		SfDatabase *database = &sf_shared->databases[i];

		served += database != my_database && OidIsValid(database->dboid) &&
			database->state == SF_DATABASE_SERVED;
	}
	my_database->state = served < sf_shared->nslots - 1 ?
		SF_DATABASE_SERVED : SF_DATABASE_CROWDED;
	LWLockRelease(sf_shared->lock);
	/* it may start our fellows now, and look into another database */
	sf_shm_wake_launcher();
	return my_database->state == SF_DATABASE_SERVED;
}

void
sf_shm_worker_absent(void)
{
	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	my_database->state = SF_DATABASE_ABSENT;
	LWLockRelease(sf_shared->lock);
}

bool
sf_shm_worker_must_leave(void)
{
	bool		held;

	if (my_database->unwanted)
		return true;
	if (pg_atomic_read_u32(&sf_shared->nholds) == 0)
		return false;
	LWLockAcquire(sf_shared->lock, LW_SHARED);
	held = sf_shm_is_held(my_database->dboid);
	LWLockRelease(sf_shared->lock);
	return held;
}

void
sf_shm_worker_busy(TimestampTz until)
{
	pg_atomic_write_u64(&sf_slot_mine->next_wakeup, (uint64) until);
	pg_memory_barrier();
}

TimestampTz
sf_shm_worker_take_rewound(void)
{
	return (int64) pg_atomic_exchange_u64(&sf_slot_mine->rewound, (uint64) SF_NEVER);
}

TimestampTz
sf_shm_worker_peek_rewound(void)
{
	return atomic_time(&sf_slot_mine->rewound);
}

void
sf_shm_worker_idle(TimestampTz next, bool skipped)
{
	pg_atomic_write_u32(&sf_slot_mine->skipped, skipped ? 1 : 0);
	pg_atomic_write_u64(&sf_slot_mine->next_wakeup, (uint64) next);
}

bool
sf_shm_worker_take_woken(void)
{
	return pg_atomic_exchange_u32(&sf_slot_mine->woken, 0) != 0;
}

TimestampTz
sf_shm_expiry_peek(void)
{
	return atomic_time(&my_database->next_expiry);
}

TimestampTz
sf_shm_expiry_take(void)
{
	return (int64) pg_atomic_exchange_u64(&my_database->next_expiry, (uint64) SF_NEVER);
}

void
sf_shm_expiry_lower(TimestampTz until)
{
	atomic_lower(&my_database->next_expiry, until);
}

void
sf_shm_worker_report(SfWorkerState state, TimestampTz wakeup, TimestampTz low_water)
{
	pg_atomic_write_u32(&sf_slot_mine->state, state);
	pg_atomic_write_u64(&sf_slot_mine->wakeup, (uint64) wakeup);
	pg_atomic_write_u64(&sf_slot_mine->low_water, (uint64) low_water);
}

void
sf_shm_worker_count(int64 tasks)
{
	pg_atomic_write_u64(&sf_slot_mine->passes, pg_atomic_read_u64(&sf_slot_mine->passes) + 1);
	pg_atomic_write_u64(&sf_slot_mine->tasks, pg_atomic_read_u64(&sf_slot_mine->tasks) + tasks);
}

void
sf_shm_worker_error(const char *message)
{
	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	strlcpy(sf_slot_mine->error, message, SF_ERROR_LEN);
	sf_slot_mine->error_at = sf_clock_real();
	LWLockRelease(sf_shared->lock);
}

/* --------------------------------------------------------------------------
 * The launcher
 * -------------------------------------------------------------------------- */

void
sf_shm_launcher_attach(void)
{
	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	sf_shared->launcher_pid = MyProcPid;
	sf_shared->launcher_latch = MyLatch;
	LWLockRelease(sf_shared->lock);
	on_shmem_exit(launcher_detach, (Datum) 0);
}

static void
launcher_detach(int code, Datum arg)
{
	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	sf_shared->launcher_pid = 0;
	sf_shared->launcher_latch = NULL;
	LWLockRelease(sf_shared->lock);
}

int
sf_shm_launcher_requests(Oid *dboids, bool *rescan, bool *all)
{
	int			n;

	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	n = sf_shared->nrequests;
	memcpy(dboids, sf_shared->requests, n * sizeof(Oid));
	*rescan = sf_shared->request_rescan;
	*all = sf_shared->request_all;
	sf_shared->nrequests = 0;
	sf_shared->request_rescan = false;
	sf_shared->request_all = false;
	LWLockRelease(sf_shared->lock);
	return n;
}

bool
sf_shm_worker_attached(Oid dboid, int worker)
{
	SfDatabase *database;
	bool		attached;

	if (sf_shared == NULL)
		return false;
	LWLockAcquire(sf_shared->lock, LW_SHARED);
	database = sf_slot_find(dboid);
	attached = database != NULL && database->workers[worker].pid != 0;
	LWLockRelease(sf_shared->lock);
	return attached;
}

void
sf_shm_set_shortage(bool worker_slots, bool database_slots)
{
	LWLockAcquire(sf_shared->lock, LW_EXCLUSIVE);
	sf_shared->worker_shortage = worker_slots;
	sf_shared->database_shortage = database_slots;
	LWLockRelease(sf_shared->lock);
}

void
sf_slot_request(Oid dboid)
{
	for (int i = 0; i < sf_shared->nrequests; i++)
		if (sf_shared->requests[i] == dboid)
			return;
	if (sf_shared->nrequests < SF_MAX_REQUESTS)
		sf_shared->requests[sf_shared->nrequests++] = dboid;
	else
		sf_shared->request_all = true;
}

/* --------------------------------------------------------------------------
 * Status
 * -------------------------------------------------------------------------- */

void
sf_shm_status(SfShmStatus *status)
{
	SfDatabase *database;

	memset(status, 0, sizeof(*status));
	LWLockAcquire(sf_shared->lock, LW_SHARED);
	status->launcher_pid = sf_shared->launcher_pid;
	status->worker_shortage = sf_shared->worker_shortage;
	status->database_shortage = sf_shared->database_shortage;
	database = sf_slot_find(MyDatabaseId);
	for (int i = 0; database != NULL && i < SF_MAX_WORKERS; i++)
		status->workers += database->workers[i].pid != 0;
	LWLockRelease(sf_shared->lock);
}

bool
sf_shm_worker_status(int i, int worker, SfWorkerStatus *status)
{
	SfDatabase *database = &sf_shared->databases[i];
	SfWorkerSlot *slot = &database->workers[worker];

	LWLockAcquire(sf_shared->lock, LW_SHARED);
	status->dboid = database->dboid;
	status->worker = worker;
	status->pid = slot->pid;
	status->state = pg_atomic_read_u32(&slot->state);
	status->started = slot->started;
	status->wakeup = atomic_time(&slot->wakeup);
	status->low_water = atomic_time(&slot->low_water);
	status->passes = pg_atomic_read_u64(&slot->passes);
	status->tasks = pg_atomic_read_u64(&slot->tasks);
	status->error_at = slot->error_at;
	strlcpy(status->error, slot->error, SF_ERROR_LEN);
	LWLockRelease(sf_shared->lock);
	return OidIsValid(status->dboid) && status->pid != 0;
}
