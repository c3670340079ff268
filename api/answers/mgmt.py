"""What administrators see."""

from api.answers.base import Answer, Link, Moment, Page
from api.answers.instances import InstanceDetail


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


class ManagedInstancesPage(Page):
    """A page of instances as administrators see them."""

    instances: list[ManagedInstance]
    instances_links: list[Link] = []


class OneManagedInstance(Answer):
    """An instance as administrators see it."""

    instance: ManagedInstanceDetail


class OneRootHistory(Answer):
    """Whether a tenant ever had the administrator account."""

    root_history: RootHistory


class ManagedVersions(Answer):
    """Every datastore version."""

    versions: list[ManagedVersion]


class OneManagedVersion(Answer):
    """A datastore version as administrators see it."""

    version: ManagedVersion
