/*
 * statements.c
 *	  The SQL texts of the module whose words are fixed.
 *
 * Tables are named with their schema; operators and functions are found under
 * the search_path of plan.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "plan_private.h"

/* clang-format off */
const SfStatement sf_statements[SF_PLAN_COUNT] = {
	[SF_PLAN_SOPS] = {
		"SELECT s.sop_id, s.enabled, s.paused, s.owner::oid, s.subject_relation::oid,"
		" s.subject_key::text, v.version_id, v.definition->>'trigger_event'"
		" FROM sopflow.sop s"
		" LEFT JOIN LATERAL (SELECT v.version_id, v.definition FROM sopflow.sop_version v"
		"  WHERE v.sop_id = s.sop_id ORDER BY v.version DESC LIMIT 1) v ON true"
		" ORDER BY s.sop_id",
		true, 0, {0}
	},
	[SF_PLAN_EXITS] = {
		"SELECT DISTINCT v.sop_id, e.event"
		" FROM sopflow.sop_version v, jsonb_array_elements_text(v.definition->'exit_events') AS e(event)"
		" ORDER BY 1, 2",
		true, 0, {0}
	},
	[SF_PLAN_WAITS] = {
		"SELECT DISTINCT v.sop_id, n.node->>'wait_event'"
		" FROM sopflow.sop_version v, jsonb_array_elements(v.definition->'nodes') AS n(node)"
		" WHERE n.node->>'type' = 'wait' ORDER BY 1, 2",
		true, 0, {0}
	},
	[SF_PLAN_VERSION] = {
		"SELECT v.sop_id, v.version, v.definition FROM sopflow.sop_version v WHERE v.version_id = $1",
		true, 1, {INT4OID}
	},
	[SF_PLAN_VERSION_HEAD] = {
		"SELECT d.d->>'trigger_event', (d.d->>'parallel')::bool, d.d->>'delay_from', d.d->>'reentry',"
		" (d.d->>'skip_late_after')::interval, ARRAY(SELECT jsonb_array_elements_text(d.d->'exit_events')),"
		" (d.d->>'max_steps')::int, d.d->>'calendar', d.d->>'time_zone_column', d.d->>'search_path',"
		" jsonb_array_length(d.d->'nodes'), coalesce(jsonb_array_length(d.d->'links'), 0)"
		" FROM (VALUES ($1)) AS d(d)",
		true, 1, {JSONBOID}
	},
	[SF_PLAN_VERSION_NODES] = {
		"SELECT n.node->>'node_id', n.node->>'type', (n.node->>'delay')::interval, n.node->>'action',"
		" n.node->'params', n.node->>'next', (n.node->>'max_attempts')::int, n.node->>'on_failure',"
		" n.node->>'otherwise', n.node->>'condition', n.node->>'condition_rules', n.node->>'wait_event',"
		" n.node->>'sop_ref'"
		" FROM jsonb_array_elements($1->'nodes') WITH ORDINALITY AS n(node, ordinality) ORDER BY n.ordinality",
		true, 1, {JSONBOID}
	},
	[SF_PLAN_VERSION_LINKS] = {
		/* those of a node together: the rest relies on it */
		"SELECT l.link->>'from', l.link->>'to', l.link->>'condition'"
		" FROM jsonb_array_elements($1->'links') WITH ORDINALITY AS l(link, ordinality)"
		" ORDER BY 1, l.ordinality",
		true, 1, {JSONBOID}
	},
	[SF_PLAN_ACTIONS] = {
		"SELECT a.action_id, a.action, a.delivery, a.channel, a.handler, a.lease, a.timeout,"
		" a.max_attempts, a.backoff_base, a.backoff_factor, a.backoff_cap, a.jitter, a.alert_after,"
		" a.enabled, a.paused, a.owner::oid, a.search_path"
		" FROM sopflow.action a ORDER BY a.action_id",
		true, 0, {0}
	},
	[SF_PLAN_ACTION_GRANTS] = {
		"SELECT g.action, g.grantee::oid, g.privilege FROM sopflow.action_grant g ORDER BY 1, 2, 3",
		true, 0, {0}
	},
	[SF_PLAN_SOP_ROW] = {
		"SELECT s.enabled, s.exit_events, s.owner::oid, s.subject_relation::oid, s.subject_key::text"
		" FROM sopflow.sop s WHERE s.sop_id = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_SOP_BUILD] = {
		"SELECT jsonb_build_object('trigger_event', s.trigger_event, 'delay_from', s.delay_from,"
		" 'reentry', s.reentry, 'skip_late_after', s.skip_late_after, 'exit_events', to_jsonb(s.exit_events),"
		" 'max_steps', s.max_steps, 'parallel', NOT EXISTS (SELECT FROM sopflow.sop_node n"
		"  WHERE n.sop_id = s.sop_id AND (n.type <> 'delay' OR n.next IS NOT NULL OR n.otherwise IS NOT NULL))"
		"  AND NOT EXISTS (SELECT FROM sopflow.sop_link l WHERE l.sop_id = s.sop_id),"
		" 'nodes', coalesce((SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('node_id', n.node_id, 'type', n.type,"
		"  'delay', n.delay, 'action', n.action, 'next', n.next, 'max_attempts', n.max_attempts,"
		"  'on_failure', n.on_failure, 'otherwise', n.otherwise, 'condition', n.condition,"
		"  'condition_rules', n.condition_rules, 'wait_event', n.wait_event, 'sop_ref', n.sop_ref))"
		"  || jsonb_build_object('params', n.params) ORDER BY n.seq, n.node_id)"
		"  FROM sopflow.sop_node n WHERE n.sop_id = s.sop_id), '[]'))"
		/* only what is there: versions of plain SOPs do not depend on who edits them */
		" || jsonb_strip_nulls(jsonb_build_object('calendar', s.calendar, 'time_zone_column', s.time_zone_column,"
		"  'links', (SELECT jsonb_agg(jsonb_build_object('from', l.from_node, 'to', l.to_node,"
		"   'condition', l.condition) ORDER BY l.seq, l.from_node, l.to_node)"
		"   FROM sopflow.sop_link l WHERE l.sop_id = s.sop_id),"
		"  'search_path', CASE WHEN EXISTS (SELECT FROM sopflow.sop_node n WHERE n.sop_id = s.sop_id"
		"   AND (n.condition IS NOT NULL OR strpos(n.params::text, '{{') > 0))"
		"   OR EXISTS (SELECT FROM sopflow.sop_link l WHERE l.sop_id = s.sop_id AND l.condition IS NOT NULL)"
		"   THEN s.search_path END))"
		" FROM sopflow.sop s WHERE s.sop_id = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_SOP_REFS] = {
		"SELECT s.sop_id, s.owner::oid FROM sopflow.sop s WHERE s.sop_id = ANY ($1) ORDER BY s.sop_id",
		true, 1, {TEXTARRAYOID}
	},
	[SF_PLAN_SOP_REFS_LOCK] = {
		/* until we commit they are neither changed nor deleted: no cycle comes about behind us */
		"SELECT FROM sopflow.sop s WHERE s.sop_id = ANY ($1) ORDER BY s.sop_id FOR SHARE",
		false, 1, {TEXTARRAYOID}
	},
	[SF_PLAN_SOP_REF_CYCLE] = {
		"WITH RECURSIVE below(sop_id) AS (SELECT n.sop_ref FROM sopflow.sop_node n"
		"  WHERE n.sop_id = $1 AND n.type = 'sop'"
		"  UNION SELECT n.sop_ref FROM below b JOIN sopflow.sop_node n ON n.sop_id = b.sop_id"
		"  WHERE n.type = 'sop')"
		" SELECT FROM below b WHERE b.sop_id = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_SOP_USERS] = {
		"SELECT n.sop_id, n.node_id FROM sopflow.sop_node n JOIN sopflow.sop s USING (sop_id)"
		" WHERE n.sop_ref = $1 AND n.type = 'sop' AND s.enabled ORDER BY 1, 2 LIMIT 1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_SOP_PUBLISH] = {
		"INSERT INTO sopflow.sop_version (sop_id, version, definition, created_at)"
		" SELECT $1, coalesce(max(v.version), 0) + 1, $2, $3 FROM sopflow.sop_version v WHERE v.sop_id = $1"
		" HAVING $2 IS DISTINCT FROM (SELECT l.definition FROM sopflow.sop_version l"
		"  WHERE l.sop_id = $1 ORDER BY l.version DESC LIMIT 1)",
		false, 3, {TEXTOID, JSONBOID, TIMESTAMPTZOID}
	},
	[SF_PLAN_SOP_TOUCH] = {
		"UPDATE sopflow.sop SET revision = revision, search_path = coalesce($2, search_path)"
		" WHERE sop_id = $1 RETURNING owner::oid, search_path",
		false, 2, {TEXTOID, TEXTOID}
	},
	[SF_PLAN_SOP_TOUCHED] = {
		"SELECT s.owner::oid, s.search_path FROM sopflow.sop s WHERE s.sop_id = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_SOP_LOCK] = {
		"SELECT FROM sopflow.sop s WHERE s.sop_id = ANY ($1) FOR KEY SHARE",
		false, 1, {TEXTARRAYOID}
	},
	[SF_PLAN_SOP_NODES_DELETE] = {
		"WITH l AS (DELETE FROM sopflow.sop_link WHERE sop_id = $1)"
		" DELETE FROM sopflow.sop_node WHERE sop_id = $1",
		false, 1, {TEXTOID}
	},
	[SF_PLAN_SOP_RUNS] = {
		"SELECT FROM sopflow.run r WHERE r.sop_id = $1 LIMIT 1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_ACTION_USERS] = {
		"SELECT n.sop_id, n.node_id FROM sopflow.sop_node n JOIN sopflow.sop s USING (sop_id)"
		" WHERE n.action = $1 AND s.enabled ORDER BY 1, 2 LIMIT 1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_ACTION_LOCK] = {
		"SELECT a.action_id FROM sopflow.action a WHERE a.action = ANY ($1) ORDER BY a.action_id FOR KEY SHARE",
		false, 1, {TEXTARRAYOID}
	},
	[SF_PLAN_ACTION_GRANTS_DELETE] = {
		"DELETE FROM sopflow.action_grant WHERE action = $1",
		false, 1, {TEXTOID}
	},
	[SF_PLAN_CALENDAR] = {
		"SELECT c.time_zone, c.weekdays, c.opens, c.closes,"
		" ARRAY(SELECT h.day FROM sopflow.holiday h WHERE h.calendar = c.calendar AND isfinite(h.day) ORDER BY h.day)"
		" FROM sopflow.calendar c WHERE c.calendar = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_CALENDAR_OWNER] = {
		"SELECT c.owner::oid, c.xmin::text::int8 FROM sopflow.calendar c WHERE c.calendar = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_CALENDAR_TOUCH] = {
		"UPDATE sopflow.calendar SET revision = revision WHERE calendar = $1 RETURNING owner::oid",
		false, 1, {TEXTOID}
	},
	[SF_PLAN_CALENDAR_LOCK] = {
		"SELECT FROM sopflow.calendar c WHERE c.calendar = $1 FOR KEY SHARE",
		false, 1, {TEXTOID}
	},
	[SF_PLAN_CALENDAR_USERS] = {
		"SELECT s.sop_id FROM sopflow.sop s WHERE s.calendar = $1 AND s.enabled ORDER BY 1 LIMIT 1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_CALENDAR_RUNS] = {
		"SELECT v.sop_id FROM sopflow.sop_version v WHERE v.definition->>'calendar' = $1"
		" AND EXISTS (SELECT FROM sopflow.run r WHERE r.version_id = v.version_id) ORDER BY 1 LIMIT 1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_HOLIDAYS_DELETE] = {
		"DELETE FROM sopflow.holiday WHERE calendar = $1",
		false, 1, {TEXTOID}
	},
	[SF_PLAN_HOLD_SET] = {
		"INSERT INTO sopflow.hold SELECT $1, 'restored from a dump' WHERE NOT EXISTS (SELECT FROM sopflow.hold)",
		false, 1, {TIMESTAMPTZOID}
	},
	[SF_PLAN_RULE_SET_ROW] = {
		"SELECT s.revision, s.param_revision, s.enabled, s.owner::oid, s.search_path, s.skip_on_first_applied,"
		" s.skip_on_first_failed, s.skip_on_first_non_triggered, s.priority_threshold, s.denials, s.on_error,"
		" s.inference, s.max_steps, s.trace, s.order_by, s.param_scopes, s.before_fire, s.after_fire,"
		" s.before_evaluate, s.after_evaluate, s.on_success, s.on_failure"
		" FROM sopflow.rule_set s WHERE s.rule_set = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_SET_REVISION] = {
		"SELECT s.revision, s.param_revision FROM sopflow.rule_set s WHERE s.rule_set = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_FACTS] = {
		"SELECT f.fact::text, f.type::oid, f.query, f.missing"
		" FROM sopflow.rule_fact f WHERE f.rule_set = $1 ORDER BY f.seq, f.fact",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_QUOTAS] = {
		"SELECT q.quota::text, q.query, q.lock_key FROM sopflow.rule_quota q WHERE q.rule_set = $1 ORDER BY q.quota",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_PARAMS] = {
		"SELECT p.param::text, p.type::oid, p.value, (SELECT count(*) FROM sopflow.rule_param_override o"
		"  WHERE o.rule_set = p.rule_set AND o.param = p.param)::int"
		" FROM sopflow.rule_param p WHERE p.rule_set = $1 ORDER BY p.param",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_OVERRIDES] = {
		"SELECT o.param::text, o.scope, o.value FROM sopflow.rule_param_override o"
		" WHERE o.rule_set = $1 ORDER BY o.param, o.scope",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_GROUPS] = {
		"SELECT g.rule_group, g.kind, g.priority, g.parent FROM sopflow.rule_group g"
		" WHERE g.rule_set = $1 ORDER BY g.rule_group",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULES] = {
		"SELECT r.rule, r.rule_id, r.priority, r.condition, r.actions, r.rule_group, r.valid, r.seq"
		" FROM sopflow.rule r WHERE r.rule_set = $1 AND r.enabled ORDER BY r.seq",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_GRANTS] = {
		"SELECT g.grantee::oid FROM sopflow.rule_grant g WHERE g.rule_set = $1 ORDER BY 1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_GUARDED] = {
		/* the relation itself, or one that it is a partition of */
		"SELECT FROM sopflow.guarded g WHERE g.rule_set = $2 AND (g.relation = $1"
		" OR g.relation IN (SELECT a.relid FROM pg_partition_ancestors($1) a))",
		true, 2, {OIDOID, TEXTOID}
	},
	[SF_PLAN_RULE_SET_OWNER] = {
		"SELECT s.owner::oid FROM sopflow.rule_set s WHERE s.rule_set = $1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_SET_TOUCH] = {
		"UPDATE sopflow.rule_set SET revision = revision WHERE rule_set = $1 RETURNING owner::oid",
		false, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_SET_LOCK] = {
		"SELECT FROM sopflow.rule_set s WHERE s.rule_set = $1 FOR KEY SHARE",
		false, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_SET_GUARDS] = {
		"SELECT g.relation::text FROM sopflow.guarded g WHERE g.rule_set = $1 ORDER BY 1 LIMIT 1",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_SET_CLEAR] = {
		"WITH a AS (DELETE FROM sopflow.rule_fact WHERE rule_set = $1),"
		" b AS (DELETE FROM sopflow.rule_quota WHERE rule_set = $1),"
		" c AS (DELETE FROM sopflow.rule_param_override WHERE rule_set = $1),"
		" d AS (DELETE FROM sopflow.rule_param WHERE rule_set = $1),"
		" e AS (DELETE FROM sopflow.rule_group WHERE rule_set = $1),"
		" f AS (DELETE FROM sopflow.rule_grant WHERE rule_set = $1)"
		" DELETE FROM sopflow.rule WHERE rule_set = $1",
		false, 1, {TEXTOID}
	},
	[SF_PLAN_RULE_PARAM_EXISTS] = {
		"SELECT FROM sopflow.rule_param p WHERE p.rule_set = $1 AND p.param = $2",
		true, 2, {TEXTOID, NAMEOID}
	},
	[SF_PLAN_RULE_OVERRIDES_DELETE] = {
		"DELETE FROM sopflow.rule_param_override WHERE rule_set = $1 AND param = $2",
		false, 2, {TEXTOID, NAMEOID}
	},
	[SF_PLAN_RULE_OVERRIDES_MOVE] = {
		"UPDATE sopflow.rule_param_override SET rule_set = $3, param = $4 WHERE rule_set = $1 AND param = $2",
		false, 4, {TEXTOID, NAMEOID, TEXTOID, NAMEOID}
	},
	[SF_PLAN_WATCHES] = {
		"SELECT w.event, w.subject_key::text, w.context::text[], w.condition, w.time_column::text,"
		" w.on_error, w.search_path"
		" FROM sopflow.watched w WHERE w.relation = $1 ORDER BY w.event",
		true, 1, {OIDOID}
	},
	[SF_PLAN_WATCH_SET] = {
		"INSERT INTO sopflow.watched (relation, event, subject_key, context, condition, time_column,"
		" on_error, on_replica, search_path, condition_tree, attnums)"
		" SELECT $1, $2, $3, $4::name[], $5, $6, $7, $8, $9, $10, (SELECT array_agg(coalesce(a.attnum, 0) ORDER BY c.ord)"
		"  FROM unnest(ARRAY[$3, $6] || $4::name[]) WITH ORDINALITY AS c(name, ord)"
		"  LEFT JOIN pg_attribute a ON a.attrelid = $1 AND a.attname = c.name AND a.attnum > 0)"
		" ON CONFLICT (relation, event) DO UPDATE SET subject_key = excluded.subject_key,"
		" context = excluded.context, condition = excluded.condition, time_column = excluded.time_column,"
		" on_error = excluded.on_error, on_replica = excluded.on_replica,"
		" search_path = excluded.search_path, condition_tree = excluded.condition_tree,"
		" attnums = excluded.attnums",
		false, 10, {OIDOID, TEXTOID, NAMEOID, TEXTARRAYOID, TEXTOID, NAMEOID, TEXTOID, BOOLOID,
		TEXTOID, TEXTOID}
	},
	[SF_PLAN_WATCH_DELETE] = {
		"DELETE FROM sopflow.watched WHERE relation = $1 AND event = $2",
		false, 2, {OIDOID, TEXTOID}
	},
	[SF_PLAN_WATCH_LEFT] = {
		"SELECT bool_or(w.on_replica) FROM sopflow.watched w WHERE w.relation = $1 HAVING count(*) > 0",
		true, 1, {OIDOID}
	},
	[SF_PLAN_GUARD_FACTS] = {
		"SELECT f.fact::text, f.type::oid, f.query IS NOT NULL"
		" FROM sopflow.rule_fact f WHERE f.rule_set = $1 ORDER BY f.seq, f.fact",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_GUARD_RELATED] = {
		/* ancestors and partitions that are held to the same set */
		"SELECT r.relation, r.above FROM (SELECT g.relation::oid AS relation,"
		" EXISTS (SELECT FROM pg_partition_ancestors($1) a WHERE a.relid = g.relation) AS above,"
		" EXISTS (SELECT FROM pg_partition_ancestors(g.relation) a WHERE a.relid = $1) AS below"
		" FROM sopflow.guarded g WHERE g.rule_set = $2 AND g.relation <> $1) r"
		" WHERE r.above OR r.below ORDER BY 2 DESC, 1 LIMIT 1",
		true, 2, {REGCLASSOID, TEXTOID}
	},
	[SF_PLAN_GUARD_SET] = {
		"INSERT INTO sopflow.guarded (relation, rule_set, columns, relation_owner, rule_set_owner)"
		" VALUES ($1, $2, $3, $4, $5)"
		" ON CONFLICT (relation, rule_set) DO UPDATE SET columns = excluded.columns,"
		" relation_owner = excluded.relation_owner, rule_set_owner = excluded.rule_set_owner",
		false, 5, {OIDOID, TEXTOID, NAMEARRAYOID, OIDOID, OIDOID}
	},
	[SF_PLAN_GUARD_DELETE] = {
		"DELETE FROM sopflow.guarded WHERE relation = $1 AND rule_set = $2",
		false, 2, {OIDOID, TEXTOID}
	},
	[SF_PLAN_GUARD_TRIGGERS] = {
		"SELECT t.tgname::text FROM pg_trigger t"
		" WHERE t.tgrelid = $1 AND t.tgfoid = 'sopflow.enforce()'::regprocedure AND t.tgparentid = 0"
		" AND starts_with(t.tgname::text, '~sopflow_guard_')"
		" AND t.tgargs = convert_to($2, getdatabaseencoding()) || E'\\\\x00'::bytea ORDER BY 1",
		true, 2, {OIDOID, TEXTOID}
	},
	[SF_PLAN_GUARD_LATER] = {
		"SELECT l.later::text, l.later_relation::oid, l.rule_set, l.events, l.later_rule_set"
		" FROM sopflow.guard_later l"
		" WHERE l.relation = $1 AND (l.rule_set = $2 OR l.later_rule_set = $2) ORDER BY 2, 1, 3",
		true, 2, {OIDOID, TEXTOID}
	},
	[SF_PLAN_GUARD_OPEN] = {
		"SELECT sopflow.open_guards()",
		false, 0, {0}
	},
	[SF_PLAN_ALERT] = {
		"INSERT INTO sopflow.alert (raised_at, kind, action, sop_id, task_id, message)"
		" VALUES ($1, $2, $3, $4, $5, $6)",
		false, 6, {TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID}
	},
	[SF_PLAN_ALERTS_UNSENT] = {
		/* names have 200 characters at most, and JSON makes six bytes of some */
		"SELECT a.alert_id, (SELECT p.payload FROM (VALUES (1500), (150)) AS l(characters),"
		" LATERAL (SELECT jsonb_build_object('v', 1, 'type', 'alert', 'alert_id', a.alert_id, 'kind', a.kind,"
		" 'action', a.action, 'sop', a.sop_id, 'task_id', a.task_id, 'message', left(a.message, l.characters),"
		" 'raised_at', a.raised_at)::text AS payload) p"
		" WHERE octet_length(p.payload) <= 7999 ORDER BY l.characters DESC LIMIT 1)"
		" FROM sopflow.alert a WHERE a.sent_at IS NULL ORDER BY a.alert_id LIMIT 1000 FOR UPDATE SKIP LOCKED",
		false, 0, {0}
	},
	[SF_PLAN_ALERTS_SENT] = {
		"UPDATE sopflow.alert SET sent_at = $1 WHERE alert_id = ANY ($2)",
		false, 2, {TIMESTAMPTZOID, INT8ARRAYOID}
	},
	[SF_PLAN_FAILURE] = {
		"INSERT INTO sopflow.action_state AS s (action_id, failures, alerted)"
		" VALUES ($1, $2, coalesce($2 >= $3, false))"
		" ON CONFLICT (action_id) DO UPDATE SET failures = s.failures + excluded.failures,"
		" alerted = s.alerted OR coalesce(s.failures + excluded.failures >= $3, false)"
		" RETURNING failures, failures >= $3 AND failures - $2 < $3",
		false, 3, {INT4OID, INT4OID, INT4OID}
	},
	[SF_PLAN_SUCCESS] = {
		"DELETE FROM sopflow.action_state WHERE action_id = $1",
		false, 1, {INT4OID}
	},
	[SF_PLAN_RUNS_OF] = {
		"SELECT r.run_id FROM sopflow.run r"
		" WHERE ($1 IS NULL OR r.subject_id = $1) AND ($2 IS NULL OR r.sop_id = $2)"
		" AND ($3 IS NULL OR r.run_id = $3) ORDER BY r.run_id",
		true, 3, {TEXTOID, TEXTOID, INT8OID}
	},
	[SF_PLAN_HELD_BY_SOP] = {
		"SELECT h.task_id FROM sopflow.held h JOIN sopflow.sop_version v USING (version_id)"
		" WHERE h.held_by = 'sop' AND v.sop_id = $1 ORDER BY h.task_id",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_HELD_BY_ACTION] = {
		"SELECT h.task_id FROM sopflow.held h JOIN sopflow.sop_version v USING (version_id)"
		" WHERE h.held_by = 'action' AND v.definition->'nodes'->h.node->>'action' = $1 ORDER BY h.task_id",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_OFFERED_OF_SOP] = {
		"SELECT o.task_id FROM sopflow.offer o JOIN sopflow.sop_version v USING (version_id)"
		" WHERE o.lease_token = 0 AND v.sop_id = $1 ORDER BY o.task_id",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_OFFERED_OF_ACTION] = {
		"SELECT o.task_id FROM sopflow.offer o JOIN sopflow.action a USING (action_id)"
		" WHERE o.lease_token = 0 AND a.action = $1 ORDER BY o.task_id",
		true, 1, {TEXTOID}
	},
	[SF_PLAN_DEAD_IDS] = {
		"SELECT d.task_id FROM sopflow.dead d JOIN sopflow.sop_version v USING (version_id)"
		" WHERE ($1 IS NULL OR v.definition->'nodes'->d.node->>'action' = $1)"
		" AND (d.task_id = ANY ($2) OR $2 IS NULL AND NOT EXISTS (SELECT FROM sopflow.run_history h"
		"  WHERE h.run_id = d.task_id >> 16 AND h.state IN ('cancelled', 'exited'))"
		/* a node whose SOP failed goes on with the dead task of that, not with another run of it */
		"  AND NOT EXISTS (SELECT FROM sopflow.dead x JOIN sopflow.run_history h ON h.run_id = x.task_id >> 16"
		"   WHERE h.parent_task = d.task_id)) ORDER BY d.task_id",
		true, 2, {TEXTOID, INT8ARRAYOID}
	},
	[SF_PLAN_RUN_REVIVE] = {
		/*
		 * as the part of another run that it was, where the task of that is
		 * dead, else in the place of the one active run, unless another has it
		 */
		"WITH d AS (DELETE FROM sopflow.run_history h WHERE h.run_id = $1 RETURNING h.*), c AS"
		" (INSERT INTO sopflow.run (run_id, event_at, started_at, slot, version_id, sop_id, subject_id, context)"
		" SELECT run_id, event_at, started_at, -parent_task, version_id, sop_id, subject_id, context FROM d"
		" WHERE EXISTS (SELECT FROM sopflow.dead x WHERE x.task_id = d.parent_task)"
		" ON CONFLICT (subject_id, sop_id, slot) DO NOTHING RETURNING 1), i AS"
		" (INSERT INTO sopflow.run (run_id, event_at, started_at, slot, version_id, sop_id, subject_id, context)"
		" SELECT run_id, event_at, started_at, 0, version_id, sop_id, subject_id, context FROM d"
		" WHERE d.parent_task IS NULL"
		" AND (SELECT v.definition->>'reentry' FROM sopflow.sop_version v WHERE v.version_id = d.version_id) <> 'allow'"
		" ON CONFLICT (subject_id, sop_id, slot) DO NOTHING RETURNING 1), j AS"
		" (INSERT INTO sopflow.run (run_id, event_at, started_at, slot, version_id, sop_id, subject_id, context)"
		" SELECT run_id, event_at, started_at, run_id, version_id, sop_id, subject_id, context FROM d"
		" WHERE NOT EXISTS (SELECT FROM c) AND NOT EXISTS (SELECT FROM i))"
		" SELECT FROM d",
		false, 1, {INT8OID}
	},
	[SF_PLAN_STATE_READ] = {
		"SELECT s.state FROM sopflow.run_state s WHERE s.run_id = $1",
		true, 1, {INT8OID}
	},
	[SF_PLAN_STATE_WRITE] = {
		"INSERT INTO sopflow.run_state (run_id, state) VALUES ($1, $2)"
		" ON CONFLICT (run_id) DO UPDATE SET state = EXCLUDED.state",
		false, 2, {INT8OID, JSONBOID}
	},
	[SF_PLAN_STATE_DELETE] = {
		/* what the run went on without may be redriven, and the run with it */
		"DELETE FROM sopflow.run_state WHERE run_id = $1 AND NOT state ? 'passed'",
		false, 1, {INT8OID}
	},
	[SF_PLAN_LAST_STEP] = {
		/* max_steps is 60000 at most; what is above is no task */
		"SELECT (max(t.task_id) & 65535)::int FROM"
		" (SELECT max(task_id) FROM sopflow.task WHERE task_id BETWEEN $1 << 16 AND ($1 << 16) + 60000"
		" UNION ALL SELECT max(task_id) FROM sopflow.held WHERE task_id BETWEEN $1 << 16 AND ($1 << 16) + 60000"
		" UNION ALL SELECT max(task_id) FROM sopflow.offer WHERE task_id BETWEEN $1 << 16 AND ($1 << 16) + 60000"
		" UNION ALL SELECT max(task_id) FROM sopflow.dead WHERE task_id BETWEEN $1 << 16 AND ($1 << 16) + 60000"
		" UNION ALL SELECT max(task_id) FROM sopflow.history WHERE task_id BETWEEN $1 << 16 AND ($1 << 16) + 60000)"
		" t(task_id)",
		true, 1, {INT8OID}
	},
	[SF_PLAN_TASK_OF] = {
		"SELECT t.version_id, t.node FROM"
		" (SELECT version_id, node FROM sopflow.task WHERE task_id = $1"
		" UNION ALL SELECT version_id, node FROM sopflow.held WHERE task_id = $1"
		" UNION ALL SELECT version_id, node FROM sopflow.offer WHERE task_id = $1"
		" UNION ALL SELECT version_id, node FROM sopflow.dead WHERE task_id = $1"
		" UNION ALL SELECT version_id, node FROM sopflow.history WHERE task_id = $1) t LIMIT 1",
		true, 1, {INT8OID}
	},
	[SF_PLAN_ENDED_RUN] = {
		/* what an ended run remembered is gone: the events that answered it are in its history */
		"SELECT r.event_at, r.started_at, r.sop_id, r.subject_id, r.context, NULL::jsonb"
		" FROM sopflow.run r WHERE r.run_id = $1"
		" UNION ALL SELECT r.event_at, r.started_at, r.sop_id, r.subject_id, r.context,"
		" coalesce((SELECT jsonb_object_agg(h.result->>'event', h.result->'context' ORDER BY h.finished_at)"
		"  FROM sopflow.history h WHERE h.task_id BETWEEN r.run_id << 16 AND (r.run_id << 16) + 65535"
		"  AND jsonb_typeof(h.result->'event') = 'string' AND h.result ? 'context'), '{}')"
		" FROM sopflow.run_history r WHERE r.run_id = $1 LIMIT 1",
		true, 1, {INT8OID}
	},
	[SF_PLAN_PAUSE_SOP] = {
		"UPDATE sopflow.sop SET paused = $2 WHERE sop_id = $1",
		false, 2, {TEXTOID, BOOLOID}
	},
	[SF_PLAN_PAUSE_ACTION] = {
		"UPDATE sopflow.action SET paused = $2 WHERE action = $1",
		false, 2, {TEXTOID, BOOLOID}
	},
};

/* clang-format on */
