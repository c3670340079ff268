"""A request that is sent again with its key makes nothing new; another request with that key is refused."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import body, wait_for, wait_until_gone
from tests.contracts.engines import ENGINES
from tests.stack import RunningStack


def create(client: httpx.Client, name: str, headers: dict[str, str], **more: Any) -> httpx.Response:
    """Order an instance."""
    return client.post("/instances", json=body(name, "mariadb", **more), headers=headers)


def gone(client: httpx.Client, instance_id: str) -> None:
    """Delete it."""
    assert client.delete(f"/instances/{instance_id}").status_code == 202
    wait_until_gone(client, instance_id)


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-OpenStack-Request-ID"])
def test_the_same_again_is_the_same_instance(demo: httpx.Client, stack: RunningStack, header: str) -> None:
    name, key = f"once-{uuid4()}", f"req-{uuid4()}"
    first = create(demo, name, {header: key})
    with ThreadPoolExecutor(4) as threads:
        others = list(threads.map(lambda _: create(demo, name, {header: key}), range(4)))
    assert {each.json()["instance"]["id"] for each in (first, *others)} == {first.json()["instance"]["id"]}
    assert {each.status_code for each in (first, *others)} == {200}
    assert stack.sql("SELECT count(*) FROM instances WHERE name = %s", name) == [(1,)]
    for other in ({"volume": {"size": 2}}, {"users": [{"name": "amy", "password": "x"}]}):
        refused = create(demo, name, {header: key}, **other)
        assert refused.status_code == 422
        assert "another request" in refused.json()["unprocessableEntity"]["message"]
    gone(demo, first.json()["instance"]["id"])
    assert "deleted" in create(demo, name, {header: key}).json()["unprocessableEntity"]["message"]


CALLS: tuple[tuple[str, str, Any, Any], ...] = (
    ("POST", "/databases", {"databases": [{"name": "again"}]}, {"databases": [{"name": "other"}]}),
    ("POST", "/users", {"users": [{"name": "amy", "password": "x"}]}, {"users": [{"name": "amy", "password": "y"}]}),
    ("PUT", "/users/amy", {"user": {"name": "anna"}}, {"user": {"name": "ann"}}),
    ("PUT", "/users/anna/databases", {"databases": [{"name": "again"}]}, {"databases": [{"name": "other"}]}),
    ("POST", "/root", None, {"password": "another"}),
    ("DELETE", "/root", None, None),
    ("DELETE", "/users/anna/databases/again", None, None),
    ("DELETE", "/users/anna", None, None),
    ("DELETE", "/databases/again", None, None),
    ("POST", "/action", {"restart": {}}, {"restart": None}),
)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_change_that_is_sent_again_is_done_once_and_has_the_same_answer(
    demo: httpx.Client, stack: RunningStack, instances: dict[str, dict[str, Any]], engine: str
) -> None:
    instance_id = instances[engine]["id"]

    def ask(method: str, path: str, content: Any, key: str) -> httpx.Response:
        more = {} if content is None else {"json": content}
        return demo.request(method, f"/instances/{instance_id}{path}", headers={"Idempotency-Key": key}, **more)

    def restarts() -> int:
        statement = "SELECT count(*) FROM operations WHERE group_id = %s AND kind = 'restart'"
        return int(stack.sql(statement, instance_id)[0][0])

    before = restarts()
    for method, path, content, other in CALLS:
        key = str(uuid4())
        first = ask(method, path, content, key)
        assert first.is_success, first.text
        if path == "/action":
            wait_for(demo, instance_id, "ACTIVE")
        with ThreadPoolExecutor(3) as threads:
            again = list(threads.map(lambda _, sent=(method, path, content, key): ask(*sent), range(3)))
        assert {(each.status_code, each.text) for each in again} == {(first.status_code, first.text)}, (method, path)
        if method == "DELETE":  # without a body, another request is one with another method or path
            method, path, other = "POST", "/databases", {"databases": [{"name": "other"}]}
        assert ask(method, path, other, key).status_code == 422
    assert restarts() == before + 1
    key = str(uuid4())
    refused = ask("DELETE", "/users/nobody", None, key)  # changed nothing: the key may be used again
    assert refused.status_code == 404
    body_of_user = {"users": [{"name": "nobody", "password": "x"}]}
    assert ask("POST", "/users", body_of_user, key).status_code == 202
    assert ask("DELETE", "/users/nobody", None, str(uuid4())).status_code == 202


def test_many_at_once_are_one(demo: httpx.Client, stack: RunningStack) -> None:
    name, key = f"at-once-{uuid4()}", str(uuid4())
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: create(demo, name, {"Idempotency-Key": key}), range(6)))
    assert {each.status_code for each in answers} == {200}
    ids = {each.json()["instance"]["id"] for each in answers}
    assert len(ids) == 1
    assert stack.sql("SELECT count(*) FROM instances WHERE name = %s", name) == [(1,)]
    gone(demo, ids.pop())


def test_a_key_is_the_projects(demo: httpx.Client, admin: httpx.Client) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    one, other = create(demo, "mine", key), create(admin, "mine", key)
    assert one.json()["instance"]["id"] != other.json()["instance"]["id"]
    gone(demo, one.json()["instance"]["id"])
    gone(admin, other.json()["instance"]["id"])


def test_without_a_key_each_is_another(demo: httpx.Client) -> None:
    ids = [create(demo, "twins", headers).json()["instance"]["id"]
           for headers in ({}, {}, {"X-OpenStack-Request-ID": "not-an-id"})]  # fmt: skip
    assert len(set(ids)) == 3
    for each in ids:
        gone(demo, each)


def test_a_refused_request_may_be_corrected(demo: httpx.Client) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    assert create(demo, "corrected", key, nics=[{"net-id": "no-such"}]).status_code == 400
    made = create(demo, "corrected", key)
    assert made.status_code == 200
    gone(demo, made.json()["instance"]["id"])


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "gr\u00fcn", "a\tb"])
def test_what_is_no_key_is_400(demo: httpx.Client, key: str) -> None:
    refused = demo.post("/instances", json=body("x", "mariadb"), headers=[(b"Idempotency-Key", key.encode())])
    assert refused.status_code == 400
    assert "Idempotency-Key" in refused.json()["badRequest"]["message"]


def test_a_quoted_key_is_the_same_as_a_plain_one(demo: httpx.Client) -> None:
    key = str(uuid4())
    plain, quoted = create(demo, "q", {"Idempotency-Key": key}), create(demo, "q", {"Idempotency-Key": f'"{key}"'})
    assert plain.json()["instance"]["id"] == quoted.json()["instance"]["id"]
    gone(demo, plain.json()["instance"]["id"])


def until_it_serves(client: httpx.Client) -> None:
    """Wait for the API that the supervisor started again."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            client.get("/instances")
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError("the API does not come back")


def test_the_api_is_killed_and_the_client_asks_again(demo: httpx.Client, stack: RunningStack) -> None:
    """The first answer is lost at some moment; whatever had begun by then, there is one instance."""
    made: list[str] = []
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4):
        name, key = f"killed-{uuid4()}", {"Idempotency-Key": str(uuid4())}
        pid = stack.stack.supervisor.states()["api"]["pid"]
        threading.Timer(delay, os.kill, (pid, signal.SIGKILL)).start()
        answer = None
        deadline = time.monotonic() + 60
        while answer is None or answer.status_code == 503:
            assert time.monotonic() < deadline
            try:
                answer = create(demo, name, key)
            except httpx.HTTPError:
                time.sleep(0.1)
        time.sleep(delay)
        until_it_serves(demo)
        assert answer.status_code == 200, answer.text
        assert stack.sql("SELECT count(*) FROM instances WHERE name = %s", name) == [(1,)]
        made.append(answer.json()["instance"]["id"])
    for each in made:  # they were built side by side
        wait_for(demo, each, "ACTIVE")
        gone(demo, each)
