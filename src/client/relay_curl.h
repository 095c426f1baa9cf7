/*
 * relay_curl.h
 *	  Transfers: what HTTP and mail have in common.
 */
#ifndef RELAY_CURL_H
#define RELAY_CURL_H

#include <curl/curl.h>

#include "relay.h"

typedef struct Transfer
{
	CURL	   *easy;
	Job		   *job;
	struct curl_slist *headers;
	struct curl_slist *recipients;
	Text		send;			/* body of the request, or the mail */
	size_t		sent;
	Text		received;		/* the beginning of the answer */
	size_t		keep;			/* bytes of it that are of interest */
	size_t		total;
	bool		continued;		/* another line of the same reply follows */
	double		retry_after;	/* seconds; negative: the server did not say */
	char		error[CURL_ERROR_SIZE];
	void		(*finished)(struct Transfer *transfer, CURLcode code);
	struct Transfer *next;		/* among those that are free */
} Transfer;

/* one for the job, with its URL and what else holds for both kinds */
extern Transfer *transfer_new(Job *job, void (*finished)(Transfer *transfer, CURLcode code));
/* false: the job has ended, since the URL could not be made */
extern bool transfer_url(Transfer *transfer);
extern void transfer_start(Transfer *transfer);
/* also while it is under way */
extern void transfer_free(Transfer *transfer);
/* what went wrong on the way, in words, behind the name of the target */
extern void transfer_error(const Transfer *transfer, CURLcode code, Text *text);
/* at most max bytes of what was received, without secrets */
extern void transfer_received(const Transfer *transfer, Text *text, size_t max);

#endif							/* RELAY_CURL_H */
