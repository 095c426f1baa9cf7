/*
 * crm.h
 *	  The operations of the CRM pack.
 */
#ifndef SF_CRM_H
#define SF_CRM_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "operation.h"

typedef enum SfCrmKind
{
	SF_CRM_CLAIM,
	SF_CRM_ASSIGN,
	SF_CRM_TRANSFER,
	SF_CRM_HAND_OVER,
	SF_CRM_RELEASE,
	SF_CRM_RECYCLE,
	SF_CRM_FREEZE,
	SF_CRM_UNFREEZE,
	SF_CRM_CONVERT,
	SF_CRM_LOSE,
	SF_CRM_LOG_CONTACT
} SfCrmKind;

typedef struct SfCrmIds
{
	int			n;
	int64	   *ids;
	bool	   *nulls;
} SfCrmIds;

/* one call of an operation */
typedef struct SfCrmCall
{
	SfCrmKind	kind;
	char	   *schema;
	SfCrmIds	ids;
	SfOwner		rep;			/* who is to get the leads, or was in contact */
	TimestampTz at;				/* FREEZE: until; RECYCLE, LOG_CONTACT: now */
	char	   *kind_of_contact;
	char	   *note;			/* LOG_CONTACT; LOSE: reason */
	char	   *actor;		/* NULL: nobody said; and so below */
	char	   *operation_type;
	char	   *reason_type;
	char	   *reason;
} SfCrmCall;

typedef struct SfCrmResult
{
	bool		has_id;
	int64		opportunity_id;
	bool		ok;
	const char *code;			/* NULL: none */
	const char *message;
	SfOwner		from;
	SfOwner		to;
} SfCrmResult;

/* carry it out; a list of SfCrmResult *, one for each id, in their order */
extern List *sf_crm_run(SfCrmCall *call);

/* all leads of a rep, as a HAND_OVER */
extern List *sf_crm_hand_over(SfCrmCall *call, int64 from_rep);

/* leads that are due; ids.n < 0: whichever, at most max */
extern List *sf_crm_recycle(SfCrmCall *call, int max, bool dry_run);

/* spread public leads; method NULL: as the table says */
extern List *sf_crm_auto_assign(SfCrmCall *call, const char *method);

#endif							/* SF_CRM_H */
