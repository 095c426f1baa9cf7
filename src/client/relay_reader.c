/*
 * relay_reader.c
 *	  Reading values of the relay's configuration strictly.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "relay.h"
#include "relay_reader.h"

#define MAX_SECRET	(64 * 1024)

static void
say(Reader *reader, const char *path, bool fault, const char *format, va_list args)
{
	char		text[2048];
	int			line = lines_find(reader->lines, path);
	char	   *message;

	vsnprintf(text, sizeof(text), format, args);
	message = client_format("%s:%d: %s%s%s\n", reader->file, line, path, *path ? ": " : "", text);
	if (reader->said.data == NULL || strstr(reader->said.data, message) == NULL)
	{
		text_add(&reader->said, message);
		message[strlen(message) - 1] = '\0';
		if (fault)
			client_error("%s", message);
		else
			client_warn("%s", message);
	}
	free(message);
}

void
reader_fault(Reader *reader, const char *path, const char *format,...)
{
	va_list		args;

	reader->faults++;
	va_start(args, format);
	say(reader, path, true, format, args);
	va_end(args);
}

void
reader_warning(Reader *reader, const char *path, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	say(reader, path, false, format, args);
	va_end(args);
}

char *
reader_path(const char *path, const char *key)
{
	const char *at = key;

	while (isalnum((unsigned char) *at) || *at == '_')
		at++;
	if (*at == '\0' && at > key && !isdigit((unsigned char) *key))
		return client_format("%s%s%s", path, *path ? "." : "", key);
	return client_format("%s%s\"%s\"", path, *path ? "." : "", key);
}

Field
map_field(const Map *map, const char *key)
{
	Field		field = {map->reader, NULL, NULL};

	for (const Map *m = map; m != NULL && field.value == NULL; m = m->base)
	{
		field.value = cJSON_GetObjectItemCaseSensitive(m->value, key);
		if (field.value != NULL)
			field.path = reader_path(m->path, key);
	}
	if (field.path == NULL)
		field.path = client_strdup(map->path);
	return field;
}

void
field_free(Field *field)
{
	free(field->path);
	field->path = NULL;
}

bool
map_has(const Map *map, const char *key)
{
	for (; map != NULL; map = map->base)
		if (cJSON_GetObjectItemCaseSensitive(map->value, key) != NULL)
			return true;
	return false;
}

void
map_check_keys(const Map *map, const char *const *keys)
{
	const cJSON *child;

	cJSON_ArrayForEach(child, map->value)
	{
		bool		known = false;

		for (int i = 0; keys[i] != NULL; i++)
			known |= strcmp(keys[i], child->string) == 0;
		if (!known)
		{
			char	   *path = reader_path(map->path, child->string);
			Text		list = {0};

			for (int i = 0; keys[i] != NULL; i++)
				text_format(&list, "%s%s", i > 0 ? ", " : "", keys[i]);
			reader_fault(map->reader, path, "unknown key; there are %s", list.data);
			text_free(&list);
			free(path);
		}
	}
}

/* the wrong type; true where the field is there and right */
static bool
field_is(const Field *field, bool right, const char *what)
{
	if (field->value == NULL)
		return false;
	if (!right)
		reader_fault(field->reader, field->path, "must be %s", what);
	return right;
}

char *
map_string(const Map *map, const char *key, const char *otherwise)
{
	Field		field = map_field(map, key);
	char	   *value = NULL;

	if (field_is(&field, cJSON_IsString(field.value), "a string"))
	{
		if (*field.value->valuestring == '\0')
			reader_fault(field.reader, field.path, "must not be empty");
		value = client_strdup(field.value->valuestring);
	}
	else if (otherwise != NULL)
		value = client_strdup(otherwise);
	field_free(&field);
	return value;
}

bool
map_boolean(const Map *map, const char *key, bool otherwise)
{
	Field		field = map_field(map, key);
	bool		value = otherwise;

	if (field_is(&field, cJSON_IsBool(field.value), "true or false"))
		value = cJSON_IsTrue(field.value);
	field_free(&field);
	return value;
}

int
map_integer(const Map *map, const char *key, int otherwise, int min, int max)
{
	Field		field = map_field(map, key);
	int			value = otherwise;

	if (field_is(&field, cJSON_IsNumber(field.value), "a whole number"))
	{
		double		number = field.value->valuedouble;

		if (number >= min && number <= max && number == (int) number)
			value = (int) number;
		else
			reader_fault(field.reader, field.path, "must be a whole number from %d to %d", min, max);
	}
	field_free(&field);
	return value;
}

double
parse_duration(const char *text)
{
	static const struct
	{
		const char *unit;
		double		seconds;
	}			units[] = {
		{"ms", 0.001}, {"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400}};
	char	   *end;
	double		number;

	if (!isdigit((unsigned char) *text) || strpbrk(text, "xX") != NULL)
		return -1;
	number = strtod(text, &end);
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].unit) == 0)
			return number * units[i].seconds;
	return -1;
}

double
map_duration(const Map *map, const char *key, double otherwise, double min, double max)
{
	Field		field = map_field(map, key);
	double		value = otherwise;

	if (field_is(&field, cJSON_IsNumber(field.value) || cJSON_IsString(field.value),
				 "a time such as 30s, 500ms or 5m"))
	{
		double		seconds = cJSON_IsNumber(field.value) ? field.value->valuedouble :
			parse_duration(field.value->valuestring);

		if (seconds < 0)
			reader_fault(field.reader, field.path, "must be a time such as 30s, 500ms or 5m");
		else if (seconds < min || seconds > max)
			reader_fault(field.reader, field.path, "must be from %g to %g seconds", min, max);
		else
			value = seconds;
	}
	field_free(&field);
	return value;
}

/* "50/s", "600/m", "1000/h", "10/5s", or a number a second */
double
map_rate(const Map *map, const char *key)
{
	Field		field = map_field(map, key);
	double		rate = 0;

	if (field_is(&field, cJSON_IsNumber(field.value) || cJSON_IsString(field.value),
				 "a rate such as 50/s or 600/m"))
	{
		if (cJSON_IsNumber(field.value))
			rate = field.value->valuedouble;
		else
		{
			char	   *end;
			double		count = strtod(field.value->valuestring, &end);
			double		period = -1;

			if (*end == '/')
			{
				char	   *unit = client_format("%s%s", isdigit((unsigned char) end[1]) ? "" : "1",
												end + 1);

				period = parse_duration(unit);
				free(unit);
			}
			rate = period > 0 ? count / period : -1;
		}
		if (!(rate >= 1.0 / 86400 && rate <= 1e6))
		{
			reader_fault(field.reader, field.path,
						 "must be a rate such as 50/s or 600/m, from one a day to a million a second");
			rate = 0;
		}
	}
	field_free(&field);
	return rate;
}

bool
is_secret(const cJSON *value)
{
	return cJSON_IsString(value) && (strncmp(value->valuestring, "env:", 4) == 0 ||
									 strncmp(value->valuestring, "file:", 5) == 0);
}

static char *
secret_file(const Field *field, const char *name)
{
	FILE	   *file = fopen(name, "re");
	char	   *value;
	size_t		len;

	if (file == NULL)
	{
		reader_fault(field->reader, field->path, "could not open \"%s\": %s", name, strerror(errno));
		return NULL;
	}
	value = client_alloc(MAX_SECRET + 1);
	len = fread(value, 1, MAX_SECRET + 1, file);
	if (ferror(file) || len > MAX_SECRET || memchr(value, '\0', len) != NULL)
	{
		reader_fault(field->reader, field->path, "\"%s\" is no file with a secret in it", name);
		len = 0;
	}
	fclose(file);
	/* editors end a file with a line break */
	if (len > 0 && value[len - 1] == '\n')
		len--;
	if (len > 0 && value[len - 1] == '\r')
		len--;
	value[len] = '\0';
	return value;
}

char *
field_secret(const Field *field)
{
	const char *source = cJSON_IsString(field->value) ? field->value->valuestring : "";
	char	   *value = NULL;

	if (!is_secret(field->value))
	{
		reader_fault(field->reader, field->path, "must name where the secret is: env:NAME or file:PATH");
		return NULL;
	}
	if (*source == 'f')
		value = secret_file(field, source + 5);
	else if (getenv(source + 4) != NULL)
		value = client_strdup(getenv(source + 4));
	else
		reader_fault(field->reader, field->path, "the environment variable \"%s\" is not set",
					 source + 4);
	if (value != NULL && *value == '\0')
		reader_fault(field->reader, field->path, "the secret is empty");
	if (value != NULL)
		relay_secret(value);
	return value;
}

char *
map_secret(const Map *map, const char *key)
{
	Field		field = map_field(map, key);
	char	   *value = field.value != NULL ? field_secret(&field) : NULL;

	field_free(&field);
	return value;
}

Template *
field_template(const Field *field, TemplateContext context, const char *const *names)
{
	Template   *template;
	char	   *error;

	if (!cJSON_IsString(field->value))
	{
		reader_fault(field->reader, field->path, "must be a string");
		return NULL;
	}
	template = template_compile(field->value->valuestring, context, names, &error);
	if (template == NULL)
	{
		reader_fault(field->reader, field->path, "%s", error);
		free(error);
	}
	return template;
}

Template *
map_template(const Map *map, const char *key, TemplateContext context, const char *const *names,
			 const char *otherwise)
{
	Field		field = map_field(map, key);
	Template   *template = NULL;
	char	   *error;

	if (field.value != NULL)
		template = field_template(&field, context, names);
	else if (otherwise != NULL)
		template = template_compile(otherwise, context, names, &error);
	field_free(&field);
	return template;
}
