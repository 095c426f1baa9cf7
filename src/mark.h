/*
 * mark.h
 *	  Low-water marks of offers; see shm.h for the functions that callers use.
 */
#ifndef SF_MARK_H
#define SF_MARK_H

#include "postgres.h"
#include "storage/lwlock.h"

/* shared memory, called by shm.c; `lock` guards the keys of the table */
extern Size sf_mark_shmem_size(void);
extern void sf_mark_shmem_init(void *base, bool found, LWLock *lock);

/* ends of transactions and subtransactions, called by shm.c's callbacks */
extern void sf_mark_at_commit(void);
extern void sf_mark_at_abort(void);
extern void sf_mark_at_subcommit(SubTransactionId subid, SubTransactionId parent);
extern void sf_mark_at_subabort(SubTransactionId subid);

/* drop the marks of a database; the caller holds `lock` exclusively */
extern void sf_mark_forget(Oid dboid);

#endif							/* SF_MARK_H */
