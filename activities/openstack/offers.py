"""The port `Offers`: whether OpenStack has what an order names, and the caller may use it."""

import ipaddress
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from openstack.connection import Connection
from temporalio import activity

from activities.openstack.connection import Connections
from activities.openstack.errors import translated
from activities.openstack.flavors import flavor_of, offered_flavors
from activities.openstack.lookup import by_id_or_name
from contract.domain.catalogue import ImageRequest
from contract.domain.errors import BadRequest
from contract.domain.instance import CloudOffer, DatastoreVersion, Flavor, InstanceSpec
from contract.ports.cloud import FlavorRequest, OfferRequest, Offers

THREADS = 16  # lookups at a time, of all orders together
Asked = TypeVar("Asked")
Found = TypeVar("Found")


class CheckedOffers(Offers):
    """Resolves the names of one order; each check raises BadRequest naming the field's value."""

    def __init__(self, connections: Connections, default_network: str) -> None:
        self._connections = connections
        self._default_network = default_network
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="offer")

    @activity.defn
    @translated("check the order")
    def check_order(self, request: OfferRequest) -> CloudOffer:
        """Return ids for names; nothing is made or changed."""
        conn, spec = self._connections.get(), request.spec
        zone = self._beside(_check_zone, spec.availability_zone)
        place = self._beside(self._place, request)
        image = self._beside(image_of, spec.version)
        volume_type = self._beside(_volume_type, spec.volume_type)
        flavor = _flavor(conn, spec.flavor)
        zone.result()  # of several that are wrong, always the same is named
        network, subnet = place.result()
        _check_fits(flavor, image.result())
        return CloudOffer(
            flavor=flavor,
            image_id=str(image.result().id),
            network_id=network.id,
            network_name=network.name,
            subnet_id=subnet,
            volume_type=volume_type.result(),
        )

    def _beside(self, look: Callable[[Connection, Asked], Found], wanted: Asked) -> "Future[Found]":
        """Look something up while others are looked up: each is a request or two, and none needs another's answer."""
        return self._threads.submit(lambda: look(self._connections.get(), wanted))

    def _place(self, conn: Connection, request: OfferRequest) -> tuple[Any, str | None]:
        network = self._network(conn, request)
        return network, _subnet(conn, network, request.spec)

    @activity.defn
    @translated("look at the flavor")
    def check_flavor(self, request: FlavorRequest) -> Flavor:
        """Look it up."""
        return _flavor(self._connections.get(), request.flavor)

    @activity.defn
    @translated("look at the image")
    def check_image(self, request: ImageRequest) -> None:
        """Look it up."""
        if not _is_active(_images(self._connections.get(), request)):
            wanted = (
                f"image {request.image}" if request.image else f"an image with the tags {', '.join(request.image_tags)}"
            )
            raise BadRequest(f"{wanted} cannot be found, or is not active")

    def _network(self, conn: Connection, request: OfferRequest) -> Any:
        wanted = _wanted_network(conn, request.spec)
        if wanted is None:
            if not self._default_network:
                raise BadRequest("no network was named, and there is no default network")
            network = by_id_or_name(conn.network.networks, self._default_network)
            if network is None:
                raise BadRequest(f"the default network '{self._default_network}' does not exist")
            return network
        network = by_id_or_name(conn.network.networks, wanted)
        if network is None or not _visible(conn, network, request.project_id):
            raise BadRequest(f"network '{wanted}' cannot be found")
        return network


def _wanted_network(conn: Connection, spec: InstanceSpec) -> str | None:
    if spec.nic is None:
        return None
    if spec.nic.network_id is not None or spec.nic.subnet_id is None:
        return spec.nic.network_id
    subnet = by_id_or_name(conn.network.subnets, spec.nic.subnet_id)
    if subnet is None:
        raise BadRequest(f"subnet '{spec.nic.subnet_id}' cannot be found")
    return str(subnet.network_id)


def _visible(conn: Connection, network: Any, project_id: str) -> bool:
    """Whether the caller's project may use a network: the service user sees them all, so it must be asked for."""
    if network.project_id == project_id or network.is_shared:
        return True
    policies = conn.network.rbac_policies(object_id=network.id, action="access_as_shared")
    return any(each.target_project_id in (project_id, "*") for each in policies)


def _subnet(conn: Connection, network: Any, spec: InstanceSpec) -> str | None:
    nic = spec.nic
    if nic is None or (nic.subnet_id is None and nic.ip_address is None):
        return None
    subnet = by_id_or_name(conn.network.subnets, nic.subnet_id) if nic.subnet_id else None
    if subnet is None or subnet.network_id != network.id:
        raise BadRequest(f"subnet '{nic.subnet_id}' cannot be found on network '{network.id}'")
    if nic.ip_address and ipaddress.ip_address(nic.ip_address) not in ipaddress.ip_network(subnet.cidr):
        raise BadRequest(f"address {nic.ip_address} is not in subnet {subnet.cidr}")
    return str(subnet.id)


def _flavor(conn: Connection, wanted: str) -> Flavor:
    listed = offered_flavors(conn)
    named = [each for each in listed if each.id == wanted] or [each for each in listed if each.name == wanted]
    if not named:
        raise BadRequest(f"flavor '{wanted}' cannot be found")
    return flavor_of(named[0])


def _check_zone(conn: Connection, wanted: str | None) -> None:
    """Raise BadRequest for what is no zone of Nova's: asked as an administrator, it takes a host in a zone's place."""
    if wanted is not None and wanted not in {each.name for each in conn.compute.availability_zones()}:
        raise BadRequest(f"availability zone '{wanted}' cannot be found")


def _check_fits(flavor: Flavor, image: Any) -> None:
    """Raise BadRequest for a flavor that is too small for the image; a root disk of 0 GB is as large as the image needs."""
    if flavor.ram_mib < (image.min_ram or 0):
        raise BadRequest(
            f"flavor '{flavor.name}' has {flavor.ram_mib} MB of memory; this datastore needs {image.min_ram}"
        )
    if 0 < flavor.disk_gib < (image.min_disk or 0):
        raise BadRequest(
            f"flavor '{flavor.name}' has a disk of {flavor.disk_gib} GB; this datastore needs {image.min_disk}"
        )


def image_of(conn: Connection, version: DatastoreVersion | None) -> Any:
    """Return the version's image: by id or name, else the newest that has all of its tags."""
    if version is None:
        raise BadRequest("the order names no datastore version")
    found = _images(conn, ImageRequest(image=version.image, image_tags=version.image_tags))
    if not _is_active(found):
        raise BadRequest(f"the image of datastore version '{version.name}' is missing or not active")
    return found[0]


def _images(conn: Connection, request: ImageRequest) -> list[Any]:
    if not request.image:
        return list(conn.image.images(tag=list(request.image_tags), sort="created_at:desc"))
    found = by_id_or_name(conn.image.images, request.image)
    return [found] if found is not None else []


def _is_active(found: list[Any]) -> bool:
    return bool(found) and found[0].status == "active"


def _volume_type(conn: Connection, wanted: str | None) -> str | None:
    if wanted is None:
        return None
    for each in conn.block_storage.types():
        if wanted in (each.id, each.name):
            return str(each.name)
    raise BadRequest(f"volume type '{wanted}' cannot be found")
