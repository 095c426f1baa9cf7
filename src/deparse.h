/*
 * deparse.h
 *	  Expressions over a frame -> text for people.
 */
#ifndef SF_DEPARSE_H
#define SF_DEPARSE_H

#include "postgres.h"
#include "nodes/nodes.h"

#include "frame.h"

/*
 * What an analysed or planned expression says, with the names of the slots that
 * it reads.  For people: casts that nobody wrote are left out.
 */
extern char *sf_deparse(SfFrame *frame, Node *expr);

#endif							/* SF_DEPARSE_H */
