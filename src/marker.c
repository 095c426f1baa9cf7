/*
 * marker.c
 *	  Crash markers: which handlers ran when a backend died.
 *
 * A handler that ends its backend takes the transaction with it, and the next
 * pass would meet the same task again, for ever.  So a mark must outlive the
 * transaction that makes it, also where nobody may commit (run_due() in a
 * user's transaction).  Sequences do just that: setval is logged and not
 * rolled back.  A batch marks "handlers run" and flushes that once; after a
 * death the next pass goes one task at a time, marking and flushing each, and
 * the task found marked after a second death is the one that kills.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/fmgrprotos.h"

#include "guc.h"
#include "ident.h"
#include "marker.h"

/* markers 0 to SF_MAX_WORKERS - 1 are the workers', as many more for others */
#define MARKERS_BY_HAND	8

static Oid
marker_oid(int number)
{
	char		name[32];

	snprintf(name, sizeof(name), "marker_%d", number);
	return sf_ident_lookup(name);
}

static bool
lock_marker(Oid marker, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, marker, 1);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

Oid
sf_marker_take(int worker)
{
	Oid			marker;

	if (worker >= 0)
		return marker_oid(worker);
	for (int i = 0; i < MARKERS_BY_HAND; i++)
	{
		marker = marker_oid(SF_MAX_WORKERS + i);
		if (lock_marker(marker, false))
			return marker;
	}
	marker = marker_oid(SF_MAX_WORKERS + MyProcPid % MARKERS_BY_HAND);
	(void) lock_marker(marker, true);
	return marker;
}

int64
sf_marker_read(Oid marker)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		value;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(marker);
	fcinfo->args[0].isnull = false;
	value = pg_sequence_last_value(fcinfo);
	return fcinfo->isnull ? SF_MARKER_IDLE : DatumGetInt64(value);
}

void
sf_marker_set(Oid marker, int64 value, bool flush)
{
	DirectFunctionCall2(setval_oid, ObjectIdGetDatum(marker), Int64GetDatum(value));
	if (flush)
		XLogFlush(XactLastRecEnd);
}
