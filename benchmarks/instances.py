"""Instances that are ordered through the API for the measurement, and deleted afterwards."""

import contextlib
import http.client
import secrets
import time
from types import TracebackType
from typing import Any, Self

from benchmarks.client import Answer, Client, Unexpected

PATIENCE = 120.0
LOOK = 0.05  # seconds between two looks at an instance: an error of half of it


class Instances:
    """Orders and follows; whatever happens, nothing of it stays."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._run = f"measured-{secrets.token_hex(4)}"  # nobody's own instance is called so
        self._there: list[str] = []  # ids; of an order that is not answered yet, the name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for instance_id in list(self._there):
            with contextlib.suppress(Unexpected, OSError, http.client.HTTPException):
                self.delete(instance_id)
        if self._there:
            why = f" (it ended with: {error})" if error else ""
            raise Unexpected(f"could not be deleted: {', '.join(self._there)}{why}")

    def order(self, datastore: str, number: int) -> tuple[str, Answer]:
        """Order one; return its id and the answer."""
        name = f"{self._run}-{datastore}-{number}"
        self._there.append(name)
        wanted = {"name": name, "flavorRef": "1", "volume": {"size": 1}, "datastore": {"type": datastore}}
        answer = self._client.ask("POST", "/instances", {"instance": wanted}, expect=(200,))
        instance_id = str(answer.json()["instance"]["id"])
        self._there[-1] = instance_id
        return instance_id, answer

    def wait(self, instance_id: str, *, healthy: bool = False) -> None:
        """Wait until it is ACTIVE, and on demand until its watch says so, too."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found: dict[str, Any] = self._client.get(f"/instances/{instance_id}").json()["instance"]
            if found["status"] == "ACTIVE" and (not healthy or found["operating_status"] == "HEALTHY"):
                return
            if found["status"] == "ERROR" or time.monotonic() > deadline:
                raise Unexpected(f"{found['name']} is {found['status']}: {found.get('fault', {}).get('message')}")
            time.sleep(LOOK)

    def wait_for_end(self, instance_id: str) -> None:
        """Wait until the last operation on it is done, and its watch says that it serves."""
        deadline = time.monotonic() + PATIENCE
        path = f"/instances/{instance_id}/operations"
        while (last := self._client.get(path).json()["operations"][0])["state"] == "RUNNING":
            if time.monotonic() > deadline:
                raise Unexpected(f"{last['kind']} is not done after {PATIENCE:.0f} s")
            time.sleep(LOOK)
        if last["state"] != "DONE":
            raise Unexpected(f"{last['kind']} ended as {last['state']}: {last['reason']}")
        self.wait(instance_id, healthy=True)

    def delete(self, instance_id: str) -> Answer:
        """Delete one and wait until it is gone; return the answer to the request."""
        path = f"/instances/{instance_id}"
        answer = self._client.ask("DELETE", path, expect=(202, 404))
        deadline = time.monotonic() + PATIENCE
        while self._client.ask("GET", path, expect=(200, 404)).status != 404:
            if time.monotonic() > deadline:
                raise Unexpected(f"{instance_id} is not deleted after {PATIENCE:.0f} s")
            time.sleep(LOOK)
        self._there.remove(instance_id)
        return answer
