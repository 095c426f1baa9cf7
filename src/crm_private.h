/*
 * crm_private.h
 *	  What crm.c and pool.c share.
 */
#ifndef SF_CRM_PRIVATE_H
#define SF_CRM_PRIVATE_H

#include "postgres.h"
#include "access/htup.h"
#include "access/tupdesc.h"

#include "crm.h"

/* what the caller must find a lead as */
typedef enum SfCrmNeed
{
	NEED_NOTHING,				/* the rules decide */
	NEED_OWNER,
	NEED_NO_OWNER
} SfCrmNeed;

typedef struct SfCrmOperation
{
	const char *name;
	const char *sql;			/* of one lead; see write_lead for its parameters */
	SfCrmNeed	need;
	bool		gains;			/* `rep` gets the leads */
	const char *status;			/* that it makes; NULL: none of its own */
	int			levels;			/* of triggers, to the row of the lead */
} SfCrmOperation;

/* a lead as it was found under its lock */
typedef struct SfLead
{
	int64		id;
	SfOwner		owner;
	char	   *status;
	bool		frozen;
} SfLead;

typedef struct SfCrm
{
	SfCrmCall  *call;
	const SfCrmOperation *operation;
	const char *schema;			/* quoted */
	Oid			relid;			/* of opportunities */
	SfOperation announced;
	int			nleads;
	int			max_leads;
	SfLead	   *leads;			/* by id, once locked */
	/* the lead at work */
	SfLead	   *lead;			/* NULL: there is none of that id */
	SfOwner		owner;			/* after; and so below */
	char	   *status;
	char	   *minor_status;
	bool		written;
} SfCrm;

/* columns of sf_crm_take_lead, with a place for the schema */
#define LEAD_COLUMNS "SELECT o.opportunity_id, o.owner_id, o.status, o.frozen_until IS NOT NULL" \
	" FROM %s.opportunities o "

/* look at the schema; an error where it has no leads */
extern void sf_crm_open(SfCrm *crm, SfCrmCall *call);

/* lock the key of a rep */
extern void sf_crm_lock_rep(int64 rep_id);

/* the key of the pack's quotas; with another the functions may deadlock, limits hold */
extern char *sf_crm_key_of(int64 rep_id);

extern bool sf_crm_is_rep(SfCrm *crm, int64 rep_id);
extern SfOwner sf_crm_read_owner(HeapTuple tuple, TupleDesc desc, int column);
extern Datum sf_crm_ids_array(const SfCrmIds *ids);

/* adds a row of LEAD_COLUMNS, which must come in the order of their ids */
extern void sf_crm_take_lead(HeapTuple tuple, TupleDesc desc, void *crm);

/* lock the leads of the call, and take them */
extern void sf_crm_lock_leads(SfCrm *crm);

/*
 * Carry the call out for one lead.  no_rep: why that cannot be done for any;
 * NULL: it can.
 */
extern SfCrmResult *sf_crm_work_on(SfCrm *crm, int64 id, bool isnull, const char *no_rep);

/* deny it for one that is locked */
extern SfCrmResult *sf_crm_deny(SfCrm *crm, int64 id, const char *code, const char *message);

/* carry the call out: keys and rows are locked */
extern List *sf_crm_work_on_all(SfCrm *crm);

#endif							/* SF_CRM_PRIVATE_H */
