/*
 * signals.c
 *	  Ending in good order: SIGTERM and SIGINT set a flag and wake poll().
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

volatile sig_atomic_t client_stop = 0;
int			client_signal_fd = -1;

static int	wake_fd = -1;

static void
on_signal(int signo)
{
	int			saved = errno;

	(void) signo;
	client_stop = 1;
	if (write(wake_fd, "", 1) < 0)
	{
		/* full: it is readable already */
	}
	errno = saved;
}

void
client_catch_signals(void)
{
	struct sigaction action;
	int			fds[2];

	if (client_signal_fd >= 0)
		return;
	if (pipe(fds) != 0)
		client_fatal(EXIT_FAILED, "could not make a pipe: %s", strerror(errno));
	for (int i = 0; i < 2; i++)
	{
		fcntl(fds[i], F_SETFL, O_NONBLOCK);
		fcntl(fds[i], F_SETFD, FD_CLOEXEC);
	}
	client_signal_fd = fds[0];
	wake_fd = fds[1];

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal;
	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	/* a second one, typed by somebody who does not want to wait, ends the program */
	action.sa_flags = SA_RESETHAND;
	sigaction(SIGINT, &action, NULL);
}

bool
client_wait(int fd, int timeout_ms)
{
	struct pollfd fds[2] = {{fd, POLLIN, 0}, {client_signal_fd, POLLIN, 0}};

	/* poll() passes over negative descriptors */
	return poll(fds, 2, timeout_ms) > 0 && fds[0].revents != 0;
}
