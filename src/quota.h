/*
 * quota.h
 *	  Locks on the keys of counted facts.
 */
#ifndef SF_QUOTA_H
#define SF_QUOTA_H

#include "postgres.h"

/*
 * Lock keys until the transaction ends, in an order that is the same in every
 * session.  Waits for whoever has one.
 */
extern void sf_quota_lock(char **keys, int nkeys);

#endif							/* SF_QUOTA_H */
