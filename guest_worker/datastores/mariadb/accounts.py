"""Databases and users of MariaDB. Every verb asserts all that it says, and may come twice."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from typing import Any, ClassVar

from contract.domain.accounts import NewDatabase, User, UserName
from contract.domain.datastores import hosts
from contract.domain.datastores.base import Datastore as Facts
from contract.domain.datastores.mariadb import KEPT, MARIADB
from contract.domain.errors import AlreadyExists, BadRequest, Busy, EngineFailed, NotFound
from guest_worker.datastores.base import FINAL_SECONDS, UNCHANGED, Accounts, PlainUser, after
from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.confinement import ROOT, Confinement
from guest_worker.datastores.mariadb.definers import Definers
from guest_worker.datastores.mariadb.engine import Engine, of_database
from guest_worker.datastores.mariadb.grants import Grants
from guest_worker.datastores.mariadb.session import Row, Session, StatementRefused, TimedOut

NO_SUCH_DATABASE = 1008
DISABLED_ONLY = "Root is disabled, but what it left may still have its power; please disable it again"
DROP_SECONDS = int(FINAL_SECONDS)  # for a database: sessions that hold its tables are ended meanwhile


class MariaDBAccounts(Accounts):
    """Users have hosts; grants are per database. MySQL's accounts are these, too; what differs is overridden."""

    facts: ClassVar[Facts] = MARIADB
    table: ClassVar[str] = "mysql.global_priv"  # of accounts
    confinement: ClassVar[type[Confinement]] = Confinement

    def __init__(self, engine: Engine, grants: Grants, definers: Definers) -> None:
        self._engine = engine
        self._grants = grants
        self._definers = definers
        self._confinement = self.confinement(engine, grants, definers)
        self.required: Callable[[], str] = str
        """What a new account must show when it logs in, as a part of the statement that makes it."""

    @classmethod
    def of(cls, session: Session) -> "MariaDBAccounts":
        """Those that this session administers."""
        engine = Engine(session)
        grants = Grants(engine)
        return cls(engine, grants, Definers(engine, grants))

    # -- databases ---------------------------------------------------------------------------------------------------

    def list_databases(self) -> tuple[str, ...]:
        """All but the engine's own."""
        rows = self._engine.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY BINARY SCHEMA_NAME")
        return tuple(name for (name,) in rows if name not in self.facts.reserved_databases)

    def check_database(self, database: NewDatabase) -> None:
        """Whether this engine has the character set and the collation, and one for the other."""
        _checked(self.facts.check_database, database)
        charset, collation = database.character_set, database.collate
        conditions = []
        if charset:
            alike = f"CHARACTER_SET_NAME = CONCAT({sql.text(charset)}, IF({sql.text(charset)} = 'utf8', 'mb3', ''))"
            conditions.append(alike)
        if collation:
            conditions.append(self._of_collation(collation))
        if not conditions:
            return
        table = "information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
        if not self._engine.rows(f"SELECT 1 FROM {table} WHERE {' AND '.join(conditions)} LIMIT 1"):
            raise BadRequest(f"The engine has no collation '{collation or 'of any kind'}' for character set "
                             f"'{charset or 'of any kind'}'.")  # fmt: skip

    def create_database(self, database: NewDatabase) -> None:
        """Create it, or give the one that is there the character set and collation. No right on a former one counts."""
        _checked(self.facts.check_database, database)
        options = ""
        if database.character_set:
            options += f" CHARACTER SET = {sql.text(database.character_set)}"
        if database.collate:
            options += f" COLLATE = {sql.text(database.collate)}"
        if database.name not in self.list_databases():
            self._forget(database.name)
            self._engine.rows(f"CREATE DATABASE IF NOT EXISTS {sql.name(database.name)}{options}")
        elif options:
            self._engine.rows(f"ALTER DATABASE {sql.name(database.name)}{options}", of=of_database(database.name))

    def _of_collation(self, collation: str) -> str:
        """The collations of Unicode 14 go by a short name, too."""
        return f"{sql.text(listed(collation))} IN (COLLATION_NAME, FULL_COLLATION_NAME)"

    def _forget(self, name: str) -> None:
        if self._grants.names(name):
            now = self._grants.read()
            for right in self._grants.left_over(name, now):
                self._grants.withdraw(right, name, now)

    def delete_database(self, name: str) -> None:
        """End the sessions that hold it, drop it, and take back whatever was granted on it."""
        there = name in self.list_databases()
        if name in self.facts.reserved_databases or not (there or self._grants.names(name)):
            raise NotFound(f"Database {name} cannot be found on the instance.")
        if there:
            self._refuse_referenced(name)
            self._grants.require_writable()
            self._drop(name)
        self._engine.end(self._engine.sessions_in(name), wait=0)
        self._grants.forget(name)
        self._definers.sweep()

    def _refuse_referenced(self, name: str) -> None:
        """The engine would drop some of the tables before it refuses the rest."""
        folder = f"CONVERT(CONVERT(CONVERT({sql.text(name)} USING filename) USING binary) USING utf8mb4)"
        rows = self._engine.rows(
            "SELECT FOR_NAME FROM information_schema.INNODB_SYS_FOREIGN"
            f" WHERE SUBSTRING_INDEX(REF_NAME, '/', 1) = {folder} AND SUBSTRING_INDEX(FOR_NAME, '/', 1) <> {folder}"
        )
        if rows:
            raise Busy(f"A foreign key of table {rows[0][0]} refers to database {name}; {UNCHANGED}.")

    def _drop(self, name: str) -> None:
        """Drop it while sessions that hold it are ended. New ones wait behind the drop, so they do not delay it."""
        before = self._tables(name)
        with ThreadPoolExecutor(1) as beside:
            drop = beside.submit(self._drop_waiting, name)
            while not wait([drop], 0.1).done:
                with suppress(EngineFailed, Busy):  # then the drop is given up
                    self._engine.end([number for number, _ in self._engine.holders(of_database(name))], wait=0)
        try:
            drop.result()
        except TimedOut as error:
            left = self._tables(name)
            gone = f"{before - left} of {before} tables are gone already, delete it again to go on"
            raise self._engine.busy(of_database(name), UNCHANGED if left == before else gone) from error
        except StatementRefused as error:
            if error.code != NO_SUCH_DATABASE:
                raise

    def _drop_waiting(self, name: str) -> None:
        self._engine.session.rows(
            f"SET STATEMENT lock_wait_timeout = {DROP_SECONDS} FOR DROP DATABASE {sql.name(name)}"
        )

    def _tables(self, name: str) -> int:
        schema = sql.text(name)
        return int(
            self._engine.rows(f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema}")[0][0]
        )

    # -- users -------------------------------------------------------------------------------------------------------

    def list_users(self) -> tuple[User, ...]:
        """All but the engine's own, with the databases that they may use, however they were given to them."""
        now = self._grants.read()
        names = tuple(sorted(set(now.databases) - self.facts.reserved_databases))
        return tuple(
            User(name=each.name, host=each.host, databases=now.usable(each, names)) for each in self._tenants_users()
        )

    def _tenants_users(self) -> list[UserName]:
        hidden = self._definers.hidden()
        found = [UserName(name=name, host=host) for name, host in self._users() if name and not self._is_reserved(name)]
        return sorted((each for each in found if each not in hidden), key=lambda each: (each.name, each.host))

    def _users(self) -> list[Row]:
        """All accounts but roles."""
        return self._engine.rows("SELECT User, Host FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role') IS NULL")

    def _is_reserved(self, name: str) -> bool:
        return name in self.facts.reserved_users or name.startswith(KEPT)

    def _exists(self, user: UserName) -> bool:
        where = f"User = {sql.text(user.name)} AND Host = {sql.text(user.host)}"
        return bool(self._engine.rows(f"SELECT 1 FROM {self.table} WHERE {where}"))

    def _require(self, user: UserName) -> UserName:
        """The user as the engine keeps it; NotFound for the engine's own."""
        for each in dict.fromkeys((user, _canonical(user))):
            if not self._is_reserved(each.name) and self._exists(each) and each not in self._definers.hidden():
                return each
        raise NotFound(f"User {user.name}@{user.host} cannot be found on the instance.")

    def _require_database(self, name: str) -> None:
        if name not in self.list_databases():
            raise NotFound(f"Database {name} cannot be found on the instance.")

    def check_user(self, user: UserName) -> None:
        """Whether names and hosts are such as the engine has."""
        _checked(self.facts.check_user, user.name, user.host)

    def create_user(self, user: PlainUser) -> None:
        """Create it, or give the one that is there this password, and grant."""
        self.check_user(user.name)
        for database in user.databases:
            self._require_database(database)
        wanted = _canonical(user.name)
        secret = f"IDENTIFIED BY {sql.text(user.password)}"
        self._make_room(wanted)
        if self._exists(wanted):
            self._engine.rows(f"ALTER USER {sql.account(wanted)} {secret} ACCOUNT UNLOCK")
        else:
            self._create(wanted, secret)
        for database in user.databases:
            self.grant(wanted, database)

    def _create(self, user: UserName, secret: str) -> None:
        """Create an account. Sessions that would now be its own, and are another account's, must log in again."""
        namesakes = self._engine.rows(f"SELECT 1 FROM {self.table} WHERE User IN ({sql.text(user.name)}, '') LIMIT 1")
        order = self._engine.accounts_in_order() if namesakes else []
        self._engine.rows(f"CREATE USER {sql.account(user)} {secret}{self.required()}")
        self._end_taken_over(user, order)

    def _end_taken_over(self, user: UserName, before: list[UserName]) -> None:
        """The engine does not tell the account of a session: later, those of `u@%` would be taken for `u@10.0.0.1`'s."""
        if any(each.name == user.name and each != user and hosts.covers(each.host, user.host) for each in before):
            self._engine.end(self._engine.sessions_of(user, self._engine.accounts_in_order()))

    def _make_room(self, user: UserName) -> None:
        """Free the name of an account that was left behind: what runs as it is handed over first."""
        if user in self._definers.hidden():
            self._definers.hand_over(user)
            self._engine.rows(f"DROP USER IF EXISTS {sql.account(user)}")

    def delete_user(self, user: UserName) -> None:
        """Let nobody in, end its sessions, then drop it. Where something runs as it, the account stays, locked and hidden."""
        user = self._require(user)
        self._engine.rows(f"ALTER USER {sql.account(user)} ACCOUNT LOCK")
        try:
            self._engine.end(self._engine.sessions_of(user, self._engine.accounts_in_order()))
            if self._definers.is_needed(user):
                self._definers.leave(user)
            else:
                self._engine.rows(f"DROP USER {sql.account(user)}")
        except Busy:
            self._engine.rows(f"ALTER USER {sql.account(user)} ACCOUNT UNLOCK")
            raise

    def restore_user(self, user: User) -> None:
        """Let it log in again."""
        name = _canonical(UserName(name=user.name, host=user.host))
        if self._exists(name) and name not in self._definers.hidden():
            self._engine.rows(f"ALTER USER {sql.account(name)} ACCOUNT UNLOCK")

    def rename_user(self, user: UserName, new: UserName) -> None:
        """Rename, keeping password and grants. Sessions end: the engine would go on calling them by the old name."""
        self.check_user(new)
        user, new = self._require(user), _canonical(new)
        self._make_room(new)
        if self._exists(new):
            raise AlreadyExists(f"User {new.name}@{new.host} already exists.")
        needed = self._definers.is_needed(user)
        order = self._engine.accounts_in_order()
        self._engine.rows(f"RENAME USER {sql.account(user)} TO {sql.account(new)}")
        if needed:
            self._definers.leave_copy(user, of=new)
        self._engine.end(self._engine.sessions_of(user, order))
        self._end_taken_over(new, order)

    def set_password(self, user: UserName, password: str) -> None:
        """Set a new password."""
        self._engine.rows(f"ALTER USER {sql.account(self._require(user))} IDENTIFIED BY {sql.text(password)}")

    def credential(self, user: UserName) -> str | None:
        """The statement by which the engine would recreate the user, with the hash of its password."""
        user = _canonical(user)
        if not self._exists(user):
            return None
        return str(self._engine.rows(f"SHOW CREATE USER {sql.account(user)}")[0][0])

    def restore_credential(self, user: UserName, credential: str) -> None:
        """Do it as a change; whatever plugin the user logs in with."""
        head, _, rest = credential.partition(" USER ")
        if head == "CREATE":
            self._engine.rows(f"ALTER USER {rest}")
        if head == "CREATE" and " ACCOUNT LOCK" not in rest:  # the engine does not say that an account is open
            self._engine.rows(f"ALTER USER {sql.account(_canonical(user))} ACCOUNT UNLOCK")
        elif head == "CREATE" and user == ROOT:
            self._confinement.confine(self.list_databases())

    # -- grants ------------------------------------------------------------------------------------------------------

    def grant(self, user: UserName, database: str) -> None:
        """All rights on one database; `_` and `%` in its name are not wildcards."""
        user = self._require(user)
        self._require_database(database)
        self._engine.rows(f"GRANT ALL PRIVILEGES ON {sql.name(sql.exactly(database))}.* TO {sql.account(user)}")

    def revoke(self, user: UserName, database: str) -> None:
        """Take all rights on a database back in whatever form they stand, and end the sessions that might still use them.

        A right that others have by the same grant (a role's), or that is on all databases, stays: Busy says whose it is.
        """
        user = self._require(user)
        now = self._grants.read()
        ways = now.ways(user, database)
        order = self._engine.accounts_in_order()
        if not ways:
            using = set(self._engine.sessions_in(database))
            self._engine.end(using.intersection(self._engine.sessions_of(user, order)))
            raise NotFound(f"User {user.name}@{user.host} has no access to database {database}.")
        for _, elsewhere in ways:
            if elsewhere:
                raise Busy(f"Access of user {user.name}@{user.host} to database {database} {elsewhere}: "
                           f"it must be taken back there; {UNCHANGED}.")  # fmt: skip
        self._definers.hand_over(user, database)
        rights = [right for right, _ in ways if right is not None]
        for number, right in enumerate(rights):
            gone = f"{number} of {len(rights)} grants are taken back already; please take the access back again"
            with after(gone, Busy, EngineFailed) if number else nullcontext():
                self._grants.withdraw(right, database, now)
        self._engine.end(self._engine.sessions_of(user, order))

    # -- root --------------------------------------------------------------------------------------------------------

    def enable_root(self, password: str) -> str:
        """`root@%` with everything; its password comes last, so that a half-made root lets nobody in."""
        root = sql.account(ROOT)
        if not self._exists(ROOT):
            self._engine.rows(f"CREATE USER IF NOT EXISTS {root} {_unknown_password()}{self.required()} ACCOUNT LOCK")
        self._grant_everything(root)
        self._engine.rows(f"ALTER USER {root} IDENTIFIED BY {sql.text(password)} ACCOUNT UNLOCK")
        return ROOT.name

    def _grant_everything(self, root: str) -> None:
        self._engine.rows(f"GRANT ALL PRIVILEGES ON *.* TO {root} WITH GRANT OPTION")

    def disable_root(self) -> None:
        """A password that nobody knows, as Trove does it; nobody keeps more than rights on databases.

        Open sessions of those who had more end, and whatever runs at that moment.
        """
        if not self._exists(ROOT):
            if not self._confinement.is_needed():  # root may have renamed itself
                raise NotFound("Root user has never been enabled on the instance.")
            self._engine.rows(f"CREATE USER {sql.account(ROOT)}{self.required()} ACCOUNT LOCK")
        self._engine.rows(f"ALTER USER {sql.account(ROOT)} {_unknown_password()} ACCOUNT LOCK")
        with after(DISABLED_ONLY, Busy, EngineFailed):
            self._confinement.confine(self.list_databases())

    def is_root_enabled(self) -> bool:
        """Whether there is `root@%`, and it is not locked."""
        return " ACCOUNT LOCK" not in (self.credential(ROOT) or " ACCOUNT LOCK")


def _unknown_password() -> str:
    return f"IDENTIFIED BY {sql.text(secrets.token_urlsafe(32))}"


def _canonical(user: UserName) -> UserName:
    """The form under which the engine keeps a user; as it is where there is none, for the tenant's root may make any."""
    try:
        return UserName(name=user.name, host=hosts.canonical(user.host))
    except ValueError:
        return user


def listed(collation: str) -> str:
    """As the engine lists a collation; those of utf8mb3 go as `utf8_…`, too."""
    name = collation.lower()
    return f"utf8mb3_{name[5:]}" if name.startswith("utf8_") else name


def _checked(check: Callable[..., Any], *values: Any) -> None:
    try:
        check(*values)
    except ValueError as error:
        raise BadRequest(str(error)) from error
