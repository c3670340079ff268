"""Guests that idle: what so many of them take of the gateway, and how soon they are back when it was killed."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import ActivityFailureError

from benchmarks.client import Unexpected
from benchmarks.gateway.crowd import HEARTBEAT_SECONDS, WATCH
from benchmarks.gateway.identities import Identity
from benchmarks.gateway.processes import Process, environment, module, running
from benchmarks.gateway.scene import Scene
from benchmarks.gateway.stage import Stage
from benchmarks.gateway.trips import round_trips
from benchmarks.gateway.usage import Usage, usage
from benchmarks.report import Row, p50, p95

PROCESSES = 4
SETTLE = 5.0
CALLS = 100
TASKS_AT_ONCE = 16
PATIENCE = 180.0  # until all are back
Say = Callable[[str], None]


class Crowd:
    """Light guests, dealt out to some processes."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes

    def open(self, cards: Sequence[dict[str, str]], seconds: float) -> None:
        """Let these dial and poll, spread over some seconds."""
        many = len(self._processes)
        self._ask([{"verb": "open", "cards": cards[number::many], "seconds": seconds} for number in range(many)])

    def keep(self, count: int) -> None:
        """Let so many go on, those that came first; the others hang up."""
        many = len(self._processes)
        self._ask([{"verb": "keep", "count": len(range(number, count, many))} for number in range(many)])

    def mark(self) -> None:
        """Count from now on."""
        self._ask([{"verb": "mark"} for _ in self._processes])

    def report(self) -> dict[str, Any]:
        """What happened, of all."""
        found = self._ask([{"verb": "report"} for _ in self._processes])
        errors: Counter[str] = Counter()
        for each in found:
            errors.update(each["errors"])
        counts = {name: sum(each[name] for each in found) for name in ("open", "answered", "watched", "heartbeats")}
        return {**counts, "errors": errors, "back": sorted(at for each in found for at in each["back"])}

    def _ask(self, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for process, question in zip(self._processes, questions, strict=True):
            process.say(question)
        return [process.answer() for process in self._processes]


@contextlib.contextmanager
def crowd(stage: Stage) -> Iterator[Crowd]:
    """Processes for light guests; they end afterwards."""
    with contextlib.ExitStack() as running_below:
        log, command = stage.folder / "crowd.log", module("benchmarks.gateway.crowd")
        yield Crowd([running_below.enter_context(running(Process(command, log, environment(), talks=True)))
                     for _ in range(PROCESSES)])  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """What the two servers took while a number of guests idled."""

    gateway: Usage
    temporal: Usage
    gateway_share: float
    temporal_share: float


class Idle:
    """The measurements, one after the other: each has the guests of the one before."""

    def __init__(self, scene: Scene, guests: Crowd, seconds: float, say: Say) -> None:
        self._scene = scene
        self._crowd = guests
        self._seconds = seconds
        self._say = say
        self._there = 0
        self._empty: Usage | None = None

    async def levels(self, counts: Sequence[int]) -> list[Row]:
        """Rows for each number of guests, beginning with nobody."""
        rows = []
        for count in (0, *sorted(counts)):
            self._say(f"{count} idle guests")
            await self._grow(count)
            taken = await self._take()
            self._empty = self._empty or taken.gateway
            failed = self._failed(count) if count else []
            self._say(f"a guest's calls while {count} idle")
            calls = await round_trips(self._scene, CALLS)
            rows += self._rows(count, taken) + failed
            rows += calls.rows("  round trip of a guest's call") if count else []
        return rows

    async def _grow(self, count: int) -> None:
        """Over a poll's whole time: so their polls come back one by one for ever after."""
        more = self._scene.rest[self._there : count]
        if more:
            self._crowd.open([self._scene.card(each).as_json() for each in more], self._seconds)
            await asyncio.sleep(self._seconds + SETTLE)
        self._there = count

    def _failed(self, count: int) -> list[Row]:
        """A row where polls failed while it was measured, or not all are open now: the machine had too much to do."""
        report = self._crowd.report()
        if not report["errors"] and report["open"] > count * 0.99:  # some are between two polls just now
            return []
        return [Row("  polls open in the end, and failed before", f"{report['open']}; {_codes(report['errors'])}")]

    async def _take(self) -> Taken:
        self._crowd.mark()
        pids = (self._scene.stage.gateway.pid, self._scene.stage.temporal.pid)
        before = [usage(pid) for pid in pids]
        await asyncio.sleep(self._seconds)
        gateway, temporal = (usage(pid) for pid in pids)
        return Taken(gateway, temporal, gateway.share_since(before[0]), temporal.share_since(before[1]))

    def _rows(self, count: int, taken: Taken) -> list[Row]:
        own, other = taken.gateway, taken.temporal
        assert self._empty is not None
        each = f"; {(own.rss - self._empty.rss) * 1000 / count:.0f} kB a guest" if count else ""
        return [
            Row(f"{count or 'no'} idle guests: gateway's memory, RSS", f"{own.rss:.0f} MB, PSS {own.pss:.0f} MB{each}"),
            Row("  gateway's processor time", f"{taken.gateway_share:.1f} % of a core"),
            Row("  gateway's threads and open files", f"{own.threads} and {own.files}"),
            Row("  Temporal", f"RSS {other.rss:.0f} MB, {taken.temporal_share:.1f} % of a core"),
        ]

    # -- a gateway that is killed ------------------------------------------------------------------------------------

    async def come_back(self, count: int) -> list[Row]:
        """Kill the gateway and start it at once; then give each guest a task, which only one who polls can answer."""
        guests = self._scene.rest[:count]
        self._say(f"the gateway is killed with {count} guests")
        if self._there > count:
            self._crowd.keep(count)
            self._there = count
            await asyncio.sleep(SETTLE)
        self._crowd.mark()
        killed = time.monotonic()
        self._scene.stage.gateway.kill()
        self._scene.stage.gateway.listen()
        serves = time.monotonic()
        report = await self._wait_for_all(count)
        used = usage(self._scene.stage.gateway.pid)
        back = [max(0.0, at - serves) for at in report["back"]]
        answered = await self._give_tasks(guests)
        return [
            Row(f"gateway killed and started, {count} guests poll again", f"{max(back):.1f} s after it serves "
                f"(p50 {p50(back) / 1000:.1f} s, p95 {p95(back) / 1000:.1f} s); {serves - killed:.1f} s it was away"),
            Row("  gateway's processor time and memory then", f"{used.cpu:.1f} s, RSS {used.rss:.0f} MB"),
            Row("  polls that failed meanwhile, by code", _codes(report["errors"])),
            Row("  answered a task afterwards", f"{answered} of {count}"),
        ]  # fmt: skip

    async def _wait_for_all(self, count: int) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            report = self._crowd.report()
            if len(report["back"]) >= count:
                return report
            if time.monotonic() > deadline:
                raise Unexpected(f"{len(report['back'])} of {count} are back: {report['errors'].most_common(3)}")
            await asyncio.sleep(0.2)

    async def _give_tasks(self, guests: Sequence[Identity]) -> int:
        gate = asyncio.Semaphore(TASKS_AT_ONCE)

        async def give(guest: Identity) -> bool:
            async with gate:
                with contextlib.suppress(ActivityFailureError):
                    await self._scene.call(guest)
                    return True
            return False

        return sum(await asyncio.gather(*map(give, guests)))

    # -- guests that are watched -------------------------------------------------------------------------------------

    async def watched(self, count: int) -> list[Row]:
        """As in a real installation: each guest has its watch's activity open, and says every 15 s that it is well."""
        self._say(f"{count} guests are watched")
        gate = asyncio.Semaphore(TASKS_AT_ONCE)

        async def hold(guest: Identity) -> None:
            async with gate:
                await self._scene.hold(guest, WATCH)

        await asyncio.gather(*map(hold, self._scene.rest[:count]))
        await asyncio.sleep(min(self._seconds, HEARTBEAT_SECONDS) + SETTLE)
        taken = await self._take()
        report = self._crowd.report()
        if report["watched"] < count or report["errors"]:
            raise Unexpected(f"{report['watched']} of {count} are watched: {report['errors'].most_common(3)}")
        rate = report["heartbeats"] / self._seconds
        return [
            Row(
                f"{count} watched guests: {rate:.0f} heartbeats/s, gateway's memory, RSS", f"{taken.gateway.rss:.0f} MB"
            ),
            Row("  gateway's processor time", f"{taken.gateway_share:.1f} % of a core"),
            Row("  Temporal", f"RSS {taken.temporal.rss:.0f} MB, {taken.temporal_share:.1f} % of a core"),
        ]


def _codes(errors: "Counter[str]") -> str:
    codes: Counter[str] = Counter()
    for why, many in errors.items():
        codes[why.partition(":")[0]] += many
    return ", ".join(f"{many} {code}" for code, many in codes.most_common()) or "none"
