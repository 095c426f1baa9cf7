/*
 * relay_file.c
 *	  Files: each task a line of JSON, appended by one write.
 *
 * The tasks of a turn of the loop are synced together before any of them is
 * done.  SIGHUP opens the files anew, for those who rotate them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "relay.h"

typedef struct File
{
	char	   *path;
	int			fd;
	bool		written;		/* since the last sync */
	bool		torn;			/* it ends in a part of a line */
	struct File *next;
} File;

/* jobs whose line is written, one behind the other by job->delivery */
static File *files;
static Job **written;
static int	nwritten;
static int	written_size;

static File *
get_file(const char *path)
{
	File	   *file;

	for (file = files; file != NULL; file = file->next)
		if (strcmp(file->path, path) == 0)
			return file;
	file = client_alloc(sizeof(File));
	file->path = client_strdup(path);
	file->fd = -1;
	file->next = files;
	files = file;
	return file;
}

/* One write; what could be written only in part is taken back.  A pipe never blocks the relay. */
static bool
append(File *file, const char *line, size_t len)
{
	struct stat before;
	ssize_t		done;
	int			error;

	if (file->fd < 0)
		file->fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK,
						0640);
	if (file->fd < 0 || (file->torn && write(file->fd, "\n", 1) != 1))
		return false;
	file->torn = false;
	if (fstat(file->fd, &before) != 0)
		return false;
	done = write(file->fd, line, len);
	if (done == (ssize_t) len)
		return true;
	error = done < 0 ? errno : S_ISREG(before.st_mode) ? ENOSPC : EAGAIN;
	if (done > 0)
	{
		struct stat after;

		file->torn = !S_ISREG(before.st_mode) ||
			(fstat(file->fd, &after) == 0 && after.st_size == before.st_size + done &&
			 ftruncate(file->fd, before.st_size) != 0);
		if (file->torn)
			relay_warn("a part of a line is left in \"%s\"", file->path);
	}
	errno = error;
	return false;
}

static const char *
reason(const File *file, int error)
{
	struct stat now;

	if (stat(file->path, &now) != 0 || !S_ISFIFO(now.st_mode))
		return strerror(error);
	switch (error)
	{
		case ENXIO:
		case EPIPE:
			return "it is a pipe that nobody reads";
		case EAGAIN:
			return "it is a pipe that is full, and nobody reads on";
		default:
			return strerror(error);
	}
}

void
file_start(Job *job)
{
	File	   *file = get_file(job->spec->path);
	Text		line = {0};
	bool		ok;

	text_append(&line, job->document, job->document_len);
	text_char(&line, '\n');
	ok = append(file, line.data, line.len);
	text_free(&line);
	if (!ok)
	{
		job_failed(job, RELAY_RETRY, -1, client_format("could not write to \"%s\": %s", file->path,
													   reason(file, errno)));
		return;
	}
	file->written |= job->spec->sync;
	job->delivery = file;
	if (nwritten == written_size)
	{
		written_size = written_size * 2 + 64;
		written = client_realloc(written, (size_t) written_size * sizeof(Job *));
	}
	written[nwritten++] = job;
}

void
file_abort(Job *job)
{
	for (int i = 0; i < nwritten; i++)
		if (written[i] == job)
			written[i--] = written[--nwritten];
}

void
file_flush(void)
{
	for (File *file = files; nwritten > 0 && file != NULL; file = file->next)
	{
		int			error = 0;
		int			kept = 0;
		int			n = nwritten;

		/* a pipe or a device cannot be synced, and need not be */
		if (file->written && fsync(file->fd) != 0 && errno != EINVAL && errno != EROFS)
			error = errno;
		file->written = false;
		/* the end of one may write others, which are not synced yet */
		for (int i = 0; i < n; i++)
		{
			Job		   *job = written[i];

			if (job->delivery != file)
				written[kept++] = job;
			else if (error != 0)
				job_failed(job, RELAY_RETRY, -1, client_format("could not sync \"%s\": %s", file->path,
															   strerror(error)));
			else
				job_done(job, client_strdup("{\"written\": true}"));
		}
		nwritten -= n;
		memmove(written + kept, written + n, (size_t) nwritten * sizeof(Job *));
		nwritten += kept;
	}
}

void
file_reopen(void)
{
	while (nwritten > 0)
		file_flush();
	for (File *file = files; file != NULL; file = file->next)
	{
		if (file->fd >= 0)
			close(file->fd);
		file->fd = -1;
	}
}

void
file_close_all(void)
{
	file_reopen();
	while (files != NULL)
	{
		File	   *next = files->next;

		free(files->path);
		free(files);
		files = next;
	}
	free(written);
	written = NULL;
	nwritten = written_size = 0;
}
