/*
 * quota.c
 *	  Locks on the keys of counted facts.
 *
 * A limit cannot be overrun because who counts for a key holds its lock until
 * his transaction ends, and counts under a snapshot taken after he got it: all
 * that other holders added is committed by then, since a transaction becomes
 * visible before it lets its locks go.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"

#include "quota.h"

/* SQL's advisory locks have 1 and 2 here, so no user can take or see through ours */
#define QUOTA_CLASS	0x5F51

static int
compare_hashes(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* keys of one hash share a lock: they wait for each other, no more */
void
sf_quota_lock(char **keys, int nkeys)
{
	uint64	   *hashes = palloc(Max(nkeys, 1) * sizeof(uint64));

	for (int i = 0; i < nkeys; i++)
		hashes[i] = DatumGetUInt64(hash_any_extended((const unsigned char *) keys[i],
													 strlen(keys[i]), 0));
	/* one order in all sessions: no two wait for each other within a call */
	qsort(hashes, nkeys, sizeof(uint64), compare_hashes);
	for (int i = 0; i < nkeys; i++)
	{
		LOCKTAG		tag;

		SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hashes[i] >> 32), (uint32) hashes[i],
							 QUOTA_CLASS);
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
	}
	pfree(hashes);
}
