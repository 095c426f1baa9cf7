/*
 * crm.c
 *	  The operations of the CRM pack.
 *
 * They run with the rights of their caller, over tables that are his or that he
 * was granted.  An operation first locks the rows, by their id, then the
 * keys of the quotas that it may count for, sorted; only then it writes the rows,
 * each in a subtransaction whose denial is a row of its result.  So these
 * functions never deadlock among themselves: none waits for a row while it has a
 * key, and each kind of lock is taken in one order.  Nor do they with an UPDATE
 * of one row, which has its row before the rules come to the key.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "crm_private.h"
#include "errors.h"
#include "fire.h"
#include "leadlog.h"
#include "plan.h"
#include "quota.h"

/* what is written, see write_lead for the parameters */
#define WRITE(what) "UPDATE %s.opportunities SET " what " WHERE opportunity_id = $1" \
	" RETURNING owner_id, status, minor_status"
#define SET_OWNER	WRITE("owner_id = $2")
#define SET_PUBLIC	WRITE("owner_id = NULL")
#define SET_FROZEN	WRITE("frozen_until = $3, minor_status = 'UNBIND_FROZEN'")
#define SET_NORMAL	WRITE("frozen_until = NULL, minor_status = 'UNBIND_NORMAL'")
#define SET_WON		WRITE("status = 'CONVERTED'")
#define SET_LOST	WRITE("status = 'LOST', lost_reason = $4")
/* its trigger writes the lead */
#define ADD_CONTACT	"INSERT INTO %s.contacts (opportunity_id, rep_id, contacted_at, note, kind)" \
	" VALUES ($1, $2, $3, $4, $5) RETURNING rep_id, NULL::text, NULL::text"

static const SfCrmOperation operations[] = {
	[SF_CRM_CLAIM] = {"CLAIM", SET_OWNER, NEED_NOTHING, true, NULL, 1},
	[SF_CRM_ASSIGN] = {"ASSIGN", SET_OWNER, NEED_NOTHING, true, NULL, 1},
	[SF_CRM_TRANSFER] = {"TRANSFER", SET_OWNER, NEED_OWNER, true, NULL, 1},
	[SF_CRM_HAND_OVER] = {"HAND_OVER", SET_OWNER, NEED_OWNER, true, NULL, 1},
	[SF_CRM_RELEASE] = {"RELEASE", SET_PUBLIC, NEED_OWNER, false, NULL, 1},
	[SF_CRM_RECYCLE] = {"RECYCLE", SET_PUBLIC, NEED_OWNER, false, NULL, 1},
	[SF_CRM_FREEZE] = {"FREEZE", SET_FROZEN, NEED_NO_OWNER, false, NULL, 1},
	[SF_CRM_UNFREEZE] = {"UNFREEZE", SET_NORMAL, NEED_NO_OWNER, false, NULL, 1},
	[SF_CRM_CONVERT] = {"CONVERT", SET_WON, NEED_OWNER, false, "CONVERTED", 1},
	[SF_CRM_LOSE] = {"LOSE", SET_LOST, NEED_NOTHING, false, "LOST", 1},
	[SF_CRM_LOG_CONTACT] = {"LOG_CONTACT", ADD_CONTACT, NEED_OWNER, false, NULL, 2},
};

/* --- the schema --- */

void
sf_crm_open(SfCrm *crm, SfCrmCall *call)
{
	Oid			namespace = get_namespace_oid(call->schema, false);

	memset(crm, 0, sizeof(SfCrm));
	crm->call = call;
	crm->operation = &operations[call->kind];
	crm->schema = quote_identifier(call->schema);
	crm->relid = get_relname_relid("opportunities", namespace);
	if (!OidIsValid(crm->relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("schema \"%s\" has no table opportunities", call->schema),
				 errhint("SELECT sopflow.create_crm(%s) makes it.",
						 quote_literal_cstr(call->schema))));
	crm->announced.operation = crm->operation->name;
	crm->announced.operation_type = call->operation_type;
	crm->announced.actor = call->actor;
	crm->announced.reason_type = call->reason_type;
	crm->announced.reason = call->reason;
}

SfOwner
sf_crm_read_owner(HeapTuple tuple, TupleDesc desc, int column)
{
	SfOwner		owner;

	owner.isnull = heap_attisnull(tuple, column, desc);
	owner.rep_id = sf_row_int64(tuple, desc, column, 0);
	return owner;
}

/* --- locks --- */

char *
sf_crm_key_of(int64 rep_id)
{
	return psprintf("rep:" INT64_FORMAT, rep_id);
}

void
sf_crm_lock_rep(int64 rep_id)
{
	char	   *key = sf_crm_key_of(rep_id);

	sf_quota_lock(&key, 1);
}

void
sf_crm_take_lead(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfCrm	   *crm = arg;
	SfLead	   *lead;

	if (crm->nleads == crm->max_leads)
	{
		crm->max_leads = Max(64, crm->max_leads * 2);
		crm->leads = crm->leads == NULL ? palloc(crm->max_leads * sizeof(SfLead)) :
			repalloc(crm->leads, crm->max_leads * sizeof(SfLead));
	}
	lead = &crm->leads[crm->nleads++];
	lead->id = sf_row_int64(tuple, desc, 1, 0);
	lead->owner = sf_crm_read_owner(tuple, desc, 2);
	lead->status = sf_row_text(tuple, desc, 3);
	lead->frozen = sf_row_bool(tuple, desc, 4);
}

Datum
sf_crm_ids_array(const SfCrmIds *ids)
{
	Datum	   *values = palloc(Max(ids->n, 1) * sizeof(Datum));
	int			dims[] = {ids->n};
	int			lbs[] = {1};

	for (int i = 0; i < ids->n; i++)
		values[i] = Int64GetDatum(ids->ids[i]);
	return PointerGetDatum(construct_md_array(values, ids->nulls, 1, dims, lbs, INT8OID,
											  sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

void
sf_crm_lock_leads(SfCrm *crm)
{
	static const Oid types[] = {INT8ARRAYOID};
	Datum		values[] = {sf_crm_ids_array(&crm->call->ids)};

	sf_plan_text(InvalidOid, psprintf(LEAD_COLUMNS "WHERE o.opportunity_id = ANY ($1)"
									  " ORDER BY o.opportunity_id FOR NO KEY UPDATE", crm->schema),
				 1, types, values, NULL, sf_crm_take_lead, crm);
}

static int
compare_lead(const void *key, const void *lead)
{
	int64		id = *(const int64 *) key;
	int64		other = ((const SfLead *) lead)->id;

	return id < other ? -1 : id > other;
}

/* --- one lead --- */

static SfCrmResult *
result_of(SfCrm *crm, const SfLead *lead, bool ok, const char *code, const char *message)
{
	SfCrmResult *result = palloc0(sizeof(SfCrmResult));

	result->has_id = true;
	result->ok = ok;
	result->code = code;
	result->message = message;
	result->from.isnull = result->to.isnull = true;
	if (lead != NULL)
	{
		result->opportunity_id = lead->id;
		result->from = lead->owner;
		result->to = ok ? crm->owner : lead->owner;
	}
	return result;
}

static void
take_owner(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfCrm	   *crm = arg;

	crm->owner = sf_crm_read_owner(tuple, desc, 1);
	crm->status = sf_row_text(tuple, desc, 2);
	crm->minor_status = sf_row_text(tuple, desc, 3);
	crm->written = true;
}

/* into the log: of what was done, what became of the lead */
static void
log_work(SfCrm *crm, bool ok, const char *code, const char *message, const char *details)
{
	Relation	leads = table_open(crm->relid, AccessShareLock);
	SfOperation operation = crm->announced;
	SfLogRow	row = {.opportunity_id = crm->lead->id, .operation = &operation, .ok = ok};

	operation.event = "function";
	row.code = code;
	row.message = message;
	row.details = details;
	row.from = crm->lead->owner;
	row.to = ok ? crm->owner : crm->operation->gains ? crm->call->rep : crm->lead->owner;
	row.from_status = crm->lead->status;
	row.to_status = ok ? crm->status : crm->lead->status;
	row.minor_status = ok ? crm->minor_status : NULL;
	sf_leadlog_write(leads, crm->call->schema, &row);
	table_close(leads, AccessShareLock);
}

/* may fail; see sf_attempt */
static void
write_lead(void *arg)
{
	static const Oid types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	SfCrm	   *crm = arg;
	SfCrmCall  *call = crm->call;
	SfAnnouncement announcement;
	Datum		values[lengthof(types)];
	char		nulls[] = "     ";

	values[0] = Int64GetDatum(crm->lead->id);
	sf_put_owner(&values[1], &nulls[1], call->rep);
	values[2] = TimestampTzGetDatum(call->at);
	sf_put_text(&values[3], &nulls[3], call->note);
	sf_put_text(&values[4], &nulls[4], call->kind_of_contact);
	crm->announced.moves = crm->operation->gains || call->kind == SF_CRM_RELEASE ||
		call->kind == SF_CRM_RECYCLE;
	crm->announced.of_owner = crm->operation->need == NEED_OWNER;
	crm->announced.to_pool = call->rep.isnull;
	sf_operation_begin(&announcement, &crm->announced, crm->operation->levels);
	PG_TRY();
	{
		sf_plan_text(InvalidOid, psprintf(crm->operation->sql, crm->schema), lengthof(types), types,
					 values, nulls, take_owner, crm);
	}
	PG_CATCH();
	{
		sf_operation_end();
		PG_RE_THROW();
	}
	PG_END_TRY();
	sf_operation_end();
	if (!crm->written)
		return;
	/* contacts do not move it */
	if (call->kind == SF_CRM_LOG_CONTACT)
	{
		crm->owner = crm->lead->owner;
		crm->status = crm->lead->status;
	}
	/* what changes nothing, such as a second contact at that time, was done all the same */
	if (!announcement.logged)
		log_work(crm, true, NULL, NULL, NULL);
}

/* what denies the operation before anything is tried; NULL: nothing */
static SfCrmResult *
refuse(SfCrm *crm, const SfLead *lead)
{
	const SfOwner *rep = &crm->call->rep;
	const char *message = NULL;

	if (crm->call->kind == SF_CRM_LOG_CONTACT &&
		(lead->owner.isnull || rep->isnull || lead->owner.rep_id != rep->rep_id))
		return result_of(crm, lead, false, "NOT_OWNER",
						 "the opportunity does not belong to this sales rep");
	if (crm->operation->need == NEED_OWNER && lead->owner.isnull)
		message = "is not private";
	else if (crm->operation->need == NEED_NO_OWNER && !lead->owner.isnull)
		message = "is not public";
	else if (crm->operation->gains && !lead->owner.isnull && !rep->isnull &&
			 lead->owner.rep_id == rep->rep_id)
		message = "belongs to this sales rep already";
	else if (crm->call->kind == SF_CRM_ASSIGN && !lead->owner.isnull && rep->isnull)
		message = "is not public";
	else if (crm->operation->status != NULL && strcmp(crm->operation->status, lead->status) == 0)
		message = psprintf("is %s already", lead->status);
	else if (crm->call->kind == SF_CRM_UNFREEZE && !lead->frozen)
		message = "is not frozen";
	if (message == NULL)
		return NULL;
	return result_of(crm, lead, false, "STATUS",
					 psprintf("the opportunity %s", message));
}

static SfCrmResult *
try_lead(SfCrm *crm)
{
	ErrorData  *error;
	const SfDenial *denial;
	SfCrmResult *result;

	crm->written = false;
	error = sf_attempt(write_lead, crm);
	if (error == NULL && crm->written)
	{
		result = result_of(crm, crm->lead, true, NULL, NULL);
		/* for when its id comes a second time */
		crm->lead->owner = crm->owner;
		crm->lead->status = crm->status;
		crm->lead->frozen = crm->call->kind == SF_CRM_FREEZE;
		return result;
	}
	if (error == NULL)
		result = result_of(crm, crm->lead, false, "STATUS",
						   "a trigger left the opportunity out");
	else if (error->sqlerrcode == ERRCODE_SF_DENIED && (denial = sf_fire_denial()) != NULL &&
			 strcmp(denial->detail, error->detail ? error->detail : "") == 0)
	{
		result = result_of(crm, crm->lead, false,
						   pstrdup(denial->code ? denial->code : denial->rule),
						   pstrdup(denial->text));
	}
	else if (error->sqlerrcode == ERRCODE_SF_INVALID_DEFINITION)
		ReThrowError(error);	/* no lead can pass */
	else
		result = result_of(crm, crm->lead, false, pstrdup(unpack_sql_state(error->sqlerrcode)),
						   error->message);
	log_work(crm, false, result->code, result->message, error ? error->detail : NULL);
	return result;
}

/* --- all of them --- */

bool
sf_crm_is_rep(SfCrm *crm, int64 rep_id)
{
	static const Oid types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(rep_id)};

	return sf_plan_text(InvalidOid, psprintf("SELECT FROM %s.sales_reps r WHERE r.rep_id = $1",
											 crm->schema), 1, types, values, NULL, NULL, NULL) > 0;
}

static void
find_lead(SfCrm *crm, int64 id)
{
	crm->lead = crm->nleads == 0 ? NULL :
		bsearch(&id, crm->leads, crm->nleads, sizeof(SfLead), compare_lead);
}

SfCrmResult *
sf_crm_deny(SfCrm *crm, int64 id, const char *code, const char *message)
{
	SfCrmResult *result;

	find_lead(crm, id);
	result = result_of(crm, crm->lead, false, code, message);
	log_work(crm, false, code, message, NULL);
	return result;
}

SfCrmResult *
sf_crm_work_on(SfCrm *crm, int64 id, bool isnull, const char *no_rep)
{
	SfCrmResult *result;

	crm->lead = NULL;
	if (!isnull)
		find_lead(crm, id);
	if (crm->lead == NULL || no_rep != NULL)
	{
		result = result_of(crm, crm->lead, false, "NOT_FOUND",
						   crm->lead ? no_rep : isnull ? "the id is null" :
						   psprintf("opportunity " INT64_FORMAT " does not exist", id));
		result->has_id = !isnull;
		result->opportunity_id = id;
		if (crm->lead != NULL)
			log_work(crm, false, result->code, result->message, NULL);
		return result;
	}
	result = refuse(crm, crm->lead);
	if (result != NULL)
	{
		log_work(crm, false, result->code, result->message, NULL);
		return result;
	}
	return try_lead(crm);
}

/* keys and rows are locked */
List *
sf_crm_work_on_all(SfCrm *crm)
{
	SfCrmIds   *ids = &crm->call->ids;
	const char *no_rep = NULL;
	List	   *results = NIL;

	if (crm->operation->gains && !crm->call->rep.isnull &&
		!sf_crm_is_rep(crm, crm->call->rep.rep_id))
		no_rep = psprintf("sales rep " INT64_FORMAT " does not exist", crm->call->rep.rep_id);
	for (int i = 0; i < ids->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		results = lappend(results, sf_crm_work_on(crm, ids->ids[i], ids->nulls[i], no_rep));
	}
	return results;
}

List *
sf_crm_run(SfCrmCall *call)
{
	SfCrm		crm;

	sf_crm_open(&crm, call);
	sf_crm_lock_leads(&crm);
	if (crm.operation->gains && !call->rep.isnull)
		sf_crm_lock_rep(call->rep.rep_id);
	return sf_crm_work_on_all(&crm);
}
