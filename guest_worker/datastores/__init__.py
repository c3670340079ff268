"""What to do on the machine, engine by engine; only the guest's own engine is ever imported."""

from importlib import import_module

from guest_worker.datastores.base import Datastore, Surroundings

DRIVERS = {
    "mariadb": ("guest_worker.datastores.mariadb", "MariaDB"),
    "postgresql": ("guest_worker.datastores.postgresql", "PostgreSQL"),
}


def open_datastore(manager: str, around: Surroundings) -> Datastore:
    """Return the driver of an engine. A driver's module costs memory, so the others stay unread."""
    module, name = DRIVERS[manager]
    driver: type[Datastore] = getattr(import_module(module), name)
    return driver(around)
