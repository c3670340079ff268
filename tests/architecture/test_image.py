"""A guest's image holds what its guest runs, and nothing else: an edit elsewhere makes no new image."""

import subprocess
import sys
from pathlib import Path

import pytest

from guest_worker.datastores import managers
from guest_worker.image.sources import HERE, sources


@pytest.mark.parametrize("engine", managers())
def test_an_image_holds_no_runbook_and_no_port_of_others(engine: str) -> None:
    files = {str(path.relative_to(HERE)) for path in sources(engine)}
    assert {
        "guest_worker/__main__.py",
        f"guest_worker/datastores/{engine}/driver.py",
        "contract/ports/guest.py",
        "contract/domain/datastores/data/postgresql-15.json",
    } <= files
    assert {each.split("/")[0] for each in files} == {"guest_worker", "contract"}
    assert not files & {f"contract/ports/{each}.py" for each in ("cloud", "records", "identities")}


def test_an_image_holds_no_driver_of_another_engine() -> None:
    files = {str(path.relative_to(HERE)) for path in sources("postgresql")}
    assert not [each for each in files if each.startswith(("guest_worker/datastores/mariadb/", "guest_worker/image/"))]


@pytest.mark.parametrize("engine", managers())
def test_each_module_of_a_guest_can_be_imported_from_the_image_alone(engine: str, tmp_path: Path) -> None:
    for path in sources(engine):
        copy = tmp_path / path.relative_to(HERE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    modules = [
        str(path.relative_to(HERE).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for path in sources(engine)
        if path.suffix == ".py" and path.name != "__main__.py"
    ]
    words = (
        f"import importlib\nfor each in {modules!r}: importlib.import_module(each)\nimport sys\nsys.stdout.flush()\n"
    )
    words += "import os\nos._exit(0)"
    subprocess.run([sys.executable, "-P", "-c", words], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True)
