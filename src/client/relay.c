/*
 * relay.c
 *	  The command relay: its options, its signals and its main loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client.h"
#include "relay.h"

/* descriptors beside those of deliveries */
#define OTHER_DESCRIPTORS	200
/* time to report outcomes in when drain_timeout is over */
#define REPORT_S			5

const char	relay_help[] =
	"relay delivers tasks to web servers, mail servers, programs and files, and\n"
	"alerts likewise.\n\n"
	"Usage: sopflow relay --config=FILE [OPTION]...\n\n"
	"  -c, --config=FILE      configuration, in YAML\n"
	"      --check            read the configuration, say what is wrong with it, and end\n"
	"  -v, --verbose          say of each delivery how it ended\n\n"
	"SIGTERM and SIGINT end it when what is in flight has ended, a second one at\n"
	"once; SIGHUP reads the configuration again and opens files anew.\n";

static const char *config_path;
static char *connection;		/* the configuration's, at the start */
static bool reload_wanted;
static bool leaving_now;
static int	signals = -1;
static LoopTimer drain_timer;
static bool report_time_over;

static void
attach_lanes(Config *config)
{
	for (Target *target = config->targets; target != NULL; target = target->next)
		target->lane = lane_get(target->name);
}

static void
limit_descriptors(void)
{
	struct rlimit limit;
	rlim_t		need = (rlim_t) relay_config->max_in_flight * 3 + OTHER_DESCRIPTORS;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
		return;
	/* RLIM_INFINITY is the largest number */
	limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < need)
		relay_warn("%llu open files are allowed, but %llu may be needed for max_in_flight %d",
				   (unsigned long long) limit.rlim_cur, (unsigned long long) need,
				   relay_config->max_in_flight);
}

static void
apply_config(void)
{
	attach_lanes(relay_config);
	limit_descriptors();
	transfers_limit(relay_config->max_in_flight);
	metrics_listen(relay_config->metrics_host, relay_config->metrics_port);
	alerts_config_changed();
}

/*
 * The option stands above the file.  What is in hand belongs to this connection's
 * database, and another one has tasks of the same ids and tokens.
 */
static void
take_connection(void)
{
	if (options.dbname != NULL || relay_config->connection == NULL)
		return;
	connection = client_strdup(relay_config->connection);
	options.dbname = connection;
}

static bool
other_connection(const Config *config)
{
	return options.dbname == connection &&
		strcmp(config->connection ? config->connection : "", connection ? connection : "") != 0;
}

static void
reload(void)
{
	Config	   *config = config_read(config_path);
	Config	   *old = relay_config;

	reload_wanted = false;
	file_reopen();
	if (config == NULL)
	{
		relay_warn("\"%s\" is not valid: the configuration stays as it was", config_path);
		return;
	}
	if (other_connection(config))
	{
		relay_warn("\"%s\" names another connection, which takes a restart: the configuration stays as it "
				   "was", config_path);
		config_release(config);
		return;
	}
	relay_config = config;
	apply_config();
	db_config_changed();
	config_release(old);
	relay_log("the configuration was read again");
}

static void
drain_over(void *arg)
{
	(void) arg;
	if (relay_jobs.count > 0)
		relay_warn("%d deliveries have not ended within %g s and are given up", relay_jobs.count,
				   relay_config->drain_timeout);
	jobs_abandon();
	report_time_over = true;
}

static int
tasks_in_hand(void)
{
	int			count = work_unreported();

	for (const Job *job = relay_jobs.first; job != NULL; job = job->next)
		count += !job->alert;
	return count;
}

static void
begin_draining(void)
{
	if (relay_draining)
	{
		relay_warn("ended by a second signal: %d tasks come again when their leases have ended",
				   tasks_in_hand());
		leaving_now = true;
		return;
	}
	relay_draining = true;
	relay_log("ending: %d deliveries in flight", relay_jobs.count);
	loop_timer_set(&drain_timer, loop_now() + relay_config->drain_timeout, drain_over, NULL);
}

static void
signal_came(void *arg, int fd, uint32_t events)
{
	struct signalfd_siginfo info;

	(void) arg;
	(void) events;
	while (read(fd, &info, sizeof(info)) == sizeof(info))
	{
		switch (info.ssi_signo)
		{
			case SIGCHLD:
				command_reap();
				break;
			case SIGHUP:
				reload_wanted = !relay_draining;
				break;
			default:
				begin_draining();
		}
	}
}

/* Before any thread is there: libcurl has some that look up names. */
static void
catch_signals(void)
{
	sigset_t	set;
	int			fd;

	/* pipes must not become standard input or output */
	while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd <= STDERR_FILENO)
		fcntl(fd, F_SETFD, 0);
	close(fd);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals < 0)
		client_fatal(EXIT_FAILED, "could not watch signals: %s", strerror(errno));
	loop_watch(signals, EPOLLIN, signal_came, NULL);
}

static bool
drained(void)
{
	return relay_draining && relay_jobs.count == 0 && work_unreported() == 0 && !db_busy();
}

static int
run(void)
{
	double		give_up = 0;
	int64_t		ends;

	for (;;)
	{
		loop_turn();
		file_flush();
		ends = relay_ends;
		jobs_start_waiting();
		if (reload_wanted)
			reload();
		db_pump();
		/* files that were written by tasks of a short list */
		file_flush();
		/* places became free, and nothing else may ask for them */
		if (relay_ends != ends)
			loop_again();
		if (leaving_now)
			return EXIT_FAILED;
		if (drained())
			return EXIT_OK;
		if (report_time_over && give_up == 0)
		{
			give_up = loop_now() + REPORT_S;
			loop_timer_set(&drain_timer, give_up, drain_over, NULL);
		}
		if (give_up > 0 && loop_now() >= give_up)
		{
			relay_warn("%d outcomes could not be reported; their tasks come again when their leases have "
					   "ended", work_unreported());
			return EXIT_FAILED;
		}
	}
}

static void
clean_up(void)
{
	Job		   *job;

	db_end();
	relay_draining = true;
	jobs_abandon();
	while ((job = relay_ended.first) != NULL)
	{
		list_remove(&relay_ended, job);
		job_free(job);
	}
	transfers_end();
	metrics_end();
	alerts_free();
	file_close_all();
	loop_unwatch(signals);
	close(signals);
	config_release(relay_config);
	lanes_free();
	loop_end();
	relay_forget_secrets();
	free(connection);
}

static int
check(void)
{
	Config	   *config = config_read(config_path);
	int			code = config ? EXIT_OK : EXIT_INVALID;

	if (config != NULL)
		client_info("%s: valid: %d targets, %d actions%s", config_path, config->ntargets,
					config->nactions, config->alerts ? ", alerts" : "");
	config_release(config);
	relay_forget_secrets();
	return code;
}

int
cmd_relay(int argc, char **argv)
{
	enum
	{
		OPTION_CHECK = 256
	};
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, OPTION_CHECK},
		{"verbose", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0}};
	bool		only_check = false;
	int			code;
	int			c;

	while ((c = client_getopt(argc, argv, "c:v", longs)) != -1)
	{
		if (c == 'c')
			config_path = optarg;
		else if (c == 'v')
			relay_verbose = true;
		else
			only_check = true;
	}
	if (optind < argc)
		client_usage("unexpected argument \"%s\"", argv[optind]);
	if (config_path == NULL)
		client_usage("--config is missing");
	if (only_check)
		return check();

	relay_config = config_read(config_path);
	if (relay_config == NULL)
		return EXIT_INVALID;
	take_connection();
	loop_start();
	catch_signals();
	transfers_start();
	apply_config();
	db_start();
	code = run();
	clean_up();
	return code;
}
