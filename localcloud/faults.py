"""Faults on demand, for tests: rules that an administrator posts to `/faults`."""

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4


@dataclass
class Rule:
    """What goes wrong, for which requests, and how many times.

    A request matches when `service`, `method`, `path` (regular expression) and `body` (substring) do. Then one of: it is
    answered with `status` and `answer`; it waits `delay` seconds first (beyond a client's patience: it takes effect
    later); with `lose` it is executed and its answer is lost. `server` and `volume` are regular expressions of names of
    things that go to ERROR while they are built.
    """

    service: str = ""
    method: str = ""
    path: str = ""
    body: str = ""
    count: int = 1
    status: int | None = None
    answer: Any = None
    delay: float = 0
    lose: bool = False
    server: str = ""
    volume: str = ""
    id: str = field(default_factory=lambda: uuid4().hex)

    def takes_request(self, service: str, method: str, path: str, body: str) -> bool:
        """Whether the rule is about this request."""
        if self.server or self.volume:
            return False
        return (
            self.service in ("", service)
            and self.method in ("", method)
            and re.search(self.path, path) is not None
            and self.body in body
        )


class Faults:
    """The rules that are still to be applied."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def add(self, wanted: dict[str, Any]) -> Rule:
        """Add a rule; TypeError for a field that rules do not have."""
        rule = Rule(**wanted)
        self.rules.append(rule)
        return rule

    def of_request(self, service: str, method: str, path: str, body: str) -> Rule | None:
        """Take the first rule that a request matches."""
        return self._take(lambda rule: rule.takes_request(service, method, path, body))

    def breaks_server(self, name: str) -> bool:
        """Whether the building of a server of this name fails."""
        return self._take(lambda rule: bool(rule.server) and re.search(rule.server, name) is not None) is not None

    def breaks_volume(self, name: str) -> bool:
        """Whether the making of a volume of this name fails."""
        return self._take(lambda rule: bool(rule.volume) and re.search(rule.volume, name) is not None) is not None

    def _take(self, matches: Any) -> Rule | None:
        for rule in self.rules:
            if matches(rule):
                rule.count -= 1
                if rule.count <= 0:
                    self.rules.remove(rule)
                return rule
        return None
