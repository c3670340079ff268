"""The world from inside: what runs in the database server, on the queue `guest/<instance id>`.

The contract between releases: fields are only ever added, with defaults; a new meaning is a new verb. Every verb may
come twice, and the second time changes nothing. A guest refuses a lower fence number than it has seen (FenceLost).
"""

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field
from temporalio import activity

from contract.domain.accounts import (
    Expiring,
    Grant,
    NewDatabase,
    NewUser,
    RootAccount,
    Sealed,
    User,
    UserChange,
    UserName,
)
from contract.domain.fact import Fact, OneLine
from contract.domain.instance import OperatingStatus
from contract.domain.tls import Tls


class Fenced(Fact):
    """A change that a runbook asks for, with the number that orders it among its peers; the frame puts it in."""

    fence: int = 0


class VolumeOrder(Fenced):
    """The data volume to find, format if it is blank, grow to its device, and mount.

    With `size_gib` the device must have so much: NotYet as long as the server does not see that it was grown. Unsupported
    where the file system grows only while the engine is stopped, and it runs.
    """

    volume_id: str
    size_gib: int = 0


class VolumeReport(Fact):
    """The mounted data volume, in bytes."""

    total_bytes: int
    used_bytes: int


class EngineOrder(Fenced):
    """How the engine is to be set up; `memory_mib` is the flavor's. With `adopts` its data must be there: none is made.

    Without `tls` that stays as it is; orders of earlier releases say nothing of it.
    """

    memory_mib: int
    settings: dict[str, str] = Field(default_factory=dict)
    adopts: bool = False
    tls: Tls | None = None


class FirstAccounts(Fenced):
    """What the order of a creation wants inside the database."""

    databases: tuple[NewDatabase, ...] = ()
    users: tuple[NewUser, ...] = ()


class GuestInfo(Fact):
    """Which guest answers, with what engine.

    `restart_required`: not all of the wanted settings count yet. `refused`: why the engine did not start with them.
    """

    guest_version: str
    engine_version: str | None = None
    restart_required: bool | None = None
    refused: Annotated[str | None, OneLine] = None


class Health(Fact):
    """A health snapshot: what the watch compares and the records keep. Sizes in bytes, of the data volume."""

    operating_status: OperatingStatus
    reason: Annotated[str | None, OneLine] = None  # why it is not just HEALTHY
    volume_used_bytes: int | None = Field(None, ge=0, lt=2**63)  # bounds: of what the records can hold
    volume_total_bytes: int | None = Field(None, ge=0, lt=2**63)
    guest_version: str | None = Field(None, max_length=200, pattern=r"^[^\x00]*$")


class LastKnown(Fact):
    """What the control plane believes; the guest answers at once when it sees otherwise, else after `seconds`."""

    health: Health | None = None
    seconds: int = 3600


class Lifecycle(ABC):
    """Building and running the engine; asked by runbooks alone."""

    @abstractmethod
    @activity.defn
    async def prepare_volume(self, order: VolumeOrder) -> VolumeReport:
        """Return when the volume is mounted, however long it has to be checked or grown."""

    @abstractmethod
    @activity.defn
    def initialise_datastore(self, order: EngineOrder) -> None:
        """Make the data directory and the administrator's secret, which never leaves the guest; and configure."""

    @abstractmethod
    @activity.defn
    def configure_datastore(self, order: EngineOrder) -> None:
        """Write the engine's configuration, sized from the flavor's memory."""

    @abstractmethod
    @activity.defn
    def start_datastore(self, order: Fenced) -> GuestInfo:
        """Set the wanted state to running, and return when the engine answers."""

    @abstractmethod
    @activity.defn
    def stop_datastore(self, order: Fenced) -> None:
        """Set the wanted state to stopped, and return when no process of the engine is left."""

    @abstractmethod
    @activity.defn
    def create_first_accounts(self, order: FirstAccounts) -> None: ...


class GateOrder(Fenced):
    """Why account calls are refused from now on: words that follow "Nothing was changed: ", and end a sentence."""

    reason: str


class CallGate(ABC):
    """Shutting out account calls while an operation copies or replaces data; asked by runbooks alone.

    It opens by itself when a newer operation asks the guest for anything. Lists and health are answered all the same. While
    the engine is stopped by a runbook, account calls are refused without this.
    """

    @abstractmethod
    @activity.defn
    def close_gate(self, order: GateOrder) -> None:
        """Refuse account calls as Busy, and return when none is at work any more."""

    @abstractmethod
    @activity.defn
    def open_gate(self, order: Fenced) -> None: ...


class Watching(ABC):
    """Health; asked by the watch alone."""

    @abstractmethod
    @activity.defn
    async def watch_health(self, known: LastKnown) -> Health:
        """Heartbeat a Health until it differs from what is known, or the time is up."""

    @abstractmethod
    @activity.defn
    async def get_health(self) -> Health: ...


class DatabasesAfter(Fact):
    """A page of databases: at most so many, of those whose name comes after another.

    With a user, of those that it may use: asked for where the guest has told `more_databases` of it.
    """

    limit: int = 1000
    after: str = ""
    user: UserName | None = None


class UsersAfter(Fact):
    """A page of users: at most so many, of those whose name and host come after another's."""

    limit: int = 1000
    after: UserName | None = None


FIRST_DATABASES, FIRST_USERS = DatabasesAfter(), UsersAfter()


class DatabaseList(Fact):
    """Databases of the tenant, reserved ones left out, by name; `more`: there are others after the last one."""

    databases: tuple[str, ...] = ()
    more: bool = False


class UserList(Fact):
    """Users of the tenant, reserved ones left out, by name and host; `more`: there are others after the last one."""

    users: tuple[User, ...] = ()
    more: bool = False


class NewDatabases(Expiring):
    """Databases to create."""

    databases: tuple[NewDatabase, ...]


class NewUsers(Expiring):
    """Users to create."""

    users: tuple[NewUser, ...]


class DatabaseName(Expiring):
    """Which database."""

    name: str


class PasswordChanges(Expiring):
    """New passwords for users that exist."""

    changes: tuple[UserChange, ...]


class UserToDelete(Expiring):
    """Which user is to be deleted."""

    user: UserName


class RootOrder(Expiring):
    """Enable root with this password, or with one that the guest makes; or disable it."""

    password: Sealed | None = None


class Accounts(ABC):
    """Short calls: standalone activities with the id `call/<instance id>/<request id>`.

    The answer is the API's answer. Errors: NotFound, AlreadyExists, BadRequest, Unsupported, EngineFailed, Busy, Expired,
    Unavailable. Each call changes all of what it says, or nothing. Outcomes are journalled by activity id, and a retry is
    answered from there. A call is refused after its `expires_at`, and undone when Temporal takes no answer to it any more.
    """

    @abstractmethod
    @activity.defn
    def list_databases(self, page: DatabasesAfter = FIRST_DATABASES) -> DatabaseList:
        """Return a page; less than was asked for where an answer holds no more."""

    @abstractmethod
    @activity.defn
    def create_databases(self, order: NewDatabases) -> None: ...

    @abstractmethod
    @activity.defn
    def delete_database(self, order: DatabaseName) -> None: ...

    @abstractmethod
    @activity.defn
    def list_users(self, page: UsersAfter = FIRST_USERS) -> UserList:
        """Return a page; less than was asked for where an answer holds no more, in the end a part of one user."""

    @abstractmethod
    @activity.defn
    def get_user(self, user: UserName) -> User:
        """Return it, with as many of its databases as an answer holds."""

    @abstractmethod
    @activity.defn
    def create_users(self, order: NewUsers) -> None: ...

    @abstractmethod
    @activity.defn
    def update_user(self, change: UserChange) -> None: ...

    @abstractmethod
    @activity.defn
    def change_passwords(self, order: PasswordChanges) -> None: ...

    @abstractmethod
    @activity.defn
    def delete_user(self, order: UserToDelete) -> None: ...

    @abstractmethod
    @activity.defn
    def grant_access(self, grant: Grant) -> None: ...

    @abstractmethod
    @activity.defn
    def revoke_access(self, grant: Grant) -> None: ...

    @abstractmethod
    @activity.defn
    def enable_root(self, order: RootOrder) -> RootAccount:
        """Give the tenant the administrator account; the password comes back sealed under the guest's key."""

    @abstractmethod
    @activity.defn
    def disable_root(self, order: RootOrder) -> None: ...


class Tokens(ABC):
    """What the guest is known by; asked by operators, and changed by the guest itself every day."""

    @abstractmethod
    @activity.defn
    def renew_token(self) -> None:
        """Change the guest's token at the gateway; the old one counts for some minutes more."""
