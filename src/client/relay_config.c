/*
 * relay_config.c
 *	  The relay's configuration file: what is in force for all targets, and
 *	  which action goes to which.
 */
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "client.h"
#include "relay.h"
#include "relay_reader.h"
#include "relay_spec.h"

static const char *const config_keys[] = {
	"connection", "channels", "batch", "lease", "max_in_flight", "drain_timeout", "poll", "metrics",
	"targets", "actions", "alerts", NULL
};
static const char *const metrics_keys[] = {"listen", "allow_remote", NULL};

void
config_release(Config *config)
{
	if (config == NULL || --config->users > 0)
		return;
	for (Spec *spec = config->specs; spec != NULL;)
	{
		Spec	   *next = spec->next;

		spec_free(spec);
		spec = next;
	}
	for (Action *action = config->actions; action != NULL;)
	{
		Action	   *next = action->next;

		free(action->name);
		free(action->channel);
		free(action);
		action = next;
	}
	for (Target *target = config->targets; target != NULL;)
	{
		Target	   *next = target->next;

		target_free(target);
		target = next;
	}
	for (int i = 0; i < config->nchannels; i++)
		free(config->channels[i]);
	free(config->channels);
	free(config->connection);
	free(config->metrics_host);
	free(config->metrics_port);
	free(config->alert_state);
	free(config);
}

static void
add_channel(Config *config, const char *name)
{
	for (int i = 0; i < config->nchannels; i++)
		if (strcmp(config->channels[i], name) == 0)
			return;
	config->channels = client_realloc(config->channels,
									  (size_t) (config->nchannels + 1) * sizeof(char *));
	config->channels[config->nchannels++] = client_strdup(name);
}

static void
read_channels(Config *config, const Map *map)
{
	Field		field = map_field(map, "channels");
	const cJSON *first = cJSON_IsArray(field.value) ? field.value->child : field.value;

	for (const cJSON *item = first; item != NULL; item = item == field.value ? NULL : item->next)
	{
		if (cJSON_IsString(item) && *item->valuestring != '\0' && strlen(item->valuestring) < 64)
			add_channel(config, item->valuestring);
		else
			reader_fault(map->reader, field.path, "must be names of channels, of at most 63 bytes");
	}
	if (field.value == NULL)
		add_channel(config, "sopflow");
	field_free(&field);
}

/*
 * What libpq would refuse again and again.  Its own words are not repeated: they
 * have a part of the string, which may hold a password.
 */
static void
read_connection(Config *config, const Map *map)
{
	Field		field = map_field(map, "connection");
	PQconninfoOption *options;
	char	   *error = NULL;

	config->connection = map_string(map, "connection", NULL);
	/* else libpq takes it for the name of a database */
	if (config->connection != NULL &&
		(strchr(config->connection, '=') != NULL ||
		 strncmp(config->connection, "postgresql://", 13) == 0 ||
		 strncmp(config->connection, "postgres://", 11) == 0))
	{
		options = PQconninfoParse(config->connection, &error);
		if (options == NULL)
			reader_fault(map->reader, field.path, "is no connection string; write keys and values such "
						 "as host=... dbname=..., or postgresql://USER@HOST/DATABASE");
		for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
			if (strcmp(o->keyword, "password") == 0 && o->val != NULL)
				relay_secret(o->val);
		PQconninfoFree(options);
		PQfreemem(error);
	}
	field_free(&field);
}

static bool
loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
		(strncmp(host, "127.", 4) == 0 && host[strspn(host, "0123456789.")] == '\0');
}

/* HOST:PORT, [HOST]:PORT or PORT */
static void
read_listen(Config *config, const Map *map, const char *listen, bool remote)
{
	const char *colon = strrchr(listen, ':');
	const char *port = colon ? colon + 1 : listen;
	char	   *host = client_strdup(colon ? listen : "127.0.0.1");
	size_t		len;

	if (colon != NULL)
		host[colon - listen] = '\0';
	len = strlen(host);
	if (*host == '[' && host[len - 1] == ']')
	{
		host[len - 1] = '\0';
		memmove(host, host + 1, len - 1);
	}
	if (*port == '\0' || port[strspn(port, "0123456789")] != '\0' || strlen(port) > 5 ||
		atoi(port) > 65535 || *host == '\0')
		reader_fault(map->reader, map->path, "listen must be ADDRESS:PORT");
	else if (!remote && !loopback(host))
		reader_fault(map->reader, map->path, "\"%s\" is no loopback address; where others shall be "
					 "able to read the metrics, say allow_remote: true", host);
	config->metrics_host = host;
	config->metrics_port = client_strdup(port);
}

static void
read_metrics(Config *config, const Map *map)
{
	Field		field = map_field(map, "metrics");
	Map			metrics = {map->reader, field.value, field.path, NULL};

	if (field.value != NULL && !cJSON_IsObject(field.value))
		reader_fault(map->reader, field.path, "must be a mapping with \"listen\"");
	else if (field.value != NULL)
	{
		bool		remote;
		Field		listen = map_field(&metrics, "listen");
		char	   *address = NULL;

		map_check_keys(&metrics, metrics_keys);
		remote = map_boolean(&metrics, "allow_remote", false);
		if (cJSON_IsNumber(listen.value))
			address = client_format("%.0f", listen.value->valuedouble);
		else
			address = map_string(&metrics, "listen", NULL);
		if (address != NULL)
			read_listen(config, &metrics, address, remote);
		else if (listen.value == NULL)
			reader_fault(map->reader, field.path, "\"listen\" is missing");
		free(address);
		field_free(&listen);
	}
	field_free(&field);
}

static void
read_targets(Config *config, const Map *map, Map **maps)
{
	Field		field = map_field(map, "targets");
	const cJSON *child;
	Target	  **last = &config->targets;

	*maps = NULL;
	if (!cJSON_IsObject(field.value) || field.value->child == NULL)
		reader_fault(map->reader, field.path, "targets must be a mapping of at least one name to a target");
	else
	{
		*maps = client_alloc((size_t) cJSON_GetArraySize(field.value) * sizeof(Map));
		cJSON_ArrayForEach(child, field.value)
		{
			Map			one = {map->reader, child, reader_path(field.path, child->string), NULL};
			Target	   *target = NULL;

			if (!cJSON_IsObject(child))
				reader_fault(map->reader, one.path, "must be a mapping");
			else if (child->string[strcspn(child->string, "\"\\\n\r\t")] != '\0')
				reader_fault(map->reader, one.path, "the name has a character that it must not have");
			else
				target = target_read(&one, child->string);
			if (target == NULL)
			{
				free(one.path);
				continue;
			}
			(*maps)[config->ntargets++] = one;
			*last = target;
			last = &target->next;
		}
	}
	field_free(&field);
}

/* the target that a name means, and where it stands; NULL: a fault, which was said */
static Target *
find_target(Config *config, const Map *maps, const Field *name, const Map **map)
{
	int			i = 0;

	if (!cJSON_IsString(name->value))
	{
		reader_fault(name->reader, name->path, "must name a target");
		return NULL;
	}
	for (Target *target = config->targets; target != NULL; target = target->next, i++)
		if (strcmp(target->name, name->value->valuestring) == 0)
		{
			target->used = true;
			*map = &maps[i];
			return target;
		}
	/* one that is there but not valid was complained of already */
	if (name->reader->faults == 0)
		reader_fault(name->reader, name->path, "there is no target \"%s\"", name->value->valuestring);
	else
		name->reader->faults++;
	return NULL;
}

static Spec *
add_spec(Config *config, Target *target, const Map *map, bool alert)
{
	Spec	   *spec = spec_read(target, map, alert);

	spec->next = config->specs;
	config->specs = spec;
	return spec;
}

/* "NAME" or a mapping with "target" and what differs */
static Spec *
read_use(Config *config, const Map *maps, const Field *use, const char *const *extra, bool alert)
{
	Map			over = {use->reader, use->value, use->path, NULL};
	const Map  *base = NULL;
	Target	   *target;

	if (cJSON_IsObject(use->value))
	{
		Field		name = map_field(&over, "target");

		target = find_target(config, maps, &name, &base);
		field_free(&name);
	}
	else
		target = find_target(config, maps, use, &base);
	if (target == NULL)
		return NULL;
	if (!cJSON_IsObject(use->value))
		return add_spec(config, target, base, alert);
	over.base = base;
	spec_check_keys(&over, target->kind, extra);
	return add_spec(config, target, &over, alert);
}

static void
read_actions(Config *config, const Map *map, const Map *maps)
{
	static const char *const extra[] = {"target", "listen", NULL};
	Field		field = map_field(map, "actions");
	const cJSON *child;
	Action	  **last = &config->actions;

	if (field.value != NULL && !cJSON_IsObject(field.value))
		reader_fault(map->reader, field.path, "must be a mapping of actions to targets");
	else
		cJSON_ArrayForEach(child, field.value)
		{
			Field		use = {map->reader, child, reader_path(field.path, child->string)};
			Spec	   *spec = read_use(config, maps, &use, extra, false);

			if (spec != NULL)
			{
				Action	   *action = client_alloc(sizeof(Action));
				Map			own = {map->reader, child, use.path, NULL};

				action->name = client_strdup(child->string);
				action->spec = spec;
				action->channel = map_string(&own, "listen", NULL);
				if (action->channel != NULL && strlen(action->channel) > 63)
					reader_fault(map->reader, use.path, "the name of the channel is too long");
				else if (action->channel != NULL)
					add_channel(config, action->channel);
				*last = action;
				last = &action->next;
				config->nactions++;
			}
			field_free(&use);
		}
	field_free(&field);
}

static void
read_alerts(Config *config, const Map *map, const Map *maps)
{
	static const char *const extra[] = {"target", "state", NULL};
	Field		field = map_field(map, "alerts");

	if (field.value != NULL)
	{
		Map			own = {map->reader, field.value, field.path, NULL};

		config->alerts = read_use(config, maps, &field, extra, true);
		if (cJSON_IsObject(field.value))
			config->alert_state = map_string(&own, "state", NULL);
	}
	field_free(&field);
	if (config->nactions == 0 && config->alerts == NULL)
		reader_fault(map->reader, map->path, "there are neither actions nor alerts to deliver");
}

/* Targets that nothing goes to are checked as if tasks did. */
static void
check_unused(Config *config, const Map *maps)
{
	int			i = 0;

	for (Target *target = config->targets; target != NULL; target = target->next, i++)
		if (!target->used)
		{
			reader_warning(maps[i].reader, maps[i].path, "no action goes to this target");
			(void) add_spec(config, target, &maps[i], false);
		}
}

static Config *
read_all(Reader *reader, const cJSON *value)
{
	Config	   *config = client_alloc(sizeof(Config));
	Map			map = {reader, value, "", NULL};
	Map		   *maps;

	config->users = 1;
	map_check_keys(&map, config_keys);
	read_connection(config, &map);
	config->batch = map_integer(&map, "batch", 200, 1, 10000);
	config->lease = map_duration(&map, "lease", 0, 1, 86400);
	config->max_in_flight = map_integer(&map, "max_in_flight", 500, 1, 10000);
	config->drain_timeout = map_duration(&map, "drain_timeout", 30, 0, 86400);
	config->poll = map_duration(&map, "poll", 30, 0.1, 3600);
	read_channels(config, &map);
	read_metrics(config, &map);
	read_targets(config, &map, &maps);
	if (config->targets != NULL)
	{
		read_actions(config, &map, maps);
		read_alerts(config, &map, maps);
		check_unused(config, maps);
	}
	for (int i = 0; i < config->ntargets; i++)
		free(maps[i].path);
	free(maps);
	return config;
}

/* "line 3: ..." as "FILE:3: ..." */
static void
say_unreadable(const char *path, const char *error)
{
	int			line;
	int			end = 0;

	if (sscanf(error, "line %d: %n", &line, &end) == 1 && end > 0)
		client_error("%s:%d: %s", path, line, error + end);
	else
		client_error("%s: %s", path, error);
}

Config *
config_parse(const char *path, const char *text, size_t len)
{
	Reader		reader = {.file = path};
	Lines	   *lines = NULL;
	char	   *error = NULL;
	cJSON	   *value = document_parse(text, len, document_kind(path), &lines, &error);
	Config	   *config = NULL;

	if (value == NULL)
	{
		say_unreadable(path, error);
		free(error);
		return NULL;
	}
	reader.lines = lines;
	if (!cJSON_IsObject(value))
		reader_fault(&reader, "", "must be a mapping");
	else
		config = read_all(&reader, value);
	cJSON_Delete(value);
	lines_free(lines);
	text_free(&reader.said);
	if (reader.faults > 0)
	{
		config_release(config);
		return NULL;
	}
	return config;
}

Config *
config_read(const char *path)
{
	size_t		len;
	char	   *error = NULL;
	char	   *text = document_read(path, &len, &error);
	Config	   *config;

	if (text == NULL)
	{
		client_error("could not read \"%s\": %s", path, error);
		free(error);
		return NULL;
	}
	config = config_parse(path, text, len);
	free(text);
	return config;
}
