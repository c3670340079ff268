"""The port `Volumes`, over Cinder."""

from typing import Any

from openstack import exceptions as said
from temporalio import activity

from activities.openstack.connection import Connections, name_of_part
from activities.openstack.errors import translated
from contract.domain.errors import NotYet, ResourceFailed
from contract.domain.resources import Belongings, Part, ResourceKind
from contract.ports.volumes import NewVolume, VolumeGrowth, Volumes

NOBODYS = ("reserved", "attaching", "detaching")  # on the way to or from a server that is gone


class CinderVolumes(Volumes):
    """Names derive from the instance id, so a retry finds what a lost answer left behind."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @activity.defn
    @translated("make the volume")
    def create_volume(self, order: NewVolume) -> str:
        """Find or order the volume."""
        volumes = self._connections.get().block_storage
        found = self._of(order.part)
        if found:
            return str(found[0].id)
        wanted: dict[str, Any] = {"name": name_of_part(order.part), "size": order.size_gib}
        if order.volume_type:
            wanted["volume_type"] = order.volume_type
        if order.availability_zone:
            wanted["availability_zone"] = order.availability_zone
        made = volumes.create_volume(
            **wanted, description=order.description, metadata={"coffer_instance": str(order.part.instance_id)}
        )
        return str(made.id)

    @activity.defn
    @translated("make the volume")
    def require_volume_available(self, part: Part) -> str:
        """Keep the oldest of the name, delete the others, and wait for it."""
        volumes = self._connections.get().block_storage
        found = self._of(part)
        if not found:
            raise NotYet(f"the volume of {part.instance_id} is not listed")
        for double in found[1:]:
            try:
                volumes.delete_volume(double, ignore_missing=True)
            except said.BadRequestException as error:  # Cinder deletes no volume that is still being made
                raise NotYet(f"volume {double.id} is {double.status}") from error
        kept = found[0]
        if kept.status.startswith("error"):
            raise ResourceFailed(f"the cloud could not make the volume {kept.id}")
        if kept.status not in ("available", "in-use"):
            raise NotYet(f"volume {kept.id} is {kept.status}")
        return str(kept.id)

    @activity.defn
    @translated("delete the volume")
    def delete_volumes_of(self, belongings: Belongings) -> None:
        """Delete every volume of the instance; a busy one is asked again."""
        volumes = self._connections.get().block_storage
        found = [each for part in belongings.parts(ResourceKind.VOLUME) for each in self._of(part)]
        for each in found:
            if each.status == "deleting":
                continue
            try:
                volumes.delete_volume(each, ignore_missing=True)
            except said.BadRequestException as error:  # Cinder's word for a volume that is still attached
                self._free(each)
                raise NotYet(f"volume {each.id} is {each.status}") from error
        if found:
            raise NotYet(f"volume {found[0].id} is being deleted")

    @activity.defn
    @translated("grow the volume")
    def extend_volume(self, growth: VolumeGrowth) -> None:
        """Ask Cinder, unless the volume is on its way, or there; an attempt that timed out may have been heard."""
        if self._is_growing(growth):
            return
        volumes = self._connections.get().block_storage
        try:
            volumes.extend_volume(growth.volume_id, growth.size_gib)
        except said.BadRequestException:
            if not self._is_growing(growth):
                raise

    def _is_growing(self, growth: VolumeGrowth) -> bool:
        volume = self._connections.get().block_storage.get_volume(growth.volume_id)
        return bool(volume.status == "extending" or volume.size >= growth.size_gib)

    @activity.defn
    @translated("grow the volume")
    def require_volume_extended(self, growth: VolumeGrowth) -> int:
        """Look at it; a volume at rest that is still small could not be grown."""
        volume = self._connections.get().block_storage.get_volume(growth.volume_id)
        if volume.status == "extending":
            raise NotYet(f"volume {volume.id} is extending")
        if volume.size < growth.size_gib or volume.status.startswith("error"):
            raise ResourceFailed(f"the cloud could not grow the volume {volume.id}: it is {volume.status} with "
                                 f"{volume.size} GiB")  # fmt: skip
        return int(volume.size)

    @activity.defn
    @translated("look at the volume")
    def require_volume_settled(self, volume_id: str) -> int:
        """Look at it; after a growth that failed Cinder wants to be told that the volume is as before."""
        volumes = self._connections.get().block_storage
        volume = volumes.get_volume(volume_id)
        if volume.status == "extending":
            raise NotYet(f"volume {volume.id} is extending")
        if volume.status == "error_extending":
            status, attached = ("in-use", "attached") if volume.attachments else ("available", "detached")
            volumes.reset_volume_status(volume_id, status=status, attach_status=attached, migration_status=None)
        return int(volume.size)

    def _free(self, volume: Any) -> None:
        """A server that was never built can leave its volume reserved for ever; no server of its name is left here."""
        if volume.status in NOBODYS:
            volumes = self._connections.get().block_storage
            volumes.reset_volume_status(volume, status="error", attach_status="detached", migration_status=None)

    def _of(self, part: Part) -> list[Any]:
        volumes = self._connections.get().block_storage
        found = volumes.volumes(details=True, name=name_of_part(part))
        return sorted(found, key=lambda each: each.created_at or "")
