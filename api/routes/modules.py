"""Modules: there are none, so none can be applied or removed."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api import views
from api.answers import empty as said
from api.context import RequestContext
from api.documented import READ, WRITE, answers, takes
from api.faults import Fault
from api.models.actions import ApplyModulesBody
from api.requests import body_of, may
from api.routes.common import PREFIX, AppServices, instance_named

router = APIRouter(prefix=f"{PREFIX}/instances/{{instance_id}}/modules", tags=["modules"])


@router.get("", **answers(200, said.Modules))
async def list_modules_of_instance(
    services: AppServices, context: Annotated[RequestContext, Depends(may("instance:module_list"))], instance_id: str
) -> views.View:
    """No modules."""
    await instance_named(services, context, instance_id)
    return {"modules": []}


@router.post("", **answers(200, said.Modules, faults=WRITE), **takes(ApplyModulesBody))
async def apply_modules(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:module_apply"))],
    instance_id: str,
    body: Annotated[ApplyModulesBody, Depends(body_of(ApplyModulesBody))],
) -> views.View:
    """404 for every module that is named."""
    await instance_named(services, context, instance_id)
    for each in body.modules:
        raise Fault(404, f"Module {each.id} cannot be found.")
    return {"modules": []}


@router.delete("/{module_id}", **answers(404, faults=(*READ, 422)))
async def remove_module(
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:module_remove"))],
    instance_id: str,
    module_id: str,
) -> Response:
    """404: it was never applied."""
    await instance_named(services, context, instance_id)
    raise Fault(404, f"Module {module_id[:255]} cannot be found.")
