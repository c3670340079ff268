"""Account calls: each changes all of what it says, or nothing, within its time.

A call is checked whole, then its changes are made one by one, each after its undo note is on disk. What fails, runs out of
time, is not waited for any more or meets the end of the worker is undone in reverse order. A call that was broken off by
the end of the process is undone by the next process, before anything else is changed.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from contract.domain.errors import Busy, Expired, NotYet, Unavailable
from guest_worker.changes import Change, Changes, Undo
from guest_worker.datastores.base import FINAL_SECONDS, PartlyDone, why
from guest_worker.gate import Gate
from guest_worker.journal import Journal, OpenCall
from guest_worker.outcome import Outcome

LONGEST = 8.0  # seconds that a call is given which does not say when it expires
TURN = 3.0  # seconds that a call waits for the one before it
WAITING = (
    3  # calls that may wait for their turn; one more is refused at once, so that lists and health keep their slots
)
MARGIN = 0.4  # seconds before its expiry at which a call must have ended, so that the answer arrives
UNDO_SHARE = 0.7  # of the time that changes took, kept for taking them back
INTERRUPTED = "The database failed within the call; what was begun of it is being undone, or done to its end."
TRIES = 20  # to undo a change, while the engine answers and refuses

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What is known of the call that runs: its id, when it was handed out, and whether somebody still waits for it."""

    key: str
    handed_out: datetime
    ending: Callable[[], bool]
    wanted: Callable[[float], bool]


def asked(wanted: Callable[[bytes, float], bool]) -> Asked:
    """Of the activity that runs in this thread. A standalone activity has an id of its own, a runbook's step the run's."""
    info = activity.info()
    return Asked(
        key=f"{info.workflow_id or ''}/{info.workflow_run_id or ''}/{info.activity_id}",
        handed_out=info.started_time,
        ending=activity.is_worker_shutdown,
        wanted=lambda seconds: wanted(info.task_token, seconds),
    )


class Clock:
    """When a call must have ended. Its expiry is compared with Temporal's clock, never with the guest's own."""

    def __init__(self, asked: Asked, expires_at: datetime | None) -> None:
        seconds = LONGEST if expires_at is None else (expires_at - asked.handed_out).total_seconds()
        self._began = time.monotonic()
        self._until = self._began + min(seconds, LONGEST) - MARGIN

    @property
    def left(self) -> float:
        """Seconds."""
        return self._until - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether a call may not begin any more."""
        return self.left <= 0

    @property
    def is_late(self) -> bool:
        """Whether what was done could no longer be undone in time if one more change were made."""
        return self.left <= (time.monotonic() - self._began) * UNDO_SHARE


class Calls:
    """Does account calls, one at a time."""

    def __init__(
        self, journal: Journal, gate: Gate, changes: Callable[[], Changes], answers: Callable[[], bool]
    ) -> None:
        """`answers`: whether the engine does."""
        self._journal = journal
        self._gate = gate
        self._changes = changes
        self._answers = answers
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(WAITING + 1)
        self._tries: dict[int, int] = {}  # by undo note
        self._stop = threading.Event()
        self._settling = threading.Thread(target=self._keep_settling, name="settling", daemon=True)

    @contextmanager
    def turn(self, seconds: float = TURN) -> Iterator[None]:
        """One change at a time; Busy when another takes too long."""
        busy = Busy("Another change of databases or users is running; nothing was changed. Please try again.")
        if not self._waiting.acquire(blocking=False):
            raise busy
        try:
            if not self._lock.acquire(timeout=seconds):
                raise busy
            try:
                yield
            finally:
                self._lock.release()
        finally:
            self._waiting.release()

    @property
    def is_unsettled(self) -> bool:
        """Whether a call runs, or one that was broken off is not undone yet."""
        return bool(self._journal.open_calls())

    def quiesce(self) -> None:
        """Return when no call is at work, and those that were broken off are undone if the engine answers; else NotYet."""
        if not self._lock.acquire(timeout=LONGEST):
            raise NotYet("a change of databases or users is still running")
        try:
            if self.is_unsettled and self._answers():
                self._settle()
        except Unavailable as error:
            raise NotYet(error.message) from error
        finally:
            self._lock.release()

    def change(
        self,
        asked: Asked,
        expires_at: datetime | None,
        shape: type[Answer],
        plan: Callable[[], tuple[list[Change], Answer]],
    ) -> Answer:
        """Do a call, or answer as the first time."""
        clock = Clock(asked, expires_at)
        with self.turn(min(TURN, max(0.0, clock.left))):
            known = self._journal.outcome(asked.key)
            if known is not None:
                return Outcome.model_validate_json(known).tell(shape)
            self._gate.check()
            self._settle()
            if clock.is_over:
                raise Expired("The call came too late; nothing was changed. Please try again.")
            answer = self._do(asked, clock, plan)
            self._journal.end(asked.key, Outcome.answered(answer).model_dump_json())
            return answer

    def _do(self, asked: Asked, clock: Clock, plan: Callable[[], tuple[list[Change], Answer]]) -> Answer:
        try:
            changes, answer = plan()
            self._make(asked, clock, changes)
        except BaseException as error:  # noqa: BLE001 - raised again, unless all was done
            failure = self._failure(asked.key, error, clock)
            if failure is not None:
                raise failure from error.__cause__
        return answer

    def _make(self, asked: Asked, clock: Clock, changes: list[Change]) -> None:
        self._journal.begin(asked.key, len(changes))
        final = any(each.final for each in changes)
        if final:
            _require_wanted(asked, clock)
            if clock.left < FINAL_SECONDS:
                raise Busy("There is no time left to do it while you wait; nothing was changed. Please try again.")
        for number, each in enumerate(changes):
            if asked.ending():
                raise NotYet("The guest is about to be restarted; nothing was changed.")
            if clock.is_late:
                raise Busy(f"Only {number} of {len(changes)} could be done in time, so nothing was changed. "
                           "Please ask for fewer at once.")  # fmt: skip
            each.ready()
            self._journal.note(asked.key, each.undo.model_dump_json())
            each.do()
        if not final:
            _require_wanted(asked, clock)

    def _failure(self, key: str, error: BaseException, clock: Clock) -> BaseException | None:
        """Undo what was made of a call that failed; what to say. None: all of it stays, so that it is done after all."""
        for each in self._journal.open_calls():
            if each.key == key and not isinstance(error, PartlyDone):
                stay = self._undo(each, clock)
                if stay is None:
                    return Unavailable(INTERRUPTED)
                if stay == each.planned > 0:
                    return None
                if stay:
                    error = PartlyDone(f"{stay} of {each.planned} are done and stay, the others are not: {why(error)}")
        if isinstance(error, ApplicationError) and error.non_retryable:
            self._journal.end(key, Outcome.failed(error).model_dump_json())
        else:  # a retry may do better
            self._journal.end(key, None)
        return error

    # -- calls that were broken off -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to undo what was broken off, as soon as the engine answers."""
        self._settling.start()

    def end(self) -> None:
        """Stop that."""
        self._stop.set()

    def _keep_settling(self) -> None:
        while not self._stop.wait(1.0):
            try:
                if self.is_unsettled and self._lock.acquire(blocking=False):
                    try:
                        if self._gate.reason is None:  # what an operation copies must not change, not even back
                            self._settle()
                    finally:
                        self._lock.release()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may find it gone
                log.warning("calls that were broken off cannot be undone yet: %s", error)

    def _settle(self) -> None:
        """Undo calls that were broken off; the caller has the lock. Unavailable while that cannot be done."""
        for each in self._journal.open_calls():
            final = self._undo(each)
            if final is None:
                raise Unavailable("An earlier call that was broken off cannot be undone yet; nothing was changed.")
            done = each.planned > 0 and final == each.planned
            self._journal.end(each.key, Outcome().model_dump_json() if done else None)
            log.warning("a call that was broken off was %s: %s", "completed" if done else "undone", each.key)

    def _undo(self, call: OpenCall, clock: Clock | None = None) -> int | None:
        """Undo all of it that can be undone, within the call's time where somebody waits for it.

        How many final changes had been made; None if something is left to do.
        """
        final, complete = 0, True
        for number, note in call.notes:
            if clock is not None and clock.is_over:
                return None
            try:
                final += self._changes().take_back(Undo.model_validate_json(note))
            except Exception as error:  # noqa: BLE001 - an undo that fails must not keep the others from being done
                log.error("%s could not be undone: %s", call.key, error)
                if not isinstance(error, Busy) and not self._answers():  # Busy is the engine's own word
                    return None
                self._tries[number] = self._tries.get(number, 0) + 1
                given_up = self._tries[number] >= TRIES  # it stays as it is: nobody must wait for ever
                complete = complete and given_up
            else:
                self._journal.strike(number)
        return final if complete else None


def _require_wanted(asked: Asked, clock: Clock) -> None:
    """The last question before a change counts: whether Temporal still takes an answer, and thus somebody waits."""
    if not asked.wanted(clock.left):
        raise Expired("Nobody waits for the call any more; nothing was changed.")
