"""Which TLS the engine is to have: remembered over restarts of the guest, with the key sealed."""

from contextlib import suppress
from pathlib import Path

from temporalio.exceptions import ApplicationError

from contract.domain.errors import BadRequest, EngineFailed, Unsupported
from contract.domain.tls import SealedCertificate, Tls
from contract.keys.certificates import Certificate, check
from contract.keys.sealing import NotOurs, SecretBox
from guest_worker.datastores.base import Datastore
from guest_worker.datastores.configuration import EngineConfiguration
from guest_worker.datastores.tls import EngineTls
from guest_worker.state_file import StateFile

KEY = "tls"


class TlsConfiguration:
    """Called under the lock under which the engine is started and stopped."""

    def __init__(self, datastore: Datastore, configuration: EngineConfiguration, box: SecretBox, folder: Path) -> None:
        self._datastore = datastore
        self._configuration = configuration
        self._box = box
        self._state = StateFile(folder / "tls.json")

    @property
    def known(self) -> Tls:
        """What the engine was last told to have."""
        return Tls.model_validate(self._state.get(KEY) or {})

    def write(self, tls: Tls | None) -> None:
        """Before the configuration is written: have the files there that it names. None: as it is."""
        engine = self._datastore.tls
        if engine is None:
            return
        if tls is None:
            engine.install_first()
            return
        self._install(engine, tls, self._opened(tls.certificate))

    def change(self, tls: Tls) -> None:
        """The same, and have the running engine take it; all is as it was where it refuses."""
        engine = self._datastore.tls
        if engine is None:
            raise Unsupported(f"{self._datastore.manager} has no TLS")
        before, certificate = self.known, self._opened(tls.certificate)
        if certificate is not None:
            _require_good(certificate)
        try:
            self._install(engine, tls, certificate)
            self._configuration.write_again()
            if self._datastore.runs():
                engine.take()
        except ApplicationError:
            with suppress(ApplicationError):  # what cannot be undone now is asked for once more by the runbook
                self._install(engine, before, self._opened(before.certificate))
                self._configuration.write_again()
                if self._datastore.runs():
                    engine.take()
            raise

    def _install(self, engine: EngineTls, tls: Tls, certificate: Certificate | None) -> None:
        engine.install(tls.mode, certificate)
        self._state.put(KEY, tls.model_dump(mode="json"))

    def _opened(self, sealed: SealedCertificate | None) -> Certificate | None:
        if sealed is None:
            return None
        try:
            return Certificate(sealed.chain, self._box.open(sealed.key), sealed.ca)
        except NotOurs as error:
            raise EngineFailed(f"the certificate's key does not open ({error}): it must be given again") from error


def _require_good(certificate: Certificate) -> None:
    try:
        check(certificate)
    except ValueError as error:
        raise BadRequest(f"The certificate was refused: {error}.") from error
