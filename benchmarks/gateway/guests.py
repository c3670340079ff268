"""`python -m benchmarks.gateway.guests`: real guest workers with the SDK, each with a client of its own.

It reads one line of JSON, says when all poll, and ends when its standard input does.
"""

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

from temporalio import activity
from temporalio.client import Client, TLSConfig
from temporalio.runtime import Runtime
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from benchmarks.gateway.light import Card
from contract.keys.keyring import OwnKeyring, Ring
from contract.names import guest_queue
from contract.process import leave
from contract.wire.client import quiet_runtime
from contract.wire.codec import data_converter
from deploy.temporal import NAMESPACE
from guest_worker.worker import SLOTS


@activity.defn(name="echo")
def echo(text: str) -> str:
    """What a guest can do at least: nothing, in a thread, as its verbs are done."""
    return text


async def dial(card: Card, runtime: Runtime) -> Client:
    """A guest's client: through the gateway as `guest_worker.session` has it, or past it."""
    through: dict[str, Any] = {"tls": TLSConfig(server_root_ca_cert=card.ca.encode()), "api_key": card.token}
    return await Client.connect(
        card.address,
        namespace=NAMESPACE,
        identity=guest_queue(UUID(card.instance_id)),
        data_converter=data_converter(OwnKeyring(card.instance_id, Ring.of(bytes.fromhex(card.key)))),
        runtime=runtime,
        **(through if card.token else {}),
    )


def worker_of(client: Client, card: Card) -> Worker:
    """With the settings of `guest_worker.worker`."""
    return Worker(
        client,
        task_queue=guest_queue(UUID(card.instance_id)),
        activities=[echo],
        activity_executor=ThreadPoolExecutor(SLOTS),
        max_concurrent_activities=SLOTS,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        max_heartbeat_throttle_interval=timedelta(seconds=4),
        default_heartbeat_throttle_interval=timedelta(seconds=4),
    )


async def main() -> None:
    """Serve."""
    cards = [Card(**each) for each in json.loads(await asyncio.to_thread(sys.stdin.readline))["cards"]]
    runtime = quiet_runtime()
    async with AsyncExitStack() as working:
        for card in cards:
            await working.enter_async_context(worker_of(await dial(card, runtime), card))
        print(json.dumps({"guests": len(cards)}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main())
    leave(0)
