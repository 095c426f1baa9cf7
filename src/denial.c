/*
 * denial.c
 *	  What the last denial of this session said, for C callers that catch it.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "fire.h"

static MemoryContext denial_context = NULL;
static SfDenial *denial = NULL;

const SfDenial *
sf_fire_denial(void)
{
	return denial;
}

static void
describe(StringInfo detail, const SfRuleSet *set, const SfMessage *message)
{
	appendStringInfo(detail, "Rule \"%s\" of rule set \"%s\"", message->rule->name, set->name);
	if (message->code != NULL)
		appendStringInfo(detail, ", code %s", message->code);
	if (message->values != NULL && message->values[0] != '\0')
		appendStringInfo(detail, ", with %s", message->values);
	appendStringInfoChar(detail, '.');
}

const SfDenial *
sf_fire_keep_denial(const SfRuleSet *set, const SfVerdict *verdict)
{
	MemoryContext old;
	SfDenial   *kept;
	StringInfoData text;
	StringInfoData detail;
	ListCell   *lc;

	if (denial_context == NULL)
		denial_context = AllocSetContextCreate(TopMemoryContext, "sopflow denial",
											   ALLOCSET_SMALL_SIZES);
	denial = NULL;
	MemoryContextReset(denial_context);
	old = MemoryContextSwitchTo(denial_context);
	kept = palloc0(sizeof(SfDenial));
	initStringInfo(&text);
	initStringInfo(&detail);
	foreach(lc, verdict->messages)
	{
		SfMessage  *message = lfirst(lc);

		if (!message->denies)
			continue;
		if (kept->rule == NULL)
		{
			kept->rule = pstrdup(message->rule->name);
			kept->code = message->code ? pstrdup(message->code) : NULL;
		}
		else
		{
			appendStringInfoChar(&text, '\n');
			/* each further text stands above what led to it */
			appendStringInfo(&detail, "\n%s\n", message->text);
		}
		appendStringInfoString(&text, message->text);
		describe(&detail, set, message);
	}
	kept->text = text.data;
	kept->rule_set = pstrdup(set->name);
	kept->detail = detail.data;
	MemoryContextSwitchTo(old);
	denial = kept;
	return denial;
}
