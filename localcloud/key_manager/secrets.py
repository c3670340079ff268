"""Barbican v1: secrets with their payloads, and who says that it uses them."""

import base64
import binascii
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.cloud import Cloud
from localcloud.http import Refusal, caller_of, empty, json_of
from localcloud.store import Doc, now

KINDS = ("text/plain", "application/octet-stream")
OF_CONSUMERS = ("service", "resource_type", "resource_id")
LARGEST = 20_000  # bytes of a payload, as Barbican has it without a setting
SINCE = (1, 1)  # the microversion with consumers of secrets


class Secrets:
    """The key manager: what a project keeps, its members read."""

    def __init__(self, cloud: Cloud) -> None:
        self._store = cloud.store

    def routes(self) -> list[Route]:
        """Paths below `/key-manager/v1`."""
        return [
            Route("/secrets", self.create, methods=["POST"]),
            Route("/secrets/{id}", self.show, methods=["GET"]),
            Route("/secrets/{id}", self.delete, methods=["DELETE"]),
            Route("/secrets/{id}/payload", self.payload, methods=["GET"]),
            Route("/secrets/{id}/consumers", self.list_consumers, methods=["GET"]),
            Route("/secrets/{id}/consumers", self.add_consumer, methods=["POST"]),
            Route("/secrets/{id}/consumers", self.remove_consumer, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """A secret with its payload: text, or base64 of bytes."""
        body = await json_of(request)
        payload, kind = body.get("payload"), body.get("payload_content_type")
        if (payload is None) != (kind is None) or kind not in (*KINDS, None):
            raise Refusal(400, "payload must be provided with a supported payload_content_type")
        secret_id = str(uuid4())
        content = _content(payload, kind, body.get("payload_content_encoding")) if kind else None
        self._store.put(
            "secret",
            {"id": secret_id, "project_id": caller_of(request).project_id, "created_at": now(), "consumers": [],
             "name": body.get("name") or secret_id, "content_type": kind, "content": content},
        )  # fmt: skip
        return JSONResponse({"secret_ref": _reference(request, secret_id)}, 201)

    async def show(self, request: Request) -> Response:
        """What is known of it; not the payload."""
        return JSONResponse(_view(request, self._of(request)))

    async def payload(self, request: Request) -> Response:
        """The payload, for those who accept its type."""
        secret = self._of(request)
        if secret["content"] is None:
            raise Refusal(404, "Not Found. Sorry but your secret has no payload.")
        accepted = [each.split(";")[0].strip() for each in request.headers.get("accept", "*/*").split(",")]
        if not {"*/*", secret["content_type"]} & set(accepted):
            raise Refusal(406, "Not Acceptable")
        return Response(base64.b64decode(secret["content"]), media_type=secret["content_type"])

    async def delete(self, request: Request) -> Response:
        """Whoever uses it."""
        self._store.drop("secret", self._of(request)["id"])
        return empty()

    async def list_consumers(self, request: Request) -> Response:
        """Who uses it."""
        consumers = self._of(request, consumers=True)["consumers"]
        return JSONResponse(
            {"total": len(consumers), "consumers": [{**each, "status": "ACTIVE"} for each in consumers]}
        )

    async def add_consumer(self, request: Request) -> Response:
        """Once each."""
        secret, consumer = self._of(request, consumers=True), _consumer(await json_of(request))
        kept = [each for each in secret["consumers"] if each != consumer]
        return JSONResponse(_view(request, self._store.put("secret", {**secret, "consumers": [*kept, consumer]})))

    async def remove_consumer(self, request: Request) -> Response:
        """404 for one that is none."""
        secret, consumer = self._of(request, consumers=True), _consumer(await json_of(request))
        if consumer not in secret["consumers"]:
            raise Refusal(404, "Consumer Not Found.")
        kept = [each for each in secret["consumers"] if each != consumer]
        return JSONResponse(_view(request, self._store.put("secret", {**secret, "consumers": kept})))

    def _of(self, request: Request, *, consumers: bool = False) -> Doc:
        secret = self._store.get("secret", request.path_params["id"])
        if secret is None or (consumers and _microversion(request) < SINCE):
            raise Refusal(404, "Not Found. Sorry but your secret is in another castle.")
        if secret["project_id"] != caller_of(request).project_id:
            raise Refusal(403, "Secret(s) retrieval attempt not allowed - please review your user/project privileges")
        return secret


def _content(payload: object, kind: str, encoding: object) -> str:
    if not isinstance(payload, str) or not payload:
        raise Refusal(400, "Provided object does not match schema 'Secret'")
    if kind == "text/plain":
        content = payload.encode()
    elif encoding != "base64":
        raise Refusal(400, "payload_content_encoding must be specified when payload_content_type is supplied")
    else:
        try:
            content = base64.b64decode(payload, validate=True)
        except binascii.Error:
            raise Refusal(400, "Unable to decode request data") from None
    if len(content) > LARGEST:
        raise Refusal(413, f"Provided information too large to process: it exceeds {LARGEST} bytes")
    return base64.b64encode(content).decode()


def _consumer(body: Doc) -> Doc:
    found: Doc = {name: body.get(name) for name in OF_CONSUMERS}
    if not all(isinstance(each, str) and each for each in found.values()):
        raise Refusal(400, "Provided object does not match schema 'Secret Consumer'")
    return found


def _microversion(request: Request) -> tuple[int, int]:
    words = request.headers.get("openstack-api-version", "").split()
    number = words[1] if len(words) == 2 and words[0] == "key-manager" else "1.0"
    if number == "latest":
        return SINCE
    major, _, minor = number.partition(".")
    if not (major.isdigit() and minor.isdigit()) or (int(major), int(minor)) > SINCE:
        raise Refusal(406, f"Version {number} is not supported by the API. Minimum is 1.0 and maximum is 1.1.")
    return int(major), int(minor)


def _reference(request: Request, secret_id: str) -> str:
    return f"{request.base_url.scheme}://{request.base_url.netloc}/key-manager/v1/secrets/{secret_id}"


def _view(request: Request, secret: Doc) -> Doc:
    view: Doc = {
        "status": "ACTIVE", "created": secret["created_at"], "updated": secret["updated_at"], "name": secret["name"],
        "secret_type": "opaque", "expiration": None, "algorithm": None, "bit_length": None, "mode": None,
        "creator_id": None, "secret_ref": _reference(request, secret["id"]),
    }  # fmt: skip
    if secret["content_type"]:
        view["content_types"] = {"default": secret["content_type"]}
    if _microversion(request) >= SINCE:
        view["consumers"] = secret["consumers"]
    return view
