"""Record the history of every runbook: `python -m tests.replay.record`, by hand, at each release.

On a real server; what the runbooks ask for is answered by `tests.replay.ports`. Recorded histories are never written
over: runs that began under that release may still be open.
"""

import asyncio
import contextlib
import json
import logging
import tempfile
import tomllib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import Worker

from contract.domain.accounts import NewDatabase, NewUser
from contract.domain.errors import EngineFailed, QuotaExceeded, ResourceFailed
from contract.domain.instance import Access, InstanceSpec, Locality
from contract.domain.operation import (
    Caller,
    CreateOrder,
    DeleteOrder,
    OperationKind,
    Order,
    RestartOrder,
    SettleOrder,
)
from contract.keys.sealing import SecretBox
from contract.names import CLOUD, RECORDS, guest_queue, lock_id, root_id, watch_id
from contract.names import RUNBOOKS as RUNBOOKS_QUEUE
from contract.ports.cloud import Networks, Offers, Servers
from contract.ports.configurations import Configurations
from contract.ports.identities import Identities
from contract.ports.records import Records, SweepOrder, Sweeps, Watches
from contract.ports.registration import verbs
from contract.ports.volumes import Volumes
from contract.process import leave
from contract.wire.codec import data_converter
from tests.replay import changing
from tests.replay.clients import connect
from tests.replay.kept import HISTORIES, KEYRING
from tests.replay.ports import PlainCloud, PlainGuest, PlainRecords
from tests.replay.script import Held, Script
from tests.replay.settings import PlainConfigurations, PlainSettings, change_of_a_group, reconfigurations
from tests.temporal import TemporalServer, own_keyring, temporal_server
from workflows.catalogue import RUNBOOKS
from workflows.instance.create import CreateInstance
from workflows.instance.delete import DeleteInstance
from workflows.instance.restart import RestartInstance
from workflows.instance.root import DisableRoot, EnableRoot, RootRequest
from workflows.instance.settle import SettleInstance
from workflows.instance.watch import WatchInstance, WatchOrder
from workflows.runbook import Runbook
from workflows.runner import runner
from workflows.sweep import Sweep

CALLER = Caller(project_id="project", user_id="amy", request_id="req-1")
PATIENCE = 60
log = logging.getLogger(__name__)
Handle = WorkflowHandle[Any, Any]


@dataclass
class Stage:
    """The parts, the verbs of the scenes, and the histories that are kept."""

    server: TemporalServer
    client: Client
    script: Script
    records: PlainRecords
    folder: Path
    threads: ThreadPoolExecutor

    @asynccontextmanager
    async def guest(self) -> AsyncIterator[UUID]:
        """An instance whose guest listens."""
        instance_id = uuid4()
        own = own_keyring(KEYRING, instance_id)
        client = await connect(self.server, data_converter(own))
        guest = PlainGuest(self.script, SecretBox(own, instance_id))
        asked = [*verbs(PlainGuest, guest), *verbs(PlainSettings, PlainSettings(self.script))]
        async with Worker(
            client, task_queue=guest_queue(instance_id), activities=asked, activity_executor=self.threads,
        ):  # fmt: skip
            yield instance_id

    async def start(self, runbook: Any, order: Any, workflow_id: str) -> Handle:
        """Start a runbook."""
        return await self.client.start_workflow(runbook.run, order, id=workflow_id, task_queue=RUNBOOKS_QUEUE)

    async def operate(self, runbook: Any, order: Order) -> Handle:
        """Start an operation as the API does, and return when it is admitted."""
        start: Any = WithStartWorkflowOperation(
            runbook.run,
            order,
            id=lock_id(order.group),
            task_queue=RUNBOOKS_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
        admitted: Any = Runbook.admitted
        with contextlib.suppress(WorkflowUpdateFailedError):  # a refusal; the run's end says the same
            await self.client.execute_update_with_start_workflow(admitted, start_workflow_operation=start)
        handle: Handle = await start.workflow_handle()
        return handle

    async def delete(self, instance_id: UUID) -> None:
        """Ask for a deletion as the API does, and return when it is admitted."""
        order = DeleteOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER)
        start: Any = WithStartWorkflowOperation(
            DeleteInstance.run,
            order,
            id=lock_id(instance_id),
            task_queue=RUNBOOKS_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        deletion: Any = Runbook.delete
        await self.client.execute_update_with_start_workflow(deletion, order, start_workflow_operation=start)

    async def keep(self, name: str, handle: Handle, ends: str) -> None:
        """Wait for the end of exactly this run, which must be the expected one, and write its history."""
        run_id = handle.run_id or handle.first_execution_run_id or (await handle.describe()).run_id
        run = self.client.get_workflow_handle(handle.id, run_id=run_id)
        with contextlib.suppress(WorkflowFailureError, WorkflowContinuedAsNewError):
            await asyncio.wait_for(run.result(follow_runs=False), PATIENCE)
        history = await run.fetch_history()
        ended = str(history.events[-1].WhichOneof("attributes"))
        if ended != f"workflow_execution_{ends}_event_attributes":
            raise AssertionError(f"{name} ended with {ended}, not as {ends}")
        lines = [json.dumps(each, separators=(",", ":")) for each in history.to_json_dict()["events"]]
        (self.folder / f"{name}.json").write_text('{"events":[\n' + ",\n".join(lines) + "\n]}\n")


# -- the scenes ----------------------------------------------------------------------------------------------------------


def creation(instance_id: UUID, **more: Any) -> CreateOrder:
    """An order for a PostgreSQL with a database and a user."""
    user = NewUser(name="amy", password=SecretBox(KEYRING, instance_id).seal("secret"), databases=("app",))
    spec = InstanceSpec(name="db", datastore="postgresql", flavor="m1.tiny", volume_gib=1,
                        databases=(NewDatabase(name="app"),), users=(user,), **more)  # fmt: skip
    return CreateOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, spec=spec)


def restart(instance_id: UUID) -> RestartOrder:
    """An order to restart."""
    return RestartOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER)


async def create(stage: Stage) -> None:
    """A creation with every step."""
    async with stage.guest() as instance_id:
        order = creation(instance_id, locality=Locality.ANTI_AFFINITY, access=Access(is_public=True))
        await stage.keep("create", await stage.operate(CreateInstance, order), "completed")


async def create_that_is_refused(stage: Stage) -> None:
    """Refused before anything was touched."""
    stage.script.refuse("admit", QuotaExceeded("Quota exceeded for resources: ['instances']."))
    handle = await stage.operate(CreateInstance, creation(uuid4()))
    await stage.keep("create-refused", handle, "completed")


async def create_that_fails(stage: Stage) -> None:
    """Failed half-way, and torn down."""
    async with stage.guest() as instance_id:
        stage.script.refuse("initialise_datastore", EngineFailed("initdb failed"))
        handle = await stage.operate(CreateInstance, creation(instance_id))
        await stage.keep("create-failed", handle, "failed")


async def create_that_is_cancelled(stage: Stage) -> None:
    """Cancelled while a server was made."""
    held = Held()
    stage.script.at("create_server", held.hold)
    handle = await stage.operate(CreateInstance, creation(uuid4()))
    await held.reached()
    await handle.cancel()
    held.go_on()
    await stage.keep("create-cancelled", handle, "canceled")


async def create_that_is_deleted(stage: Stage) -> None:
    """Deleted while it was built: both runs of the chain."""
    held, instance_id = Held(), uuid4()
    stage.script.at("create_server", held.hold)
    handle = await stage.operate(CreateInstance, creation(instance_id))
    await held.reached()
    await stage.delete(instance_id)
    held.go_on()
    await stage.keep("create-deleted", handle, "continued_as_new")
    await stage.keep("delete-of-a-creation", stage.client.get_workflow_handle(lock_id(instance_id)), "completed")


async def create_that_hangs(stage: Stage) -> None:
    """Deleted while Nova answers nothing: the step is left behind, and the deletion deletes twice."""
    held, instance_id = Held(), uuid4()
    stage.script.at("create_server", held.hold)
    handle = await stage.operate(CreateInstance, creation(instance_id))
    await held.reached()
    await stage.delete(instance_id)
    await stage.keep("create-left-behind", handle, "continued_as_new")
    held.go_on()
    successor = stage.client.get_workflow_handle(lock_id(instance_id))
    await stage.keep("delete-of-what-comes-late", successor, "completed")


async def delete(stage: Stage) -> None:
    """A deletion; and one after which something is left."""
    order = DeleteOrder(instance_id=uuid4(), operation_id=uuid4(), caller=CALLER)
    await stage.keep("delete", await stage.operate(DeleteInstance, order), "completed")
    stage.script.refuse("delete_ports_of", ResourceFailed("the port stays"))
    order = DeleteOrder(instance_id=uuid4(), operation_id=uuid4(), caller=CALLER)
    await stage.keep("delete-failed", await stage.operate(DeleteInstance, order), "failed")


async def restarts(stage: Stage) -> None:
    """A restart; and one whose engine does not stop."""
    async with stage.guest() as instance_id:
        await stage.keep("restart", await stage.operate(RestartInstance, restart(instance_id)), "completed")
        stage.script.refuse("stop_datastore", EngineFailed("the engine does not stop"))
        await stage.keep("restart-failed", await stage.operate(RestartInstance, restart(instance_id)), "failed")


async def restart_that_makes_way(stage: Stage) -> None:
    """Nobody answers for the guest: one restart is cancelled, and one deleted."""
    instance_id = uuid4()
    handle = await stage.operate(RestartInstance, restart(instance_id))
    await handle.cancel()
    await stage.keep("restart-cancelled", handle, "canceled")
    handle = await stage.operate(RestartInstance, restart(instance_id))
    await stage.delete(instance_id)
    await stage.keep("restart-deleted", handle, "continued_as_new")
    await stage.keep("delete-of-a-restart", stage.client.get_workflow_handle(lock_id(instance_id)), "completed")


async def settle(stage: Stage) -> None:
    """What is declared for each kind of interrupted operation."""
    for kind in (each for each in OperationKind if each is not OperationKind.SETTLE):
        async with stage.guest() as instance_id:
            stage.records.interrupted = kind
            # as the sweep has it: without an operation's id
            order = SettleOrder(instance_ids=(instance_id,), caller=CALLER)
            handle = await stage.start(SettleInstance, order, lock_id(instance_id))
            await stage.keep(f"settle-{kind.value}", handle, "completed")


async def root(stage: Stage) -> None:
    """Root is given, taken, and refused by the guest."""
    async with stage.guest() as instance_id:
        for name, runbook, ends in (
            ("enable-root", EnableRoot, "completed"),
            ("disable-root", DisableRoot, "completed"),
            ("enable-root-refused", EnableRoot, "failed"),
        ):
            if ends == "failed":
                stage.script.refuse("enable_root", EngineFailed("the engine refuses"))
            request = RootRequest(instance_id=instance_id, request_id=name, caller=CALLER)
            await stage.keep(name, await stage.start(runbook, request, root_id(instance_id, name)), ends)


async def watch(stage: Stage) -> None:
    """News, then an hour without: the first run ends. Its successor meets the same, so it is told to stop."""
    async with stage.guest() as instance_id:
        handle = await stage.start(WatchInstance, WatchOrder(instance_id=instance_id), watch_id(instance_id))
        await stage.keep("watch", handle, "continued_as_new")
        await stage.client.get_workflow_handle(handle.id).terminate("recorded")


async def sweep(stage: Stage) -> None:
    """One sweep: the activity comes to its end fifty times, and the run goes on as another one."""
    handle = await stage.start(Sweep, SweepOrder(verb="mirror_flavors"), f"sweep/{uuid4()}")
    await stage.keep("sweep", handle, "continued_as_new")
    await stage.client.get_workflow_handle(handle.id).terminate("recorded")


SCENES = (
    create,
    create_that_is_refused,
    create_that_fails,
    create_that_is_cancelled,
    create_that_is_deleted,
    create_that_hangs,
    delete,
    restarts,
    *changing.SCENES,
    reconfigurations,
    change_of_a_group,
    restart_that_makes_way,
    settle,
    root,
    watch,
    sweep,
)


# -- the recording -------------------------------------------------------------------------------------------------------


async def record(server: TemporalServer, folder: Path) -> None:
    """Play every scene with the workers of the product's queues."""
    client = await connect(server, data_converter(KEYRING))
    script = Script()
    cloud, records = PlainCloud(script), PlainRecords(script)
    threads = ThreadPoolExecutor(8)
    asked = [*verbs(Records, records), *verbs(Identities, records), *verbs(Watches, records), *verbs(Sweeps, records),
             *verbs(Configurations, PlainConfigurations(script))]  # fmt: skip
    asked_of_cloud = [each for port in (Offers, Networks, Volumes, Servers) for each in verbs(port, cloud)]
    async with AsyncExitStack() as stack:
        for worker in (
            Worker(client, task_queue=RUNBOOKS_QUEUE, workflows=list(RUNBOOKS), workflow_runner=runner()),
            Worker(client, task_queue=CLOUD, activities=asked_of_cloud, activity_executor=threads),
            Worker(client, task_queue=RECORDS, activities=asked),
        ):
            await stack.enter_async_context(worker)
        stage = Stage(server, client, script, records, folder, threads)
        for scene in SCENES:
            await scene(stage)
            script.require_played()


def release() -> str:
    """The version of this tree."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def main() -> int:
    """Record all histories, and only then put them into their place."""
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("temporalio").setLevel("ERROR")  # scenes fail on purpose
    target = HISTORIES / release()
    if target.exists():
        log.error("%s exists; recorded histories are not written over", target)
        return 1
    with tempfile.TemporaryDirectory(prefix="coffer-histories-") as name:
        made = Path(name) / "histories"
        made.mkdir()
        with temporal_server(Path(name), KEYRING) as server:
            asyncio.run(record(server, made))
        for each in sorted(made.iterdir()):
            target.mkdir(parents=True, exist_ok=True)
            with (target / each.name).open("x") as file:
                file.write(each.read_text())
    return 0


def guarded() -> int:
    """The exit code, whatever happens."""
    try:
        return main()
    except Exception:
        log.exception("nothing was recorded")
        return 1


if __name__ == "__main__":
    leave(guarded())
