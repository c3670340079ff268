"""Settings of the API, and what the codec server shares with it: whom to ask who somebody is, and what they may do."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from api.http_limits import HttpLimits
from contract.settings import TemporalSettings


class CallerSettings(TemporalSettings):
    """How a caller is told and judged. Read from the environment, prefix `COFFER_`."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    keystone_url: str = "http://127.0.0.1:5000/v3"
    """Keystone's v3 endpoint; a token is checked with itself, so nobody of ours needs an account there."""
    keystone_ca: Path | None = None
    """CA certificate (PEM) of Keystone; none: the system's."""
    token_cache_seconds: int = 60
    """Seconds that a checked token is believed without asking Keystone again; 0: never."""
    policy_file: Path | None = None
    """oslo.policy file that overrides the default rules."""
    http_connections: int = 1000
    """Connections at once; one more ends one whose request has not come in whole."""
    http_connections_per_address: int = 200
    """The same of one address that is no trusted proxy."""

    def http_limits(self) -> HttpLimits:
        """Limits of this server's connections."""
        trusted = frozenset(each.strip() for each in getattr(self, "trusted_proxies", "").split(",") if each.strip())
        own = self.http_connections if "*" in trusted else self.http_connections_per_address
        return HttpLimits(self.http_connections, own, trusted)


class ApiSettings(CallerSettings):
    """Read from the environment, prefix `COFFER_`."""

    api_host: str = "127.0.0.1"
    """Address that the API listens on."""
    api_port: int = 8779
    """Port that the API listens on."""
    guest_gateway: str = ""
    """host:port of the gateway, for the health check; empty: it is not asked."""
    barbican_url: str = ""
    """Barbican's endpoint, which certificates of tenants are read from; empty: there is none. `keystone_ca` is believed."""
    default_datastore: str = ""
    """Datastore of orders that name none; empty: such orders are refused."""
    region: str = "RegionOne"
    """Region that instances say they are in."""
    page_size: int = 20
    """Items of a page, at most and by default."""
    max_volume_gib: int = 1000
    """Largest volume that may be ordered, in GiB."""
    trusted_proxies: str = ""
    """Addresses of proxies whose X-Forwarded-Proto, -Host and -Prefix are believed, separated by commas; `*`: all."""
    max_body_bytes: int = 262_144
    """Largest request body in bytes."""
    rate_get: int = 200
    """Requests with GET that a project may send a minute; 0: as many as it likes. So the others."""
    rate_post: int = 200
    """The same with POST."""
    rate_put: int = 200
    """The same with PUT."""
    rate_patch: int = 200
    """The same with PATCH."""
    rate_delete: int = 200
    """The same with DELETE."""
    admission_seconds: float = 6
    """Seconds after which an operation that is not admitted yet never will be; the answer takes 3.5 seconds longer."""
    log_container: str = "database_logs"
    """Container of the caller's project that logs are published to."""
    backup_container: str = "database_backups"
    """Container of the caller's project that backups go to where nothing names another one."""
    log_expiry: int = 2_592_000
    """Seconds that a published part of a log is kept by Swift."""
    objects_for_guests: str = ""
    """Scheme, host and port at which guests reach Swift, to publish logs; empty: those of Keystone's catalogue."""
    objects_ca: Path | None = None
    """CA certificate (PEM) of the object store, which tickets take along; none: the system's."""
    call_seconds: float = Field(8, ge=6, le=9)  # a guest's changes have limits of their own, which fit into it
    """Seconds that a guest is given to answer a short call; the API waits 0.6 seconds longer."""

    def rates(self) -> dict[str, int]:
        """Requests a minute by verb."""
        return {"GET": self.rate_get, "POST": self.rate_post, "PUT": self.rate_put, "PATCH": self.rate_patch,
                "DELETE": self.rate_delete}  # fmt: skip


class CodecServerSettings(CallerSettings):
    """Read from the environment, prefix `COFFER_`."""

    codec_host: str = "127.0.0.1"
    """Address to listen on."""
    codec_port: int = 8234
    """Port to listen on."""
    codec_url: str = ""
    """Where browsers reach the codec server, as scheme://host[:port]; empty: over HTTP on a loopback address."""
    codec_origins: str = "http://127.0.0.1:8233,http://localhost:8233"
    """Origins of the Web UI that may ask (CORS), separated by commas."""
    codec_session_seconds: int = 14_400
    """Seconds that a login counts, at most; it ends with its Keystone token in any case."""
    codec_max_body_bytes: int = 8_388_608
    """Largest list of payloads in bytes."""

    @property
    def origins(self) -> list[str]:
        """The Web UI's origins."""
        return [each for each in self.codec_origins.split(",") if each]

    @model_validator(mode="after")
    def _require_origins(self) -> Self:
        for each in (*filter(None, [self.codec_url]), *self.origins):
            if not re.fullmatch(r"https?://[\w.:\[\]-]+", each):  # `*` would let every page read what operators may
                raise ValueError(f"{each!r} is no origin; one looks like https://host:port")
        return self
