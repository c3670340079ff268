"""The port `Guest`: unpack, call the driver, nothing more."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from temporalio import activity

from guest_worker import __version__, disk
from guest_worker.calls import Calls, asked
from guest_worker.changes import Change, Changes
from guest_worker.datastores.base import Accounts, Datastore
from guest_worker.host import CommandFailed
from guest_worker.identity import Away, Refused
from guest_worker.journal import Journal
from guest_worker.keeper import Keeper
from guest_worker.memory import Memory
from guest_worker.reserve import Reserve, space_of
from guest_worker.settings import GuestSettings
from workflows.domain.accounts import Expiring, Grant, RootAccount, User, UserChange, UserName
from workflows.domain.datastores import DATASTORES
from workflows.domain.errors import EngineFailed, FenceLost, NotFound, NotYet, Unavailable, Unsupported
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
    UserToDelete,
    VolumeOrder,
    VolumeReport,
)
from workflows.sealing import SecretBox

SAME_STATUS_EVERY = 5.0  # seconds until another reason of the same status is told
LOOK_EVERY = 1.0  # seconds between looks at the engine while it is watched
Wanted = Callable[[bytes, float], bool]
change = activity.defn(no_thread_cancel_exception=True)  # an exception between two statements would leave half a change


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
        reserve = Reserve(settings.places.data, mounted_by_us=not settings.places.mounted_at)
        self.keeper = Keeper(datastore, state, reserve)
        self._fences = Memory(state / "fence.json")
        self._calls = Calls(Journal(state / "calls.db"), lambda: self._changes, datastore.answers)
        self.wanted: Wanted = lambda token, seconds: True

    def start(self) -> None:
        """Look after the engine, and undo what a process before this one left half done."""
        self.keeper.start()
        self._calls.start()

    def end(self) -> None:
        """Stop looking; the engine goes on."""
        self._calls.end()
        self.keeper.end()

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
            space = space_of(places.data)
            return {"total_bytes": space.total, "used_bytes": space.used}
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
            self.keeper.start_engine()
            return GuestInfo(guest_version=__version__, engine_version=self._datastore.version())

    @activity.defn
    def stop_datastore(self, order: Fenced) -> None:
        with self._calls.drained(), self._changing(order):
            self.keeper.want(False)
            self._datastore.stop()

    @activity.defn
    def create_first_accounts(self, order: FirstAccounts) -> None:
        with self._changing(order), self._calls.turn():
            for database in order.databases:
                self._accounts.create_database(database)
            for user in order.users:
                self._accounts.create_user(self._changes.plain(user))

    # -- health ------------------------------------------------------------------------------------------------------

    @activity.defn
    async def get_health(self) -> Health:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Health:
        condition = self.keeper.condition()
        try:
            space = space_of(self._settings.places.data)
        except OSError:
            space = None
        return Health(
            operating_status=condition.status,
            reason=condition.reason or None,
            volume_used_bytes=space.used if space else 0,
            volume_total_bytes=space.total if space else 0,
            guest_version=__version__,
        )

    @activity.defn
    async def watch_health(self, known: LastKnown) -> Health:
        began = time.monotonic()
        last_beat = -self._settings.heartbeat_seconds
        while True:
            health = await self.get_health()
            waited = time.monotonic() - began
            if waited >= known.seconds or _is_news(known.health, health, waited) or activity.is_worker_shutdown():
                return health
            if waited - last_beat >= self._settings.heartbeat_seconds:
                activity.heartbeat(health)
                last_beat = waited
            await _pause(LOOK_EVERY)

    # -- identity ----------------------------------------------------------------------------------------------------

    @activity.defn
    def renew_token(self) -> None:
        try:
            self._renew()
        except (Refused, Away) as error:
            raise NotYet(f"the token could not be changed: {error}") from error

    # -- account calls -----------------------------------------------------------------------------------------------

    @property
    def _accounts(self) -> Accounts:
        accounts = self._datastore.accounts
        if accounts is None:
            raise Unsupported(f"{self._datastore.manager} has no users and databases")
        return accounts

    @property
    def _changes(self) -> Changes:
        return Changes(self._accounts, self._box)

    @contextmanager
    def _serving(self) -> Iterator[None]:
        """An error of an engine that does not answer is no refusal of what was asked."""
        try:
            yield
        except EngineFailed as error:
            if self._datastore.answers():
                raise
            raise Unavailable("The database does not answer; nothing was changed. Please try again.") from error

    def _change(self, call: Expiring, plan: Callable[[], list[Change]]) -> None:
        with self._serving():
            self._calls.change(asked(self.wanted), call.expires_at, type(None), lambda: (plan(), None))

    def _with_room(self, plan: list[Change]) -> list[Change]:
        self.keeper.check_room()
        return plan

    @activity.defn
    def list_databases(self) -> DatabaseList:
        with self._serving():
            return DatabaseList(databases=self._accounts.list_databases())

    @change
    def create_databases(self, order: NewDatabases) -> None:
        self._change(order, lambda: self._with_room(self._changes.create_databases(order)))

    @change
    def delete_database(self, order: DatabaseName) -> None:
        with self.keeper.room_to_delete():
            self._change(order, lambda: self._changes.delete_database(order.name))

    @activity.defn
    def list_users(self) -> UserList:
        with self._serving():
            return UserList(users=self._accounts.list_users())

    @activity.defn
    def get_user(self, user: UserName) -> User:
        for each in self.list_users().users:
            if (each.name, each.host) == (user.name, user.host):
                return each
        raise NotFound(f"User {user.name} cannot be found on the instance.")

    @change
    def create_users(self, order: NewUsers) -> None:
        self._change(order, lambda: self._with_room(self._changes.create_users(order)))

    @change
    def update_user(self, change: UserChange) -> None:
        self._change(change, lambda: self._changes.update_user(change))

    @change
    def change_passwords(self, order: PasswordChanges) -> None:
        self._change(order, lambda: self._changes.change_passwords(order))

    @change
    def delete_user(self, order: UserToDelete) -> None:
        with self.keeper.room_to_delete():
            self._change(order, lambda: self._changes.delete_user(order.user))

    @change
    def grant_access(self, grant: Grant) -> None:
        self._change(grant, lambda: self._changes.grant_access(grant))

    @change
    def revoke_access(self, grant: Grant) -> None:
        self._change(grant, lambda: self._changes.revoke_access(grant))

    @property
    def _root(self) -> UserName:
        return UserName(name=DATASTORES[self._datastore.manager].root_name)

    @change
    def enable_root(self, order: RootOrder) -> RootAccount:
        def plan() -> tuple[list[Change], RootAccount]:
            password = self._changes.opened(order.password) if order.password else secrets.token_urlsafe(24)
            account = RootAccount(name=self._root.name, password=self._box.seal(password))
            return self._changes.enable_root(self._root, password), account

        with self._serving():
            return self._calls.change(asked(self.wanted), order.expires_at, RootAccount, plan)

    @change
    def disable_root(self, order: RootOrder) -> None:
        self._change(order, lambda: self._changes.disable_root())


async def _pause(seconds: float) -> None:
    """Sleep, but not while the worker wants to end."""
    with suppress(TimeoutError):
        await asyncio.wait_for(activity.wait_for_worker_shutdown(), seconds)


def _is_news(known: Health | None, seen: Health, waited: float) -> bool:
    """Whether the control plane should hear it: another state, or 1 % of the volume (at most once a minute)."""
    if known is None or known.operating_status is not seen.operating_status:
        return True
    if known.reason != seen.reason and waited >= SAME_STATUS_EVERY:
        return True
    if known.guest_version != seen.guest_version or known.volume_total_bytes != seen.volume_total_bytes:
        return True
    moved = abs((seen.volume_used_bytes or 0) - (known.volume_used_bytes or 0))
    return waited >= 60 and moved * 100 >= max(1, seen.volume_total_bytes or 1)
