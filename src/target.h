/*
 * target.h
 *	  The tables of users that our triggers are put on.
 */
#ifndef SF_TARGET_H
#define SF_TARGET_H

#include "postgres.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* an error unless the current user owns the relation */
extern void sf_target_demand_owner(Oid relid);

/*
 * Lock and open a table that is to be `verb` ("watched", "guarded"); an error,
 * with `hint`, where it is none that rows are written to.  Rights are looked at
 * again under the lock; who calls has looked before, since it makes others wait.
 */
extern Relation sf_target_open(Oid relid, LOCKMODE lockmode, const char *verb, const char *hint);

#endif							/* SF_TARGET_H */
