/*
 * collect.c
 *	  Events of row triggers, kept until their statement ends.
 *
 * Row triggers run one after another while a statement is finished, by
 * ExecutorFinish or at the end of COPY, and none of them knows that it is the
 * last.  So both are bracketed here: what row triggers bring within a bracket
 * is written in sets of CHUNK, and the rest when the bracket closes, still
 * inside the statement.  Where there is no bracket (the module was loaded by
 * this very statement, or the rows come by logical replication) each row is
 * written by itself.
 *
 * An UPDATE that moves a row to another partition fires the INSERT triggers
 * there, and only the bracket tells that it was no INSERT.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "tcop/utility.h"
#include "utils/memutils.h"

#include "collect.h"
#include "flow.h"

#define CHUNK	1000

/* events of one watch */
typedef struct SfCollection
{
	SfWatch    *watch;
	int			nevents;
	SfEvent		events[CHUNK];
} SfCollection;

/* a statement that is ending; they nest */
typedef struct SfBracket
{
	struct SfBracket *outer;
	MemoryContext context;		/* NULL: nothing is kept */
	List	   *collections;	/* of SfCollection * */
	int			nkept;
	bool		only_updates;	/* whatever is inserted was moved there */
} SfBracket;

static SfBracket *innermost = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish = NULL;
static ProcessUtility_hook_type prev_ProcessUtility = NULL;

static void
write_all(SfBracket *bracket)
{
	ListCell   *lc;
	MemoryContext context = bracket->context;
	List	   *collections = bracket->collections;

	/* what follows may bring events of its own */
	bracket->context = NULL;
	bracket->collections = NIL;
	bracket->nkept = 0;
	foreach(lc, collections)
	{
		SfCollection *collection = lfirst(lc);

		(void) sf_flow_events(collection->watch->event, collection->events, collection->nevents);
	}
	MemoryContextDelete(context);
}

static void
open_bracket(SfBracket *bracket)
{
	memset(bracket, 0, sizeof(*bracket));
	bracket->outer = innermost;
	innermost = bracket;
}

static void
finish(QueryDesc *queryDesc)
{
	SfBracket	bracket;

	open_bracket(&bracket);
	bracket.only_updates = queryDesc->operation == CMD_UPDATE &&
		!queryDesc->plannedstmt->hasModifyingCTE;
	PG_TRY();
	{
		if (prev_ExecutorFinish)
			prev_ExecutorFinish(queryDesc);
		else
			standard_ExecutorFinish(queryDesc);
		if (bracket.context != NULL)
			write_all(&bracket);
	}
	PG_FINALLY();
	{
		innermost = bracket.outer;
	}
	PG_END_TRY();
}

static void
run_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	if (prev_ProcessUtility)
		prev_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv,
								dest, qc);
}

static void
utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
		ProcessUtilityContext context, ParamListInfo params,
		QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	SfBracket	bracket;

	if (!IsA(pstmt->utilityStmt, CopyStmt) || !((CopyStmt *) pstmt->utilityStmt)->is_from)
	{
		run_utility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
		return;
	}
	open_bracket(&bracket);
	PG_TRY();
	{
		run_utility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
		if (bracket.context != NULL)
			write_all(&bracket);
	}
	PG_FINALLY();
	{
		innermost = bracket.outer;
	}
	PG_END_TRY();
}

void
sf_collect_init(void)
{
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish;
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}

bool
sf_collect_moved(void)
{
	return innermost != NULL && innermost->only_updates;
}

bool
sf_collect_begin(MemoryContext *context)
{
	if (innermost == NULL)
		return false;
	if (innermost->nkept >= CHUNK)
		write_all(innermost);
	if (innermost->context == NULL)
		innermost->context = AllocSetContextCreate(CurTransactionContext, "sopflow events",
												   ALLOCSET_DEFAULT_SIZES);
	*context = innermost->context;
	return true;
}

void
sf_collect_event(SfWatch *watch, const SfEvent *event)
{
	SfCollection *collection = NULL;
	ListCell   *lc;

	foreach(lc, innermost->collections)
		if (((SfCollection *) lfirst(lc))->watch == watch)
			collection = lfirst(lc);
	if (collection == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(innermost->context);

		collection = palloc(sizeof(SfCollection));
		collection->watch = watch;
		collection->nevents = 0;
		innermost->collections = lappend(innermost->collections, collection);
		MemoryContextSwitchTo(old);
	}
	collection->events[collection->nevents++] = *event;
	innermost->nkept++;
}
