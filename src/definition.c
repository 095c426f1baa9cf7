/*
 * definition.c
 *	  SOPs and their versions as compiled and cached by each session.
 *
 * A version never changes, so its compiled form is kept for good.  The set of
 * SOPs is read anew after an invalidation of sopflow.sop's relcache entry,
 * which the definition triggers send with the commit, and which reaches our
 * own later commands and is undone by a rollback by itself.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "check.h"
#include "definition.h"
#include "errors.h"
#include "ident.h"
#include "plan.h"

typedef struct SfEventEntry
{
	char	   *event;			/* hash key, must be first */
	List	   *starts;			/* of SfSop * */
	List	   *exits;			/* of char *, SOP ids */
} SfEventEntry;

typedef struct SfSopEntry
{
	char	   *sop_id;			/* hash key, must be first */
	SfSop	   *sop;
} SfSopEntry;

typedef struct SfVersionEntry
{
	int32		version_id;		/* hash key, must be first */
	SfVersion  *version;
} SfVersionEntry;

static MemoryContext sops_context = NULL;	/* the two tables below */
static HTAB *events = NULL;
static HTAB *sops = NULL;
static bool sops_valid = false;

static MemoryContext versions_context = NULL;
static HTAB *versions = NULL;
static bool versions_valid = false;

static void
sop_invalidated(Datum arg, Oid relid)
{
	if (!sops_valid)
		return;
	if (relid == InvalidOid || relid == *(Oid *) DatumGetPointer(arg))
		sops_valid = false;
}

static Oid	sop_relid = InvalidOid;

/* DROP EXTENSION: version ids may be given anew */
static void
schema_invalidated(Datum arg, int cacheid, uint32 hashvalue)
{
	versions_valid = false;
	sops_valid = false;
}

/*
 * Free a cache, but not under the hands of a caller that got a pointer from it
 * earlier in this transaction.
 */
static void
retire(MemoryContext *context)
{
	if (*context != NULL)
		MemoryContextSetParent(*context, TopTransactionContext);
	*context = NULL;
}

void
sf_definition_init(void)
{
	CacheRegisterRelcacheCallback(sop_invalidated, PointerGetDatum(&sop_relid));
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_invalidated, (Datum) 0);
}

void
sf_definition_changed(void)
{
	CacheInvalidateRelcacheByRelid(sf_ident_rel(SF_REL_SOP));
}

static uint32
string_hash_ptr(const void *key, Size keysize)
{
	const char *s = *(const char *const *) key;

	return DatumGetUInt32(hash_any((const unsigned char *) s, strlen(s)));
}

static int
string_match_ptr(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static HTAB *
string_table(const char *name, Size entrysize, MemoryContext context)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(char *);
	ctl.entrysize = entrysize;
	ctl.hash = string_hash_ptr;
	ctl.match = string_match_ptr;
	ctl.hcxt = context;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

static SfEventEntry *
event_entry(char *event)
{
	bool		found;
	SfEventEntry *entry = hash_search(events, &event, HASH_ENTER, &found);

	if (!found)
		entry->starts = entry->exits = NIL;
	return entry;
}

static void
load_sop(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfSop	   *sop = palloc0(sizeof(SfSop));
	SfSopEntry *entry;

	sop->sop_id = sf_row_text(tuple, desc, 1);
	sop->enabled = sf_row_bool(tuple, desc, 2);
	sop->paused = sf_row_bool(tuple, desc, 3);
	sop->owner = sf_row_oid(tuple, desc, 4);
	sop->subject_relation = sf_row_oid(tuple, desc, 5);
	sop->subject_key = sf_row_text(tuple, desc, 6);
	sop->version_id = sf_row_int32(tuple, desc, 7, 0);
	sop->trigger_event = sf_row_text(tuple, desc, 8);
	entry = hash_search(sops, &sop->sop_id, HASH_ENTER, NULL);
	entry->sop = sop;
	if (sop->enabled && sop->version_id != 0 && sop->trigger_event != NULL)
	{
		SfEventEntry *event = event_entry(sop->trigger_event);

		event->starts = lappend(event->starts, sop);
	}
}

static void
load_exit(HeapTuple tuple, TupleDesc desc, void *arg)
{
	char	   *sop_id = sf_row_text(tuple, desc, 1);
	SfEventEntry *entry = event_entry(sf_row_text(tuple, desc, 2));

	entry->exits = lappend(entry->exits, sop_id);
}

/*
 * Read all SOPs.  The flag is set before reading: an invalidation that comes
 * while we read clears it again.
 */
static void
load_sops(void)
{
	MemoryContext old;

	sf_check_pending();
	if (sops_valid)
		return;
	retire(&sops_context);
	sop_relid = sf_ident_rel(SF_REL_SOP);
	sops_context = AllocSetContextCreate(CacheMemoryContext, "sopflow SOPs", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(sops_context);
	events = string_table("sopflow events", sizeof(SfEventEntry), sops_context);
	sops = string_table("sopflow SOPs", sizeof(SfSopEntry), sops_context);
	sops_valid = true;
	PG_TRY();
	{
		sf_plan_run(SF_PLAN_SOPS, NULL, NULL, load_sop, NULL);
		sf_plan_run(SF_PLAN_EXITS, NULL, NULL, load_exit, NULL);
	}
	PG_CATCH();
	{
		sops_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

void
sf_definition_event(const char *event, List **starts, List **exits)
{
	SfEventEntry *entry;

	load_sops();
	entry = hash_search(events, &event, HASH_FIND, NULL);
	*starts = entry ? entry->starts : NIL;
	*exits = entry ? entry->exits : NIL;
}

SfSop *
sf_definition_sop(const char *sop_id)
{
	SfSopEntry *entry;

	load_sops();
	entry = hash_search(sops, &sop_id, HASH_FIND, NULL);
	return entry ? entry->sop : NULL;
}

static void
load_version_row(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfVersion  *version = arg;
	SfNode	   *node;
	bool		isnull;
	Datum		value;

	if (version->nnodes == 0)
	{
		Datum	   *exits;
		int			nexits;
		char	   *reentry = sf_row_text(tuple, desc, 6);

		version->sop_id = sf_row_text(tuple, desc, 1);
		version->version = sf_row_int32(tuple, desc, 2, 0);
		version->trigger_event = sf_row_text(tuple, desc, 3);
		version->parallel = sf_row_bool(tuple, desc, 4);
		version->from_previous = strcmp(sf_row_text(tuple, desc, 5), "previous") == 0;
		version->reentry = strcmp(reentry, "restart") == 0 ? SF_REENTRY_RESTART :
			strcmp(reentry, "allow") == 0 ? SF_REENTRY_ALLOW : SF_REENTRY_IGNORE;
		value = heap_getattr(tuple, 7, desc, &isnull);
		version->can_skip = !isnull;
		if (!isnull)
			version->skip_late_after = *DatumGetIntervalP(value);
		value = heap_getattr(tuple, 8, desc, &isnull);
		deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
						  &exits, NULL, &nexits);
		for (int i = 0; i < nexits; i++)
			version->exit_events = lappend(version->exit_events, TextDatumGetCString(exits[i]));
		version->max_steps = sf_row_int32(tuple, desc, 9, 0);
		version->nodes = palloc0(sizeof(SfNode));
	}
	else
		version->nodes = repalloc(version->nodes, (version->nnodes + 1) * sizeof(SfNode));

	node = &version->nodes[version->nnodes++];
	memset(node, 0, sizeof(SfNode));
	node->node_id = sf_row_text(tuple, desc, 11);
	node->is_end = strcmp(sf_row_text(tuple, desc, 12), "end") == 0;
	value = heap_getattr(tuple, 13, desc, &isnull);
	if (!isnull)
		node->delay = *DatumGetIntervalP(value);
	node->action = sf_row_text(tuple, desc, 14);
	value = heap_getattr(tuple, 15, desc, &isnull);
	node->params = (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	node->next_id = sf_row_text(tuple, desc, 16);
	node->max_attempts = sf_row_int32(tuple, desc, 17, 0);
	node->go_on = strcmp(sf_row_text(tuple, desc, 18), "continue") == 0;
}

static int
find_node(const SfVersion *version, const char *node_id)
{
	for (int i = 0; node_id != NULL && i < version->nnodes; i++)
		if (strcmp(version->nodes[i].node_id, node_id) == 0)
			return i;
	return -1;
}

SfVersion *
sf_definition_version(int32 version_id)
{
	SfVersionEntry *entry;
	SfVersion  *version;
	MemoryContext old;
	Datum		values[1] = {Int32GetDatum(version_id)};

	if (!versions_valid)
		retire(&versions_context);
	if (versions_context == NULL)
	{
		HASHCTL		ctl = {0};

		versions_context = AllocSetContextCreate(CacheMemoryContext, "sopflow versions",
												 ALLOCSET_DEFAULT_SIZES);
		ctl.keysize = sizeof(int32);
		ctl.entrysize = sizeof(SfVersionEntry);
		ctl.hcxt = versions_context;
		versions = hash_create("sopflow versions", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		versions_valid = true;
	}
	entry = hash_search(versions, &version_id, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->version;

	/* build first, enter after: reading may bring invalidations and errors */
	old = MemoryContextSwitchTo(versions_context);
	version = palloc0(sizeof(SfVersion));
	version->version_id = version_id;
	if (sf_plan_run(SF_PLAN_VERSION, values, NULL, load_version_row, version) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("SOP version %d does not exist", version_id)));
	for (int i = 0; i < version->nnodes; i++)
		version->nodes[i].next = find_node(version, version->nodes[i].next_id);
	MemoryContextSwitchTo(old);

	entry = hash_search(versions, &version_id, HASH_ENTER, NULL);
	entry->version = version;
	return version;
}

TimestampTz
sf_definition_due(TimestampTz base, const Interval *delay)
{
	/*
	 * The int64 of a timestamptz is UTC; arithmetic on it as a timestamp
	 * counts days as 24 hours whatever the session's time zone.
	 */
	if (delay->month == 0)
	{
		int64		usec;

		if (!pg_mul_s64_overflow(delay->day, USECS_PER_DAY, &usec) &&
			!pg_add_s64_overflow(usec, delay->time, &usec) &&
			!pg_add_s64_overflow(usec, base, &usec) && IS_VALID_TIMESTAMP(usec))
			return usec;
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("due time is out of range")));
	}
	return DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval,
												 TimestampGetDatum(base),
												 PointerGetDatum(delay)));
}
