"""Runbooks: hand the administrator account to the tenant, and take it back."""

from dataclasses import replace
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from contract.domain.accounts import Expiring, RootAccount, Sealed
from contract.domain.errors import REFUSALS, Expired, Refused, innermost
from contract.domain.fact import Fact
from contract.domain.operation import Caller
from contract.names import RECORDS, root_id
from contract.ports.guest import Accounts, RootOrder
from contract.ports.records import Records, RootNote
from workflows.steps import CALL, SURE, GuestOf, Steps, ask_guest

LONGEST = 8.0  # seconds


class RootRequest(Expiring):
    """Who wants which instance's root account, under which request, and until when."""

    instance_id: UUID
    request_id: str
    caller: Caller
    password: Sealed | None = None


class RootAnswer(Fact):
    """The account, where it was asked for; or which of our errors the order was refused with."""

    account: RootAccount | None = None
    refused: str | None = None
    reason: str = ""


class _RootRunbook:
    """Note the intent, ask the guest, note the result: what root could do is known whatever happens in between."""

    wanted: bool

    def __init__(self) -> None:
        self._steps = Steps()

    async def change(self, request: RootRequest) -> RootAnswer:
        """Do it; a refusal is an answer, not a failed run."""
        try:
            return RootAnswer(account=await self._change(request))
        except ApplicationError as error:
            if error.type not in REFUSALS:
                raise
            workflow.set_current_details(f"refused: {error.message}")
            return RootAnswer(refused=error.type, reason=error.message)

    async def _change(self, request: RootRequest) -> RootAccount | None:
        if workflow.info().workflow_id != root_id(request.instance_id, request.request_id):
            raise Refused(f"must run under the workflow id {root_id(request.instance_id, request.request_id)}")
        if _seconds_left(request) <= 0:
            raise Expired("the caller has stopped waiting; nothing was changed")
        await self._note(request, None)
        try:
            answer = await self._ask(request)
        except FailureError as error:
            await self._note(request, False)
            cause = innermost(error)
            known = isinstance(cause, ApplicationError) and cause.non_retryable
            kind = cause.type if known and isinstance(cause, ApplicationError) else "Unavailable"
            text = cause.message if isinstance(cause, ApplicationError) else "the instance does not answer"
            raise ApplicationError(text, type=kind, non_retryable=True) from None
        await self._note(request, True)
        return answer

    async def _ask(self, request: RootRequest) -> RootAccount | None:
        seconds = _seconds_left(request)
        if seconds <= 0:
            raise Expired("the caller has stopped waiting; nothing was changed")
        guest, patience = GuestOf(self._steps, request.instance_id), replace(CALL, total_seconds=seconds)
        order = RootOrder(password=request.password, expires_at=request.expires_at)
        if self.wanted:
            return await ask_guest(guest, patience, Accounts.enable_root, order)
        await ask_guest(guest, patience, Accounts.disable_root, order)
        return None

    async def _note(self, request: RootRequest, done: bool | None) -> None:
        note = RootNote(
            instance_id=request.instance_id,
            request_id=request.request_id,
            user_id=request.caller.user_id,
            wanted=self.wanted,
            done=done,
        )
        await self._steps.ask(RECORDS, SURE, Records.note_root, note)


def _seconds_left(request: RootRequest) -> float:
    """How long the caller waits for the guest's answer; one that does not say waits as long as the API."""
    return LONGEST if request.expires_at is None else (request.expires_at - workflow.now()).total_seconds()


@workflow.defn
class EnableRoot(_RootRunbook):
    """End with an account whose password the tenant has, and a note that it had it."""

    wanted = True

    @workflow.run
    async def run(self, request: RootRequest) -> RootAnswer:
        return await self.change(request)


@workflow.defn
class DisableRoot(_RootRunbook):
    """End with a root password that nobody knows."""

    wanted = False

    @workflow.run
    async def run(self, request: RootRequest) -> RootAnswer:
        return await self.change(request)
