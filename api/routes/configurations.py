"""Configuration groups."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from api import views
from api.answers import configurations as said
from api.calls import administer, change_configuration, short_calls_of
from api.context import RequestContext, Services
from api.documented import READ, WRITE, answers, empty, query, takes
from api.faults import Fault, missing
from api.idempotency import call_of, forget, thing_of
from api.models.configurations import (
    ConfigurationUpdate,
    CreateConfigurationBody,
    EditConfigurationBody,
    ReplaceConfigurationBody,
)
from api.orders import version_named
from api.requests import Paging, body_of, marker_uuid, may, paging
from api.routes.common import PREFIX, AppServices, instance_named, segment
from contract.ports.configurations import ConfigurationChange, ConfigurationName, Configurations, NewConfiguration
from contract.ports.settings import Settings
from records.reads import Scope
from records.views import ConfigurationView

router = APIRouter(prefix=f"{PREFIX}/configurations", tags=["configuration groups"])
of_instances = APIRouter(prefix=f"{PREFIX}/instances", tags=["configuration groups"])
MASK = "********"


@router.get("", **answers(200, said.ConfigurationsPage), **query("limit", "marker"))
async def list_configurations(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration:index"))],
    page: Annotated[Paging, Depends(paging)],
) -> views.View:
    """The project's groups, a page at a time."""
    found, marker = await services.reader.list_configurations(context.project_id, page.limit, marker_uuid(page))
    items = [_view(each) for each in found]
    return views.paged(context, "configurations", "configurations", items, page.following(marker))


@router.post("", **answers(200, said.OneConfiguration, faults=WRITE), **takes(CreateConfigurationBody))
async def create_configuration(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration:create"))],
    body: Annotated[CreateConfigurationBody, Depends(body_of(CreateConfigurationBody))],
) -> views.View:
    """Make a group of settings for a datastore version. With an Idempotency-Key, once however often it is sent."""
    wanted = body.configuration
    version = await version_named(services, wanted.datastore)
    thing = await thing_of(services, context, request)
    if not thing.known:
        new = NewConfiguration(id=thing.id, caller=context.caller(), name=wanted.name, description=wanted.description,
                               datastore_version_id=version.id, values=wanted.values)  # fmt: skip
        try:
            await administer(services, context, Configurations.create_configuration, new)
        except Fault as fault:
            await forget(services, context, request, fault)
            raise
    return {"configuration": _detail(await _found(services, context, str(thing.id)))}


@router.get("/{configuration}", **answers(200, said.OneConfiguration))
async def show_configuration(
    services: AppServices, context: Annotated[RequestContext, Depends(may("configuration:show"))], configuration: str
) -> views.View:
    """One group, by id or by a name that is unique in the project."""
    return {"configuration": _detail(await _found(services, context, configuration))}


@router.get("/{configuration}/instances", **answers(200, said.InstancesWithPage), **query("limit", "marker"))
async def list_instances_of_configuration(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration:instances"))],
    page: Annotated[Paging, Depends(paging)],
    configuration: str,
) -> views.View:
    """The instances that have a group, a page at a time."""
    row = await _found(services, context, configuration)
    found, marker = await services.reader.list_instances_with(row.id, page.limit, marker_uuid(page))
    items = [{"id": str(each.id), "name": each.name} for each in found]
    return views.paged(context, f"configurations/{row.id}/instances", "instances", items, page.following(marker))


@router.patch("/{configuration}", **answers(200, faults=WRITE), **takes(EditConfigurationBody))
async def edit_configuration(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration:edit"))],
    configuration: str,
    body: Annotated[EditConfigurationBody, Depends(body_of(EditConfigurationBody))],
) -> Response:
    """Change or add values."""
    row = await _found(services, context, configuration)
    await _change(services, context, row, body.configuration, merge=True)
    return empty(200)


@router.put("/{configuration}", **answers(202, faults=WRITE), **takes(ReplaceConfigurationBody))
async def update_configuration(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration:update"))],
    configuration: str,
    body: Annotated[ReplaceConfigurationBody, Depends(body_of(ReplaceConfigurationBody))],
) -> Response:
    """Replace all values; the name and the description where they are given."""
    row = await _found(services, context, configuration)
    await _change(services, context, row, body.configuration, merge=False)
    return empty(202)


@router.delete("/{configuration}", **answers(202, faults=WRITE))
async def delete_configuration(
    services: AppServices, context: Annotated[RequestContext, Depends(may("configuration:delete"))], configuration: str
) -> Response:
    """Delete a group that no instance has."""
    row = await _found(services, context, configuration)
    which = ConfigurationName(id=row.id, caller=context.caller())
    await administer(services, context, Configurations.delete_configuration, which)
    return empty(202)


@of_instances.get("/{instance_id}/configuration", **answers(200, said.DefaultConfiguration, faults=(*READ, 422)))
async def show_default_configuration(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:configuration"))],
    instance_id: str,
) -> views.View:
    """What the instance's database is configured with where no group says otherwise; its guest says it."""
    instance = await instance_named(services, context, instance_id)
    async with call_of(services, context, request) as call:
        found = await short_calls_of(services, context, instance, call).ask(Settings.get_defaults)
    return {"instance": {"configuration": found.settings}}


async def _change(
    services: Services, context: RequestContext, row: ConfigurationView, wanted: ConfigurationUpdate, *, merge: bool
) -> None:
    if wanted.datastore is not None:
        await _require_version(services, wanted, row.datastore_version_id)
    change = ConfigurationChange(id=row.id, caller=context.caller(), name=wanted.name, description=wanted.description,
                                 values=wanted.values or {}, merge=merge)  # fmt: skip
    await change_configuration(services, context, change)


async def _require_version(services: Services, wanted: ConfigurationUpdate, version_id: UUID) -> None:
    if (await version_named(services, wanted.datastore)).id != version_id:
        raise Fault(400, "The datastore version of a configuration group cannot be changed.")


async def _found(services: Services, context: RequestContext, wanted: str) -> ConfigurationView:
    wanted = segment(wanted)
    found = await services.reader.get_configuration(wanted, Scope(context.project_id))
    if found is None:
        raise missing(wanted[:255])
    return found


def _view(row: ConfigurationView) -> views.View:
    return {
        "id": str(row.id),
        "name": row.name,
        "description": row.description,
        "created": views.moment(row.created),
        "updated": views.moment(row.updated),
        "datastore_version_id": str(row.datastore_version_id),
        "datastore_name": row.datastore,
        "datastore_version_name": row.datastore_version,
    }


def _detail(row: ConfigurationView) -> views.View:
    values = {name: MASK if "password" in name else value for name, value in row.values.items()}
    more = {"instance_count": row.instance_count, "datastore_version_number": row.datastore_version_number}
    return {**_view(row), "values": values, **more}
