"""How fast the API answers: alone, and with many at once."""

import random
import threading
import time
from collections.abc import Callable

from benchmarks.client import Answer, Client, Token, Unexpected
from benchmarks.instances import LOOK, Instances
from benchmarks.report import (
    GUEST_CALL_MS,
    MUTATION_MS,
    READ_MS,
    READS_PER_SECOND,
    Row,
    at_least,
    at_most,
    p50,
    p95,
)
from deploy.settings import StackSettings

CALLS = 200
READS = 300
RENAMES = 50
RESTARTS = 5
PATIENCE = 100  # refused restarts
WARM = 20  # unmeasured calls before
CLIENTS = 8
SECONDS = 5.0  # of the load
PAGE = 20
Call = Callable[[Client], float]


def guest_calls(client: Client, datastore: str, instance_id: str) -> list[Row]:
    """One client asks a guest for its databases, again and again."""
    path = f"/instances/{instance_id}/databases"
    took = [client.get(path).seconds for _ in range(WARM + CALLS)][WARM:]
    what = f"guest call, {datastore}, p50 of {CALLS}"
    return [at_most(what, p50(took), GUEST_CALL_MS, "ms", f" (p95 {p95(took):.1f} ms)")]


def renames(client: Client, instance_id: str) -> list[Row]:
    """One client renames an instance, again and again."""
    took = []
    for number in range(RENAMES):
        content = {"instance": {"name": f"measured-{number}"}}
        took.append(client.ask("PUT", f"/instances/{instance_id}", content, expect=(202,)).seconds)
    return [at_most(f"rename, answer, p50 of {RENAMES}", p50(took), MUTATION_MS, "ms", f" (p95 {p95(took):.1f} ms)")]


def restarts(client: Client, instances: Instances, instance_id: str) -> list[Row]:
    """Restart and wait, a few times."""
    took, whole, refused = [], [], 0
    for _ in range(RESTARTS):
        began = time.perf_counter()
        answer = _restart(client, instance_id)
        while answer.status == 503:  # the run before has closed its operation, and has not ended yet
            refused += 1
            if refused > PATIENCE:
                raise Unexpected(f"restart: {answer.body[:300]!r}")
            time.sleep(LOOK)
            began = time.perf_counter()
            answer = _restart(client, instance_id)
        took.append(answer.seconds)
        instances.wait(instance_id)
        whole.append(time.perf_counter() - began)
        instances.wait(instance_id, healthy=True)
    more = f" ({refused} more were answered 503)" if refused else ""
    return [
        at_most(f"restart, answer, p50 of {RESTARTS}", p50(took), MUTATION_MS, "ms", more),
        Row(f"restart, until ACTIVE again, p50 of {RESTARTS}", f"{p50(whole) / 1000:.2f} s"),
    ]


def _restart(client: Client, instance_id: str) -> Answer:
    return client.ask("POST", f"/instances/{instance_id}/action", {"restart": {}}, expect=(202, 503))


def reads(settings: StackSettings, token: Token, client: Client, ids: list[str]) -> list[Row]:
    """Lists and shows among many instances: one client, then many."""
    chance = random.Random(1)

    def show(asking: Client) -> float:
        return asking.get(f"/instances/{chance.choice(ids)}").seconds

    def page(asking: Client) -> float:
        return asking.get(f"/instances?limit={PAGE}&marker={chance.choice(ids[:-PAGE])}").seconds

    _check_page(client, ids)
    rows = []
    for what, call in ((f"list, {PAGE} of {len(ids)}", page), ("show", show)):
        took = [call(client) for _ in range(WARM + READS)][WARM:]
        rows.append(at_most(f"{what}, p50 of {READS}", p50(took), READ_MS, "ms", f" (p95 {p95(took):.1f} ms)"))
        rate = throughput(settings, token, call)
        rows.append(at_least(f"{what}, {CLIENTS} clients", rate, READS_PER_SECOND, "/s"))
    return rows


def _check_page(client: Client, ids: list[str]) -> None:
    found = client.get(f"/instances?limit={PAGE}&marker={ids[0]}").json()["instances"]
    if len(found) != PAGE:
        raise Unexpected(f"a page has {len(found)} instances instead of {PAGE}")


def throughput(settings: StackSettings, token: Token, call: Call) -> float:
    """Answers a second with many clients, each with a connection of its own; any wrong answer spoils it."""
    done = [0] * CLIENTS
    wrong: list[Exception] = []
    ready = threading.Barrier(CLIENTS + 1)
    over = threading.Event()

    def work(number: int) -> None:
        client = Client(settings, token)
        try:
            call(client)
            ready.wait()
            while not over.is_set():
                call(client)
                done[number] += 1
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            wrong.append(error)
            ready.abort()
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for each in threads:
        each.start()
    try:
        ready.wait()
        began = time.perf_counter()
        over.wait(SECONDS)
        count, took = sum(done), time.perf_counter() - began
    except threading.BrokenBarrierError:
        count, took = 0, 1.0
    finally:
        over.set()
        for each in threads:
            each.join()
    if wrong:
        raise Unexpected(f"under load: {wrong[0]}") from wrong[0]
    return count / took
