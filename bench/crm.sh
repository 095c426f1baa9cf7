# shellcheck shell=bash disable=SC2034
# What the benchmarks of the CRM pack share: packs, and twins of their tables
# that an application keeps in order by itself.
source "$BENCH/rules.sh"
LEADS=10000 REPS=50 LIMIT=100

# pack SCHEMA: leads with the level "short" go back a second after the claim
pack() {
	cat <<-SQL
	SELECT sopflow.create_crm('$1');
	INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value)
		SELECT rule_set, param, 'level:short', '1 second' FROM sopflow.rule_param
		WHERE rule_set = sopflow.crm_prefix('$1') || 'opportunity_recycle' AND param IN ('contact_within', 'protection');
	UPDATE sopflow.rule_param SET value = NULL WHERE rule_set = sopflow.crm_prefix('$1') || 'opportunity_unbind' AND param = 'freeze_after_claims';
	$(reps "$1")
	SQL
}

# twin SCHEMA: the same tables, indexes and keys with no trigger
twin() {
	cat <<-SQL
	CREATE SCHEMA $1;
	CREATE TABLE $1.clients (LIKE fn.clients INCLUDING ALL);
	CREATE TABLE $1.sales_reps (LIKE fn.sales_reps INCLUDING ALL);
	CREATE TABLE $1.opportunities (LIKE fn.opportunities INCLUDING ALL,
		FOREIGN KEY (client_id) REFERENCES $1.clients, FOREIGN KEY (owner_id) REFERENCES $1.sales_reps,
		FOREIGN KEY (last_owner_id) REFERENCES $1.sales_reps);
	CREATE TABLE $1.opportunity_log (LIKE fn.opportunity_log INCLUDING ALL);
	$(reps "$1")
	SQL
}
reps() {
	cat <<-SQL
	INSERT INTO $1.sales_reps (name, category, team, level) SELECT 'rep ' || g, 'phone', 'team ' || g % 5, 'A' FROM generate_series(1, $REPS) g;
	INSERT INTO $1.clients (name, phone) SELECT 'client ' || g, g FROM generate_series(1, 100) g;
	SQL
}

# leads SCHEMA COUNT: public; one in twenty is of a category that no rep has,
# one in ten goes back soon
leads() {
	echo "INSERT INTO $1.opportunities (client_id, category, level) SELECT 1 + g % 100,
		CASE WHEN g % 20 = 0 THEN 'computer' ELSE 'phone' END, CASE WHEN g % 10 = 1 THEN 'short' ELSE 'A' END FROM generate_series(1, $2) g;"
}

# What an application writes: CLAIMED and RELEASED are the SET lists, the log
# has the columns that the pack fills
CLAIMED="status = 'BIND', minor_status = NULL, frozen_until = NULL, acquired_by = 'CLAIM', claimed_at = now(),
	recycle_at = now() + CASE WHEN level = 'short' THEN interval '1 second' ELSE interval '240 hours' END"
RELEASED="owner_id = NULL, status = 'UNBIND', minor_status = 'UNBIND_NORMAL', acquired_by = NULL, claimed_at = NULL, recycle_at = NULL,
	last_owner_id = owner_id, released_at = now(), pooled_at = now()"
LOGGED="(opportunity_id, operation, ok, code, from_owner, to_owner, from_status, to_status)"

# what it asks of a lead: ask SCHEMA LEAD REP; and of a rep: held SCHEMA REP
ask() {
	echo "o.owner_id IS NULL AND o.status IN ('UNBIND', 'NEW') AND (o.last_owner_id IS DISTINCT FROM $2
	OR o.released_at + interval '72 hours' <= now()) AND coalesce(o.frozen_until <= now(), true)
	AND NOT EXISTS (SELECT FROM $1.sales_reps r WHERE r.rep_id = $2 AND (r.category <> o.category OR NOT r.active))"
}
held() { echo "SELECT count(*) FROM $1.opportunities WHERE owner_id = $2 AND status NOT IN ('CONVERTED', 'LOST', 'INVALID')"; }

# owned SCHEMA EACH: that many of the leads have each rep already
owned() {
	cat <<-SQL
	SET session_replication_role = replica;
	WITH u AS (UPDATE $1.opportunities SET owner_id = 1 + opportunity_id % $REPS, $CLAIMED
		WHERE category = 'phone' AND opportunity_id IN (SELECT opportunity_id FROM (SELECT opportunity_id, row_number() OVER (PARTITION BY opportunity_id % $REPS ORDER BY random()) AS n
			FROM $1.opportunities WHERE category = 'phone') o WHERE n <= $2) RETURNING opportunity_id, owner_id)
	INSERT INTO $1.opportunity_log $LOGGED SELECT opportunity_id, 'LOADED', true, NULL, NULL, owner_id, 'UNBIND', 'BIND' FROM u;
	RESET session_replication_role;
	SQL
}
