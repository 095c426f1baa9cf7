/*
 * client.h
 *	  What the commands of the program sopflow share: options of the
 *	  connection, connecting, messages, exit codes and signals.
 *
 * A command is a function that gets its own arguments (argv[0] is its name)
 * and returns an exit code.  What it prints as its result goes to stdout,
 * everything else to stderr.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <libpq-fe.h>

#define PROGRAM "sopflow"

/* exit codes, documented in the man page */
typedef enum ExitCode
{
	EXIT_OK = 0,
	EXIT_FAILED = 1,			/* the server or a target refused something */
	EXIT_USAGE = 2,				/* wrong options or arguments */
	EXIT_CONNECTION = 3,		/* no connection, or it was lost */
	EXIT_INVALID = 4,			/* a file or the input is not valid */
	/* not taken yet, by a lock or for want of something: the program ends with EXIT_FAILED */
	EXIT_AGAIN = 5
} ExitCode;

/* options that every command takes, before its name or after it */
typedef struct ClientOptions
{
	const char *host;
	const char *port;
	const char *user;
	const char *dbname;			/* a name, a connection string or a URI */
	bool		no_password;	/* -w: never ask for one */
	bool		quiet;			/* -q */
	const char *command;		/* name of the command */
} ClientOptions;

extern ClientOptions options;

/* a command of the table in main.c; help is its --help text */
typedef struct Command
{
	const char *name;
	int			(*run)(int argc, char **argv);
	const char *help;
	const char *summary;
} Command;

/*
 * getopt_long() with the options of every command added, which it takes
 * itself; --help prints the command's help and ends.  A fault in the options
 * ends the program.  A command's own long options have values of 256 and
 * above, or those of its short options.
 */
extern int client_getopt(int argc, char **argv, const char *short_options,
						 const struct option *long_options);

/*
 * message.c: messages, each on a line of its own, to stderr; control characters
 * in them are shown and not sent.
 */
extern void client_info(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void client_warn(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void client_error(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void client_fatal(int code, const char *format,...)
			__attribute__((format(printf, 2, 3), noreturn));
/* wrong usage: the message and where to find help; ends with EXIT_USAGE */
extern void client_usage(const char *format,...)
			__attribute__((format(printf, 1, 2), noreturn));

/* write out what was printed; false where that failed, now or before */
extern bool client_flush(void);
/* why it failed, as errno says; 0: not known */
extern int	client_flush_error(void);

extern void client_try_help(void) __attribute__((noreturn));
/* a whole number from an option's value; wrong usage where it is none */
extern long client_number(const char *option, const char *value, long min, long max);

/* memory that is there: they end the program where there is none */
extern void *client_alloc(size_t size);
extern void *client_realloc(void *pointer, size_t size);
extern char *client_strdup(const char *string);
extern char *client_format(const char *format,...) __attribute__((format(printf, 1, 2)));

/* whether colours are wanted on this stream: a terminal, and no NO_COLOR */
extern bool client_color(FILE *stream);

/*
 * connect.c.  client_connect() ends the program where there is no connection;
 * it asks for a password on the terminal where one is needed.  client_open()
 * does the same without ending: the result's status says how it went.
 * client_connect_start() only begins, for PQconnectPoll().
 */
extern PGconn *client_connect(void);
extern PGconn *client_open(void);
extern PGconn *client_connect_start(void);
/* whether the connection is lost */
extern bool client_lost(PGconn *conn);
/*
 * In place of a connection that is lost, with back-off for as long as it takes;
 * NULL after SIGTERM or SIGINT.  Closes the old one.
 */
extern PGconn *client_reconnect(PGconn *conn);
/* sends what all commands need of a new connection: the extension is there */
extern bool client_check_extension(PGconn *conn, char **error);
/* a statement that must succeed; ends the program with the server's message */
extern PGresult *client_query(PGconn *conn, const char *sql, int nparams,
							  const char *const *params);
/* the same without ending: NULL, and what went wrong was said by client_error() */
extern PGresult *client_try_query(PGconn *conn, const char *sql, int nparams,
								  const char *const *params);
/*
 * PQexecParams() and its parts.  After client_catch_signals(), SIGTERM and
 * SIGINT cancel a statement that does not end soon, and give up a server that
 * does not answer.  client_await() says whether the result is there.
 */
extern PGresult *client_exec(PGconn *conn, const char *sql, int nparams,
							 const char *const *params);
extern bool client_send(PGconn *conn, const char *sql, int nparams, const char *const *params);
extern bool client_await(PGconn *conn, int timeout_ms);
extern PGresult *client_result(PGconn *conn);
/* say what a statement failed by; the exit code for it */
extern int	client_failed(PGconn *conn, const PGresult *result);
/*
 * Whether an error of this SQLSTATE passes when the same is tried again: lost
 * races, locks, a server that is short of something, cancelled or going down.
 */
extern bool client_may_pass(const char *state);
/* one line from an error of the server: message, DETAIL and HINT; to be freed */
extern char *client_server_error(const PGresult *result, PGconn *conn);

/* waits between attempts to connect: 0.25 s, doubling to 30 s, with jitter */
typedef struct Backoff
{
	int			attempts;
} Backoff;

extern int	client_backoff_ms(Backoff *backoff);	/* the next wait */

/*
 * signals.c.  After client_catch_signals(), SIGTERM and SIGINT set client_stop
 * and make client_signal_fd readable for good, for use with poll().  A second
 * SIGINT ends the program at once.
 */
extern volatile sig_atomic_t client_stop;
extern int	client_signal_fd;
extern void client_catch_signals(void);
/* sleep, or wait for one more descriptor (-1: none); true if that is readable */
extern bool client_wait(int fd, int timeout_ms);

/* the commands, and the texts of their --help */
extern int	cmd_load(int argc, char **argv);
extern int	cmd_validate(int argc, char **argv);
extern int	cmd_export(int argc, char **argv);
extern int	cmd_diagram(int argc, char **argv);
extern int	cmd_simulate(int argc, char **argv);
extern int	cmd_tail(int argc, char **argv);
extern int	cmd_top(int argc, char **argv);
extern int	cmd_ingest(int argc, char **argv);
extern int	cmd_relay(int argc, char **argv);

extern const char load_help[];
extern const char validate_help[];
extern const char export_help[];
extern const char diagram_help[];
extern const char simulate_help[];
extern const char tail_help[];
extern const char top_help[];
extern const char ingest_help[];
extern const char relay_help[];

#endif							/* CLIENT_H */
