/*
 * match.h
 *	  Conditions as AND-atoms: shared between rules, evaluated at most once, and
 *	  an index from values to the rules that can match.
 */
#ifndef SF_MATCH_H
#define SF_MATCH_H

#include "postgres.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"

struct SfRuleSet;
struct SfItem;

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
	bool		safe;			/* cannot raise an error, and nothing is lazy */
	int			nrules;			/* that share it */
	int			key_slot;		/* slot = constant(s), indexable; -1: not so */
	List	   *key_values;		/* of Const * */
	SfTruth		value;			/* valid in the epoch */
	uint32		epoch;
} SfAtom;

typedef struct SfMatch
{
	int			natoms;
	int			maxatoms;
	SfAtom	   *atoms;
	struct HTAB *by_hash;		/* while compiling */
	List	  **readers;		/* by slot: atoms, as integers */
	uint32		epoch;
	int			nindexes;
	struct SfIndex *indexes;	/* NULL: all rules are walked */
	int			nfallback;
	int		   *fallback;		/* positions of items that no index has */
	int		   *indexed_by;		/* by position: number of the index, -1: none */
	bool	   *key_slots;		/* by slot: an index has it */
	struct SfCursor *cursors;	/* of the walk: one an index, and the fallback's */
} SfMatch;

extern SfMatch *sf_match_make(void);

/* number of the atom for an expression, an equal one if there is */
extern int	sf_match_add(SfMatch *match, Expr *expr);

/* all atoms are there: reads, readers, index over the items of the top level */
extern void sf_match_seal(struct SfRuleSet *set);

/* forget all values */
extern void sf_match_begin(SfMatch *match);

/* value of an atom, evaluated now if it is not known */
extern SfTruth sf_match_atom(struct SfRuleSet *set, int atom);

/* a slot was changed */
extern void sf_match_changed(SfMatch *match, int slot);

/* walk the items of the top level that can match: position after `position`, -1: none */
extern void sf_match_start(struct SfRuleSet *set);
extern int	sf_match_next(struct SfRuleSet *set, int position);

/* whether the walk looks up instead of visiting every item */
extern bool sf_match_is_indexed(const SfMatch *match);

#endif							/* SF_MATCH_H */
