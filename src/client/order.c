/*
 * order.c
 *	  Members of objects in the order in which people write them: the server
 *	  has them by the length of their keys.
 */
#include <string.h>

#include "document.h"

static const char *const key_order[] = {
	/* what it is */
	"id", "name", "day", "description", "type", "value",
	/* of an SOP, an action, a calendar */
	"trigger_event", "enabled", "delay_from", "reentry", "skip_late_after", "exit_events",
	"calendar", "subject_relation", "subject_key", "time_zone_column", "max_steps",
	"delivery", "channel", "handler", "lease", "timeout",
	"time_zone", "weekdays", "opens", "closes", "holidays",
	/* of a node, a link, a rule */
	"from", "to", "priority", "wait_event", "sop_ref", "delay", "condition", "condition_rules",
	"action", "params", "next", "otherwise", "max_attempts", "on_failure",
	/* what it consists of */
	"facts", "quotas", "groups", "actions", "calendars", "rule_sets", "sops", "nodes", "links",
	"rules", NULL
};

void
document_order(cJSON *value)
{
	cJSON	   *item;

	if (cJSON_IsObject(value))
	{
		cJSON	   *ordered = cJSON_CreateArray();

		for (int i = 0; key_order[i] != NULL; i++)
		{
			item = cJSON_DetachItemFromObjectCaseSensitive(value, key_order[i]);
			if (item != NULL)
				cJSON_AddItemToArray(ordered, item);
		}
		while ((item = value->child) != NULL)
			cJSON_AddItemToArray(ordered, cJSON_DetachItemViaPointer(value, item));
		while ((item = ordered->child) != NULL)
			cJSON_AddItemToArray(value, cJSON_DetachItemViaPointer(ordered, item));
		cJSON_Delete(ordered);
	}
	cJSON_ArrayForEach(item, value)
	{
		/* data of the user keep the server's order */
		if (item->string == NULL || strcmp(item->string, "params") != 0 || cJSON_IsArray(item))
			document_order(item);
	}
}
