/*
 * notify.h
 *	  What listeners hear.
 */
#ifndef SF_NOTIFY_H
#define SF_NOTIFY_H

#include "postgres.h"

#include "ledger.h"

/*
 * Whether the NOTIFY queue of the server has room.  A full one would fail the
 * whole batch at its commit, so notifications wait then.
 */
extern bool sf_notify_has_room(void);

/* the whole task in one notification, with its params filled in */
extern void sf_notify_task(const SfAction *action, const SfRun *run, const SfNode *node,
						   const SfTask *task, int attempt, Jsonb *filled);

/* so many tasks of the action were offered */
extern void sf_notify_ready(const SfAction *action, int64 count);

/* the payload of an alert */
extern void sf_notify_alert(const char *payload);

#endif							/* SF_NOTIFY_H */
