/*
 * ruleset.h
 *	  Rule sets as compiled and cached by each session.
 */
#ifndef SF_RULESET_H
#define SF_RULESET_H

#include "postgres.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/plancache.h"
#include "utils/rangetypes.h"

#include "frame.h"
#include "ident.h"
#include "match.h"
#include "path.h"
#include "template.h"

/* a compiled value: an expression over the frame */
typedef struct SfValue
{
	Expr	   *expr;			/* planned */
	ExprState  *state;			/* made on first use */
	Oid			type;
	Bitmapset  *reads;
	bool		lazy;			/* reads slots that are filled when reached */
	char	   *text;
	SfOutput	output;
} SfValue;

/* literal text, or a value and what stands for a null */
typedef struct SfTextPart
{
	char	   *literal;		/* NULL: value */
	SfValue    *value;
	char	   *otherwise;		/* NULL: nothing */
} SfTextPart;

/* text with {{expressions}} */
typedef struct SfText
{
	int			nparts;
	SfTextPart *parts;
} SfText;

/* jsonb whose strings are such texts */
typedef struct SfJsonText
{
	Jsonb	   *json;
	int			ntexts;			/* strings of json, in its order */
	SfText	  **texts;			/* NULL: as it is */
} SfJsonText;

typedef enum SfRuleActionKind
{
	SF_DO_DENY,
	SF_DO_MESSAGE,
	SF_DO_SET,
	SF_DO_RESULT,
	SF_DO_EMIT,
	SF_DO_CALL
} SfRuleActionKind;

typedef struct SfRuleAction
{
	SfRuleActionKind kind;
	SfText	   *text;			/* DENY, MESSAGE */
	char	   *code;			/* DENY, MESSAGE; NULL: none */
	int			nassigns;		/* SET */
	int		   *targets;		/* slots */
	SfValue   **values;
	SfJsonText *result;			/* RESULT */
	char	   *event;			/* EMIT */
	SfValue    *subject;
	SfJsonText *event_context;	/* or NULL */
	SfValue    *at;				/* when it happened; NULL: now */
	char	   *function;		/* CALL: its name */
	Oid			function_oid;
	FmgrInfo	function_fn;
} SfRuleAction;

typedef struct SfRule
{
	char	   *name;
	int			rule_id;
	int			priority;
	char	   *condition;		/* its text */
	int			natoms;			/* all of them must be true */
	int		   *atoms;			/* in the order of the text */
	Bitmapset  *reads;			/* by the condition */
	int			nactions;
	SfRuleAction *actions;
	Jsonb	   *action_json;	/* as written */
	RangeType  *valid;			/* NULL: always */
	/* of this firing */
	bool		fired;
	uint64		fired_at;		/* frame->changes before its actions */
	/* since last handed on to shared memory */
	uint32		evaluated;
	uint32		triggered;
	uint32		denied;
	uint32		failed;
	bool		counted;		/* it is on the list of those with counts */
} SfRule;

typedef enum SfGroupKind
{
	SF_GROUP_UNIT,
	SF_GROUP_ACTIVATION,
	SF_GROUP_CONDITIONAL,
	SF_GROUP_UNIQUE,
	SF_GROUP_ANY,
	SF_GROUP_COLLECT
} SfGroupKind;

/* a rule or a group, in the order of firing */
typedef struct SfItem
{
	SfRule	   *rule;			/* NULL: a group */
	struct SfGroup *group;
	int			priority;
	const char *name;
	int64		seq;
} SfItem;

typedef struct SfGroup
{
	char	   *name;
	SfGroupKind kind;
	int			priority;
	char	   *parent;			/* NULL: none */
	int			nitems;
	SfItem	   *items;
	SfWalk	   *walk;			/* over them */
	/* of this firing */
	int			nchosen;
	SfItem	  **chosen;			/* members that are to be carried out */
} SfGroup;

typedef enum SfHook
{
	SF_HOOK_BEFORE_FIRE,
	SF_HOOK_AFTER_FIRE,
	SF_HOOK_BEFORE_EVALUATE,
	SF_HOOK_AFTER_EVALUATE,
	SF_HOOK_ON_SUCCESS,
	SF_HOOK_ON_FAILURE,
	SF_HOOKS
} SfHook;

typedef enum SfTrace
{
	SF_TRACE_OFF,
	SF_TRACE_FIRED,
	SF_TRACE_FULL
} SfTrace;

typedef struct SfOverride
{
	char	   *scope;
	Datum		value;
	bool		isnull;
} SfOverride;

typedef struct SfParam
{
	char	   *name;
	Oid			type;
	int16		typlen;
	bool		typbyval;
	Datum		value;
	bool		isnull;
	int			noverrides;
	SfOverride *overrides;
	int			slot;			/* or -1 */
} SfParam;

typedef struct SfQuota
{
	char	   *name;
	Oid			type;
	char	   *query;
	char	   *key_text;
	SfValue    *key;
	struct SfQuery *plan;
	int			slot;			/* or -1 */
} SfQuota;

/* a prepared query over the frame */
typedef struct SfQuery
{
	struct _SPI_plan *plan;
	SfFrameReader reader;
} SfQuery;

typedef struct SfRuleSet
{
	char	   *name;
	int64		revision;
	int64		param_revision;
	bool		enabled;
	Oid			owner;
	SfPath		path;			/* under which its texts are read */
	bool		skip_applied;
	bool		skip_failed;
	bool		skip_non_triggered;
	int			threshold;
	bool		all_denials;
	bool		abort_on_error;
	bool		inference;
	int			max_steps;
	SfTrace		trace;
	char	   *order_by;		/* as written; items are in this order */
	bool		has_ranges;		/* some rule has `valid` */
	char	   *hooks[SF_HOOKS];	/* NULL: none */
	Oid			hook_oids[SF_HOOKS];
	FmgrInfo	hook_fns[SF_HOOKS];
	bool		has_hooks;
	SfFrame    *frame;
	int			nparams;
	SfParam    *params;
	int			nscopes;
	SfValue   **scopes;
	int			nquotas;
	SfQuota    *quotas;
	int			nrules;
	SfRule	   *rules;
	int			ngroups;
	SfGroup    *groups;
	int			nitems;			/* of the top level */
	SfItem	   *items;
	SfWalk	   *walk;			/* over them */
	SfMatch    *match;			/* atoms and what is known of them */
	List	   *grantees;		/* OIDs of roles that may fire it */
	bool		needs_path;		/* evaluate under search_path: a user's code is part of it */
	CachedExpression *expressions;	/* of all texts; NULL: there are none */
	List	   *plans;			/* of queries */
	ExprContext *econtext;
	MemoryContext context;		/* all of the above */
	MemoryContext work;			/* of a firing */
	MemoryContextCallback cleanup;
	MemoryContext params_context;	/* values of parameters */
	List	   *types;			/* OIDs of types of users that its values are of */
	int			ntype_hashes;
	uint32	   *type_hashes;	/* syscache hashes of these, and of facts and parameters */
	struct SfSetEntry *entry;	/* of the cache */
	bool		null_is_error;	/* in texts, where no default is given */
	void	   *script;			/* what a set made otherwise is for; NULL: its rules */
	bool		in_use;
	SubTransactionId use_subid;
	List	   *counted;		/* rules with counts to hand on */
	List	   *bindings;		/* to the relations of triggers, of enforce */
} SfRuleSet;

extern void sf_ruleset_init(void);

/*
 * The rule set as of the start of this top-level statement, own changes
 * included; an error where there is none, or it does not compile, or its owner
 * is gone, or `role`, if it is one, may not fire it.  It stays until sets are
 * forgotten, or until it is used no more.  One that is in use is passed by:
 * another is compiled.
 */
extern SfRuleSet *sf_ruleset_get(const char *name, Oid role);

/*
 * A set that comes from elsewhere, made by `make` in its own context and kept
 * under a key that is no name of a rule set: 201 characters or more.
 * is_current tells whether one that was made still is what it would be.
 */
typedef struct SfRuleSetMaker
{
	SfRuleSet  *(*make)(void *arg, MemoryContext parent);
	bool		(*is_current)(SfRuleSet *set, void *arg);
} SfRuleSetMaker;

extern SfRuleSet *sf_ruleset_made(const char *key, const SfRuleSetMaker *maker, void *arg);

/*
 * Rises when sets are forgotten: one that was got at another count, or in
 * another transaction, may not be there any more.
 */
extern uint64 sf_ruleset_forgotten(void);

/* whether a set that is there is what sf_ruleset_get would return */
extern bool sf_ruleset_is_current(SfRuleSet *set);

/* at work, and no more; any rollback over the beginning ends it too */
extern void sf_ruleset_use(SfRuleSet *set);
extern void sf_ruleset_unuse(SfRuleSet *set);

/* the rule has counts that are to be handed on when the transaction ends */
extern void sf_ruleset_count(SfRuleSet *set, SfRule *rule);

/* an error unless the role may fire the set */
extern void sf_ruleset_demand_right(SfRuleSet *set, Oid role);

/* definitions of rule sets changed: tell all sessions when this transaction commits */
extern void sf_ruleset_changed(void);

/* compile the set from what is stored now: an error where it is not valid */
extern void sf_ruleset_check(const char *name);

/* of SfRuleFault: everything that is wrong with it, and its owner */
typedef struct SfRuleFault
{
	char	   *rule;			/* NULL: the set itself */
	const char *column;
	char	   *message;
	char	   *query;			/* the text that it is in, or NULL, and the place there */
	int			position;
} SfRuleFault;

extern List *sf_ruleset_faults(const char *name, Oid *owner);

/* become the owner, restricted, under the set's search_path where it matters */
typedef struct SfRuleScope
{
	SfIdentity	saved;
	int			nest;
} SfRuleScope;

extern void sf_ruleset_enter(SfRuleSet *set, SfRuleScope *scope);
extern void sf_ruleset_leave(SfRuleScope *scope);

/*
 * Values, inside sf_ruleset_enter; slots that they read are filled first.
 * Results live as long as the firing, or the slots they come from.
 */
extern void sf_ruleset_fill(SfRuleSet *set, const Bitmapset *slots);

/*
 * What was found out about slots that have changed since is found out anew when
 * it is next reached: quotas, and parameters by scope.
 */
extern void sf_ruleset_forget(SfRuleSet *set, const Bitmapset *changed);

/* quotas that are counted, and to forget all others: their locks are gone */
extern Bitmapset *sf_ruleset_counted(SfRuleSet *set);
extern void sf_ruleset_keep_counted(SfRuleSet *set, const Bitmapset *counted);

extern Datum sf_ruleset_value(SfRuleSet *set, SfValue *value, bool *isnull);
extern char *sf_ruleset_text(SfRuleSet *set, SfText *text);
extern Jsonb *sf_ruleset_json(SfRuleSet *set, SfJsonText *text);

#endif							/* SF_RULESET_H */
