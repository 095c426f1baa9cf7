-- ---------------------------------------------------------------------------
-- The rules of the CRM pack. They are the caller's rows: change them with
-- UPDATE. The texts are those that sales staff know (escaped, since a script
-- must not depend on the encoding of the database).
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.crm_make_rules(schema name) RETURNS void LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $make$
DECLARE
	prefix CONSTANT text := sopflow.crm_prefix(schema);
	claim CONSTANT text := prefix || 'opportunity_claim';
	recycle CONSTANT text := prefix || 'opportunity_recycle';
	unbind CONSTANT text := prefix || 'opportunity_unbind';
BEGIN
	-- the rule sets keep this path for their texts
	PERFORM set_config('search_path', format('%I, pg_temp', schema), true);
	-- those of a table that was dropped
	DELETE FROM sopflow.rule_set s WHERE s.rule_set IN (claim, recycle, unbind);

	-- Who may get a lead, however it is written
	INSERT INTO sopflow.rule_set (rule_set, description, param_scopes) VALUES
		(claim, 'Who may take a lead', ARRAY[$$'rep:' || new.owner_id$$, $$'team:' || rep.team$$, $$'level:' || rep.level$$]);
	INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES
		(claim, 'new', 'opportunities', NULL),
		(claim, 'old', 'opportunities', NULL),
		(claim, 'op', 'sopflow.operation', 'select * from sopflow.crm_operation(old.owner_id, new.owner_id)'),
		(claim, 'rep', 'sales_reps', 'select r.* from sales_reps r where r.rep_id = new.owner_id'),
		(claim, 'open_tasks', 'bigint', 'select count(*) from rep_tasks t where t.done_at is null and (t.opportunity_id = new.opportunity_id and (t.rep_id is null or t.rep_id = new.owner_id) or t.opportunity_id is null and t.rep_id = new.owner_id)');
	INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES
		(claim, 'held', $$select count(*) from opportunities o where o.owner_id = new.owner_id and (o.status = any (param.closed)) is not true$$, $$'rep:' || new.owner_id$$),
		-- what this statement has claimed is not in the log yet: rows of this transaction
		-- (whatever claimed_at they were given) that the log shows with another owner
		(claim, 'claimed_today', $$select (select count(*) from opportunity_log l where l.to_owner = new.owner_id and l.ok and l.operation = 'CLAIM' and l.logged_at >= date_trunc('day', sopflow.now(), param.time_zone)) + (select count(*) from opportunities o where o.owner_id = new.owner_id and o.acquired_by = 'CLAIM' and age(o.xmin) <= 0 and (select l.to_owner from opportunity_log l where l.opportunity_id = o.opportunity_id and l.ok order by l.log_id desc limit 1) is distinct from new.owner_id)$$, $$'rep:' || new.owner_id$$);
	INSERT INTO sopflow.rule_param (rule_set, param, type, value, description) VALUES
		(claim, 'max_hold', 'int', '100', 'Leads that a rep may hold, closed ones not counted; null: any number'),
		(claim, 'cool_down', 'interval', '72 hours', 'How long a lead cannot be claimed by the rep who had it last; null: no time'),
		(claim, 'claimable', 'text[]', '{UNBIND,NEW}', 'Statuses of leads that may be taken from the public pool; null: any'),
		(claim, 'closed', 'text[]', '{CONVERTED,LOST,INVALID}', 'Statuses of leads that are closed; null: none'),
		(claim, 'max_claims_per_day', 'int', NULL, 'Leads that a rep may claim in a day, also if he gave them back; null: any number'),
		(claim, 'time_zone', 'text', current_setting('TimeZone'), 'Time zone of that day'),
		(claim, 'new_data_delay', 'interval', NULL, 'How long a lead cannot be claimed after it came into the public pool; null: no time');
	INSERT INTO sopflow.rule (rule_set, rule, description, priority, condition, actions)
		SELECT v.rule_set, v.rule, v.description, v.priority, v.condition, sopflow.crm_make_text(v.actions)::jsonb FROM (VALUES
		(claim, 'status', 'It is private already, or not of a status that may be taken', 10,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id and old.opportunity_id is not null and (old.owner_id is not null or param.claimable is not null and (old.status = any (param.claimable)) is not true) and op.operation in ('CLAIM', 'ASSIGN')$$,
			E'[{"deny": "\\u72b6\\u6001\\u4e0d\\u5408\\u6cd5", "code": "STATUS"}]'),
		-- who takes a lead and closes it in one statement would hold it besides the limit
		(claim, 'closed', 'It is closed, or closed by being taken', 11,
			$$old.status = any (param.closed) and new.opportunity_id is not null and (new.owner_id is distinct from old.owner_id or new.status is distinct from old.status) and op.operation in ('RELEASE', 'RECYCLE', 'TRANSFER', 'CONVERT', 'LOSE') or old.opportunity_id is not null and (old.status = any (param.closed)) is not true and new.status = any (param.closed) and new.owner_id is not null and new.owner_id is distinct from old.owner_id$$,
			E'[{"deny": "\\u72b6\\u6001\\u4e0d\\u5408\\u6cd5", "code": "STATUS"}]'),
		(claim, 'last_owner', 'Who had it last may not take it again at once', 20,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id and old.last_owner_id = new.owner_id and old.released_at + param.cool_down > sopflow.now() and op.operation = 'CLAIM'$$,
			E'[{"deny": "\\u4e0a\\u4e00\\u4e2a\\u7ed1\\u5b9a\\u4eba\\u4e0d\\u53ef\\u4ee5\\u4e3a\\u00b7\\u00b7\\u00b7", "code": "LAST_OWNER"}]'),
		(claim, 'capacity', 'The private pool is full', 30,
			$$new.owner_id is not null and (new.status = any (param.closed)) is not true and (new.owner_id is distinct from old.owner_id or old.status = any (param.closed)) and param.max_hold is not null and held >= param.max_hold$$,
			E'[{"deny": "\\u79c1\\u6d77\\u5e93\\u5df2\\u6ee1\\uff0c\\u65e0\\u6cd5\\u64cd\\u4f5c\\u00b7\\u00b7", "code": "FULL"}]'),
		(claim, 'category', 'Another category', 40,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id and rep.category <> new.category$$,
			E'[{"deny": "\\u7c7b\\u76ee\\u4e0d\\u5339\\u914d\\uff0c\\u65e0\\u6cd5\\u64cd\\u4f5c\\u00b7\\u00b7", "code": "CATEGORY"}]'),
		(claim, 'inactive', 'A rep who has left', 45,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id and not rep.active$$,
			E'[{"deny": "\\u9500\\u552e\\u5df2\\u505c\\u7528\\uff0c\\u65e0\\u6cd5\\u64cd\\u4f5c\\u00b7\\u00b7", "code": "STATUS"}]'),
		(claim, 'task', 'A task must be done first', 50,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id and op.operation in ('CLAIM', 'ASSIGN') and open_tasks > 0$$,
			E'[{"deny": "\\u4efb\\u52a1\\u672a\\u5b8c\\u6210\\uff0c\\u65e0\\u6cd5\\u64cd\\u4f5c\\u00b7\\u00b7", "code": "TASK"}]'),
		(claim, 'daily', 'Enough for today', 60,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id and param.max_claims_per_day is not null and op.operation = 'CLAIM' and claimed_today >= param.max_claims_per_day$$,
			E'[{"deny": "\\u4eca\\u65e5\\u8ba4\\u9886\\u6b21\\u6570\\u5df2\\u8fbe\\u4e0a\\u9650\\uff0c\\u65e0\\u6cd5\\u64cd\\u4f5c\\u00b7\\u00b7", "code": "DAILY"}]'),
		(claim, 'new_data', 'Too new', 70,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id and old.pooled_at + param.new_data_delay > sopflow.now() and op.operation = 'CLAIM'$$,
			E'[{"deny": "\\u65b0\\u5546\\u673a\\u672a\\u5230\\u53ef\\u8ba4\\u9886\\u65f6\\u95f4\\uff0c\\u65e0\\u6cd5\\u64cd\\u4f5c\\u00b7\\u00b7", "code": "NEW_DATA"}]'),
		(claim, 'frozen', 'Frozen', 80,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id and old.frozen_until > sopflow.now() and op.operation in ('CLAIM', 'ASSIGN')$$,
			E'[{"deny": "\\u5546\\u673a\\u51bb\\u7ed3\\u4e2d\\uff0c\\u65e0\\u6cd5\\u64cd\\u4f5c\\u00b7\\u00b7", "code": "FROZEN"}]'),
		(claim, 'locked', 'Locked', 90,
			$$old.locked is not null and new.opportunity_id is not null and (new.owner_id is distinct from old.owner_id and (op.operation <> 'HAND_OVER' or new.owner_id is null) or new.status is distinct from old.status and op.operation = 'LOSE')$$,
			E'[{"deny": "\\u5546\\u673a\\u5df2\\u9501\\u5b9a\\uff0c\\u65e0\\u6cd5\\u64cd\\u4f5c\\u00b7\\u00b7", "code": "LOCKED"}]'),
		(claim, 'bind', 'It is bound to its new owner', 100,
			$$new.owner_id is not null and new.owner_id is distinct from old.owner_id$$,
			$$[{"set": {"new.status": "case when new.status = any (coalesce(param.claimable, '{UNBIND,NEW}')) then 'BIND' else new.status end", "new.minor_status": "null", "new.frozen_until": "null", "new.acquired_by": "op.operation", "new.claimed_at": "coalesce(nullif(new.claimed_at, old.claimed_at), sopflow.now())"}}]$$),
		(claim, 'unbound', 'Its owner has lost it', 110,
			$$old.owner_id is not null and new.owner_id is distinct from old.owner_id and new.opportunity_id is not null$$,
			$$[{"set": {"new.last_owner_id": "old.owner_id", "new.released_at": "coalesce(nullif(new.released_at, old.released_at), sopflow.now())"}}]$$),
		(claim, 'to_pool', 'It is public now', 120,
			$$old.owner_id is not null and new.owner_id is null and new.opportunity_id is not null$$,
			$$[{"set": {"new.status": "case when new.status is distinct from old.status then new.status else 'UNBIND' end", "new.acquired_by": "null", "new.claimed_at": "null", "new.pooled_at": "sopflow.now()"}}]$$),
		(claim, 'entered', 'A new lead in the public pool', 130,
			$$new.opportunity_id is not null and new.owner_id is null and new.pooled_at is null$$,
			$$[{"set": {"new.pooled_at": "sopflow.now()"}}]$$),
		(claim, 'close', 'It was won or lost', 140,
			$$new.closed_at is null and new.status = any (param.closed)$$,
			$$[{"set": {"new.closed_at": "sopflow.now()"}}]$$),
		(claim, 'reopen', 'It is open again', 150,
			$$new.closed_at is not null and (new.status = any (param.closed)) is not true$$,
			$$[{"set": {"new.closed_at": "null"}}]$$)
		) AS v(rule_set, rule, description, priority, condition, actions);

	-- Where a lead goes that its owner loses: the first rule that applies decides
	INSERT INTO sopflow.rule_set (rule_set, description, priority_threshold, skip_on_first_applied, skip_on_first_failed, skip_on_first_non_triggered, param_scopes) VALUES
		(unbind, 'What becomes of a lead that goes back to the public pool', 100, true, false, false, ARRAY[$$'level:' || old.level$$, $$'category:' || old.category$$]);
	INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES
		(unbind, 'new', 'opportunities', NULL),
		(unbind, 'old', 'opportunities', NULL),
		(unbind, 'op', 'sopflow.operation', 'select * from sopflow.crm_operation(old.owner_id, new.owner_id)'),
		(unbind, 'recent_claims', 'bigint', $$select count(*) from opportunity_log l where l.opportunity_id = old.opportunity_id and l.ok and l.operation = 'CLAIM' and l.logged_at > sopflow.now() - param.freeze_window$$);
	INSERT INTO sopflow.rule_param (rule_set, param, type, value, description) VALUES
		(unbind, 'freeze', 'interval', '72 hours', 'How long a lead is frozen'),
		(unbind, 'freeze_after_claims', 'int', '5', 'A lead that was claimed as often within freeze_window is frozen; null: none'),
		(unbind, 'freeze_window', 'interval', '72 hours', 'See freeze_after_claims'),
		(unbind, 'freeze_categories', 'text[]', '{}', 'Categories whose leads are always frozen');
	INSERT INTO sopflow.rule (rule_set, rule, description, priority, condition, actions) VALUES
		(unbind, 'bind_check_cate', sopflow.crm_make_text(E'\\u5224\\u65ad\\u662f\\u5426\\u51bb\\u7ed3-72\\u5c0f\\u65f6'), 4,
			$$old.owner_id is not null and new.owner_id is null and new.opportunity_id is not null and (old.category = any (param.freeze_categories) or recent_claims >= param.freeze_after_claims)$$,
			$$[{"set": {"new.minor_status": "'UNBIND_FROZEN'", "new.frozen_until": "sopflow.now() + param.freeze"}}, {"result": {"status": "UNBIND", "minor_status": "UNBIND_FROZEN"}}]$$),
		(unbind, 'task_bind_out', sopflow.crm_make_text(E'\\u4efb\\u52a1\\u5546\\u673a\\u6d41\\u56de\\u516c\\u6d77'), 5,
			$$old.owner_id is not null and new.owner_id is null and new.opportunity_id is not null and old.status = 'TASK' and op.operation_type = 'TASK_BACK_PUBLIC'$$,
			$$[{"set": {"new.minor_status": "'UNBIND_NORMAL'"}}, {"result": {"status": "UNBIND", "minor_status": "UNBIND_NORMAL"}}]$$),
		(unbind, 'unbind_operate', sopflow.crm_make_text(E'\\u5224\\u65ad\\u89e3\\u7ed1\\u540e\\u53bb\\u5411\\uff0c\\u73b0\\u9636\\u6bb5\\u5168\\u90e8\\u56de\\u5230\\u516c\\u6d77'), 10,
			$$old.owner_id is not null and new.owner_id is null and new.opportunity_id is not null$$,
			$$[{"set": {"new.minor_status": "'UNBIND_NORMAL'"}}, {"result": {"status": "UNBIND", "minor_status": "UNBIND_NORMAL"}}]$$);

	-- When a private lead goes back by itself
	INSERT INTO sopflow.rule_set (rule_set, description, param_scopes) VALUES
		(recycle, 'When a private lead goes back to the public pool', ARRAY[$$'rep:' || new.owner_id$$, $$'level:' || new.level$$, $$'category:' || new.category$$]);
	INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES
		(recycle, 'new', 'opportunities', NULL),
		(recycle, 'old', 'opportunities', NULL),
		-- what ON CONFLICT does not insert must not move the tasks of the one that is there
		(recycle, 'there', 'bool', 'select true from opportunities o where o.opportunity_id = new.opportunity_id');
	INSERT INTO sopflow.rule_param (rule_set, param, type, value, description) VALUES
		(recycle, 'contact_within', 'interval', '240 hours', 'Longest time without a contact, counted from the claim; null: any'),
		(recycle, 'call_within', 'interval', NULL, 'Longest time without a contact of the kind call; null: any'),
		(recycle, 'hold_at_most', 'interval', NULL, 'Longest time that a rep holds a lead, contacts or not; null: any'),
		(recycle, 'protection', 'interval', '240 hours', 'Protection from the claim; null: none is counted'),
		(recycle, 'protection_per_contact', 'interval', '72 hours', 'Protection from the last contact, if that is later'),
		(recycle, 'protection_max', 'interval', '480 hours', 'End of all protection, from the claim; null: none'),
		(recycle, 'remind_before', 'interval', '24 hours', 'When the owner is reminded; null: he is not'),
		(recycle, 'closed', 'text[]', '{CONVERTED,LOST,INVALID}', 'Statuses of leads that never go back');
	INSERT INTO sopflow.rule (rule_set, rule, description, priority, condition, actions) VALUES
		(recycle, 'due', 'The earliest of the limits', 10,
			$$new.owner_id is not null and new.locked is null and (new.status = any (param.closed)) is not true$$,
			$$[{"set": {"new.recycle_at": "nullif(least(greatest(new.claimed_at + param.protection, case when new.last_contact_at >= new.claimed_at and param.protection is not null then new.last_contact_at + param.protection_per_contact end), new.claimed_at + param.protection_max, new.claimed_at + param.hold_at_most, greatest(new.claimed_at, new.last_contact_at) + param.contact_within, greatest(new.claimed_at, new.last_call_at) + param.call_within), 'infinity')"}}]$$),
		(recycle, 'exempt', 'Public, locked and closed leads', 20,
			$$new.recycle_at is not null and (new.owner_id is null or new.locked is not null or new.status = any (param.closed))$$,
			$$[{"set": {"new.recycle_at": "null"}}]$$),
		(recycle, 'schedule', 'A task takes it back in time', 30,
			$$new.recycle_at is not null and new.recycle_at is distinct from old.recycle_at and old.opportunity_id is not null$$,
			format($$[{"emit": %s, "subject": "new.opportunity_id::text", "at": "new.recycle_at"}]$$, to_json(prefix || 'OPPORTUNITY_DUE'))::jsonb),
		(recycle, 'schedule_new', 'The same for one that is inserted', 31,
			$$new.recycle_at is not null and old.opportunity_id is null and there is null$$,
			format($$[{"emit": %s, "subject": "new.opportunity_id::text", "at": "new.recycle_at"}]$$, to_json(prefix || 'OPPORTUNITY_DUE'))::jsonb),
		(recycle, 'remind', 'A task reminds its owner', 40,
			$$new.recycle_at is not null and (new.recycle_at is distinct from old.recycle_at or new.owner_id is distinct from old.owner_id) and isfinite(param.remind_before) and old.opportunity_id is not null$$,
			format($$[{"emit": %s, "subject": "new.opportunity_id::text", "at": "new.recycle_at - param.remind_before", "context": {"owner_id": "{{new.owner_id}}", "recycle_at": "{{new.recycle_at}}"}}]$$, to_json(prefix || 'OPPORTUNITY_EXPIRING'))::jsonb),
		(recycle, 'remind_new', 'The same for one that is inserted', 41,
			$$new.recycle_at is not null and isfinite(param.remind_before) and old.opportunity_id is null and there is null$$,
			format($$[{"emit": %s, "subject": "new.opportunity_id::text", "at": "new.recycle_at - param.remind_before", "context": {"owner_id": "{{new.owner_id}}", "recycle_at": "{{new.recycle_at}}"}}]$$, to_json(prefix || 'OPPORTUNITY_EXPIRING'))::jsonb),
		(recycle, 'calm', 'Nothing to remind of any more', 50,
			$$old.recycle_at is not null and (new.recycle_at is null or isfinite(param.remind_before) is not true and (new.recycle_at <> old.recycle_at or new.owner_id <> old.owner_id))$$,
			format($$[{"emit": %s, "subject": "old.opportunity_id::text"}]$$, to_json(prefix || 'OPPORTUNITY_SAFE'))::jsonb);

	-- with which recycle_at of all leads is computed so far
	UPDATE recycle_state SET position = 9223372036854775807, rules = (SELECT format('%s %s.%s', s.rule_set, s.revision, s.param_revision)
		FROM sopflow.rule_set s WHERE s.rule_set = recycle);
	PERFORM sopflow.guard('opportunities', claim, '{owner_id,status}');
	PERFORM sopflow.guard('opportunities', recycle, '{owner_id,status,locked,claimed_at,last_contact_at,last_call_at,level,category,recycle_at}');
	PERFORM sopflow.guard('opportunities', unbind, '{owner_id}');
END
$make$;
COMMENT ON FUNCTION sopflow.crm_make_rules(name) IS 'create_crm(): rule sets and guards';

CREATE FUNCTION sopflow.crm_make_sops(schema name) RETURNS void LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $make$
DECLARE
	prefix CONSTANT text := sopflow.crm_prefix(schema);
	base text;
	id text;
	subjects regclass;
BEGIN
	PERFORM set_config('search_path', format('%I, pg_temp', schema), true);
	-- a lead that somebody has locked is tried again for hours
	INSERT INTO sopflow.action (action, delivery, handler, max_attempts, backoff_base, description) VALUES
		('SEND_GREETING', 'queue', NULL, 5, '30 seconds', 'Greet a new client'),
		('PUSH_CASE', 'queue', NULL, 5, '30 seconds', 'Send a client a case that fits'),
		('SEND_REG_LINK', 'queue', NULL, 5, '30 seconds', 'Send a client a link to a registration form'),
		('FOLLOW_UP', 'queue', NULL, 5, '30 seconds', 'Ask a client how it went'),
		(prefix || 'REMIND_OWNER', 'queue', NULL, 5, '30 seconds', 'Tell a sales rep that a lead is about to be lost'),
		-- soon again, where somebody is at work on the lead
		(prefix || 'RECYCLE_OPPORTUNITY', 'call', format('%I.recycle_due', schema), 20, '1 second', 'Put a lead back into the public pool')
		ON CONFLICT DO NOTHING;
	UPDATE sopflow.action a SET handler = format('%I.recycle_due', schema)
		WHERE a.action = prefix || 'RECYCLE_OPPORTUNITY' AND a.handler <> format('%I.recycle_due', schema);
	FOREACH base IN ARRAY ARRAY['customer_care_sop', 'material_sop', 'opportunity_reminder_sop', 'opportunity_recycle_sop'] LOOP
		id := prefix || base;
		subjects := CASE WHEN base LIKE 'opp%' THEN 'opportunities' ELSE 'clients' END;
		IF EXISTS (SELECT FROM sopflow.sop s WHERE s.sop_id = id AND s.subject_relation IS NOT NULL
				AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.subject_relation)) THEN
			-- its subjects were dropped; those of the same id are others
			IF has_function_privilege('sopflow.cancel(text, text, bigint)', 'EXECUTE') THEN
				PERFORM sopflow.cancel(sop_id => id);
			ELSE
				RAISE NOTICE USING MESSAGE = format('runs of SOP "%s" for what was dropped go on', id),
					HINT = format('Somebody who may: SELECT sopflow.cancel(sop_id => %L);', id);
			END IF;
			UPDATE sopflow.sop SET subject_relation = subjects, enabled = true WHERE sop_id = id;
			RAISE NOTICE 'SOP "%" exists already and now has the new table %', id, subjects;
		ELSIF EXISTS (SELECT FROM sopflow.sop s WHERE s.sop_id = id) THEN
			RAISE NOTICE 'SOP "%" exists already and stays as it is', id;
		ELSIF base = 'customer_care_sop' THEN
			INSERT INTO sopflow.sop (sop_id, name, trigger_event, subject_relation, subject_key)
				VALUES (id, 'Customer care', prefix || 'ADD_CLIENT', subjects, 'client_id');
			INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, params, next) VALUES
				(id, 'node1', '24 hours', 'SEND_GREETING', '{"template": "WELCOME_MSG"}', 'node2'),
				(id, 'node2', '72 hours', 'PUSH_CASE', '{"case_id": "CASE_001"}', 'node3'),
				(id, 'node3', '96 hours', 'SEND_REG_LINK', '{"url": "/register/event123"}', 'node4'),
				(id, 'node4', '168 hours', 'FOLLOW_UP', sopflow.crm_make_text(E'{"message": "\\u662f\\u5426\\u67e5\\u9605\\u6848\\u4f8b\\uff1f"}')::jsonb, NULL);
		ELSIF base = 'material_sop' THEN
			INSERT INTO sopflow.sop (sop_id, name, trigger_event, reentry, subject_relation, subject_key)
				VALUES (id, 'Material', prefix || 'SUBMIT_APPLICATION', 'allow', subjects, 'client_id');
			INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, params) VALUES
				(id, 'n1', '0', 'SEND_REG_LINK', '{"url": "/register/event123"}'),
				(id, 'n2', '72 hours', 'FOLLOW_UP', sopflow.crm_make_text(E'{"message": "\\u662f\\u5426\\u67e5\\u9605\\u6848\\u4f8b\\uff1f"}')::jsonb);
		ELSIF base = 'opportunity_reminder_sop' THEN
			INSERT INTO sopflow.sop (sop_id, name, trigger_event, reentry, exit_events, subject_relation, subject_key)
				VALUES (id, 'Reminder before a lead is lost', prefix || 'OPPORTUNITY_EXPIRING', 'restart', ARRAY[prefix || 'OPPORTUNITY_SAFE'], subjects, 'opportunity_id');
			INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES (id, 'remind', prefix || 'REMIND_OWNER');
		ELSE
			-- no exit: a task for a lead that is not due any more does nothing
			INSERT INTO sopflow.sop (sop_id, name, trigger_event, reentry, subject_relation, subject_key)
				VALUES (id, 'Recycling of leads', prefix || 'OPPORTUNITY_DUE', 'restart', subjects, 'opportunity_id');
			INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES (id, 'recycle', prefix || 'RECYCLE_OPPORTUNITY');
		END IF;
	END LOOP;
	PERFORM sopflow.watch('clients', prefix || 'ADD_CLIENT', 'client_id', context => '{name,phone,email}');
	PERFORM sopflow.watch('registrations', prefix || 'SUBMIT_APPLICATION', 'client_id', context => '{registration_id}');
END
$make$;
COMMENT ON FUNCTION sopflow.crm_make_sops(name) IS 'create_crm(): actions, SOPs and watches';
