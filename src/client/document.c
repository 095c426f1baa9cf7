/*
 * document.c
 *	  Documents: reading of files, lines of their parts, and JSON text.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "document_private.h"

/* digits that numeric has at most before the point and behind it */
#define NUMERIC_MAX_WHOLE	131072L
#define NUMERIC_MAX_PART	16383L

typedef struct LineNode
{
	char	   *key;
	int			line;
	int			first_child;	/* -1: none */
	int			last_child;
	int			next;
} LineNode;

struct Lines
{
	LineNode   *nodes;
	int			count;
	int			capacity;
};

Lines *
lines_new(void)
{
	return client_alloc(sizeof(Lines));
}

int
lines_add(Lines *lines, int parent, const char *key, int line)
{
	LineNode   *node;
	int			number = lines->count;

	if (number == lines->capacity)
	{
		lines->capacity = lines->capacity == 0 ? 64 : lines->capacity * 2;
		lines->nodes = client_realloc(lines->nodes, sizeof(LineNode) * (size_t) lines->capacity);
	}
	node = &lines->nodes[lines->count++];
	node->key = key == NULL ? NULL : client_strdup(key);
	node->line = line;
	node->first_child = node->last_child = node->next = -1;
	if (parent >= 0)
	{
		LineNode   *above = &lines->nodes[parent];

		if (above->last_child >= 0)
			lines->nodes[above->last_child].next = number;
		else
			above->first_child = number;
		above->last_child = number;
	}
	return number;
}

int
lines_nth(const Lines *lines, int parent, int index)
{
	int			child = lines->nodes[parent].first_child;

	while (index-- > 0)
		child = lines->nodes[child].next;
	return lines->nodes[child].line;
}

void
lines_free(Lines *lines)
{
	if (lines == NULL)
		return;
	for (int i = 0; i < lines->count; i++)
		free(lines->nodes[i].key);
	free(lines->nodes);
	free(lines);
}

/*
 * Read one step of a path: a key, as .key or as ["a key"], or [index].  Returns what follows it, or NULL where the path is at its end.
 */
static const char *
path_step(const char *path, char *key, int *index)
{
	char	   *out = key;

	*index = -1;
	if (*path == '.')
		path++;
	if (*path == '\0')
		return NULL;
	if (*path == '[' && path[1] != '"')
	{
		char	   *end;
		long		number = strtol(path + 1, &end, 10);

		*index = number < 0 || number > 0x7ffffffe ? 0x7fffffff : (int) number;
		return *end == ']' ? end + 1 : end + strlen(end);
	}
	if (*path == '"' || *path == '[')
	{
		static const char escapes[] = "bfnrt";
		static const char meanings[] = "\b\f\n\r\t";
		bool		bracket = *path == '[';
		const char *escape;

		for (path += bracket ? 2 : 1; *path != '\0' && *path != '"'; path++)
		{
			if (*path == '\\' && path[1] != '\0')
			{
				escape = strchr(escapes, *++path);
				*out++ = escape != NULL ? meanings[escape - escapes] : *path;
			}
			else
				*out++ = *path;
		}
		if (*path == '"')
			path++;
		if (bracket && *path == ']')
			path++;
	}
	else
	{
		while (*path != '\0' && *path != '.' && *path != '[')
			*out++ = *path++;
	}
	*out = '\0';
	return path;
}

int
lines_find(const Lines *lines, const char *path)
{
	char	   *key = client_alloc(strlen(path) + 1);
	int			index;
	int			here = 0;

	if (*path == '$')
		path++;
	while (lines->count > 0 && (path = path_step(path, key, &index)) != NULL)
	{
		int			child = lines->nodes[here].first_child;

		for (int i = 0; child >= 0; child = lines->nodes[child].next, i++)
		{
			const char *theirs = lines->nodes[child].key;

			if (index >= 0 ? theirs == NULL && i == index :
				theirs != NULL && strcmp(theirs, key) == 0)
				break;
		}
		if (child < 0)
			break;
		here = child;
	}
	free(key);
	return lines->count > 0 ? lines->nodes[here].line : 1;
}

int
text_line(const char *text, size_t offset)
{
	int			line = 1;

	for (size_t i = 0; i < offset; i++)
		line += text[i] == '\n';
	return line;
}

/* Length of the character at a place, or 0 where there is none of UTF-8. */
static size_t
utf8_length(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80;
	unsigned char high = 0xbf;
	size_t		len;

	if (s[0] < 0x80)
		return s[0] == 0 ? 0 : 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		len = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4;
	else
		return 0;
	/* neither longer than needed, nor a surrogate, nor beyond U+10FFFF */
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (left < len || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
	{
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	}
	return len;
}

size_t
text_check(const char *text, size_t len)
{
	size_t		i = 0;

	while (i < len)
	{
		size_t		step = utf8_length((const unsigned char *) text + i, len - i);

		if (step == 0)
			break;
		i += step;
	}
	return i;
}

DocumentKind
document_kind(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot != NULL && strcasecmp(dot, ".json") == 0)
		return DOCUMENT_JSON;
	if (dot != NULL && (strcasecmp(dot, ".yml") == 0 || strcasecmp(dot, ".yaml") == 0))
		return DOCUMENT_YAML;
	return DOCUMENT_UNKNOWN;
}

char *
document_read(const char *path, size_t *len, char **error)
{
	bool		is_stdin = strcmp(path, "-") == 0;
	int			fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	size_t		capacity = 65536;
	char	   *text;
	ssize_t		got = 0;

	*error = NULL;
	*len = 0;
	if (fd < 0)
	{
		*error = client_strdup(strerror(errno));
		return NULL;
	}
	text = client_alloc(capacity);
	while (*len <= DOCUMENT_MAX_SIZE && (got = read(fd, text + *len, capacity - *len - 1)) != 0)
	{
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		*len += (size_t) got;
		if (capacity - *len < 2)
			text = client_realloc(text, capacity *= 2);
	}
	if (got < 0)
		*error = client_strdup(strerror(errno));
	else if (*len > DOCUMENT_MAX_SIZE)
		*error = client_format("larger than %d MB", DOCUMENT_MAX_SIZE / (1024 * 1024));
	if (!is_stdin)
		close(fd);
	if (*error != NULL)
	{
		free(text);
		return NULL;
	}
	text[*len] = '\0';
	return text;
}

static bool
may_be_json(const char *text, size_t len)
{
	size_t		i = 0;

	while (i < len && strchr(" \t\r\n", text[i]) != NULL)
		i++;
	return i < len && (text[i] == '{' || text[i] == '[');
}

bool
documents_parse(const char *text, size_t len, DocumentKind kind, Documents *documents,
				int *error_line, char **error)
{
	size_t		good;

	documents->items = NULL;
	documents->count = 0;
	*error = NULL;
	*error_line = 1;
	/* a byte order mark says nothing that is not known */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
	{
		text += 3;
		len -= 3;
	}
	good = text_check(text, len);
	if (good < len)
	{
		*error_line = text_line(text, good);
		*error = client_strdup(text[good] == '\0' ? "the text holds a null byte"
							   : "the text is not UTF-8");
		return false;
	}
	if (kind == DOCUMENT_YAML || (kind == DOCUMENT_UNKNOWN && !may_be_json(text, len)))
		return yaml_parse(text, len, documents, error_line, error);
	documents->items = client_alloc(sizeof(Document));
	if (!json_parse(text, len, kind == DOCUMENT_SERVER ? SERVER_MAX_DEPTH : DOCUMENT_MAX_DEPTH,
					documents->items, error_line, error))
	{
		free(documents->items);
		documents->items = NULL;
		if (kind != DOCUMENT_UNKNOWN)
			return false;
		free(*error);
		*error = NULL;
		return yaml_parse(text, len, documents, error_line, error);
	}
	documents->count = 1;
	return true;
}

void
documents_free(Documents *documents)
{
	for (int i = 0; i < documents->count; i++)
	{
		cJSON_Delete(documents->items[i].value);
		lines_free(documents->items[i].lines);
	}
	free(documents->items);
	documents->items = NULL;
	documents->count = 0;
}

cJSON *
document_parse(const char *text, size_t len, DocumentKind kind, Lines **lines, char **error)
{
	Documents	documents;
	cJSON	   *value;
	char	   *fault;
	int			line;

	if (documents_parse(text, len, kind, &documents, &line, &fault) && documents.count > 1)
	{
		line = lines_find(documents.items[1].lines, "");
		fault = client_strdup("there is a second document");
	}
	if (fault != NULL)
	{
		*error = client_format("line %d: %s", line, fault);
		free(fault);
		documents_free(&documents);
		if (lines != NULL)
			*lines = NULL;
		return NULL;
	}
	*error = NULL;
	value = documents.items[0].value;
	documents.items[0].value = NULL;
	if (lines != NULL)
	{
		*lines = documents.items[0].lines;
		documents.items[0].lines = NULL;
	}
	documents_free(&documents);
	return value;
}

/* Whether the type numeric of the server, of which the numbers of jsonb are, holds it. */
static bool
fits_numeric(const char *text)
{
	const char *whole = text + strspn(text, "-0");
	long		whole_digits = (long) strspn(whole, "0123456789");
	const char *part = whole + whole_digits;
	long		part_digits = 0;
	long		exponent = 0;

	if (*part == '.')
	{
		part_digits = (long) strspn(++part, "0123456789");
		if (whole_digits == 0)
			whole_digits = -(long) strspn(part, "0");
		part += part_digits;
	}
	if (*part != '\0')
		exponent = strtol(part + 1, NULL, 10);
	if (exponent > DOCUMENT_MAX_SIZE * 2 || exponent < -DOCUMENT_MAX_SIZE * 2)
		return false;
	return whole_digits + exponent <= NUMERIC_MAX_WHOLE &&
		part_digits - exponent <= NUMERIC_MAX_PART;
}

cJSON *
number_new(const char *text)
{
	cJSON	   *value;

	if (!fits_numeric(text))
		return NULL;
	value = cJSON_CreateNumber(strtod(text, NULL));
	if (value == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	value->valuestring = client_strdup(text);
	return value;
}

void
value_append(cJSON *parent, char *key, cJSON *value)
{
	if (value == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	value->string = key;
	cJSON_AddItemToArray(parent, value);
}

typedef struct Member
{
	const char *key;
	int			index;
} Member;

static int
compare_members(const void *a, const void *b)
{
	const Member *one = a;
	const Member *two = b;
	int			order = strcmp(one->key, two->key);

	return order != 0 ? order : (one->index > two->index) - (one->index < two->index);
}

int
value_duplicate(const cJSON *object)
{
	int			count = cJSON_GetArraySize(object);
	Member	   *members;
	const cJSON *item = object->child;
	int			found = -1;

	if (count < 2)
		return -1;
	members = client_alloc(sizeof(Member) * (size_t) count);
	for (int i = 0; i < count; i++, item = item->next)
		members[i] = (Member) {item->string, i};
	qsort(members, (size_t) count, sizeof(Member), compare_members);
	for (int i = 1; i < count; i++)
	{
		if (strcmp(members[i].key, members[i - 1].key) == 0 &&
			(found < 0 || members[i].index < found))
			found = members[i].index;
	}
	free(members);
	return found;
}

static void
print_string(const char *string, FILE *out)
{
	fputc('"', out);
	for (const unsigned char *s = (const unsigned char *) string; *s != '\0'; s++)
	{
		if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (*s == '\n')
			fputs("\\n", out);
		else if (*s == '\t')
			fputs("\\t", out);
		else if (*s < 0x20)
			fprintf(out, "\\u%04x", *s);
		else
			fputc(*s, out);
	}
	fputc('"', out);
}

static void
print_break(bool pretty, int depth, FILE *out)
{
	if (pretty)
		fprintf(out, "\n%*s", depth * 2, "");
}

static void
print_value(const cJSON *value, bool pretty, int depth, FILE *out)
{
	bool		is_object = cJSON_IsObject(value);

	if (cJSON_IsString(value))
		print_string(value->valuestring, out);
	else if (cJSON_IsNumber(value) && value->valuestring != NULL)
		fputs(value->valuestring, out);
	else if (is_object || cJSON_IsArray(value))
	{
		fputc(is_object ? '{' : '[', out);
		for (const cJSON *item = value->child; item != NULL; item = item->next)
		{
			print_break(pretty, depth + 1, out);
			if (is_object)
			{
				print_string(item->string, out);
				fputs(pretty ? ": " : ":", out);
			}
			print_value(item, pretty, depth + 1, out);
			if (item->next != NULL)
				fputc(',', out);
		}
		if (value->child != NULL)
			print_break(pretty, depth, out);
		fputc(is_object ? '}' : ']', out);
	}
	else
	{
		/* made by a program: a number without text, null, true, false */
		char	   *text = cJSON_PrintUnformatted(value);

		if (text == NULL)
			client_fatal(EXIT_FAILED, "out of memory");
		fputs(text, out);
		free(text);
	}
}

char *
document_print(const cJSON *value, bool pretty)
{
	char	   *text = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&text, &size);

	if (out == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	print_value(value, pretty, 0, out);
	if (fclose(out) != 0)
		client_fatal(EXIT_FAILED, "out of memory");
	return text;
}
