"""Keeps the engine in the wanted state: whatever ends or hinders it and can be helped, its own guest helps."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.exceptions import ApplicationError

from contract.domain.errors import Busy, EngineFailed
from contract.domain.instance import OperatingStatus
from guest_worker.datastores.base import AdministratorRefused, Datastore, EngineState
from guest_worker.datastores.configuration import EngineConfiguration
from guest_worker.reserve import ENOUGH, FULL, LEFT, NO_FILES, Reserve
from guest_worker.state_file import StateFile

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 5  # starts in a row that came to nothing
SECONDS = 1.0
LONGEST_PAUSE = 30.0
SETTLED = 60.0  # an engine that ran for so long has started well
SURE_AFTER = 2  # looks in a row that found the administrator refused, or an engine that waits for space
RESTORE_PAUSE = 10.0  # after a restart for the administrator's sake; doubled each time
LONGEST_RESTORE_PAUSE = 600.0

RESTORING = "the guest's account was lost, changed or dropped; it is being restored, which needs one restart"
NO_ANSWER = "the database does not answer"


@dataclass(frozen=True)
class Condition:
    """What is true of the engine now, and in a sentence why."""

    status: OperatingStatus
    reason: str | None = None


class EngineSupervisor:
    """Holds the lock under which the engine is started and stopped: one at a time. Account calls have another."""

    def __init__(
        self, datastore: Datastore, folder: Path, reserve: Reserve, configuration: EngineConfiguration
    ) -> None:
        self.datastore = datastore
        self.configuration = configuration
        self.change = threading.RLock()
        self.reserve = reserve
        self._state = StateFile(folder / "wanted.json")
        self._failures = 0
        self._why = ""
        self._not_before = 0.0
        self._refused = self._restores = 0
        self._lent: str | None = None  # why the reserve was given up, until it is taken back
        self._borrowers = 0
        self._counting = threading.Lock()
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="supervisor", daemon=True)

    @property
    def wanted(self) -> bool:
        """Whether the engine is to run; only runbooks change it."""
        return bool(self._state.get("running"))

    @property
    def is_stopped(self) -> bool:
        """Whether a runbook has stopped the engine."""
        return self._state.get("running") is False

    def want(self, running: bool) -> None:
        """Remember the wanted state; it is on disk when this returns."""
        with self.change:
            self._state.put("running", running)
            self._failures, self._not_before, self._why = 0, 0.0, ""

    def start(self) -> None:
        """Begin to look after the engine."""
        self._thread.start()

    def end(self) -> None:
        """Stop looking; the engine goes on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def condition(self) -> Condition:
        """Look at the engine and its volume now."""
        if not self.wanted:
            return Condition(OperatingStatus.SHUTDOWN)
        seen, problem = self.datastore.probe(), self.reserve.problem()
        if seen.state is EngineState.ANSWERS:
            problem = problem or self._lent  # what is lent is no room for more
            return Condition(OperatingStatus.BLOCKED if problem else OperatingStatus.HEALTHY, problem or seen.words)
        if self._failures >= GIVE_UP_AFTER:
            return Condition(OperatingStatus.FAILED, problem or self._why or seen.words)
        if seen.state is EngineState.ADMINISTRATOR_REFUSED:
            return Condition(OperatingStatus.RESTARTING, RESTORING)
        return Condition(OperatingStatus.RESTARTING, problem or self._why or seen.words or NO_ANSWER)

    def check_room(self) -> None:
        """Raise Busy while nothing more may be put on the volume."""
        problem = self.reserve.problem() or self._lent
        if problem is not None:
            raise Busy(f"Nothing was changed: {problem}.")

    @contextmanager
    def room_to_delete(self) -> Iterator[None]:
        """Lend the reserve to what frees space, which needs some itself."""
        try:
            with self._lending():
                yield
        finally:
            if self._lent:
                self._take_back()

    @contextmanager
    def _lending(self) -> Iterator[None]:
        with self._counting:
            self._borrowers += 1
        try:
            self._release_if_full()
            yield
        finally:
            with self._counting:
                self._borrowers -= 1

    def _release_if_full(self) -> None:
        problem = self.reserve.problem()
        if problem in (FULL, NO_FILES):
            self.reserve.release()
            self._lent = problem

    def _take_back(self) -> None:
        """Make the reserve whole, unless it is in use, or the engine is at a deletion, which would end for want of space."""
        if self._borrowers or self.datastore.is_deleting():
            return
        self.reserve.hold(leave=LEFT if self._lent else ENOUGH)
        self._lent = None

    # -- starting ----------------------------------------------------------------------------------------------------

    def start_engine(self) -> None:
        """Start the engine, on its reserve where the volume is full, and with its administrator's account restored."""
        with self.change:
            if self.datastore.answers():
                return
            full = self.reserve.problem() is not None
            with self._lending():
                try:
                    self._start_with_good_settings()
                except ApplicationError as error:
                    problem = self.reserve.problem()
                    raise EngineFailed(f"{problem}; {error.message}") if full and problem else error from error
            if self._lent:
                self._take_back()

    def _start_with_good_settings(self) -> None:
        """Start; where the engine refuses, with the settings that it had before, if these are others."""
        fresh = not self.datastore.runs()
        try:
            self._start()
        except EngineFailed as error:
            if not (fresh and self.configuration.fall_back(error.message)):
                raise
            try:
                self._start()
            except ApplicationError:
                self.configuration.forgive()
                raise error from None
        if fresh:
            self.configuration.started()

    def _start(self) -> None:
        try:
            self.datastore.start()
        except AdministratorRefused as error:
            log.warning("%s; restoring the account", error.message)
            self.datastore.stop()
            self.datastore.restore_administrator()
            self.datastore.start()

    # -- looking after it --------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._stop.wait(SECONDS):
            try:
                self._look()
            except Exception:  # whatever it is, somebody must go on looking
                log.exception("the look at the engine failed")

    def _look(self) -> None:
        self.datastore.rotate_log()
        if not self.wanted:
            return
        if not self.datastore.runs():
            self._revive()
            return
        seen = self.datastore.probe()
        if seen.state is EngineState.ANSWERS:
            self._refused = 0
            self._tend_reserve()
            if time.monotonic() - self._began > SETTLED:
                self._failures, self._why = 0, ""
            return
        self._refused += 1
        if self._refused < SURE_AFTER:
            return
        if seen.state is EngineState.ADMINISTRATOR_REFUSED:
            self._revive(restoring=True)
        else:  # it may wait for space, as MariaDB does when it starts
            self._release_if_full()

    def _tend_reserve(self) -> None:
        if self.datastore.is_deleting():
            with self._lending():
                self.datastore.finish_deletions()
        self._take_back()

    def _revive(self, *, restoring: bool = False) -> None:
        if self._failures >= GIVE_UP_AFTER or time.monotonic() < self._not_before:
            return
        if not self.change.acquire(blocking=False):  # a runbook is at work
            return
        try:
            if self.wanted and (restoring or not self.datastore.runs()):
                self._try()
        finally:
            self.change.release()
        if restoring:
            self._refused, self._restores = 0, self._restores + 1
            pause = min(LONGEST_RESTORE_PAUSE, RESTORE_PAUSE * 2.0**self._restores)
            self._not_before = max(self._not_before, time.monotonic() + pause)

    def _try(self) -> None:
        log.warning("the engine is gone or refuses its administrator; starting it again")
        full = self.reserve.problem() is not None
        try:
            self.start_engine()
            self._why = ""
        except (ApplicationError, OSError) as error:
            log.error("the engine could not be started: %s", error)
            self._why = error.message if isinstance(error, ApplicationError) else str(error)
            self._failures += 0 if full else 1  # space may be there at any time, and then it starts
            self._not_before = time.monotonic() + min(LONGEST_PAUSE, 2.0 ** max(1, self._failures))
        self._began = time.monotonic()
