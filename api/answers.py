"""What the API answers with, member by member: for the OpenAPI document, which the tests hold every answer against.

The routes build their answers themselves (`views`): nothing is checked a second time while somebody waits.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Moment = str | None  # UTC, as 2026-01-31T12:00:00


class Answer(BaseModel):
    """No member comes without being told here. One with a default may be left out."""

    model_config = ConfigDict(extra="forbid")


class FaultBody(Answer):
    """What went wrong, as a sentence that the caller can act on."""

    code: int
    message: str


class Link(Answer):
    """Where something else is found."""

    rel: Literal["self", "bookmark", "next"]
    href: str


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


class InstanceDetail(Instance):
    """An instance alone."""

    created: Moment
    updated: Moment
    service_status_updated: Moment
    operating_status_reason: str | None
    locality: str = ""
    fault: InstanceFault | None = None
    server_id: str | None = Field(default=None, description="for administrators")
    volume_id: str | None = Field(default=None, description="for administrators")


class Server(Answer):
    """The Nova server of an instance."""

    id: str
    name: str


class Guest(Answer):
    """What an instance's guest is known by, and enrolments that were refused."""

    generation: int
    enrolled: Moment
    revoked: Moment
    refused_enrolments: int
    last_refused_enrolment: Moment
    last_refused_enrolment_from: str | None


class ManagedInstance(InstanceDetail):
    """An instance as administrators see it."""

    server: Server | None
    service_status: str
    deleted: bool
    deleted_at: Moment
    task_description: str


class ManagedInstanceDetail(ManagedInstance):
    """One instance, with its root account and its guest."""

    root_enabled: Moment
    root_enabled_by: str | None
    guest: Guest | None


class RootHistory(Answer):
    """Whether a tenant ever had the administrator account."""

    id: str
    enabled: str
    user: str


class Named(Answer):
    """A database, by name."""

    name: str


class User(Answer):
    """A user and the databases that it may use."""

    name: str
    host: str
    databases: list[Named]


class RootUser(Answer):
    """The administrator account, handed over."""

    name: str
    password: str


class Version(Answer):
    """A datastore version; the members with a default are for administrators."""

    id: str
    name: str
    version: str
    links: list[Link]
    datastore: str
    active: bool = True
    packages: str = ""
    image: str | None = None
    image_tags: list[str] | None = None
    registry_ext: str = ""
    repl_strategy: str = ""


class Datastore(Answer):
    """A datastore with its versions."""

    id: str
    name: str
    links: list[Link]
    versions: list[Version]
    default_version: str = ""


class ManagedVersion(Answer):
    """A datastore version as administrators see it."""

    id: str
    name: str
    version: str
    datastore_id: str
    datastore_name: str
    datastore_manager: str
    image: str | None
    image_tags: list[str]
    packages: list[str]
    active: bool
    registry_ext: str
    repl_strategy: str
    default: bool


class Flavor(Answer):
    """A flavor; `id` is null where Nova's id is no number."""

    id: int | None
    str_id: str
    links: list[Link]
    name: str
    ram: int
    vcpus: int
    disk: int
    ephemeral: int


class VolumeType(Answer):
    """A volume type of Cinder."""

    id: str
    name: str
    is_public: bool
    description: str | None


class Limits(BaseModel):
    """The project's ceilings, as `max_instances` and so on."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]
    verb: Literal["ABSOLUTE"]


class Quota(Answer):
    """A project's ceiling for a resource, and what is in use of it."""

    resource: str
    in_use: int
    reserved: int
    limit: int


class Step(Answer):
    """One step of an operation."""

    name: str
    outcome: str | None
    started: Moment
    finished: Moment


class Operation(Answer):
    """An operation with its steps (beyond Trove)."""

    id: str
    kind: str
    instance_id: str
    state: Literal["WAITING", "RUNNING", "DONE", "FAILED", "CANCELLED", "INTERRUPTED"]
    reason: str | None
    request_id: str | None
    user_id: str | None
    created: Moment
    finished: Moment
    steps: list[Step]
    links: list[Link]


class ApiVersion(Answer):
    """A version of the API."""

    id: str
    status: str
    updated: str
    links: list[Link]


PART = Literal["ok", "away"]


class Health(Answer):
    """Each part of the service."""

    status: Literal["ok", "unavailable"]
    records: PART
    temporal: PART
    workflow_worker: PART
    activity_worker: PART
    keystone: PART
    gateway: PART = "ok"


# -- what stands around them ---------------------------------------------------------------------------------------------


class Versions(Answer):
    """The versions of the API."""

    versions: list[ApiVersion]


class OneVersion(Answer):
    """This version of the API."""

    version: ApiVersion


class _Page(Answer):
    """Where the next page is, under both names that clients look for; without them it is the last one."""

    links: list[Link] = []


class InstancesPage(_Page):
    """A page of instances."""

    instances: list[Instance]
    instances_links: list[Link] = []


class InstanceDetailsPage(_Page):
    """A page of instances with all that is known of them."""

    instances: list[InstanceDetail]
    instances_links: list[Link] = []


class ManagedInstancesPage(_Page):
    """A page of instances as administrators see them."""

    instances: list[ManagedInstance]
    instances_links: list[Link] = []


class DatabasesPage(_Page):
    """A page of databases."""

    databases: list[Named]
    databases_links: list[Link] = []


class UsersPage(_Page):
    """A page of users."""

    users: list[User]
    users_links: list[Link] = []


class OneInstance(Answer):
    """An instance."""

    instance: InstanceDetail


class OneManagedInstance(Answer):
    """An instance as administrators see it."""

    instance: ManagedInstanceDetail


class OneRootHistory(Answer):
    """Whether a tenant ever had the administrator account."""

    root_history: RootHistory


class OneDatabase(Answer):
    """A database."""

    database: Named


class OneUser(Answer):
    """A user."""

    user: User


class Grants(Answer):
    """The databases that a user may use."""

    databases: list[Named]


class RootEnabled(Answer):
    """Whether the tenant has the administrator account."""

    root_enabled: bool = Field(alias="rootEnabled")


class OneRootUser(Answer):
    """The administrator account, handed over."""

    user: RootUser


class Datastores(Answer):
    """All datastores."""

    datastores: list[Datastore]


class OneDatastore(Answer):
    """A datastore."""

    datastore: Datastore


class DatastoreVersions(Answer):
    """A datastore's versions."""

    versions: list[Version]


class OneDatastoreVersion(Answer):
    """A datastore version."""

    version: Version


class ManagedVersions(Answer):
    """Every datastore version."""

    versions: list[ManagedVersion]


class OneManagedVersion(Answer):
    """A datastore version as administrators see it."""

    version: ManagedVersion


class Flavors(Answer):
    """All flavors."""

    flavors: list[Flavor]


class OneFlavor(Answer):
    """A flavor."""

    flavor: Flavor


class VolumeTypes(Answer):
    """All volume types."""

    volume_types: list[VolumeType]


class AllLimits(Answer):
    """The project's ceilings."""

    limits: list[Limits]


class Quotas(Answer):
    """A project's ceilings and use."""

    quotas: list[Quota]


class ChangedQuotas(Answer):
    """The ceilings that were set, by resource."""

    quotas: dict[str, int]


class Operations(Answer):
    """An instance's operations, the newest first."""

    operations: list[Operation]


class OneOperation(Answer):
    """An operation."""

    operation: Operation


class Backups(Answer):
    """None yet."""

    backups: list[Any] = Field(max_length=0)


class BackupStrategies(Answer):
    """None yet."""

    backup_strategies: list[Any] = Field(max_length=0)


class Configurations(Answer):
    """None yet."""

    configurations: list[Any] = Field(max_length=0)


class Clusters(Answer):
    """None yet."""

    clusters: list[Any] = Field(max_length=0)


class Modules(Answer):
    """None yet."""

    modules: list[Any] = Field(max_length=0)
