"""The emulated Barbican answers as its API reference says, also to OpenStack's own client."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.localcloud.conftest import localcloud_of
from tests.stack import RunningStack

SINCE = {"OpenStack-API-Version": "key-manager 1.1"}
TEXT = {"payload": "x", "payload_content_type": "text/plain"}
CONSUMER = {"service": "database", "resource_type": "instance", "resource_id": "1"}


@pytest.fixture(scope="module")
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """Project demo."""
    with localcloud_of(stack, "demo") as client:
        yield client


def create(demo: httpx.Client, **body: Any) -> str:
    """A secret; return its URL."""
    answer = demo.post("/key-manager/v1/secrets", json=body or TEXT)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret_ref"])


def test_openstacks_client_keeps_and_reads_a_secret(stack: RunningStack) -> None:
    manager: Any = stack.cloud("demo").key_manager
    made = manager.create_secret(name="n", payload="secret", payload_content_type="text/plain")
    secret_id = made.secret_ref.rsplit("/", 1)[1]
    assert manager.get_secret(secret_id).payload == "secret"
    manager.delete_secret(secret_id)
    with httpx.Client() as nobody:
        assert nobody.get(made.secret_ref).status_code == 401


def test_a_payload_goes_to_those_who_accept_its_type(demo: httpx.Client) -> None:
    content = bytes(range(256))
    reference = create(demo, payload=base64.b64encode(content).decode(), payload_content_encoding="base64",
                       payload_content_type="application/octet-stream")  # fmt: skip
    view = demo.get(reference, headers={"Accept": "application/json"}).json()
    assert view["content_types"] == {"default": "application/octet-stream"}
    assert ("consumers" in view, "payload" in view) == (False, False)
    assert demo.get(f"{reference}/payload", headers={"Accept": "application/octet-stream"}).content == content
    assert demo.get(f"{reference}/payload", headers={"Accept": "text/plain"}).status_code == 406


def test_consumers_are_noted_once_and_removed(demo: httpx.Client) -> None:
    url = f"{create(demo)}/consumers"
    assert demo.post(url, json=CONSUMER).status_code == 404  # they came with microversion 1.1
    for _ in range(2):
        assert demo.post(url, json=CONSUMER, headers=SINCE).json()["consumers"] == [CONSUMER]
    assert demo.get(url, headers=SINCE).json()["total"] == 1
    assert demo.post(url, json={"service": "database"}, headers=SINCE).status_code == 400
    assert demo.request("DELETE", url, json=CONSUMER, headers=SINCE).json()["consumers"] == []
    assert demo.request("DELETE", url, json=CONSUMER, headers=SINCE).status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"payload": "x"}, 400),
        ({"payload": "x", "payload_content_type": "image/png"}, 400),
        ({"payload": "x", "payload_content_type": "application/octet-stream"}, 400),
        ({**TEXT, "payload": "x" * 20_001}, 413),
    ],
)
def test_what_is_no_secret_is_refused(demo: httpx.Client, body: dict[str, Any], code: int) -> None:
    answer = demo.post("/key-manager/v1/secrets", json=body)
    assert (answer.status_code, answer.json()["code"]) == (code, code)


def test_a_secret_is_its_project_s(stack: RunningStack, demo: httpx.Client) -> None:
    with localcloud_of(stack, "admin") as other:
        assert other.get(create(demo)).status_code == 403
    assert demo.get(f"/key-manager/v1/secrets/{'0' * 8}-0000-4000-8000-{'0' * 12}").status_code == 404
