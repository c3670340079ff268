"""What the control plane must know of each engine: one facts file per engine, and this dict."""

from contract.domain.datastores.base import Datastore
from contract.domain.datastores.mariadb import MARIADB
from contract.domain.datastores.mysql import MYSQL
from contract.domain.datastores.postgresql import POSTGRESQL

DATASTORES: dict[str, Datastore] = {each.manager: each for each in (MARIADB, MYSQL, POSTGRESQL)}

__all__ = ["DATASTORES", "Datastore"]
