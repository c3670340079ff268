"""What may be set of a datastore version in configuration groups."""

from typing import Annotated

from fastapi import APIRouter, Depends

from api import views
from api.answers import configurations as said
from api.context import RequestContext, Services
from api.documented import answers
from api.faults import Fault
from api.requests import may
from api.routes.catalogue import version_in, version_with_id
from api.routes.common import PREFIX, AppServices
from contract.domain.datastores.parameters import Parameter
from records.views import VersionView

router = APIRouter(prefix=f"{PREFIX}/datastores", tags=["configuration groups"])


@router.get("/{datastore}/versions/{version}/parameters", **answers(200, said.Parameters))
async def list_parameters(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration-parameter:index"))],
    datastore: str,
    version: str,
) -> views.View:
    """All parameters of a version, by name."""
    return await _list(services, await version_in(services, context, datastore, version))


@router.get("/versions/{version}/parameters", **answers(200, said.Parameters))
async def list_parameters_by_version(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration-parameter:index_by_version"))],
    version: str,
) -> views.View:
    """All parameters of a version, by the version's id alone."""
    return await _list(services, await version_with_id(services, context, version))


@router.get("/{datastore}/versions/{version}/parameters/{name}", **answers(200, said.Parameter))
async def show_parameter(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration-parameter:show"))],
    datastore: str,
    version: str,
    name: str,
) -> views.View:
    """One parameter of a version."""
    return await _one(services, await version_in(services, context, datastore, version), name)


@router.get("/versions/{version}/parameters/{name}", **answers(200, said.Parameter))
async def show_parameter_by_version(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("configuration-parameter:show_by_version"))],
    version: str,
    name: str,
) -> views.View:
    """One parameter, by the version's id alone."""
    return await _one(services, await version_with_id(services, context, version), name)


async def _list(services: Services, version: VersionView) -> views.View:
    found = await services.reader.offered(version)
    return {"configuration-parameters": [_view(version, each) for each in found.values()]}


async def _one(services: Services, version: VersionView, name: str) -> views.View:
    found = (await services.reader.offered(version)).get(name.lower())
    if found is None:
        raise Fault(404, f"Configuration parameter '{name[:255]}' cannot be found.")
    return _view(version, found)


def _view(version: VersionView, parameter: Parameter) -> views.View:
    view = {
        "name": parameter.name,
        "datastore_version_id": str(version.id),
        "restart_required": parameter.restart,
        "type": parameter.type,
        "min": parameter.minimum,
        "max": parameter.maximum,
        "choices": list(parameter.choices) or None,
        "unit": parameter.unit,
    }
    return {name: value for name, value in view.items() if value is not None}
