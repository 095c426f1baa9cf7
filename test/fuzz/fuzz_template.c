/*
 * fuzz_template.c
 *	  Any bytes as a template of the relay, and as the task that it is filled
 *	  from; and as a list of addresses.  What is filled into JSON is JSON again,
 *	  and what the scanner takes for JSON, cJSON takes, too.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "client.h"
#include "relay_json.h"
#include "relay_template.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"params", "subject", "a", "b", NULL};

static int
depth_of(const char *text, size_t len)
{
	int			depth = 0;
	int			deepest = 0;

	for (size_t i = 0; i < len; i++)
	{
		depth += text[i] == '{' || text[i] == '[' ? 1 : text[i] == '}' || text[i] == ']' ? -1 : 0;
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest;
}

static void
fill(const char *source, TemplateContext context, Slice document)
{
	char	   *error = NULL;
	Template   *template = template_compile(source, context, names, &error);
	Text		out = {0};

	if (template == NULL)
	{
		if (error == NULL || *error == '\0')
			abort();
		free(error);
		return;
	}
	if (!template_render(template, document, &out, &error))
		free(error);
	else if (context == TEMPLATE_JSON && depth_of(out.data, out.len) <= JSON_MAX_DEPTH &&
			 !json_valid(out.data, out.len))
	{
		fprintf(stderr, "no JSON: %s\n", out.data);
		abort();
	}
	text_free(&out);
	template_free(template);
}

static void
look_into(Slice document)
{
	cJSON	   *value = cJSON_ParseWithLength(document.at, document.len);
	const cJSON *child;

	if (value == NULL)
	{
		fprintf(stderr, "cJSON refuses: %.*s\n", (int) document.len, document.at);
		abort();
	}
	if (cJSON_IsObject(value))
		cJSON_ArrayForEach(child, value)
		{
			const char *path[] = {child->string};
			Slice		found;

			if (!json_find(document, path, 1, &found) || !json_valid(found.at, found.len))
			{
				fprintf(stderr, "\"%s\" is not found in %.*s\n", child->string, (int) document.len, document.at);
				abort();
			}
		}
	cJSON_Delete(value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char sample[] = "{\"params\":{\"x\":\"q\\\"\\n\\u20ac\",\"y\":[1,{\"z\":null}]},\"subject\":\"s\",\"a\":1e5,\"b\":null}";
	const uint8_t *end = memchr(data, '\n', size);
	size_t		len = end ? (size_t) (end - data) : size;
	char	   *source = malloc(len + 1);
	size_t		rest = end ? size - len - 1 : 0;
	char	   *task = malloc(rest > 0 ? rest : 1);
	Slice		document = {sample, sizeof(sample) - 1};
	Text		clean = {0};

	memcpy(source, data, len);
	source[len] = '\0';
	memcpy(task, data + size - rest, rest);
	if (json_valid(task, rest))
	{
		document = (Slice) {task, rest};
		look_into(document);
	}
	for (int context = TEMPLATE_TEXT; context <= TEMPLATE_SLACK; context++)
		fill(source, (TemplateContext) context, document);
	text_clean(&clean, task, rest, 20);
	if (clean.len > 20)
		abort();
	text_free(&clean);
	free(source);
	free(task);
	return 0;
}
