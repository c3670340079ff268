"""Bodies about databases, users and root."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from api.models.base import Body, Text, as_list


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


class CreateDatabasesBody(Body):
    """`POST …/databases`; one database without the list is understood too (openstacksdk sends it)."""

    databases: list[DatabaseBody] = Field(min_length=1, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def lenient(cls, value: Any) -> Any:
        """Accept `{"database": {…}}` and the bare database."""
        if isinstance(value, dict) and "name" in value and "databases" not in value:
            return {"databases": [value]}
        return as_list(value, "databases", "database")


class CreateUsersBody(Body):
    """`POST …/users`; one user without the list is understood too."""

    users: list[UserBody] = Field(min_length=1, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def lenient(cls, value: Any) -> Any:
        """Accept a user where a list is expected, under `users` or `user`."""
        return as_list(value, "users", "user")


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
