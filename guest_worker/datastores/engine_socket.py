"""The engine's Unix socket. Which process is behind it is known before anything is said to it.

A tenant's code may run as the engine's OS user, which owns the folder that the socket is in. Whoever takes the socket's
place must not learn the administrator's password, so no connection is used that leads elsewhere than to the engine.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CREDENTIALS = struct.Struct("3i")  # of the process that listens: pid, uid, gid


class NotTheEngine(OSError):
    """Another process than the engine listens on its socket."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "another process than the engine listens on its socket")


@dataclass(frozen=True)
class EngineSocket:
    """Where the engine listens, the administrator's password, and the id of the engine's process while it lives."""

    folder: Path
    password: Callable[[], str]
    pid: Callable[[], int | None]

    @contextmanager
    def entered(self) -> Iterator[str]:
        """The folder by a short path, for the whole one may be too long for a socket."""
        folder = os.open(self.folder, os.O_PATH)
        try:
            yield f"/proc/self/fd/{folder}"
        finally:
            os.close(folder)

    def require_engine(self, connected: int) -> None:
        """NotTheEngine unless it is the engine's process that listens at the other end of a connected socket.

        Asked in this order: a process that lives after its id was read had that id when it was read.
        """
        with socket.socket(fileno=os.dup(connected)) as mine:
            pid, _, _ = CREDENTIALS.unpack(mine.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
        if pid != self.pid():
            raise NotTheEngine
