/*
 * frame_private.h
 *	  Between the files that make a frame.
 */
#ifndef SF_FRAME_PRIVATE_H
#define SF_FRAME_PRIVATE_H

#include "frame.h"

/* what a name stands for, before it has a slot */
typedef struct SfName
{
	SfSlotKind	kind;
	int			index;
	AttrNumber	attnum;
	char	  **path;
	int			npath;
	Oid			type;			/* PARAM, QUOTA */
	bool		lazy;
} SfName;

/* parts of a column reference; 0 where it has a star */
extern int	sf_frame_split(const ColumnRef *cref, char ***parts);

/*
 * What a name stands for, looking at facts of a number below `below` only;
 * false: nothing.  Errors point to `position`, 0: none.
 */
extern bool sf_frame_resolve(SfFrame *frame, char **parts, int nparts, int below,
							 int position, SfName *result);

/* the slot for a name, made if need be; `type` is that of a path */
extern int	sf_frame_slot(SfFrame *frame, SfName *name, Oid type);

/* give paths in a raw tree, which is to become a `target`, their types */
extern void sf_typing_paths(SfFrame *frame, ParseState *pstate, Node **raw, Oid target);

#endif							/* SF_FRAME_PRIVATE_H */
