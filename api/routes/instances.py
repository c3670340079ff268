"""Instances: order, list, show, rename, restart, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from api import answers as said
from api import views
from api.calls import administer
from api.context import RequestContext, Services
from api.documented import WRITE, answers, empty, query, takes
from api.faults import Fault
from api.idempotency import Thing, forget, key_of, operation_of, thing_of
from api.models import ChangeInstanceBody, CreateInstanceBody, ResizeAction
from api.operations import operations_of
from api.orders import spec_of
from api.requests import Paging, body_of, marker_uuid, may, paging, parse, validated
from api.routes.common import PREFIX, AppServices, instance_named
from contract.domain.kinds import KINDS
from contract.domain.operation import OperationKind
from contract.keys.sealing import SecretBox
from contract.ports.records import Administration, Rename, ResetStatus
from records.reads import Scope
from records.views import InstanceView

router = APIRouter(prefix=f"{PREFIX}/instances", tags=["instances"])
NOT_YET = ("promote_to_replica_source", "eject_replica_source")
RULES = {
    "restart": KINDS[OperationKind.RESTART].rule or "",
    "reset_status": "instance:reset_status",
    "promote_to_replica_source": "instance:promote_to_replica_source",
    "eject_replica_source": "instance:eject_replica_source",
}


async def _list(services: Services, context: RequestContext, page: Paging, path: str, view: Any) -> Response:
    found = await services.reader.list_instances(Scope(context.project_id), page.limit, marker_uuid(page))
    items = [view(context, each) for each in found.instances]
    # a response of ours: FastAPI would walk all of it once more, to find what is JSON already
    return JSONResponse(views.paged(context, path, "instances", items, page.limit, found.marker))


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
        spec = await spec_of(services, body, SecretBox(services.keyring, thing.id).seal)
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


@router.put("/{instance_id}", **answers(202, faults=(*WRITE, 501)), **takes(ChangeInstanceBody))
async def update_instance(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:update"))],
    instance_id: str,
    body: Annotated[ChangeInstanceBody, Depends(body_of(ChangeInstanceBody))],
) -> Response:
    """Change the name, and later other things."""
    return await _change(services, context, instance_id, body)


@router.patch("/{instance_id}", **answers(202, faults=(*WRITE, 501)), **takes(ChangeInstanceBody))
async def edit_instance(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:edit"))],
    instance_id: str,
    body: Annotated[ChangeInstanceBody, Depends(body_of(ChangeInstanceBody))],
) -> Response:
    """Change the name, and later other things."""
    return await _change(services, context, instance_id, body)


async def _change(services: Services, context: RequestContext, instance_id: str, body: ChangeInstanceBody) -> Response:
    row, wanted = await instance_named(services, context, instance_id), body.instance
    for other in wanted.others():
        if other in ("replica_of", "slave_of"):
            raise Fault(400, f"Instance {row.id} is not a replica.")
        if other == "configuration" and wanted.configuration is not None:
            raise Fault(404, f"Configuration {wanted.configuration} cannot be found.")
        if other in ("datastore_version", "access"):
            raise Fault(501, f"Changing {other} is not implemented yet.")
    if wanted.name is not None:
        await administer(services, context, Administration.rename, Rename(instance_id=row.id, name=wanted.name))
    return empty(202)


@router.delete("/{instance_id}", **answers(202, faults=WRITE))
async def delete_instance(
    services: AppServices, context: Annotated[RequestContext, Depends(may("instance:delete"))], instance_id: str
) -> Response:
    """Delete, also while it is being created; asking twice is no error."""
    row = await instance_named(services, context, instance_id)
    await operations_of(services, context).delete(row)
    return empty(202)


ACTION: dict[str, Any] = {
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "minProperties": 1,
                        "maxProperties": 1,
                        "properties": {name: {} for name in ("restart", "resize", "reset_status", *NOT_YET)},
                        "additionalProperties": False,
                    }
                }
            },
        }
    }
}


@router.post("/{instance_id}/action", **answers(202, faults=(*WRITE, 501)), **ACTION)
async def act_on_instance(request: Request, services: AppServices, instance_id: str) -> Response:
    """`restart`, `resize` to another flavor, `reset_status`; the others are not implemented yet."""
    verb, argument = _action(request)
    context = may(_rule(verb, argument))(request)
    row = await instance_named(services, context, instance_id)
    if verb == "restart":
        await _restart(request, services, context, row)
    elif verb == "resize":
        await _resize(request, services, context, row, argument)
    elif verb == "reset_status":
        reset = ResetStatus(instance_id=row.id, caller=context.caller())
        await administer(services, context, Administration.reset_status, reset)
    else:
        raise Fault(501, f"Action {verb} is not implemented yet.")
    return empty(202)


def _action(request: Request) -> tuple[str, Any]:
    """The one action that the body names, with what it is given; 400 for anything else."""
    content = parse(request.state.body) if request.state.body else None
    verb, argument = next(iter(content.items())) if isinstance(content, dict) and len(content) == 1 else ("", None)
    if verb not in RULES and verb != "resize":
        raise Fault(400, "The body must name exactly one action: restart, reset_status, resize, "
                         "promote_to_replica_source or eject_replica_source.")  # fmt: skip
    if verb == "resize":
        return verb, validated(ResizeAction, argument)
    known = {"reset_status": {"force_delete"}}.get(verb, set())
    if argument is not None and not (isinstance(argument, dict) and set(argument) <= known):
        raise Fault(400, f"Validation error: {verb}: takes {' or '.join(known) or 'an empty object'} alone")
    return verb, argument


def _rule(verb: str, argument: Any) -> str:
    if verb == "reset_status" and isinstance(argument, dict) and "force_delete" in argument:
        return "instance:force_delete"
    if verb == "resize":
        return KINDS[OperationKind.RESIZE_FLAVOR].rule or "" if argument.flavor_ref else "instance:resize_volume"
    return RULES.get(verb, "instance:show")


async def _restart(request: Request, services: Services, context: RequestContext, row: InstanceView) -> None:
    """With an Idempotency-Key, once however often it is sent."""
    operation = await operation_of(services, context, request)
    if not operation.known:
        await operations_of(services, context).restart(row, operation.id)


async def _resize(
    request: Request, services: Services, context: RequestContext, row: InstanceView, wanted: ResizeAction
) -> None:
    """With an Idempotency-Key, once however often it is sent."""
    if wanted.flavor_ref is None:
        raise Fault(501, "Resizing a volume is not implemented yet.")
    operation = await operation_of(services, context, request)
    if not operation.known:
        await operations_of(services, context).resize_flavor(row, wanted.flavor_ref, operation.id)
