"""Volumes, as runbooks ask for them; see `cloud` for what holds of every verb."""

from abc import ABC, abstractmethod

from temporalio import activity

from contract.domain.fact import Fact
from contract.domain.resources import Belongings, Part
from contract.ports.waits import Wait, waits


class NewVolume(Fact):
    """A volume to make; `description` is for those who look at Cinder."""

    part: Part
    size_gib: int
    volume_type: str | None = None
    availability_zone: str | None = None
    description: str = ""


class VolumeGrowth(Fact):
    """Which volume is to have which size, by Cinder's id."""

    volume_id: str
    size_gib: int


class Volumes(ABC):
    """Cinder."""

    @abstractmethod
    @activity.defn
    def create_volume(self, order: NewVolume) -> str: ...

    @waits()
    @abstractmethod
    @activity.defn
    def require_volume_available(self, part: Part) -> str:
        """Return the id of the one volume that is kept; it is available or attached."""

    @waits(Wait.LONGER)
    @abstractmethod
    @activity.defn
    def delete_volumes_of(self, belongings: Belongings) -> None: ...

    @abstractmethod
    @activity.defn
    def extend_volume(self, growth: VolumeGrowth) -> None:
        """Begin to grow a volume, also while a server uses it; no error if that was begun or is done."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_volume_extended(self, growth: VolumeGrowth) -> int:
        """Wait until it has at least the size, and return the size that it has, in GiB."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_volume_settled(self, volume_id: str) -> int:
        """Wait until nothing grows it, make it usable after a growth that failed, and return its size in GiB."""
