/*
 * pool.c
 *	  Operations that find their leads by themselves: recycling, automatic
 *	  assignment, the leads of one who leaves.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "crm_private.h"
#include "leadlog.h"
#include "plan.h"
#include "quota.h"

/* the leads that were locked are those to work on */
static void
take_locked(SfCrm *crm)
{
	SfCrmIds   *ids = &crm->call->ids;

	ids->n = crm->nleads;
	ids->ids = palloc(Max(ids->n, 1) * sizeof(int64));
	ids->nulls = palloc0(Max(ids->n, 1) * sizeof(bool));
	for (int i = 0; i < ids->n; i++)
		ids->ids[i] = crm->leads[i].id;
}

List *
sf_crm_hand_over(SfCrmCall *call, int64 from_rep)
{
	static const Oid types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(from_rep)};
	SfCrm		crm;

	sf_crm_open(&crm, call);
	if (!sf_crm_is_rep(&crm, from_rep))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("sales rep " INT64_FORMAT " does not exist", from_rep)));
	if (!call->rep.isnull && call->rep.rep_id == from_rep)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sales rep " INT64_FORMAT " cannot hand over to himself", from_rep)));
	/* what was won stays with who won it, unless somebody takes it over */
	sf_plan_text(InvalidOid,
				 psprintf(LEAD_COLUMNS "WHERE o.owner_id = $1%s"
						  " ORDER BY o.opportunity_id FOR NO KEY UPDATE", crm.schema,
						  call->rep.isnull ? " AND o.closed_at IS NULL" : ""),
				 1, types, values, NULL, sf_crm_take_lead, &crm);
	if (!call->rep.isnull)
		sf_crm_lock_rep(call->rep.rep_id);
	take_locked(&crm);
	return sf_crm_work_on_all(&crm);
}

/* --- recycling --- */

typedef struct SfPass
{
	bool		found;			/* nobody else is at it */
	char	   *rules;
	int64		position;
	int64		count;			/* of leads in this step */
} SfPass;

static void
take_pass(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfPass	   *pass = arg;

	pass->found = true;
	pass->rules = sf_row_text(tuple, desc, 1);
	pass->position = sf_row_int64(tuple, desc, 2, 0);
}

static void
take_step(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfPass	   *pass = arg;

	pass->count = sf_row_int64(tuple, desc, 1, 0);
	pass->position = sf_row_int64(tuple, desc, 2, 0);
}

/*
 * recycle_at stands in the rows, so that what is due is found by an index.  When
 * the rules or their parameters have changed since it was computed, have them
 * compute it anew, for at most `max` leads in one call: any other value written
 * to it makes the guard look at the row.  Returns whether that of all leads is of
 * these rules.
 */
static bool
compute_anew(SfCrm *crm, int max)
{
	static const Oid types[] = {INT8OID, INT4OID, TEXTOID};
	Datum		values[3] = {Int64GetDatum(0), Int32GetDatum(max)};
	SfPass		pass = {0};
	char	   *rules = sf_leadlog_rules(crm->relid, "opportunity_recycle");

	/* the state is not needed for leads whose rules stay as they are */
	if (rules == NULL ||
		!OidIsValid(get_relname_relid("recycle_state", get_rel_namespace(crm->relid))))
		return true;
	sf_plan_text(InvalidOid, psprintf("SELECT rules, position FROM %s.recycle_state"
									  " FOR UPDATE SKIP LOCKED", crm->schema),
				 0, NULL, NULL, NULL, take_pass, &pass);
	if (!pass.found)
		return false;
	if (pass.rules == NULL || strcmp(pass.rules, rules) != 0)
		pass.position = PG_INT64_MIN;
	else if (pass.position == PG_INT64_MAX)
		return true;
	values[0] = Int64GetDatum(pass.position);
	sf_plan_text(InvalidOid,
				 psprintf("WITH b AS (SELECT opportunity_id FROM %1$s.opportunities"
						  " WHERE owner_id IS NOT NULL AND opportunity_id > $1"
						  " ORDER BY opportunity_id LIMIT $2 FOR NO KEY UPDATE),"
						  " u AS (UPDATE %1$s.opportunities o SET recycle_at ="
						  " CASE WHEN o.recycle_at IS NULL THEN 'infinity'::timestamptz END"
						  " WHERE o.opportunity_id = ANY (ARRAY(SELECT b.opportunity_id FROM b)))"
						  " SELECT count(*), max(opportunity_id) FROM b", crm->schema),
				 2, types, values, NULL, take_step, &pass);
	if (pass.count < max)
		pass.position = PG_INT64_MAX;
	values[0] = Int64GetDatum(pass.position);
	values[2] = CStringGetTextDatum(rules);
	sf_plan_text(InvalidOid, psprintf("UPDATE %s.recycle_state SET position = $1, rules = $3",
									  crm->schema), 3, types, values, NULL, NULL, NULL);
	return pass.position == PG_INT64_MAX;
}

/*
 * The same for certain leads, if their turn has not come since the rules have
 * changed: their tasks are of the time before.
 */
static void
compute_these(SfCrm *crm)
{
	static const Oid types[] = {INT8ARRAYOID, TEXTOID};
	Datum		values[2] = {sf_crm_ids_array(&crm->call->ids)};
	char	   *rules = sf_leadlog_rules(crm->relid, "opportunity_recycle");

	/* the state is not needed for leads whose rules stay as they are */
	if (rules == NULL ||
		!OidIsValid(get_relname_relid("recycle_state", get_rel_namespace(crm->relid))))
		return;
	values[1] = CStringGetTextDatum(rules);
	sf_plan_text(InvalidOid,
				 psprintf("WITH b AS (SELECT o.opportunity_id FROM %1$s.opportunities o,"
						  " %1$s.recycle_state s WHERE o.owner_id IS NOT NULL"
						  " AND o.opportunity_id = ANY ($1)"
						  " AND (s.rules IS DISTINCT FROM $2 OR o.opportunity_id > s.position)"
						  " ORDER BY o.opportunity_id FOR NO KEY UPDATE OF o NOWAIT)"
						  " UPDATE %1$s.opportunities o SET recycle_at ="
						  " CASE WHEN o.recycle_at IS NULL THEN 'infinity'::timestamptz END"
						  " WHERE o.opportunity_id = ANY (ARRAY(SELECT b.opportunity_id FROM b))",
						  crm->schema),
				 2, types, values, NULL, NULL, NULL);
}

/*
 * Take what is due, `max` leads at most, of these or of all.  Whoever works on a
 * lead right now decides about it: no waiting, so no deadlock.  A task fails at
 * such a lead and comes again: the worker has the runs of a whole batch, and who
 * changes recycle_at waits for the lead's.
 */
static void
take_due(SfCrm *crm, int max, bool these, bool dry_run)
{
	static const Oid types[] = {TIMESTAMPTZOID, INT4OID, INT8ARRAYOID};
	Datum		values[3] = {TimestampTzGetDatum(crm->call->at), Int32GetDatum(max)};

	if (these)
		values[2] = sf_crm_ids_array(&crm->call->ids);
	crm->nleads = 0;
	sf_plan_text(InvalidOid,
				 psprintf("WITH due AS MATERIALIZED (" LEAD_COLUMNS
						  "WHERE o.recycle_at <= $1%s ORDER BY o.recycle_at LIMIT $2%s)"
						  " SELECT * FROM due ORDER BY 1", crm->schema,
						  these ? " AND o.opportunity_id = ANY ($3)" : "",
						  dry_run ? "" : these ? " FOR NO KEY UPDATE NOWAIT" :
						  " FOR NO KEY UPDATE SKIP LOCKED"),
				 these ? 3 : 2, types, values, NULL, sf_crm_take_lead, crm);
	take_locked(crm);
}

List *
sf_crm_recycle(SfCrmCall *call, int max, bool dry_run)
{
	bool		these = call->ids.n >= 0;
	bool		stale = false;
	SfCrm		crm;
	List	   *results = NIL;

	sf_crm_open(&crm, call);
	if (!dry_run && these)
		compute_these(&crm);
	else if (!dry_run)
		stale = !compute_anew(&crm, max);
	take_due(&crm, max, these, dry_run);
	/* some may be due by the rules of before only */
	if (stale && crm.nleads > 0)
	{
		compute_these(&crm);
		take_due(&crm, max, true, false);
	}
	if (!dry_run)
		return sf_crm_work_on_all(&crm);
	for (int i = 0; i < crm.nleads; i++)
	{
		SfCrmResult *result = palloc0(sizeof(SfCrmResult));

		result->has_id = result->ok = true;
		result->opportunity_id = crm.leads[i].id;
		result->message = "would go back to the public pool";
		result->from = crm.leads[i].owner;
		result->to.isnull = true;
		results = lappend(results, result);
	}
	return results;
}

/* --- automatic assignment --- */

/* leads of one category, and whom they go to */
typedef struct SfShare
{
	char	   *category;		/* NULL: none */
	char	   *state;			/* row of assignment */
	char	   *method;
	List	   *places;			/* of int, in the call's order */
	int			nreps;			/* picked */
	int64	   *reps;
	bool		matched;		/* some rep is of the category */
} SfShare;

typedef struct SfShares
{
	SfCrm	   *crm;
	List	   *shares;			/* of SfShare * */
} SfShares;

static void
take_key(HeapTuple tuple, TupleDesc desc, void *arg)
{
	List	  **keys = arg;

	*keys = lappend(*keys, sf_crm_key_of(sf_row_int64(tuple, desc, 1, 0)));
}

/*
 * The rows of assignment first, so that two of these take turns; then the leads,
 * then the keys of all reps that may come in question, sorted.
 */
static void
lock_all(SfCrm *crm)
{
	List	   *keys = NIL;
	char	  **array;
	int			n = 0;
	ListCell   *lc;

	sf_plan_text(InvalidOid, psprintf("SELECT 1 FROM %s.assignment ORDER BY category FOR UPDATE",
									  crm->schema), 0, NULL, NULL, NULL, NULL, NULL);
	sf_crm_lock_leads(crm);
	sf_plan_text(InvalidOid, psprintf("SELECT rep_id FROM %s.sales_reps WHERE active AND weight > 0",
									  crm->schema), 0, NULL, NULL, NULL, take_key, &keys);
	array = palloc(Max(list_length(keys), 1) * sizeof(char *));
	foreach(lc, keys)
		array[n++] = lfirst(lc);
	sf_quota_lock(array, n);
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* a public lead: its place in the call, category, and the method for it */
static void
take_share(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfShares   *shares = arg;
	int			place = sf_row_int32(tuple, desc, 1, 0);
	char	   *category = sf_row_text(tuple, desc, 2);
	SfShare    *share = NULL;
	ListCell   *lc;

	foreach(lc, shares->shares)
		if (same_text(((SfShare *) lfirst(lc))->category, category))
			share = lfirst(lc);
	if (share == NULL)
	{
		share = palloc0(sizeof(SfShare));
		share->category = category;
		share->state = sf_row_text(tuple, desc, 3);
		if (share->state == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table assignment has no row for category \"*\""),
					 errhint("INSERT INTO %s.assignment (category) VALUES ('*');",
							 shares->crm->schema)));
		share->method = sf_row_text(tuple, desc, 4);
		shares->shares = lappend(shares->shares, share);
	}
	/* the statement is as good as the search_path */
	if (place < 1 || place > shares->crm->call->ids.n)
		elog(ERROR, "place %d of a lead is out of range", place);
	share->places = lappend_int(share->places, place);
}

static void
take_rep(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfShare    *share = arg;

	share->matched = true;
	if (!heap_attisnull(tuple, 1, desc))
		share->reps[share->nreps++] = sf_row_int64(tuple, desc, 1, 0);
}

/*
 * Each rep has places as far as he has room.  least_loaded: the place is how much
 * he then holds for his weight; the lowest are filled first, which is what
 * giving out one by one to the least loaded comes to.  round_robin: stride
 * scheduling: his places are 1 / weight apart, beginning with his turn, or where
 * the round is by now if he missed turns.  Operands have the very types of their
 * operators: a caller's search_path must not lead to others.
 */
#define CANDIDATES \
	"WITH rep AS (SELECT r.rep_id, r.weight, (SELECT count(*) FROM %1$s.opportunities o" \
	" WHERE o.owner_id = r.rep_id AND o.closed_at IS NULL) AS held," \
	" %1$s.hold_limit(r.rep_id) AS hold_limit FROM %1$s.sales_reps r" \
	" WHERE r.active AND r.weight > 0 AND (r.absent_until IS NULL OR r.absent_until <= $3)" \
	" AND (r.category = $1 OR r.category IS NULL OR $1 IS NULL))," \
	" free AS (SELECT rep_id, weight, held," \
	" least(greatest(coalesce(hold_limit, held + $2) - held, 0), $2)::int AS room FROM rep),"

#define LEAST_LOADED \
	CANDIDATES \
	" pick AS (SELECT f.rep_id, (f.held + k)::numeric / f.weight::numeric AS position" \
	" FROM free f, generate_series(1, f.room) k ORDER BY position, f.rep_id LIMIT $2)" \
	" SELECT rep_id FROM pick UNION ALL SELECT NULL WHERE EXISTS (SELECT FROM rep)"

#define ROUND_ROBIN \
	CANDIDATES \
	" pick AS (SELECT f.rep_id, f.weight, b.began + (k - 1)::numeric / f.weight::numeric AS position" \
	" FROM free f CROSS JOIN LATERAL (SELECT greatest(a.position, (SELECT t.position FROM" \
	" %1$s.assignment_turn t WHERE t.category = a.category AND t.rep_id = f.rep_id)) AS began" \
	" FROM %1$s.assignment a WHERE a.category = $4) b, generate_series(1, f.room) k" \
	" ORDER BY position, f.rep_id LIMIT $2)," \
	" turn AS (INSERT INTO %1$s.assignment_turn (category, rep_id, position)" \
	" SELECT $4, rep_id, max(position) + 1.0 / weight::numeric FROM pick GROUP BY rep_id, weight" \
	" ON CONFLICT (category, rep_id) DO UPDATE SET position = excluded.position)," \
	" round AS (UPDATE %1$s.assignment SET position = (SELECT max(position) FROM pick)" \
	" WHERE category = $4 AND EXISTS (SELECT FROM pick))" \
	" SELECT rep_id FROM pick UNION ALL SELECT NULL WHERE EXISTS (SELECT FROM rep)"

static void
pick_reps(SfCrm *crm, SfShare *share)
{
	static const Oid types[] = {TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID};
	int			n = list_length(share->places);
	Datum		values[4];
	char		nulls[] = "    ";
	char	   *sql = strcmp(share->method, "round_robin") == 0 ?
		psprintf(ROUND_ROBIN, crm->schema) : psprintf(LEAST_LOADED, crm->schema);

	sf_put_text(&values[0], &nulls[0], share->category);
	values[1] = Int32GetDatum(n);
	values[2] = TimestampTzGetDatum(sf_clock_transaction());
	values[3] = CStringGetTextDatum(share->state);
	share->reps = palloc(n * sizeof(int64));
	sf_plan_text(InvalidOid, sql, lengthof(types), types, values, nulls, take_rep, share);
}

static void
assign_share(SfCrm *crm, SfShare *share, const SfCrmIds *ids, SfCrmResult **results)
{
	const char *of_category = share->category == NULL ? "" :
		psprintf(" of category \"%s\"", share->category);
	ListCell   *lc;
	int			n = 0;

	pick_reps(crm, share);
	foreach(lc, share->places)
	{
		int			i = lfirst_int(lc) - 1;

		crm->call->rep.isnull = n >= share->nreps;
		if (n < share->nreps)
		{
			int64		rep_id = share->reps[n++];

			crm->call->rep.rep_id = rep_id;
			results[i] = sf_crm_work_on(crm, ids->ids[i], false, NULL);
			/* his place is the last one now: whether it is he or the lead is not known */
			if (!results[i]->ok)
			{
				n--;
				memmove(&share->reps[n], &share->reps[n + 1],
						(share->nreps - n - 1) * sizeof(int64));
				share->reps[share->nreps - 1] = rep_id;
			}
		}
		else if (share->matched)
			results[i] = sf_crm_deny(crm, ids->ids[i], "FULL",
									 psprintf("no active sales rep%s has room", of_category));
		else
			results[i] = sf_crm_deny(crm, ids->ids[i], "CATEGORY",
									 psprintf("there is no active sales rep%s", of_category));
	}
}

List *
sf_crm_auto_assign(SfCrmCall *call, const char *method)
{
	static const Oid types[] = {INT8ARRAYOID, TEXTOID};
	Datum		values[2] = {sf_crm_ids_array(&call->ids)};
	char		nulls[] = "  ";
	SfCrmIds	ids = call->ids;
	SfCrmResult **results = palloc0(Max(ids.n, 1) * sizeof(SfCrmResult *));
	SfCrm		crm;
	SfShares	shares = {&crm, NIL};
	List	   *list = NIL;
	ListCell   *lc;

	sf_crm_open(&crm, call);
	lock_all(&crm);
	sf_put_text(&values[1], &nulls[1], method);
	sf_plan_text(InvalidOid,
				 psprintf("SELECT i.place::int, o.category, a.category,"
						  " coalesce($2, nullif(a.method, 'off'), 'least_loaded')"
						  " FROM (SELECT u.id, min(u.place) AS place"
						  " FROM pg_catalog.unnest($1) WITH ORDINALITY AS u(id, place) GROUP BY u.id) i"
						  " JOIN %1$s.opportunities o ON o.opportunity_id = i.id LEFT JOIN LATERAL"
						  " (SELECT x.category, x.method FROM %1$s.assignment x WHERE x.category"
						  " IN (o.category, '*') ORDER BY x.category = '*' LIMIT 1) a ON true"
						  " WHERE o.owner_id IS NULL ORDER BY o.category, i.place", crm.schema),
				 2, types, values, nulls, take_share, &shares);
	foreach(lc, shares.shares)
		assign_share(&crm, lfirst(lc), &ids, results);
	call->rep.isnull = true;
	/* the others: not there, not public, or here a second time */
	for (int i = 0; i < ids.n; i++)
	{
		if (results[i] == NULL)
			results[i] = sf_crm_work_on(&crm, ids.ids[i], ids.nulls[i], NULL);
		list = lappend(list, results[i]);
	}
	return list;
}
