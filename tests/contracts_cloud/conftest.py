"""The adapter, on the OpenStack that the environment names (COFFER_TEST_CLOUD), else on the embedded cloud."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from openstack.connection import Connection

from activities.openstack.cloud import Cloud
from contract.domain.instance import CloudOffer
from tests.contracts_cloud.proxy import proxy_before
from tests.contracts_cloud.target_cloud import REAL, Instance, TargetCloud, offer_request
from tests.stack import RunningStack


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TargetCloud]:
    """The OpenStack that is asked."""
    if REAL in os.environ:
        clouds = Path(os.environ["OS_CLIENT_CONFIG_FILE"])
        through = proxy_before(os.environ[REAL], clouds, tmp_path_factory.mktemp("proxy"))
        with through as (proxy, changed), pytest.MonkeyPatch.context() as patch:
            patch.setenv("OS_CLIENT_CONFIG_FILE", str(changed))
            yield TargetCloud.of_environment(proxy)
        return
    stack: RunningStack = request.getfixturevalue("stack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(stack.settings.secrets / "clouds.yaml"))
        yield TargetCloud("coffer", "m1.tiny", "quiet", "databases", stack)


@pytest.fixture(scope="session")
def cloud(target: TargetCloud) -> Cloud:
    """The adapter as the product opens it."""
    return target.open()


@pytest.fixture(scope="session")
def conn(target: TargetCloud) -> Connection:
    """A second pair of eyes."""
    return target.connect()


@pytest.fixture(scope="session")
def offer(target: TargetCloud, cloud: Cloud, conn: Connection) -> CloudOffer:
    """What all instances of these tests are built from."""
    return cloud.offers.check_order(offer_request(target, str(conn.current_project_id)))


@pytest.fixture
def instance(target: TargetCloud, cloud: Cloud, conn: Connection, offer: CloudOffer) -> Iterator[Instance]:
    """An instance of a test's own, of which nothing is left afterwards."""
    made = Instance(target, cloud, conn, offer)
    yield made
    target.no_more_faults()
    made.tear_down()
    assert made.everything() == []
