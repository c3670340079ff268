"""The outermost layer: request ids, paths, body limits, authentication, and a fault for whatever goes wrong."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from temporalio.service import RPCError

from api.faults import Fault, unavailable
from api.http_limits import read_body
from api.keystone import Identity, Keystone, check_access_rules
from api.settings import ApiSettings
from records.engine import is_away

log = logging.getLogger("api")
VERSION = "/v1.0/"
JSON = "application/json"
WITH_BODY = ("POST", "PUT", "PATCH")
ONCE = frozenset({"x-auth-token", "content-type", "host", "idempotency-key", "x-openstack-request-id",
                  "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix"})  # fmt: skip
# on every answer: many hold what only their reader may see, and none is a page but /docs
HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Edge:
    """Wraps the application; everything that it raises becomes Trove's fault."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, keystone: Callable[[], Keystone]) -> None:
        self._app = app
        self._settings = settings
        self._keystone = keystone
        self._trusted = frozenset(each.strip() for each in settings.trusted_proxies.split(",") if each.strip())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request_id = time.monotonic(), f"req-{uuid4()}"
        answer = _Answer(send, request_id)
        try:
            await self._answer(scope, receive, answer, request_id)
        except Exception as error:  # noqa: BLE001 - the last place where an error can become an answer
            await answer.fault(fault_of(error, request_id))
        log.info("%s %s %s %s %.1f ms", request_id, scope["method"], raw_path(scope).decode("latin-1"), answer.status,
                 (time.monotonic() - began) * 1000)  # fmt: skip

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer", request_id: str) -> None:
        headers = headers_of(scope)
        scope["path"] = normal_path(scope)
        scope.setdefault("state", {})
        scope["state"]["request_id"] = request_id
        scope["state"]["base"] = self._base(scope, headers)
        if scope["path"].startswith(VERSION):
            scope["state"]["identity"] = await self._authenticate(scope, headers)
        body = await read_body(receive, self._settings.max_body_bytes)
        scope["state"]["body"] = _readable(scope["method"], headers, body)
        await self._app(scope, _once(body, receive), answer)

    async def _authenticate(self, scope: Scope, headers: Mapping[str, str]) -> Identity:
        identity = await self._keystone().identify(headers.get("x-auth-token"))
        check_access_rules(identity, scope["method"], scope["path"])
        project = scope["path"].removeprefix(VERSION).split("/", 1)[0]
        if not identity.project_id or project != identity.project_id:
            raise Fault(403, f"User with tenant id {identity.project_id} cannot access this resource.")
        return identity

    def _base(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """What links start with: as the client wrote it, or as a trusted proxy says that it did."""
        scheme, host, prefix = scope["scheme"], headers.get("host", ""), ""
        peer = scope["client"][0] if scope.get("client") else ""
        if "*" in self._trusted or peer in self._trusted:
            scheme = headers.get("x-forwarded-proto", scheme)
            host = headers.get("x-forwarded-host", host)
            prefix = headers.get("x-forwarded-prefix", "").rstrip("/")
        return f"{scheme}://{host}{prefix}"


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers by name, in lower case; 400 for one that comes twice where only one of them could count."""
    found: dict[str, str] = {}
    for name, value in ((each.decode("latin-1"), said.decode("latin-1")) for each, said in scope["headers"]):
        if name in found and name in ONCE:
            raise Fault(400, f"The header {name} comes more than once.")
        found[name] = value
    return found


def raw_path(scope: Scope) -> bytes:
    """The path as the client sent it, still percent-encoded, without the query."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw.split(b"?")[0]


def normal_path(scope: Scope) -> str:
    """Collapse slashes and decode each segment once; 400 for what is not UTF-8.

    A slash and a percent sign within a segment stay encoded, so that nothing is decoded twice: see `routes.common.segment`.
    """
    segments = [each for each in raw_path(scope).split(b"/") if each]
    try:
        decoded = [unquote_to_bytes(each).decode() for each in segments]
    except UnicodeDecodeError:
        raise Fault(400, "The path is not UTF-8.") from None
    if any("\0" in each for each in decoded) or b"%00" in scope.get("query_string", b""):
        raise Fault(400, "The path or the query contains a NUL.")
    return "/" + "/".join(each.replace("%", "%25").replace("/", "%2F") for each in decoded)


def _readable(method: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The body that counts: JSON of a method that has one. Without a Content-Type it is taken for JSON."""
    if method not in WITH_BODY or not body:
        return b""
    kind = headers.get("content-type", JSON).split(";")[0].strip().lower()
    if kind != JSON:
        raise Fault(415, f"Unsupported Content-Type '{kind[:60]}': only {JSON} is understood.")
    return body


def _once(body: bytes, after: Receive) -> Receive:
    """The body, then what comes after it: whoever streams an answer waits there for the client's end."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return await after()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def fault_of(error: BaseException, request_id: str) -> Fault:
    """The fault for what went wrong; what nobody foresaw is logged whole and told by its request id."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, RPCError | TimeoutError | ConnectionError) or is_away(error):
        log.warning("%s %r", request_id, error)
        return unavailable()
    log.error("%s", request_id, exc_info=error)
    return Fault(
        500, f"Internal Server Error. Please keep this ID to help us figure out what went wrong: ({request_id})."
    )


class _Answer:
    """Sends what the application answers, with the request's id; knows whether it has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *HEADERS, self._id_header()]}
        await self._send(message)

    def _id_header(self) -> tuple[bytes, bytes]:
        return b"x-openstack-request-id", self._request_id.encode()

    async def fault(self, fault: Fault) -> None:
        """Answer with a fault, unless an answer is on its way already."""
        if self.status:
            log.error("%s failed after its answer had begun", self._request_id)
            return
        content = json.dumps(fault.body()).encode()
        headers: dict[str, str] = {"content-type": JSON, "content-length": str(len(content)), **fault.headers}
        listed: list[Any] = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": fault.code, "headers": listed})
        await self({"type": "http.response.body", "body": content})
