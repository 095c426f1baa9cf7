/*
 * utility.h
 *	  Utility commands that concern the workers.
 */
#ifndef SF_UTILITY_H
#define SF_UTILITY_H

/* install the hook; does nothing unless called while preloading */
extern void sf_utility_init(void);

#endif							/* SF_UTILITY_H */
