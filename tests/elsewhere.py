"""A driver in a forked child that runs as an unprivileged user: engines refuse to run as root, and tests may be root."""

import os
import signal
import sys
import traceback
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

NOBODY = 65534


class Elsewhere:
    """Calls of a driver (`start()`) and of its accounts (`accounts.create_user(…)`), done in the child."""

    def __init__(self, build: Any) -> None:
        self._ours, theirs = Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._ours.close()
            _serve(theirs, build)
        theirs.close()

    def call(self, path: str, *values: Any) -> Any:
        """Do it there; its exception is raised here."""
        self._ours.send((path, values))
        fine, answer = self._ours.recv()
        if fine:
            return answer
        raise answer

    def __getattr__(self, name: str) -> Any:
        return _Path(self, name)

    def end(self) -> None:
        """End the child, not what it started."""
        self._ours.close()
        os.waitpid(self.pid, 0)


class _Path:
    def __init__(self, there: Elsewhere, path: str) -> None:
        self._there = there
        self._path = path

    def __getattr__(self, name: str) -> "_Path":
        return _Path(self._there, f"{self._path}.{name}")

    def __call__(self, *values: Any) -> Any:
        return self._there.call(self._path, *values)


def _serve(connection: Connection, build: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.chdir("/")
    os.environ["TMPDIR"] = "/tmp"
    target = build()
    while True:
        try:
            path, values = connection.recv()
        except EOFError:
            os._exit(0)
        try:
            found = target
            for name in path.split("."):
                found = getattr(found, name)
            connection.send((True, found(*values)))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            error.__cause__ = None
            connection.send((False, error))


def open_folder(path: Path) -> Path:
    """Make a folder that the unprivileged child owns."""
    path.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    path.chmod(0o700)
    return path
