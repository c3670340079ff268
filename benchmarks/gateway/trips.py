"""Round trips through the gateway against direct ones, by turns, so that both meet the same machine."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from temporalio.api.common.v1 import Payloads

from benchmarks.gateway.identities import Identity
from benchmarks.gateway.light import LightGuest
from benchmarks.gateway.scene import REAL, Scene
from benchmarks.gateway.usage import cpu_seconds
from benchmarks.report import Row, p50, p95

WARM = 40  # unmeasured calls before
HELD = 32  # light guests with an open task, on each side
LOAD_SECONDS = 5.0  # of each of four loads: through, direct, through, direct
Once = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Pair:
    """Seconds of calls through the gateway and of direct ones, of one run."""

    through: list[float]
    direct: list[float]

    def rows(self, what: str) -> list[Row]:
        """A row each, the ratio behind the first."""
        ratio = f"; {p50(self.through) / p50(self.direct):.2f} times the direct one"
        return [
            Row(f"{what}, through, p50 of {len(self.through)}", f"{_words(self.through)}{ratio}"),
            Row("  direct", _words(self.direct)),
        ]


def _words(seconds: Sequence[float]) -> str:
    return f"{p50(seconds):.2f} ms (p95 {p95(seconds):.2f} ms)"


async def measure(scene: Scene, trips: int) -> list[Row]:
    """Calls of real guests, alone and eight at once; then bare heartbeats."""
    rows = (await round_trips(scene, trips)).rows("round trip of a guest's call")
    through, direct = await _loads(
        [_caller(scene, each) for each in scene.through], [_caller(scene, each) for each in scene.direct]
    )
    rows.append(_rates(f"round trips, {REAL} guests at once", through, direct))
    return rows + await heartbeats(scene, trips)


async def round_trips(scene: Scene, count: int) -> Pair:
    """One call at a time, by turns."""
    through = [_caller(scene, each) for each in scene.through]
    direct = [_caller(scene, each) for each in scene.direct]
    return await _by_turns(through, direct, count)


def _caller(scene: Scene, guest: Identity) -> Once:
    return lambda: scene.call(guest)


async def _by_turns(through: Sequence[Once], direct: Sequence[Once], count: int) -> Pair:
    """Each guest in its turn, so that no guest's limit is met; who is first changes, too."""
    pair = Pair([], [])
    sides = ((itertools.cycle(through), pair.through), (itertools.cycle(direct), pair.direct))
    for number in range(WARM + count):
        for guests, seconds in sides if number % 2 else sides[::-1]:
            once = next(guests)
            began = time.perf_counter()
            await once()
            if number >= WARM:
                seconds.append(time.perf_counter() - began)
    return pair


async def heartbeats(scene: Scene, count: int) -> list[Row]:
    """The least that can be forwarded: a heartbeat with a sealed payload, by a bare channel."""
    pid = scene.stage.gateway.pid
    lights, others = scene.rest[:HELD], scene.rest[HELD : 2 * HELD]
    async with _held(scene, lights, direct=False) as through, _held(scene, others, direct=True) as direct:
        before = cpu_seconds(pid)
        pair = await _by_turns(through, direct, count)
        each = (cpu_seconds(pid) - before) / (count + WARM)
        rates = await _loads(through, direct)
    return [
        *pair.rows("heartbeat of a task"),
        Row("  gateway's processor time for each", f"{each * 1000:.2f} ms"),
        _rates(f"heartbeats, {HELD} guests at once", *rates),
    ]


@asynccontextmanager
async def _held(scene: Scene, guests: Sequence[Identity], *, direct: bool) -> AsyncIterator[list[Once]]:
    """Light guests with an open task each, which they answer afterwards."""
    async with AsyncExitStack() as open_below:
        beats: list[Once] = []
        for each in guests:
            guest = LightGuest(scene.card(each, direct=direct))
            open_below.push_async_callback(guest.close)
            await scene.hold(each, "held")
            task = await guest.poll()
            open_below.push_async_callback(guest.complete, task.task_token)
            beats.append(_beat(guest, task.task_token, await guest.health()))
        yield beats


def _beat(guest: LightGuest, task_token: bytes, details: Payloads) -> Once:
    return lambda: guest.heartbeat(task_token, details)


async def _loads(through: Sequence[Once], direct: Sequence[Once]) -> tuple[float, float]:
    """Calls a second with all at once, through and direct; each twice, by turns."""
    rates = [await _load(each) for each in (through, direct, through, direct)]
    return (rates[0] + rates[2]) / 2, (rates[1] + rates[3]) / 2


async def _load(calls: Sequence[Once]) -> float:
    until = time.perf_counter() + LOAD_SECONDS

    async def repeat(once: Once) -> int:
        done = 0
        while time.perf_counter() < until:
            await once()
            done += 1
        return done

    return sum(await asyncio.gather(*map(repeat, calls))) / LOAD_SECONDS


def _rates(what: str, through: float, direct: float) -> Row:
    return Row(f"{what}, through", f"{through:.0f} /s; direct {direct:.0f} /s ({through / direct:.2f} times as many)")
