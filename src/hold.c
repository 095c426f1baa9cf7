/*
 * hold.c
 *	  Between those who hold tasks of a pause and those who end it.
 *
 * A dispatcher that still sees a pause may hold a task after the transaction
 * that ends the pause has looked for held ones, and nobody would let that task
 * go again.  So the one takes a share lock until it commits, the other waits
 * for it: what was held before can be seen then, and later dispatchers see
 * that the pause is over.  In the same way a run that is being started keeps
 * its SOP from being deleted, and one session at a time counts an action's
 * failures, so that a dispatcher need not wait for an idle consumer's row.
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

static LOCKTAG
start_tag(const char *sop_id)
{
	return hold_tag(SF_REL_SOP_VERSION, sop_id);
}

void
sf_hold_start(const char *sop_id)
{
	LOCKTAG		tag = start_tag(sop_id);

	(void) LockAcquire(&tag, ShareLock, false, false);
	AcceptInvalidationMessages();
}

bool
sf_hold_delete(const char *sop_id)
{
	LOCKTAG		tag = start_tag(sop_id);

	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

bool
sf_hold_failures(int32 action_id, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, sf_ident_rel(SF_REL_ACTION_STATE),
					   (uint16) action_id);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}
