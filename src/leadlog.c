/*
 * leadlog.c
 *	  The log of operations on leads.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "clock.h"
#include "ident.h"
#include "leadlog.h"
#include "plan.h"
#include "ruleset.h"

/*
 * Rule sets that decide on the table, with their revision and that of their
 * parameters: as of this statement, like the decision itself.
 */
static List *
rules_of(Relation rel)
{
	/* whoever writes a lead needs no right on the schema */
	Oid			enforce = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, PointerGetDatum("enforce"),
										  PointerGetDatum(buildoidvector(NULL, 0)),
										  ObjectIdGetDatum(sf_ident_schema()));
	List	   *names = NIL;
	List	   *rules = NIL;
	ListCell   *lc;

	/* copies: what follows may build the relation's entry of the cache anew */
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgfoid == enforce && trigger->tgnargs == 1 && trigger->tgenabled != 'D' &&
			!list_member(names, makeString(trigger->tgargs[0])))
			names = lappend(names, makeString(pstrdup(trigger->tgargs[0])));
	}
	foreach(lc, names)
	{
		SfRuleSet  *set = sf_ruleset_get(strVal(lfirst(lc)), InvalidOid);

		if (set->enabled)
			rules = lappend(rules, psprintf("%s " INT64_FORMAT "." INT64_FORMAT, set->name,
											set->revision, set->param_revision));
	}
	return rules;
}

static Datum
text_array(List *texts)
{
	Datum	   *values = palloc(Max(list_length(texts), 1) * sizeof(Datum));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, texts)
		values[n++] = CStringGetTextDatum(lfirst(lc));
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Written with the rights of the log's owner, who must own the leads too: else
 * anybody with a table of that name could write somebody's log.
 */
static Oid
log_owner(Relation leads, const char *schema)
{
	Oid			namespace = get_namespace_oid(schema, false);
	Oid			relid = get_relname_relid("opportunity_log", namespace);
	Relation	log;
	Oid			owner;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("schema \"%s\" has no table opportunity_log", schema)));
	log = table_open(relid, RowExclusiveLock);
	owner = log->rd_rel->relowner;
	if (log->rd_rel->relkind != RELKIND_RELATION &&
		log->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(log))));
	if (owner != leads->rd_rel->relowner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("tables \"%s\" and \"%s\" have different owners",
						RelationGetRelationName(leads), RelationGetRelationName(log)),
				 errhint("The log of leads belongs to who owns the leads.")));
	table_close(log, NoLock);
	return owner;
}

void
sf_leadlog_write(Relation leads, const char *schema, const SfLogRow *row)
{
	static const Oid types[] = {
		TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID, INT8OID, INT8OID,
		TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, TEXTOID
	};
	Datum		values[lengthof(types)];
	char		nulls[lengthof(types) + 1];

	memset(nulls, ' ', sizeof(nulls));
	nulls[lengthof(types)] = '\0';
	values[0] = TimestampTzGetDatum(sf_clock_transaction());
	values[1] = Int64GetDatum(row->opportunity_id);
	sf_put_text(&values[2], &nulls[2], row->operation->operation);
	sf_put_text(&values[3], &nulls[3], row->operation->operation_type);
	values[4] = BoolGetDatum(row->ok);
	sf_put_text(&values[5], &nulls[5], row->code);
	sf_put_text(&values[6], &nulls[6], row->message);
	sf_put_owner(&values[7], &nulls[7], row->from);
	sf_put_owner(&values[8], &nulls[8], row->to);
	sf_put_text(&values[9], &nulls[9], row->from_status);
	sf_put_text(&values[10], &nulls[10], row->to_status);
	sf_put_text(&values[11], &nulls[11], row->minor_status);
	sf_put_text(&values[12], &nulls[12], row->operation->actor);
	sf_put_text(&values[13], &nulls[13], row->operation->event);
	sf_put_text(&values[14], &nulls[14], row->operation->reason_type);
	sf_put_text(&values[15], &nulls[15], row->operation->reason);
	values[16] = text_array(rules_of(leads));
	sf_put_text(&values[17], &nulls[17], row->details);
	sf_plan_text(log_owner(leads, schema),
				 psprintf("INSERT INTO %s.opportunity_log (logged_at, opportunity_id, operation,"
						  " operation_type, ok, code, message, from_owner, to_owner, from_status,"
						  " to_status, minor_status, operator, event, reason_type, reason, rules,"
						  " details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
						  " $13, $14, $15, $16, $17, $18)", quote_identifier(schema)),
				 lengthof(types), types, values, nulls, NULL, NULL);
}

static Datum
lead_column(Relation rel, HeapTuple row, const char *name, Oid type, bool *isnull)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum <= 0 || TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("table \"%s\" has no column \"%s\" of type %s",
						RelationGetRelationName(rel), name, format_type_be(type)),
				 errhint("The log of leads needs it.")));
	*isnull = true;
	return row == NULL ? (Datum) 0 : heap_getattr(row, attnum, RelationGetDescr(rel), isnull);
}

static SfOwner
lead_owner(Relation rel, HeapTuple row)
{
	SfOwner		owner;

	owner.rep_id = DatumGetInt64(lead_column(rel, row, "owner_id", INT8OID, &owner.isnull));
	return owner;
}

static char *
lead_text(Relation rel, HeapTuple row, const char *name)
{
	bool		isnull;
	Datum		value = lead_column(rel, row, name, TEXTOID, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

void
sf_leadlog_trigger(TriggerData *trigger, const char *schema)
{
	Relation	rel = trigger->tg_relation;
	HeapTuple	old = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? NULL : trigger->tg_trigtuple;
	HeapTuple	new = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigtuple :
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : NULL;
	SfLogRow	row = {.ok = true};
	SfOperation operation;
	bool		isnull;

	row.from = lead_owner(rel, old);
	row.to = lead_owner(rel, new);
	operation = sf_operation_of(trigger, row.from, row.to);
	row.operation = &operation;
	row.opportunity_id = DatumGetInt64(lead_column(rel, new ? new : old, "opportunity_id", INT8OID,
												   &isnull));
	row.from_status = lead_text(rel, old, "status");
	row.to_status = lead_text(rel, new, "status");
	row.minor_status = lead_text(rel, new, "minor_status");
	sf_leadlog_write(rel, schema, &row);
	sf_operation_logged();
}

char *
sf_leadlog_rules(Oid relid, const char *name)
{
	Relation	rel = table_open(relid, AccessShareLock);
	List	   *rules = rules_of(rel);
	char	   *mark = psprintf("%s ", name);
	char	   *found = NULL;
	ListCell   *lc;

	/* with the schema before it, where another schema has the plain name */
	foreach(lc, rules)
		if (strstr(lfirst(lc), mark) != NULL)
			found = found == NULL ? lfirst(lc) : psprintf("%s, %s", found, (char *) lfirst(lc));
	table_close(rel, AccessShareLock);
	return found;
}
