"""Where the stack lives and which ports it has. Read from the environment, prefix `COFFER_`."""

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy import setup
from deploy.openstack.site import Site

HERE = setup.HERE


class Account(NamedTuple):
    """Who asks OpenStack: user and project by name, and the file in the secrets' folder that has the password."""

    user: str
    project: str
    secret: str


class StackSettings(BaseSettings):
    """All that can be told to the stack."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    home: Path = Field(default_factory=setup.home)
    """Folder of the state, for its owner alone."""
    open_home: Path = Field(default_factory=setup.open_home)
    """Folder of what unprivileged processes need: the records' database, the guests' images, volumes and roots."""
    venvs: Path | None = None
    """Folder of the Python environments; none: `venv` in the home."""
    images: Path | None = None
    """Folder of the guests' images; none: `images` in the open home."""
    site: Path | None = None
    """Site file of the OpenStack that is used instead of the embedded cloud (`python -m deploy.openstack`)."""
    control_venv: str = "control"
    """Environment of our processes."""
    embedded_venv: str = "embedded"
    """Environment of what stands around them."""
    temporal_port: int = 7233
    """Temporal's frontend."""
    ui_port: int = 8233
    """Temporal's Web UI."""
    temporal_metrics_port: int = 7234
    """Temporal's metrics."""
    records_port: int = 7432
    """The records' PostgreSQL."""
    keystone_port: int = 5000
    """Keystone."""
    swift_port: int = 8080
    """Swift's proxy; its three servers have the next three ports."""
    localcloud_port: int = 8774
    """Nova, Cinder, Neutron and Glance."""
    gateway_port: int = 7236
    """The gateway, which guests dial."""
    codec_port: int = 8234
    """The codec server."""
    api_port: int = 8779
    """The API."""
    guest_range: str = ""
    """Network (a /20 or larger) of the addresses that database servers get; empty: as root a free /20 of
    10.160.0.0/11, chosen at the first start and kept, otherwise 127.24.0.0/20."""
    guest_endpoints: str = ""
    """Where database servers reach this machine besides the gateway: `ADDRESS:PORT=ADDRESS:PORT,…`, what they dial and
    where it leads."""
    server_delay: float = 0.5
    """Seconds that localcloud's Nova takes."""
    volume_delay: float = 0.2
    """Seconds that localcloud's Cinder takes."""
    wait_for_disk: bool = True
    """Whether Temporal and the records are on the disk before they answer; without, a power cut loses or breaks them."""

    @cached_property
    def openstack(self) -> Site | None:
        """The OpenStack that is there; none: the embedded cloud."""
        return Site.read(self.site) if self.site else None

    @property
    def service(self) -> Account:
        """Coffer's own account."""
        site = self.openstack
        return Account(site.account, site.account, "coffer") if site else Account("coffer", "service", "coffer")

    @property
    def tenant(self) -> Account:
        """The one that the demonstration asks with: in an OpenStack that is there, Coffer's own."""
        return self.service if self.openstack else Account("demo", "demo", "demo")

    @property
    def region(self) -> str:
        """Keystone's name of it."""
        return self.openstack.region if self.openstack else "RegionOne"

    @property
    def domain(self) -> str:
        """Id of the domain of the service's project and user, and of the embedded cloud's others."""
        return self.openstack.domain if self.openstack else "default"

    @property
    def host(self) -> str:
        """The address at which the API and the gateway listen."""
        return self.openstack.address if self.openstack else "127.0.0.1"

    @property
    def run(self) -> Path:
        """Sockets, pid files, generated configuration."""
        return self.home / "run"

    @property
    def log(self) -> Path:
        """One log per process."""
        return self.home / "log"

    @property
    def secrets(self) -> Path:
        """Keys and passwords, made at the first start."""
        return self.home / "secrets"

    @property
    def image_folder(self) -> Path:
        """Where localcloud finds images."""
        return self.images or self.open_home / "images"

    def python(self, venv: str) -> Path:
        """The interpreter of an environment."""
        return (self.venvs or self.home / "venv") / venv / "bin/python"

    @property
    def control_python(self) -> Path:
        """For our processes."""
        return self.python(self.control_venv)

    @property
    def embedded_python(self) -> Path:
        """For Keystone, Swift, localcloud, and the clients."""
        return self.python(self.embedded_venv)

    def ports(self) -> dict[str, int]:
        """Every port that the stack listens on, by the setting's name."""
        embedded = ("keystone_port", "swift_port", "localcloud_port") if self.openstack else ()
        names = [name for name in type(self).model_fields if name.endswith("_port") and name not in embedded]
        found = {f"COFFER_{name.upper()}": int(getattr(self, name)) for name in names}
        for offset in () if self.openstack else (1, 2, 3):
            found[f"COFFER_SWIFT_PORT + {offset}"] = self.swift_port + offset
        return found

    @property
    def keystone_url(self) -> str:
        """Keystone's v3 endpoint."""
        return self.openstack.keystone if self.openstack else f"http://127.0.0.1:{self.keystone_port}/v3"

    @property
    def api_url(self) -> str:
        """The API's address."""
        return f"http://{self.host}:{self.api_port}"

    @property
    def codec_url(self) -> str:
        """The codec server's address."""
        return f"http://127.0.0.1:{self.codec_port}"

    @property
    def isolated(self) -> bool:
        """Whether database servers have a network of their own."""
        said = os.environ.get("LOCALCLOUD_UNPRIVILEGED", "").lower()
        return os.geteuid() == 0 and said not in ("1", "true", "yes", "on")

    @property
    def gateway_for_guests(self) -> str:
        """The address at which guests dial the gateway; isolated it leads nowhere else, and nobody else has it."""
        return "169.254.169.253" if self.isolated and not self.openstack else self.host

    @property
    def first_uid(self) -> int:
        """First of 1,000 user ids for servers; two stacks on one machine rarely share them."""
        return 200_000 + int(hashlib.sha256(str(self.home).encode()).hexdigest(), 16) % 1000 * 1000

    @property
    def records_user(self) -> str | None:
        """The user that the records' PostgreSQL runs as; none: ours."""
        return "postgres" if os.geteuid() == 0 else None
