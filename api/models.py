"""Request bodies, as strict as Trove's schemas and as lenient as its clients need."""

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    WithJsonSchema,
    field_validator,
    model_validator,
)

MOST_REPLICAS = 3


def _name(value: str) -> str:
    """As Trove has it; control characters are refused in every text of a body, by `requests.parse`."""
    if not re.search("[0-9a-zA-Z]", value):
        raise ValueError("must contain a letter or a digit")
    return value


def _zone(value: str) -> str:
    """Nova takes `zone:host:node` for a choice of the host, which is for administrators of the cloud alone."""
    if re.search("[:/]", value):
        raise ValueError("must be the name of an availability zone, without ':' and '/'")
    return value


def _whole(value: Any) -> Any:
    """A number, or a numeric string; true and 1.5 are neither."""
    if isinstance(value, bool | float) or (isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value)):
        raise ValueError("must be a whole number")
    return value


def _reference(value: Any) -> Any:
    """An id, a number, or a URL whose last segment is the id."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be an id")
    text = str(value).rstrip("/").rsplit("/", 1)[-1]
    if not text or len(text) > 255:
        raise ValueError("must be an id")
    return text


def _flavor(value: Any) -> Any:
    """A reference, or a flavor as `GET /flavors` shows it: openstacksdk can send nothing else."""
    if not isinstance(value, dict):
        return _reference(value)
    found = value.get("str_id") or value.get("id")
    if found is None:
        raise ValueError("must be an id, or an object with an id")
    return _reference(found)


Whole = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=2**31 - 1)]
Reference = Annotated[str, BeforeValidator(_reference), WithJsonSchema({"type": ["string", "integer"]})]
FlavorReference = Annotated[str, BeforeValidator(_flavor), WithJsonSchema({"type": ["string", "integer", "object"]})]
Text = Annotated[str, Field(min_length=1, max_length=255)]
Zone = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_zone)]


class Body(BaseModel):
    """No member is ignored: one that is unknown is refused, for whoever sent it meant something by it."""

    model_config = ConfigDict(extra="forbid")


def _listed(value: Any, plural: str, singular: str) -> Any:
    """One thing in the place of a list, or under the singular name, becomes a list; other members stay."""
    if not isinstance(value, dict) or (plural in value and singular in value):
        return value
    found = {plural if name == singular else name: each for name, each in value.items()}
    return {**found, plural: [found[plural]]} if isinstance(found.get(plural), dict) else found


class DatabaseName(Body):
    """A database, by name."""

    name: Text


class DatabaseBody(Body):
    """A database to create."""

    name: Text
    character_set: str | None = Field(default=None, max_length=64)
    collate: str | None = Field(default=None, max_length=64)


class UserBody(Body):
    """A user to create."""

    name: Text
    password: Annotated[str, Field(min_length=1, max_length=4096, repr=False)]
    host: str | None = Field(default=None, max_length=255)
    databases: list[DatabaseName] = Field(default_factory=list, max_length=1000)


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
    allowed_cidrs: list[str] | None = Field(default=None, max_length=200)


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
    replica_count: Annotated[int | None, BeforeValidator(_whole), Field(ge=1, le=MOST_REPLICAS)] = None

    _check_name = field_validator("name")(_name)

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
    configuration: str | None = None
    datastore_version: Text | None = None
    access: AccessBody | None = None

    @field_validator("name")
    @classmethod
    def good_name(cls, value: str | None) -> str | None:
        """As in a creation."""
        return None if value is None else _name(value)

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


class ResizeAction(Body):
    """What the action `resize` is given: another flavor, or a larger volume."""

    flavor_ref: FlavorReference | None = Field(default=None, alias="flavorRef")
    volume: Any = None

    @model_validator(mode="after")
    def one(self) -> "ResizeAction":
        """Exactly one of them."""
        if len(self.model_fields_set) != 1 or (self.flavor_ref is None and self.volume is None):
            raise ValueError("needs either flavorRef or volume")
        return self


class CreateDatabasesBody(Body):
    """`POST …/databases`; one database without the list is understood too (openstacksdk sends it)."""

    databases: list[DatabaseBody] = Field(min_length=1, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def lenient(cls, value: Any) -> Any:
        """Accept `{"database": {…}}` and the bare database."""
        if isinstance(value, dict) and "name" in value and "databases" not in value:
            return {"databases": [value]}
        return _listed(value, "databases", "database")


class CreateUsersBody(Body):
    """`POST …/users`; one user without the list is understood too."""

    users: list[UserBody] = Field(min_length=1, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def lenient(cls, value: Any) -> Any:
        """Accept a user where a list is expected, under `users` or `user`."""
        return _listed(value, "users", "user")


class PasswordBody(Body):
    """A new password."""

    name: Text
    password: Annotated[str, Field(min_length=1, max_length=4096, repr=False)]
    host: str | None = Field(default=None, max_length=255)


class ChangePasswordsBody(Body):
    """`PUT …/users`."""

    users: list[PasswordBody] = Field(min_length=1, max_length=1000)


class UserAttributes(Body):
    """New attributes of a user."""

    name: Text | None = None
    password: Annotated[str | None, Field(min_length=1, max_length=4096, repr=False)] = None
    host: Text | None = None

    @model_validator(mode="after")
    def something(self) -> "UserAttributes":
        """One of them must be there."""
        if not (self.name or self.password or self.host):
            raise ValueError("name, password or host is needed")
        return self


class ChangeUserBody(Body):
    """`PUT …/users/{user}`."""

    user: UserAttributes


class GrantBody(Body):
    """`PUT …/users/{user}/databases`."""

    databases: list[DatabaseName] = Field(min_length=1, max_length=1000)


class RootBody(Body):
    """`POST …/root`."""

    password: Annotated[str | None, Field(min_length=1, max_length=4096, repr=False)] = None


class QuotasBody(Body):
    """`PUT /mgmt/quotas/{project}`; null leaves a limit as it is."""

    quotas: dict[str, int | None]

    @field_validator("quotas", mode="before")
    @classmethod
    def whole_numbers(cls, value: Any) -> Any:
        """Whole numbers from -1 alone."""
        if isinstance(value, dict):
            for name, limit in value.items():
                if limit is None:
                    continue
                if isinstance(limit, bool | float) or not re.fullmatch(r"-?[0-9]{1,9}", str(limit)) or int(limit) < -1:
                    raise ValueError(f"{name}: must be a whole number that is -1 (unlimited) or more")
        return value
