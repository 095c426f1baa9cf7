/*
 * prove.c
 *	  Backward chaining: from a goal to the rules that give it, and their proof.
 *
 * Depth first.  What an expression reads and no fact gives is proved before the
 * expression is evaluated: by the first rule, in the order of firing, that sets
 * it and whose condition is true.  What such a rule sets is set in the frame,
 * as if it had fired.  Each rule is taken for itself, whatever its group is.
 *
 * A field whose proof needs itself is cut off.  A field that could not be
 * proved is not tried again until a rule has set something, unless its failure
 * came from such a cut, which another path to it may not have.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "attempt.h"
#include "deparse.h"
#include "errors.h"
#include "fire.h"
#include "network.h"
#include "prove.h"

typedef struct SfProof
{
	const char *goal;
	Jsonb	   *value;			/* NULL: none */
	const char *by;
	SfRule	   *rule;			/* by which, or NULL */
	const char *why;			/* not, or NULL */
	bool		again;			/* told elsewhere in the proof */
	List	   *because;		/* of SfProof * */
	List	   *tried;			/* of SfTrial * */
} SfProof;

/* a rule that did not help */
typedef struct SfTrial
{
	SfRule	   *rule;
	const char *why;
	List	   *because;
} SfTrial;

/* what is being proved at a depth, and the rule that is tried for it */
typedef struct SfStep
{
	int			slot;
	SfRule	   *rule;			/* or NULL */
} SfStep;

typedef struct SfProver
{
	SfRuleSet  *set;
	SfFrame    *frame;
	int			nrules;
	SfRule	  **rules;			/* in the order of firing */
	const char **left_out;		/* by rule of set->rules: why it cannot fire; NULL: it can */
	int		   *field;			/* by slot: the first slot of the same field, of whatever type */
	bool	   *has_setters;	/* by slot: the next is known */
	List	  **setters;		/* by slot: see setters_of */
	int			steps;
	uint64		version;		/* of the frame: raised when rules set something */
	SfRule	  **set_by;			/* by slot: the rule that set it, or NULL */
	uint64	   *failed_at;		/* by field: version + 1 in which its proof failed; 0: never */
	int			depth;
	int			maxdepth;
	SfStep	   *path;
	int			cut;			/* least depth that a cut in this proof refers to */
} SfProver;

#define NO_CUT	INT_MAX

static SfProof *prove_slot(SfProver *p, int slot);

/* --- which rules set what --- */

static bool
is_prefix(const SfSlot *a, const SfSlot *b)
{
	if (a->npath > b->npath)
		return false;
	for (int i = 0; i < a->npath; i++)
		if (strcmp(a->path[i], b->path[i]) != 0)
			return false;
	return true;
}

/* whether setting one slot may change another */
static bool
affects(const SfSlot *target, const SfSlot *slot)
{
	if (slot->kind == SF_SLOT_PARAM || slot->kind == SF_SLOT_QUOTA ||
		target->index != slot->index)
		return false;
	if (target->kind == SF_SLOT_FIELD && slot->kind == SF_SLOT_FIELD)
		return target->attnum == slot->attnum;
	if (target->kind == SF_SLOT_PATH && slot->kind == SF_SLOT_PATH)
		return is_prefix(target, slot) || is_prefix(slot, target);
	return true;
}

/* one key of a jsonb fact may be several slots, each of a type of its own */
static void
find_fields(SfProver *p)
{
	p->field = palloc((p->frame->nslots + 1) * sizeof(int));
	for (int slot = 0; slot < p->frame->nslots; slot++)
	{
		SfSlot	   *s = &p->frame->slots[slot];

		p->field[slot] = slot;
		for (int i = 0; s->kind == SF_SLOT_PATH && i < slot; i++)
		{
			SfSlot	   *other = &p->frame->slots[i];

			if (other->kind != SF_SLOT_PATH || other->index != s->index ||
				other->npath != s->npath || !is_prefix(other, s))
				continue;
			p->field[slot] = i;
			break;
		}
	}
}

static bool
rule_sets(SfProver *p, const SfRule *rule, const SfSlot *slot)
{
	for (int i = 0; i < rule->nactions; i++)
	{
		const SfRuleAction *action = &rule->actions[i];

		if (action->kind != SF_DO_SET)
			continue;
		for (int n = 0; n < action->nassigns; n++)
			if (affects(&p->frame->slots[action->targets[n]], slot))
				return true;
	}
	return false;
}

/* numbers of the rules that set a slot, in the order of firing */
static List *
setters_of(SfProver *p, int slot)
{
	if (p->has_setters[slot])
		return p->setters[slot];
	p->has_setters[slot] = true;
	for (int i = 0; i < p->nrules; i++)
		if (rule_sets(p, p->rules[i], &p->frame->slots[slot]))
			p->setters[slot] = lappend_int(p->setters[slot], i);
	return p->setters[slot];
}

/* rules that would not fire, whatever their conditions are */
static void
find_left_out(SfProver *p, const SfItem *items, int nitems, const char *outer)
{
	for (int i = 0; i < nitems; i++)
	{
		const char *why = outer;

		if (why == NULL && items[i].priority > p->set->threshold)
			why = "over the priority threshold";
		if (items[i].rule == NULL)
			find_left_out(p, items[i].group->items, items[i].group->nitems, why);
		else if (why == NULL && !sf_fire_in_force(items[i].rule))
			why = "not in force";
		if (items[i].rule != NULL)
			p->left_out[items[i].rule - p->set->rules] = why;
	}
}

/* --- the state of a field --- */

/* whether a key that is read is not there: then filling its slot failed */
static bool
lacks_key(SfProver *p, const Bitmapset *reads)
{
	int			slot = -1;

	while ((slot = bms_next_member(reads, slot)) >= 0)
		if (p->frame->slots[slot].kind == SF_SLOT_PATH && !p->frame->slots[slot].filled)
			return true;
	return false;
}

/* as fire says it */
static void
annotate(SfProver *p, ErrorData *error, const Bitmapset *reads)
{
	SfRule	   *rule = p->depth > 0 ? p->path[p->depth - 1].rule : NULL;
	char	   *values = sf_frame_describe_plain(p->frame, reads);

	if (rule == NULL)
		return;
	error->detail = psprintf("%s%sRule \"%s\" of rule set \"%s\"%s%s.",
							 error->detail ? error->detail : "", error->detail ? "\n" : "",
							 rule->name, p->set->name, values[0] ? ", with " : "", values);
}

/*
 * Run something that reads slots.  False: it read a key that is not there, so
 * its outcome is unknown.  Another error ends the proof, or is returned where
 * errors of the set's rules count as false.
 */
static bool
attempt(SfProver *p, SfAttemptFn fn, void *arg, const Bitmapset *reads, const char **failure)
{
	ErrorData  *error = sf_attempt(fn, arg);

	*failure = NULL;
	if (error == NULL)
		return true;
	if (error->sqlerrcode == ERRCODE_UNDEFINED_COLUMN && lacks_key(p, reads))
		return false;
	if (p->set->abort_on_error)
	{
		annotate(p, error, reads);
		ReThrowError(error);
	}
	*failure = error->message;
	return true;
}

typedef struct SfFill
{
	SfProver   *p;
	Bitmapset  *slots;
} SfFill;

static void
fill(void *arg)
{
	SfFill	   *f = arg;

	sf_ruleset_fill(f->p->set, f->slots);
}

static bool
is_unset(SfProver *p, int slot)
{
	SfSlot	   *s = &p->frame->slots[slot];
	TupleTableSlot *row = p->frame->row;

	if (s->lazy && !s->filled)
	{
		SfFill		f = {p, bms_make_singleton(slot)};
		const char *failure;

		if (!attempt(p, fill, &f, f.slots, &failure) || failure != NULL || !s->filled)
			return true;
	}
	if (row->tts_isnull[slot])
		return true;
	if (s->type == JSONBOID)
	{
		Jsonb	   *json = DatumGetJsonbP(row->tts_values[slot]);
		JsonbValue	scalar;

		return JB_ROOT_IS_SCALAR(json) && JsonbExtractScalar(&json->root, &scalar) &&
			scalar.type == jbvNull;
	}
	return false;
}

/* what is known of a slot without trying rules */
static SfProof *
leaf(SfProver *p, int slot)
{
	SfSlot	   *s = &p->frame->slots[slot];
	TupleTableSlot *row = p->frame->row;
	SfProof    *proof = palloc0(sizeof(SfProof));

	proof->goal = s->name;
	proof->by = "nothing";
	if (is_unset(p, slot))
		return proof;
	proof->value = sf_output_json(&s->output, s->type, row->tts_values[slot], false);
	if (p->set_by[slot] != NULL)
	{
		proof->by = "rule";
		proof->rule = p->set_by[slot];
		proof->again = true;
	}
	else
		proof->by = s->kind == SF_SLOT_PARAM ? "parameter" : s->kind == SF_SLOT_QUOTA ? "quota" : "fact";
	return proof;
}

/* --- expressions --- */

/* before an expression is evaluated: prove what is unset of what it reads */
static void
prove_reads(SfProver *p, const Bitmapset *reads, Bitmapset **shown, List **because)
{
	int			slot = -1;

	while ((slot = bms_next_member(reads, slot)) >= 0)
	{
		if (setters_of(p, slot) == NIL || bms_is_member(p->field[slot], *shown))
			continue;
		*shown = bms_add_member(*shown, p->field[slot]);
		*because = lappend(*because, prove_slot(p, slot));
	}
}

/* after it was evaluated: what else it read */
static void
show_reads(SfProver *p, const Bitmapset *reads, Bitmapset **shown, List **because)
{
	int			slot = -1;

	while ((slot = bms_next_member(reads, slot)) >= 0)
	{
		SfSlot	   *s = &p->frame->slots[slot];

		if (bms_is_member(p->field[slot], *shown))
			continue;
		/* not reached, and to look it up now might lock or count */
		if (s->lazy && !s->filled && s->kind != SF_SLOT_PATH)
			continue;
		*shown = bms_add_member(*shown, p->field[slot]);
		*because = lappend(*because, leaf(p, slot));
	}
}

typedef struct SfAtomEvaluation
{
	SfProver   *p;
	int			atom;
	SfTruth		truth;
} SfAtomEvaluation;

static void
evaluate_atom(void *arg)
{
	SfAtomEvaluation *e = arg;

	e->truth = sf_match_atom(e->p->set, e->atom);
}

/* whether a condition is true; why not */
static const char *
prove_condition(SfProver *p, SfRule *rule, Bitmapset **shown, List **because)
{
	for (int i = 0; i < rule->natoms; i++)
	{
		SfAtom	   *atom = &p->set->match->atoms[rule->atoms[i]];
		SfAtomEvaluation e = {p, rule->atoms[i], SF_UNKNOWN};
		const char *failure;
		const char *text;
		bool		known;

		prove_reads(p, atom->reads, shown, because);
		known = attempt(p, evaluate_atom, &e, atom->reads, &failure);
		show_reads(p, atom->reads, shown, because);
		if (known && failure == NULL && e.truth == SF_TRUE)
			continue;
		text = sf_deparse(p->frame, (Node *) atom->expr);
		if (failure != NULL)
			return psprintf("the evaluation failed: %s: %s", text, failure);
		return psprintf("%s is %s", text, !known ? "unknown" :
						e.truth == SF_NULL ? "NULL" : "false");
	}
	return NULL;
}

typedef struct SfAssignment
{
	SfProver   *p;
	SfRuleAction *action;
	const char *field;			/* at work */
	Bitmapset  *changed;
} SfAssignment;

static void
assign(void *arg)
{
	SfAssignment *a = arg;

	sf_act_assign(a->p->set, a->action, &a->field, &a->changed);
}

static Bitmapset *
reads_of(const SfRuleAction *action)
{
	Bitmapset  *reads = NULL;

	for (int i = 0; i < action->nassigns; i++)
		reads = bms_add_members(reads, action->values[i]->reads);
	return reads;
}

/* carry out what a rule sets; why that cannot be */
static const char *
apply(SfProver *p, SfRule *rule, Bitmapset **shown, List **because)
{
	Bitmapset  *changed = NULL;
	SfFrameState *before;
	int			slot = -1;

	for (int i = 0; i < rule->nactions; i++)
		if (rule->actions[i].kind == SF_DO_SET)
			prove_reads(p, reads_of(&rule->actions[i]), shown, because);
	before = sf_frame_save(p->frame);
	for (int i = 0; i < rule->nactions; i++)
	{
		SfAssignment a = {p, &rule->actions[i]};
		Bitmapset  *reads;
		const char *failure;

		if (rule->actions[i].kind != SF_DO_SET)
			continue;
		reads = reads_of(a.action);
		if (!attempt(p, assign, &a, reads, &failure) || failure != NULL)
		{
			sf_frame_restore(p->frame, before);
			sf_match_begin(p->set->match);
			p->version++;
			return failure ? psprintf("setting %s failed: %s", a.field, failure) :
				psprintf("what it sets %s to is unknown", a.field);
		}
		show_reads(p, reads, shown, because);
		changed = bms_add_members(changed, a.changed);
	}
	while ((slot = bms_next_member(changed, slot)) >= 0)
		p->set_by[slot] = rule;
	p->version++;
	return NULL;
}

/* --- rules --- */

static int
depth_of_rule(SfProver *p, SfRule *rule)
{
	for (int i = 0; i < p->depth - 1; i++)
		if (p->path[i].rule == rule)
			return i;
	return -1;
}

/* try a rule for the field on top of the path: why it does not give it */
static const char *
try_rule(SfProver *p, SfRule *rule, List **because)
{
	Bitmapset  *shown = NULL;
	int			before = depth_of_rule(p, rule);
	const char *why = p->left_out[rule - p->set->rules];

	if (++p->steps > p->set->max_steps)
		ereport(ERROR,
				(errcode(ERRCODE_SF_TOO_MANY_STEPS),
				 errmsg("proof over rule set \"%s\" tried more than max_steps = %d rules",
						p->set->name, p->set->max_steps),
				 errhint("Raise max_steps of the rule set.")));
	if (why != NULL)
		return why;
	if (before >= 0)
	{
		p->cut = Min(p->cut, before);
		return "it is being tried already";
	}
	p->path[p->depth - 1].rule = rule;
	why = prove_condition(p, rule, &shown, because);
	if (why == NULL)
		why = apply(p, rule, &shown, because);
	if (why == NULL && is_unset(p, p->path[p->depth - 1].slot))
		why = psprintf("it sets %s to NULL", p->frame->slots[p->path[p->depth - 1].slot].name);
	p->path[p->depth - 1].rule = NULL;
	return why;
}

/* a field that is needed for its own proof */
static const char *
describe_cycle(SfProver *p, int from)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "a cycle: ");
	for (int i = from; i < p->depth; i++)
		appendStringInfo(&buf, "%s needs ", p->frame->slots[p->path[i].slot].name);
	appendStringInfoString(&buf, p->frame->slots[p->path[from].slot].name);
	return buf.data;
}

static void
push_step(SfProver *p, int slot)
{
	if (p->depth == p->maxdepth)
	{
		p->maxdepth *= 2;
		p->path = repalloc(p->path, p->maxdepth * sizeof(SfStep));
	}
	p->path[p->depth].slot = slot;
	p->path[p->depth++].rule = NULL;
}

static SfProof *
prove_by_rules(SfProver *p, int slot, SfProof *proof)
{
	int			outer = p->cut;
	ListCell   *lc;

	p->cut = NO_CUT;
	push_step(p, slot);
	foreach(lc, setters_of(p, slot))
	{
		SfRule	   *rule = p->rules[lfirst_int(lc)];
		List	   *because = NIL;
		const char *why = try_rule(p, rule, &because);
		SfTrial    *trial;

		if (why == NULL)
		{
			List	   *tried = proof->tried;

			proof = leaf(p, slot);
			proof->rule = rule;
			proof->because = because;
			proof->tried = tried;
			proof->again = false;
			break;
		}
		trial = palloc(sizeof(SfTrial));
		trial->rule = rule;
		trial->why = why;
		trial->because = because;
		proof->tried = lappend(proof->tried, trial);
	}
	p->depth--;
	if (proof->rule == NULL && p->cut >= p->depth)
		p->failed_at[p->field[slot]] = p->version + 1;
	/* a cut that refers to this field is none for those above */
	p->cut = Min(outer, p->cut >= p->depth ? NO_CUT : p->cut);
	return proof;
}

static SfProof *
prove_slot(SfProver *p, int slot)
{
	SfProof    *proof = leaf(p, slot);

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (proof->value != NULL || setters_of(p, slot) == NIL)
		return proof;
	for (int i = 0; i < p->depth; i++)
		if (p->field[p->path[i].slot] == p->field[slot])
		{
			proof->why = describe_cycle(p, i);
			p->cut = Min(p->cut, i);
			return proof;
		}
	if (p->failed_at[p->field[slot]] == p->version + 1)
	{
		proof->again = true;
		return proof;
	}
	return prove_by_rules(p, slot, proof);
}

/* --- the proof as jsonb --- */

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = (char *) key;
	v.val.string.len = strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &v);
}

static void
push_text(JsonbParseState **state, const char *key, const char *value)
{
	JsonbValue	v;

	if (value == NULL)
		return;
	push_key(state, key);
	v.type = jbvString;
	v.val.string.val = (char *) value;
	v.val.string.len = strlen(value);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

static JsonbValue *push_proof(JsonbParseState **state, const SfProof *proof);

static void
push_because(JsonbParseState **state, List *because)
{
	ListCell   *lc;

	if (because == NIL)
		return;
	push_key(state, "because");
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, because)
		(void) push_proof(state, lfirst(lc));
	(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_tried(JsonbParseState **state, List *tried)
{
	ListCell   *lc;

	if (tried == NIL)
		return;
	push_key(state, "tried");
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, tried)
	{
		SfTrial    *trial = lfirst(lc);

		(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		push_text(state, "rule", trial->rule->name);
		push_text(state, "why", trial->why);
		push_because(state, trial->because);
		(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static JsonbValue *
push_proof(JsonbParseState **state, const SfProof *proof)
{
	JsonbValue	v;

	check_stack_depth();
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_text(state, "goal", proof->goal);
	push_key(state, "value");
	v.type = jbvNull;
	if (proof->value != NULL)
		sf_json_value(proof->value, &v);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
	push_text(state, "by", proof->by);
	push_text(state, "rule", proof->rule ? proof->rule->name : NULL);
	push_text(state, "why", proof->why);
	if (proof->again)
	{
		push_key(state, "again");
		v.type = jbvBool;
		v.val.boolean = true;
		(void) pushJsonbValue(state, WJB_VALUE, &v);
	}
	push_because(state, proof->because);
	push_tried(state, proof->tried);
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* --- the goal --- */

typedef struct SfGoal
{
	SfProver   *p;
	SfValue    *value;
	Datum		datum;
	bool		isnull;
} SfGoal;

static void
evaluate_goal(void *arg)
{
	SfGoal	   *goal = arg;

	goal->datum = sf_ruleset_value(goal->p->set, goal->value, &goal->isnull);
}

/* for a boolean whether it is true, else whether there is a value */
static bool
holds(const SfProof *proof)
{
	JsonbValue	v;

	if (proof->value == NULL)
		return false;
	if (!JB_ROOT_IS_SCALAR(proof->value) || !JsonbExtractScalar(&proof->value->root, &v))
		return true;
	return v.type == jbvBool ? v.val.boolean : v.type != jbvNull;
}

static SfProof *
prove_expression(SfProver *p, SfValue *value)
{
	SfProof    *proof = palloc0(sizeof(SfProof));
	SfGoal		goal = {p, value};
	Bitmapset  *shown = NULL;
	const char *failure;
	ListCell   *lc;

	proof->goal = value->text;
	prove_reads(p, value->reads, &shown, &proof->because);
	goal.isnull = true;
	if (!attempt(p, evaluate_goal, &goal, value->reads, &failure))
		proof->why = "a key or a fact that it reads is not there";
	else if (failure != NULL)
		proof->why = psprintf("the evaluation failed: %s", failure);
	show_reads(p, value->reads, &shown, &proof->because);
	if (proof->why == NULL && !goal.isnull)
		proof->value = sf_output_json(&value->output, value->type, goal.datum, false);
	proof->by = "nothing";
	if (!holds(proof))
		return proof;
	proof->by = "fact";
	foreach(lc, proof->because)
		if (strcmp(((SfProof *) lfirst(lc))->by, "rule") == 0)
			proof->by = "rule";
	return proof;
}

/* facts that were not given have no field that is set */
static void
give_missing(SfFrame *frame)
{
	for (int i = 0; i < frame->nfacts; i++)
	{
		JsonbParseState *state = NULL;
		SfFact	   *fact = &frame->facts[i];

		if (fact->given || fact->query != NULL)
			continue;
		if (!fact->is_json)
		{
			sf_frame_give_value(frame, fact, (Datum) 0, true);
			continue;
		}
		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		sf_frame_give_json(frame, fact,
						   JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	}
}

void
sf_prove(SfRuleSet *set, SfValue *goal, SfProved *result)
{
	SfProver	p = {.set = set, .frame = set->frame, .maxdepth = 16, .cut = NO_CUT};
	int			nslots = set->frame->nslots + 1;
	JsonbParseState *state = NULL;
	SfProof    *proof;

	give_missing(set->frame);
	set->frame->incomplete = false;
	p.rules = sf_network_rules(set, &p.nrules);
	p.left_out = palloc0((set->nrules + 1) * sizeof(char *));
	find_left_out(&p, set->items, set->nitems, NULL);
	find_fields(&p);
	p.has_setters = palloc0(nslots * sizeof(bool));
	p.setters = palloc0(nslots * sizeof(List *));
	p.set_by = palloc0(nslots * sizeof(SfRule *));
	p.failed_at = palloc0(nslots * sizeof(uint64));
	p.path = palloc(p.maxdepth * sizeof(SfStep));
	if (IsA(goal->expr, Var))
		proof = prove_slot(&p, ((Var *) goal->expr)->varattno - 1);
	else
		proof = prove_expression(&p, goal);
	result->proved = holds(proof);
	result->value = proof->value;
	result->proof = JsonbValueToJsonb(push_proof(&state, proof));
}
