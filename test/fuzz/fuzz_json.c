/*
 * fuzz_json.c
 *	  Any bytes as JSON.
 */
#include "fuzz_document.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_document(data, size, DOCUMENT_JSON);
}
