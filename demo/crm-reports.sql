-- What managers look at.
\pset footer off
\pset null ''

\echo
\echo crm.opportunity_log of lead 12
SELECT l.operation, f.name AS from_rep, t.name AS to_rep, l.from_status, l.to_status, l.minor_status, l.code
FROM crm.opportunity_log l
LEFT JOIN crm.sales_reps f ON f.rep_id = l.from_owner
LEFT JOIN crm.sales_reps t ON t.rep_id = l.to_owner
WHERE l.opportunity_id = 12 ORDER BY l.log_id;

\echo crm.rep_report
SELECT name, category, team, active, held, hold_limit, claimed_today, recycled_30d AS recycled
FROM crm.rep_report ORDER BY rep_id;

\echo crm.pool_report
SELECT category, public_leads, frozen_leads, private_leads FROM crm.pool_report;

\echo crm.denial_report
SELECT code, operation, message, denials, reps FROM crm.denial_report ORDER BY code, message;
