"""What every runbook shares: lock, admission, steps that are noted, close; and how it answers those who wait."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar, ParamSpec, TypeVar
from uuid import UUID, uuid5

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError

from workflows.domain.errors import REFUSALS, Expired, NotFound, Refused, innermost
from workflows.domain.instance import InstanceStatus
from workflows.domain.operation import (
    Admission,
    AdmissionRequest,
    Close,
    CreateOrder,
    DeleteOrder,
    Learnt,
    OperationKind,
    OperationState,
    Order,
    StepNote,
)
from workflows.names import CLOUD, RECORDS, lock_id
from workflows.ports.guest import Health, Watching
from workflows.ports.identities import GuestExpectation, Identities
from workflows.ports.records import Records, Watches
from workflows.steps import (
    BOOT,
    GUEST,
    PING,
    POLL,
    PROMPT,
    QUICK,
    SURE,
    GuestOf,
    PlainVerb,
    Steps,
    ask_guest,
    lost_fence,
    sentence,
    type_of,
    until,
)

DELETION = "DeleteInstance"  # by its name: the frame knows none of the runbooks

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


class Runbook:
    """The frame of an operation on a group: lock, admit, do, close.

    Whoever waits asks the update `admitted`. A deletion asks the update `delete`: it is admitted at any time, ends the
    work at the running step, and goes on as `DeleteInstance` under the same lock.
    """

    kind: ClassVar[OperationKind]

    def __init__(self) -> None:
        self.steps = Steps()
        self._order: Order | None = None
        self._admission: Admission | None = None
        self._refusal: ApplicationError | None = None
        self._running: str | None = None
        self._done: list[str] = []
        self._learnt: Learnt | None = None
        self._failed = False  # whether the running step has failed
        self._failure: BaseException | None = None
        self._deletion: DeleteOrder | None = None
        self._deletion_admission: Admission | None = None
        self._door = asyncio.Lock()  # deletions are admitted one at a time

    # -- what others may ask -----------------------------------------------------------------------------------------

    @workflow.update
    async def admitted(self) -> Admission:
        """Wait for the admission; fails with the refusal."""
        return await self.answer()

    async def answer(self) -> Admission:
        """Return the admission or raise the refusal, when there is one or the other."""
        await workflow.wait_condition(lambda: self._admission is not None or self._refusal is not None)
        if self._refusal is not None:
            raise self._refusal
        assert self._admission is not None  # noqa: S101 - the condition above
        return self._admission

    @workflow.update(name="delete")
    async def delete(self, order: DeleteOrder) -> Admission:
        """Admit a deletion of what this run works on."""
        admission = await self.accept_deletion(order)
        caller, instance = order.caller, admission.instance
        if order.instance_id != instance.id or not (caller.is_admin or caller.project_id == instance.project_id):
            raise NotFound(f"Resource {order.instance_id} cannot be found.")
        return admission

    async def accept_deletion(self, order: DeleteOrder) -> Admission:
        """Admit the deletion and end the work; the main method hands over. A second one is content with the first."""
        if workflow.info().workflow_id != lock_id(order.group):
            raise Refused(f"this run does not hold the lock {lock_id(order.group)}")
        await workflow.wait_condition(lambda: self._admission is not None or self._refusal is not None)
        async with self._door:
            if self._deletion_admission is None:
                self._deletion_admission = await self.admission_of(order, OperationKind.DELETE)
                self._deletion = order
                self.steps.hand_over()
            return self._deletion_admission

    # -- the way of a run --------------------------------------------------------------------------------------------

    async def operate(self, order: Order, work: Callable[[], Awaitable[None]]) -> str | None:
        """Open the operation and do the work; then answer everybody, and end as what it was or make way.

        A run whose order is refused has not failed: nobody has to look at it. It completes, and returns the refusal.
        """
        try:
            await self.open(order)
        except FailureError as error:
            await self._make_way()
            return self._refused(error)
        try:
            await work()
        except (FailureError, asyncio.CancelledError) as error:
            await self._end_badly(error)
        await self._make_way()
        if self._failure is not None:
            raise self._failure
        return None

    def _refused(self, error: FailureError) -> str:
        if type_of(error) not in REFUSALS:
            raise error
        text = f"refused: {sentence(error)}"
        workflow.set_current_details(text)
        return text

    async def _end_badly(self, error: BaseException) -> None:
        self.steps.may_stop = False  # the last writes only go forward
        await self.all_answered()
        if self._deletion is not None:
            return
        if lost_fence(error):  # somebody else works here now: touch nothing
            raise error
        try:
            await self.give_up(error)
        except (FailureError, asyncio.CancelledError):
            await self.all_answered()
            if self._deletion is None:
                raise

    async def give_up(self, error: BaseException) -> None:
        """What a failure or a cancel leads to; nothing else has taken over."""
        await self.close_failed(error, InstanceStatus.ACTIVE)

    async def _make_way(self) -> None:
        """Answer everybody, and go on as the deletion that was admitted meanwhile, if one was."""
        await self.all_answered()  # the last await: a deletion that is being admitted must not be lost
        if self._deletion is not None:
            deletion = self._deletion.model_copy(update={"expires_at": None, "quiet_at": self.steps.quiet_at})
            workflow.continue_as_new(args=[deletion], workflow=DELETION)

    # -- lock and admission ------------------------------------------------------------------------------------------

    def lock(self, order: Order) -> None:
        """Refuse to run under another id than the lock of what the order touches; make the run findable."""
        self._order = order
        if workflow.info().workflow_id != lock_id(order.group):
            self.refuse(Refused(f"this runbook must run under the workflow id {lock_id(order.group)}"))
        tell(
            ProjectId=order.caller.project_id,
            InstanceId=str(order.instance_id),
            InstanceName=order.spec.name if isinstance(order, CreateOrder) else "",
            OperationId=str(operation_id(order, self.kind)),
            RequestId=order.caller.request_id,
        )
        if order.expires_at is not None and workflow.now() > order.expires_at and not is_continued():
            self.refuse(Expired("nobody waits for this operation any more; nothing was touched"))

    async def admit(self, order: Order, **more: Any) -> Admission:
        """Have the records open the operation, or end the run with their refusal."""
        try:
            self._admission = await self.admission_of(order, self.kind, **more)
        except FailureError as error:
            self.refuse(error)
        instance = self.admission.instance
        tell(Datastore=instance.version.datastore, InstanceName=instance.name)
        return self.admission

    async def open(self, order: Any) -> None:
        """Lock and admit."""
        self.lock(order)
        await self.admit(order)

    async def admission_of(self, order: Order, kind: OperationKind, **more: Any) -> Admission:
        """Ask the records to admit an operation in the name of this run."""
        info = workflow.info()
        request = AdmissionRequest(
            kind=kind,
            operation_id=operation_id(order, kind),
            instance_id=order.instance_id,
            group_id=order.group,
            caller=order.caller,
            expires_at=order.expires_at,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            first_execution_run_id=info.first_execution_run_id,
            **more,
        )
        # a run that goes on from another was admitted there: nobody waits, and nothing may come between
        return await Steps().ask(RECORDS, SURE if is_continued() else PROMPT, Records.admit, request)

    def refuse(self, error: BaseException) -> None:
        """End the run before anything was touched; those who wait hear why."""
        cause = innermost(error)
        if not (isinstance(cause, ApplicationError) and cause.non_retryable):
            cause = ApplicationError("the operation could not be admitted in time", type="Unavailable")
        self._refusal = ApplicationError(
            cause.message, type=cause.type, non_retryable=True, category=ApplicationErrorCategory.BENIGN
        )
        raise self._refusal from None

    @property
    def admission(self) -> Admission:
        """The records' answer; only asked after it was given."""
        if self._admission is None:
            raise Refused("the operation was not admitted")
        return self._admission

    @property
    def fence(self) -> int:
        """The operation's number among those of its group."""
        return self.admission.fence

    @property
    def instance_id(self) -> UUID:
        """The instance that the operation touches."""
        return self.admission.instance.id

    # -- steps -------------------------------------------------------------------------------------------------------

    async def cloud(self, step: PlainVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        """Have OpenStack do one step; a wait (`require_…`) is asked again until it is over."""
        patience = POLL if step.__name__.startswith("require_") else QUICK
        async with self.step(step.__name__):
            return await self.steps.ask(CLOUD, patience, step, *args, **kwargs)

    async def guest(self, step: PlainVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        """Have the instance's guest do one step."""
        async with self.step(step.__name__):
            return await ask_guest(self._guest, GUEST, step, *args, **kwargs)

    async def guest_at_boot(self, step: PlainVerb[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        """Have the guest do its first step, as soon as its server has booted."""
        async with self.step(step.__name__):
            return await ask_guest(self._guest, BOOT, step, *args, **kwargs)

    async def health(self) -> Health:
        """Ask the guest how its engine is; one that is away is found out soon."""
        async with self.step("get_health"):
            return await ask_guest(self._guest, PING, Watching.get_health)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """Note the step; one that fails is told as such when the next one begins."""
        await self.begin(name)
        try:
            yield
        except FailureError:
            self._failed = True
            raise

    @property
    def _guest(self) -> GuestOf:
        return GuestOf(self.steps, self.instance_id)

    async def expect_guest(self) -> int:
        """Let the guest of the server that is built next enrol, and whoever was the guest before no more."""
        async with self.step("expect_guest"):
            expectation = GuestExpectation(instance_id=self.instance_id, operation_id=self.admission.operation_id,
                                           fence=self.fence)  # fmt: skip
            return await self.steps.ask(RECORDS, QUICK, Identities.expect_guest, expectation)

    async def start_watch(self) -> None:
        """Have somebody look after the instance from now on."""
        async with self.step("start_watch"):
            await self.steps.ask(RECORDS, QUICK, Watches.start_watch, self.instance_id)

    async def begin(self, name: str) -> None:
        """Note that the running step has ended and this one begins: for the tenant, and on the run's page."""
        ended, self._running = self._running, name.replace("_", " ")
        failed, self._failed = self._failed, False
        if ended:
            self._done.append(f"{ended} {'✗' if failed else '✓'}")
        self._show()
        await self._note(StepNote(operation_id=self.admission.operation_id, fence=self.fence, ended=ended, failed=failed,
                                  begins=self._running, learnt=self._learnt))  # fmt: skip
        self._learnt = None

    async def _note(self, note: StepNote) -> None:
        await self.steps.ask(RECORDS, SURE, Records.note_step, note)

    def learn(self, **what: Any) -> None:
        """Have the next note carry what a step found out."""
        known = self._learnt.model_dump(exclude_none=True) if self._learnt else {}
        self._learnt = Learnt(**{**known, **what})

    def _show(self) -> None:
        lines = [f"- {step}" for step in self._done]
        if self._running:
            lines.append(f"- **{self._running}** …")
        workflow.set_current_details("\n".join(lines))

    # -- close -------------------------------------------------------------------------------------------------------

    async def close(
        self, state: OperationState, status: InstanceStatus | None, *, reason: str | None = None, deleted: bool = False
    ) -> None:
        """Write the last word; what was learnt since the last note goes first."""
        if self._learnt is not None or self._running:
            await self._note(StepNote(operation_id=self.admission.operation_id, fence=self.fence, ended=self._running,
                                      failed=self._failed, learnt=self._learnt))  # fmt: skip
        if self._running:
            self._done.append(f"{self._running} {'✗' if self._failed else '✓'}")
        self._running = reason
        self._show()
        word = Close(operation_id=self.admission.operation_id, fence=self.fence, state=state, status=status,
                     reason=reason, deleted=deleted)  # fmt: skip
        await self.steps.ask(RECORDS, SURE, Records.close, word)

    async def close_failed(self, error: BaseException, status: InstanceStatus, reason: str | None = None) -> None:
        """Close with the reason, and with what the instance is now; the run then ends as what it was."""
        why = reason or sentence(error)
        cancelled = isinstance(error, asyncio.CancelledError)
        state = OperationState.CANCELLED if cancelled else OperationState.FAILED
        await self.close(state, status, reason=why)
        kind = type_of(error) or "Failed"
        self._failure = error if cancelled else ApplicationError(why, type=kind, non_retryable=True)

    async def all_answered(self) -> None:
        """Wait until everybody who asked this run has been answered; a cancel does not shorten it."""
        await until(workflow.all_handlers_finished)


def tell(**attributes: str) -> None:
    """Set search attributes of the run; empty ones are left out."""
    pairs = [SearchAttributeKey.for_keyword(name).value_set(value) for name, value in attributes.items() if value]
    workflow.upsert_search_attributes(pairs)


def is_continued() -> bool:
    """Whether this run goes on from another one, which was admitted."""
    return workflow.info().continued_run_id is not None


def operation_id(order: Order, kind: OperationKind) -> UUID:
    """The operation's id: the asker's, or for operators and programs that gave none one of the run's own.

    A creation and the deletion that takes over from it are of one run, and must not share it.
    """
    return order.operation_id or uuid5(UUID(workflow.info().first_execution_run_id), kind.value)
