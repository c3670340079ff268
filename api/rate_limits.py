"""How many requests a project may send a minute, of each verb. Kept in memory: each API process counts for itself."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

MINUTE = 60.0  # seconds
MOST = 10_000  # buckets; of those that are full nothing has to be remembered


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass
class RateLimits:
    """A bucket for each project and verb: it holds a minute's requests, and fills up within a minute. 0: no limit."""

    per_minute: Mapping[str, int]
    clock: Callable[[], float] = time.monotonic
    _buckets: dict[tuple[str, str], _Bucket] = field(default_factory=dict)

    def take(self, project_id: str, verb: str) -> float:
        """Count a request; return the seconds until it may be sent again, 0 where it may be done now."""
        limit = self.per_minute.get(verb, 0)
        if limit <= 0:
            return 0.0
        bucket = self._filled(project_id, verb, limit)
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) * MINUTE / limit

    def views(self, project_id: str) -> list[dict[str, Any]]:
        """The limits as `GET /limits` lists them."""
        found = []
        for verb, limit in self.per_minute.items():
            if limit <= 0:
                continue
            tokens = self._filled(project_id, verb, limit).tokens
            wait = max(0.0, 1 - tokens) * MINUTE / limit
            found.append({"verb": verb, "uri": "*", "regex": ".*", "value": limit, "unit": "MINUTE",
                          "remaining": int(tokens), "nextAvailable": _moment(wait)})  # fmt: skip
        return found

    def _filled(self, project_id: str, verb: str, limit: int) -> _Bucket:
        now = self.clock()
        if len(self._buckets) >= MOST:
            self._buckets = {key: each for key, each in self._buckets.items() if now - each.at < MINUTE}
        bucket = self._buckets.setdefault((project_id, verb), _Bucket(float(limit), now))
        bucket.tokens = min(float(limit), bucket.tokens + (now - bucket.at) * limit / MINUTE)
        bucket.at = now
        return bucket


def _moment(seconds: float) -> str:
    """A time from now, as Trove writes it here: with a Z."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
