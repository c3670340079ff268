"""What the embedded cloud offers when it is new: flavors, networks, a volume type; found before made."""

from ipaddress import IPv4Network
from typing import Any

import yaml
from openstack.config import OpenStackConfig
from openstack.connection import Connection

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


def seed_cloud(settings: StackSettings) -> None:
    """Make what is missing."""
    admin = connect(settings, "admin")
    there = {each.name for each in admin.compute.flavors()}
    for flavor_id, name, ram, cpus in FLAVORS:
        if name not in there:
            admin.compute.create_flavor(id=flavor_id, name=name, ram=ram, vcpus=cpus, disk=10)
    if not any(each.name == "standard" for each in admin.block_storage.types()):
        admin.block_storage.create_type(name="standard")
    private, public, databases = guest_subnets(settings)[1:4]
    _network(connect(settings, "demo"), "private", private)
    _network(admin, "public", public, is_shared=True, is_router_external=True)
    _network(connect(settings, "coffer"), "databases", databases)


def _network(conn: Connection, name: str, cidr: IPv4Network, **more: Any) -> None:
    network = conn.network.find_network(name) or conn.network.create_network(name=name, **more)
    if not network.subnet_ids:
        conn.network.create_subnet(name=name, network_id=network.id, ip_version=4, cidr=str(cidr))


def write_catalogue(settings: StackSettings) -> str:
    """Write the catalogue of what the images hold; return its path."""
    datastores = []
    for manager in ("mariadb", "postgresql"):
        images = sorted(each.parent.name for each in settings.image_folder.glob(f"{manager}-*/manifest.yaml"))
        versions = [
            {"name": each.removeprefix(f"{manager}-"), "image": each, "default": each == images[-1]} for each in images
        ]
        if versions:
            datastores.append({"name": manager, "manager": manager, "versions": versions})
    path = settings.run / "catalogue.yaml"
    path.write_text(yaml.safe_dump({"datastores": datastores}))
    return str(path)
