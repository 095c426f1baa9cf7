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
#include "template.h"

typedef struct SfEventEntry
{
	char	   *event;			/* hash key, must be first */
	SfEventUse	use;
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
		memset(&entry->use, 0, sizeof(SfEventUse));
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

		event->use.starts = lappend(event->use.starts, sop);
	}
}

static void
load_exit(HeapTuple tuple, TupleDesc desc, void *arg)
{
	char	   *sop_id = sf_row_text(tuple, desc, 1);
	SfEventEntry *entry = event_entry(sf_row_text(tuple, desc, 2));

	entry->use.exits = lappend(entry->use.exits, sop_id);
}

static void
load_wait(HeapTuple tuple, TupleDesc desc, void *arg)
{
	char	   *sop_id = sf_row_text(tuple, desc, 1);
	SfEventEntry *entry = event_entry(sf_row_text(tuple, desc, 2));

	entry->use.waits = lappend(entry->use.waits, sop_id);
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
		sf_plan_run(SF_PLAN_WAITS, NULL, NULL, load_wait, NULL);
	}
	PG_CATCH();
	{
		sops_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

const SfEventUse *
sf_definition_event(const char *event)
{
	static const SfEventUse none = {NIL, NIL, NIL};
	SfEventEntry *entry;

	load_sops();
	entry = hash_search(events, &event, HASH_FIND, NULL);
	return entry ? &entry->use : &none;
}

SfSop *
sf_definition_sop(const char *sop_id)
{
	SfSopEntry *entry;

	load_sops();
	entry = hash_search(sops, &sop_id, HASH_FIND, NULL);
	return entry ? entry->sop : NULL;
}

/* --- versions --- */

static SfNodeType
node_type(const char *name)
{
	static const char *const names[] = {
		[SF_NODE_DELAY] = "delay",
		[SF_NODE_CONDITION] = "condition",
		[SF_NODE_WAIT] = "wait",
		[SF_NODE_SOP] = "sop",
		[SF_NODE_END] = "end",
	};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return SF_NODE_UNKNOWN;
}

static void
read_head(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfVersion  *version = arg;
	Datum	   *exits;
	bool	   *nulls;
	int			nexits;
	bool		isnull;
	Datum		value;
	char	   *reentry = sf_row_text(tuple, desc, 4);

	version->trigger_event = sf_row_text(tuple, desc, 1);
	version->parallel = sf_row_bool(tuple, desc, 2);
	version->from_previous = strcmp(sf_row_text(tuple, desc, 3), "previous") == 0;
	version->reentry = strcmp(reentry, "restart") == 0 ? SF_REENTRY_RESTART :
		strcmp(reentry, "allow") == 0 ? SF_REENTRY_ALLOW : SF_REENTRY_IGNORE;
	value = heap_getattr(tuple, 5, desc, &isnull);
	version->can_skip = !isnull;
	if (!isnull)
		version->skip_late_after = *DatumGetIntervalP(value);
	value = heap_getattr(tuple, 6, desc, &isnull);
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
					  &exits, &nulls, &nexits);
	for (int i = 0; i < nexits; i++)
		if (!nulls[i])
			version->exit_events = lappend(version->exit_events, TextDatumGetCString(exits[i]));
	version->max_steps = sf_row_int32(tuple, desc, 7, 0);
	version->calendar = sf_row_text(tuple, desc, 8);
	version->zone_column = sf_row_text(tuple, desc, 9);
	version->search_path = sf_row_text(tuple, desc, 10);
	version->nodes = palloc0(Max(sf_row_int32(tuple, desc, 11, 0), 1) * sizeof(SfNode));
	version->links = palloc0(Max(sf_row_int32(tuple, desc, 12, 0), 1) * sizeof(SfLink));
}

static void
read_node(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfVersion  *version = arg;
	SfNode	   *node = &version->nodes[version->nnodes++];
	bool		isnull;
	Datum		value;
	char	   *text;

	node->node_id = sf_row_text(tuple, desc, 1);
	node->type_name = sf_row_text(tuple, desc, 2);
	node->type = node_type(node->type_name);
	value = heap_getattr(tuple, 3, desc, &isnull);
	if (!isnull)
		node->delay = *DatumGetIntervalP(value);
	node->action = sf_row_text(tuple, desc, 4);
	value = heap_getattr(tuple, 5, desc, &isnull);
	node->params = (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	text = JsonbToCString(NULL, &node->params->root, VARSIZE(node->params));
	node->templated = sf_template_has(text, strlen(text));
	pfree(text);
	node->next_id = sf_row_text(tuple, desc, 6);
	node->max_attempts = sf_row_int32(tuple, desc, 7, 0);
	node->go_on = strcmp(sf_row_text(tuple, desc, 8), "continue") == 0;
	node->otherwise_id = sf_row_text(tuple, desc, 9);
	node->condition = sf_row_text(tuple, desc, 10);
	node->condition_rules = sf_row_text(tuple, desc, 11);
	node->wait_event = sf_row_text(tuple, desc, 12);
	node->sop_ref = sf_row_text(tuple, desc, 13);
	node->first_link = -1;
}

static void
read_link(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfVersion  *version = arg;
	SfLink	   *link = &version->links[version->nlinks++];

	link->from_id = sf_row_text(tuple, desc, 1);
	link->to_id = sf_row_text(tuple, desc, 2);
	link->condition = sf_row_text(tuple, desc, 3);
}

typedef struct SfNodeName
{
	const char *name;
	int			index;
} SfNodeName;

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const SfNodeName *) a)->name, ((const SfNodeName *) b)->name);
}

static int
find_node(const SfNodeName *names, int n, const char *node_id)
{
	SfNodeName	key = {node_id, 0};
	const SfNodeName *found = node_id == NULL ? NULL :
		bsearch(&key, names, n, sizeof(SfNodeName), compare_names);

	return found ? found->index : -1;
}

static void
count_edge(SfVersion *version, int to)
{
	if (to >= 0)
		version->nodes[to].nins++;
}

/* names -> indexes, and what follows from the whole */
static void
resolve(SfVersion *version)
{
	int			n = version->nnodes;
	SfNodeName *names = palloc(Max(n, 1) * sizeof(SfNodeName));

	for (int i = 0; i < n; i++)
		names[i] = (SfNodeName) {version->nodes[i].node_id, i};
	qsort(names, n, sizeof(SfNodeName), compare_names);
	for (int i = 0; i < version->nlinks; i++)
	{
		SfLink	   *link = &version->links[i];

		link->from = find_node(names, n, link->from_id);
		link->to = find_node(names, n, link->to_id);
		version->scripted |= link->condition != NULL;
		count_edge(version, link->to);
		if (link->from < 0)
			continue;
		if (version->nodes[link->from].nlinks++ == 0)
			version->nodes[link->from].first_link = i;
	}
	for (int i = 0; i < n; i++)
	{
		SfNode	   *node = &version->nodes[i];

		node->next = find_node(names, n, node->next_id);
		node->otherwise = find_node(names, n, node->otherwise_id);
		count_edge(version, node->next);
		count_edge(version, node->otherwise);
		version->scripted |= node->condition != NULL || node->condition_rules != NULL ||
			node->templated;
		version->branches |= node->nlinks > 1 && node->type != SF_NODE_CONDITION;
		version->waits |= node->type == SF_NODE_WAIT;
		version->calls_sops |= node->type == SF_NODE_SOP;
	}
	for (int i = 0; i < n; i++)
		version->joins |= version->branches && version->nodes[i].nins > 1;
	version->scripted |= version->zone_column != NULL && version->calendar != NULL;
	version->reached_from = palloc0(Max(n, 1) * sizeof(Bitmapset *));
	pfree(names);
}

SfVersion *
sf_definition_read(const char *sop_id, Jsonb *definition)
{
	SfVersion  *version = palloc0(sizeof(SfVersion));
	Datum		values[1] = {JsonbPGetDatum(definition)};

	version->sop_id = pstrdup(sop_id);
	sf_plan_run(SF_PLAN_VERSION_HEAD, values, NULL, read_head, version);
	sf_plan_run(SF_PLAN_VERSION_NODES, values, NULL, read_node, version);
	sf_plan_run(SF_PLAN_VERSION_LINKS, values, NULL, read_link, version);
	resolve(version);
	return version;
}

int
sf_definition_ways(const SfVersion *version, int node, int *ways)
{
	const SfNode *from = &version->nodes[node];
	int			n = 0;

	if (from->next >= 0)
		ways[n++] = from->next;
	if (from->otherwise >= 0)
		ways[n++] = from->otherwise;
	for (int i = 0; i < from->nlinks; i++)
		if (version->links[from->first_link + i].to >= 0)
			ways[n++] = version->links[from->first_link + i].to;
	return n;
}

bool
sf_definition_reaches(SfVersion *version, int from, int to)
{
	int		   *ways;
	int		   *stack;
	int			depth = 0;
	Bitmapset  *seen = NULL;

	/* kept by the node that is reached from: it is asked for again and again */
	if (version->reached_from[from] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(version));

		ways = palloc((2 + version->nlinks) * sizeof(int));
		stack = palloc((version->nnodes + 1) * sizeof(int));
		/* a member that is no node: the set is there even if it is empty */
		seen = bms_add_member(seen, version->nnodes);
		stack[depth++] = from;
		while (depth > 0)
		{
			int			n = sf_definition_ways(version, stack[--depth], ways);

			for (int i = 0; i < n; i++)
				if (!bms_is_member(ways[i], seen))
				{
					seen = bms_add_member(seen, ways[i]);
					stack[depth++] = ways[i];
				}
		}
		version->reached_from[from] = seen;
		pfree(ways);
		pfree(stack);
		MemoryContextSwitchTo(old);
	}
	return bms_is_member(to, version->reached_from[from]);
}

typedef struct SfStoredVersion
{
	char	   *sop_id;
	int			version;
	Jsonb	   *definition;
} SfStoredVersion;

static void
read_stored(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfStoredVersion *stored = arg;
	bool		isnull;

	stored->sop_id = sf_row_text(tuple, desc, 1);
	stored->version = sf_row_int32(tuple, desc, 2, 0);
	stored->definition = (Jsonb *)
		PG_DETOAST_DATUM_COPY(heap_getattr(tuple, 3, desc, &isnull));
}

SfVersion *
sf_definition_version(int32 version_id)
{
	SfVersionEntry *entry;
	SfVersion  *version;
	SfStoredVersion stored;
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
	if (sf_plan_run(SF_PLAN_VERSION, values, NULL, read_stored, &stored) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("SOP version %d does not exist", version_id)));
	old = MemoryContextSwitchTo(versions_context);
	version = sf_definition_read(stored.sop_id, stored.definition);
	version->version_id = version_id;
	version->version = stored.version;
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
