"""What is asked of PostgreSQL's catalogs about users and what they may enter."""

GRANTS = """
SELECT r.rolname, d.datname FROM pg_database d, aclexplode(d.datacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE a.privilege_type = 'CONNECT' AND a.grantee <> d.datdba
UNION SELECT r.rolname, d.datname FROM pg_database d JOIN pg_auth_members m ON m.roleid = d.datdba
JOIN pg_roles r ON r.oid = m.member ORDER BY 2, 1
"""
SOMETHING = """
SELECT 1 FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %s AND d.datname = %s LIMIT 1
"""
MEMBERSHIPS = """
SELECT convert_to(quote_ident(r.rolname), 'SQL_ASCII') FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
WHERE m.member = %s
"""
ADMITTED = """
SELECT convert_to(quote_ident(d.datname), 'SQL_ASCII') FROM pg_database d, aclexplode(d.datacl) a WHERE a.grantee = %s
"""
# owning roles of the databases in which a role owns something
HEIRS = """
SELECT DISTINCT convert_to(quote_ident(o.rolname), 'SQL_ASCII')
FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles o ON o.oid = d.datdba
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %s AND s.deptype = 'o' AND starts_with(o.rolname, 'coffer_owner_')
"""
