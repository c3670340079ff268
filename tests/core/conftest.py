"""One Temporal server for the tests of the core."""

from collections.abc import Iterator

import pytest

from contract.keys.keyring import MasterKeyring
from tests.temporal import TemporalServer, temporal_server


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    with temporal_server(tmp_path_factory.mktemp("temporal"), MasterKeyring.of(b"m" * 32)) as server:
        yield server
