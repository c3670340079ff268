"""The gRPC handler: TLS, who asks, what may be asked; a request's body is read only when both are known.

It listens on a Unix socket, behind `gateway/front.py`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from gateway.denials import Denials
from gateway.denied import Denied, away, forbidden, garbled, stranger
from gateway.front import Front
from gateway.guest import Guest
from gateway.identity_cache import IdentityCache
from gateway.identity_service import IdentityService
from gateway.limits import Limits
from gateway.link import Link
from gateway.memory import give_back
from gateway.settings import GatewaySettings
from gateway.worker_service import WorkerService

WORKER = "/temporal.api.workflowservice.v1.WorkflowService/"
IDENTITY = "/coffer.gateway.v1.Identity/"
BODY_SECONDS = 10.0  # for a body to come in whole
WITHOUT_DEADLINE = 75.0
CALL_COST = 0.001  # seconds of processor time that any call costs
STRANGER_COST = 0.004  # besides, where nobody knows who asks
TIDY_EVERY = 10.0
POLL = f"{WORKER}PollActivityTaskQueue"
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", 256 * 1024),  # four times the largest answer that is believed
    ("grpc.max_metadata_size", 8192),
    ("grpc.max_concurrent_streams", 32),  # more than one guest may have open
    ("grpc.http2.bdp_probe", 0),  # the window of a connection does not grow with what its sender has ready
    ("grpc.http2.lookahead_bytes", 64 * 1024),
    ("grpc.http2.max_frame_size", 16_384),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 30_000),  # a process that hangs is noticed; machines that vanish are in gateway/front.py
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # the SDK's core pings every 30 s
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.max_connection_age_ms", 1_800_000),  # give or take a tenth: guests spread over new processes by themselves
    ("grpc.max_connection_age_grace_ms", 90_000),
]

log = logging.getLogger(__name__)
Answer = Callable[[AsyncIterator[bytes], "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


class GuestServicer(grpc.GenericRpcHandler):
    """Every method leads here, known or not."""

    def __init__(
        self,
        front: Front,
        identity_cache: IdentityCache,
        limits: Limits,
        worker: WorkerService,
        identity: IdentityService,
    ) -> None:
        self._front = front
        self._identity_cache = identity_cache
        self._limits = limits
        self._worker = worker
        self._identity = identity
        self._denials = Denials()

    def service(self, handler_call_details: "grpc.HandlerCallDetails") -> Any:
        """Answer with a handler that sees the call before its body: to gRPC it is a stream of one message."""
        method: str = handler_call_details.method

        async def answer(body: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            return await self._guarded(method, body, context)

        return grpc.stream_unary_rpc_method_handler(answer)

    async def _guarded(
        self, method: str, body: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> bytes:
        link = self._front.link(context.peer())
        try:
            if link is None:
                raise away("the connection is gone")
            link.spend(CALL_COST)
            return await self._answer(method, body, context, link)
        except Denied as error:
            denied = error.with_traceback(
                None
            )  # it would keep the request, megabytes when decoded, until garbage is collected
        except Exception:
            log.exception("a call of %s from %s", method[-80:], link.peer if link else "nobody")
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the gateway failed")
        await self._deny(method, context, link, denied)
        raise AssertionError("abort raises")  # for the checker of types

    async def _deny(
        self, method: str, context: "grpc.aio.ServicerContext[bytes, bytes]", link: Link | None, denied: Denied
    ) -> None:
        if link is not None:
            if denied.code is grpc.StatusCode.UNAUTHENTICATED:
                link.demote()
                link.spend(STRANGER_COST)
            if denied.code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
                kind = f"{denied.code.name} {denied.text}"
                self._denials.tell(kind, link.address, "denied %s from %s: %s", method[-80:], link.peer, kind)
        await context.abort(denied.code, denied.text)

    async def _answer(
        self, method: str, body: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]", link: Link
    ) -> bytes:
        token = _token(context)
        if method == f"{IDENTITY}Enrol":
            link.spend(STRANGER_COST)
            return await self._identity.enrol(token, await _whole(body), link.peer)
        guest, is_used = await self._identity_cache.guest_of(token)
        link.admit(guest)
        if not is_used:
            self._identity.note_use(guest, token)
        if method == POLL:
            return await self._call(guest, method, body, context)
        with self._limits.call(guest):
            if method.startswith(IDENTITY):
                return await self._about_itself(guest, token, method.removeprefix(IDENTITY), body)
            return await self._call(guest, method, body, context)

    async def _call(
        self, guest: Guest, method: str, body: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> bytes:
        rpc = self._worker.rpcs.get(method.removeprefix(WORKER)) if method.startswith(WORKER) else None
        if rpc is None:
            raise forbidden("guests may not call this")
        left = context.time_remaining()
        # a poll's body stays unread: nothing in it counts, and a poll that is not counted yet must not wait for it
        said = b"" if method == POLL else await _whole(body)
        return await rpc(guest, said, WITHOUT_DEADLINE if left is None else left)

    async def _about_itself(self, guest: Guest, token: str, verb: str, body: AsyncIterator[bytes]) -> bytes:
        if verb == "Renew":
            return await self._identity.renew(guest, token, await _whole(body))
        if verb == "Keys":
            return await self._identity.keys(guest)
        raise forbidden("guests may not call this")

    async def keep_current(self, seconds: float) -> None:
        """For ever: end the polls of guests that were revoked, or that another generation has replaced; and tidy up."""
        tidied = time.monotonic()
        while True:
            await asyncio.sleep(seconds)
            if time.monotonic() - tidied > TIDY_EVERY:
                tidied = time.monotonic()
                self._denials.sum_up()
                give_back()
            try:
                for each in await self._identity_cache.gone(self._limits.open_guests()):
                    log.info("guest %s is known no more; its polls are ended", each.instance_id)
                    self._limits.cut(each)
            except Exception:
                log.exception("open polls could not be checked")

    def end_polls(self) -> None:
        """Before the process ends: a task that comes now must go to somebody else."""
        for each in self._limits.open_guests():
            self._limits.cut(each)


def _token(context: "grpc.aio.ServicerContext[bytes, bytes]") -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str) and value.startswith("Bearer "):
            return value.removeprefix("Bearer ")
    raise stranger("a token is needed")


async def _whole(body: AsyncIterator[bytes]) -> bytes:
    """The one message of a call; denied where it does not come in time, or not at all."""
    try:
        return await asyncio.wait_for(anext(body), BODY_SECONDS)
    except TimeoutError:
        raise away("the request does not come") from None
    except StopAsyncIteration:
        raise garbled("there is no request") from None


def credentials(settings: GatewaySettings) -> grpc.ServerCredentials:
    """The gateway's certificate, read again when its file has changed."""
    files = (settings.gateway_key, settings.gateway_cert)
    seen = _stamps(files)

    def changed() -> Any:
        nonlocal seen
        try:
            now = _stamps(files)
            if now == seen:
                return None
            seen = now
            return _certificate(files)
        except OSError as error:
            log.error("the certificate cannot be read: %s", error)
            return None

    return grpc.dynamic_ssl_server_credentials(_certificate(files), changed)


def _certificate(files: tuple[Path, Path]) -> "grpc.ServerCertificateConfiguration":
    key, chain = (each.read_bytes() for each in files)
    return grpc.ssl_server_certificate_configuration([(key, chain)])


def _stamps(files: tuple[Path, Path]) -> tuple[int, ...]:
    return tuple(each.stat().st_mtime_ns for each in files)


def build_server(settings: GatewaySettings, servicer: GuestServicer, target: str) -> grpc.aio.Server:
    """The server, bound to a socket that nobody else reaches."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((servicer,))
    server.add_secure_port(target, credentials(settings))
    return server
