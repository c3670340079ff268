"""The adapter, on the OpenStack that the environment names (COFFER_TEST_CLOUD), else on the embedded cloud."""

from collections.abc import Iterator

import pytest
from openstack.connection import Connection

from activities.openstack.cloud import OpenStackCloud
from tests.contracts_cloud.site import Instance, Site, offer_request
from tests.stack import RunningStack
from workflows.domain.instance import CloudOffer


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """The OpenStack that is asked."""
    real = Site.of_environment()
    if real is not None:
        yield real
        return
    stack: RunningStack = request.getfixturevalue("stack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(stack.settings.secrets / "clouds.yaml"))
        yield Site("coffer", "m1.tiny", "quiet", "databases", stack)


@pytest.fixture(scope="session")
def cloud(site: Site) -> OpenStackCloud:
    """The adapter as the product opens it."""
    return site.open()


@pytest.fixture(scope="session")
def conn(site: Site) -> Connection:
    """A second pair of eyes."""
    return site.connect()


@pytest.fixture(scope="session")
def offer(site: Site, cloud: OpenStackCloud, conn: Connection) -> CloudOffer:
    """What all instances of these tests are built from."""
    return cloud.check_order(offer_request(site, str(conn.current_project_id)))


@pytest.fixture
def instance(site: Site, cloud: OpenStackCloud, conn: Connection, offer: CloudOffer) -> Iterator[Instance]:
    """An instance of a test's own, of which nothing is left afterwards."""
    made = Instance(site, cloud, conn, offer)
    yield made
    if site.stack is not None:
        site.stack.no_more_faults()
    made.tear_down()
    assert made.everything() == []
