/*
 * fuzz_splitter.c
 *	  Any text as a template of an SOP: src/template.c, as the server compiles
 *	  it, reads nothing beyond the text, and what it splits is all of the text.
 */
#include <stdint.h>

#include "../../src/template.c"

#define MAX_ALLOCATIONS 100000

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

jmp_buf		fuzz_error;
static void *allocated[MAX_ALLOCATIONS];
static int	nallocated = 0;

void *
fuzz_alloc(size_t size)
{
	if (nallocated == MAX_ALLOCATIONS)
		longjmp(fuzz_error, 1);
	return allocated[nallocated++] = calloc(1, size > 0 ? size : 1);
}

char *
fuzz_copy(const char *text, size_t len)
{
	size_t		n = strnlen(text, len);
	char	   *copy = fuzz_alloc(n + 1);

	memcpy(copy, text, n);
	return copy;
}

void
initStringInfo(StringInfo str)
{
	str->maxlen = 16;
	str->data = fuzz_alloc(str->maxlen);
	resetStringInfo(str);
}

void
resetStringInfo(StringInfo str)
{
	str->len = 0;
	str->data[0] = '\0';
}

void
appendStringInfoChar(StringInfo str, char ch)
{
	if (str->len + 1 == str->maxlen)
	{
		char	   *grown = fuzz_alloc(str->maxlen * 2);

		memcpy(grown, str->data, str->len);
		str->data = grown;
		str->maxlen *= 2;
	}
	str->data[str->len++] = ch;
	str->data[str->len] = '\0';
}

void
appendStringInfoString(StringInfo str, const char *text)
{
	for (; *text != '\0'; text++)
		appendStringInfoChar(str, *text);
}

List *
lappend(List *list, void *datum)
{
	List	   *longer = fuzz_alloc(sizeof(List));

	longer->length = list ? list->length + 1 : 1;
	longer->elements = fuzz_alloc(longer->length * sizeof(void *));
	if (list != NULL)
		memcpy(longer->elements, list->elements, list->length * sizeof(void *));
	longer->elements[longer->length - 1] = datum;
	return longer;
}

/* expressions are parts of the text, where they are said to begin */
static void
check_parts(const List *parts, const char *text)
{
	for (int i = 0; parts != NULL && i < parts->length; i++)
	{
		const SfTemplatePart *part = parts->elements[i];
		size_t		len;

		if ((part->literal == NULL) == (part->expression == NULL))
			abort();
		if (part->literal != NULL)
			continue;
		len = strlen(part->expression);
		if (part->start + len > strlen(text) ||
			strncmp(text + part->start, part->expression, len) != 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* lists are copied for each part */
	size_t		len = size < 2000 ? size : 2000;
	char	   *volatile text = malloc(len + 1);

	memcpy(text, data, len);
	text[len] = '\0';
	(void) sf_template_has(text, (int) len);
	if (setjmp(fuzz_error) == 0)
		check_parts(sf_template_split(text), text);
	while (nallocated > 0)
		free(allocated[--nallocated]);
	free(text);
	return 0;
}
