"""Management: for administrators; others get 401, as Trove has it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from api import views
from api.answers import mgmt as said
from api.answers import quotas
from api.calls import administer
from api.context import RequestContext, Services
from api.documented import WRITE, answers, query, takes
from api.faults import Fault, missing
from api.models.mgmt import QuotasBody
from api.requests import Paging, administrator, body_of, context_of, marker_uuid, paging
from api.routes.common import PREFIX, AppServices
from contract.domain.fact import is_uuid
from contract.ports.records import Administration, QuotaChange
from records.reads import Scope
from records.views import InstanceView

router = APIRouter(prefix=f"{PREFIX}/mgmt", tags=["management"])
Admin = Annotated[RequestContext, Depends(administrator)]


def _flag(request: Request, name: str) -> bool | None:
    """True, false, or None where nothing is said."""
    said = request.query_params.get(name, "").lower()
    if not said:
        return None
    if said not in ("true", "false", "1", "0"):
        raise Fault(400, f"{name}: '{said[:40]}' is neither true nor false.")
    return said in ("true", "1")


@router.get(
    "/instances", **answers(200, said.ManagedInstancesPage), **query("limit", "marker", "deleted", "project_id")
)
async def list_all_instances(
    request: Request, services: AppServices, context: Admin, page: Annotated[Paging, Depends(paging)]
) -> views.View:
    """Every project's instances; with `deleted` those alone that are deleted or are not, else both, as in Trove."""
    scope = Scope(request.query_params.get("project_id") or None, deleted=_flag(request, "deleted"))
    found = await services.reader.list_instances(scope, page.limit, marker_uuid(page))
    items = [views.mgmt_instance(context, each) for each in found.instances]
    return views.paged(context, "mgmt/instances", "instances", items, page.following(found.marker))


@router.get("/instances/{instance_id}", **answers(200, said.OneManagedInstance), **query("deleted"))
async def show_any_instance(request: Request, services: AppServices, context: Admin, instance_id: str) -> views.View:
    """One instance of any project, a deleted one too where it is asked for."""
    row = await _any(services, instance_id, deleted=None if _flag(request, "deleted") else False)
    root = await services.reader.get_root(row.id)
    view = views.mgmt_instance(context, row)
    guest = await services.reader.get_guest(row.id)
    more = {"root_enabled": views.moment(root.enabled_at), "root_enabled_by": root.enabled_by}
    return {"instance": view | more | {"guest": views.guest(guest) if guest else None}}


@router.get("/instances/{instance_id}/root", **answers(200, said.OneRootHistory))
async def show_root_history(services: AppServices, context: Admin, instance_id: str) -> views.View:
    """Whether the tenant ever had the administrator account."""
    row = await _any(services, instance_id)
    root = await services.reader.get_root(row.id)
    history = {
        "id": str(row.id),
        "enabled": views.moment(root.enabled_at) or "Never",
        "user": root.enabled_by or "Nobody",
    }
    return {"root_history": history}


async def _any(services: Services, wanted: str, *, deleted: bool | None = False) -> InstanceView:
    found = await services.reader.get_instance(wanted, Scope(None, deleted=deleted)) if is_uuid(wanted) else None
    if found is None:
        raise missing(wanted[:255])
    return found


@router.get("/quotas/{project}", **answers(200, quotas.Quotas))
async def show_quotas(request: Request, services: AppServices, project: str) -> views.View:
    """A project's ceilings and use; its own for everybody."""
    context = context_of(request)
    if project != context.project_id:
        if not context.is_admin:
            raise Fault(403, "The quotas of another project are for administrators.")
        await _require_project(request, project)
    found = await services.reader.list_quotas(project)
    quotas = [{"resource": each.resource, "in_use": each.in_use, "reserved": 0, "limit": each.limit} for each in found]
    return {"quotas": quotas}


@router.put("/quotas/{project}", **answers(200, quotas.ChangedQuotas, faults=WRITE), **takes(QuotasBody))
async def update_quotas(
    request: Request,
    services: AppServices,
    context: Admin,
    project: str,
    body: Annotated[QuotasBody, Depends(body_of(QuotasBody))],
) -> views.View:
    """Set a project's ceilings, and answer with those that were set; -1 is unlimited."""
    await _require_project(request, project)
    wanted = {name: limit for name, limit in body.quotas.items() if limit is not None}
    known = {each.resource for each in await services.reader.list_quotas(project)}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise Fault(404, f"Quota could not be found for resource {unknown[0][:80]}.")
    await administer(services, context, Administration.set_quotas, QuotaChange(project_id=project, limits=wanted))
    return {"quotas": wanted}


async def _require_project(request: Request, project: str) -> None:
    """404 for a project that Keystone does not know; asked with the administrator's own token."""
    if not await request.app.state.keystone.has_project(request.headers["x-auth-token"], project):
        raise Fault(404, f"Project {project[:80]} cannot be found.")


@router.get("/datastore-versions", **answers(200, said.ManagedVersions))
async def list_all_versions(services: AppServices, context: Admin) -> views.View:
    """Every datastore version, inactive ones too."""
    found = await services.reader.list_datastores(inactive=True)
    return {
        "versions": [
            views.mgmt_version(each, datastore.default_version_id) for datastore in found for each in datastore.versions
        ]
    }


@router.get("/datastore-versions/{version_id}", **answers(200, said.OneManagedVersion))
async def show_any_version(services: AppServices, context: Admin, version_id: str) -> views.View:
    """One datastore version."""
    for datastore in await services.reader.list_datastores(inactive=True):
        for each in datastore.versions:
            if str(each.id) == version_id.lower():
                return {"version": views.mgmt_version(each, datastore.default_version_id)}
    raise Fault(400, f"Datastore version '{version_id[:255]}' cannot be found.")
