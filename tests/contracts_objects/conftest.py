"""Both kinds of store, on real servers: the stack's Swift, and an S3 server with STS."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from activities.objects import open_tickets
from activities.openstack.connection import Connections
from activities.settings import ActivitySettings
from contract.keys.keyring import MasterKeyring
from tests.contracts_objects.seaweed import S3Server, s3_server
from tests.contracts_objects.stores import S3Store, Store, SwiftStore
from tests.stack import RunningStack

KEYRING = MasterKeyring.of(b"m" * 32)


@pytest.fixture(scope="session")
def swift(stack: RunningStack) -> Iterator[SwiftStore]:
    """OpenStack's own Swift."""
    settings = ActivitySettings(cloud="coffer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(stack.settings.secrets / "clouds.yaml"))
        tickets = open_tickets(settings, KEYRING, Connections("coffer", 8))
        yield SwiftStore(settings, KEYRING, tickets, stack.cloud("coffer"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The S3 server."""
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="session")
def s3(server: S3Server) -> S3Store:
    """S3."""
    settings = ActivitySettings(objects="s3", objects_endpoint=server.url, s3_credentials_file=server.credentials_file)
    return S3Store(settings, KEYRING, open_tickets(settings, KEYRING, Connections("none", 8)), server)


@pytest.fixture(params=["swift", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each of them."""
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def mine() -> UUID:
    """An instance of this test's own."""
    return uuid4()


@pytest.fixture
def theirs() -> UUID:
    """Somebody else's instance."""
    return uuid4()


@pytest.fixture(scope="session")
def stack_demo(stack: RunningStack) -> str:
    """Swift's name of a tenant's account."""
    _, project = stack.token("demo")
    return f"AUTH_{project}"
