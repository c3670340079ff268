"""The public API as the demonstration's progress uses it; everything else is done with the `openstack` client."""

from typing import Any

import httpx

from deploy.secrets import password
from deploy.settings import StackSettings


class Client:
    """Asks as the user `demo` of the embedded cloud; of another OpenStack, as the service user."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        site = settings.openstack
        self._domain = {"id": settings.domain}
        self._name = site.account if site else "demo"  # of user and project
        self._secret = password(settings, "coffer" if site else "demo")
        self._http = httpx.Client(timeout=30, trust_env=False)
        self._base = ""

    def _log_in(self) -> None:
        user = {"name": self._name, "domain": self._domain, "password": self._secret}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": self._name, "domain": self._domain}}}  # fmt: skip
        answer = self._http.post(f"{self._settings.keystone_url}/auth/tokens", json={"auth": auth}).raise_for_status()
        self._http.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        self._base = f"{self._settings.api_url}/v1.0/{answer.json()['token']['project']['id']}"

    def get(self, path: str) -> Any:
        """GET below the project's URL; httpx.HTTPError when it is not a success."""
        if not self._base:
            self._log_in()
        return self._http.get(f"{self._base}{path}").raise_for_status().json()

    def require_flavors(self) -> None:
        """Raise unless flavors can be chosen from."""
        if not self.get("/flavors")["flavors"]:
            raise LookupError("no flavors yet")

    def instance(self, name: str) -> dict[str, Any] | None:
        """The instance of a name, or None."""
        found = [each for each in self.get("/instances/detail")["instances"] if each["name"] == name]
        return found[0] if found else None
