/*
 * ident.c
 *	  Is the extension here, who owns it, and which relations are its own?
 *
 * OIDs are cached until any schema of the database changes: ours goes with
 * DROP EXTENSION and comes with CREATE EXTENSION, and nothing else renames or
 * replaces its relations.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "guc.h"
#include "ident.h"

static const char *const rel_names[SF_REL_COUNT] = {
	[SF_REL_RUN] = "run",
	[SF_REL_TASK] = "task",
	[SF_REL_HELD] = "held",
	[SF_REL_OFFER] = "offer",
	[SF_REL_DEAD] = "dead",
	[SF_REL_HISTORY] = "history",
	[SF_REL_RUN_HISTORY] = "run_history",
	[SF_REL_ACTION_STATE] = "action_state",
	[SF_REL_ALERT] = "alert",
	[SF_REL_HOLD] = "hold",
	[SF_REL_ACTION] = "action",
	[SF_REL_SOP] = "sop",
	[SF_REL_SOP_VERSION] = "sop_version",
	[SF_REL_WATCHED] = "watched",
	[SF_REL_CALENDAR] = "calendar",
	[SF_REL_HOLIDAY] = "holiday",
	[SF_REL_RULE_SET] = "rule_set",
	[SF_REL_GUARDED] = "guarded",
	[SF_REL_RUN_PKEY] = "run_pkey",
	[SF_REL_RUN_SUBJECT] = "run_subject",
	[SF_REL_TASK_PKEY] = "task_pkey",
	[SF_REL_TASK_DUE] = "task_due",
	[SF_REL_HELD_PKEY] = "held_pkey",
	[SF_REL_OFFER_PKEY] = "offer_pkey",
	[SF_REL_OFFER_FETCH] = "offer_fetch",
	[SF_REL_DEAD_PKEY] = "dead_pkey",
	[SF_REL_ACTION_STATE_PKEY] = "action_state_pkey",
	[SF_REL_ALERT_UNSENT] = "alert_unsent",
	[SF_REL_RUN_ID_SEQ] = "run_id_seq",
	[SF_REL_LEASE_TOKEN_SEQ] = "lease_token_seq",
	[SF_REL_RULE_SEQ] = "rule_seq",
};

static struct
{
	Oid			schema;
	Oid			owner;
	Oid			work_type;
	Oid			rule_event_type;
	Oid			run_fact_type;
	Oid			rels[SF_REL_COUNT];
	bool		hold_known;
	bool		hold;
}			cache;

/* counts what may have changed sopflow.hold */
static uint64 hold_changes = 0;

static void
forget_all(Datum arg, int cacheid, uint32 hashvalue)
{
	memset(&cache, 0, sizeof(cache));
	hold_changes++;
}

static void
forget_hold(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == cache.rels[SF_REL_HOLD])
	{
		cache.hold_known = false;
		hold_changes++;
	}
	/* ALTER TABLE ... OWNER TO reaches us this way */
	if (relid == InvalidOid || relid == cache.rels[SF_REL_TASK])
		cache.owner = InvalidOid;
}

void
sf_ident_init(void)
{
	CacheRegisterSyscacheCallback(NAMESPACEOID, forget_all, (Datum) 0);
	CacheRegisterRelcacheCallback(forget_hold, (Datum) 0);
}

Oid
sf_ident_extension(void)
{
	return get_extension_oid("sopflow", true);
}

Oid
sf_ident_schema(void)
{
	if (!OidIsValid(cache.schema))
	{
		Oid			schema = get_namespace_oid("sopflow", true);

		if (!OidIsValid(schema))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("extension \"%s\" is not installed in this database", "sopflow"),
					 errhint("Use CREATE EXTENSION sopflow.")));
		cache.schema = schema;
	}
	return cache.schema;
}

Oid
sf_ident_lookup(const char *name)
{
	return get_relname_relid(name, sf_ident_schema());
}

Oid
sf_ident_rel(SfRel which)
{
	if (!OidIsValid(cache.rels[which]))
	{
		Oid			relid = sf_ident_lookup(rel_names[which]);

		if (!OidIsValid(relid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation \"sopflow.%s\" does not exist", rel_names[which]),
					 errhint("The extension is damaged or of another version; use ALTER EXTENSION sopflow UPDATE or create it anew.")));
		cache.rels[which] = relid;
	}
	return cache.rels[which];
}

Oid
sf_ident_owner(void)
{
	if (!OidIsValid(cache.owner))
	{
		Oid			relid = sf_ident_rel(SF_REL_TASK);
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
		Oid			owner;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for relation %u", relid);
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
		/* not without the OID by which the news of another owner comes */
		if (cache.rels[SF_REL_TASK] == relid)
			cache.owner = owner;
		return owner;
	}
	return cache.owner;
}

static Oid
type_named(const char *name, Oid *cached)
{
	if (!OidIsValid(*cached))
	{
		*cached = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
								  ObjectIdGetDatum(sf_ident_schema()));
		if (!OidIsValid(*cached))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("type \"sopflow.%s\" does not exist", name)));
	}
	return *cached;
}

Oid
sf_ident_work_type(void)
{
	return type_named("work", &cache.work_type);
}

Oid
sf_ident_rule_event_type(void)
{
	return type_named("rule_event", &cache.rule_event_type);
}

Oid
sf_ident_run_fact_type(void)
{
	return type_named("run_fact", &cache.run_fact_type);
}

/*
 * pg_restore and pg_dump's scripts switch check_function_bodies off; nobody
 * else has reason to but the scripts of extensions.  Everybody may, though, and
 * must not come round checks and intake that way: it counts for sessions that
 * could change our tables anyway.
 */
bool
sf_ident_restoring(void)
{
	return sf_guc_restoring || (!check_function_bodies && !creating_extension &&
								has_privs_of_role(GetSessionUserId(), sf_ident_owner()));
}

bool
sf_ident_held(void)
{
	if (sf_ident_restoring())
		return true;
	if (!cache.hold_known)
	{
		Oid			relid = sf_ident_rel(SF_REL_HOLD);
		Relation	rel = table_open(relid, AccessShareLock);
		Snapshot	snapshot;
		TupleTableSlot *slot;
		TableScanDesc scan;
		uint64		before;
		bool		hold;

		/* opening it may have made us forget its OID, by which the news would come */
		cache.rels[SF_REL_HOLD] = relid;
		before = hold_changes;
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		slot = table_slot_create(rel, NULL);
		scan = table_beginscan(rel, snapshot, 0, NULL);
		hold = table_scan_getnextslot(scan, ForwardScanDirection, slot);
		table_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		UnregisterSnapshot(snapshot);
		table_close(rel, AccessShareLock);
		cache.hold = hold;
		/* what came while we read is read next time */
		cache.hold_known = hold_changes == before;
		return hold;
	}
	return cache.hold;
}

bool
sf_ident_lock(void)
{
	static Oid	extension = InvalidOid;	/* that of the last call */
	LOCKTAG		tag;
	Oid			now;

	for (;;)
	{
		if (!OidIsValid(extension))
			extension = sf_ident_extension();
		if (!OidIsValid(extension))
			return false;
		SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
		if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
			return false;
		/* it may have gone before it was locked */
		AcceptInvalidationMessages();
		now = sf_ident_extension();
		if (now == extension)
			return true;
		extension = now;
	}
}

SfIdentity
sf_ident_enter(void)
{
	SfIdentity	saved;

	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	SetUserIdAndSecContext(sf_ident_owner(),
						   saved.sec_context | SECURITY_LOCAL_USERID_CHANGE);
	return saved;
}

void
sf_ident_leave(SfIdentity saved)
{
	SetUserIdAndSecContext(saved.userid, saved.sec_context);
}
