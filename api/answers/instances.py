"""Instances."""

from typing import Literal

from pydantic import Field

from api.answers.base import Answer, Link, Moment, Page


class FlavorReference(Answer):
    """The flavor of an instance."""

    id: str
    links: list[Link]


class DatastoreReference(Answer):
    """The datastore of an instance."""

    type: str
    version: str
    version_number: str = ""


class Access(Answer):
    """Who may reach a database."""

    is_public: bool
    allowed_cidrs: list[str]


class Volume(Answer):
    """The data volume; what is used is told as soon as the guest has told it."""

    size: int
    type: str = ""
    used: float = 0
    used_percent: float = 0


class Address(Answer):
    """An address of a database server."""

    address: str
    type: Literal["private", "public"]
    network: str = ""


class InstanceFault(Answer):
    """What the last operation failed of; details are for administrators."""

    message: str
    created: Moment
    details: str | None


class Instance(Answer):
    """An instance in a list."""

    id: str
    name: str
    status: str
    operating_status: str
    links: list[Link]
    flavor: FlavorReference
    datastore: DatastoreReference
    region: str
    access: Access
    volume: Volume
    ip: list[str] = []
    addresses: list[Address] = []
    tenant_id: str = Field(default="", description="for administrators")


class ConfigurationReference(Answer):
    """The configuration group of an instance."""

    id: str
    name: str
    links: list[Link]


class InstanceDetail(Instance):
    """An instance alone."""

    created: Moment
    updated: Moment
    service_status_updated: Moment
    operating_status_reason: str | None
    locality: str = ""
    configuration: ConfigurationReference | None = None
    fault: InstanceFault | None = None
    server_id: str | None = Field(default=None, description="for administrators")
    volume_id: str | None = Field(default=None, description="for administrators")


class InstancesPage(Page):
    """A page of instances."""

    instances: list[Instance]
    instances_links: list[Link] = []


class InstanceDetailsPage(Page):
    """A page of instances with all that is known of them."""

    instances: list[InstanceDetail]
    instances_links: list[Link] = []


class OneInstance(Answer):
    """An instance."""

    instance: InstanceDetail
