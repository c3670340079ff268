"""What an order may say, whoever sends it: the API, an operator, or a program."""

import ipaddress
from collections.abc import Callable

from contract.domain.datastores.base import Datastore, Facet
from contract.domain.errors import BadRequest
from contract.domain.instance import InstanceSpec


def check_spec(spec: InstanceSpec, facts: Datastore) -> None:
    """Raise BadRequest naming the first thing that is wrong; what only OpenStack knows is not looked at."""
    if not spec.name.strip() or len(spec.name) > 255:
        raise BadRequest("name: must have 1 to 255 characters")
    for cidr in spec.access.allowed_cidrs:
        _checked("access.allowed_cidrs", ipaddress.IPv4Network, cidr, False)
    for facet, wanted in ((Facet.DATABASES, spec.databases), (Facet.USERS, spec.users)):
        if wanted and facet not in facts.facets:
            raise BadRequest(f"{facet} are not supported by {facts.manager}")
    for database in spec.databases:
        _checked("databases", facts.check_database, database)
    for user in spec.users:
        _checked("users", facts.check_user, user.name, user.host)
    _refuse_doubles(spec, facts)


def _refuse_doubles(spec: InstanceSpec, facts: Datastore) -> None:
    databases = [each.name for each in spec.databases]
    people = [(each.name, facts.canonical_host(each.host)) for each in spec.users]
    if len(set(databases)) < len(databases) or len(set(people)) < len(people):
        raise BadRequest("databases and users: a name is listed twice")
    for user in spec.users:
        for name in user.databases:
            if name not in databases:
                raise BadRequest(f"users: '{name}' of user '{user.name}' is not among the databases of the order")


def _checked(where: str, check: Callable[..., object], *values: object) -> None:
    try:
        check(*values)
    except ValueError as error:
        raise BadRequest(f"{where}: {error}") from None
