/*
 * flow.h
 *	  Event -> runs -> tasks; the end of a task -> what follows.
 */
#ifndef SF_FLOW_H
#define SF_FLOW_H

#include "postgres.h"

#include "event.h"
#include "ledger.h"
#include "stats.h"

/*
 * Take in events of one name, in their order; each ends runs, answers waits,
 * then starts runs.  Returns runs started and ended, and waits answered.
 */
extern int64 sf_flow_events(const char *event, const SfEvent *events, int nevents);

/* start one SOP; returns the run, or under reentry = 'ignore' the active one */
extern int64 sf_flow_start(const char *sop_id, const SfEvent *event);

/* an error when its subject or its time cannot be one; copies nothing */
extern void sf_flow_check_event(const SfEvent *event);

/* result of a wait node: the event that came and its context, or NULL */
extern Jsonb *sf_flow_wait_result(const char *event, Jsonb *context);

/* ---- in follow.c ---- */

/*
 * Endings of a task whose row the caller has removed, under the lock of its
 * run.  done and skip go on to the next node.  fail writes it for a retry at
 * `retry_at` (0: by the action's backoff) or, when its attempts are used up or
 * retry is false, as dead, and tells which.  action is NULL where it does not
 * exist.
 */
extern void sf_flow_done(SfLedger *ledger, SfRun *run, const SfTask *task, Jsonb *result,
						 TimestampTz completed_at);
/* whether skip_late_after says that it is too late to begin with what is due then */
extern bool sf_flow_is_late(const SfRun *run, int node, TimestampTz due, TimestampTz now);
/* the same of a task, which it can be only before its first attempt */
extern bool sf_flow_too_late(const SfRun *run, const SfTask *task, TimestampTz now);
extern void sf_flow_skip(SfLedger *ledger, SfRun *run, const SfTask *task);

/*
 * Nodes that dispatch carries out by itself.  decide and call_sop return an
 * error text, or NULL: then the task has been recorded, or is held until the
 * other run ends.  That run's end comes as a message, which is the task once
 * more.
 */
extern char *sf_flow_decide(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz now);
extern void sf_flow_wait_over(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz now);
extern char *sf_flow_call_sop(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz now);
/*
 * Where a condition node leads (-1: nowhere), and its result as JSON; raises
 * the errors of its expression.  dry: events of a rule set are not emitted.
 */
extern char *sf_flow_choose(const SfRun *run, int node, bool dry, int *to);

extern bool sf_flow_is_message(const SfTask *task, const SfNode *node);
/* a message that outlived its run: it may say that another is to end, too */
extern void sf_flow_stop_child(SfLedger *ledger, SfTask *task, TimestampTz now);
extern void sf_flow_sop_over(SfLedger *ledger, SfRun *run, SfTask *task, TimestampTz now);
extern SfOutcome sf_flow_fail(SfLedger *ledger, SfRun *run, SfTask *task, const SfAction *action,
							  const char *error, bool retry, TimestampTz retry_at);

#endif							/* SF_FLOW_H */
