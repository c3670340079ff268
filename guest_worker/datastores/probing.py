"""The frame of a probe: one connection for this question alone, which is reopened now and then."""

import threading
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from guest_worker.datastores.base import EngineState, Probe
from guest_worker.datastores.engine_socket import EngineSocket, NotTheEngine

SECONDS = 5  # for a login or an answer
LOGIN_EVERY = 10.0  # seconds: a session that is open keeps working when its account is dropped or changed
Connection = TypeVar("Connection", bound=Any)


class RightsLost(Exception):
    """The administrator logs in, but has no longer all its rights; says which."""


class Prober(ABC, Generic[Connection]):
    """Asks an engine whether it serves, and whether the administrator's account is as it was made.

    No lock or limit of other sessions of ours keeps it waiting.
    """

    errors: ClassVar[type[Exception]]  # what the client library raises

    def __init__(self, socket: EngineSocket) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._login_at = 0.0

    @abstractmethod
    def log_in(self) -> Connection:
        """Open a connection."""

    @abstractmethod
    def look(self, new: Connection) -> None:
        """Look at the account with a connection that was just opened; RightsLost."""

    @abstractmethod
    def ask(self, connection: Connection) -> None:
        """Ask something that is answered when the engine serves; RightsLost."""

    @abstractmethod
    def meaning(self, error: Exception) -> Probe:
        """What an error of the client library says of the engine."""

    def waits(self, error: Exception) -> bool:
        """Whether a login was not answered in time, as where accounts are locked."""
        return False

    def close(self) -> None:
        """Forget the connection."""
        with self._lock:
            self._drop()

    def probe(self) -> Probe:
        """Ask; never raises."""
        with self._lock:
            try:
                if time.monotonic() >= self._login_at:
                    self._renew()
                if self._connection is not None:
                    self.ask(self._connection)
                return Probe(EngineState.ANSWERS)
            except RightsLost as error:
                self._drop()
                return Probe(EngineState.ADMINISTRATOR_REFUSED, str(error))
            except NotTheEngine as error:
                self._drop()
                return Probe(EngineState.NOT_THE_ENGINE, str(error.strerror))
            except self.errors as error:
                seen = self.meaning(error)
                if seen.state is not EngineState.ANSWERS:
                    self._drop()
                return seen
            except OSError as error:
                self._drop()
                return Probe(EngineState.SILENT, str(error.strerror or error))

    def _renew(self) -> None:
        try:
            new = self.log_in()
        except self.errors as error:
            if self._connection is None or not (self.waits(error) or self.meaning(error).state is EngineState.ANSWERS):
                raise
            self._login_at = time.monotonic() + LOGIN_EVERY
            return  # nobody is let in now; the session that is open says whether the engine serves
        self._drop()
        self._connection, self._login_at = new, time.monotonic() + LOGIN_EVERY
        self.look(new)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._login_at = None, 0.0
