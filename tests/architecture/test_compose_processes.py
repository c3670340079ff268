"""Our services of docker-compose.yml as plain processes: the image's files, and each one's command, environment and secrets."""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from contract.keys.keyring import MasterKeyring
from tests.architecture.test_compose import (
    EXAMPLE,
    OURS,
    ROOT,
    filled_in,
    lay_out_image,
    make_databases,
    make_secrets,
    postgresql,
)
from tests.temporal import free_port, temporal_server

ONCE = ("namespace", "records")
SERVE = tuple(each for each in OURS if each not in ONCE)
NOBODY = f"http://127.0.0.1:{free_port()}/v3"  # of Keystone: it is not part of the file
COMPOSE: dict[str, Any] = yaml.safe_load(
    filled_in((ROOT / "docker-compose.yml").read_text(), {**EXAMPLE, "COFFER_KEYSTONE_URL": NOBODY})
)
PORTS = {"8779": free_port(), "7236": free_port(), "8234": free_port()}  # where each of ours listens: published there
SECONDS = 60.0


@dataclass(frozen=True)
class Host:
    """What stands in for the containers' host: a folder, and where PostgreSQL and Temporal are."""

    folder: Path
    temporal: str
    postgresql: str

    def here(self, text: str, name: str) -> str:
        """What a service is told, with this machine's addresses and paths."""
        text = text.replace("temporal:7233", self.temporal).replace("@postgresql:5432", f"@{self.postgresql}")
        text = text.replace("/run/secrets/", f"{self.folder}/{name}/")
        return re.sub(r"\b(8779|7236|8234)\b", lambda found: str(PORTS[found[0]]), text)

    def environment(self, name: str) -> dict[str, str]:
        """What a container has: the service's variables, and the image's."""
        given = COMPOSE["services"][name]["environment"]
        told = {key: self.here(str(value), name) for key, value in given.items() if key != "COFFER_GUEST_GATEWAY"}
        image = {"PYTHONPATH": str(self.folder / "image"), "PYTHONDONTWRITEBYTECODE": "1"}
        dialled = {key: given[key] for key in ("COFFER_GUEST_GATEWAY",) if key in given}  # by guests, not here
        return {**image, **told, **dialled, "PATH": str(Path(sys.executable).parent)}

    def mount_secrets(self, name: str, secrets: Path) -> None:
        """Those of the service alone, under their names."""
        (self.folder / name).mkdir()
        for each in COMPOSE["services"][name].get("secrets", []):
            file = COMPOSE["secrets"][each]["file"].removeprefix("./deploy/compose/secrets/")
            shutil.copy(secrets / file, self.folder / name / each)

    def start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """A process of the service; its output is in the folder."""
        words = [self.here(each, name) for each in command]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(words, cwd=self.folder / "image", env=self.environment(name), stdout=log, stderr=log,
                                    executable=sys.executable if words[0] == "python" else None)  # fmt: skip

    def log(self, name: str) -> str:
        """What the service has said."""
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Everything that stands around our processes, and what runs once before them."""
    with tempfile.TemporaryDirectory(prefix="coffer-compose-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        make_secrets(folder / "secrets", "192.0.2.10")
        (folder / "secrets/clouds.yaml").write_text(
            yaml.safe_dump({"clouds": {"coffer": {"auth": {"auth_url": NOBODY}}}})
        )
        (folder / "image").mkdir()
        lay_out_image(folder / "image")
        keyring = MasterKeyring.read(folder / "secrets/master-key")
        with postgresql(folder) as port, temporal_server(folder, keyring) as temporal:
            make_databases(port, folder / "secrets")
            there = Host(folder, temporal.address, f"127.0.0.1:{port}")
            for name in OURS:
                there.mount_secrets(name, folder / "secrets")
            yield there


@contextmanager
def running(host: Host, *names: str) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Services; ended afterwards."""
    there = {name: host.start(name, COMPOSE["services"][name]["command"]) for name in names}
    try:
        yield there
    finally:
        for each in there.values():
            each.kill()
            each.wait()


def until(host: Host, processes: dict[str, subprocess.Popen[bytes]], true: Any) -> None:
    """Wait for something that all of these processes are needed for."""
    deadline = time.monotonic() + SECONDS
    while not true():
        ended = [name for name, each in processes.items() if each.poll() is not None]
        assert not ended, host.log(ended[0])
        assert time.monotonic() < deadline, {name: host.log(name)[-1000:] for name in processes}
        time.sleep(0.3)


def health() -> dict[str, str]:
    """What the API says of each part."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{PORTS['8779']}/healthcheck", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return {}
    found: dict[str, str] = answer.json()
    return found


def test_every_service_starts_works_and_ends_when_it_is_told(host: Host) -> None:
    for name in ONCE:
        assert host.start(name, COMPOSE["services"][name]["command"]).wait(SECONDS) == 0, host.log(name)
    with running(host, *SERVE) as processes:
        parts = ("records", "temporal", "workflow_worker", "activity_worker")
        until(host, processes, lambda: [health().get(each) for each in parts] == ["ok"] * 4)
        for name in SERVE:
            check = COMPOSE["services"][name].get("healthcheck", {}).get("test")
            if check:
                assert check[0] == "CMD"
                until(host, processes, lambda name=name, check=check: host.start(name, check[1:]).wait(SECONDS) == 0)
        for each in processes.values():
            each.send_signal(signal.SIGTERM)
        patience = float(COMPOSE["services"]["api"]["stop_grace_period"].removesuffix("s"))
        ends = {name: each.wait(patience) for name, each in processes.items()}
    assert ends == dict.fromkeys(SERVE, 0)
