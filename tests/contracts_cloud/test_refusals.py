"""What OpenStack refuses, and would refuse again, ends a step at once: with OpenStack's words, and nothing made."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from typing import Any
from uuid import uuid4

import pytest
from openstack.connection import Connection

from contract.domain.errors import BadRequest
from deploy.ranges import guest_subnets
from tests.contracts_cloud.target_cloud import Instance, TargetCloud

Prepare = Callable[[Instance], Callable[[], Any]]


@pytest.fixture(scope="module")
def narrow(target: TargetCloud, conn: Connection) -> Iterator[Any]:
    """A subnet with room for one port, on a network that no router joins to others."""
    wide = guest_subnets(target.stack.settings)[6] if target.stack else IPv4Network("10.201.6.0/24")
    network = conn.network.create_network(name=f"contract-{uuid4()}")
    cidr = next(wide.subnets(new_prefix=30))
    pool = [{"start": str(cidr[2]), "end": str(cidr[2])}]
    yield conn.network.create_subnet(
        name=network.name, network_id=network.id, ip_version=4, cidr=str(cidr), allocation_pools=pool, is_dhcp_enabled=False
    )  # fmt: skip
    conn.network.delete_network(network)


def _on(instance: Instance, network_id: str, **more: Any) -> Any:
    offer = instance.order().offer.model_copy(update={"network_id": network_id})
    return instance.order(offer=offer, **more)


def a_port_on_a_network_that_is_gone(instance: Instance) -> Callable[[], Any]:
    return lambda: instance.cloud.networks.create_port(_on(instance, str(uuid4())))


def a_port_whose_name_is_too_long(instance: Instance) -> Callable[[], Any]:
    return lambda: instance.cloud.networks.create_port(instance.order(name="x" * 256))


def a_volume_in_a_zone_that_is_gone(instance: Instance) -> Callable[[], Any]:
    return lambda: instance.cloud.volumes.create_volume(instance.new_volume(availability_zone="elsewhere"))


def a_volume_of_a_type_that_is_gone(instance: Instance) -> Callable[[], Any]:
    return lambda: instance.cloud.volumes.create_volume(instance.new_volume(volume_type="no-such-type"))


def a_volume_whose_description_is_too_long(instance: Instance) -> Callable[[], Any]:
    return lambda: instance.cloud.volumes.create_volume(instance.new_volume(description="x" * 256))


def _server(instance: Instance, **offer: Any) -> Callable[[], Any]:
    order = instance.server_order()
    changed = order.resources.offer.model_copy(update=offer)
    resources = order.resources.model_copy(update={"offer": changed})
    return lambda: instance.cloud.servers.create_server(order.model_copy(update={"resources": resources}))


def a_server_of_an_image_that_is_gone(instance: Instance) -> Callable[[], Any]:
    return _server(instance, image_id=str(uuid4()))


def a_server_of_a_flavor_that_is_gone(instance: Instance) -> Callable[[], Any]:
    flavor = instance.order().offer.flavor.model_copy(update={"id": str(uuid4())})
    return _server(instance, flavor=flavor)


def a_server_in_a_zone_that_is_gone(instance: Instance) -> Callable[[], Any]:
    order = instance.server_order()
    resources = order.resources.model_copy(update={"availability_zone": "elsewhere"})
    return lambda: instance.cloud.servers.create_server(order.model_copy(update={"resources": resources}))


REFUSED: tuple[tuple[Prepare, str], ...] = (
    (a_port_on_a_network_that_is_gone, "could not make the network port"),
    (a_port_whose_name_is_too_long, "could not make the network port"),
    (a_volume_in_a_zone_that_is_gone, "could not make the volume"),
    (a_volume_of_a_type_that_is_gone, "could not make the volume"),
    (a_volume_whose_description_is_too_long, "could not make the volume"),
    (a_server_of_an_image_that_is_gone, "could not build the server"),
    (a_server_of_a_flavor_that_is_gone, "could not build the server"),
    (a_server_in_a_zone_that_is_gone, "could not build the server"),
)


@pytest.mark.parametrize(("prepare", "sentence"), REFUSED, ids=[each.__name__ for each, _ in REFUSED])
def test_what_cannot_be_made_is_refused_and_not_made(instance: Instance, prepare: Prepare, sentence: str) -> None:
    create = prepare(instance)
    before = sorted(instance.everything())
    with pytest.raises(BadRequest, match=sentence) as refused:
        create()
    assert "://" not in refused.value.message
    assert sorted(instance.everything()) == before


def test_a_network_that_is_full_and_an_address_that_is_taken_are_refused(
    target: TargetCloud, instance: Instance, narrow: Any
) -> None:
    full = _on(instance, narrow.network_id)
    (address,) = instance.cloud.networks.create_port(full).addresses
    other = Instance(target, instance.cloud, instance.conn, instance.order().offer)
    with pytest.raises(BadRequest, match="could not make the network port: No more IP addresses available"):
        other.cloud.networks.create_port(_on(other, narrow.network_id))
    taken = full.offer.model_copy(update={"subnet_id": narrow.id})
    with pytest.raises(BadRequest, match=f"could not make the network port: .*{address.address}"):
        other.cloud.networks.create_port(other.order(offer=taken, ip_address=address.address))
    assert other.everything() == []


def test_a_public_address_of_a_network_that_no_router_joins_is_refused(instance: Instance, narrow: Any) -> None:
    port = instance.cloud.networks.create_port(_on(instance, narrow.network_id))
    order = instance.floating_ip_order()
    assert order.port_id == port.id
    with pytest.raises(BadRequest, match=r"give the database a public address: External network .* is not reachable"):
        instance.cloud.networks.create_floating_ip(order)
    assert instance.floating_ips() == []
