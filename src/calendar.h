/*
 * calendar.h
 *	  Calendars as cached by each session, and when they are open.
 */
#ifndef SF_CALENDAR_H
#define SF_CALENDAR_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/array.h"
#include "utils/date.h"

/* stays until the transaction ends at least; look it up anew for each use */
typedef struct SfCalendar SfCalendar;

extern void sf_calendar_init(void);

/* tell all sessions that calendars or holidays were changed */
extern void sf_calendar_changed(void);

/* the newest committed state, or our own; NULL: there is none of that name */
extern const SfCalendar *sf_calendar_named(const char *name);

/*
 * Lock a calendar so that nobody deletes it before we commit.  False: there is
 * none of that name.
 */
extern bool sf_calendar_lock(const char *name);

/*
 * `at` where the calendar is open then, else the next opening.  Days and hours
 * are those of `time_zone`, or of the calendar's own zone where that is NULL,
 * empty or not known.  Infinities come back as they are; infinity also stands
 * for an opening after the last timestamp there is.  Raises no error.
 */
extern TimestampTz sf_calendar_open(const SfCalendar *calendar, const char *time_zone,
									TimestampTz at);

/* a thing wrong with a calendar */
typedef struct SfCalendarFault
{
	const char *column;
	char	   *message;		/* what follows "column ...: " */
	const char *hint;
} SfCalendarFault;

/* false: `fault` says what is wrong; weekdays may be NULL */
extern bool sf_calendar_is_sound(const char *time_zone, ArrayType *weekdays, TimeADT opens,
								 TimeADT closes, SfCalendarFault *fault);

#endif							/* SF_CALENDAR_H */
