"""How a process that uses the Temporal SDK runs and ends."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, NoReturn

from workflows.http_limits import Connections, HttpLimits, limited

FATAL = 70  # EX_SOFTWARE: the supervisor starts the process again

log = logging.getLogger(__name__)


def leave(code: int) -> NoReturn:
    """End the process now, with everything written.

    The interpreter's own exit often aborts after the SDK was used (temporalio/sdk-python issue 300).
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def die_of(error: BaseException) -> None:
    """A worker met what it cannot go on from: end the process, for it might hang and look alive."""
    log.critical("fatal error of a worker: %r", error)
    leave(FATAL)


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> NoReturn:
    """Run `main` until it ends or a signal sets the event that it is given; then leave."""
    code = 0
    try:
        asyncio.run(_until_signal(main))
    except KeyboardInterrupt:
        code = 130
    except Exception:
        log.exception("the process ends with an error")
        code = 1
    leave(code)


async def serve_http(app: Any, host: str, port: int, stop: asyncio.Event, limits: HttpLimits | None = None) -> None:
    """Serve an ASGI application until told to stop; raises OSError when the port is taken."""
    import uvicorn  # here, for guests have none
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

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


async def _until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await main(stop)
