"""What all tests share: one stack and one Temporal server a session, started when the first test asks for them."""

import signal
from collections.abc import Iterator

import pytest

from tests.stack import RunningStack, running_stack

pytest_plugins = ["tests.worlds"]


def pytest_configure() -> None:
    """A test run that is told to end still cleans up: SIGTERM is as good as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The whole stack."""
    with running_stack() as running:
        yield running
