"""How each engine is reached from outside: clients of tenants over TCP, the administrator over its socket, and SQL.

What the suites ask is the same for every engine; what differs is in the tables of a dialect. A new engine fills them in.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pymysql
import pytest
from psycopg import sql

from tests.contracts.mariadb import MARIADB_ATTEMPT, MARIADB_HOLDS, MARIADB_THINGS, MARIADB_TRAPS
from tests.contracts.postgresql import POSTGRESQL_ATTEMPT, POSTGRESQL_HOLDS, POSTGRESQL_THINGS, POSTGRESQL_TRAPS
from tests.contracts.tables import Hold, Thing, Trap


class Dialect(ABC):
    """One engine, seen by a tenant."""

    manager: ClassVar[str]
    memory_question: ClassVar[str]
    refused: ClassVar[tuple[type[Exception], ...]]
    create_row: ClassVar[str] = "INSERT INTO t VALUES (1)"
    attempt: ClassVar[tuple[str, ...]] = ()  # makes what traps call
    things: ClassVar[tuple[Thing, ...]] = ()
    traps: ClassVar[tuple[Trap, ...]] = ()
    holds: ClassVar[tuple[Hold, ...]] = ()

    @abstractmethod
    def connect(self, address: str, user: str, password: str, database: str) -> Any:
        """A connection in autocommit; raises `refused` when the engine says no."""

    @abstractmethod
    def administer(self, data: Path, password: str, database: str = "") -> Any:
        """The administrator's connection, to see what is true."""

    @abstractmethod
    def owned_by_administrator(self, connection: Any) -> list[str]:
        """What a tenant could have made and is the administrator's, in the database of an administrator's connection."""

    @abstractmethod
    def powers(self, connection: Any, user: str) -> list[str]:
        """Rights of a user that reach beyond databases, asked on an administrator's connection."""

    def ask(self, connection: Any, question: str) -> list[tuple[Any, ...]]:
        """Rows of an answer."""
        with connection.cursor() as cursor:
            cursor.execute(question)
            return list(cursor.fetchall()) if cursor.description else []


class MariaDBDialect(Dialect):
    """MariaDB over pymysql."""

    manager = "mariadb"
    memory_question = "SELECT @@innodb_buffer_pool_size"
    refused = (pymysql.err.MySQLError,)
    attempt = MARIADB_ATTEMPT
    things = MARIADB_THINGS
    traps = MARIADB_TRAPS
    holds = MARIADB_HOLDS

    def connect(self, address: str, user: str, password: str, database: str) -> Any:
        """Connect as a tenant does."""
        return pymysql.connect(
            host=address, user=user, password=password, database=database or None, autocommit=True, connect_timeout=5
        )

    def administer(self, data: Path, password: str, database: str = "") -> Any:
        """Over the socket."""
        socket = str(data / "mariadb" / "mariadb.sock")
        return pymysql.connect(
            unix_socket=socket, user="os_admin", password=password, database=database or None, autocommit=True
        )

    def owned_by_administrator(self, connection: Any) -> list[str]:
        """Views, routines, triggers and events whose definer is the administrator."""
        found = self.ask(
            connection,
            "SELECT CONCAT('view ', TABLE_NAME) FROM information_schema.VIEWS"
            " WHERE TABLE_SCHEMA = DATABASE() AND DEFINER LIKE 'os\\_admin@%'"
            " UNION ALL SELECT CONCAT('routine ', ROUTINE_NAME) FROM information_schema.ROUTINES"
            " WHERE ROUTINE_SCHEMA = DATABASE() AND DEFINER LIKE 'os\\_admin@%'"
            " UNION ALL SELECT CONCAT('trigger ', TRIGGER_NAME) FROM information_schema.TRIGGERS"
            " WHERE TRIGGER_SCHEMA = DATABASE() AND DEFINER LIKE 'os\\_admin@%'"
            " UNION ALL SELECT CONCAT('event ', EVENT_NAME) FROM information_schema.EVENTS"
            " WHERE EVENT_SCHEMA = DATABASE() AND DEFINER LIKE 'os\\_admin@%'",
        )
        return [name for (name,) in found]

    def powers(self, connection: Any, user: str) -> list[str]:
        """Global privileges."""
        found = self.ask(
            connection,
            "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES"
            f" WHERE GRANTEE LIKE '''{user}''@%' AND PRIVILEGE_TYPE <> 'USAGE'",
        )
        return [name for (name,) in found]


class PostgreSQLDialect(Dialect):
    """PostgreSQL over psycopg."""

    manager = "postgresql"
    attempt = POSTGRESQL_ATTEMPT
    things = POSTGRESQL_THINGS
    traps = POSTGRESQL_TRAPS
    holds = POSTGRESQL_HOLDS
    memory_question = "SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'shared_buffers'"
    refused = (psycopg.Error,)

    def connect(self, address: str, user: str, password: str, database: str) -> Any:
        """Connect as a tenant does."""
        return psycopg.connect(
            host=address,
            user=user,
            password=password,
            dbname=database or "postgres",
            autocommit=True,
            connect_timeout=5,
        )

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

DIALECTS: dict[str, Dialect] = {each.manager: each for each in (MariaDBDialect(), PostgreSQLDialect())}


def each(table: str) -> pytest.MarkDecorator:
    """Parametrise a test with every entry of one table (`things`, `traps`, `holds`) of every engine."""
    found = [
        pytest.param(manager, entry, id=f"{manager}-{entry.name.replace(' ', '_')}")
        for manager, dialect in DIALECTS.items()
        for entry in getattr(dialect, table)
    ]
    return pytest.mark.parametrize(("case", table.removesuffix("s")), found, indirect=["case"])
