/*
 * message.c
 *	  Messages to stderr, and memory that is there.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "print.h"

ClientOptions options;

static int	flush_error = 0;

bool
client_flush(void)
{
	if (fflush(stdout) != 0 && flush_error == 0)
		flush_error = errno;
	return flush_error == 0 && !ferror(stdout);
}

int
client_flush_error(void)
{
	return flush_error;
}

static void
message(const char *kind, const char *format, va_list args)
{
	char	   *text;
	char	   *shown;
	size_t		size;
	FILE	   *out = open_memstream(&shown, &size);

	client_flush();
	if (out == NULL || vasprintf(&text, format, args) < 0)
	{
		fputs(PROGRAM ": error: out of memory\n", stderr);
		exit(EXIT_FAILED);
	}
	fprintf(out, "%s: %s", PROGRAM, kind);
	/* lines and tabs of the server and of libpq stay */
	for (char *at = text, *end; *at != '\0'; at = end)
	{
		char		special;

		end = at + strcspn(at, "\n\t");
		special = *end;
		*end = '\0';
		print_text(out, at);
		if (special != '\0')
			fputc(*end++ = special, out);
	}
	free(text);
	fputc('\n', out);
	if (fclose(out) == 0)
		fputs(shown, stderr);
	free(shown);
}

void
client_info(const char *format,...)
{
	va_list		args;

	if (options.quiet)
		return;
	va_start(args, format);
	message("", format, args);
	va_end(args);
}

void
client_warn(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	message("warning: ", format, args);
	va_end(args);
}

void
client_error(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	message("error: ", format, args);
	va_end(args);
}

void
client_fatal(int code, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	message("error: ", format, args);
	va_end(args);
	exit(code);
}

void
client_try_help(void)
{
	fprintf(stderr, "Try \"%s%s%s --help\".\n", PROGRAM, options.command ? " " : "",
			options.command ? options.command : "");
	exit(EXIT_USAGE);
}

void
client_usage(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	message("error: ", format, args);
	va_end(args);
	client_try_help();
}

void *
client_alloc(size_t size)
{
	void	   *pointer = calloc(1, size > 0 ? size : 1);

	if (pointer == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	return pointer;
}

void *
client_realloc(void *pointer, size_t size)
{
	pointer = realloc(pointer, size > 0 ? size : 1);
	if (pointer == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	return pointer;
}

char *
client_strdup(const char *string)
{
	size_t		size = strlen(string) + 1;

	return memcpy(client_alloc(size), string, size);
}

char *
client_format(const char *format,...)
{
	va_list		args;
	char	   *text;
	int			len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text = client_alloc((size_t) len + 1);
	va_start(args, format);
	vsnprintf(text, (size_t) len + 1, format, args);
	va_end(args);
	return text;
}

bool
client_color(FILE *stream)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(fileno(stream)) && (no_color == NULL || *no_color == '\0') &&
		(term == NULL || strcmp(term, "dumb") != 0);
}

long
client_number(const char *option, const char *value, long min, long max)
{
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || isspace((unsigned char) *value))
		client_usage("%s must be a whole number, not \"%s\"", option, value);
	if (number < min || number > max)
		client_usage("%s must be from %ld to %ld, not %ld", option, min, max, number);
	return number;
}
