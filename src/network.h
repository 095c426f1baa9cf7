/*
 * network.h
 *	  The Rete network that a rule set amounts to: atoms and joins of atoms.
 *
 * For people.  Firing keeps no memories of joins: with one fact of a name, the
 * memory of a join is whether all its atoms are true.
 */
#ifndef SF_NETWORK_H
#define SF_NETWORK_H

#include "postgres.h"

#include "ruleset.h"

typedef struct SfNode
{
	int			atom;			/* alpha: its number; -1: beta */
	int			left;			/* beta: nodes that it joins */
	int			right;
	int			nrules;			/* whose chains go through it */
} SfNode;

typedef struct SfNetwork
{
	int			nnodes;
	SfNode	   *nodes;			/* in the order in which they are made */
	int		   *node_of_atom;	/* or -1 */
	int		   *terminals;		/* by rule of set->rules: its last node; -1: no condition */
} SfNetwork;

/* all rules, members of groups too, in the order of firing */
extern SfRule **sf_network_rules(SfRuleSet *set, int *nrules);

extern SfNetwork *sf_network_make(SfRuleSet *set);

/* A, B, ... Z, AA, AB, ... */
extern char *sf_network_letters(int node);

#endif							/* SF_NETWORK_H */
