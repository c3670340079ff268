"""Definers in MySQL: a routine or a trigger has another definer only when it is dropped and made again.

What recreates it is written down before, so that a guest worker that ends between the two does it when it comes back.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from contract.domain.accounts import UserName
from contract.files import write_private
from guest_worker.datastores.mariadb import definers, sql
from guest_worker.datastores.mariadb.definers import ROUTINES, Made, after_definer, settings_of
from guest_worker.datastores.mariadb.engine import Engine, of_database
from guest_worker.datastores.mariadb.grants import Grants
from guest_worker.datastores.mariadb.session import Connection, StatementRefused

NO_PASSWORD = "$A$005$" + "CofferLeavesThisAccountBehindAndNobodyLogsInToIt".ljust(63, "/")  # the hash of no password
FOUND = {
    "VIEW": "SELECT TABLE_SCHEMA, TABLE_NAME, DEFINER FROM information_schema.VIEWS",
    "TRIGGER": "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS",
    "EVENT": "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS",
    "PROCEDURE": "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES",
    "FUNCTION": "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES",
}
GONE = {1305, 1360}  # no such routine, no such trigger
THERE = {1304, 1359}


class Definers(definers.Definers):
    """MySQL's."""

    nobody = f"IDENTIFIED WITH caching_sha2_password AS '{NO_PASSWORD}'"
    found = FOUND
    kind = "ROUTINE_TYPE"

    def __init__(self, engine: Engine, grants: Grants, state: Path) -> None:
        super().__init__(engine, grants)
        self._note = state / "made_anew.json"

    def hidden(self) -> set[UserName]:
        """The accounts that are left behind."""
        rows = self._engine.rows(
            f"SELECT User, Host FROM mysql.user WHERE account_locked = 'Y' AND authentication_string = '{NO_PASSWORD}'"
        )
        return {UserName(name=name, host=host) for name, host in rows}

    def hand_over(self, user: UserName, database: str | None = None) -> None:
        """Have what runs as a user run as an account that is left behind, with the rights that the user has now."""
        self.finish()
        super().hand_over(user, database)

    def rewrite(self, made: Made, definer: UserName) -> None:
        """Recreate one thing with another definer."""
        if made.kind not in ("TRIGGER", *ROUTINES):
            super().rewrite(made, definer)
            return
        with self._engine.session.connection() as connection:
            connection.fresh = False
            connection.rows(f"USE {sql.name(made.database)}")
            statements = list(self._again(connection, made, sql.account(definer)))
        write_private(self._note, json.dumps({"database": made.database, "statements": statements}))
        self._perform(made.database, statements)

    def finish(self) -> None:
        """Do what was written down and not done; what is there is left as it is. Busy when the engine does not get to it."""
        try:
            note = json.loads(self._note.read_text())
        except FileNotFoundError:
            return
        self._perform(note["database"], [each for each in note["statements"] if not each.startswith("DROP ")])

    def _perform(self, database: str, statements: list[str]) -> None:
        with self._engine.session.connection() as connection:
            connection.fresh = False  # what is set below ends with it, and so does a lock
            for statement in [f"USE {sql.name(database)}", *statements]:
                self._do(connection, statement, database)
        self._note.unlink()

    def _do(self, connection: Connection, statement: str, database: str) -> None:
        try:
            self._engine.patient(partial(connection.rows, statement), of=of_database(database))
        except StatementRefused as error:
            if error.code not in GONE | THERE | {1049, 1046}:  # its database is gone, and it with that
                raise

    def _again(self, connection: Connection, made: Made, definer: str) -> Iterator[str]:
        if made.kind == "TRIGGER":
            yield from self._trigger_again(connection, made, definer)
            return
        row = connection.records(f"SHOW CREATE {made.kind} {sql.name(made.name)}")[0]
        yield from settings_of(row)
        shown = next(str(value) for key, value in row.items() if key.startswith("Create "))
        yield f"DROP {made.kind} IF EXISTS {sql.name(made.name)}"
        yield f"CREATE DEFINER={definer} {after_definer(shown.partition(' DEFINER=')[2])}"
        yield from self._rights_on(connection, made)

    def _rights_on(self, connection: Connection, made: Made) -> Iterator[str]:
        """Rights on a routine go with it."""
        place = f"{made.kind} {sql.name(made.database)}.{sql.name(made.name)}"
        for row in connection.records(
            f"SELECT User, Host, Proc_priv FROM mysql.procs_priv WHERE Db = {sql.text(made.database)}"
            f" AND Routine_name = {sql.text(made.name)} AND Routine_type = '{made.kind}'"
        ):
            given = str(row["Proc_priv"]).upper().split(",")
            names = ", ".join(each for each in given if each and each != "GRANT") or "USAGE"
            option = " WITH GRANT OPTION" if "GRANT" in given else ""
            yield f"GRANT {names} ON {place} TO {sql.account(UserName(name=row['User'], host=row['Host']))}{option}"

    def _trigger_again(self, connection: Connection, made: Made, definer: str) -> Iterator[str]:
        """Nobody writes to its table meanwhile."""
        *settings, create = definers.trigger_anew(connection, made, definer)
        (row,) = connection.rows(
            f"SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {sql.text(made.database)}"
            f" AND TRIGGER_NAME = {sql.text(made.name)}"
        )
        yield from settings
        yield f"LOCK TABLES {sql.name(row[0])} WRITE"
        yield f"DROP TRIGGER IF EXISTS {sql.name(made.name)}"
        yield create.replace("CREATE OR REPLACE", "CREATE", 1)
        yield "UNLOCK TABLES"
