/*
 * relay_spec.h
 *	  Targets of the relay's configuration.
 */
#ifndef RELAY_SPEC_H
#define RELAY_SPEC_H

#include "relay.h"
#include "relay_reader.h"

/* a target as it stands in the file; NULL where it is not valid */
extern Target *target_read(const Map *map, const char *name);
/* how tasks, or alerts, go there; an action's map has the target's as its base */
extern Spec *spec_read(Target *target, const Map *map, bool alert);
/* extra: keys of the map that are not the target's, ended by NULL */
extern void spec_check_keys(const Map *map, RelayKind kind, const char *const *extra);
extern void target_free(Target *target);

#endif							/* RELAY_SPEC_H */
