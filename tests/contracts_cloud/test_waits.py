"""`require_` waits for what comes, gives up what never will, and of several of one name keeps the oldest."""

import time
from functools import partial

import pytest

from contract.domain.errors import BadRequest, NotYet, ResourceFailed
from contract.domain.resources import Belongings, ResourceKind
from contract.domain.servers import Migration
from tests.contracts_cloud.target_cloud import Instance, TargetCloud


def test_what_was_never_ordered_is_not_yet_there(instance: Instance) -> None:
    with pytest.raises(NotYet, match=f"the volume of {instance.id} is not listed"):
        instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME))
    with pytest.raises(NotYet, match=f"the server of {instance.id} is not listed"):
        instance.cloud.servers.require_server_active(instance.part(ResourceKind.SERVER))


def test_a_volume_is_required_until_it_is_available_or_in_use(target: TargetCloud, instance: Instance) -> None:
    ordered = instance.cloud.volumes.create_volume(instance.new_volume())
    assert (
        target.eventually(lambda: instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME)))
        == ordered
    )
    volumes = instance.conn.block_storage
    for status in ("creating", "reserved", "attaching"):
        volumes.reset_volume_status(ordered, status=status, attach_status="detached", migration_status=None)
        with pytest.raises(NotYet, match=f"volume {ordered} is {status}"):
            instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME))
    volumes.reset_volume_status(ordered, status="available", attach_status="detached", migration_status=None)
    assert instance.running_server()
    assert volumes.get_volume(ordered).status == "in-use"
    assert instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME)) == ordered


def test_a_server_is_required_until_it_is_active(target: TargetCloud, instance: Instance) -> None:
    server = instance.running_server()
    compute = instance.conn.compute
    compute.stop_server(server)
    target.eventually_true(lambda: compute.get_server(server).status == "SHUTOFF")
    with pytest.raises(NotYet, match=f"server {server} is SHUTOFF"):
        instance.cloud.servers.require_server_active(instance.part(ResourceKind.SERVER))
    compute.start_server(server)
    assert (
        target.eventually(lambda: instance.cloud.servers.require_server_active(instance.part(ResourceKind.SERVER)))
        == server
    )


def test_a_server_in_error_is_given_up_with_the_cloud_s_reason(target: TargetCloud, instance: Instance) -> None:
    order = instance.server_order()
    target.fault(server=instance.name)
    instance.cloud.servers.create_server(order)
    with pytest.raises(ResourceFailed, match=r"could not build the server: No valid host was found") as failed:
        target.eventually(lambda: instance.cloud.servers.require_server_active(instance.part(ResourceKind.SERVER)))
    assert failed.value.non_retryable


def test_a_volume_in_error_is_given_up(target: TargetCloud, instance: Instance) -> None:
    target.fault(volume=instance.name)
    ordered = instance.cloud.volumes.create_volume(instance.new_volume())
    with pytest.raises(ResourceFailed, match=f"could not make the volume {ordered}") as failed:
        target.eventually(lambda: instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME)))
    assert failed.value.non_retryable


def test_of_two_servers_of_one_name_the_oldest_is_kept(target: TargetCloud, instance: Instance) -> None:
    oldest = instance.running_server()
    compute, offer = instance.conn.compute, instance.order().offer
    for _ in range(2):
        time.sleep(1.1)  # Nova tells the time in seconds
        compute.create_server(name=instance.name, flavor_id=offer.flavor.id, image_id=offer.image_id, networks="none")
    target.eventually_true(lambda: len(instance.servers()) == 3)
    assert instance.cloud.servers.require_server_active(instance.part(ResourceKind.SERVER)) == oldest
    target.eventually_true(lambda: instance.servers() == [oldest])
    assert compute.get_server(oldest).status == "ACTIVE"


def test_of_two_volumes_of_one_name_the_oldest_is_kept(target: TargetCloud, instance: Instance) -> None:
    oldest = instance.cloud.volumes.create_volume(instance.new_volume())
    for _ in range(2):
        time.sleep(1.1 if target.stack is None else 0.01)
        younger = instance.conn.block_storage.create_volume(name=instance.name, size=1)
        target.eventually_true(
            lambda younger=younger: instance.conn.block_storage.get_volume(younger.id).status == "available"  # type: ignore[misc]
        )
    assert (
        target.eventually(lambda: instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME)))
        == oldest
    )
    target.eventually_true(lambda: instance.volumes() == [oldest])


def test_of_two_ports_of_one_name_the_oldest_is_kept(target: TargetCloud, instance: Instance) -> None:
    oldest = instance.cloud.networks.create_port(instance.order())
    time.sleep(1.1 if target.stack is None else 0.01)
    instance.conn.network.create_port(name=instance.name, network_id=instance.order().offer.network_id)
    assert len(instance.ports()) == 2
    assert instance.cloud.networks.create_port(instance.order()) == oldest
    assert instance.ports() == [oldest.id]


def test_a_thing_whose_name_only_begins_alike_is_left_alone(target: TargetCloud, instance: Instance) -> None:
    compute, offer = instance.conn.compute, instance.order().offer
    other = compute.create_server(
        name=f"{instance.name}-of-somebody-else", flavor_id=offer.flavor.id, image_id=offer.image_id, networks="none"
    )
    try:
        with pytest.raises(NotYet, match="is not listed"):
            instance.cloud.servers.require_server_active(instance.part(ResourceKind.SERVER))
        instance.cloud.servers.delete_servers_of(instance.belongings)
        assert compute.get_server(other.id).task_state != "deleting"
    finally:
        target.until_booted(other.id)
        compute.delete_server(other.id)
        compute.wait_for_delete(other, interval=0.1, wait=60)


def test_a_volume_of_another_generation_is_no_double(target: TargetCloud, instance: Instance) -> None:
    first, second = (instance.part(ResourceKind.VOLUME, generation) for generation in (1, 2))
    ids = [instance.cloud.volumes.create_volume(instance.new_volume(part=part)) for part in (first, second)]
    for part, kept in zip((first, second), ids, strict=True):
        assert target.eventually(partial(instance.cloud.volumes.require_volume_available, part)) == kept
    there = {each.id for each in instance.conn.block_storage.volumes()}
    assert set(ids) <= there
    belongings = Belongings(instance_id=instance.id, resources=(second.found(ids[1]),))
    target.eventually(lambda: instance.cloud.volumes.delete_volumes_of(belongings))
    assert not set(ids) & {each.id for each in instance.conn.block_storage.volumes()}


def test_a_server_is_stopped_and_started_however_often_it_is_asked(target: TargetCloud, instance: Instance) -> None:
    servers, server = instance.cloud.servers, instance.running_server()
    for verb, status in ((servers.require_server_stopped, "SHUTOFF"), (servers.require_server_running, "ACTIVE")):
        for _ in range(2):
            target.eventually(lambda verb=verb: verb(server))  # type: ignore[misc]
            assert instance.conn.compute.get_server(server).status == status


def test_a_server_is_rebooted_also_one_that_is_off(target: TargetCloud, instance: Instance) -> None:
    servers, server = instance.cloud.servers, instance.running_server()
    for _ in range(2):
        servers.reboot_server(server)
        target.eventually(lambda: servers.require_server_running(server))
        assert instance.conn.compute.get_server(server).status == "ACTIVE"
        target.eventually(lambda: servers.require_server_stopped(server))


def test_what_has_no_server_says_so(instance: Instance) -> None:
    servers, nobody = instance.cloud.servers, "00000000-0000-4000-8000-000000000000"
    for verb in (servers.require_server_stopped, servers.require_server_running, servers.reboot_server):
        with pytest.raises(BadRequest, match="could not be found"):
            verb(nobody)


def test_a_server_is_moved_and_back(target: TargetCloud, instance: Instance) -> None:
    servers, server = instance.cloud.servers, instance.running_server()
    for ends in (servers.require_resize_settled, servers.require_resize_confirmed):
        for _ in range(2):
            servers.migrate_server(Migration(server_id=server))
        target.eventually(lambda: servers.require_server_migrated(server))
        target.eventually(lambda ends=ends: ends(server))  # type: ignore[misc]
        assert instance.conn.compute.get_server(server).status == "ACTIVE"


def test_without_another_host_a_server_stays_as_it_is(target: TargetCloud, instance: Instance) -> None:
    server = instance.running_server()
    target.fault(server=f"^{instance.name}$")
    instance.cloud.servers.migrate_server(Migration(server_id=server))
    with pytest.raises(ResourceFailed, match="could not migrate the server: No valid host"):
        target.eventually(lambda: instance.cloud.servers.require_server_migrated(server))
    assert instance.conn.compute.get_server(server).status == "ACTIVE"
    for host in ("local", "nowhere"):
        with pytest.raises(BadRequest, match=host):
            instance.cloud.servers.migrate_server(Migration(server_id=server, host=host))
