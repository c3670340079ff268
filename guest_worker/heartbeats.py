"""Heartbeats of whatever the guest is asked for: a guest that is killed is told from one that works."""

import asyncio
import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

BEATS = 4  # in the time after which Temporal gives an attempt up


class Heartbeats(Interceptor):
    """Beats beside every step that is expected to, while it works."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """Wrap."""
        return _Beating(next)


class _Beating(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        """Do the step, and beat until it is done. A coroutine beats by itself, for only it knows whether it goes on."""
        expected = activity.info().heartbeat_timeout
        if expected is None or asyncio.iscoroutinefunction(input.fn):
            return await super().execute_activity(input)
        input.fn = _undisturbed(input.fn)
        beating = asyncio.create_task(_beat(expected.total_seconds() / BEATS))
        try:
            return await super().execute_activity(input)
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating


def _undisturbed(work: Callable[..., Any]) -> Callable[..., Any]:
    """Work to the end: half of a change to an engine is worse than one that nobody waits for any more."""

    @functools.wraps(work)
    def to_its_end(*args: Any) -> Any:
        with activity.shield_thread_cancel_exception():
            return work(*args)

    return to_its_end


async def _beat(seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(activity.heartbeat)  # of a step in a thread: it waits for the loop
        except TimeoutError:
            continue  # the loop had other things to do; the next beat will do
        except RuntimeError:  # the step waits for its thread: until it has one, heartbeats are the loop's
            activity.heartbeat()
