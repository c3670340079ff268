"""Writes what tenants may set of one version of an engine into the file that control plane and guests read.

An engine's list says which parameters are offered, and its bounds where the engine's own are too wide; all else comes from
the engine. See docs/adr/0039-configuration-groups.md for what is not offered.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.domain.datastores.parameters import DATA
from guest_worker.datastores.base import Datastore, EngineContext

Offer = Mapping[str, Any]  # members of a Parameter that count for more than what the engine says


def offered(text: str, **bounded: Offer) -> dict[str, Offer]:
    """Names as they are, and names with bounds of ours."""
    return {name: {} for name in text.split()} | bounded


def at_most(maximum: float, **more: Any) -> Offer:
    """A lower maximum than the engine's."""
    return {"maximum": maximum, **more}


def between(minimum: float, maximum: float, **more: Any) -> Offer:
    """Narrower bounds than the engine's."""
    return {"minimum": minimum, "maximum": maximum, **more}


@dataclass(frozen=True)
class Engine:
    """Whom to ask, and what. With `silent` nobody else reaches it; so many parts of its version name the file.

    `gone`: offers that newer series lack.
    """

    kind: type[Datastore]
    offers: Mapping[str, Offer]
    ask: Callable[[Any, Iterable[str]], list[dict[str, Any]]]
    silent: Mapping[str, str]
    parts: int = 2
    gone: frozenset[str] = frozenset()


def write(engine: Engine, prefix: str = "") -> None:
    """Start a new database of the version that is installed, and write what it says."""
    version, found = _asked(engine, prefix)
    missing = sorted(set(engine.offers) - {each["name"] for each in found} - engine.gone)
    if missing:
        raise SystemExit(f"{engine.kind.manager} {version} has no {', '.join(missing)}")
    told = [{**each, **engine.offers[each["name"]]} for each in sorted(found, key=lambda each: str(each["name"]))]
    lines = ",\n".join(
        json.dumps({key: value for key, value in each.items() if value or (value == 0 and value is not False)})
        for each in told
    )
    series = ".".join(version.split(".")[: engine.parts])
    path = DATA / f"parameters-{engine.kind.manager}-{series}.json"
    path.write_text(f'{{"version": {json.dumps(version)}, "parameters": [\n{lines}\n]}}\n')


def _asked(engine: Engine, prefix: str) -> tuple[str, list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory(prefix="coffer-parameters-") as folder:
        data = Path(folder) / "data"
        data.mkdir(mode=0o700)
        context = EngineContext(data, Path(folder) / "state", bind_address="127.0.0.1", prefix=prefix)
        running: Any = engine.kind(context)
        running.initialise()
        running.configure(256, engine.silent)
        running.start()
        try:
            return running.version(), engine.ask(running.session, engine.offers)
        finally:
            running.stop()
