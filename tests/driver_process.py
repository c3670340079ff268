"""A driver in a process of its own that runs as an unprivileged user: engines refuse to run as root, and tests may be root.

One process, the fork server, is started while it may still read the clone; it forks a child for each driver, which then
gives its privileges up. (Forking the tests' own process would not do: it has threads.)
"""

import atexit
import contextlib
import ctypes
import os
import platform
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from guest_worker.datastores import driver_of, managers
from guest_worker.datastores.base import EngineContext

NOBODY = 65534
REPOSITORY = Path(__file__).resolve().parents[1]
_fork_server: list[Path] = []


class DriverProcess:
    """Calls of a driver (`start()`) and of its accounts (`accounts.create_user(…)`), done in the child.

    `build` is a function of a module, `arguments` are what it is given; both travel pickled.
    """

    def __init__(self, build: Callable[..., Any], *arguments: Any) -> None:
        self._lock = threading.Lock()
        self._there = _connect()
        self._there.send((build, arguments))

    def call(self, path: str, *values: Any) -> Any:
        """Do it there; its exception is raised here."""
        with self._lock:
            self._there.send((path, values))
            fine, answer = self._there.recv()
        if fine:
            return answer
        raise answer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what asks for it wants to print this object, not the driver
            raise AttributeError(name)
        return _Path(self, name)

    def end(self) -> None:
        """End the child, not what it started."""
        self._there.close()


class _Path:
    def __init__(self, there: DriverProcess, path: str) -> None:
        self._there = there
        self._path = path

    def __getattr__(self, name: str) -> "_Path":
        return _Path(self._there, f"{self._path}.{name}")

    def __call__(self, *values: Any) -> Any:
        return self._there.call(self._path, *values)


def _connect() -> Connection:
    if not _fork_server:
        socket = Path(tempfile.mkdtemp(prefix="coffer-forkserver-")) / "socket"
        process = subprocess.Popen([sys.executable, "-m", "tests.driver_process", str(socket)], cwd=REPOSITORY,
                                   stdin=subprocess.PIPE)  # fmt: skip
        atexit.register(process.communicate)
        _fork_server.append(socket)
    for _ in range(600):
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return Client(str(_fork_server[0]), family="AF_UNIX")
        time.sleep(0.05)
    raise TimeoutError("the fork server does not come up")


def main(socket: Path) -> None:
    """The fork server: fork a child for each connection, until standard input ends."""
    import_module("tests.guests")  # while the clone can be read; the children cannot
    import_module("tests.backups.work")
    import_module("cryptography.hazmat.backends.openssl.backend")  # which is imported when a key is made
    for manager in managers():
        driver_of(manager)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with Listener(str(socket), family="AF_UNIX", backlog=64) as listener:
        waiting: Any = listener._listener._socket  # type: ignore[attr-defined]
        while True:
            ready, _, _ = select.select([waiting, sys.stdin], [], [])
            if sys.stdin in ready:
                break
            connection = listener.accept()
            if os.fork() == 0:
                waiting.close()
                _serve(connection)
            connection.close()
    socket.parent.rmdir()


def _serve(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.chdir("/")
    build, arguments = connection.recv()
    folder = next((each.state / "tmp" for each in arguments if isinstance(each, EngineContext)), Path("/tmp"))
    folder.mkdir(parents=True, exist_ok=True)  # MariaDB removes other engines' temporary tables when it starts
    os.environ["TMPDIR"] = str(folder)
    target = build(*arguments)
    while True:
        try:
            path, values = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            found = target
            for name in path.split("."):
                found = getattr(found, name)
            connection.send((True, found(*values)))
        except Exception as error:
            if os.environ.get("TEST_TRACE"):
                traceback.print_exc(file=sys.stderr)
            error.__cause__ = None
            connection.send((False, error))


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be the unprivileged user for a moment; this thread alone, which the C library's own function would not do."""
    if os.geteuid() != 0:
        yield
        return
    number = {"x86_64": 117, "aarch64": 147}[platform.machine()]  # setresuid
    kernel = ctypes.CDLL(None, use_errno=True).syscall
    assert kernel(number, -1, NOBODY, -1) == 0
    try:
        yield
    finally:
        assert kernel(number, -1, 0, -1) == 0


def open_folder(path: Path) -> Path:
    """Make a folder that the unprivileged child owns."""
    path.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    path.chmod(0o700)
    return path


if __name__ == "__main__":
    from tests import driver_process

    driver_process.main(Path(sys.argv[1]))
