"""Where the records are, and the limits that hold when nobody set others."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class RecordsSettings(BaseSettings):
    """Read from the environment, prefix `COFFER_`."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    records_url: str = "postgresql+psycopg://coffer@127.0.0.1:7432/coffer"
    """SQLAlchemy URL of the database of record; the password comes from PGPASSFILE or PGSERVICEFILE, never from here."""
    records_pool: int = 8
    """Connections that one process keeps at most."""
    quota_instances: int = 10
    """Instances per project; -1: unlimited."""
    quota_volumes: int = 40
    """Sum of volume sizes per project in GiB; -1: unlimited."""
    quota_ram: int = -1
    """Sum of memory per project in MiB; -1: unlimited."""
    quota_backups: int = 50
    """Backups per project; -1: unlimited."""

    def default_quotas(self) -> dict[str, int]:
        """Limits by resource name, as Trove names them."""
        return {
            "instances": self.quota_instances,
            "ram": self.quota_ram,
            "volumes": self.quota_volumes,
            "backups": self.quota_backups,
        }
