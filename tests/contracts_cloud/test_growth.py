"""A volume that grows: once however often it is asked for, also under a server, and not beyond what Cinder allows."""

from collections.abc import Callable
from functools import partial

import pytest

from contract.domain.errors import BadRequest, CloudFailed, QuotaExceeded, ResourceFailed
from contract.domain.resources import ResourceKind
from contract.ports.volumes import VolumeGrowth
from tests.contracts_cloud.target_cloud import Instance, TargetCloud


def free_volume(instance: Instance) -> str:
    """A volume that no server uses."""
    instance.cloud.volumes.create_volume(instance.new_volume())
    part = instance.part(ResourceKind.VOLUME)
    return instance.target.eventually(lambda: instance.cloud.volumes.require_volume_available(part))


def used_volume(instance: Instance) -> str:
    """A volume that a server uses."""
    instance.running_server()
    return instance.volumes()[0]


EACH = pytest.mark.parametrize("volume_of", [free_volume, used_volume])


def seen(instance: Instance, volume_id: str) -> tuple[str, int]:
    """Status and size, past the adapter."""
    volume = instance.conn.block_storage.get_volume(volume_id)
    return volume.status, volume.size


@EACH
def test_it_grows_once_and_is_what_it_was(
    target: TargetCloud, instance: Instance, volume_of: Callable[[Instance], str]
) -> None:
    growth = VolumeGrowth(volume_id=volume_of(instance), size_gib=2)
    status, _ = seen(instance, growth.volume_id)
    volumes = instance.cloud.volumes
    for _ in range(2):
        volumes.extend_volume(growth)  # the second finds it growing, or grown
        assert target.eventually(partial(volumes.require_volume_extended, growth)) == 2
        assert seen(instance, growth.volume_id) == (status, 2)
    assert target.eventually(partial(volumes.require_volume_settled, growth.volume_id)) == 2


def test_an_answer_that_is_lost_is_no_second_growth(target: TargetCloud, instance: Instance) -> None:
    growth = VolumeGrowth(volume_id=free_volume(instance), size_gib=2)
    target.fault(method="POST", path=f"{growth.volume_id}/action", lose=True)
    with pytest.raises(CloudFailed):
        instance.cloud.volumes.extend_volume(growth)
    instance.cloud.volumes.extend_volume(growth)
    assert target.eventually(partial(instance.cloud.volumes.require_volume_extended, growth)) == 2


def test_an_attempt_that_takes_effect_late_is_no_error(target: TargetCloud, instance: Instance) -> None:
    """It comes between the look and the request of the next one: Cinder refuses that, and has what was wanted."""
    growth = VolumeGrowth(volume_id=free_volume(instance), size_gib=2)
    instance.conn.block_storage.extend_volume(growth.volume_id, 2)
    target.eventually_true(lambda: seen(instance, growth.volume_id) == ("available", 2))
    stale = {"volume": {"id": growth.volume_id, "status": "available", "size": 1}}
    target.fault(method="GET", path=f"/volumes/{growth.volume_id}$", status=200, answer=stale)
    instance.cloud.volumes.extend_volume(growth)
    assert target.faults_left() == []
    assert instance.cloud.volumes.require_volume_extended(growth) == 2


def test_what_cinder_cannot_grow_is_told_and_can_be_used_again(target: TargetCloud, instance: Instance) -> None:
    growth = VolumeGrowth(volume_id=used_volume(instance), size_gib=2)
    volumes = instance.cloud.volumes
    target.fault(volume=instance.name)
    volumes.extend_volume(growth)
    with pytest.raises(ResourceFailed, match="error_extending with 1 GiB"):
        target.eventually(partial(volumes.require_volume_extended, growth))
    assert target.eventually(partial(volumes.require_volume_settled, growth.volume_id)) == 1
    assert seen(instance, growth.volume_id) == ("in-use", 1)
    volumes.extend_volume(growth)
    assert target.eventually(partial(volumes.require_volume_extended, growth)) == 2


def test_more_than_cinder_s_quota_is_told_as_such(target: TargetCloud, instance: Instance) -> None:
    text = "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota."
    growth = VolumeGrowth(volume_id=free_volume(instance), size_gib=2)
    answer = {"overLimit": {"code": 413, "message": text, "retryAfter": "0"}}
    target.fault(method="POST", path=f"{growth.volume_id}/action", status=413, answer=answer)
    with pytest.raises(QuotaExceeded, match="could not grow the volume"):
        instance.cloud.volumes.extend_volume(growth)
    assert seen(instance, growth.volume_id) == ("available", 1)


def test_a_cinder_that_grows_no_volume_in_use_is_told(target: TargetCloud, instance: Instance) -> None:
    growth = VolumeGrowth(volume_id=used_volume(instance), size_gib=2)
    text = f"Invalid volume: Volume {growth.volume_id} status must be 'available' to extend, currently in-use."
    answer = {"badRequest": {"code": 400, "message": text}}
    target.fault(method="POST", path=f"{growth.volume_id}/action", status=400, answer=answer)
    with pytest.raises(BadRequest, match="status must be 'available' to extend"):
        instance.cloud.volumes.extend_volume(growth)
