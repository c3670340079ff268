"""A long job behind the gateway: its progress passes, its cancel arrives, and its end is told."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from guest_worker.jobs import Jobs
from guest_worker.worker import PORTS
from tests.accounts.proof import Checksum, GuestProof, Proof, ProofOrder
from tests.accounts.test_jobs import FILES, QUEUE, SIZE, TakeChecksum, expected
from tests.machine import processes_below
from tests.runbooks.world import PATIENCE, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


def files(folder: Path) -> Path:
    """What is read."""
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:02}").write_bytes(bytes([number]) * SIZE)
    return folder


async def test_it_is_followed_and_cancelled_through_the_gateway(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ports: dict[Any, Any] = PORTS
    monkeypatch.setitem(ports, Proof, GuestProof)
    instance_id = await world.created()
    guest = world.guests[0]
    assert guest.services is not None
    guest.services.jobs = Jobs(guest.folder / "jobs", "tests.accounts.proof")
    folder = files(guest.folder / "files")

    async def start(name: str) -> "WorkflowHandle[Any, Checksum]":
        order = ProofOrder(fence=2, name=name, folder=str(folder), waits=True)
        return await world.client.start_workflow(
            TakeChecksum.run, args=[instance_id, order], id=f"job/{name}", task_queue=QUEUE
        )

    async with Worker(
        world.client, task_queue=QUEUE, workflows=[TakeChecksum], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        async with asyncio.timeout(PATIENCE):
            handle = await start(f"cancelled-{uuid4()}")
            while not processes_below(folder):  # noqa: ASYNC110 - the machine tells nobody
                await asyncio.sleep(0.1)
            await handle.cancel()
            with pytest.raises(WorkflowFailureError) as failed:
                await handle.result()
            assert isinstance(failed.value.cause, CancelledError)
            while processes_below(folder):  # noqa: ASYNC110 - the machine tells nobody
                await asyncio.sleep(0.1)
            handle = await start(f"done-{uuid4()}")
            while not processes_below(folder):  # noqa: ASYNC110 - the machine tells nobody
                await asyncio.sleep(0.1)
            await asyncio.sleep(5)  # some heartbeats
            (guest.folder / "go").touch()
            assert await handle.result() == expected()
