"""What the records say, as frozen rows for the API. Times are aware, UTC."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance with its datastore's names."""

    id: UUID
    group_id: UUID
    project_id: str
    name: str
    status: str
    operating_status: str
    datastore: str
    datastore_version: str
    datastore_version_number: str
    datastore_version_id: UUID
    manager: str
    flavor_id: str
    volume_gib: int
    volume_type: str | None
    volume_used_bytes: int | None
    volume_total_bytes: int | None
    region: str
    access: dict[str, Any]
    addresses: list[dict[str, Any]]
    availability_zone: str | None
    locality: str | None
    server_id: str | None
    volume_id: str | None
    fault_message: str | None
    fault_details: str | None
    fault_created: datetime | None
    created: datetime
    updated: datetime
    service_status_updated: datetime | None
    deleted: bool
    deleted_at: datetime | None
    operating_status_reason: str | None = None
    restart_required: bool = False
    configuration_id: UUID | None = None
    configuration_name: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigurationView:
    """One configuration group, with its version's names and the number of instances that have it."""

    id: UUID
    project_id: str
    name: str
    description: str | None
    values: dict[str, Any]
    datastore_version_id: UUID
    datastore: str
    datastore_version: str
    datastore_version_number: str
    created: datetime
    updated: datetime
    instance_count: int


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of an operation; `outcome` is None while it runs."""

    name: str
    outcome: str | None
    started: datetime
    finished: datetime | None


@dataclass(frozen=True, slots=True)
class OperationView:
    """One operation on one of its members, with the steps that are about it, in order."""

    id: UUID
    kind: str
    instance_id: UUID
    project_id: str
    user_id: str
    request_id: str
    state: str
    reason: str | None
    workflow_id: str
    run_id: str
    first_execution_run_id: str
    created: datetime
    finished: datetime | None
    steps: tuple[StepView, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionView:
    """One datastore version."""

    id: UUID
    datastore_id: UUID
    datastore: str
    name: str
    number: str
    manager: str
    image: str
    image_tags: list[str]
    packages: list[str]
    active: bool
    flavors: list[str] | None
    volume_types: list[str] | None


@dataclass(frozen=True, slots=True)
class DatastoreView:
    """One datastore with those of its versions that the caller may see."""

    id: UUID
    name: str
    default_version_id: UUID | None
    versions: tuple[VersionView, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class FlavorView:
    """A flavor as Nova last had it."""

    id: str
    name: str
    ram_mib: int
    vcpus: int
    disk_gib: int
    ephemeral_gib: int


@dataclass(frozen=True, slots=True)
class VolumeTypeView:
    """A volume type as Cinder last had it."""

    id: str
    name: str
    is_public: bool
    description: str | None


@dataclass(frozen=True, slots=True)
class QuotaView:
    """A project's ceiling and use of one resource; -1 is unlimited."""

    resource: str
    limit: int
    in_use: int


@dataclass(frozen=True, slots=True)
class RootView:
    """Root of one instance: whether it is enabled now, and by whom it first was."""

    enabled: bool
    ever_enabled: bool
    enabled_at: datetime | None
    enabled_by: str | None


@dataclass(frozen=True, slots=True)
class GuestView:
    """What an instance's guest is known by; `doubles` are enrolments that were refused because another was first."""

    generation: int
    enrolled: datetime | None
    revoked: datetime | None
    doubles: int
    last_double: datetime | None
    last_double_from: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of instances; `marker` is None on the last one."""

    instances: list[InstanceView]
    marker: str | None
