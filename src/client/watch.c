/*
 * watch.c
 *	  sopflow load --watch: files are loaded again when they change.
 *
 * What a file's path leads to is looked at every second, so that no change of
 * links, parents or rights is missed; events of its directory only make that
 * faster, and tell when who writes it has closed it.  A file is read when it
 * has been quiet, and counts as changed when its text is another than the last.
 */
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

/* how often files are looked at, and what the server could not take yet is tried again */
#define LOOK_MS			1000

/* a file is read when it has not changed for so long: an event said that it is complete ... */
#define QUIET_MS		50
/* ... an event said that it is being written, and none that it was closed ... */
#define WRITING_MS		60000
/* ... there was no event; or when it has been changing for so many times longer */
#define QUIET_TIMES		20

#define EVENTS_WRITING	(IN_MODIFY)
#define EVENTS_COMPLETE	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB)
#define EVENTS			(EVENTS_WRITING | EVENTS_COMPLETE | IN_CREATE | IN_DELETE_SELF | \
						 IN_MOVE_SELF)

typedef struct Watched
{
	const char *path;
	const char *name;			/* in its directory */
	char	   *directory;
	int			wd;				/* -1: the directory is not watched */
	bool		told;			/* why it is not */

	struct stat found;			/* what the path led to; all 0: nothing */
	bool		pending;		/* that is not read yet */
	bool		writing;		/* by the last event */
	bool		complete;		/* by the last event */
	long		first;			/* when it was found to be pending */
	long		last;			/* when it was last found changed */

	char	   *text;			/* last read; NULL: none yet */
	size_t		len;
	bool		unreadable;		/* said so */
	bool		changed;		/* to be loaded */
	bool		failed;			/* was refused, and may need what another file defines */
	long		tried;			/* after so many loads that succeeded */
	bool		marked;			/* for the next load */
} Watched;

typedef struct Watch
{
	Watched    *files;
	int			count;
	int			fd;
	long		loaded;			/* loads that succeeded */
	long		not_before;		/* the server could not take it yet */
} Watch;

static long
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether the path still leads to what was found there; *found: what it leads to now. */
static bool
is_same(const Watched *file, struct stat *found)
{
	const struct stat *was = &file->found;

	if (stat(file->path, found) != 0)
		memset(found, 0, sizeof(*found));
	return was->st_dev == found->st_dev && was->st_ino == found->st_ino &&
		was->st_size == found->st_size && was->st_mode == found->st_mode &&
		memcmp(&was->st_mtim, &found->st_mtim, sizeof(was->st_mtim)) == 0 &&
		memcmp(&was->st_ctim, &found->st_ctim, sizeof(was->st_ctim)) == 0;
}

/* Read a file, unless it changes at that moment; its syntax is checked here. */
static void
read_file(Watched *file)
{
	struct stat found;
	size_t		len;
	char	   *error;
	char	   *text = document_read(file->path, &len, &error);
	FileSet		set;

	if (!is_same(file, &found))
	{
		free(error);
		free(text);
		return;
	}
	file->pending = false;
	if (text == NULL)
	{
		if (!file->unreadable)
			client_warn("could not read \"%s\": %s; what it defined stays", file->path, error);
		file->unreadable = true;
		/* what it would have defined is gone with it; the same text is new if it comes back */
		if (file->changed || file->failed)
		{
			free(file->text);
			file->text = NULL;
			file->changed = file->failed = false;
		}
		free(error);
		return;
	}
	file->unreadable = false;
	if (file->text != NULL && file->len == len && memcmp(file->text, text, len) == 0)
	{
		free(text);
		return;
	}
	free(file->text);
	file->text = text;
	file->len = len;
	file->failed = false;
	memset(&set, 0, sizeof(set));
	file->changed = fileset_parse(&set, file->path, text, len);
	fileset_free(&set);
}

/* Read the files that have changed and been quiet. */
static void
look(Watch *watch)
{
	for (int i = 0; i < watch->count; i++)
	{
		Watched    *file = &watch->files[i];
		long		now = now_ms();
		long		quiet;
		struct stat found;

		if (!is_same(file, &found))
		{
			file->found = found;
			file->last = now;
			if (!file->pending)
				file->first = now;
			file->pending = true;
		}
		quiet = file->writing ? WRITING_MS : file->complete ? QUIET_MS : LOOK_MS;
		if (file->pending &&
			(now - file->last >= quiet || now - file->first >= QUIET_TIMES * quiet))
			read_file(file);
		if (!file->pending)
			file->complete = false;
	}
}

/* Watch the directories that are at their paths now. */
static void
watch_directories(Watch *watch)
{
	for (int i = 0; i < watch->count; i++)
	{
		Watched    *file = &watch->files[i];
		int			old = file->wd;
		bool		used = false;

		file->wd = inotify_add_watch(watch->fd, file->directory, EVENTS);
		/* where there is none, what is said of the file says enough */
		if (file->wd < 0 && errno != ENOENT && !file->told)
		{
			client_warn("could not watch \"%s\": %s; \"%s\" is looked at every second",
						file->directory, strerror(errno), file->path);
			file->told = true;
		}
		if (file->wd == old || old < 0)
			continue;
		file->writing = false;
		for (int j = 0; j < watch->count; j++)
			used = used || watch->files[j].wd == old;
		if (!used)
			inotify_rm_watch(watch->fd, old);
	}
}

static void
take_event(Watch *watch, const struct inotify_event *event)
{
	for (int i = 0; i < watch->count; i++)
	{
		Watched    *file = &watch->files[i];
		struct stat found;

		if ((event->mask & IN_Q_OVERFLOW) != 0)
			file->writing = false;
		if (file->wd != event->wd || event->len == 0 || strcmp(event->name, file->name) != 0)
			continue;
		/* what is created empty is written next; a link is complete */
		if ((event->mask & EVENTS_WRITING) != 0 ||
			((event->mask & IN_CREATE) != 0 && lstat(file->path, &found) == 0 &&
			 S_ISREG(found.st_mode) && found.st_size == 0))
			file->writing = true;
		else if ((event->mask & (EVENTS_COMPLETE & ~IN_ATTRIB)) != 0)
			file->writing = false;
		file->complete = !file->writing;
	}
}

static void
take_events(Watch *watch)
{
	char		buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t		got;

	while ((got = read(watch->fd, buffer, sizeof(buffer))) > 0)
	{
		for (char *at = buffer; at < buffer + got;)
		{
			const struct inotify_event *event = (const struct inotify_event *) at;

			take_event(watch, event);
			at += sizeof(struct inotify_event) + event->len;
		}
	}
}

/* Wait until something happens, or the next look is due, and look. */
static void
wait_for_change(Watch *watch, PGconn *conn)
{
	struct pollfd fds[3] = {
		{watch->fd, POLLIN, 0},
		{PQsocket(conn), POLLIN, 0},
		{client_signal_fd, POLLIN, 0},
	};
	int			timeout = LOOK_MS;

	for (int i = 0; i < watch->count; i++)
	{
		if (watch->files[i].pending && watch->files[i].complete)
			timeout = QUIET_MS;
	}
	if (poll(fds, 3, timeout) > 0 && fds[1].revents != 0)
		(void) PQconsumeInput(conn);
	take_events(watch);
	watch_directories(watch);
	look(watch);
}

/* Mark what has changed, and on request what was refused before; how many these are. */
static int
mark(Watch *watch, bool with_failed)
{
	int			count = 0;

	for (int i = 0; i < watch->count; i++)
	{
		Watched    *file = &watch->files[i];

		file->marked = file->changed || (with_failed && file->failed);
		count += file->marked;
	}
	return count;
}

/* Load the marked files in one transaction. */
static int
load_marked(Watch *watch, PGconn *conn)
{
	FileSet		set;
	int			code;

	memset(&set, 0, sizeof(set));
	for (int i = 0; i < watch->count; i++)
	{
		Watched    *file = &watch->files[i];

		if (file->marked)
			fileset_parse(&set, file->path, file->text, file->len);
	}
	code = load_set(&set, conn, false);
	if (code == EXIT_OK)
		watch->loaded++;
	for (int i = 0; i < watch->count; i++)
	{
		Watched    *file = &watch->files[i];

		if (!file->marked)
			continue;
		if (code == EXIT_OK)
			file->changed = file->failed = false;
		else if (code == EXIT_AGAIN && !client_stop)
			client_warn("\"%s\" is not loaded yet; trying again", file->path);
		else if (code != EXIT_CONNECTION && code != EXIT_AGAIN && set.file_count == 1)
		{
			file->changed = false;
			file->failed = true;
			file->tried = watch->loaded;
		}
	}
	fileset_free(&set);
	client_flush();
	return code;
}

/* Whether the files themselves were refused, so that fewer or more may do. */
static bool
refused(int code)
{
	return code != EXIT_OK && code != EXIT_CONNECTION && code != EXIT_AGAIN;
}

/*
 * Load what has changed: all of it at once, or with what was refused before, or
 * one by one.  Each load that succeeds may help one that was refused.
 */
static int
load_changed(Watch *watch, PGconn *conn)
{
	int			count = mark(watch, false);
	int			code;
	bool		again = false;
	bool		more;

	if (count == 0)
		return EXIT_OK;
	code = load_marked(watch, conn);
	if (refused(code) && mark(watch, true) > count)
		code = load_marked(watch, conn);
	if (code == EXIT_AGAIN && count == 1)
		return code;
	if ((refused(code) || code == EXIT_AGAIN) && count > 1)
		client_info("loading the files one by one");
	do
	{
		more = false;
		for (int i = 0; i < watch->count; i++)
		{
			Watched    *file = &watch->files[i];

			if (code == EXIT_CONNECTION || client_stop)
				return code;
			if (!file->changed && (!file->failed || file->tried == watch->loaded))
				continue;
			for (int j = 0; j < watch->count; j++)
				watch->files[j].marked = i == j;
			code = load_marked(watch, conn);
			more = more || code == EXIT_OK;
			again = again || code == EXIT_AGAIN;
		}
	} while (more);
	return again ? EXIT_AGAIN : code;
}

static void
watch_loop(Watch *watch, PGconn *conn)
{
	bool		first = true;

	watch_directories(watch);
	for (int i = 0; i < watch->count; i++)
	{
		(void) is_same(&watch->files[i], &watch->files[i].found);
		read_file(&watch->files[i]);
	}
	while (conn != NULL && !client_stop)
	{
		int			code = EXIT_OK;

		if (now_ms() >= watch->not_before)
			code = load_changed(watch, conn);
		if (code == EXIT_AGAIN)
			watch->not_before = now_ms() + LOOK_MS;
		if (code == EXIT_CONNECTION || client_lost(conn))
		{
			conn = client_reconnect(conn);
			continue;
		}
		if (first)
			client_info("watching %d %s", watch->count, watch->count == 1 ? "file" : "files");
		first = false;
		wait_for_change(watch, conn);
	}
	PQfinish(conn);
}

int
load_watch(char *const *paths, int count)
{
	Watch		watch = {client_alloc(sizeof(Watched) * (size_t) count), count, -1, 0, 0};
	PGconn	   *conn;

	watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch.fd < 0)
		client_fatal(EXIT_FAILED, "could not watch files: %s", strerror(errno));
	for (int i = 0; i < count; i++)
	{
		char	   *copy = client_strdup(paths[i]);
		const char *slash = strrchr(paths[i], '/');

		if (strcmp(paths[i], "-") == 0)
			client_usage("the standard input cannot be watched");
		watch.files[i].path = paths[i];
		watch.files[i].name = slash ? slash + 1 : paths[i];
		watch.files[i].directory = client_strdup(dirname(copy));
		watch.files[i].wd = -1;
		free(copy);
	}
	conn = client_connect();
	client_catch_signals();
	watch_loop(&watch, conn);
	for (int i = 0; i < count; i++)
	{
		free(watch.files[i].directory);
		free(watch.files[i].text);
	}
	free(watch.files);
	close(watch.fd);
	return EXIT_OK;
}
