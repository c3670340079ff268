"""Bodies that order an instance or change it."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, field_validator, model_validator

from api.models.accounts import DatabaseBody, UserBody
from api.models.base import MOST_REPLICAS, Body, FlavorReference, Reference, Text, Whole, Zone, readable_name, whole
from contract.domain.access import MOST_CIDRS


class VolumeBody(Body):
    """Size in GiB, and the volume type."""

    size: Whole
    type: str | None = Field(default=None, max_length=255)


class NicBody(Body):
    """The tenant's network."""

    network_id: str | None = Field(default=None, min_length=1, max_length=255)
    net_id: str | None = Field(default=None, alias="net-id", min_length=1, max_length=255)
    subnet_id: str | None = Field(default=None, min_length=1, max_length=255)
    ip_address: str | None = Field(default=None, max_length=64)
    v4_fixed_ip: str | None = Field(default=None, alias="v4-fixed-ip", max_length=64)

    @model_validator(mode="after")
    def complete(self) -> "NicBody":
        """A network or a subnet is needed; an address needs a subnet."""
        if not (self.network_id or self.net_id or self.subnet_id):
            raise ValueError("network_id or subnet_id is needed")
        return self


class AccessBody(Body):
    """Who may reach the database."""

    is_public: StrictBool = False
    allowed_cidrs: list[str] | None = Field(default=None, max_length=MOST_CIDRS)


class AccessChangeBody(Body):
    """What is to be different; a member that is left out stays as it is. An empty list lets everybody in."""

    is_public: StrictBool | None = None
    allowed_cidrs: list[str] | None = Field(default=None, max_length=MOST_CIDRS)

    @field_validator("is_public", "allowed_cidrs")
    @classmethod
    def not_null(cls, value: Any) -> Any:
        """Null could mean either that it stays, or that there are none."""
        if value is None:
            raise ValueError("must not be null")
        return value


class DatastoreBody(Body):
    """Which datastore and version, by name or id."""

    type: str | None = Field(default=None, max_length=255)
    version: str | None = Field(default=None, max_length=255)
    version_number: str | None = Field(default=None, max_length=255)


class BackupReference(Body):
    """A backup to restore from."""

    backup_ref: Reference = Field(alias="backupRef")


class ModuleReference(Body):
    """A module to apply."""

    id: Reference


class InstanceBody(Body):
    """An instance to create."""

    name: Text
    flavor_ref: Reference | None = Field(default=None, alias="flavorRef")
    flavor: FlavorReference | None = None
    volume: VolumeBody | None = None
    databases: list[DatabaseBody] = Field(default_factory=list, max_length=1000)
    users: list[UserBody] = Field(default_factory=list, max_length=1000)
    datastore: DatastoreBody | None = None
    nics: list[NicBody] | None = Field(default=None, max_length=1)
    access: AccessBody | None = None
    locality: str | None = None
    availability_zone: Zone | None = None
    region_name: str | None = Field(default=None, max_length=255)
    configuration: Reference | None = None
    modules: list[ModuleReference] | None = None
    restore_point: BackupReference | None = Field(default=None, alias="restorePoint")
    replica_of: Reference | None = None
    slave_of: Reference | None = None
    replica_count: Annotated[int | None, BeforeValidator(whole), Field(ge=1, le=MOST_REPLICAS)] = None

    _check_name = field_validator("name")(readable_name)

    @model_validator(mode="after")
    def agree(self) -> "InstanceBody":
        """Members that say the same must not differ, and none may be without what it belongs to."""
        if self.flavor is not None and self.flavor_ref not in (None, self.flavor):
            raise ValueError("flavorRef and flavor name two flavors")
        if self.replica_of is not None and self.slave_of not in (None, self.replica_of):
            raise ValueError("replica_of and slave_of name two instances")
        if self.replica_count is not None and self.replica_of is None and self.slave_of is None:
            raise ValueError("replica_count needs replica_of")
        return self

    @property
    def wanted_flavor(self) -> str | None:
        """The flavor's id, under whichever name it came."""
        return self.flavor_ref if self.flavor_ref is not None else self.flavor


class CreateInstanceBody(Body):
    """`POST /instances`."""

    instance: InstanceBody


class InstanceChange(Body):
    """`PUT` or `PATCH /instances/{id}`: the name and at most one other attribute."""

    name: Text | None = None
    replica_of: Any = None
    slave_of: Any = None
    configuration: Reference | None = None
    datastore_version: Text | None = None
    access: AccessChangeBody | None = None

    @field_validator("name")
    @classmethod
    def good_name(cls, value: str | None) -> str | None:
        """As in a creation."""
        return None if value is None else readable_name(value)

    def others(self) -> set[str]:
        """What is to change besides the name."""
        return self.model_fields_set - {"name"}

    @model_validator(mode="after")
    def one_change(self) -> "InstanceChange":
        """Refuse two changes at once."""
        if len(self.others()) > 1:
            raise ValueError("Only one attribute (except 'name') is allowed to update.")
        return self


class ChangeInstanceBody(Body):
    """The envelope of a change."""

    instance: InstanceChange
