"""Everything that is offered is taken by the real engine, at both of its bounds, and nothing of it keeps it from starting."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

import pytest

from contract.domain.datastores.parameters import Parameter, Parameters, parameters_of, setting_of
from tests.contracts.conftest import Case
from tests.contracts.postgresql import UNTOUCHED

MEMORY = 1024  # MiB, as the fixture configures it
PINNED = {each.partition("=")[0] for each in UNTOUCHED}
SMALL = str(256 * 2**20)


def offered(case: Case) -> Parameters:
    """The parameters of the engine under test."""
    return parameters_of(case.dialect.manager, case.engine.version())


def extremes(parameter: Parameter) -> Iterator[str]:
    """Both bounds, or every word that it may be; of what takes memory less than there is."""
    if parameter.type == "boolean":
        yield from ("on", "off")
    elif parameter.type == "string":
        yield from parameter.choices[:40]
    else:
        for bound in (parameter.minimum or 0, parameter.maximum):
            yield small(parameter) if parameter.memory else setting_of(bound)  # type: ignore[arg-type]


def small(parameter: Parameter) -> str:
    """256 MiB, in whole chunks of the engine's."""
    return SMALL if parameter.unit is None else "256MB"


def values_of(case: Case, names: Iterable[str]) -> dict[str, str]:
    """What new sessions have."""
    statement = "SELECT @@GLOBAL.{}"
    if case.dialect.manager == "postgresql":
        statement = "SELECT setting FROM pg_settings WHERE lower(name) = '{}'"
    with closing(case.administer()) as connection:
        return {name: str(case.ask(connection, statement.format(name))[0][0]) for name in names}


def differing(case: Case, settings: Mapping[str, str]) -> list[str]:
    """Of which parameters the engine says something else than was set; of those that our own session does not pin."""
    found = values_of(case, settings)
    return [f"{name} = {wanted}: it says {found[name]}" for name, wanted in settings.items()
            if not (same(found[name], wanted) or name.startswith("tcp_") or name in PINNED)]  # fmt: skip


def same(found: str, wanted: str) -> bool:
    """Whether the engine says what was set: numbers may be rounded to a block, and some words stand for others."""
    text = {"1": "on", "0": "off", "pglz": "on"}.get(found, found) if wanted in ("on", "off") else found
    try:
        number, meant = float(text), float(wanted)
    except ValueError:
        return wanted.lower() in text.lower().split(",") or (wanted, found) == ("256MB", "32768")
    return abs(number - meant) <= max(65_536, abs(meant) / 100)


@pytest.mark.parametrize("turn", range(4))
def test_every_bound_is_taken_while_the_engine_runs(case: Case, turn: int) -> None:
    live = {name: taken(each, turn) for name, each in offered(case).items() if not each.restart}
    before = values_of(case, live)
    case.engine.configure(MEMORY, live)
    case.engine.change_live({}, live, MEMORY)
    wrong = differing(case, live)
    assert case.engine.answers()
    case.engine.configure(MEMORY, {})
    case.engine.change_live(live, {}, MEMORY)
    assert wrong == []
    assert values_of(case, live) == before


def test_the_engine_starts_with_all_of_them_at_the_lower_bound(case: Case) -> None:
    settings = {name: taken(each, 0) for name, each in offered(case).items()}
    restart(case, settings)
    wrong = differing(case, settings)
    restart(case, {})
    assert wrong == []


def test_the_engine_starts_with_each_at_the_upper_bound(case: Case) -> None:
    """What can change while it runs all together; what takes room at the start, each by itself."""
    found = offered(case).values()
    together = {each.name: taken(each, 1) for each in found if not each.restart}
    wrong = []
    for alone in ({}, *({each.name: taken(each, 1)} for each in found if each.restart)):
        restart(case, {**together, **alone})
        wrong += differing(case, alone or together)
    restart(case, {})
    assert wrong == []


def taken(parameter: Parameter, turn: int) -> str:
    """A bound, or one of the words, spread over the turns."""
    found = list(extremes(parameter))
    return found[(turn * max(1, len(found) // 4) if len(found) > 4 else turn) % len(found)]


def restart(case: Case, settings: Mapping[str, str]) -> None:
    """Stop and start with these settings."""
    case.engine.stop()
    case.engine.configure(MEMORY, settings)
    case.engine.start()
    assert case.engine.answers()
