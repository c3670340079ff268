"""Databases (schemas), users, grants and root, as every engine understands them."""

from datetime import datetime

from pydantic import Field, model_validator

from contract.domain.fact import Fact


class Sealed(Fact):
    """A secret that only its reader can open: AES-GCM under a guest's key, base64.

    Passwords travel in this form inside payloads that are encrypted once more, so that neither a workflow worker nor
    the codec server that shows payloads to operators ever sees one. See `contract.keys.sealing`.
    """

    sealed: str = Field(repr=False)

    @model_validator(mode="before")
    @classmethod
    def not_in_clear(cls, value: object) -> object:
        """Refuse a secret in clear with the way to pass it."""
        if isinstance(value, str):
            raise ValueError(
                "is in clear; seal it with `python -m contract.keys.seal INSTANCE_ID`, see docs/programs.md"
            )
        return value


class Expiring(Fact):
    """A call that must not be done any more when its caller has stopped waiting. None: it always may."""

    expires_at: datetime | None = None


class NewDatabase(Fact):
    """A database to create. None leaves the engine's default."""

    name: str
    character_set: str | None = None
    collate: str | None = None


class NewUser(Fact):
    """A user to create, with the databases it may use. `host` is a pattern of the engine, `%` for all."""

    name: str
    password: Sealed
    host: str = "%"
    databases: tuple[str, ...] = ()


class UserName(Fact):
    """Which user: engines without hosts know only `%`."""

    name: str
    host: str = "%"


class User(Fact):
    """A user as the engine lists it; `more_databases`: it may use others, too, whose names come after these."""

    name: str
    host: str = "%"
    databases: tuple[str, ...] = ()
    more_databases: bool = False


class UserChange(Expiring):
    """New attributes of a user; None keeps what is there."""

    user: UserName
    new_name: str | None = None
    new_host: str | None = None
    new_password: Sealed | None = None


class Grant(Expiring):
    """A user's right to use databases."""

    user: UserName
    databases: tuple[str, ...]


class RootAccount(Fact):
    """The administrator account handed to the tenant."""

    name: str
    password: Sealed
