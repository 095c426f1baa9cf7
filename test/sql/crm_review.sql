-- The CRM pack against names, tables, triggers and rules that mean no good.
-- The functions look leads up in a schema that may be anybody's.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SET sopflow.clock = '2026-03-02 09:00+00';
SET timezone = 'UTC';
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT sopflow.create_crm('rv');
INSERT INTO rv.sales_reps (name) VALUES ('A'), ('B');
INSERT INTO rv.opportunities (category) SELECT 'x' FROM generate_series(1, 6);

-- --- an operation is what its own statement does ---
CREATE ROLE rv_thief;
GRANT USAGE ON SCHEMA sopflow, rv TO rv_thief;
GRANT SELECT, UPDATE, DELETE ON rv.opportunities TO rv_thief;
GRANT SELECT ON rv.sales_reps TO rv_thief;
CREATE SCHEMA rv_own AUTHORIZATION rv_thief;
SELECT opportunity_id, ok, code FROM rv.claim('{3}', 2);
SELECT opportunity_id, ok, code FROM rv.release('{3}');
SET ROLE rv_thief;
CREATE TABLE rv_own.opportunities (opportunity_id bigint, owner_id bigint, status text, minor_status text, frozen_until timestamptz,
	locked text, last_contact_at timestamptz);
CREATE TABLE rv_own.opportunity_log (
	log_id bigint GENERATED ALWAYS AS IDENTITY, logged_at timestamptz, opportunity_id bigint, operation text, operation_type text, ok bool,
	code text, message text, from_owner bigint, to_owner bigint, from_status text, to_status text, minor_status text, operator text, event text,
	reason_type text, reason text, rules text[], details text);
INSERT INTO rv_own.opportunities VALUES (1, 2, 'BIND');
CREATE TABLE rv_own.sales_reps (rep_id bigint);
INSERT INTO rv_own.sales_reps VALUES (2);
-- contacts write leads two levels of triggers down; so does this one
CREATE TABLE rv_own.contacts (opportunity_id bigint, rep_id bigint, contacted_at timestamptz, note text, kind text);
CREATE FUNCTION rv_own.take() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE rv.opportunities SET owner_id = 2 WHERE opportunity_id = NEW.note::int;
	RETURN NULL;
END
$$;
CREATE TRIGGER take AFTER INSERT ON rv_own.contacts FOR EACH ROW EXECUTE FUNCTION rv_own.take();
SELECT ok, code FROM sopflow.crm_log_contact('rv_own', 1, 2, 'call', '3');
-- and a rule of a view writes at the level of the view's row
DROP TABLE rv_own.opportunities;
CREATE VIEW rv_own.opportunities AS SELECT opportunity_id, NULL::bigint AS owner_id, status, minor_status, frozen_until FROM rv.opportunities;
CREATE RULE take AS ON UPDATE TO rv_own.opportunities DO INSTEAD
	UPDATE rv.opportunities SET owner_id = 2 WHERE opportunity_id = OLD.opportunity_id
	RETURNING opportunity_id, owner_id, status, minor_status, frozen_until;
SELECT ok, code FROM sopflow.crm_freeze('rv_own', '{3}', 'infinity');
RESET ROLE;
SELECT owner_id, acquired_by FROM rv.opportunities WHERE opportunity_id = 3;
-- a delete is no release
SELECT ok FROM rv.claim('{4}', 2);
SET ROLE rv_thief;
DROP VIEW rv_own.opportunities;
CREATE VIEW rv_own.opportunities AS SELECT opportunity_id, owner_id, status, minor_status, frozen_until FROM rv.opportunities;
CREATE RULE take AS ON UPDATE TO rv_own.opportunities DO INSTEAD
	DELETE FROM rv.opportunities WHERE opportunity_id = OLD.opportunity_id RETURNING opportunity_id, owner_id, status, minor_status, frozen_until;
SELECT ok, code FROM sopflow.crm_release('rv_own', '{4}');
RESET ROLE;
SELECT operation, event, from_owner, to_owner FROM rv.opportunity_log WHERE opportunity_id = 4 ORDER BY log_id DESC LIMIT 1;

-- --- functions with the rights of their owner are triggers of the pack's tables only ---
SET ROLE rv_thief;
CREATE TABLE rv_own.inserted (opportunity_id bigint, rep_id bigint, owner_id bigint, category text, kind text, contacted_at timestamptz);
CREATE TRIGGER note AFTER INSERT ON rv_own.inserted FOR EACH ROW EXECUTE FUNCTION rv.note_contact();
CREATE TRIGGER assign AFTER INSERT ON rv_own.inserted REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION rv.assign_new();
CREATE TRIGGER log AFTER INSERT ON rv_own.inserted FOR EACH ROW EXECUTE FUNCTION sopflow.crm_log('rv');
ALTER TABLE rv_own.inserted ADD status text, ADD minor_status text;
INSERT INTO rv_own.inserted (opportunity_id, owner_id) VALUES (1, 1);
RESET ROLE;

-- --- columns of other types ---
SET ROLE rv_thief;
DROP VIEW rv_own.opportunities;
CREATE TABLE rv_own.opportunities (opportunity_id bigint, owner_id bigint, status int, frozen_until timestamptz);
INSERT INTO rv_own.opportunities VALUES (1, 1, 7);
SELECT ok, code FROM sopflow.crm_release('rv_own', '{1}');
ALTER TABLE rv_own.opportunities ALTER status TYPE text, ALTER owner_id TYPE text;
SELECT ok, code FROM sopflow.crm_release('rv_own', '{1}');
RESET ROLE;

-- --- what is called by a name that the search_path leads elsewhere ---
SET ROLE rv_thief;
CREATE FUNCTION rv_own.far(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 1000000000;
CREATE AGGREGATE rv_own.min (bigint) (sfunc = rv_own.far, stype = bigint);
CREATE TABLE rv_own.assignment AS SELECT '*' AS category, 'off' AS method;
ALTER TABLE rv_own.sales_reps ADD active bool, ADD weight int;
ALTER TABLE rv_own.opportunities ALTER owner_id TYPE bigint USING NULL, ADD category text;
SET search_path = rv_own, pg_catalog;
SELECT ok, code FROM sopflow.crm_auto_assign('rv_own', '{1}');
RESET search_path;
RESET ROLE;

-- --- an operation within another's triggers ---
CREATE FUNCTION rv.claim_next() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM rv.claim(ARRAY[NEW.opportunity_id + 1], NEW.owner_id);
	RETURN NEW;
END
$$;
CREATE TRIGGER a_claim_next BEFORE UPDATE ON rv.opportunities FOR EACH ROW
	WHEN (NEW.opportunity_id = 5 AND OLD.owner_id IS NULL AND NEW.owner_id IS NOT NULL) EXECUTE FUNCTION rv.claim_next();
SELECT opportunity_id, ok, code FROM rv.assign('{5}', 1, 'boss');
DROP TRIGGER a_claim_next ON rv.opportunities;
SELECT opportunity_id, operation, operator, event, to_owner FROM rv.opportunity_log WHERE opportunity_id IN (5, 6) ORDER BY opportunity_id;

-- or a trigger that gives the lead to another: still the same operation
CREATE FUNCTION rv.give_away() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.owner_id := 1;
	RETURN NEW;
END
$$;
CREATE TRIGGER a_give_away BEFORE UPDATE ON rv.opportunities FOR EACH ROW WHEN (NEW.owner_id = 2) EXECUTE FUNCTION rv.give_away();
SELECT opportunity_id, ok, code, to_owner FROM rv.assign('{2}', 2);
DROP TRIGGER a_give_away ON rv.opportunities;
SELECT operation, event, to_owner FROM rv.opportunity_log WHERE opportunity_id = 2;

-- --- the log names the rule sets that were in force ---
SAVEPOINT enabled;
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'opportunity_claim';
SELECT ok FROM rv.freeze('{3}', 'infinity');
SELECT ok FROM rv.claim('{3}', 1);
SELECT operation, ARRAY(SELECT split_part(r, ' ', 1) FROM unnest(rules) r) AS rules FROM rv.opportunity_log ORDER BY log_id DESC LIMIT 1;
ROLLBACK TO enabled;

-- --- a denial that is no rule's is not taken for the last that was one ---
SELECT opportunity_id, ok, code FROM rv.claim('{5}', 2);
CREATE FUNCTION rv.deny() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'not today' USING ERRCODE = 'SF010';
END
$$;
CREATE TRIGGER a_deny BEFORE UPDATE ON rv.opportunities FOR EACH ROW EXECUTE FUNCTION rv.deny();
SELECT opportunity_id, ok, code, message FROM rv.claim('{1}', 2);
DROP TRIGGER a_deny ON rv.opportunities;

-- --- nobody takes a lead and closes it at once, which would count for no limit ---
UPDATE sopflow.rule_param SET value = '2' WHERE param = 'max_hold';
UPDATE rv.opportunities SET owner_id = 2, status = 'LOST' WHERE owner_id IS NULL;
UPDATE rv.opportunities SET owner_id = 2, status = 'INVALID' WHERE owner_id = 1;
UPDATE rv.opportunities SET status = 'LOST' WHERE owner_id = 1;
INSERT INTO rv.opportunities (owner_id, status) VALUES (2, 'CONVERTED');
SELECT owner_id, status, count(*) FROM rv.opportunities GROUP BY 1, 2 ORDER BY 1, 2;

-- --- a null among the statuses opens nothing ---
SELECT owner_id, count(*) FROM rv.opportunities WHERE owner_id = 2 AND closed_at IS NULL GROUP BY 1;
INSERT INTO rv.opportunities (opportunity_id) SELECT 900 + i FROM generate_series(1, 5) i;
UPDATE sopflow.rule_param SET value = '{LOST,NULL}' WHERE param = 'closed';
UPDATE sopflow.rule_param SET value = '{UNBIND,NULL}' WHERE param = 'claimable';
SELECT ok, code FROM rv.claim('{901,902,903,904}', 2);
UPDATE rv.opportunities SET status = 'SOLD' WHERE opportunity_id = 905;
SELECT ok, code FROM rv.claim('{905}', 1);

-- --- names ---
-- the guard that keeps claimed_at fires before the one that looks at it, however long the schema's name is
SELECT sopflow.create_crm('a_schema_whose_name_is_longer_than_most_' || s) FROM unnest(ARRAY['a', 'b', 'c', 'd']) s;
SELECT * FROM sopflow.health WHERE code LIKE 'guard%';
DO $$
DECLARE
	s text;
	due timestamptz;
BEGIN
	FOR s IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 'a\_schema\_whose%' ORDER BY 1 LOOP
		EXECUTE format('INSERT INTO %I.sales_reps (name) VALUES (1)', s);
		EXECUTE format('INSERT INTO %I.opportunities (category) VALUES (1)', s);
		EXECUTE format('SELECT FROM %I.claim(%L, 1)', s, '{1}');
		EXECUTE format('SELECT recycle_at FROM %I.opportunities', s) INTO due;
		RAISE WARNING '% %', right(s, 1), due;
	END LOOP;
END
$$;
SELECT sopflow.create_crm(E'Our "C$b$R$f$M" 100%s \\');
INSERT INTO "Our ""C$b$R$f$M"" 100%s \".sales_reps (name) VALUES ('A');
INSERT INTO "Our ""C$b$R$f$M"" 100%s \".opportunities (category) VALUES ('x');
SELECT opportunity_id, ok, code, message FROM "Our ""C$b$R$f$M"" 100%s \".claim('{1}', 1);
SELECT held, hold_limit, claimed_today FROM "Our ""C$b$R$f$M"" 100%s \".rep_report;
SELECT opportunity_id, ok, code, message FROM "Our ""C$b$R$f$M"" 100%s \".recycle(dry_run => true);

ROLLBACK;
RESET client_min_messages;
