"""How an instance's clients encrypt what they send: modes and certificates."""

from enum import StrEnum

from pydantic import Field

from contract.domain.accounts import Sealed
from contract.domain.datastores.base import Datastore
from contract.domain.errors import BadRequest
from contract.domain.fact import Fact

LONGEST_PEM = 65_536  # characters


class TlsMode(StrEnum):
    """Trove's modes; each does what the one before does, too, but for BUILTIN's certificate."""

    BUILTIN = "builtin"  # with a certificate that the server has made, which nobody can check
    BASIC = "basic"  # with a certificate that clients can check
    ENFORCED = "enforced"  # and nobody gets in without TLS
    MTLS = "mtls"  # and nobody without a certificate of their own


class SealedCertificate(Fact):
    """A certificate as it is kept: PEM, the key sealed for the guest. `ca`: whose clients' certificates are believed."""

    chain: str = Field(max_length=LONGEST_PEM)
    ca: str = Field("", max_length=LONGEST_PEM)
    key: Sealed


class Tls(Fact):
    """What an instance has, or is to have; without a mode what its engine has by itself."""

    mode: TlsMode | None = None
    certificate: SealedCertificate | None = None
    container_ref: str | None = None  # the secret of Barbican that the certificate was read from

    def effective(self, facts: Datastore) -> TlsMode | None:
        """The mode that is in force; None: no TLS."""
        builtin = TlsMode.BUILTIN if facts.builtin_tls else None
        return self.mode or builtin

    def check(self, facts: Datastore) -> None:
        """Raise BadRequest for what makes no sense, or is not possible with the engine."""
        if self.mode is None and facts.needs_tls:
            raise BadRequest(f"Not supported: TLS of {facts.manager} cannot be disabled; mode builtin has the server's "
                             "own certificate.")  # fmt: skip
        if (self.certificate is None) != (self.mode in (None, TlsMode.BUILTIN)):
            wrong = "takes no certificate" if self.certificate else "needs a certificate"
            raise BadRequest(f"TLS mode {self.mode or 'off'} {wrong}.")
        if self.mode is TlsMode.MTLS and self.certificate is not None and not self.certificate.ca:
            raise BadRequest("Mode mtls needs the CA certificate that clients' certificates are issued by.")


class TlsChange(Fact):
    """What an instance has now, and what it goes back to with a rollback; None: to nothing."""

    now: Tls
    before: Tls | None = None
