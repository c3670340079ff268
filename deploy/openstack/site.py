"""The site file: which OpenStack, where this machine is reached, and what Coffer is to have there."""

from ipaddress import IPv4Network
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict


class Site(BaseModel):
    """As `deploy/openstack/site.example.yaml` explains it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keystone: str
    """Keystone's v3 endpoint."""
    cloud: str
    """An administrator's cloud in clouds.yaml; used for preparing and undoing alone."""
    address: str
    """Of this machine, as database servers reach the gateway and users the API."""
    region: str = "RegionOne"
    domain: str = "default"
    """Id of the domain of the service's project and user."""
    account: str = "coffer"
    """Name of the service's project and of its user."""
    instances: int = 100
    """How many database servers there may be in all; the quotas of the service's project follow from it."""
    network: str = "coffer"
    """Network of database servers whose order names none."""
    cidr: IPv4Network | None = None
    """Addresses of that network; none: it is there already."""
    external: str = ""
    """Network that floating IPs come from, and that the router of `cidr` leads to; empty: the first external one."""
    images: tuple[Path, ...] = ()
    """Images for Nova to upload, as `python -m guest_worker.image --nova` makes them."""

    @classmethod
    def read(cls, path: Path) -> "Site":
        """Read a site file; ValueError for what is wrong with it."""
        return cls.model_validate(yaml.safe_load(path.read_text()))
