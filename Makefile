# sopflow: a PGXS makefile of variables and thin targets.
# The programs under tools/, test/, demo/ and bench/ hold the logic.

EXTENSION    = sopflow
EXTVERSION   = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" sopflow.control)
MODULE_big   = sopflow
OBJS         = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
PGFILEDESC   = "sopflow - sales automation inside PostgreSQL"
DATA         = $(wildcard sql/sopflow--*--*.sql)
DATA_built   = sql/sopflow--$(EXTVERSION).sql
SHLIB_EXPORTS = src/exports.txt
EXTRA_CLEAN  = src/exports.list

REGRESS        = $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
REGRESS_OPTS   = --inputdir=test --load-extension=sopflow
ISOLATION      = $(sort $(basename $(notdir $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=sopflow
TAP_TESTS      = 1
PROVE_TESTS   ?= test/t/*.pl

PG_CONFIG ?= $(shell tools/pg-config)
PGXS      := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

ifneq ($(PGXS),)
include $(PGXS)
else
all install clean:
	@echo "no PostgreSQL server development files were found: run \"make deps\", or set PG_CONFIG" >&2; exit 1
endif

# The program is built by a makefile of its own: "make with_client=no" leaves
# it out where its libraries are not wanted.
with_client ?= yes
ifneq ($(with_client),no)
CLIENT = $(MAKE) -C src/client PG_CONFIG='$(PG_CONFIG)'
all: client
install: install-client
uninstall: uninstall-client
clean: clean-client
client:
	@pkg-config --exists libcjson yaml-0.1 libcurl libcrypto || \
		{ echo "the client's libraries were not found: run \"make deps\", or make with_client=no" >&2; exit 1; }
	@$(CLIENT) all
install-client: client
	@$(CLIENT) install
uninstall-client:
	@$(CLIENT) uninstall
clean-client:
	@$(CLIENT) clean
.PHONY: client install-client uninstall-client clean-client
endif

$(OBJS): $(wildcard src/*.h)

$(DATA_built): $(sort $(wildcard sql/parts/*.sql)) sopflow.control
	cat $(filter %.sql,$^) > $@

.PHONY: deps demo test fuzz bench
deps:
	@tools/deps
demo:
	@demo/run
test:
	@SUITE="$(SUITE)" TESTS="$(TESTS)" UPDATE="$(UPDATE)" test/run
fuzz:
	@FUZZ="$(FUZZ)" FUZZ_SECONDS="$(FUZZ_SECONDS)" FUZZ_WORK="$(FUZZ_WORK)" test/fuzz/run
bench:
	@bench/run.sh
