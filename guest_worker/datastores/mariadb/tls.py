"""TLS of MariaDB, and of MySQL, which differs in how it reads its files again.

Neither has a setting by which all clients must show a certificate: it is asked for account by account (`REQUIRE X509`).
"""

from typing import ClassVar

from contract.domain.accounts import UserName
from contract.domain.datastores.mariadb import KEPT
from contract.domain.tls import TlsMode
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.confinement import OURS, SYSTEM
from guest_worker.datastores.mariadb.session import Session
from guest_worker.datastores.tls import EngineTls

VERSIONS = "TLSv1.2,TLSv1.3"
FORCED = (TlsMode.ENFORCED, TlsMode.MTLS)


class MariaDBTls(EngineTls):
    """The server reads the files that it was started with again (`FLUSH SSL`); so it is always started with some."""

    default = TlsMode.BUILTIN
    own: ClassVar[tuple[UserName, ...]] = (OURS, SYSTEM)
    # of each account, what it must show: nothing, TLS, a certificate, a certain one
    requirements: ClassVar[str] = (
        "SELECT User, Host, ELT(1 + IFNULL(JSON_VALUE(Priv, '$.ssl_type'), 0), '', 'ANY', 'X509', 'SPECIFIED')"
        " FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role') IS NULL AND User <> 'PUBLIC'"
    )

    def __init__(self, context: EngineContext, manager: str, session: Session) -> None:
        super().__init__(context, manager)
        self._session = session

    def settings(self) -> dict[str, str]:
        """Files, and whether TCP is for TLS alone; a socket counts as secure."""
        forced = {"require_secure_transport": "ON"} if self.mode in FORCED else {}
        return {**self.files(), **forced} if self.has_files else {}

    def files(self) -> dict[str, str]:
        """Where they are."""
        return {"ssl_cert": self.server_file, "ssl_key": self.server_file, "ssl_ca": self.ca_file,
                "tls_version": VERSIONS}  # fmt: skip

    def take(self) -> None:
        """Read the files again; then who must use TLS, and show a certificate."""
        self.read_files()
        self._session.rows(f"SET GLOBAL require_secure_transport = {'ON' if self.mode in FORCED else 'OFF'}")
        self.hold_accounts()

    def read_files(self) -> None:
        """Have them read for sessions that begin."""
        self._session.rows("FLUSH LOCAL SSL")

    def required(self) -> str:
        """What a new account must show, as a part of the statement that makes it."""
        return " REQUIRE X509" if self.mode is TlsMode.MTLS else ""

    def hold_accounts(self) -> None:
        """In mode mtls no account goes without a certificate; afterwards none is asked for one for that reason."""
        wanted = self.mode is TlsMode.MTLS
        if not wanted and not self._known.get("x509"):
            return
        self._keep(x509=True)
        for name, host, shows in self._session.rows(self.requirements):
            user = UserName(name=name, host=host)
            if user in self.own or name.startswith(KEPT):
                continue
            if wanted and shows in ("", "ANY"):
                self._session.rows(f"ALTER USER {sql.account(user)} REQUIRE X509")
            elif not wanted and shows == "X509":
                self._session.rows(f"ALTER USER {sql.account(user)} REQUIRE NONE")
        self._keep(x509=wanted)
