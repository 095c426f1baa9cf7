-- What can be seen of the work: counters, actions, health, metrics.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
RESET client_min_messages;
SET sopflow.clock = '2030-01-01 12:00:00+00';
SET timezone = 'UTC';
SELECT sopflow.reset_stats();
SELECT count(*) FROM sopflow.stats WHERE value <> 0;

CREATE FUNCTION operate_ok(w sopflow.work) RETURNS jsonb LANGUAGE sql AS 'SELECT ''{}''::jsonb';
CREATE FUNCTION operate_bad(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'it does not work'; END $$;
BEGIN;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts, backoff_base, jitter) VALUES
	('OPERATE_OK', 'call', 'public.operate_ok', 1, '1 min', 0),
	('OPERATE_BAD', 'call', 'public.operate_bad', 2, '1 min', 0),
	(E'OPERATE "\\"\nQUEUE', 'queue', NULL, 1, '1 min', 0);
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES
	('operate', 'OPERATE'), ('operate queue', 'OPERATE'), ('operate later', 'OPERATE_LATER');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay, on_failure) VALUES
	('operate', 'ok', 'OPERATE_OK', '0', 'continue'),
	('operate', 'bad', 'OPERATE_BAD', '0', 'continue'),
	('operate queue', 'queue', E'OPERATE "\\"\nQUEUE', '0', 'continue'),
	('operate later', 'ok', 'OPERATE_OK', '1 hour', 'continue');
COMMIT;

SELECT sopflow.emit('OPERATE', 'a'), sopflow.emit('OPERATE', 'b'), sopflow.emit('NOBODY_LISTENS', 'c');
SET sopflow.clock = '2030-01-01 12:00:02+00';
SELECT sopflow.run_due();
SELECT name, value FROM sopflow.stats
WHERE value <> 0 AND name NOT LIKE 'dispatch%' AND name <> 'passes' ORDER BY name COLLATE "C";
SELECT name, round(value) FROM sopflow.stats WHERE name LIKE 'dispatch%' ORDER BY name COLLATE "C";
SELECT action, done, failed, dead, success_ratio, avg_ms > 0 AS timed FROM sopflow.action_stats ORDER BY action COLLATE "C";

-- the last attempt
SET sopflow.clock = '2030-01-01 12:03:00+00';
SELECT sopflow.run_due();
SELECT action, done, failed, dead, success_ratio FROM sopflow.action_stats ORDER BY action COLLATE "C";

-- everything that is wrong now
SELECT severity, code, message, hint FROM sopflow.health
WHERE code = 'dead_tasks' OR message LIKE '%OPERATE%' ORDER BY 1, 2, 3;
SELECT code, hint FROM sopflow.health WHERE code = 'no_worker';
SELECT sopflow.pause('operate'), sopflow.pause_action('OPERATE_OK');
SELECT sopflow.emit('OPERATE_LATER', 'd');
SET sopflow.clock = '2030-01-01 14:00:00+00';
SELECT severity, message FROM sopflow.health WHERE code IN ('overdue', 'sop_paused', 'action_paused') ORDER BY 1, 2;
SELECT sopflow.run_due();
SELECT severity, message FROM sopflow.health WHERE code IN ('overdue', 'sop_paused', 'action_paused') ORDER BY 1, 2;
SELECT sopflow.resume('operate'), sopflow.resume_action('OPERATE_OK');
SELECT sopflow.run_due();
SELECT count(*) FROM sopflow.health WHERE code IN ('overdue', 'sop_paused', 'action_paused');

-- the text form: every family has HELP and TYPE, every other line a value
SELECT line FROM regexp_split_to_table(rtrim(sopflow.metrics(), E'\n'), E'\n') AS line
WHERE line ~ '^(# .*)?sopflow_(tasks_(done|dead)|action_attempts|workers|launcher)';
SELECT count(*) FROM regexp_split_to_table(rtrim(sopflow.metrics(), E'\n'), E'\n') AS line
WHERE line !~ '^# (HELP sopflow_\w+ .+|TYPE sopflow_\w+ (counter|gauge|summary))$'
	AND line !~ '^sopflow_\w+(\{\w+="([^"\\]|\\[\\"n])*"(,\w+="([^"\\]|\\[\\"n])*")*\})? [-+.e0-9]+$';

SELECT sopflow.reset_stats();
SELECT count(*) FROM sopflow.stats WHERE value <> 0;
SELECT count(*) FROM sopflow.action_stats;

-- no pg_cron here
SELECT sopflow.use_pg_cron('*/5 * * * *');
SELECT sopflow.stop_pg_cron();

-- nothing of this is open to everybody
CREATE ROLE regress_operate_nobody;
SET ROLE regress_operate_nobody;
SELECT * FROM sopflow.stats;
RESET ROLE;
GRANT USAGE ON SCHEMA sopflow TO regress_operate_nobody;
SET ROLE regress_operate_nobody;
SELECT * FROM sopflow.stats;
SELECT * FROM sopflow.health;
SELECT sopflow.metrics();
SELECT sopflow.reset_stats();
SELECT sopflow.use_pg_cron();
RESET ROLE;

REVOKE USAGE ON SCHEMA sopflow FROM regress_operate_nobody;
DROP ROLE regress_operate_nobody;
SELECT sopflow.cancel(sop_id => 'operate queue');
DELETE FROM sopflow.dead;
-- what they raised
DELETE FROM sopflow.alert WHERE action LIKE 'OPERATE%';
DELETE FROM sopflow.sop WHERE sop_id LIKE 'operate%';
DELETE FROM sopflow.action WHERE action LIKE 'OPERATE%';
DROP FUNCTION operate_ok, operate_bad;
