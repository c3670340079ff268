"""Settings of the activity worker."""

from pathlib import Path
from typing import Literal

from pydantic_settings import SettingsConfigDict

from contract.settings import TemporalSettings


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
    objects: Literal["swift", "s3"] = "swift"
    """The object store that backups go to, and guests get tickets for: `swift` or `s3`."""
    objects_container: str = "coffer"
    """The bucket of S3; in Swift each instance has a container, called this, a hyphen and the instance's id."""
    objects_endpoint: str = ""
    """URL of the object store as guests reach it; empty: Swift's account as Keystone's catalogue tells it."""
    objects_for_guests: str = ""
    """Scheme, host and port at which guests reach the Swift of tenants' projects; empty: those of Keystone's catalogue."""
    objects_ca: Path | None = None
    """CA certificate (PEM) of the object store, which tickets take along; none: the system's."""
    s3_sts_endpoint: str = ""
    """URL of the STS that gives temporary credentials; empty: that of the object store."""
    s3_region: str = "us-east-1"
    """Region that requests to S3 are signed for."""
    s3_role: str = ""
    """ARN of the role that temporary credentials are for; empty: the service's own account, where S3 allows that."""
    s3_credentials_file: Path | None = None
    """The service's keys, in the `default` profile of a file like AWS's `credentials`; mode 0600. Needed for `s3`."""
