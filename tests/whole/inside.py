"""Being a user of a database server: commands in its namespaces, as its guest or as its engine."""

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stack import RunningStack


@dataclass(frozen=True)
class Server:
    """A running database server, as root of the host sees it."""

    id: str
    worker: int  # the guest worker's process, by the host's numbers
    root: Path

    @classmethod
    def of(cls, stack: RunningStack, instance_id: str) -> "Server":
        """The server of an instance."""
        (found,) = stack.cloud("coffer").compute.servers(name=f"coffer-{instance_id}")
        (worker,) = [pid for pid, words in _processes(found.id) if words[1:3] == ["-m", "guest_worker"]]
        return cls(found.id, worker, stack.settings.open_home / "cloud/servers" / found.id / "root")

    def engine(self, program: str) -> int:
        """The engine's first process. It has not the environment of the guest; without namespaces its words name the server."""
        space, apart = _namespace(self.worker), _namespace(self.worker) != _namespace(os.getpid())
        for pid in sorted(int(each.name) for each in Path("/proc").glob("[0-9]*")):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                ours = _namespace(pid) == space and (apart or self.id in " ".join(words))
                if ours and words[0].rpartition("/")[2] == program:
                    return pid
        raise AssertionError(f"{program} does not run")

    def uid(self, name: str) -> int:
        """A user's id, as the server's own list has it."""
        lines = (self.root / "etc/passwd").read_text().splitlines()
        return next(int(line.split(":")[2]) for line in lines if line.startswith(f"{name}:"))

    def worker_inside(self) -> int:
        """The guest worker's process id, as the server itself sees it."""
        lines = Path(f"/proc/{self.worker}/status").read_text().splitlines()
        return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))

    def run(self, user: str, *command: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command there; without groups and with the environment of nobody."""
        uid = str(self.uid(user))
        enter = ["nsenter", "--target", str(self.worker), "--mount", "--pid", "--ipc", "--net", "--root", "--wd",
                 "--setuid", uid, "--setgid", uid]  # fmt: skip
        return subprocess.run([*enter, *command], input=given, capture_output=True, text=True, errors="replace", timeout=120,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, check=False)  # fmt: skip

    def python(self, user: str, script: str, *arguments: str) -> str:
        """Run a script there; what it printed."""
        done = self.run(user, "/usr/bin/python3", "-I", "-", *arguments, given=script)
        return done.stdout + done.stderr

    def ask_disk(self, user: str, question: dict[str, Any]) -> str:
        """Ask the privileged process, with three files of the caller's."""
        return self.python(user, ASK, json.dumps(question))

    def secrets(self) -> dict[str, str]:
        """What the guest keeps for itself."""
        state = self.root / "var/lib/guest"
        known = json.loads((state / "identity.json").read_text())
        boot = json.loads((self.root / "etc/coffer/guest.json").read_text())
        keys = known["credentials"]["keys"]
        administrator = state / "os_admin"  # MySQL's has no password
        return {"token": known["token"], "ticket": boot["ticket"],
                "key": str(next(iter(keys.values())) if isinstance(keys, dict) else keys),
                **({"administrator": administrator.read_text()} if administrator.exists() else {})}  # fmt: skip


ASK = """
import json, os, socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(30)
try:
    client.connect("/run/disk.sock")
    null, out = os.open("/dev/null", os.O_RDONLY), os.memfd_create("out")
    socket.send_fds(client, [sys.argv[1].encode() + b"\\n"], [null, out, out])
    print(client.makefile().readline())
    os.lseek(out, 0, 0)
    print(os.read(out, 10000).decode())
except OSError as error:
    print("error", error)
"""


def _namespace(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/pid").readlink()


def _processes(server: str) -> list[tuple[int, list[str]]]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if f"LOCALCLOUD_SERVER={server}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((int(entry.name), (entry / "cmdline").read_bytes().decode().split("\0")))
        except OSError:
            continue
    return found
