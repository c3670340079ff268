"""Databases and users of PostgreSQL. Names are quoted by the driver; passwords become verifiers before any statement."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from guest_worker.datastores.base import Accounts, PlainUser
from guest_worker.datastores.postgresql.session import ADMIN, Session, Statement
from workflows.domain.accounts import NewDatabase, User, UserName
from workflows.domain.datastores.postgresql import POSTGRESQL
from workflows.domain.errors import AlreadyExists, BadRequest, EngineFailed, NotFound

ROOT = "root"


class PostgreSQLAccounts(Accounts):
    """Users have no hosts; grants are per database, with its schema `public`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _do(self, statement: Statement, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _translated():
            return self._session.rows(statement, values)

    def _inside(self, database: str, statement: Statement) -> None:
        with _translated():
            self._session.rows_in(database, statement)

    # -- databases ---------------------------------------------------------------------------------------------------

    def list_databases(self) -> tuple[str, ...]:
        """All but the engine's own."""
        rows = self._do('SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname COLLATE "C"')
        return tuple(name for (name,) in rows if name not in POSTGRESQL.reserved_databases)

    def create_database(self, database: NewDatabase) -> None:
        """Create with encoding and locale where they are given; nobody but granted users may connect."""
        _checked(POSTGRESQL.check_database, database)
        if database.name in self.list_databases():
            raise AlreadyExists(f"Database {database.name} already exists.")
        name = sql.Identifier(database.name)
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name)
        if database.character_set:
            statement += sql.SQL(" ENCODING {}").format(sql.Literal(database.character_set))
        if database.collate:
            statement += sql.SQL(" LC_COLLATE {0} LC_CTYPE {0}").format(sql.Literal(database.collate))
        self._do(statement)
        self._do(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))

    def delete_database(self, name: str) -> None:
        """Drop it; sessions in it end."""
        self._require_database(name)
        self._do(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _require_database(self, name: str) -> None:
        if name not in self.list_databases():
            raise NotFound(f"Database {name} cannot be found on the instance.")

    # -- users -------------------------------------------------------------------------------------------------------

    def list_users(self) -> tuple[User, ...]:
        """All but the engine's own, with the databases that they may connect to."""
        grants = self._do(
            "SELECT r.rolname, d.datname FROM pg_database d, aclexplode(d.datacl) a JOIN pg_roles r ON r.oid = a.grantee "
            "WHERE a.privilege_type = 'CONNECT' AND NOT d.datistemplate ORDER BY d.datname COLLATE \"C\""
        )
        granted: dict[str, list[str]] = {}
        for user, database in grants:
            granted.setdefault(user, []).append(database)
        rows = self._do('SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY rolname COLLATE "C"')
        return tuple(
            User(name=name, databases=tuple(granted.get(name, ())))
            for (name,) in rows
            if name not in POSTGRESQL.reserved_users
        )

    def _exists(self, name: str) -> bool:
        return bool(self._do("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)))

    def _require(self, user: UserName) -> None:
        if user.name in POSTGRESQL.reserved_users or user.host != "%" or not self._exists(user.name):
            raise NotFound(f"User {user.name} cannot be found on the instance.")

    def create_user(self, user: PlainUser) -> None:
        """Create with password and grants."""
        _checked(POSTGRESQL.check_user, user.name.name, user.name.host)
        for database in user.databases:
            self._require_database(database)
        if self._exists(user.name.name):
            raise AlreadyExists(f"User {user.name.name} already exists.")
        self._login("CREATE ROLE {} LOGIN PASSWORD {}", user.name.name, user.password)
        for database in user.databases:
            self.grant(user.name, database)

    def _login(self, form: str, name: str, password: str) -> None:
        verifier = self._session.verifier(name, password)
        # the forms are this module's own, what is filled in is quoted
        statement = sql.SQL(form).format(sql.Identifier(name), sql.Literal(verifier))
        self._do(statement)

    def delete_user(self, user: UserName) -> None:
        """What it owns goes to the administrator, its grants go away."""
        self._require(user)
        role, admin = sql.Identifier(user.name), sql.Identifier(ADMIN)
        for database in ("postgres", *self.list_databases()):
            self._inside(database, sql.SQL("REASSIGN OWNED BY {} TO {}").format(role, admin))
            self._inside(database, sql.SQL("DROP OWNED BY {}").format(role))
        self._end_sessions(user.name)
        self._do(sql.SQL("DROP ROLE {}").format(role))

    def rename_user(self, user: UserName, new: UserName) -> None:
        """Rename, keeping password and grants."""
        _checked(POSTGRESQL.check_user, new.name, new.host)
        self._require(user)
        if self._exists(new.name):
            raise AlreadyExists(f"User {new.name} already exists.")
        self._end_sessions(user.name)
        self._do(sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(user.name), sql.Identifier(new.name)))

    def set_password(self, user: UserName, password: str) -> None:
        """Set a new password."""
        self._require(user)
        self._login("ALTER ROLE {} PASSWORD {}", user.name, password)

    def credential(self, user: UserName) -> str | None:
        """The verifier; of a role without a password an empty one."""
        rows = self._do("SELECT coalesce(rolpassword, '') FROM pg_catalog.pg_authid WHERE rolname = %s", (user.name,))
        return str(rows[0][0]) if rows else None

    def restore_credential(self, user: UserName, credential: str) -> None:
        """PostgreSQL takes a verifier in a password's place."""
        secret = sql.Literal(credential) if credential else sql.SQL("NULL")
        self._do(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(user.name), secret))

    def grant(self, user: UserName, database: str) -> None:
        """All rights on a database, and on what is and will be in its schema `public`."""
        self._require(user)
        self._require_database(database)
        role, name = sql.Identifier(user.name), sql.Identifier(database)
        self._do(sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(name, role))
        self._inside(database, sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(role))
        for kind in ("TABLES", "SEQUENCES"):
            form = "GRANT ALL ON ALL " + kind + " IN SCHEMA public TO {}"
            self._inside(database, sql.SQL(form).format(role))

    def revoke(self, user: UserName, database: str) -> None:
        """Take the rights back, and end the user's sessions in that database."""
        self._require(user)
        held = {each.name: each.databases for each in self.list_users()}.get(user.name, ())
        if database not in held:
            raise NotFound(f"User {user.name} has no access to database {database}.")
        role, name = sql.Identifier(user.name), sql.Identifier(database)
        self._do(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(name, role))
        self._inside(database, sql.SQL("REVOKE ALL ON SCHEMA public FROM {}").format(role))
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND datname = %s"
        self._do(statement, (user.name, database))

    def _end_sessions(self, name: str) -> None:
        self._do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (name,))

    # -- root --------------------------------------------------------------------------------------------------------

    def enable_root(self, password: str) -> str:
        """A superuser role named root."""
        form = (
            "ALTER ROLE {} SUPERUSER LOGIN PASSWORD {}"
            if self._exists(ROOT)
            else "CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}"
        )
        self._login(form, ROOT, password)
        return ROOT

    def disable_root(self) -> None:
        """A password that nobody knows, as Trove does it; open sessions end."""
        if not self._exists(ROOT):
            raise NotFound("Root user has never been enabled on the instance.")
        self._login("ALTER ROLE {} PASSWORD {}", ROOT, secrets.token_urlsafe(32))
        self._end_sessions(ROOT)


def _checked(check: Any, *values: Any) -> None:
    try:
        check(*values)
    except ValueError as error:
        raise BadRequest(str(error)) from error


@contextmanager
def _translated() -> Iterator[None]:
    """The engine's refusals as ours, without the statement."""
    try:
        yield
    except psycopg.Error as error:
        text = error.diag.message_primary or str(error).splitlines()[0]
        raise EngineFailed(f"the database refused it ({error.sqlstate}): {text}") from error
