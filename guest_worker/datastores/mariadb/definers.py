"""Definers: views, triggers, routines and events run with the rights of whoever made them, so that account must stay.

A user that is deleted or renamed, and that something runs as, leaves its account behind: locked, without a password,
hidden, with the rights that it had. A right that is taken back stays with such an account, too (`os_kept/…`), to which
what the user made in that database is handed over. Nothing is ever handed to the administrator.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from contract.domain.accounts import UserName
from contract.domain.datastores.mariadb import KEPT
from contract.domain.errors import Busy, EngineFailed
from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.engine import Engine, of_database
from guest_worker.datastores.mariadb.grants import Grants
from guest_worker.datastores.mariadb.session import Connection, StatementRefused

NO_PASSWORD = "*" + "0" * 40  # the hash of no password; marks the accounts that are left behind
NOBODY = f"IDENTIFIED VIA mysql_native_password USING '{NO_PASSWORD}'"
FOUND = {
    "VIEW": "SELECT TABLE_SCHEMA, TABLE_NAME, DEFINER FROM information_schema.VIEWS",
    "TRIGGER": "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS",
    "EVENT": "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS",
    "PROCEDURE": "SELECT db, name, DEFINER FROM mysql.proc",
    "FUNCTION": "SELECT db, name, DEFINER FROM mysql.proc",
    "PACKAGE": "SELECT db, name, DEFINER FROM mysql.proc",
    "PACKAGE BODY": "SELECT db, name, DEFINER FROM mysql.proc",
}
_QUOTED = r"""(?:`(?:[^`]|``)*`|"(?:[^"]|"")*")"""
ACCOUNT = re.compile(f"{_QUOTED}(?:@{_QUOTED})?")
ROUTINES = ("PROCEDURE", "FUNCTION", "PACKAGE", "PACKAGE BODY")


@dataclass(frozen=True)
class Made:
    """Something that runs as its definer."""

    kind: str
    database: str
    name: str


class Definers:
    """Who runs what."""

    nobody: ClassVar[str] = NOBODY
    found: ClassVar[Mapping[str, str]] = FOUND
    kind: ClassVar[str] = "type"  # where it stands which kind of routine it is

    def __init__(self, engine: Engine, grants: Grants) -> None:
        self._engine = engine
        self._grants = grants

    def made_by(self, user: UserName, database: str | None = None) -> list[Made]:
        """All that runs as a user, in one database or in all."""
        found = self._where(f"DEFINER = {sql.text(f'{user.name}@{user.host}')}")
        return [made for made, _ in found if database in (None, made.database)]

    def named(self, *names: str) -> list[tuple[Made, UserName]]:
        """All that runs as users of these names, whatever their hosts, and as whom."""
        wanted = sql.listed(map(sql.text, names))
        return self._where(f"LEFT(DEFINER, CHAR_LENGTH(DEFINER) - LOCATE('@', REVERSE(DEFINER))) IN ({wanted})")

    def _where(self, condition: str) -> list[tuple[Made, UserName]]:
        found = []
        for kind, question in self.found.items():
            routine = f" AND {self.kind} = {sql.text(kind)}" if kind in ROUTINES else ""
            for place, name, definer in self._engine.rows(f"{question} WHERE {condition}{routine}"):
                user, _, host = str(definer).rpartition("@")
                found.append((Made(kind, place, name), UserName(name=user, host=host)))
        return found

    def is_needed(self, user: UserName) -> bool:
        """Whether something runs as a user; taken for granted when the engine cannot look in time."""
        try:
            return bool(self.made_by(user))
        except Busy:
            return True

    def hidden(self) -> set[UserName]:
        """The accounts that are left behind."""
        rows = self._engine.rows(
            "SELECT User, Host FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.account_locked') IS NOT NULL"
            f" AND JSON_VALUE(Priv, '$.authentication_string') = '{NO_PASSWORD}'"
        )
        return {UserName(name=name, host=host) for name, host in rows}

    def leave(self, user: UserName) -> None:
        """Make a user's account one that is left behind: nobody logs in to it."""
        self._engine.rows(f"ALTER USER {sql.account(user)} {self.nobody} ACCOUNT LOCK")

    def leave_copy(self, user: UserName, of: UserName) -> None:
        """Make an account that is left behind, with another one's rights."""
        self._engine.rows(f"CREATE USER IF NOT EXISTS {sql.account(user)} {self.nobody} ACCOUNT LOCK")
        self._grants.copy(of, user)

    def hand_over(self, user: UserName, database: str | None = None) -> None:
        """Have what runs as a user run as an account that is left behind, with the rights that the user has now.

        Busy leaves some of it with the user; nobody notices, for both have the same rights.
        """
        made = self.made_by(user, database)
        if not made:
            return
        kept = UserName(
            name=KEPT + hashlib.sha256(f"{user.name}@{user.host}".encode()).hexdigest()[:16], host="localhost"
        )
        self.leave_copy(kept, user)
        for each in made:
            self.rewrite(each, kept)

    def sweep(self) -> None:
        """Drop the accounts that are left behind and that nothing runs as any more."""
        for each in self.hidden():
            if not self.is_needed(each):
                with suppress(Busy, EngineFailed):  # the next time
                    self._engine.rows(f"DROP USER IF EXISTS {sql.account(each)}")

    def rewrite(self, made: Made, definer: UserName) -> None:
        """Recreate one thing with another definer; the engine replaces it in one piece."""
        with self._engine.session.connection() as connection:
            connection.fresh = False  # what is set below ends with it
            do = partial(self._engine.patient, of=of_database(made.database))
            do(lambda: connection.rows(f"USE {sql.name(made.database)}"))
            statements = list(do(lambda: list(self._anew(connection, made, sql.account(definer)))))
            for statement in statements:
                with suppress_invalid(made):
                    do(partial(connection.rows, statement))

    def _anew(self, connection: Connection, made: Made, definer: str) -> Iterator[str]:
        """The statements that recreate a thing with another definer, in its database."""
        return _statements(connection, made, definer)


class suppress_invalid(suppress):  # noqa: N801 - used like suppress
    """A view of what is not there any more cannot be recreated, and runs nothing."""

    def __init__(self, made: Made) -> None:
        super().__init__(*((StatementRefused,) if made.kind == "VIEW" else ()))


def _statements(connection: Connection, made: Made, definer: str) -> Iterator[str]:
    if made.kind == "TRIGGER":
        yield from trigger_anew(connection, made, definer)
        return
    row = connection.records(f"SHOW CREATE {made.kind} {sql.name(made.name)}")[0]
    yield from settings_of(row)
    if made.kind == "EVENT":
        ((on_completion,),) = connection.rows(
            f"SELECT ON_COMPLETION FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {sql.text(made.database)}"
            f" AND EVENT_NAME = {sql.text(made.name)}"
        )
        # says nothing new, and no text that would have to be quoted in the SQL mode of the event
        yield f"ALTER DEFINER = {definer} EVENT {sql.name(made.name)} ON COMPLETION {on_completion}"
        return
    shown = _shown(row)
    before, _, rest = shown.partition(" DEFINER=")
    yield f"{_replacing(before)} DEFINER={definer} {after_definer(rest)}"
    if made.kind == "PACKAGE":
        yield from _body_again(connection, made)


def _body_again(connection: Connection, made: Made) -> Iterator[str]:
    """A package that is replaced loses its body."""
    of_body = f"db = {sql.text(made.database)} AND name = {sql.text(made.name)} AND type = 'PACKAGE BODY'"
    if connection.rows(f"SELECT 1 FROM mysql.proc WHERE {of_body}"):
        row = connection.records(f"SHOW CREATE PACKAGE BODY {sql.name(made.name)}")[0]
        yield from settings_of(row)
        yield _replacing(_shown(row))


def _shown(row: dict[str, Any]) -> str:
    return next(str(value) for key, value in row.items() if key.startswith("Create "))


def _replacing(create: str) -> str:
    return create.replace("CREATE", "CREATE OR REPLACE", 1)


def after_definer(text: str) -> str:
    """What follows `user`@`host`; a role has no host, and what was made with ANSI_QUOTES is shown in double quotes."""
    found = ACCOUNT.match(text)
    if found is None:
        raise EngineFailed("the database shows a definer in a form that is not known")
    return text[found.end() :].lstrip()


def settings_of(row: dict[str, Any]) -> Iterator[str]:
    """The session's settings under which a thing was made, and which it keeps."""
    if "sql_mode" in row:
        yield f"SET SESSION sql_mode = {sql.text(row['sql_mode'])}"
    collation = row["collation_connection"]
    yield f"SET NAMES {row['character_set_client']} COLLATE {collation}"


def trigger_anew(connection: Connection, made: Made, definer: str) -> Iterator[str]:
    """The statements that recreate a trigger, at its place among those of its table."""
    place = f"TRIGGER_SCHEMA = {sql.text(made.database)}"
    found = connection.records(f"SELECT * FROM information_schema.TRIGGERS WHERE {place}")
    mine = next(each for each in found if each["TRIGGER_NAME"] == made.name)
    group = ("EVENT_OBJECT_TABLE", "EVENT_MANIPULATION", "ACTION_TIMING")
    alike = [each for each in found if all(each[key] == mine[key] for key in group)]
    alike.sort(key=lambda each: int(each["ACTION_ORDER"]))
    at = alike.index(mine)
    order = ""
    if at > 0:
        order = f" FOLLOWS {sql.name(alike[at - 1]['TRIGGER_NAME'])}"
    elif len(alike) > 1:
        order = f" PRECEDES {sql.name(alike[1]['TRIGGER_NAME'])}"
    yield from settings_of({
        "sql_mode": mine["SQL_MODE"],
        "character_set_client": mine["CHARACTER_SET_CLIENT"],
        "collation_connection": mine["COLLATION_CONNECTION"],
    })  # fmt: skip
    yield (
        f"CREATE OR REPLACE DEFINER = {definer} TRIGGER {sql.name(made.name)}"
        f" {mine['ACTION_TIMING']} {mine['EVENT_MANIPULATION']} ON {sql.name(mine['EVENT_OBJECT_TABLE'])}"
        f" FOR EACH ROW{order} {mine['ACTION_STATEMENT']}"
    )
