/*
 * relay.h
 *	  What the parts of the relay share: its configuration, the tasks in hand,
 *	  and how a delivery ends.
 *
 * A configuration is counted by the jobs that were begun under it, and goes
 * when it was replaced and the last of them has ended.  What outlives it stands
 * in the lanes, one for each name of a target.
 */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "relay_loop.h"
#include "relay_template.h"
#include "relay_text.h"

#define RELAY_STATUS_MAX	600
/* bytes of a stranger's answer that an error or a result holds */
#define RELAY_ERROR_BODY	300
/* bytes of an answer that are read at all */
#define RELAY_READ_MAX		(1024 * 1024)

typedef enum RelayKind
{
	RELAY_WEBHOOK,
	RELAY_SLACK,
	RELAY_SMTP,
	RELAY_COMMAND,
	RELAY_FILE
} RelayKind;

#define RELAY_KINDS	(RELAY_FILE + 1)

/* how an attempt ended */
typedef enum RelayOutcome
{
	RELAY_DONE,
	RELAY_RETRY,
	RELAY_DEAD
} RelayOutcome;

#define RELAY_OUTCOMES	(RELAY_DEAD + 1)

/* upper bounds of the histogram's buckets, in relay_metrics.c */
#define RELAY_BUCKETS	13

/* what is known of a target's name for as long as the relay runs */
typedef struct Lane
{
	char	   *name;
	int			in_hand;		/* jobs fetched for it, begun or waiting */
	size_t		bytes;			/* of their documents */
	int			most;			/* tasks of one fetch, by the size of the last ones */
	int			running;
	double		tokens;			/* of the rate limit */
	double		tokens_at;
	double		held_until;		/* as a Retry-After wants it */
	double		window;			/* when the counting of ends began */
	int			ends;			/* since then */
	double		pace;			/* ends a second in the window before */
	int64_t		outcomes[RELAY_OUTCOMES];
	int64_t		buckets[RELAY_BUCKETS + 1];
	double		seconds;
	struct Lane *next;
} Lane;

typedef struct Header
{
	char	   *name;
	Template   *value;
	char	   *secret;			/* instead of a template */
	struct Header *next;
} Header;

/* a list of templates: recipients; arguments */
typedef struct Templates
{
	Template  **items;
	int			count;
} Templates;

typedef enum StatusClass
{
	STATUS_BY_CODE,				/* as HTTP has it */
	STATUS_EXPECTED,
	STATUS_RETRIED,
	STATUS_FINAL
} StatusClass;

struct Target;

/* how the tasks of one action, or the alerts, go to a target */
typedef struct Spec
{
	struct Target *target;
	bool		alert;
	double		timeout;
	double		connect_timeout;
	/* webhook, slack */
	char	   *method;
	Template   *url;
	char	   *secret_url;		/* instead of a template */
	Header	   *headers;
	Template   *body;			/* NULL: the whole task */
	char	   *content_type;
	unsigned char status[RELAY_STATUS_MAX];
	char	   *hmac_secret;
	char	   *hmac_header;
	char	   *timestamp_header;
	char	   *bearer;
	bool		hold;			/* a Retry-After holds for the whole target */
	int			result_body;	/* bytes of the answer in the task's result */
	char	   *slack_channel;
	/* and smtp */
	char	   *proxy;
	char	   *ca_file;
	bool		verify;
	char	   *username;
	char	   *password;
	int			starttls;		/* a value of CURLOPT_USE_SSL */
	Template   *from;
	Template   *reply_to;
	Templates	to;
	Templates	cc;
	Templates	bcc;
	Template   *subject;
	Template   *text;			/* slack's, too */
	Template   *html;
	/* command */
	char	  **argv;
	Header	   *environment;
	char	   *directory;
	double		kill_after;
	unsigned char permanent[256];	/* exit codes that end a task */
	/* file */
	char	   *path;
	bool		sync;
	struct Spec *next;
} Spec;

typedef struct Action
{
	char	   *name;
	char	   *channel;		/* NULL: the configuration's */
	Spec	   *spec;
	double		blocked_until;	/* the server refused to give tasks of it */
	double		warned;
	struct Action *next;		/* of the configuration */
} Action;

typedef struct Target
{
	char	   *name;
	RelayKind	kind;
	int			concurrency;
	double		rate;			/* a second; 0: no limit */
	double		burst;
	Lane	   *lane;
	bool		used;
	bool		more;			/* there may be tasks for it */
	int			probe;			/* a fetch failed: fetch for this one action, from 1; 0: for all */
	struct Target *next;
} Target;

typedef struct Config
{
	int			users;			/* jobs, and one while it is in force */
	char	   *connection;
	char	  **channels;
	int			nchannels;
	int			batch;
	double		lease;			/* 0: the action's */
	int			max_in_flight;
	double		drain_timeout;
	double		poll;
	char	   *metrics_host;	/* NULL: none */
	char	   *metrics_port;
	Target	   *targets;
	int			ntargets;
	Action	   *actions;
	int			nactions;
	Spec	   *specs;			/* all, for freeing */
	Spec	   *alerts;			/* NULL: nobody is told */
	char	   *alert_state;	/* file with the last alert that was delivered */
} Config;

typedef enum JobState
{
	JOB_WAITING,				/* for its turn */
	JOB_RUNNING,
	JOB_ENDED					/* the outcome is to be reported */
} JobState;

/* a task in hand, or an alert */
typedef struct Job
{
	struct Job *prev;			/* of the list it is in */
	struct Job *next;
	Config	   *config;
	Spec	   *spec;
	Lane	   *lane;
	JobState	state;
	bool		alert;
	int64_t		id;				/* of the task or alert */
	int64_t		token;
	int			attempt;
	char	   *document;		/* JSON text that templates look into */
	size_t		document_len;
	double		lease;			/* seconds that an extension asks for */
	double		lease_end;
	double		extend_at;
	bool		extending;
	bool		lost;			/* the lease: what comes of it is of no use */
	double		started;
	void	   *delivery;		/* what the kind keeps */
	RelayOutcome outcome;
	char	   *text;			/* result as JSON, or error */
	double		retry_in;		/* negative: after the action's backoff */
	int			together;		/* at most so many in a batch, since one failed; 0: all */
	bool		blocked;		/* it failed alone, too: tried again now and then */
	double		pause;			/* between these tries */
	double		try_at;
	bool		resent;			/* reported before, on a connection that broke */
} Job;

typedef struct JobList
{
	Job		   *first;
	Job		   *last;
	int			count;
} JobList;

/* relay_log.c */
extern bool relay_verbose;
extern void relay_secret(const char *value);
extern void relay_forget_secrets(void);
extern char *relay_redact(const char *text);	/* to be freed */
/* text_clean() without secrets; cut: there was more, so the last one may be there in part */
extern void relay_clean(Text *text, const char *bytes, size_t len, bool cut, size_t max);
extern void relay_log(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void relay_warn(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void relay_debug(const char *format,...) __attribute__((format(printf, 1, 2)));
/* the same, but not more than once in so many seconds */
extern void relay_warn_rarely(double *last, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/* relay_config.c: NULL where it is not valid, which was said */
extern Config *config_read(const char *path);
extern Config *config_parse(const char *path, const char *text, size_t len);
extern void config_release(Config *config);
/* relay_spec.c */
extern void spec_free(Spec *spec);

/* relay_job.c: fetching, starting, ending; what is in force */
extern Config *relay_config;
extern JobList relay_jobs;		/* waiting and running */
extern JobList relay_ended;		/* tasks whose outcome is to be reported */
extern bool relay_draining;
extern int64_t relay_lost_leases;
extern int64_t relay_ends;		/* of jobs, so far */

extern Lane *lane_get(const char *name);
extern Lane *lanes_all(void);
extern void lanes_free(void);
extern void list_append(JobList *list, Job *job);
extern void list_remove(JobList *list, Job *job);
/* how many tasks may be fetched for a target now; *when: where 0, when to ask again */
extern int	target_room(const Target *target, double *when);
extern Job *job_new(Config *config, Spec *spec, int64_t id, int attempt, char *document);
/* take it up: it starts as soon as its target may */
extern void job_submit(Job *job);
/* what carriers say; text is the job's from then on; retry_in < 0: the usual backoff */
extern void job_done(Job *job, char *result);
extern void job_failed(Job *job, RelayOutcome outcome, double retry_in, char *error);
extern void job_free(Job *job);
extern void jobs_start_waiting(void);
/* end what has not ended by itself */
extern void jobs_abandon(void);

/* the kinds; start may end the job at once */
typedef struct Carrier
{
	const char *name;
	void		(*start)(Job *job);
	void		(*abort)(Job *job);	/* free job->delivery */
} Carrier;

extern const Carrier carriers[RELAY_KINDS];

extern void http_start(Job *job);
extern void http_abort(Job *job);
extern void smtp_start(Job *job);
extern void smtp_abort(Job *job);
extern void command_start(Job *job);
extern void command_abort(Job *job);
extern void file_start(Job *job);
extern void file_abort(Job *job);

extern void command_reap(void);		/* a child has ended */
extern void file_flush(void);		/* end of a turn: sync, and end the jobs */
extern void file_reopen(void);
extern void file_close_all(void);

/* relay_curl.c: transfers of http and smtp */
extern void transfers_start(void);
extern void transfers_end(void);
extern void transfers_limit(int max_in_flight);

/* relay_db.c */
extern bool db_ready(void);
extern int64_t db_reconnects;
extern int64_t db_fetches;
extern int64_t db_fetched;
extern void db_start(void);
extern void db_end(void);
extern void db_pump(void);			/* send what is to be sent */
extern void db_config_changed(void);
extern bool db_busy(void);
/* a statement has been under way for too long */
extern bool db_waits(void);

/* relay_work.c */
extern int	work_unreported(void);	/* outcomes that the server did not confirm */
extern int	work_blocked(void);	/* jobs that only a single statement now and then is for */

/* relay_alert.c */
extern void alerts_config_changed(void);
/* there may be some to read; and one that a notification names */
extern void alerts_expected(void);
extern void alerts_notified(const char *payload);
/* read some, if there is room for them; false: nothing was sent */
extern bool alerts_send(void);
extern void alerts_ended(Job *job);
extern void alerts_free(void);
extern int	alerts_waiting(void);
extern int64_t alerts_dropped;

/* relay_metrics.c */
extern void metrics_count(Lane *lane, RelayOutcome outcome, double seconds);
extern void metrics_listen(const char *host, const char *port);
extern void metrics_end(void);

#endif							/* RELAY_H */
