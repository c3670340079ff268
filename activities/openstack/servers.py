"""The port `Servers`, over Nova."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio import activity

from activities.openstack.connection import Connections, name_of, name_of_part
from activities.openstack.errors import translated
from activities.openstack.flavors import flavor_of
from activities.openstack.lookup import fault_of
from activities.openstack.userdata import cloud_config
from contract.domain.errors import NotYet, ResourceFailed
from contract.domain.guest import GuestBoot
from contract.domain.instance import Flavor, ServerState
from contract.domain.resources import Belongings, Part
from contract.domain.servers import Migration
from contract.keys.enrolment import ticket_for
from contract.keys.keyring import Keyring
from contract.ports.cloud import Attached, FlavorChange, ResourceOrder, ServerOrder, Servers
from contract.ports.images import Reimage

RESIZING = ("RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE")


@dataclass(frozen=True)
class GuestAccess:
    """What guests are told: whom to dial and trust, and (derived here, for each) the ticket that they enrol with."""

    gateway: str
    ca_file: Path
    namespace: str
    keyring: Keyring

    def boot_of(self, what: ResourceOrder | Reimage, generation: int) -> GuestBoot:
        """The boot file of an order's guest. Made again, it is as good as the first: both are of one generation."""
        return GuestBoot(
            instance_id=what.instance_id,
            gateway=self.gateway,
            ca=self.ca_file.read_text(),
            namespace=self.namespace,
            ticket=ticket_for(self.keyring, what.instance_id, generation),
            generation=generation,
            datastore=what.manager,
            version=what.datastore_version,
        )


class NovaServers(Servers):
    """Names derive from the instance id, so a retry finds what a lost answer left behind."""

    def __init__(self, connections: Connections, access: GuestAccess) -> None:
        self._connections = connections
        self._access = access

    @activity.defn
    @translated("make the server group")
    def create_server_group(self, order: ResourceOrder) -> str:
        """Find or make the group that spreads, or keeps together, the instance's servers."""
        compute, name = self._connections.get().compute, name_of(order.instance_id)
        found = next((each for each in compute.server_groups() if each.name == name), None)
        made = found or compute.create_server_group(name=name, policy=order.locality)
        return str(made.id)

    @activity.defn
    @translated("build the server")
    def create_server(self, order: ServerOrder) -> str:
        """Find or boot the server."""
        compute = self._connections.get().compute
        found = self._of(order.part)
        server = found[0] if found else compute.create_server(**self._wanted(order))
        return str(server.id)

    def _wanted(self, order: ServerOrder) -> dict[str, Any]:
        what = order.resources
        wanted: dict[str, Any] = {
            "name": name_of_part(order.part),
            "flavor_id": what.offer.flavor.id,
            "image_id": what.offer.image_id,
            "networks": [{"port": order.port_id}],
            "block_device_mapping_v2": [
                {"boot_index": 0, "uuid": what.offer.image_id, "source_type": "image", "destination_type": "local",
                 "delete_on_termination": True},
                {"boot_index": -1, "uuid": order.volume_id, "source_type": "volume", "destination_type": "volume",
                 "delete_on_termination": False},
            ],
            "user_data": cloud_config(self._access.boot_of(what, order.generation)),
            "metadata": {"coffer_instance": str(what.instance_id), "coffer_project": what.project_id},
        }  # fmt: skip
        if what.availability_zone:
            wanted["availability_zone"] = what.availability_zone
        if order.server_group_id:
            wanted["scheduler_hints"] = {"group": order.server_group_id}
        return wanted

    @activity.defn
    @translated("build the server")
    def require_server_active(self, part: Part) -> str:
        """Keep the oldest of the name, delete the others, and wait for it."""
        compute = self._connections.get().compute
        found = self._of(part)
        if not found:
            raise NotYet(f"the server of {part.instance_id} is not listed")
        for double in found[1:]:
            compute.delete_server(double, ignore_missing=True)
        kept = found[0]
        if kept.status == "ERROR":
            raise ResourceFailed(f"the cloud could not build the server: {self._fault(kept.id)}")
        if kept.status != "ACTIVE":
            raise NotYet(f"server {kept.id} is {kept.status}")
        return str(kept.id)

    @activity.defn
    @translated("look at the server")
    def get_server_state(self, attached: Attached) -> ServerState:
        """Ask Nova for the server and Cinder for the volume."""
        connection = self._connections.get()
        server = connection.compute.find_server(attached.server_id)
        volume = attached.volume_id and connection.block_storage.find_volume(attached.volume_id)
        return ServerState(
            status=str(server.status) if server else None, volume_status=str(volume.status) if volume else None
        )

    @activity.defn
    @translated("resize the server")
    def resize_server(self, change: FlavorChange) -> None:
        """Ask Nova, unless the server is on its way, or there."""
        compute = self._connections.get().compute
        server = compute.get_server(change.server_id)
        if server.status not in RESIZING and not server.task_state:
            compute.resize_server(server, change.flavor_id)

    @activity.defn
    @translated("resize the server")
    def require_server_resized(self, change: FlavorChange) -> None:
        """Look at it; a server that is ACTIVE on the old flavor could not be resized."""
        self._require_verify(change.server_id, "resize")

    def _require_verify(self, server_id: str, verb: str) -> None:
        server = self._connections.get().compute.get_server(server_id)
        if server.status == "VERIFY_RESIZE":
            return
        if server.status == "ERROR" or (server.status == "ACTIVE" and not server.task_state):
            raise ResourceFailed(f"the cloud could not {verb} the server: {self._fault(server.id)}")
        raise NotYet(f"server {server.id} is {server.status}")

    @activity.defn
    @translated("migrate the server")
    def migrate_server(self, migration: Migration) -> None:
        """Ask Nova, unless the server is on its way, or there."""
        compute = self._connections.get().compute
        server = compute.get_server(migration.server_id)
        if server.status not in RESIZING and not server.task_state:
            compute.migrate_server(server, host=migration.host)

    @activity.defn
    @translated("migrate the server")
    def require_server_migrated(self, server_id: str) -> None:
        """Look at it; a server that is ACTIVE could not be migrated."""
        self._require_verify(server_id, "migrate")

    @activity.defn
    @translated("stop the server")
    def require_server_stopped(self, server_id: str) -> None:
        """Ask where it was not asked yet, and look again."""
        compute = self._connections.get().compute
        server = compute.get_server(server_id)
        if server.status == "SHUTOFF" and not server.task_state:
            return
        if server.status in ("ACTIVE", "ERROR") and not server.task_state:
            compute.stop_server(server)
        raise NotYet(f"server {server.id} is {server.status}")

    @activity.defn
    @translated("start the server")
    def require_server_running(self, server_id: str) -> None:
        """Ask where it was not asked yet, and look again."""
        compute = self._connections.get().compute
        server = compute.get_server(server_id)
        if server.status == "ACTIVE" and not server.task_state:
            return
        if server.status == "ERROR":
            raise ResourceFailed(f"the cloud could not run the server: {self._fault(server.id)}")
        if server.status == "SHUTOFF" and not server.task_state:
            compute.start_server(server)
        raise NotYet(f"server {server.id} is {server.status}")

    @activity.defn
    @translated("reboot the server")
    def reboot_server(self, server_id: str) -> None:
        """Ask Nova, unless it is at it. An attempt whose answer was lost may have it rebooted twice."""
        compute = self._connections.get().compute
        server = compute.get_server(server_id)
        if "REBOOT" not in server.status and not server.task_state:
            compute.reboot_server(server, "HARD")

    @activity.defn
    @translated("confirm the resize")
    def require_resize_confirmed(self, server_id: str) -> None:
        """Confirm, and look again."""
        compute = self._connections.get().compute
        server = compute.get_server(server_id)
        if server.status == "VERIFY_RESIZE" and not server.task_state:
            compute.confirm_server_resize(server)
        if server.status != "ACTIVE":
            raise NotYet(f"server {server.id} is {server.status}")

    @activity.defn
    @translated("take the resize back")
    def require_resize_settled(self, server_id: str) -> Flavor:
        """Revert where Nova waits for a word, and look again."""
        compute = self._connections.get().compute
        server = compute.get_server(server_id)
        if server.status == "VERIFY_RESIZE" and not server.task_state:
            compute.revert_server_resize(server)
        if server.status == "SHUTOFF" and not server.task_state:  # a resize that failed may leave it so
            compute.start_server(server)
        if server.status != "ACTIVE" or server.task_state:
            raise NotYet(f"server {server.id} is {server.status}")
        # since microversion 2.47 Nova shows a server's flavor by its name alone
        found = compute.find_flavor(server.flavor.original_name, get_extra_specs=False)
        if found is None:
            raise ResourceFailed(f"the flavor {server.flavor.original_name} of server {server.id} is gone from Nova")
        return flavor_of(found)

    @activity.defn
    @translated("delete the server")
    def delete_servers_of(self, belongings: Belongings) -> None:
        """Delete every server of the instance, of whatever role and generation."""
        compute = self._connections.get().compute
        found = self._named(name_of(belongings.instance_id) + "(-[a-z]+-[0-9]+)?")
        for each in found:
            if each.task_state != "deleting":
                compute.delete_server(each, ignore_missing=True)
        if found:
            raise NotYet(f"server {found[0].id} is being deleted")

    @activity.defn
    @translated("delete the server group")
    def delete_server_groups_of(self, belongings: Belongings) -> None:
        """Delete every server group of the instance's name."""
        compute, name = self._connections.get().compute, name_of(belongings.instance_id)
        for each in compute.server_groups():
            if each.name == name:
                compute.delete_server_group(each, ignore_missing=True)

    def _fault(self, server_id: str) -> str:
        return fault_of(self._connections.get(), server_id)

    def _of(self, part: Part) -> list[Any]:
        return self._named(name_of_part(part))

    def _named(self, pattern: str) -> list[Any]:
        """Servers whose whole name matches, the oldest first. Nova's filter is a regular expression of any part of it."""
        # Nova tells the time in seconds and lists the newest first: of two of one second the last listed is older
        found = reversed(list(self._connections.get().compute.servers(details=True, name=f"^{pattern}$")))
        return sorted(
            (each for each in found if re.fullmatch(pattern, each.name)), key=lambda each: each.created_at or ""
        )
