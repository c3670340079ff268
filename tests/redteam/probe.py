"""`python -m tests.redteam.probe`: a victim's calls, in a process of its own, so that nobody else's work is measured.

Reads `Target` as JSON from its input and calls until its input ends. Writes `[]` when the first call is answered; and for
each further line of its input, how long each call since the last line took, in seconds.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import grpc.aio

INFO = "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo"
EVERY = 0.02  # seconds between two calls
PATIENCE = 10.0
OWN = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
)


@dataclass(frozen=True)
class Target:
    """A gateway, and who asks it."""

    address: str
    ca: str
    token: str

    def dumps(self) -> bytes:
        """For another process."""
        return json.dumps(asdict(self)).encode()


def channel(target: Target) -> grpc.aio.Channel:
    """A connection shared with nobody."""
    return grpc.aio.secure_channel(target.address, grpc.ssl_channel_credentials(target.ca.encode()), OWN)


class Times:
    """How long each call took. While one waits, those that were due meanwhile wait, too, and count."""

    def __init__(self) -> None:
        self.began = 0.0
        self._took: list[float] = []

    def ended(self) -> None:
        """The call under way is answered."""
        took = time.monotonic() - self.began
        self._took += [took - late * EVERY for late in range(1 + int(took / EVERY))]

    def so_far(self) -> list[float]:
        """Of all calls since it was last asked, the one under way included."""
        self.ended()
        took, self._took, self.began = self._took, [], time.monotonic()
        return took


async def call_on(target: Target, times: Times, answered: asyncio.Event) -> None:
    """Call until cancelled; a call that fails is made again, as an honest guest makes it, and its time goes on."""
    metadata = (("authorization", f"Bearer {target.token}"),)
    async with channel(target) as connection:
        method: Any = connection.unary_unary(INFO)
        while True:
            times.began = time.monotonic()
            while True:
                try:
                    await method(b"", timeout=PATIENCE, metadata=metadata)
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(EVERY)
            times.ended()
            answered.set()
            await asyncio.sleep(EVERY)


def tell(took: list[float]) -> None:
    """One line of output."""
    sys.stdout.write(json.dumps(took) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Measure."""
    target = Target(**json.loads(sys.stdin.readline()))
    times, answered, loop = Times(), asyncio.Event(), asyncio.get_running_loop()
    calling = asyncio.create_task(call_on(target, times, answered))
    await answered.wait()
    tell([])
    while await loop.run_in_executor(None, sys.stdin.readline):
        tell(times.so_far())
    calling.cancel()


if __name__ == "__main__":
    asyncio.run(main())
