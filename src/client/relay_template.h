/*
 * relay_template.h
 *	  Texts of the configuration with {{names}} in them, filled from the JSON
 *	  text of a task or an alert.
 *
 *	  {{params.name}}			the value at a path; an error where there is none
 *	  {{params.name|friend}}	or what stands behind the bar
 *	  \{{						two braces
 *
 * How a value is quoted depends on where it stands, so that nothing in a task
 * can break out of its place.
 */
#ifndef RELAY_TEMPLATE_H
#define RELAY_TEMPLATE_H

#include "relay_text.h"

typedef enum TemplateContext
{
	TEMPLATE_TEXT,				/* as it is */
	TEMPLATE_JSON,				/* in a string: escaped; elsewhere a JSON value */
	TEMPLATE_URL,				/* percent-encoded; none before the path, no "." or ".." in it */
	TEMPLATE_FORM,				/* percent-encoded */
	TEMPLATE_HEADER,			/* controls are refused */
	TEMPLATE_HTML,				/* entities */
	TEMPLATE_SLACK				/* & < > as entities, as Slack wants it */
} TemplateContext;

typedef struct Template Template;

/* names[]: the first parts that there are, ended by NULL; *error is to be freed */
extern Template *template_compile(const char *source, TemplateContext context,
								  const char *const *names, char **error);
extern bool template_render(const Template *template, Slice document, Text *out, char **error);
extern void template_free(Template *template);
/* its text with an x in the place of each value */
extern void template_sample(const Template *template, Text *out);
/* a control character, which what becomes a header must not have */
extern bool has_control(const char *bytes, size_t len);

#endif							/* RELAY_TEMPLATE_H */
