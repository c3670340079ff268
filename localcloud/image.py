"""Glance v2: the images are the folders that have a manifest."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.cloud import Cloud
from localcloud.http import Refusal, listing
from localcloud.store import Doc


def images_of(cloud: Cloud) -> list[Doc]:
    """All images, the newest first; looked up at each request."""
    found = [_view(each) for each in cloud.settings.images.glob("*/manifest.yaml")]
    return sorted(found, key=lambda each: str(each["created_at"]), reverse=True)


def _view(manifest: Path) -> Doc:
    content = yaml.safe_load(manifest.read_text()) or {}
    made = datetime.fromtimestamp(manifest.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = manifest.parent.name
    image_id = str(uuid5(NAMESPACE_DNS, f"image:{name}"))
    return {
        "id": image_id,
        "name": name,
        "status": "active",
        "visibility": "public",
        "owner": None,
        "tags": content.get("tags", []),
        "created_at": made,
        "updated_at": made,
        "size": manifest.stat().st_size,
        "min_disk": content.get("min_disk", 0),
        "min_ram": content.get("min_ram", 0),
        "container_format": "bare",
        "disk_format": "raw",
        "protected": False,
        "os_hidden": False,
        "self": f"/v2/images/{image_id}",
        "file": f"/v2/images/{image_id}/file",
        "schema": "/v2/schemas/image",
    }


def begin_rebuild(cloud: Cloud, server: Doc, wanted: Doc) -> Doc:
    """Begin to put a server on an image, with other user data and metadata where they are said; return what it is now."""
    image = next((each for each in images_of(cloud) if each["id"] == wanted.get("imageRef")), None)
    if image is None:
        raise Refusal(400, "Cannot find image for rebuild")
    kept: Doc = {key: wanted[key] for key in ("user_data", "metadata") if key in wanted}
    doing = {"status": "REBUILD", "task_state": "rebuilding", "image_id": image["id"], "image_name": image["name"]}
    began = cloud.store.put("server", {**server, **kept, **doing, "fault": None})
    cloud.later(cloud.rebuild_server(server["id"]))
    return began


class Images:
    """The image service."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """Paths below `/image/v2`."""
        return [Route("/images", self.index, methods=["GET"]), Route("/images/{id}", self.show, methods=["GET"])]

    async def index(self, request: Request) -> Response:
        """Images by name, tags, status."""
        asked = request.query_params
        found = images_of(self._cloud)
        for key in ("name", "status", "visibility", "id"):
            if key in asked:
                found = [each for each in found if each[key] == asked[key].removeprefix("in:").strip('"')]
        tags = set(asked.getlist("tag"))
        return listing(request, "images", [each for each in found if tags <= set(each["tags"])])

    async def show(self, request: Request) -> Response:
        """One image."""
        for each in images_of(self._cloud):
            if each["id"] == request.path_params["id"]:
                return JSONResponse(each)
        raise Refusal(404, f"No image found with ID {request.path_params['id']}", "Not Found")
