/*
 * document_private.h
 *	  What the readers and writers of documents share.
 */
#ifndef DOCUMENT_PRIVATE_H
#define DOCUMENT_PRIVATE_H

#include "document.h"

/* what a plain scalar of YAML is */
typedef enum ScalarKind
{
	SCALAR_STRING,
	SCALAR_NULL,
	SCALAR_TRUE,
	SCALAR_FALSE,
	SCALAR_NUMBER,
	SCALAR_REFUSED				/* a number that readers of YAML do not agree on, or no JSON */
} ScalarKind;

/*
 * A part of a document and its line: key is NULL for the document and for parts
 * of arrays.  Returns the number of the part, which those in it name as theirs.
 */
extern Lines *lines_new(void);
extern int	lines_add(Lines *lines, int parent, const char *key, int line);
/* line of the part with this index in another one */
extern int	lines_nth(const Lines *lines, int parent, int index);

/* lines counted from the start of the text to a place in it, from 1 */
extern int	text_line(const char *text, size_t offset);
/* offset of the first byte that is no UTF-8, or the length */
extern size_t text_check(const char *text, size_t len);

/* a number with its text; NULL where it is out of the range of numeric */
extern cJSON *number_new(const char *text);
/* append to an array; key is taken over, and NULL for an array */
extern void value_append(cJSON *parent, char *key, cJSON *value);
/* index of the first member whose key an earlier one has, or -1 */
extern int	value_duplicate(const cJSON *object);

/* JSON text of the number, to be freed, for SCALAR_NUMBER; else why for SCALAR_REFUSED */
extern ScalarKind scalar_resolve(const char *text, size_t len, char **number, const char **why);

extern bool json_parse(const char *text, size_t len, int max_depth, Document *document,
					   int *error_line, char **error);
extern bool yaml_parse(const char *text, size_t len, Documents *documents,
					   int *error_line, char **error);

#endif							/* DOCUMENT_PRIVATE_H */
