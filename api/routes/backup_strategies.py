"""Backup strategies: into which container backups go that name none."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api import views
from api.answers import backups as said
from api.calls import administer
from api.context import RequestContext
from api.documented import WRITE, answers, empty, query, takes
from api.faults import Fault
from api.models.backups import CreateStrategyBody
from api.requests import body_of, may
from api.routes.common import PREFIX, AppServices, id_of, instance_named
from contract.ports.backup_records import BackupRecords, Strategy

router = APIRouter(prefix=f"{PREFIX}/backup_strategies", tags=["backups"])


@router.get("", **answers(200, said.Strategies), **query("instance_id", "project_id"))
async def list_strategies(
    request: Request, services: AppServices, context: Annotated[RequestContext, Depends(may("backup_strategy:index"))]
) -> views.View:
    """The project's strategies, or that of an instance; another project's for administrators."""
    which = _which(request, context)
    found = await services.backups.list_strategies(which.project_id, which.instance_id)
    return {"backup_strategies": [_view(which.project_id, *each) for each in found]}


@router.post("", **answers(202, said.OneStrategy, faults=WRITE), **takes(CreateStrategyBody))
async def create_strategy(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("backup_strategy:create"))],
    body: Annotated[CreateStrategyBody, Depends(body_of(CreateStrategyBody))],
) -> views.View:
    """Say where backups go, of an instance or of the project; in place of what was said before."""
    wanted = body.backup_strategy
    strategy = Strategy(project_id=context.project_id, container=wanted.swift_container)
    if wanted.instance_id is not None:
        row = await instance_named(services, context, wanted.instance_id)
        strategy = strategy.model_copy(update={"instance_id": row.id, "project_id": row.project_id})
    await administer(services, context, BackupRecords.set_strategy, strategy)
    shown = str(strategy.instance_id) if strategy.instance_id else ""
    return {"backup_strategy": _view(strategy.project_id, shown, strategy.container)}


@router.delete("", **answers(202, faults=WRITE), **query("instance_id", "project_id"))
async def delete_strategy(
    request: Request, services: AppServices, context: Annotated[RequestContext, Depends(may("backup_strategy:delete"))]
) -> Response:
    """Forget where the backups of an instance, or of the project, go; no error where nothing was said."""
    await administer(services, context, BackupRecords.remove_strategy, _which(request, context))
    return empty(202)


def _which(request: Request, context: RequestContext) -> Strategy:
    """Whose strategy the query is about."""
    project, instance = request.query_params.get("project_id"), request.query_params.get("instance_id")
    if project and project != context.project_id and not context.is_admin:
        raise Fault(403, "User does not have admin privileges.")
    instance_id = id_of(instance, "instance_id") if instance else None
    return Strategy(project_id=project or context.project_id, instance_id=instance_id)


def _view(project_id: str, instance_id: str, container: str) -> views.View:
    return {"project_id": project_id, "instance_id": instance_id, "backend": "swift", "swift_container": container}
