"""What takes long goes on when the guest worker dies, is done once, is told again, and ends when it is cancelled."""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from contract.domain.errors import innermost
from contract.ports.guest import CallGate, Fenced
from guest_worker.job import ORDER, OUTCOME, PROGRESS
from tests.accounts.conftest import REPOSITORY, Host
from tests.accounts.proof import Checksum, Proof, ProofOrder
from tests.contracts.engines import DIALECTS
from tests.machine import kill_below, loopback, processes_below
from tests.temporal import TemporalServer
from workflows.steps import GUEST, JOB, GuestOf, Steps, ask_guest

QUEUE = "jobs"
FILES, SIZE = 24, 100_000
PATIENCE = 120.0


@workflow.defn
class TakeChecksum:
    """One long step, asked as runbooks ask."""

    @workflow.run
    async def run(self, instance_id: UUID, order: ProofOrder) -> Checksum:
        steps = Steps()
        steps.may_stop = True
        return await ask_guest(GuestOf(steps, instance_id), JOB, Proof.checksum, order)


@workflow.defn
class AskOtherwise:
    """The step of a newer operation."""

    @workflow.run
    async def run(self, instance_id: UUID, order: Fenced) -> None:
        await ask_guest(GuestOf(Steps(), instance_id), GUEST, CallGate.open_gate, order)


@pytest.fixture
def guest(temporal: TemporalServer) -> Iterator[Host]:
    """A guest worker with a folder to read; no engine."""
    folder = Path(tempfile.mkdtemp(prefix="coffer-jobs-"))
    found = Host(temporal, uuid4(), None, DIALECTS["postgresql"], folder, loopback())
    data = folder / "data"
    data.mkdir()
    for number in range(FILES):
        (data / f"{number:02}").write_bytes(bytes([number]) * SIZE)
    found.start()
    yield found
    found.end(signal.SIGKILL)
    left = kill_below(folder)
    shutil.rmtree(folder)
    assert left == []


@pytest_asyncio.fixture
async def run(guest: Host) -> AsyncIterator[Any]:
    """Start the long step of an order."""
    client = await guest.temporal.client()

    async def start(name: str, fence: int = 1, **more: Any) -> "WorkflowHandle[Any, Checksum]":
        order = ProofOrder(fence=fence, name=name, folder=str(guest.folder / "data"), **more)
        return await client.start_workflow(
            TakeChecksum.run, args=[guest.instance_id, order], id=f"job/{uuid4()}", task_queue=QUEUE
        )

    async with Worker(
        client, task_queue=QUEUE, workflows=[TakeChecksum, AskOtherwise], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        yield start


def expected() -> Checksum:
    return Checksum(sha256=hashlib.sha256(b"".join(bytes([each]) * SIZE for each in range(FILES))).hexdigest())


def folder_of(guest: Host, name: str) -> Path:
    return guest.folder / "root/var/lib/guest/jobs" / name


def times_begun(guest: Host) -> int:
    return len((guest.folder / "begun").read_text().splitlines())


def at_work(guest: Host) -> list[int]:
    """Processes of jobs, and what they have started."""
    return [*processes_below(guest.folder / "data"), *processes_below(folder_of(guest, ""))]


def begin_by_hand(guest: Host, name: str) -> None:
    """A second process of a job."""
    command = [sys.executable, "-m", "tests.accounts.proof", str(folder_of(guest, name))]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=60)


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - the disk tells nobody
            await asyncio.sleep(0.05)


async def in_the_middle(guest: Host, name: str) -> None:
    """Return when some of it is done."""
    await until((folder_of(guest, name) / PROGRESS).exists)


def go_on(guest: Host) -> None:
    """What waits in the middle does the rest."""
    (guest.folder / "go").touch()


async def result(handle: "WorkflowHandle[Any, Checksum]") -> Checksum:
    return await asyncio.wait_for(handle.result(), PATIENCE)


async def failure(handle: "WorkflowHandle[Any, Checksum]") -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as failed:
        await result(handle)
    cause = innermost(failed.value.cause)
    assert isinstance(cause, ApplicationError)
    return cause


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
async def test_another_worker_follows_what_one_that_died_has_begun(guest: Host, run: Any, number: int) -> None:
    handle = await run("sum", waits=True)
    await in_the_middle(guest, "sum")
    for _ in range(2):
        await asyncio.to_thread(guest.end, number)
        assert len(at_work(guest)) >= 4
        await asyncio.to_thread(guest.start)
    go_on(guest)
    assert await result(handle) == expected()
    assert times_begun(guest) == 1
    assert at_work(guest) == []


async def test_progress_is_told_with_the_heartbeats(guest: Host, run: Any) -> None:
    handle = await run("sum", waits=True)
    await in_the_middle(guest, "sum")
    async with asyncio.timeout(PATIENCE):
        while True:
            pending = (await handle.describe()).raw_description.pending_activities
            if pending and pending[0].HasField("heartbeat_details"):
                break
            await asyncio.sleep(0.1)
    go_on(guest)
    assert await result(handle) == expected()


async def test_a_job_is_begun_once_and_its_end_is_told_again(guest: Host, run: Any) -> None:
    first, second = await run("sum", waits=True), await run("sum", waits=True)
    await in_the_middle(guest, "sum")
    await asyncio.to_thread(begin_by_hand, guest, "sum")
    go_on(guest)
    assert await result(first) == await result(second) == expected()
    await asyncio.to_thread(guest.end, signal.SIGKILL)
    (guest.folder / "data/00").write_bytes(b"other")
    await asyncio.to_thread(begin_by_hand, guest, "sum")
    await asyncio.to_thread(guest.start)
    assert await result(await run("sum")) == expected()
    assert times_begun(guest) == 1


async def test_a_cancel_ends_all_of_its_processes(guest: Host, run: Any) -> None:
    handle = await run("sum", waits=True)
    await in_the_middle(guest, "sum")
    assert len(at_work(guest)) >= 4
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as failed:
        await result(handle)
    assert isinstance(failed.value.cause, CancelledError)
    await until(lambda: at_work(guest) == [])
    again = await failure(await run("sum"))  # nothing is begun a second time
    assert again.type == "EngineFailed"
    assert "ended before it was done" in again.message
    assert times_begun(guest) == 1


ENDS = {
    "refuse": ("BadRequest", "the folder is not what was ordered"),
    "raise": ("EngineFailed", "checksum failed: a page is damaged"),
    "die": ("EngineFailed", "checksum ended before it was done"),
}


@pytest.mark.parametrize("ends", ENDS)
async def test_a_failure_is_told_as_one_of_ours_and_told_again(guest: Host, run: Any, ends: str) -> None:
    for _ in range(2):
        error = await failure(await run("sum", ends=ends))
        assert (error.type, error.message) == ENDS[ends]
        assert at_work(guest) == []
    assert times_begun(guest) == 1


async def test_one_that_is_killed_is_told_as_failed(guest: Host, run: Any) -> None:
    handle = await run("sum", waits=True)
    await in_the_middle(guest, "sum")
    os.kill(int((guest.folder / "begun").read_text()), signal.SIGKILL)
    error = await failure(handle)
    assert (error.type, error.message) == ENDS["die"]
    assert not (folder_of(guest, "sum") / OUTCOME).exists()


async def test_a_newer_operation_ends_the_jobs_of_older_ones(guest: Host, run: Any) -> None:
    old = await run("sum", fence=4, waits=True)
    await in_the_middle(guest, "sum")
    await old.terminate("the test")
    client = await guest.temporal.client()
    newer = [guest.instance_id, Fenced(fence=5)]
    await client.execute_workflow(AskOtherwise.run, args=newer, id=f"job/{uuid4()}", task_queue=QUEUE)
    assert at_work(guest) == []
    assert not (folder_of(guest, "sum") / ORDER).exists()
    late = await failure(await run("sum", fence=4))
    assert late.type == "GuestProtocolError"  # as runbooks take a fence that the guest refuses
    assert times_begun(guest) == 1
    go_on(guest)
    assert await result(await run("sum", fence=5)) == expected()
    assert times_begun(guest) == 2
