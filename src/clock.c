/*
 * clock.c
 *	  The time, real or that of sopflow.clock.
 *
 * Due times, leases, retries and partitions follow sopflow.clock where it is
 * set; how long something took and how long to wait are always real.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"

/* the parsed value of sopflow.clock; DT_NOBEGIN when it is not set */
static TimestampTz fixed = DT_NOBEGIN;

TimestampTz
sf_clock_now(void)
{
	return fixed == DT_NOBEGIN ? GetCurrentTimestamp() : fixed;
}

TimestampTz
sf_clock_transaction(void)
{
	return fixed == DT_NOBEGIN ? GetCurrentTransactionStartTimestamp() : fixed;
}

TimestampTz
sf_clock_real(void)
{
	return GetCurrentTimestamp();
}

bool
sf_clock_is_set(void)
{
	return fixed != DT_NOBEGIN;
}

/*
 * Parse the setting.  A value from the configuration file is read before the
 * time zone database can be relied upon, so everything that timestamptz_in
 * looks up must work outside a transaction: it does, save for the words now,
 * today and the like, which are refused.
 */
bool
sf_clock_check(char **newval, void **extra, GucSource source)
{
	TimestampTz *parsed;
	fsec_t		fsec;
	struct pg_tm tt;
	int			tz;
	int			dtype;
	int			nf;
	int			error;
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	char		workbuf[MAXDATELEN + MAXDATEFIELDS];
	TimestampTz value = DT_NOBEGIN;

	if (**newval != '\0')
	{
		error = ParseDateTime(*newval, workbuf, sizeof(workbuf),
							  field, ftype, MAXDATEFIELDS, &nf);
		if (error == 0)
			error = sf_decode_datetime(field, ftype, nf, &dtype, &tt, &fsec, &tz);
		if (error != 0 || dtype != DTK_DATE ||
			tm2timestamp(&tt, fsec, &tz, &value) != 0)
		{
			GUC_check_errdetail("\"%s\" is not a timestamp with time zone.", *newval);
			return false;
		}
	}
	parsed = sf_guc_alloc(sizeof(TimestampTz));
	if (parsed == NULL)
		return false;
	*parsed = value;
	*extra = parsed;
	return true;
}

void
sf_clock_assign(const char *newval, void *extra)
{
	fixed = *(TimestampTz *) extra;
}
