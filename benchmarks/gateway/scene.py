"""What the measurements share: the stage, a client of the control plane, real guests at work, and cards for light ones."""

import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client

from benchmarks.gateway.identities import Identity
from benchmarks.gateway.light import Card
from benchmarks.gateway.processes import Process, environment, module, running
from benchmarks.gateway.stage import Stage
from contract.names import call_id, guest_key_id, guest_queue

REAL = 8  # real guests through the gateway, and as many past it
PATIENCE = timedelta(seconds=60)
TEXT = "some text as an argument of a call has it"


@dataclass
class Scene:
    """All that a measurement needs."""

    stage: Stage
    client: Client
    through: list[Identity]
    direct: list[Identity]
    rest: list[Identity]

    def card(self, guest: Identity, *, direct: bool = False) -> Card:
        """For a guest that dials the gateway, or Temporal itself."""
        key = self.stage.keyring.key(guest_key_id(guest.instance_id, 1)).hex()
        if direct:
            return Card(str(guest.instance_id), key, self.stage.temporal_address)
        gateway = self.stage.gateway
        return Card(str(guest.instance_id), key, gateway.address, guest.token, gateway.ca)

    async def call(self, guest: Identity, name: str = "echo") -> float:
        """A short call as the API makes it; return its seconds."""
        began = time.perf_counter()
        handle = await self.client.start_activity(
            name,
            TEXT,
            id=call_id(guest.instance_id, str(uuid4())),
            task_queue=guest_queue(guest.instance_id),
            result_type=str,
            schedule_to_close_timeout=PATIENCE,
            start_to_close_timeout=PATIENCE,
        )
        await handle.result()
        return time.perf_counter() - began

    async def hold(self, guest: Identity, name: str) -> None:
        """Give a guest a long activity that nobody waits for."""
        await self.client.start_activity(
            name,
            id=call_id(guest.instance_id, str(uuid4())),
            task_queue=guest_queue(guest.instance_id),
            start_to_close_timeout=timedelta(hours=1),
        )


@contextlib.asynccontextmanager
async def set_scene(stage: Stage) -> AsyncIterator[Scene]:
    """Real guests begin to poll, half of them through the gateway; they end afterwards."""
    through, direct, rest = stage.guests[:REAL], stage.guests[REAL : 2 * REAL], stage.guests[2 * REAL :]
    scene = Scene(stage, await stage.client(), through, direct, rest)
    cards = [scene.card(each) for each in through] + [scene.card(each, direct=True) for each in direct]
    with _guests(stage, cards):
        yield scene


@contextlib.contextmanager
def _guests(stage: Stage, cards: Sequence[Card]) -> Iterator[None]:
    log = stage.folder / "guests.log"
    with running(Process(module("benchmarks.gateway.guests"), log, environment(), talks=True)) as process:
        process.ask({"cards": [each.as_json() for each in cards]})
        yield
