"""The file that tells the records which datastores tenants may order."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from contract.domain.datastores import DATASTORES
from deploy.settings import StackSettings


def write_catalogue(settings: StackSettings, versions: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Write it, of managers, their versions, and how each version's image is found; return its path.

    An engine's oldest version is its default: one that comes later is for those who name it.
    """
    found: dict[str, dict[str, Mapping[str, Any]]] = {manager: {} for manager in DATASTORES}
    for manager, version, image in versions:
        found[manager][version] = image
    content = [
        {"name": manager, "manager": manager,
         "versions": [{"name": each, **known[each], "default": each == min(known, key=_age)} for each in sorted(known)]}
        for manager, known in found.items() if known
    ]  # fmt: skip
    path = settings.run / "catalogue.yaml"
    path.write_text(yaml.safe_dump({"datastores": content}))
    return str(path)


def _age(version: str) -> list[tuple[bool, int, str]]:
    """10.11 is newer than 9.7; words are newer than numbers."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in version.split(".")]
