"""A verb for tests that takes long: the checksum of a folder, a job of its own. `python -m tests.accounts.proof FOLDER`."""

import hashlib
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

from temporalio import activity

from contract.domain.errors import BadRequest
from contract.domain.fact import Fact
from contract.ports.guest import Fenced
from guest_worker.job import Job, Progress, do
from guest_worker.services import Services

STUBBORN = "trap '' TERM; while :; do sleep 600; done"


class ProofOrder(Fenced):
    """Which folder, whether it waits in the middle until there is a file `go` beside the folder, and how it ends."""

    name: str
    folder: str
    waits: bool = False
    ends: str = "well"


class Checksum(Fact):
    """Of all files, by name."""

    sha256: str


class Proof(ABC):
    """What only the guests of tests are asked."""

    @abstractmethod
    @activity.defn
    async def checksum(self, order: ProofOrder) -> Checksum: ...


class GuestProof(Proof):
    """In a process of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    async def checksum(self, order: ProofOrder) -> Checksum:
        return await self._services.do_long(order.name, "checksum", order, Checksum)


def checksum(job: Job) -> Checksum:
    """Read file by file, with helpers beside that end only when they are ended."""
    order = ProofOrder.model_validate(job.order.argument)
    folder = Path(order.folder)
    with (folder.parent / "begun").open("a") as begun:
        begun.write(f"{os.getpid()}\n")
    helpers = [subprocess.Popen(["sh", "-c", each], cwd=folder) for each in ("exec sleep 600", STUBBORN)]
    if order.ends == "die":
        os._exit(9)
    if order.ends == "raise":
        raise ValueError("a page is damaged")
    if order.ends == "refuse":
        raise BadRequest("the folder is not what was ordered")
    helpers.append(subprocess.Popen(["sleep", "600"], cwd=folder, start_new_session=True))
    files = sorted(each for each in folder.iterdir() if each.is_file())
    total, done, found = sum(each.stat().st_size for each in files), 0, hashlib.sha256()
    for each in files:
        found.update(each.read_bytes())
        done += each.stat().st_size
        job.tell(Progress(step=each.name, done=done, total=total, unit="bytes"))
        while order.waits and not (folder.parent / "go").exists():
            time.sleep(0.05)
    for helper in helpers:
        helper.kill()
        helper.wait()
    return Checksum(sha256=found.hexdigest())


if __name__ == "__main__":
    do(Path(sys.argv[1]), {"checksum": checksum})
