"""What tenants lay in PostgreSQL for the administrator to pass by, and what their root leaves."""

from tests.contracts.tables import Leftover, Trap

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

ATTEMPT = (
    "CREATE SCHEMA evil",
    "GRANT USAGE, CREATE ON SCHEMA evil TO PUBLIC",
    """CREATE FUNCTION evil.pwn() RETURNS int LANGUAGE plpgsql AS $$BEGIN
        BEGIN EXECUTE 'ALTER ROLE amy SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN EXECUTE 'ALTER ROLE bob SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN EXECUTE 'GRANT pg_execute_server_program TO bob'; EXCEPTION WHEN OTHERS THEN NULL; END;
        RETURN 1; END$$""",
)

_DEFINER = """CREATE FUNCTION evil.run() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
    $$BEGIN RETURN evil.pwn(); END$$"""
_TRIGGER = (
    "CREATE FUNCTION evil.trig() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.pwn(); RETURN NULL; END'"
)
_EVENT = """CREATE FUNCTION evil.event() RETURNS event_trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM evil.pwn(); END'"""
_IMMUTABLE = "CREATE FUNCTION evil.imm(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN evil.pwn(); END'"
_SHADOWS = """CREATE FUNCTION evil.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS
    $$BEGIN PERFORM evil.pwn(); RETURN {value}; END$$"""

TRAPS = (
    Trap("definer function", (_DEFINER,), spring=("SELECT evil.run()",)),
    Trap(
        "view and materialized view",
        (
            "CREATE VIEW evil.v AS SELECT evil.pwn()",
            "CREATE MATERIALIZED VIEW evil.m AS SELECT evil.pwn()",
            "CREATE VIEW evil.hashes AS SELECT rolpassword FROM pg_authid",
        ),
        spring=("SELECT * FROM evil.v", "SELECT * FROM evil.hashes", "REFRESH MATERIALIZED VIEW evil.m"),
    ),
    Trap(
        "rule and trigger",
        (
            _TRIGGER,
            "CREATE TABLE t (n int)",
            "CREATE TRIGGER tr AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION evil.trig()",
            "CREATE TABLE r (n int)",
            "CREATE RULE rule AS ON INSERT TO r DO ALSO SELECT evil.pwn()",
        ),
        spring=("INSERT INTO t VALUES (1)", "INSERT INTO r VALUES (1)"),
    ),
    Trap(
        "index, check, default, generated column, domain",
        (
            _IMMUTABLE,
            "CREATE TABLE t (n int DEFAULT evil.pwn(), g int GENERATED ALWAYS AS (evil.imm(1)) STORED)",
            "CREATE TABLE u (n int)",
            "CREATE INDEX ON u (evil.imm(n))",
            "ALTER TABLE u ADD CHECK (evil.imm(n) = 1)",
            "CREATE DOMAIN evil.d AS int CHECK (evil.imm(VALUE) = 1)",
            "CREATE TABLE w (d evil.d)",
        ),
        spring=("INSERT INTO t DEFAULT VALUES", "INSERT INTO u VALUES (1)", "INSERT INTO w VALUES (1)", "ANALYZE u"),
    ),
    Trap(
        "names in search paths",
        (
            _SHADOWS.format(name="quote_ident", arguments="name", result="text", value="'x'"),
            _SHADOWS.format(name="has_database_privilege", arguments="oid, text, text", result="bool", value="true"),
            _SHADOWS.format(name="set_config", arguments="text, text, boolean", result="text", value="'x'"),
            _SHADOWS.format(name="neq", arguments="name, text", result="bool", value="true"),
            "CREATE OPERATOR evil.<> (FUNCTION = evil.neq, LEFTARG = name, RIGHTARG = text)",
            "CREATE OPERATOR evil.= (FUNCTION = evil.neq, LEFTARG = name, RIGHTARG = text)",
            "CREATE VIEW evil.pg_database AS SELECT *, evil.pwn() AS pwn FROM pg_catalog.pg_database",
            "CREATE VIEW evil.pg_event_trigger AS SELECT *, evil.pwn() AS pwn FROM pg_catalog.pg_event_trigger",
            "CREATE VIEW evil.pg_authid AS SELECT *, evil.pwn() AS pwn FROM pg_catalog.pg_roles",
            "ALTER DATABASE app SET search_path = evil, pg_catalog",
        ),
    ),
    Trap(
        "settings of the database",
        (
            "ALTER DATABASE app SET local_preload_libraries = 'no_such_library'",
            "ALTER DATABASE app SET default_transaction_read_only = on",
            "ALTER DATABASE app SET statement_timeout = 1",
            "ALTER DATABASE app SET lock_timeout = 1",
            "ALTER DATABASE app SET idle_session_timeout = 1",
            "ALTER DATABASE app SET client_encoding = 'LATIN1'",
            "ALTER DATABASE app SET default_tablespace = 'none'",
            "ALTER DATABASE app SET standard_conforming_strings = off",
            "ALTER DATABASE app SET quote_all_identifiers = on",
            "DO $$BEGIN EXECUTE format('ALTER DATABASE app SET role = %I', current_user); END$$",
        ),
    ),
    Trap(
        "a database turned into a template",
        ("ALTER DATABASE app IS_TEMPLATE true", "ALTER DATABASE app CONNECTION LIMIT 0"),
    ),
    Trap("things that the database is given", ("ALTER SCHEMA public RENAME TO private",)),
    Trap("definer function of root", (_DEFINER,), by_root=True, spring=("SELECT evil.run()",)),
    Trap(
        "event triggers of root",
        (
            _EVENT,
            "CREATE EVENT TRIGGER e1 ON ddl_command_start EXECUTE FUNCTION evil.event()",
            "CREATE EVENT TRIGGER e2 ON ddl_command_end EXECUTE FUNCTION evil.event()",
            'CREATE EVENT TRIGGER "e%3" ON sql_drop EXECUTE FUNCTION evil.event()',
            "ALTER EVENT TRIGGER e2 ENABLE ALWAYS",
            'ALTER EVENT TRIGGER "e%3" ENABLE REPLICA',
        ),
        by_root=True,
    ),
    Trap(
        "an event trigger of root that refuses everything",
        (
            "CREATE FUNCTION evil.no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'",
            "CREATE EVENT TRIGGER no ON ddl_command_start EXECUTE FUNCTION evil.no()",
            "ALTER EVENT TRIGGER no ENABLE ALWAYS",
        ),
        by_root=True,
    ),
    Trap(
        "foreign data wrapper, server, publication, subscription of root",
        (
            "CREATE EXTENSION postgres_fdw",
            "CREATE EXTENSION dblink",
            "CREATE FOREIGN DATA WRAPPER w",
            "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
            "CREATE USER MAPPING FOR amy SERVER s",
            "CREATE PUBLICATION p FOR ALL TABLES",
            "CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false)",
        ),
        by_root=True,
    ),
    Trap(
        "a subscription, which forbids a drop, and event triggers of root",
        (
            "CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false)",
            _EVENT,
            "CREATE EVENT TRIGGER e1 ON ddl_command_start EXECUTE FUNCTION evil.event()",
            "CREATE EVENT TRIGGER e2 ON ddl_command_end EXECUTE FUNCTION evil.event()",
            "CREATE EVENT TRIGGER e3 ON sql_drop EXECUTE FUNCTION evil.event()",
        ),
        by_root=True,
    ),
    Trap(
        "settings of the administrator",
        (
            "ALTER ROLE os_admin SET search_path = evil",
            "ALTER ROLE os_admin SET session_preload_libraries = 'no_such_library'",
            "ALTER ROLE os_admin IN DATABASE app SET default_transaction_read_only = on",
            "ALTER ROLE os_admin SET role = amy",
            "ALTER ROLE os_admin SET statement_timeout = 1",
        ),
        by_root=True,
    ),
    Trap(
        "a database of root",
        (
            "CREATE DATABASE of_root",
            "ALTER DATABASE of_root SET search_path = evil",
        ),
        by_root=True,
    ),
)
