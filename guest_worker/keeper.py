"""Keeps the engine in the wanted state: a dead engine is started again by its own guest."""

import logging
import threading
import time
from pathlib import Path

from temporalio.exceptions import ApplicationError

from guest_worker.datastores.base import Datastore
from guest_worker.memory import Memory
from workflows.domain.instance import OperatingStatus

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 5  # starts in a row that came to nothing
SECONDS = 1.0
LONGEST_PAUSE = 30.0
SETTLED = 60.0  # an engine that ran for so long has started well


class Keeper:
    """Holds the lock under which the engine is changed: one change at a time."""

    def __init__(self, datastore: Datastore, folder: Path) -> None:
        self.datastore = datastore
        self.change = threading.RLock()
        self._memory = Memory(folder / "wanted.json")
        self._failures = 0
        self._not_before = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def wanted(self) -> bool:
        """Whether the engine is to run; only runbooks change it."""
        return bool(self._memory.get("running"))

    def want(self, running: bool) -> None:
        """Remember the wanted state; it is on disk when this returns."""
        with self.change:
            self._memory.put("running", running)
            self._failures, self._not_before = 0, 0.0

    def start(self) -> None:
        """Begin to look after the engine."""
        self._thread.start()

    def end(self) -> None:
        """Stop looking; the engine goes on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def status(self) -> OperatingStatus:
        """What is true of the engine now."""
        if not self.wanted:
            return OperatingStatus.SHUTDOWN
        if self.datastore.answers():
            return OperatingStatus.HEALTHY
        return OperatingStatus.FAILED if self._failures >= GIVE_UP_AFTER else OperatingStatus.RESTARTING

    def _keep(self) -> None:
        since = time.monotonic()
        while not self._stop.wait(SECONDS):
            if not self.wanted or self.datastore.runs():
                if time.monotonic() - since > SETTLED:
                    self._failures = 0
                continue
            if self._failures < GIVE_UP_AFTER and time.monotonic() >= self._not_before:
                self._revive()
                since = time.monotonic()

    def _revive(self) -> None:
        if not self.change.acquire(blocking=False):  # a runbook is at work
            return
        try:
            if self.wanted and not self.datastore.runs():
                log.warning("the engine is gone; starting it again")
                self._failures += 1
                self.datastore.start()
                self._failures -= 1
        except (ApplicationError, OSError) as error:
            log.error("the engine could not be started: %s", error)
            self._not_before = time.monotonic() + min(LONGEST_PAUSE, 2.0**self._failures)
        finally:
            self.change.release()
