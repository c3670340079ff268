"""Operations of an instance (beyond Trove): what is going on, step by step, and how to stop it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api import views
from api.answers import operations as said
from api.context import RequestContext, Services
from api.documented import WRITE, answers, empty
from api.faults import Fault, missing
from api.operations import cancel
from api.requests import may, uuid_or_missing
from api.routes.common import PREFIX, AppServices, instance_named
from contract.domain.kinds import KINDS
from contract.domain.operation import OperationKind
from records.views import OperationView

router = APIRouter(prefix=f"{PREFIX}/instances/{{instance_id}}/operations", tags=["operations"])
Reading = Annotated[RequestContext, Depends(may("instance:operations"))]


@router.get("", **answers(200, said.Operations))
async def list_operations(services: AppServices, context: Reading, instance_id: str) -> views.View:
    """The instance's operations with their steps, the newest first."""
    row = await instance_named(services, context, instance_id)
    return {"operations": [views.operation(context, each) for each in await services.reader.list_operations(row.id)]}


@router.get("/{operation_id}", **answers(200, said.OneOperation))
async def show_operation(services: AppServices, context: Reading, instance_id: str, operation_id: str) -> views.View:
    """One operation with its steps."""
    return {"operation": views.operation(context, await _operation(services, context, instance_id, operation_id))}


@router.delete("/{operation_id}", **answers(202, faults=WRITE))
async def cancel_operation(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:cancel_operation"))],
    instance_id: str,
    operation_id: str,
) -> Response:
    """Ask an operation to stop, or to wait no more; one that runs ends as its runbook says, after the step that it is in."""
    row = await _operation(services, context, instance_id, operation_id)
    if row.state not in ("RUNNING", "WAITING"):
        raise Fault(422, f"Operation {row.id} has ended: {row.state}.")
    if row.state == "RUNNING" and not KINDS[OperationKind(row.kind)].cancellable:
        raise Fault(422, f"Operation {row.id} is a {row.kind}: it only goes forward.")
    await cancel(services.temporal, row.workflow_id, row.run_id)
    return empty(202)


async def _operation(services: Services, context: RequestContext, instance_id: str, operation_id: str) -> OperationView:
    instance = await instance_named(services, context, instance_id)
    found = await services.reader.get_operation(uuid_or_missing(operation_id), instance.id)
    if found is None:
        raise missing(operation_id)
    return found
