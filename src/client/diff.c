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

typedef struct Named
{
	char	   *name;
	const cJSON *item;
} Named;

/* the parts of an array in the order of their names */
typedef struct Names
{
	Named	   *items;
	size_t		count;
} Names;

static int
compare_named(const void *a, const void *b)
{
	return strcmp(((const Named *) a)->name, ((const Named *) b)->name);
}

static void
names_free(Names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i].name);
	free(names->items);
	*names = (Names) {NULL, 0};
}

/* false unless each part is an object with a name of its own */
static bool
names_read(Names *names, const cJSON *array)
{
	bool		ok = cJSON_IsArray(array);

	if (ok)
		names->items = client_alloc(sizeof(Named) * (size_t) cJSON_GetArraySize(array));
	for (const cJSON *item = ok ? array->child : NULL; ok && item != NULL; item = item->next)
	{
		char	   *name = cJSON_IsObject(item) ? name_of(item) : NULL;

		ok = name != NULL;
		if (ok)
			names->items[names->count++] = (Named) {name, item};
	}
	if (ok)
		qsort(names->items, names->count, sizeof(Named), compare_named);
	/* two of one name cannot be told apart */
	for (size_t i = 1; ok && i < names->count; i++)
		ok = strcmp(names->items[i - 1].name, names->items[i].name) != 0;
	return ok;
}

static const cJSON *
find_named(const Names *names, char *name)
{
	Named		wanted = {name, NULL};
	const Named *found = bsearch(&wanted, names->items, names->count, sizeof(Named),
								 compare_named);

	return found != NULL ? found->item : NULL;
}

/* The names that are in both, in the order of one of them, as text. */
static char *
order_of(const cJSON *array, const Names *other)
{
	char	   *order = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&order, &size);
	bool		any = false;

	if (out == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	for (const cJSON *item = array->child; item != NULL; item = item->next)
	{
		char	   *name = name_of(item);

		if (find_named(other, name) != NULL)
		{
			fprintf(out, "%s%s", any ? ", " : "", name);
			any = true;
		}
		free(name);
	}
	if (fclose(out) != 0)
		client_fatal(EXIT_FAILED, "out of memory");
	return order;
}

static void
diff_named(FILE *out, const char *path, const cJSON *old, const Names *old_names,
		   const cJSON *new, const Names *new_names)
{
	char	   *old_order = order_of(old, new_names);
	char	   *new_order = order_of(new, old_names);

	for (const cJSON *item = old->child; item != NULL; item = item->next)
	{
		char	   *name = name_of(item);
		char	   *place = client_format("%s[%s]", path, name);

		if (find_named(new_names, name) == NULL)
			print_line(out, '-', place, item, NULL);
		free(place);
		free(name);
	}
	for (const cJSON *item = new->child; item != NULL; item = item->next)
	{
		char	   *name = name_of(item);
		char	   *place = client_format("%s[%s]", path, name);

		diff_values(out, place, find_named(old_names, name), item);
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
	Names		old_names = {NULL, 0};
	Names		new_names = {NULL, 0};
	char	   *before;
	char	   *after;

	if (old == NULL)
		print_line(out, '+', path, NULL, new);
	else if (cJSON_IsObject(old) && cJSON_IsObject(new))
		diff_objects(out, path, old, new);
	else if (names_read(&old_names, old) && names_read(&new_names, new))
		diff_named(out, path, old, &old_names, new, &new_names);
	else
	{
		before = document_print(old, false);
		after = document_print(new, false);
		if (strcmp(before, after) != 0)
			print_line(out, '~', path, old, new);
		free(before);
		free(after);
	}
	names_free(&old_names);
	names_free(&new_names);
}

void
diff_print(FILE *out, const cJSON *old, const cJSON *new)
{
	diff_objects(out, "", old, new);
}
