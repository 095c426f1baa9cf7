/*
 * worker.c
 *	  The worker: a background process that serves one database.
 *
 * The one hard fact: no transaction, and so no snapshot, is ever open while it
 * waits.  A turn is a few short transactions; then it waits, by latch and exact
 * timer, for the earliest of the next due time, the next end of a lease, and
 * the reconcile.  What a turn learns is believed only after its commit.
 *
 * A worker leaves (exit code 0, the launcher starts it again when it is wanted)
 * when the extension is gone, when somebody holds the database (see utility.c)
 * and when the settings no longer ask for it.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/s_lock.h"
#include "tcop/tcopprot.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "compat.h"
#include "dispatch.h"
#include "guc.h"
#include "ident.h"
#include "shm.h"
#include "stats.h"
#include "worker.h"

#define MSEC(n)						(INT64CONST(1000) * (n))

/* between the slices of a reconcile scan */
#define SF_PATROL_GAP				MSEC(10)
/* before trying a locked row again; doubles up to the second figure */
#define SF_RETRY_MIN				MSEC(20)
#define SF_RETRY_MAX				MSEC(1000)
/* after an error; doubles up to the second figure */
#define SF_BACKOFF_MIN				MSEC(100)
#define SF_BACKOFF_MAX				MSEC(10000)
/* while DROP EXTENSION is under way */
#define SF_LOCKED_GAP				MSEC(1000)
/*
 * What a transaction should take at most, and the tasks of the first.  Handlers
 * may be slow, and a batch of them holds its locks and its snapshot, and keeps
 * what it has done to itself, until its commit.
 */
#define SF_PASS_TIME				MSEC(500)
#define SF_SPIN_TIME				300	/* microseconds */
#define SF_PASS_FIRST				100
/* between looks at the history partitions */
#define SF_RETENTION_GAP			(INT64CONST(3600) * USECS_PER_SEC)
/* statistics are flushed whatever the cost before a wait this long */
#define SF_STATS_FLUSH_GAP			MSEC(1000)

typedef struct SfWorker
{
	int			number;
	int			nworkers;		/* as the mark was made for */
	MemoryContext context;		/* reset every turn */

	int			limit;			/* tasks of the next transaction */
	SfPosition	mark;			/* nothing pending of ours lies before it */
	SfPosition	patrol;			/* of the reconcile scan under way */
	bool		patrolling;
	bool		careful;		/* see SfPass */
	TimestampTz next_due;		/* as the last pass left it */
	bool		more;
	bool		skipped;
	int64		retry;			/* wait for a locked row, 0 when there was none */

	bool		sweeping;		/* a sweep for ended leases is under way */
	BlockNumber sweep_block;
	TimestampTz sweep_expiry;	/* earliest lease end that it has seen */

	TimestampTz reconcile_at;	/* real time, as are the next two */
	TimestampTz retention_at;
	TimestampTz backoff_until;
	int64		backoff;		/* 0 after a turn without error */
	SfWorkerState state;
	SfCounter	wake_kind;		/* of a wait that ends by itself */
} SfWorker;

static SfWorker self;
static volatile sig_atomic_t stop_requested = false;
static volatile sig_atomic_t is_busy = false;
static int	stop_code = 0;

static void worker_sigterm(SIGNAL_ARGS);
static void override_settings(void);
static void probe(void);
static void run_turn(void);
static void turn(void);
static void leave_if_asked(void);
static void begin_reconcile(TimestampTz now);
static bool begin_work(const char *activity);
static void end_work(void);
static void do_pass(void);
static void adapt_limit(int64 done, int64 took);
static void do_sweep(void);
static void do_retention(void);
static TimestampTz next_moment(void);
static void wait_until(TimestampTz until);
static void recover(void);

/* --------------------------------------------------------------------------
 * SIGTERM
 * -------------------------------------------------------------------------- */

static void
worker_sigterm(SIGNAL_ARGS)
{
	int			save_errno = errno;

	stop_requested = true;
	if (is_busy)
		die(postgres_signal_arg);
	else
		SetLatch(MyLatch);
	errno = save_errno;
}

void
sf_worker_signals(int code)
{
	stop_code = code;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, worker_sigterm);
	BackgroundWorkerUnblockSignals();
}

void
sf_worker_set_busy(bool busy)
{
	is_busy = busy;
	/* a signal that came before has set the flag only */
	if (stop_requested)
		proc_exit(stop_code);
}

/* --------------------------------------------------------------------------
 * The process
 * -------------------------------------------------------------------------- */

void
sopflow_worker_main(Datum arg)
{
	SfWorkerArgs args;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	sf_worker_signals(0);
	sf_worker_set_busy(true);

	/* the launcher tries again; it looks at the reason itself */
	if (sf_shm_worker_attach(args.dboid, args.worker) != SF_ATTACH_OK)
		proc_exit(0);

	BackgroundWorkerInitializeConnectionByOid(args.dboid, InvalidOid, 0);
	override_settings();
	pgstat_report_appname(SF_WORKER_TYPE);
	self.context = AllocSetContextCreate(TopMemoryContext, "sopflow worker turn",
										 ALLOCSET_DEFAULT_SIZES);
	self.number = args.worker;
	self.nworkers = sf_guc_workers;
	self.mark = SF_POSITION_START;
	self.limit = SF_PASS_FIRST;
	self.careful = true;
	self.state = SF_WORKER_STARTING;
	sf_shm_worker_report(self.state, SF_NEVER, self.mark.due);
	MemoryContextSwitchTo(self.context);
	probe();

	for (;;)
		run_turn();
}

/*
 * Defaults that users set for their own sessions must not reach ours: a
 * read-only transaction could do nothing, and a timeout would end a batch.
 */
static void
override_settings(void)
{
	static const char *const settings[][2] = {
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"row_security", "on"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/* Go on only if the extension is here and there is a slot to serve it. */
static void
probe(void)
{
	bool		present;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	present = OidIsValid(sf_ident_extension());
	CommitTransactionCommand();
	MemoryContextSwitchTo(self.context);

	if (!present)
		sf_shm_worker_absent();
	if (!present || !sf_shm_worker_serve())
		proc_exit(0);
	ereport(DEBUG1,
			(errmsg_internal("sopflow worker %d serves database %u",
							 self.number, MyDatabaseId)));
}

/* One turn; its errors end here. */
static void
run_turn(void)
{
	PG_TRY();
	{
		turn();
	}
	PG_CATCH();
	{
		recover();
	}
	PG_END_TRY();
}

/*
 * Look at what is asked of us, do what is due, wait for what is next.
 */
static void
turn(void)
{
	TimestampTz now = sf_clock_real();
	TimestampTz rewound;

	sf_worker_set_busy(true);
	MemoryContextReset(self.context);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		/* the interval may be shorter now, the clock or the retention changed */
		self.retention_at = now;
		self.reconcile_at = Min(self.reconcile_at,
								now + sf_guc_reconcile_interval * USECS_PER_SEC);
	}
	leave_if_asked();

	if (now < self.backoff_until)
	{
		/* nothing that is committed meanwhile makes us hurry */
		sf_shm_worker_idle(PG_INT64_MIN, false);
		sf_shm_worker_report(SF_WORKER_BACKOFF, self.backoff_until, self.mark.due);
		self.wake_kind = SF_COUNT_WAKE_OTHER;
		wait_until(self.backoff_until);
		return;
	}

	/* shards change hands: what was behind the mark need not be any more */
	if (self.nworkers != sf_guc_workers)
	{
		self.nworkers = sf_guc_workers;
		self.mark = SF_POSITION_START;
	}
	/* a clock that was set back would put the reconcile off */
	if (now >= self.reconcile_at ||
		self.reconcile_at - now > sf_guc_reconcile_interval * USECS_PER_SEC)
		begin_reconcile(now);

	sf_shm_worker_busy(sf_clock_is_set() ? PG_INT64_MAX : self.reconcile_at);
	rewound = sf_shm_worker_take_rewound();
	if (rewound <= self.mark.due)
	{
		/* it may be before others that are due in the same microsecond */
		self.mark.due = rewound;
		self.mark.task_id = PG_INT64_MIN;
	}
	if (self.number == 0 && !self.sweeping && sf_shm_expiry_peek() <= sf_clock_now())
		self.sweeping = true;

	sf_shm_worker_report(SF_WORKER_WORKING, SF_NEVER, self.mark.due);
	if (self.number == 0 && now >= self.retention_at)
		do_retention();
	do_pass();
	if (self.sweeping && self.state == SF_WORKER_WAITING)
		do_sweep();
	self.backoff = 0;

	if (!self.more && !(self.sweeping && self.state == SF_WORKER_WAITING))
	{
		TimestampTz next = next_moment();

		sf_shm_worker_idle(sf_clock_is_set() ? PG_INT64_MAX : next, self.skipped);
		sf_shm_worker_report(self.state, next, self.mark.due);
		pgstat_report_stat(next > now + SF_STATS_FLUSH_GAP);
		wait_until(next);
	}
	else
		pgstat_report_stat(false);
}

/* Exit when a hold, the launcher or the settings ask for it. */
static void
leave_if_asked(void)
{
	if (self.number >= sf_guc_workers || sf_shm_worker_must_leave())
		proc_exit(0);
}

/*
 * Look again at everything that needs no commit callback to come about:
 * prepared transactions, restored rows, a clock that jumped.
 */
static void
begin_reconcile(TimestampTz now)
{
	self.reconcile_at = now + sf_guc_reconcile_interval * USECS_PER_SEC;
	self.patrolling = true;
	self.patrol = SF_POSITION_START;
	if (self.number == 0)
		sf_shm_expiry_lower(PG_INT64_MIN);
	if (self.retention_at - now > SF_RETENTION_GAP)
		self.retention_at = now;
}

/* --------------------------------------------------------------------------
 * What a turn does
 * -------------------------------------------------------------------------- */

/*
 * Start a transaction in which the extension stays here.  False, with no
 * transaction open, when there is nothing to do now; self.state says why.
 */
static bool
begin_work(const char *activity)
{
	pgstat_report_activity(STATE_RUNNING, activity);
	debug_query_string = activity;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (!sf_ident_lock())
	{
		bool		present = OidIsValid(sf_ident_extension());

		end_work();
		if (!present)
		{
			sf_shm_worker_absent();
			proc_exit(0);
		}
		self.state = SF_WORKER_LOCKED;
		return false;
	}
	if (sf_ident_held())
	{
		end_work();
		self.state = SF_WORKER_HELD;
		/* rows come in meanwhile without any commit callback */
		self.mark = SF_POSITION_START;
		return false;
	}
	self.state = SF_WORKER_WAITING;
	return true;
}

static void
end_work(void)
{
	CommitTransactionCommand();
	MemoryContextSwitchTo(self.context);
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
}

static void
do_pass(void)
{
	SfPass		pass;
	TimestampTz start = sf_clock_real();
	bool		alerts = false;

	self.more = false;
	self.skipped = false;
	self.next_due = SF_NEVER;
	if (!begin_work("sopflow: dispatch"))
		return;

	memset(&pass, 0, sizeof(pass));
	pass.worker = self.number;
	pass.nworkers = self.nworkers;
	pass.max_tasks = Min(self.limit, sf_guc_batch_size);
	pass.max_usec = SF_PASS_TIME;
	pass.from = self.mark;
	pass.patrol = self.patrol;
	pass.patrolling = self.patrolling;
	pass.careful = self.careful;
	sf_dispatch_pass(&pass);
	if (self.number == 0)
		alerts = sf_dispatch_alerts();
	end_work();

	/* it has committed */
	self.mark = pass.reached;
	self.patrol = pass.patrol;
	self.patrolling = pass.patrolling;
	self.careful = pass.careful;
	self.next_due = pass.next_due;
	self.more = pass.more;
	self.skipped = pass.skipped;
	if (!pass.skipped)
		self.retry = 0;
	else if (self.retry == 0 || pass.done > 0)
		self.retry = SF_RETRY_MIN;
	else
		self.retry = Min(self.retry * 2, SF_RETRY_MAX);
	sf_shm_worker_count(pass.done);
	adapt_limit(pass.done, sf_clock_real() - start);
	self.more |= alerts;
}

/* Fewer tasks at a time when they are slow, more when they are not. */
static void
adapt_limit(int64 done, int64 took)
{
	if (done > 0 && took > SF_PASS_TIME)
		self.limit = Max(1, done * SF_PASS_TIME / took);
	else if (self.more && took < SF_PASS_TIME / 4)
		self.limit = Min(self.limit * 2, SF_MAX_BATCH_SIZE);
}

/* A slice of the sweep for ended leases. */
static void
do_sweep(void)
{
	BlockNumber block = self.sweep_block;
	TimestampTz earliest;

	if (block == 0)
	{
		/* from here on, leases that commits announce are kept beside ours */
		sf_shm_expiry_take();
		self.sweep_expiry = SF_NEVER;
	}
	earliest = self.sweep_expiry;
	if (!begin_work("sopflow: ended leases"))
	{
		/* not now: have the next turn that can begin it anew */
		self.sweeping = false;
		self.sweep_block = 0;
		sf_shm_expiry_lower(PG_INT64_MIN);
		return;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	sf_dispatch_expire(&block, &earliest);
	PopActiveSnapshot();
	end_work();

	self.sweep_block = block;
	self.sweep_expiry = earliest;
	if (block == 0)
	{
		self.sweeping = false;
		sf_shm_expiry_lower(earliest);
	}
}

/*
 * Partitions of the history.  It needs a lock that others may hold for long
 * (pg_dump does), so failing is no error: the next reconcile tries again.
 */
static void
do_retention(void)
{
	MemoryContext context = self.context;

	PG_TRY();
	{
		if (begin_work("sopflow: history partitions"))
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			sf_dispatch_retention();
			PopActiveSnapshot();
			end_work();
			self.retention_at = sf_clock_real() + SF_RETENTION_GAP;
		}
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		HOLD_INTERRUPTS();
		AbortCurrentTransaction();
		FlushErrorState();
		MemoryContextSwitchTo(context);
		RESUME_INTERRUPTS();
		debug_query_string = NULL;
		self.retention_at = self.reconcile_at;
		sf_shm_worker_error(edata->message);
		ereport(WARNING,
				(errcode(edata->sqlerrcode),
				 errmsg("could not maintain the history partitions: %s", edata->message),
				 edata->detail ? errdetail_internal("%s", edata->detail) : 0,
				 edata->context ? errcontext("%s", edata->context) : 0));
	}
	PG_END_TRY();
}

/*
 * After an error: report it, wait, and run handlers one at a time behind the
 * crash marker until it is known which one it was.
 */
static void
recover(void)
{
	ErrorData  *edata;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(self.context);
	edata = CopyErrorData();
	EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	MemoryContextSwitchTo(self.context);
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
	sf_shm_worker_error(edata->message);

	self.backoff = self.backoff == 0 ? SF_BACKOFF_MIN :
		Min(self.backoff * 2, SF_BACKOFF_MAX);
	self.backoff_until = sf_clock_real() + self.backoff;
	self.careful = true;
	if (self.sweeping)
	{
		self.sweeping = false;
		self.sweep_block = 0;
		sf_shm_expiry_lower(PG_INT64_MIN);
	}
	RESUME_INTERRUPTS();
}

/* --------------------------------------------------------------------------
 * Waiting
 * -------------------------------------------------------------------------- */

/* The next moment, in real time, at which there is something to do. */
static TimestampTz
next_moment(void)
{
	TimestampTz now = sf_clock_real();
	TimestampTz reconcile = self.reconcile_at;
	TimestampTz next = SF_NEVER;

	if (self.state == SF_WORKER_LOCKED)
		next = now + SF_LOCKED_GAP;
	else if (self.state == SF_WORKER_WAITING)
	{
		if (self.patrolling)
			reconcile = Min(reconcile, now + SF_PATROL_GAP);
		if (self.retry > 0)
			next = now + self.retry;
		/* under a clock that is set, time does not bring anything about */
		if (!sf_clock_is_set())
		{
			next = Min(next, self.next_due);
			/* what we or others have committed since the scan */
			next = Min(next, sf_shm_worker_peek_rewound());
			if (self.number == 0)
				next = Min(next, sf_shm_expiry_peek());
		}
		else if (sf_shm_worker_peek_rewound() <= sf_clock_now() ||
				 (self.number == 0 && sf_shm_expiry_peek() <= sf_clock_now()))
			next = now;
	}
	self.wake_kind = next < reconcile ? SF_COUNT_WAKE_TIMER : SF_COUNT_WAKE_RECONCILE;
	return Min(next, reconcile);
}

/*
 * Wait for the latch or until that time, never less: WaitLatch takes whole
 * milliseconds, so they are rounded down, and most of the rest is slept to the
 * microsecond.  A sleep ends late by some 50 to 200 microseconds on an idle
 * machine; the last SF_SPIN_TIME is spent spinning, which costs that much CPU
 * for a due time and takes a sixth off the median delay of a lone task.
 */
static void
wait_until(TimestampTz until)
{
	bool		waited = false;
	bool		woken = false;
	TimestampTz now;

	sf_worker_set_busy(false);
	while (!woken && (now = sf_clock_real()) < until)
	{
		int64		remaining = until - now;

		waited = true;
		if (remaining < SF_SPIN_TIME)
			SPIN_DELAY();
		else if (remaining < MSEC(1))
			pg_usleep(remaining - SF_SPIN_TIME);
		else if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						   remaining / MSEC(1), SF_WAIT_EVENT) & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			woken = true;
		}
	}
	sf_worker_set_busy(true);

	if (sf_shm_worker_take_woken())
		sf_stats_count(SF_COUNT_WAKE_COMMIT, 1);
	else if (woken)
		sf_stats_count(SF_COUNT_WAKE_OTHER, 1);
	else if (waited)
		sf_stats_count(self.wake_kind, 1);
}
