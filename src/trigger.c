/*
 * trigger.c
 *	  The trigger of watched tables: rows -> events.
 *
 * On a plain table it fires once a statement with a transition table; on
 * partitions and in inheritance trees, where a statement trigger would miss
 * rows, once a row; see collect.c.  A failure in it fails the INSERT, unless the watch says
 * on_error = 'skip'.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

#include "collect.h"
#include "delivery.h"
#include "errors.h"
#include "flow.h"
#include "ident.h"
#include "ledger.h"
#include "stats.h"
#include "watch.h"

/* events written at a time */
#define CHUNK	1000

PG_FUNCTION_INFO_V1(sopflow_intake);

typedef struct SfIntake
{
	SfWatchSet *set;
	SfWatch    *watch;
	SfWatchScope scope;
	MemoryContext chunk;		/* what the events of a chunk point to */
	SfEvent    *events;
	int			nevents;
} SfIntake;

static void
describe_watch(void *arg)
{
	SfIntake   *intake = arg;

	errcontext("sopflow watch of table \"%s\" for event \"%s\"",
			   intake->set->name, intake->watch->event);
}

static void
write_chunk(SfIntake *intake)
{
	if (intake->nevents > 0)
		(void) sf_flow_events(intake->watch->event, intake->events, intake->nevents);
	intake->nevents = 0;
	MemoryContextReset(intake->chunk);
}

static void
take_row(SfIntake *intake, TupleTableSlot *row)
{
	MemoryContext old = MemoryContextSwitchTo(intake->chunk);

	if (sf_watch_row(intake->set, intake->watch, row, &intake->events[intake->nevents]))
		intake->nevents++;
	MemoryContextSwitchTo(old);
}

/* on_error = 'skip': a row by itself, its failure an alert */
static void
take_row_or_skip(SfIntake *intake, TupleTableSlot *row)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	SfIdentity	saved;

	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		sf_watch_enter(intake->set, intake->watch, &intake->scope);
		take_row(intake, row);
		sf_watch_leave(intake->set, &intake->scope);
		write_chunk(intake);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;
		SfLedger   *ledger;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		SetUserIdAndSecContext(saved.userid, saved.sec_context);
		if (sf_error_is_fatal_to_statement(edata->sqlerrcode))
			ReThrowError(edata);
		intake->nevents = 0;
		MemoryContextReset(intake->chunk);
		sf_stats_count(SF_COUNT_INTAKE_ERRORS, 1);
		ledger = sf_ledger_open(false);
		sf_ledger_alert(ledger, "intake", NULL, NULL, 0,
						psprintf("a row was inserted without its event \"%s\": %s",
								 intake->watch->event, sf_error_text(edata)));
		sf_ledger_close(ledger);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

static void
take_statement(SfIntake *intake, Relation rel, Tuplestorestate *rows)
{
	TupleTableSlot *row = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsMinimalTuple);
	bool		more = true;

	tuplestore_rescan(rows);
	while (more)
	{
		if (!intake->watch->skip_errors)
			sf_watch_enter(intake->set, intake->watch, &intake->scope);
		while (intake->nevents < CHUNK &&
			   (more = tuplestore_gettupleslot(rows, true, false, row)))
		{
			CHECK_FOR_INTERRUPTS();
			if (intake->watch->skip_errors)
				take_row_or_skip(intake, row);
			else
				take_row(intake, row);
		}
		if (!intake->watch->skip_errors)
			sf_watch_leave(intake->set, &intake->scope);
		write_chunk(intake);
	}
	ExecDropSingleTupleTableSlot(row);
}

/* a row of a row trigger: kept until the statement ends, where that can be known */
static void
take_one(SfIntake *intake, TupleTableSlot *row)
{
	MemoryContext kept;

	if (sf_collect_moved())
		return;
	if (intake->watch->skip_errors)
	{
		take_row_or_skip(intake, row);
		return;
	}
	if (sf_collect_begin(&kept))
	{
		MemoryContext old = MemoryContextSwitchTo(kept);

		sf_watch_enter(intake->set, intake->watch, &intake->scope);
		if (sf_watch_row(intake->set, intake->watch, row, &intake->events[0]))
			sf_collect_event(intake->watch, &intake->events[0]);
		sf_watch_leave(intake->set, &intake->scope);
		MemoryContextSwitchTo(old);
		return;
	}
	sf_watch_enter(intake->set, intake->watch, &intake->scope);
	take_row(intake, row);
	sf_watch_leave(intake->set, &intake->scope);
	write_chunk(intake);
}

Datum
sopflow_intake(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	ErrorContextCallback callback;
	SfIntake	intake = {0};
	bool		by_statement;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "sopflow.intake"),
				 errhint("Use sopflow.watch() to watch a table.")));
	by_statement = TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event);
	if (!TRIGGER_FIRED_AFTER(trigdata->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ||
		(by_statement && trigdata->tg_newtable == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired AFTER INSERT, for each row or with a new transition table",
						"sopflow.intake"),
				 errhint("Use sopflow.watch() to watch a table.")));
	/* what is restored has its runs and tasks in the same dump */
	if (sf_ident_restoring())
		return PointerGetDatum(NULL);

	intake.set = sf_watch_set(trigdata->tg_relation, trigdata->tg_trigger);
	intake.chunk = AllocSetContextCreate(CurrentMemoryContext, "sopflow intake", ALLOCSET_DEFAULT_SIZES);
	intake.events = palloc((by_statement ? CHUNK : 1) * sizeof(SfEvent));
	callback.callback = describe_watch;
	callback.arg = &intake;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	for (int i = 0; i < intake.set->nwatches; i++)
	{
		intake.watch = &intake.set->watches[i];
		if (by_statement)
			take_statement(&intake, trigdata->tg_relation, trigdata->tg_newtable);
		else
			take_one(&intake, trigdata->tg_trigslot);
	}
	error_context_stack = callback.previous;
	MemoryContextDelete(intake.chunk);
	return PointerGetDatum(NULL);
}
