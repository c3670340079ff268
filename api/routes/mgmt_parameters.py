"""What tenants may set of a datastore version, as administrators change it: less than the engine's list, never more."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api import views
from api.answers import configurations as said
from api.calls import administer
from api.context import RequestContext, Services
from api.documented import WRITE, answers, empty, takes
from api.faults import Fault
from api.models.mgmt import ManageParameterBody, ParameterBody
from api.requests import administrator, body_of
from api.routes.catalogue import version_with_id
from api.routes.common import PREFIX, AppServices
from contract.domain.datastores.parameters import Parameter, parameters_of
from contract.ports.configurations import Configurations, ParameterRule
from records.views import VersionView

router = APIRouter(prefix=f"{PREFIX}/mgmt/datastores/versions", tags=["management"])
Admin = Annotated[RequestContext, Depends(administrator)]
Said = Annotated[ManageParameterBody, Depends(body_of(ManageParameterBody))]


@router.get("/{version}/parameters", **answers(200, said.ManagedParameters))
async def list_managed_parameters(services: AppServices, context: Admin, version: str) -> views.View:
    """All that tenants may set of a version."""
    of = await version_with_id(services, context, version)
    return {"configuration-parameters": [_view(of, each) for each in (await services.reader.offered(of)).values()]}


@router.post("/{version}/parameters", **answers(200, said.ManagedParameter, faults=WRITE), **takes(ManageParameterBody))
async def create_parameter(services: AppServices, context: Admin, version: str, body: Said) -> views.View:
    """Offer one that was deleted."""
    of, wanted = await version_with_id(services, context, version), body.parameter
    name = (wanted.name or "").lower()
    if not name:
        raise Fault(400, "Validation error: configuration-parameter.name: Field required")
    if name in await services.reader.offered(of):
        raise Fault(400, f"The parameter {name[:255]} already exists for the datastore version {of.name}.")
    return await _offer(services, context, of, name, wanted)


@router.get("/{version}/parameters/{name}", **answers(200, said.ManagedParameter))
async def show_managed_parameter(services: AppServices, context: Admin, version: str, name: str) -> views.View:
    """One parameter."""
    of = await version_with_id(services, context, version)
    return _view(of, await _offered(services, of, name, 404))


@router.put(
    "/{version}/parameters/{name}", **answers(200, said.ManagedParameter, faults=WRITE), **takes(ManageParameterBody)
)
async def update_parameter(services: AppServices, context: Admin, version: str, name: str, body: Said) -> views.View:
    """Set its bounds; without them they are the engine's."""
    of = await version_with_id(services, context, version)
    known = await _offered(services, of, name, 404)
    if body.parameter.name not in (None, known.name):
        raise Fault(400, "The name of a parameter cannot be changed.")
    return await _offer(services, context, of, known.name, body.parameter)


@router.delete("/{version}/parameters/{name}", **answers(204, faults=WRITE))
async def delete_parameter(services: AppServices, context: Admin, version: str, name: str) -> Response:
    """Offer it no more; groups that have it keep it."""
    of = await version_with_id(services, context, version)
    known = await _offered(services, of, name, 400)
    rule = ParameterRule(datastore_version_id=of.id, name=known.name, hidden=True)
    await administer(services, context, Configurations.rule_parameter, rule)
    return empty(204)


async def _offered(services: Services, of: VersionView, name: str, code: int) -> Parameter:
    found = (await services.reader.offered(of)).get(name.lower())
    if found is None:
        raise Fault(code, f"Configuration parameter '{name[:255]}' cannot be found.")
    return found


async def _offer(
    services: Services, context: RequestContext, of: VersionView, name: str, wanted: ParameterBody
) -> views.View:
    known = parameters_of(of.manager, of.number).get(name)
    if known is not None and wanted.data_type not in (None, known.type):
        raise Fault(400, f"The parameter {name} is of type {known.type}.")
    if known is not None and wanted.restart_required is not None and bool(wanted.restart_required) != known.restart:
        raise Fault(400, f"Whether {name} needs a restart is the engine's: {str(known.restart).lower()}.")
    rule = ParameterRule(datastore_version_id=of.id, name=name, minimum=wanted.min_size, maximum=wanted.max_size)
    await administer(services, context, Configurations.rule_parameter, rule)
    return _view(of, await _offered(services, of, name, 404))


def _view(version: VersionView, parameter: Parameter) -> views.View:
    view = {
        "name": parameter.name,
        "datastore_version_id": str(version.id),
        "restart_required": parameter.restart,
        "type": parameter.type,
        "min_size": parameter.minimum,
        "max_size": parameter.maximum,
    }
    return {name: value for name, value in view.items() if value is not None}
