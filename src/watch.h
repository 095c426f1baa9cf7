/*
 * watch.h
 *	  What makes a row of a watched table an event.
 */
#ifndef SF_WATCH_H
#define SF_WATCH_H

#include "postgres.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/jsonb.h"
#include "utils/plancache.h"
#include "utils/reltrigger.h"
#include "utils/relcache.h"

#include "event.h"
#include "ident.h"
#include "path.h"

/* one watch of a relation, resolved against its columns */
typedef struct SfWatch
{
	char	   *event;
	AttrNumber	key;
	Oid			key_type;		/* of a domain: its base */
	AttrNumber	time;			/* 0: the time of the transaction */
	Oid			time_type;
	int			ncontext;
	AttrNumber *context;
	char	  **context_names;
	FmgrInfo   *to_jsonb;		/* one for each context column */
	FmgrInfo	key_out;
	char	   *condition;		/* NULL: every row */
	CachedExpression *expression;
	ExprState  *state;
	SfPath		path;
	bool		skip_errors;
} SfWatch;

/* the watches behind one trigger; stays until the transaction ends */
typedef struct SfWatchSet
{
	Oid			trigger;		/* hash key, must be first */
	Oid			relid;
	char	   *name;			/* of that relation */
	Oid			watched;		/* the relation that is watched: relid or one that it
								 * is a partition of */
	Oid			owner;			/* of the watched relation */
	bool		restricted;		/* a user's code or a setting is part of it: run as
								 * the owner, with formats pinned */
	int			nwatches;
	SfWatch    *watches;
	ExprContext *econtext;
	MemoryContext context;
	MemoryContextCallback cleanup;
	bool		valid;
} SfWatchSet;

extern void sf_watch_init(void);

/* the watches that the trigger of the relation serves */
extern SfWatchSet *sf_watch_set(Relation rel, Trigger *trigger);

/*
 * Begin and end evaluation: as the table's owner, restricted, under the saved
 * search_path, where a user's code is part of it.
 */
typedef struct SfWatchScope
{
	SfIdentity	saved;
	int			nest;
} SfWatchScope;

extern void sf_watch_enter(SfWatchSet *set, const SfWatch *watch, SfWatchScope *scope);
extern void sf_watch_leave(SfWatchSet *set, SfWatchScope *scope);

/* false: the row is no event of this watch.  Allocates in the current context. */
extern bool sf_watch_row(SfWatchSet *set, SfWatch *watch, TupleTableSlot *row, SfEvent *event);

/*
 * Check a watch that is to be: column names and condition.  Returns the
 * condition's parse tree as text, NULL where there is none.
 */
extern char *sf_watch_check(Relation rel, const char *key, const char *time_column,
							int ncontext, char **context, const char *condition);

/* whether only a row trigger sees all rows: partitions and inheritance */
extern bool sf_watch_needs_rows(Oid relid);

/* the condition that a stored tree stands for, with today's column names */
extern char *sf_watch_deparse(Oid relid, const char *tree);

#endif							/* SF_WATCH_H */
