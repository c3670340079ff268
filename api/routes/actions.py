"""`POST /instances/{id}/action`: one table of what an instance can be told to do."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.calls import administer
from api.context import RequestContext, Services
from api.documented import WRITE, answers, empty
from api.faults import Fault
from api.idempotency import operation_of
from api.models.actions import Nothing, ResetStatusAction, ResizeAction
from api.operations import operations_of
from api.orders import check_volume_size
from api.requests import may, parse, validated
from api.routes.common import PREFIX, AppServices, instance_named
from contract.domain.instance import InstanceStatus
from contract.domain.kinds import KINDS
from contract.domain.operation import OperationKind
from contract.ports.records import Administration, ResetStatus
from records.views import InstanceView
from workflows.instance.power import StartInstance

router = APIRouter(prefix=f"{PREFIX}/instances", tags=["instances"])


@dataclass(frozen=True)
class Acting:
    """Who asks for an action, and of which instance."""

    request: Request
    services: Services
    context: RequestContext
    instance: InstanceView


@dataclass(frozen=True)
class Action:
    """What an action is given, what its rule in the policy is, and what it does."""

    takes: type[BaseModel]
    rule: Callable[[Any], str]
    act: Callable[[Acting, Any], Awaitable[None]]


async def _restart(acting: Acting, _: Nothing) -> None:
    """With an Idempotency-Key, once however often it is sent. An instance that was stopped is started."""
    operation = await operation_of(acting.services, acting.context, acting.request)
    operations = operations_of(acting.services, acting.context)
    if operation.known:
        return
    if acting.instance.status == InstanceStatus.SHUTDOWN:
        await operations.power(StartInstance, acting.instance, operation.id)
    else:
        await operations.restart(acting.instance, operation.id)


async def _resize(acting: Acting, wanted: ResizeAction) -> None:
    """With an Idempotency-Key, once however often it is sent."""
    if wanted.volume is not None:
        check_volume_size(acting.services, wanted.volume.size)
    operation = await operation_of(acting.services, acting.context, acting.request)
    if operation.known:
        return
    operations = operations_of(acting.services, acting.context)
    if wanted.volume is not None:
        await operations.resize_volume(acting.instance, wanted.volume.size, operation.id)
    elif wanted.flavor_ref is not None:
        await operations.resize_flavor(acting.instance, wanted.flavor_ref, operation.id)


async def _reset_status(acting: Acting, _: ResetStatusAction) -> None:
    reset = ResetStatus(instance_id=acting.instance.id, caller=acting.context.caller())
    await administer(acting.services, acting.context, Administration.reset_status, reset)


async def _promote(_: Acting, __: Nothing) -> None:
    raise Fault(501, "Action promote_to_replica_source is not implemented yet.")


async def _eject(_: Acting, __: Nothing) -> None:
    raise Fault(501, "Action eject_replica_source is not implemented yet.")


def rule_of(kind: OperationKind) -> str:
    """The rule of the policy for a kind of operation."""
    return KINDS[kind].rule or ""


def _resize_rule(wanted: ResizeAction) -> str:
    return rule_of(OperationKind.RESIZE_FLAVOR if wanted.flavor_ref else OperationKind.RESIZE_VOLUME)


def _reset_rule(wanted: ResetStatusAction) -> str:
    return "instance:force_delete" if "force_delete" in wanted.model_fields_set else "instance:reset_status"


ACTIONS: Mapping[str, Action] = {
    "restart": Action(Nothing, lambda _: rule_of(OperationKind.RESTART), _restart),
    "resize": Action(ResizeAction, _resize_rule, _resize),
    "reset_status": Action(ResetStatusAction, _reset_rule, _reset_status),
    "promote_to_replica_source": Action(Nothing, lambda _: "instance:promote_to_replica_source", _promote),
    "eject_replica_source": Action(Nothing, lambda _: "instance:eject_replica_source", _eject),
}


def body_naming(actions: Mapping[str, Action]) -> dict[str, Any]:
    """The request body in the document: exactly one of the actions."""
    schema = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {name: {} for name in actions},
        "additionalProperties": False,
    }
    return {"openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}}


@router.post("/{instance_id}/action", **answers(202, faults=(*WRITE, 501)), **body_naming(ACTIONS))
async def act_on_instance(request: Request, services: AppServices, instance_id: str) -> Response:
    """`restart`, `resize` to another flavor or a larger volume, `reset_status`; the others are not implemented yet."""
    action, given = named(request, ACTIONS)
    context = may(action.rule(given))(request)
    row = await instance_named(services, context, instance_id)
    await action.act(Acting(request, services, context, row), given)
    return empty(202)


def named(request: Request, actions: Mapping[str, Action]) -> tuple[Action, Any]:
    """The one action that the body names, with what it is given; 400 for anything else. Null is an empty object."""
    content = parse(request.state.body) if request.state.body else None
    verb, argument = next(iter(content.items())) if isinstance(content, dict) and len(content) == 1 else ("", None)
    if verb not in actions:
        *most, last = actions
        names = f"{', '.join(most)} or {last}" if most else last
        raise Fault(400, f"The body must name exactly one action: {names}.")
    return actions[verb], validated(actions[verb].takes, {} if argument is None else argument, verb)
