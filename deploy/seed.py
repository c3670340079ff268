"""What the embedded cloud offers when it is new: flavors, networks, a volume type; found before made."""

from ipaddress import IPv4Network
from typing import Any

from openstack.config import OpenStackConfig
from openstack.connection import Connection

from contract.domain.datastores import DATASTORES
from deploy.datastores import write_catalogue
from deploy.ranges import guest_subnets
from deploy.settings import StackSettings

FLAVORS = (("1", "m1.tiny", 1024, 1), ("2", "m1.small", 2048, 1), ("3", "m1.medium", 4096, 2))


def connect(settings: StackSettings, cloud: str) -> Connection:
    """A connection as one of the stack's users."""
    folder = settings.secrets if cloud == "coffer" else settings.home
    config = OpenStackConfig(
        config_files=[str(folder / "clouds.yaml")], secure_files=[], vendor_files=[], load_envvars=False
    )
    return Connection(config=config.get_one(cloud))


def disconnect(conn: Connection) -> None:
    """Close its HTTP connections, which openstacksdk leaves open."""
    conn.session.session.close()


def seed_cloud(settings: StackSettings) -> None:
    """Make what is missing."""
    for cloud, seed in (("admin", _seed_for_all), ("demo", _seed_demo), ("coffer", _seed_databases)):
        conn = connect(settings, cloud)
        try:
            seed(settings, conn)
        finally:
            disconnect(conn)


def _seed_for_all(settings: StackSettings, admin: Connection) -> None:
    there = {each.name for each in admin.compute.flavors()}
    for flavor_id, name, ram, cpus in FLAVORS:
        if name not in there:
            admin.compute.create_flavor(id=flavor_id, name=name, ram=ram, vcpus=cpus, disk=10)
    if not any(each.name == "standard" for each in admin.block_storage.types()):
        admin.block_storage.create_type(name="standard")
    _network(admin, "public", guest_subnets(settings)[2], is_shared=True, is_router_external=True)


def _seed_demo(settings: StackSettings, demo: Connection) -> None:
    _network(demo, "private", guest_subnets(settings)[1])
    _router(demo, "private", "public")


def _seed_databases(settings: StackSettings, coffer: Connection) -> None:
    _network(coffer, "databases", guest_subnets(settings)[3])
    _router(coffer, "databases", "public")


def _network(conn: Connection, name: str, cidr: IPv4Network, **more: Any) -> None:
    network = conn.network.find_network(name) or conn.network.create_network(name=name, **more)
    if not network.subnet_ids:
        conn.network.create_subnet(name=name, network_id=network.id, ip_version=4, cidr=str(cidr))


def _router(conn: Connection, name: str, external: str) -> None:
    """Let servers on a network have floating IPs of an external one."""
    if conn.network.find_router(name) is None:
        gateway = {"network_id": conn.network.find_network(external, ignore_missing=False).id}
        router = conn.network.create_router(name=name, external_gateway_info=gateway)
        for subnet in conn.network.find_network(name, ignore_missing=False).subnet_ids:
            conn.network.add_interface_to_router(router, subnet=subnet)


def write_datastores(settings: StackSettings) -> str:
    """Write the catalogue of what the images' folder holds; return its path."""
    there = [each.parent.name for each in settings.image_folder.glob("*/manifest.yaml")]
    return write_catalogue(
        settings,
        (
            (manager, each.removeprefix(f"{manager}-"), {"image": each})
            for each in there
            for manager in DATASTORES
            if each.startswith(f"{manager}-")
        ),
    )
