/*
 * check.h
 *	  The check of a whole SOP, and what is still to be checked.
 */
#ifndef SF_CHECK_H
#define SF_CHECK_H

#include "postgres.h"
#include "nodes/pg_list.h"

/* one thing wrong with an SOP */
typedef struct SfFault
{
	char	   *node_id;		/* NULL: the SOP itself */
	const char *column;
	char	   *message;
	char	   *query;			/* the expression that it is in, or NULL, and the place there */
	int			position;
} SfFault;

extern void sf_check_init(void);

/* this transaction changed the SOP: check it at commit or at its first use */
extern void sf_check_later(const char *sop_id);

/* check what was changed and is not checked; enabled SOPs that fail are errors */
extern void sf_check_pending(void);

/* check one SOP if it was changed and is not checked */
extern void sf_check_one(const char *sop_id);

/* everything wrong with the SOP, of SfFault, and its owner; an error if there is none such */
extern List *sf_check_faults(const char *sop_id, Oid *owner);

/*
 * The version that the SOP would have, drafts too; an error where it is not
 * valid.  Its version_id is 0.
 */
extern struct SfVersion *sf_check_version(const char *sop_id, Oid *owner);

#endif							/* SF_CHECK_H */
