"""A stream counts only when each program of it has ended well and said so."""

import shutil
import time
from pathlib import Path

import pytest

from contract.domain.errors import EngineFailed
from guest_worker.backups.piping import ToolLog, packed, unpacked
from guest_worker.datastores.backup import Tool
from guest_worker.engine_user import SameUser
from tests.machine import processes_below

SHELL = shutil.which("sh") or ""
BAD = {
    "exit code": (
        "head -c 1000000 /dev/zero; echo 'the disk has an error' >&2; exit 3",
        "ended with 3: the disk has an",
    ),
    "killed": ("head -c 1000000 /dev/zero; kill -9 $$", "ended with -9"),
    "no success": ("head -c 1000000 /dev/zero; echo 'half done' >&2", "without saying that it was done: half done"),
    "nothing": ("exit 1", "ended with 1: it said nothing"),
}


def tool(script: str) -> Tool:
    return Tool([SHELL, "-c", script], success="completed OK!")


@pytest.fixture
def log(tmp_path: Path) -> ToolLog:
    return ToolLog(tmp_path / "log")


def test_a_stream_is_the_same_on_its_way_back(log: ToolLog, tmp_path: Path) -> None:
    with packed(SameUser(), tool("seq 200000; echo completed OK! >&2"), log) as stream:
        data = stream.read()
    with unpacked(SameUser(), tool(f"cat > {tmp_path}/back; echo completed OK! >&2"), log) as sink:
        sink.write(data)
    assert (tmp_path / "back").read_text().split() == [str(each) for each in range(1, 200_001)]


@pytest.mark.parametrize("bad", BAD)
def test_a_tool_that_fails_is_an_error_with_its_words(log: ToolLog, bad: str) -> None:
    script, words = BAD[bad]
    with pytest.raises(EngineFailed, match=words), packed(SameUser(), tool(script), log) as stream:
        stream.read()


@pytest.mark.parametrize("script", ["head -c 100 > /dev/null; echo 'no space: error' >&2; exit 1", "exit 1"])
def test_a_tool_that_takes_no_more_is_an_error_with_its_words(log: ToolLog, script: str) -> None:
    with packed(SameUser(), tool("head -c 20000000 /dev/urandom; echo completed OK! >&2"), log) as stream:
        data = stream.read()
    with pytest.raises(EngineFailed, match="sh ended with 1"), unpacked(SameUser(), tool(script), log) as sink:
        sink.write(data)


def test_a_stream_that_is_damaged_or_cut_is_an_error(log: ToolLog) -> None:
    takes = tool("cat > /dev/null; echo completed OK! >&2")
    with packed(SameUser(), tool("seq 1000; echo completed OK! >&2"), log) as stream:
        data = stream.read()
    for broken in (data[:-10], b"nonsense", b""):
        with pytest.raises(EngineFailed, match="zstd ended with 1"), unpacked(SameUser(), takes, log) as sink:
            sink.write(broken)


def test_nothing_is_left_running_when_nobody_wants_it(log: ToolLog, tmp_path: Path) -> None:
    script = f"while :; do head -c 1000000 /dev/zero; sleep 0.1; done # {tmp_path}"
    with pytest.raises(KeyboardInterrupt), packed(SameUser(), tool(script), log) as stream:
        stream.read(1000)
        assert processes_below(tmp_path)
        raise KeyboardInterrupt
    last = time.monotonic() + 60
    while processes_below(tmp_path) and time.monotonic() < last:
        time.sleep(0.05)
    assert processes_below(tmp_path) == []
