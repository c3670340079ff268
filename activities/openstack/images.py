"""The port `Images`, over Glance and Nova."""

from openstack.connection import Connection
from temporalio import activity

from activities.openstack.connection import Connections
from activities.openstack.errors import translated
from activities.openstack.lookup import by_id_or_name, fault_of
from activities.openstack.offers import image_of
from activities.openstack.servers import GuestAccess
from activities.openstack.userdata import cloud_config
from contract.domain.errors import BadRequest, NotYet, ResourceFailed
from contract.ports.images import ImageChoice, Images, Reimage

GENERATION = "coffer_generation"  # metadata of a server: of the guest that its last rebuild was for


class NovaImages(Images):
    """A rebuild is known by the guest's generation in the server's metadata, which Nova takes over with the request."""

    def __init__(self, connections: Connections, access: GuestAccess) -> None:
        self._connections = connections
        self._access = access

    @activity.defn
    @translated("look at the image")
    def choose_image(self, request: ImageChoice) -> str:
        """An image is of a version when it is the catalogue's own, or has the tag that images of it are built with."""
        conn, version = self._connections.get(), request.version
        if request.image is None:
            return str(image_of(conn, version).id)
        found = by_id_or_name(conn.image.images, request.image)
        if found is None or found.status != "active":
            raise BadRequest(f"image '{request.image}' cannot be found, or is not active")
        tags = {f"{version.manager}-{version.number}", f"{version.manager}-{version.name}"}
        if not (tags & set(found.tags) or found.id == _own_image(conn, request)):
            raise BadRequest(f"image '{request.image}' is not for {version.datastore} {version.name}: it has not the tag "
                             f"'{version.manager}-{version.number}'")  # fmt: skip
        return str(found.id)

    @activity.defn
    @translated("look at the server")
    def get_image_of(self, server_id: str) -> str:
        """Look at it."""
        server = self._connections.get().compute.get_server(server_id)
        if server.task_state:
            raise NotYet(f"server {server.id} is {server.task_state}")
        return str(server.image.id)

    @activity.defn
    @translated("rebuild the server")
    def rebuild_server(self, order: Reimage) -> None:
        """Ask Nova, unless that was done for this generation."""
        compute = self._connections.get().compute
        server = compute.get_server(order.server_id)
        if server.metadata.get(GENERATION) == str(order.generation):
            return
        if server.task_state:  # an attempt of an operation that was ended from outside
            raise NotYet(f"server {server.id} is {server.task_state}")
        compute.rebuild_server(
            server,
            order.image_id,
            user_data=cloud_config(self._access.boot_of(order, order.generation)),
            metadata={**server.metadata, GENERATION: str(order.generation)},
        )

    @activity.defn
    @translated("rebuild the server")
    def require_server_rebuilt(self, order: Reimage) -> None:
        """Look at it; Nova leaves a server stopped that was stopped before."""
        compute = self._connections.get().compute
        server = compute.get_server(order.server_id)
        if server.status == "ERROR":
            raise ResourceFailed(
                f"the cloud could not rebuild the server: {fault_of(self._connections.get(), server.id)}"
            )
        if server.status == "SHUTOFF" and not server.task_state:
            compute.start_server(server)
        if server.status != "ACTIVE" or server.task_state:
            raise NotYet(f"server {server.id} is {server.status}")


def _own_image(conn: Connection, request: ImageChoice) -> str | None:
    try:
        return str(image_of(conn, request.version).id)
    except BadRequest:  # the catalogue's image is gone: then no other is it
        return None
