/*
 * relay_loop.c
 *	  The event loop of the relay: descriptors and timers.
 *
 * A handler may close any descriptor, and another may be opened under its
 * number before the turn is over: an event counts only if it bears the serial
 * number of the present watch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "relay_loop.h"

#define EVENTS	256

typedef struct Watch
{
	LoopReady	ready;			/* NULL: not watched */
	void	   *arg;
	uint32_t	serial;
} Watch;

static int	epoll_fd = -1;
static Watch *watches;
static int	nwatches;
static uint32_t serials;

/* a binary heap from 1 on */
static LoopTimer **heap;
static int	nheap;
static int	heap_size;

static bool again;
static double now;
static unsigned int seed;

static void
read_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

void
loop_start(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		client_fatal(EXIT_FAILED, "could not make an epoll instance: %s", strerror(errno));
	read_clock();
	seed = (unsigned int) (now * 1e6) ^ (unsigned int) getpid();
}

void
loop_end(void)
{
	close(epoll_fd);
	epoll_fd = -1;
	free(watches);
	watches = NULL;
	nwatches = 0;
	free(heap);
	heap = NULL;
	nheap = heap_size = 0;
}

double
loop_now(void)
{
	return now;
}

double
loop_random(void)
{
	return (double) rand_r(&seed) / RAND_MAX;
}

void
loop_watch(int fd, uint32_t events, LoopReady ready, void *arg)
{
	struct epoll_event event = {.events = events};
	bool		changes;

	if (fd >= nwatches)
	{
		int			size = fd + 64;

		watches = client_realloc(watches, (size_t) size * sizeof(Watch));
		memset(watches + nwatches, 0, (size_t) (size - nwatches) * sizeof(Watch));
		nwatches = size;
	}
	changes = watches[fd].ready != NULL;
	if (!changes)
		watches[fd].serial = ++serials;
	watches[fd].ready = ready;
	watches[fd].arg = arg;
	event.data.u64 = (uint64_t) watches[fd].serial << 32 | (uint32_t) fd;
	if (changes && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
		return;
	/* closed unseen and opened anew, or really new */
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 &&
		(errno != EEXIST || epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0))
		client_fatal(EXIT_FAILED, "could not watch a descriptor: %s", strerror(errno));
}

void
loop_unwatch(int fd)
{
	if (fd < 0 || fd >= nwatches || watches[fd].ready == NULL)
		return;
	watches[fd].ready = NULL;
	/* it may be closed already */
	(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void
put(LoopTimer *timer, int slot)
{
	heap[slot] = timer;
	timer->slot = slot;
}

static void
sift_up(LoopTimer *timer, int slot)
{
	while (slot > 1 && heap[slot / 2]->at > timer->at)
	{
		put(heap[slot / 2], slot);
		slot /= 2;
	}
	put(timer, slot);
}

static void
sift_down(LoopTimer *timer, int slot)
{
	for (;;)
	{
		int			child = slot * 2;

		if (child > nheap)
			break;
		if (child < nheap && heap[child + 1]->at < heap[child]->at)
			child++;
		if (heap[child]->at >= timer->at)
			break;
		put(heap[child], slot);
		slot = child;
	}
	put(timer, slot);
}

void
loop_timer_clear(LoopTimer *timer)
{
	int			slot = timer->slot;
	LoopTimer  *last;

	if (slot == 0)
		return;
	timer->slot = 0;
	last = heap[nheap--];
	if (last == timer)
		return;
	if (slot > 1 && heap[slot / 2]->at > last->at)
		sift_up(last, slot);
	else
		sift_down(last, slot);
}

void
loop_timer_set(LoopTimer *timer, double at, void (*fire)(void *arg), void *arg)
{
	loop_timer_clear(timer);
	timer->at = at;
	timer->fire = fire;
	timer->arg = arg;
	if (nheap + 2 > heap_size)
	{
		heap_size = heap_size * 2 + 64;
		heap = client_realloc(heap, (size_t) heap_size * sizeof(LoopTimer *));
	}
	sift_up(timer, ++nheap);
}

/* milliseconds to wait, rounded up so that a timer is due when the wait ends */
static int
wait_ms(void)
{
	double		wait;

	if (again)
		return 0;
	if (nheap == 0)
		return -1;
	wait = (heap[1]->at - now) * 1000;
	return wait <= 0 ? 0 : wait > 60000 ? 60000 : (int) wait + 1;
}

void
loop_again(void)
{
	again = true;
}

void
loop_turn(void)
{
	struct epoll_event events[EVENTS];
	int			n;

	read_clock();
	n = epoll_wait(epoll_fd, events, EVENTS, wait_ms());
	again = false;
	if (n < 0 && errno != EINTR)
		client_fatal(EXIT_FAILED, "could not wait for events: %s", strerror(errno));
	read_clock();
	for (int i = 0; i < n; i++)
	{
		int			fd = (int) (uint32_t) events[i].data.u64;
		uint32_t	serial = (uint32_t) (events[i].data.u64 >> 32);

		if (fd < nwatches && watches[fd].ready != NULL && watches[fd].serial == serial)
			watches[fd].ready(watches[fd].arg, fd, events[i].events);
	}
	while (nheap > 0 && heap[1]->at <= now)
	{
		LoopTimer  *timer = heap[1];

		loop_timer_clear(timer);
		timer->fire(timer->arg);
	}
}
