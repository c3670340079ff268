"""What users may use, read from the grant tables as it stands there, and taken back in the form in which it stands."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from contract.domain.accounts import UserName
from contract.domain.datastores import hosts
from contract.domain.datastores.hosts import like
from contract.domain.errors import Busy, EngineFailed
from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.engine import Engine, of_tables
from guest_worker.datastores.mariadb.session import Row

NO_SUCH_GRANT = (1141, 1147, 1403, 1269, 1133)
PUBLIC = UserName(name=sql.PUBLIC, host="")
# Global rights that reach into every database: from SELECT to DROP, REFERENCES to ALTER, …
ON_DATABASES = sum(1 << bit for bit in (0, 1, 2, 3, 4, 5, 11, 12, 13, 16, 17, 18, 21, 22, 23, 24, 26, 27, 29))
SPOKEN = {"CREATE TMP TABLE": "CREATE TEMPORARY TABLES"}  # a column of mysql.db, and how the privilege is called


@dataclass(frozen=True)
class Right:
    """A row of a grant table: what `holder`, a user or a role, has on a database or on something in it."""

    holder: UserName
    database: str  # as it is stored: of kind `database` a pattern
    kind: str  # database, table, routine
    what: str = ""
    privileges: tuple[str, ...] = ()
    may_grant: bool = False

    def reaches(self, name: str) -> bool:
        """Whether it counts in a database of this name."""
        return like(self.database, name) if self.kind == "database" else self.database == name

    @property
    def is_pattern(self) -> bool:
        """Whether it may count in more than one database, or has signs that make that hard to tell."""
        return self.kind == "database" and re.search(r"(?<!\\)[%_]|\\\\", self.database) is not None

    @property
    def literal(self) -> str:
        """The one database in which it counts, where it is no pattern."""
        return self.database.replace("\\", "") if self.kind == "database" else self.database

    @property
    def everywhere(self) -> bool:
        """Whether it is meant for all databases."""
        return self.kind == "database" and set(self.database) <= {"%"}

    def place(self) -> str:
        """Where, in GRANT and REVOKE."""
        if self.kind == "database":
            return f"{sql.name(self.database)}.*"
        return f"{self.what_kind()}{sql.name(self.database)}.{sql.name(self.what)}"

    def what_kind(self) -> str:
        """The words before a routine's name."""
        return f"{self.kind} " if self.kind not in ("database", "table") else ""


@dataclass(frozen=True)
class Snapshot:
    """All rights at one moment."""

    databases: tuple[str, ...]  # all, the engine's own too
    rights: tuple[Right, ...]
    on_all: frozenset[UserName]  # users and roles with rights on *.*
    roles: dict[UserName, tuple[UserName, ...]]

    def holders(self, user: UserName) -> Iterator[tuple[UserName, str]]:
        """Whose rights count for a user, each with how the user comes to them; its own first, with an empty text.

        The engine looks rights on databases up by the client's address: those of `u@%` count for `u@10.0.0.1`, too.
        """
        yield user, ""
        for each in (*self._named.get(user.name, ()), *self._named.get("", ())):
            if each != user and each.host and hosts.covers(each.host, user.host):
                yield each, f"is granted to {each.name}@{each.host}"
        for role in self._roles_of([user, PUBLIC]):
            yield role, f"comes with role {role.name}" if role != PUBLIC else "is granted to PUBLIC"

    @cached_property
    def _by_holder(self) -> dict[UserName, list[Right]]:
        found: dict[UserName, list[Right]] = {}
        for each in self.rights:
            found.setdefault(each.holder, []).append(each)
        return found

    @cached_property
    def _named(self) -> dict[str, list[UserName]]:
        found: dict[str, list[UserName]] = {}
        for each in self._by_holder:
            found.setdefault(each.name, []).append(each)
        return found

    def _roles_of(self, start: Sequence[UserName]) -> list[UserName]:
        found = [PUBLIC]
        left = list(start)
        while left:
            new = [role for role in self.roles.get(left.pop(), ()) if role not in found]
            found += new
            left += new
        return found

    def ways(self, user: UserName, database: str) -> list[tuple[Right | None, str]]:
        """How a user comes to a database: rights of its own, and (with a text) those that come from elsewhere."""
        found: list[tuple[Right | None, str]] = []
        for holder, how in self.holders(user):
            if holder in self.on_all:
                found.append((None, how or "is granted on all databases (*.*)"))
            found += [(each, how) for each in self._by_holder.get(holder, ()) if each.reaches(database)]
        return found

    def usable(self, user: UserName, names: Sequence[str]) -> tuple[str, ...]:
        """Which of these databases a user may use in some way."""
        holders = {holder for holder, _ in self.holders(user)}
        if holders & self.on_all:
            return tuple(names)
        rights = [right for holder in holders for right in self._by_holder.get(holder, ())]
        plain = {right.literal for right in rights if not right.is_pattern}
        wide = [right for right in rights if right.is_pattern]
        return tuple(name for name in names if name in plain or any(each.reaches(name) for each in wide))


READ_SECONDS = 0.3  # how long a list waits for tables that a tenant's session has locked


class Grants:
    """The grant tables."""

    tables: ClassVar[tuple[str, ...]] = ("global_priv", "db", "roles_mapping", "tables_priv", "procs_priv")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> Snapshot:
        """All of it. What is locked against reading is not waited for."""
        locked = "m.LOCK_TYPE IN ('SHARED_NO_READ_WRITE', 'EXCLUSIVE')"
        self._engine.await_free(f"{of_tables(*self.tables)} AND {locked}", READ_SECONDS)
        rows = self._engine.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
        roles: dict[UserName, list[UserName]] = {}
        for member, role in self._members():
            roles.setdefault(member, []).append(role)
        return Snapshot(
            databases=tuple(str(name) for (name,) in rows),
            rights=(*self._on_databases(), *self._on_tables(), *self._on_routines()),
            on_all=frozenset(UserName(name=name, host=host) for name, host in self._on_all()),
            roles={member: tuple(found) for member, found in roles.items()},
        )

    def _on_all(self) -> list[Row]:
        return self._engine.rows(
            "SELECT User, Host FROM mysql.global_priv"
            f" WHERE CAST(IFNULL(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) & {ON_DATABASES} <> 0"
        )

    def _members(self) -> Iterator[tuple[UserName, UserName]]:
        """Users and roles, each with a role that was granted to it."""
        for name, host, role in self._engine.rows("SELECT User, Host, Role FROM mysql.roles_mapping"):
            yield UserName(name=name, host=host), UserName(name=role, host="")

    def _on_databases(self) -> Iterator[Right]:
        for row in self._engine.records("SELECT * FROM mysql.db"):
            given = [_privilege(key) for key, value in row.items() if key.endswith("_priv") and value == "Y"]
            privileges = tuple(each for each in given if each != "GRANT")
            yield Right(_holder(row), row["Db"], "database", "", privileges, "GRANT" in given)

    def _on_tables(self) -> Iterator[Right]:
        for row in self._engine.records("SELECT Host, User, Db, Table_name FROM mysql.tables_priv"):
            yield Right(_holder(row), row["Db"], "table", row["Table_name"])

    def _on_routines(self) -> Iterator[Right]:
        statement = "SELECT Host, User, Db, Routine_name, Routine_type FROM mysql.procs_priv"
        for row in self._engine.records(statement):
            yield Right(_holder(row), row["Db"], str(row["Routine_type"]), row["Routine_name"])

    def require_writable(self) -> None:
        """Busy when the grant tables are locked; all of them are opened for this, and nothing is changed."""
        self.read()
        self._engine.rows("DROP USER IF EXISTS 'coffer_definer_'@'localhost'")  # there never is one of this name

    def withdraw(self, right: Right, database: str, now: Snapshot) -> None:
        """Take a right on one database back. What it gives on other databases that exist is granted by their names."""
        if right.kind == "database":
            for other in _others(right, database, now):
                option = " WITH GRANT OPTION" if right.may_grant else ""
                self._engine.rows(
                    f"GRANT {', '.join(right.privileges or ('USAGE',))} ON {sql.name(sql.exactly(other))}.*"
                    f" TO {sql.account(right.holder)}{option}"
                )
        for what in ("GRANT OPTION", "ALL PRIVILEGES"):
            self._engine.attempt(f"REVOKE {what} ON {right.place()} FROM {sql.account(right.holder)}", *NO_SUCH_GRANT)

    def forget(self, database: str) -> None:
        """Take back whatever was granted on a database that is gone, in whatever form; EngineFailed tells what stays."""
        now = self.read()
        failed = []
        for right in now.rights:
            if right.reaches(database) and not right.everywhere:
                try:
                    self.withdraw(right, database, now)
                except (Busy, EngineFailed) as error:
                    failed.append(f"{right.holder.name}@{right.holder.host}: {error.message}")
        if failed:
            raise EngineFailed(f"Database {database} is gone; rights on it could not be taken back from {failed[0]}")

    def left_over(self, database: str, now: Snapshot) -> list[Right]:
        """Rights that name this database, with or without a backslash before `_`; not those of a pattern."""
        named = (database, sql.exactly(database))
        return [each for each in now.rights if each.database in named and each.reaches(database)]

    def names(self, database: str) -> bool:
        """Whether any right names this database; asked quickly, for most do not."""
        literal = sql.text(database)
        return bool(self._engine.rows(
            f"SELECT 1 FROM mysql.db WHERE Db IN ({literal}, {sql.text(sql.exactly(database))})"
            f" UNION ALL SELECT 1 FROM mysql.tables_priv WHERE Db = {literal}"
            f" UNION ALL SELECT 1 FROM mysql.procs_priv WHERE Db = {literal} LIMIT 1"
        ))  # fmt: skip

    def copy(self, user: UserName, to: UserName) -> None:
        """Give another account all rights of a user."""
        mine = f" TO {_shown(user)}"
        for (shown,) in self._engine.rows(f"SHOW GRANTS FOR {sql.account(user)}"):
            what, to_user, rest = str(shown).partition(mine)
            option = " WITH GRANT OPTION" if rest.endswith(" WITH GRANT OPTION") else ""
            if to_user and what.startswith("GRANT "):
                self._engine.rows(f"{what} TO {sql.account(to)}{option}")


def _shown(user: UserName) -> str:
    return f"{sql.name(user.name)}@{sql.name(user.host)}"


def _others(right: Right, database: str, now: Snapshot) -> list[str]:
    exact = {each.database for each in now.rights if each.holder == right.holder and each.kind == "database"}
    return [
        other
        for other in now.databases
        if other not in (database, "information_schema", "performance_schema")  # nobody grants on these
        if right.reaches(other) and sql.exactly(other) not in exact
    ]


def _holder(row: dict[str, Any]) -> UserName:
    return UserName(name=row["User"], host=row["Host"])


def _privilege(column: str) -> str:
    words = column.removesuffix("_priv").replace("_", " ").upper()
    return SPOKEN.get(words, words)
