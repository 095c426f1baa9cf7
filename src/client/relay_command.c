/*
 * relay_command.c
 *	  Commands: the task as JSON on stdin, the exit code as the answer.
 *
 * No shell is between: the arguments are those of the configuration.  A command
 * is over when its process has ended, whatever it left behind; what outlives
 * its time is killed with all of its process group.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "relay.h"
#include "relay_json.h"

#define MAX_OUTPUT	(64 * 1024)
#define CHUNK		4096

typedef struct Child
{
	Job		   *job;
	pid_t		pid;
	int			in;				/* -1: closed */
	int			out;
	int			err;
	size_t		written;
	Text		output;
	bool		too_long;
	Text		errors;
	bool		errors_too_long;
	bool		timed_out;
	LoopTimer	timer;
	struct Child *next;
} Child;

extern char **environ;

static Child *children;

static void
close_end(int *fd)
{
	if (*fd < 0)
		return;
	loop_unwatch(*fd);
	close(*fd);
	*fd = -1;
}

static void
child_free(Child *child)
{
	Child	  **link = &children;

	while (*link != child)
		link = &(*link)->next;
	*link = child->next;
	close_end(&child->in);
	close_end(&child->out);
	close_end(&child->err);
	loop_timer_clear(&child->timer);
	text_free(&child->output);
	text_free(&child->errors);
	free(child);
}

/* read what there is; false at the end */
static bool
drain(int fd, Text *text, size_t max, bool *too_long)
{
	char		chunk[CHUNK];
	ssize_t		len;

	while ((len = read(fd, chunk, sizeof(chunk))) > 0)
	{
		size_t		room = max - text->len;

		if ((size_t) len > room)
			*too_long = true;
		text_append(text, chunk, (size_t) len < room ? (size_t) len : room);
	}
	return len < 0 && (errno == EAGAIN || errno == EINTR);
}

static void
output_ready(void *arg, int fd, uint32_t events)
{
	Child	   *child = arg;

	(void) events;
	if (fd == child->out && !drain(fd, &child->output, MAX_OUTPUT, &child->too_long))
		close_end(&child->out);
	else if (fd == child->err &&
			 !drain(fd, &child->errors, RELAY_ERROR_BODY * 2, &child->errors_too_long))
		close_end(&child->err);
}

static void
input_ready(void *arg, int fd, uint32_t events)
{
	Child	   *child = arg;
	Job		   *job = child->job;

	(void) events;
	while (child->written <= job->document_len)
	{
		/* with a line break behind it */
		bool		last = child->written == job->document_len;
		ssize_t		len = write(fd, last ? "\n" : job->document + child->written,
								last ? 1 : job->document_len - child->written);

		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (len < 0)
			break;				/* it does not want to know */
		child->written += (size_t) len;
	}
	close_end(&child->in);
}

/* What it printed where that is JSON, also without secrets; else a part of it as text. */
static char *
result_of(Child *child)
{
	Text		result = {0};
	const char *output = child->output.data ? child->output.data : "";

	if (!child->too_long && json_valid(output, child->output.len))
	{
		char	   *redacted = relay_redact(output);

		if (json_valid(redacted, strlen(redacted)))
			text_add(&result, redacted);
		free(redacted);
	}
	if (result.len == 0)
	{
		Text		clean = {0};

		relay_clean(&clean, output, child->output.len, child->too_long, 500);
		text_add(&result, "{\"exit\": 0");
		if (clean.len > 0)
		{
			text_add(&result, ", \"output\": ");
			text_json_string(&result, clean.data);
		}
		text_char(&result, '}');
		text_free(&clean);
	}
	return text_take(&result);
}

static void
ended(Child *child, int status)
{
	Job		   *job = child->job;
	RelayOutcome outcome = RELAY_RETRY;
	Text		text = {0};

	if (child->out >= 0)
		(void) drain(child->out, &child->output, MAX_OUTPUT, &child->too_long);
	if (child->err >= 0)
		(void) drain(child->err, &child->errors, RELAY_ERROR_BODY * 2, &child->errors_too_long);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !child->timed_out)
	{
		char	   *result = result_of(child);

		child_free(child);
		job_done(job, result);
		return;
	}
	if (child->timed_out)
		text_format(&text, "the command was stopped after %g s", job->spec->timeout);
	else if (WIFEXITED(status))
	{
		text_format(&text, "the command ended with exit code %d", WEXITSTATUS(status));
		if (job->spec->permanent[WEXITSTATUS(status)])
			outcome = RELAY_DEAD;
	}
	else
		text_format(&text, "the command was ended by signal %d", WTERMSIG(status));
	if (child->errors.len > 0)
	{
		text_add(&text, ": ");
		relay_clean(&text, child->errors.data, child->errors.len, child->errors_too_long,
					RELAY_ERROR_BODY);
	}
	child_free(child);
	job_failed(job, outcome, -1, text_take(&text));
}

/* One process at a time: no other child of this program is touched. */
void
command_reap(void)
{
	Child	   *next;

	for (Child *child = children; child != NULL; child = next)
	{
		siginfo_t	info = {.si_pid = 0};
		int			status;

		next = child->next;
		if (waitid(P_PID, (id_t) child->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
			info.si_pid == 0)
			continue;
		/* what it left behind goes with it; until it is buried, the number is its own */
		if (child->timed_out || child->job == NULL)
			kill(-child->pid, SIGKILL);
		if (waitpid(child->pid, &status, 0) == child->pid)
		{
			if (child->job == NULL)
				child_free(child);
			else
				ended(child, status);
		}
	}
}

static void
kill_hard(void *arg)
{
	Child	   *child = arg;

	kill(-child->pid, SIGKILL);
}

static void
timed_out(void *arg)
{
	Child	   *child = arg;

	child->timed_out = true;
	kill(-child->pid, SIGTERM);
	loop_timer_set(&child->timer, loop_now() + child->job->spec->kill_after, kill_hard, child);
}

/* the variable of the environment that a string NAME=VALUE sets */
static bool
sets(const char *string, const char *name)
{
	size_t		len = strlen(name);

	return strncmp(string, name, len) == 0 && string[len] == '=';
}

static void
add_variable(char ***env, int *n, char *variable)
{
	*env = client_realloc(*env, (size_t) (*n + 2) * sizeof(char *));
	(*env)[(*n)++] = variable;
	(*env)[*n] = NULL;
}

/*
 * The relay's environment without what may be a secret of somebody else's: the
 * password of the database, and values that the configuration reads by env:.
 */
static char **
environment(const Job *job, Slice document, char **error)
{
	char	  **env = NULL;
	int			n = 0;

	for (char **variable = environ; *variable != NULL; variable++)
	{
		char	   *redacted = relay_redact(*variable);
		bool		hidden = strcmp(redacted, *variable) != 0 || sets(*variable, "PGPASSWORD");

		free(redacted);
		if (!hidden)
			add_variable(&env, &n, client_strdup(*variable));
	}
	add_variable(&env, &n, client_format("SOPFLOW_%s=%lld", job->alert ? "ALERT_ID" : "TASK_ID",
										 (long long) job->id));
	add_variable(&env, &n, client_format("SOPFLOW_ATTEMPT=%d", job->attempt));
	*error = NULL;
	for (const Header *header = job->spec->environment; header != NULL; header = header->next)
	{
		Text		value = {0};

		text_format(&value, "%s=", header->name);
		if (header->secret != NULL)
			text_add(&value, header->secret);
		else if (!template_render(header->value, document, &value, error))
		{
			text_free(&value);
			break;
		}
		for (int i = 0; i < n; i++)
			if (sets(env[i], header->name))
			{
				free(env[i]);
				memmove(env + i, env + i + 1, (size_t) (n - i) * sizeof(char *));
				n--;
			}
		add_variable(&env, &n, text_take(&value));
	}
	return env;
}

static void
environment_free(char **env)
{
	for (int i = 0; env != NULL && env[i] != NULL; i++)
		free(env[i]);
	free(env);
}

/* 0, or an error number; the child's ends are closed in any case */
static int
spawn(Child *child, const Spec *spec, char **env, int in, int out, int err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t	none;
	sigset_t	all;
	int			error;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
#if __GLIBC_PREREQ(2, 34)
	/* what a library opened without a thought of children */
	posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
#endif
	if (spec->directory != NULL)
		posix_spawn_file_actions_addchdir_np(&actions, spec->directory);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
							 POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	error = posix_spawnp(&child->pid, spec->argv[0], &actions, &attributes, spec->argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(in);
	close(out);
	close(err);
	return error;
}

/* why a program could not be run; the system tells a missing directory by the same number */
static char *
not_run(const Spec *spec, int error)
{
	char	   *inside = spec->directory ? client_format("%s/.", spec->directory) : NULL;
	bool		entered = inside == NULL || access(inside, X_OK) == 0;
	int			reason = entered ? error : errno;

	free(inside);
	if (entered)
		return client_format("could not run \"%s\": %s", spec->argv[0], strerror(reason));
	return client_format("could not run \"%s\" in the directory \"%s\": %s", spec->argv[0],
						 spec->directory, strerror(reason));
}

/* three pipes that the child does not inherit but by dup2 */
static bool
make_pipes(int pipes[3][2])
{
	for (int i = 0; i < 3; i++)
		if (pipe2(pipes[i], O_CLOEXEC) != 0)
		{
			while (i-- > 0)
			{
				close(pipes[i][0]);
				close(pipes[i][1]);
			}
			return false;
		}
	return true;
}

void
command_start(Job *job)
{
	Slice		document = {job->document, job->document_len};
	Child	   *child;
	int			pipes[3][2];
	char	   *error;
	char	  **env = environment(job, document, &error);
	int			code;

	if (error != NULL || !make_pipes(pipes))
	{
		if (error == NULL)
			error = client_format("could not make a pipe: %s", strerror(errno));
		environment_free(env);
		job_failed(job, RELAY_RETRY, -1, error);
		return;
	}
	child = client_alloc(sizeof(Child));
	child->job = job;
	child->in = pipes[0][1];
	child->out = pipes[1][0];
	child->err = pipes[2][0];
	child->next = children;
	children = child;
	job->delivery = child;
	code = spawn(child, job->spec, env, pipes[0][0], pipes[1][1], pipes[2][1]);
	environment_free(env);
	if (code != 0)
	{
		child_free(child);
		job_failed(job, RELAY_RETRY, -1, not_run(job->spec, code));
		return;
	}
	fcntl(child->in, F_SETFL, O_NONBLOCK);
	fcntl(child->out, F_SETFL, O_NONBLOCK);
	fcntl(child->err, F_SETFL, O_NONBLOCK);
	loop_watch(child->out, EPOLLIN, output_ready, child);
	loop_watch(child->err, EPOLLIN, output_ready, child);
	loop_watch(child->in, EPOLLOUT, input_ready, child);
	loop_timer_set(&child->timer, loop_now() + job->spec->timeout, timed_out, child);
}

/* It is killed at once, and buried when it is dead. */
void
command_abort(Job *job)
{
	Child	   *child = job->delivery;

	kill(-child->pid, SIGKILL);
	close_end(&child->in);
	close_end(&child->out);
	close_end(&child->err);
	loop_timer_clear(&child->timer);
	child->job = NULL;
}
