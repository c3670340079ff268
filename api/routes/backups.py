"""Backups: make, list, show, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from api import views
from api.answers import backups as said
from api.context import RequestContext, Services
from api.documented import WRITE, answers, empty, query, takes
from api.faults import Fault, missing
from api.idempotency import forget, thing_of
from api.models.backups import BackupBody, CreateBackupBody
from api.operations import operations_of
from api.requests import Paging, body_of, may, paging
from api.routes.common import PREFIX, TRUE, AppServices, id_of, instance_named, swift_account
from contract.domain.backups import BackupFacts, BackupPlace, BackupStatus, NewBackup
from contract.domain.fact import is_uuid
from records.backup_reads import BackupFilter, BackupView
from records.reads import Scope
from records.views import InstanceView

router = APIRouter(prefix=PREFIX, tags=["backups"])
FARTHEST = 10**9  # that a list is read from
KEPT = (BackupStatus.COMPLETED, BackupStatus.DELETE_FAILED)
FALSE = ("", "false", "0", "no", "off")


@router.get(
    "/backups",
    **answers(200, said.BackupsPage),
    **query("datastore", "instance_id", "project_id", "all_projects", "limit", "marker"),
)
async def list_backups(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("backup:index"))],
    page: Annotated[Paging, Depends(paging)],
) -> views.View:
    """The project's backups, what changed last first; all projects', or another's, for administrators."""
    asked = request.query_params
    scope, datastore = _scope_of(request, services, context), asked.get("datastore")
    if datastore is not None:
        found = await services.reader.get_datastore(datastore, inactive=True)
        if found is None:
            raise Fault(404, f"Datastore '{datastore[:255]}' cannot be found.")
        datastore = found.name
    instance_id = id_of(asked["instance_id"], "instance_id") if asked.get("instance_id") else None
    return await _page(services, context, page, ("backups", scope, BackupFilter(instance_id, datastore)))


@router.get("/instances/{instance_id}/backups", **answers(200, said.BackupsPage), **query("limit", "marker"))
async def list_backups_of_instance(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:backups"))],
    page: Annotated[Paging, Depends(paging)],
    instance_id: str,
) -> views.View:
    """The backups of an instance, what changed last first."""
    row = await instance_named(services, context, instance_id)
    which = BackupFilter(instance_id=row.id)
    return await _page(services, context, page, (f"instances/{row.id}/backups", context.scope, which))


@router.post("/backups", **answers(202, said.OneBackup, faults=(*WRITE, 501)), **takes(CreateBackupBody))
async def create_backup(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("backup:create"))],
    body: Annotated[CreateBackupBody, Depends(body_of(CreateBackupBody))],
) -> views.View:
    """Back an instance up, in full, to the Swift of the caller's project. The database serves meanwhile.

    With an Idempotency-Key, once however often it is sent.
    """
    wanted = body.backup
    _refuse_what_is_not_there(wanted)
    instance = await instance_named(services, context, wanted.instance or "")
    thing = await thing_of(services, context, request)
    row = await services.backups.get_backup(thing.id, context.scope) if thing.known else None
    if row is None:
        try:
            place = await _place(request, services, wanted, instance)
            new = NewBackup(id=thing.id, name=wanted.name, description=wanted.description, place=place)
            await operations_of(services, context).back_up(instance, new)
        except Fault as fault:
            await forget(services, context, request, fault)
            raise
        row = await services.backups.get_backup(thing.id, context.scope)
    if row is None:
        raise missing(str(thing.id))
    return {"backup": _view(row)}


@router.get("/backups/{backup}", **answers(200, said.OneBackup))
async def show_backup(
    services: AppServices, context: Annotated[RequestContext, Depends(may("backup:show"))], backup: str
) -> views.View:
    """One backup."""
    return {"backup": _view(await _found(services, context, backup))}


@router.delete("/backups/{backup}", **answers(202, faults=(*WRITE, 501)))
async def delete_backup(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("backup:delete"))],
    backup: str,
) -> Response:
    """Delete a backup that is neither being made nor restored from; then it is a 404."""
    row = await _found(services, context, backup)
    place, gone = BackupPlace.model_validate(row.place), False
    account = await swift_account(request, services, services.containers)
    if account.url == place.account_url:
        gone = await services.containers.is_gone(account, place)
    await operations_of(services, context).delete_backup(row.id, objects_gone=gone)
    return empty(202)


def _refuse_what_is_not_there(wanted: BackupBody) -> None:
    if wanted.restore_from is not None:
        raise Fault(501, "Backups of other regions (restore_from) are not implemented yet.")
    if wanted.parent_id is not None or wanted.incremental:
        raise Fault(501, "Incremental backups are not implemented yet.")
    if wanted.storage_driver == "cinder":
        raise Fault(501, "Backups by snapshots of volumes (storage_driver cinder) are not implemented yet.")
    if wanted.storage_driver not in (None, "swift"):
        raise Fault(400, f"storage_driver: '{wanted.storage_driver}' is none of swift, cinder")


async def _place(request: Request, services: Services, wanted: BackupBody, instance: InstanceView) -> BackupPlace:
    """The container that the request, or a strategy, or the settings name, made where it is missing."""
    account = await swift_account(request, services, services.containers)
    container = wanted.swift_container
    if container is None:
        container = await services.backups.container_for(instance.project_id, instance.id)
    return await services.containers.prepare(account, container or services.settings.backup_container)


def _scope_of(request: Request, services: Services, context: RequestContext) -> Scope:
    """Whose backups are asked for; 403 for others' without the right."""
    project, everybody = request.query_params.get("project_id"), request.query_params.get("all_projects", "").lower()
    if everybody not in (*TRUE, *FALSE):
        raise Fault(400, f"all_projects '{everybody[:40]}' is neither true nor false.")
    if not project and everybody in FALSE:
        return Scope(context.project_id)
    if not services.policy.allows("backup:index:all_projects", context.identity, context.project_id):
        raise Fault(403, "Policy doesn't allow backup:index:all_projects to be performed.")
    return Scope(project or None)


async def _page(
    services: Services, context: RequestContext, page: Paging, listed: tuple[str, Scope, BackupFilter]
) -> views.View:
    path, scope, which = listed
    offset = _offset(page)
    found, more = await services.backups.list_backups(scope, which, page.limit, offset)
    following = page.following(str(offset + len(found)) if more else None)
    return views.paged(context, path, "backups", [_view(each) for each in found], following)


def _offset(page: Paging) -> int:
    said = page.marker or "0"
    if not (said.isascii() and said.isdigit()):
        raise Fault(400, f"marker '{said[:40]}' is not a number that is 0 or more.")
    return min(int(said[:10]), FARTHEST)


async def _found(services: Services, context: RequestContext, wanted: str) -> BackupView:
    found = await services.backups.get_backup(UUID(wanted), context.scope) if is_uuid(wanted) else None
    if found is None:
        raise missing(wanted[:255])
    return found


def _view(row: BackupView) -> views.View:
    facts = BackupFacts.model_validate({"id": row.id, "instance_id": row.instance_id, "project_id": row.project_id,
                                        "status": row.status, "place": row.place})  # fmt: skip
    return {
        "id": str(row.id),
        "name": row.name,
        "description": row.description,
        "instance_id": str(row.instance_id),
        "project_id": row.project_id,
        "parent_id": None,
        "status": row.status,
        "reason": row.reason,
        "size": round(row.size_bytes / views.GIB, 3) if row.size_bytes is not None else None,
        "locationRef": facts.location if facts.status in KEPT else None,
        "created": views.moment(row.created),
        "updated": views.moment(row.updated),
        "datastore": {
            "type": row.datastore,
            "version": row.datastore_version,
            "version_id": str(row.datastore_version_id),
        },
    }
