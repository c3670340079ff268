"""An engine that is one server process of ours, asked over its socket: how it is stopped, watched and probed."""

import re
import signal
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol

from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.base import Datastore, EngineContext, EngineState, Probe
from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.datastores.kept import KeptData
from guest_worker.datastores.logs import Logs
from guest_worker.datastores.probing import Prober
from guest_worker.datastores.process import EngineProcess
from guest_worker.logs.files import LogFile


class Closes(Protocol):
    """The administrator's session."""

    def close(self) -> None:
        """Log out."""


class ServerDatastore(Datastore):
    """What is the same for each such engine. A driver adds how its administrator logs in."""

    stop_signal: ClassVar[signal.Signals]
    foreign: ClassVar[re.Pattern[str] | None] = None  # lines of its log that hold tenants' statements
    session: Closes
    _prober: Prober[Any]

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self._folder = context.data / self.manager
        self._process = EngineProcess(context.state, self.manager, context.engine, self.foreign)
        self._making = EngineProcess(context.state, "initialise", context.engine)
        self._kept = KeptData(self._folder, context.state, context.engine)
        self._socket = EngineSocket(context.sockets or self._folder, context.admin_password, self._process.pid)

    def has_data(self) -> bool:
        """The directory is moved into place when it is whole."""
        return self._folder.exists()

    def initialise(self) -> None:
        """Build beside, move into place last: a half-made directory is never taken for a database."""
        if self.has_data():
            return
        half = self._folder.with_name(f"{self.manager}.half")
        self._making.stop(signal.SIGKILL)
        self.context.engine.remove(half)
        try:
            self.make_data(half)
            self.context.engine.move(half, self._folder)
        except (host.CommandFailed, EngineFailed) as error:
            raise EngineFailed(f"{self.manager} could not be initialised: {error}") from error

    @abstractmethod
    def make_data(self, folder: Path) -> None:
        """Make a data directory with the administrator's account alone in it; what takes long is done by `_making`."""

    def stop(self) -> None:
        """Log out, then end the engine in order."""
        self.session.close()
        self._prober.close()
        self._process.stop(self.stop_signal)

    def runs(self) -> bool:
        """Whether the server's process lives."""
        return self._process.pid() is not None

    def probe(self) -> Probe:
        """Ask as the administrator."""
        seen = self._prober.probe() if self.runs() else Probe(EngineState.SILENT)
        return self._process.silent(seen.words) if seen.state is EngineState.SILENT else seen

    @property
    @abstractmethod
    def logs(self) -> Logs:
        """Each of them has some."""

    def rotate_log(self) -> None:
        """Keep the server's logs small."""
        self._process.rotate_log()
        for path in self.logs.files().values():
            if path != self._process.log:
                LogFile(path).rotate()

    # -- another series ----------------------------------------------------------------------------------------------

    def check_upgrade(self, version: str) -> Sequence[str]:
        """A volume without room for a copy."""
        with suppress(host.CommandFailed):  # a file went away while it was counted: looked at again when it is copied
            try:
                self._kept.require_room()
            except EngineFailed as error:
                return (error.message,)
        return ()

    def keep_data(self, version: str) -> None:
        """Copy the data directory beside itself; the engine is ended first, if it runs."""
        self.stop()
        self._kept.keep(version)

    def restore_data(self, version: str) -> None:
        """Put the copy of this series back; whatever runs on the data is ended first."""
        if self._kept.has(version):
            self.stop()
            self._kept.restore(version)

    def break_off_copy(self) -> None:
        """End it."""
        self._kept.break_off()

    def forget_data(self) -> None:
        """Remove all copies."""
        self._kept.forget()
