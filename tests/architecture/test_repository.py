"""What holds for the files themselves."""

import re
import subprocess
from pathlib import Path

import yaml

from contract.domain.datastores import DATASTORES
from guest_worker.datastores import managers
from guest_worker.datastores.recipe import requirements_of

ROOT = Path(__file__).parents[2]


def files(*patterns: str) -> list[Path]:
    """What git has, or would have next."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns], cwd=ROOT,
                            capture_output=True, text=True)  # fmt: skip
    if listed.returncode != 0:  # an export without git
        return [path for pattern in patterns or ("**/*",) for path in ROOT.glob(pattern) if path.is_file()]
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_the_embedded_cloud_knows_nothing_of_coffer() -> None:
    for path in (ROOT / "localcloud").rglob("*"):
        if path.suffix in (".py", ".md", ".yaml"):
            assert "coffer" not in path.read_text().lower(), path


def test_requirements_are_locked_with_hashes_and_name_no_index() -> None:
    for path in (*(ROOT / "requirements").glob("*.txt"), *map(requirements_of, managers())):
        text = path.read_text()
        assert "://" not in text, path
        assert "--index" not in text, path
        packages = re.findall(r"^[a-z0-9][\w.-]*(?:\[[^\]]*\])?==", text, re.M | re.I)
        assert packages
        assert len(re.findall(r"--hash=sha256:", text)) >= len(packages)
    assert not (ROOT / "uv.lock").exists()


def test_no_private_key_and_no_path_of_a_machine_is_committed() -> None:
    marks = re.compile(r"BEGIN (?:[A-Z]+ )?PRIVATE KEY|(?:^|[\s\"'=(])/(?:root|home)/\w", re.M)
    for path in files():
        if path.suffix in (".png", ".json") or path == Path(__file__):
            continue
        found = marks.search(path.read_text(errors="replace"))
        assert found is None, f"{path}: {found}"


def test_the_example_of_a_catalogue_names_engines_that_there_are() -> None:
    listed = yaml.safe_load((ROOT / "deploy/catalogue.yaml").read_text())["datastores"]
    assert {each["manager"] for each in listed} == set(DATASTORES)


def text_of_client(manager: str) -> str:
    """What is wanted of an engine's client library."""
    return requirements_of(manager).with_suffix(".in").read_text()


def test_a_guest_loads_its_own_engine_s_driver_alone() -> None:
    import sys

    clients = {each: set(re.findall(r"^(\w+)", text_of_client(each), re.M)) for each in managers()}
    for manager, own in clients.items():
        others = set().union(*clients.values()) - own
        code = (
            "import sys; from pathlib import Path; import guest_worker.worker; "
            "from guest_worker.datastores import open_datastore; from guest_worker.datastores.base import EngineContext; "
            f"open_datastore({manager!r}, EngineContext(Path('/tmp'), Path('/tmp/state-of-a-test'))); "
            f"assert not {others | {'openstack', 'sqlalchemy', 'fastapi'}!r} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
