"""What an attack costs: the gateway's memory, files and processor time, and how long a victim's calls take meanwhile."""

import asyncio
import base64
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gateway.usage import cpu_seconds
from gateway.__main__ import check
from gateway.settings import GatewaySettings
from tests.redteam.probe import Target
from tests.redteam.raw_requests import RawRequest

BREATH = 1.0  # seconds before an attack, in which what the one before has left is cleared away
CALM = 1.0  # seconds without an attack, enough for fifty calls of the victim's
CHECK_EVERY = 0.5  # seconds between two checks of an operator
LOOK = 0.2  # seconds between two looks at the gateway's files


@dataclass(frozen=True)
class Use:
    """What a process has now, as the kernel says."""

    mib: float
    peak: float
    files: int
    cpu: float  # seconds, since it started


def use_of(pid: int) -> Use:
    """Look at it; its peak counts from `forget_peak` on."""
    folder = Path(f"/proc/{pid}")
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    kib = {name: int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM")}
    return Use(kib["VmRSS"] / 1024, kib["VmHWM"] / 1024, len(list((folder / "fd").iterdir())), cpu_seconds(pid))


def forget_peak(pid: int) -> None:
    """Let the peak begin again."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@dataclass
class Probe:
    """A process that calls as the victim all the while; `calm`: how many seconds before each attack are measured, too."""

    process: asyncio.subprocess.Process
    calm: float

    async def times(self) -> list[float]:
        """Seconds of each call since this was last asked."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        return await self.read()

    async def read(self) -> list[float]:
        """What it says next."""
        assert self.process.stdout is not None
        took: list[float] = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 60))
        return took


@asynccontextmanager
async def probed(victim: Target, calm: float = CALM) -> AsyncIterator[Probe]:
    """A victim's calls go on during the block."""
    words = ("-m", "tests.redteam.probe")
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=PIPE, stdout=PIPE, limit=2**24)
    assert process.stdin is not None
    process.stdin.write(victim.dumps() + b"\n")
    probe = Probe(process, calm)
    try:
        await probe.read()
        yield probe
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)


@asynccontextmanager
async def checked(gateway: GatewaySettings) -> AsyncIterator[list[float]]:
    """An operator's checks go on during the block, and succeed: seconds of each."""
    took: list[float] = []

    async def ask() -> None:
        while True:
            began = time.monotonic()
            assert await asyncio.to_thread(check, gateway) == 0, "an operator's check failed"
            took.append(time.monotonic() - began)
            await asyncio.sleep(CHECK_EVERY)

    asking = asyncio.create_task(ask())
    try:
        yield took
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


@dataclass(frozen=True)
class Cost:
    """Of one attack. Shares are of one processor; `calm` is of a moment before."""

    calm: list[float]
    took: list[float]
    calm_share: float
    share: float
    before: float  # MiB
    peak: float
    files: int
    told: str


async def attacked(
    gateway: int, probe: Probe, attack: str, by: Target, seconds: float, raw: RawRequest | None = None
) -> Cost:
    """Attack for so long, from a process of its own; `gateway`: its process, `by`: whose token the attacker has."""
    load = await _load(attack, seconds)
    await asyncio.sleep(BREATH)
    before, began = await _start_of_a_time(gateway, probe)
    await asyncio.sleep(probe.calm)
    calm, calm_share = await probe.times(), (use_of(gateway).cpu - before.cpu) / (time.monotonic() - began)
    forget_peak(gateway)
    await _begin(load, by, raw)
    before, began = await _start_of_a_time(gateway, probe)
    telling, files = asyncio.create_task(_told_by(load)), 0
    while not telling.done():
        files = max(files, use_of(gateway).files)
        await asyncio.wait([telling], timeout=LOOK)
    took, after = await probe.times(), use_of(gateway)
    share = (after.cpu - before.cpu) / (time.monotonic() - began)
    return Cost(calm, took, calm_share, share, before.mib, after.peak, files, telling.result())


async def _start_of_a_time(gateway: int, probe: Probe) -> tuple[Use, float]:
    await probe.times()
    return use_of(gateway), time.monotonic()


async def _load(attack: str, seconds: float) -> asyncio.subprocess.Process:
    """Start the process, which takes as long as a breath, and attacks when it is told whom."""
    command = ("-m", "tests.redteam.hostile", attack, str(seconds))
    return await asyncio.create_subprocess_exec(sys.executable, *command, stdin=PIPE, stdout=PIPE)


async def _begin(load: asyncio.subprocess.Process, by: Target, raw: RawRequest | None) -> None:
    """Return when the attack begins: what its process takes to start is not the gateway's."""
    words: dict[str, Any] = {}
    if raw is not None:
        words = {"rpc": raw.rpc, "body": base64.b64encode(raw.body).decode()}
    assert load.stdin is not None and load.stdout is not None
    load.stdin.write(json.dumps({"target": asdict(by), "words": words}).encode() + b"\n")
    await asyncio.wait_for(load.stdout.readline(), 60)


async def _told_by(load: asyncio.subprocess.Process) -> str:
    told, _ = await asyncio.wait_for(load.communicate(), 120)
    return told.decode()
