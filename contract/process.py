"""How a process that uses the Temporal SDK runs and ends."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

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


async def _until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await main(stop)
