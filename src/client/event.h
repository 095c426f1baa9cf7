/*
 * event.h
 *	  What ingest makes of a line: an event, with the fields that its options
 *	  name.
 */
#ifndef EVENT_H
#define EVENT_H

#include <stdint.h>

#include "document.h"

typedef struct EventFields
{
	const char *event;			/* the event's name, or NULL: that in event_field */
	const char *event_field;
	const char *subject_field;
	const char *position_field; /* NULL: the number of the line */
	const char *partition_field;
	const char *time_field;
	const char *context_field;	/* "." is the whole line */
} EventFields;

typedef struct Event
{
	long		line;
	int			source;
	int64_t		position;
	char	   *partition;		/* NULL without partition_field */
	char	   *json;			/* for sopflow.ingest(); NULL: only its position counts */
} Event;

/*
 * Read a line.  False and *error, to be freed, where it is no event; its
 * position is known all the same unless it is -1.
 */
extern bool event_read(const EventFields *fields, const char *text, size_t len, long line,
					   Event *event, char **error);

#endif							/* EVENT_H */
