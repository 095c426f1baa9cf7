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

TimestampTz
sf_clock_statement(void)
{
	return GetCurrentStatementStartTimestamp();
}

bool
sf_clock_is_set(void)
{
	return fixed != DT_NOBEGIN;
}

TimestampTz
sf_clock_set(TimestampTz at)
{
	TimestampTz before = fixed;

	fixed = at;
	return before;
}

/* now, today and the like: a setting must mean the same whenever it is read */
static bool
is_relative(char **field, const int *ftype, int nf)
{
	for (int i = 0; i < nf; i++)
	{
		int			val;

		if (ftype[i] == DTK_STRING && DecodeSpecial(i, field[i], &val) == RESERV &&
			(val == DTK_NOW || val == DTK_YESTERDAY || val == DTK_TODAY || val == DTK_TOMORROW))
			return true;
	}
	return false;
}

static bool
parse_timestamp(const char *text, TimestampTz *value)
{
	fsec_t		fsec;
	struct pg_tm tt;
	int			tz;
	int			dtype;
	int			nf;
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	char		workbuf[MAXDATELEN + MAXDATEFIELDS];

	return ParseDateTime(text, workbuf, sizeof(workbuf), field, ftype, MAXDATEFIELDS, &nf) == 0 &&
		!is_relative(field, ftype, nf) &&
		sf_decode_datetime(field, ftype, nf, &dtype, &tt, &fsec, &tz) == 0 &&
		dtype == DTK_DATE &&
		tm2timestamp(&tt, fsec, &tz, value) == 0;
}

/*
 * Parse the setting.  A value from the configuration file is read outside a
 * transaction, by the postmaster too, for which an error is fatal: before
 * PostgreSQL 16 an unknown time zone raises one, hence the PG_TRY.
 */
bool
sf_clock_check(char **newval, void **extra, GucSource source)
{
	MemoryContext context = CurrentMemoryContext;
	TimestampTz *parsed;
	TimestampTz value = DT_NOBEGIN;
	volatile bool valid = true;

	if (**newval != '\0')
	{
		PG_TRY();
		{
			valid = parse_timestamp(*newval, &value);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(context);
			FlushErrorState();
			valid = false;
		}
		PG_END_TRY();
		if (!valid)
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
