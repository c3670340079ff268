"""`require_` waits for what comes, gives up what never will, and of several of one name keeps the oldest."""

import time

import pytest

from tests.contracts_cloud.site import Instance, Site
from workflows.domain.errors import NotYet, ResourceFailed


def test_what_was_never_ordered_is_not_yet_there(instance: Instance) -> None:
    with pytest.raises(NotYet, match=f"the volume of {instance.id} is not listed"):
        instance.cloud.require_volume_available(instance.id)
    with pytest.raises(NotYet, match=f"the server of {instance.id} is not listed"):
        instance.cloud.require_server_active(instance.id)


def test_a_volume_is_required_until_it_is_available_or_in_use(site: Site, instance: Instance) -> None:
    ordered = instance.cloud.create_volume(instance.order())
    assert site.eventually(lambda: instance.cloud.require_volume_available(instance.id)) == ordered
    volumes = instance.conn.block_storage
    for status in ("creating", "reserved", "attaching"):
        volumes.reset_volume_status(ordered, status=status, attach_status="detached", migration_status=None)
        with pytest.raises(NotYet, match=f"volume {ordered} is {status}"):
            instance.cloud.require_volume_available(instance.id)
    volumes.reset_volume_status(ordered, status="available", attach_status="detached", migration_status=None)
    assert instance.running_server()
    assert volumes.get_volume(ordered).status == "in-use"
    assert instance.cloud.require_volume_available(instance.id) == ordered


def test_a_server_is_required_until_it_is_active(site: Site, instance: Instance) -> None:
    server = instance.running_server()
    compute = instance.conn.compute
    compute.stop_server(server)
    site.eventually_true(lambda: compute.get_server(server).status == "SHUTOFF")
    with pytest.raises(NotYet, match=f"server {server} is SHUTOFF"):
        instance.cloud.require_server_active(instance.id)
    compute.start_server(server)
    assert site.eventually(lambda: instance.cloud.require_server_active(instance.id)) == server


def test_a_server_in_error_is_given_up_with_the_cloud_s_reason(site: Site, instance: Instance) -> None:
    order = instance.server_order()
    site.fault(server=instance.name)
    instance.cloud.create_server(order)
    with pytest.raises(ResourceFailed, match=r"could not build the server: No valid host was found") as failed:
        site.eventually(lambda: instance.cloud.require_server_active(instance.id))
    assert failed.value.non_retryable


def test_a_volume_in_error_is_given_up(site: Site, instance: Instance) -> None:
    site.fault(volume=instance.name)
    ordered = instance.cloud.create_volume(instance.order())
    with pytest.raises(ResourceFailed, match=f"could not make the volume {ordered}") as failed:
        site.eventually(lambda: instance.cloud.require_volume_available(instance.id))
    assert failed.value.non_retryable


def test_of_two_servers_of_one_name_the_oldest_is_kept(site: Site, instance: Instance) -> None:
    oldest = instance.running_server()
    compute, offer = instance.conn.compute, instance.order().offer
    for _ in range(2):
        time.sleep(1.1)  # Nova tells the time in seconds
        compute.create_server(name=instance.name, flavor_id=offer.flavor.id, image_id=offer.image_id, networks="none")
    site.eventually_true(lambda: len(instance.servers()) == 3)
    assert instance.cloud.require_server_active(instance.id) == oldest
    site.eventually_true(lambda: instance.servers() == [oldest])
    assert compute.get_server(oldest).status == "ACTIVE"


def test_of_two_volumes_of_one_name_the_oldest_is_kept(site: Site, instance: Instance) -> None:
    oldest = instance.cloud.create_volume(instance.order())
    for _ in range(2):
        time.sleep(1.1 if site.stack is None else 0.01)
        younger = instance.conn.block_storage.create_volume(name=instance.name, size=1)
        site.eventually_true(
            lambda younger=younger: instance.conn.block_storage.get_volume(younger.id).status == "available"  # type: ignore[misc]
        )
    assert site.eventually(lambda: instance.cloud.require_volume_available(instance.id)) == oldest
    site.eventually_true(lambda: instance.volumes() == [oldest])


def test_of_two_ports_of_one_name_the_oldest_is_kept(site: Site, instance: Instance) -> None:
    oldest = instance.cloud.create_port(instance.order())
    time.sleep(1.1 if site.stack is None else 0.01)
    instance.conn.network.create_port(name=instance.name, network_id=instance.order().offer.network_id)
    assert len(instance.ports()) == 2
    assert instance.cloud.create_port(instance.order()) == oldest
    assert instance.ports() == [oldest.id]


def test_a_thing_whose_name_only_begins_alike_is_left_alone(site: Site, instance: Instance) -> None:
    compute, offer = instance.conn.compute, instance.order().offer
    other = compute.create_server(
        name=f"{instance.name}-of-somebody-else", flavor_id=offer.flavor.id, image_id=offer.image_id, networks="none"
    )
    try:
        with pytest.raises(NotYet, match="is not listed"):
            instance.cloud.require_server_active(instance.id)
        instance.cloud.delete_servers_of(instance.id)
        assert compute.get_server(other.id).task_state != "deleting"
    finally:
        site.until_booted(other.id)
        compute.delete_server(other.id)
        compute.wait_for_delete(other, interval=0.1, wait=60)
