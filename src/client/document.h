/*
 * document.h
 *	  YAML and JSON read strictly into cJSON values, with the line of every
 *	  part, and written.
 *
 * Refused with their line: text that is not UTF-8, duplicate keys, keys that
 * are no strings, nesting deeper than DOCUMENT_MAX_DEPTH, numbers that numeric
 * cannot hold, anything after the end.  YAML scalars are those of the core schema
 * of YAML 1.2: true, 12, 1.5 and null are typed, while yes, 24h, 0777 as well as
 * everything in quotes are strings; tags and merge keys are refused, and aliases
 * may make a document larger only within bounds.
 *
 * A number keeps its text in valuestring, so that document_print() loses no
 * digit; valuedouble is as ever, infinite or 0 where a double cannot hold it.
 *
 * Paths are written as the server does: $.nodes[2].params["a key"]; $ or nothing
 * is the document itself, and the $ with its point may be left out.
 */
#ifndef DOCUMENT_H
#define DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#define DOCUMENT_MAX_DEPTH	64
/* of what the server sends: as much as the stack of this program bears */
#define SERVER_MAX_DEPTH	10000
#define DOCUMENT_MAX_SIZE	(64 * 1024 * 1024)

typedef enum DocumentKind
{
	DOCUMENT_YAML,
	DOCUMENT_JSON,
	DOCUMENT_UNKNOWN,			/* JSON where it is that, else YAML */
	DOCUMENT_SERVER				/* JSON of the server, which has judged it already */
} DocumentKind;

typedef struct Lines Lines;

typedef struct Document
{
	cJSON	   *value;
	Lines	   *lines;
} Document;

typedef struct Documents
{
	Document   *items;
	int			count;
} Documents;

/* by the name: .json is JSON, .yml and .yaml are YAML, others unknown */
extern DocumentKind document_kind(const char *path);

/* a whole file, or stdin for "-"; NULL and *error, which is to be freed */
extern char *document_read(const char *path, size_t *len, char **error);

/*
 * The only document of a text.  NULL and *error, which is to be freed; it reads
 * "line 3: duplicate key "a"".  lines may be NULL.
 */
extern cJSON *document_parse(const char *text, size_t len, DocumentKind kind,
							 Lines **lines, char **error);

/* All documents of a text, at least one.  On a fault, *error_line is its line. */
extern bool documents_parse(const char *text, size_t len, DocumentKind kind,
							Documents *documents, int *error_line, char **error);
extern void documents_free(Documents *documents);

/*
 * The line of the key of the value at a path, where it is a part of an array
 * the line where it begins, or that of the nearest part above that is there;
 * never 0 for lines of a document.
 */
extern int	lines_find(const Lines *lines, const char *path);
extern void lines_free(Lines *lines);

/* order.c: put members of objects, as the server exports them, into a readable order */
extern void document_order(cJSON *value);

/* JSON text of a value, to be freed; with line breaks where wanted */
extern char *document_print(const cJSON *value, bool pretty);
/* one YAML document, which is read again as the same value */
extern bool document_print_yaml(const cJSON *value, FILE *stream);

#endif							/* DOCUMENT_H */
