"""Begin to enrol while the guest worker is still loading: both take half a second of a new server's start."""

import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from guest_worker import host

ENROL = "enrol"
begun: "Future[str] | None" = None


def command(verb: str) -> Sequence[str]:
    """The process that does one verb at the gateway's identity service."""
    return sys.executable, "-m", "guest_worker.identity", verb


def begin() -> "Future[str]":
    """Have it enrol; nothing is waited for."""
    global begun
    starter = ThreadPoolExecutor(1)
    begun = starter.submit(host.run, command(ENROL))
    starter.shutdown(wait=False)
    return begun
