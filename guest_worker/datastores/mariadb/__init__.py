"""MariaDB."""

from guest_worker.datastores.mariadb.driver import MariaDB

__all__ = ["MariaDB"]
