/*
 * network.c
 *	  The Rete network that a rule set amounts to: atoms and joins of atoms.
 *
 * Rules are added in the order of firing, the atoms of each in the order of its
 * text.  An atom, or a join of the same two nodes, that is there already is
 * used again.
 */
#include "postgres.h"

#include "utils/hsearch.h"

#include "network.h"

typedef struct SfJoinKey
{
	int			left;
	int			right;
} SfJoinKey;

typedef struct SfJoin
{
	SfJoinKey	key;
	int			node;
} SfJoin;

static void
add_rules(const SfItem *items, int nitems, SfRule **rules, int *nrules)
{
	for (int i = 0; i < nitems; i++)
	{
		if (items[i].rule != NULL)
			rules[(*nrules)++] = items[i].rule;
		else
			add_rules(items[i].group->items, items[i].group->nitems, rules, nrules);
	}
}

SfRule **
sf_network_rules(SfRuleSet *set, int *nrules)
{
	SfRule	  **rules = palloc((set->nrules + 1) * sizeof(SfRule *));

	*nrules = 0;
	add_rules(set->items, set->nitems, rules, nrules);
	return rules;
}

static int
add_node(SfNetwork *network, int atom, int left, int right)
{
	SfNode	   *node = &network->nodes[network->nnodes];

	node->atom = atom;
	node->left = left;
	node->right = right;
	node->nrules = 0;
	return network->nnodes++;
}

/* the node of an atom */
static int
alpha(SfNetwork *network, int atom)
{
	if (network->node_of_atom[atom] < 0)
		network->node_of_atom[atom] = add_node(network, atom, -1, -1);
	return network->node_of_atom[atom];
}

static int
beta(SfNetwork *network, HTAB *joins, int left, int right)
{
	SfJoinKey	key = {left, right};
	bool		found;
	SfJoin	   *join = hash_search(joins, &key, HASH_ENTER, &found);

	if (!found)
		join->node = add_node(network, -1, left, right);
	return join->node;
}

static bool
has_before(const SfRule *rule, int n)
{
	for (int i = 0; i < n; i++)
		if (rule->atoms[i] == rule->atoms[n])
			return true;
	return false;
}

SfNetwork *
sf_network_make(SfRuleSet *set)
{
	SfNetwork  *network = palloc0(sizeof(SfNetwork));
	HASHCTL		ctl = {.keysize = sizeof(SfJoinKey), .entrysize = sizeof(SfJoin)};
	HTAB	   *joins;
	int			nrules;
	SfRule	  **rules = sf_network_rules(set, &nrules);
	int			most = 1;

	for (int i = 0; i < nrules; i++)
		most += 2 * rules[i]->natoms;
	network->nodes = palloc(most * sizeof(SfNode));
	network->node_of_atom = palloc((set->match->natoms + 1) * sizeof(int));
	for (int i = 0; i < set->match->natoms; i++)
		network->node_of_atom[i] = -1;
	network->terminals = palloc((set->nrules + 1) * sizeof(int));
	ctl.hcxt = CurrentMemoryContext;
	joins = hash_create("joins of rules", most, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < nrules; i++)
	{
		int			last = -1;

		for (int n = 0; n < rules[i]->natoms; n++)
		{
			int			node;

			if (has_before(rules[i], n))
				continue;
			node = alpha(network, rules[i]->atoms[n]);
			network->nodes[node].nrules++;
			if (last < 0)
			{
				last = node;
				continue;
			}
			last = beta(network, joins, last, node);
			network->nodes[last].nrules++;
		}
		network->terminals[rules[i] - set->rules] = last;
	}
	hash_destroy(joins);
	return network;
}

char *
sf_network_letters(int node)
{
	char		letters[16];
	int			n = lengthof(letters);

	letters[--n] = '\0';
	for (int left = node + 1; left > 0; left = (left - 1) / 26)
		letters[--n] = 'A' + (left - 1) % 26;
	return pstrdup(letters + n);
}
