"""`python -m benchmarks.gateway`: measure a gateway on a stage of its own, print a table. Nothing stays."""

import argparse
import asyncio
import resource
import signal
import sys
from collections.abc import Sequence

import grpc
import psycopg
from temporalio.client import ActivityFailureError
from temporalio.service import RPCError

from benchmarks.client import Unexpected
from benchmarks.gateway import attacks, trips
from benchmarks.gateway.idle import Idle, crowd
from benchmarks.gateway.scene import REAL, Scene, set_scene
from benchmarks.gateway.stage import Stage, set_up
from benchmarks.report import Row, machine, say, table
from contract.process import leave
from gateway.front import FILES, RESERVED_FILES

LONGEST = 30 * 60  # seconds: more than a run of all takes by far


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    ask = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    ask.add_argument(
        "--trips", type=int, default=300, help="round trips and heartbeats, each way; 0: none (default: 300)"
    )
    ask.add_argument(
        "--idle", type=_numbers, default=[100, 1000, 5000], help="idle guests; '': none (default: 100,1000,5000)"
    )
    ask.add_argument("--back", type=_numbers, default=[1000], help="guests when the gateway is killed (default: 1000)")
    ask.add_argument("--watched", type=int, default=1000, help="guests with a watch's activity (default: 1000)")
    ask.add_argument("--attacks", type=float, default=5.0, help="seconds of each attack; 0: none (default: 5)")
    ask.add_argument("--attack", action="append", default=[], help="this attack alone, by its name; may be repeated")
    ask.add_argument("--seconds", type=float, default=60.0, help="in which guests come, and are measured (default: 60)")
    return ask.parse_args(words)


def _numbers(text: str) -> list[int]:
    return sorted({int(each) for each in text.split(",") if each}, reverse=True)


async def measure(stage: Stage, said: argparse.Namespace) -> list[str]:
    """All tables."""
    rows, tables = [], []
    async with asyncio.timeout(LONGEST), set_scene(stage) as scene:
        if said.trips:
            say("round trips")
            rows += await trips.measure(scene, said.trips)
        if said.attacks:
            say("attacks")
            tables.append(attacks.table(await attacks.measure(scene, said.attacks, said.attack)))
        if said.idle:
            rows += await _idle(scene, said)
    return [*([table(rows)] if rows else []), *tables]


async def _idle(scene: Scene, said: argparse.Namespace) -> list[Row]:
    with crowd(scene.stage) as guests:
        idle = Idle(scene, guests, said.seconds, say)
        rows = await idle.levels(said.idle)
        for count in said.back:
            rows += await idle.come_back(count)
        if said.watched:
            rows += await idle.watched(said.watched)
    return rows


def main() -> int:
    """Measure and print; 0 when it could be measured, whatever came out."""
    said = options()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # what was started ends then, too
    where = machine()
    most = max([2 * trips.HELD, *said.idle])
    if said.idle and max([said.watched, *said.back]) > most:
        print("✗ there must be as many idle guests as come back or are watched", file=sys.stderr)
        return 2
    files = RESERVED_FILES + FILES * (2 * REAL + most)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < files:
        print(f"✗ the gateway needs {files} open files: see `ulimit -Hn`", file=sys.stderr)
        return 2
    say("PostgreSQL, Temporal, the gateway")
    try:
        with set_up(2 * REAL + most) as stage:
            tables = asyncio.run(measure(stage, said))
    except (Unexpected, grpc.RpcError, RPCError, ActivityFailureError, psycopg.Error, OSError) as error:
        print(f"✗ {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print("\n\n".join([where, *tables]))
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    leave(code)
