"""Settings of the API."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from workflows.settings import TemporalSettings


class ApiSettings(TemporalSettings):
    """Read from the environment, prefix `COFFER_`."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    api_host: str = "127.0.0.1"
    """Address that the API listens on."""
    api_port: int = 8779
    """Port that the API listens on."""
    keystone_url: str = "http://127.0.0.1:5000/v3"
    """Keystone's v3 endpoint; a token is checked with itself, so the API needs no account there."""
    keystone_ca: Path | None = None
    """CA certificate (PEM) of Keystone; none: the system's."""
    token_cache_seconds: int = 60
    """Seconds that a checked token is believed without asking Keystone again; 0: never."""
    policy_file: Path | None = None
    """oslo.policy file that overrides the default rules."""
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
    admission_seconds: float = 10
    """Seconds after which an operation that is not admitted yet never will be; the API waits 2 seconds longer."""
    call_seconds: float = 30
    """Seconds that a guest is given to answer a short call."""
