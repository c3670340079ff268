"""A client that is as thin as possible: it shares the machine with what it measures."""

import http.client
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import httpx

from deploy.secrets import password
from deploy.settings import StackSettings

DOMAIN = {"id": "default"}
IDLE = 1.0  # seconds after which a connection is not trusted to be open still


class Unexpected(Exception):
    """An answer that makes the measurement worthless."""


@dataclass(frozen=True)
class Token:
    """Who asks, in which project, and where OpenStack's images are."""

    text: str
    project_id: str
    images_url: str


def log_in(settings: StackSettings, name: str = "demo") -> Token:
    """A token of a user, in the project of the same name: `demo` is a plain user, `admin` an administrator."""
    user = {"name": name, "domain": DOMAIN, "password": password(settings, name)}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": name, "domain": DOMAIN}}}  # fmt: skip
    url = f"{settings.keystone_url}/auth/tokens"
    answer = httpx.post(url, json={"auth": auth}, timeout=30, trust_env=False).raise_for_status()
    token = answer.json()["token"]
    (images_url,) = (each["endpoints"][0]["url"] for each in token["catalog"] if each["type"] == "image")
    return Token(answer.headers["X-Subject-Token"], token["project"]["id"], images_url)


def find_image(token: Token, name: str) -> str:
    """The id of an image in Glance."""
    found = httpx.get(
        f"{token.images_url}/v2/images", params={"name": name}, headers={"X-Auth-Token": token.text}, trust_env=False
    )
    return str(found.raise_for_status().json()["images"][0]["id"])


@dataclass(frozen=True)
class Answer:
    """An answer, and how long it took from the first byte sent to the last byte read."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        """Its content."""
        return json.loads(self.body)


class Client:
    """One keep-alive connection to the API, below the project's URL."""

    def __init__(self, settings: StackSettings, token: Token) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", settings.api_port, timeout=60)
        self._base = f"/v1.0/{token.project_id}"
        self._headers = {"X-Auth-Token": token.text, "Content-Type": "application/json"}
        self._used = 0.0

    def ask(self, method: str, path: str, content: Any = None, *, expect: Collection[int]) -> Answer:
        """Ask once; Unexpected for a status that was not hoped for."""
        if time.monotonic() - self._used > IDLE:  # the server closes idle ones; connecting is not what is measured
            self._connection.close()
            self._connection.connect()
        body = None if content is None else json.dumps(content).encode()
        try:
            began = time.perf_counter()
            self._connection.request(method, self._base + path, body=body, headers=self._headers)
            response = self._connection.getresponse()
            answer = Answer(response.status, response.read(), time.perf_counter() - began)
        except BaseException:
            self._used = 0.0  # broken off in the middle, it is of no use any more
            raise
        self._used = time.monotonic()
        if answer.status not in expect:
            raise Unexpected(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer

    def get(self, path: str) -> Answer:
        """GET; anything but 200 is Unexpected."""
        return self.ask("GET", path, expect=(200,))

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()
