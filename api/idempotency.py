"""Requests that are sent twice and are to be done once: the header `Idempotency-Key`.

As in the IETF's draft (draft-ietf-httpapi-idempotency-key-header). OpenStack's global request id, which openstacksdk
sends as `X-OpenStack-Request-ID`, counts as a key of an order where there is no other; not of other requests, for a
client may send several under one global id. A key is the project's, for a day.
"""

import hmac
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from fastapi import Request

from api.context import RequestContext, Services
from api.faults import Fault
from contract.keys.keyring import NotOurs
from contract.names import control_key_id
from records.requests import Kept

LONGEST = 255
GLOBAL_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Thing:
    """What a request makes; `known` where the same request was sent before."""

    id: UUID
    known: bool = False


@dataclass(frozen=True)
class Call:
    """What Temporal knows a request's call by; `known` where the same request was sent before."""

    name: str
    known: bool = False


async def thing_of(services: Services, context: RequestContext, request: Request) -> Thing:
    """The id of what this request makes: for the same key and body the same; 422 for another body."""
    return await _thing(services, context, request, key_of(request))


async def _thing(services: Services, context: RequestContext, request: Request, key: str | None) -> Thing:
    if key is None:
        return Thing(uuid4())
    said = _said(request)
    mac_key = control_key_id(services.keyring.current)
    wanted = Kept(mac_key, services.keyring.mac(mac_key, said).hex(), uuid4())
    kept = await services.requests.remember(context.project_id, key, wanted)
    if kept == wanted:
        return Thing(wanted.thing_id)
    if not _is_same(services, kept, said):
        raise Fault(422, "This idempotency key was used for another request; use a new one.")
    return Thing(kept.thing_id, known=True)


async def forget(services: Services, context: RequestContext, request: Request, fault: Fault) -> None:
    """Forget the key of a request that was refused: it may be sent again, corrected. One that may be retried is kept."""
    key = key_of(request)
    if key is not None and fault.code != 503:
        await services.requests.forget(context.project_id, key)


@asynccontextmanager
async def call_of(services: Services, context: RequestContext, request: Request) -> AsyncIterator[Call]:
    """A request's call to the guest: with the same key the same, so that it has the answer of the first.

    A call that failed has changed nothing. Its key is forgotten, and the request may be sent again.
    """
    key = None if request.method in ("GET", "HEAD") else header_of(request)
    if key is None:
        yield Call(context.request_id)
        return
    thing = await _thing(services, context, request, key)
    try:
        yield Call(str(thing.id), thing.known)
    except Fault:
        await services.requests.forget(context.project_id, key, thing.id)
        raise


async def operation_of(services: Services, context: RequestContext, request: Request) -> Thing:
    """The id of the operation that a request opens; known where it was admitted when the request was sent before.

    One that was not admitted by now is withdrawn, and this request opens another.
    """
    key = header_of(request)
    thing = await _thing(services, context, request, key)
    while key is not None and thing.known and await services.requests.withdraw(thing.id):
        await services.requests.forget(context.project_id, key, thing.id)
        thing = await _thing(services, context, request, key)
    return thing


def key_of(request: Request) -> str | None:
    """The key of a request, if it has one; 400 where it is none."""
    if (key := header_of(request)) is not None:
        return key
    global_id = request.headers.get("x-openstack-request-id", "").lower()
    return f"global:{global_id}" if GLOBAL_ID.fullmatch(global_id) else None


def header_of(request: Request) -> str | None:
    """The key that the header Idempotency-Key has; 400 where it is none."""
    said = request.headers.getlist("idempotency-key")
    if not said:
        return None
    key = said[0].strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':  # the draft has a quoted string; many clients quote nothing
        key = key[1:-1]
    if len(said) > 1 or not 0 < len(key) <= LONGEST or not (key.isascii() and key.isprintable()):
        raise Fault(400, f"Idempotency-Key must be one text of 1 to {LONGEST} printable ASCII characters.")
    return f"key:{key}"


def _said(request: Request) -> bytes:
    """What was asked for, whatever the order of the body's members."""
    body = json.dumps(json.loads(request.state.body) if request.state.body else None, sort_keys=True)  # read before
    return f"{request.method} {request.url.path}\n{body}".encode()


def _is_same(services: Services, kept: Kept, said: bytes) -> bool:
    try:
        fingerprint = services.keyring.mac(kept.mac_key, said).hex()  # keys are rotated, also within a day
    except NotOurs:
        return False
    return hmac.compare_digest(fingerprint, kept.fingerprint)
