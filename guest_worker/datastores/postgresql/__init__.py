"""PostgreSQL."""

from guest_worker.datastores.postgresql.driver import PostgreSQL

__all__ = ["PostgreSQL"]
