/*
 * action.c
 *	  Actions as cached by each session.
 *
 * Read anew as a whole after an invalidation of sopflow.action's relcache
 * entry, which the definition triggers and the grant functions send.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "action.h"
#include "check.h"
#include "compat.h"
#include "errors.h"
#include "ident.h"
#include "plan.h"

typedef struct SfActionEntry
{
	int32		action_id;		/* hash key, must be first */
	SfAction   *action;
} SfActionEntry;

static MemoryContext actions_context = NULL;
static HTAB *by_id = NULL;
static HTAB *by_name = NULL;
static bool actions_valid = false;
static Oid	action_relid = InvalidOid;

typedef struct SfNameEntry
{
	uint64		hash;			/* hash key, must be first */
	List	   *actions;
} SfNameEntry;

static void
action_invalidated(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == action_relid)
		actions_valid = false;
}

/* a function, a role or a schema changed: handlers are looked up again */
static void
function_invalidated(Datum arg, int cacheid, uint32 hashvalue)
{
	actions_valid = false;
}

void
sf_action_init(void)
{
	CacheRegisterRelcacheCallback(action_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, function_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, function_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, function_invalidated, (Datum) 0);
}

void
sf_action_changed(void)
{
	CacheInvalidateRelcacheByRelid(sf_ident_rel(SF_REL_ACTION));
}

int64
sf_interval_usec(const Interval *interval)
{
	int64		days = interval->month * INT64CONST(30) + interval->day;
	int64		usec;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &usec) ||
		pg_add_s64_overflow(usec, interval->time, &usec))
		return days > 0 ? PG_INT64_MAX : PG_INT64_MIN;
	return usec;
}

static int64
row_usec(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;

	return sf_interval_usec(DatumGetIntervalP(heap_getattr(tuple, column, desc, &isnull)));
}

static uint64
name_hash(const char *name)
{
	return DatumGetUInt64(hash_any_extended((const unsigned char *) name, strlen(name), 0));
}

static void
load_action(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfAction   *action = palloc0(sizeof(SfAction));
	char	   *delivery;
	bool		isnull;
	bool		found;
	uint64		hash;
	SfNameEntry *name_entry;

	action->action_id = sf_row_int32(tuple, desc, 1, 0);
	action->name = sf_row_text(tuple, desc, 2);
	delivery = sf_row_text(tuple, desc, 3);
	action->delivery = strcmp(delivery, "call") == 0 ? SF_DELIVERY_CALL :
		strcmp(delivery, "broadcast") == 0 ? SF_DELIVERY_BROADCAST : SF_DELIVERY_QUEUE;
	action->channel = sf_row_text(tuple, desc, 4);
	action->handler = sf_row_text(tuple, desc, 5);
	action->lease = row_usec(tuple, desc, 6);
	action->timeout = row_usec(tuple, desc, 7);
	action->max_attempts = sf_row_int32(tuple, desc, 8, 1);
	action->backoff_base = row_usec(tuple, desc, 9);
	action->backoff_factor = DatumGetFloat8(heap_getattr(tuple, 10, desc, &isnull));
	action->backoff_cap = row_usec(tuple, desc, 11);
	action->jitter = DatumGetFloat8(heap_getattr(tuple, 12, desc, &isnull));
	action->alert_after = sf_row_int32(tuple, desc, 13, 0);
	action->held = !sf_row_bool(tuple, desc, 14) || sf_row_bool(tuple, desc, 15);
	action->owner = sf_row_oid(tuple, desc, 16);
	action->path = sf_path_make(sf_row_text(tuple, desc, 17));
	((SfActionEntry *) hash_search(by_id, &action->action_id, HASH_ENTER, NULL))->action = action;
	hash = name_hash(action->name);
	name_entry = hash_search(by_name, &hash, HASH_ENTER, &found);
	name_entry->actions = lappend(found ? name_entry->actions : NIL, action);
}

static SfAction *
find_named(const char *name)
{
	uint64		hash = name_hash(name);
	SfNameEntry *entry = hash_search(by_name, &hash, HASH_FIND, NULL);
	ListCell   *lc;

	if (entry != NULL)
	{
		foreach(lc, entry->actions)
		{
			SfAction   *action = lfirst(lc);

			if (strcmp(action->name, name) == 0)
				return action;
		}
	}
	return NULL;
}

static void
load_grant(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfAction   *action = find_named(sf_row_text(tuple, desc, 1));
	Oid			grantee = sf_row_oid(tuple, desc, 2);

	if (action == NULL)
		return;
	if (strcmp(sf_row_text(tuple, desc, 3), "use") == 0)
		action->users = lappend_oid(action->users, grantee);
	else
		action->consumers = lappend_oid(action->consumers, grantee);
}

static void
load_actions(void)
{
	HASHCTL		ctl = {0};
	MemoryContext old;

	if (actions_valid)
		return;
	if (actions_context != NULL)
		MemoryContextSetParent(actions_context, TopTransactionContext);
	actions_context = NULL;
	action_relid = sf_ident_rel(SF_REL_ACTION);
	actions_context = AllocSetContextCreate(CacheMemoryContext, "sopflow actions",
											ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(actions_context);
	ctl.keysize = sizeof(int32);
	ctl.entrysize = sizeof(SfActionEntry);
	ctl.hcxt = actions_context;
	by_id = hash_create("sopflow actions", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(SfNameEntry);
	by_name = hash_create("sopflow action names", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	/* before reading: an invalidation that comes while we read clears it again */
	actions_valid = true;
	PG_TRY();
	{
		sf_plan_run(SF_PLAN_ACTIONS, NULL, NULL, load_action, NULL);
		sf_plan_run(SF_PLAN_ACTION_GRANTS, NULL, NULL, load_grant, NULL);
	}
	PG_CATCH();
	{
		actions_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

SfAction *
sf_action_named(const char *name)
{
	load_actions();
	return find_named(name);
}

SfAction *
sf_action_numbered(int32 action_id)
{
	SfActionEntry *entry;

	load_actions();
	entry = hash_search(by_id, &action_id, HASH_FIND, NULL);
	return entry ? entry->action : NULL;
}

bool
sf_action_allows(const SfAction *action, Oid role, SfActionRight right)
{
	List	   *grantees = right == SF_ACTION_USE ? action->users : action->consumers;
	ListCell   *lc;

	if (has_privs_of_role(role, action->owner))
		return true;
	foreach(lc, grantees)
		if (has_privs_of_role(role, lfirst_oid(lc)))
			return true;
	return false;
}

/* what is wrong with a function as a handler; an error when anything is */
static void
check_handler(Oid handler, Oid owner, const char *name, const char *action)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(handler));
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", handler);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->prorettype != JSONBOID || proc->proretset || proc->prokind != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_SF_INVALID_DEFINITION),
				 errmsg("action \"%s\" is not valid: column \"handler\": function \"%s\" must take sopflow.work and return jsonb",
						action, name)));
	if (superuser_arg(owner) && !superuser_arg(proc->proowner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("action \"%s\" is not valid: column \"handler\": function \"%s\" belongs to role \"%s\", which is not a superuser, and would run as superuser \"%s\"",
						action, name, GetUserNameFromId(proc->proowner, true),
						GetUserNameFromId(owner, true)),
				 errhint("Give the action another owner, or the function one that is a superuser.")));
	ReleaseSysCache(tuple);
	if (sf_proc_aclcheck(handler, owner, ACL_EXECUTE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("action \"%s\" is not valid: column \"handler\": the action's owner \"%s\" may not execute function \"%s\"",
						action, GetUserNameFromId(owner, true), name)));
}

static Oid
find_handler(const char *name, const char *action)
{
	Oid			argtype = sf_ident_work_type();
	Oid			handler = LookupFuncName(sf_qualified_name_list(name), 1, &argtype, true);

	if (!OidIsValid(handler))
		ereport(ERROR,
				(errcode(ERRCODE_SF_INVALID_DEFINITION),
				 errmsg("action \"%s\" is not valid: column \"handler\": function %s(sopflow.work) does not exist",
						action, name),
				 errhint("A handler takes one argument of type sopflow.work and returns jsonb.")));
	return handler;
}

char *
sf_action_resolve(const char *name, Oid owner, const char *action)
{
	Oid			handler = find_handler(name, action);

	check_handler(handler, owner, name, action);
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(handler)),
									  get_func_name(handler));
}

FmgrInfo *
sf_action_handler(SfAction *action)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(action->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role %u, the owner of action \"%s\", does not exist",
						action->owner, action->name),
				 errhint("Give the action another owner.")));
	if (!OidIsValid(action->handler_oid))
	{
		Oid			handler = find_handler(action->handler, action->name);

		check_handler(handler, action->owner, action->handler, action->name);
		fmgr_info_cxt(handler, &action->handler_fn, GetMemoryChunkContext(action));
		action->handler_oid = handler;
	}
	return &action->handler_fn;
}

/*
 * least(cap, base * factor^(attempt-1)) * (1 + jitter * u), u uniform in
 * [-1, 1], never above the cap.
 */
int64
sf_action_backoff(const SfAction *action, int attempt)
{
	double		cap = (double) action->backoff_cap;
	double		wait = (double) action->backoff_base *
		pow(action->backoff_factor, attempt > 1 ? attempt - 1 : 0);
	double		u = 2 * pg_prng_double(&pg_global_prng_state) - 1;

	if (!(wait < cap))
		wait = cap;
	wait *= 1 + action->jitter * u;
	return (int64) Min(wait, cap);
}
