/*
 * script.c
 *	  The expressions of an SOP version: conditions, links, templates.
 *
 * A version's texts are compiled together, as a rule set without rules, and
 * cached with the rule sets, which are made anew when what they depend on
 * changes.  The row of the subject is a looked-up fact: read when an expression
 * that needs it is reached, as the SOP's owner, and of it only what is used.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "attempt.h"
#include "errors.h"
#include "ident.h"
#include "load_private.h"
#include "memory.h"
#include "plan.h"
#include "rule.h"
#include "script.h"

enum
{
	FACT_EVENT, FACT_RUN, FACT_SUBJECT
};

#define RUN_FACT_COLUMNS	7

/* a compiled version */
typedef struct SfScript
{
	Oid			subject_relation;
	char	   *subject_key;	/* NULL: none */
	SfValue   **conditions;		/* by node; NULL: none */
	SfValue   **links;			/* by link; NULL: always */
	SfJsonText **params;		/* by node; NULL: no templates in them */
	SfValue    *zone;			/* NULL: none */
	SfValue    *whole[3];		/* the facts themselves, where a rule set may want them */
	TupleDesc	run_desc;
} SfScript;

/* what is to be compiled */
typedef struct SfScriptSource
{
	SfVersion  *version;
	Oid			owner;
	Oid			subject_relation;	/* InvalidOid: none */
	const char *subject_key;
	/* while compiling */
	SfScript   *script;
	int			node;
	int			link;
} SfScriptSource;

/* --- compiling --- */

static void
make_head(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfRuleSet  *set = load->set;

	set->name = pstrdup(source->version->sop_id);
	set->owner = source->owner;
	set->path = sf_path_make(source->version->search_path);
	set->enabled = true;
	set->order_by = "asc";
	set->null_is_error = true;
}

static void
add_facts(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfFrame    *frame = load->set->frame;

	sf_load_at(load, "sop", NULL, "subject_relation");
	(void) sf_frame_add_fact(frame, "event", JSONBOID, NULL, true);
	(void) sf_frame_add_fact(frame, "run", sf_ident_run_fact_type(), NULL, false);
	if (OidIsValid(source->subject_relation))
		/* its query is made when it is known what is read of it */
		(void) sf_frame_add_fact(frame, "subject", get_rel_type_id(source->subject_relation), "",
								 false);
}

static void
compile_node_condition(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfNode	   *node = &source->version->nodes[source->node];

	sf_load_at(load, "sop_node", node->node_id, "condition");
	source->script->conditions[source->node] =
		sf_compile_value(&load->compile, node->condition, BOOLOID, -1, false);
}

static void
compile_link(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfLink	   *link = &source->version->links[source->link];

	sf_load_at(load, "sop_link", link->from_id, "condition");
	load->prefix = psprintf("link to \"%s\": ", link->to_id);
	source->script->links[source->link] =
		sf_compile_value(&load->compile, link->condition, BOOLOID, -1, false);
}

static void
compile_params(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfNode	   *node = &source->version->nodes[source->node];

	sf_load_at(load, "sop_node", node->node_id, "params");
	source->script->params[source->node] = sf_compile_json(&load->compile, node->params);
}

static void
compile_zone(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;

	sf_load_at(load, "sop", NULL, "time_zone_column");
	source->script->zone =
		sf_compile_value(&load->compile,
						 psprintf("subject.%s::text", quote_identifier(source->version->zone_column)),
						 TEXTOID, -1, false);
}

/* the verdict of a rule set: it must be there, and want nothing that we do not have */
static void
check_rules(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfNode	   *node = &source->version->nodes[source->node];
	SfRuleSet  *rules;

	sf_load_at(load, "sop_node", node->node_id, "condition_rules");
	rules = sf_ruleset_get(node->condition_rules, source->owner);
	for (int i = 0; rules->enabled && i < rules->frame->nfacts; i++)
	{
		SfFact	   *fact = &rules->frame->facts[i];

		if (fact->query == NULL && sf_frame_fact(load->set->frame, fact->name) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_SF_MISSING_FACT),
					 errmsg("rule set \"%s\" wants fact \"%s\"; a condition gives event, run and, where the SOP has a subject_relation, subject",
							node->condition_rules, fact->name)));
	}
}

static void
compile_whole(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfFrame    *frame = load->set->frame;

	sf_load_at(load, "sop_node", source->version->nodes[source->node].node_id, "condition_rules");
	for (int i = 0; i < frame->nfacts; i++)
		if (source->script->whole[i] == NULL)
			source->script->whole[i] = sf_compile_value(&load->compile, frame->facts[i].name,
														InvalidOid, -1, false);
}

/*
 * Read the columns that are used, and check the right to: a whole row needs
 * that of all columns.
 */
static void
compile_subject(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfFact	   *fact = &load->set->frame->facts[FACT_SUBJECT];
	Oid			relid = source->subject_relation;
	bool		all = pg_class_aclcheck(relid, source->owner, ACL_SELECT) == ACLCHECK_OK;
	AttrNumber	key = get_attnum(relid, source->subject_key);
	MemoryContext old;
	StringInfoData buf;
	int			number = FACT_SUBJECT;
	bool		first = true;

	sf_load_at(load, "sop", NULL, "subject_relation");
	if (key == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("subject_key \"%s\" is no column of it", source->subject_key)));
	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT ROW(");
	for (int i = 0; i < fact->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(fact->desc, i);
		bool		used = fact->whole_slot >= 0 || fact->field_slots[i] >= 0;

		if (att->attisdropped)
			continue;
		if (used && !all &&
			pg_attribute_aclcheck(relid, i + 1, source->owner, ACL_SELECT) != ACLCHECK_OK)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("the SOP's owner \"%s\" may not read column \"%s\" of relation \"%s\"",
							GetUserNameFromId(source->owner, true), NameStr(att->attname),
							get_rel_name(relid))));
		appendStringInfoString(&buf, first ? "" : ", ");
		first = false;
		/* no null stands for a column that may not be null by its type */
		if (used || (get_typtype(att->atttypid) == TYPTYPE_DOMAIN &&
					 DomainHasConstraints(att->atttypid)))
			appendStringInfo(&buf, "s.%s", quote_identifier(NameStr(att->attname)));
		else
			appendStringInfoString(&buf, "NULL");
	}
	appendStringInfo(&buf, ")::%s FROM %s s WHERE s.%s = run.subject_id::%s",
					 format_type_be_qualified(fact->type),
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												get_rel_name(relid)),
					 quote_identifier(source->subject_key),
					 sf_plan_type_name(get_atttype(relid, key)));
	old = MemoryContextSwitchTo(load->set->context);
	fact->query = pstrdup(buf.data);
	MemoryContextSwitchTo(old);
	sf_load_lookup(load, &number);
}

static void
compile_all(SfLoad *load, void *arg)
{
	SfScriptSource *source = arg;
	SfVersion  *version = source->version;
	SfScript   *script = palloc0(sizeof(SfScript));

	source->script = script;
	load->set->script = script;
	script->subject_relation = source->subject_relation;
	script->subject_key = source->subject_key ? pstrdup(source->subject_key) : NULL;
	script->conditions = palloc0(Max(version->nnodes, 1) * sizeof(SfValue *));
	script->links = palloc0(Max(version->nlinks, 1) * sizeof(SfValue *));
	script->params = palloc0(Max(version->nnodes, 1) * sizeof(SfJsonText *));
	script->run_desc = lookup_rowtype_tupdesc_copy(sf_ident_run_fact_type(), -1);
	for (source->node = 0; source->node < version->nnodes; source->node++)
	{
		SfNode	   *node = &version->nodes[source->node];

		CHECK_FOR_INTERRUPTS();
		if (node->condition != NULL)
			sf_load_step(load, compile_node_condition, source);
		if (node->templated)
			sf_load_step(load, compile_params, source);
		if (node->condition_rules != NULL)
		{
			if (load->collect)
				sf_load_step(load, check_rules, source);
			sf_load_step(load, compile_whole, source);
		}
	}
	for (source->link = 0; source->link < version->nlinks; source->link++)
		if (version->links[source->link].condition != NULL)
			sf_load_step(load, compile_link, source);
	if (version->zone_column != NULL)
		sf_load_step(load, compile_zone, source);
	if (OidIsValid(source->subject_relation))
		sf_load_step(load, compile_subject, source);
}

static const SfLoadSource script_source = {
	.noun = "SOP",
	.head = make_head,
	.facts = add_facts,
	.texts = compile_all,
};

void
sf_script_check(SfVersion *version, Oid owner, Oid subject_relation, const char *subject_key,
				SfScriptFault fault, void *arg)
{
	SfScriptSource source = {version, owner, subject_relation, subject_key};
	SfLoad		load = {0};
	SfRuleSet  *set;
	ListCell   *lc;

	if (!version->scripted && version->zone_column == NULL)
		return;
	load.collect = true;
	set = sf_load_made(&load, &script_source, &source);
	foreach(lc, load.faults)
	{
		SfRuleFault *f = lfirst(lc);

		if (f->column == NULL)
			f->column = "condition";
		fault(f, arg);
	}
	/* faults live in it; it goes with the caller's context */
	(void) set;
}

/* --- the cache --- */

static SfRuleSet *
make_script(void *arg, MemoryContext parent)
{
	SfVersion  *version = arg;
	SfSop	   *sop = sf_definition_sop(version->sop_id);
	SfScriptSource source = {version};
	SfLoad		load = {0};
	SfRuleSet  *set;

	if (sop == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("SOP \"%s\" does not exist", version->sop_id)));
	source.owner = sop->owner;
	source.subject_relation = sop->subject_relation;
	source.subject_key = sop->subject_key;
	set = sf_load_made(&load, &script_source, &source);
	MemoryContextSetParent(set->context, parent);
	return set;
}

/* owner and subject are those of the SOP as it stands now */
static bool
script_is_current(SfRuleSet *set, void *arg)
{
	SfVersion  *version = arg;
	SfScript   *script = set->script;
	SfSop	   *sop = sf_definition_sop(version->sop_id);

	/* drafts share the number 0 */
	return sop != NULL && version->version_id != 0 && sop->owner == set->owner &&
		sop->subject_relation == script->subject_relation &&
		strcmp(sop->subject_key ? sop->subject_key : "",
			   script->subject_key ? script->subject_key : "") == 0;
}

/* the compiled version, in use until `finish` or an error */
typedef struct SfEvaluation
{
	SfRuleSet  *set;
	SfScript   *script;
	SfRuleScope scope;
	MemoryContext caller;
} SfEvaluation;

static Datum
run_fact(const SfScript *script, const SfRun *run)
{
	Datum		values[RUN_FACT_COLUMNS];
	bool		nulls[RUN_FACT_COLUMNS] = {0};
	Jsonb	   *events = run->events;

	if (events == NULL)
	{
		static const SfMemory nothing = {0};

		events = sf_memory_events(run->version->waits ? sf_memory_read(run->run_id) : &nothing);
	}
	values[0] = Int64GetDatum(run->run_id);
	nulls[0] = run->run_id == 0;
	values[1] = CStringGetTextDatum(run->sop_id);
	values[2] = Int32GetDatum(run->version->version);
	nulls[3] = run->subject_id == NULL;
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(run->subject_id);
	values[4] = TimestampTzGetDatum(run->event_at);
	values[5] = TimestampTzGetDatum(run->started_at);
	values[6] = PointerGetDatum(events);
	return HeapTupleGetDatum(heap_form_tuple(script->run_desc, values, nulls));
}

static void
begin(SfEvaluation *e, const SfRun *run)
{
	static const SfRuleSetMaker maker = {make_script, script_is_current};
	char		key[256];
	SfFrame    *frame;
	Datum		fact;

	/* no name of a rule set is as long as that */
	snprintf(key, sizeof(key), "%0210d", run->version->version_id);
	e->caller = CurrentMemoryContext;
	e->set = sf_ruleset_made(key, &maker, run->version);
	e->script = e->set->script;
	frame = e->set->frame;
	sf_ruleset_use(e->set);
	MemoryContextReset(e->set->work);
	ResetExprContext(e->set->econtext);
	sf_frame_begin(frame, e->set->work);
	MemoryContextSwitchTo(e->set->work);
	fact = run_fact(e->script, run);
	sf_ruleset_enter(e->set, &e->scope);
	sf_frame_give_json(frame, &frame->facts[FACT_EVENT],
					   run->context ? run->context :
					   DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))));
	sf_frame_give_value(frame, &frame->facts[FACT_RUN], fact, false);
}

static void
finish(SfEvaluation *e)
{
	sf_ruleset_leave(&e->scope);
	sf_ruleset_unuse(e->set);
	MemoryContextSwitchTo(e->caller);
}

static void
describe_node(void *arg)
{
	errcontext("node \"%s\"", (char *) arg);
}

static void
push_context(ErrorContextCallback *callback, const SfRun *run, int node)
{
	callback->callback = describe_node;
	callback->arg = run->version->nodes[node].node_id;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

SfVerdictOf
sf_script_condition(const SfRun *run, int node)
{
	SfEvaluation e;
	ErrorContextCallback callback;
	bool		isnull;
	Datum		value;

	push_context(&callback, run, node);
	begin(&e, run);
	value = sf_ruleset_value(e.set, e.script->conditions[node], &isnull);
	finish(&e);
	error_context_stack = callback.previous;
	return isnull ? SF_IS_NULL : DatumGetBool(value) ? SF_IS_TRUE : SF_IS_FALSE;
}

int
sf_script_links(const SfRun *run, int node, bool first, int *to)
{
	SfVersion  *version = run->version;
	SfNode	   *from = &version->nodes[node];
	SfEvaluation e = {0};
	ErrorContextCallback callback;
	int			n = 0;

	push_context(&callback, run, node);
	for (int i = from->first_link; i < from->first_link + from->nlinks; i++)
	{
		bool		isnull = false;
		bool		taken = true;

		if (version->links[i].condition != NULL)
		{
			if (e.set == NULL)
				begin(&e, run);
			taken = DatumGetBool(sf_ruleset_value(e.set, e.script->links[i], &isnull)) && !isnull;
		}
		if (taken)
			to[n++] = version->links[i].to;
		if (taken && first)
			break;
	}
	if (e.set != NULL)
		finish(&e);
	error_context_stack = callback.previous;
	return n;
}

Jsonb *
sf_script_params(const SfRun *run, int node)
{
	SfEvaluation e;
	ErrorContextCallback callback;
	Jsonb	   *params = run->version->nodes[node].params;

	if (!run->version->nodes[node].templated)
		return params;
	push_context(&callback, run, node);
	begin(&e, run);
	if (e.script->params[node] != NULL)
	{
		params = sf_ruleset_json(e.set, e.script->params[node]);
		MemoryContextSwitchTo(e.caller);
		params = (Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(params));
	}
	finish(&e);
	error_context_stack = callback.previous;
	return params;
}

char *
sf_script_zone(const SfRun *run)
{
	SfEvaluation e;
	bool		isnull;
	Datum		value;
	char	   *zone = NULL;

	begin(&e, run);
	value = sf_ruleset_value(e.set, e.script->zone, &isnull);
	MemoryContextSwitchTo(e.caller);
	if (!isnull)
		zone = TextDatumGetCString(value);
	finish(&e);
	return zone;
}

Jsonb *
sf_script_facts(const SfRun *run, const List *names)
{
	SfEvaluation e;
	JsonbParseState *state = NULL;
	JsonbValue	v;
	ListCell   *lc;
	Jsonb	   *facts;

	begin(&e, run);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	foreach(lc, names)
	{
		SfFact	   *fact = sf_frame_fact(e.set->frame, lfirst(lc));
		SfValue    *value;
		bool		isnull;
		Datum		datum;

		if (fact == NULL)
			continue;
		value = e.script->whole[fact - e.set->frame->facts];
		datum = sf_ruleset_value(e.set, value, &isnull);
		v.type = jbvString;
		v.val.string.val = lfirst(lc);
		v.val.string.len = strlen(lfirst(lc));
		pushJsonbValue(&state, WJB_KEY, &v);
		sf_json_value(sf_output_json(&value->output, value->type, datum, isnull), &v);
		pushJsonbValue(&state, WJB_VALUE, &v);
	}
	facts = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	MemoryContextSwitchTo(e.caller);
	facts = (Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(facts));
	finish(&e);
	return facts;
}
