/*
 * pending.h
 *	  What this transaction changed in definitions and is still to be checked.
 */
#ifndef SF_PENDING_H
#define SF_PENDING_H

#include "postgres.h"

typedef enum SfPendingKind
{
	SF_PENDING_SOP,
	SF_PENDING_RULE_SET
} SfPendingKind;

#define SF_PENDING_KINDS	(SF_PENDING_RULE_SET + 1)

/*
 * Checks a definition as it is stored now; an error where it is not valid.  One
 * that was deleted, or is a draft, is passed over quietly.
 */
typedef void (*SfPendingCheck)(const char *name);

extern void sf_pending_init(void);

/* say how a kind is checked; by each kind's own file, when the module is loaded */
extern void sf_pending_register(SfPendingKind kind, SfPendingCheck check);

/* this transaction changed a definition: check it at commit or at its first use */
extern void sf_pending_add(SfPendingKind kind, const char *name);

/*
 * Whether this is the first change of an aspect of a definition (a number, 0 to
 * 7) since it was last checked or anything was rolled back.  What is to be done
 * once for many edits, as locking the definition and telling other sessions, is
 * done then.
 */
extern bool sf_pending_first(SfPendingKind kind, const char *name, int aspect);

/* the next change of any aspect is a first one again */
extern void sf_pending_renew(SfPendingKind kind, const char *name);

/* whether this transaction changed any definition */
extern bool sf_pending_changed(void);

/* whether anything was changed and is not checked */
extern bool sf_pending_any(void);

/* check a definition if it was changed and is not checked */
extern void sf_pending_check(SfPendingKind kind, const char *name);

/* the same for all of a kind */
extern void sf_pending_check_all(SfPendingKind kind);

/*
 * Rises with every change of a definition by this session, and with every
 * rollback that may take one back: what was compiled at a lower count may be
 * out of date.  Other sessions see committed revisions only, which are raised
 * once for many edits.
 */
extern uint64 sf_pending_edits(void);

#endif							/* SF_PENDING_H */
