"""gophercloud, unmodified: the program in tests/clients/gophercloud lives through an instance."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.secrets import password
from tests.contracts.engines import DIALECTS
from tests.driver_process import REPOSITORY
from tests.stack import RunningStack

GO = shutil.which("go")
pytestmark = pytest.mark.skipif(GO is None, reason="needs Go, which compiles gophercloud")
STEPS = ["datastores", "flavors", "create", "active", "list", "databases", "users", "root", "restart", "resize", "resized",
         "delete"]  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program, of the modules whose digests go.sum names."""
    made = tmp_path_factory.mktemp("go") / "life"
    subprocess.run([str(GO), "build", "-mod=readonly", "-o", str(made), "."], cwd=REPOSITORY / "tests/clients/gophercloud",
                   env={**os.environ, "GOTOOLCHAIN": "local"}, check=True, timeout=300)  # fmt: skip
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
def test_gophercloud_lives_through_an_instance(stack: RunningStack, program: Path, datastore: str) -> None:
    ended = subprocess.run([program, datastore], env=credentials(stack), capture_output=True, text=True, timeout=600)
    assert (ended.stderr, ended.stdout.split()) == ("", STEPS)
