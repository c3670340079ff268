"""What a datastore must be able to do on the machine that it lives on."""

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from temporalio.exceptions import ApplicationError

from contract.domain.accounts import NewDatabase, User, UserName
from contract.domain.datastores.base import Facet
from contract.domain.errors import Busy, EngineFailed, Unsupported
from contract.files import write_private
from guest_worker import host
from guest_worker.datastores.logs import Logs
from guest_worker.engine_user import EngineUser, SameUser

if TYPE_CHECKING:
    from guest_worker.datastores.backup import EngineBackup
    from guest_worker.datastores.tls import EngineTls

SECRET = re.compile(r"[0-9A-Za-z_-]{40,}")
UNCHANGED = "nothing was changed"
# Of `cp`: a copy has all room that its files take. An engine that writes into a hole of its own file on a full volume is
# refused, which some take for a broken disk: InnoDB ends, and may leave a torn page.
WHOLE = ("--sparse=never", "--reflink=never")
FINAL_SECONDS = 5.0  # how long a change may take that cannot be taken back: it begins only where somebody waits as long


@dataclass(frozen=True)
class EngineContext:
    """Where the engine lives: its volume, the guest's own folder, the address to listen on, its OS user.

    `config` is a folder that the guest writes and the engine reads, `sockets` one that the engine writes and the guest
    enters; without them, it is the guest's own folder and the data directory. `template`: a data directory that the image
    carries, made by the command of the engine's recipe.
    """

    data: Path
    state: Path
    bind_address: str = "*"
    prefix: str = ""
    engine: EngineUser = field(default_factory=SameUser)
    config: Path | None = None
    sockets: Path | None = None
    template: Path | None = None

    def config_file(self, name: str) -> Path:
        """Where a file of the engine's configuration lies."""
        return (self.config or self.state) / name

    def copy_template(self, template: Path, folder: Path) -> None:
        """Make a data directory in a folder that is not there, as a copy of the image's."""
        self.engine.run([host.find_program("mkdir"), "-m", "0700", "--", str(folder)])
        self.engine.run([host.find_program("cp"), "-R", *WHOLE, "--", f"{template}/.", str(folder)])

    def write_config(self, name: str, text: str) -> None:
        """Write a file that the engine's user reads and cannot write."""
        write_private(self.config_file(name), text)
        if self.config is not None:
            self.config_file(name).chmod(0o644)  # only guest and engine enter the folder

    def admin_password(self) -> str:
        """The administrator's secret, never told; another one where it was lost, which the account is then given."""
        path = self.state / "os_admin"
        try:
            known = path.read_text(errors="replace")
        except FileNotFoundError:
            known = ""
        if SECRET.fullmatch(known):
            return known
        new = secrets.token_urlsafe(32)
        write_private(path, new)
        return new


class EngineState(StrEnum):
    """What an engine says when it is asked."""

    ANSWERS = "answers"
    ADMINISTRATOR_REFUSED = "administrator refused"  # it serves, but our account was dropped, changed or demoted
    DISK_FULL = "disk full"  # it does not serve, and says that there is no space
    SILENT = "silent"
    NOT_THE_ENGINE = "not the engine"  # another process listens on its socket; nothing was said to it


@dataclass(frozen=True)
class Probe:
    """What an engine was found to be, and its own words for it where there are any."""

    state: EngineState
    words: str = ""


class AdministratorRefused(EngineFailed):
    """The engine answers, and refuses its administrator; `Datastore.restore_administrator` repairs that."""

    def __init__(self, message: str) -> None:
        ApplicationError.__init__(self, message, type=EngineFailed.__name__, non_retryable=True)


class PartlyDone(Busy):
    """A call failed after a part of it was made that stays; the message says which part, and what to do."""

    def __init__(self, message: str) -> None:
        ApplicationError.__init__(self, message, type=Busy.__name__, non_retryable=True)


@contextmanager
def after(done: str, *failures: type[Exception]) -> Iterator[None]:
    """The rest of a call, where `done` is true whatever becomes of it: these failures are PartlyDone with the reason."""
    try:
        yield
    except failures as error:
        raise PartlyDone(f"{done}: {why(error)}") from error


def why(error: BaseException) -> str:
    """What an error says, without that nothing was changed."""
    said = error.message if isinstance(error, ApplicationError) else (str(error).splitlines() or [""])[0]
    return re.sub(rf"(;|, so) {UNCHANGED}", "", said)


@dataclass(frozen=True)
class PlainUser:
    """A user to create, its password opened."""

    name: UserName
    password: str
    databases: tuple[str, ...] = ()


class Databases(ABC):
    """Databases, for engines that have several. Errors: NotFound, AlreadyExists, BadRequest, EngineFailed."""

    @abstractmethod
    def list_databases(self) -> tuple[str, ...]:
        """All databases but the engine's own, by name."""

    def check_database(self, database: NewDatabase) -> None:  # noqa: B027 - an engine may have nothing to ask
        """Ask the engine whether it would take this database, whose name is free; BadRequest if not. Changes nothing."""

    @abstractmethod
    def create_database(self, database: NewDatabase) -> None: ...

    @abstractmethod
    def delete_database(self, name: str) -> None: ...

    def restore_database(self, name: str) -> None:  # noqa: B027 - a deletion may be one statement
        """Put back what a deletion changed that was broken off before the database was dropped."""


class Users(ABC):
    """Users and what they may use, for engines that have them. Errors: as above."""

    @abstractmethod
    def list_users(self) -> tuple[User, ...]:
        """All users but the engine's own, by name and host."""

    def check_user(self, user: UserName) -> None:  # noqa: B027 - an engine may have nothing to ask
        """Ask the engine whether it would take a user of this name, which is free; BadRequest if not. Changes nothing."""

    @abstractmethod
    def create_user(self, user: PlainUser) -> None: ...

    @abstractmethod
    def delete_user(self, user: UserName) -> None: ...

    def restore_user(self, user: User) -> None:  # noqa: B027 - a deletion may be one statement
        """Put back what a deletion changed that was broken off before the user was dropped. `user`: as it was listed."""

    @abstractmethod
    def rename_user(self, user: UserName, new: UserName) -> None:
        """Rename, keeping password and grants."""

    @abstractmethod
    def set_password(self, user: UserName, password: str) -> None: ...

    @abstractmethod
    def credential(self, user: UserName) -> str | None:
        """What the engine keeps of a user's password, root's included; None when there is no such user. It is a secret."""

    @abstractmethod
    def restore_credential(self, user: UserName, credential: str) -> None:
        """Give a user the password that `credential` was read of."""

    @abstractmethod
    def grant(self, user: UserName, database: str) -> None: ...

    @abstractmethod
    def revoke(self, user: UserName, database: str) -> None:
        """Effective for sessions that are open, too; NotFound when there is no such grant."""


class Root(ABC):
    """The administrator's account that a tenant may have, for engines that have one."""

    @abstractmethod
    def enable_root(self, password: str) -> str:
        """Give the administrator account this password; return the account's name."""

    @abstractmethod
    def disable_root(self) -> None:
        """Nobody logs in as root, and nothing that root left has its power. PartlyDone where only the first is so."""

    @abstractmethod
    def is_root_enabled(self) -> bool:
        """Whether somebody may log in as root."""


class Accounts(Databases, Users, Root):
    """All of these."""


FACETS: dict[Facet, type[ABC]] = {Facet.DATABASES: Databases, Facet.USERS: Users, Facet.ROOT: Root}


class Datastore(ABC):
    """One database engine on this machine. Any verb may come twice; the second time changes nothing."""

    manager: ClassVar[str]

    def __init__(self, context: EngineContext) -> None:
        self.context = context

    @abstractmethod
    def has_data(self) -> bool:
        """Whether a database was made on the volume."""

    @abstractmethod
    def initialise(self) -> None:
        """Make the data directory, with the administrator's account alone in it."""

    @abstractmethod
    def configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Write the configuration; it counts from the next start."""

    @abstractmethod
    def defaults(self, memory_mib: int) -> dict[str, str]:
        """What the configuration says without settings of the tenant's, but for places and the guest's own needs."""

    @abstractmethod
    def change_live(self, old: Mapping[str, str], new: Mapping[str, str], memory_mib: int) -> None:
        """Have the running engine go from these settings to those, which are written; EngineFailed where it refuses one.

        None of them needs a restart. It counts for sessions that begin afterwards.
        """

    @abstractmethod
    def start(self) -> None:
        """Start the engine and return when it answers; no error if it does.

        AdministratorRefused when it serves and refuses its administrator, EngineFailed when it ends, NotYet else.
        """

    @abstractmethod
    def stop(self) -> None:
        """Return when no process of the engine is left."""

    @abstractmethod
    def runs(self) -> bool:
        """Whether the engine's process lives; asks nobody."""

    @abstractmethod
    def probe(self) -> Probe:
        """Ask the engine as its administrator, on a connection of its own; never raises, ends within some seconds."""

    def answers(self) -> bool:
        """Whether the engine answers its administrator."""
        return self.probe().state is EngineState.ANSWERS

    @abstractmethod
    def restore_administrator(self) -> None:
        """Give the administrator its name, password and rights back; only while the engine does not run."""

    @abstractmethod
    def rotate_log(self) -> None:
        """Keep the engine's log small; may come at any time."""

    def is_deleting(self) -> bool:
        """Whether the engine is at a deletion that cannot be taken back, or was kept from ending one; never raises."""
        return False

    def finish_deletions(self) -> None:  # noqa: B027 - an engine may end each deletion by itself
        """Go on with deletions that were broken off, within some seconds; never raises."""

    @abstractmethod
    def version(self) -> str:
        """The engine's own version."""

    def check_upgrade(self, version: str) -> Sequence[str]:
        """What hinders the data from being taken to a series, in a sentence each; asks the running engine."""
        return ()

    @abstractmethod
    def keep_data(self, version: str) -> None:
        """Copy the data, named by the series that it is of, to go back to; EngineFailed where there is no room."""

    @abstractmethod
    def restore_data(self, version: str) -> None:
        """Put the copy of a series in the place of the data, if there is one."""

    @abstractmethod
    def break_off_copy(self) -> None:
        """End a copy that is being made; may come while another verb makes it."""

    @abstractmethod
    def forget_data(self) -> None:
        """Remove all copies."""

    def upgrade_data(self) -> str:
        """Have the data taken over from an older series, with nobody let in; end stopped, and return the version."""
        raise Unsupported(f"{self.manager} cannot be upgraded to another series")

    @property
    @abstractmethod
    def accounts(self) -> Accounts | None:
        """Databases and users, or None where the engine has no such notion."""

    @property
    def logs(self) -> Logs | None:
        """Logs that a tenant may have, or None where the engine writes none."""
        return None

    @property
    def tls(self) -> "EngineTls | None":
        """How its clients encrypt, or None where the engine has no such notion."""
        return None

    @property
    def backup(self) -> "EngineBackup | None":
        """Copies of its data while it runs, or None where the guest has no way to make them."""
        return None

    @property
    def facets(self) -> frozenset[Facet]:
        """What tenants may ask of it: the same as the facts of the engine say."""
        found = frozenset(facet for facet, kind in FACETS.items() if isinstance(self.accounts, kind))
        others = ((Facet.LOGS, self.logs), (Facet.TLS, self.tls))
        return found | {facet for facet, part in others if part is not None}
