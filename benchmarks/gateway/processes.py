"""Processes that a benchmark starts, and ends."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.client import Unexpected
from deploy.setup import HERE

GRACE = 30.0
ANSWERS = 0.05  # seconds between two looks whether one answers


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, below those that the kernel gives to clients: there will be thousands."""
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Unexpected("no free ports")


def environment(**said: str) -> dict[str, str]:
    """What a process is told: of the caller's environment nothing but what it needs to run at all."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ", "HOME", "PGPASSFILE") if name in os.environ}
    return {**kept, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1", **said}


class Process:
    """One process with a log of its own; in a session of its own, so that Ctrl-C is for us alone."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str], *, talks: bool = False, **who: Any) -> None:
        """Start it. `talks`: its standard input and output are for lines of JSON."""
        self._log = log
        pipe = subprocess.PIPE if talks else None
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, cwd="/", env=env, stdin=pipe or subprocess.DEVNULL,
                                             stdout=pipe or file, stderr=file, start_new_session=True, **who)  # fmt: skip

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def wait_until(self, answers: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
        """Look again and again; Unexpected with the end of its log when it has ended, or does not come up."""
        deadline = time.monotonic() + seconds
        while not answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Unexpected(f"{what} did not come up: {self._log.read_text(errors='replace')[-1500:]}")
            time.sleep(ANSWERS)

    def ask(self, question: dict[str, Any]) -> Any:
        """Say one line and read one; Unexpected when it has ended."""
        self.say(question)
        return self.answer()

    def say(self, question: dict[str, Any]) -> None:
        """Say one line, which must be answered before the next."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Unexpected(f"a process ended: {self._log.read_text(errors='replace')[-1500:]}") from None

    def answer(self) -> Any:
        """Read the answer to what was said."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Unexpected(f"a process ended: {self._log.read_text(errors='replace')[-1500:]}")
        return json.loads(line)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it as its supervisor would; killed when that takes too long."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextlib.contextmanager
def running(process: Process, how: signal.Signals = signal.SIGTERM) -> Iterator[Process]:
    """End a process afterwards, whatever happens."""
    try:
        yield process
    finally:
        process.end(how)


def module(name: str) -> list[str]:
    """The command of a module of ours."""
    return [sys.executable, "-m", name]
