/*
 * fuzz_relay.c
 *	  Any bytes as a configuration of the relay: it is read or refused, and
 *	  nothing is left of it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "relay.h"

int			LLVMFuzzerInitialize(int *argc, char ***argv);
int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void) argc;
	(void) argv;
	/* the faults of the configuration are not of interest */
	stderr = fopen("/dev/null", "we");
	setenv("KEY", "a secret", 1);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size > 0 ? size : 1);

	memcpy(text, data, size);
	config_release(config_parse("relay.yml", text, size));
	relay_forget_secrets();
	free(text);
	return 0;
}
