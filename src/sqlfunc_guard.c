/*
 * sqlfunc_guard.c
 *	  SQL functions that hold tables to rule sets.
 *
 * A guard is three BEFORE ROW triggers, one for each event since a WHEN cannot
 * name a row that the event has not, and a row in sopflow.guarded.  Who asks
 * for it must own the table and be a member of the rule set's owner; the
 * triggers are made as the extension's owner.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "ident.h"
#include "plan.h"
#include "target.h"

PG_FUNCTION_INFO_V1(sopflow_guard);
PG_FUNCTION_INFO_V1(sopflow_unguard);

/* '~' comes after all other characters of ASCII, and triggers fire by name */
#define NAME_FORMAT		"~sopflow_guard_%s_%s"

static const char *const events[] = {"insert", "update", "delete"};

/* --- rights --- */

static void
take_owner(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(Oid *) arg = sf_row_oid(tuple, desc, 1);
}

/* returns the owner of the rule set */
static Oid
demand_member(Datum rule_set)
{
	Oid			owner = InvalidOid;
	char	   *name = TextDatumGetCString(rule_set);

	if (sf_plan_run(SF_PLAN_RULE_SET_OWNER, &rule_set, NULL, take_owner, &owner) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("rule set \"%s\" does not exist", name)));
	if (!has_privs_of_role(GetUserId(), owner))
	{
		char	   *owner_name = GetUserNameFromId(owner, true);

		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for rule set \"%s\"", name),
				 owner_name ? errdetail("Role \"%s\" is not a member of its owner \"%s\".",
										GetUserNameFromId(GetUserId(), false), owner_name) :
				 errdetail("Its owner is gone.")));
	}
	return owner;
}

static Relation
open_guarded(Oid relid, LOCKMODE lockmode)
{
	return sf_target_open(relid, lockmode, "guarded", "Guard the tables that rows are written to.");
}

/* --- facts --- */

typedef struct SfGuardFacts
{
	Relation	rel;
	const char *rule_set;
	bool		has_row;		/* new or old is declared */
} SfGuardFacts;

static void
check_fact(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfGuardFacts *facts = arg;
	char	   *fact = sf_row_text(tuple, desc, 1);
	Oid			type = sf_row_oid(tuple, desc, 2);
	Oid			row_type = facts->rel->rd_rel->reltype;

	if (strcmp(fact, "new") == 0 || strcmp(fact, "old") == 0)
	{
		facts->has_row = true;
		if (type != row_type && !typeInheritsFrom(row_type, type))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("fact \"%s\" of rule set \"%s\" is of type %s, and a row of table \"%s\" is not",
							fact, facts->rule_set, format_type_be(type),
							RelationGetRelationName(facts->rel)),
					 errhint("The facts new and old of a rule set are rows of the table that it guards.")));
	}
	else if (!sf_row_bool(tuple, desc, 3))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("fact \"%s\" of rule set \"%s\" has no query, and a guard gives only new and old",
						fact, facts->rule_set),
				 errdetail("It is of type %s.", format_type_be(type)),
				 errhint("Give the fact a query, or guard the table with a rule set that does not declare it.")));
}

static void
check_facts(Relation rel, Datum rule_set)
{
	SfGuardFacts facts = {rel, TextDatumGetCString(rule_set), false};

	sf_plan_run(SF_PLAN_GUARD_FACTS, &rule_set, NULL, check_fact, &facts);
	if (!facts.has_row)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rule set \"%s\" declares neither a fact new nor a fact old",
						facts.rule_set),
				 errhint("Declare them in sopflow.rule_fact with type %s.",
						 format_type_be(rel->rd_rel->reltype))));
}

/* --- columns --- */

static Form_pg_attribute
find_column(Relation rel, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);
	Form_pg_attribute att;

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, RelationGetRelationName(rel))));
	if (attnum < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("system column \"%s\" cannot be guarded", name)));
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (att->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("generated column \"%s\" of relation \"%s\" cannot be guarded",
						name, RelationGetRelationName(rel)),
				 errdetail("It is computed after the guard has looked at the row."),
				 errhint("Name the columns that it is computed from.")));
	return att;
}

static List *
find_columns(Relation rel, ArrayType *array)
{
	Datum	   *names;
	bool	   *nulls;
	int			n;
	List	   *columns = NIL;

	if (ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("columns must be a list of at least one column"),
				 errhint("Leave it out, or give null, for a guard of every write.")));
	deconstruct_array(array, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &names, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("columns must not contain null")));
		att = find_column(rel, NameStr(*DatumGetName(names[i])));
		if (list_member_ptr(columns, att))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" is named twice", NameStr(att->attname))));
		columns = lappend(columns, att);
	}
	return columns;
}

/*
 * Whether values that IS DISTINCT FROM takes for the same are the same to every
 * rule.  To others' equality two values may be one that a rule tells apart,
 * and some types have none.
 */
static bool
equality_is_exact(Form_pg_attribute att)
{
	Oid			type = getBaseType(att->atttypid);

	if (OidIsValid(att->attcollation) && !get_collation_isdeterministic(att->attcollation))
		return false;
	switch (type)
	{
		case BOOLOID:
		case BPCHAROID:
		case BYTEAOID:
		case DATEOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case JSONBOID:
		case NAMEOID:
		case NUMERICOID:
		case OIDOID:
		case TEXTOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
		case VARCHAROID:
			return true;
		default:
			return type_is_enum(type);
	}
}

static void
append_or(StringInfo buf)
{
	if (buf->len > 0)
		appendStringInfoString(buf, " OR ");
}

/* the columns whose equality is not exact are compared byte by byte, as one row */
static char *
update_condition(List *columns)
{
	StringInfoData buf;
	StringInfoData old;
	StringInfoData new;
	ListCell   *lc;

	initStringInfo(&buf);
	initStringInfo(&old);
	initStringInfo(&new);
	foreach(lc, columns)
	{
		Form_pg_attribute att = lfirst(lc);
		const char *name = quote_identifier(NameStr(att->attname));

		if (equality_is_exact(att))
		{
			append_or(&buf);
			appendStringInfo(&buf, "OLD.%s IS DISTINCT FROM NEW.%s", name, name);
			continue;
		}
		appendStringInfo(&old, "%sOLD.%s", old.len > 0 ? ", " : "", name);
		appendStringInfo(&new, "%sNEW.%s", new.len > 0 ? ", " : "", name);
	}
	if (old.len > 0)
	{
		append_or(&buf);
		appendStringInfo(&buf, "record_image_ne(ROW(%s), ROW(%s))", old.data, new.data);
	}
	return buf.data;
}

/* IS NOT NULL of a composite value asks for its fields */
static char *
presence_condition(List *columns, const char *row)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, columns)
	{
		append_or(&buf);
		appendStringInfo(&buf, "%s.%s IS DISTINCT FROM NULL", row,
						 quote_identifier(NameStr(((Form_pg_attribute) lfirst(lc))->attname)));
	}
	return buf.data;
}

/* --- triggers --- */

static char *
trigger_name(const char *event, const char *rule_set)
{
	char	   *name = psprintf(NAME_FORMAT, event, rule_set);
	int			length = strlen(name);
	uint64		hash;
	char	   *tail;

	if (length < NAMEDATALEN)
		return name;
	hash = hash_bytes_extended((const unsigned char *) rule_set, strlen(rule_set), 0);
	tail = psprintf("_%08x%08x", (uint32) (hash >> 32), (uint32) hash);
	name[pg_mbcliplen(name, length, NAMEDATALEN - 1 - strlen(tail))] = '\0';
	return psprintf("%s%s", name, tail);
}

static char *
table_name(Relation rel)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									  RelationGetRelationName(rel));
}

/* replaced where they are there: those of a guard that goes on must not be dropped */
static void
make_triggers(Relation rel, const char *rule_set, List *columns)
{
	for (int i = 0; i < lengthof(events); i++)
	{
		char	   *condition = NULL;

		if (columns != NIL && i == 1)
			condition = update_condition(columns);
		else if (columns != NIL)
			condition = presence_condition(columns, i == 0 ? "NEW" : "OLD");
		sf_plan_command(psprintf("CREATE OR REPLACE TRIGGER %s BEFORE %s ON %s FOR EACH ROW%s%s%s"
								 " EXECUTE FUNCTION sopflow.enforce(%s)",
								 quote_identifier(trigger_name(events[i], rule_set)), events[i],
								 table_name(rel), condition ? " WHEN (" : "",
								 condition ? condition : "", condition ? ")" : "",
								 quote_literal_cstr(rule_set)), NULL, NULL);
	}
}

typedef struct SfRelated
{
	Oid			relid;
	bool		above;
} SfRelated;

static void
take_related(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfRelated  *related = arg;

	related->relid = sf_row_oid(tuple, desc, 1);
	related->above = sf_row_bool(tuple, desc, 2);
}

/* a partition has the triggers of its parent's guard, and none of the same name beside them */
static void
refuse_twice(Relation rel, Datum rule_set)
{
	Datum		values[2] = {ObjectIdGetDatum(RelationGetRelid(rel)), rule_set};
	SfRelated	related;
	char	   *set = TextDatumGetCString(rule_set);
	char	   *partition;

	if (sf_plan_run(SF_PLAN_GUARD_RELATED, values, NULL, take_related, &related) == 0)
		return;
	if (related.above)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is guarded by rule set \"%s\" through its parent \"%s\"",
						RelationGetRelationName(rel), set, get_rel_name(related.relid)),
				 errhint("A guard of a partitioned table holds all its partitions; change that one.")));
	partition = quote_qualified_identifier(get_namespace_name(get_rel_namespace(related.relid)),
										   get_rel_name(related.relid));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("partition \"%s\" of table \"%s\" is guarded by rule set \"%s\" itself",
					get_rel_name(related.relid), RelationGetRelationName(rel), set),
			 errhint("Use SELECT sopflow.unguard(%s, %s) first.",
					 quote_literal_cstr(partition), quote_literal_cstr(set))));
}

/* --- warnings --- */

static void
warn_of_later(HeapTuple tuple, TupleDesc desc, void *arg)
{
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("trigger \"%s\" of table \"%s\" fires after the guard by rule set \"%s\" on %s and may change what it let pass",
					sf_row_text(tuple, desc, 1), get_rel_name(sf_row_oid(tuple, desc, 2)),
					sf_row_text(tuple, desc, 3), sf_row_text(tuple, desc, 4)),
			 sf_row_text(tuple, desc, 5) == NULL ?
			 errhint("Give it a name that sorts before \"%s\".", "~sopflow_guard_") :
			 errhint("Rule sets of one table fire in the order of their names; those that set fields belong first, or into one set with the others.")));
}

static void
warn_of_children(Relation rel)
{
	if (rel->rd_rel->relkind == RELKIND_RELATION && has_subclass(RelationGetRelid(rel)))
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("rows of the tables that inherit from \"%s\" are not held to the rule set",
						RelationGetRelationName(rel)),
				 errhint("Guard each of them.")));
}

/* --- SQL --- */

static void
record_guard(Relation rel, Datum rule_set, ArrayType *columns)
{
	/* nobody deletes the set before we commit */
	bool		locked = sf_plan_run(SF_PLAN_RULE_SET_LOCK, &rule_set, NULL, NULL, NULL) > 0;
	Oid			rule_set_owner = demand_member(rule_set);
	Datum		values[5];
	char		nulls[6] = "     ";

	if (!locked)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent change of rule set \"%s\"",
						TextDatumGetCString(rule_set))));
	values[0] = ObjectIdGetDatum(RelationGetRelid(rel));
	values[1] = rule_set;
	values[2] = PointerGetDatum(columns);
	nulls[2] = columns != NULL ? ' ' : 'n';
	values[3] = ObjectIdGetDatum(rel->rd_rel->relowner);
	values[4] = ObjectIdGetDatum(rule_set_owner);
	sf_plan_run(SF_PLAN_GUARD_SET, values, nulls, NULL, NULL);
}

/* guard(relation, rule_set, columns) */
Datum
sopflow_guard(PG_FUNCTION_ARGS)
{
	Oid			relid;
	Datum		rule_set;
	Relation	rel;
	ArrayType  *array = PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2);
	List	   *columns = NIL;
	Datum		values[2];

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation and rule_set must not be null")));
	relid = PG_GETARG_OID(0);
	rule_set = PG_GETARG_DATUM(1);
	sf_target_demand_owner(relid);
	(void) demand_member(rule_set);
	rel = open_guarded(relid, ShareRowExclusiveLock);
	if (array != NULL)
		columns = find_columns(rel, array);
	refuse_twice(rel, rule_set);
	check_facts(rel, rule_set);
	record_guard(rel, rule_set, array);
	make_triggers(rel, TextDatumGetCString(rule_set), columns);
	/* those who attach partitions make the triggers anew, and need the right */
	sf_plan_run(SF_PLAN_GUARD_OPEN, NULL, NULL, NULL, NULL);

	values[0] = ObjectIdGetDatum(relid);
	values[1] = rule_set;
	sf_plan_run(SF_PLAN_GUARD_LATER, values, NULL, warn_of_later, NULL);
	warn_of_children(rel);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

static void
take_name(HeapTuple tuple, TupleDesc desc, void *arg)
{
	List	  **names = arg;

	*names = lappend(*names, sf_row_text(tuple, desc, 1));
}

/* unguard(relation, rule_set) */
Datum
sopflow_unguard(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Datum		values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	Relation	rel;
	List	   *triggers = NIL;
	ListCell   *lc;
	bool		found;
	char	   *table;

	sf_target_demand_owner(relid);
	rel = open_guarded(relid, AccessExclusiveLock);
	table = table_name(rel);
	table_close(rel, NoLock);
	sf_plan_run(SF_PLAN_GUARD_TRIGGERS, values, NULL, take_name, &triggers);
	/* the row first: a trigger dropped while there is one is warned of */
	found = sf_plan_run(SF_PLAN_GUARD_DELETE, values, NULL, NULL, NULL) > 0;
	foreach(lc, triggers)
		sf_plan_command(psprintf("DROP TRIGGER %s ON %s", quote_identifier(lfirst(lc)), table),
						NULL, NULL);
	PG_RETURN_BOOL(found || triggers != NIL);
}
