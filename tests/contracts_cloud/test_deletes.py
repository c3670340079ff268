"""`delete_…_of` is said again until nothing is left, and is content when there is nothing."""

from collections.abc import Callable
from uuid import UUID

import pytest
from keystoneauth1.exceptions import ConnectionError as NoAnswer
from keystoneauth1.exceptions import ConnectTimeout

from activities.openstack.cloud import OpenStackCloud
from tests.contracts_cloud.site import Instance, Site
from workflows.domain.errors import NotYet

Delete = Callable[[OpenStackCloud, UUID], None]
DELETES = (
    OpenStackCloud.delete_servers_of,
    OpenStackCloud.delete_volumes_of,
    OpenStackCloud.delete_floating_ips_of,
    OpenStackCloud.delete_ports_of,
    OpenStackCloud.delete_security_groups_of,
    OpenStackCloud.delete_server_groups_of,
)


@pytest.mark.parametrize("delete", DELETES, ids=lambda each: each.__name__)
def test_where_nothing_is_a_deletion_is_content(instance: Instance, delete: Delete) -> None:
    delete(instance.cloud, instance.id)


def test_a_server_s_deletion_is_not_yet_until_it_is_gone(site: Site, instance: Instance) -> None:
    server = instance.running_server()
    with pytest.raises(NotYet, match=f"server {server} is being deleted"):
        instance.cloud.delete_servers_of(instance.id)
    site.eventually(lambda: instance.cloud.delete_servers_of(instance.id))
    assert instance.servers() == []
    assert len(instance.volumes()) == len(instance.ports()) == 1  # they are not the server's to take along


def test_a_volume_s_deletion_is_not_yet_until_it_is_gone(site: Site, instance: Instance) -> None:
    volume = instance.cloud.create_volume(instance.order())
    site.eventually(lambda: instance.cloud.require_volume_available(instance.id))
    with pytest.raises(NotYet, match=f"volume {volume} is being deleted"):
        instance.cloud.delete_volumes_of(instance.id)
    site.eventually(lambda: instance.cloud.delete_volumes_of(instance.id))
    assert instance.volumes() == []


def test_an_attached_volume_waits_for_its_server(site: Site, instance: Instance) -> None:
    instance.running_server()
    (volume,) = instance.volumes()
    with pytest.raises(NotYet, match=f"volume {volume} is in-use"):
        instance.cloud.delete_volumes_of(instance.id)
    site.eventually(lambda: instance.cloud.delete_servers_of(instance.id))
    site.eventually(lambda: instance.cloud.delete_volumes_of(instance.id))
    assert instance.volumes() == []


@pytest.mark.parametrize("status", ["reserved", "attaching", "detaching"])
def test_a_volume_that_a_server_left_on_the_way_is_freed_and_deleted(
    site: Site, instance: Instance, status: str
) -> None:
    volume = instance.cloud.create_volume(instance.order())
    site.eventually(lambda: instance.cloud.require_volume_available(instance.id))
    instance.conn.block_storage.reset_volume_status(
        volume, status=status, attach_status="detached", migration_status=None
    )
    with pytest.raises(NotYet, match=f"volume {volume} is {status}"):
        instance.cloud.delete_volumes_of(instance.id)
    site.eventually(lambda: instance.cloud.delete_volumes_of(instance.id))
    assert instance.volumes() == []


def test_a_security_group_waits_for_its_port(site: Site, instance: Instance) -> None:
    group = instance.cloud.create_security_group(instance.order())
    instance.cloud.create_port(instance.order())
    with pytest.raises(NotYet, match=f"security group {group} is in use"):
        instance.cloud.delete_security_groups_of(instance.id)
    instance.cloud.delete_ports_of(instance.id)
    instance.cloud.delete_security_groups_of(instance.id)
    assert instance.security_groups() == instance.ports() == []


def test_everything_of_one_name_goes_also_when_there_are_several(site: Site, instance: Instance) -> None:
    conn, offer = instance.conn, instance.order().offer
    for _ in range(2):
        conn.compute.create_server(
            name=instance.name, flavor_id=offer.flavor.id, image_id=offer.image_id, networks="none"
        )
        conn.compute.create_server_group(name=instance.name, policy="anti-affinity")
        volume = conn.block_storage.create_volume(name=instance.name, size=1)
        conn.network.create_port(name=instance.name, network_id=offer.network_id)
        conn.network.create_security_group(name=instance.name)
        site.eventually_true(
            lambda volume=volume: conn.block_storage.get_volume(volume.id).status == "available"  # type: ignore[misc]
        )
    assert len(instance.everything()) == 10
    instance.tear_down()
    assert instance.everything() == []


def test_another_instance_is_left_alone(site: Site, instance: Instance) -> None:
    other = Instance(site, instance.cloud, instance.conn, instance.order().offer)
    try:
        other.running_server()
        other.cloud.create_server_group(other.order())
        before = sorted(other.everything())
        instance.running_server()
        instance.tear_down()
        assert sorted(other.everything()) == before
    finally:
        other.tear_down()


def test_a_deletion_whose_answer_is_lost_is_said_again(site: Site, instance: Instance) -> None:
    instance.cloud.create_volume(instance.order())
    site.eventually(lambda: instance.cloud.require_volume_available(instance.id))
    site.fault(method="DELETE", path="/volumes/", lose=True)
    with pytest.raises(NoAnswer):
        instance.cloud.delete_volumes_of(instance.id)
    site.eventually(lambda: instance.cloud.delete_volumes_of(instance.id))
    assert instance.volumes() == []


@pytest.mark.parametrize(
    ("delete", "path"),
    [
        (OpenStackCloud.delete_servers_of, "/servers/"),
        (OpenStackCloud.delete_ports_of, "/ports/"),
        (OpenStackCloud.delete_server_groups_of, "/os-server-groups/"),
    ],
    ids=["server", "port", "server group"],
)
def test_a_deletion_that_takes_effect_while_it_is_said_again_does_no_harm(
    site: Site, instance: Instance, delete: Delete, path: str
) -> None:
    instance.cloud.create_server_group(instance.order())
    instance.running_server()
    if delete is not OpenStackCloud.delete_servers_of:
        site.eventually(lambda: instance.cloud.delete_servers_of(instance.id))
    kept = len(instance.everything())
    impatient = site.open(cloud_timeout=1)
    impatient.connections.get().authorize()
    site.fault(method="DELETE", path=path, delay=1.2)
    with pytest.raises(ConnectTimeout):
        delete(impatient, instance.id)
    site.eventually(lambda: delete(instance.cloud, instance.id))
    assert len(instance.everything()) == kept - 1
