"""Servers as processes: booting, finding again, and the fence that leaves none of them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from localcloud.cloudconfig import Account, write_files

MARKER = "LOCALCLOUD_SERVER"
PYTHON = "/usr/bin/python3"
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
    volume_folder: str = ""
    network_namespace: str = ""


class Machine:
    """One server's folder and processes.

    With privilege the processes live in PID and mount namespaces of their own, so ending the namespace's init ends all
    of them. Without, they are found by a marker in their environment: best effort.
    """

    def __init__(self, folder: Path, *, isolated: bool) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.console = folder / "console.log"
        self._isolated = isolated
        self._pid_file = folder / "init.pid"

    # -- booting -----------------------------------------------------------------------------------------------------

    def build(self, plan: Blueprint) -> None:
        """Make the root folder and what cloud-init would write; content when they are there."""
        account = Account(plan.uid, plan.uid) if self._isolated else None
        self.root.mkdir(parents=True, exist_ok=True)
        for name in ("etc", "dev/disk/by-id", "home", "run", "tmp", "var/lib"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        if account is not None:
            for name in (".", "home", "run", "tmp", "var", "var/lib"):
                os.chown(self.root / name, account.uid, account.gid)
            self.root.chmod(0o750)
            self._private_users(account)
        if plan.user_data:
            write_files(self.root, plan.user_data, account)

    def _private_users(self, account: Account) -> None:
        line = f"{account.name}:x:{account.uid}:{account.gid}::{self.root}/home:/bin/sh\n"
        (self.root / "etc/passwd").write_text(Path("/etc/passwd").read_text() + line)
        (self.root / "etc/group").write_text(Path("/etc/group").read_text() + f"{account.name}:x:{account.gid}:\n")

    def start(self, plan: Blueprint) -> None:
        """Start the server's init; content when it runs."""
        if self.runs():
            return
        self._pid_file.unlink(missing_ok=True)
        spec = self.folder / "init.json"
        spec.write_text(json.dumps(self._spec(plan)))
        spec.chmod(0o600)
        python = PYTHON if Path(PYTHON).exists() else sys.executable
        command = [python, "-I", str(Path(__file__).with_name("init.py")), str(spec)]
        if self._isolated:
            spaces = ["--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--propagation", "private"]
            command = [*_inside(plan.network_namespace), "unshare", *spaces, *command]
        self.console.touch(mode=0o640)
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
        manifest = yaml.safe_load((plan.image / "manifest.yaml").read_text())
        known = {
            "image": str(plan.image),
            "root": str(self.root),
            "address": plan.address,
            "memory_mib": str(plan.memory_mib),
            "volume": plan.volume_folder,
        }
        environment = {key: _filled(str(value), known) for key, value in manifest.get("environment", {}).items()}
        base = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "HOME": str(self.root / "home")}
        base |= {"LANG": "C.UTF-8", "TMPDIR": str(self.root / "tmp"), MARKER: plan.id}
        return {
            "processes": [
                self._process(each, known, plan.uid)
                for each in manifest["processes"]
                if self._isolated or each.get("user") != "root"
            ],
            "environment": {**base, **environment},
            "root": str(self.root),
            "log": str(self.console),
            "grace": float(manifest.get("grace", 20)),
            "isolated": self._isolated,
            "mounts": [[str(self.root / "etc" / name), f"/etc/{name}"] for name in ("passwd", "group")],
        }

    def _process(self, wanted: dict[str, Any], known: dict[str, str], uid: int) -> dict[str, Any]:
        own = uid if self._isolated and wanted.get("user") != "root" else None
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
        shutil.rmtree(self.folder, ignore_errors=True)

    def console_tail(self, lines: int | None) -> str:
        """The end of what the server has printed."""
        if not self.console.exists():
            return ""
        text = self.console.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) if lines else text


def _inside(network_namespace: str) -> list[str]:
    return ["nsenter", f"--net={network_namespace}"] if network_namespace else []


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
