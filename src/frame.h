/*
 * frame.h
 *	  The typed facts of a rule set as one flat row that its expressions read.
 *
 * A name in an expression becomes a slot when it is first seen: a field of a
 * fact, a fact as a whole, a typed path into a jsonb fact, a parameter, a
 * quota.  A slot is a column of the row, a Var to the planner.  Filling copies
 * the referenced fields only; looked-up facts, quotas and overridden
 * parameters are filled when an expression that reads them is reached.
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
	SF_SLOT_PATH,				/* path into a jsonb fact, as a value of some type */
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

typedef struct SfFact
{
	char	   *name;
	Oid			type;
	Oid			relid;			/* composite: the relation of its type; else InvalidOid */
	bool		is_json;
	bool		null_missing;	/* jsonb: an absent key is null, not an error */
	char	   *query;			/* NULL: the caller gives it */
	struct SfQuery *lookup;		/* the compiled query */
	TupleDesc	desc;			/* composite: layout that slots were resolved against */
	int		   *field_slots;	/* composite: slot by attnum - 1, or -1 */
	int			whole_slot;		/* or -1 */
	AttrNumber	max_attnum;		/* greatest column that is a slot */
	Bitmapset  *path_slots;		/* jsonb */
	Datum	   *values;			/* composite: room for a row */
	bool	   *nulls;
	SfOutput	output;
	FmgrInfo	populate;		/* jsonb_populate_record, once it was needed */
	/* of this firing */
	bool		given;			/* by the caller or its query */
	bool		changed;		/* a rule set a field of it */
	bool		isnull;
	bool		has_value;		/* `value` is the fact as it stands */
	Datum		value;
	TupleTableSlot *row;		/* where it came from as a row of a trigger, or NULL */
	const AttrNumber *map;		/* columns of `row` by those of the fact; NULL: the same */
} SfFact;

/* resolves a parameter or quota by name; of ruleset.c */
typedef struct SfFrame SfFrame;
typedef bool (*SfNameFn)(SfFrame *frame, SfSlotKind kind, const char *name,
						  int *index, Oid *type, bool *lazy);

struct SfFrame
{
	MemoryContext context;		/* of the slots */
	int			nfacts;
	int			maxfacts;
	SfFact	   *facts;
	int			nslots;
	int			maxslots;
	SfSlot	   *slots;
	SfNameFn	resolve;
	void	   *owner;			/* whose frame it is, for `resolve` */
	const char *noun;			/* what that is, for messages */
	TupleTableSlot *row;		/* the flat row, once sealed */
	uint64		changes;		/* counts changes by rules in this firing */
	bool		incomplete;		/* in this firing: a fact without a query was not given */
	MemoryContext work;			/* what values of this firing live in */
};

extern SfFrame *sf_frame_make(MemoryContext context, SfNameFn resolve, void *owner);

/* an error when the type is no type of a fact */
extern SfFact *sf_frame_add_fact(SfFrame *frame, const char *name, Oid type, const char *query,
								 bool null_missing);
extern SfFact *sf_frame_fact(SfFrame *frame, const char *name);

/* names of the facts that a caller has to give, for messages */
extern char *sf_frame_fact_names(SfFrame *frame);

/*
 * Text -> analysed expression over the frame, coerced to `target` (by
 * assignment; InvalidOid: as it is).  Refuses sub-queries, aggregates, windows,
 * set-returning functions, and volatile functions unless volatile_ok.  Errors
 * point into the text and have `what` as context.
 */
extern Node *sf_frame_parse(SfFrame *frame, const char *text, const char *what,
							Oid target, int32 typmod, bool volatile_ok);

/*
 * A reader lets a query name slots, which are its $n parameters; see
 * ParserSetupHook.
 */
typedef struct SfFrameReader
{
	SfFrame    *frame;
	Bitmapset  *reads;			/* slots that were named */
	int			below;			/* only facts of a lower number */
} SfFrameReader;

extern void sf_frame_setup_parser(ParseState *pstate, void *reader);

/* the slot that `fact.field` stands for, as the target of `set` */
extern int	sf_frame_target(SfFrame *frame, const char *name);

/* no more slots: make the flat row */
extern void sf_frame_seal(SfFrame *frame);

/* slots that an expression reads */
extern Bitmapset *sf_frame_reads(Node *expr);

/* ---- a firing ---- */

/* forget all values, save those of parameters without overrides */
extern void sf_frame_begin(SfFrame *frame, MemoryContext work);

/* whether a row of such columns, or its one column, is a value of the fact */
extern bool sf_frame_fits(const SfFact *fact, TupleDesc desc);

/* give facts; map: columns of the row by those of the fact, NULL: the same */
extern void sf_frame_give_row(SfFrame *frame, SfFact *fact, TupleTableSlot *row,
							  const AttrNumber *map);
extern void sf_frame_give_value(SfFrame *frame, SfFact *fact, Datum value, bool isnull);
extern void sf_frame_give_json(SfFrame *frame, SfFact *fact, Jsonb *json);

/* the fact as it stands; not meaningful where it is null */
extern Datum sf_frame_fact_value(SfFrame *frame, SfFact *fact);

/* fill a slot by hand; the value is not copied */
static inline void
sf_frame_fill(SfFrame *frame, int slot, Datum value, bool isnull)
{
	frame->row->tts_values[slot] = value;
	frame->row->tts_isnull[slot] = isnull;
	frame->slots[slot].filled = true;
}

/*
 * A path slot that sf_frame_give_* left open because its key is missing or its
 * value is not of the type: fill it or say what is wrong.
 */
extern void sf_frame_fill_path(SfFrame *frame, int slot);

/*
 * A rule sets a slot: adds the slots that changed to *changed (also a whole
 * fact, other paths); none where that is the value that it had.
 */
extern void sf_frame_set(SfFrame *frame, int slot, Datum value, bool isnull,
						 Bitmapset **changed);

/* the facts as an object: all that are known, or only those that rules changed */
extern void sf_frame_push_json(SfFrame *frame, JsonbParseState **state, bool only_changed);

/* "name = value, ..." of the slots, for people; long values are cut short */
extern char *sf_frame_describe(SfFrame *frame, const Bitmapset *slots);

/* the same without looking into any catalog, for use after an error */
extern char *sf_frame_describe_plain(SfFrame *frame, const Bitmapset *slots);

/* values of all slots as query parameters */
extern ParamListInfo sf_frame_params(SfFrame *frame);

/* keep all values, and put them back: for rules whose actions fail */
typedef struct SfFrameState
{
	Datum	   *values;
	bool	   *nulls;
	SfSlot	   *slots;
	SfFact	   *facts;
	uint64		changes;
} SfFrameState;

extern SfFrameState *sf_frame_save(SfFrame *frame);
extern void sf_frame_restore(SfFrame *frame, const SfFrameState *state);

#endif							/* SF_FRAME_H */
