/*
 * diff.c
 *	  What a load changes, object by object.
 */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "diff.h"
#include "print.h"

static void diff_values(FILE *out, const char *path, const cJSON *old, const cJSON *new);

static void
print_line(FILE *out, char mark, const char *path, const cJSON *old, const cJSON *new)
{
	char	   *before = old != NULL ? document_print(old, false) : NULL;
	char	   *after = new != NULL ? document_print(new, false) : NULL;

	print_style(out, mark == '+' ? STYLE_GREEN : mark == '-' ? STYLE_RED : STYLE_YELLOW);
	fprintf(out, "  %c ", mark);
	print_text(out, path);
	fputs(": ", out);
	if (before != NULL)
		print_text(out, before);
	if (before != NULL && after != NULL)
		fputs(" -> ", out);
	if (after != NULL)
		print_text(out, after);
	print_plain(out);
	fputc('\n', out);
	free(before);
	free(after);
}

/* What an object of an array is called, to be freed; NULL if nothing names it. */
static char *
name_of(const cJSON *object)
{
	static const char *const keys[] = {"id", "name", "day"};
	const cJSON *from = cJSON_GetObjectItemCaseSensitive(object, "from");
	const cJSON *to = cJSON_GetObjectItemCaseSensitive(object, "to");

	for (int i = 0; i < 3; i++)
	{
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, keys[i]);

		if (cJSON_IsString(value))
			return client_strdup(value->valuestring);
	}
	if (cJSON_IsString(from) && cJSON_IsString(to))
		return client_format("%s to %s", from->valuestring, to->valuestring);
	return NULL;
}

static const cJSON *
find_named(const cJSON *array, const char *name)
{
	for (const cJSON *item = array->child; item != NULL; item = item->next)
	{
		char	   *theirs = name_of(item);
		bool		same = theirs != NULL && strcmp(theirs, name) == 0;

		free(theirs);
		if (same)
			return item;
	}
	return NULL;
}

/* Whether each part is an object with a name of its own. */
static bool
all_named(const cJSON *array)
{
	if (!cJSON_IsArray(array))
		return false;
	for (const cJSON *item = array->child; item != NULL; item = item->next)
	{
		char	   *name = cJSON_IsObject(item) ? name_of(item) : NULL;

		/* two of one name cannot be told apart */
		bool		ok = name != NULL && find_named(array, name) == item;

		free(name);
		if (!ok)
			return false;
	}
	return true;
}

/* The names that are in both, in the order of one of them, as text. */
static char *
order_of(const cJSON *array, const cJSON *other)
{
	char	   *order = client_strdup("");

	for (const cJSON *item = array->child; item != NULL; item = item->next)
	{
		char	   *name = name_of(item);

		if (find_named(other, name) != NULL)
		{
			char	   *longer = client_format("%s%s%s", order, *order ? ", " : "", name);

			free(order);
			order = longer;
		}
		free(name);
	}
	return order;
}

static void
diff_named(FILE *out, const char *path, const cJSON *old, const cJSON *new)
{
	char	   *old_order = order_of(old, new);
	char	   *new_order = order_of(new, old);

	for (const cJSON *item = old->child; item != NULL; item = item->next)
	{
		char	   *name = name_of(item);
		char	   *place = client_format("%s[%s]", path, name);

		if (find_named(new, name) == NULL)
			print_line(out, '-', place, item, NULL);
		free(place);
		free(name);
	}
	for (const cJSON *item = new->child; item != NULL; item = item->next)
	{
		char	   *name = name_of(item);
		char	   *place = client_format("%s[%s]", path, name);

		diff_values(out, place, find_named(old, name), item);
		free(place);
		free(name);
	}
	if (strcmp(old_order, new_order) != 0)
	{
		print_style(out, STYLE_YELLOW);
		fputs("  ~ order of ", out);
		print_text(out, path);
		fputs(": ", out);
		print_text(out, old_order);
		fputs(" -> ", out);
		print_text(out, new_order);
		print_plain(out);
		fputc('\n', out);
	}
	free(old_order);
	free(new_order);
}

static void
diff_objects(FILE *out, const char *path, const cJSON *old, const cJSON *new)
{
	const char *point = *path != '\0' ? "." : "";

	for (const cJSON *item = old->child; item != NULL; item = item->next)
	{
		char	   *place = client_format("%s%s%s", path, point, item->string);

		if (cJSON_GetObjectItemCaseSensitive(new, item->string) == NULL)
			print_line(out, '-', place, item, NULL);
		free(place);
	}
	for (const cJSON *item = new->child; item != NULL; item = item->next)
	{
		char	   *place = client_format("%s%s%s", path, point, item->string);

		diff_values(out, place, cJSON_GetObjectItemCaseSensitive(old, item->string), item);
		free(place);
	}
}

static void
diff_values(FILE *out, const char *path, const cJSON *old, const cJSON *new)
{
	char	   *before;
	char	   *after;

	if (old == NULL)
		print_line(out, '+', path, NULL, new);
	else if (cJSON_IsObject(old) && cJSON_IsObject(new))
		diff_objects(out, path, old, new);
	else if (all_named(old) && all_named(new))
		diff_named(out, path, old, new);
	else
	{
		before = document_print(old, false);
		after = document_print(new, false);
		if (strcmp(before, after) != 0)
			print_line(out, '~', path, old, new);
		free(before);
		free(after);
	}
}

void
diff_print(FILE *out, const cJSON *old, const cJSON *new)
{
	diff_objects(out, "", old, new);
}
