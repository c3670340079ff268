"""Asking the engine for account calls: what waits too long is Busy, with who holds it up; sessions that must end."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from contract.domain.accounts import UserName
from contract.domain.datastores import hosts
from contract.domain.errors import Busy
from guest_worker.datastores.base import UNCHANGED
from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.connecting import ADMIN
from guest_worker.datastores.mariadb.session import (
    Connection,
    EngineError,
    Row,
    Session,
    StatementRefused,
    TimedOut,
)

NOT_TENANTS = (ADMIN, "system user", "event_scheduler", "unauthenticated user")
# locks that every change of data takes
PASSING = "'BACKUP_DML', 'BACKUP_TRANS_DML', 'BACKUP_SYS_DML', 'BACKUP_DDL', 'BACKUP_ALTER_COPY', 'BACKUP_COMMIT'"
NO_SUCH_THREAD = 1094
END_SECONDS = 2.0
Answer = TypeVar("Answer")
OF_ACCOUNTS = "m.OBJECT_SCHEMA = 'mysql'"


def of_database(name: str) -> str:
    """Which locks are of a database."""
    return f"m.OBJECT_SCHEMA = {sql.text(name)}"


def of_tables(*names: str) -> str:
    """Which locks are of tables of accounts and grants."""
    return f"m.OBJECT_TYPE = 'TABLE' AND {OF_ACCOUNTS} AND m.OBJECT_NAME IN ({sql.listed(map(sql.text, names))})"


class Engine:
    """The engine, asked by the administrator for one account call after the other."""

    of_everything: ClassVar[str] = f"m.OBJECT_TYPE = 'BACKUP' AND m.LOCK_TYPE NOT IN ({PASSING})"

    def __init__(self, session: Session) -> None:
        self.session = session

    def rows(self, statement: str, *, of: str = OF_ACCOUNTS, after: str = UNCHANGED) -> list[Row]:
        """Do a statement; `of`: which locks it may wait for, `after`: what is true when it was given up."""
        return self.patient(lambda: self.session.rows(statement), of=of, after=after)

    def records(self, statement: str) -> list[dict[str, Any]]:
        """Rows as dictionaries."""
        return self.patient(lambda: self.session.records(statement))

    def patient(self, work: Callable[[], Answer], *, of: str = OF_ACCOUNTS, after: str = UNCHANGED) -> Answer:
        """Do something; Busy when it had to wait for too long."""
        try:
            return work()
        except TimedOut as error:
            raise self.busy(of, after) from error

    def busy(self, of: str, after: str) -> Busy:
        """What to say when the engine did not get to it; `of`: the locks that it may have waited for."""
        return Busy(f"{self._who_blocks(of)}; {after}.")

    def attempt(self, statement: str, *codes: int) -> bool:
        """Whether the engine did it; these refusals mean that there was nothing to do."""
        try:
            self.rows(statement)
        except StatementRefused as error:
            if error.code not in codes:
                raise
            return False
        return True

    # -- locks -------------------------------------------------------------------------------------------------------

    def holders(self, of: str) -> list[tuple[int, str]]:
        """Tenants' sessions with such locks, by number and user."""
        statement = (
            "SELECT DISTINCT t.PROCESSLIST_ID, t.PROCESSLIST_USER FROM performance_schema.metadata_locks m"
            " JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID"
            f" WHERE m.LOCK_STATUS = 'GRANTED' AND ({of}) AND t.PROCESSLIST_ID IS NOT NULL"
            f" AND t.PROCESSLIST_USER NOT IN ({sql.listed(map(sql.text, NOT_TENANTS))})"
        )
        with suppress(EngineError):
            return [(int(number), str(user)) for number, user in self.session.rows(statement)]
        return []

    def await_free(self, of: str, seconds: float, *, after: str = UNCHANGED) -> None:
        """Return when no tenant's session has such locks that had them at the first look; Busy where one keeps them."""
        last = time.monotonic() + seconds
        held = {number for number, _ in self.holders(of)}
        while held:
            if time.monotonic() > last:
                raise self.busy(of, after)
            time.sleep(0.05)
            held &= {number for number, _ in self.holders(of)}

    def _who_blocks(self, of: str) -> str:
        found = self.holders(f"({of}) OR ({self.of_everything})")
        if not found:
            return f"The database is locked by another session{self._prepared()}"
        number, user = found[0]
        others = f" and {len(found) - 1} others" if len(found) > 1 else ""
        return f"The database is locked by a session of user '{user}' (connection {number}){others}"

    def _prepared(self) -> str:
        """Such a transaction holds its locks when its session has ended; nobody is told which database they are of."""
        with suppress(EngineError):
            if self.session.rows("XA RECOVER"):
                return ", or by a prepared transaction (XA RECOVER shows them)"
        return ""

    # -- sessions ----------------------------------------------------------------------------------------------------

    def accounts_in_order(self) -> list[UserName]:
        """All accounts, in the order in which the engine looks for the one that a client logs in to.

        The order is that of information_schema.USER_PRIVILEGES, which walks through the same list as a login.
        """
        rows = self.rows("SELECT GRANTEE FROM information_schema.USER_PRIVILEGES")
        found = dict.fromkeys(str(grantee) for (grantee,) in rows)
        halves = [each[1:-1].rpartition("'@'") for each in found]
        return [UserName(name=name, host=host) for name, _, host in halves]

    def sessions_of(self, user: UserName, order: Sequence[UserName]) -> list[int]:
        """Sessions that logged in to this account, and those whose account is gone or renamed since.

        The engine tells a session's user name and address, not its account, so it is found as a login finds it.
        """
        statement = (
            "SELECT ID, USER, HOST FROM information_schema.PROCESSLIST WHERE LOCATE(':', HOST) > 0"
            f" AND USER NOT IN ({sql.listed(map(sql.text, NOT_TENANTS))})"
        )
        found = []
        for number, name, client in self.rows(statement):
            mine = _account(order, str(name), str(client).rpartition(":")[0])
            if mine in (user, None):
                found.append(int(number))
        return found

    def sessions_in(self, database: str) -> list[int]:
        """Tenants' sessions that use a database now."""
        statement = (
            f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = {sql.text(database)}"
            f" AND USER NOT IN ({sql.listed(map(sql.text, NOT_TENANTS))})"
        )
        return [int(number) for (number,) in self.rows(statement)]

    def sessions_of_tenants(self, *, idle: bool) -> list[int]:
        """Tenants' sessions and events, those that do nothing at this moment only if wanted."""
        away = ("Daemon", "Killed") if idle else ("Daemon", "Killed", "Sleep")
        statement = (
            f"SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND NOT IN ({sql.listed(map(sql.text, away))})"
            f" AND USER NOT IN ({sql.listed(map(sql.text, NOT_TENANTS))})"
        )
        return [int(number) for (number,) in self.rows(statement)]

    def end(self, numbers: Iterable[int], *, wait: float = END_SECONDS) -> None:
        """End sessions; when this returns, they do nothing more. What they had not committed may still be rolled back."""
        left = list(numbers)
        deadline = time.monotonic() + wait
        for number in left:
            self.attempt(f"{self.session.kill} {number}", NO_SUCH_THREAD)
        while left and wait:
            among = sql.listed(map(str, left))
            statement = f"SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Killed' AND ID IN ({among})"
            left = [int(number) for (number,) in self.rows(statement)]
            if left and time.monotonic() > deadline:
                raise Busy(f"A session (connection {left[0]}) does not end; {UNCHANGED}.")
            time.sleep(0.02 if left else 0)


def _account(order: Sequence[UserName], name: str, client: str) -> UserName | None:
    for each in order:
        if each.name in (name, "") and hosts.matches(each.host, client):
            return each
    return None


__all__ = ["Connection", "Engine", "of_database", "of_tables"]
