"""TLS of an engine: the certificate's files on the data volume, and what the configuration says of them.

The key is in a file of the engine's user, in a folder that nobody else enters. Key and certificates are one file, which is
replaced in one step: an engine that is started at any moment finds a key that fits.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from contract.domain.errors import EngineFailed
from contract.domain.tls import TlsMode
from contract.keys.certificates import Certificate, fingerprint, issue
from guest_worker import host
from guest_worker.datastores.base import EngineContext
from guest_worker.state_file import StateFile

SERVER, CA = "server.pem", "ca.pem"


class EngineTls(ABC):
    """What each engine does with it. Which mode there is, is remembered on the guest's own disk."""

    makes_builtin: ClassVar[bool] = True
    """Whether mode builtin has a certificate that is made here; else the engine makes its own."""
    default: ClassVar[TlsMode | None] = None

    def __init__(self, context: EngineContext, manager: str) -> None:
        self._context = context
        self.folder = context.data / f"{manager}_tls"
        self._state = StateFile(context.state / "tls_mode.json")

    @property
    def mode(self) -> TlsMode | None:
        """The mode that the files and the configuration are for; None: no TLS."""
        known = self._known.get("mode")
        return TlsMode(known) if known else None

    @property
    def has_files(self) -> bool:
        """Whether there is a certificate of ours."""
        return bool(self._known.get("files"))

    def install(self, mode: TlsMode | None, certificate: Certificate | None) -> None:
        """Write the files; they count from the engine's next start, or when `take` has it read them.

        A certificate of mode builtin that is there stays.
        """
        mode = mode or self.default
        stays = mode is TlsMode.BUILTIN and self.mode is mode and self.has_files
        if mode is TlsMode.BUILTIN and self.makes_builtin and certificate is None and not stays:
            certificate = issue("database", [])
        if certificate is not None:
            self._write(certificate)
            self._keep(shown=fingerprint(certificate.chain))
        self._keep(files=certificate is not None or stays, mode=mode.value if mode else None)

    def install_first(self) -> None:
        """What the engine has by itself, where nothing was ever said of it."""
        if "mode" not in self._known:
            self.install(None, None)

    @property
    def _known(self) -> dict[str, Any]:
        return self._state.get("tls") or {}

    def _keep(self, **changed: object) -> None:
        self._state.put("tls", {**self._known, **changed})

    def _write(self, certificate: Certificate) -> None:
        engine = self._context.engine
        try:
            engine.run([host.find_program("mkdir"), "-p", "-m", "0700", "--", str(self.folder)])
            for name, text in (
                (CA, certificate.ca or certificate.chain),
                (SERVER, f"{certificate.key.strip()}\n{certificate.chain}"),
            ):
                new = self.folder / f"{name}.new"
                engine.write(new, text)
                engine.run([host.find_program("mv"), "--", str(new), str(self.folder / name)])
        except host.CommandFailed as error:
            raise EngineFailed(f"the certificate could not be written: {error.output}") from error

    @property
    def server_file(self) -> str:
        """The key and the certificates."""
        return str(self.folder / SERVER)

    @property
    def ca_file(self) -> str:
        """Whose clients' certificates are believed."""
        return str(self.folder / CA)

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """What the engine's configuration says."""

    @abstractmethod
    def take(self) -> None:
        """Have the running engine read the files, and hold its clients to the mode; EngineFailed where it refuses."""
