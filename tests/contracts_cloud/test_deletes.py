"""`delete_…_of` is said again until nothing is left, and is content when there is nothing."""

from operator import attrgetter

import pytest

from contract.domain.errors import CloudFailed, NotYet
from contract.domain.resources import ResourceKind
from tests.contracts_cloud.target_cloud import Instance, TargetCloud

DELETES = (
    "servers.delete_servers_of",
    "volumes.delete_volumes_of",
    "networks.delete_floating_ips_of",
    "networks.delete_ports_of",
    "networks.delete_security_groups_of",
    "servers.delete_server_groups_of",
)


@pytest.mark.parametrize("delete", DELETES)
def test_where_nothing_is_a_deletion_is_content(instance: Instance, delete: str) -> None:
    attrgetter(delete)(instance.cloud)(instance.belongings)


def test_a_server_s_deletion_is_not_yet_until_it_is_gone(target: TargetCloud, instance: Instance) -> None:
    server = instance.running_server()
    with pytest.raises(NotYet, match=f"server {server} is being deleted"):
        instance.cloud.servers.delete_servers_of(instance.belongings)
    target.eventually(lambda: instance.cloud.servers.delete_servers_of(instance.belongings))
    assert instance.servers() == []
    assert len(instance.volumes()) == len(instance.ports()) == 1  # they are not the server's to take along


def test_a_volume_s_deletion_is_not_yet_until_it_is_gone(target: TargetCloud, instance: Instance) -> None:
    volume = instance.cloud.volumes.create_volume(instance.new_volume())
    target.eventually(lambda: instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME)))
    with pytest.raises(NotYet, match=f"volume {volume} is being deleted"):
        instance.cloud.volumes.delete_volumes_of(instance.belongings)
    target.eventually(lambda: instance.cloud.volumes.delete_volumes_of(instance.belongings))
    assert instance.volumes() == []


def test_an_attached_volume_waits_for_its_server(target: TargetCloud, instance: Instance) -> None:
    instance.running_server()
    (volume,) = instance.volumes()
    with pytest.raises(NotYet, match=f"volume {volume} is in-use"):
        instance.cloud.volumes.delete_volumes_of(instance.belongings)
    target.eventually(lambda: instance.cloud.servers.delete_servers_of(instance.belongings))
    target.eventually(lambda: instance.cloud.volumes.delete_volumes_of(instance.belongings))
    assert instance.volumes() == []


@pytest.mark.parametrize("status", ["reserved", "attaching", "detaching"])
def test_a_volume_that_a_server_left_on_the_way_is_freed_and_deleted(
    target: TargetCloud, instance: Instance, status: str
) -> None:
    volume = instance.cloud.volumes.create_volume(instance.new_volume())
    target.eventually(lambda: instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME)))
    instance.conn.block_storage.reset_volume_status(
        volume, status=status, attach_status="detached", migration_status=None
    )
    with pytest.raises(NotYet, match=f"volume {volume} is {status}"):
        instance.cloud.volumes.delete_volumes_of(instance.belongings)
    target.eventually(lambda: instance.cloud.volumes.delete_volumes_of(instance.belongings))
    assert instance.volumes() == []


def test_a_security_group_waits_for_its_port(target: TargetCloud, instance: Instance) -> None:
    group = instance.cloud.networks.create_security_group(instance.order())
    instance.cloud.networks.create_port(instance.order())
    with pytest.raises(NotYet, match=f"security group {group} is in use"):
        instance.cloud.networks.delete_security_groups_of(instance.belongings)
    instance.cloud.networks.delete_ports_of(instance.belongings)
    instance.cloud.networks.delete_security_groups_of(instance.belongings)
    assert instance.security_groups() == instance.ports() == []


def test_everything_of_one_name_goes_also_when_there_are_several(target: TargetCloud, instance: Instance) -> None:
    conn, offer = instance.conn, instance.order().offer
    for _ in range(2):
        conn.compute.create_server(
            name=instance.name, flavor_id=offer.flavor.id, image_id=offer.image_id, networks="none"
        )
        conn.compute.create_server_group(name=instance.name, policy="anti-affinity")
        volume = conn.block_storage.create_volume(name=instance.name, size=1)
        conn.network.create_port(name=instance.name, network_id=offer.network_id)
        conn.network.create_security_group(name=instance.name)
        target.eventually_true(
            lambda volume=volume: conn.block_storage.get_volume(volume.id).status == "available"  # type: ignore[misc]
        )
    assert len(instance.everything()) == 10
    instance.tear_down()
    assert instance.everything() == []


def test_another_instance_is_left_alone(target: TargetCloud, instance: Instance) -> None:
    other = Instance(target, instance.cloud, instance.conn, instance.order().offer)
    try:
        other.running_server()
        other.cloud.servers.create_server_group(other.order())
        before = sorted(other.everything())
        instance.running_server()
        instance.tear_down()
        assert sorted(other.everything()) == before
    finally:
        other.tear_down()


def test_a_deletion_whose_answer_is_lost_is_said_again(target: TargetCloud, instance: Instance) -> None:
    instance.cloud.volumes.create_volume(instance.new_volume())
    target.eventually(lambda: instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME)))
    target.fault(method="DELETE", path="/volumes/", lose=True)
    with pytest.raises(CloudFailed):
        instance.cloud.volumes.delete_volumes_of(instance.belongings)
    target.eventually(lambda: instance.cloud.volumes.delete_volumes_of(instance.belongings))
    assert instance.volumes() == []


@pytest.mark.parametrize(
    ("delete", "path"),
    [
        ("servers.delete_servers_of", "/servers/"),
        ("networks.delete_ports_of", "/ports/"),
        ("servers.delete_server_groups_of", "/os-server-groups/"),
    ],
    ids=["server", "port", "server group"],
)
def test_a_deletion_that_takes_effect_while_it_is_said_again_does_no_harm(
    target: TargetCloud, instance: Instance, delete: str, path: str
) -> None:
    instance.cloud.servers.create_server_group(instance.order())
    instance.running_server()
    if delete != "servers.delete_servers_of":
        target.eventually(lambda: instance.cloud.servers.delete_servers_of(instance.belongings))
    kept = len(instance.everything())
    impatient = target.open(cloud_timeout=target.impatience)
    impatient.connections.get().authorize()
    target.fault(method="DELETE", path=path, delay=target.impatience + 0.2)
    with pytest.raises(CloudFailed, match="OpenStack did not answer in time"):
        attrgetter(delete)(impatient)(instance.belongings)
    target.eventually(lambda: attrgetter(delete)(instance.cloud)(instance.belongings))
    assert len(instance.everything()) == kept - 1
