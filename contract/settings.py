"""How every process of the control plane reaches Temporal, and where its keys are."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class TemporalSettings(BaseSettings):
    """Read from the environment, prefix `COFFER_`."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    temporal_address: str = "127.0.0.1:7233"
    """Temporal's frontend, host:port."""
    temporal_namespace: str = "coffer"
    """Temporal namespace of all runs."""
    temporal_tls_ca: Path | None = None
    """CA certificate (PEM) of the frontend; none: no TLS."""
    temporal_tls_cert: Path | None = None
    """Client certificate (PEM) for mutual TLS."""
    temporal_tls_key: Path | None = None
    """Key of the client certificate (PEM)."""
    master_key_file: Path = Path(".coffer/secrets/master.key")
    """The master key that all payload keys derive from: 32 bytes, raw or hexadecimal; mode 0600."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""


class KeySettings(TemporalSettings):
    """Read from the environment, prefix `COFFER_`."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    guest_key_file: Path = Path(".coffer/secrets/guests.key")
    """The guests' branch of the master keys: all that the gateway has; made by `python -m contract.keys guests`."""
