"""Databases and users of PostgreSQL. Names are quoted by the driver; passwords become verifiers before any statement."""

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from contract.domain.accounts import NewDatabase, User, UserName
from contract.domain.datastores.postgresql import (
    DELETED_PREFIX,
    POSTGRESQL,
    encoding_of,
    is_reserved_user,
    same_locale,
)
from contract.domain.errors import AlreadyExists, BadRequest, Busy, EngineFailed, NotFound
from guest_worker.datastores.base import FINAL_SECONDS, UNCHANGED, Accounts, PlainUser, after
from guest_worker.datastores.postgresql import objects
from guest_worker.datastores.postgresql.confinement import Confinement
from guest_worker.datastores.postgresql.owners import FAILURES, LOG, OURS, ROOT, Owners, admit, dismiss
from guest_worker.datastores.postgresql.questions import ADMITTED, GRANTS, HEIRS, MEMBERSHIPS, SOMETHING
from guest_worker.datastores.postgresql.session import LOCK_SECONDS, Change, Session

ADOPTING_SECONDS = 2.0  # what a call gives to what older guests left
ENDING_SECONDS = 3.0  # how long sessions may take to end
FINISHING_SECONDS = 2.5  # less than another call waits for its turn
FINISHING_LOCK_SECONDS = 0.5  # a drop that still runs has the lock
ENABLED, DISABLED = "enabled", "disabled"
DISABLED_ONLY = "Root is disabled, but what it left may still have its power; please disable it again"
POWERS = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


class PostgreSQLAccounts(Accounts):
    """Users have no hosts. A granted user is a member of the database's owning role, see `owners`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._owners = Owners(session)
        self._confinement = Confinement(session)
        self._turn = threading.RLock()
        self._adopted = False

    def _rows(self, statement: LiteralString, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _translated():
            return self._session.rows(statement, values)

    @contextmanager
    def _call(self) -> Iterator[None]:
        """One call that changes something: alone, in limited time, after what older guests left was put right."""
        if not self._turn.acquire(timeout=LOCK_SECONDS):
            raise Busy(f"Another change of users or databases is under way; {UNCHANGED}.")
        try:
            with _translated(), self._session.call():
                if not self._adopted:
                    with self._session.call(ADOPTING_SECONDS):
                        self._adopted = self._owners.adopt_all()
                yield
        finally:
            self._turn.release()

    def adopt(self) -> None:
        """Put right what older guests left, when the engine has started."""
        self._adopted = False
        with suppress(*FAILURES), self._call():
            self._owners.tidy()

    def is_deleting(self) -> bool:
        """Whether there is a database whose drop has begun; so it counts where the engine cannot be asked."""
        try:
            return bool(self._owners.invalid())
        except FAILURES:
            return True

    def finish_deletions(self) -> None:
        """Drop databases whose drop was broken off, by the end of the engine or by a checkpoint that found no space."""
        with suppress(*FAILURES):
            if self._owners.invalid():
                with self._call(), self._session.call(FINISHING_SECONDS, FINISHING_LOCK_SECONDS):
                    self._owners.drop_invalid()
                    self._owners.tidy()

    # -- databases ---------------------------------------------------------------------------------------------------

    def list_databases(self) -> tuple[str, ...]:
        """All but the engine's own, and what a broken-off drop left."""
        rows = self._rows('SELECT datname FROM pg_database WHERE datconnlimit <> -2 ORDER BY datname COLLATE "C"')
        return tuple(name for (name,) in rows if name not in POSTGRESQL.reserved_databases)

    def check_database(self, database: NewDatabase) -> None:
        """Name, encoding and locale, as the facts have them; and whether this server's system has the locale."""
        _checked(POSTGRESQL.check_database, database)
        if database.collate is not None:
            rows = self._rows("SELECT collcollate FROM pg_collation WHERE collprovider = 'c'")
            if same_locale(database.collate) not in {same_locale(name) for (name,) in rows}:
                raise BadRequest(f"collation '{database.collate}' is not installed on this instance")

    def create_database(self, database: NewDatabase) -> None:
        """With encoding and locale where they are given, for granted users alone. One that is there gets what is missing."""
        _checked(POSTGRESQL.check_database, database)
        with self._call():
            if database.name in self.list_databases():
                self._require_same(database)
            else:
                self._create_database(database)
            self._open(database.name)

    def _create_database(self, database: NewDatabase) -> None:
        encoding, locale = encoding_of(database)
        self._owners.drop_invalid(database.name)
        owner = self._owners.create()
        # closed until PUBLIC has lost its rights, which are not part of this statement
        form = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LOCALE {} ALLOW_CONNECTIONS false")
        try:
            with self._session.change() as do:
                do(form.format(sql.Identifier(database.name), sql.Identifier(owner), sql.Literal(encoding),
                               sql.Literal(locale)))  # fmt: skip
        except (Busy, psycopg.Error):
            with suppress(*FAILURES), self._session.change() as do:
                do(sql.SQL("DROP ROLE {}").format(sql.Identifier(owner)))
            raise

    def _require_same(self, database: NewDatabase) -> None:
        encoding, locale = encoding_of(database)
        found = self._rows(
            "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = %s", (database.name,)
        )
        if (database.character_set and found[0][0] != encoding) or (database.collate and found[0][1] != locale):
            raise AlreadyExists(f"Database {database.name} already exists, with another character set or collation.")

    def _open(self, database: str) -> None:
        """Owned by its own role, for members of that alone, and open for them."""
        self._owners.of(database)
        name = sql.Identifier(database)
        with self._session.change() as do, do.together():
            do(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
            do(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true IS_TEMPLATE false").format(name))
        if self.is_root_enabled():
            self._owners.share_of_root(database)

    def delete_database(self, name: str) -> None:
        """Refuse new sessions, end those that are, drop it. When that fails, it is open again.

        A drop that has begun cannot be taken back: the database counts as deleted, and the engine goes on with it.
        """
        self._require_database(name)
        with self._call():
            self._end_what_holds_it(name)
            try:
                with self._session.call(FINAL_SECONDS), self._session.change() as do:
                    close = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false IS_TEMPLATE false")
                    do(close.format(sql.Identifier(name)))
                    self._end_sessions(do, "datid = (SELECT oid FROM pg_database WHERE datname = %s)", (name,))
                    do(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)), to_the_end=True)
            except (*FAILURES, OSError):
                with suppress(*FAILURES), self._session.call(ENDING_SECONDS):
                    if name not in self.list_databases():
                        return
                    self.restore_database(name)
                raise
            self._owners.tidy()

    def _end_what_holds_it(self, name: str) -> None:
        """Prepared transactions and subscriptions forbid a drop."""
        prepared = self._rows("SELECT gid FROM pg_prepared_xacts WHERE database = %s", (name,))
        subscriptions = self._rows(
            "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s",
            (name,),
        )
        self._owners.roll_back(name, [str(gid) for (gid,) in prepared])
        if subscriptions:
            with self._owners.inside(name) as do:
                for (subscription,) in subscriptions:
                    for form in ("ALTER SUBSCRIPTION {} DISABLE", "ALTER SUBSCRIPTION {} SET (slot_name = NONE)",
                                 "DROP SUBSCRIPTION {}"):  # fmt: skip
                        do(sql.SQL(form).format(sql.Identifier(subscription)))

    def restore_database(self, name: str) -> None:
        """Let granted users in again."""
        if name in self.list_databases():
            self._owners.allow(name, True)

    def _require_database(self, name: str) -> None:
        if name not in self.list_databases():
            raise NotFound(f"Database {name} cannot be found on the instance.")

    # -- users -------------------------------------------------------------------------------------------------------

    def list_users(self) -> tuple[User, ...]:
        """All but the engine's own, with the databases that they may connect to by a grant of their own."""
        granted: dict[str, list[str]] = {}
        for user, database in self._rows(GRANTS):
            granted.setdefault(user, []).append(database)
        rows = self._rows('SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY rolname COLLATE "C"')
        return tuple(
            User(name=name, databases=tuple(granted.get(name, ()))) for (name,) in rows if not is_reserved_user(name)
        )

    def check_user(self, user: UserName) -> None:
        """The name, as the facts have it, and that no role of root's has it."""
        _checked(POSTGRESQL.check_user, user.name, user.host)
        if self._rows("SELECT 1 FROM pg_roles WHERE rolname = %s", (user.name,)):
            raise BadRequest(f"a role named '{user.name}' already exists on the instance")

    def _require(self, user: UserName) -> int:
        """The number of a user that is listed."""
        rows = self._rows("SELECT oid FROM pg_roles WHERE rolname = %s AND rolcanlogin", (user.name,))
        if is_reserved_user(user.name) or user.host != "%" or not rows:
            raise NotFound(f"User {user.name} cannot be found on the instance.")
        return int(rows[0][0])

    def create_user(self, user: PlainUser) -> None:
        """With password and grants, in one transaction. One that is there gets what is missing."""
        name = user.name.name
        _checked(POSTGRESQL.check_user, name, user.name.host)
        for database in user.databases:
            self._require_database(database)
        found = self._rows("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (name,))
        if found and not found[0][0]:
            raise AlreadyExists(f"A role named {name} already exists on the instance.")
        with self._call():
            owners = {database: self._owners.of(database) for database in user.databases}
            form = (
                "ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL 'infinity'"
                if found
                else "CREATE ROLE {} LOGIN PASSWORD {}"
            )
            with self._session.change() as do, do.together():
                self._login(do, form, name, user.password)
                for database, owner in owners.items():
                    _admit(do, name, database, owner)

    def _login(self, do: Change, form: LiteralString, name: str, password: str) -> None:
        verifier = self._session.verifier(name, password)
        do(sql.SQL(form).format(sql.Identifier(name), sql.Literal(verifier)))

    def delete_user(self, user: UserName) -> None:
        """In one transaction it loses login, name and all access. What it made becomes its databases', as soon as can be."""
        with self._call():
            self._delete_user(self._require(user), user.name)
            self._owners.tidy()

    def _delete_user(self, oid: int, name: str) -> None:
        gone = DELETED_PREFIX + secrets.token_hex(8)
        with self._session.change() as do, self._without_sessions(do, "usesysid = %s", (oid,)):
            do(sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(gone)))
            do(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL " + POWERS).format(sql.Identifier(gone)))
            for (role,) in do(MEMBERSHIPS, (oid,)):
                do(b"REVOKE %b FROM %b CASCADE" % (role, gone.encode()))
            for (database,) in do(ADMITTED, (oid,)):
                do(b"REVOKE ALL ON DATABASE %b FROM %b CASCADE" % (database, gone.encode()))
            for (owner,) in do(HEIRS, (oid,)):  # until it is handed over, the others may change what it made
                do(b"GRANT %b TO %b" % (gone.encode(), owner))

    def rename_user(self, user: UserName, new: UserName) -> None:
        """Rename, keeping password and grants; sessions end."""
        _checked(POSTGRESQL.check_user, new.name, new.host)
        with self._call():
            oid = self._require(user)
            if self._rows("SELECT 1 FROM pg_roles WHERE rolname = %s", (new.name,)):
                raise AlreadyExists(f"User {new.name} already exists.")
            with self._session.change() as do, self._without_sessions(do, "usesysid = %s", (oid,)):
                do(sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(user.name), sql.Identifier(new.name)))

    def set_password(self, user: UserName, password: str) -> None:
        """Set a new password, without an end."""
        with self._call():
            self._require(user)
            with self._session.change() as do:
                self._login(do, "ALTER ROLE {} PASSWORD {} VALID UNTIL 'infinity'", user.name, password)

    def credential(self, user: UserName) -> str | None:
        """The verifier, empty without a password; for root with whether it is enabled."""
        rows = self._rows(
            "SELECT coalesce(rolpassword, ''), rolcanlogin FROM pg_authid WHERE rolname = %s", (user.name,)
        )
        if not rows:
            return None
        verifier, enabled = rows[0]
        return str(verifier) if user.name != ROOT else f"{ENABLED if enabled else DISABLED} {verifier}"

    def restore_credential(self, user: UserName, credential: str) -> None:
        """PostgreSQL takes a verifier in a password's place."""
        state = sql.SQL("")
        if user.name == ROOT:
            enabled, _, credential = credential.partition(" ")
            state = sql.SQL("SUPERUSER LOGIN" if enabled == ENABLED else "NOLOGIN " + POWERS)
        secret = sql.Literal(credential) if credential else sql.SQL("NULL")
        with self._call(), self._session.change() as do:
            do(sql.SQL("ALTER ROLE {} {} PASSWORD {}").format(sql.Identifier(user.name), state, secret))

    def grant(self, user: UserName, database: str) -> None:
        """All that is and will be in a database: membership in its owning role."""
        self._require_database(database)
        with self._call():
            oid = self._require(user)
            owner = self._owners.of(database)
            self._open(database)
            with self._session.change() as do, do.together():
                _admit(do, user.name, database, owner)
            if self._has_something(oid, database):  # made before it was granted, by root's leave
                with self._owners.inside(database) as do:
                    objects.hand_over(do, {oid}, owner)

    def revoke(self, user: UserName, database: str) -> None:
        """Take the database away, however it was granted, and end the user's sessions in it. What it made there stays."""
        with self._call():
            oid = self._require(user)
            held = {each.name: each.databases for each in self.list_users()}.get(user.name, ())
            if database not in held:
                raise NotFound(f"User {user.name} has no access to database {database}.")
            owner = self._owners.of(database)
            which: LiteralString = "usesysid = %s AND datname = %s"
            with self._session.change() as do, self._without_sessions(do, which, (oid, database)):
                dismiss(do, oid, _quoted_database(do, database), owner)
                if do("SELECT has_database_privilege(%s::oid, %s, 'CONNECT')", (oid, database))[0][0]:
                    raise Busy(f"User {user.name} is a superuser, to whom root gave all databases; {UNCHANGED}.")
            with self._later(f"what user {user.name} has left in database {database}"):  # it lets nobody in
                if self._has_something(oid, database):
                    with self._owners.inside(database) as do:
                        objects.hand_over(do, {oid}, owner)
                        objects.withdraw(do, oid)

    def _has_something(self, oid: int, database: str) -> bool:
        return bool(self._rows(SOMETHING, (oid, database)))

    @contextmanager
    def _later(self, what: str) -> Iterator[None]:
        """What a call need not wait for: where it fails, that is no failure of the call."""
        try:
            yield
        except FAILURES as error:
            LOG.warning("%s is not put right yet: %s", what, error)

    @contextmanager
    def _without_sessions(self, do: Change, which: LiteralString, values: Sequence[Any]) -> Iterator[None]:
        """Change something and end the sessions that it concerns: both, or neither of them when one does not end."""
        with do.together():
            yield
            self._end_sessions(do, which, values)
        with suppress(Busy):  # those that began before it was committed
            self._end_sessions(do, which, values)

    def _end_sessions(self, do: Change, which: LiteralString, values: Sequence[Any]) -> None:
        """End them and see that they ended."""
        ending: LiteralString = (
            "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
        )
        until = time.monotonic() + ENDING_SECONDS
        do("SELECT pg_stat_clear_snapshot()")  # which a transaction keeps
        while pids := [pid for pid, _ in do(ending + which, values)]:
            if time.monotonic() > until:
                raise Busy(f"The session with pid {pids[0]} does not end; please try again.")
            time.sleep(0.02)
            do("SELECT pg_stat_clear_snapshot()")

    # -- root --------------------------------------------------------------------------------------------------------

    def enable_root(self, password: str) -> str:
        """A superuser role named root. What it makes in tenants' databases can be used by those who were granted them."""
        with self._call():
            there = self._rows("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROOT,))
            form = "ALTER ROLE {} SUPERUSER LOGIN PASSWORD {} VALID UNTIL 'infinity'" if there else (
                "CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")  # fmt: skip
            with self._session.change() as do:
                self._login(do, form, ROOT, password)
            for database in self.list_databases():
                with self._later(f"what root will make in database {database}"):
                    self._owners.share_of_root(database)
        return ROOT

    def disable_root(self) -> None:
        """No login, no powers, for nobody but the administrator; open sessions of those who had some end.

        What root made in tenants' databases becomes theirs.
        """
        with self._call():
            rows = self._rows("SELECT oid FROM pg_roles WHERE rolname = %s", (ROOT,))
            if not rows and not self._confinement.is_needed():  # root may have renamed itself
                raise NotFound("Root user has never been enabled on the instance.")
            with self._session.change() as do:
                with do.together():
                    form: LiteralString = "ALTER ROLE" if rows else "CREATE ROLE"
                    form += " {} NOLOGIN PASSWORD {} " + POWERS
                    self._login(do, form, ROOT, secrets.token_urlsafe(32))
                    for (role,) in do(MEMBERSHIPS, rows[0]) if rows else ():
                        do(b"REVOKE %b FROM root CASCADE" % role)
                with after(DISABLED_ONLY, *FAILURES):
                    self._end_sessions(do, "usesysid = %s", rows[0] if rows else (0,))
                    self._confine(do)
            with after(DISABLED_ONLY, *FAILURES):
                self._confine_inside()
            self._owners.tidy()

    def is_root_enabled(self) -> bool:
        """Whether there is such a role that may log in."""
        return bool(self._rows("SELECT 1 FROM pg_authid WHERE rolname = %s AND rolcanlogin", (ROOT,)))

    def _confine(self, do: Change) -> None:
        for gid, database in self._confinement.prepared():
            self._owners.roll_back(database, [gid])
        with do.together():
            had_power = self._confinement.confine(do)
        self._end_sessions(do, "usesysid = ANY(%s)", (had_power,))
        self._confinement.forget_settings(do)

    def _confine_inside(self) -> None:
        failed = []
        for database in (*OURS, *self.list_databases()):
            try:
                owner = None if database in OURS else self._owners.of(database)
                with self._owners.inside(database) as do:
                    self._confinement.confine_inside(do, owner)
            except FAILURES as error:
                failed.append(f"{database}: {error}")
        if failed:
            raise Busy(f"it could not be looked for in database {failed[0]}")


def _admit(do: Change, user: str, database: str, owner: str) -> None:
    rows = do("SELECT convert_to(quote_ident(%s), 'SQL_ASCII')", (user,))
    admit(do, rows[0][0], _quoted_database(do, database), owner)


def _quoted_database(do: Change, database: str) -> bytes:
    quoted: bytes = do("SELECT convert_to(quote_ident(%s), 'SQL_ASCII')", (database,))[0][0]
    return quoted


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
