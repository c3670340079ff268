"""One deployment: its settings, its administrator's connection, and the steps that make and undo it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import openstack
from openstack.connection import Connection

from deploy.openstack.site import Site
from deploy.secrets import password
from deploy.seed import connect
from deploy.settings import StackSettings

MARK = "made by Coffer's deployment"  # the description of what an undo may delete


class Blocked(Exception):
    """What must be done first; says it in a sentence."""


class Deployment:
    """What all steps know."""

    def __init__(self, settings: StackSettings, site: Site) -> None:
        self.settings = settings
        self.site = site

    @cached_property
    def admin(self) -> Any:  # its types are those of several versions of each API at once
        """OpenStack as the administrator."""
        return openstack.connect(cloud=self.site.cloud)

    @property
    def service(self) -> Connection:
        """OpenStack as the service user."""
        return connect(self.settings, "coffer")

    @property
    def password(self) -> str:
        """The service user's."""
        return password(self.settings, "coffer")

    def find_project(self) -> Any:
        """The service's project, or None."""
        return self.admin.identity.find_project(self.site.account, domain_id=self.site.domain)

    @property
    def project_id(self) -> str:
        """Of the service's project; Blocked where there is none."""
        project = self.find_project()
        if project is None:
            raise Blocked(f"there is no project {self.site.account}: `python -m deploy.openstack up` makes it")
        return str(project.id)


@dataclass(frozen=True)
class Step:
    """One thing that is made, or found as it should be; and how it goes away. Both may be repeated."""

    name: str
    make: Callable[[Deployment], None]
    undo: Callable[[Deployment], None]
