/*
 * control.h
 *	  What operators do with runs and tasks.
 */
#ifndef SF_CONTROL_H
#define SF_CONTROL_H

#include "postgres.h"
#include "utils/array.h"
#include "utils/timestamp.h"

/* NULL or 0: any; returns tasks cancelled */
extern int64 sf_control_cancel(const char *subject_id, const char *sop_id, int64 run_id);

/* false: it is not waiting */
extern bool sf_control_reschedule(int64 task_id, TimestampTz due_at);

/* dead tasks go back; returns how many */
extern int64 sf_control_redrive(const char *action, ArrayType *task_ids);

/* an error when there is none of that name */
extern void sf_control_pause_sop(const char *sop_id, bool paused);
extern void sf_control_pause_action(const char *action, bool paused);

/* offered tasks of an SOP or action that is held from now on are taken back */
extern void sf_control_hold_sop(const char *sop_id);
extern void sf_control_hold_action(const char *action);

/* held tasks of an SOP or action that is not held any more go on */
extern void sf_control_release_sop(const char *sop_id);
extern void sf_control_release_action(const char *action);

#endif							/* SF_CONTROL_H */
