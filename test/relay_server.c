/*
 * relay_server.c
 *	  What the tests and the benchmark of the relay deliver to: a web server and
 *	  a mail server on loopback, with TLS where a certificate is given.
 *
 *	  relay_server LOG [CERTIFICATE KEY]		LOG "-": none is kept
 *
 * Says "http PORT", "smtp PORT" and, with a certificate, "https PORT" and "smtps
 * PORT" on stdout, then serves until it is killed.  Each request and mail is a
 * line of JSON in LOG.  What a web request is answered depends on its path:
 *
 *	  /status/CODE[/SECONDS]	that, with Retry-After
 *	  /date/SECONDS				503 with Retry-After as a date
 *	  /after/TEXT				503 with Retry-After as it is
 *	  /delay/MS					200 after a while
 *	  /hang  /reset  /close		nothing; a reset; the end
 *	  /echo[/CODE]				that, or 200, with the request's headers as its body
 *	  /big						200 with a body of 3 MB
 *	  /storm					by chance: 200, 429, 500, hang, reset
 *
 * Of /storm the log has short lines: task, attempt, answer.  The mail server
 * refuses recipients that begin with "refuse" for good, "defer" for now.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define MAX_DESCRIPTORS 8192
#define BUFFER			(256 * 1024)

typedef enum Kind
{
	HTTP, HTTPS, SMTP, SMTPS
} Kind;

typedef struct Connection
{
	int			fd;
	Kind		kind;
	bool		listens;
	SSL		   *ssl;
	char	   *in;
	size_t		in_len;
	double		answer_at;		/* 0: no answer is due */
	char		answer[512];
	/* mail */
	bool		in_data;
	bool		authenticated;
	char		from[512];
	char		to[2048];
	bool		in_login;
} Connection;

static const char *const kind_names[] = {"http", "https", "smtp", "smtps"};
static Connection *connections[MAX_DESCRIPTORS];
static int	epoll_fd;
static FILE *log_file;
static SSL_CTX *tls;
static int	due;				/* answers that wait for their time */

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void
log_string(const char *bytes, size_t len)
{
	fputc('"', log_file);
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) bytes[i];

		/* bytes as characters: the reader encodes them again */
		if (c == '"' || c == '\\')
			fprintf(log_file, "\\%c", c);
		else if (c < ' ' || c >= 0x7f)
			fprintf(log_file, "\\u%04x", c);
		else
			fputc(c, log_file);
	}
	fputc('"', log_file);
}

static void
drop(Connection *c, bool reset)
{
	struct linger linger = {1, 0};

	if (reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (c->answer_at > 0)
		due--;
	if (c->ssl != NULL)
	{
		if (!reset)
			SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	close(c->fd);
	connections[c->fd] = NULL;
	free(c->in);
	free(c);
}

static void
put(Connection *c, const char *bytes, size_t len)
{
	while (len > 0)
	{
		ssize_t		done = c->ssl ? SSL_write(c->ssl, bytes, (int) len) :
			send(c->fd, bytes, len, MSG_NOSIGNAL);

		if (done <= 0)
			return;
		bytes += done;
		len -= (size_t) done;
	}
}

static void
say(Connection *c, const char *format, ...)
{
	char		text[1024];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put(c, text, strlen(text));
}

/* the value of a header, not ended; NULL where there is none */
static const char *
header(const char *head, const char *name)
{
	const char *line = strstr(head, "\r\n");
	size_t		len = strlen(name);

	for (; line != NULL && line[2] != '\r'; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':')
			return line + 3 + len + strspn(line + 3 + len, " ");
	return NULL;
}

static void
answer(Connection *c, int code, const char *extra, const char *body, double after)
{
	snprintf(c->answer, sizeof(c->answer), "HTTP/1.1 %d Answer\r\nContent-Length: %zu\r\n%s\r\n%s", code,
			 strlen(body), extra, body);
	if (after <= 0)
		put(c, c->answer, strlen(c->answer));
	else
	{
		c->answer_at = now() + after;
		due++;
	}
}

static void
storm(Connection *c, const char *head)
{
	const char *task = header(head, "X-Sopflow-Task");
	const char *attempt = header(head, "X-Sopflow-Attempt");
	int			chance = rand() % 100;
	const char *what = chance < 80 ? "200" : chance < 87 ? "429" : chance < 94 ? "500" :
		chance < 97 ? "hang" : "reset";

	if (log_file != NULL)
		fprintf(log_file, "%lld %d %s\n", task ? atoll(task) : 0, attempt ? atoi(attempt) : 0, what);
	if (chance < 80)
		answer(c, 200, "", "ok", (rand() % 30) / 1000.0);
	else if (chance < 87)
		answer(c, 429, "Retry-After: 1\r\n", "slow down", 0);
	else if (chance < 94)
		answer(c, 500, "", "no luck", 0);
	else if (chance >= 97)
		drop(c, true);
}

static void
log_request(const Connection *c, const char *head, size_t head_len, const char *body, size_t len)
{
	if (log_file == NULL)
		return;
	fprintf(log_file, "{\"kind\":\"%s\",\"head\":", kind_names[c->kind]);
	log_string(head, head_len);
	fprintf(log_file, ",\"body\":");
	log_string(body, len);
	fprintf(log_file, "}\n");
}

static void
respond(Connection *c, const char *head, size_t head_len)
{
	const char *path = strchr(head, ' ');
	char		extra[128] = "";
	int			code;
	int			seconds;

	path = path ? path + 1 : "";
	if (strncmp(path, "/storm", 6) == 0)
		storm(c, head);
	else if (sscanf(path, "/status/%d/%d", &code, &seconds) == 2)
	{
		snprintf(extra, sizeof(extra), "Retry-After: %d\r\n", seconds);
		answer(c, code, extra, "later", 0);
	}
	else if (sscanf(path, "/status/%d", &code) == 1)
		answer(c, code, code / 100 == 3 ? "Location: /status/200\r\n" : "",
			   code == 204 ? "" : "an \xc3\xa4nswer\n\x01 of the server", 0);
	else if (sscanf(path, "/date/%d", &seconds) == 1)
	{
		time_t		when = time(NULL) + seconds;

		strftime(extra, sizeof(extra), "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime(&when));
		answer(c, 503, extra, "", 0);
	}
	else if (strncmp(path, "/after/", 7) == 0)
	{
		snprintf(extra, sizeof(extra), "Retry-After: %.*s\r\n", (int) strcspn(path + 7, " "), path + 7);
		answer(c, 503, extra, "", 0);
	}
	else if (sscanf(path, "/delay/%d", &seconds) == 1)
		answer(c, 200, "", "{}", seconds / 1000.0);
	else if (strncmp(path, "/reset", 6) == 0)
		drop(c, true);
	else if (strncmp(path, "/close", 6) == 0)
		drop(c, false);
	else if (strncmp(path, "/echo", 5) == 0)
	{
		if (sscanf(path, "/echo/%d", &code) != 1)
			code = 200;
		say(c, "HTTP/1.1 %d Echo\r\nContent-Length: %zu\r\n\r\n", code, head_len);
		put(c, head, head_len);
	}
	else if (strncmp(path, "/big", 4) == 0)
	{
		size_t		size = 3 * 1024 * 1024;
		char	   *body = malloc(size);

		memset(body, 'x', size);
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
		put(c, body, size);
		free(body);
	}
	else if (strncmp(path, "/hang", 5) != 0)
		answer(c, 404, "", "there is nothing here", 0);
}

/* one request, if it is there; false: none, or the connection is gone */
static bool
http_request(Connection *c)
{
	char	   *end;
	const char *length;
	size_t		head_len;
	size_t		total;
	int			fd = c->fd;

	c->in[c->in_len] = '\0';
	end = strstr(c->in, "\r\n\r\n");
	if (end == NULL || c->answer_at > 0)
		return false;
	head_len = (size_t) (end - c->in) + 4;
	length = header(c->in, "Content-Length");
	total = head_len + (length ? strtoul(length, NULL, 10) : 0);
	if (total >= BUFFER)
	{
		drop(c, true);
		return false;
	}
	if (c->in_len < total)
		return false;
	if (strncmp(c->in, "POST /storm", 11) != 0)
		log_request(c, c->in, head_len, c->in + head_len, total - head_len);
	end[2] = '\0';
	respond(c, c->in, head_len - 2);
	if (connections[fd] != c)
		return false;
	memmove(c->in, c->in + total, c->in_len - total);
	c->in_len -= total;
	return true;
}

static void
log_mail(const Connection *c, char *data)
{
	char	   *to = data;

	if (log_file == NULL)
		return;
	/* a dot at the beginning of a line was doubled on the way */
	for (const char *from = data; *from != '\0'; from++)
		if (*from != '.' || (from > data && from[-1] != '\n') || from[1] == '\0')
			*to++ = *from;
	*to = '\0';
	fprintf(log_file, "{\"kind\":\"%s\",\"tls\":%s,\"authenticated\":%s,\"from\":", kind_names[c->kind],
			c->ssl ? "true" : "false", c->authenticated ? "true" : "false");
	log_string(c->from, strlen(c->from));
	fprintf(log_file, ",\"to\":");
	log_string(c->to, strlen(c->to));
	fprintf(log_file, ",\"data\":");
	log_string(data, strlen(data));
	fprintf(log_file, "}\n");
}

static bool
start_tls(Connection *c)
{
	c->ssl = SSL_new(tls);
	SSL_set_fd(c->ssl, c->fd);
	return SSL_accept(c->ssl) == 1;
}

/* the credentials are mailer and s3cret-of-mail */
static void
authenticate(Connection *c, const char *what)
{
	c->in_login = false;
	c->authenticated = strcmp(what, "AG1haWxlcgBzM2NyZXQtb2YtbWFpbA==") == 0;
	say(c, c->authenticated ? "235 welcome\r\n" : "535 who are you?\r\n");
}

static bool
smtp_command(Connection *c, const char *line)
{
	if (c->in_login)
		authenticate(c, line);
	else if (strncasecmp(line, "EHLO", 4) == 0)
		say(c, "250-here\r\n%s250 AUTH PLAIN\r\n", tls != NULL && c->ssl == NULL ? "250-STARTTLS\r\n" : "");
	else if (strncasecmp(line, "STARTTLS", 8) == 0 && tls != NULL)
	{
		say(c, "220 go on\r\n");
		return start_tls(c);
	}
	else if (strncasecmp(line, "AUTH PLAIN ", 11) == 0)
		authenticate(c, line + 11);
	else if (strncasecmp(line, "AUTH PLAIN", 10) == 0)
	{
		c->in_login = true;
		say(c, "334 \r\n");
	}
	else if (strncasecmp(line, "MAIL FROM:", 10) == 0)
	{
		snprintf(c->from, sizeof(c->from), "%s", line + 10);
		c->to[0] = '\0';
		say(c, "250 yes\r\n");
	}
	else if (strncasecmp(line, "RCPT TO:<refuse", 15) == 0)
		say(c, "550 5.1.1 there is nobody of this name\r\n");
	else if (strncasecmp(line, "RCPT TO:<defer", 14) == 0)
		say(c, "451 4.7.1 come back later\r\n");
	else if (strncasecmp(line, "RCPT TO:", 8) == 0)
	{
		strncat(c->to, line + 8, sizeof(c->to) - strlen(c->to) - 1);
		say(c, "250 yes\r\n");
	}
	else if (strncasecmp(line, "DATA", 4) == 0)
	{
		c->in_data = true;
		say(c, "354 tell\r\n");
	}
	else if (strncasecmp(line, "QUIT", 4) == 0)
	{
		say(c, "221 bye\r\n");
		return false;
	}
	else
		say(c, "250 well\r\n");
	return true;
}

static bool
smtp_line(Connection *c)
{
	char	   *end;
	size_t		len;

	c->in[c->in_len] = '\0';
	end = strstr(c->in, c->in_data ? "\r\n.\r\n" : "\r\n");
	if (end == NULL)
		return false;
	len = (size_t) (end - c->in) + (c->in_data ? 5 : 2);
	*end = '\0';
	if (c->in_data)
	{
		log_mail(c, c->in);
		c->in_data = false;
		say(c, "250 taken\r\n");
	}
	else if (!smtp_command(c, c->in))
	{
		drop(c, false);
		return false;
	}
	memmove(c->in, c->in + len, c->in_len - len);
	c->in_len -= len;
	return true;
}

static void
serve(Connection *c)
{
	int			fd = c->fd;

	do
	{
		size_t		room = BUFFER - 1 - c->in_len;
		ssize_t		len = c->ssl ? SSL_read(c->ssl, c->in + c->in_len, (int) room) :
			read(fd, c->in + c->in_len, room);

		if (len <= 0)
		{
			drop(c, false);
			return;
		}
		c->in_len += (size_t) len;
	} while (c->ssl != NULL && SSL_pending(c->ssl) > 0);
	while (c->kind <= HTTPS ? http_request(c) : smtp_line(c))
		;
}

static void
watch(int fd, Kind kind, bool listens)
{
	Connection *c = calloc(1, sizeof(Connection));
	struct epoll_event event = {.events = EPOLLIN};

	if (fd >= MAX_DESCRIPTORS)
		exit(1);
	c->fd = fd;
	c->kind = kind;
	c->listens = listens;
	c->in = listens ? NULL : malloc(BUFFER);
	connections[fd] = c;
	event.data.ptr = NULL;
	event.data.fd = fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	if (listens)
		return;
	if ((kind == HTTPS || kind == SMTPS) && !start_tls(c))
		drop(c, false);
	else if (kind >= SMTP)
		say(c, "220 welcome\r\n");
}

static void
listen_as(Kind kind)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t	len = sizeof(address);
	int			fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *) &address, len) != 0 || listen(fd, 1024) != 0 ||
		getsockname(fd, (struct sockaddr *) &address, &len) != 0)
	{
		perror("listen");
		exit(1);
	}
	watch(fd, kind, true);
	printf("%s %d\n", kind_names[kind], ntohs(address.sin_port));
}

static void
ready(int fd)
{
	Connection *c = connections[fd];
	int			on = 1;

	if (c == NULL)
		return;
	if (!c->listens)
	{
		serve(c);
		return;
	}
	fd = accept(fd, NULL, NULL);
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	watch(fd, c->kind, false);
}

static void
give_due_answers(void)
{
	double		t = now();

	for (int fd = 0; due > 0 && fd < MAX_DESCRIPTORS; fd++)
	{
		Connection *c = connections[fd];

		if (c == NULL || c->answer_at == 0 || c->answer_at > t)
			continue;
		c->answer_at = 0;
		due--;
		put(c, c->answer, strlen(c->answer));
		while (connections[fd] == c && http_request(c))
			;
	}
}

int
main(int argc, char **argv)
{
	struct epoll_event events[256];

	if (argc != 2 && argc != 4)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	srand((unsigned) time(NULL));
	if (strcmp(argv[1], "-") != 0)
	{
		log_file = fopen(argv[1], "ae");
		if (log_file == NULL)
			return 1;
		setvbuf(log_file, NULL, _IOLBF, 65536);
	}
	epoll_fd = epoll_create1(0);
	if (argc == 4)
	{
		tls = SSL_CTX_new(TLS_server_method());
		if (SSL_CTX_use_certificate_chain_file(tls, argv[2]) != 1 ||
			SSL_CTX_use_PrivateKey_file(tls, argv[3], SSL_FILETYPE_PEM) != 1)
			return 1;
		listen_as(HTTPS);
		listen_as(SMTPS);
	}
	listen_as(HTTP);
	listen_as(SMTP);
	fflush(stdout);
	for (;;)
	{
		int			n = epoll_wait(epoll_fd, events, 256, due > 0 ? 1 : -1);

		for (int i = 0; i < n; i++)
			ready(events[i].data.fd);
		if (due > 0)
			give_due_answers();
	}
}
