"""Watching one statement: who holds it up, and an end to it when the engine does not even keep its own limits."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import psycopg

ASK_AFTER = 1.0  # seconds that a statement runs before it is asked who holds it up
GRACE = 2.0  # seconds beyond the engine's own limit after which the connection is given up


class Watch:
    """While a statement runs, a thread beside it. After the statement, `blockers` says who was seen to hold it up."""

    def __init__(self, connection: "psycopg.Connection[Any]", ask: Callable[[int | None], str], seconds: float) -> None:
        self._pid = connection.info.backend_pid
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._ask = ask
        self._seconds = seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.blockers = ""

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self._socket.close()

    def _watch(self) -> None:
        waited = 0.0
        while waited < self._seconds + GRACE:
            if self._done.wait(ASK_AFTER):
                return
            waited += ASK_AFTER
            self.blockers = self._ask(self._pid) or self.blockers
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
