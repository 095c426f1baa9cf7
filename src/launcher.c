/*
 * launcher.c
 *	  The launcher: keeps a set of workers for every database that has the
 *	  extension.
 *
 * The one hard fact: it goes by what is, not by what has happened.  Every turn
 * compares the workers that are attached with those that should be, and starts
 * what is missing; a lost signal, a failed fork or its own restart costs time
 * and nothing else.
 *
 * It is connected to no database, so it cannot see who has the extension.  It
 * starts worker 0 in a database that it knows nothing of, one at a time; that
 * one stays if it finds the extension and says so in shared memory, else it
 * says that and exits.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "compat.h"
#include "guc.h"
#include "launcher.h"
#include "shm.h"
#include "worker.h"

#define SF_LAUNCHER_TYPE		"sopflow launcher"
#define SF_LAUNCHER_RESTART_S	2
#define SF_LIBRARY				"sopflow"

#define USECS(ms)				(INT64CONST(1000) * (ms))

/* a worker that lived as long as this has not failed to start */
#define SF_LIVED				USECS(10000)
/* wait before the third start in a row; doubles up to the second figure */
#define SF_RESTART_MIN			USECS(200)
#define SF_RESTART_MAX			USECS(60000)
/* wait after the server had no slot for a worker */
#define SF_SHORTAGE_GAP			USECS(10000)

/* what pg_database holds for a database whose DROP was interrupted */
#define SF_CONNLIMIT_INVALID	(-2)

typedef struct SfChild
{
	BackgroundWorkerHandle *handle; /* of the last start, until seen to end */
	TimestampTz started;
	TimestampTz not_before;		/* back-off */
	int			failures;		/* starts in a row that did not live long */
} SfChild;

typedef struct SfKnown
{
	Oid			dboid;			/* hash key, must be first */
	bool		listed;			/* seen in the last reading of pg_database */
	bool		wanted;			/* asked for by sopflow.databases */
	bool		look;			/* to be looked into, whatever we know */
	SfDatabaseState state;
	SfChild		children[SF_MAX_WORKERS];
} SfKnown;

static HTAB *known_databases = NULL;
static MemoryContext turn_context = NULL;
static TimestampTz read_at = 0; /* next reading of pg_database */
static TimestampTz room_at = 0; /* when a database last gave its slot back */
static TimestampTz shortage_until = 0;
static bool worker_shortage = false;	/* as of the turn before */
static bool missing;			/* a worker could not be started in this turn */
static TimestampTz now;			/* at the start of the turn */

static void turn(void);
static void read_requests(void);
static void read_databases(void);
static bool is_asked_for(const char *name, List *names);
static List *asked_names(bool *all);
static void drop_unlisted(void);
static void learn(SfKnown *known);
static bool is_alive(SfKnown *known, int worker);
static bool any_alive(SfKnown *known);
static void keep(SfKnown *known, int first, int end);
static void start_child(SfKnown *known, int worker);
static TimestampTz next_moment(void);

void
sf_launcher_register(void)
{
	BackgroundWorker worker;

	/* pg_upgrade must not find anything at work in the new cluster */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = SF_LAUNCHER_RESTART_S;
	strlcpy(worker.bgw_library_name, SF_LIBRARY, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "sopflow_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, SF_LAUNCHER_TYPE, BGW_MAXLEN);
	strlcpy(worker.bgw_type, SF_LAUNCHER_TYPE, BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

void
sopflow_launcher_main(Datum arg)
{
	HASHCTL		info = {0};

	/* exit code 1: anything else would unregister it for good */
	sf_worker_signals(1);
	sf_worker_set_busy(true);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname(SF_LAUNCHER_TYPE);
	sf_shm_launcher_attach();

	info.keysize = sizeof(Oid);
	info.entrysize = sizeof(SfKnown);
	known_databases = hash_create("sopflow databases", 64, &info, HASH_ELEM | HASH_BLOBS);
	turn_context = AllocSetContextCreate(TopMemoryContext, "sopflow launcher turn",
										 ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		TimestampTz next;

		sf_worker_set_busy(true);
		MemoryContextSwitchTo(turn_context);
		MemoryContextReset(turn_context);
		now = sf_clock_real();
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			read_at = 0;
		}
		turn();
		next = next_moment();
		sf_worker_set_busy(false);
		if (next > sf_clock_real())
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 (next - sf_clock_real()) / 1000 + 1, SF_WAIT_EVENT);
		ResetLatch(MyLatch);
	}
}

static void
turn(void)
{
	HASH_SEQ_STATUS status;
	SfKnown    *known;
	SfKnown    *unknown = NULL;
	bool		looking = false;
	bool		crowded = false;

	missing = false;
	read_requests();
	if (now >= read_at || read_at - now > sf_guc_reconcile_interval * USECS_PER_SEC)
		read_databases();

	hash_seq_init(&status, known_databases);
	while ((known = hash_seq_search(&status)) != NULL)
	{
		learn(known);
		sf_shm_database_want(known->dboid, known->wanted);
		if (!known->wanted && known->state == SF_DATABASE_SERVED && !any_alive(known))
		{
			/* room for one that has found none, or is about to */
			sf_shm_database_forget(known->dboid);
			known->state = SF_DATABASE_UNKNOWN;
			room_at = now;
			read_at = 0;
		}
		crowded |= known->wanted && known->state == SF_DATABASE_CROWDED;
		if (!known->wanted || sf_shm_database_held(known->dboid))
			continue;
		if (known->state == SF_DATABASE_SERVED)
			keep(known, 0, 1);
		else if (known->state == SF_DATABASE_UNKNOWN)
		{
			if (is_alive(known, 0))
				looking = true;
			else if (unknown == NULL || known->look)
				unknown = known->children[0].not_before <= now ? known : unknown;
		}
	}
	if (unknown != NULL && !looking)
		keep(unknown, 0, 1);

	/* further workers come after each database has its first */
	hash_seq_init(&status, known_databases);
	while ((known = hash_seq_search(&status)) != NULL)
		if (known->wanted && known->state == SF_DATABASE_SERVED &&
			!sf_shm_database_held(known->dboid))
			keep(known, 1, sf_guc_workers);

	worker_shortage = missing;
	sf_shm_set_shortage(worker_shortage, crowded);
}

/* Take over what others have asked for. */
static void
read_requests(void)
{
	Oid			dboids[SF_MAX_REQUESTS];
	bool		rescan;
	bool		all;
	int			n = sf_shm_launcher_requests(dboids, &rescan, &all);
	HASH_SEQ_STATUS status;
	SfKnown    *known;

	if (rescan || all)
		read_at = 0;
	for (int i = 0; i < n; i++)
	{
		known = hash_search(known_databases, &dboids[i], HASH_FIND, NULL);
		if (known != NULL)
			known->look = true;
		else
			read_at = 0;		/* new to us, so looked into anyway */
	}
	if (all)
	{
		hash_seq_init(&status, known_databases);
		while ((known = hash_seq_search(&status)) != NULL)
			known->look = true;
	}
}

/* Read pg_database, and forget databases that are gone. */
static void
read_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	HASH_SEQ_STATUS status;
	SfKnown    *known;
	List	   *names;
	bool		all;

	read_at = now + sf_guc_reconcile_interval * USECS_PER_SEC;
	hash_seq_init(&status, known_databases);
	while ((known = hash_seq_search(&status)) != NULL)
		known->listed = false;
	names = asked_names(&all);

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		bool		found;

		known = hash_search(known_databases, &form->oid, HASH_ENTER, &found);
		if (!found)
		{
			memset(known, 0, sizeof(SfKnown));
			known->dboid = form->oid;
		}
		known->listed = true;
		known->wanted = form->datallowconn && !form->datistemplate &&
			form->datconnlimit != SF_CONNLIMIT_INVALID &&
			(all || is_asked_for(NameStr(form->datname), names));
		/* there may be room by now */
		if (known->state == SF_DATABASE_CROWDED)
			known->state = SF_DATABASE_UNKNOWN;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn_context);
	drop_unlisted();
}

static void
drop_unlisted(void)
{
	HASH_SEQ_STATUS status;
	SfKnown    *known;

	hash_seq_init(&status, known_databases);
	while ((known = hash_seq_search(&status)) != NULL)
	{
		/* one with a worker still on its way out is dropped next time */
		if (known->listed || any_alive(known))
			continue;
		hash_search(known_databases, &known->dboid, HASH_REMOVE, NULL);
	}
	/* also those that only a backend, or an earlier launcher, knew of */
	for (int i = 0; i < sf_shm_slots(); i++)
	{
		Oid			dboid = sf_shm_database_at(i);

		if (OidIsValid(dboid) &&
			hash_search(known_databases, &dboid, HASH_FIND, NULL) == NULL)
			sf_shm_database_forget(dboid);
	}
}

/* What sopflow.databases asks for: *all, or a list of names. */
static List *
asked_names(bool *all)
{
	List	   *names = NIL;

	*all = false;
	if (sf_guc_databases == NULL ||
		!SplitIdentifierString(pstrdup(sf_guc_databases), ',', &names))
		return NIL;				/* the setting's check admits no such list */
	*all = is_asked_for("*", names);
	return names;
}

static bool
is_asked_for(const char *name, List *names)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/*
 * Take over what the workers of a database have found.  A request to look that
 * came in the meantime outlives a finding that may be older.
 */
static void
learn(SfKnown *known)
{
	SfDatabaseState found = sf_shm_database_state(known->dboid);
	bool		ended = !any_alive(known);

	if (found == SF_DATABASE_SERVED)
		known->state = SF_DATABASE_SERVED;
	else if (found != SF_DATABASE_UNKNOWN && ended)
	{
		known->state = found == SF_DATABASE_CROWDED && known->children[0].started <= room_at ?
			SF_DATABASE_UNKNOWN : found;
		sf_shm_database_forget(known->dboid);
		memset(known->children, 0, sizeof(known->children));
	}
	if (known->look && ended && known->state != SF_DATABASE_SERVED)
	{
		known->state = SF_DATABASE_UNKNOWN;
		memset(known->children, 0, sizeof(known->children));
	}
}

/* Whether a worker runs or is about to; takes note of one that has ended. */
static bool
is_alive(SfKnown *known, int worker)
{
	SfChild    *child = &known->children[worker];
	pid_t		pid;

	if (child->handle != NULL &&
		GetBackgroundWorkerPid(child->handle, &pid) == BGWH_STOPPED)
	{
		pfree(child->handle);
		child->handle = NULL;
		if (now - child->started >= SF_LIVED || now < child->started)
			child->failures = 0;
		else
			child->failures++;
		/* the first restart is at once */
		child->not_before = now;
		if (child->failures > 1)
			child->not_before += Min(SF_RESTART_MIN << Min(child->failures - 2, 20),
									 SF_RESTART_MAX);
	}
	return child->handle != NULL || sf_shm_worker_attached(known->dboid, worker);
}

static bool
any_alive(SfKnown *known)
{
	bool		alive = false;

	for (int i = 0; i < SF_MAX_WORKERS; i++)
		alive |= is_alive(known, i);
	return alive;
}

/* Start those workers of a database, first to end - 1, that do not run. */
static void
keep(SfKnown *known, int first, int end)
{
	for (int i = first; i < end; i++)
	{
		if (is_alive(known, i) || known->children[i].not_before > now)
			continue;
		if (shortage_until > now)
			missing = true;
		else
			start_child(known, i);
	}
}

static void
start_child(SfKnown *known, int number)
{
	SfChild    *child = &known->children[number];
	SfWorkerArgs args = {.dboid = known->dboid, .worker = number};
	BackgroundWorker worker;
	MemoryContext old;
	bool		started;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, SF_LIBRARY, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, SF_WORKER_MAIN, BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "%s %d of database %u",
			 SF_WORKER_TYPE, number, known->dboid);
	strlcpy(worker.bgw_type, SF_WORKER_TYPE, BGW_MAXLEN);
	memcpy(worker.bgw_extra, &args, sizeof(args));

	known->look = false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &child->handle);
	MemoryContextSwitchTo(old);
	if (started)
	{
		child->started = now;
		return;
	}

	child->handle = NULL;
	shortage_until = now + SF_SHORTAGE_GAP;
	if (!worker_shortage)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no worker slot is free for sopflow"),
				 errdetail("Due tasks of database %u wait until there is one.", known->dboid),
				 errhint("You might need to increase max_worker_processes.")));
	missing = true;
}

/* When to look again if nobody wakes us. */
static TimestampTz
next_moment(void)
{
	TimestampTz next = read_at;
	HASH_SEQ_STATUS status;
	SfKnown    *known;

	if (worker_shortage)
		next = Min(next, shortage_until);
	hash_seq_init(&status, known_databases);
	while ((known = hash_seq_search(&status)) != NULL)
	{
		int			nworkers = known->state == SF_DATABASE_SERVED ? sf_guc_workers : 1;

		if (!known->wanted || known->state == SF_DATABASE_ABSENT ||
			known->state == SF_DATABASE_CROWDED)
			continue;
		for (int i = 0; i < nworkers; i++)
			if (known->children[i].not_before > now)
				next = Min(next, known->children[i].not_before);
	}
	return next;
}
