"""Processes of the stack that do not work: killed, stopped, or frozen with all that they have started."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.stack import RunningStack

PATIENCE = 180.0  # seconds


@contextmanager
def away(stack: RunningStack, process: str, how: str) -> Iterator[None]:
    """One process does not work."""
    rpc = stack.stack.supervisor._rpc()
    if how == "stopped":
        rpc.stopProcess(process)
        try:
            yield
        finally:
            rpc.startProcess(process)
    else:
        with frozen(stack.stack.supervisor.states()[process]["pid"]):
            yield
    until_it_answers(stack)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process and those that it has started stand still; one that ends meanwhile needs not."""
    pids: list[int] = []
    while new := [each for each in _tree(pid) if each not in pids]:
        _signal(new, signal.SIGSTOP)
        pids += new
    try:
        yield
    finally:
        _signal(pids, signal.SIGCONT)


def kill(stack: RunningStack, process: str) -> None:
    """Kill a process of the stack, and return when the supervisor has started another one and all answer."""
    pid = stack.stack.supervisor.states()[process]["pid"]
    os.kill(pid, signal.SIGKILL)
    until_it_answers(stack, {process: pid})


def until_it_answers(stack: RunningStack, killed: Mapping[str, int] | None = None) -> None:
    """Wait until every process runs and the API answers; those that were killed under another process id."""
    deadline = time.monotonic() + PATIENCE
    while True:
        states = stack.stack.supervisor.states()
        new = states and all(states[name]["pid"] != pid for name, pid in (killed or {}).items())
        if new and all(each["statename"] == "RUNNING" for each in states.values()) and _healthy(stack):
            return
        assert time.monotonic() < deadline, {name: each["statename"] for name, each in states.items()}
        time.sleep(0.1)


def _healthy(stack: RunningStack) -> bool:
    try:
        return httpx.get(f"{stack.settings.api_url}/healthcheck").status_code == 200
    except httpx.HTTPError:
        return False


def _signal(pids: list[int], number: int) -> None:
    for each in pids:
        with suppress(ProcessLookupError):
            os.kill(each, number)


def _tree(pid: int) -> list[int]:
    """A process and those that it has started."""
    try:
        below = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [pid, *(found for each in below for found in _tree(each))]
