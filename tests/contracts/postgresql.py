"""PostgreSQL's tables for the conformance suite."""

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.contracts import postgresql_left
from tests.contracts.tables import Dialect, Hold, Thing

THINGS = (
    Thing(
        "table",
        ("CREATE TABLE t (n int PRIMARY KEY, s text)", "INSERT INTO t VALUES (1)"),
        ("SELECT n FROM t", "INSERT INTO t VALUES (2)", "UPDATE t SET s = 'x'", "DELETE FROM t WHERE n = 2"),
        ("ALTER TABLE t ADD c int", "CREATE INDEX ON t (c)", "TRUNCATE t", "DROP TABLE t"),
    ),
    Thing(
        "table of an own schema",
        (
            "CREATE SCHEMA s",
            "CREATE TABLE s.t (n serial)",
            "CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ),
        ("INSERT INTO s.t DEFAULT VALUES", "SELECT s.f()", "CREATE TABLE IF NOT EXISTS s.u (n int)"),
        ("ALTER TABLE s.t ADD c int", "DROP TABLE s.u", "DROP SCHEMA s CASCADE"),
    ),
    Thing(
        "quoted names",
        ('CREATE SCHEMA "o\'r ""x"" %s"', 'CREATE TABLE "o\'r ""x"" %s"."%d t" (n int)'),
        ('INSERT INTO "o\'r ""x"" %s"."%d t" VALUES (1)',),
        ('ALTER TABLE "o\'r ""x"" %s"."%d t" ADD c int', 'DROP SCHEMA "o\'r ""x"" %s" CASCADE'),
    ),
    Thing(
        "view",
        ("CREATE TABLE t (n int)", "CREATE VIEW v AS SELECT n FROM t"),
        ("SELECT n FROM v", "INSERT INTO v VALUES (1)"),
        ("CREATE OR REPLACE VIEW v AS SELECT n FROM t WHERE n > 0", "DROP VIEW v", "DROP TABLE t"),
    ),
    Thing(
        "materialized view",
        ("CREATE MATERIALIZED VIEW m AS SELECT 1 AS n",),
        ("SELECT n FROM m",),
        ("REFRESH MATERIALIZED VIEW m", "DROP MATERIALIZED VIEW m"),
    ),
    Thing(
        "sequence", ("CREATE SEQUENCE q",), ("SELECT nextval('q')",), ("ALTER SEQUENCE q RESTART", "DROP SEQUENCE q")
    ),
    Thing(
        "function",
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "REVOKE ALL ON FUNCTION f() FROM PUBLIC"),
        ("SELECT f()",),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'", "DROP FUNCTION f()"),
    ),
    Thing(
        "procedure",
        ("CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN NULL; END'",),
        ("CALL p()",),
        ("ALTER PROCEDURE p() RENAME TO p2", "DROP PROCEDURE p2()"),
    ),
    Thing("type", ("CREATE TYPE y AS ENUM ('a')",), ("SELECT 'a'::y",), ("ALTER TYPE y ADD VALUE 'b'", "DROP TYPE y")),
    Thing(
        "domain",
        ("CREATE DOMAIN d AS int",),
        ("SELECT 1::d",),
        ("ALTER DOMAIN d ADD CHECK (VALUE > 0)", "DROP DOMAIN d"),
    ),
    Thing(
        "partitioned table",
        ("CREATE TABLE p (n int) PARTITION BY RANGE (n)", "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)"),
        ("INSERT INTO p VALUES (1)",),
        ("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (9) TO (19)", "DROP TABLE p"),
    ),
    Thing(
        "large object",
        ("SELECT lo_create(4711)",),
        ("SELECT lo_put(4711, 0, 'x')", "SELECT lo_get(4711)"),
        ("SELECT lo_unlink(4711)",),
    ),
    Thing(
        "extension",
        ("CREATE EXTENSION hstore",),
        ("SELECT 'a=>1'::hstore", "CREATE TABLE IF NOT EXISTS h (c hstore)"),
        ("ALTER EXTENSION hstore UPDATE", "DROP TABLE h", "DROP EXTENSION hstore"),
    ),
    Thing(
        "operator, collation, text search, statistics",
        (
            "CREATE FUNCTION eq(int, int) RETURNS bool LANGUAGE sql AS 'SELECT $1 = $2'",
            "CREATE OPERATOR === (FUNCTION = eq, LEFTARG = int, RIGHTARG = int)",
            'CREATE COLLATION c FROM "C"',
            "CREATE TEXT SEARCH DICTIONARY td (TEMPLATE = simple)",
            "CREATE TEXT SEARCH CONFIGURATION tc (COPY = simple)",
            "CREATE AGGREGATE sum2(int) (SFUNC = int4pl, STYPE = int)",
            "CREATE TABLE t (a int, b int)",
            "CREATE STATISTICS st ON a, b FROM t",
            "CREATE PUBLICATION pub FOR TABLE t",
        ),
        ("SELECT 1 === 1", "SELECT 'a' COLLATE c", "SELECT to_tsvector('tc', 'x')", "SELECT sum2(1)"),
        (
            "DROP OPERATOR === (int, int)",
            "DROP FUNCTION eq",
            "DROP COLLATION c",
            "DROP TEXT SEARCH CONFIGURATION tc",
            "DROP TEXT SEARCH DICTIONARY td",
            "DROP AGGREGATE sum2(int)",
            "DROP STATISTICS st",
            "DROP PUBLICATION pub",
            "DROP TABLE t",
        ),
    ),
    Thing(
        "after DISCARD ALL and RESET ROLE, as pools do it",
        (
            "DISCARD ALL",
            "CREATE TABLE t (n int)",
            "RESET ROLE",
            "RESET SESSION AUTHORIZATION",
            "CREATE TABLE u (n int)",
        ),
        ("SELECT * FROM t, u",),
        ("ALTER TABLE t ADD c int", "DROP TABLE t", "DROP TABLE u"),
    ),
)

HOLDS = (
    Hold("read", ("BEGIN", "SELECT * FROM t")),
    Hold("write", ("BEGIN", "INSERT INTO t VALUES (2)")),
    Hold("locked table", ("BEGIN", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")),
    Hold(
        "locked rows, cursor, listener",
        ("LISTEN l", "BEGIN", "DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE", "FETCH c"),
    ),
    Hold("uncommitted definition", ("BEGIN", "CREATE TABLE u (n int)", "DROP TABLE t")),
    Hold("uncommitted setting of the database", ("BEGIN", "ALTER DATABASE app SET work_mem = '5MB'")),
    Hold("advisory lock", ("SELECT pg_advisory_lock(1)",)),
)
ROOT_HOLDS = (
    Hold("uncommitted user", ("BEGIN", "CREATE ROLE eve"), database="postgres"),
    Hold("uncommitted change of a user", ("BEGIN", "ALTER ROLE amy CONNECTION LIMIT 9"), database="postgres"),
    Hold("uncommitted membership", ("BEGIN", "GRANT bob TO amy"), database="postgres"),
    Hold("uncommitted grant", ("BEGIN", "GRANT CREATE ON DATABASE app TO bob"), database="postgres"),
    Hold("locked databases", ("BEGIN", "LOCK TABLE pg_database IN SHARE MODE"), database="postgres"),
    Hold(
        "locked databases, for readers too",
        ("BEGIN", "LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE"),
        database="postgres",
    ),
    *(
        Hold(f"locked {table} of {database}", ("BEGIN", f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"), database)
        for table in ("pg_authid", "pg_auth_members", "pg_db_role_setting", "pg_shdepend", "pg_class", "pg_proc")
        for database in (("postgres", "app") if table in ("pg_class", "pg_proc") else ("postgres",))
    ),
)
HARM = {
    "renamed": ["ALTER ROLE os_admin RENAME TO gone"],
    "demoted": ["ALTER ROLE os_admin NOSUPERUSER"],
    "demoted and renamed": ["ALTER ROLE os_admin NOSUPERUSER", "ALTER ROLE os_admin RENAME TO gone"],
    "may not log in": ["ALTER ROLE os_admin NOLOGIN"],
    "no connection": ["ALTER ROLE os_admin NOSUPERUSER CONNECTION LIMIT 0"],
    "other password": ["ALTER ROLE os_admin PASSWORD 'mine'"],
    "no password": ["ALTER ROLE os_admin PASSWORD NULL"],
    "expired": ["ALTER ROLE os_admin VALID UNTIL '2001-01-01'"],
    "an impostor": ["ALTER ROLE os_admin RENAME TO gone", "CREATE ROLE os_admin LOGIN SUPERUSER PASSWORD 'mine'"],
    "its database dropped": ["DROP DATABASE postgres WITH (FORCE)"],
    "its database renamed": ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'",
                             "ALTER DATABASE postgres RENAME TO other"],
    "its database closed": ["ALTER DATABASE postgres ALLOW_CONNECTIONS false"],
}  # fmt: skip
HARMLESS = {
    "another role": ["CREATE ROLE nobody_much", "ALTER ROLE os_admin SET role = 'nobody_much'"],
    "search_path": ["ALTER ROLE os_admin SET search_path = 'nowhere'"],
    "read only": ["ALTER ROLE os_admin SET default_transaction_read_only = on"],
    "no time": ["ALTER ROLE os_admin SET statement_timeout = 1"],
    "no library": ["ALTER ROLE os_admin SET session_preload_libraries = 'nonesuch'"],
    "no library in its database": ["ALTER DATABASE postgres SET session_preload_libraries = 'nonesuch'"],
    "no socket": ["ALTER SYSTEM SET unix_socket_directories = '/tmp'", "ALTER SYSTEM SET port = 6000"],
    "no start": ["ALTER SYSTEM SET shared_preload_libraries = 'nonesuch'"],
    "no memory": ["ALTER SYSTEM SET shared_buffers = '900GB'"],
}

# what a tenant may have set for a database, or root for the administrator
UNTOUCHED = ("search_path=pg_catalog", "role=none", "local_preload_libraries=", "session_preload_libraries=",
             "default_transaction_read_only=off", "statement_timeout=0", "lock_timeout=0", "idle_session_timeout=0",
             "client_encoding=UTF8", "standard_conforming_strings=on")  # fmt: skip
DATABASE_OF_ADMIN = "SELECT 1 FROM pg_database WHERE datname = current_database() AND datdba = 'os_admin'::regrole"
OWNERS = {
    "pg_class": "relowner",
    "pg_proc": "proowner",
    "pg_namespace": "nspowner",
    "pg_type": "typowner",
    "pg_operator": "oprowner",
    "pg_opclass": "opcowner",
    "pg_opfamily": "opfowner",
    "pg_collation": "collowner",
    "pg_conversion": "conowner",
    "pg_ts_dict": "dictowner",
    "pg_ts_config": "cfgowner",
    "pg_statistic_ext": "stxowner",
    "pg_foreign_server": "srvowner",
    "pg_foreign_data_wrapper": "fdwowner",
    "pg_largeobject_metadata": "lomowner",
    "pg_publication": "pubowner",
    "pg_event_trigger": "evtowner",
    "pg_subscription": "subowner",
    "pg_language": "lanowner",
    "pg_extension": "extowner",
}


class PostgreSQLDialect(Dialect):
    """PostgreSQL over psycopg."""

    manager = "postgresql"
    forgetful = {"fsync": "off", "full_page_writes": "off"}
    attempt = postgresql_left.ATTEMPT
    things = THINGS
    traps = postgresql_left.TRAPS
    holds = HOLDS
    root_holds = ROOT_HOLDS
    left = postgresql_left.LEFT
    also_granted = ("CREATE TABLE u (n int)", "GRANT SELECT ON u TO amy", "GRANT CONNECT ON DATABASE app TO amy")
    powerful = postgresql_left.POWERFUL
    work_of_root = postgresql_left.WORK
    clean = (
        "UPDATE pg_authid SET rolname = 'gone_' || oid WHERE rolname = 'boss'",
        "DELETE FROM pg_db_role_setting WHERE setrole = 0 AND setdatabase = 0",
    )
    harm = HARM
    harmless = HARMLESS
    accounts_named = "SELECT count(*) FROM pg_roles WHERE rolname LIKE '{}%' AND rolcanlogin"
    databases_named = "SELECT count(*) FROM pg_database WHERE datname LIKE '{}%'"
    large_table = ("CREATE TABLE heap (text text)", "ALTER TABLE heap ALTER text SET STORAGE EXTERNAL")
    drop_waits_for = "checkpointer"
    break_off = ("SELECT pg_logical_emit_message(false, '', repeat('x', 40000000))",  # more than is left of the log's segments
                 "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DROP DATABASE%'")  # fmt: skip
    memory_question = "SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'shared_buffers'"

    def administer(self, data: Path, password: str, database: str = "") -> Any:
        """Over the socket."""
        return psycopg.connect(
            host=str(data / "postgresql"),
            user="os_admin",
            password=password,
            dbname=database or "postgres",
            autocommit=True,
            options=" ".join(f"-c {setting}" for setting in UNTOUCHED),
        )

    def owned_by_administrator(self, connection: Any) -> list[str]:
        """Whatever has an owner, as the catalogs say; members of extensions are the extension's."""
        found = ["the database"] if self.ask(connection, DATABASE_OF_ADMIN) else []
        for table, owner in OWNERS.items():
            question = sql.SQL(
                "SELECT concat(obj.type, ' ', obj.identity) FROM {0} o,"
                " LATERAL pg_identify_object({1}::regclass, o.oid, 0) obj"
                " WHERE o.{2} = 'os_admin'::regrole AND o.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d"
                " WHERE d.classid = {1}::regclass AND d.objid = o.oid AND d.deptype IN ('e', 'i'))"
            ).format(sql.Identifier(table), sql.Literal(table), sql.Identifier(owner))
            found += [name for (name,) in connection.execute(question).fetchall() if "pg_toast" not in name]
        return found

    def powers(self, connection: Any, user: str) -> list[str]:
        """Attributes of roles, and memberships in the engine's own."""
        found = self.ask(
            connection,
            "SELECT unnest(array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END,"
            " CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,"
            " CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL))"
            f" FROM pg_roles WHERE rolname = '{user}' UNION ALL SELECT r.rolname FROM pg_roles u, pg_roles r"
            f" WHERE u.rolname = '{user}' AND NOT u.rolsuper AND (r.rolname LIKE 'pg\\_%' OR r.rolsuper)"
            " AND r.rolname <> 'pg_database_owner' AND pg_has_role(u.oid, r.oid, 'MEMBER')",
        )
        return [name for (name,) in found]


DIALECT = PostgreSQLDialect()
