"""A real gateway for tests and benchmarks: a process of its own, before a Temporal server and records of their choice."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.keys.keyring import MasterKeyring, Ring, branch_of, render
from deploy.temporal import NAMESPACE
from gateway import certificates
from gateway.__main__ import check
from gateway.settings import GatewaySettings
from tests.temporal import free_port

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class TestGateway:
    """Where it listens, and a way to end and start it."""

    __test__ = False

    settings: GatewaySettings
    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self.process is not None
        return self.process.pid

    @property
    def address(self) -> str:
        """As guests dial it."""
        return f"127.0.0.1:{self.settings.gateway_port}"

    @property
    def ca(self) -> str:
        """What guests believe it by (PEM)."""
        return self.settings.gateway_ca.read_text()

    def start(self) -> None:
        """Start it, and return when it serves."""
        self.launch()
        self._wait(lambda: check(self.settings) == 0)

    def listen(self) -> None:
        """Start it, and return when it takes connections: where many wait, a call has to wait for its turn."""
        self.launch()
        self._wait(self._accepts)

    def launch(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway"], cwd=REPOSITORY, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,  # Ctrl-C is for us alone
            )  # fmt: skip

    def _wait(self, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not there():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def _accepts(self) -> bool:
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", self.settings.gateway_port)) == 0

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """End it as its supervisor does; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextmanager
def running_gateway(
    folder: Path, keyring: MasterKeyring, *, temporal: str, records_url: str, **settings: Any
) -> Iterator[TestGateway]:
    """Run a gateway with its files in `folder`; it is gone afterwards. The password of the records is in PGPASSFILE."""
    folder.mkdir(parents=True, exist_ok=True)
    certificates.make(folder, ["127.0.0.1", "localhost"])
    keys = folder / "guests.key"
    keys.write_text(render(branch_of(_ring(keyring)), "guests"))
    said = {
        "temporal_address": temporal, "temporal_namespace": NAMESPACE, "records_url": records_url, "guest_key_file": keys,
        "gateway_port": free_port(), "gateway_cert": folder / "cert.pem", "gateway_key": folder / "key.pem",
        "gateway_ca": folder / "ca.pem", "identity_seconds": 0.5, **settings,
    }  # fmt: skip
    environment = {**os.environ, **{f"COFFER_{name.upper()}": str(value) for name, value in said.items()}}
    gateway = TestGateway(GatewaySettings(**said), environment, folder / "gateway.log")
    try:
        gateway.start()
        yield gateway
    finally:
        code = gateway.end()
    assert code == 0


def _ring(keyring: MasterKeyring) -> Ring:
    return keyring._ring()
