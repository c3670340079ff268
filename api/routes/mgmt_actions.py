"""`POST /mgmt/instances/{id}/action`: one table of what administrators can have done to any instance."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.context import RequestContext
from api.documented import WRITE, answers, empty
from api.faults import Fault
from api.idempotency import operation_of
from api.models.actions import MigrateAction, Nothing, RebuildAction
from api.operations import operations_of
from api.requests import administrator
from api.routes.actions import Acting, Action, body_naming, named, rule_of
from api.routes.common import PREFIX, AppServices, instance_named
from contract.domain.instance import InstanceStatus
from contract.domain.operation import OperationKind
from workflows.instance.power import RebootServer, StartInstance, StopInstance

router = APIRouter(prefix=f"{PREFIX}/mgmt/instances", tags=["management"])


def _power(runbook: Any) -> Callable[[Acting, Nothing], Awaitable[None]]:
    """With an Idempotency-Key, once however often it is sent."""

    async def act(acting: Acting, _: Nothing) -> None:
        operation = await operation_of(acting.services, acting.context, acting.request)
        if not operation.known:
            await operations_of(acting.services, acting.context).power(runbook, acting.instance, operation.id)

    return act


async def _reboot(acting: Acting, nothing: Nothing) -> None:
    """A server that was stopped is started."""
    stopped = acting.instance.status == InstanceStatus.SHUTDOWN
    await _power(StartInstance if stopped else RebootServer)(acting, nothing)


async def _migrate(acting: Acting, wanted: MigrateAction) -> None:
    operation = await operation_of(acting.services, acting.context, acting.request)
    if not operation.known:
        operations = operations_of(acting.services, acting.context)
        await operations.migrate(acting.instance, wanted.host, operation.id)


async def _reset_task_status(acting: Acting, _: Nothing) -> None:
    """What an operation that was ended from outside has left is put right now, not at the next sweep; 422 while one runs."""
    operation = await operation_of(acting.services, acting.context, acting.request)
    if operation.known:
        return
    try:
        await operations_of(acting.services, acting.context).settle(acting.instance, operation.id)
    except Fault as fault:
        if fault.code != 400:  # there is nothing to settle: it is as it is to be
            raise


async def _rebuild(acting: Acting, wanted: RebuildAction) -> None:
    """With an Idempotency-Key, once however often it is sent."""
    operation = await operation_of(acting.services, acting.context, acting.request)
    if not operation.known:
        operations = operations_of(acting.services, acting.context)
        await operations.rebuild(acting.instance, str(wanted.image_id), operation.id)


def _administrators(_: Any) -> str:
    return "context_is_admin"


ACTIONS: Mapping[str, Action] = {
    "stop": Action(Nothing, _administrators, _power(StopInstance)),
    "reboot": Action(Nothing, _administrators, _reboot),
    "migrate": Action(MigrateAction, _administrators, _migrate),
    "reset-task-status": Action(Nothing, _administrators, _reset_task_status),
    "rebuild": Action(RebuildAction, lambda _: rule_of(OperationKind.REBUILD), _rebuild),
}


@router.post("/{instance_id}/action", **answers(202, faults=WRITE), **body_naming(ACTIONS))
async def act_on_any_instance(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(administrator)],
    instance_id: str,
) -> Response:
    """`stop`, `reboot`, `migrate`, `reset-task-status`, `rebuild`: exactly one."""
    action, given = named(request, ACTIONS)
    row = await instance_named(services, context, instance_id)
    await action.act(Acting(request, services, context, row), given)
    return empty(202)
