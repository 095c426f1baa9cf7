/*
 * ident.h
 *	  Is the extension here, who owns it, and which relations are its own?
 */
#ifndef SF_IDENT_H
#define SF_IDENT_H

#include "postgres.h"

typedef enum SfRel
{
	SF_REL_RUN,
	SF_REL_TASK,
	SF_REL_HELD,
	SF_REL_OFFER,
	SF_REL_DEAD,
	SF_REL_HISTORY,
	SF_REL_RUN_HISTORY,
	SF_REL_ACTION_STATE,
	SF_REL_ALERT,
	SF_REL_HOLD,
	SF_REL_ACTION,
	SF_REL_SOP,
	SF_REL_SOP_VERSION,
	SF_REL_WATCHED,
	SF_REL_CALENDAR,
	SF_REL_HOLIDAY,
	SF_REL_RULE_SET,
	SF_REL_GUARDED,
	SF_REL_RUN_PKEY,
	SF_REL_RUN_SUBJECT,
	SF_REL_TASK_PKEY,
	SF_REL_TASK_DUE,
	SF_REL_HELD_PKEY,
	SF_REL_OFFER_PKEY,
	SF_REL_OFFER_FETCH,
	SF_REL_DEAD_PKEY,
	SF_REL_ACTION_STATE_PKEY,
	SF_REL_ALERT_UNSENT,
	SF_REL_RUN_ID_SEQ,
	SF_REL_LEASE_TOKEN_SEQ,
	SF_REL_RULE_SEQ,
	SF_REL_COUNT
} SfRel;

extern void sf_ident_init(void);

/* OID of the extension, or InvalidOid; needs a transaction */
extern Oid	sf_ident_extension(void);

/* owner of the extension; an error when it is absent */
extern Oid	sf_ident_owner(void);

/* OID of the schema sopflow; an error when it is absent */
extern Oid	sf_ident_schema(void);

/* OID of one of our relations; an error when the extension is absent */
extern Oid	sf_ident_rel(SfRel which);

/* OID of the relation of that name in our schema, or InvalidOid; not cached */
extern Oid	sf_ident_lookup(const char *name);

/* OIDs of the composite types sopflow.work, sopflow.rule_event and sopflow.run_fact */
extern Oid	sf_ident_work_type(void);
extern Oid	sf_ident_rule_event_type(void);
extern Oid	sf_ident_run_fact_type(void);

/*
 * Whether the database is held after a restore, or is being restored now:
 * nothing is dispatched then and no partition is made.  Cached, dropped by
 * invalidation of sopflow.hold.
 */
extern bool sf_ident_held(void);

/* whether definitions are to be taken as they are: a dump is being restored */
extern bool sf_ident_restoring(void);

/*
 * Take a share lock on the extension object for this transaction without
 * waiting.  DROP EXTENSION locks that object before any of our tables, so a
 * holder cannot deadlock with it.  False: the extension is absent or going.
 */
extern bool sf_ident_lock(void);

/* Become the extension's owner; pass what it returns to sf_ident_leave. */
typedef struct SfIdentity
{
	Oid			userid;
	int			sec_context;
} SfIdentity;

extern SfIdentity sf_ident_enter(void);
extern void sf_ident_leave(SfIdentity saved);

#endif							/* SF_IDENT_H */
