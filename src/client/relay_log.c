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

void
relay_secret(const char *value)
{
	if (strlen(value) < SHORTEST_SECRET)
		return;
	for (int i = 0; i < nsecrets; i++)
		if (strcmp(secrets[i], value) == 0)
			return;
	secrets = client_realloc(secrets, (size_t) (nsecrets + 1) * sizeof(char *));
	secrets[nsecrets++] = client_strdup(value);
}

void
relay_forget_secrets(void)
{
	while (nsecrets > 0)
		free(secrets[--nsecrets]);
	free(secrets);
	secrets = NULL;
}

char *
relay_redact(const char *text)
{
	Text		out = {0};

	text_append(&out, "", 0);
	while (*text != '\0')
	{
		size_t		longest = 0;

		for (int i = 0; i < nsecrets; i++)
		{
			size_t		len = strlen(secrets[i]);

			if (len > longest && strncmp(text, secrets[i], len) == 0)
				longest = len;
		}
		if (longest > 0)
		{
			text_add(&out, "***");
			text += longest;
		}
		else
			text_char(&out, *text++);
	}
	return text_take(&out);
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
