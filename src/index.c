/*
 * index.c
 *	  From values of facts to the rules that can match.
 *
 * A rule that demands `category = 'phone' and level = 2` need not be looked at
 * while another category stands in the row.  Rules that test the same fields
 * for equality make one hash index over these fields, which leads to those of
 * them whose tests are all true.  So the cost of a firing does not grow with
 * the rules that cannot match.
 *
 * It changes nothing that can be seen: only tests are used that stand before
 * everything in their condition that could raise an error or ask a query.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "match.h"
#include "ruleset.h"

/* equality tests on one field, or rules that test the same fields, that make an index */
#define MIN_RULES	8
/* each costs a look-up a firing */
#define MAX_INDEXES	16
/* entries that one rule may have: of IN-lists all combinations */
#define MAX_ENTRIES_OF_RULE	256
/* fields that an index may be over */
#define MAX_KEYS	64

typedef struct SfIndexEntry
{
	struct SfIndexEntry *next;
	uint32		hash;
	int			n;
	int			max;
	int		   *positions;
	Datum		values[FLEXIBLE_ARRAY_MEMBER];
} SfIndexEntry;

/* the tests of a rule that an index may use */
typedef struct SfKeys
{
	Bitmapset  *slots;
	int			nkeys;
	int		   *atoms;			/* one a slot, in the order of slots */
	Bitmapset  *needs;			/* slots that the tests up to the last of them read */
	int			index;			/* that it goes to; -1: none */
} SfKeys;

/* --- tests for equality --- */

/* integers of several widths are compared without a cast */
static Const *
as_type(Const *c, Oid type)
{
	int64		value;

	if (c->constisnull || c->consttype == type)
		return c;
	switch (c->consttype)
	{
		case INT2OID:
			value = DatumGetInt16(c->constvalue);
			break;
		case INT4OID:
			value = DatumGetInt32(c->constvalue);
			break;
		case INT8OID:
			value = DatumGetInt64(c->constvalue);
			break;
		default:
			return NULL;
	}
	switch (type)
	{
		case INT2OID:
			return value < PG_INT16_MIN || value > PG_INT16_MAX ? NULL :
				makeConst(type, -1, InvalidOid, 2, Int16GetDatum((int16) value), false, true);
		case INT4OID:
			return value < PG_INT32_MIN || value > PG_INT32_MAX ? NULL :
				makeConst(type, -1, InvalidOid, 4, Int32GetDatum((int32) value), false, true);
		case INT8OID:
			return makeConst(type, -1, InvalidOid, 8, Int64GetDatum(value), false, FLOAT8PASSBYVAL);
		default:
			return NULL;
	}
}

/* whether the operator is the equality by which values of the type are hashed */
static bool
is_equality(Oid opno, Oid type, Oid collation)
{
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC |
											  TYPECACHE_BTREE_OPFAMILY);

	if (!OidIsValid(cache->eq_opr) || !OidIsValid(cache->hash_proc))
		return false;
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		return false;
	return opno == cache->eq_opr ||
		(OidIsValid(cache->btree_opf) &&
		 get_op_opfamily_strategy(opno, cache->btree_opf) == BTEqualStrategyNumber);
}

/* the slot that is compared, and the type it is compared as; -1: it is none */
static int
compared_slot(Node *node, Oid *type)
{
	*type = exprType(node);
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return IsA(node, Var) ? ((Var *) node)->varattno - 1 : -1;
}

/* the index compares values as ones of the slot's type, which a cast may have left */
static bool
same_equality(Oid a, Oid b)
{
	TypeCacheEntry *x = lookup_type_cache(a, TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC);
	TypeCacheEntry *y = lookup_type_cache(b, TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC);

	return a == b || (x->eq_opr == y->eq_opr && x->hash_proc == y->hash_proc);
}

static List *
array_constants(Const *array, Oid type)
{
	ArrayType  *a = DatumGetArrayTypeP(array->constvalue);
	Oid			element = ARR_ELEMTYPE(a);
	int16		typlen;
	bool		typbyval;
	char		typalign;
	Datum	   *values;
	bool	   *nulls;
	int			n;
	List	   *result = NIL;

	get_typlenbyvalalign(element, &typlen, &typbyval, &typalign);
	deconstruct_array(a, element, typlen, typbyval, typalign, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		Const	   *c;

		if (nulls[i])
			continue;			/* equal to nothing */
		c = as_type(makeConst(element, -1, InvalidOid, typlen, values[i], false, typbyval), type);
		if (c == NULL)
			return NIL;
		result = lappend(result, c);
	}
	return result;
}

/* slot = constant, constant = slot, slot IN (constants) */
static void
find_key(SfFrame *frame, SfAtom *atom)
{
	Node	   *left;
	Node	   *right;
	Oid			opno;
	Oid			collation;
	Oid			type;
	int			slot;

	if (IsA(atom->expr, OpExpr) && list_length(((OpExpr *) atom->expr)->args) == 2)
	{
		OpExpr	   *op = (OpExpr *) atom->expr;

		left = linitial(op->args);
		right = lsecond(op->args);
		opno = op->opno;
		collation = op->inputcollid;
		if (IsA(left, Const))
		{
			Node	   *swap = left;

			left = right;
			right = swap;
		}
	}
	else if (IsA(atom->expr, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) atom->expr)->useOr)
	{
		ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) atom->expr;

		left = linitial(op->args);
		right = lsecond(op->args);
		opno = op->opno;
		collation = op->inputcollid;
	}
	else
		return;
	slot = compared_slot(left, &type);
	if (slot < 0 || !IsA(right, Const) || ((Const *) right)->constisnull ||
		!is_equality(opno, type, collation) || !same_equality(type, frame->slots[slot].type))
		return;
	if (IsA(atom->expr, ScalarArrayOpExpr))
		atom->key_values = array_constants((Const *) right, type);
	else
	{
		Const	   *c = as_type((Const *) right, type);

		atom->key_values = c ? list_make1(c) : NIL;
	}
	if (atom->key_values != NIL)
		atom->key_slot = slot;
}

/* --- which rule goes where --- */

static void
find_keys(SfRuleSet *set, SfRule *rule, SfKeys *keys)
{
	int			by_slot[MAX_KEYS];
	int			slots[MAX_KEYS];
	int			n = 0;
	Bitmapset  *reads = NULL;

	memset(keys, 0, sizeof(*keys));
	keys->index = -1;
	for (int i = 0; i < rule->natoms && n < lengthof(slots); i++)
	{
		SfAtom	   *atom = &set->match->atoms[rule->atoms[i]];

		if (!atom->safe)
			break;
		reads = bms_add_members(reads, atom->reads);
		if (atom->key_slot < 0 || bms_is_member(atom->key_slot, keys->slots))
			continue;
		keys->slots = bms_add_member(keys->slots, atom->key_slot);
		slots[n] = atom->key_slot;
		by_slot[n++] = rule->atoms[i];
		keys->needs = bms_copy(reads);
	}
	keys->nkeys = n;
	keys->atoms = palloc(Max(n, 1) * sizeof(int));
	/* in the order of slots */
	for (int i = 0; i < n; i++)
	{
		int			rank = 0;

		for (int j = 0; j < n; j++)
			rank += slots[j] < slots[i];
		keys->atoms[rank] = by_slot[i];
	}
}

/* leave but one of a rule's tests */
static void
reduce_keys(SfRuleSet *set, SfKeys *keys, int slot)
{
	for (int i = 0; i < keys->nkeys; i++)
		if (set->match->atoms[keys->atoms[i]].key_slot == slot)
			keys->atoms[0] = keys->atoms[i];
	keys->nkeys = 1;
	keys->slots = bms_make_singleton(slot);
}

typedef struct SfShape
{
	Bitmapset  *slots;
	int			nrules;
} SfShape;

static List *
count_shapes(SfKeys *keys, int n)
{
	List	   *shapes = NIL;
	ListCell   *lc;

	for (int i = 0; i < n; i++)
	{
		SfShape    *shape = NULL;

		if (keys[i].nkeys == 0)
			continue;
		foreach(lc, shapes)
			if (bms_equal(((SfShape *) lfirst(lc))->slots, keys[i].slots))
				shape = lfirst(lc);
		if (shape == NULL)
		{
			shape = palloc0(sizeof(SfShape));
			shape->slots = keys[i].slots;
			shapes = lappend(shapes, shape);
		}
		shape->nrules++;
	}
	return shapes;
}

static int
compare_shapes(const ListCell *a, const ListCell *b)
{
	return ((SfShape *) lfirst(b))->nrules - ((SfShape *) lfirst(a))->nrules;
}

/* the shape of a rule's tests, if it has an index; -1: not */
static int
shape_of(List *shapes, const SfKeys *keys)
{
	for (int i = 0; i < Min(list_length(shapes), MAX_INDEXES); i++)
	{
		SfShape    *shape = list_nth(shapes, i);

		if (keys->nkeys > 0 && shape->nrules >= MIN_RULES && bms_equal(shape->slots, keys->slots))
			return i;
	}
	return -1;
}

/* combinations of constants that the rule has entries for */
static int
count_entries(SfRuleSet *set, const SfKeys *keys)
{
	int			n = 1;

	for (int i = 0; i < keys->nkeys && n <= MAX_ENTRIES_OF_RULE; i++)
		n *= list_length(set->match->atoms[keys->atoms[i]].key_values);
	return n;
}

/*
 * Rules whose tests have a shape of their own, or one of few, fall back to the
 * field that most rules test; what is left is walked.
 */
static List *
choose_shapes(SfRuleSet *set, SfWalk *walk, SfKeys *keys)
{
	int		   *tests = palloc0(Max(set->frame->nslots, 1) * sizeof(int));
	List	   *shapes;

	for (int i = 0; i < walk->nitems; i++)
	{
		int			slot = -1;

		if (count_entries(set, &keys[i]) > MAX_ENTRIES_OF_RULE)
			keys[i].nkeys = 0;
		while (keys[i].nkeys > 0 && (slot = bms_next_member(keys[i].slots, slot)) >= 0)
			tests[slot]++;
	}
	shapes = count_shapes(keys, walk->nitems);
	list_sort(shapes, compare_shapes);
	for (int i = 0; i < walk->nitems; i++)
	{
		int			best = -1;
		int			slot = -1;

		if (keys[i].nkeys == 0 || shape_of(shapes, &keys[i]) >= 0)
			continue;
		while ((slot = bms_next_member(keys[i].slots, slot)) >= 0)
			if (tests[slot] >= MIN_RULES && (best < 0 || tests[slot] > tests[best]))
				best = slot;
		if (best < 0)
			keys[i].nkeys = 0;
		else
			reduce_keys(set, &keys[i], best);
	}
	shapes = count_shapes(keys, walk->nitems);
	list_sort(shapes, compare_shapes);
	return shapes;
}

/* --- building --- */

static void
make_index(SfRuleSet *set, SfIndex *index, Bitmapset *slots, int nrules)
{
	int			slot = -1;
	int			n = bms_num_members(slots);
	uint32		nbuckets = 16;

	index->slots = palloc(n * sizeof(int));
	index->hash_fns = palloc0(n * sizeof(FmgrInfo));
	index->eq_fns = palloc0(n * sizeof(FmgrInfo));
	index->collations = palloc(n * sizeof(Oid));
	while ((slot = bms_next_member(slots, slot)) >= 0)
	{
		SfSlot	   *s = &set->frame->slots[slot];
		TypeCacheEntry *cache = lookup_type_cache(s->type, TYPECACHE_EQ_OPR_FINFO |
												  TYPECACHE_HASH_PROC_FINFO);

		fmgr_info(cache->hash_proc, &index->hash_fns[index->nslots]);
		fmgr_info(get_opcode(cache->eq_opr), &index->eq_fns[index->nslots]);
		index->collations[index->nslots] = s->collation;
		index->slots[index->nslots++] = slot;
	}
	while (nbuckets < (uint32) nrules * 2)
		nbuckets *= 2;
	index->mask = nbuckets - 1;
	index->buckets = palloc0(nbuckets * sizeof(SfIndexEntry *));
}

static uint32
hash_values(const SfIndex *index, const Datum *values)
{
	uint32		hash = 0;

	for (int i = 0; i < index->nslots; i++)
	{
		Datum		h = FunctionCall1Coll((FmgrInfo *) &index->hash_fns[i], index->collations[i],
										  values[i]);

		hash = hash_combine(hash, DatumGetUInt32(h));
	}
	return hash;
}

static SfIndexEntry *
find_entry(const SfIndex *index, const Datum *values, uint32 hash)
{
	for (SfIndexEntry *entry = index->buckets[hash & index->mask]; entry; entry = entry->next)
	{
		int			i = 0;

		if (entry->hash != hash)
			continue;
		while (i < index->nslots &&
			   DatumGetBool(FunctionCall2Coll((FmgrInfo *) &index->eq_fns[i], index->collations[i],
											  entry->values[i], values[i])))
			i++;
		if (i == index->nslots)
			return entry;
	}
	return NULL;
}

static void
add_entry(SfIndex *index, const Datum *values, int position)
{
	uint32		hash = hash_values(index, values);
	SfIndexEntry *entry = find_entry(index, values, hash);

	if (entry == NULL)
	{
		entry = palloc0(offsetof(SfIndexEntry, values) + index->nslots * sizeof(Datum));
		memcpy(entry->values, values, index->nslots * sizeof(Datum));
		entry->hash = hash;
		entry->max = 4;
		entry->positions = palloc(entry->max * sizeof(int));
		entry->next = index->buckets[hash & index->mask];
		index->buckets[hash & index->mask] = entry;
		index->nentries++;
	}
	/* IN (1, 1) */
	if (entry->n > 0 && entry->positions[entry->n - 1] == position)
		return;
	if (entry->n == entry->max)
	{
		entry->max *= 2;
		entry->positions = repalloc(entry->positions, entry->max * sizeof(int));
	}
	entry->positions[entry->n++] = position;
}

/* positions come in ascending order, so the lists of entries are sorted */
static void
add_rule(SfRuleSet *set, SfIndex *index, const SfKeys *keys, int position)
{
	int			n = count_entries(set, keys);
	Datum	   *values = palloc(index->nslots * sizeof(Datum));

	for (int i = 0; i < n; i++)
	{
		int			rest = i;

		for (int k = 0; k < keys->nkeys; k++)
		{
			List	   *constants = set->match->atoms[keys->atoms[k]].key_values;

			values[k] = ((Const *) list_nth(constants, rest % list_length(constants)))->constvalue;
			rest /= list_length(constants);
		}
		add_entry(index, values, position);
	}
	index->nrules++;
	pfree(values);
}

void
sf_index_find_keys(SfRuleSet *set)
{
	for (int i = 0; i < set->match->natoms; i++)
		find_key(set->frame, &set->match->atoms[i]);
}

static void
make_indexes(SfRuleSet *set, SfWalk *walk, SfKeys *keys)
{
	List	   *shapes = choose_shapes(set, walk, keys);
	ListCell   *lc;

	walk->indexes = palloc0(MAX_INDEXES * sizeof(SfIndex));
	foreach(lc, shapes)
	{
		SfShape    *shape = lfirst(lc);

		if (shape->nrules < MIN_RULES || walk->nindexes == MAX_INDEXES)
			break;
		make_index(set, &walk->indexes[walk->nindexes++], shape->slots, shape->nrules);
		walk->key_slots = bms_add_members(walk->key_slots, shape->slots);
	}
	for (int i = 0; i < walk->nitems; i++)
	{
		int			index = shape_of(shapes, &keys[i]);

		walk->indexed_by[i] = index;
		if (index < 0)
			walk->others[walk->nothers++] = i;
		else
		{
			add_rule(set, &walk->indexes[index], &keys[i], i);
			walk->needs = bms_add_members(walk->needs, keys[i].needs);
		}
	}
	walk->cursors = palloc0((walk->nindexes + 1) * sizeof(SfCursor));
}

/*
 * No indexes where something has to see every rule: the first that does not
 * trigger ends the firing, hooks and traces look at each.
 */
SfWalk *
sf_walk_make(SfRuleSet *set, SfItem *items, int nitems, bool indexed)
{
	SfWalk	   *walk = palloc0(sizeof(SfWalk));
	SfKeys	   *keys;

	walk->nitems = nitems;
	walk->items = items;
	walk->others = palloc(Max(nitems, 1) * sizeof(int));
	walk->indexed_by = palloc(Max(nitems, 1) * sizeof(int));
	for (int i = 0; i < nitems; i++)
		walk->indexed_by[i] = -1;
	if (!indexed || nitems < MIN_RULES || set->trace == SF_TRACE_FULL ||
		set->hooks[SF_HOOK_BEFORE_EVALUATE] != NULL || set->hooks[SF_HOOK_AFTER_EVALUATE] != NULL)
		return walk;
	keys = palloc0(nitems * sizeof(SfKeys));
	for (int i = 0; i < nitems; i++)
		if (items[i].rule != NULL)
			find_keys(set, items[i].rule, &keys[i]);
	make_indexes(set, walk, keys);
	return walk;
}

/* --- the walk --- */

static void
look_up(SfRuleSet *set, SfWalk *walk)
{
	TupleTableSlot *row = set->frame->row;
	Datum		values[MAX_KEYS];

	for (int i = 0; i < walk->nindexes; i++)
	{
		SfIndex    *index = &walk->indexes[i];
		SfCursor   *cursor = &walk->cursors[i];
		SfIndexEntry *entry = NULL;
		int			k = 0;

		for (; k < index->nslots && !row->tts_isnull[index->slots[k]]; k++)
			values[k] = row->tts_values[index->slots[k]];
		if (k == index->nslots)
			entry = find_entry(index, values, hash_values(index, values));
		cursor->positions = entry ? entry->positions : NULL;
		cursor->n = entry ? entry->n : 0;
		cursor->at = 0;
	}
}

void
sf_walk_start(SfRuleSet *set, SfWalk *walk)
{
	int			slot = -1;

	walk->visit_all = walk->nindexes == 0;
	/* a key that is missing in a jsonb fact is to raise its error in its turn */
	while (!walk->visit_all && (slot = bms_next_member(walk->needs, slot)) >= 0)
		walk->visit_all = !set->frame->slots[slot].filled;
	if (walk->visit_all)
		return;
	walk->cursors[walk->nindexes].positions = walk->others;
	walk->cursors[walk->nindexes].n = walk->nothers;
	walk->cursors[walk->nindexes].at = 0;
	look_up(set, walk);
}

void
sf_walk_changed(SfRuleSet *set, SfWalk *walk, int slot)
{
	if (walk->visit_all || !bms_is_member(slot, walk->needs))
		return;
	/* it may not be filled any more */
	sf_walk_start(set, walk);
}

int
sf_walk_next(SfWalk *walk, int position)
{
	int			next = -1;

	if (walk->visit_all)
		return position + 1 < walk->nitems ? position + 1 : -1;
	for (int i = 0; i <= walk->nindexes; i++)
	{
		SfCursor   *cursor = &walk->cursors[i];

		while (cursor->at < cursor->n && cursor->positions[cursor->at] <= position)
			cursor->at++;
		if (cursor->at < cursor->n && (next < 0 || cursor->positions[cursor->at] < next))
			next = cursor->positions[cursor->at];
	}
	return next;
}
