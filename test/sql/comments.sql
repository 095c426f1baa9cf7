-- The manners of the extension's objects: everything is commented, nothing is
-- open to PUBLIC but what is listed here, and no function with its owner's
-- rights has an open search_path.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
RESET client_min_messages;

-- Objects without a comment.
SELECT i.type, i.identity
FROM pg_catalog.pg_depend d
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) i
WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass
  AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'sopflow')
  AND d.deptype = 'e'
  AND pg_catalog.obj_description(d.objid, d.classid::regclass::name) IS NULL
  -- row types of relations, and arrays, are members by themselves from 17 on
  AND NOT (d.classid = 'pg_catalog.pg_type'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_type t
	LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
	WHERE t.oid = d.objid AND (t.typcategory = 'A' OR c.relkind <> 'c')))
ORDER BY i.type COLLATE "C", i.identity COLLATE "C";

-- Functions that PUBLIC may execute.
SELECT p.oid::pg_catalog.regprocedure AS function
FROM pg_catalog.pg_proc p
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
WHERE p.pronamespace = 'sopflow'::regnamespace AND a.grantee = 0
ORDER BY p.oid::pg_catalog.regprocedure::text COLLATE "C";

-- Relations, columns, schemas and types on which PUBLIC has a right. (Types are
-- usable by PUBLIC unless that is revoked, and show nothing; they are left out.)
SELECT c.oid::pg_catalog.regclass AS relation, a.privilege_type
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
WHERE c.relnamespace = 'sopflow'::regnamespace AND a.grantee = 0
ORDER BY 1, 2;
SELECT n.nspname AS schema, a.privilege_type
FROM pg_catalog.pg_namespace n
CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a
WHERE n.nspname = 'sopflow' AND a.grantee = 0
ORDER BY 1, 2;

-- Functions with their owner's rights whose search_path is open.
SELECT p.oid::pg_catalog.regprocedure AS function
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = 'sopflow'::regnamespace AND p.prosecdef
  AND NOT coalesce(pg_catalog.array_to_string(p.proconfig, ' ') ~ 'search_path=', false)
ORDER BY p.oid::pg_catalog.regprocedure::text COLLATE "C";
