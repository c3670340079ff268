"""Clients that Go compiles, unmodified: the programs in tests/clients have gophercloud and Terraform's provider live through
an instance.
"""

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from deploy.secrets import password
from tests.contracts.engines import DIALECTS
from tests.driver_process import REPOSITORY
from tests.stack import RunningStack

GO = shutil.which("go")
pytestmark = pytest.mark.skipif(GO is None, reason="needs Go, which compiles the clients")
STEPS = ["datastores", "flavors", "create", "active", "list", "databases", "users", "root", "restart", "resize", "resized",
         "delete"]  # fmt: skip
OF_A_PLAN = ["configuration", "instance", "attach", "database", "user", "no-user", "no-database", "detach", "no-instance",
             "no-configuration"]  # fmt: skip
SETTINGS = {"postgresql": ("work_mem", "8192")}
DYNAMIC = ("max_connections", "80")  # of MariaDB and MySQL


@pytest.fixture(scope="module")
def gophercloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    return compiled("gophercloud", tmp_path_factory.mktemp("go") / "life")


@pytest.fixture(scope="module")
def terraform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    if not request.config.option.every_case:
        pytest.skip("compiling the provider takes a minute: with --every-case")
    return compiled("terraform", tmp_path_factory.mktemp("go") / "life")


def compiled(program: str, made: Path) -> Path:
    """Compile it, of the modules whose digests go.sum names."""
    subprocess.run([str(GO), "build", "-mod=readonly", "-o", str(made), "."], cwd=REPOSITORY / "tests/clients" / program,
                   env={**os.environ, "GOTOOLCHAIN": "local"}, check=True, timeout=900)  # fmt: skip
    return made


def credentials(stack: RunningStack) -> dict[str, str]:
    """The environment of a plain member of project demo."""
    who = {
        "USERNAME": "demo",
        "PROJECT_NAME": "demo",
        "PASSWORD": password(stack.settings, "demo"),
        "DOMAIN_NAME": "Default",
    }
    more = {"AUTH_URL": stack.settings.keystone_url, "REGION_NAME": "RegionOne"}
    return {f"OS_{name}": value for name, value in {**who, **more}.items()}


@pytest.mark.parametrize("datastore", DIALECTS)
def test_gophercloud_lives_through_an_instance(stack: RunningStack, gophercloud: Path, datastore: str) -> None:
    ended = subprocess.run(
        [gophercloud, datastore], env=credentials(stack), capture_output=True, text=True, timeout=600
    )
    assert (ended.stderr, ended.stdout.split()) == ("", STEPS)


@pytest.mark.parametrize("datastore", DIALECTS)
def test_terraform_applies_changes_and_destroys_a_plan(
    stack: RunningStack, demo: httpx.Client, terraform: Path, datastore: str
) -> None:
    found = demo.get(f"/datastores/{datastore}").json()["datastore"]
    version = next(each["name"] for each in found["versions"] if each["id"] == found["default_version"])
    volume_type = next(stack.cloud("demo").block_storage.types()).name
    command = [terraform, datastore, version, *SETTINGS.get(datastore, DYNAMIC), volume_type]
    ended = subprocess.run(command, env=credentials(stack), capture_output=True, text=True, timeout=900)
    assert (ended.stderr, ended.stdout.split()) == ("", OF_A_PLAN)
