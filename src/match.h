/*
 * match.h
 *	  Conditions as AND-atoms: shared between rules, evaluated at most once, and
 *	  an index from values to the rules that can match.
 */
#ifndef SF_MATCH_H
#define SF_MATCH_H

#include "postgres.h"
#include "fmgr.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"

struct SfRuleSet;

typedef enum SfTruth
{
	SF_UNKNOWN,					/* not evaluated */
	SF_FALSE,
	SF_NULL,
	SF_TRUE
} SfTruth;

typedef struct SfAtom
{
	Expr	   *expr;
	ExprState  *state;			/* made on first use */
	Bitmapset  *reads;			/* slots */
	bool		lazy;			/* reads slots that are filled when reached */
	bool		safe;			/* cannot raise an error once its slots are filled,
								 * and filling them asks no query */
	int			nrules;			/* that share it */
	int			key_slot;		/* it says slot = constant, or one of some; -1: not so */
	List	   *key_values;		/* of Const *, of the slot's type */
	SfTruth		value;			/* valid in the epoch */
	uint32		epoch;
} SfAtom;

/*
 * An index leads from the values of some slots to the rules of the top level
 * that demand just these of them.  Each rule is in one index, or in none and
 * walked always.
 */
typedef struct SfIndex
{
	int			nslots;
	int		   *slots;
	FmgrInfo   *hash_fns;		/* by slot of the index, as the next two */
	FmgrInfo   *eq_fns;
	Oid		   *collations;
	int			nrules;
	int			nentries;		/* different values */
	uint32		mask;
	struct SfIndexEntry **buckets;
} SfIndex;

/* positions of rules in the order of firing, and how far the walk is */
typedef struct SfCursor
{
	const int  *positions;
	int			n;
	int			at;
} SfCursor;

/*
 * A walk over items in the order of firing: those of the set, or of a group.
 * What can be looked up is not visited.
 */
typedef struct SfWalk
{
	int			nitems;
	struct SfItem *items;
	int			nindexes;		/* 0: every item is visited */
	SfIndex    *indexes;
	SfCursor   *cursors;		/* one an index; the last is that of the others */
	int			nothers;
	int		   *others;			/* positions of items that no index has */
	int		   *indexed_by;		/* by position: number of the index, -1: none */
	Bitmapset  *key_slots;		/* slots of all indexes */
	Bitmapset  *needs;			/* slots that must be filled for indexes to be used */
	bool		visit_all;		/* in this firing: do not use them */
} SfWalk;

typedef struct SfMatch
{
	int			natoms;
	int			maxatoms;
	SfAtom	   *atoms;
	struct HTAB *by_hash;		/* atoms by a hash of their expressions */
	List	  **readers;		/* by slot: atoms that read it, as integers */
	uint32		epoch;
} SfMatch;

extern SfMatch *sf_match_make(void);

/* number of the atom for an expression, an equal one if there is */
extern int	sf_match_add(SfMatch *match, Expr *expr);

/* all atoms are there: note what they read */
extern void sf_match_seal(struct SfRuleSet *set);

/* forget all values */
extern void sf_match_begin(SfMatch *match);

/* value of an atom, evaluated now if it is not known */
extern SfTruth sf_match_atom(struct SfRuleSet *set, int atom);

/* a slot was changed */
extern void sf_match_changed(struct SfRuleSet *set, int slot);

/* ---- in index.c ---- */

/* note which atoms are tests for equality; after sf_match_seal */
extern void sf_index_find_keys(struct SfRuleSet *set);

/* `indexed`: items may be passed by; otherwise each has to be visited */
extern SfWalk *sf_walk_make(struct SfRuleSet *set, struct SfItem *items, int nitems, bool indexed);

/* begin a walk; the position of the item after `position`, -1: none */
extern void sf_walk_start(struct SfRuleSet *set, SfWalk *walk);
extern int	sf_walk_next(SfWalk *walk, int position);

/* a slot was changed while the walk is under way */
extern void sf_walk_changed(struct SfRuleSet *set, SfWalk *walk, int slot);

#endif							/* SF_MATCH_H */
