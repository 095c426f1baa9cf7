/*
 * operation.h
 *	  What is being done to a lead: said by a function of the CRM pack, or
 *	  derived from the row's owners before and after.
 *
 * A session's state that only C writes: who may run SQL cannot claim under
 * another name.
 */
#ifndef SF_OPERATION_H
#define SF_OPERATION_H

#include "postgres.h"
#include "commands/trigger.h"
#include "utils/snapshot.h"

/* an owner; NULL of SQL: the public pool */
typedef struct SfOwner
{
	bool		isnull;
	int64		rep_id;
} SfOwner;

typedef struct SfOperation
{
	const char *operation;
	const char *operation_type; /* NULL: none; and so below */
	const char *actor;
	const char *reason_type;
	const char *reason;
	const char *event;
	/* what it is announced to do; other writes are none of it */
	bool		moves;			/* else the owner stays */
	bool		of_owner;		/* no public leads */
	bool		to_pool;		/* if it moves */
} SfOperation;

/* an owner as a parameter of a statement */
static inline void
sf_put_owner(Datum *value, char *null, SfOwner owner)
{
	*null = owner.isnull ? 'n' : ' ';
	*value = Int64GetDatum(owner.rep_id);
}

/* an operation while it writes; triggers of the write may begin others */
typedef struct SfAnnouncement
{
	const SfOperation *operation;
	int			depth;			/* of the triggers of its row */
	bool		logged;
	struct SfAnnouncement *outer;
} SfAnnouncement;

/*
 * Until sf_operation_end, rows written by triggers `levels` deep from here are
 * written by this operation.  The caller ends it also after an error.
 */
extern void sf_operation_begin(SfAnnouncement *announcement, const SfOperation *operation,
							   int levels);
extern void sf_operation_end(void);

/* its row is in the log; for the trigger that writes the log */
extern void sf_operation_logged(void);

/* a row that rules decide on, from begin to end; an error ends it too */
typedef struct SfRowWrite
{
	ErrorContextCallback callback;
	TriggerData *trigger;
	Snapshot	snapshot;		/* of the statement that writes */
} SfRowWrite;

extern void sf_operation_row_begin(SfRowWrite *row, TriggerData *trigger);
extern void sf_operation_row_end(SfRowWrite *row);

/*
 * What is being done to the row at hand.  `trigger` is the trigger that asks;
 * NULL: the row of sf_operation_row_begin, if there is one.
 */
extern SfOperation sf_operation_of(TriggerData *trigger, SfOwner before, SfOwner after);

#endif							/* SF_OPERATION_H */
