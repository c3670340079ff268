"""Short calls: the guest's answer is the API's answer. Standalone activities on the guest's own queue."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, get_type_hints, overload

from temporalio.client import ActivityFailureError, Client, WorkflowFailureError
from temporalio.common import (
    ActivityIDReusePolicy,
    RawValue,
    RetryPolicy,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ActivityAlreadyStartedError, ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.context import RequestContext, Services
from api.faults import Fault, of_refusal, unavailable
from api.idempotency import Call
from api.operations import operations_of
from contract.domain.accounts import Expiring, Sealed
from contract.domain.datastores import DATASTORES
from contract.domain.datastores.base import Datastore
from contract.domain.errors import GuestProtocolError, innermost
from contract.keys.sealing import NotOurs, SecretBox
from contract.names import CLOUD, RECORDS, RUNBOOKS, call_id, guest_queue, root_id
from contract.ports.cloud import Offers
from contract.ports.configurations import ConfigurationAnswer, ConfigurationChange, configuration_id
from contract.ports.guest import Accounts, DatabasesAfter
from contract.ports.inspection import Inspection
from contract.ports.logs import Logs
from contract.ports.settings import Settings
from contract.wire.answers import from_guest
from contract.wire.clear_text import ClearText
from contract.wire.client import found_by
from records.views import InstanceView
from workflows.configuration import ChangeConfiguration
from workflows.instance.root import DisableRoot, EnableRoot, RootAnswer, RootRequest
from workflows.steps import GUEST_ERRORS

Answer = TypeVar("Answer")
Told = TypeVar("Told")  # what a verb of the port takes
SERVING = ("ACTIVE", "RESTART_REQUIRED", "BACKUP")
# where the guest was seen of late; what it said of a stop or a start may be over, so it is asked
ANSWERING = ("", "HEALTHY", "BLOCKED", "SHUTDOWN", "RESTARTING")
ATTEMPTS = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=3)
READ_SECONDS = 4.0  # one attempt of a read: one that was lost on its way is asked again
MARGIN = 0.6  # seconds that we wait beyond a call's expiry: whoever was done in time is answered
LAST_LOOK = 0.3  # seconds of them, for the verdict on a call that was just taken back


@dataclass(frozen=True)
class ShortCalls:
    """Asks the guest of one instance, for one request."""

    temporal: Client
    context: RequestContext
    instance: InstanceView
    box: SecretBox
    seconds: float
    call: Call
    """Whoever asks under the same name has the same answer."""

    @property
    def facts(self) -> Datastore:
        """The engine's facts."""
        return DATASTORES[self.instance.manager].of(self.instance.datastore_version_number)

    def sealed(self, secret: str) -> Sealed:
        """A password as it travels to this guest."""
        return self.box.seal(secret)

    def check_ready(self) -> None:
        """Refuse while the instance does not serve, so far as the records know."""
        if self.instance.status not in SERVING:
            raise Fault(422, f"Instance {self.instance.id} is not ready, status: {self.instance.status}.")
        if self.instance.operating_status not in ANSWERING:
            raise Fault(422, f"Instance {self.instance.id} is not ready, status: {self.instance.operating_status}.")

    @overload
    async def ask(self, verb: Callable[[Accounts], Answer] | Callable[[Settings], Answer]) -> Answer: ...

    @overload
    async def ask(self, verb: Callable[[Accounts, Told], Answer], fact: Told, /) -> Answer: ...

    async def ask(self, verb: Callable[..., Any], *facts: Any) -> Any:
        """Ask a verb of the port, and decode the answer as what it promises; 503 when the guest does not answer in time.

        After a 503 nothing happens any more: the guest refuses a call after its expiry, and undoes one whose answer
        Temporal does not take.
        """
        self.check_ready()
        return await self._ask(verb, *facts)

    @overload
    async def inspect(self, verb: Callable[[Inspection], Answer] | Callable[[Logs], Answer]) -> Answer: ...

    @overload
    async def inspect(self, verb: Callable[[Logs, Told], Answer], fact: Told, /) -> Answer: ...

    async def inspect(self, verb: Callable[..., Any], *facts: Any) -> Any:
        """Ask the guest, whatever its engine does; 422 while there is no server."""
        if self.instance.server_id is None:
            raise Fault(422, f"Instance {self.instance.id} is not ready, status: {self.instance.status}.")
        return await self._ask(verb, *facts)

    async def _ask(self, verb: Callable[..., Any], *facts: Any) -> Any:
        expiry = _Expiry(self.seconds)
        changes = [each for each in facts if isinstance(each, Expiring)]
        try:
            raw = await expiry.bounded(self._answer(verb, [expiry.told(each) for each in facts], bool(changes)))
            return from_guest(raw, self.instance.id, get_type_hints(verb)["return"])
        except ActivityFailureError as error:
            raise self._of(error) from None
        except GuestProtocolError:
            raise self._nonsense() from None
        except TimeoutError:
            raise self._silent() from None

    async def databases(self, page: DatabasesAfter) -> AsyncIterator[tuple[str, ...]]:
        """Names, page after page, in the time of one call. A guest that tells the same again is not followed."""
        until, more, number = time.monotonic() + self.seconds, True, 0
        while more:
            left, number = until - time.monotonic(), number + 1
            if left <= 0:
                raise self._silent()
            call = replace(self.call, name=f"{self.call.name}/{number}")
            found = await replace(self, seconds=left, call=call).ask(Accounts.list_databases, page)
            yield found.databases
            more = found.more and bool(found.databases) and found.databases[-1] > page.after
            page = page.model_copy(update={"after": found.databases[-1]}) if more else page

    async def _answer(self, verb: Callable[..., Any], facts: list[Any], changes: bool) -> RawValue | None:
        request = call_id(self.instance.id, self.call.name)
        handle: Any = self.temporal.get_activity_handle(request, result_type=RawValue)
        try:
            await _start(
                self.temporal, request, verb, facts, task_queue=guest_queue(self.instance.id), result_type=RawValue,
                schedule_to_close_timeout=timedelta(seconds=self.seconds),
                start_to_close_timeout=timedelta(seconds=self.seconds if changes else READ_SECONDS),
                search_attributes=_attributes(self.context, self.instance),
                summary=ClearText(f"{verb.__name__.replace('_', ' ')} on {self.instance.name}"),
            )  # fmt: skip
            return await insist(handle.result)
        except asyncio.CancelledError:
            return await _take_back(handle)

    def _of(self, error: ActivityFailureError) -> Fault:
        cause = innermost(error.cause)
        if isinstance(cause, ApplicationError):
            return of_refusal(cause) if cause.type in GUEST_ERRORS else self._nonsense()
        return self._silent()

    def _silent(self) -> Fault:
        return Fault(503, f"Instance {self.instance.id} does not answer; please try again.")

    def _nonsense(self) -> Fault:
        return Fault(503, f"Instance {self.instance.id} gave an answer that cannot be understood.")

    async def enable_root(self, password: str | None) -> tuple[str, str]:
        """Hand the administrator account over; return its name and password."""
        account = (await self._root(EnableRoot.run, "enable", self.sealed(password) if password else None)).account
        assert account is not None  # noqa: S101 - enabling answers with the account
        try:
            return account.name, self.box.open(account.password)
        except NotOurs:
            raise self._nonsense() from None

    async def disable_root(self) -> None:
        """Take the administrator account back."""
        await self._root(DisableRoot.run, "disable", None)

    async def _root(self, runbook: Any, verb: str, password: Sealed | None) -> RootAnswer:
        self.check_ready()
        expiry, request_id = _Expiry(self.seconds), self.call.name
        request = RootRequest(instance_id=self.instance.id, request_id=request_id, caller=self.context.caller(),
                              password=password, expires_at=expiry.at)  # fmt: skip
        try:
            answer = await expiry.bounded(self._root_runbook(runbook, verb, request))
        except WorkflowFailureError as error:
            cause = innermost(error.cause)
            raise (of_refusal(cause) if isinstance(cause, ApplicationError) else self._silent()) from None
        except TimeoutError:
            raise self._silent() from None
        if answer.refused is not None:
            raise of_refusal(ApplicationError(answer.reason, type=answer.refused))
        return answer

    async def _root_runbook(self, runbook: Any, verb: str, request: RootRequest) -> RootAnswer:
        name = root_id(self.instance.id, request.request_id)
        with suppress(WorkflowAlreadyStartedError):  # by ourselves, or by the same request
            await insist(
                lambda: self.temporal.start_workflow(
                    runbook,
                    request,
                    id=name,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    task_queue=RUNBOOKS,
                    search_attributes=_attributes(self.context, self.instance),
                    static_summary=ClearText(f"{verb} root of {self.instance.name}"),
                )
            )
        answer: RootAnswer = await insist(self.temporal.get_workflow_handle(name, result_type=RootAnswer).result)
        return answer


class _Expiry:
    """Until when a caller is kept waiting; whoever does the call is told, and does not do it afterwards."""

    def __init__(self, seconds: float) -> None:
        self.at = datetime.now(UTC) + timedelta(seconds=seconds)
        self._seconds = seconds

    def told(self, argument: Any) -> Any:
        """An argument of a call, with the expiry if it has one."""
        return argument.model_copy(update={"expires_at": self.at}) if isinstance(argument, Expiring) else argument

    async def bounded(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait for the work, and cancel it at the end; TimeoutError unless it has an answer nevertheless."""
        task = asyncio.ensure_future(work)
        await asyncio.wait([task], timeout=self._seconds + MARGIN - LAST_LOOK)
        if not task.done():
            task.add_done_callback(
                lambda ended: ended.cancelled() or ended.exception()
            )  # it may end after we have left
            task.cancel()
            await asyncio.wait([task], timeout=LAST_LOOK)
        if not task.done() or task.cancelled():
            raise TimeoutError
        return task.result()


def short_calls_of(services: Services, context: RequestContext, instance: InstanceView, call: Call) -> ShortCalls:
    """The guest of an instance."""
    box = SecretBox(services.keyring, instance.id)
    return ShortCalls(services.temporal, context, instance, box, services.settings.call_seconds, call)


async def administer(
    services: Services, context: RequestContext, verb: Callable[[Any, Told], Awaitable[object]], fact: Told
) -> None:
    """Have the records change something that needs no runbook; the activity expires before we stop waiting."""
    await _ask(services, f"records/{verb.__name__}/{context.request_id}", verb, fact, RECORDS)


async def ask_cloud(
    services: Services, context: RequestContext, verb: Callable[[Offers, Told], None], fact: Told
) -> None:
    """Have OpenStack asked whether there is something; a refusal is the answer's fault."""
    await _ask(services, f"cloud/{verb.__name__}/{context.request_id}", verb, fact, CLOUD)


async def _ask(services: Services, name: str, verb: Callable[..., Any], fact: Any, queue: str) -> None:
    seconds = services.settings.call_seconds

    async def work() -> None:
        limit = timedelta(seconds=seconds)
        await _start(services.temporal, name, verb, [fact], task_queue=queue,
                     schedule_to_close_timeout=limit, start_to_close_timeout=limit)  # fmt: skip
        await insist(services.temporal.get_activity_handle(name).result)

    try:
        await asyncio.wait_for(work(), seconds + MARGIN)
    except ActivityFailureError as error:
        cause = innermost(error.cause)
        raise (of_refusal(cause) if isinstance(cause, ApplicationError) else unavailable()) from None


async def change_configuration(services: Services, context: RequestContext, change: ConfigurationChange) -> None:
    """Change a group; return when all of its instances have been told, or after a while if that takes longer."""
    name, expiry = configuration_id(change.id, context.request_id), _Expiry(services.settings.call_seconds)
    told = change.model_copy(update={"expires_at": expiry.at})

    async def work() -> ConfigurationAnswer:
        with suppress(WorkflowAlreadyStartedError):  # by ourselves
            await insist(
                lambda: services.temporal.start_workflow(
                    ChangeConfiguration.run,
                    told,
                    id=name,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    task_queue=RUNBOOKS,
                    static_summary=ClearText("change a configuration group"),
                )
            )
        handle = services.temporal.get_workflow_handle(name, result_type=ConfigurationAnswer)
        answer: ConfigurationAnswer = await insist(handle.result)
        return answer

    try:
        answer = await expiry.bounded(work())
    except (WorkflowFailureError, TimeoutError):
        raise unavailable() from None
    if answer.refused is not None:
        raise of_refusal(ApplicationError(answer.reason, type=answer.refused))
    await operations_of(services, context).ends(answer.operations)


async def _start(temporal: Client, name: str, verb: Callable[..., Any], facts: list[Any], **options: Any) -> None:
    """Start a standalone activity, once, whatever becomes of the answers; content where the same request has started it."""
    with suppress(ActivityAlreadyStartedError):
        await insist(
            lambda: temporal.start_activity(
                verb.__name__,
                args=facts,
                id=name,
                id_reuse_policy=ActivityIDReusePolicy.REJECT_DUPLICATE,
                retry_policy=ATTEMPTS,
                **options,
            )
        )


def _attributes(context: RequestContext, instance: InstanceView) -> TypedSearchAttributes:
    values = {
        "ProjectId": context.project_id,
        "InstanceId": str(instance.id),
        "InstanceName": instance.name,
        "Datastore": instance.datastore,
        "RequestId": context.request_id,
    }
    return found_by(values)


async def insist(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask Temporal again while it is away; the caller bounds it. What is asked has an id, so that it is done once."""
    while True:
        try:
            return await ask()
        except RPCError as error:
            if error.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED):
                raise
            await asyncio.sleep(0.2)


async def _take_back(handle: Any) -> RawValue | None:
    """Nobody waits any more: tell Temporal, so that the guest undoes it. One that was just done has its answer."""
    try:
        await handle.terminate(reason="the client has stopped waiting")
    except RPCError as error:
        if error.status is RPCStatusCode.FAILED_PRECONDITION:  # it has ended
            answer: RawValue | None = await handle.result()
            return answer
    raise TimeoutError
