"""What a tenant's root leaves in PostgreSQL."""

from tests.contracts.tables import Leftover

_TRY = "BEGIN EXECUTE $q${}$q$; EXCEPTION WHEN OTHERS THEN NULL; END;"
_ACTS = ("INSERT INTO public.loot SELECT rolpassword FROM pg_authid WHERE rolpassword <> ''",
         "ALTER ROLE amy SUPERUSER", "GRANT pg_execute_server_program TO bob",
         "COPY public.loot FROM PROGRAM 'id'", "SELECT pg_read_file('PG_VERSION')")  # fmt: skip
_EVIL = (
    "CREATE FUNCTION {}() RETURNS int LANGUAGE plpgsql {} AS $$BEGIN "
    + " ".join(_TRY.format(each) for each in _ACTS)
    + " RETURN 1; END$$"
)
_HASHES = "INSERT INTO loot SELECT rolpassword FROM pg_authid"
_READS = "INSERT INTO loot SELECT pg_read_file('PG_VERSION')"
_RUNS = "COPY loot FROM PROGRAM 'id'"
_ANYTHING = (_HASHES, _READS, _RUNS, "ALTER ROLE bob SUPERUSER", "CREATE ROLE other", "SELECT pg_ls_dir('.')")


def _of(whom: str) -> Leftover:
    lay = (
        _EVIL.format("f", "SECURITY DEFINER"),
        f"ALTER FUNCTION f OWNER TO {whom}",
        "GRANT EXECUTE ON FUNCTION f TO PUBLIC",
    )
    return Leftover(f"definer function of {whom}", ("ALTER ROLE bob SUPERUSER", *lay), ("SELECT f()",))


LEFT = (
    *(_of(whom) for whom in ("root", "os_admin", "bob")),
    *(
        Leftover(f"attribute {word}", (f"ALTER ROLE amy {word}",), _ANYTHING)
        for word in ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
    ),
    *(
        Leftover(f"member of {role}", (f"GRANT {role} TO amy WITH ADMIN OPTION",), (f"SET ROLE {role}", *_ANYTHING))
        for role in (
            "pg_execute_server_program",
            "pg_read_server_files",
            "pg_write_server_files",
            "pg_read_all_data",
            "pg_write_all_data",
            "pg_monitor",
            "pg_signal_backend",
            "os_admin",
            "root",
        )
    ),
    Leftover("member by a detour", ("GRANT os_admin TO pg_monitor", "GRANT pg_monitor TO amy"), _ANYTHING),
    Leftover("another superuser", ("CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'mine'",), gone=("boss",)),
    Leftover("root renamed", ("UPDATE pg_authid SET rolname = 'boss' WHERE rolname = 'root'",)),
    Leftover(
        "view of the administrator",
        (
            "CREATE VIEW v AS SELECT rolpassword AS h FROM pg_authid",
            "ALTER VIEW v OWNER TO os_admin",
            "GRANT ALL ON v TO amy",
        ),
        ("INSERT INTO loot SELECT h FROM v WHERE h IS NOT NULL",),
    ),
    *(
        Leftover(f"grant: {what}", (f"GRANT {what} TO amy, PUBLIC",), (spring,))
        for what, spring in (
            ("EXECUTE ON FUNCTION pg_read_file(text)", _READS),
            ("EXECUTE ON FUNCTION pg_ls_dir(text)", "INSERT INTO loot SELECT pg_ls_dir('.')"),
            ("EXECUTE ON FUNCTION lo_import(text)", "INSERT INTO loot SELECT lo_import('PG_VERSION')"),
            ("SELECT ON pg_authid", "INSERT INTO loot SELECT rolname FROM pg_authid"),
            ("SELECT (rolpassword) ON pg_authid", "INSERT INTO loot SELECT rolpassword FROM pg_authid"),
            ("CONNECT ON DATABASE postgres", "SELECT 1"),
            ("SET ON PARAMETER session_preload_libraries", "SELECT 1"),
            ("ALTER SYSTEM ON PARAMETER archive_command", "ALTER SYSTEM SET archive_command = 'id'"),
        )
    ),
    Leftover(
        "the engine's function with its owner's rights",
        (
            "ALTER FUNCTION pg_catalog.pg_read_file(text) SECURITY DEFINER",
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO PUBLIC",
        ),
        (_READS,),
    ),
    Leftover(
        "functions in C and of the engine's by other names",
        (
            "CREATE FUNCTION reads(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'",
            "UPDATE pg_language SET lanpltrusted = true WHERE lanname IN ('c', 'internal')",
        ),
        (
            "INSERT INTO loot SELECT reads('PG_VERSION')",
            "CREATE FUNCTION more(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'",
            "INSERT INTO loot SELECT more('PG_VERSION')",
        ),
    ),
    Leftover(
        "a foreign table that runs a program",
        (
            "CREATE EXTENSION file_fdw",
            "CREATE SERVER s FOREIGN DATA WRAPPER file_fdw",
            "CREATE FOREIGN TABLE ft (line text) SERVER s OPTIONS (program 'id')",
            "GRANT ALL ON ft TO amy, PUBLIC",
        ),
        ("INSERT INTO loot SELECT line FROM ft",),
    ),
    Leftover(
        "functions of an extension",
        ("CREATE EXTENSION adminpack", "GRANT EXECUTE ON FUNCTION pg_file_write TO PUBLIC"),
        ("INSERT INTO loot SELECT pg_file_write('mine', 'x', false)",),
    ),
    Leftover(
        "settings",
        (
            "ALTER SYSTEM SET archive_command = 'id'",
            "ALTER SYSTEM SET session_preload_libraries = 'auto_explain'",
            "ALTER ROLE amy SET session_preload_libraries = 'auto_explain'",
            "ALTER ROLE ALL SET lo_compat_privileges = on",
            "ALTER DATABASE app SET session_replication_role = replica",
            "ALTER ROLE amy SET work_mem = '5MB'",
        ),
    ),
    Leftover(
        "a session",
        ("ALTER ROLE amy SUPERUSER",),
        session="SELECT pg_sleep(20); SET SESSION AUTHORIZATION os_admin; " + _HASHES,
    ),
)
POWERFUL = """
SELECT rolname FROM pg_authid WHERE oid <> 10 AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
UNION ALL SELECT u.rolname FROM pg_authid r, pg_authid u WHERE u.oid >= 16384 AND r.rolname <> 'pg_database_owner'
    AND (r.oid < 16384 OR r.rolname = 'root') AND r.oid <> u.oid AND pg_has_role(u.oid, r.oid, 'MEMBER')
UNION ALL SELECT parname FROM pg_parameter_acl
UNION ALL SELECT name FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'
UNION ALL SELECT unnest(setconfig) FROM pg_db_role_setting WHERE array_to_string(setconfig, ' ') ~ 'librar|compat|replica'
UNION ALL SELECT datname FROM pg_database WHERE datname = 'postgres' AND has_database_privilege('amy', oid, 'CONNECT')
UNION ALL SELECT proname FROM pg_proc WHERE oid < 16384 AND (prosecdef OR (proname ~ '^(pg_read_file|lo_import|pg_ls_dir)$'
    AND has_function_privilege('amy', oid, 'EXECUTE')))
UNION ALL SELECT lanname FROM pg_language WHERE lanpltrusted AND lanname IN ('c', 'internal')
"""
WORK = (
    (
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE FUNCTION p() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.t VALUES (2)'",
        "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.u VALUES (1); RETURN NULL; END'",
        "CREATE TRIGGER g AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION g()",
    ),
    ("INSERT INTO v VALUES (1)", "SELECT p()", "DELETE FROM t", "INSERT INTO t SELECT 1 FROM u HAVING count(*) = 2"),
)
