"""The shape of an engine's facts."""

from collections.abc import Callable

from pydantic import Field

from workflows.domain.accounts import NewDatabase
from workflows.domain.fact import Fact


class Datastore(Fact):
    """An engine as the control plane sees it.

    The checks raise ValueError with a sentence that names the field's value and what is wrong with it; they are pure, and
    the guest applies them once more.
    """

    manager: str
    port: int
    accounts: bool = True
    schemas: bool = True
    root: bool = True
    hosts: bool = False  # whether users have hosts; without, a host is always `%`
    root_name: str = "root"
    reserved_users: frozenset[str] = frozenset()
    reserved_databases: frozenset[str] = frozenset()
    check_database: Callable[[NewDatabase], None] = Field(repr=False)
    check_user: Callable[[str, str], None] = Field(repr=False)  # name, host
    check_password: Callable[[str], None] = Field(repr=False)
