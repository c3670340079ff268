"""Servers as processes: booting, finding again, and the fence that leaves none of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from localcloud import tree
from localcloud.disks import Attached
from localcloud.tree import IMAGES, VOLUME, Tree, Users, write_files

MARKER = "LOCALCLOUD_SERVER"
PYTHON = "/usr/bin/python3"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_own: dict[int, subprocess.Popen[bytes]] = {}  # servers that this process started, to be reaped by it


@dataclass(frozen=True)
class Blueprint:
    """What a server is built from."""

    id: str
    image: Path
    address: str
    memory_mib: int
    uid: int
    user_data: str | None
    volumes: tuple[Attached, ...] = ()
    network_namespace: str = ""

    def manifest(self) -> dict[str, Any]:
        """What the image says of itself."""
        found: dict[str, Any] = yaml.safe_load((self.image / "manifest.yaml").read_text())
        return found

    @property
    def volume_folder(self) -> str:
        """The folder of the volume, where it has no device."""
        return next((each.folder for each in self.volumes if each.folder), "")


class Machine:
    """One server's folder and processes.

    With privilege the processes live in namespaces of their own (PID, mount, IPC), so ending the init ends all of them,
    and see no other files than those below their root. Without, they are found by a marker in their environment: best
    effort.
    """

    def __init__(self, folder: Path, *, isolated: bool) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.console = folder / "console.log"
        self._isolated = isolated
        self._pid_file = folder / "init.pid"

    # -- booting -----------------------------------------------------------------------------------------------------

    def build(self, plan: Blueprint) -> None:
        """Make the root folder and what cloud-init would write; no error if they are there."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        manifest = plan.manifest()
        users = Users.of(manifest, plan.uid) if self._isolated else None
        made = Tree(self.root, users)
        made.make(manifest.get("folders", []))
        if users is not None:
            made.write_etc()
            self._open_volume(plan)
        if plan.user_data:
            write_files(self.root, plan.user_data, users)

    @staticmethod
    def _open_volume(plan: Blueprint) -> None:
        """A volume without a device is for all users of the server, as a folder in which each has its own."""
        if plan.volume_folder:
            Path(plan.volume_folder).chmod(0o1777)

    def start(self, plan: Blueprint) -> None:
        """Start the server's init; no error if it runs."""
        if self.runs():
            return
        self._pid_file.unlink(missing_ok=True)
        spec = self.folder / "init.json"
        spec.write_text(json.dumps(self._spec(plan)))
        spec.chmod(0o600)
        python = PYTHON if Path(PYTHON).exists() else sys.executable
        command = [python, "-I", str(Path(__file__).with_name("init.py")), str(spec)]
        if self._isolated:
            spaces = ["--mount", "--pid", "--ipc", "--fork", "--kill-child=SIGKILL", "--propagation", "private"]
            command = [*_in_network(plan.network_namespace), "unshare", *spaces, *command]
        self.console.touch(mode=0o600)
        with self.console.open("ab") as console:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                close_fds=True,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), MARKER: plan.id},
            )
        _own[process.pid] = process
        self._pid_file.write_text(f"{process.pid} {_started(process.pid)}")

    def _spec(self, plan: Blueprint) -> dict[str, Any]:
        manifest = plan.manifest()
        users = Users.of(manifest, plan.uid) if self._isolated else None
        known = self._words(plan, users)
        environment = {key: _filled(str(value), known) for key, value in manifest.get("environment", {}).items()}
        path = PATH if self._isolated else os.environ.get("PATH", PATH)
        home = {"HOME": _path_in(known["root"], "home"), "TMPDIR": _path_in(known["root"], "tmp")}
        return {
            "processes": [
                self._process(each, known, users)
                for each in manifest["processes"]
                if self._isolated or each.get("user") != "root"
            ],
            "environment": {"PATH": path, **home, "LANG": "C.UTF-8", MARKER: plan.id, **environment},
            "root": str(self.root),
            "folder": str(self.folder),
            "log": self.console.name,
            "grace": float(manifest.get("grace", 20)),
            "isolated": self._isolated,
            "memory_mib": plan.memory_mib,
            "shown": Tree(self.root, users).show(plan.image.resolve().parent, plan.volume_folder) if users else [],
            "disks": [[each.name, each.device] for each in plan.volumes if each.device],
        }

    def _words(self, plan: Blueprint, users: Users | None) -> dict[str, str]:
        """What is filled in for `{image}` and its like; as the server itself sees it."""
        image = plan.image.resolve()
        there = {
            "images": str(image.parent),
            "image": str(image),
            "root": str(self.root),
            "volume": plan.volume_folder,
        }
        there |= {f"user:{name}": "" for name in Users.names(plan.manifest())}
        if users is not None:
            there |= {"images": IMAGES, "image": f"{IMAGES}/{image.name}", "root": "/"}
            there |= {f"user:{name}": name for name in users.ids}
            there["volume"] = VOLUME if plan.volume_folder else ""
        return {**there, "address": plan.address, "memory_mib": str(plan.memory_mib)}

    @staticmethod
    def _process(wanted: dict[str, Any], known: dict[str, str], users: Users | None) -> dict[str, Any]:
        user = str(wanted.get("user", "guest"))
        own = users.ids[user] if users is not None and user != "root" else None
        command = [_filled(str(part), known) for part in wanted["command"]]
        return {"name": wanted["name"], "command": command, "uid": own, "gid": own}

    # -- finding -----------------------------------------------------------------------------------------------------

    def _pid(self) -> int | None:
        """The process that was started, if it still is the same one."""
        try:
            pid, started = self._pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if _started(int(pid)) == started else None

    def runs(self) -> bool:
        """Whether the server's init lives."""
        return self._pid() is not None

    def _init(self) -> int | None:
        """The namespace's PID 1 (a child of `unshare`), or the init itself without namespaces."""
        pid = self._pid()
        if pid is None or not self._isolated:
            return pid
        children = _children(pid)
        return children[0] if children else None

    def processes(self) -> list[int]:
        """All processes of this server that the machine knows."""
        pid, init = self._pid(), self._init()
        found = {each for each in (pid, init) if each}
        space = _space(init) if init and self._isolated else None
        for each in _all_pids():
            if (space and _space(each) == space) or (not self._isolated and _marked(each, self.folder.name)):
                found.add(each)
        return sorted(found)

    # -- the fence ---------------------------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """End the server and return when no process of it is left."""
        members = self.processes()
        init = self._init()
        deadline = time.monotonic() + grace
        while init is not None and time.monotonic() < deadline:
            _signal(init, signal.SIGTERM)  # again and again: one that has just booted does not listen yet
            if _gone([init], min(0.2, grace)):
                break
        for pid in {*members, *self.processes()}:
            _signal(pid, signal.SIGKILL)
        if not _gone([*members, *self.processes()], 30):
            raise TimeoutError(f"processes of {self.folder.name} do not end")
        self._pid_file.unlink(missing_ok=True)

    def destroy(self) -> None:
        """Remove the server's folder; nothing of it may run."""
        tree.remove(self.folder)

    def console_tail(self, lines: int | None) -> str:
        """The end of what the server has printed."""
        if not self.console.exists():
            return ""
        text = self.console.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) if lines else text


def _in_network(network_namespace: str) -> list[str]:
    return ["nsenter", f"--net={network_namespace}"] if network_namespace else []


def _path_in(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"


def _filled(text: str, known: dict[str, str]) -> str:
    for key, value in known.items():
        text = text.replace("{" + key + "}", value)
    return text


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; empty for a process that is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [] if fields[0] in "ZX" else fields


def _started(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields else ""


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _space(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def _marked(pid: int, server: str) -> bool:
    try:
        return f"{MARKER}={server}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _all_pids() -> list[int]:
    return [int(each) for each in os.listdir("/proc") if each.isdigit()]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone(pids: list[int], patience: float) -> bool:
    """Wait until all of the processes have ended."""
    deadline = time.monotonic() + patience
    watched = {pid: _started(pid) for pid in pids}
    while any(started and _started(pid) == started for pid, started in watched.items()):
        if time.monotonic() > deadline:
            return False
        _reap()
        time.sleep(0.02)
    _reap()
    return True


def _reap() -> None:
    """Collect ended servers that this process started itself."""
    for pid, process in list(_own.items()):
        if process.poll() is not None:
            _own.pop(pid, None)
