"""`python -m api.codec_server`: opens payloads for Temporal's Web UI and CLI, for operators alone.

`POST /decode` and `POST /encode` as Temporal's remote codec protocol has them. A Keystone token says who asks, or a
session that began with a login at `/login`. Passwords stay sealed: they are sealed once more inside the payloads, for
the guest alone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from temporalio.api.common.v1 import Payloads

from api.browser_login import BrowserLogin, see_login
from api.faults import Fault, answer_fault, answer_http_exception
from api.http_limits import read_body
from api.http_server import serve_http
from api.keystone import Keystone
from api.login_page import FIELDS
from api.operators import Operators
from api.policy import Policy
from api.settings import CodecServerSettings
from contract.keys.keyring import MasterKeyring
from contract.logs import log_to_stderr
from contract.process import run
from contract.wire.codec import SealingCodec

MAX_FORM = 8192  # bytes of a login

log = logging.getLogger("api.codec_server")


def app(settings: CodecServerSettings) -> FastAPI:
    """The codec's two routes, the login page and the health check."""
    server = FastAPI(title="Coffer's codec server", openapi_url=None, lifespan=_lifespan(settings))
    server.add_middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace", "authorization"],
        allow_credentials=True,
    )
    server.add_exception_handler(Fault, answer_fault)
    server.add_exception_handler(HTTPException, answer_http_exception)
    _add_codec(server, settings)
    _add_pages(server)
    return server


def _lifespan(settings: CodecServerSettings) -> Any:
    @asynccontextmanager
    async def lifespan(server: FastAPI) -> AsyncIterator[None]:
        verify = str(settings.keystone_ca) if settings.keystone_ca else True
        async with httpx.AsyncClient(timeout=10, verify=verify, trust_env=False) as http:
            keystone = Keystone(http, settings.keystone_url, settings.token_cache_seconds)
            operators = Operators(keystone, Policy(settings.policy_file), settings.codec_session_seconds)
            server.state.browser = BrowserLogin(settings, operators)
            yield

    return lifespan


def _add_codec(server: FastAPI, settings: CodecServerSettings) -> None:
    codec = SealingCodec(MasterKeyring.read(settings.master_key_file))

    async def payloads(request: Request, verb: str) -> Payloads:
        operator = await server.state.browser.operator(request)  # before the body is read
        found = _payloads(await read_body(request.receive, settings.codec_max_body_bytes))
        log.info("user %s: %s %d payloads", operator.user_id, verb, len(found.payloads))
        return found

    @server.post("/decode")
    async def decode(request: Request) -> Response:
        """Open payloads; what does not open comes back as null."""
        found = await payloads(request, "decode")
        return _answer(Payloads(payloads=await codec.decode(found.payloads)))

    @server.post("/encode")
    async def encode(request: Request) -> Response:
        """Seal payloads with the control plane's key: the input of a run that an operator starts."""
        found = await payloads(request, "encode")
        return _answer(Payloads(payloads=await codec.encode(found.payloads)))

    @server.get("/healthcheck")
    async def healthcheck() -> JSONResponse:
        """Whether the server answers; needs no login."""
        return JSONResponse({"status": "ok"})


def _add_pages(server: FastAPI) -> None:
    @server.get("/")
    async def front() -> Response:
        """To the login."""
        return see_login()

    @server.get("/login")
    async def show(request: Request) -> Response:
        """The form, or who is logged in."""
        page: Response = server.state.browser.page(request)
        return page

    @server.post("/login")
    async def log_in(request: Request) -> Response:
        """Check the password in Keystone and the rule, and begin a session."""
        browser: BrowserLogin = server.state.browser
        filled: dict[str, str] = {}
        try:
            browser.require_own_origin(request)
            filled = _form(await read_body(request.receive, MAX_FORM))
            answer = await browser.log_in(request, filled)
        except Fault as fault:
            log.warning("a login was refused: %d", fault.code)  # no name: people type passwords into the wrong field
            return browser.page(request, fault, filled)
        log.info("user %r has logged in", filled["user"])
        return answer

    @server.post("/logout")
    async def log_out(request: Request) -> Response:
        """End the session."""
        browser: BrowserLogin = server.state.browser
        try:
            browser.require_own_origin(request)
        except Fault as fault:
            return browser.page(request, fault)
        return await browser.log_out(request)


def _form(body: bytes) -> dict[str, str]:
    try:
        found = dict(parse_qsl(body.decode(), errors="strict", max_num_fields=len(FIELDS)))  # leaves out empty ones
    except ValueError:
        raise Fault(400, "The form could not be read.") from None
    if set(found) != set(FIELDS):
        raise Fault(400, "Fill in all fields.")
    return found


def _payloads(body: bytes) -> Payloads:
    try:
        return Parse(body, Payloads())
    except (ParseError, ValueError, RecursionError, AttributeError, TypeError):
        raise Fault(400, "The body is not a list of payloads.") from None


def _answer(payloads: Payloads) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(MessageToJson(payloads), media_type="application/json", headers=headers)


async def main(stop: asyncio.Event) -> None:
    """Serve until told to stop; without Keystone, tokens that are not known yet are answered with 503."""
    settings = CodecServerSettings()
    log_to_stderr(settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    await serve_http(app(settings), settings.codec_host, settings.codec_port, stop, settings.http_limits())


if __name__ == "__main__":
    run(main)
