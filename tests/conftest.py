"""What all tests share: one stack and one Temporal server a session, started when the first test asks for them."""

from collections.abc import Iterator

import pytest

from tests.stack import RunningStack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The whole stack."""
    with running_stack() as running:
        yield running
