"""What is logged of calls that were denied: each kind from each address has its share, and the rest is counted."""

import logging
from collections import Counter

import pytest

from gateway import denials, token_bucket
from gateway.denials import Denials
from tests.gateway.test_limits import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(token_bucket, "time", clock)
    return clock


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger=denials.__name__)
    return caplog


def flood(told: Denials, kind: str, address: str, number: int) -> None:
    for _ in range(number):
        told.tell(kind, address, "denied %s from %s", kind, address)


def test_a_flood_keeps_no_other_kind_or_address_out(clock: Clock, logged: pytest.LogCaptureFixture) -> None:
    told = Denials()
    flood(told, "token", "10.0.0.1", 1000)
    for kind, address in (("token", "10.0.0.2"), ("ticket", "10.0.0.1")):
        flood(told, kind, address, 1)
    assert Counter(logged.messages) == {
        "denied token from 10.0.0.1": denials.BURST, "denied token from 10.0.0.2": 1, "denied ticket from 10.0.0.1": 1,
    }  # fmt: skip
    logged.clear()
    clock.now += 1 / denials.RATE
    flood(told, "token", "10.0.0.1", 2)
    assert logged.messages == ["denied token from 10.0.0.1"]


def test_what_was_left_out_is_counted_once(clock: Clock, logged: pytest.LogCaptureFixture) -> None:
    told = Denials()
    flood(told, "token", "10.0.0.1", 12)
    flood(told, "ticket", "10.0.0.1", 6)
    logged.clear()
    told.sum_up()
    assert logged.messages == [
        "7 more calls were denied and not logged: token", "1 more calls were denied and not logged: ticket",
    ]  # fmt: skip
    logged.clear()
    told.sum_up()
    assert not logged.messages


def test_a_flood_from_many_addresses_is_bounded(clock: Clock, logged: pytest.LogCaptureFixture) -> None:
    told = Denials()
    for number in range(3 * denials.KEPT):
        flood(told, "token", f"10.0.{number // 256}.{number % 256}", 1)
    assert len(logged.messages) == denials.BURST_OF_ALL
    assert len(told._each) == denials.KEPT
    logged.clear()
    clock.now += 1
    flood(told, "ticket", "10.9.9.9", 1)
    assert logged.messages == ["denied ticket from 10.9.9.9"]
