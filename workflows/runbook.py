"""The frame of every runbook: lock, admission, close; and how it answers those who wait."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, NoReturn
from uuid import UUID, uuid5

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError

from contract.domain.errors import REFUSALS, Busy, Expired, NotFound, Refused, innermost
from contract.domain.instance import InstanceStatus
from contract.domain.kinds import KINDS
from contract.domain.operation import (
    Admission,
    AdmissionRequest,
    CloseOperation,
    DeleteOrder,
    MemberEnd,
    MemberRequest,
    OperationKind,
    OperationState,
    Order,
    StepsNote,
)
from contract.names import RECORDS, lock_id
from contract.ports.records import Records
from workflows.member import Member
from workflows.step_log import StepLog
from workflows.steps import PROMPT, SURE, Steps, lost_fence, sentence, type_of, until
from workflows.waiting import start_when_free

DELETION = "DeleteInstance"  # by its name: the frame knows none of the runbooks


@dataclass(frozen=True)
class End:
    """What an operation leaves: the status of its members, and where that is no good one, why."""

    status: InstanceStatus | None
    reason: str | None = None
    deleted: bool = False
    others: Mapping[UUID, "End"] = field(default_factory=dict)
    """Members that end otherwise."""

    def of(self, instance_id: UUID) -> MemberEnd:
        """What is left of a member."""
        end = self.others.get(instance_id, self)
        return MemberEnd(instance_id=instance_id, status=end.status, deleted=end.deleted, reason=end.reason)


class Runbook:
    """The frame of an operation on members of a group: lock, admit, do, close.

    A runbook says what is to be done, what a failure leads to (`give_up`), and how a member is put right when its run was
    ended from outside (`settle`; `instance/settle.py` asks for it). Whoever waits asks the update `admitted`. A deletion asks
    the update `delete`: it is admitted at any time, ends the work at the running step, and goes on as `DeleteInstance` under
    the same lock.
    """

    kind: ClassVar[OperationKind]

    def __init__(self) -> None:
        self.steps = Steps()
        self.members: Sequence[Member] = ()
        self._log = StepLog(self._write)
        self._order: Order | None = None
        self._admission: Admission | None = None
        self._refusal: ApplicationError | None = None
        self._failure: BaseException | None = None
        self._deletion: DeleteOrder | None = None
        self._deletion_admission: Admission | None = None
        self._door = asyncio.Lock()  # deletions are admitted one at a time

    async def give_up(self, error: BaseException) -> End:
        """What a failure or a cancel leads to; nothing else has taken over."""
        return End(InstanceStatus.ACTIVE)

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
        """Admit a deletion of a member that this run works on; Busy for another one of the group.

        What the work leaves of other members is put right after the deletion, as if the run had been ended from outside.
        """
        await workflow.wait_condition(lambda: self._admission is not None or self._refusal is not None)
        working_on = {each.instance.id for each in self._admission.members} if self._admission else {order.instance_id}
        if order.instance_id not in working_on:
            raise Busy(f"Instance {order.instance_id} is not currently available for an action to be performed "
                       f"(operation {self.kind.value} is running on another instance of its group).")  # fmt: skip
        admission = await self.accept_deletion(order)
        caller, project = order.caller, admission.members[0].instance.project_id
        if not (caller.is_admin or caller.project_id == project):
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

    async def operate(self, order: Order, work: Callable[[], Awaitable[End]]) -> str | None:
        """Open the operation, do the work and close it; then answer everybody, and end as what it was or make way.

        A run whose order is refused has not failed: nobody has to look at it. It completes, and returns the refusal.
        """
        if order.waits_until is not None:
            return await self._wait(order, order.waits_until)
        try:
            await self.open(order)
        except FailureError as error:
            await self._make_way()
            return self._refused(error)
        self.steps.may_stop = KINDS[self.kind].cancellable
        try:
            end = await work()
            self.steps.point_of_no_return()
            await self._close(OperationState.DONE, end)
        except (FailureError, asyncio.CancelledError) as error:
            await self._end_badly(error)
        await self._make_way()
        if self._failure is not None:
            raise self._failure
        return None

    async def _wait(self, order: Order, until: datetime) -> str | None:
        """Wait for the lock instead of having it; whoever asks this run is told so."""
        self._refusal = ApplicationError("this run waits for its lock", type="Refused", non_retryable=True)
        self._tell(order)
        try:
            await start_when_free(self.kind, operation_id(order, self.kind), order, until)
        except FailureError as error:
            return self._refused(error)
        finally:
            await self.all_answered()
        return None

    def _refused(self, error: FailureError) -> str:
        if type_of(error) not in REFUSALS:
            raise error
        text = f"refused: {sentence(error)}"
        workflow.set_current_details(text)
        return text

    async def _end_badly(self, error: BaseException) -> None:
        self.steps.point_of_no_return()
        await self.all_answered()
        if self._deletion is not None:
            return
        if lost_fence(error):  # somebody else works here now: touch nothing
            raise error
        try:
            await self._close_failed(error, await self.give_up(error))
        except (FailureError, asyncio.CancelledError):
            await self.all_answered()
            if self._deletion is None:
                raise

    async def _make_way(self) -> None:
        """Answer everybody, and go on as the deletion that was admitted meanwhile, if one was."""
        await self.all_answered()  # the last await: a deletion that is being admitted must not be lost
        if self._deletion is not None:
            deletion = self._deletion.model_copy(
                update={"expires_at": None, "waits_until": None, "quiet_at": self.steps.quiet_at}
            )
            workflow.continue_as_new(args=[deletion], workflow=DELETION)

    async def all_answered(self) -> None:
        """Wait until everybody who asked this run has been answered; a cancel does not shorten it."""
        await until(workflow.all_handlers_finished)

    # -- lock and admission ------------------------------------------------------------------------------------------

    def lock(self, order: Order) -> None:
        """Refuse to run under another id than the lock of what the order touches; make the run findable."""
        self._order = order
        if workflow.info().workflow_id != lock_id(order.group):
            self.refuse(Refused(f"this runbook must run under the workflow id {lock_id(order.group)}"))
        self._tell(order)
        if order.expires_at is not None and workflow.now() > order.expires_at and not is_continued():
            self.refuse(Expired("nobody waits for this operation any more; nothing was touched"))

    def _tell(self, order: Order) -> None:
        tell(**order.search_attributes(operation_id(order, self.kind)))

    async def admit(self, order: Order, *members: MemberRequest) -> None:
        """Have the records open the operation on its members, or end the run with their refusal."""
        try:
            admission = await self.admission_of(order, self.kind, *members)
        except FailureError as error:
            self.refuse(error)
        names = {each.instance.id: each.instance.name for each in admission.members}
        self._log.open(admission.operation_id, admission.fence, names)
        self.members = [
            Member(
                each.instance,
                each.interrupted,
                admission.operation_id,
                admission.fence,
                self.steps,
                self._log,
                each.wanted,
                each.restores,
                each.backup,
            )
            for each in admission.members
        ]
        first = admission.members[0].instance
        tell(Datastore=first.version.datastore, InstanceName=first.name)
        self._admission = admission

    async def open(self, order: Any) -> None:
        """Lock and admit."""
        self.lock(order)
        await self.admit(order)

    async def admission_of(self, order: Order, kind: OperationKind, *members: MemberRequest) -> Admission:
        """Ask the records to admit an operation in the name of this run; on members as the order names them, or as told."""
        info = workflow.info()
        request = AdmissionRequest(
            kind=kind,
            operation_id=operation_id(order, kind),
            members=members or tuple(MemberRequest(instance_id=each) for each in order.members),
            group_id=order.group,
            caller=order.caller,
            expires_at=order.expires_at,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            first_execution_run_id=info.first_execution_run_id,
        )
        # a run that goes on from another was admitted there: nobody waits, and nothing may come between
        return await Steps().ask(RECORDS, SURE if is_continued() else PROMPT, Records.admit, request)

    def refuse(self, error: BaseException) -> NoReturn:
        """End the run before anything was touched; those who wait hear why."""
        cause = innermost(error)
        if not (isinstance(cause, ApplicationError) and cause.non_retryable):
            cause = ApplicationError("the operation could not be admitted in time", type="Unavailable")
        self._refusal = ApplicationError(
            cause.message, type=cause.type, non_retryable=True, category=ApplicationErrorCategory.BENIGN
        )
        raise self._refusal from None

    @property
    def member(self) -> Member:
        """The one member of an operation on one instance."""
        (only,) = self.members
        return only

    async def _write(self, note: StepsNote) -> None:
        await Steps().ask(RECORDS, SURE, Records.note_steps, note)

    # -- close -------------------------------------------------------------------------------------------------------

    async def _close(self, state: OperationState, end: End) -> None:
        """Write the last word, with what is new of the steps."""
        last = await self._log.last()
        self._log.show(end.reason)
        ends = tuple(end.of(each.id) for each in self.members)
        word = CloseOperation(**dict(last), state=state, reason=end.reason, ends=ends)
        await self.steps.ask(RECORDS, SURE, Records.close, word)

    async def _close_failed(self, error: BaseException, end: End) -> None:
        """Close with the reason, and with what the instance is now; the run then ends as what it was."""
        why = end.reason or sentence(error)
        cancelled = isinstance(error, asyncio.CancelledError)
        state = OperationState.CANCELLED if cancelled else OperationState.FAILED
        await self._close(state, replace(end, reason=why, deleted=False))
        kind = type_of(error) or "Failed"
        self._failure = error if cancelled else ApplicationError(why, type=kind, non_retryable=True)


def tell(**attributes: str) -> None:
    """Set search attributes of the run; empty ones are left out, and those that whoever started it has set."""
    known = workflow.info().typed_search_attributes
    keys = {SearchAttributeKey.for_keyword(name): value for name, value in attributes.items()}
    pairs = [key.value_set(value) for key, value in keys.items() if value and known.get(key) != value]
    if pairs:
        workflow.upsert_search_attributes(pairs)


def is_continued() -> bool:
    """Whether this run goes on from another one, which was admitted."""
    return workflow.info().continued_run_id is not None


def operation_id(order: Order, kind: OperationKind) -> UUID:
    """The operation's id: the caller's, or for operators and programs that gave none one of the run's own.

    A creation and the deletion that takes over from it are of one run, and must not share it.
    """
    return order.operation_id or uuid5(UUID(workflow.info().first_execution_run_id), kind.value)
