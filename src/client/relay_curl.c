/*
 * relay_curl.c
 *	  Transfers of libcurl in the relay's loop.
 *
 * curl says which sockets to watch and when to call it next.  Handles are used
 * again; connections stay open in the multi handle, so that a target that is
 * given much is not connected to for each task.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"
#include "relay_curl.h"

/* idle connections that are kept beside those in use */
#define SPARE_CONNECTIONS	50

static CURLM *multi;
static LoopTimer timer;
static Transfer *spare;

static void
collect(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		Transfer   *transfer;
		CURLcode	code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
		curl_multi_remove_handle(multi, transfer->easy);
		transfer->finished(transfer, code);
	}
}

static void
socket_ready(void *arg, int fd, uint32_t events)
{
	int			mask = 0;
	int			running;

	(void) arg;
	if (events & (EPOLLIN | EPOLLHUP))
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	curl_multi_socket_action(multi, fd, mask, &running);
	collect();
}

static void
timer_fired(void *arg)
{
	int			running;

	(void) arg;
	curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect();
}

static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket)
{
	(void) easy;
	(void) arg;
	(void) socket;
	if (what == CURL_POLL_REMOVE)
		loop_unwatch(fd);
	else
		loop_watch(fd, (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0),
				   socket_ready, NULL);
	return 0;
}

static int
set_timer(CURLM *handle, long ms, void *arg)
{
	(void) handle;
	(void) arg;
	if (ms < 0)
		loop_timer_clear(&timer);
	else
		loop_timer_set(&timer, loop_now() + (double) ms / 1000, timer_fired, NULL);
	return 0;
}

void
transfers_start(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || (multi = curl_multi_init()) == NULL)
		client_fatal(EXIT_FAILED, "libcurl could not be started");
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
}

void
transfers_limit(int max_in_flight)
{
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) max_in_flight + SPARE_CONNECTIONS);
}

void
transfers_end(void)
{
	while (spare != NULL)
	{
		Transfer   *next = spare->next;

		curl_easy_cleanup(spare->easy);
		text_free(&spare->send);
		text_free(&spare->received);
		free(spare);
		spare = next;
	}
	curl_multi_cleanup(multi);
	curl_global_cleanup();
	loop_timer_clear(&timer);
}

/* Keep the beginning; what is longer than anybody needs ends the transfer. */
static size_t
receive(char *bytes, size_t size, size_t count, void *arg)
{
	Transfer   *transfer = arg;
	size_t		len = size * count;
	size_t		room = transfer->keep > transfer->received.len ?
		transfer->keep - transfer->received.len : 0;

	transfer->total += len;
	if (transfer->total > RELAY_READ_MAX)
		return 0;
	text_append(&transfer->received, bytes, len < room ? len : room);
	return len;
}

/* commands must not inherit it */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void) arg;
	(void) purpose;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void
set_common(Transfer *transfer)
{
	const Spec *spec = transfer->job->spec;
	CURL	   *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) (spec->timeout * 1000));
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) (spec->connect_timeout * 1000));
	/* empty: none, whatever the environment says */
	curl_easy_setopt(easy, CURLOPT_PROXY, spec->proxy);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, spec->verify ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, spec->verify ? 2L : 0L);
	if (spec->ca_file != NULL)
		curl_easy_setopt(easy, CURLOPT_CAINFO, spec->ca_file);
	if (spec->username != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_USERNAME, spec->username);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, spec->password);
	}
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
					 spec->target->kind == RELAY_SMTP ? "smtp,smtps" : "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, spec->target->kind == RELAY_SMTP ?
					 CURLPROTO_SMTP | CURLPROTO_SMTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

Transfer *
transfer_new(Job *job, void (*finished)(Transfer *transfer, CURLcode code))
{
	Transfer   *transfer = spare;

	if (transfer != NULL)
		spare = transfer->next;
	else
	{
		transfer = client_alloc(sizeof(Transfer));
		transfer->easy = curl_easy_init();
		if (transfer->easy == NULL)
			client_fatal(EXIT_FAILED, "out of memory");
	}
	transfer->job = job;
	transfer->finished = finished;
	transfer->retry_after = -1;
	job->delivery = transfer;
	set_common(transfer);
	return transfer;
}

bool
transfer_url(Transfer *transfer)
{
	Job		   *job = transfer->job;
	Slice		document = {job->document, job->document_len};
	Text		url = {0};
	char	   *error;

	if (job->spec->secret_url != NULL)
		text_add(&url, job->spec->secret_url);
	else if (!template_render(job->spec->url, document, &url, &error))
	{
		text_free(&url);
		transfer_free(transfer);
		job_failed(job, RELAY_RETRY, -1, client_format("url: %s", error));
		free(error);
		return false;
	}
	curl_easy_setopt(transfer->easy, CURLOPT_URL, url.data);
	text_free(&url);
	return true;
}

void
transfer_start(Transfer *transfer)
{
	CURLMcode	code = curl_multi_add_handle(multi, transfer->easy);

	if (code != CURLM_OK)
		client_fatal(EXIT_FAILED, "libcurl failed: %s", curl_multi_strerror(code));
}

void
transfer_free(Transfer *transfer)
{
	curl_multi_remove_handle(multi, transfer->easy);
	curl_easy_reset(transfer->easy);
	curl_slist_free_all(transfer->headers);
	curl_slist_free_all(transfer->recipients);
	transfer->headers = transfer->recipients = NULL;
	text_free(&transfer->send);
	text_free(&transfer->received);
	transfer->sent = transfer->total = transfer->keep = 0;
	transfer->continued = false;
	transfer->error[0] = '\0';
	transfer->job->delivery = NULL;
	transfer->job = NULL;
	transfer->next = spare;
	spare = transfer;
}

void
transfer_error(const Transfer *transfer, CURLcode code, Text *text)
{
	text_format(text, "target \"%s\": %s", transfer->job->spec->target->name,
				transfer->error[0] ? transfer->error : curl_easy_strerror(code));
}

void
transfer_received(const Transfer *transfer, Text *text, size_t max)
{
	relay_clean(text, transfer->received.data ? transfer->received.data : "", transfer->received.len,
				transfer->total > transfer->received.len, max);
}
