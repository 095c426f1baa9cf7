/*
 * collect.h
 *	  Events of row triggers, kept until their statement ends.
 */
#ifndef SF_COLLECT_H
#define SF_COLLECT_H

#include "postgres.h"

#include "watch.h"

extern void sf_collect_init(void);

/* whether the row that an INSERT trigger is fired for was moved by an UPDATE */
extern bool sf_collect_moved(void);

/*
 * Keep an event of the statement that is ending.  False: there is no such
 * statement that we know of, and the caller must write the event itself.  The
 * event is to be allocated in the context that *context gives.
 */
extern bool sf_collect_begin(MemoryContext *context);
extern void sf_collect_event(SfWatch *watch, const SfEvent *event);

#endif							/* SF_COLLECT_H */
