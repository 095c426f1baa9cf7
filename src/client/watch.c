/*
 * watch.c
 *	  sopflow load --watch: files are loaded again when they change.
 *
 * Directories are watched and not files, since editors put a new file in place
 * of the old one and deployments switch a symbolic link.  Whatever happens in
 * a directory, what counts is whether the text of a file is another than the
 * one that was last tried.
 */
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "load.h"

/* after an event nothing may happen for so long before files are read */
#define QUIET_MS		50
/* how often a directory that is gone is looked for, and a lost file */
#define RETRY_MS		1000

#define EVENTS			(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | \
						 IN_DELETE_SELF | IN_MOVE_SELF)

typedef struct Watched
{
	const char *path;
	char	   *directory;
	int			wd;				/* -1: the directory is not there */
	char	   *text;			/* last tried; NULL: none yet, or the file was gone */
	size_t		len;
	bool		changed;
	bool		gone;			/* said so */
} Watched;

typedef struct Watch
{
	Watched    *files;
	int			count;
	int			fd;
} Watch;

/* Read a file; whether its text is another than the last. */
static void
look(Watched *file)
{
	size_t		len;
	char	   *error;
	char	   *text = document_read(file->path, &len, &error);

	if (text == NULL)
	{
		if (!file->gone)
			client_warn("could not read \"%s\": %s; what it defined stays", file->path, error);
		file->gone = true;
		free(error);
		return;
	}
	file->gone = false;
	if (file->text != NULL && file->len == len && memcmp(file->text, text, len) == 0)
	{
		free(text);
		return;
	}
	free(file->text);
	file->text = text;
	file->len = len;
	file->changed = true;
}

/* Watch the directories that are not watched; true if one is still missing. */
static bool
watch_directories(Watch *watch)
{
	bool		missing = false;

	for (int i = 0; i < watch->count; i++)
	{
		Watched    *file = &watch->files[i];

		if (file->wd >= 0)
			continue;
		file->wd = inotify_add_watch(watch->fd, file->directory, EVENTS);
		if (file->wd >= 0)
			look(file);
		else
			missing = true;
	}
	return missing;
}

/* Take the events that are there; true if there were any. */
static bool
take_events(Watch *watch)
{
	char		buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t		got;
	bool		any = false;

	while ((got = read(watch->fd, buffer, sizeof(buffer))) > 0)
	{
		any = true;
		for (char *at = buffer; at < buffer + got;)
		{
			const struct inotify_event *event = (const struct inotify_event *) at;

			/* a directory that was moved or removed is looked for under its name again */
			for (int i = 0; i < watch->count; i++)
			{
				if (watch->files[i].wd == event->wd &&
					(event->mask & (IN_IGNORED | IN_MOVE_SELF | IN_DELETE_SELF)) != 0)
				{
					if ((event->mask & IN_MOVE_SELF) != 0)
						inotify_rm_watch(watch->fd, event->wd);
					for (int j = 0; j < watch->count; j++)
					{
						if (watch->files[j].wd == event->wd)
							watch->files[j].wd = -1;
					}
				}
			}
			at += sizeof(struct inotify_event) + event->len;
		}
	}
	return any;
}

/* Load a changed file in a transaction of its own; EXIT_CONNECTION if that is lost. */
static int
load_one(Watched *file, PGconn *conn)
{
	FileSet		set;
	int			code = EXIT_INVALID;

	memset(&set, 0, sizeof(set));
	if (fileset_parse(&set, file->path, file->text, file->len))
		code = load_set(&set, conn, false);
	fileset_free(&set);
	if (code != EXIT_CONNECTION)
		file->changed = false;
	fflush(stdout);
	return code;
}

/*
 * All files that can be read in one transaction, as load without --watch does;
 * where that fails, one by one.
 */
static int
load_first(Watch *watch, PGconn *conn)
{
	FileSet		set;
	int			code;

	memset(&set, 0, sizeof(set));
	for (int i = 0; i < watch->count; i++)
	{
		Watched    *file = &watch->files[i];
		FileSet		one;

		if (file->text == NULL)
			continue;
		/* by itself first: a file with a fault is left out of the whole */
		memset(&one, 0, sizeof(one));
		file->changed = fileset_parse(&one, file->path, file->text, file->len);
		fileset_free(&one);
		if (file->changed)
			fileset_parse(&set, file->path, file->text, file->len);
	}
	code = set.file_count > 0 ? load_set(&set, conn, false) : EXIT_OK;
	if (code == EXIT_OK || set.file_count == 1)
	{
		for (int i = 0; i < watch->count && code != EXIT_CONNECTION; i++)
			watch->files[i].changed = false;
	}
	else if (code != EXIT_CONNECTION)
		client_info("loading the files one by one");
	fileset_free(&set);
	fflush(stdout);
	return code;
}

/* Those that have changed. */
static int
load_changed(Watch *watch, PGconn *conn)
{
	int			code = EXIT_OK;

	for (int i = 0; code != EXIT_CONNECTION && i < watch->count; i++)
	{
		if (watch->files[i].changed)
			code = load_one(&watch->files[i], conn);
	}
	return code;
}

/* Wait until something has happened in a directory, and nothing for a while after. */
static void
wait_for_change(Watch *watch, PGconn *conn, bool missing)
{
	struct pollfd fds[3] = {
		{watch->fd, POLLIN, 0},
		{PQsocket(conn), POLLIN, 0},
		{client_signal_fd, POLLIN, 0},
	};
	bool		any;

	if (poll(fds, 3, missing ? RETRY_MS : -1) > 0 && fds[1].revents != 0)
		(void) PQconsumeInput(conn);
	any = take_events(watch);
	while (any && !client_stop && client_wait(watch->fd, QUIET_MS))
		take_events(watch);
	for (int i = 0; any && i < watch->count; i++)
		look(&watch->files[i]);
}

static void
watch_loop(Watch *watch)
{
	PGconn	   *conn = client_connect();
	bool		missing = watch_directories(watch);
	bool		first = true;

	for (int i = 0; i < watch->count; i++)
	{
		if (watch->files[i].wd < 0)
			client_warn("could not watch \"%s\" yet", watch->files[i].directory);
	}
	while (conn != NULL && !client_stop)
	{
		int			code = first ? load_first(watch, conn) : EXIT_OK;

		if (code != EXIT_CONNECTION)
			code = load_changed(watch, conn);
		if (code == EXIT_CONNECTION || client_lost(conn))
		{
			conn = client_reconnect(conn);
			continue;
		}
		if (first)
			client_info("watching %d %s", watch->count, watch->count == 1 ? "file" : "files");
		first = false;
		wait_for_change(watch, conn, missing);
		missing = watch_directories(watch);
	}
	PQfinish(conn);
}

int
load_watch(char *const *paths, int count)
{
	Watch		watch = {client_alloc(sizeof(Watched) * (size_t) count), count, -1};

	watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch.fd < 0)
		client_fatal(EXIT_FAILED, "could not watch files: %s", strerror(errno));
	for (int i = 0; i < count; i++)
	{
		char	   *copy = client_strdup(paths[i]);

		if (strcmp(paths[i], "-") == 0)
			client_usage("the standard input cannot be watched");
		watch.files[i].path = paths[i];
		watch.files[i].directory = client_strdup(dirname(copy));
		watch.files[i].wd = -1;
		free(copy);
	}
	client_catch_signals();
	watch_loop(&watch);
	for (int i = 0; i < count; i++)
	{
		free(watch.files[i].directory);
		free(watch.files[i].text);
	}
	free(watch.files);
	close(watch.fd);
	return EXIT_OK;
}
