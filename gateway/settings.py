"""Settings of the gateway."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from contract.settings import KeySettings


class GatewaySettings(KeySettings):
    """Read from the environment, prefix `COFFER_`. Of the keys the gateway reads the guests' branch alone."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    gateway_host: str = "127.0.0.1"
    """Address that the gateway listens on. With one of IPv6 it listens on 127.0.0.1 as well, for checks of its health."""
    gateway_port: int = 7236
    """Port that the gateway listens on."""
    gateway_cert: Path = Path(".coffer/secrets/gateway/cert.pem")
    """The gateway's certificate chain (PEM); read again when it has changed."""
    gateway_key: Path = Path(".coffer/secrets/gateway/key.pem")
    """Key of the gateway's certificate (PEM)."""
    gateway_ca: Path = Path(".coffer/secrets/gateway/ca.pem")
    """CA certificates (PEM) that enrolled guests are to believe from now on: how a CA is exchanged."""
    identity_seconds: float = 5
    """Seconds after which a revoked or changed token is noticed, at most."""
    gateway_strangers: int = 512
    """Connections that have not shown a valid token yet, at once; others wait for their turn."""
    gateway_strangers_per_address: int = 16  # each may open 32 calls at once, which all wait in one queue with guests'
    """The same of one address. Guests behind one NAT share it while they connect, not afterwards."""
    gateway_connections_per_second: float = 100
    """Connections of one address that are taken a second, twice as many at once; others wait for their turn."""
    guest_connections: int = 8
    """Connections that one guest may have; one more ends the oldest."""
    guest_connections_per_second: float = 1
    """Connections that one guest may make a second, twice `guest_connections` at once; more keep its address waiting."""
    guest_bytes_per_second: float = 262_144
    """Bytes that one guest may send a second; what is more is read later."""
    guest_processor_share: float = 0.2
    """Share of a processor that one guest's calls may use; what is more is read later."""
    guest_polls_per_second: float = 50
    """Polls that one guest may begin a second; twice as many at once."""
    guest_calls_per_second: float = 100
    """Other calls that one guest may make a second; twice as many at once."""
    guest_open_polls: int = 3
    """Polls that one guest may have open: one, and those of a worker that was killed a moment ago."""
    guest_open_calls: int = 16
    """Other calls that one guest may have open."""
