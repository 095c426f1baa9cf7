/*
 * relay_loop.h
 *	  The event loop of the relay: descriptors, timers, signals; one thread.
 */
#ifndef RELAY_LOOP_H
#define RELAY_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

typedef void (*LoopReady)(void *arg, int fd, uint32_t events);

/* a timer is a part of whatever it is for, zeroed before its first use */
typedef struct LoopTimer
{
	double		at;
	int			slot;			/* place in the heap, from 1; 0: not set */
	void		(*fire)(void *arg);
	void	   *arg;
} LoopTimer;

extern void loop_start(void);
extern void loop_end(void);

/* seconds of a clock that nobody sets, as of this turn of the loop */
extern double loop_now(void);
/* a number from 0 to 1, for jitter */
extern double loop_random(void);

/* the same descriptor again changes what is waited for; 0 events: errors only */
extern void loop_watch(int fd, uint32_t events, LoopReady ready, void *arg);
extern void loop_unwatch(int fd);

extern void loop_timer_set(LoopTimer *timer, double at, void (*fire)(void *arg), void *arg);
extern void loop_timer_clear(LoopTimer *timer);

/* the next turn waits for nothing: there is more to do */
extern void loop_again(void);
/* wait for something, and let it be handled */
extern void loop_turn(void);

#endif							/* RELAY_LOOP_H */
