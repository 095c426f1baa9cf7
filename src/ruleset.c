/*
 * ruleset.c
 *	  Rule sets as compiled and cached by each session.
 *
 * Read like a catalog: the newest committed state as of the start of a
 * top-level statement, own changes included, and then the same until it ends.
 * Every change of a definition sends a relcache invalidation of
 * sopflow.rule_set; the revision then tells whether this set is concerned.
 * Other things that a compiled set depends on (functions, types, tables, roles)
 * make it anew when they change.
 *
 * A set compiled over own uncommitted changes is tentative: it goes with any
 * rollback, since its revision may come again with another content.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "clock.h"
#include "compat.h"
#include "errors.h"
#include "ident.h"
#include "load.h"
#include "pending.h"
#include "plan.h"
#include "ruleset.h"
#include "stats.h"

/* names have 200 characters at most, of four bytes */
#define NAME_BYTES	(200 * 4 + 1)
#define MAX_MADE	256			/* sets of sf_ruleset_made that are kept */

typedef struct SfSetEntry
{
	char		name[NAME_BYTES];	/* hash key, must be first */
	List	   *sets;			/* of SfRuleSet *: one, and more where firings nest */
	bool		tentative;		/* compiled over own uncommitted changes */
	bool		stale;			/* definitions may have changed */
	bool		moved;			/* the layout of a fact's relation may have changed */
	bool		broken;			/* something else that it depends on has changed */
	TimestampTz statement;		/* in which it was last found to be current */
	LocalTransactionId lxid;
	uint64		edits;			/* sf_pending_edits() then */
} SfSetEntry;

static HTAB *entries = NULL;
static Oid	rule_set_relid = InvalidOid;
static int	nin_use = 0;		/* sets at work, at most */
static List *counted = NIL;		/* of SfRuleSet * with counts to hand on */
static uint64 nforgotten = 0;	/* times that sets were forgotten */

/* --- invalidation: callbacks only mark --- */

static void
relation_invalidated(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	SfSetEntry *entry;

	if (entries == NULL)
		return;
	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		ListCell   *lc;

		if (relid == InvalidOid || relid == rule_set_relid)
			entry->stale = true;
		foreach(lc, entry->sets)
		{
			SfFrame    *frame = ((SfRuleSet *) lfirst(lc))->frame;

			for (int i = 0; i < frame->nfacts; i++)
				if (OidIsValid(frame->facts[i].relid) &&
					(relid == InvalidOid || relid == frame->facts[i].relid))
					entry->moved = true;
		}
	}
}

static void
break_all(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS seq;
	SfSetEntry *entry;

	if (entries == NULL)
		return;
	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
		entry->broken = true;
}

/* every temporary table has a type: only those of facts count */
static void
type_invalidated(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS seq;
	SfSetEntry *entry;

	if (entries == NULL)
		return;
	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		ListCell   *lc;

		foreach(lc, entry->sets)
		{
			SfRuleSet  *set = lfirst(lc);

			for (int i = 0; i < set->ntype_hashes; i++)
				if (hashvalue == 0 || hashvalue == set->type_hashes[i])
					entry->broken = true;
		}
	}
}

/* --- ends of transactions --- */

static void
hand_on_counts_of(SfRuleSet *set)
{
	ListCell   *lc;

	foreach(lc, set->counted)
	{
		SfRule	   *rule = lfirst(lc);

		sf_stats_rule(rule->rule_id, rule->evaluated, rule->triggered, rule->denied,
					  rule->failed);
		rule->evaluated = rule->triggered = rule->denied = rule->failed = 0;
		rule->counted = false;
	}
	list_free(set->counted);
	set->counted = NIL;
}

static void
hand_on_counts(void)
{
	ListCell   *lc;

	foreach(lc, counted)
		hand_on_counts_of(lfirst(lc));
	list_free(counted);
	counted = NIL;
}

void
sf_ruleset_count(SfRuleSet *set, SfRule *rule)
{
	MemoryContext old;

	if (rule->counted)
		return;
	rule->counted = true;
	if (set->counted == NIL)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		counted = lappend(counted, set);
		MemoryContextSwitchTo(old);
	}
	old = MemoryContextSwitchTo(set->context);
	set->counted = lappend(set->counted, rule);
	MemoryContextSwitchTo(old);
}

static void
at_end(bool commit, bool whole, SubTransactionId subid)
{
	HASH_SEQ_STATUS seq;
	SfSetEntry *entry;

	if (entries == NULL)
		return;
	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		ListCell   *lc;

		if (entry->tentative)
		{
			if (!commit)
				entry->broken = true;
			if (whole)
				entry->tentative = false;
		}
		if (nin_use > 0)
			foreach(lc, entry->sets)
			{
				SfRuleSet  *set = lfirst(lc);

				/* an error has left it */
				if (set->in_use && (whole || (!commit && set->use_subid >= subid)))
					set->in_use = false;
			}
	}
	if (whole)
		nin_use = 0;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (counted != NIL)
		hand_on_counts();
	at_end(event != XACT_EVENT_ABORT, true, InvalidSubTransactionId);
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mySubid,
					  SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		at_end(false, false, mySubid);
}

void
sf_ruleset_init(void)
{
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, break_all, (Datum) 0);
	CacheRegisterSyscacheCallback(OPEROID, break_all, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, break_all, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, break_all, (Datum) 0);
	CacheRegisterSyscacheCallback(CASTSOURCETARGET, break_all, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMTYPOIDNAME, break_all, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, type_invalidated, (Datum) 0);
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	sf_pending_register(SF_PENDING_RULE_SET, sf_ruleset_check);
}

void
sf_ruleset_changed(void)
{
	CacheInvalidateRelcacheByRelid(sf_ident_rel(SF_REL_RULE_SET));
}

/* --- the cache --- */

static SfSetEntry *
find_entry(const char *name)
{
	SfSetEntry *entry;
	bool		found;

	if (entries == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = NAME_BYTES;
		ctl.entrysize = sizeof(SfSetEntry);
		entries = hash_create("sopflow rule sets", 32, &ctl, HASH_ELEM | HASH_STRINGS);
	}
	entry = hash_search(entries, name, HASH_ENTER, &found);
	if (!found)
		memset(entry->name + NAME_BYTES, 0, sizeof(SfSetEntry) - NAME_BYTES);
	return entry;
}

/* whoever uses a set further up goes on with it until the transaction ends */
static void
forget_sets(SfSetEntry *entry)
{
	ListCell   *lc;

	foreach(lc, entry->sets)
	{
		SfRuleSet  *set = lfirst(lc);

		if (set->in_use)
		{
			MemoryContextSetParent(set->context, TopTransactionContext);
			continue;
		}
		if (set->counted != NIL)
		{
			hand_on_counts_of(set);
			counted = list_delete_ptr(counted, set);
		}
		MemoryContextDelete(set->context);
	}
	if (entry->sets != NIL)
		nforgotten++;
	list_free(entry->sets);
	entry->sets = NIL;
}

typedef struct SfRevision
{
	bool		found;
	int64		revision;
	int64		param_revision;
} SfRevision;

static void
take_revision(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfRevision *r = arg;

	r->found = true;
	r->revision = sf_row_int64(tuple, desc, 1, 0);
	r->param_revision = sf_row_int64(tuple, desc, 2, 0);
}

/* columns that slots may refer to are where and what they were */
static bool
same_layout(SfRuleSet *set)
{
	for (int i = 0; i < set->frame->nfacts; i++)
	{
		SfFact	   *fact = &set->frame->facts[i];
		TupleDesc	now;
		bool		same;

		if (fact->desc == NULL)
			continue;
		if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(fact->type)))
			return false;
		now = lookup_rowtype_tupdesc(fact->type, -1);
		same = now->natts == fact->desc->natts;
		for (int k = 0; same && k < now->natts; k++)
		{
			Form_pg_attribute a = TupleDescAttr(now, k);
			Form_pg_attribute b = TupleDescAttr(fact->desc, k);

			same = a->atttypid == b->atttypid && a->atttypmod == b->atttypmod &&
				a->attcollation == b->attcollation && a->attisdropped == b->attisdropped &&
				a->attgenerated == b->attgenerated &&
				strcmp(NameStr(a->attname), NameStr(b->attname)) == 0;
		}
		ReleaseTupleDesc(now);
		if (!same)
			return false;
	}
	return true;
}

/* whether the entry need not be looked at again in this statement */
static inline bool
is_settled(const SfSetEntry *entry)
{
	return entry->statement == sf_clock_statement() && entry->lxid == sf_local_xid() &&
		entry->edits == sf_pending_edits() && !entry->broken && !entry->moved;
}

static void
settle(SfSetEntry *entry, const SfRuleSetMaker *maker, void *arg)
{
	ListCell   *lc;
	bool		new_statement = entry->statement != sf_clock_statement() ||
		entry->lxid != sf_local_xid();

	/* what was committed before this statement began, also in an open transaction */
	if (new_statement)
		AcceptInvalidationMessages();
	if (maker == NULL)
		sf_pending_check(SF_PENDING_RULE_SET, entry->name);
	if (entry->edits != sf_pending_edits())
	{
		if (entry->tentative)
			entry->broken = true;
		entry->stale = true;
		new_statement = true;
	}
	foreach(lc, entry->sets)
	{
		SfRuleSet  *set = lfirst(lc);
		ListCell   *lp;

		if (set->expressions != NULL && !set->expressions->is_valid)
			entry->broken = true;
		foreach(lp, set->plans)
			if (!sf_plan_is_valid(lfirst(lp)))
				entry->broken = true;
	}
	if (entry->sets != NIL && entry->moved && !entry->broken &&
		!same_layout(linitial(entry->sets)))
		entry->broken = true;
	entry->moved = false;
	if (maker != NULL)
	{
		entry->stale = false;
		entry->broken |= entry->sets != NIL && !maker->is_current(linitial(entry->sets), arg);
	}
	else if (entry->sets != NIL && entry->stale && new_statement && !entry->broken)
	{
		SfRuleSet  *set = linitial(entry->sets);
		SfRevision	r = {0};
		Datum		values[1] = {CStringGetTextDatum(entry->name)};

		entry->stale = false;
		sf_plan_run(SF_PLAN_RULE_SET_REVISION, values, NULL, take_revision, &r);
		if (!r.found || r.revision != set->revision)
			entry->broken = true;
		else if (r.param_revision != set->param_revision)
		{
			if (list_length(entry->sets) == 1 && !set->in_use)
				sf_load_params(set, r.param_revision);
			else
				entry->broken = true;
		}
	}
	if (entry->broken)
		forget_sets(entry);
	entry->broken = false;
	entry->statement = sf_clock_statement();
	entry->lxid = sf_local_xid();
	entry->edits = sf_pending_edits();
}

/* its tables are read one by one: not what was changed in between */
static SfRuleSet *
load_whole(const char *name)
{
	Datum		values[1] = {CStringGetTextDatum(name)};

	for (;;)
	{
		SfRuleSet  *set = sf_load_set(name, CacheMemoryContext);
		SfRevision	r = {0};

		sf_plan_run(SF_PLAN_RULE_SET_REVISION, values, NULL, take_revision, &r);
		if (!r.found || (r.revision == set->revision && r.param_revision == set->param_revision))
			return set;
		MemoryContextDelete(set->context);
		CHECK_FOR_INTERRUPTS();
	}
}

static SfRuleSet *
compile(SfSetEntry *entry, const SfRuleSetMaker *maker, void *arg)
{
	SfRuleSet  *set;
	MemoryContext old;

	rule_set_relid = sf_ident_rel(SF_REL_RULE_SET);
	/* before reading: what comes while we read marks it again */
	if (entry->sets == NIL)
		entry->stale = false;
	set = maker != NULL ? maker->make(arg, CacheMemoryContext) : load_whole(entry->name);
	set->entry = entry;
	entry->tentative |= sf_pending_changed();
	old = MemoryContextSwitchTo(CacheMemoryContext);
	entry->sets = lappend(entry->sets, set);
	MemoryContextSwitchTo(old);
	return set;
}

/*
 * Compile now what is stored now; the result stays as what the next firing
 * uses.  Drafts and sets that are gone have nothing to check.
 */
void
sf_ruleset_check(const char *name)
{
	SfSetEntry *entry = find_entry(name);
	SfRevision	r = {0};
	Datum		values[1] = {CStringGetTextDatum(name)};

	sf_plan_run(SF_PLAN_RULE_SET_REVISION, values, NULL, take_revision, &r);
	forget_sets(entry);
	if (r.found)
		(void) compile(entry, NULL, NULL);
	entry->broken = false;
	entry->edits = sf_pending_edits();
}

static bool
is_one_of(Oid role, const List *roles)
{
	ListCell   *lc;

	foreach(lc, roles)
		if (has_privs_of_role(role, lfirst_oid(lc)))
			return true;
	return false;
}

static void
refuse_role(const char *name, Oid role)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for rule set \"%s\"", name),
			 errhint("Its owner can use sopflow.grant_rules(%s, %s).",
					 quote_literal_cstr(name),
					 quote_literal_cstr(GetUserNameFromId(role, false)))));
}

void
sf_ruleset_demand_right(SfRuleSet *set, Oid role)
{
	if (!has_privs_of_role(role, set->owner) && !is_one_of(role, set->grantees))
		refuse_role(set->name, role);
}

static void
take_role(HeapTuple tuple, TupleDesc desc, void *arg)
{
	List	  **roles = arg;

	*roles = lappend_oid(*roles, sf_row_oid(tuple, desc, 1));
}

/* before a set is compiled, so that its faults are told to those only who may see them */
static void
demand_stored_right(const char *name, Oid role)
{
	Datum		values[1] = {CStringGetTextDatum(name)};
	List	   *roles = NIL;

	if (superuser_arg(role) ||
		sf_plan_run(SF_PLAN_RULE_SET_OWNER, values, NULL, take_role, &roles) == 0)
		return;
	sf_plan_run(SF_PLAN_RULE_GRANTS, values, NULL, take_role, &roles);
	if (!is_one_of(role, roles))
		refuse_role(name, role);
}

SfRuleSet *
sf_ruleset_get(const char *name, Oid role)
{
	SfSetEntry *entry;
	SfRuleSet  *set;
	ListCell   *lc;

	if (strlen(name) >= NAME_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("rule set \"%.60s...\" does not exist", name)));
	entry = find_entry(name);
	if (!is_settled(entry))
		settle(entry, NULL, NULL);
	foreach(lc, entry->sets)
	{
		set = lfirst(lc);
		if (set->in_use)
			continue;
		if (OidIsValid(role))
			sf_ruleset_demand_right(set, role);
		return set;
	}
	if (OidIsValid(role))
		demand_stored_right(name, role);
	return compile(entry, NULL, NULL);
}

/* old ones are never asked for again, and nothing says which those are */
static void
forget_made(void)
{
	HASH_SEQ_STATUS seq;
	SfSetEntry *entry;

	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		bool		keep = entry->sets == NIL ||
			((SfRuleSet *) linitial(entry->sets))->script == NULL;
		ListCell   *lc;

		foreach(lc, entry->sets)
			keep |= ((SfRuleSet *) lfirst(lc))->in_use;
		if (keep)
			continue;
		forget_sets(entry);
		hash_search(entries, entry->name, HASH_REMOVE, NULL);
	}
}

SfRuleSet *
sf_ruleset_made(const char *key, const SfRuleSetMaker *maker, void *arg)
{
	static int	nmade = 0;
	SfSetEntry *entry = find_entry(key);
	ListCell   *lc;

	settle(entry, maker, arg);
	foreach(lc, entry->sets)
	{
		SfRuleSet  *set = lfirst(lc);

		if (!set->in_use)
			return set;
	}
	if (++nmade > MAX_MADE)
	{
		forget_made();
		nmade = 1;
	}
	return compile(entry, maker, arg);
}

uint64
sf_ruleset_forgotten(void)
{
	return nforgotten;
}

bool
sf_ruleset_is_current(SfRuleSet *set)
{
	/* one of several that nest is not the first of its entry */
	return !set->in_use && is_settled(set->entry) && set->entry->sets != NIL &&
		linitial(set->entry->sets) == set;
}

void
sf_ruleset_use(SfRuleSet *set)
{
	set->in_use = true;
	set->use_subid = GetCurrentSubTransactionId();
	nin_use++;
}

void
sf_ruleset_unuse(SfRuleSet *set)
{
	set->in_use = false;
	nin_use--;
}
