"""The process that enrols while the guest worker is still loading: waited for once, and told as any other."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from guest_worker.enrolling import begin
from guest_worker.host import CommandFailed
from guest_worker.identity import AWAY, REFUSED, EnrolmentRefused, GatewayAway
from guest_worker.session import Exchange


def ended(failure: CommandFailed | None = None) -> "Future[str]":
    """A process that has ended."""
    future: Future[str] = Future()
    if failure is None:
        future.set_result("")
    else:
        future.set_exception(failure)
    return future


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs of the processes that are started from here on."""
    verbs: list[str] = []
    monkeypatch.setattr("guest_worker.host.run", lambda command: verbs.append(command[-1]))
    return verbs


def test_what_was_begun_is_the_first_enrolment(started: list[str]) -> None:
    exchange = Exchange(ended())
    exchange("enrol")
    assert started == []
    exchange("enrol")
    assert started == ["enrol"]


def test_another_verb_comes_after_what_was_begun(started: list[str]) -> None:
    Exchange(ended())("keys")
    assert started == ["keys"]


@pytest.mark.parametrize(("code", "kind"), [(REFUSED, EnrolmentRefused), (AWAY, GatewayAway), (1, GatewayAway)])
def test_how_it_ended_is_told_once(started: list[str], code: int, kind: type[Exception]) -> None:
    exchange = Exchange(ended(CommandFailed("python", code, "why")))
    with pytest.raises(kind, match="why"):
        exchange("enrol")
    exchange("enrol")
    assert started == ["enrol"]


def test_begun_it_is_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOT", str(tmp_path))  # there is no boot file: the process itself says so
    with pytest.raises(CommandFailed, match=r"boot\.json|No such file"):
        begin().result(30)
