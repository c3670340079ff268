"""An engine's tool and zstd, one writing what the other reads. Each of them must end well, or nothing of it counts."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.backup import Tool
from guest_worker.engine_user import EngineUser

PACK = ("-q", "-1", "-c")
UNPACK = ("-q", "-d", "-c", "--memory=64MB")
END_SECONDS = 60.0  # that a program may take to end after its last byte
TAIL = 20_000  # bytes of what a tool said, in which its last words are looked for


class ToolLog:
    """What the programs of one stream say, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")

    @property
    def text(self) -> str:
        """All that is at its end."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - TAIL))
            return file.read().decode(errors="replace")

    def last_words(self) -> str:
        """The line that says why it ended."""
        lines = [each.strip() for each in self.text.splitlines() if each.strip()]
        telling = [each for each in lines if "rror" in each or "FATAL" in each or "fail" in each.lower()] or lines
        return telling[-1][-300:] if telling else "it said nothing"


class _Programs:
    """A tool of the engine's user and a process of zstd's beside it."""

    def __init__(self, engine: EngineUser, tool: Tool, log: ToolLog) -> None:
        self._engine = engine
        self._tool = tool
        self._log = log
        self._pid = 0
        self._code: int | None = None
        self.zstd: subprocess.Popen[bytes] | None = None

    def begin(self, options: tuple[str, ...], *, packs: bool) -> IO[bytes]:
        """Start both; return the end of the stream that is ours."""
        source, sink = os.pipe()
        try:
            with Path(os.devnull).open("r+b") as nothing, self._log.path.open("ab") as said:
                ends = (nothing.fileno(), sink) if packs else (source, nothing.fileno())
                self._pid = self._engine.pipe(self._tool.command, ends, said.fileno())
                self.zstd = subprocess.Popen(
                    [host.find_program("zstd"), *options],
                    stdin=source if packs else subprocess.PIPE,
                    stdout=subprocess.PIPE if packs else sink,
                    stderr=said,
                )
        finally:
            os.close(source)
            os.close(sink)
        stream = self.zstd.stdout if packs else self.zstd.stdin
        if stream is None:
            raise EngineFailed("zstd has no pipe")
        return stream

    def require_success(self) -> None:
        """Return when both have ended well."""
        code = self.zstd.wait(END_SECONDS) if self.zstd else -1
        ended = self._ended(END_SECONDS)
        name = Path(self._tool.command[0]).name
        if ended is None:
            raise EngineFailed(f"{name} does not end")
        if ended != 0:
            raise EngineFailed(f"{name} ended with {ended}: {self._log.last_words()}")
        if self._tool.success and self._tool.success not in self._log.text:
            raise EngineFailed(f"{name} ended without saying that it was done: {self._log.last_words()}")
        if code != 0:
            raise EngineFailed(f"zstd ended with {code}: {self._log.last_words()}")

    def _ended(self, seconds: float) -> int | None:
        last = time.monotonic() + seconds
        while self._code is None and self._pid and time.monotonic() < last:
            self._code = self._engine.ended(self._pid)
            if self._code is None:
                time.sleep(0.05)
        return self._code

    def end(self) -> None:
        """End what still runs: it has failed, or nobody wants it."""
        if self.zstd is not None:
            self.zstd.kill()
            self.zstd.wait()
            with suppress(OSError):  # what was not written yet goes nowhere
                for each in filter(None, (self.zstd.stdin, self.zstd.stdout)):
                    each.close()
        if self._pid and self._ended(0.1) is None:
            with suppress(ProcessLookupError):
                self._engine.signal(self._pid, signal.SIGKILL)
            self._ended(10)


@contextmanager
def packed(engine: EngineUser, tool: Tool, log: ToolLog) -> Iterator[IO[bytes]]:
    """What a tool writes, compressed. At the end of the block it has been read, and both have ended well: EngineFailed else."""
    programs = _Programs(engine, tool, log)
    try:
        yield programs.begin(PACK, packs=True)
        programs.require_success()
    finally:
        programs.end()


@contextmanager
def unpacked(engine: EngineUser, tool: Tool, log: ToolLog) -> Iterator[IO[bytes]]:
    """Where to write what `packed` gave; the tool gets it as it was. At the end of the block both have ended well."""
    programs = _Programs(engine, tool, log)
    try:
        stream = programs.begin(UNPACK, packs=False)
        try:
            yield stream
            stream.close()
        except BrokenPipeError:
            programs.require_success()
            raise
        programs.require_success()
    finally:
        programs.end()
