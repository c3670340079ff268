"""Record the history of every runbook: `python -m tests.replay.record`, by hand, at each release.

On a real server; what the runbooks ask for is answered by `tests.replay.ports`. Recorded histories are never written
over: runs that began under that release may still be open.
"""

import asyncio
import logging
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from temporalio.worker import Worker

from contract.domain.access import AccessChange, ChangeAccessOrder
from contract.domain.accounts import NewDatabase, NewUser
from contract.domain.errors import BadRequest, EngineFailed, QuotaExceeded, ResourceFailed
from contract.domain.instance import Access, InstanceSpec, Locality
from contract.domain.operation import (
    CreateOrder,
    DeleteOrder,
    OperationKind,
    RestartOrder,
    SettleOrder,
)
from contract.domain.servers import MigrateOrder, PowerOrder
from contract.keys.sealing import SecretBox
from contract.names import CLOUD, RECORDS, lock_id, root_id, watch_id
from contract.names import RUNBOOKS as RUNBOOKS_QUEUE
from contract.ports.cloud import Networks, Offers, Servers
from contract.ports.configurations import Configurations
from contract.ports.identities import Identities
from contract.ports.images import Images
from contract.ports.records import Records, SweepOrder, Sweeps, Watches
from contract.ports.registration import verbs
from contract.ports.volumes import Volumes
from contract.process import leave
from contract.wire.codec import data_converter
from tests.replay import backups, changing
from tests.replay.backups import PlainBackupRecords, PlainObjects
from tests.replay.clients import connect
from tests.replay.images import PlainImages
from tests.replay.kept import HISTORIES, KEYRING
from tests.replay.ports import PlainCloud, PlainRecords
from tests.replay.script import Held, Script
from tests.replay.settings import PlainConfigurations, change_of_a_group, reconfigurations
from tests.replay.stage import CALLER, Stage
from tests.replay.tls import changes_of_tls
from tests.temporal import TemporalServer, temporal_server
from workflows.catalogue import RUNBOOKS
from workflows.instance.change_access import ChangeAccess
from workflows.instance.create import CreateInstance
from workflows.instance.delete import DeleteInstance
from workflows.instance.migrate import MigrateServer
from workflows.instance.power import RebootServer, StartInstance, StopInstance
from workflows.instance.restart import RestartInstance
from workflows.instance.root import DisableRoot, EnableRoot, RootRequest
from workflows.instance.settle import SettleInstance
from workflows.instance.watch import WatchInstance, WatchOrder
from workflows.runner import runner
from workflows.sweep import Sweep

log = logging.getLogger(__name__)


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


async def changes_of_access(stage: Stage) -> None:
    """A change that is made; and one that is taken back because Neutron refuses the rules."""
    change = AccessChange(is_public=True, allowed_cidrs=("192.0.2.0/24",))
    async with stage.guest() as instance_id:
        for name, ends in (("change-access", "completed"), ("change-access-taken-back", "failed")):
            if ends == "failed":
                stage.script.refuse("set_access_rules", BadRequest("Neutron does not take it"))
            order = ChangeAccessOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, change=change)
            await stage.keep(name, await stage.operate(ChangeAccess, order), ends)


async def power(stage: Stage) -> None:
    """A server is stopped, started, rebooted and moved; and what becomes of each where Nova does not do it."""
    refusals = {"stop": "require_server_stopped", "start": "require_server_running", "reboot": "reboot_server",
                "migrate": "require_server_migrated"}  # fmt: skip
    runbooks = {"stop": StopInstance, "start": StartInstance, "reboot": RebootServer, "migrate": MigrateServer}
    async with stage.guest() as instance_id:
        for name, failed in [(each, failed) for each in runbooks for failed in (False, True)]:
            if failed:
                stage.script.refuse(refusals[name], ResourceFailed("Nova does not do it"))
            kind = MigrateOrder if name == "migrate" else PowerOrder
            handle = await stage.operate(
                runbooks[name], kind(instance_id=instance_id, operation_id=uuid4(), caller=CALLER)
            )
            await stage.keep(*((f"{name}-failed", handle, "failed") if failed else (name, handle, "completed")))


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
    changes_of_access,
    power,
    reconfigurations,
    change_of_a_group,
    changes_of_tls,
    *backups.SCENES,
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
    cloud, records, images = PlainCloud(script), PlainRecords(script), PlainImages(script)
    threads = ThreadPoolExecutor(8)
    asked = [*verbs(Records, records), *verbs(Identities, records), *verbs(Watches, records), *verbs(Sweeps, records),
             *verbs(Configurations, PlainConfigurations(script))]  # fmt: skip
    asked += verbs(PlainBackupRecords, PlainBackupRecords(script))
    asked_of_cloud = [each for port in (Offers, Networks, Volumes, Servers) for each in verbs(port, cloud)]
    asked_of_cloud += [*verbs(Images, images), *verbs(PlainObjects, PlainObjects(script))]
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
