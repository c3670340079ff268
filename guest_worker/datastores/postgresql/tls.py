"""TLS of PostgreSQL: settings, who is let in how, and whether the server shows the certificate that it is to show.

A server that cannot use a certificate says so in its log alone, and goes on without; so it is asked for it.
"""

import hashlib
import socket
import ssl
import struct

from contract.domain.datastores.postgresql import POSTGRESQL
from contract.domain.errors import EngineFailed
from contract.domain.tls import TlsMode
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.postgresql.reloading import reload
from guest_worker.datastores.postgresql.session import Session
from guest_worker.datastores.postgresql.template import access
from guest_worker.datastores.tls import EngineTls

ASK = struct.pack("!ii", 8, 80877103)  # SSLRequest of the protocol
SECONDS = 5.0


class PostgreSQLTls(EngineTls):
    """Switched on and off, and changed, while the server runs."""

    def __init__(self, context: EngineContext, manager: str, session: Session) -> None:
        super().__init__(context, manager)
        self._session = session

    def settings(self) -> dict[str, str]:
        """A client that has a certificate of its own sends it where a CA is named, so it is named in mode mtls alone."""
        if self.mode is None:
            return {}
        ca = self.ca_file if self.mode is TlsMode.MTLS else ""
        return {"ssl": "on", "ssl_cert_file": self.server_file, "ssl_key_file": self.server_file, "ssl_ca_file": ca}

    def access(self) -> str:
        """pg_hba.conf."""
        return access(self.mode)

    def take(self) -> None:
        """Have both files read again, and see which certificate is shown."""
        reload(self._session)
        shown = self._shown()
        if shown != (self._known.get("shown") if self.mode else None):
            why = "a setting of ALTER SYSTEM may count for more" if shown is None else "it shows another one"
            raise EngineFailed(f"the database does not use the certificate: {why}")

    def _shown(self) -> str | None:
        """The fingerprint of the certificate that clients are shown; None: none."""
        address = self._context.bind_address
        try:
            line = socket.create_connection(("127.0.0.1" if address == "*" else address, POSTGRESQL.port), SECONDS)
        except OSError as error:
            raise EngineFailed(f"the database cannot be reached: {error}") from error
        with line:
            line.sendall(ASK)
            if line.recv(1) != b"S":
                return None
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            try:
                with context.wrap_socket(line) as encrypted:
                    return hashlib.sha256(encrypted.getpeercert(binary_form=True) or b"").hexdigest()
            except OSError as error:
                raise EngineFailed(f"the database does not speak TLS: {error}") from error
