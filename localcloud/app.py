"""The five services as one ASGI application, with versions documents, tokens, faults and error bodies."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from localcloud.actions import InstanceActions
from localcloud.cloud import Cloud, awake
from localcloud.compute import Flavors, Servers
from localcloud.http import Refusal, caller_of, empty, error_body, json_of
from localcloud.identity import Unauthorized
from localcloud.image import Images
from localcloud.key_manager.documents import key_manager_documents
from localcloud.key_manager.secrets import Secrets
from localcloud.network import Networks
from localcloud.volume import Volumes

OPEN_PATHS = (
    "/",
    "/compute",
    "/compute/v2.1",
    "/volume",
    "/volume/v3",
    "/image",
    "/network",
    "/network/v2.0",
    "/key-manager",
    "/key-manager/v1",
    "/healthcheck",
)

SERVICES = ("compute", "volume", "image", "network", "key-manager")


def build(cloud: Cloud) -> ASGIApp:
    """The application; starting it wakes the cloud, ending it shuts the host down."""
    compute = [each for part in (Servers, InstanceActions, Flavors) for each in part(cloud).routes()]
    services: list[BaseRoute] = [
        Mount("/compute/v2.1", routes=compute),
        Mount("/volume/v3/{project}", routes=Volumes(cloud).routes()),
        Mount("/image/v2", routes=Images(cloud).routes()),
        Mount("/network/v2.0", routes=Networks(cloud).routes()),
        Mount("/key-manager/v1", routes=Secrets(cloud).routes()),
        Route("/faults", Faults(cloud).serve, methods=["GET", "POST", "DELETE"]),
    ]
    application = Starlette(
        routes=[*_documents(), *services],
        lifespan=lambda _: awake(cloud),
        exception_handlers={Refusal: _refused, 404: _not_found, 405: _not_found},
    )
    return Gate(application, cloud)


class Gate:
    """What every request passes: its path is made plain, its token is checked, and faults are applied."""

    def __init__(self, inner: ASGIApp, cloud: Cloud) -> None:
        self._inner = inner
        self._cloud = cloud

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        scope["path"] = scope["path"].rstrip("/") or "/"
        request = Request(scope, receive)
        if scope["path"] not in OPEN_PATHS:
            try:
                scope.setdefault("state", {})["caller"] = await self._cloud.identity.caller_of(
                    request.headers.get("X-Auth-Token")
                )
            except Unauthorized:
                await self._unauthorized()(scope, receive, send)
                return
        body = await request.body()
        await self._with_faults(scope, _again(body), send, body)

    def _unauthorized(self) -> Response:
        text = "The request you have made requires authentication."
        error = {"error": {"code": 401, "title": "Unauthorized", "message": text}}
        headers = {"WWW-Authenticate": f'Keystone uri="{self._cloud.settings.keystone}"'}
        return JSONResponse(error, 401, headers=headers)

    async def _with_faults(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        service = scope["path"].split("/")[1]
        rule = None
        if service != "faults":
            rule = self._cloud.faults.of_request(service, scope["method"], scope["path"], body.decode(errors="replace"))
        if rule is None:
            await self._inner(scope, receive, send)
            return
        if rule.status is not None:
            answer = rule.answer or {"error": {"code": rule.status, "message": "a fault was asked for"}}
            await JSONResponse(answer, rule.status)(scope, receive, send)
            return
        await asyncio.sleep(rule.delay)
        await self._inner(scope, receive, _losing(send) if rule.lose else send)


def _again(body: bytes) -> Receive:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _losing(send: Send) -> Send:
    """An answer that breaks off after its first bytes: the server closes the connection."""

    async def lose(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [(b"content-length", b"100000"), (b"content-type", b"application/json")]
            await send({**message, "status": 200, "headers": headers})  # a 204 has no body that could be missed
            await send({"type": "http.response.body", "body": b"{", "more_body": True})

    return lose


class Faults:
    """`/faults`, for administrators."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def serve(self, request: Request) -> Response:
        """List, add or clear rules."""
        if not caller_of(request).is_admin:
            raise Refusal(403, "for administrators")
        faults = self._cloud.faults
        if request.method == "DELETE":
            faults.rules.clear()
            return empty()
        if request.method == "POST":
            try:
                faults.add(await json_of(request))
            except TypeError as error:
                raise Refusal(400, str(error)) from error
        return JSONResponse({"faults": [vars(rule) for rule in faults.rules]})


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error_body(request.url.path.split("/")[1], error)


async def _not_found(request: Request, error: Exception) -> Response:
    return error_body(request.url.path.split("/")[1], Refusal(404, "The resource could not be found."))


def _documents() -> list[BaseRoute]:
    """Versions documents, where clients look for them."""

    def one(build: Callable[[str], Any], status: int = 200) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            return JSONResponse(build(str(request.base_url).rstrip("/")), status)

        return serve

    return [
        Route(
            "/",
            one(lambda base: {"services": [f"{base}/{each}" for each in SERVICES]}),
        ),
        Route("/healthcheck", one(lambda _: {"status": "OK"})),
        Route("/compute", one(lambda base: {"versions": [_compute(base)]})),
        Route("/compute/v2.1", one(lambda base: {"version": _compute(base)})),
        Route("/volume", one(lambda base: {"versions": [_volume(base)]}, 300)),
        Route("/volume/v3", one(lambda base: {"versions": [_volume(base)]})),
        Route("/image", one(lambda base: {"versions": _images(base)}, 300)),
        Route("/network", one(lambda base: {"versions": [_network(base)]})),
        *key_manager_documents(),
        Route("/network/v2.0", one(lambda base: {"resources": []})),
    ]


def _links(url: str) -> list[dict[str, str]]:
    return [{"rel": "self", "href": url}]


def _compute(base: str) -> dict[str, Any]:
    return {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z", "links": _links(f"{base}/compute/v2.1/")}  # fmt: skip


def _volume(base: str) -> dict[str, Any]:
    return {"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0",
            "updated": "2021-12-16T00:00:00Z", "links": _links(f"{base}/volume/v3/")}  # fmt: skip


def _images(base: str) -> list[dict[str, Any]]:
    versions = [("v2.16", "CURRENT"), ("v2.9", "SUPPORTED"), ("v2.0", "SUPPORTED")]
    return [{"id": key, "status": status, "links": _links(f"{base}/image/v2/")} for key, status in versions]


def _network(base: str) -> dict[str, Any]:
    return {"id": "v2.0", "status": "CURRENT", "links": _links(f"{base}/network/v2.0")}
