"""Temporal's development server, with the settings that Coffer needs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

NAMESPACE = "coffer"
OLDEST = (1, 9)
ATTRIBUTES = ("ProjectId", "InstanceId", "InstanceName", "ClusterId", "OperationId", "Datastore", "RequestId")
SETTINGS = (
    "history.transferProcessorMaxPollRPS=2000",  # the default adds 50 ms to every step
    'history.timerProcessorMaxTimeShift="20ms"',  # the default, 1 s, is added to every pause between two tries
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "frontend.namespaceRPS.visibility=500",
    # Long polls of one namespace: one a guest, and for a moment two, when its gateway was killed. For 5,000 guests.
    "frontend.namespaceCount=12000",
    # The development server always opens the HTTP API, on a port of its choice. It asks for no login, and a form on any
    # web page could start runs through it: it answers to no host.
    "frontend.httpAllowedHosts=[]",
)

FORGETFUL = ("--sqlite-pragma", "synchronous=OFF")  # does not wait for the disk: a power cut may break the database


def binary(venv: Path) -> str:
    """The CLI: on PATH when it is new enough, else the one in an environment. Nothing is ever downloaded."""
    installed = shutil.which("temporal")
    if installed and version(installed) >= OLDEST:
        return installed
    beside = venv.parent / "temporal"
    if beside.exists():
        return str(beside)
    raise FileNotFoundError("no `temporal` (the CLI, 1.9 or later) on PATH, and no wheel of it for this machine; "
                            "docs/operators.md says how to install or build it")  # fmt: skip


def version(program: str) -> tuple[int, ...]:
    """Major and minor version that the CLI says it has."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)\.\d+", said)
    return tuple(int(each) for each in found.groups()) if found else (0, 0)


def command(program: str, database: Path, *, port: int, metrics_port: int, ui: tuple[int, int] | None) -> list[str]:
    """The command line; `ui` is the Web UI's port and the codec server's."""
    words = [program, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--metrics-port",
             str(metrics_port), "--namespace", NAMESPACE, "--db-filename", str(database), "--log-level", "error"]  # fmt: skip
    if ui is None:
        words += ["--headless"]
    else:
        words += ["--ui-port", str(ui[0]), "--ui-ip", "127.0.0.1", "--ui-disable-news-fetch",
                  "--ui-codec-endpoint", f"http://127.0.0.1:{ui[1]}"]  # fmt: skip
    for setting in SETTINGS:
        words += ["--dynamic-config-value", setting]
    for attribute in ATTRIBUTES:
        words += ["--search-attribute", f"{attribute}=Keyword"]
    return words


def default_venv() -> Path:
    """The interpreter whose environment may have the CLI."""
    return Path(sys.executable)
