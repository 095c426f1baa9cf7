/*
 * definition.h
 *	  SOPs and their versions as compiled and cached by each session.
 */
#ifndef SF_DEFINITION_H
#define SF_DEFINITION_H

#include "postgres.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

typedef enum SfNodeType
{
	SF_NODE_DELAY,
	SF_NODE_CONDITION,
	SF_NODE_WAIT,
	SF_NODE_SOP,
	SF_NODE_END,
	SF_NODE_UNKNOWN				/* in drafts only */
} SfNodeType;

/* a way out of a node that next and otherwise cannot say */
typedef struct SfLink
{
	char	   *from_id;
	char	   *to_id;
	int			from;			/* indexes of these nodes; -1 in drafts: none such */
	int			to;
	char	   *condition;		/* NULL: always */
} SfLink;

typedef struct SfNode
{
	char	   *node_id;
	SfNodeType	type;
	char	   *type_name;
	Interval	delay;
	char	   *action;			/* NULL: none */
	Jsonb	   *params;
	bool		templated;		/* params have expressions in them */
	char	   *next_id;		/* node that follows; NULL: none */
	int			next;			/* its index, -1: none */
	char	   *otherwise_id;
	int			otherwise;
	char	   *condition;
	char	   *condition_rules;
	char	   *wait_event;
	char	   *sop_ref;
	int			max_attempts;	/* 0: the action's */
	bool		go_on;			/* on_failure = 'continue' */
	int			first_link;		/* of SfVersion.links, -1: none */
	int			nlinks;
	int			nins;			/* edges that lead here */
} SfNode;

typedef enum SfReentry
{
	SF_REENTRY_IGNORE,
	SF_REENTRY_RESTART,
	SF_REENTRY_ALLOW
} SfReentry;

/* one immutable version */
typedef struct SfVersion
{
	int32		version_id;		/* hash key, must be first */
	char	   *sop_id;
	int			version;
	char	   *trigger_event;
	bool		parallel;
	bool		from_previous;	/* delay_from = 'previous' */
	SfReentry	reentry;
	bool		can_skip;		/* skip_late_after is not null */
	Interval	skip_late_after;
	List	   *exit_events;	/* of char * */
	int			max_steps;
	char	   *calendar;		/* NULL: none */
	char	   *zone_column;	/* NULL: none */
	char	   *search_path;	/* NULL: there is no text that needs it */
	int			nnodes;
	SfNode	   *nodes;
	int			nlinks;
	SfLink	   *links;			/* those of a node together, in their order */
	bool		scripted;		/* there are expressions in it, or it names rule sets */
	bool		branches;		/* a run may have several tasks at a time in a graph */
	bool		joins;			/* several edges lead to some node */
	bool		waits;			/* some node waits for an event */
	bool		calls_sops;		/* some node runs another SOP */
	Bitmapset **reached_from;	/* by node: see sf_definition_reaches */
} SfVersion;

/* an SOP as it stands: its live columns and its newest version */
typedef struct SfSop
{
	char	   *sop_id;
	bool		enabled;
	bool		paused;
	Oid			owner;
	Oid			subject_relation;	/* InvalidOid: none */
	char	   *subject_key;
	int32		version_id;		/* 0: it never passed the check */
	char	   *trigger_event;
} SfSop;

extern void sf_definition_init(void);

/* where an event leads */
typedef struct SfEventUse
{
	List	   *starts;			/* of SfSop *: enabled SOPs that it starts */
	List	   *exits;			/* of char *: SOPs some version of which it ends */
	List	   *waits;			/* of char *: SOPs some version of which waits for it */
} SfEventUse;

/*
 * What the functions of this file return belongs to the cache and stays until
 * the transaction ends at least.
 */
extern const SfEventUse *sf_definition_event(const char *event);

/* the SOP, or NULL */
extern SfSop *sf_definition_sop(const char *sop_id);

/* the version; an error when there is none */
extern SfVersion *sf_definition_version(int32 version_id);

/*
 * A version from its jsonb, in the current memory context.  Of a draft, names
 * of nodes that do not exist have the index -1.
 */
extern SfVersion *sf_definition_read(const char *sop_id, Jsonb *definition);

/*
 * Nodes that edges lead to from this one, in order and without those that are
 * not there: next, otherwise, links.  Room for 2 + nlinks; returns how many.
 */
extern int	sf_definition_ways(const SfVersion *version, int node, int *ways);

/* whether a path of one edge or more leads from one node to the other */
extern bool sf_definition_reaches(SfVersion *version, int from, int to);

/* due time of a node: base + delay, counting days as 24 hours and months in UTC */
extern TimestampTz sf_definition_due(TimestampTz base, const Interval *delay);

/* definitions changed: tell all sessions when this transaction commits */
extern void sf_definition_changed(void);

#endif							/* SF_DEFINITION_H */
