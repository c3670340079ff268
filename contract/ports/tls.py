"""TLS of the engine, in the database server; asked by runbooks alone."""

from abc import ABC, abstractmethod

from temporalio import activity

from contract.domain.tls import Tls
from contract.ports.guest import Fenced


class TlsOrder(Fenced):
    """What the engine is to have."""

    tls: Tls


class TlsSettings(ABC):
    """Which certificate the engine shows, and who must encrypt, or show one, too."""

    @abstractmethod
    @activity.defn
    def change_tls(self, order: TlsOrder) -> None:
        """Have it so for sessions that begin when this has returned; nothing is stopped.

        BadRequest for a certificate that is none, or not good any more; Unsupported where the engine has no TLS;
        EngineFailed for what the engine refuses: then all is as it was.
        """
