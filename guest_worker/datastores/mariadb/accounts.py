"""Databases and users of MariaDB. Names are quoted here and nowhere else; values by the driver."""

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pymysql

from guest_worker.datastores.base import Accounts, PlainUser
from guest_worker.datastores.mariadb.session import Session
from workflows.domain.accounts import NewDatabase, User, UserName
from workflows.domain.datastores.mariadb import MARIADB
from workflows.domain.errors import AlreadyExists, BadRequest, EngineFailed, NotFound

EXISTS, NO_SUCH_DATABASE = 1007, 1008
ROOT = UserName(name="root", host="%")


class MariaDBAccounts(Accounts):
    """Users have hosts; grants are per database."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _do(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _translated():
            return self._session.rows(statement, values)

    def list_databases(self) -> tuple[str, ...]:
        """All but the engine's own."""
        rows = self._do("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY BINARY SCHEMA_NAME")
        return tuple(name for (name,) in rows if name not in MARIADB.reserved_databases)

    def create_database(self, database: NewDatabase) -> None:
        """Create with character set and collation where they are given."""
        _checked(MARIADB.check_database, database)
        statement = f"CREATE DATABASE {_name(database.name)}"
        values: list[str] = []
        if database.character_set:
            statement, values = statement + " CHARACTER SET = %s", [*values, database.character_set]
        if database.collate:
            statement, values = statement + " COLLATE = %s", [*values, database.collate]
        try:
            self._do(statement, values)
        except EngineFailed as error:
            if _code(error) == EXISTS:
                raise AlreadyExists(f"Database {database.name} already exists.") from error
            raise

    def delete_database(self, name: str) -> None:
        """Drop it and what was granted on it."""
        self._require_database(name)
        self._do(f"DROP DATABASE {_name(name)}")
        for user in self.list_users():
            if name in user.databases:
                self.revoke(UserName(name=user.name, host=user.host), name)

    def _require_database(self, name: str) -> None:
        if name not in self.list_databases():
            raise NotFound(f"Database {name} cannot be found on the instance.")

    def list_users(self) -> tuple[User, ...]:
        """All but the engine's own, with the databases that they may use."""
        rows = self._do("SELECT User, Host FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role') IS NULL")
        granted: dict[tuple[str, str], list[str]] = {}
        for user, host, database in self._do("SELECT User, Host, Db FROM mysql.db ORDER BY BINARY Db"):
            granted.setdefault((user, host), []).append(re.sub(r"\\([_%\\])", r"\1", database))
        found = [(name, host) for name, host in rows if name and name not in MARIADB.reserved_users]
        return tuple(
            User(name=name, host=host, databases=tuple(granted.get((name, host), ()))) for name, host in sorted(found)
        )

    def _exists(self, user: UserName) -> bool:
        rows = self._do("SELECT 1 FROM mysql.global_priv WHERE User = %s AND Host = %s", (user.name, user.host))
        return bool(rows)

    def _require(self, user: UserName) -> None:
        if user.name in MARIADB.reserved_users or not self._exists(user):
            raise NotFound(f"User {user.name}@{user.host} cannot be found on the instance.")

    def create_user(self, user: PlainUser) -> None:
        """Create with password and grants."""
        _checked(MARIADB.check_user, user.name.name, user.name.host)
        for database in user.databases:
            self._require_database(database)
        if self._exists(user.name):
            raise AlreadyExists(f"User {user.name.name}@{user.name.host} already exists.")
        self._do("CREATE USER %s@%s IDENTIFIED BY %s", (user.name.name, user.name.host, user.password))
        for database in user.databases:
            self.grant(user.name, database)

    def delete_user(self, user: UserName) -> None:
        """Drop it with its grants."""
        self._require(user)
        self._do("DROP USER %s@%s", (user.name, user.host))

    def rename_user(self, user: UserName, new: UserName) -> None:
        """Rename, keeping password and grants."""
        _checked(MARIADB.check_user, new.name, new.host)
        self._require(user)
        if self._exists(new):
            raise AlreadyExists(f"User {new.name}@{new.host} already exists.")
        self._do("RENAME USER %s@%s TO %s@%s", (user.name, user.host, new.name, new.host))

    def set_password(self, user: UserName, password: str) -> None:
        """Set a new password."""
        self._require(user)
        self._do("ALTER USER %s@%s IDENTIFIED BY %s", (user.name, user.host, password))

    def credential(self, user: UserName) -> str | None:
        """The statement by which the engine would make the user anew, with the hash of its password."""
        if not self._exists(user):
            return None
        return str(self._do("SHOW CREATE USER %s@%s", (user.name, user.host))[0][0])

    def restore_credential(self, user: UserName, credential: str) -> None:
        """Do it as a change; whatever plugin the user logs in with."""
        head, _, rest = credential.partition(" USER ")
        if head == "CREATE":
            self._do(f"ALTER USER {rest}")

    def grant(self, user: UserName, database: str) -> None:
        """All rights on one database; `_` and `%` in its name are not wildcards."""
        self._require(user)
        self._require_database(database)
        self._do(f"GRANT ALL PRIVILEGES ON {_name(_pattern(database))}.* TO %s@%s", (user.name, user.host))

    def revoke(self, user: UserName, database: str) -> None:
        """Take the rights back, and end the user's sessions, which might still hold them."""
        self._require(user)
        try:
            self._do(f"REVOKE ALL PRIVILEGES ON {_name(_pattern(database))}.* FROM %s@%s", (user.name, user.host))
        except EngineFailed as error:
            text = f"User {user.name}@{user.host} has no access to database {database}."
            raise NotFound(text) from error
        self._end_sessions(user.name)

    def _end_sessions(self, name: str) -> None:
        for (number,) in self._do("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s", (name,)):
            with suppress(pymysql.err.OperationalError):  # it has just ended by itself
                self._session.rows("KILL SOFT CONNECTION %s", (number,))

    def enable_root(self, password: str) -> str:
        """`root@%` with everything."""
        if not self._exists(ROOT):
            self._do("CREATE USER %s@%s IDENTIFIED BY %s", (ROOT.name, ROOT.host, password))
        self._do("ALTER USER %s@%s IDENTIFIED BY %s", (ROOT.name, ROOT.host, password))
        self._do("GRANT ALL PRIVILEGES ON *.* TO %s@%s WITH GRANT OPTION", (ROOT.name, ROOT.host))
        return ROOT.name

    def disable_root(self) -> None:
        """A password that nobody knows, as Trove does it; open sessions end."""
        if not self._exists(ROOT):
            raise NotFound("Root user has never been enabled on the instance.")
        self._do("ALTER USER %s@%s IDENTIFIED BY %s", (ROOT.name, ROOT.host, secrets.token_urlsafe(32)))
        self._end_sessions(ROOT.name)


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _pattern(database: str) -> str:
    return re.sub(r"([_%\\])", r"\\\1", database)


def _checked(check: Any, *values: Any) -> None:
    try:
        check(*values)
    except ValueError as error:
        raise BadRequest(str(error)) from error


@contextmanager
def _translated() -> Iterator[None]:
    """The engine's refusals as ours, without the statement: it may hold a password."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        code = error.args[0] if error.args else 0
        text = str(error.args[1]) if len(error.args) > 1 else "error"
        raise EngineFailed(f"the database refused it ({code}): {text}") from error


def _code(error: BaseException) -> int:
    cause = error.__cause__
    return int(cause.args[0]) if isinstance(cause, pymysql.err.MySQLError) and cause.args else 0
