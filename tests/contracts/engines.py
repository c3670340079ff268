"""The engines that the suites are asked of, each with its dialect in the module of its name.

One that is not on this machine, and cannot be had by the distribution's packages, is skipped. With `TEST_NEWER_SERIES` in
the environment (`make test-newer`) engines that have a newer series are of that.
"""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from deploy import setup
from guest_worker.datastores import managers, open_datastore, recipe_of
from guest_worker.datastores.base import WHOLE, EngineContext
from tests.contracts.tables import Dialect
from tests.driver_process import DriverProcess, open_folder

NEWER = "TEST_NEWER_SERIES"


def prefix_of(manager: str) -> Path | None:
    """Where an engine's programs are: an empty path stands for the system's folders, None for nowhere."""
    recipe = recipe_of(manager)
    store = recipe.newer[0] if recipe.newer and NEWER in os.environ else recipe.store
    return store.prefix(setup.open_home() / "images") if store else Path()


def engine_context(manager: str, data: Path, state: Path, address: str = "*") -> EngineContext:
    """Where an engine under test lives."""
    prefix = prefix_of(manager)
    return EngineContext(data, state, bind_address=address, prefix=str(prefix) if prefix and prefix.name else "")


@cache
def _template(manager: str) -> Path:
    """An engine's first data directory and secret, made once in this process."""
    folder = Path(tempfile.mkdtemp(prefix=f"coffer-template-{manager}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    data, state = map(open_folder, _parts(folder))
    engine = DriverProcess(open_datastore, manager, engine_context(manager, data, state))
    engine.initialise()
    engine.end()
    return folder


def _parts(folder: Path) -> tuple[Path, Path]:
    return folder / "data", folder / "state"


def new_engine(manager: str, folder: Path, address: str) -> DriverProcess:
    """An engine in `folder`, started on a copy of a data directory that was made before; it waits for no disk."""
    copy_template(manager, folder)
    engine = DriverProcess(open_datastore, manager, engine_context(manager, folder / "data", folder / "state", address))
    engine.initialise()  # finds what it needs
    engine.configure(1024, DIALECTS[manager].forgetful)
    engine.start()
    return engine


def copy_template(manager: str, folder: Path) -> None:
    """Lay out the folders `data` and `state` as the engine's initialisation leaves them."""
    copy_quickly(_parts(_template(manager)), folder)


def copy_whole_template(manager: str, folder: Path) -> None:
    """With all room that its files take: on a full volume an engine still writes to what it has."""
    subprocess.run(["cp", "-a", *WHOLE, *map(str, _parts(_template(manager))), str(folder)], check=True)


def copy_quickly(sources: Sequence[Path], folder: Path) -> None:
    """Copy folders with their owners into another; what is empty of their files takes no room."""
    subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", *map(str, sources), str(folder)], check=True)


MISSING = [each for each in managers() if prefix_of(each) is None]
DIALECTS: dict[str, Dialect] = {
    each: import_module(f"tests.contracts.{each}").DIALECT for each in managers() if each not in MISSING
}
# For tests that take an engine as parameter.
ENGINES = [
    pytest.param(each, marks=pytest.mark.skipif(each in MISSING, reason=f"{each} is not on this machine"))
    for each in managers()
]


def each(table: str) -> pytest.MarkDecorator:
    """Parametrise a test with every entry of one table (`things`, `traps`, `holds`) of every engine."""
    found = [
        pytest.param(manager, entry, id=f"{manager}-{entry.name.replace(' ', '_')}")
        for manager, dialect in DIALECTS.items()
        for entry in getattr(dialect, table)
    ]
    return pytest.mark.parametrize(("case", table.removesuffix("s")), found, indirect=["case"])
