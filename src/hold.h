/*
 * hold.h
 *	  Between those who hold tasks of a pause and those who end it.
 */
#ifndef SF_HOLD_H
#define SF_HOLD_H

#include "postgres.h"

#include "ident.h"

/*
 * About to hold a task of an SOP or action (SF_REL_SOP, SF_REL_ACTION) that is
 * seen to be paused: keep whoever ends the pause waiting until our rows can be
 * seen.  Does not wait; false: somebody is changing it now, come back.  Look
 * again after it: what was seen may be of yesterday.
 */
extern bool sf_hold_begin(SfRel kind, const char *name);

/*
 * About to start a run of the SOP: keep off whoever would delete it until our
 * rows can be seen.  Waits for one who is at it.
 */
extern void sf_hold_start(const char *sop_id);

/*
 * About to delete the SOP: false where runs are being started now.  Does not
 * wait, since those who start runs would queue behind us.
 */
extern bool sf_hold_delete(const char *sop_id);

/*
 * About to count failures of an action: one at a time until the end of the
 * transaction.  False, where `wait` is, when somebody else is at it.
 */
extern bool sf_hold_failures(int32 action_id, bool wait);

/*
 * A pause has begun or ended in this transaction: wait for those who hold
 * tasks meanwhile, before looking for what they held.
 */
extern void sf_hold_change(SfRel kind, const char *name);

#endif							/* SF_HOLD_H */
