/*
 * match.c
 *	  Conditions as AND-atoms: shared between rules and evaluated at most once.
 *
 * An atom is evaluated when a rule that has it comes to it, never before, so
 * what stands before it in its condition guards it.  Its value is kept until a
 * field that it reads is changed.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
#include "utils/hsearch.h"

#include "match.h"
#include "ruleset.h"

typedef struct SfHashEntry
{
	uint32		hash;			/* hash key, must be first */
	List	   *atoms;
} SfHashEntry;

SfMatch *
sf_match_make(void)
{
	SfMatch    *match = palloc0(sizeof(SfMatch));
	HASHCTL		ctl = {0};

	match->maxatoms = 16;
	match->atoms = palloc(match->maxatoms * sizeof(SfAtom));
	ctl.keysize = sizeof(uint32);
	ctl.entrysize = sizeof(SfHashEntry);
	ctl.hcxt = CurrentMemoryContext;
	match->by_hash = hash_create("sopflow atoms", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return match;
}

static uint32
hash_constant(const Const *c)
{
	if (c->constbyval)
		return hash_bytes_uint32((uint32) c->constvalue);
	return hash_bytes((unsigned char *) DatumGetPointer(c->constvalue),
					  datumGetSize(c->constvalue, false, c->constlen));
}

/* equal expressions have equal hashes; locations do not count */
static bool
hash_walker(Node *node, uint32 *hash)
{
	if (node == NULL)
		return false;
	*hash = hash_combine(*hash, (uint32) nodeTag(node));
	switch (nodeTag(node))
	{
		case T_Var:
			*hash = hash_combine(*hash, ((Var *) node)->varattno);
			break;
		case T_OpExpr:
			*hash = hash_combine(*hash, ((OpExpr *) node)->opno);
			break;
		case T_FuncExpr:
			*hash = hash_combine(*hash, ((FuncExpr *) node)->funcid);
			break;
		case T_Const:
			if (!((Const *) node)->constisnull)
				*hash = hash_combine(*hash, hash_constant((Const *) node));
			break;
		default:
			break;
	}
	return expression_tree_walker(node, hash_walker, hash);
}

int
sf_match_add(SfMatch *match, Expr *expr)
{
	uint32		hash = 0;
	bool		found;
	SfHashEntry *entry;
	ListCell   *lc;
	SfAtom	   *atom;

	(void) hash_walker((Node *) expr, &hash);
	entry = hash_search(match->by_hash, &hash, HASH_ENTER, &found);
	if (!found)
		entry->atoms = NIL;
	foreach(lc, entry->atoms)
	{
		if (equal(match->atoms[lfirst_int(lc)].expr, expr))
		{
			match->atoms[lfirst_int(lc)].nrules++;
			return lfirst_int(lc);
		}
	}
	if (match->natoms == match->maxatoms)
	{
		match->maxatoms *= 2;
		match->atoms = repalloc_huge(match->atoms, match->maxatoms * sizeof(SfAtom));
	}
	atom = &match->atoms[match->natoms];
	memset(atom, 0, sizeof(*atom));
	atom->expr = expr;
	atom->nrules = 1;
	atom->key_slot = -1;
	entry->atoms = lappend_int(entry->atoms, match->natoms);
	return match->natoms++;
}

void
sf_match_seal(SfRuleSet *set)
{
	SfMatch    *match = set->match;
	SfFrame    *frame = set->frame;

	match->readers = palloc0(Max(frame->nslots, 1) * sizeof(List *));
	for (int i = 0; i < match->natoms; i++)
	{
		SfAtom	   *atom = &match->atoms[i];
		int			slot = -1;

		atom->reads = sf_frame_reads((Node *) atom->expr);
		/* a leakproof function tells nothing about its arguments, not by an error either */
		atom->safe = !contain_leaked_vars((Node *) atom->expr);
		while ((slot = bms_next_member(atom->reads, slot)) >= 0)
		{
			match->readers[slot] = lappend_int(match->readers[slot], i);
			if (!frame->slots[slot].lazy)
				continue;
			atom->lazy = true;
			if (frame->slots[slot].kind != SF_SLOT_PATH ||
				frame->facts[frame->slots[slot].index].query != NULL)
				atom->safe = false;
		}
	}
}

void
sf_match_begin(SfMatch *match)
{
	if (++match->epoch == 0)
	{
		for (int i = 0; i < match->natoms; i++)
			match->atoms[i].epoch = 0;
		match->epoch = 1;
	}
}

static void
evaluate(SfRuleSet *set, SfAtom *atom)
{
	bool		isnull;
	Datum		value;

	if (atom->lazy || set->frame->incomplete)
		sf_ruleset_fill(set, atom->reads);
	if (atom->state == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(set->context);

		atom->state = ExecInitExpr(atom->expr, NULL);
		MemoryContextSwitchTo(old);
	}
	value = ExecEvalExprSwitchContext(atom->state, set->econtext, &isnull);
	atom->value = isnull ? SF_NULL : DatumGetBool(value) ? SF_TRUE : SF_FALSE;
	atom->epoch = set->match->epoch;
}

SfTruth
sf_match_atom(SfRuleSet *set, int number)
{
	SfAtom	   *atom = &set->match->atoms[number];

	if (atom->epoch != set->match->epoch)
		evaluate(set, atom);
	return atom->value;
}

void
sf_match_changed(SfRuleSet *set, int slot)
{
	SfMatch    *match = set->match;
	ListCell   *lc;

	foreach(lc, match->readers[slot])
		match->atoms[lfirst_int(lc)].epoch = 0;
	/* only actions change slots, and no group is being evaluated then */
	sf_walk_changed(set, set->walk, slot);
}
