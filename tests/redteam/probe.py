"""`python -m tests.redteam.probe`: a victim's calls, in a process of its own, so that nobody else's work is measured.

Reads `Target` as JSON from its input, calls until its input ends, and writes how long each call took, in seconds.
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
OWN = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


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


async def calls(target: Target, ended: "asyncio.Future[Any]") -> list[float]:
    """Seconds of each call; those that fail count as long as nobody waits."""
    took: list[float] = []
    metadata = (("authorization", f"Bearer {target.token}"),)
    async with channel(target) as connection:
        method: Any = connection.unary_unary(INFO)
        while not ended.done():
            began = time.monotonic()
            try:
                await method(b"", timeout=PATIENCE, metadata=metadata)
                took.append(time.monotonic() - began)
            except grpc.aio.AioRpcError:
                took.append(PATIENCE)
            await asyncio.sleep(EVERY)
    return took


async def main() -> None:
    """Measure."""
    target = Target(**json.loads(sys.stdin.readline()))
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    json.dump(await calls(target, ended), sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
