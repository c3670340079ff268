"""Instances: order, list, show, rename, restart, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from api import views
from api.answers import instances as said
from api.context import RequestContext, Services
from api.documented import WRITE, answers, empty, query, takes
from api.faults import Fault
from api.idempotency import Thing, forget, key_of, thing_of
from api.models.instances import CreateInstanceBody
from api.operations import operations_of
from api.orders import spec_of
from api.requests import Paging, body_of, marker_uuid, may, paging
from api.routes.common import PREFIX, AppServices, instance_named
from contract.keys.sealing import SecretBox
from records.reads import Scope
from records.views import InstanceView

router = APIRouter(prefix=f"{PREFIX}/instances", tags=["instances"])


async def _list(services: Services, context: RequestContext, page: Paging, path: str, view: Any) -> Response:
    found = await services.reader.list_instances(Scope(context.project_id), page.limit, marker_uuid(page))
    items = [view(context, each) for each in found.instances]
    # a response of ours: FastAPI would walk all of it once more, to find what is JSON already
    return JSONResponse(views.paged(context, path, "instances", items, page.following(found.marker)))


@router.get("", **answers(200, said.InstancesPage), **query("limit", "marker"))
async def list_instances(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:index"))],
    page: Annotated[Paging, Depends(paging)],
) -> Response:
    """The project's instances, a page at a time."""
    return await _list(services, context, page, "instances", views.instance)


@router.get("/detail", **answers(200, said.InstanceDetailsPage), **query("limit", "marker"))
async def list_instances_in_detail(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:detail"))],
    page: Annotated[Paging, Depends(paging)],
) -> Response:
    """The project's instances with all that is known of them."""
    return await _list(services, context, page, "instances/detail", views.instance_detail)


@router.post("", **answers(200, said.OneInstance, faults=(*WRITE, 501)), **takes(CreateInstanceBody))
async def create_instance(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:create"))],
    body: Annotated[CreateInstanceBody, Depends(body_of(CreateInstanceBody))],
) -> views.View:
    """Order an instance; it is BUILD until its database serves. With an Idempotency-Key, once however often it is sent."""
    for rule, wanted in (("database", body.instance.databases), ("user", body.instance.users)):
        implied = f"instance:extension:{rule}:create"
        if wanted and not services.policy.allows(implied, context.identity, context.project_id):
            raise Fault(403, f"Policy doesn't allow {implied} to be performed.")
    thing = await thing_of(services, context, request)
    if thing.known and (row := await _made(services, context, thing)):
        return {"instance": views.instance_detail(context, row)}
    try:
        spec = await spec_of(services, context, body, SecretBox(services.keyring, thing.id).seal)
        await operations_of(services, context).create(thing.id, spec, again=thing.known)
    except Fault as fault:
        # the same request, sent before, may have made it in the meantime
        if key_of(request) is None or not await _made(services, context, thing):
            await forget(services, context, request, fault)
            raise
    row = await instance_named(services, context, str(thing.id))
    return {"instance": views.instance_detail(context, row)}


async def _made(services: Services, context: RequestContext, thing: Thing) -> InstanceView | None:
    """What the same request made before; 422 where that is deleted."""
    if await services.reader.get_instance(str(thing.id), Scope(context.project_id, deleted=True)):
        raise Fault(422, "The instance that was made with this idempotency key is deleted; use a new one.")
    return await services.reader.get_instance(str(thing.id), Scope(context.project_id))


@router.get("/{instance_id}", **answers(200, said.OneInstance))
async def show_instance(
    services: AppServices, context: Annotated[RequestContext, Depends(may("instance:show"))], instance_id: str
) -> views.View:
    """One instance, by id or by a name that is unique in the project."""
    return {"instance": views.instance_detail(context, await instance_named(services, context, instance_id))}


@router.delete("/{instance_id}", **answers(202, faults=WRITE))
async def delete_instance(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:delete"))],
    instance_id: str,
) -> Response:
    """Delete, also while it is being created; asking twice is no error."""
    row = await instance_named(services, context, instance_id)
    secret = (await services.reader.get_tls(row.id)).now.container_ref
    await operations_of(services, context).delete(row)
    if secret is not None:
        await services.barbican.remove(request.headers["X-Auth-Token"], secret, row.id)
    return empty(202)
