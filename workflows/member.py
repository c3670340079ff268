"""One member of a group that a run works on: its steps in OpenStack, in the records and in its guest."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypedDict, TypeVar, Unpack, overload
from uuid import UUID

from temporalio.exceptions import ActivityError, FailureError
from temporalio.exceptions import TimeoutError as StepTimedOut

from contract.domain.backups import BackupChange, BackupFacts
from contract.domain.configurations import Attachment, ConfigurationGroup
from contract.domain.errors import EngineFailed, innermost
from contract.domain.instance import Access, Address, Flavor, InstanceFacts
from contract.domain.operation import OperationKind, OperationState, ResourceChanges
from contract.domain.resources import Part, Resource, ResourceKind
from contract.domain.tls import TlsChange
from contract.names import CLOUD, RECORDS
from contract.ports.guest import Fenced, GuestInfo, Watching
from contract.ports.waits import Wait, wait_of
from workflows.step_log import StepLog
from workflows.steps import (
    GUEST,
    POLL,
    POLL_LONG,
    QUICK,
    REACH,
    AsyncVerb,
    GuestOf,
    Patience,
    PlainVerb,
    Steps,
    ask_guest,
)

PATIENCE: Mapping[Wait, Patience] = {Wait.NONE: QUICK, Wait.LONG: POLL, Wait.LONGER: POLL_LONG}

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")
Told = TypeVar("Told", bound=Fenced)


class Learnt(TypedDict, total=False):
    """What a step may find out beside resources, see `ResourceChanges`."""

    addresses: tuple[Address, ...]
    flavor: Flavor
    access: Access
    attachment: Attachment | None
    configured: datetime | None
    restart_required: bool | None
    volume_gib: int
    version_id: UUID
    tls: TlsChange
    backup: BackupChange


@dataclass(frozen=True)
class Member:
    """An instance as it was when the operation began, and what is done about it; each step is noted."""

    instance: InstanceFacts
    interrupted: OperationKind | None
    """Kind of the operation that was ended from outside, and that this one has to put right."""
    operation_id: UUID
    fence: int
    """The operation's number among those of the group."""
    steps: Steps
    log: StepLog
    wanted: ConfigurationGroup | None = None
    """The configuration group that the operation is to give it."""
    restores: BackupFacts | None = None
    """The backup whose data it is to have."""
    backup: BackupFacts | None = None
    """One of it that is not complete."""

    @property
    def id(self) -> UUID:
        """The instance's id."""
        return self.instance.id

    async def cloud(self, step: PlainVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        """Have OpenStack do one step; a wait is asked again until it is over."""
        async with self.step(step.__name__):
            return await self.steps.ask(CLOUD, PATIENCE[wait_of(step)], step, *args, **kwargs)

    async def records(self, step: AsyncVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        """Have the records, or who acts for them, do one step."""
        async with self.step(step.__name__):
            return await self.steps.ask(RECORDS, QUICK, step, *args, **kwargs)

    @overload
    async def guest(
        self, step: Callable[Concatenate[Any, Told, ...], Awaitable[Answer]], order: Told, patience: Patience = GUEST
    ) -> Answer: ...

    @overload
    async def guest(self, step: Callable[[Any, Told], Answer], order: Told, patience: Patience = GUEST) -> Answer: ...

    async def guest(self, step: Any, order: Fenced, patience: Patience = GUEST) -> Any:
        """Have the guest do one step, under this operation's number."""
        fenced = order.model_copy(update={"fence": self.fence})
        async with self.step(step.__name__):
            answer = await ask_guest(self._guest, patience, step, fenced)
        if isinstance(answer, GuestInfo):  # whoever starts an engine learns whether it has all of its settings now
            self.learn(restart_required=answer.restart_required)
        return answer

    async def require_guest(self) -> None:
        """Ask the guest how its engine is: one that stays away is told before anything was stopped."""
        try:
            async with self.step("get_health"):
                await ask_guest(self._guest, REACH, Watching.get_health)
        except ActivityError as error:
            if not isinstance(innermost(error), StepTimedOut):
                raise
            raise EngineFailed("the guest does not answer; nothing was stopped") from None

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """Note a step and how it ended."""
        number = self.log.begin(name, self.id)
        outcome = OperationState.CANCELLED
        try:
            yield
            outcome = OperationState.DONE
        except FailureError:
            outcome = OperationState.FAILED
            raise
        finally:
            self.log.end(number, outcome)

    @property
    def server_id(self) -> str:
        """The server that the database runs on: the newest generation; the admission has required one."""
        return self.instance.current(ResourceKind.SERVER)

    def part(self, kind: ResourceKind) -> Part:
        """The instance's resource of a kind, in the main role."""
        return Part(instance_id=self.id, kind=kind)

    def learn(self, *resources: Resource, **new: Unpack[Learnt]) -> None:
        """Have the records keep what a step found out about the instance."""
        self.log.learn(ResourceChanges(instance_id=self.id, resources=resources, **new))

    @property
    def _guest(self) -> GuestOf:
        return GuestOf(self.steps, self.id)
