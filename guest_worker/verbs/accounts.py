"""The port `Accounts`: databases, users and root, as a tenant asks for them."""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import TypeVar

from temporalio import activity

from contract.domain.accounts import Expiring, Grant, RootAccount, User, UserChange, UserName
from contract.domain.datastores import DATASTORES
from contract.domain.errors import EngineFailed, NotFound, Unavailable
from contract.ports.guest import (
    FIRST_DATABASES,
    FIRST_USERS,
    Accounts,
    DatabaseList,
    DatabaseName,
    DatabasesAfter,
    NewDatabases,
    NewUsers,
    PasswordChanges,
    RootOrder,
    UserList,
    UsersAfter,
    UserToDelete,
)
from contract.wire.answers import MAX_BYTES
from guest_worker.calls import asked
from guest_worker.changes import Change, Changes
from guest_worker.services import Services

Told = TypeVar("Told")
LONGEST_ANSWER = MAX_BYTES - 4096  # bytes; what seals and describes it takes some
change = activity.defn(no_thread_cancel_exception=True)  # an exception between two statements would leave half a change


class EngineAccounts(Accounts):
    """Lists at any time; changes one at a time, each of them whole or not at all."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def _changes(self) -> Changes:
        return self._services.changes

    @contextmanager
    def _serving(self) -> Iterator[None]:
        """An error of an engine that does not answer is no refusal of what was asked."""
        try:
            yield
        except EngineFailed as error:
            if self._services.datastore.answers():
                raise
            raise Unavailable("The database does not answer; nothing was changed. Please try again.") from error

    def _change(self, call: Expiring, plan: Callable[[], list[Change]]) -> None:
        with self._serving():
            self._services.calls.change(
                asked(self._services.wanted), call.expires_at, type(None), lambda: (plan(), None)
            )

    def _with_room(self, plan: Callable[[], list[Change]]) -> list[Change]:
        """A plan of what needs room; asked for after the look at the volume, for on a full one a question may hang."""
        self._services.supervisor.check_room()
        return plan()

    # -- databases ---------------------------------------------------------------------------------------------------

    @activity.defn
    def list_databases(self, page: DatabasesAfter = FIRST_DATABASES) -> DatabaseList:
        there = self._databases() if page.user is None else self._user(page.user).databases
        found, more = _page(sorted(each for each in there if each > page.after), page.limit, json.dumps)
        return DatabaseList(databases=found, more=more)

    def _databases(self) -> tuple[str, ...]:
        with self._serving():
            return self._services.accounts.list_databases()

    @change
    def create_databases(self, order: NewDatabases) -> None:
        self._change(order, lambda: self._with_room(lambda: self._changes.create_databases(order)))

    @change
    def delete_database(self, order: DatabaseName) -> None:
        with self._services.supervisor.room_to_delete():
            self._change(order, lambda: self._changes.delete_database(order.name))

    # -- users -------------------------------------------------------------------------------------------------------

    @activity.defn
    def list_users(self, page: UsersAfter = FIRST_USERS) -> UserList:
        after = _key(page.after) if page.after else ("", "")
        rest = sorted((each for each in self._users() if _key(each) > after), key=_key)
        found, more = _page(rest, page.limit, User.model_dump_json)
        if page.limit > 0 and rest and not found:
            return UserList(users=(_cut(rest[0]),), more=len(rest) > 1)
        return UserList(users=found, more=more)

    def _users(self) -> tuple[User, ...]:
        with self._serving():
            return self._services.accounts.list_users()

    @activity.defn
    def get_user(self, user: UserName) -> User:
        return _cut(self._user(user))

    def _user(self, user: UserName) -> User:
        for each in self._users():
            if (each.name, each.host) == (user.name, user.host):
                return each
        raise NotFound(f"User {user.name} cannot be found on the instance.")

    @change
    def create_users(self, order: NewUsers) -> None:
        self._change(order, lambda: self._with_room(lambda: self._changes.create_users(order)))

    @change
    def update_user(self, change: UserChange) -> None:
        self._change(change, lambda: self._changes.update_user(change))

    @change
    def change_passwords(self, order: PasswordChanges) -> None:
        self._change(order, lambda: self._changes.change_passwords(order))

    @change
    def delete_user(self, order: UserToDelete) -> None:
        with self._services.supervisor.room_to_delete():
            self._change(order, lambda: self._changes.delete_user(order.user))

    @change
    def grant_access(self, grant: Grant) -> None:
        self._change(grant, lambda: self._changes.grant_access(grant))

    @change
    def revoke_access(self, grant: Grant) -> None:
        self._change(grant, lambda: self._changes.revoke_access(grant))

    # -- root --------------------------------------------------------------------------------------------------------

    @change
    def enable_root(self, order: RootOrder) -> RootAccount:
        root = UserName(name=DATASTORES[self._services.datastore.manager].root_name)

        def plan() -> tuple[list[Change], RootAccount]:
            password = self._changes.opened(order.password) if order.password else secrets.token_urlsafe(24)
            account = RootAccount(name=root.name, password=self._services.box.seal(password))
            return self._changes.enable_root(root, password), account

        with self._serving():
            return self._services.calls.change(asked(self._services.wanted), order.expires_at, RootAccount, plan)

    @change
    def disable_root(self, order: RootOrder) -> None:
        self._change(order, lambda: self._changes.disable_root())


def _key(user: User | UserName) -> tuple[str, str]:
    return user.name, user.host


def _page(rest: Sequence[Told], limit: int, written: Callable[[Told], str]) -> tuple[tuple[Told, ...], bool]:
    """The first ones that an answer holds, and whether there are others."""
    lengths = accumulate(len(written(each).encode()) + 1 for each in rest[: max(0, limit)])
    count = sum(1 for length in lengths if length <= LONGEST_ANSWER)
    return tuple(rest[:count]), len(rest) > count


def _cut(user: User) -> User:
    """With as many of its databases as an answer holds."""
    if len(user.model_dump_json().encode()) <= LONGEST_ANSWER:
        return user
    found, more = _page(sorted(user.databases), len(user.databases), json.dumps)
    return user.model_copy(update={"databases": found, "more_databases": more})
