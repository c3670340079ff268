"""What tenants may set of a datastore version: the engine's list, and what administrators have taken from it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.datastores.parameters import Parameter, Parameters, parameters_of
from contract.domain.errors import BadRequest
from contract.ports.configurations import ParameterRule
from records.tables import configuration_parameters, datastore_versions

_p, _v = configuration_parameters.c, datastore_versions.c


def rules_of(version_id: UUID) -> Select[Any]:
    """What administrators have changed for a version."""
    columns = (_p.name, _p.hidden, _p.minimum, _p.maximum)
    return select(*columns).where(_p.datastore_version_id == version_id)


def narrowed(parameters: Parameters, rules: Iterable[Any]) -> Parameters:
    """The engine's list as administrators have it."""
    found = dict(parameters)
    for rule in rules:
        if rule.hidden:
            found.pop(rule.name, None)
        elif rule.name in found:
            known = found[rule.name]
            found[rule.name] = replace(
                known,
                minimum=_number(known, rule.minimum, known.minimum),
                maximum=_number(known, rule.maximum, known.maximum),
            )
    return found


def _number(known: Parameter, rule: Any, otherwise: float | None) -> float | None:
    if rule is None:
        return otherwise
    return float(rule) if known.type == "float" else int(rule)


async def offered(conn: AsyncConnection, version_id: UUID, manager: str, number: str) -> Parameters:
    """What tenants may set of a version."""
    rules = (await conn.execute(rules_of(version_id))).all()
    return narrowed(parameters_of(manager, number), rules)


async def rule(conn: AsyncConnection, wanted: ParameterRule) -> None:
    """Offer a parameter within bounds, or not at all; BadRequest for more than the engine's list allows."""
    version = (
        await conn.execute(select(_v.manager, _v.number).where(_v.id == wanted.datastore_version_id))
    ).one_or_none()
    known = parameters_of(version.manager, version.number).get(wanted.name) if version else None
    if known is None:
        raise BadRequest(f"The parameter {wanted.name[:255]} is not one that guests of this datastore version take.")
    lowest, highest = wanted.minimum, wanted.maximum
    for bound in (lowest, highest):
        if bound is not None and (known.type in ("boolean", "string") or known.problem(bound) is not None):
            raise BadRequest(
                f"min_size and max_size of {known.name} must lie within {known.minimum} and {known.maximum}."
            )
    if lowest is not None and highest is not None and lowest > highest:
        raise BadRequest("max_size must not be less than min_size.")
    values = {"hidden": wanted.hidden, "minimum": lowest, "maximum": highest}
    key = {"datastore_version_id": wanted.datastore_version_id, "name": wanted.name}
    statement = upsert(configuration_parameters).values(**key, **values)
    await conn.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
