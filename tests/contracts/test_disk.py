"""The privileged process takes as long over a volume as it needs, answers meanwhile, and its death breaks nothing off."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.domain.errors import NotYet
from contract.ports.guest import VolumeOrder
from guest_worker import disk
from guest_worker.paths import GuestPaths
from guest_worker.services import Services
from guest_worker.settings import GuestSettings
from guest_worker.verbs.lifecycle import EngineLifecycle
from tests.contracts.guest import BOX, done
from tests.machine import processes_below

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root, there are no volumes")
REPOSITORY = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
# The process itself, with users that every machine has, and a short answer time: PLACE.
PROGRAM = """
import sys
from pathlib import Path
from guest_worker import disk
from guest_worker.paths import GuestPaths
disk.GUEST = disk.ENGINE = "nobody"
disk.ANSWER_SECONDS = 0.3
here = GuestPaths(Path(sys.argv[1]))
disk.serve(disk.Disk(here), here, "postgresql", "")
"""
# Stands before a tool of the same name: says that it has begun, waits to be let go, and does the work.
SLOW = """#!/bin/sh
echo begun >> {folder}/{tool}.begun
while [ ! -e {folder}/go ]; do sleep 0.05; done
exec {real} "$@"
"""


@dataclass
class Machine:
    """A server with a volume."""

    folder: Path
    device: str
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def paths(self) -> GuestPaths:
        return GuestPaths(self.folder / "root")

    def start(self) -> None:
        """Start the privileged process; return when it listens."""
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        command = [sys.executable, "-c", PROGRAM, str(self.paths.root)]
        self.paths.disk_socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
        until(self.listens)

    def listens(self) -> bool:
        """Whether the process takes questions: its socket is there a moment before."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.paths.disk_socket)) == 0

    def kill(self) -> None:
        """Kill the privileged process, and nothing that it has started."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def slow(self, tool: str) -> None:
        """Have a tool wait until it is let go."""
        path = self.folder / "bin" / tool
        path.write_text(SLOW.format(folder=self.folder, tool=tool, real=shutil.which(tool, path="/sbin:/usr/sbin")))
        path.chmod(0o755)

    def times_begun(self, tool: str) -> int:
        path = self.folder / f"{tool}.begun"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def go_on(self) -> None:
        (self.folder / "go").touch()

    def ask(self, **question: object) -> dict[str, int]:
        return disk.ask(self.paths, question)

    def prepared(self) -> dict[str, int]:
        """Ask until it is done."""
        while True:
            try:
                return self.ask(verb="prepare", volume_id="v1")
            except disk.NotDone:
                time.sleep(0.05)


def until(condition: Callable[[], bool]) -> None:
    last = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.02)


@pytest.fixture
def machine() -> Iterator[Machine]:
    folder = Path(tempfile.mkdtemp(prefix="coffer-disk-"))
    image = folder / "volume.img"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    attach = ["losetup", "--find", "--show", str(image)]
    device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    found = Machine(folder, device)
    for each in ("root/dev/disk/by-id", "root/run/engine", "root/etc/coffer", "bin"):
        (folder / each).mkdir(parents=True)
    (folder / "root/dev/disk/by-id/virtio-v1").symlink_to(device)
    try:
        yield found
    finally:
        found.go_on()
        found.kill()
        until(lambda: not processes_below(folder))
        subprocess.run(["umount", "-q", str(found.paths.data)], check=False)
        subprocess.run(["losetup", "--detach", device], check=True)
        shutil.rmtree(folder)


@pytest.mark.parametrize("tool", ["e2fsck", "resize2fs"])
def test_a_volume_that_takes_long_is_prepared_in_the_end(machine: Machine, tool: str) -> None:
    machine.slow(tool)
    machine.start()
    with pytest.raises(disk.NotDone, match="checked or grown"):
        machine.ask(verb="prepare", volume_id="v1")
    with pytest.raises(disk.DiskRefused, match="another volume"):
        machine.ask(verb="prepare", volume_id="v2")
    program = {"verb": "run", "command": ["/usr/bin/mkdir", "--help"]}
    if tool == "e2fsck":  # nothing of an engine runs in the folder below
        with pytest.raises(disk.NotDone):
            machine.ask(**program)
    else:
        with Path(os.devnull).open("r+b") as null:
            assert disk.ask(machine.paths, program, [null.fileno()] * 3) == {"run": 0}
    machine.go_on()
    assert machine.prepared()["total_bytes"] > 40 * MIB
    assert machine.times_begun(tool) == 1


@pytest.mark.parametrize("tool", ["e2fsck", "resize2fs"])
def test_what_a_killed_process_has_begun_is_waited_for(machine: Machine, tool: str) -> None:
    machine.slow(tool)
    machine.paths.disk_memory.write_text(json.dumps({"volume_id": "v1"}))  # as after a boot
    for _ in range(2):
        machine.start()
        until(lambda: machine.times_begun(tool) == 1)
        machine.kill()
    machine.start()
    with pytest.raises(disk.NotDone):
        machine.ask(verb="prepare", volume_id="v1")
    assert machine.times_begun(tool) == 1
    machine.go_on()
    assert machine.prepared()["total_bytes"] > 40 * MIB


def test_a_failure_is_told_once_and_then_tried_again(machine: Machine) -> None:
    subprocess.run(["wipefs", "--all", "--quiet", machine.device], check=True)
    subprocess.run(["mkswap", machine.device], check=True, capture_output=True)
    machine.start()
    for _ in range(2):
        with pytest.raises(disk.DiskRefused, match="carries swap"):
            machine.prepared()
    subprocess.run(["wipefs", "--all", "--quiet", machine.device], check=True)
    assert machine.prepared()["total_bytes"] > 40 * MIB


def grow(machine: Machine) -> None:
    """As Cinder does, under the server."""
    with (machine.folder / "volume.img").open("r+b") as file:
        file.truncate(2 * 64 * MIB)
    subprocess.run(["losetup", "--set-capacity", machine.device], check=True)


def test_a_volume_that_was_grown_is_larger_and_has_what_was_on_it(machine: Machine) -> None:
    """At once where the kernel grows a file system in use, else as soon as nobody uses it; never half."""
    machine.start()
    small = machine.prepared()
    assert small["device_bytes"] == 64 * MIB
    kept = machine.paths.data / "kept"
    kept.write_text("what was there")
    grow(machine)
    with kept.open() as used:
        try:
            machine.prepared()
        except disk.DiskRefused as error:
            assert str(error).startswith(disk.IN_USE)
            assert disk.ask(machine.paths, {"verb": "status"})["total_bytes"] == small["total_bytes"]
        assert used.read() == "what was there"
    large = machine.prepared()
    assert large["device_bytes"] == 2 * 64 * MIB
    assert large["total_bytes"] > 1.7 * small["total_bytes"]
    assert kept.read_text() == "what was there"


def test_a_volume_that_was_grown_while_the_server_was_off_is_larger_at_its_boot(machine: Machine) -> None:
    machine.start()
    small = machine.prepared()
    machine.kill()
    subprocess.run(["umount", str(machine.paths.data)], check=True)
    grow(machine)

    def is_large() -> bool:
        with suppress(disk.DiskRefused):  # not mounted yet
            return machine.ask(verb="status")["total_bytes"] > 1.7 * small["total_bytes"]
        return False

    machine.start()  # it remembers which volume
    until(is_large)


def test_the_step_waits_until_the_server_sees_the_growth(machine: Machine) -> None:
    machine.start()
    engine: Any = SimpleNamespace(answers=lambda: False)
    lifecycle = EngineLifecycle(Services(GuestSettings(root=machine.paths.root), engine, BOX))
    with pytest.raises(NotYet, match="does not see yet"):
        done(lifecycle.prepare_volume, VolumeOrder(fence=1, volume_id="v1", size_gib=1))


def test_the_step_follows_the_work(machine: Machine) -> None:
    machine.slow("e2fsck")
    machine.start()
    engine: Any = SimpleNamespace(answers=lambda: False)
    services = Services(GuestSettings(root=machine.paths.root), engine, BOX)

    async def follow() -> int:
        step = asyncio.ensure_future(EngineLifecycle(services).prepare_volume(VolumeOrder(fence=1, volume_id="v1")))
        await asyncio.to_thread(until, lambda: machine.times_begun("e2fsck") == 1)
        assert not (await asyncio.wait([step], timeout=1))[0]
        machine.go_on()
        return (await step).total_bytes

    assert done(follow) > 40 * MIB
