/*
 * leadlog.h
 *	  The log of operations on leads.
 */
#ifndef SF_LEADLOG_H
#define SF_LEADLOG_H

#include "postgres.h"
#include "commands/trigger.h"
#include "utils/relcache.h"

#include "operation.h"

typedef struct SfLogRow
{
	int64		opportunity_id;
	const SfOperation *operation;
	bool		ok;
	const char *code;			/* NULL: none; and so below */
	const char *message;
	const char *details;
	SfOwner		from;
	SfOwner		to;
	const char *from_status;
	const char *to_status;
	const char *minor_status;
} SfLogRow;

/* into the log of the schema, which belongs to who owns `leads` */
extern void sf_leadlog_write(Relation leads, const char *schema, const SfLogRow *row);

/*
 * The rule set of the pack of this name, with its revisions, as the log shows
 * it; NULL: it does not guard the table.
 */
extern char *sf_leadlog_rules(Oid relid, const char *name);

/* AFTER ROW trigger of leads */
extern void sf_leadlog_trigger(TriggerData *trigger, const char *schema);

#endif							/* SF_LEADLOG_H */
