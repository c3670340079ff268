"""The data directory that an image carries: every new instance copies it, so it holds nothing that is an instance's own."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from guest_worker.datastores import open_datastore, recipe_of
from guest_worker.image.__main__ import make_template
from tests.contracts.conftest import Case
from tests.contracts.engines import DIALECTS, ENGINES, engine_context, prefix_of
from tests.driver_process import DriverProcess, open_folder
from tests.machine import kill_below, loopback

COPIED = [each for each in ENGINES if recipe_of(str(each.values[0])).install]


@pytest.fixture(scope="module", params=COPIED)
def template(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """An engine and the directory that its image would carry, which nobody but root can write."""
    folder = Path(tempfile.mkdtemp(prefix="coffer-template-"))
    folder.chmod(0o755)
    try:
        assert make_template(request.param, str(prefix_of(request.param)).lstrip("."), folder / "template")
        for path in (folder / "template", *(folder / "template").rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield request.param, folder / "template"
    finally:
        shutil.rmtree(folder)


def engine(manager: str, folder: Path, template: Path | None) -> Case:
    """A new one that runs."""
    folder.mkdir(mode=0o755)
    data, state, address = open_folder(folder / "data"), open_folder(folder / "state"), loopback()
    context = replace(engine_context(manager, data, state, address), template=template)
    driver = DriverProcess(open_datastore, manager, context)
    driver.initialise()
    driver.configure(512, DIALECTS[manager].forgetful)
    driver.start()
    return Case(driver, DIALECTS[manager], folder, address)


def accounts(case: Case) -> set[tuple[object, ...]]:
    """All that the engine has, ours among them."""
    with case.administer("mysql") as administrator:
        return set(case.ask(administrator, "SELECT User, Host FROM mysql.user"))


def test_an_engine_from_the_template_is_as_one_made_from_nothing(template: tuple[str, Path]) -> None:
    manager, folder = template
    with tempfile.TemporaryDirectory(prefix=f"coffer-{manager}-") as work:
        Path(work).chmod(0o755)
        cases = [
            engine(manager, Path(work) / name, said)
            for name, said in (("copy", folder), ("another", folder), ("own", None))
        ]
        try:
            copy, another, own = cases
            assert copy.secret != another.secret
            assert accounts(copy) == accounts(another) == accounts(own)
            assert copy.engine.accounts.list_databases() == own.engine.accounts.list_databases() == ()
            assert copy.engine.accounts.list_users() == own.engine.accounts.list_users() == ()
            data = Path(work) / "copy/data" / manager
            assert data.stat().st_mode & 0o077 == 0
        finally:
            for case in cases:
                kill_below(case.folder)
                case.engine.end()


def test_the_template_knows_no_administrator(template: tuple[str, Path]) -> None:
    files = [path for path in template[1].rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"os_admin" in path.read_bytes()]
