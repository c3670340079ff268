"""What the control plane must know of each engine: one facts file per engine, and this dict."""

from workflows.domain.datastores.base import Datastore
from workflows.domain.datastores.mariadb import MARIADB
from workflows.domain.datastores.postgresql import POSTGRESQL

DATASTORES: dict[str, Datastore] = {each.manager: each for each in (MARIADB, POSTGRESQL)}

__all__ = ["DATASTORES", "Datastore"]
