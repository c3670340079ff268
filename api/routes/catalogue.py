"""Datastores, versions, flavors, volume types, limits: read from the records."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends

from api import views
from api.answers import base, empty, quotas
from api.answers import catalogue as said
from api.context import RequestContext, Services
from api.documented import answers
from api.faults import Fault, missing
from api.requests import may
from api.routes.common import PREFIX, AppServices
from records.views import DatastoreView, VersionView

router = APIRouter(prefix=PREFIX, tags=["catalogue"])


@router.get("/datastores", **answers(200, said.Datastores))
async def list_datastores(
    services: AppServices, context: Annotated[RequestContext, Depends(may("datastore:index"))]
) -> views.View:
    """Datastores with their versions; administrators see inactive ones too."""
    found = await services.reader.list_datastores(inactive=context.is_admin)
    return {"datastores": [views.datastore(context, each) for each in found]}


@router.get("/datastores/versions/{version_id}", **answers(200, said.OneDatastoreVersion))
async def show_version_by_id(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("datastore:version_show_by_uuid"))],
    version_id: str,
) -> views.View:
    """A version, by id alone."""
    return {"version": views.version(context, await version_with_id(services, context, version_id))}


@router.get("/datastores/{datastore}", **answers(200, said.OneDatastore))
async def show_datastore(
    services: AppServices, context: Annotated[RequestContext, Depends(may("datastore:show"))], datastore: str
) -> views.View:
    """A datastore, by id or name."""
    return {"datastore": views.datastore(context, await _datastore(services, context, datastore))}


@router.get("/datastores/{datastore}/versions", **answers(200, said.DatastoreVersions))
async def list_versions(
    services: AppServices, context: Annotated[RequestContext, Depends(may("datastore:version_index"))], datastore: str
) -> views.View:
    """A datastore's versions."""
    found = await _datastore(services, context, datastore)
    return {"versions": [views.version(context, each) for each in found.versions]}


@router.get("/datastores/{datastore}/versions/{version}", **answers(200, said.OneDatastoreVersion))
async def show_version(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("datastore:version_show"))],
    datastore: str,
    version: str,
) -> views.View:
    """A version, by id or name."""
    return {"version": views.version(context, await version_in(services, context, datastore, version))}


@router.get("/datastores/{datastore}/versions/{version}/flavors", **answers(200, said.Flavors))
async def list_flavors_of_version(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("datastore:list_associated_flavors"))],
    datastore: str,
    version: str,
) -> views.View:
    """The flavors that a version may be ordered with: all of them, or those that the operator has named."""
    only = (await version_in(services, context, datastore, version)).flavors
    found = await services.reader.list_flavors()
    return {
        "flavors": [views.flavor(context, each) for each in found if only is None or {each.id, each.name} & set(only)]
    }


@router.get("/datastores/{datastore}/versions/{version}/volume-types", **answers(200, said.VolumeTypes))
async def list_volume_types(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("datastore:list_associated_volume_types"))],
    datastore: str,
    version: str,
) -> views.View:
    """The volume types that a version may be ordered with: all of them, or those that the operator has named."""
    only = (await version_in(services, context, datastore, version)).volume_types
    found = await services.reader.list_volume_types()
    return {
        "volume_types": [
            {"id": each.id, "name": each.name, "is_public": each.is_public, "description": each.description}
            for each in found
            if only is None or {each.id, each.name} & set(only)
        ]
    }


async def _datastore(services: Services, context: RequestContext, wanted: str) -> DatastoreView:
    found = await services.reader.get_datastore(wanted, inactive=context.is_admin)
    if found is None:
        raise Fault(404, f"Datastore '{wanted[:255]}' cannot be found.")
    return found


async def version_with_id(services: Services, context: RequestContext, wanted: str) -> VersionView:
    """The version of this id, in whatever datastore."""
    for datastore in await services.reader.list_datastores(inactive=context.is_admin):
        for each in datastore.versions:
            if str(each.id) == wanted.lower():
                return each
    raise Fault(400, f"Datastore version '{wanted[:255]}' cannot be found.")


async def version_in(services: Services, context: RequestContext, datastore: str, wanted: str) -> VersionView:
    """The version of this id or name in a datastore."""
    versions: Sequence[VersionView] = (await _datastore(services, context, datastore)).versions
    found = [each for each in versions if wanted in (str(each.id), each.name)]
    if not found:
        raise Fault(404, f"Datastore version '{wanted[:255]}' cannot be found.")
    return found[0]


@router.get("/flavors", **answers(200, said.Flavors))
async def list_flavors(
    services: AppServices, context: Annotated[RequestContext, Depends(may("flavor:index"))]
) -> views.View:
    """Nova's flavors, as the records mirror them."""
    return {"flavors": [views.flavor(context, each) for each in await services.reader.list_flavors()]}


@router.get("/flavors/{flavor_id}", **answers(200, said.OneFlavor))
async def show_flavor(
    services: AppServices, context: Annotated[RequestContext, Depends(may("flavor:show"))], flavor_id: str
) -> views.View:
    """One flavor."""
    for each in await services.reader.list_flavors():
        if each.id == flavor_id:
            return {"flavor": views.flavor(context, each)}
    raise missing(flavor_id[:255])


@router.get("/limits", **answers(200, quotas.AllLimits))
async def list_limits(
    services: AppServices, context: Annotated[RequestContext, Depends(may("limits:index"))]
) -> views.View:
    """The project's ceilings, then how many requests it may send; for administrators there is no such limit."""
    ceilings = {f"max_{each.resource}": each.limit for each in await services.reader.list_quotas(context.project_id)}
    rates = [] if context.is_admin else services.rates.views(context.project_id)
    return {"limits": [{"verb": "ABSOLUTE", **ceilings}, *rates]}


# Collections that are empty until their issue is built; listing them is no error for Trove's clients.
EMPTY: dict[str, tuple[str, type[base.Answer]]] = {
    "clusters": ("cluster:index", empty.Clusters),
    "modules": ("module:index", empty.Modules),
}


def _empty(collection: str, rule: str, model: type[base.Answer]) -> None:
    async def listing(context: Annotated[RequestContext, Depends(may(rule))]) -> views.View:
        return {collection: []}

    listing.__doc__ = f"No {collection.replace('_', ' ')} yet."
    router.add_api_route(f"/{collection}", listing, methods=["GET"], name=f"list_{collection}",
                         **answers(200, model))  # fmt: skip


for _collection, (_rule, _model) in EMPTY.items():
    _empty(_collection, _rule, _model)
