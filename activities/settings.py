"""Settings of the activity worker."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from workflows.settings import TemporalSettings


class ActivitySettings(TemporalSettings):
    """Read from the environment, prefix `COFFER_`."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    cloud: str = "coffer"
    """Name of the service user's cloud in clouds.yaml (OS_CLIENT_CONFIG_FILE says where that is)."""
    guest_gateway: str = "127.0.0.1:7236"
    """host:port of the gateway, as guests dial it."""
    guest_gateway_ca: Path = Path(".coffer/secrets/gateway/ca.pem")
    """CA certificates (PEM) that guests believe the gateway by; goes into user data."""
    default_network: str = ""
    """Network (name or id) of the service project for orders that name none; empty: such orders are refused."""
    external_network: str = ""
    """Network (name or id) that floating IPs come from; empty: the first external one."""
    cloud_timeout: float = 8
    """Seconds after which one request to OpenStack is given up; a step may need two, and lasts 20 at most."""
    cloud_threads: int = 16
    """Steps of OpenStack done at once by this process."""
    leftover_grace: int = 3600
    """Seconds after which what carries the tag of an instance that is gone is deleted."""
    stale_after: int = 10
    """Seconds an operation must be open before the sweep asks Temporal for its run."""
