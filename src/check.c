/*
 * check.c
 *	  The check of a whole SOP, and the making of its next version.
 *
 * When it is checked is up to pending.c.  The row of the SOP is locked by every
 * edit, so no other transaction can mix its own edits in.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "action.h"
#include "calendar.h"
#include "check.h"
#include "clock.h"
#include "compat.h"
#include "definition.h"
#include "errors.h"
#include "ident.h"
#include "pending.h"
#include "plan.h"
#include "ruleset.h"
#include "script.h"

typedef struct SfDraft
{
	char	   *sop_id;
	bool		enabled;
	Oid			owner;
	Oid			subject_relation;
	char	   *subject_key;
	Jsonb	   *definition;
	SfVersion  *version;		/* as it would be */
	List	   *refs;			/* of SfRef *: SOPs that its nodes may run */
	List	   *faults;
} SfDraft;

typedef struct SfRef
{
	char	   *sop_id;
	Oid			owner;
} SfRef;

static void fault(SfDraft *draft, const char *node_id, const char *column,
				  const char *fmt,...) pg_attribute_printf(4, 5);

static void
fault(SfDraft *draft, const char *node_id, const char *column, const char *fmt,...)
{
	SfFault    *f = palloc0(sizeof(SfFault));
	StringInfoData buf;

	initStringInfo(&buf);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, fmt);
		needed = appendStringInfoVA(&buf, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&buf, needed);
	}
	f->node_id = node_id ? pstrdup(node_id) : NULL;
	f->column = column;
	f->message = buf.data;
	draft->faults = lappend(draft->faults, f);
}

static bool
interval_is_sound(const Interval *i)
{
	return i->month >= 0 && i->day >= 0 && i->time >= 0 &&
		i->month <= 100 * 12 && i->day <= 100 * 366 && i->time <= 100 * 366 * USECS_PER_DAY;
}

static bool
interval_is_positive(const Interval *i)
{
	return i->month > 0 || i->day > 0 || i->time > 0;
}

static void
draft_sop_row(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfDraft    *draft = arg;
	bool		isnull;
	Datum		value;
	Datum	   *exits;
	bool	   *nulls;
	int			nexits;

	draft->enabled = sf_row_bool(tuple, desc, 1);
	value = heap_getattr(tuple, 2, desc, &isnull);
	if (ARR_NDIM(DatumGetArrayTypeP(value)) > 1)
		fault(draft, NULL, "exit_events", "must have one dimension");
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
					  &exits, &nulls, &nexits);
	for (int i = 0; i < nexits; i++)
		if (nulls[i] || VARSIZE_ANY_EXHDR(DatumGetPointer(exits[i])) == 0)
			fault(draft, NULL, "exit_events", "must not contain a null or an empty name");
	draft->owner = sf_row_oid(tuple, desc, 3);
	draft->subject_relation = sf_row_oid(tuple, desc, 4);
	draft->subject_key = sf_row_text(tuple, desc, 5);
}

static bool
owner_exists(const SfDraft *draft)
{
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(draft->owner));
}

static void
check_action(SfDraft *draft, const SfNode *node)
{
	SfAction   *action = sf_action_named(node->action);

	if (action == NULL)
		fault(draft, node->node_id, "action", "action \"%s\" does not exist", node->action);
	else if (OidIsValid(draft->owner) && owner_exists(draft) &&
			 !sf_action_allows(action, draft->owner, SF_ACTION_USE))
		fault(draft, node->node_id, "action", "the SOP's owner \"%s\" may not use action \"%s\"",
			  GetUserNameFromId(draft->owner, true), node->action);
}

static void
check_condition(SfDraft *draft, const SfNode *node)
{
	if (node->condition != NULL && node->condition_rules != NULL)
		fault(draft, node->node_id, "condition_rules", "a condition node has one of condition and condition_rules");
	if (node->nlinks > 0 && (node->condition != NULL || node->condition_rules != NULL))
		fault(draft, node->node_id, node->condition ? "condition" : "condition_rules",
			  "a condition node with links has its conditions there");
	if (node->nlinks == 0 && node->condition == NULL && node->condition_rules == NULL)
		fault(draft, node->node_id, "condition", "a condition node needs condition, condition_rules or links");
}

static void
check_wait(SfDraft *draft, const SfNode *node)
{
	if (node->wait_event == NULL || *node->wait_event == '\0')
		fault(draft, node->node_id, "wait_event", "a wait node needs the name of an event");
	if (node->nlinks > 0)
		fault(draft, node->node_id, "next", "no links leave a wait node; it has next and otherwise");
	if (node->otherwise_id != NULL && !interval_is_positive(&node->delay))
		fault(draft, node->node_id, "delay", "must be positive where there is an otherwise: a wait without delay has no time-out");
}

static void
check_ref(SfDraft *draft, const SfNode *node)
{
	ListCell   *lc;

	if (node->sop_ref == NULL)
	{
		fault(draft, node->node_id, "sop_ref", "a sop node needs the SOP that it runs");
		return;
	}
	foreach(lc, draft->refs)
	{
		SfRef	   *ref = lfirst(lc);

		if (strcmp(ref->sop_id, node->sop_ref) != 0)
			continue;
		if (owner_exists(draft) && !has_privs_of_role(draft->owner, ref->owner))
			fault(draft, node->node_id, "sop_ref", "the SOP's owner \"%s\" is not a member of \"%s\", the owner of SOP \"%s\"",
				  GetUserNameFromId(draft->owner, true), GetUserNameFromId(ref->owner, true),
				  ref->sop_id);
		return;
	}
	fault(draft, node->node_id, "sop_ref", "SOP \"%s\" does not exist", node->sop_ref);
}

static void
check_end(SfDraft *draft, const SfNode *node)
{
	if (node->action != NULL)
		fault(draft, node->node_id, "action", "an end node has no action");
	if (node->next_id != NULL)
		fault(draft, node->node_id, "next", "nothing follows an end node");
	if (node->nlinks > 0)
		fault(draft, node->node_id, "next", "no links leave an end node");
	if (interval_is_positive(&node->delay))
		fault(draft, node->node_id, "delay", "an end node has no delay");
}

/* columns that only some types of nodes have */
static void
check_columns(SfDraft *draft, const SfNode *node)
{
	const struct
	{
		const char *column;
		const char *value;
		SfNodeType	type;
	}			only[] = {
		{"action", node->type == SF_NODE_END ? NULL : node->action, SF_NODE_DELAY},
		{"condition", node->condition, SF_NODE_CONDITION},
		{"condition_rules", node->condition_rules, SF_NODE_CONDITION},
		{"wait_event", node->wait_event, SF_NODE_WAIT},
		{"sop_ref", node->sop_ref, SF_NODE_SOP},
	};

	for (int i = 0; i < lengthof(only); i++)
		if (only[i].value != NULL && node->type != only[i].type)
			fault(draft, node->node_id, only[i].column, "a node of type %s has none", node->type_name);
	if (node->otherwise_id != NULL && node->type != SF_NODE_CONDITION &&
		node->type != SF_NODE_WAIT && node->nlinks == 0)
		fault(draft, node->node_id, "otherwise", "a node of type %s has none, unless links leave it",
			  node->type_name);
	if (node->next_id != NULL && node->nlinks > 0 && node->type != SF_NODE_END)
		fault(draft, node->node_id, "next", "a node has next or links, not both");
}

static void
check_node(SfDraft *draft, const SfNode *node)
{
	if (node->type == SF_NODE_UNKNOWN)
	{
		fault(draft, node->node_id, "type", "\"%s\" is not a node type; it is delay, condition, wait, sop or end",
			  node->type_name);
		return;
	}
	if (!interval_is_sound(&node->delay))
		fault(draft, node->node_id, "delay", "must not be negative or longer than 100 years");
	if (!JB_ROOT_IS_OBJECT(node->params))
		fault(draft, node->node_id, "params", "must be a JSON object");
	check_columns(draft, node);
	switch (node->type)
	{
		case SF_NODE_CONDITION:
			check_condition(draft, node);
			break;
		case SF_NODE_WAIT:
			check_wait(draft, node);
			break;
		case SF_NODE_SOP:
			check_ref(draft, node);
			break;
		case SF_NODE_END:
			check_end(draft, node);
			break;
		default:
			if (node->action != NULL)
				check_action(draft, node);
			break;
	}
	if (node->next_id != NULL && node->next < 0)
		fault(draft, node->node_id, "next", "node \"%s\" does not exist in this SOP", node->next_id);
	if (node->otherwise_id != NULL && node->otherwise < 0)
		fault(draft, node->node_id, "otherwise", "node \"%s\" does not exist in this SOP",
			  node->otherwise_id);
}

static void
check_links(SfDraft *draft)
{
	SfVersion  *version = draft->version;

	for (int i = 0; i < version->nlinks; i++)
	{
		SfLink	   *link = &version->links[i];

		if (link->from < 0)
			fault(draft, link->from_id, "from_node", "a link to node \"%s\" leaves this node, which does not exist in this SOP",
				  link->to_id);
		if (link->to < 0)
			fault(draft, link->from_id, "to_node", "node \"%s\" does not exist in this SOP", link->to_id);
	}
}

/* a walk over the graph: colours as usual */
typedef struct SfWalkState
{
	SfDraft    *draft;
	char	   *colour;			/* 0 new, 1 on the path, 2 finished */
	bool		waiting_cuts;	/* what waits is no part of a cycle */
} SfWalkState;

static bool
node_waits(const SfNode *node)
{
	return node->type == SF_NODE_WAIT || interval_is_positive(&node->delay);
}

/* a node that a cycle leads back to, or -1; no recursion: graphs may be long */
static int
find_cycle(SfWalkState *state, int start)
{
	SfVersion  *version = state->draft->version;
	int		   *path = palloc((version->nnodes + 1) * sizeof(int));
	int		   *at = palloc0((version->nnodes + 1) * sizeof(int));
	int		   *ways = palloc((2 + version->nlinks) * sizeof(int));
	int			depth = 0;
	int			found = -1;

	path[depth++] = start;
	state->colour[start] = 1;
	while (depth > 0 && found < 0)
	{
		int			node = path[depth - 1];
		int			n = sf_definition_ways(version, node, ways);
		int			next;

		if (at[depth - 1] == n)
		{
			state->colour[node] = 2;
			at[--depth] = 0;
			continue;
		}
		next = ways[at[depth - 1]++];
		if (state->waiting_cuts && node_waits(&version->nodes[next]))
			continue;
		if (state->colour[next] == 1)
			found = next;
		else if (state->colour[next] == 0)
		{
			state->colour[next] = 1;
			at[depth] = 0;
			path[depth++] = next;
		}
	}
	pfree(path);
	pfree(at);
	pfree(ways);
	return found;
}

static void
check_graph(SfDraft *draft)
{
	SfVersion  *version = draft->version;
	SfWalkState state = {draft, palloc0(version->nnodes), false};
	int			back = find_cycle(&state, 0);

	if (back >= 0 && !version->from_previous)
	{
		fault(draft, version->nodes[back].node_id, "next",
			  "a cycle leads back to this node, and with delay_from = 'event' it would never wait from the second round on");
		return;
	}
	/* what was not seen before the cycle was found is no fault by itself */
	for (int i = 1; i < version->nnodes; i++)
		if (!sf_definition_reaches(version, 0, i))
			fault(draft, version->nodes[i].node_id, "next",
				  "no node leads here from the first node \"%s\"", version->nodes[0].node_id);
	memset(state.colour, 0, version->nnodes);
	state.waiting_cuts = true;
	for (int i = 0; i < version->nnodes; i++)
	{
		if (state.colour[i] != 0 || node_waits(&version->nodes[i]))
			continue;
		back = find_cycle(&state, i);
		if (back < 0)
			continue;
		fault(draft, version->nodes[back].node_id, "next",
			  "a cycle that never waits leads back to this node");
		return;
	}
}

static void
check_subject(SfDraft *draft)
{
	AttrNumber	attnum;
	char	   *name;

	if (!OidIsValid(draft->subject_relation))
		return;
	name = get_rel_name(draft->subject_relation);
	if (name == NULL)
	{
		fault(draft, NULL, "subject_relation", "relation %u does not exist", draft->subject_relation);
		return;
	}
	attnum = get_attnum(draft->subject_relation, draft->subject_key);
	if (get_rel_relkind(draft->subject_relation) == RELKIND_INDEX ||
		get_rel_relkind(draft->subject_relation) == RELKIND_PARTITIONED_INDEX ||
		get_rel_relkind(draft->subject_relation) == RELKIND_COMPOSITE_TYPE)
		fault(draft, NULL, "subject_relation", "\"%s\" has no rows to read", name);
	else if (attnum <= 0)
		fault(draft, NULL, "subject_key", "column \"%s\" of relation \"%s\" does not exist",
			  draft->subject_key, name);
	else if (pg_class_aclcheck(draft->subject_relation, draft->owner, ACL_SELECT) != ACLCHECK_OK &&
			 pg_attribute_aclcheck(draft->subject_relation, attnum, draft->owner,
								   ACL_SELECT) != ACLCHECK_OK)
		fault(draft, NULL, "subject_key", "the SOP's owner \"%s\" may not read column \"%s\" of relation \"%s\"",
			  GetUserNameFromId(draft->owner, true), draft->subject_key, name);
}

/* columns of the SOP itself, once it is known to have nodes */
static void
check_sop(SfDraft *draft)
{
	SfVersion  *version = draft->version;
	Datum		values[1] = {CStringGetTextDatum(draft->sop_id)};

	if (version->can_skip && !interval_is_sound(&version->skip_late_after))
		fault(draft, NULL, "skip_late_after", "must not be negative or longer than 100 years");
	if (version->calendar != NULL && sf_calendar_named(version->calendar) == NULL)
		fault(draft, NULL, "calendar", "calendar \"%s\" does not exist", version->calendar);
	if (version->parallel && version->from_previous)
		fault(draft, NULL, "delay_from", "no node follows another here, so delays cannot count from the previous one");
	if (version->parallel && version->nnodes > version->max_steps)
		fault(draft, NULL, "max_steps", "the SOP has more nodes than a run may take steps");
	if (version->nnodes > PG_INT16_MAX)
		fault(draft, NULL, "node_id", "the SOP has more than %d nodes", PG_INT16_MAX);
	if (version->calls_sops && sf_plan_run(SF_PLAN_SOP_REF_CYCLE, values, NULL, NULL, NULL) > 0)
		fault(draft, NULL, "sop_ref", "the SOP would run itself");
}

static void
note_ref(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfDraft    *draft = arg;
	SfRef	   *ref = palloc(sizeof(SfRef));

	ref->sop_id = sf_row_text(tuple, desc, 1);
	ref->owner = sf_row_oid(tuple, desc, 2);
	draft->refs = lappend(draft->refs, ref);
}

/* names of the SOPs that its nodes run, as an array; 0: there are none */
static Datum
names_of_refs(SfDraft *draft)
{
	SfVersion  *version = draft->version;
	Datum	   *names = palloc(Max(version->nnodes, 1) * sizeof(Datum));
	int			n = 0;

	for (int i = 0; i < version->nnodes; i++)
		if (version->nodes[i].type == SF_NODE_SOP && version->nodes[i].sop_ref != NULL)
			names[n++] = CStringGetTextDatum(version->nodes[i].sop_ref);
	return n == 0 ? (Datum) 0 :
		PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
note_script_fault(const SfRuleFault *found, void *arg)
{
	SfDraft    *draft = arg;
	SfFault    *f;

	fault(draft, found->rule, found->column, "%s", found->message);
	f = llast(draft->faults);
	f->query = found->query;
	f->position = found->position;
}

static void
check_draft(SfDraft *draft)
{
	SfVersion  *version = draft->version;
	bool		sound_subject;
	int			before;
	Datum		refs[1];

	before = list_length(draft->faults);
	if (!owner_exists(draft))
		fault(draft, NULL, "owner", "role %u does not exist", draft->owner);
	else
		check_subject(draft);
	sound_subject = list_length(draft->faults) == before;
	if (version->nnodes == 0)
	{
		fault(draft, NULL, "node_id", "the SOP has no nodes");
		return;
	}
	refs[0] = names_of_refs(draft);
	if (refs[0] != (Datum) 0)
		sf_plan_run(SF_PLAN_SOP_REFS, refs, NULL, note_ref, draft);
	check_sop(draft);
	before = list_length(draft->faults);
	for (int i = 0; i < version->nnodes; i++)
		check_node(draft, &version->nodes[i]);
	check_links(draft);
	if (version->nodes[0].type == SF_NODE_END)
		fault(draft, version->nodes[0].node_id, "type", "the first node must not be an end node");
	if (!version->parallel && list_length(draft->faults) == before)
		check_graph(draft);
	if (sound_subject)
		sf_script_check(version, draft->owner, draft->subject_relation, draft->subject_key,
						note_script_fault, draft);
}

static void
take_jsonb(HeapTuple tuple, TupleDesc desc, void *arg)
{
	bool		isnull;

	*(Jsonb **) arg = (Jsonb *) PG_DETOAST_DATUM_COPY(heap_getattr(tuple, 1, desc, &isnull));
}

/* false when there is no such SOP */
static bool
read_draft(SfDraft *draft, const char *sop_id)
{
	Datum		values[1] = {CStringGetTextDatum(sop_id)};

	memset(draft, 0, sizeof(*draft));
	draft->sop_id = pstrdup(sop_id);
	if (sf_plan_run(SF_PLAN_SOP_ROW, values, NULL, draft_sop_row, draft) == 0)
		return false;
	sf_plan_run(SF_PLAN_SOP_BUILD, values, NULL, take_jsonb, &draft->definition);
	draft->version = sf_definition_read(sop_id, draft->definition);
	return true;
}

List *
sf_check_faults(const char *sop_id, Oid *owner)
{
	SfDraft		draft;

	if (!read_draft(&draft, sop_id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("SOP \"%s\" does not exist", sop_id)));
	check_draft(&draft);
	*owner = draft.owner;
	return draft.faults;
}

static void
describe(StringInfo buf, SfFault *f)
{
	if (f->node_id != NULL)
		appendStringInfo(buf, "node \"%s\", ", f->node_id);
	appendStringInfo(buf, "column \"%s\": %s", f->column, f->message);
}

static void
report_faults(const char *sop_id, List *faults)
{
	SfFault    *first = linitial(faults);
	StringInfoData message;
	StringInfoData detail;
	ListCell   *lc;

	initStringInfo(&message);
	initStringInfo(&detail);
	describe(&message, first);
	foreach(lc, faults)
	{
		int			start;

		if (detail.len > 0)
			appendStringInfoChar(&detail, '\n');
		start = detail.len;
		describe(&detail, lfirst(lc));
		detail.data[start] = pg_toupper((unsigned char) detail.data[start]);
		appendStringInfoChar(&detail, '.');
	}
	ereport(ERROR,
			(errcode(ERRCODE_SF_INVALID_DEFINITION),
			 errmsg("SOP \"%s\" is not valid: %s", sop_id, message.data),
			 list_length(faults) > 1 ? errdetail("%s", detail.data) : 0,
			 errhint("Write the whole SOP in one transaction, or set enabled = false until it is complete; sopflow.validate() lists what is wrong."),
			 first->query ? internalerrquery(first->query) : 0,
			 first->query ? internalerrposition(first->position) : 0,
			 err_generic_string(PG_DIAG_SCHEMA_NAME, "sopflow"),
			 err_generic_string(PG_DIAG_TABLE_NAME, first->node_id == NULL ? "sop" :
								strstr(first->column, "_node") ? "sop_link" : "sop_node"),
			 err_generic_string(PG_DIAG_COLUMN_NAME, first->column)));
}

/*
 * Lock the actions that the SOP uses until the transaction ends, so that none
 * is dropped between our check and our commit; one dropped meanwhile is then
 * missed by the check.
 */
static void
lock_actions(SfDraft *draft)
{
	SfVersion  *version = draft->version;
	Datum	   *names = palloc(Max(version->nnodes, 1) * sizeof(Datum));
	int			n = 0;
	Datum		values[1];

	for (int i = 0; i < version->nnodes; i++)
		if (version->nodes[i].action != NULL)
			names[n++] = CStringGetTextDatum(version->nodes[i].action);
	if (n == 0)
		return;
	values[0] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	sf_plan_run(SF_PLAN_ACTION_LOCK, values, NULL, NULL, NULL);
}

static void
report_user(HeapTuple tuple, TupleDesc desc, void *arg)
{
	ereport(ERROR,
			(errcode(ERRCODE_SF_INVALID_DEFINITION),
			 errmsg("SOP \"%s\" cannot be deleted: SOP \"%s\", node \"%s\", column \"sop_ref\" names it",
					(const char *) arg, sf_row_text(tuple, desc, 1), sf_row_text(tuple, desc, 2)),
			 err_generic_string(PG_DIAG_SCHEMA_NAME, "sopflow"),
			 err_generic_string(PG_DIAG_TABLE_NAME, "sop_node"),
			 err_generic_string(PG_DIAG_COLUMN_NAME, "sop_ref")));
}

static void
check_and_publish(const char *sop_id)
{
	SfDraft		draft;
	Datum		values[3] = {CStringGetTextDatum(sop_id)};
	Datum		refs[1];

	if (!read_draft(&draft, sop_id))
	{
		/* deleted */
		sf_plan_run(SF_PLAN_SOP_USERS, values, NULL, report_user, unconstify(char *, sop_id));
		return;
	}
	if (!draft.enabled)
		return;					/* a draft is taken as it is */
	lock_actions(&draft);
	if (draft.version->calendar != NULL)
		sf_calendar_lock(draft.version->calendar);
	refs[0] = names_of_refs(&draft);
	if (refs[0] != (Datum) 0)
		sf_plan_run(SF_PLAN_SOP_REFS_LOCK, refs, NULL, NULL, NULL);
	check_draft(&draft);
	if (draft.faults != NIL)
		report_faults(sop_id, draft.faults);
	values[1] = JsonbPGetDatum(draft.definition);
	values[2] = TimestampTzGetDatum(sf_clock_now());
	sf_plan_run(SF_PLAN_SOP_PUBLISH, values, NULL, NULL, NULL);
	sf_definition_changed();
}

SfVersion *
sf_check_version(const char *sop_id, Oid *owner)
{
	SfDraft		draft;

	if (!read_draft(&draft, sop_id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("SOP \"%s\" does not exist", sop_id)));
	*owner = draft.owner;
	check_draft(&draft);
	if (draft.faults != NIL)
		report_faults(sop_id, draft.faults);
	return draft.version;
}

void
sf_check_init(void)
{
	sf_pending_register(SF_PENDING_SOP, check_and_publish);
}

void
sf_check_later(const char *sop_id)
{
	sf_pending_add(SF_PENDING_SOP, sop_id);
	sf_definition_changed();
}

void
sf_check_pending(void)
{
	sf_pending_check_all(SF_PENDING_SOP);
}

void
sf_check_one(const char *sop_id)
{
	sf_pending_check(SF_PENDING_SOP, sop_id);
}
