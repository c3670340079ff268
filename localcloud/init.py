"""PID 1 of a server: starts its processes, restarts those that die, reaps, and ends all. Standard library alone.

    python3 -I init.py SPEC

SPEC is a JSON file: processes (name, command, uid, gid), environment, root, log, grace, mounts.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from typing import Any

LOG_BYTES = 1_000_000
MS_BIND, MS_NOSUID, MS_NODEV, MS_NOEXEC = 4096, 2, 4, 8


def mount(source: str, target: str, kind: "str | None", flags: int) -> None:
    """mount(2); raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None)
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


class Init:
    """Keeps the processes of one server."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.running: dict[int, tuple[dict[str, Any], float]] = {}
        self.due: dict[str, float] = {}
        self.pauses: dict[str, float] = {}
        self.stopping = False

    def prepare(self) -> None:
        """Give the server a view of its own: its processes, its users."""
        if self.spec["isolated"]:
            mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
            for source, target in self.spec["mounts"]:
                mount(source, target, None, MS_BIND)

    def log(self, text: str) -> None:
        with open(self.spec["log"], "ab") as file:
            if file.tell() > LOG_BYTES:
                os.replace(self.spec["log"], self.spec["log"] + ".1")
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} init: {text}\n".encode())

    def start(self, process: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            self.become(process)
        self.running[pid] = (process, time.monotonic())

    def become(self, process: dict[str, Any]) -> None:
        try:
            log = os.open(self.spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            null = os.open("/dev/null", os.O_RDONLY)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.setsid()
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            if process["uid"] is not None:
                os.setgroups([])
                os.setgid(process["gid"])
                os.setuid(process["uid"])
            os.umask(0o027)
            os.chdir(self.spec["root"])
            os.execvpe(process["command"][0], process["command"], self.spec["environment"])
        except OSError as error:
            os.write(2, f"cannot start {process['name']}: {error}\n".encode())
        os._exit(127)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process, since = self.running.pop(pid, ({}, 0.0))
            if not process or self.stopping:
                continue
            name = process["name"]
            lived = time.monotonic() - since
            pause = 0.2 if lived > 30 else min(self.pauses.get(name, 0.1) * 2, 10)
            self.pauses[name] = pause
            self.due[name] = time.monotonic() + pause
            self.log(
                f"{name} ended with status {os.waitstatus_to_exitcode(status)}; starting it again in {pause:.1f} s"
            )

    def start_due(self) -> None:
        for process in self.spec["processes"]:
            if self.due.get(process["name"], float("inf")) <= time.monotonic():
                del self.due[process["name"]]
                self.start(process)

    def stop(self) -> None:
        """End everything: ask first, then insist. The kernel ends what is left in the namespace when this process ends."""
        self.stopping = True
        for pid in list(self.running):
            self.signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + self.spec["grace"]
        while self.running and time.monotonic() < deadline:
            time.sleep(0.02)
            self.reap()
        for pid in list(self.running):
            self.signal(pid, signal.SIGKILL)
        self.log("stopped")

    @staticmethod
    def signal(pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def run(self) -> None:
        waited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, waited)
        self.prepare()
        self.log("booted")
        for process in self.spec["processes"]:
            self.start(process)
        while True:
            got = signal.sigtimedwait(waited, 0.2)
            self.reap()
            if got and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                self.stop()
                return
            self.start_due()


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        Init(json.load(file)).run()
