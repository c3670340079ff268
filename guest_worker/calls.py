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

from pydantic import BaseModel, TypeAdapter
from temporalio import activity
from temporalio.exceptions import ApplicationError

from guest_worker.changes import Change, Changes, Undo
from guest_worker.journal import Journal, OpenCall
from workflows.domain.errors import Busy, Expired, NotYet, Unavailable
from workflows.domain.fact import Fact

LONGEST = 8.0  # seconds that a call is given which does not say when it expires
TURN = 3.0  # seconds that a call waits for the one before it
WAITING = (
    3  # calls that may wait for their turn; one more is refused at once, so that lists and health keep their slots
)
MARGIN = 0.4  # seconds before its expiry at which a call must have ended, so that the answer arrives
UNDO_SHARE = 0.7  # of the time that changes took, kept for taking them back
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


class Outcome(Fact):
    """How a call ended, as the journal keeps it."""

    answer: object = None
    error: str | None = None
    message: str = ""


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

    def __init__(self, journal: Journal, changes: Callable[[], Changes], answers: Callable[[], bool]) -> None:
        """`answers`: whether the engine does."""
        self._journal = journal
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

    @contextmanager
    def drained(self) -> Iterator[None]:
        """No account call runs in this block; one that takes longer than a call may is not waited for."""
        locked = self._lock.acquire(timeout=LONGEST)
        try:
            yield
        finally:
            if locked:
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
                return _again(Outcome.model_validate_json(known), shape)
            self._settle()
            if clock.is_over:
                raise Expired("The call came too late; nothing was changed. Please try again.")
            try:
                answer = self._do(asked, clock, plan)
            except BaseException as error:
                self._undo_failed(asked.key, error)
                raise
            plain = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else None
            self._journal.end(asked.key, Outcome(answer=plain).model_dump_json())
            return answer

    def _do(self, asked: Asked, clock: Clock, plan: Callable[[], tuple[list[Change], Answer]]) -> Answer:
        changes, answer = plan()
        self._journal.begin(asked.key, len(changes))
        final = any(each.final for each in changes)
        if final:
            _require_wanted(asked, clock)
        for number, each in enumerate(changes):
            if asked.ending():
                raise NotYet("The guest is about to be started anew; nothing was changed.")
            if clock.is_late:
                raise Busy(f"Only {number} of {len(changes)} could be done in time, so nothing was changed. "
                           "Please ask for fewer at once.")  # fmt: skip
            each.ready()
            self._journal.note(asked.key, each.undo.model_dump_json())
            each.do()
        if not final:
            _require_wanted(asked, clock)
        return answer

    def _undo_failed(self, key: str, error: BaseException) -> None:
        """Undo what was done of a call that failed, and remember the failure unless a retry may do better."""
        for each in self._journal.open_calls():
            if each.key == key and self._undo(each) is None:
                raise Unavailable(
                    "The database failed within the call; what was done of it is being undone."
                ) from error
        keeps = isinstance(error, ApplicationError) and error.non_retryable
        self._journal.end(key, _failed(error).model_dump_json() if keeps else None)

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
                if self._journal.open_calls() and self._lock.acquire(blocking=False):
                    try:
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

    def _undo(self, call: OpenCall) -> int | None:
        """Undo all of it that can be undone; how many final changes had been made, None if something is left to do."""
        final, complete = 0, True
        for number, note in call.notes:
            try:
                final += self._changes().take_back(Undo.model_validate_json(note))
            except Exception as error:  # noqa: BLE001 - an undo that fails must not keep the others from being done
                log.error("%s could not be undone: %s", call.key, error)
                if not self._answers():
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


def _failed(error: BaseException) -> Outcome:
    assert isinstance(error, ApplicationError)  # noqa: S101 - asked before
    return Outcome(error=error.type, message=error.message)


def _again(known: Outcome, shape: type[Answer]) -> Answer:
    if known.error is not None:
        raise ApplicationError(known.message, type=known.error, non_retryable=True)
    return TypeAdapter(shape).validate_python(known.answer)
