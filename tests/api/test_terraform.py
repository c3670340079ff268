"""Terraform's OpenStack provider, unmodified: the program in tests/clients/terraform has its code live through a plan."""

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.api.test_gophercloud import credentials
from tests.contracts.engines import DIALECTS
from tests.driver_process import REPOSITORY
from tests.stack import RunningStack

GO = shutil.which("go")
STEPS = ["configuration", "instance", "attach", "database", "user", "no-user", "no-database", "detach", "no-instance",
         "no-configuration"]  # fmt: skip
SETTINGS = {"postgresql": ("work_mem", "8192")}
DYNAMIC = ("max_connections", "80")  # of MariaDB and MySQL


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program, of the modules whose digests go.sum names."""
    if GO is None:
        pytest.skip("needs Go, which compiles the provider")
    if not request.config.option.every_case:
        pytest.skip("compiling the provider takes a minute: with --every-case")
    made = tmp_path_factory.mktemp("go") / "life"
    subprocess.run([GO, "build", "-mod=readonly", "-o", str(made), "."], cwd=REPOSITORY / "tests/clients/terraform",
                   env={**os.environ, "GOTOOLCHAIN": "local"}, check=True, timeout=900)  # fmt: skip
    return made


@pytest.mark.parametrize("datastore", DIALECTS)
def test_a_plan_is_applied_changed_and_destroyed(
    stack: RunningStack, demo: httpx.Client, program: Path, datastore: str
) -> None:
    found = demo.get(f"/datastores/{datastore}").json()["datastore"]
    version = next(each["name"] for each in found["versions"] if each["id"] == found["default_version"])
    volume_type = next(stack.cloud("demo").block_storage.types()).name
    command = [program, datastore, version, *SETTINGS.get(datastore, DYNAMIC), volume_type]
    ended = subprocess.run(command, env=credentials(stack), capture_output=True, text=True, timeout=900)
    assert (ended.stderr, ended.stdout.split()) == ("", STEPS)
