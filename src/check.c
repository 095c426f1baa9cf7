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
#include "check.h"
#include "clock.h"
#include "compat.h"
#include "definition.h"
#include "errors.h"
#include "ident.h"
#include "pending.h"
#include "plan.h"

typedef struct SfDraftNode
{
	char	   *node_id;
	char	   *type;
	Interval	delay;
	char	   *action;
	bool		params_object;
	char	   *next;
	int			next_index;
} SfDraftNode;

typedef struct SfDraft
{
	char	   *sop_id;
	bool		enabled;
	bool		from_previous;
	Oid			owner;
	Oid			subject_relation;
	char	   *subject_key;
	int			max_steps;
	int			nnodes;
	SfDraftNode *nodes;
	List	   *faults;
} SfDraft;

static void fault(SfDraft *draft, const char *node_id, const char *column,
				  const char *fmt,...) pg_attribute_printf(4, 5);

static void
fault(SfDraft *draft, const char *node_id, const char *column, const char *fmt,...)
{
	SfFault    *f = palloc(sizeof(SfFault));
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

	draft->sop_id = sf_row_text(tuple, desc, 1);
	draft->enabled = sf_row_bool(tuple, desc, 2);
	draft->from_previous = strcmp(sf_row_text(tuple, desc, 3), "previous") == 0;
	value = heap_getattr(tuple, 4, desc, &isnull);
	if (!isnull && !interval_is_sound(DatumGetIntervalP(value)))
		fault(draft, NULL, "skip_late_after", "must not be negative or longer than 100 years");
	value = heap_getattr(tuple, 5, desc, &isnull);
	if (!isnull)
	{
		Datum	   *exits;
		bool	   *nulls;
		int			nexits;

		if (ARR_NDIM(DatumGetArrayTypeP(value)) > 1)
			fault(draft, NULL, "exit_events", "must have one dimension");
		deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
						  &exits, &nulls, &nexits);
		for (int i = 0; i < nexits; i++)
			if (nulls[i] || VARSIZE_ANY_EXHDR(DatumGetPointer(exits[i])) == 0)
				fault(draft, NULL, "exit_events", "must not contain a null or an empty name");
	}
	draft->max_steps = sf_row_int32(tuple, desc, 6, 0);
	draft->owner = sf_row_oid(tuple, desc, 7);
	draft->subject_relation = sf_row_oid(tuple, desc, 8);
	draft->subject_key = sf_row_text(tuple, desc, 9);
}

static void
draft_node_row(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfDraft    *draft = arg;
	SfDraftNode *node;
	bool		isnull;

	draft->nodes = draft->nodes == NULL ? palloc(sizeof(SfDraftNode)) :
		repalloc(draft->nodes, (draft->nnodes + 1) * sizeof(SfDraftNode));
	node = &draft->nodes[draft->nnodes++];
	node->node_id = sf_row_text(tuple, desc, 1);
	node->type = sf_row_text(tuple, desc, 2);
	node->delay = *DatumGetIntervalP(heap_getattr(tuple, 3, desc, &isnull));
	node->action = sf_row_text(tuple, desc, 4);
	node->params_object = JB_ROOT_IS_OBJECT(DatumGetJsonbP(heap_getattr(tuple, 5, desc, &isnull)));
	node->next = sf_row_text(tuple, desc, 6);
	node->next_index = -1;
}

static void
check_action(SfDraft *draft, SfDraftNode *node)
{
	SfAction   *action = sf_action_named(node->action);

	if (action == NULL)
		fault(draft, node->node_id, "action", "action \"%s\" does not exist", node->action);
	else if (OidIsValid(draft->owner) &&
			 SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(draft->owner)) &&
			 !sf_action_allows(action, draft->owner, SF_ACTION_USE))
		fault(draft, node->node_id, "action", "the SOP's owner \"%s\" may not use action \"%s\"",
			  GetUserNameFromId(draft->owner, true), node->action);
}

static void
check_node(SfDraft *draft, SfDraftNode *node)
{
	bool		is_end = strcmp(node->type, "end") == 0;

	if (!is_end && strcmp(node->type, "delay") != 0)
	{
		fault(draft, node->node_id, "type", "\"%s\" is not a node type; it is delay or end", node->type);
		return;
	}
	if (!interval_is_sound(&node->delay))
		fault(draft, node->node_id, "delay", "must not be negative or longer than 100 years");
	if (!node->params_object)
		fault(draft, node->node_id, "params", "must be a JSON object");
	if (is_end)
	{
		if (node->action != NULL)
			fault(draft, node->node_id, "action", "an end node has no action");
		if (node->next != NULL)
			fault(draft, node->node_id, "next", "nothing follows an end node");
		if (interval_is_positive(&node->delay))
			fault(draft, node->node_id, "delay", "an end node has no delay");
	}
	else if (node->action != NULL)
		check_action(draft, node);
	if (node->next != NULL)
	{
		for (int i = 0; i < draft->nnodes; i++)
			if (strcmp(draft->nodes[i].node_id, node->next) == 0)
				node->next_index = i;
		if (node->next_index < 0)
			fault(draft, node->node_id, "next", "node \"%s\" does not exist in this SOP", node->next);
	}
}

/*
 * Each node has at most one successor, so a walk from the first one meets all
 * that are reachable, and comes back to a node exactly when there is a cycle.
 */
static void
check_graph(SfDraft *draft)
{
	bool	   *seen = palloc0(draft->nnodes * sizeof(bool));
	int			at = 0;

	while (at >= 0 && !seen[at])
	{
		seen[at] = true;
		at = draft->nodes[at].next_index;
	}
	if (at >= 0)
	{
		bool		waits = false;
		int			i = at;

		do
		{
			if (interval_is_positive(&draft->nodes[i].delay))
				waits = true;
			i = draft->nodes[i].next_index;
		} while (i != at);
		if (!draft->from_previous)
			fault(draft, draft->nodes[at].node_id, "next",
				  "a cycle leads back to this node, and with delay_from = 'event' it would never wait from the second round on");
		else if (!waits)
			fault(draft, draft->nodes[at].node_id, "next",
				  "a cycle that never waits leads back to this node");
	}
	for (int i = 0; i < draft->nnodes; i++)
		if (!seen[i])
			fault(draft, draft->nodes[i].node_id, "next",
				  "no node leads here from the first node \"%s\"", draft->nodes[0].node_id);
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

static void
check_draft(SfDraft *draft)
{
	bool		parallel = true;
	int			before;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(draft->owner)))
		fault(draft, NULL, "owner", "role %u does not exist", draft->owner);
	else
		check_subject(draft);
	if (draft->nnodes == 0)
	{
		fault(draft, NULL, "node_id", "the SOP has no nodes");
		return;
	}
	before = list_length(draft->faults);
	for (int i = 0; i < draft->nnodes; i++)
	{
		check_node(draft, &draft->nodes[i]);
		if (draft->nodes[i].next != NULL || strcmp(draft->nodes[i].type, "delay") != 0)
			parallel = false;
	}
	if (parallel && draft->from_previous)
		fault(draft, NULL, "delay_from", "no node follows another here, so delays cannot count from the previous one");
	if (parallel && draft->nnodes > draft->max_steps)
		fault(draft, NULL, "max_steps", "the SOP has more nodes than a run may take steps");
	if (draft->nnodes > PG_INT16_MAX)
		fault(draft, NULL, "node_id", "the SOP has more than %d nodes", PG_INT16_MAX);
	if (strcmp(draft->nodes[0].type, "end") == 0)
		fault(draft, draft->nodes[0].node_id, "type", "the first node must not be an end node");
	if (!parallel && list_length(draft->faults) == before)
		check_graph(draft);
}

/* false when there is no such SOP */
static bool
read_draft(SfDraft *draft, const char *sop_id)
{
	Datum		values[1] = {CStringGetTextDatum(sop_id)};

	memset(draft, 0, sizeof(*draft));
	if (sf_plan_run(SF_PLAN_SOP_ROW, values, NULL, draft_sop_row, draft) == 0)
		return false;
	sf_plan_run(SF_PLAN_SOP_NODES, values, NULL, draft_node_row, draft);
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
			 err_generic_string(PG_DIAG_SCHEMA_NAME, "sopflow"),
			 err_generic_string(PG_DIAG_TABLE_NAME, first->node_id ? "sop_node" : "sop"),
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
	Datum	   *names = palloc(draft->nnodes * sizeof(Datum));
	int			n = 0;
	Datum		values[1];

	for (int i = 0; i < draft->nnodes; i++)
		if (draft->nodes[i].action != NULL)
			names[n++] = CStringGetTextDatum(draft->nodes[i].action);
	if (n == 0)
		return;
	values[0] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	sf_plan_run(SF_PLAN_ACTION_LOCK, values, NULL, NULL, NULL);
}

static void
take_datum(HeapTuple tuple, TupleDesc desc, void *arg)
{
	bool		isnull;

	*(Datum *) arg = PointerGetDatum(PG_DETOAST_DATUM_COPY(heap_getattr(tuple, 1, desc, &isnull)));
}

static void
check_and_publish(const char *sop_id)
{
	SfDraft		draft;
	Datum		definition = (Datum) 0;
	Datum		values[3];

	if (!read_draft(&draft, sop_id))
		return;					/* deleted */
	if (!draft.enabled)
		return;					/* a draft is taken as it is */
	lock_actions(&draft);
	check_draft(&draft);
	if (draft.faults != NIL)
		report_faults(sop_id, draft.faults);

	values[0] = CStringGetTextDatum(sop_id);
	sf_plan_run(SF_PLAN_SOP_BUILD, values, NULL, take_datum, &definition);
	values[1] = definition;
	values[2] = TimestampTzGetDatum(sf_clock_now());
	sf_plan_run(SF_PLAN_SOP_PUBLISH, values, NULL, NULL, NULL);
	sf_definition_changed();
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
