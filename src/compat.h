/*
 * compat.h
 *	  The one place that knows about server versions.
 *
 * Wrappers bear the newest signature; the oldest supported major is 15.
 */
#ifndef SF_COMPAT_H
#define SF_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "sopflow needs PostgreSQL 15 or newer"
#endif

/* 16 replaced pg_*_ownercheck by object_ownercheck */
#if PG_VERSION_NUM < 160000
#include "utils/acl.h"
#define sf_relation_ownercheck(relid, roleid) pg_class_ownercheck(relid, roleid)
#define sf_proc_aclcheck(procid, roleid, mode) pg_proc_aclcheck(procid, roleid, mode)
#else
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "utils/acl.h"
#define sf_relation_ownercheck(relid, roleid) object_ownercheck(RelationRelationId, relid, roleid)
#define sf_proc_aclcheck(procid, roleid, mode) \
	object_aclcheck(ProcedureRelationId, procid, roleid, mode)
#endif

/* 17 gives extensions wait events of their own names; ours waits under the class */
#include "utils/wait_event.h"
#define SF_WAIT_EVENT PG_WAIT_EXTENSION

/* 18 gave index_beginscan an instrumentation argument */
#if PG_VERSION_NUM < 180000
#define sf_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#else
#define sf_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#endif

/* 16 added onlySummarizing to ExecInsertIndexTuples */
#if PG_VERSION_NUM < 160000
#define sf_insert_index_tuples(rri, slot, estate, noDupErr, spec, arbiters) \
	ExecInsertIndexTuples(rri, slot, estate, false, noDupErr, spec, arbiters)
#else
#define sf_insert_index_tuples(rri, slot, estate, noDupErr, spec, arbiters) \
	ExecInsertIndexTuples(rri, slot, estate, false, noDupErr, spec, arbiters, false)
#endif

/* 18 gave ExecCheckIndexConstraints the tuple's own tid, for updates */
#if PG_VERSION_NUM < 180000
#define sf_check_index_constraints(rri, slot, estate, conflict, arbiters) \
	ExecCheckIndexConstraints(rri, slot, estate, conflict, arbiters)
#else
#define sf_check_index_constraints(rri, slot, estate, conflict, arbiters) \
	ExecCheckIndexConstraints(rri, slot, estate, conflict, &(slot)->tts_tid, arbiters)
#endif

/* 16 added a DateTimeErrorExtra to DecodeDateTime */
#if PG_VERSION_NUM < 160000
#define sf_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz)
#else
#define sf_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, &(DateTimeErrorExtra) {0})
#endif

/* 16 wants what a check hook leaves for its assign hook from guc_malloc */
#if PG_VERSION_NUM < 160000
#define sf_guc_alloc(size) malloc(size)
#else
#include "utils/guc.h"
#define sf_guc_alloc(size) guc_malloc(LOG, size)
#endif

/* 16 made the last argument of table_tuple_update an enum */
#if PG_VERSION_NUM < 160000
typedef bool SfUpdateIndexes;
#define SF_UPDATE_NO_INDEX	false
#else
#include "access/tableam.h"
typedef TU_UpdateIndexes SfUpdateIndexes;
#define SF_UPDATE_NO_INDEX	TU_None
#endif

/* 16 gave stringToQualifiedNameList an error context */
#if PG_VERSION_NUM < 160000
#define sf_qualified_name_list(name) stringToQualifiedNameList(name)
#else
#define sf_qualified_name_list(name) stringToQualifiedNameList(name, NULL)
#endif

/* 17 keeps the local transaction id in another place of PGPROC */
#include "storage/proc.h"
#if PG_VERSION_NUM < 170000
#define sf_local_xid() (MyProc->lxid)
#else
#define sf_local_xid() (MyProc->vxid.lxid)
#endif

/* 18 moved the attribute of functions that do not return before the declaration */
#if PG_VERSION_NUM < 180000
#define sf_noreturn _Noreturn
#else
#define sf_noreturn pg_noreturn
#endif

#endif							/* SF_COMPAT_H */
