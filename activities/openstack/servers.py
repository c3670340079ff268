"""The port `Servers`, over Nova."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from activities.openstack.connection import Connections, name_of
from activities.openstack.errors import translated
from activities.openstack.userdata import cloud_config
from workflows.domain.errors import NotYet, ResourceFailed
from workflows.domain.guest import GuestBoot
from workflows.domain.instance import ServerState
from workflows.enrolment import ticket_for
from workflows.keyring import Keyring
from workflows.ports.cloud import ResourceOrder, ServerOrder


@dataclass(frozen=True)
class GuestAccess:
    """What guests are told: whom to dial and trust, and (derived here, for each) the ticket that they enrol with."""

    gateway: str
    ca_file: Path
    namespace: str
    keyring: Keyring

    def boot_of(self, order: ServerOrder) -> GuestBoot:
        """The boot file of an order's guest. Made again, it is as good as the first: both are of one generation."""
        what = order.resources
        return GuestBoot(
            instance_id=what.instance_id,
            gateway=self.gateway,
            ca=self.ca_file.read_text(),
            namespace=self.namespace,
            ticket=ticket_for(self.keyring, what.instance_id, order.generation),
            generation=order.generation,
            datastore=what.manager,
            version=what.datastore_version,
        )


class NovaServers:
    """Names derive from the instance id, so a retry finds what a lost answer left behind."""

    def __init__(self, connections: Connections, access: GuestAccess) -> None:
        self._connections = connections
        self._access = access

    def create_server_group(self, order: ResourceOrder) -> str:
        """Find or make the group that spreads, or keeps together, the instance's servers."""
        compute, name = self._connections.get().compute, name_of(order.instance_id)
        with translated("make the server group"):
            found = next((each for each in compute.server_groups() if each.name == name), None)
            made = found or compute.create_server_group(name=name, policy=order.locality)
            return str(made.id)

    def create_server(self, order: ServerOrder) -> str:
        """Find or boot the server."""
        compute = self._connections.get().compute
        with translated("build the server"):
            found = self._of(order.resources.instance_id)
            server = found[0] if found else compute.create_server(**self._wanted(order))
            return str(server.id)

    def _wanted(self, order: ServerOrder) -> dict[str, Any]:
        what = order.resources
        wanted: dict[str, Any] = {
            "name": name_of(what.instance_id),
            "flavor_id": what.offer.flavor.id,
            "image_id": what.offer.image_id,
            "networks": [{"port": order.port_id}],
            "block_device_mapping_v2": [
                {"boot_index": 0, "uuid": what.offer.image_id, "source_type": "image", "destination_type": "local",
                 "delete_on_termination": True},
                {"boot_index": -1, "uuid": order.volume_id, "source_type": "volume", "destination_type": "volume",
                 "delete_on_termination": False},
            ],
            "user_data": cloud_config(self._access.boot_of(order)),
            "metadata": {"coffer_instance": str(what.instance_id), "coffer_project": what.project_id},
        }  # fmt: skip
        if what.availability_zone:
            wanted["availability_zone"] = what.availability_zone
        if order.server_group_id:
            wanted["scheduler_hints"] = {"group": order.server_group_id}
        return wanted

    def require_server_active(self, instance_id: UUID) -> str:
        """Keep the oldest of the instance's servers, delete the others, and wait for it."""
        compute = self._connections.get().compute
        with translated("build the server"):
            found = self._of(instance_id)
            if not found:
                raise NotYet(f"the server of {instance_id} is not listed")
            for double in found[1:]:
                compute.delete_server(double, ignore_missing=True)
        kept = found[0]
        if kept.status == "ERROR":
            why = (kept.fault or {}).get("message") or "no reason given"
            raise ResourceFailed(f"the cloud could not build the server: {why}")
        if kept.status != "ACTIVE":
            raise NotYet(f"server {kept.id} is {kept.status}")
        return str(kept.id)

    def get_server_state(self, instance_id: UUID) -> ServerState:
        """Ask Nova for the server and Cinder for the volume of the instance's name."""
        connection = self._connections.get()
        with translated("look at the server"):
            server = next(iter(self._of(instance_id)), None)
            name = name_of(instance_id)
            volume = next((each for each in connection.block_storage.volumes(details=True, name=name)), None)
        return ServerState(
            status=str(server.status) if server is not None else None,
            volume_status=str(volume.status) if volume is not None else None,
        )

    def delete_servers_of(self, instance_id: UUID) -> None:
        """Delete every server of the instance's name."""
        compute = self._connections.get().compute
        with translated("delete the server"):
            found = self._of(instance_id)
            for each in found:
                if each.task_state != "deleting":
                    compute.delete_server(each, ignore_missing=True)
        if found:
            raise NotYet(f"server {found[0].id} is being deleted")

    def delete_server_groups_of(self, instance_id: UUID) -> None:
        """Delete every server group of the instance's name."""
        compute, name = self._connections.get().compute, name_of(instance_id)
        with translated("delete the server group"):
            for each in compute.server_groups():
                if each.name == name:
                    compute.delete_server_group(each, ignore_missing=True)

    def _of(self, instance_id: UUID) -> list[Any]:
        name = name_of(instance_id)  # Nova's filter is a regular expression
        # Nova tells the time in seconds and lists the newest first: of two of one second the last listed is older
        found = reversed(list(self._connections.get().compute.servers(details=True, name=f"^{name}$")))
        return sorted((each for each in found if each.name == name), key=lambda each: each.created_at or "")
