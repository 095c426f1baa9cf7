/*
 * fileset.c
 *	  Files of definitions that are loaded together, and where in them the
 *	  server finds faults.
 *
 * The server gets one array of all documents, so that the order of files does
 * not matter, and names a fault's place as a path in that array.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fileset.h"
#include "print.h"

/* the form in which load_sop() names places */
#define PLACE_FIRST		"Path: "
#define PLACE_MORE		"Also at "

void
fileset_fault(const char *path, int line, const char *what)
{
	client_flush();
	print_style(stderr, STYLE_BOLD);
	print_text(stderr, *path != '\0' ? path : "\"\"");
	if (line > 0)
		fprintf(stderr, ":%d", line);
	fputs(": ", stderr);
	print_plain(stderr);
	print_style(stderr, STYLE_RED);
	fputs("error: ", stderr);
	print_plain(stderr);
	for (bool first = true; *what != '\0'; first = false)
	{
		size_t		len = strcspn(what, "\n");
		/* further lines begin with a blank, so that none looks like another fault */
		char	   *text = client_format("%s%.*s", first || *what == ' ' ? "" : "    ",
										 (int) len, what);

		print_text(stderr, text);
		fputc('\n', stderr);
		free(text);
		what += len;
		if (*what == '\n')
			what++;
	}
}

static void
add_part(FileSet *set, int document, int element)
{
	set->parts = client_realloc(set->parts, sizeof(Part) * (size_t) (set->part_count + 1));
	set->parts[set->part_count++] = (Part) {set->file_count - 1, document, element};
}

bool
fileset_parse(FileSet *set, const char *path, const char *text, size_t len)
{
	File	   *file;
	int			line;
	char	   *error;

	set->files = client_realloc(set->files, sizeof(File) * (size_t) (set->file_count + 1));
	file = &set->files[set->file_count++];
	file->path = path;
	if (!documents_parse(text, len, document_kind(path), &file->documents, &line, &error))
	{
		fileset_fault(path, line, error);
		free(error);
		return false;
	}
	for (int d = 0; d < file->documents.count; d++)
	{
		const cJSON *value = file->documents.items[d].value;
		int			elements = cJSON_GetArraySize(value);

		if (!cJSON_IsArray(value))
			add_part(set, d, -1);
		else
		{
			for (int e = 0; e < elements; e++)
				add_part(set, d, e);
		}
	}
	return true;
}

bool
fileset_read(FileSet *set, char *const *paths, int count)
{
	bool		ok = true;
	bool		progress = count > 20 && isatty(STDERR_FILENO) && !options.quiet;

	memset(set, 0, sizeof(*set));
	for (int i = 0; i < count; i++)
	{
		size_t		len;
		char	   *error;
		char	   *text = document_read(paths[i], &len, &error);

		if (progress)
			fprintf(stderr, "\rreading %d of %d files", i + 1, count);
		if (text == NULL)
		{
			fileset_fault(paths[i], 0, error);
			free(error);
			ok = false;
			continue;
		}
		ok = fileset_parse(set, strcmp(paths[i], "-") == 0 ? "standard input" : paths[i], text, len) && ok;
		free(text);
	}
	if (progress)
		fputs("\r\033[K", stderr);
	return ok;
}

void
fileset_free(FileSet *set)
{
	for (int i = 0; i < set->file_count; i++)
		documents_free(&set->files[i].documents);
	free(set->files);
	free(set->parts);
	memset(set, 0, sizeof(*set));
}

static char *
fileset_json(const FileSet *set)
{
	cJSON	   *array = cJSON_CreateArray();
	char	   *text;

	for (int i = 0; i < set->part_count; i++)
	{
		const Part *part = &set->parts[i];
		cJSON	   *value = set->files[part->file].documents.items[part->document].value;

		if (part->element >= 0)
			value = cJSON_GetArrayItem(value, part->element);
		if (array == NULL || !cJSON_AddItemReferenceToArray(array, value))
			client_fatal(EXIT_FAILED, "out of memory");
	}
	text = document_print(array, false);
	cJSON_Delete(array);
	return text;
}

/* The length of a path at the beginning of a text: $, then .key, [n] and ["key"]. */
static size_t
path_length(const char *text)
{
	size_t		len = 1;

	for (;;)
	{
		if (text[len] == '.' && (isalpha((unsigned char) text[len + 1]) || text[len + 1] == '_'))
		{
			for (len++; isalnum((unsigned char) text[len]) || text[len] == '_';)
				len++;
		}
		else if (text[len] == '[')
		{
			bool		in_string = false;

			for (len++; text[len] != '\0' && (in_string || text[len] != ']'); len++)
			{
				if (text[len] == '\\' && text[len + 1] != '\0')
					len++;
				else if (text[len] == '"')
					in_string = !in_string;
			}
			len += text[len] == ']';
		}
		else
			return len;
	}
}

/* The file of a path of the server, and the line; line 0: it is none of a file. */
static const char *
find_place(const FileSet *set, const char *path, size_t len, int *line)
{
	char	   *copy = client_format("%.*s", (int) len, path);
	const File *file = &set->files[0];
	char	   *end = copy;
	long		number = -1;

	/* the path of a part begins with $[n] */
	if (strncmp(copy, "$[", 2) == 0)
	{
		number = strtol(copy + 2, &end, 10);
		end += *end == ']';
	}
	*line = 0;
	if (number >= 0 && number < set->part_count)
	{
		const Part *part = &set->parts[number];
		char	   *place = part->element < 0 ? client_strdup(end) :
			client_format("[%d]%s", part->element, end);

		file = &set->files[part->file];
		*line = lines_find(file->documents.items[part->document].lines, place);
		free(place);
	}
	free(copy);
	return file->path;
}

/* A text of the server, to be freed, with file and line in place of the paths in it. */
static char *
translate(const FileSet *set, const char *text)
{
	char	   *made = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&made, &size);
	int			line;

	if (out == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	while (*text != '\0')
	{
		size_t		len = strncmp(text, "$[", 2) == 0 ? path_length(text) : 0;

		if (len == 0)
			fputc(*text++, out);
		else
		{
			const char *file = find_place(set, text, len, &line);

			fprintf(out, "%s:%d", file, line);
			text += len;
		}
	}
	if (fclose(out) != 0)
		client_fatal(EXIT_FAILED, "out of memory");
	return made;
}

/* Say what is wrong at a path of the server. */
static void
report_place(const FileSet *set, const char *path, size_t len, const char *what)
{
	int			line;
	const char *file = find_place(set, path, len, &line);

	fileset_fault(file, line, what);
}

/* The faults that an error of the server holds; false where it names no place. */
static bool
report_faults(const FileSet *set, const PGresult *result)
{
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	const char *what = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	static const char prefix[] = "file is not valid: ";
	const char *path;
	char	   *rest = client_strdup("");
	char	   *where;
	char	   *text;
	size_t		len;

	if (detail == NULL || what == NULL || strncmp(detail, PLACE_FIRST, strlen(PLACE_FIRST)) != 0)
	{
		free(rest);
		return false;
	}
	if (strncmp(what, prefix, strlen(prefix)) == 0)
		what += strlen(prefix);

	path = detail + strlen(PLACE_FIRST);
	len = path_length(path);
	for (const char *line = path + strcspn(path, "\n"); *line != '\0';)
	{
		size_t		width;

		line++;
		width = strcspn(line, "\n");
		if (strncmp(line, PLACE_MORE, strlen(PLACE_MORE)) != 0)
		{
			text = client_format("%s\n    %.*s", rest, (int) width, line);
			free(rest);
			rest = text;
		}
		line += width;
	}
	/* only a hint tells of other places; elsewhere $[0] may be a part of an expression */
	where = translate(set, hint ? hint : "");
	text = client_format("%s%s%s%s", what, rest, hint ? "\n    hint: " : "", where);
	report_place(set, path, len, text);
	free(text);
	free(where);
	free(rest);

	for (const char *line = strchr(path, '\n'); line != NULL; line = strchr(line, '\n'))
	{
		line++;
		if (strncmp(line, PLACE_MORE, strlen(PLACE_MORE)) == 0)
		{
			size_t		width = strcspn(line, "\n");

			path = line + strlen(PLACE_MORE);
			len = path_length(path);
			if (path + len < line + width)
			{
				const char *message = path + len + 1 + (path[len + 1] == ' ');

				width = (size_t) (line + width - message);
				/* as in the first message, no full stop */
				if (width > 0 && message[width - 1] == '.')
					width--;
				text = client_format("%.*s", (int) width, message);
				report_place(set, path, len, text);
				free(text);
			}
		}
	}
	return true;
}

/*
 * A text that the server could not take in, such as a character that its
 * encoding does not have: it does not say where, so all files are named.
 */
static bool
report_data(const FileSet *set, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *what = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char	   *files = client_strdup(set->files[0].path);

	if (state == NULL || strncmp(state, "22", 2) != 0)
	{
		free(files);
		return false;
	}
	for (int i = 1; i < set->file_count; i++)
	{
		char	   *longer = client_format("%s, %s", files, set->files[i].path);

		free(files);
		files = longer;
	}
	fileset_fault(files, 0, what);
	free(files);
	return true;
}

/* The result, while a terminal is told that it takes long. */
static PGresult *
wait_for_result(PGconn *conn, int parts)
{
	bool		progress = isatty(STDERR_FILENO) && !options.quiet;
	time_t		began = time(NULL);
	bool		shown = false;

	while (progress && !client_await(conn, 1000))
	{
		fprintf(stderr, "\rloading %d documents, %ld s", parts, (long) (time(NULL) - began));
		shown = true;
	}
	if (shown)
		fputs("\r\033[K", stderr);
	return client_result(conn);
}

PGresult *
fileset_load(const FileSet *set, PGconn *conn, int *code)
{
	char	   *json = fileset_json(set);
	const char *params[1] = {json};
	PGresult   *result = NULL;

	if (client_send(conn, "SELECT l.kind, l.name, l.change FROM sopflow.load_sop($1) l", 1, params))
		result = wait_for_result(conn, set->part_count);
	free(json);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	if (result != NULL && (report_faults(set, result) || report_data(set, result)))
	{
		const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE) ?: "";

		*code = client_may_pass(state) ? EXIT_AGAIN
			: strcmp(state, "42501") == 0 ? EXIT_FAILED : EXIT_INVALID;
	}
	else
		*code = client_failed(conn, result);
	PQclear(result);
	return NULL;
}
