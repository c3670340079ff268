"""The process of one job, which its folder names. It writes down who it is, how far it is, and how it ended.

It is begun once: a second process of the same job ends at once, also when the first one has died.
"""

import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from temporalio.exceptions import ApplicationError

from contract.domain.errors import EngineFailed
from contract.domain.fact import Fact
from contract.files import write_private
from contract.logs import log_to_stderr
from guest_worker import host
from guest_worker.outcome import Outcome

LOCK, ORDER, PROCESS, PROGRESS, OUTCOME, LOG = (
    "lock",
    "order.json",
    "process.json",
    "progress.json",
    "outcome.json",
    "log",
)
TELL_EVERY = 0.5  # seconds between two notes of progress

log = logging.getLogger(__name__)


class JobOrder(Fact):
    """What is to be done, with what, and for which operation."""

    verb: str
    argument: dict[str, object]
    fence: int

    @property
    def words(self) -> str:
        """Its name in a sentence."""
        return self.verb.replace("_", " ")


class JobProcess(Fact):
    """The process that does it; its start time tells a reused id apart."""

    pid: int
    started: str


class Progress(Fact):
    """How far a job is, in what it counts; `total` where it is known."""

    step: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""


class Job:
    """The job that this process does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._told_at = 0.0
        self.order = JobOrder.model_validate_json((folder / ORDER).read_text())

    def tell(self, progress: Progress) -> None:
        """Say how far it is; as often as one likes, for not all of it is written down."""
        if time.monotonic() - self._told_at >= TELL_EVERY:
            write_private(self.folder / PROGRESS, progress.model_dump_json())
            self._told_at = time.monotonic()


Work = Callable[[Job], Fact | None]


def do(folder: Path, works: Mapping[str, Work]) -> None:
    """Do the job of a folder, unless another process has begun it."""
    lock = os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if (folder / PROCESS).exists():
        return
    me = JobProcess(pid=os.getpid(), started=host.started_at(os.getpid()))
    write_private(folder / PROCESS, me.model_dump_json())
    job = Job(folder)
    outcome = _outcome(job, works[job.order.verb])
    write_private(folder / OUTCOME, outcome.model_dump_json())


def _outcome(job: Job, work: Work) -> Outcome:
    try:
        return Outcome.answered(work(job))
    except ApplicationError as error:
        return Outcome.failed(error)
    except Exception as error:
        log.exception("the job failed")
        return Outcome.failed(EngineFailed(f"{job.order.words} failed: {error}"))


def _end(*_: object) -> None:
    """Leave by the way on which whatever is open is closed, once: who wants the end says so again and again."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def main(works: Mapping[str, Work]) -> None:
    """Do the job of the folder that the command line names. SIGTERM ends it with what it has others do."""
    signal.signal(signal.SIGTERM, _end)
    log_to_stderr("INFO")
    do(Path(sys.argv[1]), works)
