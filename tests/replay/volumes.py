"""Cinder, for recordings."""

from temporalio import activity

from contract.domain.resources import Belongings, Part
from contract.ports.volumes import NewVolume, VolumeGrowth, Volumes
from tests.replay.script import Script


class PlainVolumes(Volumes):
    """A Cinder that has everything."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn
    def create_volume(self, order: NewVolume) -> str:
        self._script.play()
        return "volume"

    @activity.defn
    def require_volume_available(self, part: Part) -> str:
        self._script.play()
        return "volume"

    @activity.defn
    def delete_volumes_of(self, belongings: Belongings) -> None:
        self._script.play()

    @activity.defn
    def extend_volume(self, growth: VolumeGrowth) -> None:
        self._script.play()

    @activity.defn
    def require_volume_extended(self, growth: VolumeGrowth) -> int:
        self._script.play()
        return growth.size_gib

    @activity.defn
    def require_volume_settled(self, volume_id: str) -> int:
        self._script.play()
        return 1
