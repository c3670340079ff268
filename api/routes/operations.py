"""Operations of an instance (beyond Trove): what is going on, step by step, and how to stop it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api import answers as said
from api import views
from api.context import Asker, Means
from api.documented import WRITE, answers, empty
from api.faults import Fault, missing
from api.operations import cancel
from api.requests import may, uuid_or_missing
from api.routes.common import PREFIX, MeansHere, instance_named
from records.views import OperationView

router = APIRouter(prefix=f"{PREFIX}/instances/{{instance_id}}/operations", tags=["operations"])
Reading = Annotated[Asker, Depends(may("instance:operations"))]


@router.get("", **answers(200, said.Operations))
async def list_operations(means: MeansHere, asker: Reading, instance_id: str) -> views.View:
    """The instance's operations with their steps, the newest first."""
    row = await instance_named(means, asker, instance_id)
    return {"operations": [views.operation(asker, each) for each in await means.reader.list_operations(row.id)]}


@router.get("/{operation_id}", **answers(200, said.OneOperation))
async def show_operation(means: MeansHere, asker: Reading, instance_id: str, operation_id: str) -> views.View:
    """One operation with its steps."""
    return {"operation": views.operation(asker, await _operation(means, asker, instance_id, operation_id))}


@router.delete("/{operation_id}", **answers(202, faults=WRITE))
async def cancel_operation(
    means: MeansHere,
    asker: Annotated[Asker, Depends(may("instance:cancel_operation"))],
    instance_id: str,
    operation_id: str,
) -> Response:
    """Ask a running operation to stop; it ends as its runbook says, after the step that it is in."""
    row = await _operation(means, asker, instance_id, operation_id)
    if row.state != "RUNNING":
        raise Fault(422, f"Operation {row.id} has ended: {row.state}.")
    if row.kind in ("delete", "settle"):
        raise Fault(422, f"Operation {row.id} is a {row.kind}: it only goes forward.")
    await cancel(means.temporal, row.workflow_id, row.run_id)
    return empty(202)


async def _operation(means: Means, asker: Asker, instance_id: str, operation_id: str) -> OperationView:
    instance = await instance_named(means, asker, instance_id)
    found = await means.reader.get_operation(uuid_or_missing(operation_id))
    if found is None or found.instance_id != instance.id:
        raise missing(operation_id)
    return found
