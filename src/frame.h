/*
 * frame.h
 *	  The typed facts of a rule set as one flat row that its expressions read.
 *
 * A name in an expression becomes a slot when it is first seen: a field of a
 * fact, a fact as a whole, a path into a jsonb fact, a parameter, a quota.  A
 * slot is a column of the row, a Var to the planner.  Filling copies the
 * referenced fields only; looked-up facts, quotas and overridden parameters
 * are filled when an expression that reads them is reached.
 */
#ifndef SF_FRAME_H
#define SF_FRAME_H

#include "postgres.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "nodes/params.h"
#include "parser/parse_node.h"
#include "utils/jsonb.h"

#include "expr.h"

typedef enum SfSlotKind
{
	SF_SLOT_FIELD,				/* column of a composite fact */
	SF_SLOT_WHOLE,				/* a fact itself */
	SF_SLOT_PATH,				/* path into a jsonb fact, of type jsonb; NULL: no such key */
	SF_SLOT_PARAM,
	SF_SLOT_QUOTA
} SfSlotKind;

typedef struct SfSlot
{
	SfSlotKind	kind;
	int			index;			/* of the fact, parameter or quota */
	AttrNumber	attnum;			/* FIELD */
	char	  **path;			/* PATH */
	int			npath;
	char	   *name;			/* as written: new.owner_id, param.max_hold, held */
	Oid			type;
	int32		typmod;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	bool		lazy;			/* filled when reached */
	bool		filled;			/* in this firing */
	uint64		changed_at;		/* frame->changes when a rule last changed it; 0: not */
	SfOutput	output;
} SfSlot;

typedef enum SfFactState
{
	SF_FACT_MISSING,			/* not given, and not looked up yet */
	SF_FACT_GIVEN
} SfFactState;

typedef struct SfFact
{
	char	   *name;
	Oid			type;
	Oid			relid;			/* composite: the relation of its type */
	bool		is_json;
	bool		null_missing;	/* jsonb: an absent key is null, not an error */
	char	   *query;			/* NULL: the caller gives it */
	void	   *lookup;			/* the compiled query, of ruleset.c */
	TupleDesc	desc;			/* composite: layout that slots were resolved against */
	int		   *field_slots;	/* composite: slot by attnum - 1, or -1 */
	int			whole_slot;		/* or -1 */
	Bitmapset  *path_slots;		/* jsonb */
	/* of this firing */
	SfFactState state;
	bool		changed;		/* a rule set a field of it */
	bool		isnull;
	Datum		value;			/* GIVEN: the fact as it was given, if `whole` */
	bool		whole;			/* value is valid (else only fields were given) */
	Jsonb	   *json;			/* jsonb: as it stands */
	SfOutput	output;
} SfFact;

/* what resolves names that are not facts; ruleset.c */
typedef struct SfFrame SfFrame;
typedef bool (*SfNameFn) (SfFrame *frame, SfSlotKind kind, const char *name,
						  int *index, Oid *type, bool *lazy);

struct SfFrame
{
	MemoryContext context;		/* of the slots */
	int			nfacts;
	SfFact	   *facts;
	int			nslots;
	int			maxslots;
	SfSlot	   *slots;
	SfNameFn	resolve;		/* parameters and quotas */
	void	   *owner;			/* whose frame it is, for `resolve` */
	TupleTableSlot *row;		/* the flat row, once sealed */
	uint64		changes;		/* counts changes by rules in this firing */
	MemoryContext work;			/* what values of this firing live in */
};

extern SfFrame *sf_frame_make(MemoryContext context, SfNameFn resolve, void *owner);
extern void sf_frame_add_fact(SfFrame *frame, const char *name, Oid type, const char *query,
							  bool null_missing);
extern SfFact *sf_frame_fact(SfFrame *frame, const char *name);

/*
 * Text -> analysed expression over the frame.  `target` is the type to coerce
 * to (assignment; InvalidOid: whatever it is); BOOLOID for conditions.
 * Refuses sub-queries, aggregates, windows, set-returning functions, and
 * volatile functions unless `volatile_ok`.  Errors point into the text.
 */
extern Node *sf_frame_parse(SfFrame *frame, const char *text, const char *what,
							Oid target, int32 typmod, bool volatile_ok);

/* hooks that let a query read slots as $n parameters; p_ref_hook_state is an SfFrameReader */
typedef struct SfFrameReader
{
	SfFrame    *frame;
	Bitmapset  *reads;			/* slots that were resolved */
	int			below;			/* only facts of a lower number; -1: all */
} SfFrameReader;

extern void sf_frame_setup_parser(ParseState *pstate, void *reader);

/* the slot that a name like fact.field stands for, made if need be; for `set` */
extern int	sf_frame_target(SfFrame *frame, const char *name);

/* no more slots: make the flat row */
extern void sf_frame_seal(SfFrame *frame);

/* slots that an expression reads */
extern Bitmapset *sf_frame_reads(Node *expr);

/* ---- a firing ---- */

/* forget all values */
extern void sf_frame_begin(SfFrame *frame, MemoryContext work);

/* give facts; map: attribute numbers of the row by those of the fact, or NULL */
extern void sf_frame_give_slot(SfFrame *frame, int fact, TupleTableSlot *row,
							   const AttrNumber *map);
extern void sf_frame_give_datum(SfFrame *frame, int fact, Datum value, bool isnull);
extern void sf_frame_give_json(SfFrame *frame, int fact, JsonbValue *value);

/* fill a parameter or quota */
extern void sf_frame_fill(SfFrame *frame, int slot, Datum value, bool isnull);

/*
 * A rule sets a slot: false when that is what it was.  The slots that changed
 * (a whole fact, other paths) are added to *changed.
 */
extern bool sf_frame_set(SfFrame *frame, int slot, Datum value, bool isnull,
						 Bitmapset **changed);

/* the facts as jsonb: all that are known, or only what rules changed */
extern void sf_frame_push_json(SfFrame *frame, JsonbParseState **state, bool only_changed);

/* "name = value, ..." of the slots, for messages; values are cut short */
extern char *sf_frame_describe(SfFrame *frame, const Bitmapset *slots);

/* values of all slots as query parameters */
extern ParamListInfo sf_frame_params(SfFrame *frame);

/* keep and put back all values: for rules whose actions fail */
typedef struct SfFrameState
{
	Datum	   *values;
	bool	   *nulls;
	SfSlot	   *slots;
	SfFact	   *facts;
} SfFrameState;

extern SfFrameState *sf_frame_save(SfFrame *frame);
extern void sf_frame_restore(SfFrame *frame, const SfFrameState *state);

#endif							/* SF_FRAME_H */
