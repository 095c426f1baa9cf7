/*
 * relay_reader.h
 *	  Reading values of the relay's configuration strictly: every fault is said
 *	  with file, line and path, and counted.
 */
#ifndef RELAY_READER_H
#define RELAY_READER_H

#include <stdbool.h>

#include "document.h"
#include "relay_template.h"

typedef struct Reader
{
	const char *file;
	const Lines *lines;
	int			faults;
	Text		said;			/* lines, each of which is said once */
} Reader;

/* an object of the file; what it lacks is looked for in base */
typedef struct Map
{
	Reader	   *reader;
	const cJSON *value;
	char	   *path;
	const struct Map *base;
} Map;

/* a value and where it stands; value is NULL where there is none */
typedef struct Field
{
	Reader	   *reader;
	const cJSON *value;
	char	   *path;			/* to be freed by field_free() */
} Field;

/* what stands in a target that several actions use is said once */
extern void reader_fault(Reader *reader, const char *path, const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern void reader_warning(Reader *reader, const char *path, const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern char *reader_path(const char *path, const char *key);

extern Field map_field(const Map *map, const char *key);
extern void field_free(Field *field);
extern bool map_has(const Map *map, const char *key);
/* keys: those that there are, ended by NULL */
extern void map_check_keys(const Map *map, const char *const *keys);

/* NULL or the default where there is no such key; faults count and give the same */
extern char *map_string(const Map *map, const char *key, const char *otherwise);
extern bool map_boolean(const Map *map, const char *key, bool otherwise);
extern int	map_integer(const Map *map, const char *key, int otherwise, int min, int max);
extern double map_duration(const Map *map, const char *key, double otherwise, double min,
						   double max);
extern double map_rate(const Map *map, const char *key);
/* env:NAME or file:PATH, read; anything else is a fault */
extern char *map_secret(const Map *map, const char *key);
extern Template *map_template(const Map *map, const char *key, TemplateContext context,
							  const char *const *names, const char *otherwise);

extern Template *field_template(const Field *field, TemplateContext context,
								const char *const *names);
/* a string that is env:NAME or file:PATH */
extern bool is_secret(const cJSON *value);
extern char *field_secret(const Field *field);
/* "90 s", "5m", "250ms", or a number of seconds; negative where it is none */
extern double parse_duration(const char *text);

#endif							/* RELAY_READER_H */
