"""`check_order`: names become ids, and what OpenStack has not, or not for the caller, is refused by name."""

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any
from uuid import uuid4

import pytest
from openstack.exceptions import BadRequestException

from activities.openstack.cloud import Cloud
from contract.domain.errors import BadRequest
from contract.domain.instance import Nic
from deploy.ranges import guest_subnets
from tests.contracts_cloud.target_cloud import TargetCloud, offer_request, version

ELSEWHERE = uuid4().hex  # a project that shares nothing with ours


@pytest.fixture(scope="module")
def project(conn: Any) -> str:
    """The service's own project, which sees its own network."""
    return str(conn.current_project_id)


@pytest.fixture(scope="module")
def subnet(target: TargetCloud, conn: Any) -> Iterator[Any]:
    """A subnet on a network that only our project sees."""
    cidr = guest_subnets(target.stack.settings)[7] if target.stack else "10.201.7.0/24"
    network = conn.network.create_network(name=f"contract-{uuid4()}")
    yield conn.network.create_subnet(name=network.name, network_id=network.id, ip_version=4, cidr=str(cidr))
    conn.network.delete_network(network)


def refusal(cloud: Cloud, target: TargetCloud, project: str, **more: Any) -> str:
    """Why an order is refused."""
    with pytest.raises(BadRequest) as refused:
        cloud.offers.check_order(offer_request(target, project, **more))
    return refused.value.message


def test_names_become_ids(target: TargetCloud, cloud: Cloud, conn: Any, project: str) -> None:
    kind = next(iter(conn.block_storage.types()))
    offer = cloud.offers.check_order(offer_request(target, project, volume_type=kind.name))
    flavor = conn.compute.find_flavor(target.flavor, ignore_missing=False)
    assert (offer.flavor.id, offer.flavor.name) == (flavor.id, flavor.name)
    assert (offer.flavor.ram_mib, offer.flavor.vcpus, offer.flavor.disk_gib) == (flavor.ram, flavor.vcpus, flavor.disk)
    assert offer.image_id == conn.image.find_image(target.image, ignore_missing=False).id
    network = conn.network.find_network(target.network, ignore_missing=False)
    assert (offer.network_id, offer.network_name, offer.subnet_id) == (network.id, network.name, None)
    assert offer.volume_type == kind.name


def test_ids_are_taken_as_well_as_names(target: TargetCloud, cloud: Cloud, conn: Any, project: str) -> None:
    kind = next(iter(conn.block_storage.types()))
    named = cloud.offers.check_order(offer_request(target, project, volume_type=kind.name))
    image = version(image=named.image_id)
    by_id = offer_request(target, project, flavor=named.flavor.id, version=image, volume_type=kind.id,
                          nic=Nic(network_id=named.network_id))  # fmt: skip
    assert cloud.offers.check_order(by_id) == named


def test_an_image_is_found_by_all_of_its_tags(target: TargetCloud, cloud: Cloud, conn: Any, project: str) -> None:
    image = conn.image.find_image(target.image, ignore_missing=False)
    tags = tuple(conn.image.get_image(image.id).tags)
    if not tags:
        pytest.skip("the image has no tags")
    tagged = cloud.offers.check_order(offer_request(target, project, version=version(image_tags=tags)))
    assert set(tags) <= set(conn.image.get_image(tagged.image_id).tags)
    message = refusal(cloud, target, project, version=version(image_tags=(*tags, f"no-{uuid4()}")))
    assert message == "the image of datastore version '15' is missing or not active"


def test_an_order_without_a_network_gets_the_default_one(
    target: TargetCloud, cloud: Cloud, conn: Any, project: str
) -> None:
    network = conn.network.find_network(target.network, ignore_missing=False)
    for caller in (project, ELSEWHERE):  # it is for those who need not see it
        assert cloud.offers.check_order(offer_request(target, caller, nic=None)).network_id == network.id


def test_without_a_default_network_an_order_must_name_one(target: TargetCloud, project: str) -> None:
    assert "there is no default network" in refusal(target.open(default_network=""), target, project, nic=None)
    gone = target.open(default_network="no-such-network")
    assert "default network 'no-such-network' does not exist" in refusal(gone, target, project, nic=None)


@pytest.mark.parametrize(
    ("unknown", "named"),
    [
        ({"flavor": "no-such-flavor"}, "flavor 'no-such-flavor'"),
        ({"flavor": str(uuid4())}, "flavor"),
        ({"version": version(image="no-such-image")}, "datastore version '15'"),
        ({"version": None}, "datastore version"),
        ({"volume_type": "no-such-type"}, "volume type 'no-such-type'"),
        ({"nic": Nic(network_id="no-such-network")}, "network 'no-such-network'"),
        ({"nic": Nic(subnet_id="no-such-subnet")}, "subnet 'no-such-subnet'"),
    ],
    ids=["flavor", "flavor id", "image", "no version", "volume type", "network", "subnet"],
)
def test_what_is_unknown_is_refused_by_name(
    target: TargetCloud, cloud: Cloud, project: str, unknown: dict[str, Any], named: str
) -> None:
    assert named in refusal(cloud, target, project, **unknown)


@pytest.mark.parametrize("need", ["min_disk", "min_ram"])
def test_a_flavor_that_is_too_small_for_the_image_is_refused(
    target: TargetCloud, cloud: Cloud, conn: Any, project: str, need: str
) -> None:
    if target.stack is None:
        pytest.skip("only the embedded cloud has an image that is too large")
    needed = conn.image.find_image(need, ignore_missing=False)[need]
    message = refusal(cloud, target, project, version=version(image=need))
    assert message.startswith(f"flavor '{target.flavor}' has ")
    assert message.endswith(f"this datastore needs {needed}")


def test_a_network_that_the_caller_cannot_see_is_refused_as_if_it_were_not_there(
    target: TargetCloud, cloud: Cloud, project: str, subnet: Any
) -> None:
    nic = Nic(network_id=subnet.network_id)
    assert cloud.offers.check_order(offer_request(target, project, nic=nic)).network_id == subnet.network_id
    assert refusal(cloud, target, ELSEWHERE, nic=nic) == f"network '{subnet.network_id}' cannot be found"
    assert "cannot be found" in refusal(cloud, target, ELSEWHERE, nic=Nic(subnet_id=subnet.id))


def test_a_network_that_is_shared_with_the_caller_is_his_to_use(
    target: TargetCloud, cloud: Cloud, conn: Any, subnet: Any
) -> None:
    nic = Nic(network_id=subnet.network_id)
    guest, other = uuid4().hex, uuid4().hex
    policy = conn.network.create_rbac_policy(
        object_id=subnet.network_id, object_type="network", action="access_as_shared", target_project_id=guest
    )
    try:
        assert cloud.offers.check_order(offer_request(target, guest, nic=nic)).network_id == subnet.network_id
        assert "cannot be found" in refusal(cloud, target, other, nic=nic)
    finally:
        conn.network.delete_rbac_policy(policy)
    assert "cannot be found" in refusal(cloud, target, guest, nic=nic)


def test_a_subnet_names_its_network_and_bounds_the_address(
    target: TargetCloud, cloud: Cloud, conn: Any, project: str, subnet: Any
) -> None:
    cidr = IPv4Network(subnet.cidr)
    nic = Nic(subnet_id=subnet.id, ip_address=str(cidr[77]))
    offer = cloud.offers.check_order(offer_request(target, project, nic=nic))
    assert (offer.network_id, offer.subnet_id) == (subnet.network_id, subnet.id)
    outside = Nic(subnet_id=subnet.id, ip_address=str(cidr[-1] + 77))
    assert refusal(cloud, target, project, nic=outside) == f"address {cidr[-1] + 77} is not in subnet {cidr}"
    elsewhere = Nic(network_id=conn.network.find_network(target.network, ignore_missing=False).id, subnet_id=subnet.id)
    assert f"subnet '{subnet.id}' cannot be found on network" in refusal(cloud, target, project, nic=elsewhere)


# in a path these would be other requests of the service user's
PATHS = ("..", ".", "../servers", "?all_tenants=1", "detail", "1?limit=1", "#", "%2e%2e", "a/b", "\\", "%", " ", "é")


@pytest.mark.parametrize("wanted", PATHS)
def test_what_would_change_a_path_is_a_name_that_is_not_there(
    target: TargetCloud, cloud: Cloud, project: str, wanted: str
) -> None:
    nics = (Nic(network_id=wanted), Nic(subnet_id=wanted), Nic(network_id=target.network, subnet_id=wanted))
    orders: list[dict[str, Any]] = [{"nic": each} for each in nics]
    for more in (*orders, {"flavor": wanted}, {"volume_type": wanted},
                 {"availability_zone": wanted}, {"version": version(image=wanted)}):  # fmt: skip
        assert "cannot be found" in (said := refusal(cloud, target, project, **more)) or "is missing" in said


@pytest.mark.parametrize("zone", ["nova:host", "nova:host:node", "::node", "Nova", "nova ", ""])
def test_only_a_zone_of_nova_s_is_taken(target: TargetCloud, cloud: Cloud, project: str, zone: str) -> None:
    assert "availability zone" in refusal(cloud, target, project, availability_zone=zone)
    cloud.offers.check_order(offer_request(target, project, availability_zone="nova"))


def test_a_name_that_several_have_is_no_choice(target: TargetCloud, cloud: Cloud, conn: Any, project: str) -> None:
    name = f"contract-{uuid4()}"
    twins = [conn.network.create_network(name=name) for _ in range(2)]
    try:
        assert "several" in refusal(cloud, target, project, nic=Nic(network_id=name))
        assert (
            cloud.offers.check_order(offer_request(target, project, nic=Nic(network_id=twins[1].id))).network_id
            == twins[1].id
        )
    finally:
        for each in twins:
            conn.network.delete_network(each)


def test_a_private_flavor_is_offered_where_the_service_may_use_it(
    target: TargetCloud, cloud: Cloud, conn: Any, project: str
) -> None:
    other = next(each.id for each in conn.identity.projects() if each.id != project)
    private = conn.compute.create_flavor(name=f"contract-{uuid4()}", ram=512, vcpus=1, disk=10, is_public=False)
    try:
        for wanted in (private.id, private.name):
            assert "cannot be found" in refusal(cloud, target, project, flavor=wanted)
        with pytest.raises(BadRequestException, match="is not a valid project"):
            conn.compute.flavor_add_tenant_access(private, ELSEWHERE)
        conn.compute.flavor_add_tenant_access(private, other)
        assert "cannot be found" in refusal(cloud, target, other, flavor=private.id)
        conn.compute.flavor_add_tenant_access(private, conn.current_project_id)
        assert cloud.offers.check_order(offer_request(target, project, flavor=private.id)).flavor.name == private.name
    finally:
        conn.compute.delete_flavor(private)
