/*
 * sqlfunc_calendar.c
 *	  The triggers of calendars and holidays, and next_opening().
 *
 * Who edits a calendar or a holiday holds the lock of the calendar's row, and
 * all of it is checked by the row triggers, as the role that writes.  Only that
 * no SOP loses its calendar is left to the commit.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "calendar.h"
#include "edit.h"
#include "errors.h"
#include "ident.h"
#include "plan.h"

PG_FUNCTION_INFO_V1(sopflow_calendar_row);
PG_FUNCTION_INFO_V1(sopflow_calendar_after);
PG_FUNCTION_INFO_V1(sopflow_calendar_check);
PG_FUNCTION_INFO_V1(sopflow_check_calendar);
PG_FUNCTION_INFO_V1(sopflow_next_opening);

typedef struct SfOwner
{
	Oid			owner;
	TransactionId xmin;			/* that wrote the calendar's row */
} SfOwner;

static bool
is_holiday(Relation rel)
{
	return strcmp(RelationGetRelationName(rel), "holiday") == 0;
}

static int
calendar_fault(const char *table, const char *column)
{
	err_generic_string(PG_DIAG_SCHEMA_NAME, "sopflow");
	err_generic_string(PG_DIAG_TABLE_NAME, table);
	return err_generic_string(PG_DIAG_COLUMN_NAME, column);
}

static void
demand_sound(const char *name, const char *time_zone, ArrayType *weekdays, TimeADT opens,
			 TimeADT closes)
{
	SfCalendarFault fault;

	if (!sf_calendar_is_sound(time_zone, weekdays, opens, closes, &fault))
		ereport(ERROR,
				(errcode(ERRCODE_SF_INVALID_DEFINITION),
				 errmsg("calendar \"%s\" is not valid: column \"%s\": %s",
						name, fault.column, fault.message),
				 errhint("%s", fault.hint),
				 calendar_fault("calendar", fault.column)));
}

/* --- calendars --- */

static HeapTuple
calendar_row(SfEdit *edit)
{
	Relation	rel = edit->rel;
	HeapTuple	new = edit->new;
	const char *columns[] = {"weekdays", "opens", "closes", "time_zone"};
	Datum		values[lengthof(columns)];
	char	   *name;
	bool		isnull;

	if (edit->old != NULL)
	{
		name = sf_edit_text(rel, edit->old, "calendar");
		sf_edit_demand_member(sf_edit_oid(rel, edit->old, "owner"), "calendar", name);
		if (new == NULL)
			return edit->old;
	}
	name = sf_edit_text(rel, new, "calendar");
	if (name == NULL)
		return new;				/* NOT NULL says so */
	sf_edit_demand_member(sf_edit_oid(rel, new, "owner"), "calendar", name);
	if (edit->old != NULL)
	{
		int64		revision = DatumGetInt64(sf_edit_column(rel, edit->old, "revision", &isnull));

		if (strcmp(name, sf_edit_text(rel, edit->old, "calendar")) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("calendar \"%s\" cannot be renamed",
							sf_edit_text(rel, edit->old, "calendar")),
					 errhint("Insert another one, and delete this when no SOP uses it.")));
		new = sf_edit_set(rel, new, "revision", Int64GetDatum(revision + 1), false);
	}
	for (int i = 0; i < lengthof(columns); i++)
	{
		values[i] = sf_edit_column(rel, new, columns[i], &isnull);
		if (isnull)
			return new;			/* NOT NULL says so */
	}
	demand_sound(name, TextDatumGetCString(values[3]), DatumGetArrayTypeP(values[0]),
				 DatumGetTimeADT(values[1]), DatumGetTimeADT(values[2]));
	return new;
}

/* --- holidays --- */

static void
take_owner(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfOwner    *owner = arg;

	owner->owner = sf_row_oid(tuple, desc, 1);
	owner->xmin = (TransactionId) sf_row_int64(tuple, desc, 2, InvalidTransactionId);
}

/*
 * Lock the calendar and raise its revision, unless this transaction has, and
 * demand that the writer may change it.
 */
static void
touch(const char *name)
{
	Datum		values[1] = {CStringGetTextDatum(name)};
	SfOwner		owner;

	/* none: demand_calendar says so, or it is being deleted with its holidays */
	if (sf_plan_run(SF_PLAN_CALENDAR_OWNER, values, NULL, take_owner, &owner) == 0)
		return;
	sf_edit_demand_member(owner.owner, "calendar", name);
	if (!TransactionIdIsNormal(owner.xmin) || !TransactionIdIsCurrentTransactionId(owner.xmin))
		sf_plan_run(SF_PLAN_CALENDAR_TOUCH, values, NULL, NULL, NULL);
}

static HeapTuple
holiday_row(SfEdit *edit)
{
	char	   *before = edit->old ? sf_edit_text(edit->rel, edit->old, "calendar") : NULL;
	char	   *after = edit->new ? sf_edit_text(edit->rel, edit->new, "calendar") : NULL;

	if (before != NULL)
		touch(before);
	if (after != NULL && (before == NULL || strcmp(before, after) != 0))
		touch(after);
	if (after != NULL)
	{
		bool		isnull;
		DateADT		day = DatumGetDateADT(sf_edit_column(edit->rel, edit->new, "day", &isnull));

		if (!isnull && DATE_NOT_FINITE(day))
			ereport(ERROR,
					(errcode(ERRCODE_SF_INVALID_DEFINITION),
					 errmsg("calendar \"%s\" is not valid: column \"day\": a holiday is a day, and not infinity",
							after),
					 errhint("To close a day of every week, take it out of \"weekdays\" of the calendar."),
					 calendar_fault("holiday", "day")));
		/* a file has YYYY-MM-DD */
		if (!isnull && (day < date2j(1, 1, 1) - POSTGRES_EPOCH_JDATE ||
						day > date2j(9999, 12, 31) - POSTGRES_EPOCH_JDATE))
			ereport(ERROR,
					(errcode(ERRCODE_SF_INVALID_DEFINITION),
					 errmsg("calendar \"%s\" is not valid: column \"day\": must be from 0001-01-01 to 9999-12-31",
							after),
					 calendar_fault("holiday", "day")));
	}
	return edit->new ? edit->new : edit->old;
}

/* BEFORE INSERT OR UPDATE OR DELETE FOR EACH ROW */
Datum
sopflow_calendar_row(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "calendar_row");

	if (sf_ident_restoring())
	{
		sf_edit_hold();
		return PointerGetDatum(edit.new ? edit.new : edit.old);
	}
	return PointerGetDatum(is_holiday(edit.rel) ? holiday_row(&edit) : calendar_row(&edit));
}

/*
 * No foreign key, because pg_restore --jobs loads the tables of extensions in
 * any order.  The calendar is locked, so that nobody deletes it before we commit.
 */
static void
demand_calendar(Relation rel, HeapTuple row)
{
	char	   *name = sf_edit_text(rel, row, "calendar");

	if (!sf_calendar_lock(name))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("calendar \"%s\" does not exist", name),
				 errtablecol(rel, get_attnum(RelationGetRelid(rel), "calendar"))));
}

/* AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW */
Datum
sopflow_calendar_after(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "calendar_after");

	sf_calendar_changed();
	if (is_holiday(edit.rel))
	{
		if (edit.new != NULL && !sf_ident_restoring())
			demand_calendar(edit.rel, edit.new);
	}
	else if (edit.new == NULL)
	{
		Datum		values[1] = {CStringGetTextDatum(sf_edit_text(edit.rel, edit.old, "calendar"))};

		sf_plan_run(SF_PLAN_HOLIDAYS_DELETE, values, NULL, NULL, NULL);
	}
	return PointerGetDatum(NULL);
}

/* --- the end of a calendar --- */

static void
report_user(HeapTuple tuple, TupleDesc desc, void *arg)
{
	ereport(ERROR,
			(errcode(ERRCODE_SF_INVALID_DEFINITION),
			 errmsg("calendar \"%s\" cannot be deleted: SOP \"%s\", column \"calendar\" names it",
					(const char *) arg, sf_row_text(tuple, desc, 1)),
			 calendar_fault("sop", "calendar")));
}

static void
report_run(HeapTuple tuple, TupleDesc desc, void *arg)
{
	const char *sop_id = sf_row_text(tuple, desc, 1);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("calendar \"%s\" cannot be deleted: active runs of SOP \"%s\" keep to it",
					(const char *) arg, sop_id),
			 errhint("Let them end, or end them with sopflow.cancel(sop_id => %s).",
					 quote_literal_cstr(sop_id))));
}

/* deferred constraint trigger AFTER DELETE on calendars */
Datum
sopflow_calendar_check(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "calendar_check");
	char	   *name = edit.old ? sf_edit_text(edit.rel, edit.old, "calendar") : NULL;
	Datum		values[1];

	if (sf_ident_restoring() || name == NULL)
		return PointerGetDatum(NULL);
	/* it may have been made anew since */
	if (sf_calendar_lock(name))
		return PointerGetDatum(NULL);
	values[0] = CStringGetTextDatum(name);
	sf_plan_run(SF_PLAN_CALENDAR_USERS, values, NULL, report_user, name);
	sf_plan_run(SF_PLAN_CALENDAR_RUNS, values, NULL, report_run, name);
	return PointerGetDatum(NULL);
}

/* --- functions --- */

static void
check_row(HeapTuple tuple, TupleDesc desc, void *arg)
{
	bool		isnull;

	demand_sound(arg, sf_row_text(tuple, desc, 1),
				 DatumGetArrayTypeP(heap_getattr(tuple, 2, desc, &isnull)),
				 DatumGetTimeADT(heap_getattr(tuple, 3, desc, &isnull)),
				 DatumGetTimeADT(heap_getattr(tuple, 4, desc, &isnull)));
}

/* check a calendar as it is stored; for restored() */
Datum
sopflow_check_calendar(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum		values[1] = {PG_GETARG_DATUM(0)};

	sf_plan_run(SF_PLAN_CALENDAR, values, NULL, check_row, name);
	PG_RETURN_VOID();
}

Datum
sopflow_next_opening(PG_FUNCTION_ARGS)
{
	const SfCalendar *calendar;
	char	   *name;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	calendar = sf_calendar_named(name);
	if (calendar == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("calendar \"%s\" does not exist", name)));
	PG_RETURN_TIMESTAMPTZ(sf_calendar_open(calendar,
										   PG_ARGISNULL(2) ? NULL :
										   text_to_cstring(PG_GETARG_TEXT_PP(2)),
										   PG_GETARG_TIMESTAMPTZ(1)));
}
