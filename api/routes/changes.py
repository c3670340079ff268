"""`PUT` and `PATCH /instances/{id}`: the name, and one table of what else an instance can be changed in."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.calls import SERVING, administer
from api.context import RequestContext
from api.documented import WRITE, answers, empty, takes
from api.faults import Fault
from api.idempotency import operation_of
from api.models.instances import ChangeInstanceBody, InstanceChange
from api.operations import operations_of
from api.orders import access_change_of, configuration_named
from api.requests import body_of, may
from api.routes.actions import Acting
from api.routes.common import PREFIX, AppServices, instance_named
from contract.ports.records import Administration, Rename

router = APIRouter(prefix=f"{PREFIX}/instances", tags=["instances"])


@router.put("/{instance_id}", **answers(202, faults=(*WRITE, 501)), **takes(ChangeInstanceBody))
async def update_instance(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:update"))],
    instance_id: str,
    body: Annotated[ChangeInstanceBody, Depends(body_of(ChangeInstanceBody))],
) -> Response:
    """Change the name, and at most one other thing."""
    acting = Acting(request, services, context, await instance_named(services, context, instance_id))
    return await _change(acting, body.instance)


@router.patch("/{instance_id}", **answers(202, faults=(*WRITE, 501)), **takes(ChangeInstanceBody))
async def edit_instance(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:edit"))],
    instance_id: str,
    body: Annotated[ChangeInstanceBody, Depends(body_of(ChangeInstanceBody))],
) -> Response:
    """Change the name, and at most one other thing."""
    acting = Acting(request, services, context, await instance_named(services, context, instance_id))
    return await _change(acting, body.instance)


async def _change(acting: Acting, wanted: InstanceChange) -> Response:
    """The other thing first: where it is refused, the name stays, too. Nothing at all detaches the configuration group."""
    for other in wanted.others() if wanted.model_fields_set else {"configuration"}:
        await CHANGES[other](acting, wanted)
    if wanted.name is not None:
        renaming = Rename(instance_id=acting.instance.id, name=wanted.name)
        await administer(acting.services, acting.context, Administration.rename, renaming)
    return empty(202)


async def _detach_replica(acting: Acting, _: InstanceChange) -> None:
    raise Fault(400, f"Instance {acting.instance.id} is not a replica.")


async def _configuration(acting: Acting, wanted: InstanceChange) -> None:
    """Attach a group; null detaches the one that is attached. With an Idempotency-Key, once however often it is sent."""
    group = await configuration_named(acting.services, acting.context, wanted.configuration)
    if group is None and acting.instance.configuration_id is None and acting.instance.status in SERVING:
        return
    operation = await operation_of(acting.services, acting.context, acting.request)
    if not operation.known:
        operations = operations_of(acting.services, acting.context)
        await operations.reconfigure(acting.instance, group.id if group else None, operation.id)


async def _datastore_version(acting: Acting, wanted: InstanceChange) -> None:
    """With an Idempotency-Key, once however often it is sent."""
    if wanted.datastore_version is None:
        raise Fault(400, "datastore_version: must be the name or the id of a version")
    operation = await operation_of(acting.services, acting.context, acting.request)
    if not operation.known:
        operations = operations_of(acting.services, acting.context)
        await operations.upgrade(acting.instance, wanted.datastore_version, operation.id)


async def _access(acting: Acting, wanted: InstanceChange) -> None:
    """With an Idempotency-Key, once however often it is sent."""
    if wanted.access is None:
        raise Fault(400, "Validation error: instance.access: must be an object")
    change = access_change_of(wanted.access)
    operation = await operation_of(acting.services, acting.context, acting.request)
    if not operation.known:
        await operations_of(acting.services, acting.context).change_access(acting.instance, change, operation.id)


CHANGES: Mapping[str, Callable[[Acting, InstanceChange], Awaitable[None]]] = {
    "replica_of": _detach_replica,
    "slave_of": _detach_replica,
    "configuration": _configuration,
    "datastore_version": _datastore_version,
    "access": _access,
}
