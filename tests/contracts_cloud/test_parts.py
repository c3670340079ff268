"""What the made things are like: who is let in, which addresses there are, what the server is told."""

import base64
import json
import os
from typing import Any

import pytest
import yaml

from activities.openstack.leftovers import Leftover, Leftovers
from contract.domain.access import AccessRules
from contract.domain.datastores.base import EnginePort
from contract.domain.errors import BadRequest, ResourceFailed
from contract.domain.guest import BOOT_FILE, GuestBoot
from contract.domain.instance import Access, Locality
from contract.domain.resources import ResourceKind
from contract.keys.enrolment import ticket_for
from contract.names import guest_key_id
from tests.contracts_cloud.target_cloud import CA, DATABASE_PORT, GATEWAY, MASTER, Instance, TargetCloud

CIDRS = ("192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32")


def test_the_security_group_lets_the_allowed_cidrs_in_to_the_database_s_port_alone(instance: Instance) -> None:
    order = instance.order(access=Access(allowed_cidrs=CIDRS))
    group = instance.cloud.networks.create_security_group(order)
    assert instance.ingress_rules() == [
        ("IPv4", "tcp", DATABASE_PORT, DATABASE_PORT, "192.0.2.0/24"),
        ("IPv4", "tcp", DATABASE_PORT, DATABASE_PORT, "198.51.100.7/32"),
        ("IPv6", "tcp", DATABASE_PORT, DATABASE_PORT, "2001:db8::/32"),
    ]
    instance.cloud.networks.create_port(order)
    (port,) = instance.ports()
    assert instance.conn.network.get_port(port).security_group_ids == [group]


def test_without_cidrs_everybody_may_reach_the_database_s_port_and_nothing_else(instance: Instance) -> None:
    instance.cloud.networks.create_security_group(instance.order(ports=(EnginePort(number=3306),)))
    assert instance.ingress_rules() == [("IPv4", "tcp", 3306, 3306, "0.0.0.0/0")]


def test_an_engine_s_ports_inside_its_group_are_open_to_the_group_alone(instance: Instance) -> None:
    """However often it is asked for, and after an attempt that broke off between two rules."""
    ports = (EnginePort(number=6379), EnginePort(number=26379), EnginePort(number=16379, inside=True))
    access, networks = Access(allowed_cidrs=("192.0.2.0/24",)), instance.cloud.networks
    group = networks.create_security_group(instance.order(ports=ports[:1], access=access))
    for _ in range(2):
        assert networks.create_security_group(instance.order(ports=ports, access=access)) == group
        assert instance.ingress_rules() == [
            ("IPv4", "tcp", 6379, 6379, "192.0.2.0/24"),
            ("IPv4", "tcp", 16379, 16379, group),
            ("IPv4", "tcp", 26379, 26379, "192.0.2.0/24"),
        ]


def test_other_rules_take_the_place_of_those_that_differ_alone(instance: Instance) -> None:
    """The rule that stays is the same one: who is let in by it notices nothing."""
    ports = (EnginePort(number=DATABASE_PORT), EnginePort(number=16379, inside=True))
    networks = instance.cloud.networks
    group = networks.create_security_group(instance.order(ports=ports, access=Access(allowed_cidrs=CIDRS[:2])))

    def ids() -> set[str]:
        found = instance.conn.network.security_group_rules(security_group_id=group, direction="ingress")
        return {each.id for each in found}

    before = ids()
    access = Access(allowed_cidrs=("203.0.113.0/24", CIDRS[1]))
    for _ in range(2):
        networks.set_access_rules(AccessRules(instance_id=instance.id, ports=ports, access=access))
        assert instance.ingress_rules() == [
            ("IPv4", "tcp", DATABASE_PORT, DATABASE_PORT, "198.51.100.7/32"),
            ("IPv4", "tcp", DATABASE_PORT, DATABASE_PORT, "203.0.113.0/24"),
            ("IPv4", "tcp", 16379, 16379, group),
        ]
    assert len(before & ids()) == 2
    networks.set_access_rules(AccessRules(instance_id=instance.id, ports=ports, access=Access()))
    assert ("IPv4", "tcp", DATABASE_PORT, DATABASE_PORT, "0.0.0.0/0") in instance.ingress_rules()
    assert len(instance.ingress_rules()) == 2


def test_the_rules_of_a_group_that_is_gone_cannot_be_changed(instance: Instance) -> None:
    rules = AccessRules(instance_id=instance.id, ports=(EnginePort(number=DATABASE_PORT),), access=Access())
    with pytest.raises(ResourceFailed, match="is gone from Neutron"):
        instance.cloud.networks.set_access_rules(rules)


def test_a_cidr_that_is_none_is_refused(instance: Instance) -> None:
    order = instance.order(access=Access(allowed_cidrs=("nonsense",)))
    with pytest.raises(BadRequest, match="could not open the database's port"):
        instance.cloud.networks.create_security_group(order)


def test_the_port_has_an_address_on_the_network_of_the_order(instance: Instance) -> None:
    port, offer = instance.cloud.networks.create_port(instance.order()), instance.order().offer
    found = instance.conn.network.get_port(port.id)
    assert found.network_id == offer.network_id
    assert [each.address for each in port.addresses] == [each["ip_address"] for each in found.fixed_ips]
    assert port.addresses
    assert {(each.type, each.network) for each in port.addresses} == {("private", offer.network_id)}


def test_the_port_has_the_address_that_was_ordered_or_none(target: TargetCloud, instance: Instance) -> None:
    port = instance.cloud.networks.create_port(instance.order())
    network, address = instance.conn.network, port.addresses[0].address
    subnet = network.get_port(port.id).fixed_ips[0]["subnet_id"]
    instance.cloud.networks.delete_ports_of(instance.belongings)
    there = instance.order().offer.model_copy(update={"subnet_id": subnet})
    chosen = instance.cloud.networks.create_port(instance.order(offer=there, ip_address=address))
    assert [each.address for each in chosen.addresses] == [address]
    assert network.get_port(chosen.id).fixed_ips == [{"subnet_id": subnet, "ip_address": address}]


def test_the_floating_ip_leads_to_the_port_and_comes_from_an_external_network(instance: Instance) -> None:
    order = instance.floating_ip_order()
    address = instance.cloud.networks.create_floating_ip(order)
    (found,) = instance.conn.network.ips(floating_ip_address=address.address)
    assert found.port_id == order.port_id
    assert found.description == instance.name
    assert (address.type, address.network) == ("public", found.floating_network_id)
    assert instance.conn.network.get_network(found.floating_network_id).is_router_external
    instance.cloud.networks.delete_floating_ips_of(instance.belongings)
    assert instance.floating_ips() == []


def test_without_an_external_network_a_public_address_is_refused(target: TargetCloud, instance: Instance) -> None:
    elsewhere = target.open(external_network="no-such-network")
    with pytest.raises(BadRequest, match="there is no external network"):
        elsewhere.networks.create_floating_ip(instance.floating_ip_order())


@pytest.mark.parametrize("locality", list(Locality))
def test_the_server_group_has_the_policy_of_the_order(instance: Instance, locality: Locality) -> None:
    group = instance.cloud.servers.create_server_group(instance.order(locality=locality))
    found = instance.conn.compute.get_server_group(group)
    assert (found.policy or found.policies[0]) == locality.value


def test_the_server_stands_in_its_group(target: TargetCloud, instance: Instance) -> None:
    group = instance.cloud.servers.create_server_group(instance.order())
    order = instance.server_order().model_copy(update={"server_group_id": group})
    server = instance.cloud.servers.create_server(order)
    target.eventually(lambda: instance.cloud.servers.require_server_active(instance.part(ResourceKind.SERVER)))
    assert instance.conn.compute.get_server_group(group).member_ids == [server]


def test_the_server_has_the_flavor_the_image_the_port_and_the_volume_of_the_order(instance: Instance) -> None:
    server = instance.conn.compute.get_server(instance.running_server())
    offer = instance.order().offer
    assert server.flavor.original_name == offer.flavor.name
    assert [each.port_id for each in instance.conn.compute.server_interfaces(server)] == instance.ports()
    assert [each.volume_id for each in instance.conn.compute.volume_attachments(server)] == instance.volumes()
    assert server.metadata["coffer_instance"] == str(instance.id)
    assert server.metadata["coffer_project"] == "project-of-the-tenant"


# -- what the server is told -----------------------------------------------------------------------------------------


def ordered_server(instance: Instance) -> dict[str, Any]:
    """Build a server; return what Nova was sent for it."""
    cloud, sent = instance.target.open(), []
    connection = cloud.connections.get()
    order = instance.server_order()
    connection.authorize()
    connection.session.session.hooks["response"].append(lambda answer, **_: sent.append(answer.request))
    cloud.servers.create_server(order)
    (post,) = [each for each in sent if each.method == "POST" and each.url.endswith("/servers")]
    wanted: dict[str, Any] = json.loads(post.body)["server"]
    return wanted


def test_the_user_data_of_the_server_is_the_boot_file_and_nothing_else(instance: Instance) -> None:
    config = yaml.safe_load(base64.b64decode(ordered_server(instance)["user_data"]))
    assert list(config) == ["write_files"]
    (file,) = config["write_files"]
    assert (file["path"], file["owner"], file["permissions"]) == (BOOT_FILE, "guest:guest", "0600")
    ticket = ticket_for(instance.target.keyring, instance.id, 3)
    assert GuestBoot.model_validate_json(base64.b64decode(file["content"])) == GuestBoot(
        instance_id=instance.id, gateway=GATEWAY, ca=CA.read_text(), namespace="coffer", ticket=ticket, generation=3,
        datastore="postgresql", version="15",
    )  # fmt: skip


def test_the_server_is_told_no_credential_of_openstack_and_no_key(instance: Instance) -> None:
    sent = ordered_server(instance)
    (file,) = yaml.safe_load(base64.b64decode(sent["user_data"]))["write_files"]
    told = json.dumps(sent) + base64.b64decode(file["content"]).decode()
    conn = instance.conn
    auth = conn.config.config["auth"]
    secrets = [auth[each] for each in ("password", "username", "auth_url") if auth.get(each)]
    secrets = [each for each in secrets if each != "coffer"]  # a word that is everywhere, and no secret
    secrets += [conn.auth_token, MASTER.decode(), base64.b64encode(MASTER).decode(), MASTER.hex()]
    assert len(secrets) >= 5
    assert [each for each in secrets if each in told] == []
    keys = [instance.target.keyring.key(each) for each in (guest_key_id(instance.id, 1), "e:1", "t:1", "c:1")]
    assert [each for each in keys if base64.b64encode(each).decode() in told or each.hex() in told] == []


def test_the_boot_file_is_on_the_disk_of_the_embedded_cloud_s_server_for_its_user_alone(
    target: TargetCloud, instance: Instance
) -> None:
    server = instance.running_server()
    if target.stack is None:
        pytest.skip("the disk of a real server is out of reach")
    file = target.stack.settings.open_home / "cloud/servers" / server / "root" / BOOT_FILE.lstrip("/")
    assert GuestBoot.model_validate_json(file.read_text()).instance_id == instance.id
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert file.stat().st_uid == (file.parents[2] / "home").stat().st_uid
    assert file.stat().st_uid != os.getuid()


# -- leftovers -------------------------------------------------------------------------------------------------------


def left(instance: Instance) -> list[Leftover]:
    """What the sweep would see of this instance."""
    listed = Leftovers(instance.cloud.connections).list_tagged()
    return sorted((each for each in listed if each.instance_id == str(instance.id)), key=lambda each: each.kind)


def test_leftovers_are_what_carries_the_instance_s_name(target: TargetCloud, instance: Instance) -> None:
    assert left(instance) == []
    instance.running_server()
    instance.cloud.servers.create_server_group(instance.order())
    whose = str(instance.id)
    assert left(instance) == [
        Leftover("port", instance.ports()[0], whose),
        Leftover("security group", instance.security_groups()[0], whose),
        Leftover("server", instance.servers()[0], whose),
        Leftover("server group", instance.server_groups()[0], whose),
        Leftover("volume", instance.volumes()[0], whose),
    ]


def test_a_floating_ip_is_a_leftover_as_well(instance: Instance) -> None:
    instance.cloud.networks.create_floating_ip(instance.floating_ip_order())
    assert "floating ip" in {each.kind for each in left(instance)}


def test_leftovers_are_deleted_one_by_one_and_one_that_is_gone_is_no_error(
    target: TargetCloud, instance: Instance
) -> None:
    instance.running_server()
    instance.cloud.servers.create_server_group(instance.order())
    found = left(instance)
    sweep = Leftovers(instance.cloud.connections)
    order = ("server", "volume", "port", "security group", "server group")
    for kind in order:
        (one,) = [each for each in found if each.kind == kind]
        sweep.delete_leftover(one)
        target.eventually_true(lambda one=one: one not in left(instance))  # type: ignore[misc]
        sweep.delete_leftover(one)
    assert instance.everything() == []


def test_the_mirror_has_the_flavors_and_volume_types_that_the_cloud_offers(instance: Instance) -> None:
    mirror, offer = Leftovers(instance.cloud.connections), instance.order().offer
    assert offer.flavor.model_dump() in mirror.list_flavors()
    names = {each.name for each in instance.conn.block_storage.types()}
    assert {each["name"] for each in mirror.list_volume_types()} == names
