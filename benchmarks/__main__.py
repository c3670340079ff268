"""`python -m benchmarks`: measure the stack that runs, print a table. What was made for it is deleted afterwards."""

import http.client
import signal
import sys

import httpx
import psycopg

from benchmarks import creation, interruptions, memory, requests
from benchmarks.client import Client, Unexpected, log_in
from benchmarks.engines import ENGINES
from benchmarks.instances import Instances
from benchmarks.records import many_instances
from benchmarks.report import Row, machine, say, table
from deploy.settings import StackSettings
from deploy.supervisor import Supervisor

MANY = 1000


def measure(settings: StackSettings) -> tuple[list[Row], str]:
    """All rows, and the steps of the creations."""
    token = log_in(settings)
    client = Client(settings, token)
    with Instances(client) as instances:
        found = creation.measure(settings, instances, say)
        rows = creation.rows(settings, found)
        for datastore in ENGINES:
            say(f"guest calls, {datastore}")
            rows += requests.guest_calls(client, datastore, found.kept(datastore))
        say("renames and restarts")
        rows += requests.renames(client, found.kept("mariadb"))
        rows += requests.restarts(client, instances, found.kept("postgresql"))
        say("interruptions of a client that writes")
        admin = log_in(settings, "admin")
        rows += interruptions.Asking(client, Client(settings, admin), admin, instances).measure()
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
