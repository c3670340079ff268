"""The port of TLS, for recordings, and what is recorded of it."""

from typing import Any
from uuid import uuid4

from temporalio import activity

from contract.domain.changes import ChangeTlsOrder
from contract.domain.errors import EngineFailed
from contract.domain.operation import Caller
from contract.domain.tls import SealedCertificate, Tls, TlsMode
from contract.keys.sealing import SecretBox
from contract.ports.tls import TlsOrder, TlsSettings
from tests.replay.kept import KEYRING
from tests.replay.script import Script
from workflows.instance.change_tls import ChangeTls

CALLER = Caller(project_id="project", user_id="amy", request_id="req-1")


class PlainTls(TlsSettings):
    """A guest whose engine takes any certificate."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn
    def change_tls(self, order: TlsOrder) -> None:
        self._script.play()


async def changes_of_tls(stage: Any) -> None:
    """Another certificate; and one that the engine refuses."""
    async with stage.guest() as instance_id:
        key = SecretBox(KEYRING, instance_id).seal("key")
        tls = Tls(mode=TlsMode.ENFORCED, certificate=SealedCertificate(chain="certificate", key=key))
        order = ChangeTlsOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, tls=tls)
        await stage.keep("change-tls", await stage.operate(ChangeTls, order), "completed")
        stage.script.refuse("change_tls", EngineFailed("the engine refuses"))
        order = order.model_copy(update={"operation_id": uuid4()})
        await stage.keep("change-tls-refused", await stage.operate(ChangeTls, order), "failed")
