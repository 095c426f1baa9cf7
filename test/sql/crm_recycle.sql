-- Private leads go back to the public pool at the time that the parameters give,
-- by recycle() and by the task of an SOP, and their owner is reminded before.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2019-03-25 09:00:00+00';
SELECT sopflow.create_crm('crm_recycle');
SET search_path = crm_recycle, public;
-- what waits for a lead, and what was
SELECT coalesce(max(run_id), 0) AS before FROM sopflow.runs \gset
CREATE VIEW waiting AS
	SELECT subject_id::bigint AS lead, action, due_at FROM sopflow.tasks WHERE status IN ('pending', 'ready', 'leased')
		AND run_id > :before AND sop_id LIKE 'opportunity_%' ORDER BY subject_id::bigint, due_at, action;
CREATE VIEW tasks AS
	SELECT subject_id::bigint AS lead, action, status, due_at, result, last_error FROM sopflow.tasks
		WHERE run_id > :before AND sop_id LIKE 'opportunity_%' ORDER BY task_id;
CREATE VIEW leads AS
	SELECT opportunity_id, status, minor_status, owner_id, last_owner_id, claimed_at, released_at, last_contact_at, recycle_at
	FROM opportunities ORDER BY opportunity_id;
CREATE VIEW log AS
	SELECT opportunity_id, operation, operation_type, ok, code, from_owner, to_owner, event, logged_at FROM opportunity_log ORDER BY log_id;
INSERT INTO sales_reps (rep_id, name, team) VALUES (1, 'A', 'north'), (2, 'B', 'south');
INSERT INTO opportunities (opportunity_id, category) VALUES (1, 'phone'), (2, 'phone');

-- Protection of 10 days, 3 more from a contact, 20 at most; claimed on the 25th.
SELECT * FROM claim('{1,2}', 1);
SELECT * FROM leads;
SELECT * FROM waiting;
-- a contact on the 28th changes nothing: its 3 days end before the 10
SET sopflow.clock = '2019-03-28 09:00:00+00';
SELECT ok, code FROM log_contact(1, 1);
SELECT * FROM leads WHERE opportunity_id = 1;
SELECT * FROM waiting WHERE lead = 1;
-- on April 2nd: the 5th
SET sopflow.clock = '2019-04-02 09:00:00+00';
SELECT ok, code FROM log_contact(1, 1);
SELECT * FROM leads WHERE opportunity_id = 1;
SELECT * FROM waiting WHERE lead = 1;
-- lead 2 had none: it goes back on the 4th, not a second before
SET sopflow.clock = '2019-04-04 08:59:59+00';
SELECT * FROM recycle();
SELECT sopflow.run_due() AS reminded;
SELECT * FROM leads;
SELECT * FROM waiting;
SET sopflow.clock = '2019-04-04 09:00:00+00';
BEGIN;
SELECT * FROM recycle();
SELECT * FROM leads WHERE opportunity_id = 2;
SELECT * FROM log WHERE opportunity_id = 2;
-- its task finds nothing to do then
SELECT sopflow.run_due();
SELECT * FROM waiting WHERE lead = 2;
SELECT action, status, result FROM tasks WHERE lead = 2;
SELECT * FROM log WHERE opportunity_id = 2;
ROLLBACK;
SELECT sopflow.run_due();
SELECT * FROM leads WHERE opportunity_id = 2;
SELECT action, status, result FROM tasks WHERE lead = 2;
SELECT * FROM log WHERE opportunity_id = 2;
SELECT * FROM recycle();
-- a contact on the 5th in time: the 8th
SET sopflow.clock = '2019-04-05 08:59:59+00';
SELECT ok, code FROM log_contact(1, 1);
SELECT recycle_at FROM leads WHERE opportunity_id = 1;
SELECT * FROM waiting WHERE lead = 1;
-- the stop on the 14th, whatever happens
SET sopflow.clock = '2019-04-08 08:00:00+00';
SELECT ok, code FROM log_contact(1, 1);
SELECT recycle_at FROM leads WHERE opportunity_id = 1;
SET sopflow.clock = '2019-04-11 07:00:00+00';
SELECT ok, code FROM log_contact(1, 1, 'visit');
SELECT recycle_at FROM leads WHERE opportunity_id = 1;
SET sopflow.clock = '2019-04-13 07:00:00+00';
SELECT ok, code FROM log_contact(1, 1, 'call', 'last');
SELECT recycle_at FROM leads WHERE opportunity_id = 1;
SELECT * FROM waiting WHERE lead = 1;
SET sopflow.clock = '2019-04-14 08:59:59.999+00';
SELECT ok, code FROM log_contact(1, 1);
SELECT recycle_at FROM leads WHERE opportunity_id = 1;
SELECT * FROM recycle();
SELECT sopflow.run_due() AS reminded;
SELECT owner_id FROM leads WHERE opportunity_id = 1;
SET sopflow.clock = '2019-04-14 09:00:00+00';
BEGIN;
SELECT sopflow.run_due();
SELECT * FROM leads WHERE opportunity_id = 1;
ROLLBACK;
SELECT * FROM recycle();
SELECT sopflow.run_due();
SELECT * FROM leads WHERE opportunity_id = 1;
SELECT * FROM waiting;
SELECT * FROM log WHERE opportunity_id = 1;
SELECT contact_id, opportunity_id, rep_id, kind, note, contacted_at FROM contacts ORDER BY contact_id;

-- Whose lead goes back without a call for N hours may not claim it at once.
CREATE FUNCTION param(name text, new_value text) RETURNS void LANGUAGE sql AS $$
	UPDATE sopflow.rule_param SET value = new_value WHERE rule_set = 'opportunity_recycle' AND param = name
$$;
UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = 'opportunity_recycle'
	AND param IN ('contact_within', 'protection', 'protection_per_contact', 'protection_max', 'remind_before');
SELECT param('call_within', '48 hours');
SET sopflow.clock = '2019-06-03 09:00:00+00';
SELECT ok, code FROM claim('{1,2}', 2);
SELECT opportunity_id, recycle_at FROM leads;
SELECT * FROM waiting;
SET sopflow.clock = '2019-06-04 09:00:00+00';
-- a visit is no call, and another's call is not the owner's
SELECT ok, code FROM log_contact(1, 2, 'visit');
SELECT ok, code, message FROM log_contact(1, 1);
INSERT INTO contacts (opportunity_id, rep_id, contacted_at) VALUES (1, 1, sopflow.now()), (1, NULL, sopflow.now());
SELECT opportunity_id, recycle_at, last_contact_at FROM leads;
-- a row in contacts is as good as the function; an older one changes nothing
INSERT INTO contacts (opportunity_id, rep_id, kind, contacted_at) VALUES (2, 2, 'call', sopflow.now());
INSERT INTO contacts (opportunity_id, rep_id, kind, contacted_at) VALUES (2, 2, 'call', '2019-06-03 10:00+00');
SELECT opportunity_id, recycle_at, last_contact_at FROM leads;
-- nor does one that is to come
INSERT INTO contacts (opportunity_id, rep_id, kind, contacted_at) VALUES (2, 2, 'call', '2019-12-31 00:00+00') RETURNING contacted_at;
SELECT opportunity_id, last_call_at FROM opportunities ORDER BY 1;
SELECT * FROM waiting;
SET sopflow.clock = '2019-06-05 08:59:59.999999+00';
SELECT * FROM recycle();
SELECT sopflow.run_due();
SET sopflow.clock = '2019-06-05 09:00:00+00';
SELECT sopflow.run_due();
SELECT * FROM leads;
SELECT * FROM log WHERE logged_at = sopflow.now();
SELECT ok, code, message FROM claim('{1}', 2);
SET sopflow.clock = '2019-06-08 08:59:59.999999+00';
SELECT ok, code FROM claim('{1}', 2);
SET sopflow.clock = '2019-06-08 09:00:00+00';
SELECT ok, code FROM claim('{1}', 2);
SELECT * FROM recycle();
SELECT opportunity_id, owner_id FROM leads;

-- No contact of any kind for N hours; held too long, contacts or not.
SELECT param('call_within', NULL), param('contact_within', '48 hours');
SELECT ok, code FROM claim('{2}', 1);
SET sopflow.clock = '2019-06-09 09:00:00+00';
SELECT ok FROM log_contact(1, 2, 'mail');
SELECT opportunity_id, recycle_at FROM leads;
SELECT param('hold_at_most', '60 hours');
SELECT ok FROM log_contact(1, 2, 'mail');
SELECT opportunity_id, recycle_at FROM leads;
SELECT * FROM waiting;
SET sopflow.clock = '2019-06-10 09:00:00+00';
SELECT opportunity_id, ok, code, from_owner, to_owner FROM recycle();
SELECT opportunity_id, owner_id, recycle_at FROM leads;
SET sopflow.clock = '2019-06-10 20:59:59+00';
SELECT opportunity_id FROM recycle();
SET sopflow.clock = '2019-06-10 21:00:00+00';
SELECT opportunity_id FROM recycle();
-- the parameter of a level or a category goes before the general one, that of a rep before it
INSERT INTO sopflow.rule_param_override VALUES ('opportunity_recycle', 'hold_at_most', 'level:A', '20 hours'),
	('opportunity_recycle', 'hold_at_most', 'category:phone', '10 hours'), ('opportunity_recycle', 'hold_at_most', 'rep:2', '5 hours');
SET sopflow.clock = '2019-07-01 00:00:00+00';
INSERT INTO opportunities (opportunity_id, category, level) VALUES (3, 'phone', 'A'), (4, 'phone', 'B'), (5, 'computer', 'B'), (6, 'phone', 'A');
SELECT ok FROM claim('{3,4,5}', 1);
SELECT ok FROM claim('{6}', 2);
SELECT opportunity_id, recycle_at FROM leads WHERE recycle_at IS NOT NULL;
-- and it moves with the lead: another level, another owner
UPDATE opportunities SET level = 'A' WHERE opportunity_id = 4;
SELECT ok FROM transfer('{3}', 2);
SELECT opportunity_id, owner_id, claimed_at, recycle_at FROM leads WHERE recycle_at IS NOT NULL;
SELECT * FROM waiting;
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'opportunity_recycle';

-- Won, locked and public leads do not go back.
SELECT ok FROM convert('{3}');
UPDATE opportunities SET locked = 'protect' WHERE opportunity_id = 4;
SELECT ok FROM lose('{5}');
SELECT ok FROM release('{6}');
SELECT opportunity_id, status, owner_id, recycle_at FROM leads WHERE opportunity_id > 2;
SELECT * FROM waiting;
SET sopflow.clock = '2019-07-04 00:00:00+00';
-- their tasks do nothing
SELECT sopflow.run_due() > 0;
SELECT * FROM recycle();
SELECT count(*) FROM log WHERE logged_at = sopflow.now();
-- whatever is written to recycle_at
UPDATE opportunities SET recycle_at = sopflow.now() WHERE opportunity_id > 2;
SELECT opportunity_id, recycle_at FROM leads WHERE opportunity_id > 2;
SELECT * FROM recycle();
-- an unlocked lead is due at once, one that is open again from when it was claimed
UPDATE opportunities SET locked = NULL WHERE opportunity_id = 4;
UPDATE opportunities SET status = 'BIND' WHERE opportunity_id = 3;
SELECT opportunity_id, owner_id, recycle_at FROM leads WHERE opportunity_id > 2;
SELECT * FROM waiting;
BEGIN;
SELECT sopflow.run_due();
SELECT opportunity_id, owner_id FROM leads WHERE opportunity_id > 2;
ROLLBACK;
SELECT opportunity_id, ok FROM recycle();
SELECT sopflow.run_due();
SELECT * FROM waiting;

-- The owner is reminded before, who he is stands in the task.
SELECT param('hold_at_most', NULL), param('contact_within', '240 hours'), param('remind_before', '24 hours');
CREATE VIEW reminders AS
	SELECT t.task_id, t.subject_id::bigint AS lead, r.context->>'owner_id' AS owner, r.context->>'recycle_at' AS recycle_at, t.due_at
	FROM sopflow.tasks t JOIN sopflow.runs r USING (run_id)
	WHERE t.action = 'REMIND_OWNER' AND t.status IN ('pending', 'ready', 'leased') ORDER BY t.subject_id::bigint, t.due_at;
SET sopflow.clock = '2019-08-01 09:00:00+00';
SELECT ok FROM claim('{1,2}', 1);
SELECT lead, owner, recycle_at, due_at FROM reminders;
SET sopflow.clock = '2019-08-02 09:00:00+00';
-- made anew by a contact and by a transfer, ended by a release
SELECT ok FROM log_contact(1, 1);
SELECT lead, owner, recycle_at, due_at FROM reminders;
SELECT ok FROM transfer('{1}', 2);
SELECT lead, owner, recycle_at, due_at FROM reminders;
SELECT ok FROM release('{2}');
SELECT lead, owner, recycle_at, due_at FROM reminders;
-- offered when it is due, not before
SET sopflow.clock = '2019-08-11 08:59:59+00';
SELECT subject_id FROM sopflow.fetch('{REMIND_OWNER}');
SET sopflow.clock = '2019-08-11 09:00:00+00';
SELECT task_id, lease_token FROM sopflow.fetch('{REMIND_OWNER}') \gset
SELECT lead, owner, recycle_at, due_at, task_id = :task_id AS same FROM reminders;
SELECT sopflow.ack(:task_id, :'lease_token');
-- none for a lead that is safe; the parameter says whether there is any
SELECT ok FROM log_contact(1, 2);
SELECT lead, owner, due_at FROM reminders;
UPDATE opportunities SET locked = 'manual' WHERE opportunity_id = 1;
SELECT lead, owner, due_at FROM reminders;
UPDATE opportunities SET locked = NULL WHERE opportunity_id = 1;
SELECT lead, owner, due_at FROM reminders;
SELECT ok FROM convert('{1}');
SELECT lead, owner, due_at FROM reminders;
SELECT param('remind_before', NULL);
SELECT ok FROM claim('{2}', 1);
SELECT * FROM waiting WHERE lead = 2;
SELECT param('remind_before', '24 hours');
-- to another owner at the same recycle_at
SELECT ok FROM transfer('{2}', 2);
SELECT lead, owner, due_at FROM reminders;
-- what waits of an earlier owner goes too when there is to be none
SELECT param('remind_before', NULL);
SELECT ok FROM transfer('{2}', 1);
SELECT lead, owner, due_at FROM reminders;
SELECT * FROM waiting WHERE lead = 2;
SELECT ok FROM release('{2}');
SELECT param('remind_before', '24 hours');

-- Dry run, max, arguments.
SET sopflow.clock = '2019-09-01 00:00:00+00';
INSERT INTO opportunities (opportunity_id) SELECT generate_series(11, 16);
SELECT count(*) FROM claim('{16,15}', 1) WHERE ok;
SET sopflow.clock = '2019-09-01 01:00:00+00';
SELECT count(*) FROM claim('{11,12,13,14}', 2) WHERE ok;
SET sopflow.clock = '2019-09-11 01:00:00+00';
SELECT * FROM recycle(dry_run => true);
SELECT * FROM recycle(3, true);
SELECT count(*) FILTER (WHERE owner_id IS NULL), count(*) FROM leads WHERE opportunity_id > 10;
SELECT count(*) FROM log WHERE opportunity_id > 10 AND operation <> 'CLAIM';
-- the first that were due are the first to go
SELECT opportunity_id, ok, from_owner FROM recycle(3);
SELECT opportunity_id, ok FROM recycle(2);
SELECT opportunity_id, ok FROM recycle(2);
SELECT opportunity_id, ok FROM recycle(2);
\set VERBOSITY sqlstate
SELECT * FROM recycle(0);
SELECT * FROM recycle(-1);
SELECT * FROM recycle(NULL);
SELECT * FROM recycle(10, NULL);
SELECT * FROM sopflow.crm_recycle(NULL);
SELECT * FROM sopflow.crm_recycle('no_such_schema');
SELECT * FROM sopflow.crm_recycle('sopflow');
\set VERBOSITY default
SELECT * FROM sopflow.crm_recycle('crm_recycle', opportunity_ids => '{}');
SELECT * FROM sopflow.crm_recycle('crm_recycle', opportunity_ids => '{1,NULL,99}');

-- Parameters that change afterwards: the next calls compute anew, in steps.
SET sopflow.clock = '2019-10-01 00:00:00+00';
SELECT count(*) FROM claim('{11,12,13,14,15,16}', 1) WHERE ok;
SELECT rules LIKE 'opportunity_recycle %', position FROM recycle_state;
SELECT * FROM recycle();
SELECT param('contact_within', '24 hours'), param('protection', NULL);
SELECT DISTINCT recycle_at FROM leads WHERE opportunity_id > 10;
-- a dry run writes nothing
SELECT * FROM recycle(dry_run => true);
SELECT DISTINCT recycle_at FROM leads WHERE opportunity_id > 10;
SELECT * FROM recycle(4);
SELECT opportunity_id, recycle_at FROM leads WHERE owner_id IS NOT NULL;
SELECT * FROM recycle(4);
SELECT opportunity_id, recycle_at FROM leads WHERE owner_id IS NOT NULL;
SELECT * FROM recycle(4);
SELECT * FROM waiting WHERE action = 'RECYCLE_OPPORTUNITY';
-- nothing is computed, so nothing logged, when nothing has changed
SELECT xmin AS xmin_before FROM opportunities WHERE opportunity_id = 11 \gset
SELECT * FROM recycle(4);
SELECT xmin = :'xmin_before' AS same FROM opportunities WHERE opportunity_id = 11;
SELECT count(*) FROM log WHERE logged_at = sopflow.now() AND operation <> 'CLAIM';
-- a later limit takes back what was due, also if that is computed in small steps, or the tasks are the first to come
SET sopflow.clock = '2019-10-02 00:00:00+00';
SELECT param('contact_within', '48 hours');
BEGIN;
SELECT * FROM recycle();
SELECT count(*) FROM leads WHERE owner_id IS NOT NULL AND recycle_at = '2019-10-03 00:00+00';
SELECT sopflow.run_due() > 0;
SELECT count(*) FROM leads WHERE owner_id IS NOT NULL AND recycle_at = '2019-10-03 00:00+00';
ROLLBACK;
BEGIN;
SELECT * FROM recycle(3);
SELECT opportunity_id, recycle_at FROM leads WHERE opportunity_id > 10;
SELECT * FROM recycle(3);
SELECT * FROM recycle(3);
SELECT DISTINCT recycle_at FROM leads WHERE opportunity_id > 10;
ROLLBACK;
SELECT sopflow.run_due() > 0;
SELECT count(*) FROM leads WHERE owner_id IS NOT NULL AND recycle_at = '2019-10-03 00:00+00';
SELECT * FROM waiting WHERE lead = 11;
SELECT * FROM recycle();
SELECT position FROM recycle_state;
-- no limit at all, then one again
SELECT param('contact_within', NULL);
SELECT * FROM recycle();
SELECT count(*) FROM leads WHERE recycle_at IS NOT NULL;
SELECT * FROM waiting;
-- an override counts too, and a rule that changes
INSERT INTO sopflow.rule_param_override VALUES ('opportunity_recycle', 'contact_within', 'rep:1', '12 hours');
SELECT count(*) FROM recycle() WHERE ok;
DELETE FROM sopflow.rule_param_override WHERE rule_set = 'opportunity_recycle';
SELECT param('contact_within', '240 hours');
SELECT * FROM waiting;

-- A lead that is deleted while its task waits; one that somebody else's rule keeps.
SET sopflow.clock = '2019-11-01 00:00:00+00';
SELECT count(*) FROM claim('{11,12,13}', 2) WHERE ok;
DELETE FROM opportunities WHERE opportunity_id = 11;
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES ('opportunity_claim', 'keep_12', 5,
	$$old.opportunity_id = 12 and op.operation = 'RECYCLE'$$, '[{"deny": "this one stays", "code": "KEPT"}]');
SET sopflow.clock = '2019-11-11 00:00:00+00';
SELECT sopflow.run_due() > 0;
SELECT lead, action, status, result, last_error FROM tasks WHERE lead IN (11, 12, 13) AND due_at = sopflow.now() ORDER BY 1;
SELECT opportunity_id, owner_id, recycle_at FROM leads WHERE opportunity_id IN (11, 12, 13);
SELECT * FROM recycle();
SELECT opportunity_id, ok, code, message, operation, from_owner, to_owner, from_status, to_status, details FROM opportunity_log
	WHERE logged_at = sopflow.now() ORDER BY log_id;
DELETE FROM sopflow.rule WHERE rule = 'keep_12';
SELECT opportunity_id, ok FROM recycle();
SELECT * FROM waiting;

RESET search_path;
SET client_min_messages = error;
DROP SCHEMA crm_recycle CASCADE;
SELECT count(sopflow.cancel(sop_id => s)) FROM unnest('{customer_care_sop,material_sop,opportunity_reminder_sop,opportunity_recycle_sop}'::text[]) s;
DELETE FROM sopflow.sop WHERE sop_id IN ('customer_care_sop', 'material_sop', 'opportunity_reminder_sop', 'opportunity_recycle_sop');
DELETE FROM sopflow.action WHERE action IN ('SEND_GREETING', 'PUSH_CASE', 'SEND_REG_LINK', 'FOLLOW_UP', 'REMIND_OWNER', 'RECYCLE_OPPORTUNITY');
DELETE FROM sopflow.rule_set WHERE rule_set IN ('opportunity_claim', 'opportunity_unbind', 'opportunity_recycle');
