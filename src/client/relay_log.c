/*
 * relay_log.c
 *	  The relay's log: lines on stderr, without secrets.
 *
 * Whatever is a secret of the configuration is known here, and blotted out of
 * what is logged and of the errors that go to the server: a target may well
 * send back what it was sent.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "relay.h"

/* shorter ones would blot out ordinary text */
#define SHORTEST_SECRET		4
#define RARELY_S			30

bool		relay_verbose = false;

static char **secrets;
static int	nsecrets;

static void
remember(const char *value)
{
	for (int i = 0; i < nsecrets; i++)
		if (strcmp(secrets[i], value) == 0)
			return;
	secrets = client_realloc(secrets, (size_t) (nsecrets + 1) * sizeof(char *));
	secrets[nsecrets++] = client_strdup(value);
}

/* As it is, and as it stands in JSON, where some write a slash with a backslash. */
void
relay_secret(const char *value)
{
	Text		json = {0};
	Text		slashes = {0};

	if (strlen(value) < SHORTEST_SECRET)
		return;
	text_json(&json, value, strlen(value));
	for (const char *s = json.data; *s != '\0'; s++)
	{
		if (*s == '/')
			text_char(&slashes, '\\');
		text_char(&slashes, *s);
	}
	remember(value);
	remember(json.data);
	remember(slashes.data);
	text_free(&json);
	text_free(&slashes);
}

void
relay_forget_secrets(void)
{
	while (nsecrets > 0)
		free(secrets[--nsecrets]);
	free(secrets);
	secrets = NULL;
}

/* cut: what ends in the beginning of a secret is shown without it */
static void
redact(Text *out, const char *bytes, size_t len, bool cut)
{
	text_append(out, "", 0);
	while (len > 0)
	{
		size_t		longest = 0;

		for (int i = 0; i < nsecrets; i++)
		{
			size_t		n;

			if (*secrets[i] != *bytes)
				continue;
			n = strlen(secrets[i]);
			if (cut && n > len && memcmp(bytes, secrets[i], len) == 0)
				return;
			if (n > longest && n <= len && memcmp(bytes, secrets[i], n) == 0)
				longest = n;
		}
		if (longest > 0)
			text_add(out, "***");
		else
			text_char(out, *bytes);
		bytes += longest > 0 ? longest : 1;
		len -= longest > 0 ? longest : 1;
	}
}

char *
relay_redact(const char *text)
{
	Text		out = {0};

	redact(&out, text, strlen(text), false);
	return text_take(&out);
}

void
relay_clean(Text *text, const char *bytes, size_t len, bool cut, size_t max)
{
	Text		redacted = {0};

	redact(&redacted, bytes, len, cut);
	text_clean(text, redacted.data, redacted.len, max);
	text_free(&redacted);
}

static char *
compose(const char *format, va_list args)
{
	va_list		again;
	char	   *raw;
	char	   *redacted;
	Text		line = {0};
	int			len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	raw = client_alloc((size_t) len + 1);
	vsnprintf(raw, (size_t) len + 1, format, args);
	redacted = relay_redact(raw);
	/* one line, whatever a server or target put into it */
	text_clean(&line, redacted, strlen(redacted), 4096);
	free(raw);
	free(redacted);
	return text_take(&line);
}

void
relay_log(const char *format,...)
{
	va_list		args;
	char	   *line;

	va_start(args, format);
	line = compose(format, args);
	va_end(args);
	client_info("%s", line);
	free(line);
}

void
relay_warn(const char *format,...)
{
	va_list		args;
	char	   *line;

	va_start(args, format);
	line = compose(format, args);
	va_end(args);
	client_warn("%s", line);
	free(line);
}

void
relay_warn_rarely(double *last, const char *format,...)
{
	va_list		args;
	char	   *line;

	if (*last > 0 && loop_now() < *last + RARELY_S && !relay_verbose)
		return;
	*last = loop_now();
	va_start(args, format);
	line = compose(format, args);
	va_end(args);
	client_warn("%s", line);
	free(line);
}

void
relay_debug(const char *format,...)
{
	va_list		args;
	char	   *line;

	if (!relay_verbose)
		return;
	va_start(args, format);
	line = compose(format, args);
	va_end(args);
	client_info("%s", line);
	free(line);
}
