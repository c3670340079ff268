"""Serves an ASGI application with uvicorn, within the limits of `api.http_limits`."""

import asyncio
import socket
from contextlib import nullcontext
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from api.http_limits import Connections, HttpLimits, limited


async def serve_http(app: Any, host: str, port: int, stop: asyncio.Event, limits: HttpLimits | None = None) -> None:
    """Serve an ASGI application until told to stop; raises OSError when the port is taken."""
    connections = Connections(limits or HttpLimits())

    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, log_level="warning", access_log=False, server_header=False,
        proxy_headers=False,  # whom to believe is decided by the application, by COFFER_TRUSTED_PROXIES alone
        timeout_graceful_shutdown=10, http=limited(AutoHTTPProtocol, connections), ws="none",
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]  # signals are `run`'s
    listening = config.bind_socket()
    # uvicorn's socket names no protocol, so asyncio would leave Nagle's algorithm on: 40 ms an answer
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    keeping = asyncio.create_task(connections.keep())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving
    keeping.cancel()
