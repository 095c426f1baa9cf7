/*
 * plan.h
 *	  Every SQL text of the module, and the only way to run one.
 *
 * Hot paths do not come here: they read and write our relations through
 * store.h.
 */
#ifndef SF_PLAN_H
#define SF_PLAN_H

#include "postgres.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "nodes/params.h"
#include "parser/parse_node.h"
#include "utils/builtins.h"

typedef enum SfPlan
{
	SF_PLAN_SOPS,
	SF_PLAN_EXITS,
	SF_PLAN_WAITS,
	SF_PLAN_VERSION,
	SF_PLAN_VERSION_HEAD,
	SF_PLAN_VERSION_NODES,
	SF_PLAN_VERSION_LINKS,
	SF_PLAN_ACTIONS,
	SF_PLAN_ACTION_GRANTS,
	SF_PLAN_SOP_ROW,
	SF_PLAN_SOP_BUILD,
	SF_PLAN_SOP_REFS,
	SF_PLAN_SOP_REFS_LOCK,
	SF_PLAN_SOP_REF_CYCLE,
	SF_PLAN_SOP_USERS,
	SF_PLAN_SOP_PUBLISH,
	SF_PLAN_SOP_TOUCH,
	SF_PLAN_SOP_TOUCHED,
	SF_PLAN_SOP_LOCK,
	SF_PLAN_SOP_NODES_DELETE,
	SF_PLAN_SOP_RUNS,
	SF_PLAN_ACTION_USERS,
	SF_PLAN_ACTION_LOCK,
	SF_PLAN_ACTION_GRANTS_DELETE,
	SF_PLAN_CALENDAR,
	SF_PLAN_CALENDAR_OWNER,
	SF_PLAN_CALENDAR_TOUCH,
	SF_PLAN_CALENDAR_LOCK,
	SF_PLAN_CALENDAR_USERS,
	SF_PLAN_CALENDAR_RUNS,
	SF_PLAN_HOLIDAYS_DELETE,
	SF_PLAN_HOLD_SET,
	SF_PLAN_RULE_SET_ROW,
	SF_PLAN_RULE_SET_REVISION,
	SF_PLAN_RULE_FACTS,
	SF_PLAN_RULE_QUOTAS,
	SF_PLAN_RULE_PARAMS,
	SF_PLAN_RULE_OVERRIDES,
	SF_PLAN_RULE_GROUPS,
	SF_PLAN_RULES,
	SF_PLAN_RULE_GRANTS,
	SF_PLAN_RULE_GUARDED,
	SF_PLAN_RULE_SET_OWNER,
	SF_PLAN_RULE_SET_TOUCH,
	SF_PLAN_RULE_SET_LOCK,
	SF_PLAN_RULE_SET_GUARDS,
	SF_PLAN_RULE_SET_CLEAR,
	SF_PLAN_RULE_PARAM_EXISTS,
	SF_PLAN_RULE_OVERRIDES_DELETE,
	SF_PLAN_RULE_OVERRIDES_MOVE,
	SF_PLAN_WATCHES,
	SF_PLAN_WATCH_SET,
	SF_PLAN_WATCH_DELETE,
	SF_PLAN_WATCH_LEFT,
	SF_PLAN_GUARD_FACTS,
	SF_PLAN_GUARD_RELATED,
	SF_PLAN_GUARD_SET,
	SF_PLAN_GUARD_DELETE,
	SF_PLAN_GUARD_TRIGGERS,
	SF_PLAN_GUARD_LATER,
	SF_PLAN_GUARD_OPEN,
	SF_PLAN_ALERT,
	SF_PLAN_ALERTS_UNSENT,
	SF_PLAN_ALERTS_SENT,
	SF_PLAN_FAILURE,
	SF_PLAN_SUCCESS,
	SF_PLAN_RUNS_OF,
	SF_PLAN_HELD_BY_SOP,
	SF_PLAN_HELD_BY_ACTION,
	SF_PLAN_OFFERED_OF_SOP,
	SF_PLAN_OFFERED_OF_ACTION,
	SF_PLAN_DEAD_IDS,
	SF_PLAN_RUN_REVIVE,
	SF_PLAN_STATE_READ,
	SF_PLAN_STATE_WRITE,
	SF_PLAN_STATE_DELETE,
	SF_PLAN_LAST_STEP,
	SF_PLAN_TASK_OF,
	SF_PLAN_ENDED_RUN,
	SF_PLAN_PAUSE_SOP,
	SF_PLAN_PAUSE_ACTION,
	SF_PLAN_COUNT
} SfPlan;

/* called for each row; allocations go to the context of sf_plan_run's caller */
typedef void (*SfRowFn)(HeapTuple tuple, TupleDesc desc, void *arg);

/*
 * Run a statement of the table as the extension's owner with search_path
 * pinned.  A query of the table that reads sees the newest committed state
 * and our own changes, in every isolation level.  Returns rows processed.
 */
extern uint64 sf_plan_run(SfPlan which, const Datum *values, const char *nulls,
						  SfRowFn fn, void *arg);

/*
 * Run a command that is made at run time (CREATE TRIGGER, a partition), as the
 * extension's owner with search_path pinned.
 */
extern uint64 sf_plan_command(const char *sql, SfRowFn fn, void *arg);

/*
 * Run a statement that is made from few patterns (the names of a schema), and
 * keep its plan.  With the rights of `role`, restricted, or, InvalidOid, as we
 * are; under the settings that are there, so that triggers find theirs.
 */
extern uint64 sf_plan_text(Oid role, const char *sql, int nargs, const Oid *types,
						   const Datum *values, const char *nulls, SfRowFn fn, void *arg);

/*
 * Run a statement of ours over a user's table, with the rights of `owner`,
 * restricted, read-only, under the pinned search_path.  keep: its plan is kept by
 * its text, and locks all that it may need whatever the values.
 */
extern uint64 sf_plan_query_as(Oid owner, bool keep, const char *sql, int nargs,
							   const Oid *types, const Datum *values, SfRowFn fn, void *arg);

/*
 * Prepare a query of a user's, one SELECT that reads only; an error where it
 * is anything else.  `setup` and `arg` resolve names that are no columns, and
 * must stay as long as the plan.  Tells the number and types of its columns.
 */
struct _SPI_plan;
typedef void (*SfParserSetup)(ParseState *pstate, void *arg);
extern struct _SPI_plan *sf_plan_prepare(const char *sql, SfParserSetup setup, void *arg,
										 TupleDesc *columns);
/* false: something that the query names has changed since */
extern bool sf_plan_is_valid(struct _SPI_plan *plan);
extern void sf_plan_forget(struct _SPI_plan *plan);

/*
 * Run it with the current rights and settings, at most max_rows rows.  It sees
 * our own changes; `newest`: also what was committed after the transaction's
 * snapshot was taken.
 */
extern uint64 sf_plan_execute(struct _SPI_plan *plan, ParamListInfo params, bool newest,
							  int max_rows, SfRowFn fn, void *arg);

/*
 * The type as a cast names it that leaves values as they are: format_type_be
 * says "character" for bpchar, which as a cast is character(1).
 */
extern char *sf_plan_type_name(Oid type);

/* a parameter of a statement that may be null */
static inline void
sf_put_text(Datum *value, char *null, const char *text)
{
	*null = text == NULL ? 'n' : ' ';
	*value = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

/*
 * Copies of a column of a row, in the current context.  NULL or the default
 * for a null.
 */
extern char *sf_row_text(HeapTuple tuple, TupleDesc desc, int column);
extern int64 sf_row_int64(HeapTuple tuple, TupleDesc desc, int column, int64 otherwise);
extern int32 sf_row_int32(HeapTuple tuple, TupleDesc desc, int column, int32 otherwise);
extern bool sf_row_bool(HeapTuple tuple, TupleDesc desc, int column);
extern Oid	sf_row_oid(HeapTuple tuple, TupleDesc desc, int column);

#endif							/* SF_PLAN_H */
