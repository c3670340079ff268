"""Long jobs: each has a process of its own, which goes on when the guest worker dies, and tells its end from the disk.

A verb that takes long begins its job by a name, and follows it. Asked again, after whatever death, it follows the same
job; what has ended is told again. A job is ended, with all of its processes, when its step is cancelled and when a newer
operation asks the guest for anything.
"""

import asyncio
import fcntl
import os
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from temporalio import activity

from contract.domain.errors import EngineFailed, FenceLost, NotYet
from contract.files import write_private
from contract.ports.guest import Fenced
from guest_worker import host
from guest_worker.job import LOCK, LOG, ORDER, OUTCOME, PROCESS, PROGRESS, JobOrder, JobProcess, Progress
from guest_worker.outcome import Outcome

JOB = "COFFER_JOB"  # in the environment of all that a job starts: its folder
NAME = re.compile(r"[0-9a-z][0-9a-z.-]{0,99}")
BEGIN_SECONDS = 30.0
GRACE = 2.0  # seconds between SIGTERM and SIGKILL
END_SECONDS = 10.0
LOOK_EVERY = 0.5
LAST_WORDS = 300  # characters of a job's log

Answer = TypeVar("Answer")


class JobState(StrEnum):
    """What has become of a job."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    FAILED = "failed"
    SUCCEEDED = "succeeded"


class Jobs:
    """The jobs of this guest, one folder each."""

    def __init__(self, folder: Path, program: str = "guest_worker.backups") -> None:
        """`program`: the module that does them."""
        self._folder = folder
        self._program = program
        self._lock = threading.Lock()

    async def follow(self, name: str, verb: str, order: Fenced, shape: type[Answer]) -> Answer:
        """Begin a job unless it has begun, beat with its progress, and tell its end; a cancel of the step ends it.

        The end of the guest worker does not: whoever is asked next follows it.
        """
        try:
            await asyncio.to_thread(self.begin, name, verb, order)
            while (state := self.state(name)) is JobState.RUNNING:
                activity.heartbeat(self.progress(name))
                await asyncio.sleep(LOOK_EVERY)
                if activity.is_worker_shutdown():
                    raise NotYet("the guest worker is about to be restarted")
        except asyncio.CancelledError:
            why = activity.cancellation_details()
            if why is not None and why.cancel_requested:
                await asyncio.to_thread(self.end, name)
            raise
        if state is JobState.NOT_STARTED:  # not any more
            raise FenceLost("a newer operation has ended this one")
        await asyncio.to_thread(self.end, name)  # what a process has started that has died itself
        return self.outcome(name).tell(shape)

    # -- one job ----------------------------------------------------------------------------------------------------

    def begin(self, name: str, verb: str, order: Fenced) -> None:
        """Return when the job has begun; no error if it has, or has ended."""
        if not NAME.fullmatch(name):
            raise ValueError(f"{name} is no name of a job")
        with self._lock:
            if self.state(name) is JobState.NOT_STARTED:
                argument = order.model_dump(mode="json")
                self._start(self._folder / name, JobOrder(verb=verb, argument=argument, fence=order.fence))

    def _start(self, folder: Path, order: JobOrder) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(folder / ORDER, order.model_dump_json())
            command = [sys.executable, "-m", self._program, str(folder)]
            pid = host.start(command, folder / LOG, environment={JOB: str(folder)})
        except OSError as error:
            raise EngineFailed(f"{order.words} could not be begun: {error.strerror}") from error
        last = time.monotonic() + BEGIN_SECONDS
        while not (folder / PROCESS).exists():  # the process itself writes it, so that it begins once
            if not host.alive(pid) and _is_free(folder / LOCK) and not (folder / PROCESS).exists():
                raise EngineFailed(f"{order.words} could not be begun: {_last_words(folder)}")
            if time.monotonic() > last:
                raise NotYet(f"{order.words} has not begun yet")
            time.sleep(0.02)

    def state(self, name: str) -> JobState:
        """Look at the disk, and at the process."""
        folder = self._folder / name
        process = _process_of(folder)
        if process is None:
            return JobState.NOT_STARTED
        if host.alive(process.pid) and host.started_at(process.pid) == process.started:
            return JobState.RUNNING
        return JobState.FAILED if self.outcome(name).error else JobState.SUCCEEDED

    def progress(self, name: str) -> Progress:
        """How far it is."""
        text = _read(self._folder / name / PROGRESS)
        return Progress.model_validate_json(text) if text else Progress()

    def outcome(self, name: str) -> Outcome:
        """How a job has ended that runs no more."""
        folder = self._folder / name
        text = _read(folder / OUTCOME)
        if text is not None:
            return Outcome.model_validate_json(text)
        order, said = _order_of(folder), _last_words(folder)
        what = order.words if order else name
        return Outcome.failed(EngineFailed(f"{what} ended before it was done" + (f": {said}" if said else "")))

    # -- ending ------------------------------------------------------------------------------------------------------

    def end(self, name: str) -> None:
        """Return when no process of the job is left; NotYet when that takes long."""
        with self._lock:
            _end(self._folder / name)

    def end_older(self, fence: int) -> None:
        """End and forget the jobs of operations before this one."""
        with self._lock:
            for folder in self._folder.iterdir() if self._folder.exists() else ():
                order = _order_of(folder)
                if order is None or order.fence < fence:
                    _end(folder)
                    shutil.rmtree(folder)


def _end(folder: Path) -> None:
    """End all processes that the job has started, also those that a dead one has left."""
    began = time.monotonic()
    while left := host.processes_with(JOB, str(folder)):
        waited = time.monotonic() - began
        if waited > END_SECONDS:
            raise NotYet(f"{len(left)} processes of {folder.name} do not end")
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if waited < GRACE else signal.SIGKILL)
        time.sleep(0.05)


def _process_of(folder: Path) -> JobProcess | None:
    text = _read(folder / PROCESS)
    return JobProcess.model_validate_json(text) if text else None


def _order_of(folder: Path) -> JobOrder | None:
    text = _read(folder / ORDER)
    return JobOrder.model_validate_json(text) if text else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None


def _is_free(lock: Path) -> bool:
    """Whether no process is about to do the job."""
    if not lock.exists():
        return True
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _last_words(folder: Path) -> str:
    lines = (_read(folder / LOG) or "").strip().splitlines()
    return lines[-1][-LAST_WORDS:] if lines else ""
