"""PID 1 of a server: starts its processes, restarts those that die, reaps, and ends all. Standard library alone.

    python3 -I init.py SPEC

SPEC is a JSON file: processes (name, command, uid, gid), environment, folder, root, log (a name in the folder), grace,
isolated; and for an isolated server what its root shows of the host (`shown`: source, place, writable), its volumes
(`disks`: name, device) and its memory.
"""

import contextlib
import ctypes
import json
import os
import signal
import stat
import sys
import time
from typing import Any

LOG_BYTES = 1_000_000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MNT_DETACH = 2
PR_SET_NO_NEW_PRIVS = 38
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}

libc = ctypes.CDLL(None, use_errno=True)


def _checked(code: int, what: str) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2); raises OSError."""
    given = options.encode() or None
    _checked(libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, given), target)


def show(source: str, target: str, flags: int) -> None:
    """Mount a folder in another place, too, with flags of its own."""
    mount(source, target, None, MS_BIND)
    mount(source, target, None, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | flags)


class Root:
    """Makes a server's root folder all that its processes see of the machine's files."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.root = spec["root"]
        self.spec = spec

    def enter(self) -> None:
        """Mount what belongs below the root, and leave the host's file system for good."""
        os.umask(0o022)
        show(self.root, self.root, MS_NOEXEC)
        for source, place, writable in self.spec["shown"]:
            show(source, self.below(place), MS_NOEXEC if writable else MS_RDONLY)
        self.devices()
        mount("proc", self.below("proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.chdir(self.root)
        _checked(libc.pivot_root(b".", b"."), "pivot_root")
        _checked(libc.umount2(b".", MNT_DETACH), "the host's root")
        os.chdir("/")

    def below(self, place: str) -> str:
        """A path of the server's, as it is before the root is entered."""
        return os.path.join(self.root, place)

    def devices(self) -> None:
        """A `/dev` with what every program needs, and with no disks but the server's own."""
        mount("dev", self.below("dev"), "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m")
        for name, numbers in DEVICES.items():
            self.node(name, stat.S_IFCHR, os.makedev(*numbers), 0o666)
        for name, target in LINKS.items():
            os.symlink(target, self.below(f"dev/{name}"))
        os.makedirs(self.below("dev/shm"))
        half = max(64, int(self.spec["memory_mib"]) // 2)
        mount("shm", self.below("dev/shm"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"mode=1777,size={half}m")
        os.makedirs(self.below("dev/disk/by-id"), 0o755)
        for number, (name, device) in enumerate(self.spec["disks"]):
            node = f"vd{chr(ord('b') + number)}"
            self.node(node, stat.S_IFBLK, os.stat(device).st_rdev, 0o600)
            os.symlink(f"../../{node}", self.below(f"dev/disk/by-id/{name}"))

    def node(self, name: str, kind: int, device: int, mode: int) -> None:
        """A device's file, root's."""
        os.mknod(self.below(f"dev/{name}"), kind | mode, device)
        os.chmod(self.below(f"dev/{name}"), mode)


class Init:
    """Keeps the processes of one server."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.running: dict[int, tuple[dict[str, Any], float]] = {}
        self.due: dict[str, float] = {}
        self.pauses: dict[str, float] = {}
        self.stopping = False
        self.folder = os.open(spec["folder"], os.O_RDONLY | os.O_DIRECTORY)  # of the host: the log lies there

    def prepare(self) -> None:
        """Give the server a view of its own: its processes, its files."""
        if self.spec["isolated"]:
            Root(self.spec).enter()
            self.spec["root"] = "/"

    def open_log(self) -> int:
        """A descriptor for writing; the log's folder is not among what the server sees."""
        return os.open(self.spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600, dir_fd=self.folder)

    def log(self, text: str) -> None:
        with os.fdopen(self.open_log(), "ab") as file:
            if os.fstat(file.fileno()).st_size > LOG_BYTES:
                name = self.spec["log"]
                os.replace(name, name + ".1", src_dir_fd=self.folder, dst_dir_fd=self.folder)
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} init: {text}\n".encode())

    def start(self, process: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            self.become(process)
        self.running[pid] = (process, time.monotonic())

    def become(self, process: dict[str, Any]) -> None:
        try:
            log = self.open_log()
            null = os.open("/dev/null", os.O_RDONLY)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.setsid()
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            if process["uid"] is not None:
                os.setgroups([])
                os.setgid(process["gid"])
                os.setuid(process["uid"])
                _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))), "no_new_privs")
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
