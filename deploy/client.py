"""The public API as the demonstration's progress uses it; everything else is done with the `openstack` client."""

from typing import Any

import httpx

from deploy.secrets import password
from deploy.settings import StackSettings


class Client:
    """Asks as a tenant."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._account = settings.tenant
        self._secret = password(settings, self._account.secret)
        self._http = httpx.Client(timeout=30, trust_env=False)
        self._base = ""

    def close(self) -> None:
        """End its connections."""
        self._http.close()

    def _log_in(self) -> None:
        domain = {"id": self._settings.domain}
        user = {"name": self._account.user, "domain": domain, "password": self._secret}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": self._account.project, "domain": domain}}}  # fmt: skip
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
