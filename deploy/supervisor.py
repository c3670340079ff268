"""Talking to supervisord, and finding what an earlier one left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from deploy.processes import MARKER, base_environment, programs, socket_path, write_configuration
from deploy.settings import HERE, StackSettings

RUNNING = ("RUNNING", "STARTING", "BACKOFF")


class Supervisor:
    """The stack's supervisor."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings

    def _rpc(self) -> Any:
        # supervisor's own transport speaks XML-RPC over the socket, and leaves that open
        from supervisor.xmlrpc import SupervisorTransport

        class Transport(SupervisorTransport):  # type: ignore[misc]
            def request(self, *args: Any, **kwargs: Any) -> Any:
                try:
                    return super().request(*args, **kwargs)
                finally:
                    self.close()

        transport = Transport(serverurl=f"unix://{socket_path(self._settings)}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def pid(self) -> int | None:
        """The id of the running supervisor; a stale pid file or socket is no supervisor."""
        with contextlib.suppress(OSError, xmlrpc.client.Error, socket.error):
            return int(self._rpc().getPID())
        return None

    def start(self) -> None:
        """Start it in the background, if it does not run."""
        if self.pid() is not None:
            return
        end_leftovers(self._settings)
        socket_path(self._settings).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stale in (self._settings.run / "supervisord.pid", socket_path(self._settings)):
            stale.unlink(missing_ok=True)
        program = self._settings.embedded_python.parent / "supervisord"
        subprocess.run([str(program), "-c", str(write_configuration(self._settings))], check=True, cwd=HERE,
                       env=base_environment(self._settings), stdin=subprocess.DEVNULL)  # fmt: skip
        wait_for("the supervisor", lambda: self.pid() is not None, seconds=15)

    def reread(self) -> None:
        """Take over changed commands and settings: processes that changed are stopped, to be restarted."""
        write_configuration(self._settings)
        rpc = self._rpc()
        ((added, changed, removed),) = rpc.reloadConfig()
        for name in (*changed, *removed):
            rpc.stopProcessGroup(name)
            rpc.removeProcessGroup(name)
        for name in (*added, *changed):
            rpc.addProcessGroup(name)

    def states(self) -> dict[str, dict[str, Any]]:
        """What the supervisor says of each process; empty when it does not run."""
        if self.pid() is None:
            return {}
        return {each["name"]: each for each in self._rpc().getAllProcessInfo()}

    def start_process(self, name: str) -> None:
        """Start one process, if it does not run."""
        if self.states()[name]["statename"] not in RUNNING:
            self._rpc().startProcess(name, False)

    def stop(self) -> None:
        """Stop everything, what stands on top first, and the supervisor last."""
        pid = self.pid()
        if pid is not None:
            rpc = self._rpc()
            order = [program.name for program in programs(self._settings)]
            top = [name for name in reversed(order) if name not in ("localcloud", "postgresql", "temporal")]
            for names in (top, ["localcloud"], ["temporal", "postgresql"]):
                _stop(rpc, [each for each in names if each in order])
            rpc.shutdown()
            wait_for("the supervisor's end", lambda: not Path(f"/proc/{pid}").exists(), seconds=60)
        end_leftovers(self._settings)


def _stop(rpc: Any, names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(xmlrpc.client.Fault):  # it does not run
            rpc.stopProcess(name, False)
    running = set(names)
    deadline = time.monotonic() + 90
    while running and time.monotonic() < deadline:
        running = {name for name in running if rpc.getProcessInfo(name)["statename"] in (*RUNNING, "STOPPING")}
        time.sleep(0.05)


def wait_for(what: str, true: Any, *, seconds: float) -> None:
    """Look ten times a second until something is so; TimeoutError naming it."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not there after {seconds:.0f} s")
        time.sleep(0.1)


def leftovers(settings: StackSettings) -> list[int]:
    """Processes that carry this stack's marker in their environment."""
    wanted = f"{MARKER}={settings.home}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def end_leftovers(settings: StackSettings) -> None:
    """End what a supervisor that was killed left behind: gently, then for good."""
    for number, seconds in ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        there = leftovers(settings)
        if not there:
            return
        for pid in there:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while leftovers(settings) and time.monotonic() < deadline:
            time.sleep(0.1)


def taken_ports(settings: StackSettings) -> dict[str, int]:
    """Ports of ours that somebody listens on, by setting."""
    taken = {}
    for name, port in settings.ports().items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken[name] = port
    return taken
