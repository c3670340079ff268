"""Random operations by several clients at once: each answer is true, and when nothing runs all that there is agrees.

A seed chooses what is asked. Which of two requests comes first is chance; so a seed leads to the same requests only as long
as the answers are the same.
"""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from guest_worker.datastores import client_of
from tests.api.conftest import PATIENCE, order, wait_for
from tests.api.test_faults import is_fault
from tests.contracts.engines import DIALECTS
from tests.sequences import invariants
from tests.sequences.asking import Maker
from tests.sequences.model import Asked, Model, password_of
from tests.stack import RunningStack

SEEDS = (2, 33, 28, 25, 5, 4)  # `make test` takes the first, which has most kinds of request
ROUNDS, CLIENTS, LONGEST_PAUSE = 6, 3, 1.0
PAIRS = tuple(pair for pair in (("mariadb", "postgresql"), ("mysql", "mariadb"), ("postgresql", "mysql"))
              if set(pair) <= set(DIALECTS))  # fmt: skip
VALUES = {
    "mariadb": ("max_connections", 61, 62),
    "mysql": ("max_connections", 61, 62),
    "postgresql": ("work_mem", 5000, 6000),
}
RUNNING = "SELECT count(*) FROM operations WHERE state = 'RUNNING'"
ENDED_BADLY = "SELECT id, kind, state, reason FROM operations WHERE state IN ('FAILED', 'INTERRUPTED') AND created > %s"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One sequence, or with --every-case all."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", SEEDS if metafunc.config.option.every_case else SEEDS[:1])


class World:
    """The stack, who asks it, and what they believe."""

    def __init__(self, stack: RunningStack, demo: httpx.Client, admin: httpx.Client) -> None:
        self.stack, self.demo, self.admin = stack, demo, admin
        self.since = stack.sql("SELECT now()")[0][0]  # other tests may have left something
        self.groups: dict[str, dict[str, int]] = {}
        self.models: list[Model] = []
        self.history: list[str] = []

    def order(self, *datastores: str) -> None:
        """One instance of each, at once."""
        self.groups |= {each: self._groups(each) for each in datastores if each not in self.groups}
        images = {each.name: each.id for each in self.stack.cloud("coffer").image.images()}
        users = [{"name": "amy", "password": password_of("amy"), "databases": [{"name": "app"}]}]
        made = {order(self.demo, "random", each, databases=[{"name": "app"}], users=users): each for each in datastores}
        for instance_id, datastore in made.items():
            found = wait_for(self.demo, instance_id, "ACTIVE")
            address, version = found["ip"][0], found["datastore"]["version"]
            image = images[f"{datastore}-{version}"]
            self.models.append(Model(instance_id, datastore, address, version, image, self.groups[datastore]))
            engine = client_of(datastore)
            with contextlib.closing(engine.connect(address, "amy", password_of("amy"), "app")) as connection:
                engine.ask(connection, "CREATE TABLE written (number int PRIMARY KEY)")

    def send(self, asked: Asked, pause: float) -> tuple[Asked, httpx.Response]:
        """Ask it after a pause."""
        time.sleep(pause)
        client = self.admin if asked.by_administrator else self.demo
        answer = client.request(asked.method, asked.path, json=asked.body)
        self.history.append(f"{asked}: {answer.status_code} {answer.text[:200]}")
        return asked, answer

    def rest(self) -> None:
        """Wait until nothing runs, and what serves is healthy."""
        deadline = time.monotonic() + PATIENCE
        while self.stack.sql(RUNNING) != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for model in self.models:
            if not model.deleted:
                wait_for(self.demo, model.id, "SHUTDOWN" if model.stopped else "ACTIVE")

    def check(self) -> None:
        """All that holds whenever nothing runs."""
        assert self.stack.sql(ENDED_BADLY, self.since) == []
        invariants.one_operation_at_a_time(self.stack, self.since)
        invariants.quota_equals_records(self.stack, self.since)
        for model in self.models:
            if model.deleted:
                invariants.nothing_is_left_of(self.stack, model)
                continue
            invariants.records_equal_model(self.stack, model)
            invariants.cloud_equals_records(self.stack, model)
            if not model.stopped:
                invariants.engine_holds_what_was_written(model, self.demo)

    def replace_deleted(self) -> None:
        """There is always one of each."""
        gone = [each for each in self.models if each.deleted]
        self.models = [each for each in self.models if not each.deleted]
        self.order(*(each.datastore for each in gone))

    def _groups(self, datastore: str) -> dict[str, int]:
        name, *values = VALUES[datastore]
        made = {}
        for value in values:
            group = {"name": f"random-{value}", "values": {name: value}, "datastore": {"type": datastore}}
            answer = self.demo.post("/configurations", json={"configuration": group})
            assert answer.status_code == 200, answer.text
            made[answer.json()["configuration"]["id"]] = value
        return made


@pytest.fixture
def world(stack: RunningStack, seed: int) -> Iterator[World]:
    """Two instances that serve; gone afterwards."""
    with stack.api("demo") as demo, stack.api("admin") as admin:
        world = World(stack, demo, admin)
        world.order(*PAIRS[SEEDS.index(seed) % len(PAIRS)])
        yield world
        for each in world.models:
            demo.delete(each.path)
            each.deleted = True
        world.rest()
        for group in (key for groups in world.groups.values() for key in groups):
            assert demo.delete(f"/configurations/{group}").status_code == 202


def test_whatever_is_asked_at_once_all_agrees_afterwards(world: World, seed: int) -> None:
    maker = Maker(seed)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for number in range(ROUNDS):
            world.history.append(f"round {number} of seed {seed}")
            try:
                one_round(world, maker, pool)
            except Exception as error:
                raise AssertionError("\n".join(world.history)) from error


def one_round(world: World, maker: Maker, pool: ThreadPoolExecutor) -> None:
    """Several requests at once; when all that they have begun is over, the invariants."""
    asked = list(maker.round(world.models, CLIENTS))
    pauses = [maker.random.uniform(0, LONGEST_PAUSE) for _ in asked]
    answers = list(pool.map(world.send, asked, pauses))
    for each in [each for each, answer in answers if succeeded(answer)]:
        each.then()
    world.rest()
    for each, answer in answers:
        require_true(world.stack, each, answer)
    world.check()
    world.replace_deleted()


def succeeded(answer: httpx.Response) -> bool:
    """Whether it is a success; else it is a fault of the API's format: 4xx, or 503."""
    if answer.is_success:
        return True
    assert answer.is_client_error or answer.status_code == 503, answer.text
    is_fault(answer, answer.status_code)
    return False


def require_true(stack: RunningStack, asked: Asked, answer: httpx.Response) -> None:
    """What was accepted has admitted its operation. What was refused has done none: one that was admitted made way."""
    statement = "SELECT state FROM operations WHERE request_id = %s"
    states = [row[0] for row in stack.sql(statement, answer.headers["x-openstack-request-id"])]
    if answer.is_success:
        assert len(states) in asked.operations, f"{asked}: {answer.text}"
    else:
        assert "DONE" not in states, f"{asked}: {answer.text}"
