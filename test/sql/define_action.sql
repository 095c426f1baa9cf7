-- Actions: handlers are checked when written and kept qualified, intervals are
-- finite and positive, superuser-owned actions call only superusers' functions.
\pset format unaligned
\pset tuples_only on
SET intervalstyle = 'postgres';
CREATE SCHEMA da;
CREATE ROLE da_author;
CREATE ROLE da_other;
GRANT USAGE, CREATE ON SCHEMA da TO da_author, da_other;
GRANT USAGE ON SCHEMA sopflow TO da_other;
SELECT sopflow.grant_author('da_author');
CREATE FUNCTION da.good(sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION da.wrong_result(sopflow.work) RETURNS text LANGUAGE sql AS $$ SELECT '{}' $$;
CREATE FUNCTION da.wrong_set(sopflow.work) RETURNS SETOF jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION da.wrong_argument(bigint) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE FUNCTION da.wrong_two(sopflow.work, int) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE PROCEDURE da.wrong_procedure(sopflow.work) LANGUAGE sql AS $$ SELECT $$;

INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'da.nothing');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'nowhere.nothing');
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'da.wrong_argument');
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'da.wrong_two');
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'da.wrong_result');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'da.wrong_set');
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'da.wrong_procedure');
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', '');
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'good');
\set VERBOSITY terse
INSERT INTO sopflow.action (action, delivery) VALUES ('da', 'call');
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'queue', 'da.good');
INSERT INTO sopflow.action (action, delivery) VALUES ('da', 'mail');
INSERT INTO sopflow.action (action) VALUES ('');
INSERT INTO sopflow.action (action) VALUES (NULL);
INSERT INTO sopflow.action (action, channel) VALUES ('da', '');
INSERT INTO sopflow.action (action, channel) VALUES ('da', repeat('x', 64));
INSERT INTO sopflow.action (action, channel) VALUES ('da', repeat(U&'\00e9', 32));
INSERT INTO sopflow.action (action, max_attempts) VALUES ('da', 0);
INSERT INTO sopflow.action (action, jitter) VALUES ('da', 1.5);
INSERT INTO sopflow.action (action, jitter) VALUES ('da', 'NaN');
INSERT INTO sopflow.action (action, backoff_factor) VALUES ('da', 0.5);
INSERT INTO sopflow.action (action, backoff_factor) VALUES ('da', 'infinity');
INSERT INTO sopflow.action (action, lease) VALUES ('da', '0');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sopflow.action (action, lease) VALUES ('da', '-1s');
INSERT INTO sopflow.action (action, timeout) VALUES ('da', '1 day -1 hour');
INSERT INTO sopflow.action (action, backoff_base) VALUES ('da', '-1 month 40 days');
INSERT INTO sopflow.action (action, backoff_cap) VALUES ('da', '150 years');
INSERT INTO sopflow.action (action, lease) VALUES ('da', NULL);
\set VERBOSITY default

-- A handler's name is resolved under the writer's path and stored qualified.
SET search_path = da, public;
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da', 'call', 'good');
RESET search_path;
SELECT action, handler, search_path FROM sopflow.action WHERE action = 'da';
-- An action whose function is gone can still be paused and edited, and not be given another that is not there.
ALTER FUNCTION da.good RENAME TO better;
SELECT sopflow.pause_action('da');
UPDATE sopflow.action SET description = 'x' WHERE action = 'da';
UPDATE sopflow.action SET handler = 'da.best' WHERE action = 'da';
UPDATE sopflow.action SET handler = 'da.better' WHERE action = 'da';
SELECT sopflow.resume_action('da');
SELECT handler, paused, revision FROM sopflow.action WHERE action = 'da';

-- Whose function runs as whom.
SET ROLE da_other;
CREATE FUNCTION da.of_other(sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
RESET ROLE;
-- a superuser's action would run it as a superuser
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da2', 'call', 'da.of_other');
\echo :LAST_ERROR_SQLSTATE
UPDATE sopflow.action SET handler = 'da.of_other' WHERE action = 'da';
SET ROLE da_author;
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da2', 'call', 'da.of_other') RETURNING handler, owner;
RESET ROLE;
UPDATE sopflow.action SET owner = 'postgres' WHERE action = 'da2';
REVOKE EXECUTE ON FUNCTION da.of_other FROM PUBLIC;
SET ROLE da_author;
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('da3', 'call', 'da.of_other');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

DELETE FROM sopflow.action WHERE action LIKE 'da%';
DROP OWNED BY da_author, da_other;
DROP ROLE da_author, da_other;
\set VERBOSITY terse
DROP SCHEMA da CASCADE;
