"""Management of datastores and their versions, for administrators."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Response

from api.calls import administer, ask_cloud
from api.context import RequestContext
from api.documented import WRITE, answers, empty, takes
from api.faults import Fault
from api.models.mgmt import ChangeVersionBody, CreateVersionBody, VersionBody
from api.requests import administrator, body_of, may
from api.routes.common import PREFIX, AppServices, segment
from contract.domain.catalogue import CatalogueEntry, ImageRequest, NewVersion, VersionChange
from contract.ports.cloud import Offers
from contract.ports.records import Administration

router = APIRouter(prefix=PREFIX, tags=["management"])
Admin = Annotated[RequestContext, Depends(administrator)]
VERSION = "/mgmt/datastore-versions/{version_id}"


@router.post("/mgmt/datastore-versions", **answers(202, faults=WRITE), **takes(CreateVersionBody))
async def create_version(
    services: AppServices, context: Admin, body: Annotated[CreateVersionBody, Depends(body_of(CreateVersionBody))]
) -> Response:
    """Add a version, and its datastore where there is none of the name."""
    wanted = body.version
    if not (wanted.image or wanted.image_tags):
        raise Fault(400, "Validation error: version: image or image_tags are needed")
    new = NewVersion(
        id=uuid4(),
        datastore=wanted.datastore_name,
        name=wanted.name,
        number=wanted.version or wanted.name,
        manager=wanted.datastore_manager,
        image=wanted.image or "",
        image_tags=tuple(wanted.image_tags or ()),
        packages=tuple(wanted.packages or ()),
        active=wanted.active,
        default=bool(wanted.default),
    )
    await _require_image(services, context, wanted)
    await administer(services, context, Administration.create_version, new)
    return empty(202)


@router.patch(VERSION, **answers(202, faults=WRITE), **takes(ChangeVersionBody))
async def change_version(
    services: AppServices,
    context: Admin,
    version_id: str,
    body: Annotated[ChangeVersionBody, Depends(body_of(ChangeVersionBody))],
) -> Response:
    """Change what is named. A null image is none: then the tags count."""
    change = VersionChange(
        id=_id_of(version_id),
        name=body.name,
        manager=body.datastore_manager,
        image=(body.image or "") if "image" in body.model_fields_set else None,
        image_tags=None if body.image_tags is None else tuple(body.image_tags),
        packages=None if body.packages is None else tuple(body.packages),
        active=body.active,
        default=body.default,
    )
    await _require_image(services, context, body)
    await administer(services, context, Administration.change_version, change)
    return empty(202)


async def _require_image(services: AppServices, context: RequestContext, said: VersionBody) -> None:
    """400 for an image, or tags, that Glance has no active image of."""
    if said.image or said.image_tags:
        wanted = ImageRequest(image=said.image or "", image_tags=tuple(said.image_tags or ()))
        await ask_cloud(services, context, Offers.check_image, wanted)


@router.delete(VERSION, **answers(202, faults=WRITE))
async def delete_version(services: AppServices, context: Admin, version_id: str) -> Response:
    """Remove a version that no instance, configuration group or backup has."""
    await administer(services, context, Administration.delete_version, CatalogueEntry(id=_id_of(version_id)))
    return empty(202)


@router.delete("/datastores/{datastore}", **answers(202, faults=WRITE))
async def delete_datastore(
    services: AppServices, context: Annotated[RequestContext, Depends(may("datastore:delete"))], datastore: str
) -> Response:
    """Remove a datastore, by id or name, that has no versions."""
    wanted = segment(datastore)
    found = await services.reader.get_datastore(wanted, inactive=True)
    if found is None:
        raise Fault(404, f"Datastore '{wanted[:255]}' cannot be found.")
    await administer(services, context, Administration.delete_datastore, CatalogueEntry(id=found.id))
    return empty(202)


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Fault(400, f"Datastore version '{text[:255]}' cannot be found.") from None
