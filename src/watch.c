/*
 * watch.c
 *	  What makes a row of a watched table an event.
 *
 * A row trigger on a partitioned table is cloned to the partitions, whose
 * columns may have other numbers: so watches are found by the relation of the
 * original trigger, and resolved by name against the relation that fires.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "expr.h"
#include "ident.h"
#include "plan.h"
#include "stats.h"
#include "watch.h"

typedef struct SfWatchEntry
{
	Oid			trigger;		/* hash key, must be first */
	SfWatchSet *set;
} SfWatchEntry;

static HTAB *sets = NULL;
static Oid	watched_relid = InvalidOid;

static void
relation_invalidated(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	SfWatchEntry *entry;

	if (sets == NULL)
		return;
	hash_seq_init(&seq, sets);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (relid == InvalidOid || relid == watched_relid || relid == entry->set->relid ||
			relid == entry->set->watched)
			entry->set->valid = false;
}

void
sf_watch_init(void)
{
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
}

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* a value must have the same text, and a condition mean the same, in all sessions */
static void
pin_formats(void)
{
	set_local("bytea_output", "hex");
	set_local("datestyle", "ISO, MDY");
	set_local("extra_float_digits", "1");
	set_local("intervalstyle", "postgres");
}

/* --- conditions --- */

/*
 * Text to a boolean expression over the columns of the relation.  What a
 * condition may not contain is what a CHECK constraint may not: sub-queries,
 * aggregates, windows, set-returning functions; nor anything volatile.  Columns
 * may be qualified by the name of the watched relation, also in its partitions.
 */
static Node *
parse_condition(Relation rel, Oid watched, const char *condition)
{
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	SfExprContext context;
	Node	   *raw;
	Node	   *expr;

	sf_expr_begin(&context, condition, "condition of a watch");
	raw = sf_expr_raw(condition);
	pstate->p_sourcetext = condition;
	item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock,
										 makeAlias(get_rel_name(watched), NIL), false, true);
	addNSItemToQuery(pstate, item, false, true, true);
	expr = transformExpr(pstate, raw, EXPR_KIND_CHECK_CONSTRAINT);
	expr = coerce_to_boolean(pstate, expr, "condition");
	assign_expr_collations(pstate, expr);
	if (contain_volatile_functions(expr))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("condition must not use volatile functions: %s", condition)));
	free_parsestate(pstate);
	sf_expr_end(&context);
	return expr;
}

char *
sf_watch_deparse(Oid relid, const char *tree)
{
	Node	   *expr = stringToNode(tree);
	char	   *name = get_rel_name(relid);

	return deparse_expression(expr, deparse_context_for(name, relid), false, false);
}

static AttrNumber
column_number(Relation rel, const char *name, const char *what)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, RelationGetRelationName(rel)),
				 errdetail("It is the %s of a watch.", what)));
	return attnum;
}

static Oid
column_type(Relation rel, AttrNumber attnum)
{
	return TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid;
}

static void
check_time_column(Relation rel, AttrNumber attnum)
{
	Oid			type = getBaseType(column_type(rel, attnum));

	if (type != TIMESTAMPTZOID && type != TIMESTAMPOID && type != DATEOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("time column \"%s\" of relation \"%s\" is of type %s",
						NameStr(TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attname),
						RelationGetRelationName(rel), format_type_be(type)),
				 errhint("It must be timestamp with time zone, timestamp or date.")));
}

char *
sf_watch_check(Relation rel, const char *key, const char *time_column,
			   int ncontext, char **context, const char *condition)
{
	char	   *tree;
	int			nest;

	(void) column_number(rel, key, "subject key");
	if (time_column != NULL)
		check_time_column(rel, column_number(rel, time_column, "time column"));
	for (int i = 0; i < ncontext; i++)
		(void) column_number(rel, context[i], "context");
	if (condition == NULL)
		return NULL;
	nest = NewGUCNestLevel();
	pin_formats();
	tree = nodeToString(parse_condition(rel, RelationGetRelid(rel), condition));
	AtEOXact_GUC(false, nest);
	return tree;
}

bool
sf_watch_needs_rows(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE || get_rel_relispartition(relid) ||
		has_superclass(relid) || has_subclass(relid);
}

/* --- watch sets --- */

/* the relation on which the trigger was made that this one is a clone of */
static Oid
original_relation(Relation rel, Trigger *trigger)
{
	Oid			oid = trigger->tgoid;
	Oid			relid = RelationGetRelid(rel);
	Relation	pg_trigger;

	if (!trigger->tgisclone)
		return relid;
	pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	while (OidIsValid(oid))
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(oid));
		scan = systable_beginscan(pg_trigger, TriggerOidIndexId, true, NULL, 1, &key);
		tuple = systable_getnext(scan);
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "could not find trigger %u", oid);
		relid = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
		oid = ((Form_pg_trigger) GETSTRUCT(tuple))->tgparentid;
		systable_endscan(scan);
	}
	table_close(pg_trigger, AccessShareLock);
	return relid;
}

/* whose rights the evaluation has: not those of a partition's owner */
static Oid
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Whether the text of a value, or its JSON, depends on no setting and on no
 * code of a user's.  JSON has one form for a date and a timestamp.
 */
static bool
is_plain(Oid type, bool as_json)
{
	switch (type)
	{
		case BOOLOID:
		case BPCHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NAMEOID:
		case NUMERICOID:
		case OIDOID:
		case TEXTOID:
		case UUIDOID:
		case VARCHAROID:
			return true;
		case DATEOID:
		case JSONOID:
		case JSONBOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return as_json;
		default:
			return false;
	}
}

/* to_jsonb for a value of the type */
static void
prepare_to_jsonb(FmgrInfo *fn, Oid type)
{
	Node	   *arg = (Node *) makeNullConst(type, -1, InvalidOid);

	fmgr_info_cxt(F_TO_JSONB, fn, CurrentMemoryContext);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(arg),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL), fn);
}

typedef struct SfLoad
{
	SfWatchSet *set;
	Relation	rel;
} SfLoad;

static void
load_watch(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;
	SfWatchSet *set = load->set;
	Relation	rel = load->rel;
	SfWatch    *watch;
	Datum	   *names;
	bool		isnull;
	char	   *time_column;
	Oid			out;
	bool		varlena;

	set->watches = set->watches == NULL ? palloc(sizeof(SfWatch)) :
		repalloc(set->watches, (set->nwatches + 1) * sizeof(SfWatch));
	watch = &set->watches[set->nwatches++];
	memset(watch, 0, sizeof(SfWatch));
	watch->event = sf_row_text(tuple, desc, 1);
	watch->key = column_number(rel, sf_row_text(tuple, desc, 2), "subject key");
	getTypeOutputInfo(column_type(rel, watch->key), &out, &varlena);
	fmgr_info_cxt(out, &watch->key_out, CurrentMemoryContext);
	watch->key_type = getBaseType(column_type(rel, watch->key));
	set->restricted |= !is_plain(column_type(rel, watch->key), false);
	deconstruct_array(DatumGetArrayTypeP(heap_getattr(tuple, 3, desc, &isnull)), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, NULL, &watch->ncontext);
	watch->context = palloc(watch->ncontext * sizeof(AttrNumber));
	watch->context_names = palloc(watch->ncontext * sizeof(char *));
	watch->to_jsonb = palloc0(watch->ncontext * sizeof(FmgrInfo));
	for (int i = 0; i < watch->ncontext; i++)
	{
		watch->context_names[i] = TextDatumGetCString(names[i]);
		watch->context[i] = column_number(rel, watch->context_names[i], "context");
		prepare_to_jsonb(&watch->to_jsonb[i], column_type(rel, watch->context[i]));
		set->restricted |= !is_plain(column_type(rel, watch->context[i]), true);
	}
	watch->condition = sf_row_text(tuple, desc, 4);
	set->restricted |= watch->condition != NULL;
	time_column = sf_row_text(tuple, desc, 5);
	if (time_column != NULL)
	{
		watch->time = column_number(rel, time_column, "time column");
		check_time_column(rel, watch->time);
		watch->time_type = getBaseType(column_type(rel, watch->time));
	}
	watch->skip_errors = strcmp(sf_row_text(tuple, desc, 6), "skip") == 0;
	watch->path = sf_path_make(sf_row_text(tuple, desc, 7));
}

/* the cached expressions live elsewhere and go with their set */
static void
free_expressions(void *arg)
{
	SfWatchSet *set = arg;

	for (int i = 0; i < set->nwatches; i++)
		if (set->watches[i].expression != NULL)
			FreeCachedExpression(set->watches[i].expression);
}

static SfWatchSet *
build_set(Relation rel, Trigger *trigger)
{
	MemoryContext context = AllocSetContextCreate(CacheMemoryContext, "sopflow watches",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	SfLoad		load;
	Datum		values[1];

	load.rel = rel;
	load.set = palloc0(sizeof(SfWatchSet));
	load.set->trigger = trigger->tgoid;
	load.set->relid = RelationGetRelid(rel);
	load.set->name = pstrdup(RelationGetRelationName(rel));
	load.set->watched = original_relation(rel, trigger);
	load.set->owner = relation_owner(load.set->watched);
	load.set->context = context;
	load.set->valid = true;
	load.set->econtext = CreateStandaloneExprContext();
	values[0] = ObjectIdGetDatum(load.set->watched);
	watched_relid = sf_ident_rel(SF_REL_WATCHED);
	sf_plan_run(SF_PLAN_WATCHES, values, NULL, load_watch, &load);
	load.set->cleanup.func = free_expressions;
	load.set->cleanup.arg = load.set;
	MemoryContextRegisterResetCallback(context, &load.set->cleanup);
	MemoryContextSwitchTo(old);
	return load.set;
}

SfWatchSet *
sf_watch_set(Relation rel, Trigger *trigger)
{
	SfWatchEntry *entry;
	SfWatchSet *set;
	Oid			oid = trigger->tgoid;

	if (sets == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(SfWatchEntry);
		sets = hash_create("sopflow watch sets", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(sets, &oid, HASH_FIND, NULL);
	if (entry != NULL && entry->set->valid)
		return entry->set;
	if (entry != NULL)
	{
		/* a caller further up may be using it */
		MemoryContextSetParent(entry->set->context, TopTransactionContext);
		hash_search(sets, &oid, HASH_REMOVE, NULL);
	}
	set = build_set(rel, trigger);
	entry = hash_search(sets, &oid, HASH_ENTER, NULL);
	entry->set = set;
	return set;
}

/* --- evaluation --- */

void
sf_watch_enter(SfWatchSet *set, const SfWatch *watch, SfWatchScope *scope)
{
	if (!set->restricted)
		return;
	GetUserIdAndSecContext(&scope->saved.userid, &scope->saved.sec_context);
	SetUserIdAndSecContext(set->owner, scope->saved.sec_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	scope->nest = NewGUCNestLevel();
	sf_path_set(&watch->path);
	pin_formats();
}

void
sf_watch_leave(SfWatchSet *set, SfWatchScope *scope)
{
	if (!set->restricted)
		return;
	/* also what the user's code has set */
	AtEOXact_GUC(false, scope->nest);
	sf_ident_leave(scope->saved);
}

/* compiled on first use, again when a function that it calls has changed */
static bool
condition_holds(SfWatchSet *set, SfWatch *watch, TupleTableSlot *row)
{
	bool		isnull;
	Datum		value;

	if (watch->expression == NULL || !watch->expression->is_valid)
	{
		Relation	rel = table_open(set->relid, NoLock);
		MemoryContext old;

		if (watch->expression != NULL)
			FreeCachedExpression(watch->expression);
		watch->expression = NULL;
		watch->expression = GetCachedExpression(parse_condition(rel, set->watched,
																watch->condition));
		table_close(rel, NoLock);
		old = MemoryContextSwitchTo(set->context);
		watch->state = ExecInitExpr((Expr *) watch->expression->expr, NULL);
		MemoryContextSwitchTo(old);
	}
	ResetExprContext(set->econtext);
	set->econtext->ecxt_scantuple = row;
	value = ExecEvalExprSwitchContext(watch->state, set->econtext, &isnull);
	return !isnull && DatumGetBool(value);
}

static char *
key_text(SfWatch *watch, Datum key)
{
	int			utc = 0;

	/* not in the session's time zone */
	if (watch->key_type == TIMESTAMPTZOID)
		return JsonEncodeDateTime(palloc(MAXDATELEN + 1), key, TIMESTAMPTZOID, &utc);
	return OutputFunctionCall(&watch->key_out, key);
}

static TimestampTz
event_time(SfWatch *watch, TupleTableSlot *row)
{
	bool		isnull;
	Datum		value;

	if (watch->time == 0)
		return sf_clock_transaction();
	value = slot_getattr(row, watch->time, &isnull);
	if (isnull)
		return sf_clock_transaction();
	if (watch->time_type == TIMESTAMPOID)
		value = DirectFunctionCall1(timestamp_timestamptz, value);
	else if (watch->time_type == DATEOID)
		value = DirectFunctionCall1(date_timestamptz, value);
	return DatumGetTimestampTz(value);
}

static Jsonb *
event_context(SfWatch *watch, TupleTableSlot *row)
{
	JsonbParseState *state = NULL;
	JsonbValue *object;

	if (watch->ncontext == 0)
		return NULL;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < watch->ncontext; i++)
	{
		JsonbValue	key;
		JsonbValue	value;
		bool		isnull;
		Datum		datum = slot_getattr(row, watch->context[i], &isnull);

		key.type = jbvString;
		key.val.string.val = watch->context_names[i];
		key.val.string.len = strlen(watch->context_names[i]);
		pushJsonbValue(&state, WJB_KEY, &key);
		if (isnull)
			value.type = jbvNull;
		else
		{
			Jsonb	   *jb = DatumGetJsonbP(FunctionCall1(&watch->to_jsonb[i], datum));

			if (JB_ROOT_IS_SCALAR(jb))
				(void) JsonbExtractScalar(&jb->root, &value);
			else
			{
				value.type = jbvBinary;
				value.val.binary.data = &jb->root;
				value.val.binary.len = VARSIZE(jb) - VARHDRSZ;
			}
		}
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(object);
}

bool
sf_watch_row(SfWatchSet *set, SfWatch *watch, TupleTableSlot *row, SfEvent *event)
{
	bool		isnull;
	Datum		key;

	if (watch->condition != NULL && !condition_holds(set, watch, row))
		return false;
	key = slot_getattr(row, watch->key, &isnull);
	if (isnull)
	{
		sf_stats_count(SF_COUNT_NULL_SUBJECT, 1);
		return false;
	}
	event->subject_id = key_text(watch, key);
	event->occurred_at = event_time(watch, row);
	event->context = event_context(watch, row);
	return true;
}
