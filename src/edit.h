/*
 * edit.h
 *	  An edit of a row of a definition table, as the triggers of all of them see
 *	  it.
 */
#ifndef SF_EDIT_H
#define SF_EDIT_H

#include "postgres.h"
#include "access/htup.h"
#include "nodes/nodes.h"
#include "utils/rel.h"

typedef struct SfEdit
{
	Relation	rel;
	HeapTuple	old;			/* NULL: the row is inserted */
	HeapTuple	new;			/* NULL: the row is deleted */
} SfEdit;

/* the edit that a row trigger was called for; an error if it was called otherwise */
extern SfEdit sf_edit_of(Node *context, const char *function);

/* columns of a row; NULL, InvalidOid and false for a null */
extern Datum sf_edit_column(Relation rel, HeapTuple tuple, const char *name, bool *isnull);
extern char *sf_edit_text(Relation rel, HeapTuple tuple, const char *name);
extern bool sf_edit_bool(Relation rel, HeapTuple tuple, const char *name);
extern Oid	sf_edit_oid(Relation rel, HeapTuple tuple, const char *name);

/* the row with another value in a column */
extern HeapTuple sf_edit_set(Relation rel, HeapTuple tuple, const char *name, Datum value,
							 bool isnull);

/*
 * An error unless the current role is a member of the owner; `kind` and `name`
 * say of what.
 */
extern void sf_edit_demand_member(Oid owner, const char *kind, const char *name);

/* a dump is being restored: hold the database */
extern void sf_edit_hold(void);

#endif							/* SF_EDIT_H */
