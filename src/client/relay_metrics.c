/*
 * relay_metrics.c
 *	  What the relay does in figures, in Prometheus' text form, by a small HTTP
 *	  server in the relay's own loop: GET /metrics and GET /healthz.
 */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "relay.h"

#define MAX_VISITORS	64
#define MAX_REQUEST		8192
#define VISIT_S			10
/* without a descriptor for a visitor nobody is let in for so long */
#define PAUSE_S			1

typedef struct Visitor
{
	int			fd;
	Text		request;
	Text		answer;
	size_t		sent;
	LoopTimer	timer;
	struct Visitor *next;
} Visitor;

static const double bounds[RELAY_BUCKETS] = {
	0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30
};

static const char *const outcome_names[RELAY_OUTCOMES] = {"done", "retry", "dead"};

static int	listener = -1;
static LoopTimer pause_timer;
static double full_said;
static char *listening_to;
static Visitor *visitors;
static int	nvisitors;

void
metrics_count(Lane *lane, RelayOutcome outcome, double seconds)
{
	int			i = 0;

	while (i < RELAY_BUCKETS && seconds > bounds[i])
		i++;
	lane->buckets[i]++;
	lane->seconds += seconds;
	lane->outcomes[outcome]++;
}

static void
head(Text *out, const char *name, const char *type, const char *help)
{
	text_format(out, "# HELP sopflow_relay_%s %s\n# TYPE sopflow_relay_%s %s\n", name, help, name, type);
}

static void
single(Text *out, const char *name, const char *type, const char *help, long long value)
{
	head(out, name, type, help);
	text_format(out, "sopflow_relay_%s %lld\n", name, value);
}

static void
histogram(Text *out, const Lane *lane)
{
	long long	sum = 0;

	for (int i = 0; i <= RELAY_BUCKETS; i++)
	{
		sum += lane->buckets[i];
		if (i < RELAY_BUCKETS)
			text_format(out, "sopflow_relay_delivery_seconds_bucket{target=\"%s\",le=\"%g\"} %lld\n",
						lane->name, bounds[i], sum);
		else
			text_format(out, "sopflow_relay_delivery_seconds_bucket{target=\"%s\",le=\"+Inf\"} %lld\n",
						lane->name, sum);
	}
	text_format(out, "sopflow_relay_delivery_seconds_sum{target=\"%s\"} %.6f\n", lane->name, lane->seconds);
	text_format(out, "sopflow_relay_delivery_seconds_count{target=\"%s\"} %lld\n", lane->name, sum);
}

static void
write_metrics(Text *out)
{
	head(out, "deliveries_total", "counter", "Attempts that ended, by target and outcome.");
	for (const Lane *lane = lanes_all(); lane != NULL; lane = lane->next)
		for (int i = 0; i < RELAY_OUTCOMES; i++)
			text_format(out, "sopflow_relay_deliveries_total{target=\"%s\",outcome=\"%s\"} %lld\n",
						lane->name, outcome_names[i], (long long) lane->outcomes[i]);
	head(out, "in_flight", "gauge", "Deliveries under way.");
	for (const Lane *lane = lanes_all(); lane != NULL; lane = lane->next)
		text_format(out, "sopflow_relay_in_flight{target=\"%s\"} %d\n", lane->name, lane->running);
	head(out, "delivery_seconds", "histogram", "Duration of deliveries.");
	for (const Lane *lane = lanes_all(); lane != NULL; lane = lane->next)
		histogram(out, lane);
	single(out, "unreported", "gauge", "Outcomes that the database does not know yet.", work_unreported());
	single(out, "blocked", "gauge", "Tasks that cannot be reported or extended now.", work_blocked());
	single(out, "lost_leases_total", "counter",
		   "Tasks whose lease had ended before their outcome was reported.", relay_lost_leases);
	single(out, "connected", "gauge", "1 while there is a connection to the database.", db_ready());
	single(out, "reconnects_total", "counter", "Connections to the database that were lost.",
		   db_reconnects);
	single(out, "fetches_total", "counter", "Calls of sopflow.fetch().", db_fetches);
	single(out, "fetched_tasks_total", "counter", "Tasks that these gave.", db_fetched);
	single(out, "alerts_waiting", "gauge", "Alerts that are to be delivered.", alerts_waiting());
	single(out, "alerts_dropped_total", "counter", "Alerts that could not be delivered.", alerts_dropped);
}

static void
leave(Visitor *visitor)
{
	Visitor   **link = &visitors;

	while (*link != visitor)
		link = &(*link)->next;
	*link = visitor->next;
	nvisitors--;
	loop_unwatch(visitor->fd);
	close(visitor->fd);
	loop_timer_clear(&visitor->timer);
	text_free(&visitor->request);
	text_free(&visitor->answer);
	free(visitor);
}

static void
visit_over(void *arg)
{
	leave(arg);
}

static void
answer(Visitor *visitor, const char *status, const char *type, const Text *body)
{
	text_format(&visitor->answer, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
				"Connection: close\r\n\r\n", status, type, body->len);
	if (strncmp(visitor->request.data, "HEAD ", 5) != 0)
		text_append(&visitor->answer, body->data, body->len);
}

static void
read_request(Visitor *visitor)
{
	const char *request = visitor->request.data;
	const char *path = strchr(request, ' ');
	size_t		len = path ? strcspn(path + 1, " ?\r\n") : 0;
	Text		body = {0};
	const char *plain = "text/plain; charset=utf-8";

	if (strncmp(request, "GET ", 4) != 0 && strncmp(request, "HEAD ", 5) != 0)
	{
		text_add(&body, "only GET and HEAD\n");
		answer(visitor, "405 Method Not Allowed", plain, &body);
	}
	else if (len == 8 && strncmp(path + 1, "/metrics", 8) == 0)
	{
		write_metrics(&body);
		answer(visitor, "200 OK", "text/plain; version=0.0.4; charset=utf-8", &body);
	}
	else if (len == 8 && strncmp(path + 1, "/healthz", 8) == 0)
	{
		const char *fault = relay_draining ? "draining" : !db_ready() ? "no connection" :
			db_waits() ? "the database does not answer" : NULL;

		text_format(&body, "%s\n", fault ? fault : "ok");
		answer(visitor, fault ? "503 Service Unavailable" : "200 OK", plain, &body);
	}
	else
	{
		text_add(&body, "there is /metrics and /healthz\n");
		answer(visitor, "404 Not Found", plain, &body);
	}
	text_free(&body);
}

static void
visitor_ready(void *arg, int fd, uint32_t events)
{
	Visitor    *visitor = arg;
	char		chunk[2048];
	ssize_t		len;

	(void) events;
	if (visitor->answer.len == 0)
	{
		len = recv(fd, chunk, sizeof(chunk), 0);
		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (len <= 0 || visitor->request.len + (size_t) len > MAX_REQUEST ||
			memchr(chunk, '\0', (size_t) len) != NULL)
		{
			leave(visitor);
			return;
		}
		text_append(&visitor->request, chunk, (size_t) len);
		if (strstr(visitor->request.data, "\r\n\r\n") == NULL)
			return;
		read_request(visitor);
		loop_watch(fd, EPOLLOUT, visitor_ready, visitor);
	}
	len = send(fd, visitor->answer.data + visitor->sent, visitor->answer.len - visitor->sent,
			   MSG_NOSIGNAL);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len > 0)
		visitor->sent += (size_t) len;
	if (len < 0 || visitor->sent == visitor->answer.len)
	{
		shutdown(fd, SHUT_WR);
		leave(visitor);
	}
}

static void knock(void *arg, int fd, uint32_t events);

static void
let_in(void *arg)
{
	(void) arg;
	loop_watch(listener, EPOLLIN, knock, NULL);
}

static void
knock(void *arg, int fd, uint32_t events)
{
	int			connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	Visitor    *visitor;

	(void) arg;
	(void) events;
	if (connection < 0)
	{
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		{
			relay_warn_rarely(&full_said, "somebody who asks for metrics has to wait: %s", strerror(errno));
			loop_unwatch(fd);
			loop_timer_set(&pause_timer, loop_now() + PAUSE_S, let_in, NULL);
		}
		return;
	}
	if (nvisitors >= MAX_VISITORS)
	{
		close(connection);
		return;
	}
	visitor = client_alloc(sizeof(Visitor));
	visitor->fd = connection;
	visitor->next = visitors;
	visitors = visitor;
	nvisitors++;
	loop_watch(connection, EPOLLIN, visitor_ready, visitor);
	loop_timer_set(&visitor->timer, loop_now() + VISIT_S, visit_over, visitor);
}

static void
stop_listening(void)
{
	loop_timer_clear(&pause_timer);
	if (listener >= 0)
	{
		loop_unwatch(listener);
		close(listener);
	}
	listener = -1;
	free(listening_to);
	listening_to = NULL;
}

/* the port that was taken, where any would do */
static void
say_where(const char *host)
{
	struct sockaddr_storage address;
	socklen_t	len = sizeof(address);
	char		port[NI_MAXSERV];

	if (getsockname(listener, (struct sockaddr *) &address, &len) == 0 &&
		getnameinfo((struct sockaddr *) &address, len, NULL, 0, port, sizeof(port),
					NI_NUMERICSERV) == 0)
		relay_log("metrics are at http://%s%s%s:%s/metrics", strchr(host, ':') ? "[" : "", host,
				  strchr(host, ':') ? "]" : "", port);
}

void
metrics_listen(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *list;
	char	   *wanted = host ? client_format("%s:%s", host, port) : NULL;
	int			on = 1;
	int			code;

	if (wanted != NULL && listening_to != NULL && strcmp(wanted, listening_to) == 0)
	{
		free(wanted);
		return;
	}
	stop_listening();
	if (wanted == NULL)
		return;
	code = getaddrinfo(host, port, &hints, &list);
	if (code != 0)
	{
		relay_warn("no metrics: \"%s\": %s", wanted, gai_strerror(code));
		free(wanted);
		return;
	}
	listener = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener >= 0)
		setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener < 0 || bind(listener, list->ai_addr, list->ai_addrlen) != 0 ||
		listen(listener, 16) != 0)
	{
		relay_warn("no metrics: could not listen to \"%s\": %s", wanted, strerror(errno));
		free(wanted);
		if (listener >= 0)
			close(listener);
		listener = -1;
	}
	else
	{
		listening_to = wanted;
		loop_watch(listener, EPOLLIN, knock, NULL);
		say_where(host);
	}
	freeaddrinfo(list);
}

void
metrics_end(void)
{
	while (visitors != NULL)
		leave(visitors);
	stop_listening();
}
