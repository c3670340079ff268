"""The port `Volumes`, over Cinder."""

from typing import Any
from uuid import UUID

from openstack import exceptions as said

from activities.openstack.connection import Connections, name_of
from activities.openstack.errors import translated
from workflows.domain.errors import NotYet, ResourceFailed
from workflows.ports.cloud import ResourceOrder

NOBODYS = ("reserved", "attaching", "detaching")  # on the way to or from a server that is gone


class CinderVolumes:
    """Names derive from the instance id, so a retry finds what a lost answer left behind."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def create_volume(self, order: ResourceOrder) -> str:
        """Find or order the data volume."""
        volumes, name = self._connections.get().block_storage, name_of(order.instance_id)
        with translated("make the volume"):
            found = self._of(order.instance_id)
            if found:
                return str(found[0].id)
            wanted: dict[str, Any] = {"name": name, "size": order.volume_gib}
            if order.offer.volume_type:
                wanted["volume_type"] = order.offer.volume_type
            if order.availability_zone:
                wanted["availability_zone"] = order.availability_zone
            made = volumes.create_volume(
                **wanted, description=order.name, metadata={"coffer_instance": str(order.instance_id)}
            )
            return str(made.id)

    def require_volume_available(self, instance_id: UUID) -> str:
        """Keep the oldest of the instance's volumes, delete the others, and wait for it."""
        volumes = self._connections.get().block_storage
        with translated("make the volume"):
            found = self._of(instance_id)
            if not found:
                raise NotYet(f"the volume of {instance_id} is not listed")
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

    def delete_volumes_of(self, instance_id: UUID) -> None:
        """Delete every volume of the instance's name; a busy one is asked again."""
        volumes = self._connections.get().block_storage
        with translated("delete the volume"):
            found = self._of(instance_id)
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

    def _free(self, volume: Any) -> None:
        """A server that was never built can leave its volume reserved for ever; no server of its name is left here."""
        if volume.status in NOBODYS:
            volumes = self._connections.get().block_storage
            volumes.reset_volume_status(volume, status="error", attach_status="detached", migration_status=None)

    def _of(self, instance_id: UUID) -> list[Any]:
        volumes = self._connections.get().block_storage
        found = volumes.volumes(details=True, name=name_of(instance_id))
        return sorted(found, key=lambda each: each.created_at or "")
