/*
 * definition.h
 *	  SOPs and their versions as compiled and cached by each session.
 */
#ifndef SF_DEFINITION_H
#define SF_DEFINITION_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

typedef struct SfNode
{
	char	   *node_id;
	bool		is_end;
	Interval	delay;
	char	   *action;			/* NULL: none */
	Jsonb	   *params;
	char	   *next_id;		/* node that follows; NULL: none */
	int			next;			/* its index, -1: none */
	int			max_attempts;	/* 0: the action's */
	bool		go_on;			/* on_failure = 'continue' */
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
	int			nnodes;
	SfNode	   *nodes;
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

/*
 * Where an event leads: enabled SOPs that it starts, and ids of SOPs some
 * version of which it ends.  What the functions of this file return belongs to
 * the cache and stays until the transaction ends at least.
 */
extern void sf_definition_event(const char *event, List **starts, List **exits);

/* the SOP, or NULL */
extern SfSop *sf_definition_sop(const char *sop_id);

/* the version; an error when there is none */
extern SfVersion *sf_definition_version(int32 version_id);

/* due time of a node: base + delay, counting days as 24 hours and months in UTC */
extern TimestampTz sf_definition_due(TimestampTz base, const Interval *delay);

/* definitions changed: tell all sessions when this transaction commits */
extern void sf_definition_changed(void);

#endif							/* SF_DEFINITION_H */
