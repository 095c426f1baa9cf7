/*
 * relay_smtp.c
 *	  Mail: a message made of the templates, handed to an SMTP server.
 *
 * Nothing of a task can add a header or a recipient: headers refuse controls,
 * each recipient is exactly one address, and display names are quoted.  The
 * message-id is that of the task, the same for every attempt, so that a mail
 * that came twice can be told.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/rand.h>

#include "client.h"
#include "relay_curl.h"

#define LINE_LENGTH		76
#define ENCODED_BYTES	45		/* of one encoded word: 60 digits and 12 around them */
#define MAX_ADDRESS		320

static void
end_line(Text *mail)
{
	text_add(mail, "\r\n");
}

static bool
plain_ascii(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char) *s >= 0x7f || (unsigned char) *s < ' ')
			return false;
	return true;
}

/* Text of a header, as encoded words of RFC 2047 where it is not ASCII, folded. */
static void
encode_header(Text *mail, const char *value)
{
	size_t		len = strlen(value);
	bool		first = true;

	if (plain_ascii(value) && len < 900 && strstr(value, "=?") == NULL)
	{
		text_add(mail, value);
		return;
	}
	while (len > 0)
	{
		size_t		n = 0;
		size_t		step;

		/* whole characters only */
		while (n < len && n + (step = utf8_length(value + n, len - n)) <= ENCODED_BYTES)
			n += step > 0 ? step : 1;
		if (!first)
			text_add(mail, "\r\n ");
		text_add(mail, "=?UTF-8?B?");
		text_base64(mail, (const unsigned char *) value, n);
		text_add(mail, "?=");
		value += n;
		len -= n;
		first = false;
	}
}

static bool
address_valid(const char *address)
{
	const char *at = strrchr(address, '@');

	if (at == NULL || at == address || at[1] == '\0' || strlen(address) > MAX_ADDRESS)
		return false;
	for (const char *s = address; *s != '\0'; s++)
		if ((unsigned char) *s <= ' ' || (unsigned char) *s >= 0x7f || strchr("<>()[],;:\\\"", *s) != NULL ||
			(*s == '@' && s != at))
			return false;
	return strstr(address, "..") == NULL && *address != '-';
}

/*
 * "Name <address>" or an address: the address into *address, to be freed, and
 * both as they stand in a header into *written.  False: it is not one address.
 */
static bool
read_address(const char *value, char **address, Text *written)
{
	const char *open = strrchr(value, '<');
	size_t		len = strlen(value);
	size_t		name_len;
	char	   *name;

	while (len > 0 && value[len - 1] == ' ')
		len--;
	while (*value == ' ')
	{
		value++;
		len--;
	}
	if (open == NULL || len == 0 || value[len - 1] != '>')
	{
		*address = client_format("%.*s", (int) len, value);
		text_add(written, *address);
		return address_valid(*address);
	}
	*address = client_format("%.*s", (int) (len - (size_t) (open - value) - 2), open + 1);
	for (name_len = (size_t) (open - value); name_len > 0 && value[name_len - 1] == ' ';)
		name_len--;
	/* a name that is quoted already */
	if (name_len >= 2 && *value == '"' && value[name_len - 1] == '"')
	{
		value++;
		name_len -= 2;
	}
	name = client_format("%.*s", (int) name_len, value);
	if (!plain_ascii(name))
		encode_header(written, name);
	else
	{
		text_char(written, '"');
		for (const char *s = name; *s != '\0'; s++)
		{
			if (*s == '"' || *s == '\\')
				text_char(written, '\\');
			text_char(written, *s);
		}
		text_char(written, '"');
	}
	free(name);
	text_format(written, " <%s>", *address);
	return address_valid(*address);
}

/* what a mail is made from */
typedef struct Letter
{
	Transfer   *transfer;
	const Spec *spec;
	Slice		document;
	Text		mail;
	char	   *sender;
	char	   *error;
	bool		final;			/* another attempt would end in the same way */
} Letter;

static bool
render(Letter *letter, const Template *template, const char *what, Text *out)
{
	char	   *error;

	if (template_render(template, letter->document, out, &error))
		return true;
	letter->error = client_format("%s: %s", what, error);
	free(error);
	return false;
}

/* one address; its line in the header is the caller's */
static bool
address(Letter *letter, const Template *template, const char *what, char **plain, Text *written)
{
	Text		value = {0};
	bool		ok = render(letter, template, what, &value);

	*plain = NULL;
	if (ok && !read_address(value.data, plain, written))
	{
		Text		shown = {0};

		text_clean(&shown, value.data, value.len, 200);
		letter->error = client_format("%s: \"%s\" is not one mail address", what, shown.data);
		letter->final = true;
		text_free(&shown);
		ok = false;
	}
	text_free(&value);
	return ok;
}

static bool
sender(Letter *letter, const Template *template, const char *header)
{
	Text		written = {0};
	char	   *plain;
	bool		ok = address(letter, template, header, &plain, &written);

	if (ok)
	{
		text_format(&letter->mail, "%s: %s", header, written.data);
		end_line(&letter->mail);
	}
	text_free(&written);
	if (ok && letter->sender == NULL)
		letter->sender = plain;
	else
		free(plain);
	return ok;
}

static bool
recipients(Letter *letter, const Templates *list, const char *header)
{
	for (int i = 0; i < list->count; i++)
	{
		Text		written = {0};
		char	   *plain;
		bool		ok = address(letter, list->items[i], header, &plain, &written);

		if (ok && strcmp(header, "Bcc") != 0)
			text_format(&letter->mail, "%s%s%s", i == 0 ? header : ",\r\n", i == 0 ? ": " : " ",
						written.data);
		if (ok)
			letter->transfer->recipients = curl_slist_append(letter->transfer->recipients, plain);
		text_free(&written);
		free(plain);
		if (!ok)
			return false;
	}
	if (list->count > 0 && strcmp(header, "Bcc") != 0)
		end_line(&letter->mail);
	return true;
}

static bool
text_header(Letter *letter, const char *name, const Template *template, const char *secret)
{
	Text		value = {0};
	bool		ok = true;

	if (secret != NULL)
		text_add(&value, secret);
	else
		ok = render(letter, template, name, &value);
	if (ok)
	{
		text_format(&letter->mail, "%s: ", name);
		encode_header(&letter->mail, value.data);
		end_line(&letter->mail);
	}
	text_free(&value);
	return ok;
}

static void
fixed_headers(Letter *letter)
{
	/* not by strftime: names must be English in any locale */
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
	};
	const Job  *job = letter->transfer->job;
	time_t		now = time(NULL);
	struct tm	tm;

	gmtime_r(&now, &tm);
	text_format(&letter->mail, "Date: %s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday,
				months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	end_line(&letter->mail);
	text_format(&letter->mail, "Message-ID: <sopflow-%s%lld@%s>", job->alert ? "alert-" : "",
				(long long) job->id, strrchr(letter->sender, '@') + 1);
	end_line(&letter->mail);
	text_add(&letter->mail, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
}

/* RFC 2045: every line short and ASCII, so that any server takes it */
static void
quoted_printable(Text *mail, const Text *body)
{
	size_t		column = 0;

	for (size_t i = 0; i < body->len; i++)
	{
		unsigned char c = (unsigned char) body->data[i];
		bool		last = i + 1 == body->len || body->data[i + 1] == '\n' ||
			(body->data[i + 1] == '\r' && i + 2 < body->len && body->data[i + 2] == '\n');
		bool		literal = (c > ' ' && c < 0x7f && c != '=') ||
			((c == ' ' || c == '\t') && !last);

		if (c == '\n' || (c == '\r' && i + 1 < body->len && body->data[i + 1] == '\n'))
		{
			if (c == '\n')
				end_line(mail);
			column = 0;
			continue;
		}
		if (column + (literal ? 1 : 3) > LINE_LENGTH - 1)
		{
			text_add(mail, "=\r\n");
			column = 0;
		}
		if (literal)
			text_char(mail, (char) c);
		else
			text_format(mail, "=%02X", c);
		column += literal ? 1 : 3;
	}
	end_line(mail);
}

static bool
part(Letter *letter, const Template *template, const char *type, const char *what)
{
	Text		body = {0};
	bool		ok = render(letter, template, what, &body);

	if (ok)
	{
		text_format(&letter->mail, "Content-Type: %s; charset=utf-8\r\n"
					"Content-Transfer-Encoding: quoted-printable\r\n\r\n", type);
		quoted_printable(&letter->mail, &body);
	}
	text_free(&body);
	return ok;
}

static bool
body(Letter *letter)
{
	const Spec *spec = letter->spec;
	unsigned char random[12];
	Text		boundary = {0};
	bool		ok;

	if (spec->text == NULL || spec->html == NULL)
		return spec->text ? part(letter, spec->text, "text/plain", "text") :
			part(letter, spec->html, "text/html", "html");
	/* =_ occurs in no quoted-printable text */
	if (RAND_bytes(random, sizeof(random)) != 1)
		client_fatal(EXIT_FAILED, "there are no random numbers");
	text_add(&boundary, "=_sopflow_");
	text_hex(&boundary, random, sizeof(random));
	text_format(&letter->mail, "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n--%s\r\n",
				boundary.data, boundary.data);
	ok = part(letter, spec->text, "text/plain", "text");
	text_format(&letter->mail, "--%s\r\n", boundary.data);
	ok = ok && part(letter, spec->html, "text/html", "html");
	text_format(&letter->mail, "--%s--\r\n", boundary.data);
	text_free(&boundary);
	return ok;
}

static bool
compose(Letter *letter)
{
	const Spec *spec = letter->spec;
	bool		ok = sender(letter, spec->from, "From") &&
		(spec->reply_to == NULL || sender(letter, spec->reply_to, "Reply-To")) &&
		recipients(letter, &spec->to, "To") &&
		recipients(letter, &spec->cc, "Cc") &&
		recipients(letter, &spec->bcc, "Bcc") &&
		text_header(letter, "Subject", spec->subject, NULL);

	for (const Header *header = spec->headers; ok && header != NULL; header = header->next)
		ok = text_header(letter, header->name, header->value, header->secret);
	if (!ok)
		return false;
	fixed_headers(letter);
	return body(letter);
}

static size_t
give(char *buffer, size_t size, size_t count, void *arg)
{
	Transfer   *transfer = arg;
	size_t		len = size * count;

	if (len > transfer->send.len - transfer->sent)
		len = transfer->send.len - transfer->sent;
	memcpy(buffer, transfer->send.data + transfer->sent, len);
	transfer->sent += len;
	return len;
}

/* curl begins again on a new connection where one that was kept is dead */
static int
rewind_mail(void *arg, curl_off_t offset, int origin)
{
	Transfer   *transfer = arg;

	if (origin != SEEK_SET || offset < 0 || (size_t) offset > transfer->send.len)
		return CURL_SEEKFUNC_FAIL;
	transfer->sent = (size_t) offset;
	return CURL_SEEKFUNC_OK;
}

/* The last reply, of one line or several, is what an error shows. */
static size_t
take_reply(char *bytes, size_t size, size_t count, void *arg)
{
	Transfer   *transfer = arg;
	size_t		len = size * count;

	/* the farewell has nothing to say */
	if (len < 4 || memcmp(bytes, "221", 3) == 0)
		return len;
	if (!transfer->continued)
	{
		text_clear(&transfer->received);
		transfer->total = 0;
	}
	transfer->continued = bytes[3] == '-';
	transfer->total += len;
	if (transfer->received.len < RELAY_ERROR_BODY)
		text_append(&transfer->received, bytes, len);
	return len;
}

/*
 * Whether a server that refused for good meant this mail: its sender, one of
 * its recipients, or what is in it.  Else it is the server, or the relay's
 * place before it, that somebody has to mend.
 */
static bool
mail_refused(const Transfer *transfer, CURLcode code, long reply)
{
	if (reply < 500 || reply >= 600 || reply == 530 || reply == 535 || reply == 538)
		return false;
	/* the one to MAIL, RCPT and DATA; the other to a mail that was given, and to a greeting */
	return code == CURLE_SEND_ERROR || (code == CURLE_WEIRD_SERVER_REPLY && transfer->sent > 0);
}

static void
smtp_finished(Transfer *transfer, CURLcode code)
{
	Job		   *job = transfer->job;
	RelayOutcome outcome = RELAY_RETRY;
	long		reply = 0;
	Text		error = {0};

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &reply);
	if (code == CURLE_OK)
	{
		transfer_free(transfer);
		job_done(job, client_format("{\"reply\": %ld}", reply));
		return;
	}
	if (mail_refused(transfer, code, reply))
		outcome = RELAY_DEAD;
	transfer_error(transfer, code, &error);
	if (reply >= 400 && transfer->received.len > 0)
	{
		text_add(&error, "; the server said: ");
		transfer_received(transfer, &error, RELAY_ERROR_BODY);
	}
	transfer_free(transfer);
	job_failed(job, outcome, -1, text_take(&error));
}

void
smtp_start(Job *job)
{
	Transfer   *transfer = transfer_new(job, smtp_finished);
	Letter		letter = {.transfer = transfer, .spec = job->spec};
	CURL	   *easy = transfer->easy;
	char	   *from;

	letter.document = (Slice) {job->document, job->document_len};
	if (!transfer_url(transfer))
		return;
	if (!compose(&letter))
	{
		text_free(&letter.mail);
		free(letter.sender);
		transfer_free(transfer);
		job_failed(job, letter.final ? RELAY_DEAD : RELAY_RETRY, -1, letter.error);
		return;
	}
	transfer->send = letter.mail;
	from = client_format("<%s>", letter.sender);
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, from);
	free(from);
	free(letter.sender);
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, transfer->recipients);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_reply);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_USE_SSL, (long) job->spec->starttls);
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
	curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, rewind_mail);
	curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) transfer->send.len);
	transfer_start(transfer);
}

void
smtp_abort(Job *job)
{
	http_abort(job);
}
