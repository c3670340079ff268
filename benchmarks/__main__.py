"""`python -m benchmarks`: measure the stack that runs, print a table. What was made for it is deleted afterwards."""

import http.client
import os
import platform
import signal
import sys
import time
from pathlib import Path

import httpx
import psycopg

from benchmarks import creation, memory, requests
from benchmarks.client import Client, Unexpected, log_in
from benchmarks.instances import Instances
from benchmarks.records import many_instances
from benchmarks.report import Row, table
from deploy.settings import StackSettings
from deploy.supervisor import Supervisor

MANY = 1000


def say(text: str) -> None:
    """Progress, which is no result."""
    print(f"… {text}", file=sys.stderr, flush=True)


def machine() -> str:
    """What it was measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = model[0].partition(":")[2].strip() if model else platform.machine()
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    return f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores ({processor}), load before: {load}"


def measure(settings: StackSettings) -> tuple[list[Row], str]:
    """All rows, and the steps of the creations."""
    token = log_in(settings)
    client = Client(settings, token)
    with Instances(client) as instances:
        found = creation.measure(settings, instances, say)
        rows = creation.rows(settings, found)
        for datastore in creation.ENGINES:
            say(f"guest calls, {datastore}")
            rows += requests.guest_calls(client, datastore, found.kept(datastore))
        say("renames and restarts")
        rows += requests.renames(client, found.kept("mariadb"))
        rows += requests.restarts(client, instances, found.kept("postgresql"))
        say(f"lists and shows among {MANY} instances")
        with many_instances(settings, token.project_id, found.kept("mariadb"), MANY) as ids:
            rows += requests.reads(settings, token, client, ids)
        say("memory, then deleting what was made")
        rows += memory.measure(settings)
    return rows, creation.steps(settings, found)


def main() -> int:
    """Measure and print; 0 when it could be measured, whatever came out."""
    settings = StackSettings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is deleted then, too
    if Supervisor(settings).pid() is None:
        print("the stack is down: `make up` starts it", file=sys.stderr)
        return 1
    where = machine()
    try:
        rows, steps = measure(settings)
    except (Unexpected, httpx.HTTPError, http.client.HTTPException, psycopg.Error, OSError) as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    print(f"{where}\n\n{table(rows)}\n\n{steps}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
