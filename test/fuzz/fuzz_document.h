/*
 * fuzz_document.h
 *	  What the drivers of the two parsers demand of any input: what is read is
 *	  written and read again as the same, in both languages, and each part has
 *	  a line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "document_private.h"

static void
check_again(const char *text, size_t len, DocumentKind kind, const char *wanted)
{
	char	   *error;
	cJSON	   *value = document_parse(text, len, kind, NULL, &error);
	char	   *got;

	if (value == NULL)
	{
		fprintf(stderr, "not read again: %s\n%.*s\n", error, (int) len, text);
		abort();
	}
	got = document_print(value, false);
	if (strcmp(got, wanted) != 0)
	{
		fprintf(stderr, "not the same:\n%s\n%s\n%.*s\n", wanted, got, (int) len, text);
		abort();
	}
	free(got);
	cJSON_Delete(value);
}

static void
check_document(const Document *document)
{
	char	   *plain = document_print(document->value, false);
	char	   *pretty = document_print(document->value, true);
	char	   *yaml = NULL;
	size_t		size;
	FILE	   *stream = open_memstream(&yaml, &size);

	check_again(plain, strlen(plain), DOCUMENT_JSON, plain);
	check_again(pretty, strlen(pretty), DOCUMENT_JSON, plain);
	if (!document_print_yaml(document->value, stream))
		abort();
	fclose(stream);
	check_again(yaml, size, DOCUMENT_YAML, plain);
	/* what begins as JSON is told from YAML by itself */
	if (cJSON_IsObject(document->value) || cJSON_IsArray(document->value))
	{
		check_again(pretty, strlen(pretty), DOCUMENT_UNKNOWN, plain);
		check_again(yaml, size, DOCUMENT_UNKNOWN, plain);
	}
	if (lines_find(document->lines, plain) < 1 || lines_find(document->lines, "[0].a[\"b\"].c") < 1)
		abort();
	free(plain);
	free(pretty);
	free(yaml);
}

static int
fuzz_document(const uint8_t *data, size_t size, DocumentKind kind)
{
	/* the readers demand no byte after the text: let one that is read be found */
	char	   *text = malloc(size > 0 ? size : 1);
	Documents	documents;
	int			line;
	char	   *error;

	memcpy(text, data, size);
	if (documents_parse(text, size, kind, &documents, &line, &error))
	{
		for (int i = 0; i < documents.count; i++)
			check_document(&documents.items[i]);
	}
	else if (error == NULL || *error == '\0' || line < 1)
		abort();
	free(error);
	documents_free(&documents);
	free(text);
	return 0;
}
