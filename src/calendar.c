/*
 * calendar.c
 *	  Calendars as cached by each session, and when they are open.
 *
 * A clock on the wall is turned back and forward, and the same reading may come
 * twice or never.  Here a wall-clock time stands for the first moment at which
 * the clock shows it or a later one: of a doubled time that is its first, of a
 * skipped one the end of the gap.  So each day opens once and closes once, and
 * days follow each other whatever the zone does.
 *
 * Entries are read one by one and all dropped after an invalidation of the
 * relcache entry of sopflow.calendar or sopflow.holiday.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "calendar.h"
#include "clock.h"
#include "compat.h"
#include "ident.h"
#include "plan.h"

#define ALL_DAYS		0xFE	/* bit 1 is Monday, bit 7 Sunday */
#define EPOCH_SECONDS	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY)
#define LAST_DAY		((DateADT) (END_TIMESTAMP / USECS_PER_DAY))

struct SfCalendar
{
	struct SfCalendar *next;	/* of the same hash */
	char	   *name;
	pg_tz	   *zone;
	uint8		weekdays;
	TimeADT		opens;
	TimeADT		closes;			/* not after opens: on the day after */
	int			nholidays;
	DateADT    *holidays;		/* ascending */
};

typedef struct SfCalendarEntry
{
	uint64		hash;			/* of the name; hash key, must be first */
	SfCalendar *calendars;
} SfCalendarEntry;

static MemoryContext calendars_context = NULL;
static HTAB *by_name = NULL;
static bool calendars_valid = false;
static Oid	calendar_relid = InvalidOid;
static Oid	holiday_relid = InvalidOid;

static void
calendar_invalidated(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == calendar_relid || relid == holiday_relid)
		calendars_valid = false;
}

void
sf_calendar_init(void)
{
	CacheRegisterRelcacheCallback(calendar_invalidated, (Datum) 0);
}

void
sf_calendar_changed(void)
{
	CacheInvalidateRelcacheByRelid(sf_ident_rel(SF_REL_CALENDAR));
}

static uint64
name_hash(const char *name)
{
	return DatumGetUInt64(hash_any_extended((const unsigned char *) name, strlen(name), 0));
}

/* --- time zones --- */

/*
 * Whether a name with digits is that of a zone.  The server would read others
 * of that form as rules ("ABC-5"), and keep each for the life of the session.
 */
static bool
is_numbered_zone(const char *name)
{
	static const char *const names[] = {
		"EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT", "GMT0", "GMT+0", "GMT-0", "Etc/GMT0"
	};
	const char *digits = name + 8;
	int			hours;

	for (int i = 0; i < lengthof(names); i++)
		if (pg_strcasecmp(name, names[i]) == 0)
			return true;
	if (pg_strncasecmp(name, "Etc/GMT", 7) != 0 || (name[7] != '+' && name[7] != '-') ||
		strlen(digits) < 1 || strlen(digits) > 2 || strspn(digits, "0123456789") != strlen(digits) ||
		(digits[0] == '0' && digits[1] != '\0'))
		return false;
	hours = atoi(digits);
	return hours <= (name[7] == '+' ? 12 : 14);
}

/*
 * The zone of that name, or NULL.  The name may come from a table of users:
 * only zones of the server's time zone database are taken, so that what the
 * server keeps of them is bounded, and some names that are none are remembered,
 * since looking for them reads directories.
 */
static pg_tz *
zone_named(const char *name)
{
	static char unknown[64][TZ_STRLEN_MAX + 1];
	char	   *slot;
	pg_tz	   *zone;
	bool		digits = false;

	if (name == NULL || name[0] == '\0' || strlen(name) > TZ_STRLEN_MAX ||
		pg_strncasecmp(name, "posix/", 6) == 0 || pg_strncasecmp(name, "right/", 6) == 0)
		return NULL;
	for (const char *c = name; *c != '\0'; c++)
	{
		if (*c >= '0' && *c <= '9')
			digits = true;
		else if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && strchr("_+-/", *c) == NULL)
			return NULL;
	}
	if (digits && !is_numbered_zone(name))
		return NULL;
	slot = unknown[name_hash(name) % lengthof(unknown)];
	if (strcmp(slot, name) == 0)
		return NULL;
	zone = pg_tzset(name);
	if (zone != NULL && pg_tz_acceptable(zone))
		return zone;
	strlcpy(slot, name, TZ_STRLEN_MAX + 1);
	return NULL;
}

/* the offset of a zone from UTC at a time, and until when it stays */
static int64
offset_at(pg_tz *zone, TimestampTz at, TimestampTz *until)
{
	pg_time_t	seconds = at / USECS_PER_SEC - (at % USECS_PER_SEC < 0 ? 1 : 0) + EPOCH_SECONDS;
	pg_time_t	boundary;
	long		before = 0;
	long		after;
	int			before_isdst;
	int			after_isdst;
	int			found = pg_next_dst_boundary(&seconds, &before, &before_isdst, &boundary,
											 &after, &after_isdst, zone);

	if (found <= 0 ||
		pg_mul_s64_overflow(boundary - EPOCH_SECONDS, USECS_PER_SEC, until))
		*until = PG_INT64_MAX;
	return before * USECS_PER_SEC;
}

/* the first moment at which the clock of the zone shows this time or a later one */
static TimestampTz
first_moment(pg_tz *zone, DateADT day, TimeADT time)
{
	int64		wall = day * USECS_PER_DAY + time;
	TimestampTz at = wall - 2 * USECS_PER_DAY;	/* no clock is that far ahead */

	for (;;)
	{
		TimestampTz until;
		TimestampTz shown = wall - offset_at(zone, at, &until);

		if (shown < until)
			return Max(at, shown);
		at = until;
	}
}

/* --- reading --- */

/* days of the week as bits; 0: there is something else among them, or nothing */
static uint8
weekday_bits(ArrayType *weekdays)
{
	Datum	   *days;
	bool	   *nulls;
	int			ndays;
	uint8		bits = 0;

	if (ARR_NDIM(weekdays) != 1)
		return 0;
	deconstruct_array(weekdays, INT4OID, sizeof(int32), true, TYPALIGN_INT, &days, &nulls, &ndays);
	for (int i = 0; i < ndays; i++)
	{
		int32		day = nulls[i] ? 0 : DatumGetInt32(days[i]);

		if (day < 1 || day > 7 || (bits & (1 << day)))
			return 0;
		bits |= 1 << day;
	}
	return bits;
}

bool
sf_calendar_is_sound(const char *time_zone, ArrayType *weekdays, TimeADT opens, TimeADT closes,
					 SfCalendarFault *fault)
{
	memset(fault, 0, sizeof(*fault));
	if (time_zone != NULL && zone_named(time_zone) == NULL)
	{
		fault->column = "time_zone";
		fault->message = psprintf("time zone \"%.300s\" is not known", time_zone);
		fault->hint = "Use a name such as Europe/Berlin; the view pg_timezone_names lists them. Abbreviations and offsets are none.";
	}
	else if (weekdays != NULL && weekday_bits(weekdays) == 0)
	{
		fault->column = "weekdays";
		fault->message = pstrdup("must be one or more days of the week, 1 for Monday to 7 for Sunday, each once");
		fault->hint = "Monday to Friday are ARRAY[1,2,3,4,5].";
	}
	else if (opens >= USECS_PER_DAY)
	{
		fault->column = "opens";
		fault->message = pstrdup("must be before 24:00");
		fault->hint = "The beginning of a day is 00:00.";
	}
	else if (opens == closes)
	{
		fault->column = "closes";
		fault->message = pstrdup("must not be the same as \"opens\"");
		fault->hint = "Whole days are from 00:00 to 24:00.";
	}
	return fault->column == NULL;
}

/*
 * What was restored from a dump may be unsound: it is then as open as can be
 * until it is put right, and says so.
 */
static void
load_calendar(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfCalendar *calendar = arg;
	MemoryContext old;
	SfCalendarFault fault;
	char	   *time_zone = sf_row_text(tuple, desc, 1);
	ArrayType  *weekdays;
	ArrayType  *holidays;
	Datum	   *days;
	bool		isnull;

	weekdays = DatumGetArrayTypeP(heap_getattr(tuple, 2, desc, &isnull));
	calendar->zone = zone_named(time_zone);
	calendar->weekdays = weekday_bits(weekdays);
	calendar->opens = DatumGetTimeADT(heap_getattr(tuple, 3, desc, &isnull));
	calendar->closes = DatumGetTimeADT(heap_getattr(tuple, 4, desc, &isnull));
	if (!sf_calendar_is_sound(time_zone, weekdays, calendar->opens, calendar->closes, &fault))
	{
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("calendar \"%s\" is not valid: column \"%s\": %s",
						calendar->name, fault.column, fault.message),
				 errdetail("An unknown time zone counts as UTC, other days than there are as all days, and impossible hours as whole days.")));
		if (calendar->zone == NULL)
			calendar->zone = zone_named("UTC");
		if (calendar->weekdays == 0)
			calendar->weekdays = ALL_DAYS;
		if (calendar->opens == calendar->closes || calendar->opens >= USECS_PER_DAY)
		{
			calendar->opens = 0;
			calendar->closes = USECS_PER_DAY;
		}
	}
	holidays = DatumGetArrayTypeP(heap_getattr(tuple, 5, desc, &isnull));
	deconstruct_array(holidays, DATEOID, sizeof(DateADT), true, TYPALIGN_INT, &days, NULL,
					  &calendar->nholidays);
	old = MemoryContextSwitchTo(calendars_context);
	calendar->holidays = palloc(Max(calendar->nholidays, 1) * sizeof(DateADT));
	MemoryContextSwitchTo(old);
	for (int i = 0; i < calendar->nholidays; i++)
		calendar->holidays[i] = DatumGetDateADT(days[i]);
}

static void
forget_outdated(void)
{
	static TimestampTz statement = 0;
	static LocalTransactionId lxid = InvalidLocalTransactionId;
	HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(SfCalendarEntry)};

	/* what was committed before this statement began, also in an open transaction */
	if (statement != sf_clock_statement() || lxid != sf_local_xid())
		AcceptInvalidationMessages();
	statement = sf_clock_statement();
	lxid = sf_local_xid();
	if (calendars_valid)
		return;
	/* what was handed out stays until the transaction ends */
	if (calendars_context != NULL)
		MemoryContextSetParent(calendars_context, TopTransactionContext);
	calendars_context = NULL;
	calendar_relid = sf_ident_rel(SF_REL_CALENDAR);
	holiday_relid = sf_ident_rel(SF_REL_HOLIDAY);
	calendars_context = AllocSetContextCreate(CacheMemoryContext, "sopflow calendars",
											  ALLOCSET_SMALL_SIZES);
	ctl.hcxt = calendars_context;
	by_name = hash_create("sopflow calendars", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	/* before anything is read: an invalidation that comes while we read clears it again */
	calendars_valid = true;
}

const SfCalendar *
sf_calendar_named(const char *name)
{
	uint64		hash = name_hash(name);
	SfCalendarEntry *entry;
	SfCalendar *calendar;
	Datum		values[1];
	bool		found;

	forget_outdated();
	entry = hash_search(by_name, &hash, HASH_FIND, NULL);
	for (calendar = entry ? entry->calendars : NULL; calendar; calendar = calendar->next)
		if (strcmp(calendar->name, name) == 0)
			return calendar;
	calendar = MemoryContextAllocZero(calendars_context, sizeof(SfCalendar));
	calendar->name = MemoryContextStrdup(calendars_context, name);
	values[0] = CStringGetTextDatum(name);
	if (sf_plan_run(SF_PLAN_CALENDAR, values, NULL, load_calendar, calendar) == 0)
	{
		pfree(calendar->name);
		pfree(calendar);
		return NULL;
	}
	entry = hash_search(by_name, &hash, HASH_ENTER, &found);
	calendar->next = found ? entry->calendars : NULL;
	entry->calendars = calendar;
	return calendar;
}

bool
sf_calendar_lock(const char *name)
{
	Datum		values[1] = {CStringGetTextDatum(name)};

	return sf_plan_run(SF_PLAN_CALENDAR_LOCK, values, NULL, NULL, NULL) > 0;
}

/* --- opening hours --- */

static bool
opens_on(const SfCalendar *calendar, DateADT day)
{
	int			weekday = j2day(day + POSTGRES_EPOCH_JDATE);
	int			low = 0;
	int			high = calendar->nholidays;

	if (!(calendar->weekdays & (1 << (weekday == 0 ? 7 : weekday))))
		return false;
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (calendar->holidays[middle] == day)
			return false;
		if (calendar->holidays[middle] < day)
			low = middle + 1;
		else
			high = middle;
	}
	return true;
}

/*
 * The day that the clock shows is the first that can be open, or the one before
 * where hours reach over midnight: it is at least that time of that day, even
 * where the clock was turned back since.  After the last holiday a day of the
 * week that is open is never far, nor one without a gap at its hours.
 */
TimestampTz
sf_calendar_open(const SfCalendar *calendar, const char *time_zone, TimestampTz at)
{
	pg_tz	   *zone = zone_named(time_zone);
	bool		overnight = calendar->closes <= calendar->opens;
	TimestampTz until;
	int64		shown;
	DateADT		day;

	if (TIMESTAMP_NOT_FINITE(at))
		return at;
	if (zone == NULL)
		zone = calendar->zone;
	shown = at + offset_at(zone, at, &until);
	day = shown / USECS_PER_DAY - (shown % USECS_PER_DAY < 0 ? 1 : 0) - (overnight ? 1 : 0);
	for (; day <= LAST_DAY; day++)
	{
		TimestampTz opens;
		TimestampTz closes;

		if (!opens_on(calendar, day))
			continue;
		opens = first_moment(zone, day, calendar->opens);
		closes = first_moment(zone, day + (overnight ? 1 : 0), calendar->closes);
		if (at >= closes || opens >= closes)
			continue;
		if (at >= opens)
			return at;
		return IS_VALID_TIMESTAMP(opens) ? opens : DT_NOEND;
	}
	return DT_NOEND;
}
