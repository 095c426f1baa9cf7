-- One session asks, another changes a rule's parameter meanwhile.
\pset footer off
\pset null ''

\echo 'session 1: SELECT * FROM crm.claim(''{4,5}'', 1);'
SELECT opportunity_id AS lead, ok, code, message FROM crm.claim('{4,5}', 1);

\set update 'UPDATE sopflow.rule_param SET value = \'4\' WHERE (rule_set, param) = (\'opportunity_claim\', \'max_hold\');'
\setenv UPDATE :update
\echo session 2: :update
\echo
\! psql -X -q -c "$UPDATE"

\echo 'session 1: SELECT * FROM crm.claim(''{5,9}'', 1);'
SELECT opportunity_id AS lead, ok, code, message FROM crm.claim('{5,9}', 1);

\echo 'any other program: UPDATE crm.opportunities SET owner_id = 1 WHERE opportunity_id = 9;'
UPDATE crm.opportunities SET owner_id = 1 WHERE opportunity_id = 9;
