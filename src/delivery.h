/*
 * delivery.h
 *	  Calling a handler, and the row that handlers and consumers are given.
 */
#ifndef SF_DELIVERY_H
#define SF_DELIVERY_H

#include "postgres.h"

#include "ledger.h"

/* the columns of sopflow.work */
#define SF_WORK_COLUMNS	12

extern void sf_work_fill(const SfRun *run, const SfNode *node, const SfTask *task,
						 Jsonb *params, int64 lease_token, TimestampTz lease_until,
						 Datum *values, bool *nulls);

/*
 * Call the action's handler in a subtransaction of its own, as the action's
 * owner, for at most its timeout.  True: it succeeded and *result, in the
 * current context, is what it returned.  False: nothing that it did remains
 * and *error says why.
 */
extern bool sf_delivery_call(SfAction *action, const SfRun *run, const SfNode *node,
							 const SfTask *task, Jsonb **result, char **error);

/*
 * Whether the subject of the run still has its row, as the SOP's owner sees
 * it.  False with *error set: it could not be found out.
 */
extern bool sf_delivery_subject_exists(const SfSop *sop, const SfRun *run, char **error);

/* params of a task, filled in from what is there now; NULL: it is not known */
extern Jsonb *sf_delivery_params(int64 task_id);

/* an error as one line to keep */
extern char *sf_error_text(const ErrorData *edata);

/*
 * As SET CONSTRAINTS ALL.  Each handler runs with constraints checked at once,
 * and leaves them deferred.  Before PostgreSQL 18 whatever the transaction has
 * deferred until then fires as the current user, so whoever passes on the work
 * of a caller has to check his constraints first, as that caller.
 */
extern void sf_delivery_defer_constraints(bool deferred);

#endif							/* SF_DELIVERY_H */
