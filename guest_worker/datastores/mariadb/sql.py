"""Text of MariaDB's statements: names and values quoted, so that the client library formats nothing.

The quoting is right for the SQL mode that `session` sets.
"""

import re
from collections.abc import Iterable

from pymysql.converters import escape_string

from contract.domain.accounts import UserName

PUBLIC = "PUBLIC"  # the role that everybody has


def text(value: str) -> str:
    """A value."""
    return "'" + escape_string(value) + "'"


def name(identifier: str) -> str:
    """A name of a database, a table or a routine."""
    return "`" + identifier.replace("`", "``") + "`"


def account(user: UserName) -> str:
    """A user with its host; a role, which has no host, by its name alone."""
    if user.host:
        return f"{text(user.name)}@{text(user.host)}"
    return user.name if user.name == PUBLIC else name(user.name)


def exactly(database: str) -> str:
    """The pattern of a grant that matches this database alone."""
    return re.sub(r"([_%\\])", r"\\\1", database)


def listed(items: Iterable[str]) -> str:
    """Values for IN (…)."""
    return ", ".join(items)
