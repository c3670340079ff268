"""One guest's use is counted for itself alone, and forgotten when it is over."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import grpc
import pytest

from gateway import limits, token_bucket
from gateway.denied import Denied
from gateway.guest import Guest
from gateway.limits import KEPT, Limits
from gateway.settings import GatewaySettings
from gateway.token_bucket import TokenBucket

SETTINGS = GatewaySettings(guest_polls_per_second=5, guest_calls_per_second=5, guest_open_polls=3, guest_open_calls=4)
ONE, OTHER = Guest(uuid4(), 1), Guest(uuid4(), 1)


class Clock:
    """A clock that stands until it is moved."""

    now = 1000.0

    def monotonic(self) -> float:
        """As `time` has it."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for each in (limits, token_bucket):
        monkeypatch.setattr(each, "time", clock)
    return clock


@contextmanager
def too_much() -> Iterator[None]:
    with pytest.raises(Denied) as denied:
        yield
    assert denied.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_budget_has_its_burst_at_once_and_fills_again(clock: Clock) -> None:
    bucket = TokenBucket(5, 10)
    assert [bucket.take() for _ in range(11)] == [True] * 10 + [False]
    clock.now += 0.5
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.now += 1000
    assert [bucket.take() for _ in range(11)] == [True] * 10 + [False]


def test_a_budget_that_is_overdrawn_says_for_how_long(clock: Clock) -> None:
    bucket = TokenBucket(2, 4)
    assert [bucket.spend(4), bucket.spend(1), bucket.spend(2)] == [0, 0.5, 1.5]
    clock.now += 1
    assert (bucket.spend(0), bucket.take()) == (0.5, False)
    clock.now += 1
    assert bucket.take()


def test_polls_that_are_open_are_counted_for_each_guest(clock: Clock) -> None:
    counted = Limits(SETTINGS)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(counted.poll(ONE))
        with too_much(), counted.poll(ONE):
            pass
        stack.enter_context(counted.poll(OTHER))
        assert set(counted.open_guests()) == {ONE, OTHER}
    with counted.poll(ONE):
        assert counted.open_guests() == [ONE]


def test_a_call_that_fails_is_open_no_more(clock: Clock) -> None:
    counted = Limits(SETTINGS)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), counted.call(ONE):
            raise ZeroDivisionError
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(counted.call(ONE))
        with too_much(), counted.call(ONE):
            pass


def test_calls_and_polls_have_rates_of_their_own(clock: Clock) -> None:
    counted = Limits(SETTINGS)
    for _ in range(10):
        with counted.call(ONE):
            pass
    with too_much(), counted.call(ONE):
        pass
    with counted.poll(ONE):
        pass


def test_guests_that_were_not_heard_of_are_forgotten(clock: Clock) -> None:
    counted = Limits(SETTINGS)
    with counted.poll(ONE), counted.call(OTHER):
        pass
    clock.now += KEPT + 1
    with counted.poll(ONE):
        counted.open_guests()
        assert list(counted._usages) == [ONE]


class Call:
    """A call to Temporal that can be cut."""

    cancelled = False

    def cancel(self) -> None:
        """As gRPC has it."""
        self.cancelled = True


def test_cutting_ends_the_polls_of_one_guest(clock: Clock) -> None:
    counted, own, others = Limits(SETTINGS), Call(), Call()
    with counted.poll(ONE) as account, counted.poll(OTHER) as beside:
        account.upstream.add(own)  # type: ignore[arg-type]
        beside.upstream.add(others)  # type: ignore[arg-type]
        counted.cut(ONE)
        counted.cut(Guest(uuid4(), 1))
    assert (own.cancelled, others.cancelled) == (True, False)
