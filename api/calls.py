"""Short calls: the guest's answer is the API's answer. Standalone activities on the guest's own queue."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_type_hints

from temporalio.client import ActivityFailureError, Client, WorkflowFailureError
from temporalio.common import RawValue, RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from api.context import Asker, Means
from api.faults import Fault, of_refusal, unavailable
from records.views import InstanceView
from workflows.answers import from_guest
from workflows.domain.accounts import RootAccount, Sealed
from workflows.domain.datastores import DATASTORES
from workflows.domain.datastores.base import Datastore
from workflows.domain.errors import GuestProtocolError, innermost
from workflows.instance.root import DisableRoot, EnableRoot, RootRequest
from workflows.names import RECORDS, RUNBOOKS, call_id, guest_queue, root_id
from workflows.sealing import NotOurs, SecretBox
from workflows.steps import GUEST_ERRORS

SERVING = ("ACTIVE", "RESTART_REQUIRED", "BACKUP")
ANSWERING = ("", "HEALTHY", "BLOCKED")
ATTEMPTS = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=3)


@dataclass(frozen=True)
class Guests:
    """Asks the guest of one instance, for one request."""

    temporal: Client
    asker: Asker
    instance: InstanceView
    box: SecretBox
    seconds: float

    @property
    def facts(self) -> Datastore:
        """The engine's facts; 422 where it has no users and databases."""
        facts = DATASTORES[self.instance.manager]
        if not facts.accounts:
            raise Fault(422, f"Operation not supported for datastore {self.instance.datastore}.")
        return facts

    def sealed(self, secret: str) -> Sealed:
        """A password as it travels to this guest."""
        return self.box.seal(secret)

    def check_ready(self) -> None:
        """Refuse while the instance does not serve, so far as the records know."""
        if self.instance.status not in SERVING:
            raise Fault(422, f"Instance {self.instance.id} is not ready, status: {self.instance.status}.")
        if self.instance.operating_status not in ANSWERING:
            raise Fault(422, f"Instance {self.instance.id} is not ready, status: {self.instance.operating_status}.")

    async def ask(self, verb: Any, *arguments: Any) -> Any:
        """Ask, and decode the answer as what the port promises; 503 when the guest does not answer in time."""
        self.check_ready()
        request = call_id(self.instance.id, self.asker.request_id)
        handle = await self.temporal.start_activity(
            verb.__name__,
            args=list(arguments),
            id=request,
            task_queue=guest_queue(self.instance.id),
            result_type=RawValue,
            schedule_to_close_timeout=timedelta(seconds=self.seconds),
            start_to_close_timeout=timedelta(seconds=self.seconds),
            retry_policy=ATTEMPTS,
            search_attributes=_attributes(self.asker, self.instance),
            summary=f"{verb.__name__} on {self.instance.name}",
        )
        try:
            raw = await asyncio.wait_for(handle.result(), self.seconds + 2)
            return from_guest(raw, self.instance.id, get_type_hints(verb)["return"])
        except ActivityFailureError as error:
            raise self._of(error) from None
        except GuestProtocolError:
            raise self._nonsense() from None
        except TimeoutError:
            await _terminate(handle)
            raise self._silent() from None

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
        account = await self._root(EnableRoot.run, self.sealed(password) if password else None, RootAccount)
        try:
            return account.name, self.box.open(account.password)
        except NotOurs:
            raise self._nonsense() from None

    async def disable_root(self) -> None:
        """Take the administrator account back."""
        await self._root(DisableRoot.run, None, None)

    async def _root(self, runbook: Any, password: Sealed | None, shape: type | None) -> Any:
        self.check_ready()
        request_id = self.asker.request_id
        request = RootRequest(instance_id=self.instance.id, request_id=request_id, caller=self.asker.caller(),
                              password=password)  # fmt: skip
        try:
            return await asyncio.wait_for(
                self.temporal.execute_workflow(
                    runbook,
                    request,
                    id=root_id(self.instance.id, request_id),
                    task_queue=RUNBOOKS,
                    result_type=shape,
                    search_attributes=_attributes(self.asker, self.instance),
                    static_summary=f"root of {self.instance.name}",
                ),
                self.seconds * 3,
            )
        except WorkflowFailureError as error:
            cause = innermost(error.cause)
            raise (of_refusal(cause) if isinstance(cause, ApplicationError) else self._silent()) from None


def guests_of(means: Means, asker: Asker, instance: InstanceView) -> Guests:
    """The guest of an instance."""
    box = SecretBox(means.keyring, instance.id)
    return Guests(means.temporal, asker, instance, box, means.settings.call_seconds)


async def administer(means: Means, asker: Asker, verb: Any, argument: Any) -> None:
    """Have the records change something that needs no runbook."""
    try:
        await asyncio.wait_for(
            means.temporal.execute_activity(
                verb.__name__,
                argument,
                id=f"records/{verb.__name__}/{asker.request_id}",
                task_queue=RECORDS,
                schedule_to_close_timeout=timedelta(seconds=means.settings.admission_seconds),
                start_to_close_timeout=timedelta(seconds=means.settings.admission_seconds),
                retry_policy=ATTEMPTS,
            ),
            means.settings.admission_seconds + 2,
        )
    except ActivityFailureError as error:
        cause = innermost(error.cause)
        raise (of_refusal(cause) if isinstance(cause, ApplicationError) else unavailable()) from None


def _attributes(asker: Asker, instance: InstanceView) -> TypedSearchAttributes:
    values = {
        "ProjectId": asker.project_id,
        "InstanceId": str(instance.id),
        "Datastore": instance.datastore,
        "RequestId": asker.request_id,
    }
    pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items()]
    return TypedSearchAttributes(pairs)


async def _terminate(handle: Any) -> None:
    """One whose client gave up must not run later, when the guest appears."""
    try:
        await handle.terminate(reason="the client has stopped waiting")
    except RPCError:
        return
