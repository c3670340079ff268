"""Databases, users and root."""

from pydantic import Field

from api.answers.base import Answer, Link, Page


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


class DatabasesPage(Page):
    """A page of databases."""

    databases: list[Named]
    databases_links: list[Link] = []


class UsersPage(Page):
    """A page of users."""

    users: list[User]
    users_links: list[Link] = []


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
