/*
 * store.h
 *	  Direct reading and writing of the module's own relations.
 *
 * No planner and no executor: which index serves which access is fixed here,
 * so nothing depends on statistics.  Rights are not checked; callers decide
 * who may come this far.  Our tables have no triggers, rules, defaults or
 * constraints that such writing would pass by, save NOT NULL, which the
 * typed writers of task.c, run.c and lease.c respect.
 */
#ifndef SF_STORE_H
#define SF_STORE_H

#include "postgres.h"
#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "ident.h"
#include "position.h"

/*
 * A relation opened for writing, with its indexes.  Rows added are kept and
 * written many at a time; sf_writer_close writes the rest.
 */
typedef struct SfWriter SfWriter;

extern SfWriter *sf_writer_open(Oid relid);
extern Relation sf_writer_rel(SfWriter *writer);

/* an empty row to fill: values and nulls are its arrays */
extern TupleTableSlot *sf_writer_row(SfWriter *writer);

/* keep the filled row; its values are copied */
extern void sf_writer_add(SfWriter *writer, TupleTableSlot *row);
extern void sf_writer_flush(SfWriter *writer);
extern void sf_writer_close(SfWriter *writer);

/*
 * Insert one row unless a row with an equal key in that unique index is there
 * already, committed, our own, or being inserted by another transaction, which
 * is waited for.  On conflict returns false and gives the row's tid.
 */
extern bool sf_writer_insert_unless(SfWriter *writer, TupleTableSlot *row, SfRel index,
									ItemPointer conflict);

/*
 * A reusable scan of an index, in its order.  The slot belongs to the scan.
 */
typedef struct SfScan
{
	Relation	heap;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	MemoryContext context;		/* of the scan: the index keeps what it learns of
								 * dead entries from one call to the next */
	ScanKeyData row[2];			/* members of a row comparison */
} SfScan;

extern SfScan *sf_scan_open(SfRel heap, SfRel index, Snapshot snapshot, int nkeys);
extern void sf_scan_start(SfScan *scan, ScanKey keys, int nkeys);
extern bool sf_scan_next(SfScan *scan);
extern void sf_scan_close(SfScan *scan);

/* whether the scan, just started, has an index entry, be its row dead or not */
extern bool sf_scan_any(SfScan *scan);

/* first visible row whose int8 key equals `key`; the scan has two keys */
extern bool sf_scan_int8(SfScan *scan, int64 key);

/* start on int8 keys in [low, high]; the scan has two keys */
extern void sf_scan_int8_range(SfScan *scan, int64 low, int64 high);

/*
 * Start at a position: on an index (due_at, task_id) with one key, or, where
 * action_id is not 0, on one of (action_id, due_at, task_id) with two.  A row
 * comparison, so that entries of equal due time before it are not walked.
 * entries: sf_scan_next_entry is to be used.
 */
extern void sf_scan_from(SfScan *scan, int32 action_id, SfPosition from, bool entries);

/*
 * As sf_scan_next, but comes back for each index entry, also of rows that are
 * dead: *position is the entry's, *visible whether the slot has its row.
 * False at the end.
 */
extern bool sf_scan_next_entry(SfScan *scan, SfPosition *position, bool *visible);

typedef enum SfLock
{
	SF_LOCK_OK,
	SF_LOCK_BUSY,				/* somebody has it, only where wait is false */
	SF_LOCK_GONE				/* deleted, or changed since the snapshot */
} SfLock;

/* lock the row that the scan stands on, for the rest of the transaction */
extern SfLock sf_row_lock(SfScan *scan, Snapshot snapshot, bool wait);

/* delete the row; GONE where somebody was first */
extern SfLock sf_row_delete(Relation rel, ItemPointer tid, Snapshot snapshot, bool wait);

/*
 * Replace the row by that of sf_writer_row(), which changes no indexed column.
 * Waits for whoever has the row, so take a lock that keeps others off first.
 */
extern SfLock sf_row_update(SfWriter *writer, ItemPointer tid, TupleTableSlot *row,
							Snapshot snapshot);

/*
 * A snapshot that sees everything committed by now and all our own changes,
 * in every isolation level.  Pushed as the active one; pop it when done.
 */
extern Snapshot sf_snapshot_push(void);
extern void sf_snapshot_pop(void);

#endif							/* SF_STORE_H */
