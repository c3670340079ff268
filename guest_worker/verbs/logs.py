"""The port `Logs`: what engine and guest have written."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio import activity

from contract.domain.datastores import DATASTORES
from contract.domain.datastores.base import GUEST_LOG, LogKind
from contract.domain.errors import BadRequest, Busy, EngineFailed, Expired, NotFound, Unavailable
from contract.ports.logs import LogList, LogOrder, LogPublication, LogReport, Logs
from guest_worker.calls import Clock, asked
from guest_worker.logs.publishing import Log
from guest_worker.objects import open_store
from guest_worker.services import Services

TURN = 3.0  # seconds that a call waits for another about the same, or for an operation that starts the engine
STORE_SECONDS = 4.0  # for one step of one request to the object store
LEFT = 1.0  # seconds of a call that nothing is begun in


class EngineLogs(Logs):
    """One change of logs at a time; lists at any time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._changing = threading.Lock()

    @activity.defn
    def list_logs(self) -> LogList:
        return LogList(logs=tuple(self._report(name) for name in self._kinds))

    @activity.defn(no_thread_cancel_exception=True)
    def change_log(self, order: LogOrder) -> LogReport:
        call = asked(self._services.wanted)
        clock = Clock(call, order.expires_at)
        with self._turn(self._changing):
            if clock.is_over:
                raise Expired("The call came too late; nothing was changed. Please try again.")
            log = self._log(order.name)
            if order.enable is not None:
                self._switch(order.name, order.enable)
            if order.discard:
                log.forget(call.key)
            if order.publish is not None:
                self._publish(log, order.publish, time.monotonic() + clock.left - LEFT)
            return self._report(order.name)

    def _publish(self, log: Log, order: LogPublication, until: float) -> None:
        log.publish(open_store(order.ticket, self._services.box, STORE_SECONDS), order, until)

    def _switch(self, name: str, enabled: bool) -> None:
        if self._kinds[name] is LogKind.SYS:
            raise BadRequest(f"Log '{name}' is a system log: it can be neither enabled nor disabled.")
        with self._turn(self._services.supervisor.change):
            try:
                self._services.configuration.switch_log(name, enabled)
            except EngineFailed as error:
                if self._services.datastore.answers():
                    raise
                raise Unavailable("The database does not answer; nothing was changed. Please try again.") from error

    @contextmanager
    def _turn(self, lock: "threading.Lock | threading.RLock") -> Iterator[None]:
        if not lock.acquire(timeout=TURN):
            raise Busy(
                "Another change of the logs, or of the database, is running; nothing was changed. Please try again."
            )
        try:
            yield
        finally:
            lock.release()

    def _report(self, name: str) -> LogReport:
        return self._log(name).report(always=self._kinds[name] is LogKind.SYS)

    def _log(self, name: str) -> Log:
        kind, path = self._kinds.get(name), self._files().get(name)
        if kind is None or path is None:
            raise NotFound(f"Log '{name}' is not defined.")
        return Log(name, kind, path, self._services.log_book, lambda lines: self._shown(name, lines))

    def _shown(self, name: str, lines: bytes) -> bytes:
        logs = self._services.datastore.logs
        return lines if logs is None or name == GUEST_LOG else logs.without_ours(name, lines)

    def _files(self) -> dict[str, Path]:
        logs = self._services.datastore.logs
        return {GUEST_LOG: self._services.settings.paths.guest_log, **({} if logs is None else logs.files())}

    @property
    def _kinds(self) -> dict[str, LogKind]:
        return DATASTORES[self._services.datastore.manager].logs
