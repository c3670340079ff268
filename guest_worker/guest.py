"""The port `Guest`: unpack, call the driver, nothing more."""

import asyncio
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from temporalio import activity

from guest_worker import __version__, disk
from guest_worker.datastores.base import Accounts, Datastore, PlainUser
from guest_worker.host import CommandFailed
from guest_worker.identity import Away, Refused
from guest_worker.journal import Journal, call_key
from guest_worker.keeper import Keeper
from guest_worker.memory import Memory
from guest_worker.settings import GuestSettings
from workflows.domain.accounts import Grant, NewUser, RootAccount, Sealed, User, UserChange, UserName
from workflows.domain.errors import AlreadyExists, BadRequest, EngineFailed, FenceLost, NotFound, NotYet, Unsupported
from workflows.ports.guest import (
    DatabaseList,
    DatabaseName,
    EngineOrder,
    Fenced,
    FirstAccounts,
    Guest,
    GuestInfo,
    Health,
    LastKnown,
    NewDatabases,
    NewUsers,
    PasswordChanges,
    RootOrder,
    UserList,
    VolumeOrder,
    VolumeReport,
)
from workflows.sealing import NotOurs, SecretBox

LOOK_EVERY = 1.0  # seconds between looks at the engine while it is watched
Answer = TypeVar("Answer")


class DatabaseGuest(Guest):
    """One engine on one machine. Changes are done one at a time, and only for the newest operation."""

    def __init__(
        self, settings: GuestSettings, datastore: Datastore, box: SecretBox, renew: Callable[[], None] = lambda: None
    ) -> None:
        """`renew` changes the token that the guest is known by at the gateway."""
        self._settings = settings
        self._datastore = datastore
        self._box = box
        self._renew = renew
        state = settings.places.state
        self.keeper = Keeper(datastore, state)
        self._fences = Memory(state / "fence.json")
        self._journal = Journal(state / "calls.json")

    @contextmanager
    def _changing(self, order: Fenced) -> Iterator[None]:
        """Let one change in, if nobody with a higher number was here before."""
        with self.keeper.change:
            seen = int(self._fences.get("fence") or 0)
            if order.fence < seen:
                raise FenceLost(f"operation number {order.fence} is older than {seen}")
            if order.fence > seen:
                self._fences.put("fence", order.fence)
            yield

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    @activity.defn
    def prepare_volume(self, order: VolumeOrder) -> VolumeReport:
        with self._changing(order):
            return VolumeReport(**self._prepare(order.volume_id))

    def _prepare(self, volume_id: str) -> dict[str, int]:
        places = self._settings.places
        if places.mounted_at:
            return _space(str(places.data))
        try:
            return disk.ask(places, {"verb": "prepare", "volume_id": volume_id})
        except (disk.Refused, CommandFailed) as error:
            raise EngineFailed(f"the data volume could not be prepared: {error}") from error
        except OSError as error:
            raise NotYet(f"the disk process does not answer: {error}") from error

    @activity.defn
    def initialise_datastore(self, order: EngineOrder) -> None:
        with self._changing(order):
            self._datastore.initialise()

    @activity.defn
    def configure_datastore(self, order: EngineOrder) -> None:
        with self._changing(order):
            self._datastore.configure(self._settings.memory_mib or order.memory_mib, order.settings)

    @activity.defn
    def start_datastore(self, order: Fenced) -> GuestInfo:
        with self._changing(order):
            self.keeper.want(True)
            self._datastore.start()
            return GuestInfo(guest_version=__version__, engine_version=self._datastore.version())

    @activity.defn
    def stop_datastore(self, order: Fenced) -> None:
        with self._changing(order):
            self.keeper.want(False)
            self._datastore.stop()

    @activity.defn
    def create_first_accounts(self, order: FirstAccounts) -> None:
        with self._changing(order):
            for database in order.databases:
                with suppress(AlreadyExists):
                    self._accounts.create_database(database)
            for user in order.users:
                with suppress(AlreadyExists):
                    self._create_user(user)

    # -- health ------------------------------------------------------------------------------------------------------

    @activity.defn
    async def get_health(self) -> Health:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Health:
        status = self.keeper.status()
        try:
            space = _space(str(self._settings.places.data))
        except OSError:
            space = {"total_bytes": 0, "used_bytes": 0}
        return Health(
            operating_status=status,
            volume_used_bytes=space["used_bytes"],
            volume_total_bytes=space["total_bytes"],
            guest_version=__version__,
        )

    @activity.defn
    async def watch_health(self, known: LastKnown) -> Health:
        waited, beat = 0.0, self._settings.heartbeat_seconds
        last_beat = -beat
        while True:
            health = await self.get_health()
            if waited >= known.seconds or _is_news(known.health, health, waited) or activity.is_worker_shutdown():
                return health
            if waited - last_beat >= beat:
                activity.heartbeat(health)
                last_beat = waited
            await _pause(LOOK_EVERY)
            waited += LOOK_EVERY

    # -- identity ----------------------------------------------------------------------------------------------------

    @activity.defn
    def renew_token(self) -> None:
        try:
            self._renew()
        except (Refused, Away) as error:
            raise NotYet(f"the token could not be changed: {error}") from error

    # -- short calls -------------------------------------------------------------------------------------------------

    @property
    def _accounts(self) -> Accounts:
        accounts = self._datastore.accounts
        if accounts is None:
            raise Unsupported(f"{self._datastore.manager} has no users and databases")
        return accounts

    def _once(self, shape: type[Answer], work: Callable[[], Answer]) -> Answer:
        with self.keeper.change:
            return self._journal.once(call_key(), shape, work)

    def _opened(self, sealed: Sealed) -> str:
        try:
            return self._box.open(sealed)
        except NotOurs as error:
            raise BadRequest("the password is not sealed for this instance") from error

    def _create_user(self, user: NewUser) -> None:
        name = UserName(name=user.name, host=user.host)
        self._accounts.create_user(PlainUser(name, self._opened(user.password), user.databases))

    @activity.defn
    def list_databases(self) -> DatabaseList:
        return DatabaseList(databases=self._accounts.list_databases())

    @activity.defn
    def create_databases(self, order: NewDatabases) -> None:
        def work() -> None:
            there = set(self._accounts.list_databases())
            for each in order.databases:
                if each.name in there:
                    raise AlreadyExists(f"Database {each.name} already exists.")
            for each in order.databases:
                self._accounts.create_database(each)

        self._once(type(None), work)

    @activity.defn
    def delete_database(self, order: DatabaseName) -> None:
        self._once(type(None), lambda: self._accounts.delete_database(order.name))

    @activity.defn
    def list_users(self) -> UserList:
        return UserList(users=self._accounts.list_users())

    @activity.defn
    def get_user(self, user: UserName) -> User:
        for each in self._accounts.list_users():
            if (each.name, each.host) == (user.name, user.host):
                return each
        raise NotFound(f"User {user.name} cannot be found on the instance.")

    @activity.defn
    def create_users(self, order: NewUsers) -> None:
        def work() -> None:
            there = {(each.name, each.host) for each in self._accounts.list_users()}
            for each in order.users:
                if (each.name, each.host) in there:
                    raise AlreadyExists(f"User {each.name} already exists.")
            for each in order.users:
                self._create_user(each)

        self._once(type(None), work)

    @activity.defn
    def update_user(self, change: UserChange) -> None:
        self._once(type(None), lambda: self._update(change))

    def _update(self, change: UserChange) -> None:
        user = change.user
        if change.new_password is not None:
            self._accounts.set_password(user, self._opened(change.new_password))
        new = UserName(name=change.new_name or user.name, host=change.new_host or user.host)
        if new != user:
            self._accounts.rename_user(user, new)

    @activity.defn
    def change_passwords(self, order: PasswordChanges) -> None:
        def work() -> None:
            there = {(each.name, each.host) for each in self._accounts.list_users()}
            for each in order.changes:
                if (each.user.name, each.user.host) not in there:
                    raise NotFound(f"User {each.user.name} cannot be found on the instance.")
            for each in order.changes:
                self._update(each)

        self._once(type(None), work)

    @activity.defn
    def delete_user(self, user: UserName) -> None:
        self._once(type(None), lambda: self._accounts.delete_user(user))

    @activity.defn
    def grant_access(self, grant: Grant) -> None:
        def work() -> None:
            for each in grant.databases:
                self._accounts.grant(grant.user, each)

        self._once(type(None), work)

    @activity.defn
    def revoke_access(self, grant: Grant) -> None:
        def work() -> None:
            for each in grant.databases:
                self._accounts.revoke(grant.user, each)

        self._once(type(None), work)

    @activity.defn
    def enable_root(self, order: RootOrder) -> RootAccount:
        def work() -> RootAccount:
            password = self._opened(order.password) if order.password else secrets.token_urlsafe(24)
            return RootAccount(name=self._accounts.enable_root(password), password=self._box.seal(password))

        return self._once(RootAccount, work)

    @activity.defn
    def disable_root(self) -> None:
        self._once(type(None), self._accounts.disable_root)


async def _pause(seconds: float) -> None:
    """Sleep, but not while the worker wants to end."""
    with suppress(TimeoutError):
        await asyncio.wait_for(activity.wait_for_worker_shutdown(), seconds)


def _space(folder: str) -> dict[str, int]:
    found = os.statvfs(folder)
    return {"total_bytes": found.f_blocks * found.f_frsize,
            "used_bytes": (found.f_blocks - found.f_bfree) * found.f_frsize}  # fmt: skip


def _is_news(known: Health | None, seen: Health, waited: float) -> bool:
    """Whether the control plane should hear it: another state, or 1 % of the volume (at most once a minute)."""
    if known is None or known.operating_status is not seen.operating_status:
        return True
    if known.guest_version != seen.guest_version or known.volume_total_bytes != seen.volume_total_bytes:
        return True
    moved = abs((seen.volume_used_bytes or 0) - (known.volume_used_bytes or 0))
    return waited >= 60 and moved * 100 >= max(1, seen.volume_total_bytes or 1)
