"""What each account call changes: checked whole before anything is changed, then one change after the other.

Each change has an undo note, which is written to disk before the change is made.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from contract.domain.accounts import Grant, NewUser, Sealed, User, UserChange, UserName
from contract.domain.errors import AlreadyExists, BadRequest, NotFound
from contract.domain.fact import Fact
from contract.keys.sealing import NotOurs, SecretBox
from contract.ports.guest import NewDatabases, NewUsers, PasswordChanges
from guest_worker.datastores.base import Accounts, PlainUser


class Undo(Fact):
    """How one change is taken back; harmless when the change was not made, or was taken back already."""

    verb: Literal[
        "nothing", "drop_database", "drop_user", "rename", "restore_password", "revoke", "disable_root",
        "finish_revoke", "restore_database", "restore_user", "finish_disable_root",
    ]  # fmt: skip
    user: UserName = UserName(name="")
    new: UserName = UserName(name="")
    name: str = ""
    names: tuple[str, ...] = ()
    secret: Sealed | None = None


NOTHING = Undo(verb="nothing")


@dataclass(frozen=True)
class Change:
    """One change. `ready` raises when the change must not be made; `final`: what was done cannot be taken back."""

    do: Callable[[], object]
    undo: Undo
    ready: Callable[[], None] = lambda: None
    final: bool = False


REFRESH = 0.5  # seconds for which a list of what is there is believed while a call runs


class _Names:
    """What is there, asked again now and then: a tenant's administrator may create things by SQL while a call runs."""

    def __init__(self, ask: Callable[[], Collection[object]]) -> None:
        self._ask = ask
        self._asked = 0.0
        self._found: Collection[object] = ()

    def __contains__(self, name: object) -> bool:
        if time.monotonic() - self._asked > REFRESH:
            self._found, self._asked = self._ask(), time.monotonic()
        return name in self._found


class Changes:
    """Plans the changes of each call, and takes changes back."""

    def __init__(self, accounts: Accounts, box: SecretBox) -> None:
        self._accounts = accounts
        self._box = box

    # -- plans -------------------------------------------------------------------------------------------------------

    def create_databases(self, order: NewDatabases) -> list[Change]:
        """One change per database."""
        there = _Names(lambda: set(self._accounts.list_databases()))
        for each in order.databases:
            _require_free("Database", each.name, each.name, there)
            self._accounts.check_database(each)
        return [
            Change(
                do=partial(self._accounts.create_database, each),
                undo=Undo(verb="drop_database", name=each.name),
                ready=partial(_require_free, "Database", each.name, each.name, there),
            )
            for each in order.databases
        ]

    def delete_database(self, name: str) -> list[Change]:
        """One final change."""
        self._require_databases((name,))
        undo = Undo(verb="restore_database", name=name)
        return [Change(do=partial(self._accounts.delete_database, name), undo=undo, final=True)]

    def create_users(self, order: NewUsers) -> list[Change]:
        """One change per user; its grants belong to it."""
        plain = [self.plain(each) for each in order.users]
        there = self._user_names()
        for each in plain:
            _require_free("User", each.name.name, each.name, there)
            self._accounts.check_user(each.name)
        self._require_databases(tuple(name for each in plain for name in each.databases))
        return [
            Change(
                do=partial(self._accounts.create_user, each),
                undo=Undo(verb="drop_user", user=each.name),
                ready=partial(_require_free, "User", each.name.name, each.name, there),
            )
            for each in plain
        ]

    def update_user(self, change: UserChange) -> list[Change]:
        """The new name first, then the password."""
        self._require_user(change.user)
        new = UserName(name=change.new_name or change.user.name, host=change.new_host or change.user.host)
        changes = []
        if new != change.user:
            _require_free("User", new.name, new, self._user_names())
            self._accounts.check_user(new)
            undo = Undo(verb="rename", user=change.user, new=new)
            changes.append(Change(do=partial(self._accounts.rename_user, change.user, new), undo=undo))
        if change.new_password is not None:
            changes.append(self._password(change.user, new, change.new_password))
        return changes

    def change_passwords(self, order: PasswordChanges) -> list[Change]:
        """One change per user."""
        there = self._user_names()
        for each in order.changes:
            if each.user not in there:
                raise NotFound(f"User {each.user.name} cannot be found on the instance.")
        return [
            self._password(each.user, each.user, each.new_password)
            for each in order.changes
            if each.new_password is not None
        ]

    def _password(self, user: UserName, later: UserName, password: Sealed) -> Change:
        """`later`: what the user is called by then."""
        undo = Undo(verb="restore_password", user=later, secret=self._kept(user))
        return Change(do=partial(self._accounts.set_password, later, self.opened(password)), undo=undo)

    def delete_user(self, user: UserName) -> list[Change]:
        """One final change."""
        there = self._require_user(user)
        undo = Undo(verb="restore_user", user=user, names=there.databases)
        return [Change(do=partial(self._accounts.delete_user, user), undo=undo, final=True)]

    def grant_access(self, grant: Grant) -> list[Change]:
        """One change per database; what the user has already is asserted and not taken back."""
        there = self._require_user(grant.user)
        self._require_databases(grant.databases)
        return [
            Change(
                do=partial(self._accounts.grant, grant.user, name),
                undo=NOTHING if name in there.databases else Undo(verb="revoke", user=grant.user, name=name),
            )
            for name in dict.fromkeys(grant.databases)
        ]

    def revoke_access(self, grant: Grant) -> list[Change]:
        """One final change per database: how a right was granted is not known exactly."""
        there = self._require_user(grant.user)
        for name in grant.databases:
            if name not in there.databases:
                raise NotFound(f"User {grant.user.name} has no access to database {name}.")
        return [
            Change(
                do=partial(self._accounts.revoke, grant.user, name),
                undo=Undo(verb="finish_revoke", user=grant.user, name=name),
                final=True,
            )
            for name in dict.fromkeys(grant.databases)
        ]

    def enable_root(self, root: UserName, password: str) -> list[Change]:
        """One change; the password that root had before is kept."""
        kept = self._kept(root)
        undo = Undo(verb="restore_password", user=root, secret=kept) if kept else Undo(verb="disable_root")
        return [Change(do=partial(self._accounts.enable_root, password), undo=undo)]

    def disable_root(self) -> list[Change]:
        """One final change: the engine may keep nothing of what root could do."""
        return [Change(do=self._accounts.disable_root, undo=Undo(verb="finish_disable_root"), final=True)]

    # -- checks ------------------------------------------------------------------------------------------------------

    def plain(self, user: NewUser) -> PlainUser:
        """A user to create, its password opened."""
        return PlainUser(UserName(name=user.name, host=user.host), self.opened(user.password), user.databases)

    def opened(self, sealed: Sealed) -> str:
        """A password in clear; BadRequest when it is sealed for another instance."""
        try:
            return self._box.open(sealed)
        except NotOurs as error:
            raise BadRequest("the password is not sealed for this instance") from error

    def _kept(self, user: UserName) -> Sealed | None:
        credential = self._accounts.credential(user)
        return None if credential is None else self._box.seal(credential)

    def _user(self, user: UserName) -> User | None:
        for each in self._accounts.list_users():
            if (each.name, each.host) == (user.name, user.host):
                return each
        return None

    def _require_user(self, user: UserName) -> User:
        there = self._user(user)
        if there is None:
            raise NotFound(f"User {user.name} cannot be found on the instance.")
        return there

    def _user_names(self) -> _Names:
        return _Names(lambda: {UserName(name=each.name, host=each.host) for each in self._accounts.list_users()})

    def _require_databases(self, names: tuple[str, ...]) -> None:
        there = set(self._accounts.list_databases()) if names else set()
        for name in names:
            if name not in there:
                raise NotFound(f"Database {name} cannot be found on the instance.")

    # -- taking back -------------------------------------------------------------------------------------------------

    def take_back(self, undo: Undo) -> bool:
        """Take one change back. True: it is final and was made, so that it stays."""
        try:
            return bool(getattr(self, f"_undo_{undo.verb}")(undo))
        except NotFound:  # there is nothing to take back
            return False

    def _undo_nothing(self, undo: Undo) -> None: ...

    def _undo_drop_database(self, undo: Undo) -> None:
        self._accounts.delete_database(undo.name)

    def _undo_drop_user(self, undo: Undo) -> None:
        self._accounts.delete_user(undo.user)

    def _undo_rename(self, undo: Undo) -> None:
        if self._user(undo.user) is None:
            self._accounts.rename_user(undo.new, undo.user)

    def _undo_restore_password(self, undo: Undo) -> None:
        if undo.secret is not None and self._accounts.credential(undo.user) is not None:
            self._accounts.restore_credential(undo.user, self.opened(undo.secret))

    def _undo_revoke(self, undo: Undo) -> None:
        self._accounts.revoke(undo.user, undo.name)

    def _undo_disable_root(self, undo: Undo) -> None:
        self._accounts.disable_root()

    def _undo_finish_disable_root(self, undo: Undo) -> bool:
        """Nobody was let in as root any more when it was broken off: what root left has to be looked for all the same."""
        if self._accounts.is_root_enabled():
            return False
        self._accounts.disable_root()
        return True

    def _undo_finish_revoke(self, undo: Undo) -> bool:
        """The right is there still, or it is gone and its sessions may not be: the engine is asked once more."""
        there = self._user(undo.user)
        if there is None or undo.name in there.databases:
            return False
        with suppress(NotFound):
            self._accounts.revoke(undo.user, undo.name)
        return True

    def _undo_restore_database(self, undo: Undo) -> bool:
        if undo.name in self._accounts.list_databases():
            self._accounts.restore_database(undo.name)
            return False
        with suppress(NotFound):  # what was granted on it
            self._accounts.delete_database(undo.name)
        return True

    def _undo_restore_user(self, undo: Undo) -> bool:
        self._accounts.restore_user(User(name=undo.user.name, host=undo.user.host, databases=undo.names))
        return self._user(undo.user) is None


def _require_free(what: str, shown: str, name: object, there: _Names) -> None:
    if name in there:
        raise AlreadyExists(f"{what} {shown} already exists.")
