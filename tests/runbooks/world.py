"""Everything that a runbook touches, real, with faults that can be told: workers of ours in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from activities.records import RunQuestions
from activities.settings import ActivitySettings
from activities.worker import Services, build_workers
from contract.domain.access import AccessChange, ChangeAccessOrder
from contract.domain.accounts import NewDatabase, NewUser
from contract.domain.changes import RebuildOrder, ResizeVolumeOrder, UpgradeOrder
from contract.domain.instance import InstanceSpec
from contract.domain.operation import (
    Caller,
    CreateOrder,
    DeleteOrder,
    Order,
    ResizeFlavorOrder,
    RestartOrder,
    SettleOrder,
)
from contract.domain.servers import MigrateOrder, PowerOrder
from contract.keys.sealing import SecretBox
from contract.names import RUNBOOKS as RUNBOOKS_QUEUE
from contract.names import lock_id, watch_id
from contract.ports.images import Reimage
from records.engine import AsyncEngine
from records.reads import Reader
from records.settings import RecordsSettings
from tests.gateway_process import TestGateway
from tests.guests import TestGuest
from tests.runbooks.held import Held
from tests.stack import RunningStack
from tests.temporal import TemporalServer
from workflows.catalogue import RUNBOOKS
from workflows.instance.change_access import ChangeAccess
from workflows.instance.create import CreateInstance
from workflows.instance.delete import DeleteInstance
from workflows.instance.migrate import MigrateServer
from workflows.instance.rebuild import RebuildInstance
from workflows.instance.resize_flavor import ResizeFlavor
from workflows.instance.resize_volume import ResizeVolume
from workflows.instance.restart import RestartInstance
from workflows.instance.settle import SettleInstance
from workflows.instance.upgrade import UpgradeInstance
from workflows.runbook import Runbook
from workflows.runner import runner
from workflows.step_log import BEHIND_SECONDS

PROJECT = "p-of-the-test"
PATIENCE = 180.0  # seconds: many tests at once on two cores
REFUSAL = "the test refuses this step"


@dataclass
class Faults:
    """What is to go wrong at which step; and which steps were done, in order.

    A step of a guest may be named with the instance: `stop_datastore of <instance id>`.
    """

    refuse: set[str] = field(default_factory=set)
    lose: set[str] = field(default_factory=set)
    at: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    boots: dict[UUID, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    rebuilds: dict[UUID, Callable[[int, str], Awaitable[None]]] = field(default_factory=dict)
    booting: set["asyncio.Task[None]"] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.refuse.clear()
        self.lose.clear()
        self.at.clear()
        self.done.clear()
        self.boots.clear()

    def boot(self, instance_id: UUID) -> None:
        """A server is there: what waits to boot in it does."""
        if boots := self.boots.pop(instance_id, None):
            self.booting.add(asyncio.ensure_future(boots()))

    async def rebuild(self, order: Reimage) -> None:
        """A server has a new root disk: its guest boots again, once for each generation."""
        await self.rebuilds[order.instance_id](order.generation, order.datastore_version)

    async def booted(self) -> None:
        """Wait for those that are booting."""
        await asyncio.gather(*self.booting, return_exceptions=True)
        self.booting.clear()


class FaultLine(Interceptor):
    """Sits in front of every activity of every worker."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """Wrap."""
        return _Faulty(next, self.faults)


class _Faulty(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        """Refuse, or do it and lose the answer, once each; or do something else first."""
        name = self._told(input.fn.__name__)
        if name in self._faults.refuse:
            self._faults.refuse.discard(name)
            raise ApplicationError(REFUSAL, type="Refused", non_retryable=True)
        if name in self._faults.at:
            await self._faults.at.pop(name)()
        answer = await super().execute_activity(input)
        self._faults.done.append(input.fn.__name__)
        if name == "create_server":
            self._faults.boot(input.args[0].resources.instance_id)
        if name == "rebuild_server":
            await self._faults.rebuild(input.args[0])
        if name in self._faults.lose:
            self._faults.lose.discard(name)
            raise ConnectionError("the test loses this answer")
        return answer

    def _told(self, name: str) -> str:
        """The step with its instance, where something is to go wrong at just that."""
        of_guest = f"{name} of {activity.info().task_queue.removeprefix('guest/')}"
        told = {*self._faults.refuse, *self._faults.lose, *self._faults.at}
        return of_guest if of_guest in told else name


def about(instance_id: UUID) -> dict[str, Any]:
    """What every order on an instance says."""
    return {"instance_id": instance_id, "operation_id": uuid4(), "caller": Caller(project_id=PROJECT)}


@dataclass
class World:
    """The parts, and the verbs that tests use."""

    stack: RunningStack
    server: TemporalServer
    gateway: TestGateway
    client: Client
    engine: AsyncEngine
    reader: Reader
    faults: Faults
    template: Path
    database: str
    guests: list[TestGuest] = field(default_factory=list)

    def order(self, **more: Any) -> CreateOrder:
        """An order for one PostgreSQL with a database and a user."""
        instance_id = uuid4()
        box = SecretBox(self.server.keyring, instance_id)
        user = NewUser(name="amy", password=box.seal("secret"), databases=("app",))
        spec = InstanceSpec(name="db", datastore="postgresql", flavor="m1.tiny", volume_gib=1,
                            databases=(NewDatabase(name="app"),), users=(user,), **more)  # fmt: skip
        return CreateOrder(instance_id=instance_id, operation_id=uuid4(), caller=Caller(project_id=PROJECT), spec=spec)

    @asynccontextmanager
    async def held(self, step: str) -> AsyncIterator["Held"]:
        """The next `step` waits until it is let go, at the latest at the end of the block."""
        gate = Held()
        self.faults.at[step] = gate.wait
        try:
            yield gate
        finally:
            gate.let_go.set()

    def guest(self, instance_id: UUID) -> None:
        """The guest that boots in the instance's server, as soon as there is one."""
        guest = TestGuest(instance_id, self.template)
        self.guests.append(guest)

        async def boot() -> None:
            await guest.start(self.gateway, self.server.keyring, (FaultLine(self.faults),))

        async def rebuild(generation: int, series: str) -> None:
            if guest.generation != generation:
                await guest.shut_down(generation, series)
                self.faults.booting.add(asyncio.ensure_future(boot()))

        self.faults.boots[instance_id] = boot
        self.faults.rebuilds[instance_id] = rebuild

    async def start(self, order: CreateOrder) -> "WorkflowHandle[Any, Any]":
        """Start a creation, and its guest."""
        self.guest(order.instance_id)
        return await self.client.start_workflow(
            CreateInstance.run, order, id=lock_id(order.instance_id), task_queue=RUNBOOKS_QUEUE
        )

    async def created(self, **more: Any) -> UUID:
        """An instance that serves."""
        order = self.order(**more)
        try:
            await asyncio.wait_for((await self.start(order)).result(), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"not created in time: {self.steps(order.instance_id)}, {self.faults.done}") from None
        return order.instance_id

    async def restart(self, instance_id: UUID) -> "WorkflowHandle[Any, Any]":
        """Start a restart."""
        return await self.run(RestartInstance, RestartOrder(**about(instance_id)))

    async def run(self, runbook: Any, order: Order) -> "WorkflowHandle[Any, Any]":
        """Start a runbook under its lock."""
        return await self.client.start_workflow(runbook.run, order, id=lock_id(order.group), task_queue=RUNBOOKS_QUEUE)

    async def resize(self, instance_id: UUID, flavor: str = "m1.small") -> "WorkflowHandle[Any, Any]":
        """Start a change of flavor."""
        return await self.run(ResizeFlavor, ResizeFlavorOrder(flavor=flavor, **about(instance_id)))

    async def grow(self, instance_id: UUID, size_gib: int = 2) -> "WorkflowHandle[Any, Any]":
        """Start a growth of the volume."""
        return await self.run(ResizeVolume, ResizeVolumeOrder(size_gib=size_gib, **about(instance_id)))

    async def change_access(self, instance_id: UUID, change: AccessChange) -> "WorkflowHandle[Any, Any]":
        """Start a change of who may reach it."""
        return await self.run(ChangeAccess, ChangeAccessOrder(change=change, **about(instance_id)))

    async def power(self, runbook: Any, instance_id: UUID) -> "WorkflowHandle[Any, Any]":
        """Start a stop, a start, a reboot or a migration."""
        return await self.run(runbook, (MigrateOrder if runbook is MigrateServer else PowerOrder)(**about(instance_id)))

    async def rebuild(self, instance_id: UUID, image: str | None = "quiet-again") -> "WorkflowHandle[Any, Any]":
        """Start a rebuild."""
        return await self.run(RebuildInstance, RebuildOrder(image=image, **about(instance_id)))

    async def upgrade(self, instance_id: UUID, version: str = "15-patched") -> "WorkflowHandle[Any, Any]":
        """Start an upgrade."""
        return await self.run(UpgradeInstance, UpgradeOrder(version=version, **about(instance_id)))

    async def delete(self, instance_id: UUID, seconds: float = 60, project: str = PROJECT) -> None:
        """Ask for a deletion as the API does, and return when it is admitted; nobody waits longer than so many seconds."""
        order = DeleteOrder(instance_id=instance_id, operation_id=uuid4(), caller=Caller(project_id=project),
                            expires_at=datetime.now(UTC) + timedelta(seconds=seconds))  # fmt: skip
        await self.delete_under(lock_id(instance_id), order)

    async def delete_under(self, workflow_id: str, order: DeleteOrder) -> None:
        """Ask for a deletion under a workflow id."""
        start = WithStartWorkflowOperation(
            DeleteInstance.run,
            order,
            id=workflow_id,
            task_queue=RUNBOOKS_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        update: Any = Runbook.delete
        await self.client.execute_update_with_start_workflow(update, order, start_workflow_operation=start)

    async def settle(self, instance_id: UUID) -> None:
        """Put right what an operation left behind, as the sweep does."""
        await self.run(
            SettleInstance, SettleOrder(instance_ids=(instance_id,), caller=Caller(project_id=PROJECT, is_admin=True))
        )

    async def refusal(self, run: "WorkflowHandle[Any, Any]") -> BaseException | None:
        """What a run was refused with, or went on as a deletion after."""
        update: Any = Runbook.admitted
        try:
            await run.execute_update(update)
        except WorkflowUpdateFailedError as refused:
            return refused.cause
        return None

    async def taken_over(self, instance_id: UUID, since: float) -> float:
        """Wait until a deletion has the lock, or has ended; return how long that took since a moment of the loop's clock."""
        handle = self.client.get_workflow_handle(lock_id(instance_id))
        while True:
            found = await handle.describe()
            if found.workflow_type == "DeleteInstance":
                return asyncio.get_running_loop().time() - since
            await asyncio.sleep(0.05)

    async def ended(self, instance_id: UUID) -> None:
        """Wait until no run holds the instance's lock; however it ended."""
        for _ in range(5):  # a deletion continues as new
            with contextlib.suppress(WorkflowFailureError):
                await asyncio.wait_for(self.client.get_workflow_handle(lock_id(instance_id)).result(), PATIENCE)

    async def write(self, statement: str, *values: Any) -> None:
        """Change the records; in another thread, for a transaction of a worker in this process may have what it waits for."""
        await asyncio.to_thread(lambda: self.stack.sql(statement, *values, database=self.database))

    def instance(self, instance_id: UUID) -> dict[str, Any]:
        """The instance's row."""
        rows = self.stack.sql("SELECT status, fault_message, deleted FROM instances WHERE id = %s", instance_id,
                              database=self.database)  # fmt: skip
        return dict(zip(("status", "fault", "deleted"), rows[0], strict=True)) if rows else {}

    def seen(self, instance_id: UUID) -> tuple[Any, ...]:
        """What its watch last reported, and why."""
        statement = "SELECT operating_status, operating_status_reason FROM instances WHERE id = %s"
        return self.stack.sql(statement, instance_id, database=self.database)[0]

    def steps(self, instance_id: UUID) -> list[str]:
        """The steps that the instance's operations have begun."""
        statement = ("SELECT name FROM operation_steps JOIN operations ON id = operation_id WHERE instance_id = %s"
                     " ORDER BY fence, number")  # fmt: skip
        return [str(row[0]) for row in self.stack.sql(statement, instance_id, database=self.database)]

    async def notes(self, instance_id: UUID, so: Callable[[str | None], bool]) -> None:
        """Wait until it is so of the last step that was noted."""
        async with asyncio.timeout(30):
            while not so(next(iter(self.steps(instance_id)[-1:]), None)):  # noqa: ASYNC110 - the records tell nobody
                await asyncio.sleep(0.1)

    def slow(self, step: str) -> None:
        """Have a step take so long that it is noted before it ends."""
        self.faults.at[step] = lambda: asyncio.sleep(2 * BEHIND_SECONDS)

    def charges(self, instance_id: UUID) -> int:
        """Rows of quota that the instance is charged with."""
        found = self.stack.sql("SELECT count(*) FROM charges WHERE thing_id = %s", instance_id, database=self.database)
        return int(found[0][0])

    def open_operations(self, instance_id: UUID) -> int:
        """Operations that the records hold for open."""
        statement = ("SELECT count(*) FROM operations JOIN operation_members ON operation_id = id"
                     " WHERE instance_id = %s AND state = 'RUNNING'")  # fmt: skip
        return int(self.stack.sql(statement, instance_id, database=self.database)[0][0])

    async def belongings(self, instance_id: UUID) -> list[str]:
        """What OpenStack has of the instance."""
        return await asyncio.to_thread(self.stack.belongings, instance_id)

    async def is_watched(self, instance_id: UUID) -> bool:
        """Whether the instance's watch runs."""
        questions = RunQuestions(self.client)
        try:
            found = await self.client.get_workflow_handle(f"watch/{instance_id}").describe()
        except Exception:
            return False
        return await questions.is_open(f"watch/{instance_id}", found.run_id or "")

    async def end_watch(self, instance_id: UUID) -> None:
        """Have nobody look after the instance."""
        await self.client.get_workflow_handle(watch_id(instance_id)).terminate("the test")

    async def end_guests(self) -> None:
        """After each test: its guests, whatever state they are in, and their servers, which count in the cloud's quota."""
        await self.faults.booted()
        while self.guests:
            guest = self.guests.pop()
            await guest.end()
            await asyncio.to_thread(self._delete_servers, guest.instance_id)

    def _delete_servers(self, instance_id: UUID) -> None:
        compute = self.stack.cloud("coffer").compute
        for each in compute.servers(details=False, name=f"^coffer-{instance_id}"):
            compute.delete_server(each, ignore_missing=True)


@asynccontextmanager
async def workers(world: World) -> AsyncIterator[None]:
    """The workflow worker and the activity workers, with faults in front of them."""
    settings = ActivitySettings(cloud="coffer", guest_gateway=world.gateway.address,
                                guest_gateway_ca=world.gateway.settings.gateway_ca, default_network="databases",
                                external_network="public")  # fmt: skip
    services = Services(world.client, world.engine, world.server.keyring, settings, RecordsSettings())
    runbooks = Worker(world.client, task_queue=RUNBOOKS_QUEUE, workflows=list(RUNBOOKS), workflow_runner=runner())
    async with AsyncExitStack() as stack:
        for each in (runbooks, *build_workers(services, (FaultLine(world.faults),))):
            each_worker: Worker = each
            await stack.enter_async_context(each_worker)
        yield
