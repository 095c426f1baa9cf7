/*
 * plan.c
 *	  The only use of SPI.
 *
 * Plans are prepared on first use and kept; PostgreSQL plans them anew when
 * what they refer to changes.  Tables are named with their schema, operators
 * and functions are found under a search_path pinned to pg_catalog.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#include "expr.h"
#include "ident.h"
#include "plan_private.h"

#define PINNED_PATH "pg_catalog, pg_temp"

static SPIPlanPtr plans[SF_PLAN_COUNT];

/* Set a variable until the current nesting level of settings ends. */
static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value,
							 superuser() ? PGC_SUSET : PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

static uint64
hand_out(SfRowFn fn, void *arg, MemoryContext caller)
{
	uint64		processed = SPI_processed;

	if (fn != NULL && SPI_tuptable != NULL)
	{
		SPITupleTable *table = SPI_tuptable;
		MemoryContext spi = MemoryContextSwitchTo(caller);

		for (uint64 i = 0; i < processed; i++)
			fn(table->vals[i], table->tupdesc, arg);
		MemoryContextSwitchTo(spi);
	}
	return processed;
}

/*
 * What surrounds every statement: identity, settings, SPI, snapshot.  No
 * PG_TRY: an error aborts the (sub)transaction, which undoes all four.
 */
typedef struct SfFrame
{
	MemoryContext caller;
	SfIdentity	saved;
	int			nest;
} SfFrame;

static void
enter(SfFrame *frame, Oid userid, int sec_flags, const char *search_path)
{
	frame->caller = CurrentMemoryContext;
	GetUserIdAndSecContext(&frame->saved.userid, &frame->saved.sec_context);
	SetUserIdAndSecContext(userid, frame->saved.sec_context | sec_flags);
	frame->nest = NewGUCNestLevel();
	set_local("search_path", search_path);
	set_local("intervalstyle", "iso_8601");
	set_local("row_security", "on");
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

static void
leave(SfFrame *frame)
{
	SPI_finish();
	AtEOXact_GUC(false, frame->nest);
	SetUserIdAndSecContext(frame->saved.userid, frame->saved.sec_context);
}

static void
check_result(int code, const char *sql)
{
	if (code < 0)
		elog(ERROR, "statement failed with code %s: %s", SPI_result_code_string(code), sql);
}

uint64
sf_plan_run(SfPlan which, const Datum *values, const char *nulls, SfRowFn fn, void *arg)
{
	const SfStatement *stmt = &sf_statements[which];
	SfFrame		frame;
	int			code;
	uint64		processed;

	enter(&frame, sf_ident_owner(), SECURITY_LOCAL_USERID_CHANGE, PINNED_PATH);
	if (plans[which] == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(stmt->sql, stmt->nargs, (Oid *) stmt->types);

		if (plan == NULL)
			elog(ERROR, "could not prepare statement: %s: %s",
				 SPI_result_code_string(SPI_result), stmt->sql);
		SPI_keepplan(plan);
		plans[which] = plan;
	}
	if (stmt->read_only)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetLatestSnapshot());
	}
	code = SPI_execute_plan(plans[which], (Datum *) values, nulls, stmt->read_only, 0);
	if (stmt->read_only)
		PopActiveSnapshot();
	check_result(code, stmt->sql);
	processed = hand_out(fn, arg, frame.caller);
	leave(&frame);
	return processed;
}

uint64
sf_plan_command(const char *sql, SfRowFn fn, void *arg)
{
	SfFrame		frame;
	uint64		processed;

	enter(&frame, sf_ident_owner(), SECURITY_LOCAL_USERID_CHANGE, PINNED_PATH);
	check_result(SPI_execute(sql, false, 0), sql);
	processed = hand_out(fn, arg, frame.caller);
	leave(&frame);
	return processed;
}

/* --- statements made from patterns --- */

typedef struct SfTextPlan
{
	uint64		hash;			/* of the text */
	char	   *sql;
	SPIPlanPtr	plan;
} SfTextPlan;

/* the plan is prepared within SPI_connect */
static SPIPlanPtr
text_plan(const char *sql, int nargs, const Oid *types)
{
	static HTAB *text_plans = NULL;
	uint64		hash = hash_bytes_extended((const unsigned char *) sql, strlen(sql), 0);
	SfTextPlan *entry;
	SPIPlanPtr	plan;
	char	   *kept;

	if (text_plans == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(SfTextPlan)};

		text_plans = hash_create("sopflow text plans", 32, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(text_plans, &hash, HASH_FIND, NULL);
	if (entry != NULL && strcmp(entry->sql, sql) == 0)
		return entry->plan;
	/* always by the index, whatever statistics say, and never planned anew */
	plan = SPI_prepare_cursor(sql, nargs, (Oid *) types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare statement: %s: %s", SPI_result_code_string(SPI_result), sql);
	/* another text of this hash may be running now */
	if (entry != NULL)
		return plan;
	kept = MemoryContextStrdup(TopMemoryContext, sql);
	SPI_keepplan(plan);
	entry = hash_search(text_plans, &hash, HASH_ENTER, NULL);
	entry->sql = kept;
	entry->plan = plan;
	return plan;
}

/*
 * Have it planned for its index, however small the table is by now: sessions
 * keep their plans while it grows.  Where there is none, the price put on that
 * must not have the statement compiled.
 */
static void
plan_by_index(SPIPlanPtr plan)
{
	bool		saved_seqscan = enable_seqscan;
	bool		saved_jit = jit_enabled;
	CachedPlan *cached = NULL;

	enable_seqscan = jit_enabled = false;
	PG_TRY();
	{
		cached = SPI_plan_get_cached_plan(plan);
	}
	PG_FINALLY();
	{
		enable_seqscan = saved_seqscan;
		jit_enabled = saved_jit;
	}
	PG_END_TRY();
	if (cached != NULL)
		ReleaseCachedPlan(cached, CurrentResourceOwner);
}

uint64
sf_plan_text(Oid role, const char *sql, int nargs, const Oid *types, const Datum *values,
			 const char *nulls, SfRowFn fn, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	SfIdentity	saved;
	SPIPlanPtr	plan;
	uint64		processed;

	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	if (OidIsValid(role))
		SetUserIdAndSecContext(role, saved.sec_context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	plan = text_plan(sql, nargs, types);
	plan_by_index(plan);
	check_result(SPI_execute_plan(plan, (Datum *) values, nulls, false, 0),
				 sql);
	processed = hand_out(fn, arg, caller);
	SPI_finish();
	SetUserIdAndSecContext(saved.userid, saved.sec_context);
	return processed;
}

uint64
sf_plan_query_as(Oid owner, bool keep, const char *sql, int nargs, const Oid *types,
				 const Datum *values, SfRowFn fn, void *arg)
{
	SfFrame		frame;
	uint64		processed;

	enter(&frame, owner, SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION, PINNED_PATH);
	PushActiveSnapshot(GetLatestSnapshot());
	if (keep)
	{
		SPIPlanPtr	plan = text_plan(sql, nargs, types);

		plan_by_index(plan);
		check_result(SPI_execute_plan(plan, (Datum *) values, NULL, true, 0), sql);
	}
	else
		check_result(SPI_execute_with_args(sql, nargs, (Oid *) types, (Datum *) values, NULL, true,
										   0), sql);
	PopActiveSnapshot();
	processed = hand_out(fn, arg, frame.caller);
	leave(&frame);
	return processed;
}

/* a query of a user's that is to read, and no more */
static void
check_query(SPIPlanPtr plan, const char *sql)
{
	List	   *sources = plan ? SPI_plan_get_plan_sources(plan) : NIL;
	CachedPlanSource *source = list_length(sources) == 1 ? linitial(sources) : NULL;
	Query	   *query;

	if (source == NULL || list_length(source->query_list) != 1 ||
		(query = linitial_node(Query, source->query_list))->commandType != CMD_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("not one SELECT: \"%.200s\"", sql)));
	if (query->hasModifyingCTE || query->rowMarks != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("query must only read: \"%.200s\"", sql)));
	if (contain_volatile_functions((Node *) query))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("query must not use volatile functions: \"%.200s\"", sql)));
}

struct _SPI_plan *
sf_plan_prepare(const char *sql, SfParserSetup setup, void *arg, TupleDesc *columns)
{
	SPIPlanPtr	plan;
	CachedPlanSource *source;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	int			nest = NewGUCNestLevel();

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	sf_expr_fix_strings();
	plan = SPI_prepare_params(sql, setup, arg, CURSOR_OPT_PARALLEL_OK | CURSOR_OPT_GENERIC_PLAN);
	AtEOXact_GUC(false, nest);
	check_query(plan, sql);
	spi = MemoryContextSwitchTo(caller);
	source = linitial(SPI_plan_get_plan_sources(plan));
	*columns = CreateTupleDescCopy(source->resultDesc);
	MemoryContextSwitchTo(spi);
	SPI_keepplan(plan);
	SPI_finish();
	return plan;
}

bool
sf_plan_is_valid(struct _SPI_plan *plan)
{
	return SPI_plan_is_valid(plan);
}

void
sf_plan_forget(struct _SPI_plan *plan)
{
	SPI_freeplan(plan);
}

uint64
sf_plan_execute(struct _SPI_plan *plan, ParamListInfo params, bool newest, int max_rows,
				SfRowFn fn, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	uint64		processed;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	plan_by_index(plan);
	CommandCounterIncrement();
	PushActiveSnapshot(newest ? GetLatestSnapshot() : GetTransactionSnapshot());
	check_result(SPI_execute_plan_with_paramlist(plan, params, true, max_rows), "query");
	PopActiveSnapshot();
	processed = hand_out(fn, arg, caller);
	SPI_finish();
	return processed;
}

/*
 * The statement may be of tables whose owner has changed types, or has meant
 * them to be wrong.
 */
static Datum
column_of(HeapTuple tuple, TupleDesc desc, int column, Oid wanted, bool *isnull)
{
	Oid			type = TupleDescAttr(desc, column - 1)->atttypid;

	if (type != wanted)
		type = getBaseType(type);
	if (type == VARCHAROID || type == BPCHAROID)
		type = TEXTOID;
	if (type != wanted && (wanted == TEXTOID || !TupleDescAttr(desc, column - 1)->attbyval))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" must be of type %s, not %s",
						NameStr(TupleDescAttr(desc, column - 1)->attname),
						format_type_be(wanted), format_type_be(type))));
	return heap_getattr(tuple, column, desc, isnull);
}

char *
sf_plan_type_name(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

char *
sf_row_text(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = column_of(tuple, desc, column, TEXTOID, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

int64
sf_row_int64(HeapTuple tuple, TupleDesc desc, int column, int64 otherwise)
{
	bool		isnull;
	Datum		value = column_of(tuple, desc, column, INT8OID, &isnull);

	return isnull ? otherwise : DatumGetInt64(value);
}

int32
sf_row_int32(HeapTuple tuple, TupleDesc desc, int column, int32 otherwise)
{
	bool		isnull;
	Datum		value = column_of(tuple, desc, column, INT4OID, &isnull);

	return isnull ? otherwise : DatumGetInt32(value);
}

bool
sf_row_bool(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = column_of(tuple, desc, column, BOOLOID, &isnull);

	return !isnull && DatumGetBool(value);
}

Oid
sf_row_oid(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = column_of(tuple, desc, column, OIDOID, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}
