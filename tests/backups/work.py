"""Backups as a guest's job does them, built in the process of a driver: see `tests.driver_process`."""

from uuid import UUID

import minio
import minio.error
import urllib3.exceptions

from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from contract.ports.backups import BackupOrder, BackupReport, RestoreOrder
from contract.ports.guest import GuestInfo
from guest_worker.backups.works import BackupWork
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import EngineContext
from tests.temporal import own_keyring

READ_NOW = (minio.error, urllib3.exceptions)  # an unprivileged process cannot read the environment later
MASTER = b"m" * 32
SERIES = "tried"


class Server:
    """A guest's driver, and its backups."""

    def __init__(self, manager: str, context: EngineContext, instance_id: UUID, series: str = SERIES) -> None:
        self.engine = open_datastore(manager, context)
        box = SecretBox(own_keyring(MasterKeyring.of(MASTER), instance_id), instance_id)
        self._work = BackupWork(instance_id, series, self.engine, box, context.state)

    def incremental(self) -> bool:
        """Whether this engine has increments."""
        return self._work.engine.incremental

    def back_up(self, order: BackupOrder) -> BackupReport:
        """As the job does it."""
        return self._work.back_up(order)

    def restore_data(self, order: RestoreOrder) -> GuestInfo:
        """As the job does it."""
        return self._work.restore_data(order)
