"""Barbican's versions documents: those who say nothing of microversions are not told of them."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.store import Doc


def key_manager_documents() -> list[Route]:
    """Where clients look for them."""
    return [Route("/key-manager", _all), Route("/key-manager/v1", _one)]


async def _all(request: Request) -> Response:
    version = _version(request)
    told = [version] if "min_version" in version else {"values": [version]}
    return JSONResponse({"versions": told}, 300)


async def _one(request: Request) -> Response:
    return JSONResponse({"version": _version(request)})


def _version(request: Request) -> Doc:
    links = [{"rel": "self", "href": f"{request.base_url.scheme}://{request.base_url.netloc}/key-manager/v1/"}]
    if "openstack-api-version" in request.headers:
        return {"id": "v1", "status": "CURRENT", "min_version": "1.0", "max_version": "1.1", "links": links}
    return {"id": "v1", "status": "stable", "updated": "2015-04-28T00:00:00Z", "links": links}
