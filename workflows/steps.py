"""Whom a runbook asks, how patient it is, and what it does when it is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints, overload
from uuid import UUID

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as StepTimedOut

from workflows.answers import from_guest
from workflows.domain.errors import EngineFailed, GuestProtocolError, innermost
from workflows.names import guest_queue

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")

# A verb is a method of a port, plain or async, of at most one fact; what it is asked with is checked here.
AsyncVerb = Callable[Concatenate[Any, Asked], Awaitable[Answer]]
PlainVerb = Callable[Concatenate[Any, Asked], Answer]


@dataclass(frozen=True)
class Patience:
    """How long a step is tried: attempts times interval, never a clock, so that an outage is nobody's fault.

    An attempt that takes longer than `attempt_seconds` is given up; whoever adapts a slower service must time out
    before that. `pickup_seconds` bounds how long a guest may take to pick a step up; None: whoever works is ours.
    """

    attempts: int
    attempt_seconds: int = 20
    interval_seconds: float = 0.5
    longest_seconds: float = 15
    growth: float = 2
    pickup_seconds: int | None = None
    heartbeat_seconds: int | None = None
    total_seconds: float | None = None  # all attempts together, for a caller who stops waiting
    once_more: bool = True  # where time ran out: an outage of Temporal or of a worker is nobody's fault

    def options(self) -> dict[str, Any]:
        """Return what Temporal's SDK wants to know."""
        pickup, heartbeat = self.pickup_seconds, self.heartbeat_seconds
        return {
            "heartbeat_timeout": timedelta(seconds=heartbeat) if heartbeat else None,
            "start_to_close_timeout": timedelta(seconds=self.attempt_seconds),
            "schedule_to_close_timeout": timedelta(seconds=self.total_seconds) if self.total_seconds else None,
            "schedule_to_start_timeout": timedelta(seconds=pickup) if pickup else None,
            "retry_policy": RetryPolicy(
                initial_interval=timedelta(seconds=self.interval_seconds),
                backoff_coefficient=self.growth,
                maximum_interval=timedelta(seconds=self.longest_seconds),
                maximum_attempts=self.attempts,
                # a worker without the verb answers so, for ever
                non_retryable_error_types=["NotFoundError"],
            ),
        }


PROMPT = Patience(attempts=6, attempt_seconds=10, interval_seconds=0.2, longest_seconds=2)  # somebody waits for it
SURE = Patience(attempts=300)  # must be written: over an hour of an outage of the records
QUICK = Patience(attempts=30)  # one call to OpenStack: some seven minutes of an outage
POLL = Patience(attempts=400, interval_seconds=0.1, longest_seconds=2, growth=1.3)  # a quarter of an hour
POLL_LONG = Patience(attempts=900, interval_seconds=0.1, longest_seconds=2, growth=1.3)  # half an hour, to tear down
BOOT = Patience(attempts=5, attempt_seconds=60, pickup_seconds=600)  # the guest's first step: Nova's boot included
GUEST = Patience(attempts=5, attempt_seconds=60, pickup_seconds=60)

# silence is what these two are to find out, soon
WATCH = Patience(attempts=1, attempt_seconds=3900, pickup_seconds=90, heartbeat_seconds=90, once_more=False)
PING = Patience(attempts=2, attempt_seconds=15, pickup_seconds=20, once_more=False)
CALL = Patience(attempts=3, attempt_seconds=9, once_more=False)  # a tenant waits for it

MAX_REASON = 2000  # characters
GUEST_ERRORS = frozenset(
    {"EngineFailed", "BadRequest", "NotFound", "AlreadyExists", "Unsupported", "FenceLost", "Busy", "Expired", "Unavailable",
     "NotYet"}
)  # fmt: skip


class Steps:
    """The steps of one run: each is awaited to its end before anything else happens.

    `may_stop` says whether a cancel (Temporal's, or the hand-over to a deletion) ends the work after the running step.
    Without it steps are never cancelled: teardown and the last writes only go forward.
    """

    def __init__(self) -> None:
        self.may_stop = False
        self._told_to_stop = False  # by a hand-over; a cancel from outside is asked of Temporal
        self._running: workflow.ActivityHandle[Any] | None = None

    def stop(self) -> None:
        """Tell the work to end after the running step; one that nobody has picked up yet ends at once."""
        self._told_to_stop = True
        if self.may_stop and self._running is not None:
            self._running.cancel()

    def check_stop(self) -> None:
        """Raise CancelledError where the work may stop and was told to."""
        if self.may_stop and (self._told_to_stop or workflow.cancellation_reason() is not None):
            raise asyncio.CancelledError

    @overload
    async def ask(
        self, queue: str, patience: Patience, step: AsyncVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs
    ) -> Answer: ...

    @overload
    async def ask(
        self, queue: str, patience: Patience, step: PlainVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs
    ) -> Answer: ...

    async def ask(self, queue: str, patience: Patience, step: Any, *args: Any, **_: Any) -> Any:
        """Have a step done by whoever listens on the queue; one fresh try where time ran out."""
        self.check_stop()
        try:
            answer = await self._with_second_try(queue, step, patience, list(args))
        finally:
            self.check_stop()
        return answer

    async def _with_second_try(self, queue: str, step: Any, patience: Patience, args: list[Any]) -> Any:
        try:
            return await self._once(queue, step, patience, args)
        except ActivityError as error:
            if not (patience.once_more and isinstance(innermost(error), StepTimedOut)):
                raise
        self.check_stop()
        return await self._once(queue, step, patience, args)

    async def _once(self, queue: str, step: Any, patience: Patience, args: list[Any]) -> Any:
        raw = queue.startswith("guest/")
        handle = workflow.start_activity(
            step.__name__,
            args=args,
            task_queue=queue,
            result_type=RawValue if raw else get_type_hints(step)["return"],
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=step.__name__.replace("_", " "),
            **patience.options(),
        )
        if not self.may_stop:
            return await to_its_end(handle)
        self._running = handle
        try:
            return await handle
        finally:
            self._running = None


async def to_its_end(task: "asyncio.Future[Answer]") -> Answer:
    """Await something that a cancel of the run must not reach."""
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # no request from outside: the run is leaving the worker's cache
            if task.done() or workflow.cancellation_reason() is None:
                raise


async def all_of(*steps: Coroutine[Any, Any, Any]) -> None:
    """Do steps side by side, wait for all of them, then raise the first failure."""
    tasks = [asyncio.create_task(each) for each in steps]
    failures: list[FailureError] = []
    for each in tasks:
        try:
            await to_its_end(each)
        except FailureError as error:
            failures.append(error)
    if failures:
        raise failures[0]


@overload
async def ask_guest(
    guest: "GuestOf", patience: Patience, step: AsyncVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs
) -> Answer: ...


@overload
async def ask_guest(
    guest: "GuestOf", patience: Patience, step: PlainVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs
) -> Answer: ...


async def ask_guest(guest: "GuestOf", patience: Patience, step: Any, *args: Any, **_: Any) -> Any:
    """Ask a guest, and trust nothing of what it says: neither its answer's shape nor the kind of its errors."""
    try:
        raw = await guest.steps.ask(guest_queue(guest.instance_id), patience, step, *args)
    except FailureError as error:
        cause = innermost(error)
        if isinstance(cause, ApplicationError) and cause.type not in GUEST_ERRORS:
            raise GuestProtocolError(f"the guest could not {step.__name__.replace('_', ' ')}") from None
        if lost_fence(error):  # only the records say who owns a group; a run that goes on is told by them
            raise EngineFailed("the guest follows a newer operation") from None
        raise
    return from_guest(raw, guest.instance_id, get_type_hints(step)["return"])


@dataclass(frozen=True)
class GuestOf:
    """The guest of an instance, asked within the steps of a run."""

    steps: Steps
    instance_id: UUID


def sentence(error: BaseException) -> str:
    """Say in one sentence what went wrong, for the record and the user."""
    cause = innermost(error)
    if isinstance(cause, ApplicationError):
        return legible(cause.message)
    if is_cancelled_exception(error):
        return "the operation was cancelled"
    step = error.activity_type.replace("_", " ") if isinstance(error, ActivityError) else "the operation"
    if isinstance(cause, StepTimedOut):
        return f"{step}: no answer in time"
    return f"{step} failed"


def legible(text: str) -> str:
    """What others wrote, as a record can hold it: PostgreSQL has no zero, and nobody reads 64 kB."""
    plain = "".join(each if each.isprintable() else " " for each in text[:MAX_REASON])
    return plain if len(text) <= MAX_REASON else f"{plain}…"


def type_of(error: BaseException) -> str | None:
    """Return the name (`domain.errors`) of what an error innermost is, if it has one."""
    cause = innermost(error)
    return cause.type if isinstance(cause, ApplicationError) else None


def lost_fence(error: BaseException) -> bool:
    """Whether somebody else owns the group now; then nothing more may be touched."""
    return type_of(error) == "FenceLost"
