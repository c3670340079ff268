"""What the services share on the wire: callers, errors in each service's own words, lists with filters and pages."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localcloud.identity import Caller
from localcloud.store import Doc


class Refusal(Exception):
    """An HTTP error that the service's own formatter turns into a body."""

    def __init__(self, status: int, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind


ZONE = "nova"  # the availability zone
LONGEST = 255  # characters of a name and a description
NAMES = {400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest",
         413: "overLimit", 500: "computeFault"}  # fmt: skip


def overlong(wanted: dict[str, Any]) -> str | None:
    """Which of a wanted thing's texts is longer than OpenStack takes."""
    return next((name for name in ("name", "description") if len(wanted.get(name) or "") > LONGEST), None)


def error_body(service: str, refusal: Refusal) -> JSONResponse:
    """The error as Nova and Cinder, Neutron, Glance or Barbican say it."""
    status, message = refusal.status, refusal.message
    if service == "network":
        body: Any = {"NeutronError": {"type": refusal.kind or "HTTPError", "message": message, "detail": ""}}
    elif service == "image":
        body = {"message": message, "code": f"{status}", "title": refusal.kind}
    elif service == "key-manager":
        body = {"code": status, "title": HTTPStatus(status).phrase, "description": message}
    else:
        body = {NAMES.get(status, "computeFault"): {"code": status, "message": message}}
    return JSONResponse(body, status)


def caller_of(request: Request) -> Caller:
    """Whose token came with the request; the middleware has checked it."""
    caller: Caller = request.state.caller
    return caller


async def json_of(request: Request) -> Doc:
    """The body as an object; 400 otherwise."""
    try:
        body = await request.json()
    except ValueError as error:
        raise Refusal(400, "Malformed request body") from error
    if not isinstance(body, dict):
        raise Refusal(400, "Malformed request body")
    return body


def page_of(request: Request, docs: Iterable[Doc]) -> tuple[list[Doc], str | None]:
    """Cut a list by `limit` and `marker`; return the page and the next one's address."""
    found = list(docs)
    marker, limit = request.query_params.get("marker"), request.query_params.get("limit")
    if marker:
        ids = [doc["id"] for doc in found]
        found = found[ids.index(marker) + 1 :] if marker in ids else []
    if not limit or not limit.isdigit() or int(limit) == 0 or len(found) <= int(limit):
        return found, None
    page = found[: int(limit)]
    url = request.url.include_query_params(marker=page[-1]["id"])
    return page, str(url)


def listing(request: Request, key: str, docs: Iterable[Doc]) -> JSONResponse:
    """A page of a collection, with `<key>_links` where there is more."""
    page, following = page_of(request, docs)
    body: Doc = {key: page}
    if following:
        body[f"{key}_links"] = [{"rel": "next", "href": following}]
    return JSONResponse(body)


def microversion_of(request: Request, service: str) -> tuple[int, int]:
    """The microversion that a request asks for; the first one where it names none."""
    said = request.headers.get("OpenStack-API-Version", "").split()
    if len(said) != 2 or said[0] != service or "." not in said[1]:
        return 0, 0
    major, minor = said[1].split(".", 1)
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def empty(status: int = 204) -> Response:
    """An answer without a body."""
    return Response(status_code=status)
