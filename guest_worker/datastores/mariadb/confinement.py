"""What is taken from everybody when root is disabled: whatever reaches beyond tenants' databases.

Root may have made other administrators, and views, routines, triggers and events run as whom they name as their definer. So
afterwards nobody but our administrator has a right that is not on a tenant's database, and nothing runs as the administrator.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from contract.domain.accounts import UserName
from contract.domain.datastores.mariadb import KEPT, MARIADB
from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.connecting import ADMIN
from guest_worker.datastores.mariadb.definers import Definers, Made
from guest_worker.datastores.mariadb.engine import Engine
from guest_worker.datastores.mariadb.grants import Grants
from guest_worker.datastores.mariadb.session import StatementRefused

ROOT = UserName(name="root", host="%")
SYSTEM = UserName(name="mariadb.sys", host="localhost")  # what the engine's own views run as
OURS = UserName(name=ADMIN, host="localhost")
PUBLIC = UserName(name=sql.PUBLIC, host="")
WITH_RIGHTS = (
    "SELECT User, Host FROM mysql.global_priv WHERE CAST(IFNULL(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) <> 0"
)
NOT_THERE = (1133, 1141, 1269, 1396)
# The global rights that there are on one database, too.
ON_ONE_DATABASE = frozenset(
    "SELECT INSERT UPDATE DELETE CREATE DROP REFERENCES INDEX ALTER EXECUTE EVENT TRIGGER".split()
) | {"CREATE TEMPORARY TABLES", "LOCK TABLES", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE",
     "DELETE HISTORY"}  # fmt: skip


class Confinement:
    """Takes rights back. Root itself is one of those who have them: nobody logs in to it, but things run as it."""

    systems: ClassVar[tuple[UserName, ...]] = (SYSTEM,)
    reserved: ClassVar[frozenset[str]] = MARIADB.reserved_users
    accounts: ClassVar[str] = "SELECT User, Host, JSON_VALUE(Priv, '$.is_role') FROM mysql.global_priv"
    with_rights: ClassVar[str] = WITH_RIGHTS

    def __init__(self, engine: Engine, grants: Grants, definers: Definers) -> None:
        self._engine = engine
        self._grants = grants
        self._definers = definers

    @property
    def _own(self) -> tuple[UserName, ...]:
        return (OURS, *self.systems)

    def is_needed(self) -> bool:
        """Whether anybody has a right on everything."""
        return bool(self._powerful())

    def confine(self, databases: Sequence[str]) -> None:
        """Leave nobody more than rights on these databases, and end the sessions that had more.

        Twice: what was at work the first time, such as an event, had its rights until it was ended, and may have used them.
        """
        self._stop_replication()
        for _ in range(2):
            self._confine(databases)

    def _confine(self, databases: Sequence[str]) -> None:
        self._engine.rows("FLUSH PRIVILEGES")  # root may have written the tables: what they say counts from now on
        before = self._engine.accounts_in_order()
        self._remove_reserved()
        self._disown()
        stripped = self._strip(databases)
        self._close_own_databases()
        self._engine.rows("DELETE FROM mysql.proxies_priv")
        self._engine.rows("FLUSH PRIVILEGES")
        self._end_sessions(stripped, before)

    def _end_sessions(self, stripped: list[UserName], before: list[UserName]) -> None:
        """A session keeps the rights of its account, its roles and its database; what it has called, those of the definer."""
        roles = any(not each.host for each in stripped)
        sessions = set(self._engine.sessions_of_tenants(idle=roles))
        for database in ("mysql", "sys"):
            sessions.update(self._engine.sessions_in(database))
        for user in (ROOT, *stripped):
            sessions.update(self._engine.sessions_of(user, before))
        self._engine.end(sessions)

    def _stop_replication(self) -> None:
        """What comes from another server is done with all rights."""
        for row in self._engine.records("SHOW ALL SLAVES STATUS"):
            name = sql.text(row["Connection_name"])
            self._engine.rows(f"STOP SLAVE {name}")
            self._engine.rows(f"RESET SLAVE {name} ALL")

    def _remove_reserved(self) -> None:
        """Accounts and roles with the names that nobody sees in lists, other than those that there should be."""
        rows = self._engine.rows(self.accounts)
        hidden = self._definers.hidden()
        for name, host, is_role in rows:
            user = UserName(name=name, host=host)
            if user in (*self._own, ROOT, PUBLIC) or user in hidden:
                continue
            if name in self.reserved or name.startswith(KEPT):
                what = f"ROLE {sql.name(name)}" if is_role else f"USER {sql.account(user)}"
                self._engine.rows(f"DROP {what}")

    def _strip(self, databases: Sequence[str]) -> list[UserName]:
        """Rights on everything become rights on each database, as far as there are such; returns whose they were."""
        found = self._powerful()
        for user, rights in found.items():
            kept = ", ".join(sorted(rights & ON_ONE_DATABASE))
            for database in databases if kept else ():
                self._engine.rows(f"GRANT {kept} ON {sql.name(sql.exactly(database))}.* TO {sql.account(user)}")
            for what in ("GRANT OPTION", *self._on_all(rights)):
                self._engine.attempt(f"REVOKE {what} ON *.* FROM {sql.account(user)}", *NOT_THERE)
        return list(found)

    def _on_all(self, rights: set[str]) -> Sequence[str]:
        """What is to be revoked."""
        return ("ALL PRIVILEGES",)

    def _powerful(self) -> dict[UserName, set[str]]:
        """Rights on everything, by account or role (which information_schema does not list)."""
        found = {}
        for name, host in self._engine.rows(self.with_rights):
            user = UserName(name=name, host=host)
            if user not in self._own:
                found[user] = self._on_everything(user)
        return found

    def _on_everything(self, user: UserName) -> set[str]:
        for (shown,) in self._engine.rows(f"SHOW GRANTS FOR {sql.account(user)}"):
            rights, on_all, _ = str(shown).removeprefix("GRANT ").partition(" ON *.* TO ")
            if on_all:
                return set(ON_ONE_DATABASE) if rights == "ALL PRIVILEGES" else set(rights.split(", "))
        return set()

    def _close_own_databases(self) -> None:
        """Nobody may use the engine's own databases, where the accounts are; in whatever form it was granted."""
        for database in ("mysql", "sys", "performance_schema"):
            now = self._grants.read()
            for right in now.rights:
                if right.holder not in self._own and right.reaches(database):
                    self._grants.withdraw(right, database, now)

    def _disown(self) -> None:
        """What runs as the administrator, or as an account of the engine, runs as root from now on."""
        for each in self._disowned():
            with suppress(StatementRefused):
                self._definers.rewrite(each, ROOT)
        for each in self._disowned():  # what cannot be recreated must not go on as it is
            self._engine.rows(f"DROP {each.kind} {sql.name(each.database)}.{sql.name(each.name)}")

    def _disowned(self) -> list[Made]:
        return [
            each
            for each, definer in self._definers.named(ADMIN, *(each.name for each in self.systems))
            if definer not in self.systems
            or each.database not in ("mysql", "sys")
            or each.kind == "EVENT"  # else the engine's own
        ]
