"""Processes of the stack that do not work: stopped, or frozen with all that they have started."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stack import RunningStack
from tests.whole.test_kill import until_it_answers


@contextmanager
def away(stack: RunningStack, process: str, how: str) -> Iterator[None]:
    """One process does not work."""
    rpc, pids = stack.stack.supervisor._rpc(), []
    if how == "stopped":
        rpc.stopProcess(process)
    else:
        pids = _tree(stack.stack.supervisor.states()[process]["pid"])
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        if how == "stopped":
            rpc.startProcess(process)
        until_it_answers(stack)


def _tree(pid: int) -> list[int]:
    """A process and those that it has started."""
    below = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [pid, *(found for each in below for found in _tree(each))]
