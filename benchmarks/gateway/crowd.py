"""`python -m benchmarks.gateway.crowd`: light guests that idle, in a process of their own.

It is told by lines of JSON, and answers each: `open` some guests over some seconds, `keep` so many of them, `mark` the
moment from which on it is counted who is back, `report`.
"""

import asyncio
import contextlib
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse

from benchmarks.gateway.light import Card, LightGuest
from contract.process import leave

FIRST_PAUSE, LAST_PAUSE = (
    0.2,
    10.0,
)  # before a poll is tried again, as the SDK has it: doubled each time, a fifth more or less
KNOCK_SECONDS = 120.0
HEARTBEAT_SECONDS = 15.0  # `heartbeat_seconds` of a guest's settings
WATCH = "watch"  # the activity that is held, with a heartbeat now and then; all others are answered at once


class Tally:
    """What happened to the guests of this process."""

    def __init__(self) -> None:
        self.open = 0
        self.answered = 0
        self.watched = 0
        self.heartbeats = 0
        self.errors: Counter[str] = Counter()
        self.back: list[float] = []

    def report(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"open": self.open, "answered": self.answered, "watched": self.watched, "heartbeats": self.heartbeats,
                "errors": dict(self.errors), "back": self.back}  # fmt: skip


class Idler:
    """One guest: polls, and polls again."""

    def __init__(self, card: Card, tally: Tally) -> None:
        self._guest = LightGuest(card)
        self._tally = tally
        self._away = False
        self._held: set[asyncio.Task[None]] = set()

    async def live(self, delay: float) -> None:
        """Until cancelled."""
        await asyncio.sleep(delay)
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    await self._poll()
                    pause = FIRST_PAUSE
                except grpc.aio.AioRpcError as error:
                    self._tally.errors[f"{error.code().name}: {error.details()}"[:120]] += 1
                    self._away = True
                    await self._guest.dial_anew()
                    await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                    pause = min(pause * 2, LAST_PAUSE)
        finally:
            for each in self._held:
                each.cancel()
            await self._guest.close()

    async def _poll(self) -> None:
        self._tally.open += 1
        knocking = asyncio.create_task(self._knock()) if self._away else None
        try:
            answer = await self._guest.poll()
        finally:
            self._tally.open -= 1
            if knocking is not None:
                knocking.cancel()
        if answer.task_token:
            await self._work(answer)
        else:
            await self._guest.worker_heartbeat()

    async def _knock(self) -> None:
        """Behind a poll, on the same connection: when this is answered, the poll stands."""
        await asyncio.sleep(0)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._guest.knock(KNOCK_SECONDS)
            self._away = False
            self._tally.back.append(time.monotonic())

    async def _work(self, task: PollActivityTaskQueueResponse) -> None:
        if task.activity_type.name != WATCH:
            await self._guest.complete(task.task_token)
            self._tally.answered += 1
            return
        holding = asyncio.create_task(self._watch(task.task_token))
        self._held.add(holding)
        holding.add_done_callback(self._held.discard)

    async def _watch(self, task_token: bytes) -> None:
        self._tally.watched += 1
        health = await self._guest.health()
        await asyncio.sleep(random.uniform(0, HEARTBEAT_SECONDS))
        while True:
            try:
                await self._guest.heartbeat(task_token, health)
                self._tally.heartbeats += 1
            except grpc.aio.AioRpcError as error:
                self._tally.errors[f"heartbeat: {error.code().name}: {error.details()}"[:120]] += 1
            await asyncio.sleep(HEARTBEAT_SECONDS)


class Crowd:
    """All guests of this process."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._tasks: list[asyncio.Task[None]] = []
        self.verbs: dict[str, Callable[[dict[str, Any]], None]] = {
            "open": self._open,
            "keep": self._keep,
            "mark": self._mark,
            "report": lambda said: None,
        }

    def answer(self, said: dict[str, Any]) -> dict[str, Any]:
        """Do what is said, and report."""
        self.verbs[said["verb"]](said)
        return self._tally.report()

    def _open(self, said: dict[str, Any]) -> None:
        cards = [Card(**each) for each in said["cards"]]
        for number, card in enumerate(cards):
            delay = said["seconds"] * (number + random.random()) / len(cards)
            self._tasks.append(asyncio.create_task(Idler(card, self._tally).live(delay)))

    def _keep(self, said: dict[str, Any]) -> None:
        for each in self._tasks[said["count"] :]:
            each.cancel()
        del self._tasks[said["count"] :]

    def _mark(self, said: dict[str, Any]) -> None:
        self._tally.back.clear()
        self._tally.errors.clear()
        self._tally.answered = self._tally.heartbeats = 0


async def main() -> None:
    """Serve until there is nobody to tell us anything."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd()
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(crowd.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(), debug=False)
    leave(0)
