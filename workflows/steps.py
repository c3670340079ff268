"""Whom a runbook asks, how patient it is, and what it does when it is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints, overload
from uuid import UUID

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as StepTimedOut

from contract.domain.errors import GuestProtocolError, innermost
from contract.names import CLOUD, guest_queue
from contract.wire.answers import from_guest
from contract.wire.clear_text import ClearText

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")

# A verb is a method of a port, plain or async, of at most one fact; what it is asked with is checked here.
AsyncVerb = Callable[Concatenate[Any, Asked], Awaitable[Answer]]
PlainVerb = Callable[Concatenate[Any, Asked], Answer]


@dataclass(frozen=True)
class Patience:
    """How long a step is tried: attempts (0: without end) times interval, never a clock, so that an outage is nobody's fault.

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
                # a worker without the verb, and a guest that makes no sense, answer so for ever
                non_retryable_error_types=["NotFoundError", "GuestProtocolError"],
            ),
        }


PROMPT = Patience(attempts=6, attempt_seconds=10, interval_seconds=0.2, longest_seconds=2)  # somebody waits for it
SURE = Patience(attempts=300)  # must be written: over an hour of an outage of the records
QUICK = Patience(attempts=30)  # one call to OpenStack: some seven minutes of an outage
POLL = Patience(attempts=400, interval_seconds=0.1, longest_seconds=2, growth=1.3)  # a quarter of an hour
POLL_LONG = Patience(attempts=900, interval_seconds=0.1, longest_seconds=2, growth=1.3)  # half an hour, to tear down
BEAT = 15  # seconds: a guest that says nothing for so long has ended, and the step is tried again
BOOT = Patience(attempts=5, attempt_seconds=60, pickup_seconds=600, heartbeat_seconds=BEAT)  # Nova's boot included
# a large volume that has to be checked first; its guest is heard of meanwhile
VOLUME = Patience(attempts=5, attempt_seconds=6 * 3600, pickup_seconds=600, heartbeat_seconds=BEAT)
# the same, where Nova has to tell the server first that the volume has grown: a quarter of an hour
GROWTH = Patience(attempts=70, attempt_seconds=6 * 3600, pickup_seconds=600, heartbeat_seconds=BEAT)
GUEST = Patience(attempts=5, attempt_seconds=60, pickup_seconds=30, heartbeat_seconds=BEAT)
YEARS = 10 * 365 * 24 * 3600  # Temporal wants a number
# a job of hours: followed as long as it is heard of; its guest may be away for ten minutes, and die a hundred times
JOB = Patience(attempts=100, attempt_seconds=YEARS, pickup_seconds=600, heartbeat_seconds=BEAT)

# whether a guest is there: one whose gateway was restarted, or that was killed at this step, comes back in time
REACH = Patience(attempts=2, attempt_seconds=8, pickup_seconds=30, once_more=False)
# silence is what these two are to find out, soon
WATCH = Patience(attempts=1, attempt_seconds=3900, pickup_seconds=30, heartbeat_seconds=36, once_more=False)
PING = Patience(attempts=1, attempt_seconds=8, pickup_seconds=8, once_more=False)
LOOK = Patience(attempts=1, attempt_seconds=8, once_more=False)  # at what is not worth more time
CALL = Patience(attempts=3, attempt_seconds=8, once_more=False)  # a tenant waits for it

HEED_SECONDS = 5  # that a step has to end in when it is cancelled
MAX_REASON = 2000  # characters
GUEST_ERRORS = frozenset(
    {"EngineFailed", "BadRequest", "NotFound", "AlreadyExists", "Unsupported", "FenceLost", "Busy", "Expired", "Unavailable",
     "NotYet"}
)  # fmt: skip


class Steps:
    """The steps of one run.

    `may_stop` says whether a cancel ends the work. Without it a cancel waits: teardown and the last writes only go
    forward. A deletion that has taken over ends the work at any step.
    """

    def __init__(self) -> None:
        self.may_stop = False
        self.quiet_at: datetime | None = None
        """When nothing can happen any more of what the cloud was asked for and was not waited for."""
        self._taken_over = False

    def point_of_no_return(self) -> None:
        """From here a cancel is not heeded: what comes only goes forward."""
        self.may_stop = False

    def hand_over(self) -> None:
        """End the work at the running step: a deletion has taken over."""
        self._taken_over = True

    @property
    def stopped(self) -> bool:
        """Whether the work is to end."""
        return self._taken_over or (self.may_stop and workflow.cancellation_reason() is not None)

    def check_stop(self) -> None:
        """Raise CancelledError where the work is to end."""
        if self.stopped:
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
            summary=ClearText(step.__name__.replace("_", " ")),
            **patience.options(),
        )
        await until(lambda: handle.done() or self.stopped)
        if not handle.done():
            await self._end(handle, queue, patience)
        return handle.result()

    async def _end(self, handle: "workflow.ActivityHandle[Any]", queue: str, patience: Patience) -> None:
        """Cancel a step; one that does not end soon is left to itself.

        Temporal ends at once what nobody works on. A request to OpenStack that is under way cannot be taken back: it
        may still take effect, until `quiet_at`.
        """
        handle.cancel()
        await until(handle.done, HEED_SECONDS)
        if handle.done():
            return
        handle.add_done_callback(_ignore)
        if queue == CLOUD:
            latest = workflow.now() + timedelta(seconds=patience.attempt_seconds)
            self.quiet_at = max(latest, self.quiet_at or latest)
        raise asyncio.CancelledError


def _ignore(task: "asyncio.Future[Any]") -> None:
    """Look at the outcome of a step that nobody waits for: asyncio logs those that nobody looks at."""
    if not task.cancelled():
        task.exception()


async def until(condition: Callable[[], bool], seconds: float | None = None) -> None:
    """Wait until a condition holds, or for so long; a cancel of the run does not shorten it."""
    while not condition():
        try:
            await workflow.wait_condition(condition, timeout=seconds)
        except TimeoutError:
            return
        except asyncio.CancelledError:
            # no request from outside: the run is leaving the worker's cache
            if workflow.cancellation_reason() is None:
                raise


async def all_of(*steps: Coroutine[Any, Any, Any]) -> None:
    """Do steps side by side, wait for all of them, then raise the first failure."""
    tasks = [asyncio.create_task(each) for each in steps]
    await until(lambda: all(each.done() for each in tasks))
    if any(each.cancelled() for each in tasks):
        raise asyncio.CancelledError
    for failure in [each.exception() for each in tasks]:
        if failure is not None:
            raise failure


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
        if lost_fence(error):  # only the records say who owns a group, and they were asked before this step
            raise GuestProtocolError("the guest refuses the operation as an older one, which it is not") from None
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
