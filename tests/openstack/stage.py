"""The project that the real services refuse things to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import openstack


class Stage:
    """A project with a plain member, and what is needed to be refused things."""

    def __init__(self, cloud: str, image: str, flavors: tuple[str, str]) -> None:
        self.admin: Any = openstack.connect(cloud=cloud)
        self.name, password = f"coffer-refused-{uuid4().hex[:8]}", uuid4().hex
        identity: Any = self.admin.identity
        self.project = identity.create_project(name=self.name, domain_id="default")
        self.user = identity.create_user(name=self.name, domain_id="default", password=password)
        for role in ("member", "admin"):
            found = identity.find_role(role, ignore_missing=False)
            identity.assign_project_role_to_user(self.project, self.user, found)
        self.auth = {"auth_url": self.admin.config.get_auth_args()["auth_url"], "username": self.name, "password": password,
                     "project_name": self.name, "user_domain_id": "default", "project_domain_id": "default"}  # fmt: skip
        self.own: Any = openstack.connect(region_name=self.admin.config.region_name, **self.auth)
        self.image = self.admin.image.find_image(image, ignore_missing=False).id
        self.flavor, self.larger = (self.admin.compute.find_flavor(each, ignore_missing=False).id for each in flavors)
        glance = self.own.image
        self.large = glance.create_image(
            name=self.name,
            data=bytes(1024),
            disk_format="raw",
            container_format="bare",
            min_disk=1000,
            visibility="private",
        ).id
        self.empty = glance.post("/images", json={"name": self.name}).json()["id"]
        self.smaller = self.admin.compute.create_flavor(name=self.name, ram=512, vcpus=1, disk=1).id
        neutron = self.own.network
        self.external = next(iter(neutron.networks(is_router_external=True))).id
        self.network = neutron.create_network(name=self.name).id
        self.subnet = neutron.create_subnet(
            name=self.name, network_id=self.network, ip_version=4, cidr="10.99.0.0/29", enable_dhcp=False
        ).id
        self.port = neutron.create_port(name=self.name, network_id=self.network)
        self.group = neutron.create_security_group(name=self.name).id
        self.volume = self.own.block_storage.create_volume(name=self.name, size=1)
        self.own.block_storage.wait_for_status(self.volume, "available", failures=["error"], wait=120)
        self.server = self.own.compute.create_server(
            name=self.name, flavor_id=self.flavor, image_id=self.image, networks=[{"port": self.port.id}]
        )
        self.server = self.own.compute.wait_for_server(self.server, wait=600)
        self.own.compute.create_volume_attachment(self.server, volume_id=self.volume.id)
        self.own.block_storage.wait_for_status(self.volume, "in-use", failures=["error"], wait=120)

    def close(self) -> None:
        """Delete all of it."""
        own, admin = self.own, self.admin
        for server in list(own.compute.servers()):
            own.compute.delete_server(server, force=True)
            own.compute.wait_for_delete(server, wait=120)
        for volume in list(own.block_storage.volumes()):
            own.block_storage.wait_for_status(volume, "available", failures=["error"], wait=120)
            own.block_storage.delete_volume(volume)
            own.block_storage.wait_for_delete(volume, wait=120)
        network = admin.network
        for each in list(network.ips(project_id=self.project.id)):
            network.delete_ip(each)
        for each in list(network.ports(project_id=self.project.id)):
            network.delete_port(each)
        for each in list(network.networks(project_id=self.project.id)):
            network.delete_network(each)
        for each in list(network.security_groups(project_id=self.project.id)):
            network.delete_security_group(each)
        for each in (self.large, self.empty):
            admin.image.delete_image(each)
        admin.compute.delete_flavor(self.smaller)
        admin.identity.delete_user(self.user)
        admin.identity.delete_project(self.project)

    def boot(self, **more: Any) -> Any:
        """Ask for a server that is refused."""
        body = {"name": self.name, "flavorRef": self.flavor, "imageRef": self.image, "networks": "none", **more}
        hints = body.pop("hints", None)
        wanted = {"server": body} | ({"os:scheduler_hints": hints} if hints else {})
        return self.own.compute.post("/servers", json=wanted, microversion="2.79")

    def act(self, **action: Any) -> Any:
        """Ask the server for something that it refuses."""
        return self.own.compute.post(f"/servers/{self.server.id}/action", json=action, microversion="2.79")

    def order_volume(self, **more: Any) -> Any:
        """Ask for a volume that is refused."""
        return self.own.block_storage.post("/volumes", json={"volume": {"size": 1, "name": self.name, **more}})

    def change_volume(self, **action: Any) -> Any:
        """Ask the volume for something that it refuses."""
        return self.own.block_storage.post(f"/volumes/{self.volume.id}/action", json=action, microversion="3.42")


@contextmanager
def staged(*said: Any) -> Iterator[Stage]:
    """A stage; it is gone afterwards."""
    stage = Stage(*said)
    try:
        yield stage
    finally:
        stage.close()
