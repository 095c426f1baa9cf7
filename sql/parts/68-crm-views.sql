-- ---------------------------------------------------------------------------
-- Views, row security and create_crm() itself.
-- ---------------------------------------------------------------------------

CREATE FUNCTION sopflow.crm_make_views(schema name) RETURNS void LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $make$
BEGIN
	PERFORM set_config('search_path', format('%I, pg_temp', schema), true);

	CREATE VIEW public_pool WITH (security_invoker) AS
		SELECT o.opportunity_id, o.client_id, o.category, o.level, o.source, o.type, o.status, o.minor_status,
			o.last_owner_id, o.released_at, o.pooled_at, o.frozen_until, o.created_at
		FROM opportunities o
		WHERE o.owner_id IS NULL AND o.closed_at IS NULL;
	COMMENT ON VIEW public_pool IS 'Leads that belong to nobody';

	CREATE VIEW my_pool WITH (security_invoker) AS
		SELECT o.* FROM opportunities o WHERE o.owner_id = (SELECT rep_of(current_user));
	COMMENT ON VIEW my_pool IS 'Leads of the rep that the current role is, see rep_of()';

	-- The reports count with the rights of their owner, so that who may read
	-- them needs to see no lead.
	CREATE VIEW pool_report AS
		SELECT o.category,
			count(*) FILTER (WHERE o.owner_id IS NULL AND o.closed_at IS NULL) AS public_leads,
			count(*) FILTER (WHERE o.owner_id IS NULL AND o.closed_at IS NULL AND o.frozen_until > sopflow.now()) AS frozen_leads,
			count(*) FILTER (WHERE o.owner_id IS NOT NULL AND o.closed_at IS NULL) AS private_leads,
			count(*) FILTER (WHERE o.recycle_at <= sopflow.now()) AS due_leads,
			count(*) FILTER (WHERE o.status = 'CONVERTED') AS won_leads,
			count(*) FILTER (WHERE o.closed_at IS NOT NULL AND o.status <> 'CONVERTED') AS lost_leads
		FROM opportunities o
		GROUP BY o.category;
	COMMENT ON VIEW pool_report IS 'Sizes of the pools, by category';

	CREATE VIEW rep_report AS
		SELECT r.rep_id, r.name, r.category, r.team, r.level, r.active,
			(SELECT count(*) FROM opportunities o WHERE o.owner_id = r.rep_id AND o.closed_at IS NULL) AS held,
			hold_limit(r.rep_id) AS hold_limit,
			(SELECT count(*) FROM opportunity_log l WHERE l.to_owner = r.rep_id AND l.ok AND l.operation = 'CLAIM'
				AND l.logged_at >= day_began()) AS claimed_today,
			(SELECT count(*) FROM opportunity_log l WHERE l.from_owner = r.rep_id AND l.ok AND l.operation = 'RECYCLE'
				AND l.logged_at > sopflow.now() - interval '30 days') AS recycled_30d,
			(SELECT count(*) FROM opportunities o WHERE o.owner_id = r.rep_id AND o.status = 'CONVERTED') AS won,
			(SELECT min(o.recycle_at) FROM opportunities o WHERE o.owner_id = r.rep_id) AS next_recycle_at
		FROM sales_reps r;
	COMMENT ON VIEW rep_report IS 'Sales reps: what they hold and may hold, have claimed today, lost to recycling in 30 days';

	CREATE VIEW ageing_report AS
		SELECT CASE WHEN o.owner_id IS NULL THEN 'public' ELSE 'private' END AS pool, o.category,
			CASE WHEN a.age < interval '1 day' THEN '1 day' WHEN a.age < interval '3 days' THEN '3 days'
				WHEN a.age < interval '7 days' THEN '7 days' WHEN a.age < interval '30 days' THEN '30 days'
				ELSE 'older' END AS age, count(*) AS leads, min(a.since) AS oldest
		FROM opportunities o,
			LATERAL (SELECT x.since, sopflow.now() - x.since AS age FROM (SELECT
				CASE WHEN o.owner_id IS NULL THEN coalesce(o.pooled_at, o.created_at)
					ELSE greatest(o.claimed_at, o.last_contact_at) END AS since) AS x) AS a
		WHERE o.closed_at IS NULL
		GROUP BY 1, 2, 3;
	COMMENT ON VIEW ageing_report IS 'Open leads by the time since their last contact, public ones since they came into the pool; age is the upper bound';

	CREATE VIEW denial_report AS
		SELECT l.code, l.operation, l.message, count(*) AS denials, count(DISTINCT l.to_owner) AS reps, max(l.logged_at) AS last_at
		FROM opportunity_log l
		WHERE NOT l.ok AND l.logged_at > sopflow.now() - interval '1 day'
		GROUP BY l.code, l.operation, l.message;
	COMMENT ON VIEW denial_report IS 'Why functions were denied in the last day';
END
$make$;
COMMENT ON FUNCTION sopflow.crm_make_views(name) IS 'create_crm(): views';

CREATE FUNCTION sopflow.crm_make_policies(schema name, manager_role name) RETURNS void LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $make$
DECLARE
	child text;
BEGIN
	PERFORM set_config('search_path', format('%I, pg_temp', schema), true);
	ALTER TABLE opportunities ENABLE ROW LEVEL SECURITY;
	CREATE POLICY pool ON opportunities
		USING (owner_id IS NULL OR owner_id = (SELECT rep_of(current_user)));
	-- what hangs on a lead is seen with it
	FOREACH child IN ARRAY ARRAY['contacts', 'opportunity_log', 'rep_tasks'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', child);
		EXECUTE format('CREATE POLICY pool ON %1$I USING (EXISTS (SELECT FROM opportunities o WHERE o.opportunity_id = %1$I.opportunity_id))', child);
	END LOOP;
	CREATE POLICY own ON rep_tasks USING (opportunity_id IS NULL AND rep_id = (SELECT rep_of(current_user)));
	-- and a client with one of his leads, or if he has none
	EXECUTE format($f$
		CREATE FUNCTION has_leads(client_id bigint) RETURNS bool LANGUAGE sql STABLE SECURITY DEFINER
			SET search_path = %1$I, pg_temp
			RETURN EXISTS (SELECT FROM opportunities o WHERE o.client_id = $1)
		$f$, schema);
	COMMENT ON FUNCTION has_leads(bigint) IS 'Whether there are leads of the client, seen or not';
	ALTER TABLE clients ENABLE ROW LEVEL SECURITY;
	CREATE POLICY pool ON clients
		USING (EXISTS (SELECT FROM opportunities o WHERE o.client_id = clients.client_id) OR NOT has_leads(client_id)) WITH CHECK (true);
	ALTER TABLE registrations ENABLE ROW LEVEL SECURITY;
	CREATE POLICY pool ON registrations
		USING (client_id IS NULL OR EXISTS (SELECT FROM clients c WHERE c.client_id = registrations.client_id)) WITH CHECK (true);
	IF manager_role IS NOT NULL THEN
		FOREACH child IN ARRAY ARRAY['opportunities', 'contacts', 'opportunity_log', 'rep_tasks', 'clients', 'registrations'] LOOP
			EXECUTE format('CREATE POLICY manager ON %I TO %I USING (true)', child, manager_role);
		END LOOP;
	END IF;
END
$make$;
COMMENT ON FUNCTION sopflow.crm_make_policies(name, name) IS 'create_crm(): row security';

CREATE FUNCTION sopflow.create_crm(schema name DEFAULT 'crm', row_security bool DEFAULT false, manager_role name DEFAULT NULL)
	RETURNS bool LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	there name;
BEGIN
	IF schema IS NULL OR schema = '' OR row_security IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'schema must not be null or empty, and row_security not null';
	END IF;
	SELECT c.relname INTO there FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = schema AND c.relname IN ('clients', 'registrations', 'sales_reps', 'opportunities', 'opportunity_log', 'contacts',
			'rep_tasks', 'assignment', 'assignment_turn', 'recycle_state', 'public_pool', 'my_pool', 'pool_report', 'rep_report', 'ageing_report', 'denial_report')
		ORDER BY c.relkind = 'v', c.relname LIMIT 1;
	IF FOUND THEN
		RAISE NOTICE USING MESSAGE = format('schema "%s" has a relation "%s" already; nothing was changed', schema, there),
			HINT = 'To hold tables of your own to the rules, use sopflow.copy_rules() and sopflow.guard().';
		RETURN false;
	END IF;
	BEGIN
		PERFORM sopflow.crm_make_text(E'\\u72b6\\u6001\\u7ed1\\u7c7b');
	EXCEPTION WHEN untranslatable_character OR undefined_function OR character_not_in_repertoire THEN
		RAISE EXCEPTION USING ERRCODE = 'untranslatable_character',
			MESSAGE = format('the texts of the CRM pack cannot be written in encoding %s', getdatabaseencoding()),
			HINT = 'Create it in a database of encoding UTF8.';
	END;
	IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = schema) THEN
		EXECUTE format('CREATE SCHEMA %I', schema);
	END IF;
	PERFORM sopflow.crm_make_tables(schema);
	PERFORM sopflow.crm_make_functions(schema);
	PERFORM sopflow.crm_make_rules(schema);
	PERFORM sopflow.crm_make_sops(schema);
	PERFORM sopflow.crm_make_views(schema);
	IF row_security THEN
		PERFORM sopflow.crm_make_policies(schema, manager_role);
	END IF;
	IF manager_role IS NOT NULL THEN
		EXECUTE format('GRANT EXECUTE ON FUNCTION %1$I.assign, %1$I.hand_over TO %2$I', schema, manager_role);
	END IF;
	RETURN true;
END
$$;
COMMENT ON FUNCTION sopflow.create_crm(name, bool, name) IS
	'Makes the tables, functions, views, rules and SOPs of the CRM pack in a schema; false: there are some already, and nothing was changed';
