"""Which of our files an image carries: those that its guest imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

from guest_worker.datastores import managers

HERE = Path(__file__).resolve().parents[2]
PACKAGES = ("guest_worker", "contract")


def sources(engine: str) -> list[Path]:
    """What a guest runs: its own package, without what builds images and other engines' folders; and what that imports.

    The data beside a file belongs to it.
    """
    found: dict[Path, None] = {}
    others = [HERE / "guest_worker/datastores" / each for each in managers() if each != engine]
    others.append(HERE / "guest_worker/image")
    ahead = [
        path
        for path in sorted((HERE / "guest_worker").rglob("*.py"))
        if not any(path.is_relative_to(each) for each in others)
    ]
    while ahead:
        path = ahead.pop()
        if path not in found:
            found |= dict.fromkeys([path, *path.parent.glob("data/*.json")])
            ahead += imports(path)
    return sorted(found)


def imports(path: Path) -> Iterator[Path]:
    """The files of our packages that a file imports, and the packages that they are in."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in PACKAGES:
                place = HERE.joinpath(*name.split("."))
                parents = (each / "__init__.py" for each in (place, *place.parents) if each.is_relative_to(HERE))
                yield from (each for each in (place.with_suffix(".py"), *parents) if each.is_file())
