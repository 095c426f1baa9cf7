/*
 * mutate.c
 *	  Drives a fuzz driver where the compiler has none of its own: seeds, changed
 *	  at random, for a number of seconds.  The input is written to a file before
 *	  it is tried, so that one that crashes is there afterwards.
 *
 *	  mutate SECONDS INPUT-FILE SEED...
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_SIZE	4096
#define MAX_POOL	4096

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int			LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

typedef struct Input
{
	size_t		size;
	uint8_t		data[MAX_SIZE];
} Input;

static Input pool[MAX_POOL];
static int	pool_size;
static uint64_t state = 88172645463325252ULL;

static uint32_t
next(uint32_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return limit == 0 ? 0 : (uint32_t) (state >> 33) % limit;
}

/* One change: a byte, a run of bytes taken out or doubled, or a piece of another input. */
static void
change(Input *input)
{
	static const char marks[] = "{}[]:,\"'\\-#&*!|>%@`~\n\t 0123456789.eE+xu\xff\x80\xc3\xed";
	uint32_t	at = next((uint32_t) input->size + 1);
	const Input *other = &pool[next((uint32_t) pool_size)];
	uint32_t	from = next((uint32_t) other->size + 1);
	uint32_t	len = next(next(4) == 0 ? 64 : 4) + 1;

	switch (next(4))
	{
		case 0:
			if (at < input->size)
				input->data[at] = (uint8_t) marks[next(sizeof(marks) - 1)];
			break;
		case 1:
			if (at + len > input->size)
				len = (uint32_t) input->size - at;
			memmove(input->data + at, input->data + at + len, input->size - at - len);
			input->size -= len;
			break;
		default:
			if (from + len > other->size)
				len = (uint32_t) other->size - from;
			if (input->size + len > MAX_SIZE)
				break;
			memmove(input->data + at + len, input->data + at, input->size - at);
			for (uint32_t i = 0; i < len; i++)
				input->data[at + i] = from + i < other->size ? other->data[from + i] : ' ';
			input->size += len;
	}
}

static void
add_seed(const char *path)
{
	FILE	   *file = fopen(path, "re");

	if (file != NULL && pool_size < MAX_POOL)
	{
		pool[pool_size].size = fread(pool[pool_size].data, 1, MAX_SIZE, file);
		pool_size++;
	}
	if (file != NULL)
		fclose(file);
}

int
main(int argc, char **argv)
{
	static Input input;
	time_t		end;
	long		runs = 0;
	uint8_t    *kept;
	int			fd;

	if (argc < 3)
		return 2;
	if (LLVMFuzzerInitialize != NULL)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 3; i < argc; i++)
		add_seed(argv[i]);
	if (pool_size == 0)
		pool[pool_size++] = (Input) {3, "a:1"};
	fd = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, MAX_SIZE) != 0)
		return 2;
	/* pages of a file outlive a crash */
	kept = mmap(NULL, MAX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (kept == MAP_FAILED)
		return 2;

	end = time(NULL) + atoi(argv[1]);
	while (time(NULL) < end)
	{
		input = pool[next((uint32_t) pool_size)];
		for (uint32_t n = next(8) + 1; n > 0; n--)
			change(&input);
		memset(kept, 0, MAX_SIZE);
		memcpy(kept, input.data, input.size);
		LLVMFuzzerTestOneInput(input.data, input.size);
		runs++;
		/* some stay, to be changed further */
		if (next(200) == 0)
			pool[pool_size < MAX_POOL ? pool_size++ : (int) next(MAX_POOL)] = input;
	}
	printf("%ld runs\n", runs);
	return 0;
}
