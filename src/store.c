/*
 * store.c
 *	  Direct reading and writing of the module's own relations.
 *
 * One hard fact: rows are buffered up to WRITER_ROWS and written by
 * table_multi_insert, one WAL record a page, which is what makes writing the
 * tasks of a COPY cheaper than an INSERT ... SELECT of the same rows.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "store.h"

#define WRITER_ROWS	500

struct SfWriter
{
	Relation	rel;
	TupleDesc	desc;			/* a copy, so that slots need not count references */
	ResultRelInfo *info;
	EState	   *estate;
	BulkInsertState bulk;
	MemoryContext context;		/* this struct, the slots */
	int			nslots;			/* slots made */
	int			nrows;			/* slots filled */
	TupleTableSlot *slots[WRITER_ROWS];
};

SfWriter *
sf_writer_open(Oid relid)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "sopflow writer",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	SfWriter   *writer = palloc0(sizeof(SfWriter));

	writer->context = context;
	writer->rel = table_open(relid, RowExclusiveLock);
	writer->desc = CreateTupleDescCopy(RelationGetDescr(writer->rel));
	writer->estate = CreateExecutorState();
	writer->info = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->info, writer->rel, 0, NULL, 0);
	ExecOpenIndices(writer->info, true);
	MemoryContextSwitchTo(old);
	return writer;
}

Relation
sf_writer_rel(SfWriter *writer)
{
	return writer->rel;
}

TupleTableSlot *
sf_writer_row(SfWriter *writer)
{
	TupleTableSlot *slot;

	if (writer->nrows == writer->nslots)
	{
		MemoryContext old = MemoryContextSwitchTo(writer->context);

		writer->slots[writer->nslots++] =
			MakeSingleTupleTableSlot(writer->desc, table_slot_callbacks(writer->rel));
		MemoryContextSwitchTo(old);
	}
	slot = writer->slots[writer->nrows];
	ExecClearTuple(slot);
	memset(slot->tts_isnull, 0, slot->tts_tupleDescriptor->natts * sizeof(bool));
	return slot;
}

void
sf_writer_add(SfWriter *writer, TupleTableSlot *row)
{
	Assert(row == writer->slots[writer->nrows]);
	ExecStoreVirtualTuple(row);
	ExecMaterializeSlot(row);
	if (++writer->nrows == WRITER_ROWS)
		sf_writer_flush(writer);
}

void
sf_writer_flush(SfWriter *writer)
{
	MemoryContext old;
	CommandId	cid;

	if (writer->nrows == 0)
		return;
	cid = GetCurrentCommandId(true);
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(writer->estate));
	if (writer->bulk == NULL && writer->nrows == WRITER_ROWS)
	{
		MemoryContextSwitchTo(writer->context);
		writer->bulk = GetBulkInsertState();
		MemoryContextSwitchTo(GetPerTupleMemoryContext(writer->estate));
	}
	table_multi_insert(writer->rel, writer->slots, writer->nrows, cid, 0, writer->bulk);
	for (int i = 0; i < writer->nrows; i++)
	{
		if (writer->info->ri_NumIndices > 0)
			list_free(sf_insert_index_tuples(writer->info, writer->slots[i], writer->estate,
											 false, NULL, NIL));
		ResetPerTupleExprContext(writer->estate);
	}
	MemoryContextSwitchTo(old);
	writer->nrows = 0;
}

void
sf_writer_close(SfWriter *writer)
{
	sf_writer_flush(writer);
	for (int i = 0; i < writer->nslots; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	if (writer->bulk != NULL)
		FreeBulkInsertState(writer->bulk);
	ExecCloseIndices(writer->info);
	FreeExecutorState(writer->estate);
	/* the lock is kept until the transaction ends */
	table_close(writer->rel, NoLock);
	MemoryContextDelete(writer->context);
}

/*
 * As INSERT ... ON CONFLICT DO NOTHING works in the executor: look in the
 * index first; insert speculatively; when another transaction was quicker in
 * between, take the row back and look again.
 */
bool
sf_writer_insert_unless(SfWriter *writer, TupleTableSlot *row, SfRel index, ItemPointer conflict)
{
	CommandId	cid = GetCurrentCommandId(true);
	List	   *arbiters = list_make1_oid(sf_ident_rel(index));
	bool		clear = false;

	Assert(row == writer->slots[writer->nrows]);
	ExecStoreVirtualTuple(row);
	ExecMaterializeSlot(row);
	row->tts_tableOid = RelationGetRelid(writer->rel);
	while (!clear)
	{
		uint32		token;
		bool		conflicted = false;

		CHECK_FOR_INTERRUPTS();
		ResetPerTupleExprContext(writer->estate);
		ItemPointerSetInvalid(&row->tts_tid);
		if (!sf_check_index_constraints(writer->info, row, writer->estate, conflict, arbiters))
			break;

		token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
		table_tuple_insert_speculative(writer->rel, row, cid, 0, NULL, token);
		list_free(sf_insert_index_tuples(writer->info, row, writer->estate,
										 true, &conflicted, arbiters));
		table_tuple_complete_speculative(writer->rel, row, token, !conflicted);
		SpeculativeInsertionLockRelease(GetCurrentTransactionId());
		clear = !conflicted;
	}
	list_free(arbiters);
	return clear;
}

SfScan *
sf_scan_open(SfRel heap, SfRel index, Snapshot snapshot, int nkeys)
{
	SfScan	   *scan = palloc(sizeof(SfScan));

	scan->heap = table_open(sf_ident_rel(heap), RowExclusiveLock);
	scan->index = index_open(sf_ident_rel(index), AccessShareLock);
	scan->scan = sf_index_beginscan(scan->heap, scan->index, snapshot, nkeys);
	scan->slot = table_slot_create(scan->heap, NULL);
	scan->context = CurrentMemoryContext;
	return scan;
}

void
sf_scan_start(SfScan *scan, ScanKey keys, int nkeys)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);

	index_rescan(scan->scan, keys, nkeys, NULL, 0);
	MemoryContextSwitchTo(old);
}

bool
sf_scan_next(SfScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	bool		found = index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot);

	MemoryContextSwitchTo(old);
	if (!found)
		return false;
	slot_getallattrs(scan->slot);
	return true;
}

bool
sf_scan_any(SfScan *scan)
{
	return index_getnext_tid(scan->scan, ForwardScanDirection) != NULL;
}

void
sf_scan_close(SfScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->slot);
	index_endscan(scan->scan);
	index_close(scan->index, NoLock);
	table_close(scan->heap, NoLock);
	pfree(scan);
}

bool
sf_scan_int8(SfScan *scan, int64 key)
{
	sf_scan_int8_range(scan, key, key);
	return sf_scan_next(scan);
}

void
sf_scan_int8_range(SfScan *scan, int64 low, int64 high)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(low));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(high));
	sf_scan_start(scan, keys, 2);
}

void
sf_scan_from(SfScan *scan, int32 action_id, SfPosition from, bool entries)
{
	ScanKeyData keys[2];
	int			nkeys = 0;
	AttrNumber	first = action_id != 0 ? 2 : 1;

	if (action_id != 0)
		ScanKeyInit(&keys[nkeys++], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(action_id));
	ScanKeyEntryInitialize(&scan->row[0], SK_ROW_MEMBER, first, BTGreaterEqualStrategyNumber,
						   InvalidOid, InvalidOid, F_TIMESTAMPTZ_CMP,
						   TimestampTzGetDatum(from.due));
	ScanKeyEntryInitialize(&scan->row[1], SK_ROW_MEMBER | SK_ROW_END, first + 1,
						   BTGreaterEqualStrategyNumber,
						   InvalidOid, InvalidOid, F_BTINT8CMP, Int64GetDatum(from.task_id));
	memset(&keys[nkeys], 0, sizeof(ScanKeyData));
	keys[nkeys].sk_flags = SK_ROW_HEADER;
	keys[nkeys].sk_attno = first;
	keys[nkeys].sk_strategy = BTGreaterEqualStrategyNumber;
	keys[nkeys].sk_argument = PointerGetDatum(scan->row);
	/* the index makes room for its entries when the scan starts */
	scan->scan->xs_want_itup = entries;
	sf_scan_start(scan, keys, nkeys + 1);
}

bool
sf_scan_next_entry(SfScan *scan, SfPosition *position, bool *visible)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	bool		found = index_getnext_tid(scan->scan, ForwardScanDirection) != NULL;
	bool		isnull;

	MemoryContextSwitchTo(old);
	if (!found)
		return false;
	position->due = DatumGetTimestampTz(index_getattr(scan->scan->xs_itup, 1,
													  scan->scan->xs_itupdesc, &isnull));
	position->task_id = DatumGetInt64(index_getattr(scan->scan->xs_itup, 2,
													scan->scan->xs_itupdesc, &isnull));
	*visible = index_fetch_heap(scan->scan, scan->slot);
	if (*visible)
		slot_getallattrs(scan->slot);
	return true;
}

static SfLock
lock_outcome(TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return SF_LOCK_OK;
		case TM_BeingModified:
		case TM_WouldBlock:
			return SF_LOCK_BUSY;
		case TM_Updated:
		case TM_Deleted:
		case TM_SelfModified:
		case TM_Invisible:
			return SF_LOCK_GONE;
	}
	elog(ERROR, "unexpected outcome %d of a row lock", (int) result);
}

SfLock
sf_row_lock(SfScan *scan, Snapshot snapshot, bool wait)
{
	TM_FailureData failure;
	ItemPointerData tid = scan->slot->tts_tid;
	TM_Result	result;

	result = table_tuple_lock(scan->heap, &tid, snapshot, scan->slot,
							  GetCurrentCommandId(true), LockTupleNoKeyExclusive,
							  wait ? LockWaitBlock : LockWaitSkip, 0, &failure);
	if (result == TM_Ok)
		slot_getallattrs(scan->slot);
	return lock_outcome(result);
}

SfLock
sf_row_delete(Relation rel, ItemPointer tid, Snapshot snapshot, bool wait)
{
	TM_FailureData failure;

	return lock_outcome(table_tuple_delete(rel, tid, GetCurrentCommandId(true), snapshot,
										   InvalidSnapshot, wait, &failure, false));
}

/*
 * A HOT update in the usual case; where the page is full the new version gets
 * its own index entries.
 */
SfLock
sf_row_update(SfWriter *writer, ItemPointer tid, TupleTableSlot *row,
			  Snapshot snapshot)
{
	TM_FailureData failure;
	LockTupleMode mode;
	SfUpdateIndexes indexes;
	SfLock		outcome;

	ExecStoreVirtualTuple(row);
	ExecMaterializeSlot(row);
	row->tts_tableOid = RelationGetRelid(writer->rel);
	outcome = lock_outcome(table_tuple_update(writer->rel, tid, row, GetCurrentCommandId(true),
											  snapshot, InvalidSnapshot, true, &failure,
											  &mode, &indexes));
	if (outcome == SF_LOCK_OK && indexes != SF_UPDATE_NO_INDEX)
	{
		list_free(sf_insert_index_tuples(writer->info, row, writer->estate, false, NULL, NIL));
		ResetPerTupleExprContext(writer->estate);
	}
	return outcome;
}

Snapshot
sf_snapshot_push(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	return GetActiveSnapshot();
}

void
sf_snapshot_pop(void)
{
	PopActiveSnapshot();
}
