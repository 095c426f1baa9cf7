/*
 * hold.c
 *	  Between those who hold tasks of a pause and those who end it.
 *
 * A dispatcher that still sees a pause may hold a task after the transaction
 * that ends the pause has looked for held ones, and nobody would let that task
 * go again.  So the one takes a share lock until it commits, the other waits
 * for it: what was held before can be seen then, and later dispatchers see
 * that the pause is over.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"

#include "hold.h"

/* two names may share a lock: they wait for each other, no more */
static LOCKTAG
hold_tag(SfRel kind, const char *name)
{
	LOCKTAG		tag;
	uint32		hash = DatumGetUInt32(hash_any((const unsigned char *) name, strlen(name)));

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, sf_ident_rel(kind),
					   (uint16) (hash | 1));
	return tag;
}

bool
sf_hold_begin(SfRel kind, const char *name)
{
	LOCKTAG		tag = hold_tag(kind, name);

	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

void
sf_hold_change(SfRel kind, const char *name)
{
	LOCKTAG		tag = hold_tag(kind, name);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages();
}
