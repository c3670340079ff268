"""Whatever process is away, a call is answered within ten seconds, in Trove's fault format, and a 503 is the last word."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.conftest import order, wait_for
from tests.contracts.engines import ENGINES
from tests.stack import RunningStack
from tests.whole.away import away

CALLS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/databases", None),
    ("GET", "/databases/app", None),
    ("POST", "/databases", {"databases": [{"name": "new1"}, {"name": "new2"}]}),
    ("DELETE", "/databases/app", None),
    ("GET", "/users", None),
    ("GET", "/users/amy", None),
    ("POST", "/users", {"users": [{"name": "eve", "password": "secret", "databases": [{"name": "app"}]}]}),
    ("PUT", "/users", {"users": [{"name": "amy", "password": "new"}]}),
    ("PUT", "/users/amy", {"user": {"name": "anna", "password": "new"}}),
    ("DELETE", "/users/amy", None),
    ("GET", "/users/amy/databases", None),
    ("PUT", "/users/amy/databases", {"databases": [{"name": "web"}]}),
    ("DELETE", "/users/amy/databases/app", None),
    ("GET", "/root", None),
    ("POST", "/root", {"password": "another"}),
    ("DELETE", "/root", None),
    ("PUT", "", {"instance": {"name": "renamed"}}),
)


@pytest.fixture(scope="module")
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """A client of its own."""
    with stack.api("demo") as client:
        yield client


@pytest.fixture(scope="module", params=ENGINES)
def path(request: pytest.FixtureRequest, stack: RunningStack, demo: httpx.Client) -> str:
    """An instance."""
    instance_id = order(demo, f"away-{request.param}", request.param)
    wait_for(demo, instance_id, "ACTIVE")
    return f"/instances/{instance_id}"


def furnish(demo: httpx.Client, path: str) -> None:
    """Two databases, a user and root, and nothing else."""
    for user in demo.get(f"{path}/users").json()["users"]:
        assert demo.delete(f"{path}/users/{user['name']}").status_code == 202
    for database in demo.get(f"{path}/databases").json()["databases"]:
        assert demo.delete(f"{path}/databases/{database['name']}").status_code == 202
    demo.post(f"{path}/databases", json={"databases": [{"name": "app"}, {"name": "web"}]}).raise_for_status()
    amy = {"name": "amy", "password": "secret", "databases": [{"name": "app"}]}
    demo.post(f"{path}/users", json={"users": [amy]}).raise_for_status()
    demo.post(f"{path}/root", json={"password": "mine"}).raise_for_status()


PARTS = [
    "temporal stopped",
    "temporal frozen",
    "postgresql stopped",
    "postgresql frozen",
    "workflow-worker stopped",
    "activity-worker stopped",
    "activity-worker frozen",
    "gateway stopped",
    "gateway frozen",
]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_away(stack: RunningStack, demo: httpx.Client, path: str, part: str) -> None:
    furnish(demo, path)
    before = everything(demo, path)
    with away(stack, *part.split()), ThreadPoolExecutor(len(CALLS)) as pool:
        answers = list(pool.map(lambda call: timed(demo, path, call), CALLS))
    time.sleep(3)
    for call, (answer, seconds) in zip(CALLS, answers, strict=True):
        assert seconds < 10, (call, seconds)
        if answer.status_code >= 400:
            assert answer.status_code in (404, 422, 503), (call, answer.text)
            (fault,) = answer.json().values()
            assert fault["code"] == answer.status_code
            assert fault["message"]
    if all(
        answer.status_code >= 400 for (verb, _, _), (answer, _) in zip(CALLS, answers, strict=True) if verb != "GET"
    ):
        assert everything(demo, path) == before


def timed(demo: httpx.Client, path: str, call: tuple[str, str, Any]) -> tuple[httpx.Response, float]:
    """Ask, and say how long it took."""
    verb, rest, body = call
    began = time.monotonic()
    answer = demo.request(verb, path + rest, **({"json": body} if body is not None else {}))
    return answer, time.monotonic() - began


def everything(demo: httpx.Client, path: str) -> list[Any]:
    """What the API shows, once it answers again."""
    deadline = time.monotonic() + 120
    while True:
        answers = [demo.get(path + rest) for rest in ("/databases", "/users", "/root")]
        if all(answer.status_code == 200 for answer in answers):
            return [answer.json() for answer in answers] + [demo.get(path).json()["instance"]["name"]]
        assert time.monotonic() < deadline, [answer.text for answer in answers]
        time.sleep(0.5)
